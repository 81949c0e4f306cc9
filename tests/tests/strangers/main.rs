//! What a stranger can do: whoever has a tenant's database, its name, a client without a token, or
//! a file where the daemon looks for one. docs/security.md has the table that these tests hold.

#![allow(clippy::unwrap_used)]

mod newcomers;
mod servers;
