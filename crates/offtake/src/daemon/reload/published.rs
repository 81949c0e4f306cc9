//! What the loop `mappings` tells the others.

use std::sync::Arc;

use offtake_admin::status::Config;
use offtake_mapping::MappingSet;
use offtake_sync::destinations::Waiting;
use tokio::sync::watch;

use crate::configuration::Configuration;

/// What the loop publishes to the other loops and to the status.
#[derive(Clone)]
pub(in crate::daemon) struct Published {
    pub mappings: watch::Sender<Arc<MappingSet>>,
    /// Mappings of the folder that destinations lack, or have without capture, each with the
    /// reason.
    pub waiting: watch::Sender<Arc<Waiting>>,
    pub configuration: watch::Sender<Arc<Configuration>>,
    /// Why the destinations query failed the last time. The loop `destinations` sends it.
    pub destinations_error: watch::Sender<Option<String>>,
    /// Why the webhooks query failed the last time. The loop `webhook list` sends it.
    pub webhooks_error: watch::Sender<Option<String>>,
    /// What the status says about the files.
    pub status: watch::Sender<Config>,
}

impl Published {
    /// Before anything was loaded: no mappings.
    pub(in crate::daemon) fn new(configuration: Configuration) -> Self {
        Self {
            mappings: watch::Sender::new(Arc::new(MappingSet::default())),
            waiting: watch::Sender::new(Arc::default()),
            configuration: watch::Sender::new(Arc::new(configuration)),
            destinations_error: watch::Sender::new(None),
            webhooks_error: watch::Sender::new(None),
            status: watch::Sender::new(Config { loaded_at: jiff::Timestamp::now(), error: None }),
        }
    }
}
