//! The shape of the workspace:
//! `{mapping, egress} ← postgres ← loops ← {requests, reading} ← {sequencer, poller, sync,
//! webhooks, jobs, admin} ← offtake`. `capture` is no loop and stands on `postgres`, `http` on
//! `egress`; `private_server` stands alone.
//!
//! The loops hand over to each other through committed rows only; a dependency between two of their
//! crates would be the first step to a call. The same list is in ARCHITECTURE.md.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Crate → the crates of this workspace that it may use.
const ALLOWED: [(&str, &[&str]); 17] = [
    ("offtake-mapping", &[]),
    ("offtake-egress", &[]),
    ("offtake-http", &["offtake-egress"]),
    ("offtake-postgres", &["offtake-mapping", "offtake-egress"]),
    ("offtake-loops", &["offtake-postgres"]),
    ("offtake-requests", &["offtake-postgres"]),
    ("offtake-reading", &["offtake-mapping", "offtake-postgres"]),
    ("offtake-capture", &["offtake-mapping", "offtake-postgres"]),
    ("offtake-sequencer", BELOW_A_LOOP),
    ("offtake-poller", BELOW_A_LOOP),
    ("offtake-sync", BELOW_A_LOOP_THAT_READS_AND_DIALS),
    ("offtake-webhooks", BELOW_A_LOOP_THAT_READS_AND_DIALS),
    ("offtake-jobs", BELOW_A_LOOP_THAT_READS_AND_DIALS),
    ("offtake-admin", BELOW_A_LOOP),
    ("offtake-private-server", &[]),
    ("offtake", EVERY_CRATE),
    ("offtake-tests", EVERY_CRATE),
];

const BELOW_A_LOOP: &[&str] =
    &["offtake-mapping", "offtake-postgres", "offtake-loops", "offtake-requests"];

const BELOW_A_LOOP_THAT_READS_AND_DIALS: &[&str] = &[
    "offtake-mapping",
    "offtake-egress",
    "offtake-http",
    "offtake-postgres",
    "offtake-loops",
    "offtake-requests",
    "offtake-reading",
];

const EVERY_CRATE: &[&str] = &[
    "offtake-mapping",
    "offtake-egress",
    "offtake-http",
    "offtake-postgres",
    "offtake-reading",
    "offtake-requests",
    "offtake-loops",
    "offtake-capture",
    "offtake-sequencer",
    "offtake-poller",
    "offtake-sync",
    "offtake-webhooks",
    "offtake-jobs",
    "offtake-admin",
    "offtake-private-server",
    "offtake",
];

/// `offtake-mapping` is pure: with none of these it cannot wait for anything.
const NO_IO: [&str; 4] = ["tokio", "tokio-postgres", "tokio-util", "axum"];

/// `offtake-egress` dials for all of them.
const PROTOCOLS: [&str; 5] =
    ["tokio-postgres", "tokio-postgres-rustls", "hyper", "hyper-util", "reqwest"];

#[test]
fn crates_depend_on_each_other_only_as_designed() {
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.into();
    let packages = packages();
    let names: BTreeSet<&str> = packages.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        allowed.keys().copied().collect(),
        "a crate was added or removed: say in design, ARCHITECTURE.md and here what it may use"
    );

    let mut refused = Vec::new();
    for (name, dependencies) in &packages {
        for dependency in dependencies.iter().filter(|d| names.contains(d.as_str())) {
            if !allowed[name.as_str()].contains(&dependency.as_str()) {
                refused.push(format!("{name} -> {dependency}"));
            }
        }
    }
    assert!(refused.is_empty(), "edges that the design does not have: {refused:?}");
}

#[test]
fn the_mapping_crate_has_no_runtime() {
    let found = dependencies_among("offtake-mapping", &NO_IO);
    assert!(found.is_empty(), "offtake-mapping is pure, yet it depends on {found:?}");
}

#[test]
fn the_egress_crate_knows_no_protocol() {
    let found = dependencies_among("offtake-egress", &PROTOCOLS);
    assert!(found.is_empty(), "offtake-egress is for every protocol, yet it depends on {found:?}");
}

fn dependencies_among(package: &str, names: &[&str]) -> Vec<String> {
    let found = |dependency: &&String| names.contains(&dependency.as_str());
    packages()[package].iter().filter(found).cloned().collect()
}

