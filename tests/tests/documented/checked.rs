//! Every command in a block: what it names exists, and its options do, as far as its own program
//! can say so here. Blocks that can run here are run by tests as well; [`RUN`] lists them.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use offtake_tests::binary;

use crate::pages::{Block, blocks, commands, pages};
use crate::spoken::wrong;
use crate::{installed, read, root, said, succeed};

/// Blocks that are run word for word: (page, a line of it, what runs it).
const RUN: [(&str, &str, &str); 14] = [
    ("docs/copy.md", "offtake copy --validate", "a_table_is_copied_as_the_page_says"),
    (
        "docs/destinations.md",
        "sqlite3 /srv/copies/acme.db",
        "a_copy_in_a_file_is_read_as_the_page_says",
    ),
    ("docs/quickstart.md", "export OFFTAKE_SOURCE_URL", "the_quickstart_works_word_for_word"),
    ("docs/quickstart.md", "create table invoice", "the_quickstart_works_word_for_word"),
    ("docs/quickstart.md", "cat > offtake.yaml", "the_quickstart_works_word_for_word"),
    ("docs/quickstart.md", "offtake check --connect", "the_quickstart_works_word_for_word"),
    ("docs/quickstart.md", "offtake sync --tenant acme", "the_quickstart_works_word_for_word"),
    ("docs/quickstart.md", "offtake uninstall --yes", "the_quickstart_works_word_for_word"),
    ("README.md", "offtake check --connect", "the_first_run_of_the_readme_works_word_for_word"),
    ("docs/alerts.md", "offtake alerts", "the_rules_are_printed_as_the_page_says"),
    (
        "docs/deployment.md",
        "install --mode=0600 /dev/stdin",
        "the_package_is_installed_upgraded_removed_and_purged",
    ),
    ("docs/deployment.md", "promtool check config", "the_guide_makes_a_daemon_watched"),
    (
        "docs/upgrading.md",
        "systemctl restart offtake",
        "what_an_earlier_version_left_is_brought_up_to_date_and_nothing_of_it_is_lost",
    ),
    (
        "docs/upgrading.md",
        "offtake uninstall --yes",
        "a_source_that_was_prepared_anew_makes_its_copies_again_in_place",
    ),
];

/// Blocks whose commands other tests run, with values of their own: (page, a line of it).
const RUN_ELSEWHERE: [(&str, &str); 12] = [
    ("docs/api.md", "offtake status-token"),
    ("docs/exports.md", "offtake export verify --in"),
    ("docs/exports.md", "offtake export resume"),
    ("docs/exports.md", "offtake export download"),
    ("docs/exports.md", "--format sql --state --to"),
    ("docs/exports.md", "--callback https://example.com"),
    ("docs/exports.md", "--format sql --inserts"),
    ("docs/snapshots.md", "offtake snapshot create"),
    ("docs/snapshots.md", "k7f3a2 --drill"),
    ("docs/snapshots.md", "k7f3a2/archive"),
    ("docs/snapshots.md", "--destination main --dry-run"),
    ("docs/snapshots.md", "--schema restored_20261128"),
];

/// What cannot be run here, and why. What is looked at instead is in [`problem_of`].
const NOT_RUN: [(&str, &str); 10] = [
    ("curl", "it asks a daemon at the reader's own address; the API's tests ask every route"),
    ("docker", "it needs an engine; tests/compose/run runs these where there is one"),
    ("kubectl", "it needs a cluster; what makes objects is run with --dry-run=client"),
    ("systemctl", "it needs systemd as the first process"),
    ("apt-get", "it would install on the machine of the tests"),
    ("make", "the tests are one of its targets; it prints what it would run"),
    ("cargo", "a release build takes minutes"),
    (".ci/run", "it runs all tests"),
    ("target/release/fleet", "it takes minutes"),
    ("git", "it would change the repository"),
];

/// What is wrong with one command.
pub(crate) fn problem_of(words: &[String], page: &str) -> Option<String> {
    let (program, arguments) = (words[0].as_str(), &words[1..]);
    match program {
        "offtake" => wrong(&up_to(arguments, ">"), true),
        "make" => make(arguments),
        "docker" => docker(arguments),
        "kubectl" => kubectl(arguments),
        "systemctl" => systemctl(arguments),
        "cargo" => cargo(arguments),
        "apt-get" => apt_get(arguments),
        ".ci/run" => {
            succeed(Command::new("bash").arg("-n").arg(root().join(".ci/run")));
            None
        }
        "target/release/fleet" => no_binary("fleet"),
        "git" => git(arguments),
        "curl" => curl(arguments),
        "sqlite3" if page == "docs/destinations.md" => None,
        "export" | "mkdir" | "psql" | "cat" | "sqlite3" if page == "docs/quickstart.md" => None,
        // Part of a block that is run.
        "export" if page == "docs/copy.md" => None,
        "install" | "editor" | "cp" | "export" | "promtool" if page == "docs/deployment.md" => None,
        other => Some(format!("this test does not know `{other}`: add it, or run the block")),
    }
}

