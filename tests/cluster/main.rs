//! The private PostgreSQL through kills, races and folders it must not touch; and backups that come back.

mod backup;
mod life;
mod places;
mod refusals;
mod scratch;
