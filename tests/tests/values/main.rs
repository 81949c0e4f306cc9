//! Every value arrives exactly, whatever the two databases and the daemon's surroundings are set to
//! (invariant 1).
//!
//! What holds it: values stay text from `COPY` to `COPY`, both under `TEXT_FORMAT`; captured keys
//! are written under the same settings (`TEXT_SETTINGS` of the capture function).

#![allow(clippy::unwrap_used)]

mod cases;
mod keys;
mod names;
mod roundtrip;

use offtake_tests::{Daemon, Database, World};

/// How the source's database, and so every session of the application and of Offtake, is set.
const SOURCE_SETTINGS: [&str; 9] = [
    "timezone = 'Asia/Kathmandu'",
    "datestyle = 'German'",
    "intervalstyle = 'iso_8601'",
    "extra_float_digits = -5",
    "bytea_output = 'escape'",
    "standard_conforming_strings = off",
    "array_nulls = off",
    "xmloption = document",
    "default_transaction_isolation = 'serializable'",
];

/// The destination's, different in everything.
const DESTINATION_SETTINGS: [&str; 9] = [
    "timezone = 'America/St_Johns'",
    "datestyle = 'SQL, DMY'",
    "intervalstyle = 'sql_standard'",
    "extra_float_digits = -15",
    "bytea_output = 'escape'",
    "standard_conforming_strings = off",
    "array_nulls = off",
    "xmloption = document",
    "search_path = 'nowhere'",
];

/// The settings under which the test looks, on both sides: neither the product's nor the
/// databases'.
const LOOKING: &str = "set timezone = 'Pacific/Chatham'; set datestyle = 'SQL, MDY'; set intervalstyle = 'postgres_verbose';
    set extra_float_digits = 3; set bytea_output = 'hex'; set xmloption = content; set array_nulls = on; set search_path = public;
    set standard_conforming_strings = on";

/// What the test's own literals are written for; the trigger's settings must not lean on it, hence
/// the time zone.
const WRITING: &str = "set standard_conforming_strings = on; set datestyle = 'ISO, MDY'; set array_nulls = on; set xmloption = content";

/// Statements of the application, in a session set as its database says; `usual` for literals that
/// need [`WRITING`].
async fn write(world: &World, usual: bool, sql: &str) {
    let session = world.source.connect().await;
    if usual {
        session.batch_execute(WRITING).await.unwrap();
    }
    session.batch_execute(sql).await.unwrap_or_else(|error| panic!("{error:?}"));
}

async fn set(database: &Database, settings: &[&str]) {
    for setting in settings {
        database.execute(&format!("alter database {} set {setting}", database.name())).await;
    }
}

/// Both sides oddly set, the tables made and prepared.
async fn prepare(world: &World, tables: &str) {
    world.source.execute(tables).await;
    set(&world.source, &SOURCE_SETTINGS).await;
    for tenant in world.tenants() {
        set(&tenant.destination, &DESTINATION_SETTINGS).await;
    }
    world.succeed(&["init"]).await;
}

/// Rows as text under [`LOOKING`], in a session of their own.
async fn look(database: &Database, query: &str) -> Vec<Vec<Option<String>>> {
    let session = database.connect().await;
    session.batch_execute(LOOKING).await.unwrap();
    let rows =
        session.query(query, &[]).await.unwrap_or_else(|error| panic!("{query}\n  {error:?}"));
    rows.iter().map(|row| (0..row.len()).map(|at| row.get(at)).collect()).collect()
}

async fn verify(world: &World, daemon: Daemon) {
    world.succeed(&["verify"]).await;
    daemon.stop().await;
}
