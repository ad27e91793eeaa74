//! Renders as the 80 % rule sees them: work that may be stopped for a moment, and that asks before it takes memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;

use crate::domain::resources::admission::{Profile, Refusal};

/// The variable by which a child says whose it is: the process id of its parent. Who starts finds those whose parent is gone.
pub const PARENT_MARK: &str = "CHILD_OF_SPARK";

/// The renders of this process that run now. Interactive cuts and glances are none of them.
pub trait Renders: Send + Sync {
    /// CPU time they took since this was asked last; none when there are none.
    fn spent(&self) -> Option<Duration>;

    /// Lets them run.
    fn go(&self);

    /// Stops them where they are, those too that begin later.
    fn halt(&self);
}

/// Who is asked before a render starts.
#[async_trait]
pub trait Admission: Send + Sync {
    /// Waits until there is room. To be dropped when nobody needs the render any more.
    async fn admit(&self, profile: Profile) -> Result<Pass, Refusal>;

    /// A render of this profile has ended; it held at most so many bytes.
    fn ended(&self, profile: Profile, peak_bytes: u64);
}

/// The right to run, given back when dropped.
#[derive(Debug, Clone)]
pub struct Pass(Arc<Reserve>);

#[derive(Debug)]
struct Reserve {
    expected: u64,
    held: AtomicU64,
}

impl Pass {
    /// For a render that is expected to hold so many bytes at most.
    pub fn new(expected: u64) -> Self {
        Self(Arc::new(Reserve { expected, held: AtomicU64::new(0) }))
    }

    /// It holds so many bytes now.
    pub fn holds(&self, bytes: u64) {
        self.0.held.store(bytes, Ordering::Relaxed);
    }

    /// Bytes it may still come to take, which nobody else may have.
    pub fn outstanding(&self) -> u64 {
        self.0.expected.saturating_sub(self.0.held.load(Ordering::Relaxed))
    }

    /// Whether somebody still has it besides the one who asks.
    pub fn is_shared(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }
}

/// Lets everything run: for work nobody lives beside, and for tests.
#[derive(Debug, Clone, Copy, Default)]
pub struct OpenDoor;

#[async_trait]
impl Admission for OpenDoor {
    async fn admit(&self, _: Profile) -> Result<Pass, Refusal> {
        Ok(Pass::new(0))
    }

    fn ended(&self, _: Profile, _: u64) {}
}
