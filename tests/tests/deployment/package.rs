//! The Debian package: built of the tests' own binary, then installed, upgraded, removed and purged
//! by dpkg in a root of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use offtake_tests::binary;

use crate::root;
use offtake_tests::tools::{on_path, said, succeed};

/// The packages, and a root that dpkg installs them into.
struct Packages {
    folder: tempfile::TempDir,
}

impl Packages {
    /// None: dpkg or what the script needs is missing, and the test says so.
    fn build() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        for tool in ["dpkg-deb", "objcopy", "readelf", "gzip"] {
            on_path(tool)?;
        }
        let mut script = Command::new(root().join("scripts/build-deb"));
        // The slow compression of a release says nothing about the content.
        script.env("DPKG_DEB_COMPRESSOR_TYPE", "none");
        succeed(script.arg(binary("offtake")).arg(folder.path()));
        Some(Self { folder })
    }

    fn named(&self, name: &str) -> PathBuf {
        let files = std::fs::read_dir(self.folder.path()).unwrap();
        let mut files = files.map(|file| file.unwrap().path());
        let begins = |path: &PathBuf| {
            path.file_name().unwrap().to_str().unwrap().starts_with(&format!("{name}_"))
        };
        files.find(begins).unwrap_or_else(|| panic!("{name} was not built"))
    }

    fn content(&self, name: &str) -> String {
        succeed(Command::new("dpkg-deb").arg("--contents").arg(self.named(name))).0
    }
}

fn dpkg(into: &Path, arguments: &[&str], package: &Path) -> String {
    let mut dpkg = Command::new("dpkg");
    // The scripts run outside of the root, which has no shell; and the C library is not in its list.
    dpkg.args(["--log=/dev/null", "--force-script-chrootless", "--force-depends", "--root"]);
    dpkg.arg(into);
    let output = dpkg.args(arguments).arg(package).output().unwrap();
    let (told, complained) = said(&output);
    assert!(output.status.success(), "{arguments:?}: {told}{complained}");
    told
}

fn files(folder: &Path) -> Vec<String> {
    let (listed, _) =
        succeed(Command::new("find").arg(folder).args(["-type", "f", "-printf", "%P\n"]));
    let mut listed: Vec<String> = listed
        .lines()
        .filter(|path| !path.starts_with("var/lib/dpkg") && !path.starts_with("var/log"))
        .map(str::to_owned)
        .collect();
    listed.sort();
    listed
}

fn empty_root(folder: &Path) -> PathBuf {
    let into = folder.join("root");
    for path in ["var/lib/dpkg/info", "var/lib/dpkg/updates"] {
        std::fs::create_dir_all(into.join(path)).unwrap();
    }
    for file in ["status", "available"] {
        std::fs::write(into.join("var/lib/dpkg").join(file), "").unwrap();
    }
    into
}

/// dpkg wants to be root. The test needs no other right of it.
fn may_install() -> bool {
    let root = succeed(Command::new("id").arg("-u")).0 == "0\n";
    if !root {
        eprintln!("skipped: dpkg installs as root only");
    }
    root && on_path("dpkg").is_some()
}

/// One test, because the build takes seconds.
#[tokio::test]
async fn the_package_is_installed_upgraded_removed_and_purged() {
    let Some(packages) = Packages::build() else { return };
    the_symbols_are_in_a_package_of_their_own(&packages);
    if may_install() {
        install_upgrade_remove_purge(&packages).await;
    }
}

async fn install_upgrade_remove_purge(packages: &Packages) {
    let into = empty_root(packages.folder.path());
    let package = packages.named("offtake");
    dpkg(&into, &["--install"], &package);
    let installed = files(&into);
    for path in [
        "usr/bin/offtake",
        "usr/lib/systemd/system/offtake.service",
        "etc/offtake/offtake.yaml",
        "usr/share/man/man1/offtake.1.gz",
        "usr/share/man/man1/offtake-run.1.gz",
        "usr/share/man/man1/offtake-bench-capture.1.gz",
        "usr/share/bash-completion/completions/offtake",
        "usr/share/zsh/vendor-completions/_offtake",
        "usr/share/fish/vendor_completions.d/offtake.fish",
        "usr/share/doc/offtake/copyright",
        "usr/share/doc/offtake/changelog.gz",
        "usr/share/doc/offtake/examples/offtake.yaml",
        "usr/share/doc/offtake/examples/grants.sql",
        "usr/share/doc/offtake/examples/mappings/users.yaml",
        "usr/share/doc/offtake/examples/prometheus/prometheus.yml",
        "usr/share/doc/offtake/examples/grafana/offtake.json",
        "usr/share/doc/offtake/README.md",
        "usr/share/doc/offtake/alerts.md",
    ] {
        assert!(installed.iter().any(|file| file == path), "{path} is not in {installed:?}");
    }
    use std::os::unix::fs::PermissionsExt as _;
    let mode =
        |path: &str| std::fs::metadata(into.join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("etc/offtake/credentials"), mode("etc/offtake/mappings")), (0o700, 0o755));

    // What was installed works: the program, its configuration, its pages and completions.
    let program = into.join("usr/bin/offtake");
    succeed(Command::new(&program).arg("--version"));
    a_first_check_leads_to_the_credential(&program, &into.join("etc/offtake"));
    bash_completes(&into.join("usr/share/bash-completion/completions/offtake"));
    if let Some(mut man) = on_path("man") {
        let page = into.join("usr/share/man/man1/offtake-run.1.gz");
        man.args(["--warnings", "--local-file"]).arg(page).env("MANWIDTH", "80");
        let (page, complained) = succeed(&mut man);
        assert!(page.contains("Run the daemon") && complained.is_empty(), "{complained}");
    }

    // The guide leads from here to a copy.
    crate::guide::follow(&into).await;

    // An edited configuration survives an upgrade and a removal, and a purge takes everything.
    let edited = into.join("etc/offtake/offtake.yaml");
    std::fs::write(&edited, "source: { url: edited }\n").unwrap();
    std::fs::write(into.join("etc/offtake/mappings/mine.yaml"), "mine\n").unwrap();
    dpkg(&into, &["--install"], &package);
    assert_eq!(std::fs::read_to_string(&edited).unwrap(), "source: { url: edited }\n");
    dpkg(&into, &["--remove"], Path::new("offtake"));
    assert_eq!(files(&into), ["etc/offtake/mappings/mine.yaml", "etc/offtake/offtake.yaml"]);
    dpkg(&into, &["--purge"], Path::new("offtake"));
    assert_eq!(files(&into), Vec::<String>::new());
}

