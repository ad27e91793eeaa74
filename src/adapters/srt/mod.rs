//! SRT: encoders publish to us, over lines that lose packets (libsrt 1.5, the flavour that libavformat loads, too).
//!
//! One thread reads all callers and hands on what they send as it came; each caller's transport stream is taken apart
//! elsewhere, in a process of its own.

mod encoder;
mod ffi;
pub mod knock;
mod reader;
mod server;

pub use ffi::version;
pub use server::{SrtError, SrtIngest, SrtSettings};
