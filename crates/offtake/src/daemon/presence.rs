//! Tells the source, and so every status, that this daemon runs. Nothing depends on it: a daemon that
//! cannot tell it works as well.

use std::hash::{BuildHasher as _, RandomState};
use std::net::SocketAddr;
use std::time::Duration;

use offtake_postgres::SourcePool;
use tokio::time::MissedTickBehavior;
use tokio_postgres::types::ToSql;
use tokio_util::sync::CancellationToken;

use crate::sql;

/// Six times within the minute after which a silent daemon is said not to run
/// (`crates/admin/sql/list_daemons.sql`).
const EVERY: Duration = Duration::from_secs(10);
/// The daemon's end waits no longer than this to say so.
const LAST_WORD_WITHIN: Duration = Duration::from_secs(2);

/// What tells this daemon from every other one.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub(super) process: String,
    host: String,
    listen: String,
}

impl Identity {
    pub(super) fn new(listen: SocketAddr) -> Self {
        // In a container every process is number 1.
        let number = RandomState::new().hash_one(0);
        let named = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
        let host = named.or_else(|| std::env::var("HOSTNAME").ok()).unwrap_or_default();
        Self {
            process: format!("{}-{number:016x}", std::process::id()),
            host: host.trim().to_owned(),
            listen: listen.to_string(),
        }
    }

    async fn tell_once(&self, source: &SourcePool) -> Result<(), String> {
        let Self { process, host, listen } = self;
        let parameters: [&(dyn ToSql + Sync); 4] =
            [process, &env!("CARGO_PKG_VERSION"), host, listen];
        let connection = source.get().await.map_err(|error| error.to_string())?;
        let told = connection.execute(sql::TELL_PRESENCE, &parameters).await;
        told.map(|_| ()).map_err(|error| error.to_string())
    }

    /// Tells it until `shutdown`, and then that the daemon ended.
    pub(super) async fn tell(self, source: SourcePool, shutdown: CancellationToken) {
        let mut interval = tokio::time::interval(EVERY);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                _ = interval.tick() => {}
            }
            // The loops tell what is wrong with the source.
            if let Err(error) = self.tell_once(&source).await {
                tracing::debug!(event = "presence_untold", error, "the source was not told");
            }
        }
        let last_word = async {
            if let Ok(connection) = source.get().await {
                let _ = connection.execute(sql::TELL_ABSENCE, &[&self.process]).await;
            }
        };
        let _ = tokio::time::timeout(LAST_WORD_WITHIN, last_word).await;
    }
}
