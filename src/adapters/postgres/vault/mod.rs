//! Channels in PostgreSQL, their tokens sealed row by row (see `keys`). A renewal holds its row's lock, so there is one
//! at a time among all processes, and what it stores is committed before anybody uses it.
//!
//! Whoever seals does so under a shared advisory lock, taken before the key file is looked at; a rotation takes that lock
//! alone for the instant in which it counts the rows of an old key and removes it. So no row is ever left without key.

mod keys;
mod rotate;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{PgPool, Postgres, Transaction};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::adapters::postgres::while_doing;
use crate::domain::audience::channel::{Channel, ChannelId, Scopes, Trouble};
use crate::ports::PortError;
use crate::ports::clock::Clock;
use crate::ports::vault::{PendingLink, Renewal, Rotated, Secret, Tokens, Vault, VaultError};

use self::keys::{Cell, KeyFile, KeyRing};

/// Longest wait for another renewal of the same channel.
const RENEWAL_WAIT_MAX: Duration = Duration::from_secs(30);
/// Longest a renewal may hold its row while it waits for the platform; past it PostgreSQL takes the row back.
const RENEWAL_HOLD_MAX: Duration = Duration::from_mins(1);
/// Renewals of one process at once: each holds a connection of the pool.
const RENEWALS_AT_ONCE: usize = 3;
/// The advisory lock around sealing.
const SEALING_LOCK: i64 = 0x5350_4152_4b76_6c74;
/// SQLSTATE of a lock that did not come in time.
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// The vault of one database and one key file.
#[derive(Clone)]
pub struct PostgresVault {
    pool: PgPool,
    keys: KeyFile,
    renewals: Arc<Semaphore>,
    renewal_wait: Duration,
}

impl PostgresVault {
    /// A vault whose keys lie in `key_file`; the file is made when the first channel is linked.
    pub fn new(pool: PgPool, key_file: PathBuf, clock: Arc<dyn Clock>) -> Self {
        Self {
            pool,
            keys: KeyFile::new(key_file, clock),
            renewals: Arc::new(Semaphore::new(RENEWALS_AT_ONCE)),
            renewal_wait: RENEWAL_WAIT_MAX,
        }
    }

    /// With another longest wait for a renewal of the same channel.
    #[must_use]
    pub fn waiting_at_most(mut self, renewal_wait: Duration) -> Self {
        self.renewal_wait = renewal_wait;
        self
    }

    /// The keys to open rows with, which are there when rows are.
    fn ring(&self) -> Result<KeyRing, VaultError> {
        self.keys.read()?.ok_or_else(|| self.keys.lost())
    }
}

type Tx = Transaction<'static, Postgres>;

#[async_trait]
impl Vault for PostgresVault {
    async fn begin_link(&self, link: PendingLink, now: DateTime<Utc>) -> Result<(), PortError> {
        sqlx::query!("delete from channel_links where expires_at <= $1", now)
            .execute(&self.pool)
            .await
            .map_err(while_doing("forget linkings that expired"))?;
        sqlx::query!(
            "insert into channel_links (state_hash, session_hash, return_url, expires_at)
             values ($1, $2, $3, $4)",
            &link.state_hash[..],
            &link.session_hash[..],
            link.return_url,
            link.expires_at,
        )
        .execute(&self.pool)
        .await
        .map_err(while_doing("begin to link a channel"))?;
        Ok(())
    }

    async fn take_link(
        &self,
        state_hash: [u8; 32],
        session_hash: [u8; 32],
        now: DateTime<Utc>,
    ) -> Result<Option<PendingLink>, PortError> {
        let row = sqlx::query!(
            "delete from channel_links
              where state_hash = $1
              returning session_hash, return_url, expires_at",
            &state_hash[..],
        )
        .fetch_optional(&self.pool)
        .await
        .map_err(while_doing("take a linking up again"))?;
        Ok(row.filter(|row| row.session_hash == session_hash && row.expires_at > now).map(|row| {
            PendingLink {
                state_hash,
                session_hash,
                return_url: row.return_url,
                expires_at: row.expires_at,
            }
        }))
    }

    async fn link(&self, channel: &Channel, tokens: &Tokens) -> Result<(), VaultError> {
        let doing = "link a channel";
        let mut tx = self.pool.begin().await.map_err(while_doing(doing))?;
        sqlx::query!(
            "insert into channels (id, login, name, scopes, linked_at, validated_at, trouble)
             values ($1, $2, $3, $4, $5, $6, $7)
             on conflict (id) do update
                set login = excluded.login,
                    name = excluded.name,
                    scopes = excluded.scopes,
                    linked_at = excluded.linked_at,
                    validated_at = excluded.validated_at,
                    trouble = excluded.trouble",
            channel.id.as_str(),
            channel.login,
            channel.name,
            &listed(&channel.scopes),
            channel.linked_at,
            channel.validated_at,
            channel.trouble.map(Trouble::as_str),
        )
        .execute(&mut *tx)
        .await
        .map_err(while_doing(doing))?;
        self.put(&mut tx, &channel.id, tokens).await?;
        tx.commit().await.map_err(while_doing(doing))?;
        Ok(())
    }

