//! D1's own engine, with the Worker of `deploy/d1-worker` in front of it, and a door before that which
//! does what networks and Cloudflare do.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::Rng as _;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::SqliteFile;

/// What opens the databases. No output may have it.
pub const TOKEN: &str = "canary-token-4711";

/// Another token that the door knows. To the Worker all of them are the same.
pub const OTHER_TOKEN: &str = "canary-token-other";

/// The text that every batch has that moves cursors, and no other one.
pub const MOVES: &str = "insert into \\\"_offtake_state\\\"";

/// Whether the engine is installed. Where it is not, prints the remedy.
pub fn installed() -> bool {
    let there = folder().join("node_modules/.installed").is_file();
    if !there {
        eprintln!("skipped: the engine of D1 is not installed\n  remedy: scripts/ensure-receivers");
    }
    there
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("d1")
}

/// What the door does with a request.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Closes the connection; the request does not arrive.
    Lose,
    /// Closes the connection; the request arrives, its answer does not.
    LoseAnswer,
    /// Closes the connection; the request arrives when the test says so.
    Late,
    /// Delivers it twice, and returns the second answer.
    Twice,
    /// Runs each statement of the batch by itself, until one fails.
    Apart,
    /// Answers by itself: status, more lines of the head, body.
    Answer(u16, String, String),
    /// Delivers it, and adds these lines to the answer's head.
    Head(String),
    /// Delivers it, and says this in the answer's first `meta`.
    Meta(&'static str, f64),
}

/// A request that came to the door.
#[derive(Debug, Clone)]
pub struct Seen {
    pub head: String,
    pub body: String,
}

impl Seen {
    fn has(&self, text: &str) -> bool {
        self.head.contains(text) || self.body.contains(text)
    }
}

#[derive(Default)]
struct State {
    /// Faults of the next requests that have this text in head or body, each for one request.
    next: Vec<(String, Fault)>,
    /// The same for all requests.
    always: Option<(String, Fault)>,
    /// This share of all requests is lost, half of them after they have arrived.
    lost: f64,
    late: Vec<Seen>,
    seen: Vec<Seen>,
}

/// Databases, and the door before them.
pub struct D1 {
    engine: Child,
    address: String,
    door: u16,
    state: Arc<Mutex<State>>,
    files: PathBuf,
    databases: Vec<(String, SqliteFile)>,
}

