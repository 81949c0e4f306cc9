//! A server with the migrated schema accepts every statement that is a file. So a column that a
//! migration renames is noticed here, and not only when the statement runs.
//! Only the crate `requests` writes outgoing requests.

use std::path::{Path, PathBuf};

use offtake_tests::Source;
use tokio_postgres::error::SqlState;

/// Values for the placeholders of statements that are completed at run time. They name things that
/// exist.
const PLACEHOLDERS: [(&str, &str); 24] = [
    ("{synchronous_commit}", "off"),
    ("{role}", "offtake_capture_0"),
    ("{state}", "offtake._offtake_state"),
    ("{schema}", "public"),
    ("{statement_ms}", "1000"),
    ("{lock_ms}", "1000"),
    ("{idle_ms}", "1000"),
    ("{partition}", "0"),
    ("{current}", "0"),
    ("{next}", "10000000"),
    ("{from}", "0"),
    ("{to}", "10000000"),
    ("{columns}", "true"),
    ("{query}", "select 1 as id"),
    ("{table}", "offtake._offtake_state"),
    ("{condition}", "true"),
    ("{rows}", "1"),
    ("{day}", "20000"),
    ("{chosen}", "select * from offtake.destination"),
    ("{unsettled}", "select * from offtake.destination"),
    ("{webhooks}", "select * from offtake.webhook"),
    ("{with_mappings}", "true"),
    (
        "{listed}",
        "select mappings as registered_mappings, source_tables as registered_tables from offtake.destination",
    ),
    ("{of_these}", "r.failures > 0 and r.destination_id <> all($4::bigint[])"),
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

/// Comments are sent too, and a database in another encoding than UTF-8 refuses a statement with a
/// character that it lacks. Migrations are sent in ASCII, whatever they have.
#[test]
fn every_statement_is_ascii() {
    for file in statement_files() {
        let text = std::fs::read_to_string(&file).expect("a readable file");
        let other = text.lines().find(|line| !line.is_ascii());
        assert_eq!(other, None, "{}", file.display());
    }
}

#[tokio::test]
async fn every_statement_file_is_accepted_by_the_migrated_schema() {
    let source = Source::prepared().await;
    source
        .execute(
            "create table offtake._offtake_state (tenant_id text, mapping text, sequence_id bigint, backfilled boolean,
               backfill_key jsonb, epoch uuid, version text, updated_at timestamptz,
               source text, source_identity jsonb, served_since timestamptz, served_at timestamptz,
               verified_at timestamptz, differences bigint, primary key (tenant_id, mapping))",
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

/// What stands before the name of a table that a statement writes.
const WRITES: [&str; 7] =
    ["insert into", "update", "delete from", "merge into", "truncate", "truncate table", "copy"];

/// A request is owed, claimed and completed by statements of one crate only, so that what fences
/// them (the attempt number, one row per destination) is kept in one place. Migrations and tests
/// may do what they like.
#[test]
fn only_the_crate_requests_writes_outgoing_requests() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ is in the repository")
        .join("crates");
    let (mut writers, mut others) = (0, Vec::new());
    for entry in crates.read_dir().expect("crates/ is there") {
        let folder = entry.expect("a readable folder").path();
        for file in ["sql", "src"].iter().flat_map(|part| files_below(&folder.join(part))) {
            let text = std::fs::read_to_string(&file).expect("a readable file");
            match written(&text).as_slice() {
                [] => {}
                _ if folder.ends_with("requests") => writers += 1,
                found => others.push(format!("{}: {}", file.display(), found.join(", "))),
            }
        }
    }
    assert!(others.is_empty(), "these belong into crates/requests:\n{}", others.join("\n"));
    assert!(writers > 10, "only {writers} files that write outgoing requests were found");
}

#[test]
fn a_write_of_outgoing_requests_is_seen_however_it_is_spelled() {
    let check = |text: &str, expected: &[&str]| assert_eq!(written(text), expected, "{text}");
    check("insert into offtake.outgoing_request (kind)", &["insert into"]);
    check("UPDATE only \"offtake\".\"outgoing_request\" r set", &["update"]);
    check("delete\n  from outgoing_request", &["delete from"]);
    check(
        r#"let text = "delete from \
               offtake.outgoing_request";"#,
        &["delete from"],
    );
    check("merge into {schema}.outgoing_request using", &["merge into"]);
    check("truncate table offtake.outgoing_request", &["truncate table"]);
    check("insert into offtake . outgoing_request", &["insert into"]);
    check("insert -- into\n into offtake.outgoing_request", &["insert into"]);
    check("select from offtake.outgoing_request r for update of r", &[]);
    check("delete from offtake.epoch using offtake.outgoing_request", &[]);
    check("insert into offtake.outgoing_request_note", &[]);
    check("-- delete from offtake.outgoing_request", &[]);
}

/// How this text (SQL, or Rust with SQL in it) writes `outgoing_request`: for each place the words
/// before the name.
fn written(text: &str) -> Vec<&'static str> {
    let code = text.lines().map(|line| match line.find("--") {
        Some(comment) => &line[..comment],
        None => line,
    });
    // Line ends, and what continues a Rust string on the next line, separate words like any space;
    // quotes around identifiers change nothing.
    let code = code.collect::<Vec<_>>().join(" ").to_lowercase().replace(['"', '\\'], " ");
    let code = code.replace('.', " . ");
    let words: Vec<&str> = code.split_whitespace().collect();
    let mut found = Vec::new();
    for at in (0..words.len()).filter(|at| is_the_table(words[*at])) {
        let mut before = &words[..at];
        if let [rest @ .., _schema, "."] = before {
            before = rest;
        }
        if let [rest @ .., "only"] = before {
            before = rest;
        }
        let before = before.join(" ");
        let write = WRITES.iter().find(|write| {
            before
                .strip_suffix(*write)
                .is_some_and(|rest| rest.is_empty() || !rest.ends_with(is_part_of_a_word))
        });
        found.extend(write);
    }
    found
}

/// Whether a word begins with the table's name, and not with a longer one.
fn is_the_table(word: &str) -> bool {
    word.strip_prefix("outgoing_request").is_some_and(|rest| !rest.starts_with(is_part_of_a_word))
}

fn is_part_of_a_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in folder.read_dir().into_iter().flatten() {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push(path);
        }
    }
    files
}