    async fn channels(&self) -> Result<Vec<Channel>, PortError> {
        let rows = sqlx::query_as!(
            ChannelRow,
            "select id, login, name, scopes, linked_at, validated_at, trouble
               from channels
              order by lower(name), id",
        )
        .fetch_all(&self.pool)
        .await
        .map_err(while_doing("list the channels"))?;
        rows.into_iter().map(Channel::try_from).collect()
    }

    async fn find(&self, channel: &ChannelId) -> Result<Option<Channel>, PortError> {
        sqlx::query_as!(
            ChannelRow,
            "select id, login, name, scopes, linked_at, validated_at, trouble
               from channels
              where id = $1",
            channel.as_str(),
        )
        .fetch_optional(&self.pool)
        .await
        .map_err(while_doing("find a channel"))?
        .map(Channel::try_from)
        .transpose()
    }

    async fn load(&self, channel: &ChannelId) -> Result<Tokens, VaultError> {
        // A rotation may remove a key between our two readings; the row has a new one then.
        let mut row = self.row(channel).await?;
        let tokens = row.open(channel, &self.ring()?);
        if matches!(tokens, Err(VaultError::Keys(_))) {
            row = self.row(channel).await?;
            return row.open(channel, &self.ring()?);
        }
        tokens
    }

    async fn begin_renewal(&self, channel: &ChannelId) -> Result<Box<dyn Renewal>, VaultError> {
        let doing = "begin to renew tokens";
        let permit = tokio::time::timeout(self.renewal_wait, self.renewals.clone().acquire_owned())
            .await
            .map_err(|_| VaultError::Busy(channel.clone()))?
            .map_err(|e| PortError::lasting(doing, e))?;
        let mut tx = self.pool.begin().await.map_err(while_doing(doing))?;
        sqlx::query!(
            "select set_config('lock_timeout', $1, true) as waits,
                    set_config('idle_in_transaction_session_timeout', $2, true) as holds",
            format!("{}ms", self.renewal_wait.as_millis()),
            format!("{}ms", RENEWAL_HOLD_MAX.as_millis()),
        )
        .fetch_one(&mut *tx)
        .await
        .map_err(while_doing(doing))?;
        let row = sqlx::query_as!(
            TokenRow,
            "select key_id, access, refresh, channel_tokens.expires_at
               from channel_tokens
               join channels on channels.id = channel_tokens.channel
              where channel = $1 and trouble is null
                for update of channel_tokens",
            channel.as_str(),
        )
        .fetch_optional(&mut *tx)
        .await
        .map_err(|error| match &error {
            sqlx::Error::Database(database)
                if database.code().as_deref() == Some(LOCK_NOT_AVAILABLE) =>
            {
                VaultError::Busy(channel.clone())
            }
            _ => while_doing(doing)(error).into(),
        })?
        .ok_or_else(|| VaultError::NoTokens(channel.clone()))?;
        let tokens = row.open(channel, &self.ring()?)?;
        Ok(Box::new(PostgresRenewal {
            vault: self.clone(),
            channel: channel.clone(),
            tokens,
            tx,
            _permit: permit,
        }))
    }

    async fn validated(
        &self,
        channel: &ChannelId,
        scopes: &Scopes,
        at: DateTime<Utc>,
    ) -> Result<(), PortError> {
        sqlx::query!(
            "update channels set validated_at = greatest(validated_at, $2), scopes = $3 where id = $1",
            channel.as_str(),
            at,
            &listed(scopes),
        )
        .execute(&self.pool)
        .await
        .map_err(while_doing("note that a channel's link holds"))?;
        Ok(())
    }

    async fn end(&self, channel: &ChannelId, trouble: Trouble) -> Result<(), PortError> {
        // In two steps: a renewal may hold the tokens' row, and the end must not wait for it.
        sqlx::query!(
            "update channels set trouble = $2 where id = $1",
            channel.as_str(),
            trouble.as_str(),
        )
        .execute(&self.pool)
        .await
        .map_err(while_doing("end a channel's link"))?;
        sqlx::query!(
            "delete from channel_tokens
              using channels
              where channels.id = channel and channel = $1 and trouble is not null",
            channel.as_str(),
        )
        .execute(&self.pool)
        .await
        .map_err(while_doing("forget a channel's tokens"))?;
        Ok(())
    }

    async fn remove(&self, channel: &ChannelId) -> Result<bool, PortError> {
        let removed = sqlx::query!("delete from channels where id = $1", channel.as_str())
            .execute(&self.pool)
            .await
            .map_err(while_doing("remove a channel"))?;
        Ok(removed.rows_affected() > 0)
    }

    async fn rotate_keys(&self) -> Result<Rotated, VaultError> {
        self.rotate().await
    }
}

