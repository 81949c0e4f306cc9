//! The application: pgbench, which writes from four sessions.

use std::process::Stdio;

use anyhow::{Context, ensure};
use tokio::process::{Child, Command};

use crate::rig::{Database, program};

/// A load on the table `events`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) seconds: u64,
    /// Transactions a second, at random moments; as many as possible where none is given.
    pub(crate) rate: Option<u32>,
    /// Rows that each transaction changes by one statement. They belong to one tenant.
    pub(crate) rows: u32,
    /// Tenants 1 to this are written.
    pub(crate) tenants: usize,
    /// Ids 1 to this are written, of each tenant.
    pub(crate) ids: u32,
}

/// A pgbench that runs; killed when dropped.
pub(crate) struct Pgbench {
    process: Child,
    // Removed with it.
    _script: tempfile::NamedTempFile,
}

impl Load {
    fn script(&self) -> String {
        let last = self.ids - self.rows + 1;
        let tenant = "('00000000-0000-4000-8000-' || lpad(:tenant::text, 12, '0'))::uuid";
        let ids = match self.rows {
            1 => "id = :id".to_owned(),
            rows => format!("id between :id and :id + {}", rows - 1),
        };
        format!(
            "\\set tenant random(1, {})\n\\set id random(1, {last})\n\
             update public.events set counter = counter + 1 where tenant_id = {tenant} and {ids};\n",
            self.tenants
        )
    }

    pub(crate) fn start(&self, database: &Database) -> anyhow::Result<Pgbench> {
        let script = tempfile::NamedTempFile::new()?;
        std::fs::write(script.path(), self.script())?;
        let mut command = Command::new(program("pgbench")?);
        command.args(["--no-vacuum", "--client=4", "--jobs=1", "--protocol=prepared"]);
        command.arg(format!("--time={}", self.seconds));
        if let Some(rate) = self.rate {
            command.arg(format!("--rate={rate}"));
        }
        command.arg("--file").arg(script.path()).arg(&database.url);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let process = command.kill_on_drop(true).spawn().context("cannot start pgbench")?;
        Ok(Pgbench { process, _script: script })
    }

    /// Runs to the end; returns transactions a second.
    pub(crate) async fn run(&self, database: &Database) -> anyhow::Result<f64> {
        self.start(database)?.wait().await
    }
}

impl Pgbench {
    /// Transactions a second, without the time that connecting took.
    pub(crate) async fn wait(self) -> anyhow::Result<f64> {
        let Self { process, _script } = self;
        let output = process.wait_with_output().await?;
        let (told, complained) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "pgbench failed: {complained}");
        let tps = told.lines().find_map(|line| line.strip_prefix("tps = "));
        let tps = tps.and_then(|rest| rest.split(' ').next()).context("pgbench told no tps")?;
        Ok(tps.parse()?)
    }
}
