//! Processes by number, without mistaking a recycled number for the process it once was.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

/// A process as a marker file names it: its number and when it started, in the words of this
/// machine's kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProcessIdentity {
    pub(crate) pid: u32,
    pub(crate) started: String,
}

impl ProcessIdentity {
    pub(crate) fn of(pid: u32) -> Option<Self> {
        started(pid).map(|started| Self { pid, started })
    }

    pub(crate) fn alive(&self) -> bool {
        started(self.pid).as_ref() == Some(&self.started)
    }
}

/// When the process started; None when there is no such process, or it has ended and only waits to
/// be reaped.
fn started(pid: u32) -> Option<String> {
    if Path::new("/proc/self/stat").exists() {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field is the program's name in parentheses and may contain anything.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let (state, ticks) = (fields.first()?, fields.get(19)?);
        return (!matches!(*state, "Z" | "X")).then(|| format!("{} {ticks}", boot.trim()));
    }
    let listed =
        Command::new("ps").args(["-o", "lstart=", "-p", &pid.to_string()]).output().ok()?;
    let text = String::from_utf8_lossy(&listed.stdout).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

/// Whether the process was started with this path among its arguments.
pub(crate) fn started_with(pid: u32, argument: &Path) -> bool {
    let arguments = match std::fs::read(format!("/proc/{pid}/cmdline")) {
        Ok(bytes) => bytes,
        Err(_) => match Command::new("ps").args(["-o", "args=", "-p", &pid.to_string()]).output() {
            Ok(output) => output.stdout,
            Err(_) => return false,
        },
    };
    let wanted = argument.to_string_lossy();
    String::from_utf8_lossy(&arguments).split(['\0', ' ', '\n']).any(|a| a == wanted)
}

/// Sends a signal; a process that is gone already is no error.
pub(crate) fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// Ends a process that leads its own group, and every other process of the group.
pub(crate) fn kill_group(leader: u32) {
    if let Some(leader) = i32::try_from(leader).ok().and_then(Pid::from_raw) {
        let _ = rustix::process::kill_process_group(leader, Signal::KILL);
    }
}

/// Waits until `ended` is true, looking every few milliseconds; false when it is not within
/// `timeout`.
pub(crate) fn wait_until(timeout: Duration, mut ended: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + timeout;
    loop {
        if ended() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_number_and_start() {
        let me = ProcessIdentity::of(std::process::id()).expect("this process has a start time");
        assert!(me.alive());
        assert!(!ProcessIdentity { started: "earlier".to_owned(), ..me }.alive());
        let mut child = Command::new("true").spawn().expect("true runs");
        let _ = child.wait();
        assert_eq!(ProcessIdentity::of(child.id()), None);
    }
}
