//! Notices in PostgreSQL: what was heard before is dropped, the rest is stored whole, with what follows from it, in one
//! transaction under the audience's one appender.

pub(super) mod removal;

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Duration, Utc};
use sqlx::PgPool;
use sqlx::postgres::PgListener;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::adapters::postgres::audience::removal::{
    erasures, forget_removed, remove, split_erased,
};
use crate::adapters::postgres::ledger::{PARTITIONS_LOCK, Tx, lock, store_facts, store_messages};
use crate::adapters::postgres::while_doing;
use crate::domain::audience::notice::{Erasure, Notice};
use crate::domain::audience::{ChatMessage, Fact};
use crate::domain::ids::LiveId;
use crate::ports::PortError;
use crate::ports::audience_log::{AudienceLog, Entry, Logged, NOTICES_BATCH_MAX};

/// The audience's appender lock: "spark" in ASCII, then 3.
pub(super) const AUDIENCE_LOCK: i64 = 0x7370_6172_6b03;
/// The channel on which processes tell each other that they appended, and the pause after it failed.
const APPENDED: &str = "spark_audience";
const HEAR_AGAIN: std::time::Duration = std::time::Duration::from_secs(1);
/// Days whose partitions are made ahead.
const DAYS_AHEAD: i64 = 2;
/// Sources of ids in the inbox: of the transport, and of what happened.
const MESSAGES: &str = "message";
pub(super) const BUSINESS: &str = "business";

/// The log of notices of one database.
#[derive(Clone)]
pub struct PostgresAudienceLog {
    pool: PgPool,
    appended: Arc<Notify>,
}

impl PostgresAudienceLog {
    pub fn new(pool: PgPool) -> Self {
        Self { pool, appended: Arc::new(Notify::new()) }
    }

    /// Wakes who waits for [`AudienceLog::appended`] when another process appends, until `stop`. Without it they find out at
    /// their next look.
    pub async fn hear_others(&self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let heard = async {
                let mut listener = PgListener::connect_with(&self.pool).await?;
                listener.listen(APPENDED).await?;
                loop {
                    listener.recv().await?;
                    self.appended.notify_waiters();
                }
            };
            let heard: Option<Result<(), sqlx::Error>> = stop.run_until_cancelled(heard).await;
            if let Some(Err(error)) = heard {
                tracing::debug!(%error, "appends of other processes are seen at the next look only");
                stop.run_until_cancelled(tokio::time::sleep(HEAR_AGAIN)).await;
            }
        }
    }

    /// The days of these entries have a place; made in a transaction of its own, so that appending waits for nobody.
    async fn ensure_days(&self, entries: &[Entry]) -> Result<(), PortError> {
        let mut days: Vec<(&str, &str, DateTime<Utc>)> = Vec::new();
        for entry in entries {
            days.push(("notifications", "day", entry.notice.heard_at));
            days.extend(entry.message.iter().map(|m| ("audience_messages", "day", m.at)));
            days.extend(entry.facts.iter().map(|fact| ("audience_facts", "month", fact.at)));
        }
        let name = |&(log, step, at): &(&str, &str, DateTime<Utc>)| {
            format!("{log}_{}", at.format(if step == "day" { "%Y%m%d" } else { "%Y%m" }))
        };
        days.sort_unstable_by_key(name);
        days.dedup_by_key(|day| name(day));
        let names: Vec<String> = days.iter().map(name).collect();
        let missing = sqlx::query_scalar!(
            r#"select name as "name!" from unnest($1::text[]) as name where to_regclass(name) is null"#,
            &names,
        )
        .fetch_all(&self.pool)
        .await
        .map_err(while_doing("look for the audience's partitions"))?;
        let missing: Vec<_> = days.into_iter().filter(|day| missing.contains(&name(day))).collect();
        self.make_partitions(&missing).await
    }

    async fn make_partitions(&self, days: &[(&str, &str, DateTime<Utc>)]) -> Result<(), PortError> {
        if days.is_empty() {
            return Ok(());
        }
        let mut tx = self.pool.begin().await.map_err(while_doing("begin to make partitions"))?;
        lock(&mut tx, PARTITIONS_LOCK).await?;
        for (log, step, at) in days {
            sqlx::query("select ensure_partition($1, $2, $3)")
                .bind(log)
                .bind(step)
                .bind(at)
                .execute(&mut *tx)
                .await
                .map_err(while_doing("make a partition of the audience"))?;
        }
        tx.commit().await.map_err(while_doing("make partitions"))
    }
}

