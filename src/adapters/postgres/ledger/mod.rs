//! The logs in PostgreSQL. Sequences are not commit-ordered, so there is one appender at a time: every commit that
//! writes events holds an advisory lock until it is over, and takes its numbers under it.

mod batch;
mod minutes;

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{PgPool, Postgres, Transaction};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::adapters::postgres::audience::removal::erase;
use crate::adapters::postgres::jobs::enqueue;
use crate::adapters::postgres::ledger::batch::store_audience;
use crate::adapters::postgres::shelves::fold_into_cards;
use crate::adapters::postgres::while_doing;
use crate::domain::audience::{AudienceMinute, ChatMessage};
use crate::domain::event::{Event, Recorded};
use crate::domain::ids::{LiveId, WeekId};
use crate::domain::job::JobTicket;
use crate::ports::PortError;
use crate::ports::ledger::{
    Commit, CommitError, Committed, CursorMove, EVENTS_BATCH_MAX, Expectation, Ledger,
};

pub(super) use batch::{store_facts, store_messages};

/// The event log's appender lock: "spark" in ASCII, then 1.
const APPENDER_LOCK: i64 = 0x7370_6172_6b01;
/// Held by who makes, fills or drops partitions of the audience: "spark", then 2. Taken before the appender's.
pub(super) const PARTITIONS_LOCK: i64 = 0x7370_6172_6b02;

/// The logs of one database.
#[derive(Clone)]
pub struct PostgresLedger {
    pool: PgPool,
    written: Arc<Notify>,
}

impl PostgresLedger {
    pub fn new(pool: PgPool) -> Self {
        Self { pool, written: Arc::new(Notify::new()) }
    }

    /// Begins a transaction that may append: it is alone with the log until it ends.
    pub(super) async fn begin(&self) -> Result<Tx<'static>, PortError> {
        let mut tx = self.pool.begin().await.map_err(while_doing("begin a commit"))?;
        lock(&mut tx, APPENDER_LOCK).await?;
        Ok(tx)
    }

    /// Appends an event to a transaction of [`Self::begin`] and ends it.
    pub(super) async fn commit_with(
        &self,
        mut tx: Tx<'static>,
        event: Event,
    ) -> Result<(), PortError> {
        let events = append(&mut tx, vec![event]).await?;
        fold_into_cards(&mut tx, &events).await?;
        tx.commit().await.map_err(while_doing("commit"))?;
        self.written.notify_waiters();
        Ok(())
    }

    pub(super) const fn pool(&self) -> &PgPool {
        &self.pool
    }
}

#[async_trait]
impl Ledger for PostgresLedger {
    async fn commit(&self, commit: Commit) -> Result<Committed, CommitError> {
        let mut tx = self.pool.begin().await.map_err(while_doing("begin a commit"))?;
        // The long part comes first: nobody else's decision waits for a million messages.
        if let Some(audience) = &commit.audience {
            lock(&mut tx, PARTITIONS_LOCK).await?;
            store_audience(&mut tx, audience).await?;
        }
        lock(&mut tx, APPENDER_LOCK).await?;
        if let Some(expectation) = commit.expect {
            check(&mut tx, expectation).await?;
        }
        if let Some(step) = &commit.cursor {
            advance(&mut tx, step).await?;
        }
        if let Some(ticket) = commit.finish {
            finish(&mut tx, ticket).await?;
        }
        for object in &commit.media {
            sqlx::query!(
                "insert into media_objects (key, bytes, sha256) values ($1, $2, $3) on conflict (key) do nothing",
                object.key.as_str(),
                object.bytes as i64,
                object.sha256,
            )
            .execute(&mut *tx)
            .await
            .map_err(while_doing("note a media file"))?;
        }
        let events = append(&mut tx, commit.events).await?;
        fold_into_cards(&mut tx, &events).await?;
        let mut jobs = Vec::with_capacity(commit.jobs.len());
        for job in &commit.jobs {
            jobs.push(enqueue(&mut tx, job).await?);
        }
        tx.commit().await.map_err(while_doing("commit"))?;
        if !events.is_empty() || !jobs.is_empty() {
            self.written.notify_waiters();
        }
        Ok(Committed { events, jobs })
    }

    async fn events_after(&self, seq: i64) -> Result<Vec<Recorded<Event>>, PortError> {
        let rows = sqlx::query_as!(
            EventRow,
            "select seq, at, body from event_log where seq > $1 order by seq limit $2",
            seq,
            EVENTS_BATCH_MAX as i64,
        )
        .fetch_all(&self.pool)
        .await
        .map_err(while_doing("read the event log"))?;
        rows.into_iter().map(Recorded::try_from).collect()
    }