fn up_to(words: &[String], end: &str) -> Vec<String> {
    words.iter().take_while(|word| *word != end).cloned().collect()
}

/// Its target is there, and what it would run is there with these arguments.
fn make(arguments: &[String]) -> Option<String> {
    let mut make = Command::new("make");
    succeed(make.arg("--dry-run").args(arguments).current_dir(root()));
    let of = |name: &str| arguments.iter().find_map(|word| word.strip_prefix(name));
    let of_target = of("ARGS=").unwrap_or_default();
    let mut of_target = commands(of_target).concat();
    match arguments.first().map(String::as_str) {
        Some("demo") => {
            of_target.insert(0, "demo".to_owned());
            wrong(&of_target, true)
        }
        Some("bench") => {
            // With `--list` it reads everything else that is asked for, and measures nothing.
            let read = Command::new(binary("bench")).args(&of_target).arg("--list").output();
            let read = read.unwrap();
            (!read.status.success()).then(|| said(&read))
        }
        _ => None,
    }
}

/// The options that `program … --help` does not have. Those behind `--` or the name of an image
/// are another program's.
fn unknown_options(command: &mut Command, options: &[String]) -> Option<String> {
    let help = succeed(command.arg("--help"));
    let known: BTreeSet<&str> = help
        .split(|c: char| c.is_whitespace() || "=,[]'".contains(c))
        .filter(|word| word.starts_with("--"))
        .map(|word| word.trim_end_matches([':', '.']))
        .collect();
    let name = |option: &String| option.split('=').next().unwrap_or_default().to_owned();
    let unknown = options.iter().filter(|word| word.starts_with("--")).map(name);
    let unknown: Vec<String> = unknown.filter(|name| !known.contains(name.as_str())).collect();
    (!unknown.is_empty()).then(|| format!("{command:?} has no {}", unknown.join(", ")))
}

/// Its options, the file that it names, and the command that it runs in a container.
fn docker(arguments: &[String]) -> Option<String> {
    let file = arguments.iter().position(|word| word == "--file").map(|at| &arguments[at + 1]);
    if let Some(file) = file.filter(|file| !root().join(file).is_file()) {
        return Some(format!("there is no {file}"));
    }
    if let Some(at) = arguments.iter().position(|word| word == "/usr/bin/offtake") {
        if let Some(problem) = wrong(&up_to(&arguments[at + 1..], ">"), true) {
            return Some(problem);
        }
        let service = &arguments[at - 1];
        let known = read("deploy/docker-compose.yml").contains(&format!("\n  {service}:\n"));
        return (!known && service != "CONTAINER").then(|| format!("there is no {service}"));
    }
    // The plugin `compose` is rarely there without an engine.
    let plugin = arguments[0] == "compose";
    if plugin {
        let known = ["--file", "--build", "--detach", "--volumes", "up", "exec", "down"];
        let words = arguments[1..].iter().filter(|word| file != Some(word));
        let unknown = words.map(String::as_str).find(|word| !known.contains(word));
        return unknown.map(|word| format!("this test does not know `compose {word}`"));
    }
    if !installed("docker") {
        return None;
    }
    let image = arguments.iter().position(|word| word == "offtake").unwrap_or(arguments.len());
    unknown_options(Command::new("docker").arg(&arguments[0]), &arguments[1..image])
}

