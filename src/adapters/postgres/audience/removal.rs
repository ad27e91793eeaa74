//! What has to go, and stays away when it is told late: words that a moderator took away, a viewer who is erased.

use chrono::{DateTime, Utc};
use sqlx::{PgExecutor, PgPool};
use uuid::Uuid;

use crate::adapters::postgres::audience::{AUDIENCE_LOCK, BUSINESS};
use crate::adapters::postgres::ledger::{Tx, lock};
use crate::adapters::postgres::while_doing;
use crate::domain::audience::notice::{Erasure, Notice};
use crate::ports::PortError;
use crate::ports::audience_log::{Entry, Removal};

/// Sources of ids in the inbox: of messages, of viewers whose words had to go, and of viewers who are erased.
const REMOVED: &str = "removed:";
const SILENCED: &str = "silenced:";
const ERASED: &str = "erased";

/// A message that comes after its own deletion is stored without its words.
pub(super) async fn forget_removed(
    tx: &mut Tx<'_>,
    entries: &mut [Entry],
) -> Result<(), PortError> {
    let mut sources = Vec::new();
    let mut ids = Vec::new();
    for entry in entries.iter() {
        let Some((message_id, viewer_id, _)) = words(&entry.notice) else { continue };
        let channel = &entry.notice.channel;
        sources.extend([format!("{REMOVED}{channel}"), format!("{SILENCED}{channel}")]);
        ids.extend([message_id.to_owned(), viewer_id.to_owned()]);
    }
    if ids.is_empty() {
        return Ok(());
    }
    let gone = sqlx::query!(
        "select source, message_id, heard_at from inbox
          where (source, message_id) in (select * from unnest($1::text[], $2::text[]))",
        &sources,
        &ids,
    )
    .fetch_all(&mut **tx)
    .await
    .map_err(while_doing("look for removed messages"))?;
    if gone.is_empty() {
        return Ok(());
    }
    for entry in entries {
        let Some((message_id, viewer_id, at)) = words(&entry.notice) else { continue };
        let channel = &entry.notice.channel;
        let is_gone = gone.iter().any(|row| {
            if row.source.strip_prefix(REMOVED) == Some(channel) {
                return row.message_id == message_id;
            }
            row.source.strip_prefix(SILENCED) == Some(channel)
                && row.message_id == viewer_id
                && at <= row.heard_at
        });
        if is_gone {
            entry.message = None;
            entry.notice.forget_words();
        }
    }
    Ok(())
}

/// The message, the viewer and the instant of what was said, if this is something that was said.
fn words(notice: &Notice) -> Option<(&str, &str, DateTime<Utc>)> {
    Some((notice.subject()?, notice.viewer_id()?, notice.happening()?.at))
}

/// Takes words out of the log, and remembers that they have to stay out.
pub(super) async fn remove(tx: &mut Tx<'_>, removal: &Removal) -> Result<(), PortError> {
    let (source, id, channel, message_id, viewer_id, until) = match removal {
        Removal::Message { channel, message_id } => {
            (format!("{REMOVED}{channel}"), message_id, channel, Some(message_id), None, None)
        }
        Removal::Viewer { channel, viewer_id, until } => {
            let source = format!("{SILENCED}{channel}");
            (source, viewer_id, channel, None, Some(viewer_id), Some(*until))
        }
    };
    sqlx::query!(
        "insert into inbox (source, message_id, heard_at) values ($1, $2, coalesce($3, now()))
         on conflict on constraint inbox_key do update set heard_at = greatest(inbox.heard_at, excluded.heard_at)",
        source,
        id,
        until,
    )
    .execute(&mut **tx)
    .await
    .map_err(while_doing("remember a removal"))?;
    let gone = sqlx::query!(
        r#"update notifications set raw = '', reading = '"noted"'
            where channel = $1 and subject is not null and kind = 'channel.chat.message'
              and ($2::text is null or subject = $2)
              and ($3::text is null or viewer_id = $3)
              and ($4::timestamptz is null or heard_at <= $4 + interval '10 seconds')
        returning live, subject as "subject!""#,
        channel,
        message_id,
        viewer_id,
        until,
    )
    .fetch_all(&mut **tx)
    .await
    .map_err(while_doing("take words out of the log"))?;
    let lives: Vec<Uuid> = gone.iter().filter_map(|row| row.live).collect();
    let subjects: Vec<String> = gone.into_iter().map(|row| row.subject).collect();
    sqlx::query!(
        "delete from audience_messages where live = any($1) and message_id = any($2)",
        &lives,
        &subjects,
    )
    .execute(&mut **tx)
    .await
    .map_err(while_doing("take messages out of the log"))?;
    Ok(())
}