impl PostgresVault {
    async fn row(&self, channel: &ChannelId) -> Result<TokenRow, VaultError> {
        sqlx::query_as!(
            TokenRow,
            "select key_id, access, refresh, channel_tokens.expires_at
               from channel_tokens
               join channels on channels.id = channel_tokens.channel
              where channel = $1 and trouble is null",
            channel.as_str(),
        )
        .fetch_optional(&self.pool)
        .await
        .map_err(while_doing("load a channel's tokens"))?
        .ok_or_else(|| VaultError::NoTokens(channel.clone()))
    }

    /// Seals tokens into their row. Not while a rotation removes keys.
    async fn put(
        &self,
        tx: &mut Tx,
        channel: &ChannelId,
        tokens: &Tokens,
    ) -> Result<(), VaultError> {
        let doing = "seal a channel's tokens";
        sqlx::query!("select pg_advisory_xact_lock_shared($1)", SEALING_LOCK)
            .execute(&mut **tx)
            .await
            .map_err(while_doing(doing))?;
        let any_sealed = sqlx::query_scalar!(
            r#"select exists (select from channel_tokens where channel <> $1) as "any!""#,
            channel.as_str(),
        )
        .fetch_one(&mut **tx)
        .await
        .map_err(while_doing(doing))?;
        let ring = self.keys.read_or_make(any_sealed)?;
        let row = self.sealed(&ring, channel, tokens)?;
        sqlx::query!(
            "insert into channel_tokens (channel, key_id, access, refresh, expires_at)
             values ($1, $2, $3, $4, $5)
             on conflict (channel) do update
                set key_id = excluded.key_id,
                    access = excluded.access,
                    refresh = excluded.refresh,
                    expires_at = excluded.expires_at",
            channel.as_str(),
            row.key_id,
            row.access,
            row.refresh,
            row.expires_at,
        )
        .execute(&mut **tx)
        .await
        .map_err(while_doing(doing))?;
        Ok(())
    }

    fn sealed(
        &self,
        ring: &KeyRing,
        channel: &ChannelId,
        tokens: &Tokens,
    ) -> Result<TokenRow, VaultError> {
        let row = channel.as_str();
        let seal = |column, secret| ring.seal(Cell { row, column }, self.keys.nonce(), secret);
        Ok(TokenRow {
            key_id: ring.newest().to_owned(),
            access: seal("access", &tokens.access)?,
            refresh: tokens.refresh.as_ref().map(|secret| seal("refresh", secret)).transpose()?,
            expires_at: tokens.expires_at,
        })
    }
}

struct PostgresRenewal {
    vault: PostgresVault,
    channel: ChannelId,
    tokens: Tokens,
    tx: Tx,
    _permit: OwnedSemaphorePermit,
}

#[async_trait]
impl Renewal for PostgresRenewal {
    fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    async fn store(self: Box<Self>, tokens: &Tokens) -> Result<(), VaultError> {
        let Self { vault, channel, mut tx, .. } = *self;
        let holds = sqlx::query_scalar!(
            r#"select exists (select from channels where id = $1 and trouble is null) as "holds!""#,
            channel.as_str(),
        )
        .fetch_one(&mut *tx)
        .await
        .map_err(while_doing("look whether a link still holds"))?;
        if !holds {
            return Err(VaultError::NoTokens(channel));
        }
        vault.put(&mut tx, &channel, tokens).await?;
        tx.commit().await.map_err(while_doing("store renewed tokens"))?;
        Ok(())
    }
}

fn listed(scopes: &Scopes) -> Vec<String> {
    scopes.iter().cloned().collect()
}

struct ChannelRow {
    id: String,
    login: String,
    name: String,
    scopes: Vec<String>,
    linked_at: DateTime<Utc>,
    validated_at: DateTime<Utc>,
    trouble: Option<String>,
}

impl TryFrom<ChannelRow> for Channel {
    type Error = PortError;
    fn try_from(row: ChannelRow) -> Result<Self, PortError> {
        let odd = |what: &str| {
            PortError::plain(format!("understand the {what} of channel {} in channels", row.id))
        };
        let trouble = match &row.trouble {
            Some(word) => Some(Trouble::parse(word).ok_or_else(|| odd("trouble"))?),
            None => None,
        };
        Ok(Self {
            id: ChannelId::try_new(row.id.clone()).map_err(|_| odd("id"))?,
            trouble,
            login: row.login,
            name: row.name,
            scopes: row.scopes.into_iter().collect(),
            linked_at: row.linked_at,
            validated_at: row.validated_at,
        })
    }
}

struct TokenRow {
    key_id: String,
    access: Vec<u8>,
    refresh: Option<Vec<u8>>,
    expires_at: DateTime<Utc>,
}

impl TokenRow {
    fn open(&self, channel: &ChannelId, ring: &KeyRing) -> Result<Tokens, VaultError> {
        let open = |column, sealed: &[u8]| -> Result<Secret, VaultError> {
            ring.open(Cell { row: channel.as_str(), column }, &self.key_id, sealed)
        };
        Ok(Tokens {
            access: open("access", &self.access)?,
            refresh: self.refresh.as_deref().map(|sealed| open("refresh", sealed)).transpose()?,
            expires_at: self.expires_at,
        })
    }
}