#[async_trait]
impl AudienceLog for PostgresAudienceLog {
    async fn append(&self, entries: Vec<Entry>) -> Result<Vec<Logged>, PortError> {
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        self.ensure_days(&entries).await?;
        let mut tx = self.pool.begin().await.map_err(while_doing("begin to store notices"))?;
        lock(&mut tx, AUDIENCE_LOCK).await?;
        let (entries, erased) = split_erased(&mut tx, entries).await?;
        let mut fresh = not_heard_before(&mut tx, entries).await?;
        forget_removed(&mut tx, &mut fresh).await?;
        let logged = store_notices(&mut tx, &fresh).await?;
        store_what_follows(&mut tx, &fresh).await?;
        // What an erased moderator took away stays away.
        for removal in fresh.iter().chain(&erased).filter_map(|entry| entry.removal.as_ref()) {
            remove(&mut tx, removal).await?;
        }
        if !logged.is_empty() {
            sqlx::query("select pg_notify($1, '')")
                .bind(APPENDED)
                .execute(&mut *tx)
                .await
                .map_err(while_doing("tell of new notices"))?;
        }
        tx.commit().await.map_err(while_doing("store notices"))?;
        if !logged.is_empty() {
            self.appended.notify_waiters();
        }
        Ok(logged)
    }

    async fn after(&self, seq: i64) -> Result<Vec<Logged>, PortError> {
        sqlx::query_as!(
            NoticeRow,
            "select seq, heard_at, channel, live, message_id, kind, version, raw, reading
               from notifications where seq > $1 order by seq limit $2",
            seq,
            NOTICES_BATCH_MAX as i64,
        )
        .fetch_all(&self.pool)
        .await
        .map_err(while_doing("read notices"))?
        .into_iter()
        .map(Logged::try_from)
        .collect()
    }

    async fn of_live(&self, live: LiveId, seq: i64) -> Result<Vec<Logged>, PortError> {
        sqlx::query_as!(
            NoticeRow,
            "select seq, heard_at, channel, live, message_id, kind, version, raw, reading
               from notifications where live = $1 and seq > $2 order by seq limit $3",
            live.as_uuid(),
            seq,
            NOTICES_BATCH_MAX as i64,
        )
        .fetch_all(&self.pool)
        .await
        .map_err(while_doing("read a live's notices"))?
        .into_iter()
        .map(Logged::try_from)
        .collect()
    }

    async fn head(&self) -> Result<i64, PortError> {
        let head = sqlx::query_scalar!("select max(seq) from notifications")
            .fetch_one(&self.pool)
            .await
            .map_err(while_doing("find the newest notice"))?;
        Ok(head.unwrap_or(0))
    }

    async fn last_heard(&self, channel: &str) -> Result<Option<DateTime<Utc>>, PortError> {
        sqlx::query_scalar!("select max(heard_at) from notifications where channel = $1", channel)
            .fetch_one(&self.pool)
            .await
            .map_err(while_doing("find when a channel was last heard"))
    }

    async fn erasures(&self) -> Result<Vec<Erasure>, PortError> {
        erasures(&self.pool).await
    }

    async fn make_room(&self, day: DateTime<Utc>) -> Result<(), PortError> {
        let days: Vec<_> = (0..=DAYS_AHEAD)
            .flat_map(|ahead| {
                let at = day + Duration::days(ahead);
                [
                    ("notifications", "day", at),
                    ("audience_messages", "day", at),
                    ("audience_facts", "month", at),
                ]
            })
            .collect();
        self.make_partitions(&days).await
    }

    async fn appended(&self) {
        self.appended.notified().await;
    }
}

/// Leaves out what the inbox knows, by the transport's id and by what happened.
async fn not_heard_before(tx: &mut Tx<'_>, entries: Vec<Entry>) -> Result<Vec<Entry>, PortError> {
    let mut seen = HashSet::new();
    let entries: Vec<Entry> =
        entries.into_iter().filter(|entry| seen.insert(entry.notice.message_id.clone())).collect();
    let ids = entries.iter().map(|entry| entry.notice.message_id.clone()).collect();
    let new = note(tx, MESSAGES, ids).await?;
    let mut seen = HashSet::new();
    let entries: Vec<Entry> = entries
        .into_iter()
        .filter(|entry| new.contains(&entry.notice.message_id))
        .filter(|entry| business_id(&entry.notice).is_none_or(|id| seen.insert(id)))
        .collect();
    let ids = entries.iter().filter_map(|entry| business_id(&entry.notice)).collect();
    let new = note(tx, BUSINESS, ids).await?;
    let is_new = |entry: &Entry| business_id(&entry.notice).is_none_or(|id| new.contains(&id));
    Ok(entries.into_iter().filter(is_new).collect())
}

fn business_id(notice: &Notice) -> Option<String> {
    notice.happening()?.business_id.clone()
}

