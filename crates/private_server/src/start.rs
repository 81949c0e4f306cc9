//! Starting, stopping and breaking one private server.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::Signal;

use crate::folder::ServerFolder;
use crate::user::ServerUser;
use crate::{Binaries, Options, ReservedPort, SUPERUSER, process};

/// A server answers within a second; on a loaded machine initialising and recovery may take much
/// longer.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// A server that was killed may have processes that listen for a moment longer; so often, with a
/// pause, a new one tries.
const PORT_ATTEMPTS: usize = 5;
/// A fast shutdown writes a checkpoint, which on a slow disk takes seconds.
const FAST_SHUTDOWN_WITHIN: Duration = Duration::from_secs(30);
const IMMEDIATE_SHUTDOWN_WITHIN: Duration = Duration::from_secs(5);

/// A running throwaway server. Dropping it stops it at once and removes its folder.
#[derive(Debug)]
pub struct PrivateServer {
    folder: ServerFolder,
    binaries: Binaries,
    user: ServerUser,
    password: Option<String>,
    /// Ours also while the server is down.
    port: ReservedPort,
    postmaster: Option<Child>,
}

impl PrivateServer {
    /// Initialises a cluster in a new temporary folder, starts it and waits until it answers. Takes
    /// about a second.
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        let mut server = Self::initialise(&options).await?;
        server.start_again().await?;
        Ok(server)
    }

    async fn initialise(options: &Options) -> anyhow::Result<Self> {
        let (binaries, user) = (Binaries::find()?, ServerUser::choose()?);
        let folder = ServerFolder::create().context("creating the server's temporary folder")?;
        let port = ReservedPort::any().context("reserving a port")?;
        let server = Self {
            folder,
            binaries,
            user,
            password: options.password.clone(),
            port,
            postmaster: None,
        };
        fs::create_dir(server.folder.data())?;
        server.user.own(&server.folder.data())?;
        server.run_initdb().await?;
        server.install_file("postgresql.auto.conf", settings(options).as_bytes())?;
        Ok(server)
    }

    async fn run_initdb(&self) -> anyhow::Result<()> {
        let mut initdb = self.program("initdb");
        initdb.arg("--pgdata").arg(self.folder.data()).args([
            "--username",
            SUPERUSER,
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
        ]);
        let password_file = self.folder.path().join("password");
        match &self.password {
            Some(password) => {
                self.write_owned(&password_file, password.as_bytes())?;
                initdb.args(["--auth=scram-sha-256", "--pwfile"]).arg(&password_file);
            }
            None => drop(initdb.arg("--auth=trust")),
        }
        let log = self.folder.path().join("initdb.log");
        let file = File::create(&log)?;
        let mut running = Initdb(
            initdb.stdout(file.try_clone()?).stderr(file).spawn().context("starting initdb")?,
        );
        let status = loop {
            match running.0.try_wait()? {
                Some(status) => break status,
                None => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        };
        let _ = fs::remove_file(password_file);
        if !status.success() {
            bail!("initdb failed ({status}): {}", String::from_utf8_lossy(&fs::read(log)?).trim());
        }
        Ok(())
    }

    /// One of the server programs, as the server's user, in the folder (which that user may enter),
    /// with an environment that says nothing about other servers.
    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.binaries.program(name));
        command
            .current_dir(self.folder.path())
            .env_clear()
            .env("LC_ALL", "C")
            .env("TZ", "UTC")
            .stdin(Stdio::null());
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        self.user.apply(&mut command);
        command
    }

    /// False when the port was taken.
    async fn launch(&mut self) -> anyhow::Result<bool> {
        let log = File::options().create(true).append(true).open(self.folder.log())?;
        let log_begin = log.metadata()?.len();
        let mut postgres = self.program("postgres");
        postgres.arg("-D").arg(self.folder.data()).arg("-p").arg(self.port().to_string());
        postgres.stdout(log.try_clone()?).stderr(log);
        self.postmaster = Some(postgres.spawn().context("starting postgres")?);
        let deadline = Instant::now() + READY_WITHIN;
        let config = self.url("postgres").parse::<tokio_postgres::Config>()?;
        loop {
            if let Ok((client, connection)) = config.connect(tokio_postgres::NoTls).await {
                drop((client, connection));
                return Ok(true);
            }
            let said = || {
                fs::read(self.folder.log())
                    .map(|log| String::from_utf8_lossy(&log[log_begin as usize..]).into_owned())
            };
            if let Some(ended) =
                self.postmaster.as_mut().map(Child::try_wait).transpose()?.flatten()
            {
                self.postmaster = None;
                let said = said()?;
                if said.contains("could not bind") {
                    return Ok(false);
                }
                bail!("postgres ended at once ({ended}): {}", said.trim());
            }
            if Instant::now() > deadline {
                bail!(
                    "postgres does not answer on port {} within {READY_WITHIN:?}: {}",
                    self.port(),
                    said()?.trim()
                );
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// How the superuser connects to one of the databases.
    pub fn url(&self, database: &str) -> String {
        self.url_as(SUPERUSER, self.password.as_deref(), database)
    }

    /// How any role connects. Names and password are put into the URL as they are: letters, digits
    /// and `_` only.
    pub fn url_as(&self, user: &str, password: Option<&str>, database: &str) -> String {
        let password = password.map(|p| format!(":{p}")).unwrap_or_default();
        format!("postgres://{user}{password}@127.0.0.1:{}/{database}?sslmode=disable", self.port())
    }

    /// The folder with the data folder `data` and the log `server.log`.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Everything the server logged.
    pub fn log(&self) -> String {
        fs::read(self.folder.log())
            .map(|log| String::from_utf8_lossy(&log).into_owned())
            .unwrap_or_default()
    }

    /// Writes a file into the data folder that only the server can read (certificates, keys,
    /// `pg_hba.conf`); returns its path.
    pub fn install_file(&self, name: &str, contents: &[u8]) -> anyhow::Result<PathBuf> {
        let path = self.folder.data().join(name);
        self.write_owned(&path, contents)?;
        Ok(path)
    }

    fn write_owned(&self, path: &Path, contents: &[u8]) -> anyhow::Result<()> {
        let _ = fs::remove_file(path);
        fs::write(path, "")?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        fs::write(path, contents)?;
        self.user.own(path)?;
        Ok(())
    }

    /// Fast shutdown and a new start on the same port; settings of [`Self::install_file`] take
    /// effect.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.end(Signal::INT, FAST_SHUTDOWN_WITHIN);
        self.start_again().await
    }

    /// Ends every process of the server at once, as a power cut would; the folder stays.
    /// [`Self::start_again`] recovers.
    pub fn kill_immediate(&mut self) {
        self.end(Signal::QUIT, IMMEDIATE_SHUTDOWN_WITHIN);
    }

    /// Fast shutdown (sessions are ended, nothing needs recovery); the folder stays.
    pub fn shut_down(&mut self) {
        self.end(Signal::INT, FAST_SHUTDOWN_WITHIN);
    }

    /// Starts a server that was shut down or killed, on the same port.
    pub async fn start_again(&mut self) -> anyhow::Result<()> {
        for _ in 0..PORT_ATTEMPTS {
            if self.launch().await? {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        bail!("another process listens on port {}", self.port())
    }

    /// What dropping it does, without blocking the caller's thread: an immediate shutdown, because
    /// the data is not needed again, then the removal of the folder.
    pub async fn stop(self) {
        let _ = tokio::task::spawn_blocking(move || drop(self)).await;
    }

    fn end(&mut self, how: Signal, within: Duration) {
        let Some(mut postmaster) = self.postmaster.take() else { return };
        process::signal(postmaster.id(), how);
        let ended = |postmaster: &mut Child| !matches!(postmaster.try_wait(), Ok(None));
        if !process::wait_until(within, || ended(&mut postmaster)) {
            process::signal(postmaster.id(), Signal::QUIT);
            if !process::wait_until(IMMEDIATE_SHUTDOWN_WITHIN, || ended(&mut postmaster)) {
                let _ = postmaster.kill();
                let _ = postmaster.wait();
            }
        }
    }
}

impl Drop for PrivateServer {
    fn drop(&mut self) {
        self.end(Signal::QUIT, IMMEDIATE_SHUTDOWN_WITHIN);
        self.folder.remove();
    }
}

/// A running initdb with the servers that it starts. Dropping it ends them all: that is what
/// happens when the future of a start is dropped.
struct Initdb(Child);

impl Drop for Initdb {
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait() {
            process::kill_group(self.0.id());
            let _ = self.0.wait();
        }
    }
}

/// `postgresql.auto.conf`: later lines win.
fn settings(options: &Options) -> String {
    let sync = if options.durable { "on" } else { "off" };
    let ours = [
        ("listen_addresses", "127.0.0.1"),
        ("unix_socket_directories", ""),
        ("max_connections", "200"),
        // A throwaway server shares the machine with another one, the daemon and a compiler.
        ("shared_buffers", "64MB"),
        ("timezone", "UTC"),
        ("fsync", sync),
        ("full_page_writes", sync),
    ];
    let given = options.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    ours.into_iter()
        .chain(given)
        .map(|(name, value)| format!("{name} = '{}'\n", value.replace('\'', "''")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{sweep, sweep::postmaster};

    async fn answers(url: &str) -> bool {
        tokio_postgres::connect(url, tokio_postgres::NoTls).await.is_ok()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn two_servers_start_in_parallel_and_leave_nothing_behind() -> anyhow::Result<()> {
        let secret = Options::default().with_random_password();
        let (one, two) =
            tokio::join!(PrivateServer::start(Options::default()), PrivateServer::start(secret));
        let (mut one, two) = (one?, two?);
        assert!(answers(&one.url("postgres")).await && answers(&two.url("postgres")).await);
        assert!(!answers(&two.url_as(SUPERUSER, Some("wrong"), "postgres")).await);
        one.kill_immediate();
        assert!(!answers(&one.url("postgres")).await);
        one.start_again().await?;
        one.restart().await?;
        assert!(answers(&one.url("postgres")).await);
        let folders = [one.folder().to_owned(), two.folder().to_owned()];
        one.stop().await;
        drop(two);
        assert!(folders.iter().all(|folder| !folder.exists()));
        Ok(())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_start_that_nobody_waits_for_leaves_nothing_behind() {
        let ours = || {
            fs::read_dir(std::env::temp_dir())
                .into_iter()
                .flatten()
                .flatten()
                .map(|entry| entry.path())
        };
        let me = format!("{}\n", std::process::id());
        let mine = |folder: &PathBuf| {
            fs::read_to_string(folder.join(".offtake-private-server"))
                .is_ok_and(|text| text.starts_with(&me))
        };
        // Other tests of this process may have servers, too.
        let before: Vec<_> = ours().filter(mine).collect();
        for patience in [1, 50, 150, 300, 500] {
            let start = PrivateServer::start(Options::default());
            let _ = tokio::time::timeout(Duration::from_millis(patience), start).await;
        }
        let left = || ours().filter(mine).filter(|folder| !before.contains(folder)).count();
        assert!(
            process::wait_until(Duration::from_secs(30), || left() == 0),
            "{} folders are left",
            left()
        );
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_server_whose_owner_is_gone_is_swept() -> anyhow::Result<()> {
        let server = PrivateServer::start(Options::default()).await?;
        let marker = server.folder().join(".offtake-private-server");
        let text = fs::read_to_string(&marker)?;
        // Owned by this process: stays.
        sweep();
        assert!(answers(&server.url("postgres")).await);
        let running = postmaster(&server.folder).context("the server runs")?;
        let (_, rest) = text.split_once('\n').context("three lines")?;
        fs::write(&marker, format!("4194304\n{rest}"))?;
        // Another test's process may sweep at this very moment, and be the one who does it.
        sweep();
        let gone = || !running.alive() && !server.folder().exists();
        assert!(process::wait_until(Duration::from_secs(30), gone), "it is still there");
        Ok(())
    }
}