/// As a new user does it: the message names the file of the credential; with it, the next message is
/// about the mappings.
fn a_first_check_leads_to_the_credential(program: &Path, folder: &Path) {
    let check = || {
        let mut check = Command::new(program);
        check.env_remove("CREDENTIALS_DIRECTORY").args(["check", "--config"]);
        let output = check.arg(folder.join("offtake.yaml")).output().unwrap();
        (output.status.code(), said(&output).1)
    };
    let (code, complained) = check();
    let credential = folder.join("credentials/source_url");
    let missing = format!("cannot read {}", credential.display());
    assert!(code == Some(78) && complained.contains(&missing), "{complained}");
    std::fs::write(&credential, "postgres://offtake@source.example/app\n").unwrap();
    let (code, complained) = check();
    assert!(code == Some(78) && complained.contains("there is no mapping file"), "{complained}");
    std::fs::remove_file(credential).unwrap();
}

/// bash itself completes a command's name and an option.
fn bash_completes(script: &Path) {
    for (typed, expected) in [("offtake verif", "verify"), ("offtake status --js", "--json")] {
        let words: Vec<&str> = typed.split(' ').collect();
        let last = words.len() - 1;
        let line = format!(
            "source {}; COMP_WORDS=({typed}); COMP_CWORD={last}; COMPREPLY=(); \
             _offtake offtake {} {}; echo \"${{COMPREPLY[@]}}\"",
            script.display(),
            words[last],
            words[last - 1]
        );
        let (told, _) = succeed(Command::new("bash").args(["--norc", "-c", &line]));
        assert!(told.split_whitespace().any(|word| word == expected), "{typed}: {told}");
    }
}

#[test]
fn the_manual_is_written_into_a_folder_that_exists() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("man1");
    let manual = || Command::new(binary("offtake")).arg("manual").arg(&place).output().unwrap();
    let output = manual();
    let (_, complained) = said(&output);
    assert_eq!(output.status.code(), Some(1), "{complained}");
    assert!(complained.contains("remedy: name an existing folder"), "{complained}");
    std::fs::create_dir(&place).unwrap();
    assert!(manual().status.success());
    let written = files(&place);
    // One for the program, and one for each command and its verbs.
    assert!(written.len() > 25 && written.iter().all(|name| name.ends_with(".1")), "{written:?}");
    let page = std::fs::read_to_string(place.join("offtake-status.1")).unwrap();
    assert!(page.contains("offtake status"), "{page}");
}

fn the_symbols_are_in_a_package_of_their_own(packages: &Packages) {
    let content = packages.content("offtake");
    let program = content.lines().find(|line| line.ends_with("./usr/bin/offtake")).unwrap();
    let size = |line: &str| line.split_whitespace().nth(2).unwrap().parse::<u64>().unwrap();
    let unstripped = std::fs::metadata(binary("offtake")).unwrap().len();
    assert!(size(program) * 3 < unstripped * 2, "{program}: of {unstripped} bytes");
    let symbols = packages.content("offtake-dbgsym");
    let file = symbols.lines().find(|line| line.ends_with(".debug")).unwrap();
    assert!(file.contains("/usr/lib/debug/"), "{file}");
    // Everything belongs to root, whoever builds the package.
    let foreign = content.lines().chain(symbols.lines()).find(|line| !line.contains(" root/root "));
    assert_eq!(foreign, None);
    // What it depends on is there on this machine, if it is Debian's.
    let Some(mut apt) = on_path("apt-get") else { return };
    apt.args(["--simulate", "--no-install-recommends", "install"]).arg(packages.named("offtake"));
    let (told, _) = succeed(&mut apt);
    assert!(told.contains("Inst offtake "), "{told}");
}