/// Writes ids down and gives back those that were not there.
async fn note(
    tx: &mut Tx<'_>,
    source: &str,
    ids: Vec<String>,
) -> Result<HashSet<String>, PortError> {
    if ids.is_empty() {
        return Ok(HashSet::new());
    }
    let new = sqlx::query_scalar!(
        "insert into inbox (source, message_id)
         select $1, message_id from unnest($2::text[]) as message_id
         on conflict on constraint inbox_key do nothing
         returning message_id",
        source,
        &ids,
    )
    .fetch_all(&mut **tx)
    .await
    .map_err(while_doing("note notices in the inbox"))?;
    Ok(new.into_iter().collect())
}

async fn store_notices(tx: &mut Tx<'_>, entries: &[Entry]) -> Result<Vec<Logged>, PortError> {
    if entries.is_empty() {
        return Ok(Vec::new());
    }
    let mut numbers = sqlx::query_scalar!(
        r#"select nextval('notification_numbers') as "n!" from generate_series(1, $1)"#,
        entries.len() as i64,
    )
    .fetch_all(&mut **tx)
    .await
    .map_err(while_doing("number notices"))?;
    numbers.sort_unstable();
    let readings: Vec<serde_json::Value> = entries
        .iter()
        .map(|entry| serde_json::to_value(&entry.notice.reading))
        .collect::<Result<_, _>>()
        .map_err(|e| PortError::lasting("write a notice's reading", e))?;
    let texts = |of: fn(&Notice) -> &str| -> Vec<String> {
        entries.iter().map(|entry| without_nul(of(&entry.notice))).collect()
    };
    sqlx::query!(
        "insert into notifications
             (seq, heard_at, channel, live, message_id, kind, version, subject, viewer_id, raw, reading)
         select * from unnest(
             $1::bigint[], $2::timestamptz[], $3::text[], $4::uuid[], $5::text[], $6::text[], $7::text[],
             $8::text[], $9::text[], $10::text[], $11::jsonb[])",
        &numbers,
        &entries.iter().map(|entry| entry.notice.heard_at).collect::<Vec<_>>(),
        &texts(|notice| &notice.channel),
        &entries.iter().map(|entry| entry.live.map(LiveId::as_uuid)).collect::<Vec<_>>() as &[Option<Uuid>],
        &texts(|notice| &notice.message_id),
        &texts(|notice| &notice.kind),
        &texts(|notice| &notice.version),
        &entries.iter().map(|entry| entry.notice.subject().map(str::to_owned)).collect::<Vec<_>>()
            as &[Option<String>],
        &entries.iter().map(|entry| entry.notice.viewer_id().map(str::to_owned)).collect::<Vec<_>>()
            as &[Option<String>],
        &texts(|notice| &notice.raw),
        &readings,
    )
    .execute(&mut **tx)
    .await
    .map_err(while_doing("store notices"))?;
    let logged = |(seq, entry): (i64, &Entry)| Logged {
        seq,
        live: entry.live,
        notice: entry.notice.clone(),
    };
    Ok(numbers.into_iter().zip(entries).map(logged).collect())
}

async fn store_what_follows(tx: &mut Tx<'_>, entries: &[Entry]) -> Result<(), PortError> {
    let lives: HashSet<LiveId> = entries.iter().filter_map(|entry| entry.live).collect();
    for live in lives {
        let of_live = || entries.iter().filter(move |entry| entry.live == Some(live));
        let messages: Vec<&ChatMessage> =
            of_live().filter_map(|entry| entry.message.as_ref()).collect();
        if !messages.is_empty() {
            store_messages(tx, live.as_uuid(), &messages).await?;
        }
    }
    let facts: Vec<Fact> = entries.iter().flat_map(|entry| entry.facts.iter().cloned()).collect();
    store_facts(tx, &facts).await
}

/// PostgreSQL's text holds every character but this one.
fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

struct NoticeRow {
    seq: i64,
    heard_at: DateTime<Utc>,
    channel: String,
    live: Option<Uuid>,
    message_id: String,
    kind: String,
    version: String,
    raw: String,
    reading: serde_json::Value,
}

impl TryFrom<NoticeRow> for Logged {
    type Error = PortError;
    fn try_from(row: NoticeRow) -> Result<Self, PortError> {
        let reading = serde_json::from_value(row.reading).map_err(|e| {
            PortError::lasting(format!("understand notice {} of the log", row.seq), e)
        })?;
        let notice = Notice {
            message_id: row.message_id,
            heard_at: row.heard_at,
            channel: row.channel,
            kind: row.kind,
            version: row.version,
            raw: row.raw,
            reading,
        };
        Ok(Self { seq: row.seq, live: row.live.map(LiveId::from_uuid), notice })
    }
}
