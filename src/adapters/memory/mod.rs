//! Memory twins.
