//! Where folded read models stand. A card is one document of one model; the ledger folds it in the commit that changes it.

use async_trait::async_trait;
use uuid::Uuid;

use crate::ports::PortError;
use crate::read_models::{Card, Model};

/// Most cards listed under one parent.
pub const CARDS_LISTED_MAX: usize = 1_000;

/// Reads cards as stored documents.
#[async_trait]
pub trait Shelves: Send + Sync {
    /// One card's document.
    async fn document(
        &self,
        model: Model,
        key: Uuid,
    ) -> Result<Option<serde_json::Value>, PortError>;

    /// All documents under a parent, in the order they were first written; at most [`CARDS_LISTED_MAX`].
    async fn documents(
        &self,
        model: Model,
        parent: Uuid,
    ) -> Result<Vec<serde_json::Value>, PortError>;

    /// Folds every model anew from the event log and says, per model, how many cards differed from those that stood.
    async fn rebuild(&self) -> Result<Vec<(Model, Rebuilt)>, PortError>;
}

/// What a rebuild found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rebuilt {
    pub cards: u64,
    pub differing: u64,
}

/// One card, typed.
pub async fn find_card<C: Card>(shelves: &dyn Shelves, key: Uuid) -> Result<Option<C>, PortError> {
    shelves.document(C::MODEL, key).await?.map(|document| read::<C>(key, document)).transpose()
}

/// All cards under a parent, typed.
pub async fn cards_of<C: Card>(shelves: &dyn Shelves, parent: Uuid) -> Result<Vec<C>, PortError> {
    let documents = shelves.documents(C::MODEL, parent).await?;
    documents.into_iter().map(|document| read::<C>(parent, document)).collect()
}

fn read<C: Card>(near: Uuid, document: serde_json::Value) -> Result<C, PortError> {
    serde_json::from_value(document).map_err(|e| {
        PortError::lasting(
            format!("read a card of {:?} near {near}; run `spark rebuild`", C::MODEL),
            e,
        )
    })
}
