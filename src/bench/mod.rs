//! Measuring: speed, memory, precision. A door for whoever wants figures instead of claims.

pub mod idle;
pub mod moments;
