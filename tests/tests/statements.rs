//! A server with the migrated schema accepts every statement that is a file. So a column that a
//! migration renames is noticed here, and not only when the statement runs.

use std::path::{Path, PathBuf};

use offtake_tests::Source;
use tokio_postgres::error::SqlState;

/// Values for the placeholders of statements that are completed at run time. They name things that
/// exist.
const PLACEHOLDERS: [(&str, &str); 9] = [
    ("{state}", "offtake._offtake_state"),
    ("{schema}", "public"),
    ("{statement_ms}", "1000"),
    ("{idle_ms}", "1000"),
    ("{partition}", "0"),
    ("{current}", "0"),
    ("{next}", "10000000"),
    ("{from}", "0"),
    ("{to}", "10000000"),
];

fn statement_files() -> Vec<PathBuf> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ is in the repository")
        .join("crates");
    let folders = crates
        .read_dir()
        .expect("crates/ is there")
        .filter_map(|entry| entry.ok()?.path().join("sql").read_dir().ok());
    let mut files: Vec<PathBuf> =
        folders.flatten().filter_map(|entry| Some(entry.ok()?.path())).collect();
    // The demo's load is a script with placeholders of its own; its own test runs it.
    files.retain(|file| {
        file.extension().is_some_and(|e| e == "sql") && !file.ends_with("write_sample_load.sql")
    });
    files.sort();
    files
}

#[tokio::test]
async fn every_statement_file_is_accepted_by_the_migrated_schema() {
    let source = Source::prepared().await;
    source
        .execute(
            "create table offtake._offtake_state (tenant_id text, mapping text, sequence_id bigint, backfilled boolean,
               backfill_key jsonb, epoch uuid, version text, updated_at timestamptz, primary key (tenant_id, mapping))",
        )
        .await;
    let client = source.connect().await;
    let (mut accepted, mut refused) = (0, Vec::new());
    for file in statement_files() {
        let text = std::fs::read_to_string(&file).expect("a readable file");
        let statement = PLACEHOLDERS.iter().fold(text, |text, (from, to)| text.replace(from, to));
        match client.prepare(&statement).await {
            Ok(_) => accepted += 1,
            // A file with several statements is sent as text and cannot be prepared; the tests of
            // its purpose run it.
            Err(error)
                if error
                    .as_db_error()
                    .is_some_and(|e| e.message().contains("multiple commands")) => {}
            // Statements on objects that another statement creates first.
            Err(error)
                if error.code() == Some(&SqlState::UNDEFINED_TABLE)
                    && statement.contains("pg_temp") => {}
            Err(error) => refused.push(format!(
                "{}: {}",
                file.display(),
                error.as_db_error().map_or(error.to_string(), |e| e.message().to_owned())
            )),
        }
    }
    assert!(refused.is_empty(), "{}", refused.join("\n"));
    assert!(accepted > 30, "only {accepted} statements were found");
}
