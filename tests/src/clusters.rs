//! Two clusters for a whole test run: one for sources, one for destinations.
//!
//! nextest runs every test in its own process, and `cargo test` every file of tests. So no test
//! process ends together with the run. The clusters belong to a separate process
//! (`private_servers`, in `bin/`), which the first test that needs them starts. Every test process
//! holds a shared lock on a file until it ends, in any way. When no process has held the lock for a
//! moment, the clusters are stopped and removed.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use offtake_private_server::{Options, PrivateServer};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::database::try_connect;
use crate::{binary, until};

/// How the tests' superuser reaches the two clusters.
#[derive(Debug, Clone)]
pub struct Clusters {
    /// Its database `postgres`.
    pub source: String,
    pub destinations: String,
}

/// The folder by which the test processes of one build find the same clusters.
pub struct MeetingPoint(PathBuf);

/// How long unused clusters are kept: longer than the pause between two tests.
const UNUSED_FOR_MAX: Duration = Duration::from_secs(2);
/// Two clusters usually start in two seconds; a compiler on the same machine slows them down.
const STARTED_WITHIN: Duration = Duration::from_secs(90);

impl Clusters {
    /// The run's clusters. Starts them if no other test has.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<(Clusters, File)> = OnceCell::const_new();
        let (clusters, _lock) =
            SHARED.get_or_init(|| async { MeetingPoint::of_this_build().join().await }).await;
        clusters
    }

    /// The options of private servers for tests.
    pub fn options() -> Options {
        Options::default()
            .setting("max_connections", "400")
            .setting("shared_buffers", "128MB")
            .setting("max_wal_size", "256MB")
            .setting("max_prepared_transactions", "20")
    }
}

/// A folder in memory with room for the clusters of a whole run, which have up to 1 GiB at a time.
///
/// Each test makes two databases of 300 files each and drops them. On ext4, finding inodes for them
/// takes a tenth of a run's processor time (measured with perf), and in memory nothing.
fn memory_folder() -> Option<&'static str> {
    const SHARED_MEMORY: &str = "/dev/shm";
    /// `TMPFS_MAGIC` of linux/magic.h.
    const TMPFS: u64 = 0x0102_1994;
    const FREE_MIN: u64 = 4 << 30;
    let system = rustix::fs::statfs(SHARED_MEMORY).ok()?;
    let in_memory = u64::try_from(system.f_type).ok()? == TMPFS;
    let free = system.f_bavail.saturating_mul(u64::try_from(system.f_bsize).ok()?);
    (in_memory && free >= FREE_MIN).then_some(SHARED_MEMORY)
}

impl MeetingPoint {
    /// The meeting point in the build folder of the running executable.
    pub fn of_this_build() -> Self {
        let executable = std::env::current_exe().expect("the running executable has a path");
        // The path is BUILD/PROFILE/program or BUILD/PROFILE/deps/test. BUILD can have any name.
        let profile = executable
            .ancestors()
            .skip(1)
            .find(|folder| folder.file_name().is_none_or(|name| name != "deps"));
        let build = profile.and_then(Path::parent).expect("executables are in a build folder");
        Self(build.join("offtake-test-servers"))
    }

    async fn join(self) -> (Clusters, File) {
        fs::create_dir_all(&self.0).expect("the build folder can be written");
        let (users, starting) = (self.open("users.lock"), self.open("starting.lock"));
        let (users, starting) = tokio::task::spawn_blocking(move || {
            users.lock_shared().expect("lock users.lock");
            starting.lock().expect("lock starting.lock");
            (users, starting)
        })
        .await
        .expect("locking does not panic");
        if let Some(running) = self.running().await {
            return (running, users);
        }
        let _ = fs::remove_file(self.servers());
        self.spawn_owner();
        let clusters = until("the private servers run", STARTED_WITHIN, async || {
            let log = || fs::read_to_string(self.0.join("servers.log")).unwrap_or_default();
            self.running()
                .await
                .ok_or_else(|| format!("target/offtake-test-servers/servers.log says: {}", log()))
        })
        .await;
        drop(starting);
        (clusters, users)
    }

    fn open(&self, name: &str) -> File {
        File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.0.join(name))
            .expect("the build folder can be written")
    }

    fn servers(&self) -> PathBuf {
        self.0.join("servers.json")
    }

    async fn running(&self) -> Option<Clusters> {
        let written: Value =
            serde_json::from_str(&fs::read_to_string(self.servers()).ok()?).ok()?;
        let clusters = Clusters {
            source: written["source"].as_str()?.to_owned(),
            destinations: written["destinations"].as_str()?.to_owned(),
        };
        for url in [&clusters.source, &clusters.destinations] {
            try_connect(url).await.ok()?;
        }
        Some(clusters)
    }

    #[expect(clippy::zombie_processes, reason = "it ends after this process")]
    fn spawn_owner(&self) {
        use std::os::unix::process::CommandExt as _;
        let log =
            File::create(self.0.join("servers.log")).expect("the build folder can be written");
        // A process group of its own: a signal that ends one test must not end the servers of the
        // others.
        let mut owner = Command::new(binary("private_servers"));
        if let Some(memory) = memory_folder() {
            owner.env("TMPDIR", memory);
        }
        owner
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("private_servers starts");
    }

    /// The owner's work: starts both clusters, and stops them when no test has used them for a
    /// moment.
    pub async fn own(self) -> anyhow::Result<()> {
        tokio::task::spawn_blocking(offtake_private_server::sweep).await?;
        let (source, destinations) = tokio::join!(
            PrivateServer::start(Clusters::options()),
            PrivateServer::start(Clusters::options())
        );
        let (source, destinations) = (source?, destinations?);
        let servers = json!({ "source": source.url("postgres"), "destinations": destinations.url("postgres") });
        write_whole(&self.servers(), &servers.to_string())?;
        // Held until the clusters are removed: a test that starts now waits, and then starts new
        // ones.
        let users = self.open("users.lock");
        let mut unused = Duration::ZERO;
        const LOOK_EVERY: Duration = Duration::from_millis(100);
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if users.try_lock().is_err() {
                unused = Duration::ZERO;
                continue;
            }
            unused += LOOK_EVERY;
            if unused > UNUSED_FOR_MAX {
                break;
            }
            users.unlock()?;
        }
        fs::remove_file(self.servers())?;
        tokio::join!(source.stop(), destinations.stop());
        Ok(())
    }
}

fn write_whole(path: &Path, text: &str) -> std::io::Result<()> {
    let beside = path.with_extension("new");
    fs::write(&beside, text)?;
    fs::rename(beside, path)
}
