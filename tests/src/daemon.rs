//! The real `offtake` as a process.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use offtake_private_server::ReservedPort;
use serde_json::Value;

use crate::failpoints::Failpoints;
use crate::{PATIENCE, http, until};

/// The path of a program of this workspace. It must be built before the tests run: `cargo test`
/// builds only the programs of the tested package.
pub fn binary(name: &str) -> PathBuf {
    let executable = std::env::current_exe().expect("the running executable has a path");
    let folders = executable.ancestors().skip(1).take(2);
    folders
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
        .unwrap_or_else(|| panic!("{name} is not built\n  remedy: run the tests by `make test`, or `cargo build --workspace --bins` first"))
}

/// Runs one command of the real binary to its end.
pub(crate) async fn command(
    configuration: &Path,
    environment: &Environment,
    arguments: &[&str],
) -> Output {
    let mut command = offtake(configuration, environment);
    command.args(arguments).stdin(Stdio::null());
    tokio::task::spawn_blocking(move || command.output().expect("offtake starts"))
        .await
        .expect("waiting does not panic")
}

/// Starts one command of the real binary, with one more variable. It is killed when it is dropped.
pub(crate) fn start(
    configuration: &Path,
    environment: &Environment,
    (name, value): (&str, &str),
    arguments: &[&str],
) -> tokio::process::Child {
    let mut command = tokio::process::Command::from(offtake(configuration, environment));
    command
        .args(arguments)
        .env(name, value)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command.spawn().expect("offtake starts")
}

/// What `offtake` is started with.
#[derive(Default)]
pub(crate) struct Environment {
    pub(crate) variables: BTreeMap<String, String>,
    /// A program that becomes `offtake`, with its arguments; empty: none.
    pub(crate) launcher: Vec<String>,
}

fn offtake(configuration: &Path, environment: &Environment) -> Command {
    let mut command = match &environment.launcher[..] {
        [] => Command::new(binary("offtake")),
        [program, arguments @ ..] => {
            let mut command = Command::new(program);
            command.args(arguments).arg(binary("offtake"));
            command
        }
    };
    for (name, _) in
        std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("OFFTAKE_"))
    {
        command.env_remove(name);
    }
    command.env_remove("RUST_LOG").envs(&environment.variables).arg("--config").arg(configuration);
    command
}

/// One line that a daemon logged.
#[derive(Debug, Clone)]
pub struct LogLine {
    /// INFO, WARN …; ERROR for a line that is not an event, such as a panic's.
    pub level: String,
    /// The event's stable name; empty if the line has none.
    pub event: String,
    /// The whole line.
    pub text: String,
}

impl LogLine {
    fn parse(text: String) -> Self {
        let line: Value = serde_json::from_str(&text).unwrap_or_default();
        let field = |name: &str| line[name].as_str().map(str::to_owned);
        Self {
            level: field("level").unwrap_or_else(|| "ERROR".to_owned()),
            event: field("event").unwrap_or_default(),
            text,
        }
    }
}

/// The events that may be logged as warnings or errors. A world shares them with its daemons.
pub(crate) type Expected = Arc<Mutex<BTreeSet<String>>>;

/// A running `offtake run`. Killed when dropped. The test then fails if the daemon logged a warning
/// or an error that neither the world nor the test allowed.
pub struct Daemon {
    command: Command,
    process: Child,
    port: ReservedPort,
    lines: Arc<Mutex<Vec<LogLine>>>,
    printed: Arc<Mutex<Vec<String>>>,
    readers: Vec<JoinHandle<()>>,
    expected: Expected,
    pub(crate) failpoints: Failpoints,
}

impl Daemon {
    pub(crate) fn spawn(
        configuration: &Path,
        port: ReservedPort,
        (expected, environment): (Expected, &Environment),
        arguments: &[&str],
        failpoints: &[(&str, &str)],
    ) -> Self {
        let failpoints = Failpoints::beside(configuration, failpoints);
        let mut command = offtake(configuration, environment);
        command.env("OFFTAKE_FAILPOINTS_FILE", failpoints.file());
        command
            .arg("run")
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let process = command.spawn().expect("offtake starts");
        let (lines, printed, readers) = (Arc::default(), Arc::default(), Vec::new());
        let mut this =
            Self { command, process, port, lines, printed, readers, expected, failpoints };
        this.begin_to_read();
        this
    }

    fn begin_to_read(&mut self) {
        let (stdout, stderr) = (self.process.stdout.take(), self.process.stderr.take());
        self.readers = vec![
            read(stdout.expect("a pipe"), &self.printed, |line| line),
            read(stderr.expect("a pipe"), &self.lines, LogLine::parse),
        ];
    }

    /// Kills it if it still runs, and starts it again: the same command and port, without
    /// failpoints. Waits until it is ready.
    pub async fn start_again(&mut self) {
        self.kill();
        self.end_of_log();
        self.clear_failpoints().await;
        self.process = self.command.spawn().expect("offtake starts");
        self.begin_to_read();
        self.wait_ready().await;
    }

    /// Waits until `/readyz` reports that the daemon is ready.
    pub async fn wait_ready(&mut self) {
        until("the daemon is ready", PATIENCE, async || {
            if let Some(status) = self.process.try_wait().expect("our own child") {
                self.expected.lock().expect("no panic").insert("*".to_owned());
                panic!("the daemon ended ({status}):\n{}", self.log_text());
            }
            match http::request(self.port(), "GET", "/readyz", &[], "").await {
                Ok((200, _)) => Ok(()),
                Ok((status, body)) => Err(format!("{status} {body}")),
                Err(error) => Err(error.to_string()),
            }
        })
        .await;
    }

