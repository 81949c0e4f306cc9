//! A headless chromium, controlled by its debugging protocol over two pipes.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use base64::Engine as _;
use serde_json::{Value, json};

use crate::{PATIENCE, until};

/// Timeout for an answer of the browser. A busy machine starts it in a few seconds.
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);

/// One browser with one page. Killed when dropped.
pub struct Browser {
    process: Child,
    commands: File,
    messages: Receiver<Value>,
    session: Option<String>,
    number: u64,
    complaints: Vec<String>,
    _folder: tempfile::TempDir,
}

impl Browser {
    /// Starts a browser. Without an installed chromium, prints the reason and returns None.
    pub fn start() -> Option<Self> {
        let Some(program) = ["chromium", "chromium-browser", "google-chrome"]
            .into_iter()
            .find(|name| installed(name))
        else {
            eprintln!("skipped: no chromium on PATH\n  remedy: apt-get install chromium");
            return None;
        };
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (commands, messages) = (folder.path().join("commands"), folder.path().join("messages"));
        let made =
            Command::new("mkfifo").arg(&commands).arg(&messages).status().expect("mkfifo starts");
        assert!(made.success(), "mkfifo: {made}");
        // Chromium reads commands from descriptor 3 and writes messages to 4. Without unsafe code,
        // only a shell can set these.
        let run = format!(
            "exec {program} --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --remote-debugging-pipe \
             --window-size=1280,1000 --user-data-dir={}/profile about:blank 3<\"$0\" 4>\"$1\"",
            folder.path().display()
        );
        let mut shell = Command::new("sh");
        shell
            .arg("-c")
            .arg(run)
            .arg(&commands)
            .arg(&messages)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let process = shell.spawn().expect("sh starts");
        let commands =
            File::options().write(true).open(commands).expect("the shell opens the other end");
        let replies = BufReader::new(File::open(messages).expect("the shell opens the other end"));
        let (sender, messages) = channel();
        std::thread::spawn(move || {
            for message in replies.split(0).map_while(Result::ok) {
                let parsed = serde_json::from_slice(&message).unwrap_or_default();
                if sender.send(parsed).is_err() {
                    break;
                }
            }
        });
        let mut browser = Self {
            process,
            commands,
            messages,
            session: None,
            number: 0,
            complaints: Vec::new(),
            _folder: folder,
        };
        let target = browser.call("Target.createTarget", &json!({ "url": "about:blank" }));
        let attached = browser.call(
            "Target.attachToTarget",
            &json!({ "targetId": target["targetId"], "flatten": true }),
        );
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            browser.call(domain, &json!({}));
        }
        Some(browser)
    }

    pub fn open(&mut self, url: &str) {
        self.call("Page.navigate", &json!({ "url": url }));
    }

    /// The value of an expression in the page; a promise is awaited.
    pub fn evaluate(&mut self, expression: &str) -> Value {
        self.try_evaluate(expression)
            .unwrap_or_else(|exception| panic!("{expression}: {exception}"))
    }

    fn try_evaluate(&mut self, expression: &str) -> Result<Value, String> {
        // The command fails if the page moves to another address while it runs.
        let answer = self.try_call(
            "Runtime.evaluate",
            &json!({ "expression": expression, "returnByValue": true, "awaitPromise": true }),
        )?;
        match &answer["exceptionDetails"] {
            Value::Null => Ok(answer["result"]["value"].clone()),
            exception => Err(exception["exception"]["description"].to_string()),
        }
    }

    /// Waits until the expression is true.
    pub async fn wait_for(&mut self, expression: &str) {
        let page = std::sync::Mutex::new(self);
        until(expression, PATIENCE, async || {
            let mut page = page.lock().expect("no panic while locked");
            match page.try_evaluate(expression)? {
                Value::Bool(true) => Ok(()),
                _ => Err(page.try_evaluate("document.body.innerText")?.to_string()),
            }
        })
        .await;
    }

    /// Clicks in the middle of the element.
    pub async fn click(&mut self, element: &str) {
        self.click_until(element, "true").await;
    }

    /// Presses the mouse in the middle of the element, and releases it there when the expression is
    /// true. Content above may grow at any moment and move the element. A click that hits another
    /// place is kept from having an effect, and is repeated.
    pub async fn click_until(&mut self, element: &str, expression: &str) {
        let guard = format!(
            "window.clicked = false; window.guard = event => {{ let e = null; try {{ e = {element}; }} catch {{ }} \
             if (e && e.contains(event.target)) window.clicked = true; else {{ event.stopImmediatePropagation(); event.preventDefault(); }} }}; \
             window.addEventListener('click', window.guard, true)"
        );
        let place = format!(
            "(() => {{ const e = {element}; e.scrollIntoView({{ block: 'center' }}); const r = e.getBoundingClientRect(); \
             return [r.x + r.width / 2, r.y + r.height / 2]; }})()"
        );
        // One frame later the page has handled the mouse's events.
        let clicked = "new Promise(done => requestAnimationFrame(() => setTimeout(() => { \
                       window.removeEventListener('click', window.guard, true); done(window.clicked); })))";
        let began = Instant::now();
        loop {
            self.evaluate(&guard);
            self.mouse("mousePressed", &place);
            self.wait_for(expression).await;
            self.mouse("mouseReleased", &place);
            if self.evaluate(clicked) == true {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "no click gets to {element}");
        }
    }

    fn mouse(&mut self, kind: &str, place: &str) {
        let place = self.evaluate(place);
        let event = json!({ "type": kind, "x": place[0], "y": place[1], "button": "left", "clickCount": 1 });
        self.call("Input.dispatchMouseEvent", &event);
    }

    /// Sets the preferred colour scheme: `light` or `dark`.
    pub fn prefer(&mut self, scheme: &str) {
        self.call(
            "Emulation.setEmulatedMedia",
            &json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] }),
        );
    }

    /// Gives the window this size, in CSS pixels. A narrow one is a phone's.
    pub fn resize(&mut self, width: u32, height: u32) {
        let size = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600,
        });
        self.call("Emulation.setDeviceMetricsOverride", &size);
    }

    /// Presses and releases a key: a character, or `Tab`, `Enter`, `Escape`, `ArrowLeft`.
    pub fn press(&mut self, key: &str) {
        let (code, text) = match key {
            "Tab" => (9, ""),
            "Enter" => (13, "\r"),
            "Escape" => (27, ""),
            "ArrowLeft" => (37, ""),
            character => (0, character),
        };
        for (kind, text) in [("keyDown", text), ("keyUp", "")] {
            let event = json!({
                "type": kind, "key": key, "code": if text.len() > 1 { key } else { "" }, "text": text,
                "windowsVirtualKeyCode": code,
            });
            self.call("Input.dispatchKeyEvent", &event);
        }
    }

    /// Types a text into what has the focus.
    pub fn type_text(&mut self, text: &str) {
        self.call("Input.insertText", &json!({ "text": text }));
    }

    /// Writes a picture of the whole page to the file, also of what the window does not show.
    pub fn photograph_page(&mut self, file: &Path) {
        let parameters = json!({ "format": "png", "captureBeyondViewport": true });
        let picture = self.call("Page.captureScreenshot", &parameters);
        write_picture(&picture, file);
    }

    /// Writes a picture of the window to the file.
    pub fn photograph(&mut self, file: &Path) {
        let picture = self.call("Page.captureScreenshot", &json!({ "format": "png" }));
        write_picture(&picture, file);
    }

    /// What went wrong in the page so far: exceptions, and requests that its content policy
    /// refused.
    pub fn complaints(&mut self) -> &[String] {
        self.evaluate("1");
        &self.complaints
    }

    fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.try_call(method, parameters).unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    fn try_call(&mut self, method: &str, parameters: &Value) -> Result<Value, String> {
        self.number += 1;
        let mut command = json!({ "id": self.number, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            command["sessionId"] = session.as_str().into();
        }
        self.commands.write_all(format!("{command}\0").as_bytes()).expect("the browser runs");
        loop {
            let message = match self.messages.recv_timeout(ANSWERS_WITHIN) {
                Ok(message) => message,
                Err(RecvTimeoutError::Timeout) => {
                    panic!("{method}: no answer within {ANSWERS_WITHIN:?}")
                }
                Err(RecvTimeoutError::Disconnected) => panic!("{method}: the browser has ended"),
            };
            if message["id"] == self.number {
                return if message["error"].is_null() {
                    Ok(message["result"].clone())
                } else {
                    Err(message["error"].to_string())
                };
            }
            self.hear(&message);
        }
    }

    fn hear(&mut self, event: &Value) {
        let parameters = &event["params"];
        match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => {
                self.complaints.push(parameters["exceptionDetails"].to_string())
            }
            Some("Log.entryAdded") if parameters["entry"]["level"] == "error" => {
                self.complaints.push(parameters["entry"].to_string())
            }
            _ => {}
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn write_picture(picture: &Value, file: &Path) {
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(picture["data"].as_str().unwrap_or_default())
        .expect("base64");
    std::fs::write(file, bytes).expect("the picture can be written");
}

fn installed(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
    })
}