/// The documents name a test for each promise; a name without a test would prove nothing. Names of
/// four words or more count as tests: nothing else in these documents has such a name.
#[test]
fn every_test_that_the_documents_name_exists() {
    let root = root();
    let mut tests = BTreeSet::new();
    for folder in ["crates", "tests"] {
        collect_tests(&root.join(folder), &mut tests);
    }
    let (mut named, mut missing) = (0, Vec::new());
    for document in ["docs/safety.md", "docs/security.md", "docs/remedies.md", "ARCHITECTURE.md"] {
        let text = read(document);
        for name in text.split('`').skip(1).step_by(2).filter(|name| could_be_a_test(name)) {
            named += 1;
            let exists = match name.strip_suffix('*') {
                Some(beginning) => tests.iter().any(|test| test.starts_with(beginning)),
                None => tests.contains(name),
            };
            if !exists {
                missing.push(format!("{document}: {name}"));
            }
        }
    }
    assert!(named > 200, "only {named} names were found");
    assert!(missing.is_empty(), "no such test:\n{}", missing.join("\n"));
}

fn could_be_a_test(name: &str) -> bool {
    name.matches('_').count() >= 3
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_*".contains(c))
}

/// A file that moves must move in the documents too, or they send the reader nowhere. Checked are
/// full paths in backticks, shorter ones of source files (`turn/write.rs`: some file's path must
/// end like that), and the targets of links, with their headings.
#[test]
fn every_path_and_link_of_the_documents_exists() {
    let root = root();
    let mut sources = Vec::new();
    for folder in ["crates", "tests", "migrations", "deploy"] {
        collect_files(&root.join(folder), &mut sources);
    }
    let (mut checked, mut missing) = (0, Vec::new());
    for document in documents() {
        let text = without_code_blocks(&read(&document));
        for path in text.split('`').skip(1).step_by(2).filter(|span| could_be_a_path(span)) {
            checked += 1;
            let end = format!("/{path}");
            let exists = root.join(path).exists()
                || !begins_at_the_root(path) && sources.iter().any(|source| source.ends_with(&end));
            if !exists {
                missing.push(format!("{document}: {path}"));
            }
        }
        for target in links(&text) {
            checked += 1;
            if !leads_somewhere(&document, target) {
                missing.push(format!("{document}: the link to {target}"));
            }
        }
    }
    assert!(checked > 300, "only {checked} paths and links were found");
    assert!(missing.is_empty(), "no such file or heading:\n{}", missing.join("\n"));
}

/// A page that no link leads to is read by nobody. Its index says for whom each page is.
#[test]
fn the_index_of_the_documents_links_every_page() {
    let index = read("docs/README.md");
    let linked: BTreeSet<&str> =
        links(&index).map(|target| target.split('#').next().unwrap_or_default()).collect();
    let pages = documents();
    let pages = pages.iter().filter_map(|page| page.strip_prefix("docs/"));
    let missing: Vec<&str> =
        pages.filter(|page| *page != "README.md" && !linked.contains(page)).collect();
    assert!(missing.is_empty(), "docs/README.md has no link to {missing:?}");
}

