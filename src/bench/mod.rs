//! Measuring: speed, memory, precision. A door for whoever wants figures instead of claims.

pub mod audience;
pub mod ceiling;
pub mod idle;
pub mod moments;
mod processes;
pub mod record;
mod served;