/// Removes everything a viewer left, and lets nothing in any more that was heard of them by `at`; says how many rows went.
pub(in crate::adapters::postgres) async fn erase(
    pool: &PgPool,
    viewer_id: &str,
    at: DateTime<Utc>,
) -> Result<u64, PortError> {
    // First the word that nothing more comes in, between two batches: whatever was stored before it is seen by what
    // follows, which takes long and must not hold the listeners up.
    let mut tx = pool.begin().await.map_err(while_doing("begin to note an erasure"))?;
    lock(&mut tx, AUDIENCE_LOCK).await?;
    sqlx::query!(
        "insert into inbox (source, message_id, heard_at) values ($1, $2, $3)
         on conflict on constraint inbox_key do update set heard_at = greatest(inbox.heard_at, excluded.heard_at)",
        ERASED,
        viewer_id,
        at,
    )
    .execute(&mut *tx)
    .await
    .map_err(while_doing("note an erasure"))?;
    tx.commit().await.map_err(while_doing("note an erasure"))?;
    let mut tx = pool.begin().await.map_err(while_doing("begin to erase a viewer"))?;
    // In the order in which a removal goes through the tables: neither waits for the other.
    // Whoever is named beside others, as the giver of a gift or the target of a ban, is found by the id in the text.
    let notices = sqlx::query!(
        "delete from notifications where viewer_id = $1 or position($2 in raw) > 0",
        viewer_id,
        format!("\"{viewer_id}\""),
    )
    .execute(&mut *tx)
    .await
    .map_err(while_doing("erase a viewer's notices"))?;
    let messages = sqlx::query!("delete from audience_messages where viewer_id = $1", viewer_id)
        .execute(&mut *tx)
        .await
        .map_err(while_doing("erase a viewer's messages"))?;
    sqlx::query!(
        "delete from inbox where source = $1 and ':' || message_id || ':' like '%:' || $2 || ':%'",
        BUSINESS,
        viewer_id,
    )
    .execute(&mut *tx)
    .await
    .map_err(while_doing("erase a viewer's ids"))?;
    tx.commit().await.map_err(while_doing("erase a viewer"))?;
    Ok(messages.rows_affected() + notices.rows_affected())
}

/// The erasures the inbox still knows.
pub(super) async fn erasures(executor: impl PgExecutor<'_>) -> Result<Vec<Erasure>, PortError> {
    let rows = sqlx::query!(
        "select message_id, heard_at from inbox where source = $1 order by heard_at",
        ERASED,
    )
    .fetch_all(executor)
    .await
    .map_err(while_doing("read which viewers are erased"))?;
    Ok(rows
        .into_iter()
        .map(|row| Erasure { viewer_id: row.message_id, at: row.heard_at })
        .collect())
}

/// Leaves out what was heard of viewers before they were erased: (what stays, what was left out).
pub(super) async fn split_erased(
    tx: &mut Tx<'_>,
    entries: Vec<Entry>,
) -> Result<(Vec<Entry>, Vec<Entry>), PortError> {
    let erasures = erasures(&mut **tx).await?;
    let stays = |entry: &Entry| !erasures.iter().any(|erasure| erasure.takes(&entry.notice));
    Ok(entries.into_iter().partition(stays))
}
