//! Offtake's side: the release binary, started as its users start it.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use crate::rig::{Rig, TENANTS, until};

const MAPPING: &str = "
source:
  table: public.account
  tenant: tenant_id
query: select tenant_id, id, display_name, email, metadata, created_at, updated_at from public.account
target:
  table: account
";

/// Longer than the default time limit of a drain.
const STOP_WITHIN: Duration = Duration::from_secs(60);

/// `offtake run` with default intervals and batch sizes.
pub(crate) struct Daemon {
    process: Child,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Writes the configuration, installs the triggers and makes the initial copies.
pub(crate) async fn initialise(rig: &Rig) -> anyhow::Result<()> {
    let mappings = rig.folder().join("mappings");
    std::fs::create_dir(&mappings)?;
    std::fs::write(mappings.join("account.yaml"), MAPPING)?;
    configure(rig, "")?;
    let output = offtake(rig)?.arg("init").output().context("cannot start offtake")?;
    ensure!(
        output.status.success(),
        "offtake init failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let daemon = Daemon::start(rig)?;
    daemon.wait_until_equal(rig).await?;
    daemon.stop().await
}

/// Writes the configuration that the next daemon has; `more` is appended.
pub(crate) fn configure(rig: &Rig, more: &str) -> anyhow::Result<()> {
    Ok(std::fs::write(configuration_file(rig), configuration(rig)? + more)?)
}

impl Daemon {
    pub(crate) fn start(rig: &Rig) -> anyhow::Result<Self> {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(log_file(rig))?;
        let process = offtake(rig)?
            .arg("run")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        Ok(Self { process })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The memory that the daemon holds now.
    pub(crate) fn resident_mib(&self) -> anyhow::Result<f64> {
        self.status_mib("VmRSS:")
    }

    /// The daemon's peak memory since its start.
    pub(crate) fn peak_mib(&self) -> anyhow::Result<f64> {
        self.status_mib("VmHWM:")
    }

    fn status_mib(&self, field: &str) -> anyhow::Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()))
            .context("memory is read from /proc, on Linux only")?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(field))
            .context("unexpected /proc/…/status")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
    }

    /// Asks the process to drain, as a service manager does.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        ensure!(
            Command::new("kill").arg("-TERM").arg(self.pid().to_string()).status()?.success(),
            "the daemon was gone before it was stopped"
        );
        let begun = Instant::now();
        while begun.elapsed() < STOP_WITHIN {
            if let Some(status) = self.process.try_wait()? {
                ensure!(status.success(), "the daemon ended with {status}");
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bail!("the daemon did not stop within {STOP_WITHIN:?}")
    }

    /// Waits until every tenant's copy has all rows, and the measured copy equals its source.
    pub(crate) async fn wait_until_equal(&self, rig: &Rig) -> anyhow::Result<()> {
        const CONTENT: &str = "select count(*), coalesce(sum(hashtextextended(id::text || display_name || updated_at::text, 0)), 0)::text";
        let source = &rig.offtake.source.client;
        let copies = std::iter::once(&rig.offtake.copy).chain(&rig.others);
        for (tenant, copy) in TENANTS.iter().zip(copies) {
            let there = format!("{CONTENT} from public.account where tenant_id = '{tenant}'");
            let row = source.query_one(&there, &[]).await?;
            let expected: (i64, String) = (row.get(0), row.get(1));
            let created = until("the daemon to create the table", async || {
                Ok(copy
                    .client
                    .query_one("select to_regclass('public.account') is not null", &[])
                    .await?
                    .get(0))
            });
            created.await.with_context(|| last_lines(rig))?;
            let equal = until("the daemon to copy every row", async || {
                let row =
                    copy.client.query_one(&format!("{CONTENT} from public.account"), &[]).await?;
                Ok((row.get(0), row.get(1)) == expected)
            });
            equal.await.with_context(|| last_lines(rig))?;
        }
        Ok(())
    }
}

/// The release binary in this program's folder, with the rig's configuration and no other variable
/// of this environment.
fn offtake(rig: &Rig) -> anyhow::Result<Command> {
    let binary = std::env::current_exe()?.with_file_name("offtake");
    ensure!(binary.exists(), "{} is not built; `make bench` builds it", binary.display());
    let mut command = Command::new(binary);
    command
        .env("OFFTAKE_CONFIG", configuration_file(rig))
        .env_remove("RUST_LOG")
        .current_dir(rig.folder());
    Ok(command)
}

fn configuration(rig: &Rig) -> anyhow::Result<String> {
    let mut text = format!(
        "source: {{ url: \"{}\" }}\nmappings: mappings\ndestinations:\n  static:\n",
        rig.offtake.source.url
    );
    let copies = std::iter::once(&rig.offtake.copy).chain(&rig.others);
    for (tenant, copy) in TENANTS.iter().zip(copies) {
        writeln!(text, "    - {{ tenant: \"{tenant}\", url: \"{}\" }}", copy.url)?;
    }
    text.push_str("http: { listen: \"127.0.0.1:0\" }\nsecurity: { allow_destinations: [\"127.0.0.0/8\", \"::1/128\"] }\n");
    Ok(text)
}

fn configuration_file(rig: &Rig) -> PathBuf {
    rig.folder().join("offtake.yaml")
}

fn log_file(rig: &Rig) -> PathBuf {
    rig.folder().join("offtake.log")
}

fn last_lines(rig: &Rig) -> String {
    let log = std::fs::read_to_string(log_file(rig)).unwrap_or_default();
    let lines: Vec<_> = log.lines().rev().take(10).collect();
    format!("the daemon's last lines:\n{}", lines.into_iter().rev().collect::<Vec<_>>().join("\n"))
}
