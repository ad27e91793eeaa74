//! Viewer samples in PostgreSQL: one row a channel and look.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::PgPool;

use crate::adapters::postgres::while_doing;
use crate::domain::audience::channel::{ChannelId, Seen, ViewerSample};
use crate::ports::PortError;
use crate::ports::viewer_samples::{SAMPLES_READ_MAX, ViewerSamples};

/// The samples of one database.
#[derive(Clone)]
pub struct PostgresViewerSamples {
    pool: PgPool,
}

impl PostgresViewerSamples {
    pub const fn new(pool: PgPool) -> Self {
        Self { pool }
    }
}

#[async_trait]
impl ViewerSamples for PostgresViewerSamples {
    async fn append(&self, samples: &[ViewerSample]) -> Result<(), PortError> {
        let doing = "append viewer samples";
        let mut tx = self.pool.begin().await.map_err(while_doing(doing))?;
        for sample in samples {
            let row = SampleRow::of(sample);
            sqlx::query!(
                "insert into viewer_samples
                        (channel, fetched_at, status, viewers, title, category, stream_started_at)
                 values ($1, $2, $3, $4, $5, $6, $7)
                 on conflict do nothing",
                sample.channel.as_str(),
                row.fetched_at,
                row.status,
                row.viewers,
                row.title,
                row.category,
                row.stream_started_at,
            )
            .execute(&mut *tx)
            .await
            .map_err(while_doing(doing))?;
        }
        tx.commit().await.map_err(while_doing(doing))
    }

    async fn between(
        &self,
        channel: &ChannelId,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
    ) -> Result<Vec<ViewerSample>, PortError> {
        let rows = sqlx::query_as!(
            SampleRow,
            "select fetched_at, status, viewers, title, category, stream_started_at
               from viewer_samples
              where channel = $1 and fetched_at >= $2 and fetched_at < $3
              order by fetched_at
              limit $4",
            channel.as_str(),
            from,
            to,
            SAMPLES_READ_MAX as i64,
        )
        .fetch_all(&self.pool)
        .await
        .map_err(while_doing("read viewer samples"))?;
        rows.into_iter().map(|row| row.sample(channel)).collect()
    }
}

struct SampleRow {
    fetched_at: DateTime<Utc>,
    status: String,
    viewers: Option<i32>,
    title: Option<String>,
    category: Option<String>,
    stream_started_at: Option<DateTime<Utc>>,
}

impl SampleRow {
    fn of(sample: &ViewerSample) -> Self {
        let bare = Self {
            fetched_at: sample.fetched_at,
            status: sample.seen.as_str().to_owned(),
            viewers: None,
            title: None,
            category: None,
            stream_started_at: None,
        };
        match sample.seen.clone() {
            Seen::Live { viewers, title, category, started_at } => Self {
                viewers: Some(i32::try_from(viewers).unwrap_or(i32::MAX)),
                title: Some(title),
                category: Some(category),
                stream_started_at: started_at,
                ..bare
            },
            Seen::Offline | Seen::Failed => bare,
        }
    }

    fn sample(self, channel: &ChannelId) -> Result<ViewerSample, PortError> {
        let seen = match (self.status.as_str(), self.viewers) {
            ("live", Some(viewers)) => Seen::Live {
                viewers: u32::try_from(viewers).unwrap_or(0),
                title: self.title.unwrap_or_default(),
                category: self.category.unwrap_or_default(),
                started_at: self.stream_started_at,
            },
            ("offline", None) => Seen::Offline,
            ("failed", None) => Seen::Failed,
            _ => {
                return Err(PortError::plain(format!(
                    "understand a viewer sample of channel {channel} at {}",
                    self.fetched_at
                )));
            }
        };
        Ok(ViewerSample { channel: channel.clone(), fetched_at: self.fetched_at, seen })
    }
}
