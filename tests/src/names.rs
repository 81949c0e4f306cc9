//! What names resolve to for a daemon: a DNS server of the test's own, as a tenant may have one.
//!
//! The daemon runs in a mount namespace with another `/etc/resolv.conf`. So what asks the server is
//! the resolver of the system, as everywhere.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// The script that starts a program with files of the test's own in the place of the system's.
const START: &str = "mount --bind \"$1\" /etc/resolv.conf && mount --bind \"$2\" /etc/nsswitch.conf \
     && shift 2 && exec \"$@\"";

type Script = Arc<dyn Fn(usize) -> Vec<Ipv4Addr> + Send + Sync>;

/// A DNS server that answers any name as the test says. It ends when dropped.
pub struct Names {
    shared: Arc<Shared>,
    resolv_conf: PathBuf,
    nsswitch_conf: PathBuf,
    serving: JoinHandle<()>,
    _folder: tempfile::TempDir,
}

struct Shared {
    script: Mutex<Script>,
    looks: AtomicUsize,
}

impl Names {
    /// None, with a message, where the test's user may not start a server on port 53, or a program
    /// with other mounts. Both take root.
    pub async fn start() -> Option<Self> {
        let skipped = |why: &str| {
            eprintln!("skipped: {why}; a container with root and mount namespaces can run it");
            None::<Self>
        };
        let Some((socket, address)) = bound().await else {
            return skipped("no DNS server can listen on port 53 of this machine");
        };
        let folder = tempfile::tempdir().expect("a temporary folder");
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("the temporary folder can be written");
            path
        };
        let resolv_conf = write("resolv.conf", &format!("nameserver {address}\n"));
        let nsswitch_conf = write("nsswitch.conf", "hosts: files dns\n");
        let script: Script = Arc::new(|_| Vec::new());
        let shared = Arc::new(Shared { script: Mutex::new(script), looks: AtomicUsize::new(0) });
        let serving = tokio::spawn(serve(socket, shared.clone()));
        let names = Self { shared, resolv_conf, nsswitch_conf, serving, _folder: folder };
        let launcher = names.launcher();
        let [program, arguments @ ..] = &launcher[..] else { return None };
        let mut trial = tokio::process::Command::new(program);
        match trial.args(arguments).arg("true").output().await {
            Ok(output) if output.status.success() => Some(names),
            Ok(output) => skipped(String::from_utf8_lossy(&output.stderr).trim()),
            Err(error) => skipped(&format!("unshare cannot be started ({error})")),
        }
    }

    /// From now on every look at a name is answered with these addresses; looks are counted from 1.
    pub fn answer(&self, script: impl Fn(usize) -> Vec<Ipv4Addr> + Send + Sync + 'static) {
        *self.shared.script.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(script);
    }

    /// How often the addresses of a name were asked for.
    pub fn looks(&self) -> usize {
        self.shared.looks.load(Ordering::SeqCst)
    }

    /// What starts a program that asks this server; the program and its arguments follow.
    pub(crate) fn launcher(&self) -> Vec<String> {
        let path = |path: &PathBuf| path.to_string_lossy().into_owned();
        let (resolv_conf, nsswitch_conf) = (path(&self.resolv_conf), path(&self.nsswitch_conf));
        let fixed = ["unshare", "--mount", "--", "sh", "-c", START, "sh"];
        fixed.map(str::to_owned).into_iter().chain([resolv_conf, nsswitch_conf]).collect()
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Port 53 of an address of this machine that no other test has.
async fn bound() -> Option<(UdpSocket, Ipv4Addr)> {
    let [.., high, low] = std::process::id().to_be_bytes();
    for third in 0..8 {
        let address = Ipv4Addr::new(127, 53 + third, high, low.max(2));
        if let Ok(socket) = UdpSocket::bind((address, 53)).await {
            return Some((socket, address));
        }
    }
    None
}

async fn serve(socket: UdpSocket, shared: Arc<Shared>) {
    let mut query = [0; 512];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut query).await else { continue };
        let Some(reply) = reply(&query[..length], &shared) else { continue };
        let _: std::io::Result<usize> = socket.send_to(&reply, from).await;
    }
}

/// The types of what is asked for, and the class of all of it.
const A: [u8; 2] = [0, 1];
const INTERNET: [u8; 2] = [0, 1];

/// The answer to a query with one question. Addresses of version 6 there are none.
fn reply(query: &[u8], shared: &Shared) -> Option<Vec<u8>> {
    let question = query.get(12..)?;
    let mut end = 0;
    while *question.get(end)? != 0 {
        end += 1 + usize::from(*question.get(end)?);
    }
    let question = question.get(..end + 5)?;
    let addresses = match question[end + 1..end + 3] == A {
        true => {
            let look = shared.looks.fetch_add(1, Ordering::SeqCst) + 1;
            let script = shared.script.lock().unwrap_or_else(PoisonError::into_inner).clone();
            script(look)
        }
        false => Vec::new(),
    };
    let count = u8::try_from(addresses.len()).ok()?;
    let mut reply = query.get(..2)?.to_vec();
    // An answer, recursion wanted and available, no error; one question, so many answers.
    reply.extend([0x81, 0x80, 0, 1, 0, count, 0, 0, 0, 0]);
    reply.extend(question);
    for address in addresses {
        // The question's name; not to be kept.
        reply.extend([0xc0, 12]);
        reply.extend(A);
        reply.extend(INTERNET);
        reply.extend([0, 0, 0, 0, 0, 4]);
        reply.extend(address.octets());
    }
    Some(reply)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_the_question_and_the_addresses_of_the_script() {
        let script: Script = Arc::new(|look| vec![Ipv4Addr::new(127, 0, 0, look as u8)]);
        let shared = Shared { script: Mutex::new(script), looks: AtomicUsize::new(0) };
        let mut query = vec![7, 8, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        query.extend(b"\x01a\x07example\0\0\x01\0\x01");
        let told = reply(&query, &shared).expect("a reply");
        assert_eq!(told[..12], [7, 8, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
        assert_eq!(told[12..query.len()], query[12..]);
        let answer = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 127, 0, 0, 1];
        assert_eq!(told[query.len()..], answer);
        let asks_for_version_6 = query.len() - 3;
        query[asks_for_version_6] = 28;
        assert_eq!(reply(&query, &shared).expect("a reply")[7], 0);
        assert_eq!(shared.looks.load(Ordering::SeqCst), 1);
        assert_eq!(reply(&query[..20], &shared), None);
    }
}