/// The engine and the binary ask a destination's kind. They do not compose SQL for a destination,
/// and the engine does not look at its error codes.
#[test]
fn only_a_kind_s_own_folder_speaks_to_a_destination() {
    let mut files = Vec::new();
    collect_files(&root().join("crates/sync/src"), &mut files);
    collect_files(&root().join("crates/offtake/src/commands"), &mut files);
    collect_files(&root().join("crates/offtake/src/checks"), &mut files);
    let (mut looked_at, mut found) = (0, Vec::new());
    for file in files.iter().filter(|file| file.ends_with(".rs")) {
        let kinds =
            ["d1", "postgres", "sqlite"].map(|kind| format!("sync/src/destinations/{kind}/"));
        if kinds.iter().any(|kind| file.contains(kind)) || file.contains("sync/src/verify/") {
            continue;
        }
        looked_at += 1;
        let text = read(file);
        // The commands may ask the source what it means by an error.
        let of_engine: &[&str] = if file.contains("/sync/") { &["SqlState::"] } else { &[] };
        let words = ["savepoint ", "dial(&spec", "_offtake_state\""];
        let words = words.iter().chain(of_engine);
        found.extend(words.filter(|w| text.contains(**w)).map(|w| format!("{file}: {w}")));
    }
    assert!(looked_at > 40, "only {looked_at} files were found");
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// A process that closes a descriptor of a SQLite file gives up all of its locks on it. So in the
/// folder of that kind, where the paths are, nothing opens a file but SQLite.
#[test]
fn nothing_opens_a_database_file_but_sqlite() {
    let mut files = Vec::new();
    collect_files(&root().join("crates/sync/src/destinations/sqlite"), &mut files);
    assert!(files.len() > 10, "only {} files were found", files.len());
    let opens = ["File::open", "File::create", "OpenOptions", "fs::read", "fs::copy", "fs::write"];
    let mut found = Vec::new();
    for file in &files {
        let text = read(file);
        found.extend(opens.iter().filter(|o| text.contains(**o)).map(|o| format!("{file}: {o}")));
    }
    // The path leaves the folder as text only.
    let mut others = Vec::new();
    collect_files(&root().join("crates"), &mut others);
    for file in others.iter().filter(|file| file.ends_with(".rs") && !files.contains(file)) {
        let text = read(file);
        if text.contains("DatabaseFile") && opens.iter().any(|o| text.contains(*o)) {
            found.push(file.clone());
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// What `docs/safety.md` names in a file (`name` in `path`) is in that file, so that a reader finds
/// it there.
#[test]
fn every_name_that_the_safety_page_places_in_a_file_is_there() {
    let text = read("docs/safety.md");
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let spans: Vec<&str> = words.split('`').collect();
    let (mut placed, mut missing) = (0, Vec::new());
    for at in (1..spans.len().saturating_sub(2)).step_by(2) {
        let (name, between, path) = (spans[at], spans[at + 1], spans[at + 2]);
        let identifier = name.rsplit("::").next().unwrap_or(name);
        let names = identifier.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if between != " in " || !names || !path.starts_with("crates/") {
            continue;
        }
        placed += 1;
        let file = read(path);
        let mut words = file.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        if !words.any(|word| word == identifier) {
            missing.push(format!("{name} is not in {path}"));
        }
    }
    assert!(placed > 50, "only {placed} names were found");
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

/// Files that have the word and print no remedy of their own: they carry what others print.
const CARRY_REMEDIES: [&str; 10] = [
    "crates/mapping/src/mistake.rs",
    "crates/mapping/src/yaml/diagnostic.rs",
    "crates/mapping/src/yaml/mod.rs",
    "crates/mapping/src/yaml/section.rs",
    "crates/offtake/src/daemon/reload/reasons.rs",
    "crates/postgres/src/catalog/problem.rs",
    "crates/reading/src/error.rs",
    "crates/sync/src/destinations/trouble.rs",
    "crates/private_server/src/user.rs",
    "crates/offtake/src/commands/resync/drop_tables.rs",
];

/// A remedy that was never followed may be wrong. `docs/remedies.md` says which test follows which
/// remedy; a new file that prints one must be written there.
#[test]
fn every_file_that_prints_a_remedy_is_in_the_list() {
    let list = read("docs/remedies.md");
    let mut files = Vec::new();
    collect_files(&root().join("crates"), &mut files);
    let (mut printing, mut missing) = (0, Vec::new());
    for file in files.iter().filter(|file| file.contains("/src/") && file.ends_with(".rs")) {
        let text = read(file);
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let mut code = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        let prints = ["remedy", "run there", "run `", "run as ", "run: offtake", "run offtake"];
        let prints = code.any(|line| prints.iter().any(|words| line.contains(words)));
        if !prints || file.ends_with("/tests.rs") || CARRY_REMEDIES.contains(&file.as_str()) {
            continue;
        }
        printing += 1;
        if !list.contains(&format!("`{file}`")) {
            missing.push(file.as_str());
        }
    }
    assert!(printing > 40, "only {printing} files were found");
    assert!(missing.is_empty(), "not in docs/remedies.md:\n{}", missing.join("\n"));
}

/// More than two sentences in a table cell want a section of their own, and a line that is too wide
/// is hard to follow.
#[test]
fn the_documents_are_readable() {
    let mut refused = Vec::new();
    for document in documents().iter().filter(|name| *name != "docs/configuration.md") {
        let text = without_code_blocks(&read(document));
        for (line, number) in text.lines().zip(1..) {
            if line.starts_with('|') {
                let long = line.split('|').filter(|cell| sentences(cell) > 2);
                refused.extend(long.map(|cell| {
                    format!("{document}:{number}: a cell of {} sentences", sentences(cell))
                }));
            } else if line.chars().count() > PROSE_WIDTH_MAX && link_definition(line).is_none() {
                let width = line.chars().count();
                refused.push(format!("{document}:{number}: a line of {width} characters"));
            }
        }
    }
    assert!(refused.is_empty(), "hard to read:\n{}", refused.join("\n"));
}

/// As in the comments of the code.
const PROSE_WIDTH_MAX: usize = 100;

/// What a full path begins with.
const FOLDERS: [&str; 8] =
    ["crates/", "tests/", "docs/", "migrations/", "mappings/", "deploy/", "scripts/", ".ci/"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the repository")
}

fn read(document: &str) -> String {
    std::fs::read_to_string(root().join(document)).expect("the document is there")
}

/// README.md and its like, and everything in docs/.
fn documents() -> Vec<String> {
    let mut names: Vec<String> =
        ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(Into::into).into();
    let mut pages = Vec::new();
    collect_files(&root().join("docs"), &mut pages);
    names.extend(pages.into_iter().filter(|page| page.ends_with(".md")));
    names
}

/// The same lines, with those inside of fences empty.
fn without_code_blocks(text: &str) -> String {
    let mut inside = false;
    let mut kept = String::new();
    for line in text.lines() {
        let fence = line.trim_start().starts_with("```");
        inside ^= fence;
        if !inside && !fence {
            kept.push_str(line);
        }
        kept.push('\n');
    }
    kept
}

fn begins_at_the_root(path: &str) -> bool {
    FOLDERS.iter().any(|folder| path.starts_with(folder))
}

/// Placeholders (`crates/<crate>/sql/`) and commands have characters that no path here has.
fn could_be_a_path(span: &str) -> bool {
    let file = |endings: &[&str]| endings.iter().any(|ending| span.ends_with(ending));
    let at_the_root = !span.contains('/')
        && (file(&[".md", ".toml", ".lock"]) || ["Makefile", "LICENSE"].contains(&span));
    span.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c))
        && (begins_at_the_root(span) || at_the_root || file(&[".rs", ".sql"]) && span.len() > 4)
}

fn links(text: &str) -> impl Iterator<Item = &str> {
    let inline = text.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0));
    inline.chain(text.lines().filter_map(link_definition))
}

/// The target of a line `[label]: target`.
fn link_definition(line: &str) -> Option<&str> {
    Some(line.strip_prefix('[')?.split_once("]: ")?.1)
}

fn leads_somewhere(document: &str, target: &str) -> bool {
    if target.starts_with("https://") {
        return true;
    }
    let (path, heading) = target.split_once('#').unwrap_or((target, ""));
    let page = match path {
        "" => root().join(document),
        path => root().join(document).parent().expect("a folder").join(path),
    };
    page.exists()
        && (heading.is_empty()
            || std::fs::read_to_string(page).expect("a text").lines().any(|line| {
                line.starts_with('#') && anchor(line.trim_start_matches('#').trim()) == heading
            }))
}

/// As GitHub makes it of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).flat_map(char::to_lowercase).collect()
}