impl Drop for D1 {
    fn drop(&mut self) {
        // Without its input it ends, and the engine's own process with it. One that is killed would
        // leave that behind.
        drop(self.engine.stdin.take());
        for _ in 0..500 {
            if matches!(self.engine.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.engine.kill();
        let _ = self.engine.wait();
    }
}

impl D1 {
    /// So many empty databases, whose data is below `files`.
    pub async fn start(count: usize, files: &Path) -> Self {
        let id = |_| {
            let digits = format!("{:032x}", rand::rng().random::<u128>());
            [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]]
                .join("-")
        };
        let ids: Vec<String> = (0..count).map(id).collect();
        let (engine, address) = start_engine(files, &ids);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let door = listener.local_addr().expect("it is bound").port();
        let state = Arc::<Mutex<State>>::default();
        let (engine_address, shared) = (address.clone(), state.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, engine_address.clone(), shared.clone()));
            }
        });
        let files = files.join("miniflare-D1DatabaseObject");
        let mut d1 = Self { engine, address, door, state, files, databases: Vec::new() };
        for id in ids {
            // A database has a file from its first request on.
            d1.ask(&id, &["select 1"]).await;
            let file = d1.new_file();
            d1.databases.push((id, file));
        }
        d1
    }

    fn new_file(&self) -> SqliteFile {
        let listed = std::fs::read_dir(&self.files).expect("the engine keeps its files there");
        let known = |path: &PathBuf| self.databases.iter().any(|(_, file)| file.path() == path);
        let is_one = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            name.ends_with(".sqlite") && !name.starts_with("metadata")
        };
        let files = listed.map(|entry| entry.expect("an entry").path());
        let file = files.filter(is_one).find(|path| !known(path));
        SqliteFile::new(file.expect("the engine has made a file"))
    }

    /// As `destinations.d1`.
    pub fn settings(&self) -> Value {
        json!({
            "endpoint": format!("http://127.0.0.1:{}/client/v4", self.door),
            "requests_per_second": 1000,
        })
    }

    /// The Worker itself, without the door.
    pub fn endpoint(&self) -> String {
        format!("http://{}/client/v4", self.address)
    }

    /// The URL of the database with this number.
    pub fn url(&self, number: usize) -> String {
        format!("d1://{}/{}", "0".repeat(32), self.databases[number].0)
    }

    /// The file that the engine keeps it in, which any SQLite may read meanwhile.
    pub fn file(&self, number: usize) -> SqliteFile {
        self.databases[number].1.clone()
    }

    /// Runs statements as the tenant, by the Worker itself.
    pub async fn execute(&self, number: usize, statements: &[&str]) -> Value {
        self.ask(&self.databases[number].0, statements).await
    }

    async fn ask(&self, id: &str, statements: &[&str]) -> Value {
        let batch: Vec<_> = statements.iter().map(|sql| json!({ "sql": sql })).collect();
        let body = json!({ "batch": batch }).to_string();
        let path = format!("/accounts/x/d1/database/{id}/query");
        let head = format!("POST {path} HTTP/1.1\r\nauthorization: Bearer {TOKEN}");
        let answer =
            forward(&self.address, &Seen { head, body }).await.expect("the engine answers");
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let json = answer.find('{').zip(answer.rfind('}')).map(|(from, to)| &answer[from..=to]);
        let told: Value =
            serde_json::from_str(json.unwrap_or_default()).expect("it answers in JSON");
        assert_eq!(told["success"], true, "{statements:?}: {told}");
        told["result"].clone()
    }

    /// The Worker's answer to a request with this path and this line of the head.
    pub async fn knock(&self, path: &str, line: &str) -> String {
        let head = format!("POST {path} HTTP/1.1\r\n{line}");
        let body = json!({ "batch": [{ "sql": "select 1" }] }).to_string();
        let answer = forward(&self.address, &Seen { head, body }).await;
        String::from_utf8_lossy(&answer.expect("the Worker answers")).into_owned()
    }

    /// The processes of the engine: the one that was started, and those that it has started.
    pub fn processes(&self) -> Vec<u32> {
        let parent_of = |pid: u32| -> Option<u32> {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
        };
        let ours = self.engine.id();
        let all = std::fs::read_dir("/proc").expect("a system with /proc");
        let pids = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        pids.filter(|pid| *pid == ours || parent_of(*pid) == Some(ours)).collect()
    }

    /// The id of the database with this number.
    pub fn id(&self, number: usize) -> &str {
        &self.databases[number].0
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What happens to the next request that has this text.
    pub fn next(&self, text: &str, fault: Fault) {
        self.state().next.push((text.to_owned(), fault));
    }

    /// What happens to every request that has this text, until [`Self::mend`].
    pub fn always(&self, text: &str, fault: Fault) {
        self.state().always = Some((text.to_owned(), fault));
    }

    /// Loses this share of the requests, or of their answers.
    pub fn lose(&self, share: f64) {
        self.state().lost = share;
    }

    pub fn mend(&self) {
        let mut state = self.state();
        (state.always, state.lost) = (None, 0.0);
        state.next.clear();
    }

    /// Faults of single requests that have not happened yet.
    pub fn pending(&self) -> usize {
        self.state().next.len()
    }

    /// Delivers what is late. Returns the answers.
    pub async fn deliver(&self) -> Vec<String> {
        let late = std::mem::take(&mut self.state().late);
        let mut answers = Vec::new();
        for request in late {
            let answer = forward(&self.address, &request).await.expect("the engine answers");
            answers.push(String::from_utf8_lossy(&answer).into_owned());
        }
        answers
    }

    /// What came to the door so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.state().seen.clone()
    }
}

