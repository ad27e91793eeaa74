//! Needs, asked of the outside. Traits only: no driver's type in a signature; each has a twin in `adapters/memory`.

pub mod alerts;
pub mod audience_log;
pub mod audience_source;
pub mod chat_reader;
pub mod clock;
pub mod demux;
pub mod dvr;
pub mod footage_index;
pub mod host;
pub mod ingest;
pub mod job_queue;
pub mod ledger;
pub mod listeners;
pub mod media_engine;
pub mod media_store;
pub mod people;
pub mod platform;
pub mod recorder;
pub mod relay;
pub mod renders;
pub mod resource_minutes;
pub mod shelves;
pub mod spool;
pub mod vault;
pub mod viewer_samples;

/// A system outside did not answer as hoped.
#[derive(Debug, thiserror::Error)]
#[error("{doing}")]
pub struct PortError {
    /// What was being done, for the log.
    pub doing: String,
    /// The same call may go through later.
    pub retry: bool,
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl PortError {
    /// A fault that may pass: a lost connection, a full queue.
    pub fn passing(
        doing: impl Into<String>,
        source: impl std::error::Error + Send + Sync + 'static,
    ) -> Self {
        Self { doing: doing.into(), retry: true, source: Some(Box::new(source)) }
    }

    /// A fault that stays until somebody mends something.
    pub fn lasting(
        doing: impl Into<String>,
        source: impl std::error::Error + Send + Sync + 'static,
    ) -> Self {
        Self { doing: doing.into(), retry: false, source: Some(Box::new(source)) }
    }

    /// A lasting fault that needs no source to be understood.
    pub fn plain(doing: impl Into<String>) -> Self {
        Self { doing: doing.into(), retry: false, source: None }
    }

    /// The whole chain of reasons on one line.
    pub fn chain(&self) -> String {
        let mut text = self.doing.clone();
        let mut next = std::error::Error::source(self);
        while let Some(error) = next {
            text.push_str(": ");
            text.push_str(&error.to_string());
            next = error.source();
        }
        text
    }
}