/// What makes objects is run, and sends nothing. Of the rest: the options, the deployment, and the
/// command that it runs in a pod.
fn kubectl(arguments: &[String]) -> Option<String> {
    let behind = arguments.iter().position(|word| word == "--").unwrap_or(arguments.len());
    let (arguments, inside) = arguments.split_at(behind);
    if let Some(problem) = inside.get(2..).and_then(|inside| wrong(&up_to(inside, ">"), true)) {
        return Some(problem);
    }
    let named = arguments.iter().find_map(|word| word.strip_prefix("deployment/"));
    if named.is_some_and(|name| !read("deploy/kubernetes/base/deployment.yaml").contains(name)) {
        return Some(format!("there is no deployment {named:?}"));
    }
    if !installed("kubectl") {
        return None;
    }
    let verb = arguments.iter().skip_while(|word| word.starts_with("--") || *word == "offtake");
    let verb: Vec<&String> = verb.take_while(|word| !word.starts_with('-')).collect();
    if verb[0] == "create" {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("source_url"), "postgres://source.example/app").unwrap();
        let mut create = Command::new("kubectl");
        create.args(arguments).args(["--dry-run=client", "--output=name"]);
        succeed(create.current_dir(folder.path()));
        return None;
    }
    if let Some(at) = arguments.iter().position(|word| word == "--kustomize") {
        succeed(Command::new("kubectl").arg("kustomize").arg(root().join(&arguments[at + 1])));
        return None;
    }
    let verb = verb.iter().take_while(|word| !word.contains('/'));
    let global = ["--namespace".to_owned()];
    let own: Vec<String> =
        arguments.iter().filter(|word| !global.contains(word)).cloned().collect();
    unknown_options(Command::new("kubectl").args(verb), &own)
}

/// Its verb and options, and the unit, which is ours or Debian's.
fn systemctl(arguments: &[String]) -> Option<String> {
    let ours = |unit: &String| root().join(format!("deploy/{unit}.service")).is_file();
    if !arguments.last().is_some_and(|unit| ours(unit) || unit == "prometheus") {
        return Some(format!("there is no unit {:?}", arguments.last()));
    }
    if !installed("systemctl") {
        return None;
    }
    let help = succeed(Command::new("systemctl").arg("--help"));
    let verb =
        help.lines().any(|line| line.trim_start().starts_with(&format!("{} ", arguments[0])));
    if !verb {
        return Some(format!("systemctl has no {}", arguments[0]));
    }
    unknown_options(&mut Command::new("systemctl"), &arguments[1..])
}

/// Its packages and binaries.
fn cargo(arguments: &[String]) -> Option<String> {
    let values = |option: &'static str| {
        arguments.windows(2).filter(move |pair| pair[0] == option).map(|pair| pair[1].as_str())
    };
    let packages = values("--package").chain(values("-p"));
    let manifests = [root().join("crates"), root().to_owned()];
    let there = |package: &str| {
        let folder = package.strip_prefix("offtake-").unwrap_or(package);
        manifests.iter().any(|parent| {
            std::fs::read_to_string(parent.join(folder.replace('-', "_")).join("Cargo.toml"))
                .is_ok_and(|text| text.contains(&format!("name = \"{package}\"")))
        })
    };
    let paths = values("--path").filter(|path| !root().join(path).join("Cargo.toml").is_file());
    let missing = packages.filter(|package| !there(package)).chain(paths);
    let missing: Vec<String> = missing.map(str::to_owned).collect();
    let binaries = values("--bin").filter_map(no_binary);
    missing.into_iter().map(|name| format!("there is no {name}")).chain(binaries).next()
}

fn no_binary(name: &str) -> Option<String> {
    let folders = ["tests/src/bin", "crates/offtake/src"];
    let there = folders.iter().any(|folder| {
        root().join(folder).join(name).is_dir()
            || root().join(folder).join(name).with_extension("rs").is_file()
    });
    (!there && name != "offtake").then(|| format!("there is no binary {name}"))
}

/// A file is what `scripts/build-deb` would write of this version; a package is one of Debian's.
fn apt_get(arguments: &[String]) -> Option<String> {
    let [verb, packages @ ..] = arguments else { return Some("no verb".to_owned()) };
    if verb != "install" {
        return Some(format!("this test does not know `apt-get {verb}`"));
    }
    let ours = format!("./target/debian/offtake_{}_amd64.deb", env!("CARGO_PKG_VERSION"));
    let names = match installed("apt-cache") {
        true => succeed(Command::new("apt-cache").arg("pkgnames")),
        false => String::new(),
    };
    let names: BTreeSet<&str> = names.lines().collect();
    // Without lists of packages, it only knows those that are installed.
    let lists = names.len() > 10_000;
    let unknown = |package: &&String| match package.starts_with('.') {
        true => **package != ours,
        false => lists && !names.contains(package.as_str()),
    };
    packages.iter().find(unknown).map(|package| format!("there is no package {package}"))
}

