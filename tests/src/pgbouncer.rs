//! A private pgbouncer in front of a server of the tests.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use offtake_private_server::ReservedPort;

use crate::database::try_connect;
use crate::world::reserve_port;
use crate::{PATIENCE, proxy, until};

/// One pgbouncer; stopped when dropped.
pub struct Pgbouncer {
    program: PathBuf,
    process: Child,
    folder: tempfile::TempDir,
    port: ReservedPort,
    /// A URL for checking that it answers.
    url: String,
}

/// For how long a client of the pooler keeps its server process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolMode {
    Transaction,
    Session,
}

impl Pgbouncer {
    /// Starts a pgbouncer in front of the server of that URL, with `pool_size` server processes for
    /// each database. If pgbouncer is not installed, prints the reason and returns None. Every
    /// client is the tests' superuser at the server, no matter which user it names.
    pub async fn before(url: &str, mode: PoolMode, pool_size: usize) -> Option<Self> {
        let Some(program) = installed() else {
            eprintln!("skipped: pgbouncer is not installed (Debian: apt-get install pgbouncer)");
            return None;
        };
        let (_, _, server) = proxy::split(url);
        let (host, port) = server.rsplit_once(':').expect("a URL of the tests names a port");
        let mode = match mode {
            PoolMode::Transaction => "transaction",
            PoolMode::Session => "session",
        };
        let folder = tempfile::tempdir().expect("a temporary folder");
        let own = reserve_port();
        let configuration = format!(
            "[databases]\n* = host={host} port={port} user=postgres\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {}\nunix_socket_dir =\nauth_type = any\n\
             pool_mode = {mode}\ndefault_pool_size = {pool_size}\nmax_client_conn = 500\n\
             ignore_startup_parameters = extra_float_digits\nserver_round_robin = 1\n",
            own.number()
        );
        let file = folder.path().join("pgbouncer.ini");
        std::fs::write(&file, configuration).expect("the temporary folder can be written");
        // pgbouncer refuses to run as root. The tests then start it as user `nobody`, who must be
        // able to read the folder.
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755))
            .expect("our own folder");
        let process = spawn(&program, &file);
        let mut this = Self { program, process, folder, port: own, url: String::new() };
        this.url = this.url(url);
        this.wait_up().await;
        Some(this)
    }

    /// The URL of the same database through the pooler.
    pub fn url(&self, url: &str) -> String {
        proxy::by_port(url, self.port.number())
    }

    /// Stops the pooler at once, which closes every connection on both sides, and starts it again.
    pub async fn restart(&mut self) {
        self.end();
        self.process = spawn(&self.program, &self.folder.path().join("pgbouncer.ini"));
        self.wait_up().await;
    }

    async fn wait_up(&self) {
        until("pgbouncer answers", PATIENCE, async || try_connect(&self.url).await.map(drop)).await;
    }

    fn end(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Pgbouncer {
    fn drop(&mut self) {
        self.end();
    }
}

fn spawn(program: &Path, file: &Path) -> Child {
    let mut command = Command::new(program);
    if rustix::process::geteuid().is_root() {
        command.args(["-u", "nobody"]);
    }
    command
        .arg("-q")
        .arg(file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("pgbouncer starts")
}

fn installed() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    folders.map(|folder| folder.join("pgbouncer")).find(|program| program.is_file())
}
