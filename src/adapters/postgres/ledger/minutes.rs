//! Minutes folded from the facts of a live. Two folds of one live wait for each other, so that the later one has seen more.

use sqlx::PgPool;
use uuid::Uuid;

use crate::adapters::postgres::ledger::Tx;
use crate::adapters::postgres::while_doing;
use crate::domain::audience::{AudienceMinute, Gap, MinuteChat, Tally, minutes_of};
use crate::domain::ids::LiveId;
use crate::ports::PortError;

/// Lock class of folds: "min" in ASCII; a hash of the live's id follows.
const FOLD_LOCK: i32 = 0x006d_696e;

/// Folds a live's minutes anew.
pub(super) async fn fold(
    pool: &PgPool,
    live: LiveId,
    lasted_ms: Option<i64>,
    looks: &[(i64, u32)],
) -> Result<(), PortError> {
    let mut tx = pool.begin().await.map_err(while_doing("begin to fold a live's minutes"))?;
    sqlx::query("select pg_advisory_xact_lock($1, hashtext($2))")
        .bind(FOLD_LOCK)
        .bind(live.to_string())
        .execute(&mut *tx)
        .await
        .map_err(while_doing("wait for a fold of a live's minutes"))?;
    let tally = tally(&mut tx, live.as_uuid()).await?;
    let minutes = minutes_of(&tally, lasted_ms.unwrap_or(tally.last_ms), looks);
    sqlx::query!("delete from audience_minutes where live = $1", live.as_uuid())
        .execute(&mut *tx)
        .await
        .map_err(while_doing("replace a live's minutes"))?;
    store_minutes(&mut tx, live.as_uuid(), &minutes).await?;
    tx.commit().await.map_err(while_doing("fold a live's minutes"))
}

async fn tally(tx: &mut Tx<'_>, live: Uuid) -> Result<Tally, PortError> {
    let chat = sqlx::query_as!(
        MinuteChat,
        r#"select (offset_ms / 60000)::integer as "minute!",
                  count(*)::integer as "messages!",
                  count(distinct viewer)::integer as "chatters!"
             from audience_facts
            where live = $1 and kind = 'chat'
            group by 1"#,
        live,
    )
    .fetch_all(&mut **tx)
    .await
    .map_err(while_doing("count a live's chat by minutes"))?;
    let gaps = sqlx::query!(
        "select offset_ms, amount from audience_facts where live = $1 and kind = 'missed'",
        live,
    )
    .fetch_all(&mut **tx)
    .await
    .map_err(while_doing("read the gaps of a live"))?;
    let last_ms =
        sqlx::query_scalar!("select max(offset_ms) from audience_facts where live = $1", live)
            .fetch_one(&mut **tx)
            .await
            .map_err(while_doing("find the last fact of a live"))?;
    let gaps = gaps.iter().map(|gap| Gap::ending_at(gap.offset_ms, gap.amount)).collect();
    Ok(Tally { chat, gaps, last_ms: last_ms.unwrap_or(0) })
}

/// Stores minutes; one that stands stays.
pub(super) async fn store_minutes(
    tx: &mut Tx<'_>,
    live: Uuid,
    minutes: &[AudienceMinute],
) -> Result<(), PortError> {
    sqlx::query!(
        "insert into audience_minutes (live, minute, messages, chatters, coverage, viewers)
         select $1, * from unnest($2::integer[], $3::integer[], $4::integer[], $5::real[], $6::integer[])
         on conflict (live, minute) do nothing",
        live,
        &minutes.iter().map(|m| m.minute).collect::<Vec<_>>(),
        &minutes.iter().map(|m| m.messages).collect::<Vec<_>>(),
        &minutes.iter().map(|m| m.chatters).collect::<Vec<_>>(),
        &minutes.iter().map(|m| m.coverage).collect::<Vec<_>>(),
        &minutes.iter().map(|m| m.viewers).collect::<Vec<_>>() as &[Option<i32>],
    )
    .execute(&mut **tx)
    .await
    .map_err(while_doing("store audience minutes"))?;
    Ok(())
}
