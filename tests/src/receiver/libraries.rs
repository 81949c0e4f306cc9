//! Receivers of `tests/receivers`, which verify with the official libraries of other languages.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use serde_json::{Value, json};

use super::Request;
use crate::http;

/// A language that has an official library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    Node,
    Python,
}

/// What a library says of a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Said {
    /// `verified`, or why not; null if no `whsec_` was given.
    pub v1: Value,
    /// `verified` or `refused`; null if no public key was given.
    pub v1a: Value,
    /// What the library made of the body.
    pub parsed: Value,
}

impl Language {
    pub const ALL: [Self; 2] = [Self::Node, Self::Python];

    /// Its folder, with the libraries if they are installed.
    fn folder(self) -> PathBuf {
        let receivers = Path::new(env!("CARGO_MANIFEST_DIR")).join("receivers");
        receivers.join(if self == Self::Node { "node" } else { "python" })
    }

    /// Runs one of its programs.
    fn command(self, program: &str) -> Command {
        let folder = self.folder();
        let (interpreter, ending) =
            if self == Self::Node { ("node", "mjs") } else { ("python3", "py") };
        let mut command = Command::new(interpreter);
        command
            .arg(folder.join(program).with_extension(ending))
            .env("PYTHONPATH", folder.join("packages"))
            .env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }
}

/// The languages whose library is installed. Where one is not, prints the remedy.
pub fn installed() -> Vec<Language> {
    let stamp = |language: &Language| match language {
        Language::Node => "node_modules/.installed",
        Language::Python => "packages/.installed",
    };
    let is_there = |language: &Language| {
        let there = language.folder().join(stamp(language)).is_file();
        if !there {
            eprintln!(
                "skipped: the library for {language:?} is not installed\n  \
                 remedy: scripts/ensure-receivers"
            );
        }
        there
    };
    Language::ALL.into_iter().filter(is_there).collect()
}

/// What the language's libraries say of these requests, with these secrets.
pub fn verify_with(
    language: Language,
    requests: &[Request],
    secret: Option<&str>,
    public_key: Option<&str>,
) -> Vec<Said> {
    let mut process = language
        .command("verify")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the interpreter starts");
    let mut input = process.stdin.take().expect("a pipe");
    let lines: Vec<String> = requests
        .iter()
        .map(|request| {
            let body = base64::engine::general_purpose::STANDARD.encode(&request.body);
            let headers = &request.headers;
            json!({ "secret": secret, "public_key": public_key, "headers": headers, "body": body })
                .to_string()
        })
        .collect();
    // In a thread: the process answers while it reads.
    let writer = std::thread::spawn(move || {
        for line in lines {
            writeln!(input, "{line}").expect("the process reads");
        }
    });
    let output = BufReader::new(process.stdout.take().expect("a pipe"));
    let said: Vec<Said> = output
        .lines()
        .map(|line| {
            let mut said: Value =
                serde_json::from_str(&line.expect("a line")).expect("a line of JSON");
            let mut field = |name: &str| said[name].take();
            Said { v1: field("v1"), v1a: field("v1a"), parsed: field("parsed") }
        })
        .collect();
    writer.join().expect("everything was written");
    assert!(process.wait().expect("our own child").success(), "{language:?} failed");
    assert_eq!(said.len(), requests.len(), "{language:?}");
    said
}

/// The receiver of docs/webhooks.md in that language, as a process; killed when dropped.
pub struct LibraryReceiver {
    process: Child,
    port: u16,
}

impl LibraryReceiver {
    /// Starts it on a free port. `program`: its file, so that a test can start what a page shows.
    pub fn start(language: Language, program: &Path, secret: &str) -> Self {
        let mut command = language.command("receiver");
        let interpreter = command.get_program().to_owned();
        let environment: Vec<_> =
            command.get_envs().map(|(n, v)| (n.to_owned(), v.map(ToOwned::to_owned))).collect();
        command = Command::new(interpreter);
        command.arg(program).arg("0").env("WEBHOOK_SECRET", secret);
        for (name, value) in environment {
            command.env(name, value.unwrap_or_default());
        }
        let mut process = command.stdout(Stdio::piped()).spawn().expect("the interpreter starts");
        let mut line = String::new();
        let mut output = BufReader::new(process.stdout.take().expect("a pipe"));
        output.read_line(&mut line).expect("it says where it listens");
        let port = line.trim().trim_end_matches('/').rsplit(':').next();
        let port = port.and_then(|port| port.parse().ok()).unwrap_or_else(|| panic!("{line:?}"));
        Self { process, port }
    }

    /// The program of `tests/receivers`.
    pub fn of(language: Language) -> Self {
        let ending = if language == Language::Node { "mjs" } else { "py" };
        let program = language.folder().join("receiver").with_extension(ending);
        Self::start(language, &program, super::SECRET)
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook", self.port)
    }

    /// The rows of a mapping that are there, as far as it was told.
    pub async fn rows(&self, mapping: &str) -> Vec<Value> {
        let (status, body) =
            http::request(self.port, "GET", "/", &[], "").await.expect("it answers");
        assert_eq!(status, 200, "{body}");
        let rows: Vec<Value> = serde_json::from_str(&body).expect("JSON");
        let of_mapping = rows.into_iter().filter(|row| row["mapping"] == mapping);
        of_mapping.map(|mut row| row["data"].take()).filter(|data| !data.is_null()).collect()
    }
}

impl Drop for LibraryReceiver {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
