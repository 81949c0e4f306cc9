//! `offtake health`: asks a running daemon whether it works. For health checks of containers, whose
//! images have no other client of HTTP.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::printing::{say, say_json};
use crate::command_line::Health;
use crate::context::load_configuration;
use crate::outcome::{Exit, Failure};

/// The answers are a line, or a few words for each loop.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

pub(super) async fn execute(file: &Path, arguments: &Health) -> Result<Exit, Failure> {
    let place = match &arguments.url {
        Some(place) => place.clone(),
        None => {
            let http = load_configuration(file)?.http;
            reached_at(http.probes.unwrap_or(http.listen)).to_string()
        }
    };
    let path = if arguments.live { "/livez" } else { "/readyz" };
    let answer = tokio::time::timeout(arguments.timeout, get(&place, path)).await;
    let answer = answer.unwrap_or_else(|_| {
        let waited = arguments.timeout.as_secs_f64();
        Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {waited} s")))
    });
    let (healthy, body) = answer.map_err(|error| {
        Failure::new(Exit::Unreachable, format!("no daemon answers at http://{place}{path}"))
            .because(error.to_string())
            .remedy(
                "start it with `offtake run`, or name the address in its http.probes or \
                 http.listen with --url",
            )
    })?;
    if arguments.json {
        say_json(serde_json::json!({ "healthy": healthy, "answer": parsed(&body) }));
    } else {
        describe(&body).iter().for_each(say);
    }
    Ok(if healthy { Exit::Done } else { Exit::Failed })
}

/// An address for all interfaces of the machine is no address to connect to.
fn reached_at(listening: SocketAddr) -> SocketAddr {
    let ip = match listening.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listening.port())
}

/// Whether the answer is 200, and its body. In HTTP/1.0, the body ends with the connection.
async fn get(place: &str, path: &str) -> io::Result<(bool, String)> {
    let mut connection = TcpStream::connect(place).await?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {place}\r\n\r\n");
    connection.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    connection.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer);
    let no_http = || io::Error::new(io::ErrorKind::InvalidData, "this is no answer of a daemon");
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(no_http)?;
    let mut words = head.split(' ');
    let protocol = words.next().is_some_and(|protocol| protocol.starts_with("HTTP/"));
    let status = words.next().filter(|_| protocol).ok_or_else(no_http)?;
    Ok((status == "200", body.to_owned()))
}

fn parsed(body: &str) -> Value {
    serde_json::from_str(body).unwrap_or_else(|_| Value::from(body.trim_end()))
}

/// A line for everything that does not work, or one that says that all does.
fn describe(body: &str) -> Vec<String> {
    let answer = parsed(body);
    let Some(loops) = answer["loops"].as_array() else { return vec![body.trim_end().to_owned()] };
    let mut lines = Vec::new();
    if answer["source"] == false {
        lines.push("the source does not answer".to_owned());
    }
    for one in loops.iter().filter(|one| one["ready"] == false) {
        let text = |key: &str| one[key].as_str().unwrap_or_default().to_owned();
        lines.push(format!("the loop {} is not ready: {}", text("name"), text("reason")));
    }
    if lines.is_empty() {
        lines.push(format!("ready: the source answers, and {} loops run", loops.len()));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_work_is_told_and_else_that_all_does() {
        let ready =
            r#"{"ready":true,"source":true,"loops":[{"name":"sync","ready":true,"reason":null}]}"#;
        assert_eq!(describe(ready), ["ready: the source answers, and 1 loops run"]);
        let late = r#"{"ready":false,"source":false,"loops":[{"name":"sync","ready":false,"reason":"no tick for 91 s"},{"name":"poller","ready":true}]}"#;
        let expect = ["the source does not answer", "the loop sync is not ready: no tick for 91 s"];
        assert_eq!(describe(late), expect);
        assert_eq!(describe("ok\n"), ["ok"]);
    }

    #[test]
    fn an_address_for_all_interfaces_is_asked_at_loopback() {
        let at = |listening: &str| reached_at(listening.parse().unwrap()).to_string();
        assert_eq!(at("0.0.0.0:8080"), "127.0.0.1:8080");
        assert_eq!(at("[::]:8080"), "[::1]:8080");
        assert_eq!(at("10.1.2.3:8080"), "10.1.2.3:8080");
    }
}
