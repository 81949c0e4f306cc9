//! SQLite files as destinations of the live loop: what holds for a Postgres destination, and what
//! only a file can do.

#![allow(clippy::unwrap_used)]

mod live;
