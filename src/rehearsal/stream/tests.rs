//! What it is to be tested like.
