//! A new key for every row, while others go on reading and renewing.

use crate::adapters::postgres::vault::{PostgresVault, SEALING_LOCK, TokenRow};
use crate::adapters::postgres::while_doing;
use crate::domain::audience::channel::ChannelId;
use crate::ports::PortError;
use crate::ports::vault::{Rotated, VaultError};

impl PostgresVault {
    pub(super) async fn rotate(&self) -> Result<Rotated, VaultError> {
        let newest = self.keys.add()?.newest().to_owned();
        let channels = sqlx::query_scalar!(
            "select channel from channel_tokens where key_id <> $1 order by channel",
            newest,
        )
        .fetch_all(&self.pool)
        .await
        .map_err(while_doing("list the rows to seal anew"))?;
        let mut resealed = 0;
        for channel in channels {
            let channel = ChannelId::try_new(channel)
                .map_err(|e| PortError::lasting("understand a channel in channel_tokens", e))?;
            resealed += u64::from(self.reseal(&channel).await?);
        }
        Ok(Rotated { resealed, keys_removed: self.drop_unused_keys().await? })
    }

    /// Seals one row with the newest key; says whether it had to. Waits for a renewal of it that is in flight.
    async fn reseal(&self, channel: &ChannelId) -> Result<bool, VaultError> {
        let doing = "seal a row anew";
        let mut tx = self.pool.begin().await.map_err(while_doing(doing))?;
        let row = sqlx::query_as!(
            TokenRow,
            "select key_id, access, refresh, expires_at
               from channel_tokens
              where channel = $1
                for update",
            channel.as_str(),
        )
        .fetch_optional(&mut *tx)
        .await
        .map_err(while_doing(doing))?;
        let ring = self.ring()?;
        // Gone meanwhile, or renewed with the new key already.
        let Some(row) = row.filter(|row| row.key_id != ring.newest()) else { return Ok(false) };
        let tokens = row.open(channel, &ring)?;
        self.put(&mut tx, channel, &tokens).await?;
        tx.commit().await.map_err(while_doing(doing))?;
        Ok(true)
    }

    /// Removes keys that no row is sealed with, while nobody seals.
    async fn drop_unused_keys(&self) -> Result<u64, VaultError> {
        let doing = "count the rows of each key";
        let mut tx = self.pool.begin().await.map_err(while_doing(doing))?;
        sqlx::query!("select pg_advisory_xact_lock($1)", SEALING_LOCK)
            .execute(&mut *tx)
            .await
            .map_err(while_doing(doing))?;
        let used = sqlx::query_scalar!("select distinct key_id from channel_tokens")
            .fetch_all(&mut *tx)
            .await
            .map_err(while_doing(doing))?;
        let removed = self.keys.keep_only(&used)?;
        tx.commit().await.map_err(while_doing(doing))?;
        Ok(removed)
    }
}
