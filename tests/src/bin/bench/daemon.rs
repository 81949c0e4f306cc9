//! Offtake's side: the binary beside this program, started as its users start it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use offtake_private_server::PrivateServer;

use crate::rig::{self, Database, Servers, tenant, until};

const MAPPING: &str = "
source:
  table: public.events
  tenant: tenant_id
query: select tenant_id, id, body, counter from public.events
target:
  table: events
";

/// Longer than the default time limit of a drain.
const STOP_WITHIN: Duration = Duration::from_secs(60);

/// A source that `offtake init` prepared, and the tenants' databases.
pub(crate) struct Offtake {
    pub(crate) source: Database,
    /// By the tenants' numbers: the first is tenant 1's.
    pub(crate) copies: Vec<Copy>,
    /// Holds the configuration, the mapping and the daemon's log.
    folder: tempfile::TempDir,
}

pub(crate) struct Copy {
    pub(crate) tenant: String,
    /// The destination's name.
    name: String,
    pub(crate) database: Database,
}

impl Offtake {
    /// Loads a source with so many rows of each tenant, and prepares it. There is no destination.
    pub(crate) async fn prepare(
        server: &PrivateServer,
        name: &str,
        rows: &[u32],
    ) -> anyhow::Result<Self> {
        let source = Database::create(server, name).await?;
        rig::load(&source, rows).await?;
        let offtake = Self { source, copies: Vec::new(), folder: tempfile::tempdir()? };
        let mappings = offtake.folder.path().join("mappings");
        std::fs::create_dir(&mappings)?;
        std::fs::write(mappings.join("events.yaml"), MAPPING)?;
        offtake.configure("")?;
        let output = offtake.command()?.arg("init").output().context("cannot start offtake")?;
        let told = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "offtake init failed: {told}");
        Ok(offtake)
    }

    /// The same, with a database of its own for each tenant, and the initial copies made.
    pub(crate) async fn with_copies(servers: &Servers, rows: &[u32]) -> anyhow::Result<Self> {
        let mut offtake = Self::prepare(&servers.source, "application", rows).await?;
        for number in 1..=rows.len() {
            let name = format!("tenant_{number}");
            let database = Database::create(&servers.destination, &name).await?;
            offtake.copies.push(Copy { tenant: tenant(number), name: "main".to_owned(), database });
        }
        offtake.configure("")?;
        let daemon = offtake.start()?;
        offtake.wait_until_equal().await?;
        daemon.stop().await?;
        Ok(offtake)
    }

    /// Has the next daemon make a new copy of the first tenant's rows, and no other.
    pub(crate) async fn replace_copy(
        &mut self,
        server: &PrivateServer,
        name: &str,
    ) -> anyhow::Result<()> {
        let database = Database::create(server, name).await?;
        self.copies = vec![Copy { tenant: tenant(1), name: name.to_owned(), database }];
        self.configure("")
    }

    /// Writes the configuration that the next daemon has; `more` is appended.
    pub(crate) fn configure(&self, more: &str) -> anyhow::Result<()> {
        let mut text = format!(
            "source: {{ url: \"{}\" }}\nmappings: mappings\nhttp: {{ listen: \"127.0.0.1:0\" }}\n\
             security: {{ allow_destinations: [\"127.0.0.0/8\", \"::1/128\"], allow_files: [\"{}\"] }}\n",
            self.source.url,
            self.folder().display()
        );
        if !self.copies.is_empty() {
            text.push_str("destinations:\n  static:\n");
        }
        for Copy { tenant, name, database } in &self.copies {
            let url = &database.url;
            writeln!(text, "    - {{ tenant: \"{tenant}\", name: {name}, url: \"{url}\" }}")?;
        }
        Ok(std::fs::write(self.configuration_file(), text + more)?)
    }

    /// `offtake run` with default intervals and batch sizes.
    pub(crate) fn start(&self) -> anyhow::Result<Daemon> {
        let file = self.log_file();
        let log = std::fs::OpenOptions::new().create(true).append(true).open(file)?;
        let process = self
            .command()?
            .arg("run")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        Ok(Daemon { process })
    }

    /// VACUUM and CHECKPOINT of the source and of the first tenants' databases.
    pub(crate) async fn settle(&self) -> anyhow::Result<()> {
        /// More would take longer than the sample, and no row measures more of them.
        const COPIES: usize = 10;
        self.source.settle().await?;
        for copy in self.copies.iter().take(COPIES) {
            copy.database.client.batch_execute("vacuum public.events").await?;
        }
        // One server has them all.
        if let Some(copy) = self.copies.first() {
            copy.database.client.batch_execute("checkpoint").await?;
        }
        Ok(())
    }

    /// Waits until every copy has all rows with the source's counters.
    pub(crate) async fn wait_until_equal(&self) -> anyhow::Result<()> {
        const CONTENT: &str = "select count(*) || ' ' || coalesce(sum(counter), 0)";
        for Copy { tenant, database, .. } in &self.copies {
            let there = format!("{CONTENT} from public.events where tenant_id = '{tenant}'");
            let expected: String = self.source.one(&there).await?;
            let created = until("the daemon to create the table", async || {
                database.one("select to_regclass('public.events') is not null").await
            });
            created.await.with_context(|| self.last_lines())?;
            let equal = until("the daemon to copy every row", async || {
                let here: String = database.one(&format!("{CONTENT} from public.events")).await?;
                Ok(here == expected)
            });
            equal.await.with_context(|| self.last_lines())?;
        }
        Ok(())
    }

    /// Runs another command with the daemon's configuration, to its end. Returns what it prints.
    pub(crate) async fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = tokio::process::Command::from(self.command()?);
        let output = command.args(arguments).kill_on_drop(true).output().await?;
        let complained = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "offtake {arguments:?}: {complained}");
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Waits until a daemon works and has nothing to do.
    pub(crate) async fn wait_until_idle(&self) -> anyhow::Result<()> {
        const AT_REST: Duration = Duration::from_secs(3);
        let connected = "select count(*) > 1 from pg_stat_activity \
                         where datname = current_database() and application_name like 'offtake%'";
        until("the daemon to connect", async || self.source.one(connected).await).await?;
        tokio::time::sleep(AT_REST).await;
        Ok(())
    }

    pub(crate) fn last_lines(&self) -> String {
        let log = std::fs::read_to_string(self.log_file()).unwrap_or_default();
        let lines: Vec<_> = log.lines().rev().take(10).collect();
        let lines: Vec<_> = lines.into_iter().rev().collect();
        format!("the daemon's last lines:\n{}", lines.join("\n"))
    }

    /// The binary in this program's folder, with this configuration and no other variable of this
    /// environment.
    fn command(&self) -> anyhow::Result<Command> {
        let binary = std::env::current_exe()?.with_file_name("offtake");
        ensure!(binary.exists(), "{} is not built; `make bench` builds it", binary.display());
        let mut command = Command::new(binary);
        command
            .env("OFFTAKE_CONFIG", self.configuration_file())
            .env_remove("RUST_LOG")
            .current_dir(self.folder.path());
        Ok(command)
    }

    /// Where files may be destinations.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn configuration_file(&self) -> PathBuf {
        self.folder.path().join("offtake.yaml")
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("offtake.log")
    }
}

/// A running daemon; killed when dropped.
pub(crate) struct Daemon {
    process: Child,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Daemon {
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The memory that the daemon holds now.
    pub(crate) fn resident_mib(&self) -> anyhow::Result<f64> {
        status_mib(self.pid(), "VmRSS:")
    }

    /// The daemon's peak memory since its start.
    pub(crate) fn peak_mib(&self) -> anyhow::Result<f64> {
        peak_mib(self.pid())
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
}

/// The peak memory of a process since its start.
pub(crate) fn peak_mib(process: u32) -> anyhow::Result<f64> {
    status_mib(process, "VmHWM:")
}

fn status_mib(process: u32, field: &str) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))
        .context("memory is read from /proc, on Linux only")?;
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let line = line.context("unexpected /proc/…/status")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
}
