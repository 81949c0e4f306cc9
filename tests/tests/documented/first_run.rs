//! The README's first run and what `docs/alerts.md` says to type, word for word.

use std::path::Path;
use std::process::Command;

use offtake_private_server::ReservedPort;
use offtake_tests::{World, binary, oracle};

use crate::pages::blocks;
use crate::{read, said};

/// A folder with nothing but `offtake` in it.
pub(crate) fn on_the_path(folder: &Path) -> String {
    let programs = folder.join("programs");
    std::fs::create_dir(&programs).unwrap();
    std::os::unix::fs::symlink(binary("offtake"), programs.join("offtake")).unwrap();
    format!("{}:{}", programs.display(), std::env::var("PATH").unwrap())
}

pub(crate) fn bash(folder: &Path, path: &str, script: &str) -> Command {
    let mut command = Command::new("bash");
    command.current_dir(folder).env("PATH", path).env_remove("OFFTAKE_CONFIG");
    command.args(["--norc", "-euo", "pipefail", "-x", "-c", script]);
    command
}

pub(crate) fn block(page: &str, line: &str) -> String {
    let found = blocks(page).into_iter().find(|block| block.text.contains(line));
    found.unwrap_or_else(|| panic!("{page} has no block with {line}")).text
}

/// What stands in the README in place of something of the reader's.
const TENANT: &str = "7b0c8f2e-6f0f-4a55-9d0c-0d8f1a6f3c11";

/// The daemon, which the reader has in another window; and what ends with 4 where the server of
/// the tests, which syncs nothing to disk, is found to be careless.
const LINES: [(&str, &str); 2] = [
    (
        "offtake run               # the daemon",
        "offtake run & echo $! > daemon\nuntil offtake health; do sleep 0.1; done",
    ),
    ("offtake doctor            #", "offtake doctor || [ $? -eq 4 ] #"),
];

#[tokio::test]
async fn the_first_run_of_the_readme_works_word_for_word() {
    let world = World::with_tenants(["acme", "globex"]).without_init().await;
    world.fill(20).await;
    let folder = world.folder();
    let readme = read("README.md");
    let (_, rest) = readme.split_once("`offtake.yaml` ([every option]").unwrap();
    let (yaml, prose) = rest.split_once("```yaml\n").unwrap().1.split_once("```").unwrap();
    let on_one_machine = "security: { allow_destinations: [127.0.0.0/8, \"::1/128\"] }";
    assert!(prose.contains(on_one_machine), "{prose}");
    // The port that the configuration takes without this line may be another program's.
    let port = ReservedPort::any().unwrap();
    let yaml = yaml.replace(TENANT, world.id("acme"));
    let listen = format!("http: {{ listen: 127.0.0.1:{} }}", port.number());
    std::fs::write(folder.join("offtake.yaml"), format!("{yaml}{on_one_machine}\n{listen}\n"))
        .unwrap();
    // `or from a table of yours`.
    let globex = world.tenant("globex");
    let table = format!(
        "create table customer_database (tenancy_id uuid primary key, url text not null);
         insert into customer_database values ('{}', '{}')",
        globex.id,
        globex.destination.url()
    );
    world.source.execute(&table).await;

    let mut script =
        block("README.md", "offtake check --connect").replace(TENANT, world.id("acme"));
    for (line, replaced) in LINES {
        assert!(script.contains(line), "{script}");
        script = script.replace(line, replaced);
    }
    // What a person does in between takes longer than the first copies.
    let wait = "for tenant in \"$ACME\" \"$GLOBEX\"; do \
                until offtake sync --tenant \"$tenant\" --wait 30s; do sleep 0.1; done; done";
    script = script.replace("offtake status ", &format!("{wait}\nofftake status "));
    let path = on_the_path(folder);
    let mut command = bash(folder, &path, &format!("trap 'kill $(cat daemon)' EXIT\n{script}"));
    command.env("OFFTAKE_SOURCE_URL", world.source.url());
    command.env("GLOBEX", world.id("globex"));
    command.env("ACME", world.id("acme")).env("ACME_URL", world.tenant("acme").destination.url());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = said(&output);
    assert!(output.status.success(), "{said}");
    for told in ["User 1", "UPDATE of 1 row", "is up to date", "14 of 14 copies equal their query"]
    {
        assert!(said.contains(told), "no {told} in: {said}");
    }
    oracle::assert_equal(&world).await;
}

#[test]
fn the_rules_are_printed_as_the_page_says() {
    let folder = tempfile::tempdir().unwrap();
    let script = block("docs/alerts.md", "offtake alerts");
    let path = on_the_path(folder.path());
    let output = bash(folder.path(), &path, &script).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let rules = std::fs::read_to_string(folder.path().join("rules.yml")).unwrap();
    assert!(rules.contains("https://wiki.example.com/offtake-alerts#offtakedown"), "{rules}");
}
