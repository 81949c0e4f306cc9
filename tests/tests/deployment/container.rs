//! `deploy/Dockerfile` and `.dockerignore`.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use crate::{command, read, root};
use offtake_tests::tools::{python_packages, succeed};

/// The instructions of the last stage, each on one line, without comments.
fn runtime_stage() -> Vec<String> {
    let text = read("deploy/Dockerfile");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let text = lines.collect::<Vec<_>>().join("\n").replace("\\\n", " ");
    let stage = text.rsplit("\nFROM ").next().unwrap();
    stage.lines().skip(1).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

fn instruction(name: &str) -> String {
    let stage = runtime_stage();
    let mut found = stage.iter().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    found.next_back().unwrap_or_else(|| panic!("no {name} in the last stage")).trim().to_owned()
}

/// The words of an instruction in its exec form.
fn words(list: &str) -> Vec<String> {
    serde_json::from_str(list).unwrap_or_else(|error| panic!("{list}: {error}"))
}

#[test]
fn the_image_runs_the_binary_as_the_binary_wants_it() {
    let entrypoint = words(&instruction("ENTRYPOINT"));
    assert_eq!(entrypoint, ["/usr/bin/offtake"]);
    let arguments = words(&instruction("CMD"));
    command(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let healthcheck = instruction("HEALTHCHECK");
    let check = words(healthcheck.split_once("CMD").unwrap().1.trim());
    assert_eq!((check[0].as_str(), check[1].as_str()), ("/usr/bin/offtake", "health"));
    command(&check[1..].iter().map(String::as_str).collect::<Vec<_>>());
    assert!(instruction("ENV").contains("OFFTAKE_CONFIG=/etc/offtake/offtake.yaml"));
    // Kubernetes' runAsNonRoot wants a number.
    let user = instruction("USER");
    assert!(user.split(':').all(|id| id.parse::<u32>().is_ok_and(|id| id > 0)), "{user}");
    assert_eq!(instruction("EXPOSE"), "8080 8081");
}

/// The rules of docker's ignore files that ours uses: the last pattern that fits decides.
fn ignored(path: &Path, patterns: &[String]) -> bool {
    let mut ignored = false;
    for pattern in patterns {
        let (pattern, ignores) = match pattern.strip_prefix('!') {
            Some(pattern) => (pattern, false),
            None => (pattern.as_str(), true),
        };
        let fits = path.ancestors().any(|path| names(pattern, path));
        if fits {
            ignored = ignores;
        }
    }
    ignored
}

/// Whether the pattern is that of this path: `*` stands for any part of one name, and `**/` for any
/// folders.
fn names(pattern: &str, path: &Path) -> bool {
    let like = |part: &str, wanted: &str| match wanted.split_once('*') {
        Some((begin, end)) => part.starts_with(begin) && part.ends_with(end),
        None => part == wanted,
    };
    let parts: Vec<&str> = path.iter().map(|part| part.to_str().unwrap()).collect();
    if let Some(name) = pattern.strip_prefix("**/") {
        return parts.last().is_some_and(|part| like(part, name));
    }
    let wanted: Vec<&str> = pattern.split('/').collect();
    parts.len() == wanted.len() && parts.iter().zip(&wanted).all(|(p, w)| like(p, w))
}

/// The build reads exactly what is left: a folder that the ignore file hides, and that a member of
/// the workspace or an `include_str!` needs, would only be missed on a machine with an engine.
#[test]
fn what_the_ignore_file_leaves_is_enough_to_build() {
    let patterns: Vec<String> = read(".dockerignore")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect();
    let (listed, _) = succeed(Command::new("git").current_dir(root()).args([
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
    ]));
    let left: BTreeSet<&str> =
        listed.lines().filter(|path| !ignored(Path::new(path), &patterns)).collect();
    for (kept, expected) in [
        ("crates/offtake/src/main.rs", true),
        ("mappings/users.yaml", true),
        ("migrations/V1__offtake_schema.sql", true),
        ("scripts/split-symbols", true),
        ("LICENSE", true),
        ("Cargo.lock", true),
        ("tests/src/lib.rs", true),
        ("tests/tests/workspace.rs", false),
        ("docs/security.md", false),
    ] {
        assert_eq!(left.contains(kept), expected, "{kept}");
    }
    assert!(ignored(Path::new("deploy/compose/.env"), &patterns));
    assert!(ignored(Path::new("etc/credentials/source_url"), &patterns));
    let context = tempfile::tempdir().unwrap();
    for path in &left {
        let copy = context.path().join(path);
        std::fs::create_dir_all(copy.parent().unwrap()).unwrap();
        // One that was deleted, and not yet in the index.
        if root().join(path).is_file() {
            std::fs::copy(root().join(path), copy).unwrap();
        }
    }
    // Cargo resolves the workspace from it, with the lock file as it is. For this platform: what only
    // others need may never have been downloaded.
    let mut tree = Command::new(env!("CARGO"));
    tree.current_dir(context.path()).args(["tree", "--workspace", "--locked", "--offline"]);
    succeed(&mut tree);
    // And every text that is compiled in is there.
    let mut included = 0;
    for path in left.iter().filter(|path| path.ends_with(".rs") && path.starts_with("crates/")) {
        let text = std::fs::read_to_string(context.path().join(path)).unwrap();
        for rest in text.split("include_str!(\"").skip(1) {
            let name = rest.split('"').next().unwrap();
            let file = context.path().join(path).parent().unwrap().join(name);
            assert!(file.is_file(), "{path} includes {name}");
            included += 1;
        }
    }
    assert!(included > 100, "only {included} texts were found");
}

#[test]
fn hadolint_finds_nothing_in_the_dockerfile() {
    let hadolint = python_packages().join("bin/hadolint");
    if !hadolint.is_file() {
        eprintln!("skipped: hadolint is not installed\n  remedy: scripts/ensure-tools");
        return;
    }
    let (told, _) = succeed(Command::new(hadolint).arg(root().join("deploy/Dockerfile")));
    assert_eq!(told, "");
}
