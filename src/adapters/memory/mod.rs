//! Memory twins of every port: they keep the same promises as the real systems (one contract suite runs against
//! both), decide time and chance, and fail on request.

mod alerts;
mod audience;
mod chat_reader;
mod clock;
mod database;
mod dvr;
mod footage_index;
mod host;
mod ingest;
mod jobs;
mod ledger;
mod listeners;
mod media_engine;
mod media_store;
mod people;
mod recorder;
mod shelves;
mod spool;
mod vault;
mod viewer_samples;

pub use alerts::{MemoryAlerts, MemoryHerald};
pub use chat_reader::MemoryChatReader;
pub use clock::MemoryClock;
pub use database::MemoryDatabase;
pub use dvr::MemoryDvr;
pub use footage_index::MemoryFootageIndex;
pub use host::MemoryMachine;
pub use ingest::{MemoryCamera, MemoryEncoder, MemoryIngest};
pub use listeners::MemoryListeners;
pub use media_engine::{EngineCall, EngineVerb, MemoryMediaEngine};
pub use media_store::MemoryMediaStore;
pub use people::MemoryPeople;
pub use recorder::MemoryRecorder;
pub use spool::MemorySpool;
pub use vault::MemoryVault;
pub use viewer_samples::MemoryViewerSamples;
