//! Doors without people: the clock and the queue. Thin: translate, call one use case, translate back.

pub mod follower;
pub mod job_runner;
pub mod sweeper;