    async fn history(&self, subject: Uuid) -> Result<Vec<Recorded<Event>>, PortError> {
        let rows = sqlx::query_as!(
            EventRow,
            "select seq, at, body from event_log where subject = $1 order by seq",
            subject,
        )
        .fetch_all(&self.pool)
        .await
        .map_err(while_doing("read a subject's history"))?;
        rows.into_iter().map(Recorded::try_from).collect()
    }

    async fn cursor(&self, follower: &'static str) -> Result<i64, PortError> {
        let seq = sqlx::query_scalar!("select seq from cursors where follower = $1", follower)
            .fetch_optional(&self.pool)
            .await
            .map_err(while_doing("read a cursor"))?;
        Ok(seq.unwrap_or(0))
    }

    async fn messages_of(&self, live: LiveId) -> Result<Vec<ChatMessage>, PortError> {
        let rows = sqlx::query!(
            "select message_id, at, offset_ms, viewer_id, viewer_name, body, trusted, bits
               from audience_messages
              where live = $1
              order by offset_ms, message_id",
            live.as_uuid(),
        )
        .fetch_all(&self.pool)
        .await
        .map_err(while_doing("read a live's messages"))?;
        Ok(rows
            .into_iter()
            .map(|row| ChatMessage {
                message_id: row.message_id,
                at: row.at,
                offset_ms: row.offset_ms,
                viewer_id: row.viewer_id,
                viewer_name: row.viewer_name,
                text: row.body,
                trusted: row.trusted,
                bits: u32::try_from(row.bits).unwrap_or(0),
            })
            .collect())
    }

    async fn minutes_of(&self, live: LiveId) -> Result<Vec<AudienceMinute>, PortError> {
        sqlx::query_as!(
            AudienceMinute,
            "select minute, messages, chatters, coverage, viewers
               from audience_minutes where live = $1 order by minute",
            live.as_uuid(),
        )
        .fetch_all(&self.pool)
        .await
        .map_err(while_doing("read a live's minutes"))
    }

    async fn fold_minutes(
        &self,
        live: LiveId,
        lasted_ms: Option<i64>,
        looks: &[(i64, u32)],
    ) -> Result<(), PortError> {
        minutes::fold(&self.pool, live, lasted_ms, looks).await
    }

    async fn pulse_of(&self, live: LiveId, step_ms: i64) -> Result<Vec<(i64, i64)>, PortError> {
        let rows = sqlx::query!(
            r#"select offset_ms / $2 as "step!", count(*) as "messages!"
                 from audience_facts
                where live = $1 and kind = 'chat'
                group by 1
                order by 1"#,
            live.as_uuid(),
            step_ms.max(1),
        )
        .fetch_all(&self.pool)
        .await
        .map_err(while_doing("count a live's messages by step"))?;
        Ok(rows.into_iter().map(|row| (row.step, row.messages)).collect())
    }

    async fn week_key(&self, week: WeekId, fresh: [u8; 32]) -> Result<Option<[u8; 32]>, PortError> {
        sqlx::query!(
            "insert into week_keys (week, secret) values ($1, $2) on conflict (week) do nothing",
            week.as_uuid(),
            &fresh[..],
        )
        .execute(&self.pool)
        .await
        .map_err(while_doing("draw a week's key"))?;
        let secret =
            sqlx::query_scalar!("select secret from week_keys where week = $1", week.as_uuid())
                .fetch_one(&self.pool)
                .await
                .map_err(while_doing("read a week's key"))?;
        secret
            .map(|bytes| {
                <[u8; 32]>::try_from(bytes).map_err(|_| {
                    PortError::plain(format!("the key of week {week} in week_keys is not 32 bytes"))
                })
            })
            .transpose()
    }

    async fn age_audience(&self, week: WeekId, lives: &[LiveId]) -> Result<u64, PortError> {
        let lives: Vec<Uuid> = lives.iter().map(|live| live.as_uuid()).collect();
        let mut tx =
            self.pool.begin().await.map_err(while_doing("begin to age a week's audience"))?;
        let dropped = sqlx::query!("delete from audience_messages where live = any($1)", &lives)
            .execute(&mut *tx)
            .await
            .map_err(while_doing("drop a week's messages"))?
            .rows_affected();
        sqlx::query!("delete from notifications where live = any($1)", &lives)
            .execute(&mut *tx)
            .await
            .map_err(while_doing("drop a week's notices"))?;
        sqlx::query!(
            "insert into week_keys (week, secret, destroyed_at) values ($1, null, now())
             on conflict (week) do update set secret = null, destroyed_at = coalesce(week_keys.destroyed_at, now())",
            week.as_uuid(),
        )
        .execute(&mut *tx)
        .await
        .map_err(while_doing("destroy a week's key"))?;
        tx.commit().await.map_err(while_doing("age a week's audience"))?;
        Ok(dropped)
    }

