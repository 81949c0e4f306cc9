//! `offtake fuse`.

use std::time::Duration;

use clap::Subcommand;

use super::{JSON, duration, reason};

#[derive(Debug, Subcommand)]
pub enum Fuse {
    /// List the fuses, and show which are off.
    #[command(after_help = "Example:\n  offtake fuse list --json")]
    List {
        #[arg(long, help = JSON)]
        json: bool,
    },
    /// Stop what the fuse guards.
    #[command(after_help = FUSE_OFF)]
    Off {
        /// sequencer, poller, sync, webhooks, exports, snapshots, tenant:TENANT, destination:TENANT/NAME,
        /// webhook:TENANT/NAME or mapping:NAME.
        name: String,
        /// Why; `offtake status` shows it.
        #[arg(long, value_parser = reason)]
        reason: String,
        /// Switch the fuse on again by itself after this long.
        #[arg(long = "for", value_parser = duration, value_name = "DURATION")]
        for_: Option<Duration>,
    },
    /// Let what the fuse guards run again.
    #[command(after_help = "Example:\n  offtake fuse on poller")]
    On {
        /// The name, as `offtake fuse list` shows it.
        name: String,
        /// Why it may run again; the answer repeats it.
        #[arg(long, value_parser = reason)]
        reason: Option<String>,
    },
}

const FUSE_OFF: &str = "Examples:\n  offtake fuse off sync --reason 'the network is being moved' --for 30m\n  \
                        offtake fuse off destination:acme/main --reason 'their restore'";
