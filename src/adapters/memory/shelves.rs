//! Read models in memory, folded by the same commit that writes their events.

use std::collections::BTreeMap;

use async_trait::async_trait;
use uuid::Uuid;

use crate::adapters::memory::MemoryDatabase;
use crate::domain::event::{Event, Recorded};
use crate::ports::PortError;
use crate::ports::shelves::{CARDS_LISTED_MAX, Rebuilt, Shelves};
use crate::read_models::Model;

/// A card as it stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct StandingCard {
    pub(super) parent: Uuid,
    pub(super) first_seq: i64,
    pub(super) document: serde_json::Value,
}

pub(super) type Cards = BTreeMap<(Model, Uuid), StandingCard>;

/// Folds an event into every card it touches.
pub(super) fn fold_into_cards(cards: &mut Cards, event: &Recorded<Event>) -> Result<(), PortError> {
    let key = event.event.subject();
    for model in Model::ALL.into_iter().filter(|model| model.hears(&event.event)) {
        let standing = cards.get(&(model, key));
        let first_seq = standing.map_or(event.seq, |card| card.first_seq);
        let folded =
            model.fold(standing.map(|card| card.document.clone()), event).map_err(|e| {
                PortError::lasting(
                    format!("fold event {} into card {key} of {model:?}", event.seq),
                    e,
                )
            })?;
        if let Some((parent, document)) = folded {
            cards.insert((model, key), StandingCard { parent, first_seq, document });
        }
    }
    Ok(())
}

#[async_trait]
impl Shelves for MemoryDatabase {
    async fn document(
        &self,
        model: Model,
        key: Uuid,
    ) -> Result<Option<serde_json::Value>, PortError> {
        Ok(self.state().cards.get(&(model, key)).map(|card| card.document.clone()))
    }

    async fn documents(
        &self,
        model: Model,
        parent: Uuid,
    ) -> Result<Vec<serde_json::Value>, PortError> {
        let state = self.state();
        let mut cards: Vec<&StandingCard> = state
            .cards
            .iter()
            .filter(|((of, _), card)| *of == model && card.parent == parent)
            .map(|(_, card)| card)
            .collect();
        cards.sort_by_key(|card| card.first_seq);
        Ok(cards.into_iter().take(CARDS_LISTED_MAX).map(|card| card.document.clone()).collect())
    }

    async fn rebuild(&self) -> Result<Vec<(Model, Rebuilt)>, PortError> {
        let mut state = self.state();
        let mut fresh = Cards::new();
        for event in &state.events {
            fold_into_cards(&mut fresh, event)?;
        }
        let of = |cards: &Cards, model| cards.keys().filter(|(m, _)| *m == model).count() as u64;
        let found = Model::ALL
            .into_iter()
            .map(|model| {
                let changed = fresh
                    .iter()
                    .filter(|(id, card)| id.0 == model && state.cards.get(id) != Some(card))
                    .count();
                let gone = state
                    .cards
                    .keys()
                    .filter(|id| id.0 == model && !fresh.contains_key(id))
                    .count();
                (model, Rebuilt { cards: of(&fresh, model), differing: (changed + gone) as u64 })
            })
            .collect();
        state.cards = fresh;
        Ok(found)
    }
}
