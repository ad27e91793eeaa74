//! Read models in PostgreSQL: one table of cards, folded in the commit that changes them.

use async_trait::async_trait;
use sqlx::{PgPool, Postgres, Transaction};
use uuid::Uuid;

use crate::adapters::postgres::while_doing;
use crate::domain::event::{Event, Recorded};
use crate::ports::PortError;
use crate::ports::ledger::EVENTS_BATCH_MAX;
use crate::ports::shelves::{CARDS_LISTED_MAX, Rebuilt, Shelves};
use crate::read_models::Model;

/// The cards of one database.
#[derive(Clone)]
pub struct PostgresShelves {
    pool: PgPool,
}

impl PostgresShelves {
    pub const fn new(pool: PgPool) -> Self {
        Self { pool }
    }
}

/// Folds events into every card they touch.
pub(super) async fn fold_into_cards(
    tx: &mut Transaction<'_, Postgres>,
    events: &[Recorded<Event>],
) -> Result<(), PortError> {
    for event in events {
        for model in Model::ALL.into_iter().filter(|model| model.hears(&event.event)) {
            fold_one(tx, model, event).await?;
        }
    }
    Ok(())
}

async fn fold_one(
    tx: &mut Transaction<'_, Postgres>,
    model: Model,
    event: &Recorded<Event>,
) -> Result<(), PortError> {
    let key = event.event.subject();
    let standing = sqlx::query_scalar!(
        "select document from cards where model = $1 and key = $2",
        model.as_str(),
        key
    )
    .fetch_optional(&mut **tx)
    .await
    .map_err(while_doing("read a card"))?;
    let folded = model.fold(standing, event).map_err(|e| {
        PortError::lasting(format!("fold event {} into card {key} of {model:?}", event.seq), e)
    })?;
    let Some((parent, document)) = folded else { return Ok(()) };
    sqlx::query!(
        "insert into cards (model, key, parent, first_seq, document) values ($1, $2, $3, $4, $5)
         on conflict (model, key) do update set parent = $3, document = $5",
        model.as_str(),
        key,
        parent,
        event.seq,
        document,
    )
    .execute(&mut **tx)
    .await
    .map_err(while_doing("write a card"))?;
    Ok(())
}

#[async_trait]
impl Shelves for PostgresShelves {
    async fn document(
        &self,
        model: Model,
        key: Uuid,
    ) -> Result<Option<serde_json::Value>, PortError> {
        sqlx::query_scalar!(
            "select document from cards where model = $1 and key = $2",
            model.as_str(),
            key
        )
        .fetch_optional(&self.pool)
        .await
        .map_err(while_doing("read a card"))
    }

    async fn documents(
        &self,
        model: Model,
        parent: Uuid,
    ) -> Result<Vec<serde_json::Value>, PortError> {
        sqlx::query_scalar!(
            "select document from cards where model = $1 and parent = $2 order by first_seq limit $3",
            model.as_str(),
            parent,
            CARDS_LISTED_MAX as i64,
        )
        .fetch_all(&self.pool)
        .await
        .map_err(while_doing("list cards"))
    }

    async fn rebuild(&self) -> Result<Vec<(Model, Rebuilt)>, PortError> {
        let mut tx = self.pool.begin().await.map_err(while_doing("begin a rebuild"))?;
        // Writers wait: what is compared must not move meanwhile.
        sqlx::raw_sql(
            "lock table event_log, cards in exclusive mode;
             create temporary table cards_before on commit drop as select * from cards;
             delete from cards",
        )
        .execute(&mut *tx)
        .await
        .map_err(while_doing("set the standing cards aside"))?;
        let mut seq = 0;
        loop {
            let rows = sqlx::query!(
                "select seq, at, body from event_log where seq > $1 order by seq limit $2",
                seq,
                EVENTS_BATCH_MAX as i64
            )
            .fetch_all(&mut *tx)
            .await
            .map_err(while_doing("read the event log"))?;
            let Some(last) = rows.last() else { break };
            seq = last.seq;
            for row in rows {
                let event = serde_json::from_value(row.body).map_err(|e| {
                    PortError::lasting(format!("understand event {} of event_log", row.seq), e)
                })?;
                fold_into_cards(&mut tx, &[Recorded { seq: row.seq, at: row.at, event }]).await?;
            }
        }
        let mut found = Vec::with_capacity(Model::ALL.len());
        for model in Model::ALL {
            let (cards, differing): (i64, i64) = sqlx::query_as(
                "select count(cards.key), count(*) filter (where cards is distinct from cards_before)
                   from (select * from cards where model = $1) as cards
                   full join (select * from cards_before where model = $1) as cards_before using (key)",
            )
            .bind(model.as_str())
            .fetch_one(&mut *tx)
            .await
            .map_err(while_doing("compare cards"))?;
            found.push((model, Rebuilt { cards: cards as u64, differing: differing as u64 }));
        }
        tx.commit().await.map_err(while_doing("finish a rebuild"))?;
        Ok(found)
    }
}
