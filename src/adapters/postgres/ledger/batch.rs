//! A live's audience on its way into its tables.

use uuid::Uuid;

use crate::adapters::postgres::ledger::Tx;
use crate::adapters::postgres::ledger::minutes::store_minutes;
use crate::adapters::postgres::while_doing;
use crate::domain::audience::{ChatMessage, Fact};
use crate::ports::PortError;
use crate::ports::ledger::AudienceBatch;

/// Rows sent in one insert.
const ROWS_PER_INSERT: usize = 5_000;

/// Stores a live's audience. What the inbox has heard already is dropped, so that the same messages twice add nothing.
pub(super) async fn store_audience(
    tx: &mut Tx<'_>,
    batch: &AudienceBatch,
) -> Result<(), PortError> {
    let days: std::collections::BTreeSet<_> =
        batch.messages.iter().map(|message| message.at.date_naive()).collect();
    for day in days {
        let noon = day.and_hms_opt(12, 0, 0).unwrap_or_default().and_utc();
        for (log, step) in [("audience_messages", "day"), ("audience_facts", "month")] {
            sqlx::query("select ensure_partition($1, $2, $3)")
                .bind(log)
                .bind(step)
                .bind(noon)
                .execute(&mut **tx)
                .await
                .map_err(while_doing("make a log's partition"))?;
        }
    }
    let live = batch.live.as_uuid();
    let source = format!("live:{live}");
    for chunk in batch.messages.chunks(ROWS_PER_INSERT) {
        let ids: Vec<&str> = chunk.iter().map(|m| m.message_id.as_str()).collect();
        let fresh = sqlx::query_scalar!(
            "insert into inbox (source, message_id)
             select $1, message_id from unnest($2::text[]) as message_id
             on conflict on constraint inbox_key do nothing
             returning message_id",
            source,
            &ids as &[&str],
        )
        .fetch_all(&mut **tx)
        .await
        .map_err(while_doing("note messages in the inbox"))?;
        let fresh: std::collections::HashSet<String> = fresh.into_iter().collect();
        let kept: Vec<&ChatMessage> =
            chunk.iter().filter(|m| fresh.contains(&m.message_id)).collect();
        store_messages(tx, live, &kept).await?;
    }
    store_facts(tx, &batch.facts).await?;
    store_minutes(tx, live, &batch.minutes).await
}

/// Stores facts, each with its live.
pub(in crate::adapters::postgres) async fn store_facts(
    tx: &mut Tx<'_>,
    facts: &[Fact],
) -> Result<(), PortError> {
    for chunk in facts.chunks(ROWS_PER_INSERT) {
        sqlx::query!(
            "insert into audience_facts (live, at, offset_ms, kind, viewer, amount)
             select * from unnest(
                 $1::uuid[], $2::timestamptz[], $3::bigint[], $4::text[], $5::bytea[], $6::bigint[])",
            &chunk.iter().map(|f| f.live.as_uuid()).collect::<Vec<_>>(),
            &chunk.iter().map(|f| f.at).collect::<Vec<_>>(),
            &chunk.iter().map(|f| f.offset_ms).collect::<Vec<_>>(),
            &chunk.iter().map(|f| f.kind.as_str().to_owned()).collect::<Vec<_>>(),
            &chunk.iter().map(|f| f.viewer.0.to_vec()).collect::<Vec<_>>(),
            &chunk.iter().map(|f| f.amount).collect::<Vec<_>>(),
        )
        .execute(&mut **tx)
        .await
        .map_err(while_doing("store audience facts"))?;
    }
    Ok(())
}

/// Stores a live's messages.
pub(in crate::adapters::postgres) async fn store_messages(
    tx: &mut Tx<'_>,
    live: Uuid,
    messages: &[&ChatMessage],
) -> Result<(), PortError> {
    sqlx::query!(
        "insert into audience_messages (live, at, offset_ms, message_id, viewer_id, viewer_name, body, trusted, bits)
         select $1, * from unnest(
             $2::timestamptz[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::boolean[], $9::integer[])",
        live,
        &messages.iter().map(|m| m.at).collect::<Vec<_>>(),
        &messages.iter().map(|m| m.offset_ms).collect::<Vec<_>>(),
        &messages.iter().map(|m| m.message_id.clone()).collect::<Vec<_>>(),
        &messages.iter().map(|m| m.viewer_id.clone()).collect::<Vec<_>>(),
        &messages.iter().map(|m| m.viewer_name.clone()).collect::<Vec<_>>(),
        &messages.iter().map(|m| m.text.clone()).collect::<Vec<_>>(),
        &messages.iter().map(|m| m.trusted).collect::<Vec<_>>(),
        &messages.iter().map(|m| i32::try_from(m.bits).unwrap_or(i32::MAX)).collect::<Vec<_>>(),
    )
    .execute(&mut **tx)
    .await
    .map_err(while_doing("store messages"))?;
    Ok(())
}