/// Ends of sentences, and the rest behind the last.
fn sentences(cell: &str) -> usize {
    let cell = cell.trim();
    let ends = |word: &str| word.trim_end_matches(['`', ')', '*']).ends_with(['.', '!', '?']);
    let ended = cell.split_whitespace().filter(|word| ends(word)).count();
    ended + usize::from(!cell.is_empty() && !ends(cell))
}

/// The files below a folder, by their paths from the root of the repository.
fn collect_files(folder: &Path, files: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            collect_files(&path, files);
        } else {
            let path = path.strip_prefix(root()).expect("a folder of the repository");
            files.push(path.to_str().expect("a name in UTF-8").to_owned());
        }
    }
}

/// The functions below a folder that are marked as tests.
fn collect_tests(folder: &Path, tests: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            collect_tests(&path, tests);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).expect("a readable file");
            for marked in text.split("#[test]").skip(1).chain(text.split("#[tokio::test").skip(1)) {
                let name = marked.split_once("fn ").and_then(|(_, rest)| rest.split_once('('));
                tests.extend(name.map(|(name, _)| name.to_owned()));
            }
        }
    }
}

/// Every package of the workspace with the names of all it depends on, for whatever purpose.
fn packages() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline", "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let list = |value: &Value| value.as_array().expect("a list").clone();
    list(&metadata["packages"])
        .iter()
        .map(|package| {
            (
                text(&package["name"]),
                list(&package["dependencies"]).iter().map(|d| text(&d["name"])).collect(),
            )
        })
        .collect()
}
