//! Every value arrives exactly, under any settings of the two databases and any environment of the
//! daemon (invariant 1).
//!
//! How it is kept: values stay text from `COPY` to `COPY`, both under `TEXT_FORMAT`. Captured keys
//! are written under the same settings (`TEXT_SETTINGS` of the capture function).

#![allow(clippy::unwrap_used)]

mod cases;
mod doubles;
mod keys;
mod names;
mod roundtrip;

use offtake_tests::{Daemon, Database, World};

/// Settings of the source's database, and so of every session of the application and of Offtake
/// there.
const SOURCE_SETTINGS: [&str; 10] = [
    "timezone = 'Asia/Kathmandu'",
    "datestyle = 'German'",
    "intervalstyle = 'iso_8601'",
    "extra_float_digits = -5",
    "bytea_output = 'escape'",
    "standard_conforming_strings = off",
    "array_nulls = off",
    "xmloption = document",
    "quote_all_identifiers = on",
    "default_transaction_isolation = 'serializable'",
];

/// Settings of the destination's database; all are different from the source's.
const DESTINATION_SETTINGS: [&str; 10] = [
    "timezone = 'America/St_Johns'",
    "datestyle = 'SQL, DMY'",
    "intervalstyle = 'sql_standard'",
    "extra_float_digits = -15",
    "bytea_output = 'escape'",
    "standard_conforming_strings = off",
    "array_nulls = off",
    "xmloption = document",
    "quote_all_identifiers = on",
    "search_path = 'nowhere'",
];

/// The settings under which the test reads on both sides. They are neither Offtake's nor the
/// databases'.
const LOOKING: &str = "set timezone = 'Pacific/Chatham'; set datestyle = 'SQL, MDY'; set intervalstyle = 'postgres_verbose';
    set extra_float_digits = 3; set bytea_output = 'hex'; set xmloption = content; set array_nulls = on; set search_path = public;
    set standard_conforming_strings = on; set quote_all_identifiers = off";

/// The settings that the test's literals need. The time zone is set so that the trigger cannot
/// depend on them.
const WRITING: &str = "set standard_conforming_strings = on; set datestyle = 'ISO, MDY'; set array_nulls = on; set xmloption = content";

/// Runs the application's statements in a session with its database's settings; with `usual`, under
/// [`WRITING`], for literals that need it.
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

/// Gives both databases unusual settings, creates the tables, and prepares the source.
async fn prepare(world: &World, tables: &str) {
    world.source.execute(tables).await;
    set(&world.source, &SOURCE_SETTINGS).await;
    for tenant in world.tenants() {
        set(&tenant.destination, &DESTINATION_SETTINGS).await;
    }
    world.succeed(&["init"]).await;
}

/// Reads rows as text under [`LOOKING`], in a session of its own.
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
