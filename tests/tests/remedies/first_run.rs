//! A first run, by nothing but what the messages tell.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use offtake_tests::printed::{between, remedy};
use offtake_tests::samples::USERS;
use offtake_tests::{Source, binary};

use super::{offtake_in, told};

/// Runs a printed command line as a shell does, with `offtake` on the path.
fn shell(folder: &Path, variables: &BTreeMap<String, String>, line: &str) {
    let mut command = Command::new("sh");
    let program = binary("offtake");
    let programs = program.parent().map(Path::display).unwrap();
    command.env("PATH", format!("{programs}:{}", std::env::var("PATH").unwrap()));
    let status = command.current_dir(folder).envs(variables).args(["-c", line]).status();
    assert!(status.unwrap().success(), "{line}");
}

#[tokio::test]
async fn each_message_on_the_way_to_a_prepared_source_leads_to_the_next() {
    let source = Source::application().await;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut variables = BTreeMap::new();
    let run = |variables: &BTreeMap<String, String>, arguments: &[&str]| {
        told(&offtake_in(folder, variables, arguments))
    };
    let check = ["check", "--connect"];
    // There is no file.
    let (code, message) = run(&variables, &check);
    assert!(code == 78 && message.contains("cannot read the configuration"), "{message}");
    shell(folder, &variables, between(remedy(&message), "begin one with `", "`"));
    // It names a variable, and a folder.
    let (code, message) = run(&variables, &check);
    assert_eq!(code, 78, "{message}");
    variables.insert(between(remedy(&message), "set ", ",").to_owned(), source.url());
    let (code, message) = run(&variables, &check);
    assert!(code == 78 && message.contains("cannot read the mappings"), "{message}");
    assert!(remedy(&message).contains("name the folder with the mapping files in `mappings`"));
    std::fs::create_dir(folder.join("files")).unwrap();
    let file = folder.join("offtake.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(
        &file,
        text.replace("mappings: mappings", "mappings: files").replace(":8080", ":0"),
    )
    .unwrap();
    let (code, message) = run(&variables, &check);
    assert!(code == 78 && message.contains("there is no mapping file"), "{message}");
    // What is no text is told with its line.
    let mapping = folder.join("files/users.yaml");
    std::fs::write(&mapping, [USERS.as_bytes(), b"# \xff\n"].concat()).unwrap();
    let (code, message) = run(&variables, &check);
    assert!(code == 78 && message.contains("is not UTF-8"), "{message}");
    assert!(remedy(&message).contains("save the file as UTF-8"), "{message}");
    std::fs::write(&mapping, USERS).unwrap();
    let (code, message) = run(&variables, &check);
    assert_eq!(code, 0, "{message}");
    // The source is not prepared.
    let (code, message) = run(&variables, &["status"]);
    assert_eq!(code, 1, "{message}");
    shell(folder, &variables, between(remedy(&message), "run `", "`"));
    let (code, message) = run(&variables, &["status"]);
    assert_eq!(code, 0, "{message}");
    let (code, message) = run(&variables, &["run", "--once"]);
    assert_eq!(code, 0, "{message}");
}