    async fn sweep(&self, before: DateTime<Utc>) -> Result<(), PortError> {
        let mut tx = self.pool.begin().await.map_err(while_doing("begin to sweep"))?;
        // An import makes partitions under this lock: none may vanish between its making and its filling.
        lock(&mut tx, PARTITIONS_LOCK).await?;
        sqlx::query!("delete from inbox where heard_at < $1", before)
            .execute(&mut *tx)
            .await
            .map_err(while_doing("sweep the inbox"))?;
        // What no live claims has no report to wait for.
        sqlx::query!("delete from notifications where live is null and heard_at < $1", before)
            .execute(&mut *tx)
            .await
            .map_err(while_doing("drop old notices"))?;
        for log in ["audience_messages", "notifications"] {
            sqlx::query("select drop_empty_partitions($1, $2)")
                .bind(log)
                .bind(before)
                .execute(&mut *tx)
                .await
                .map_err(while_doing("drop empty days"))?;
        }
        tx.commit().await.map_err(while_doing("sweep"))
    }

    async fn erase_viewer(&self, viewer_id: &str, at: DateTime<Utc>) -> Result<u64, PortError> {
        erase(&self.pool, viewer_id, at).await
    }

    async fn written(&self) {
        self.written.notified().await;
    }
}

struct EventRow {
    seq: i64,
    at: chrono::DateTime<chrono::Utc>,
    body: serde_json::Value,
}

impl TryFrom<EventRow> for Recorded<Event> {
    type Error = PortError;
    fn try_from(row: EventRow) -> Result<Self, PortError> {
        let event = serde_json::from_value(row.body).map_err(|e| {
            PortError::lasting(
                format!("understand event {} of event_log; is the log of a newer spark?", row.seq),
                e,
            )
        })?;
        Ok(Self { seq: row.seq, at: row.at, event })
    }
}

pub(super) type Tx<'a> = Transaction<'a, Postgres>;

/// Waits for a lock that ends with the transaction.
pub(super) async fn lock(tx: &mut Tx<'_>, key: i64) -> Result<(), PortError> {
    sqlx::query("select pg_advisory_xact_lock($1)")
        .bind(key)
        .execute(&mut **tx)
        .await
        .map_err(while_doing("wait for a lock of the logs"))?;
    Ok(())
}

async fn check(tx: &mut Tx<'_>, expectation: Expectation) -> Result<(), CommitError> {
    let events = sqlx::query_scalar!(
        r#"select count(*) as "n!" from event_log where subject = $1"#,
        expectation.subject
    )
    .fetch_one(&mut **tx)
    .await
    .map_err(while_doing("count a subject's events"))?;
    if usize::try_from(events) == Ok(expectation.events) {
        Ok(())
    } else {
        Err(CommitError::Conflict)
    }
}

async fn advance(tx: &mut Tx<'_>, step: &CursorMove) -> Result<(), CommitError> {
    let moved = sqlx::query!(
        "insert into cursors (follower, seq)
         select $1, $3 where $2 = 0::bigint or exists (select from cursors where follower = $1)
         on conflict (follower) do update set seq = $3 where cursors.seq = $2",
        step.follower,
        step.from,
        step.to,
    )
    .execute(&mut **tx)
    .await
    .map_err(while_doing("move a cursor"))?;
    if moved.rows_affected() == 1 { Ok(()) } else { Err(CommitError::Conflict) }
}

async fn finish(tx: &mut Tx<'_>, ticket: JobTicket) -> Result<(), CommitError> {
    let finished = sqlx::query!(
        "update jobs
            set state = 'done', progress = 1, note = '', error = null, finished_at = now(), lease_until = null
          where id = $1 and fence = $2 and state = 'running'",
        ticket.id.as_uuid(),
        ticket.fence,
    )
    .execute(&mut **tx)
    .await
    .map_err(while_doing("finish a job"))?;
    if finished.rows_affected() == 1 { Ok(()) } else { Err(CommitError::LeaseLost) }
}

async fn append(tx: &mut Tx<'_>, events: Vec<Event>) -> Result<Vec<Recorded<Event>>, PortError> {
    if events.is_empty() {
        return Ok(Vec::new());
    }
    let head = sqlx::query_scalar!(r#"select coalesce(max(seq), 0) as "head!" from event_log"#)
        .fetch_one(&mut **tx)
        .await
        .map_err(while_doing("find the log's head"))?;
    let mut recorded = Vec::with_capacity(events.len());
    for (seq, event) in (head + 1..).zip(events) {
        let body =
            serde_json::to_value(&event).map_err(|e| PortError::lasting("write an event", e))?;
        let at = sqlx::query_scalar!(
            "insert into event_log (seq, feature, subject, body) values ($1, $2, $3, $4) returning at",
            seq,
            event.feature(),
            event.subject(),
            body,
        )
        .fetch_one(&mut **tx)
        .await
        .map_err(while_doing("append an event"))?;
        recorded.push(Recorded { seq, at, event });
    }
    Ok(recorded)
}
