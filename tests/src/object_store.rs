//! An object store that checks signatures (`s3s-fs`, or another one), and a door before it that does
//! what networks and busy stores do.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::tools::on_path;

/// What opens the store. No output may have the second.
pub const ACCESS_KEY_ID: &str = "AKIAOFFTAKETEST";
pub const SECRET: &str = "canary-secret-key-4711";

pub const BUCKET: &str = "dumps";

/// The program that `scripts/ensure-tools` builds. Where it is not there, prints the remedy.
fn program() -> Option<PathBuf> {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/s3s/bin/s3s-fs");
    if !program.is_file() {
        eprintln!("skipped: s3s-fs is not installed\n  remedy: scripts/ensure-tools");
        return None;
    }
    Some(program)
}

/// What the door does with a request.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Answers by itself: status, a line of the head, the error's code.
    Answer(u16, &'static str, &'static str),
    /// Takes half of the body and closes the connection; nothing arrives.
    CutRequest,
    /// Delivers it, and closes the connection without an answer.
    LoseAnswer,
    /// Delivers it, and closes the connection after half of the answer's body.
    CutAnswer,
    /// Delivers it, and answers by itself: status and the error's code.
    AnswerAnyway(u16, &'static str),
    /// Delivers it without its `if-none-match`, as to a store that does not look at it.
    Unconditional,
}

/// A request that came to the door.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Method and path with the query.
    pub asked: String,
    pub head: String,
    /// The bytes of its body.
    pub size: usize,
}

#[derive(Default)]
struct State {
    /// Faults of the next requests whose head has this text, each for one request.
    next: Vec<(String, Fault)>,
    /// The same for all requests.
    always: Option<(String, Fault)>,
    seen: Vec<Seen>,
}

/// A store, and the door before it. It ends when dropped.
pub struct ObjectStore {
    server: Child,
    door: u16,
    state: Arc<Mutex<State>>,
    root: PathBuf,
}

impl Drop for ObjectStore {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

impl ObjectStore {
    /// `s3s-fs`, with an empty bucket whose files are below this folder. None: it is not installed.
    pub async fn start(folder: &Path) -> Option<Self> {
        let program = program()?;
        let root = folder.join("s3");
        std::fs::create_dir_all(root.join(BUCKET)).expect("a folder for the bucket");
        loop {
            let port = free_port();
            let mut command = Command::new(&program);
            command.args(["--host", "127.0.0.1", "--port", &port.to_string()]);
            command.args(["--access-key", ACCESS_KEY_ID, "--secret-key", SECRET]).arg(&root);
            if let Some(store) = Self::behind_door(command, port, root.clone()).await {
                return Some(store);
            }
        }
    }

    /// `moto`, which lists uploads too, and takes any key. None: it is not installed.
    pub async fn start_moto(folder: &Path) -> Option<Self> {
        let program = match std::env::var_os("OFFTAKE_MOTO_SERVER") {
            Some(program) => program,
            None => on_path("moto_server")?.get_program().to_owned(),
        };
        let (store, port) = loop {
            let port = free_port();
            let mut command = Command::new(&program);
            command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
            if let Some(store) = Self::behind_door(command, port, folder.join("none")).await {
                break (store, port);
            }
        };
        let made = format!("PUT /{BUCKET} HTTP/1.1\r\nhost: 127.0.0.1\r\n");
        let head = format!(
            "{made}authorization: AWS4-HMAC-SHA256 Credential=x/20261128/us-east-1/s3/aws4_request\r\ncontent-length: 0"
        );
        let answer = forward(port, &head, &[]).await.expect("moto answers");
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
        Some(store)
    }

    /// None: another program took the port before the server did, which ended for that.
    async fn behind_door(mut command: Command, port: u16, root: PathBuf) -> Option<Self> {
        let server = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut server = server.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let listens =
            crate::until("the object store listens", Duration::from_secs(60), async || {
                let ended = server.try_wait().expect("a child");
                match ended.is_some() || listens(server.id(), port) {
                    true => Ok(ended.is_none()),
                    false => Err(format!("nothing of it does at port {port}")),
                }
            });
        if !listens.await {
            return None;
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let door = listener.local_addr().expect("it is bound").port();
        let state = Arc::<Mutex<State>>::default();
        let shared = state.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, port, shared.clone()));
            }
        });
        Some(Self { server, door, state, root })
    }

    /// Where it answers.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.door)
    }

    /// As a store of the configuration.
    pub fn settings(&self) -> Value {
        json!({
            "kind": "s3", "bucket": BUCKET, "prefix": "offtake/files", "endpoint": self.endpoint(),
            "region": "us-east-1", "access_key_id": ACCESS_KEY_ID, "secret_access_key": SECRET,
        })
    }

    /// The keys of all objects, as the files of `s3s-fs` have them; what it keeps beside them is left
    /// out.
    pub fn keys(&self) -> Vec<String> {
        let mut keys = Vec::new();
        collect(&self.root.join(BUCKET), "", &mut keys);
        keys.sort_unstable();
        keys
    }

    /// The parts of uploads that were neither completed nor aborted.
    pub fn unfinished(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.root).expect("the store's folder");
        let names = entries.map(|entry| entry.expect("an entry").file_name());
        let names = names.map(|name| name.to_string_lossy().into_owned());
        names.filter(|name| name.contains("upload")).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What happens to the next request whose head has this text.
    pub fn next(&self, text: &str, fault: Fault) {
        self.state().next.push((text.to_owned(), fault));
    }

    /// What happens to every request whose head has this text, until [`Self::mend`].
    pub fn always(&self, text: &str, fault: Fault) {
        self.state().always = Some((text.to_owned(), fault));
    }

    /// Ends all faults. Those of single requests must have happened.
    pub fn mend(&self) {
        let mut state = self.state();
        state.always = None;
        assert!(state.next.is_empty(), "these faults did not happen: {:?}", state.next);
    }

    /// What came to the door since this was last asked.
    pub fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.state().seen)
    }
}

