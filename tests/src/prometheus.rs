//! A private Prometheus that scrapes daemons of the test, and promtool.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use offtake_private_server::ReservedPort;
use serde_json::{Value, json};

use crate::world::reserve_port;
use crate::{PATIENCE, http, until};

/// How often it scrapes, and how long it waits for an answer. A daemon whose source is silent
/// answers after two seconds.
const SCRAPE_EVERY: &str = "1s";
const SLOW_SCRAPE_EVERY: &str = "3s";

/// What Prometheus scrapes under one job name.
pub struct Job<'a> {
    pub name: &'a str,
    /// Ports of 127.0.0.1.
    pub ports: Vec<u16>,
    /// The source of these daemons is going to be silent.
    pub slow: bool,
}

/// One series of an answer.
#[derive(Debug, Clone)]
pub struct Sample {
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

/// One alert that fires.
#[derive(Debug, Clone)]
pub struct Firing {
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
}

/// One Prometheus; stopped when dropped.
pub struct Prometheus {
    process: Child,
    folder: tempfile::TempDir,
    port: ReservedPort,
}

impl Prometheus {
    /// Starts one with these rules, as the JSON of a rules file. If Prometheus is not installed,
    /// prints the reason and returns None.
    pub async fn start(jobs: &[Job<'_>], rules: &Value) -> Option<Self> {
        let program = installed("prometheus")?;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let port = reserve_port();
        let write = |name: &str, content: &Value| {
            let text = serde_json::to_string_pretty(content).expect("JSON becomes text");
            std::fs::write(folder.path().join(name), text).expect("the folder can be written");
        };
        // Every JSON text is also YAML.
        write("rules.yml", rules);
        write("prometheus.yml", &configuration(jobs));
        let log = std::fs::File::create(folder.path().join("log")).expect("it can be written");
        let process = Command::new(program)
            .arg(format!("--config.file={}", folder.path().join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{}", port.number()))
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("prometheus starts");
        let this = Self { process, folder, port };
        until("Prometheus is ready", PATIENCE, async || {
            let answer = http::request(this.port.number(), "GET", "/-/ready", &[], "").await;
            match answer {
                Ok((200, _)) => Ok(()),
                other => Err(format!("{other:?}; {}", this.log())),
            }
        })
        .await;
        Some(this)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// The result of an instant query. Panics where Prometheus refuses it.
    pub async fn query(&self, expression: &str) -> Vec<Sample> {
        let path = format!("/api/v1/query?query={}", encoded(expression));
        let data = self.get(&path).await;
        let result = data["result"].as_array().unwrap_or_else(|| panic!("{expression}: {data}"));
        result.iter().map(Sample::read).collect()
    }

    /// The alerts that fire now.
    pub async fn firing(&self) -> Vec<Firing> {
        let data = self.get("/api/v1/alerts").await;
        let alerts = data["alerts"].as_array().expect("a list of alerts");
        let firing = alerts.iter().filter(|alert| alert["state"] == "firing");
        firing.map(Firing::read).collect()
    }

    /// The values that a label has in all series.
    pub async fn label_values(&self, metric: &str, label: &str) -> Vec<String> {
        let path = format!("/api/v1/label/{label}/values?match[]={}", encoded(metric));
        let data = self.get(&path).await;
        let values = data.as_array().expect("a list of values");
        values.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    async fn get(&self, path: &str) -> Value {
        let answer = http::request(self.port.number(), "GET", path, &[], "").await;
        let (code, body) = answer.unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!(code, 200, "{path}: {body}");
        let mut answer: Value = serde_json::from_str(&body).expect("Prometheus answers JSON");
        answer["data"].take()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Sample {
    fn read(result: &Value) -> Self {
        let value = result["value"][1].as_str().expect("a number as text");
        Self { labels: labels(&result["metric"]), value: value.parse().expect("a number") }
    }
}

impl Firing {
    fn read(alert: &Value) -> Self {
        Self { labels: labels(&alert["labels"]), annotations: labels(&alert["annotations"]) }
    }
}

fn labels(of: &Value) -> BTreeMap<String, String> {
    let entries = of.as_object().expect("labels");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    entries.iter().map(|(name, value)| (name.clone(), text(value))).collect()
}

fn configuration(jobs: &[Job]) -> Value {
    let job = |job: &Job| {
        let every = if job.slow { SLOW_SCRAPE_EVERY } else { SCRAPE_EVERY };
        let targets: Vec<_> = job.ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        json!({
            "job_name": job.name,
            "scrape_interval": every,
            "scrape_timeout": every,
            "static_configs": [{ "targets": targets }],
        })
    };
    json!({
        "global": { "evaluation_interval": "500ms" },
        "rule_files": ["rules.yml"],
        "scrape_configs": jobs.iter().map(job).collect::<Vec<_>>(),
    })
}

/// Runs promtool with this on its standard input; what it printed is the error. None, with a
/// message, if it is not installed.
pub fn promtool(arguments: &[&str], folder: &Path, input: &str) -> Option<Result<(), String>> {
    let mut process = Command::new(installed("promtool")?)
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool starts");
    let mut stdin = process.stdin.take().expect("it is piped");
    // promtool may end before it has read everything.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = process.wait_with_output().expect("promtool ends");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    // `check metrics` prints what it does not like, and its exit code says so too.
    Some(match output.status.success() {
        true => Ok(()),
        false => Err(format!("{}{}", text(&output.stdout), text(&output.stderr))),
    })
}

/// A program of the package; without it prints what to install.
pub fn installed(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file());
    if found.is_none() {
        eprintln!("skipped: {program} is not installed (Debian: apt-get install prometheus)");
    }
    found
}

/// For the query of a URL.
fn encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}
