//! Doors without people: the clock and the queue. Thin: translate, call one use case, translate back.

pub mod alert_keeper;
pub mod aligner;
pub mod audience_listener;
pub mod board_keeper;
pub mod follower;
pub mod governor;
pub mod job_runner;
pub mod listening_watcher;
pub mod live_keeper;
pub mod queue_meter;
pub mod recorder;
pub mod recorder_keeper;
pub mod resource_history;
pub mod resource_keeper;
pub mod stream_poller;
pub mod sweeper;
pub mod token_keeper;

use std::time::Duration;

use crate::ports::clock::Clock;

/// A random time up to `max`.
fn jitter(clock: &dyn Clock, max: Duration) -> Duration {
    max.mul_f64(f64::from(clock.new_secret()[0]) / 255.0)
}