fn start_engine(files: &Path, ids: &[String]) -> (Child, String) {
    let mut engine = Command::new("node")
        .arg(folder().join("engine.mjs"))
        .args([TOKEN, &files.to_string_lossy()])
        .args(ids)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node starts");
    let mut line = String::new();
    BufReader::new(engine.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
    let address = line.trim().trim_start_matches("http://").trim_end_matches('/').to_owned();
    assert!(address.starts_with("127.0.0.1:"), "the engine did not start: {line}");
    (engine, address)
}

/// One request of a connection; then it is closed.
async fn serve(mut stream: TcpStream, engine: String, state: Arc<Mutex<State>>) {
    let Some(request) = read(&mut stream).await else { return };
    let fault = {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        state.seen.push(request.clone());
        let of_next = state.next.iter().position(|(text, _)| request.has(text));
        let one = of_next.map(|at| state.next.remove(at).1);
        let all = state.always.as_ref().filter(|(text, _)| request.has(text));
        let fault = one.or_else(|| all.map(|(_, fault)| fault.clone()));
        fault.or_else(|| {
            let share = rand::rng().random::<f64>();
            if share < state.lost / 2.0 {
                Some(Fault::Lose)
            } else {
                (share < state.lost).then_some(Fault::LoseAnswer)
            }
        })
    };
    let answer = match fault {
        None => forward(&engine, &request).await,
        Some(Fault::Lose) => return,
        Some(Fault::LoseAnswer) => {
            let _ = forward(&engine, &request).await;
            return;
        }
        Some(Fault::Late) => {
            state.lock().unwrap_or_else(PoisonError::into_inner).late.push(request);
            return;
        }
        Some(Fault::Twice) => {
            let _ = forward(&engine, &request).await;
            forward(&engine, &request).await
        }
        Some(Fault::Apart) => apart(&engine, &request).await,
        Some(Fault::Head(lines)) => forward(&engine, &request).await.map(|answer| {
            let text = String::from_utf8_lossy(&answer);
            text.replacen("\r\n", &format!("\r\n{lines}"), 1).into_bytes()
        }),
        Some(Fault::Meta(name, value)) => with_meta(&engine, &request, name, value).await,
        Some(Fault::Answer(status, head, body)) => Some(self::answer(status, &head, &body)),
    };
    if let Some(answer) = answer {
        let _ = stream.write_all(&answer).await;
        let _ = stream.shutdown().await;
    }
}

/// A request, or an answer.
async fn read(stream: &mut TcpStream) -> Option<Seen> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).ok()?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    })?;
    while bytes.len() < end + 4 + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    let body = String::from_utf8(bytes[end + 4..].to_vec()).ok()?;
    Some(Seen { head, body })
}

/// The whole answer of the engine.
async fn forward(engine: &str, request: &Seen) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect(engine).await.ok()?;
    let first = request.head.lines().next()?;
    let authorization = request
        .head
        .lines()
        .find(|line| line.to_ascii_lowercase().starts_with("authorization:"))
        .unwrap_or("x-none: 1")
        .replace(OTHER_TOKEN, TOKEN);
    let head = format!(
        "{first}\r\nhost: {engine}\r\n{authorization}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        request.body.len()
    );
    stream.write_all(head.as_bytes()).await.ok()?;
    stream.write_all(request.body.as_bytes()).await.ok()?;
    // The engine keeps its connection open, and the door does not.
    let answer = read(&mut stream).await?;
    let head = answer.head.replacen("\r\n", "\r\nConnection: close\r\n", 1);
    Some(format!("{head}\r\n\r\n{}", answer.body).into_bytes())
}

/// The engine's answer, with another value in its first `meta`.
async fn with_meta(engine: &str, request: &Seen, name: &str, value: f64) -> Option<Vec<u8>> {
    let told = String::from_utf8(forward(engine, request).await?).ok()?;
    let mut body: Value = serde_json::from_str(told.split_once("\r\n\r\n")?.1).ok()?;
    body["result"][0]["meta"][name] = value.into();
    // The size of a database is what the last statement says.
    let last = body["result"].as_array_mut()?.last_mut()?;
    last["meta"][name] = value.into();
    Some(answer(200, "", &body.to_string()))
}

/// As an endpoint that takes a batch for a list.
async fn apart(engine: &str, request: &Seen) -> Option<Vec<u8>> {
    let body: Value = serde_json::from_str(&request.body).ok()?;
    let mut results = Vec::new();
    for statement in body["batch"].as_array()? {
        let body = json!({ "batch": [statement] }).to_string();
        let answer = forward(engine, &Seen { head: request.head.clone(), body }).await?;
        if !answer.starts_with(b"HTTP/1.1 200") {
            return Some(answer);
        }
        let text = String::from_utf8(answer).ok()?;
        let told: Value = serde_json::from_str(text.split_once("\r\n\r\n")?.1).ok()?;
        results.push(told["result"][0].clone());
    }
    let body = json!({ "success": true, "errors": [], "messages": [], "result": results });
    Some(answer(200, "", &body.to_string()))
}

fn answer(status: u16, head: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    let first = format!("HTTP/1.1 {status} Told\r\ncontent-length: {length}\r\nconnection: close");
    format!("{first}\r\n{head}\r\n{body}").into_bytes()
}