/// A port that nothing listens on now.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it is bound").port()
}

fn collect(folder: &Path, above: &str, keys: &mut Vec<String>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries {
        let entry = entry.expect("an entry");
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type().expect("a type").is_dir() {
            collect(&entry.path(), &format!("{above}{name}/"), keys);
        } else {
            keys.push(format!("{above}{name}"));
        }
    }
}

/// One request of a connection; then it is closed.
async fn serve(mut stream: TcpStream, port: u16, state: Arc<Mutex<State>>) {
    let Some((head, mut body, size)) = read_head(&mut stream).await else { return };
    let asked = head.lines().next().unwrap_or_default().replace(" HTTP/1.1", "");
    let fault = {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        state.seen.push(Seen { asked: asked.clone(), head: head.clone(), size });
        let of_next = state.next.iter().position(|(text, _)| head.contains(text));
        let one = of_next.map(|at| state.next.remove(at).1);
        let all = state.always.as_ref().filter(|(text, _)| head.contains(text));
        one.or_else(|| all.map(|(_, fault)| fault.clone()))
    };
    let wanted = if matches!(fault, Some(Fault::CutRequest)) { size / 2 } else { size };
    while body.len() < wanted {
        if stream.read_buf(&mut body).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let answer = match fault {
        None => forward(port, &head, &body).await,
        Some(Fault::CutRequest) => return,
        Some(Fault::LoseAnswer) => {
            forward(port, &head, &body).await;
            return;
        }
        Some(Fault::CutAnswer) => forward(port, &head, &body).await.map(|mut answer| {
            let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(0) + 4;
            answer.truncate(end + (answer.len() - end) / 2);
            answer
        }),
        Some(Fault::Answer(status, line, code)) => Some(told(&asked, (status, line, code))),
        Some(Fault::AnswerAnyway(status, code)) => {
            forward(port, &head, &body).await;
            Some(told(&asked, (status, "", code)))
        }
        Some(Fault::Unconditional) => {
            let lines = head.split("\r\n").filter(|line| !line.starts_with("if-none-match:"));
            forward(port, &lines.collect::<Vec<_>>().join("\r\n"), &body).await
        }
    };
    if let Some(answer) = answer {
        let _ = stream.write_all(&answer).await;
        let _ = stream.shutdown().await;
    }
}

/// An answer of the door's own.
fn told(asked: &str, (status, line, code): (u16, &str, &str)) -> Vec<u8> {
    let xml = format!("<Error><Code>{code}</Code><Message>told</Message></Error>");
    // An answer to HEAD has no body.
    let xml = if asked.starts_with("HEAD") { String::new() } else { xml };
    let length = xml.len();
    let head = format!("HTTP/1.1 {status} Told\r\ncontent-length: {length}\r\n{line}");
    format!("{head}connection: close\r\n\r\n{xml}").into_bytes()
}

/// The head of a request, what has come of its body, and the size of that.
async fn read_head(stream: &mut TcpStream) -> Option<(String, Vec<u8>, usize)> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let body = bytes.split_off(end + 4);
    bytes.truncate(end);
    let head = String::from_utf8(bytes).ok()?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    Some((head, body, length.unwrap_or(0)))
}

/// The whole answer of the store, which closes the connection behind it.
async fn forward(port: u16, head: &str, body: &[u8]) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    stream.write_all(format!("{head}\r\nconnection: close\r\n\r\n").as_bytes()).await.ok()?;
    stream.write_all(body).await.ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok()?;
    Some(answer)
}

/// Whether that process listens at the port of 127.0.0.1.
fn listens(process: u32, port: u16) -> bool {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let at = format!("0100007F:{port:04X}");
    // The local address, the remote one, the state (0A: it listens) …, and the inode.
    let sockets = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let mut listening = sockets.filter(|of| of.len() > 9 && of[1] == at && of[3] == "0A");
    let Some(inode) = listening.next().map(|of| format!("socket:[{}]", of[9])) else {
        return false;
    };
    let open = std::fs::read_dir(format!("/proc/{process}/fd"));
    let mut open = open.into_iter().flatten().flatten();
    open.any(|file| std::fs::read_link(file.path()).is_ok_and(|to| to.to_string_lossy() == *inode))
}