/// Its options, and that it asks a daemon or Prometheus.
fn curl(arguments: &[String]) -> Option<String> {
    let ports = ["localhost:8080/", "127.0.0.1:8080/", "127.0.0.1:9090/"];
    if !arguments.iter().any(|word| ports.iter().any(|port| word.contains(port))) {
        return Some("it asks neither a daemon nor Prometheus".to_owned());
    }
    if !installed("curl") {
        return None;
    }
    let mut words = arguments.to_vec();
    words.retain(|word| word.starts_with("--"));
    let help = succeed(Command::new("curl").args(["--help", "all"]));
    let unknown = words.into_iter().find(|option| !help.contains(&format!("{option} ")));
    unknown.map(|option| format!("curl has no {option}"))
}

/// Its verbs and options.
fn git(arguments: &[String]) -> Option<String> {
    let known = ["clone", "worktree"];
    (!known.contains(&arguments[0].as_str())).then(|| format!("git {}", arguments.join(" ")))
}

#[test]
fn every_command_in_a_block_exists_with_its_options() {
    let (mut looked_at, mut refused) = (0, Vec::new());
    for page in pages() {
        for Block { page, text } in blocks(&page) {
            for words in commands(&text) {
                looked_at += 1;
                let problem = problem_of(&words, &page);
                refused.extend(problem.map(|problem| format!("{page}: {}: {problem}", words[0])));
            }
        }
    }
    assert!(looked_at > 40, "only {looked_at} commands were found");
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

/// A block is run, or each of its commands is of a program that cannot be run here. An `offtake`
/// in such a block has been run in another one.
#[test]
fn every_block_is_run_or_is_of_programs_that_cannot_be_run_here() {
    let (mut run, mut refused) = (BTreeSet::<&(&str, &str, &str)>::new(), Vec::new());
    for block in pages().iter().flat_map(|page| blocks(page)) {
        let by =
            RUN.iter().find(|(page, line, _)| *page == block.page && block.text.contains(line));
        run.extend(by);
        let commands = commands(&block.text);
        let elsewhere =
            |words: &&Vec<String>| !NOT_RUN.iter().any(|(program, _)| *program == words[0]);
        let there = |(page, line): &(&str, &str)| *page == block.page && block.text.contains(line);
        if RUN_ELSEWHERE.iter().any(there) {
            continue;
        }
        if by.is_none()
            && let Some(words) = commands.iter().find(elsewhere)
        {
            refused.push(format!("{}: nothing runs `{}`", block.page, words.join(" ")));
        }
    }
    assert!(refused.is_empty(), "{}", refused.join("\n"));
    assert_eq!(run.len(), RUN.len(), "{run:?}");
    let mut tests = String::new();
    for folder in ["tests/tests/documented", "tests/tests/deployment"] {
        for file in std::fs::read_dir(root().join(folder)).unwrap() {
            tests.push_str(&std::fs::read_to_string(file.unwrap().path()).unwrap());
        }
    }
    for (_, _, test) in RUN {
        assert!(tests.contains(&format!("fn {test}(")), "there is no {test}");
    }
    assert!(Path::new(&root().join("tests/compose/run")).is_file());
}

/// The check can fail, for each program that it knows.
#[test]
fn what_does_not_exist_in_a_block_is_found() {
    let mut wrong = vec![
        "offtake statsu",
        "make demo ARGS=\"--tenant 5\"",
        "make bench ARGS=\"--only updates\"",
        "make bench ARGS=\"--onyl update\"",
        "docker build --file deploy/dockerfile --tag offtake .",
        "docker compose --file deploy/docker-compose.yml exec oftake /usr/bin/offtake status",
        "docker exec CONTAINER /usr/bin/offtake statsu",
        "kubectl exec deployment/oftake -- /usr/bin/offtake status",
        "systemctl restart oftake",
        "cargo build --package oftake",
        "apt-get install ./target/debian/offtake_0.0.1_amd64.deb",
        "target/release/flet 1",
        "unknown thing",
        "curl --silnet http://127.0.0.1:9090/api",
    ];
    if installed("docker") {
        wrong.push("docker build --fiel x --tag offtake .");
    }
    if installed("kubectl") {
        wrong.push("kubectl --namespace offtake rollout status --timeuot 1s deployment/offtake");
    }
    if installed("systemctl") {
        wrong.extend(["systemctl restrat offtake", "systemctl enable --nwo offtake"]);
    }
    for line in wrong {
        let words = &commands(line)[0];
        assert!(problem_of(words, "README.md").is_some(), "{line}");
    }
}
