//! The daemon's process, and what it takes.

use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

/// Longer than the default time limit of a drain.
const STOP_WITHIN: Duration = Duration::from_secs(60);

/// A running daemon; killed when dropped.
pub(crate) struct Daemon {
    process: Child,
    pub(crate) port: u16,
}

impl Daemon {
    pub(crate) fn spawn(mut command: Command, log: &Path, port: u16) -> anyhow::Result<Self> {
        let log = std::fs::File::create(log)?;
        let process = command.arg("run").stdout(log.try_clone()?).stderr(log).spawn()?;
        Ok(Self { process, port })
    }

    /// A field of the process's status, in MiB.
    pub(crate) fn mib(&self, field: &str) -> anyhow::Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kib = line.context("unexpected /proc/…/status")?.trim().trim_end_matches(" kB");
        Ok(kib.parse::<f64>()? / 1024.0)
    }

    pub(crate) fn cpu_seconds(&self) -> anyhow::Result<f64> {
        let times = times(&self.process.id().to_string())?;
        Ok((times[0] + times[1]) / 100.0)
    }

    /// Asks the process to drain, as a service manager does.
    pub(crate) fn stop(&mut self) -> anyhow::Result<()> {
        let pid = self.process.id().to_string();
        ensure!(Command::new("kill").args(["-TERM", &pid]).status()?.success(), "it has ended");
        let begun = Instant::now();
        while begun.elapsed() < STOP_WITHIN {
            if let Some(status) = self.process.try_wait()? {
                ensure!(status.success(), "the daemon ended with {status}");
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        bail!("the daemon did not stop within {STOP_WITHIN:?}")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What a server's processes have taken, those that have ended included.
pub(crate) fn server_seconds(postmaster: &str) -> anyhow::Result<f64> {
    let mut ticks = times(postmaster)?.iter().sum::<f64>();
    for process in std::fs::read_dir("/proc")? {
        let process = process?.file_name().to_string_lossy().into_owned();
        if process.bytes().all(|b| b.is_ascii_digit())
            && fields(&process).get(1).is_some_and(|parent| parent == postmaster)
        {
            ticks += times(&process).unwrap_or_default()[..2].iter().sum::<f64>();
        }
    }
    Ok(ticks / 100.0)
}

/// User and system time of the process itself, and of its children that have ended, in hundredths
/// of a second.
fn times(process: &str) -> anyhow::Result<[f64; 4]> {
    let fields = fields(process);
    let time = |at: usize| -> anyhow::Result<f64> {
        Ok(fields.get(at).context("unexpected /proc/…/stat")?.parse()?)
    };
    Ok([time(11)?, time(12)?, time(13)?, time(14)?])
}

/// The fields behind the process's name.
fn fields(process: &str) -> Vec<String> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let rest = text.rsplit(") ").next().unwrap_or_default();
    rest.split_whitespace().map(str::to_owned).collect()
}