    /// The answer of `GET /api/v1/status`.
    pub async fn status(&self) -> Value {
        let (code, body) = self.get("/api/v1/status").await;
        assert_eq!(code, 200, "{body}");
        serde_json::from_str(&body).expect("status is JSON")
    }

    /// The same for a daemon that requires a token.
    pub async fn status_as(&self, token: &str) -> Value {
        let authorization = format!("Bearer {token}");
        let (code, body) =
            self.request("GET", "/api/v1/status", &[("Authorization", &authorization)], "").await;
        assert_eq!(code, 200, "{body}");
        serde_json::from_str(&body).expect("status is JSON")
    }

    /// Status code and body.
    pub async fn get(&self, path: &str) -> (u16, String) {
        self.request("GET", path, &[], "").await
    }

    /// The value of a metric, which is named with its labels as `/metrics` prints them. A scrape does
    /// not wait long for what is read from the source, so one that is missing is waited for.
    pub async fn metric(&self, name: &str) -> f64 {
        until(&format!("{name} is among the metrics"), PATIENCE, async || {
            let (_, text) = self.get("/metrics").await;
            let line = text.lines().find(|line| line.starts_with(&format!("{name} ")));
            line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).ok_or(text)
        })
        .await
    }

    /// Status code and body; `body` is sent as JSON unless it is empty.
    pub async fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> (u16, String) {
        http::request(self.port(), method, path, headers, body)
            .await
            .unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// The port of its HTTP API on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The process number, for `/proc`.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// False once the process has ended in any way.
    pub fn runs(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id()))
            .unwrap_or_default();
        // An ended process is listed as a zombie until its parent has waited for it.
        stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
    }

    /// Sends SIGKILL and waits for the end.
    pub fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Sends SIGTERM and does not wait.
    pub fn terminate(&self) {
        self.signal(rustix::process::Signal::TERM);
    }

    /// Sends SIGSTOP: the daemon stands still, its connections stay open.
    pub fn freeze(&self) {
        self.signal(rustix::process::Signal::STOP);
    }

    /// Sends SIGCONT: the daemon goes on.
    pub fn thaw(&self) {
        self.signal(rustix::process::Signal::CONT);
    }

    /// Sends SIGHUP: the daemon reads its configuration again.
    pub fn reload(&self) {
        self.signal(rustix::process::Signal::HUP);
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.process.id())
            .ok()
            .and_then(rustix::process::Pid::from_raw)
            .expect("a process number");
        rustix::process::kill_process(pid, signal).expect("our own child");
    }

    /// Waits until the process has ended by itself.
    pub async fn wait_exit(&mut self, timeout: Duration) -> ExitStatus {
        until("the daemon ends", timeout, async || {
            let ended = self.process.try_wait().expect("our own child");
            ended.ok_or_else(|| format!("it runs; last lines:\n{}", self.log_tail()))
        })
        .await
    }

    /// Sends SIGTERM and waits for the end, which must be clean. Returns everything that the daemon
    /// logged.
    pub async fn stop(mut self) -> Vec<LogLine> {
        self.terminate();
        let status = self.wait_exit(PATIENCE).await;
        assert!(
            status.success(),
            "the daemon ended with {status} after SIGTERM:\n{}",
            self.log_tail()
        );
        self.end_of_log();
        self.log()
    }

    /// Waits until everything that the ended process wrote has been read.
    fn end_of_log(&mut self) {
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
    }

    /// Everything logged so far.
    pub fn log(&self) -> Vec<LogLine> {
        lock(&self.lines).clone()
    }

    /// Everything logged so far, as one text.
    pub fn log_text(&self) -> String {
        lock(&self.lines).iter().map(|line| format!("{}\n", line.text)).collect()
    }

    /// What it wrote to standard output so far; the log goes to standard error.
    pub fn printed(&self) -> Vec<String> {
        lock(&self.printed).clone()
    }

    fn log_tail(&self) -> String {
        let lines = lock(&self.lines);
        lines[lines.len().saturating_sub(20)..]
            .iter()
            .map(|line| format!("{}\n", line.text))
            .collect()
    }

    /// Allows warnings and errors of this event; `"*"` allows all.
    pub fn allow(&self, event: &str) {
        lock(&self.expected).insert(event.to_owned());
    }

    fn unexpected(&self) -> Vec<LogLine> {
        let expected = lock(&self.expected);
        let mut lines = self.log();
        lines.retain(|line| {
            matches!(line.level.as_str(), "WARN" | "ERROR")
                && !expected.contains("*")
                && !expected.contains(&line.event)
        });
        lines
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
        self.end_of_log();
        if std::thread::panicking() {
            eprintln!("the daemon's last lines:\n{}", self.log_tail());
            return;
        }
        let unexpected = self.unexpected();
        if !unexpected.is_empty() {
            let lines: String =
                unexpected.iter().map(|line| format!("  {}\n", line.text)).collect();
            panic!(
                "the daemon logged warnings or errors that the test does not expect (Daemon::allow names an event):\n{lines}"
            );
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A thread that collects the pipe's lines until its other end is closed.
fn read<T: Send + 'static>(
    pipe: impl Read + Send + 'static,
    lines: &Arc<Mutex<Vec<T>>>,
    line: impl Fn(String) -> T + Send + 'static,
) -> JoinHandle<()> {
    let lines = lines.clone();
    std::thread::spawn(move || {
        for bytes in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
            let line = line(String::from_utf8_lossy(&bytes).into_owned());
            lock(&lines).push(line);
        }
    })
}
