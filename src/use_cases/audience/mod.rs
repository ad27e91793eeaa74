//! The audience: the channels we listen to and how many watch.

pub mod channels;
pub mod viewers;
