//! `offtake webhook`.

use std::time::Duration;

use clap::{Args, Subcommand};
use jiff::Timestamp;

use super::{JSON, duration, reason};

#[derive(Debug, Subcommand)]
pub enum Webhook {
    /// List the webhooks, the worst first.
    #[command(after_help = "Example:\n  offtake webhook list --state blocked --json")]
    List {
        /// Only this tenant's.
        #[arg(long, allow_hyphen_values = true)]
        tenant: Option<String>,
        /// Only those in this state.
        #[arg(long)]
        state: Option<String>,
        #[arg(long, help = JSON)]
        json: bool,
    },
    /// Show one webhook: its state, its secrets' fingerprints and public keys, and its mappings.
    #[command(after_help = "Example:\n  offtake webhook show --tenant acme --name crm")]
    Show {
        #[command(flatten)]
        of: OfWebhook,
        #[arg(long, help = JSON)]
        json: bool,
    },
    /// List the requests that were sent, the newest first: by default only failures are kept.
    #[command(
        after_help = "Example:\n  offtake webhook attempts --tenant acme --name crm --status 500"
    )]
    Attempts {
        #[command(flatten)]
        of: OfWebhook,
        /// Only requests with this status, or that ended so: delivered, refused, unwell, timeout,
        /// address.
        #[arg(long)]
        status: Option<String>,
        /// At most this many.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
        #[arg(long, help = JSON)]
        json: bool,
    },
    /// Send one request now, outside the queue: an event that says nothing, or that of a row.
    #[command(after_help = "Examples:\n  offtake webhook test --tenant acme --name crm\n  \
                            offtake webhook test --tenant acme --name crm --mapping users --key 7")]
    Test {
        #[command(flatten)]
        of: OfWebhook,
        /// The mapping of the row; with --key.
        #[arg(long, requires = "key")]
        mapping: Option<String>,
        /// The row's key: the value, or a JSON object of the key's columns.
        #[arg(long, requires = "mapping", allow_hyphen_values = true)]
        key: Option<String>,
        #[arg(long, help = JSON)]
        json: bool,
    },
    /// Show what would be sent of a row now, without sending it. Signatures are masked.
    #[command(
        after_help = "Example:\n  offtake webhook preview --tenant acme --name crm --mapping users --key 7"
    )]
    Preview {
        #[command(flatten)]
        of: OfWebhook,
        /// The mapping of the row.
        #[arg(long)]
        mapping: String,
        /// The row's key: the value, or a JSON object of the key's columns.
        #[arg(long, allow_hyphen_values = true)]
        key: String,
    },
    /// Print a fresh secret. Nothing is stored.
    #[command(
        after_help = "Examples:\n  offtake webhook secret\n  offtake webhook secret --ed25519"
    )]
    Secret {
        /// A private key instead (whsk_), with the public key (whpk_) for the receivers.
        #[arg(long)]
        ed25519: bool,
    },
    /// Send again to a webhook that was disabled or fails, at once and where it stopped.
    #[command(after_help = "Example:\n  offtake webhook enable --tenant acme --name crm")]
    Enable {
        #[command(flatten)]
        of: OfWebhook,
    },
    /// Send nothing more until `enable`. Its changes are kept as long as the change log keeps any.
    #[command(
        after_help = "Example:\n  offtake webhook disable --tenant acme --name crm --reason 'they moved'"
    )]
    Disable {
        #[command(flatten)]
        of: OfWebhook,
        /// Why; `offtake webhook show` tells it.
        #[arg(long, value_parser = reason)]
        reason: String,
    },
    /// Send nothing until `resume`, or for a time. Its changes are kept and told then.
    #[command(
        after_help = "Example:\n  offtake webhook pause --tenant acme --name crm --reason 'their release' --for 1h"
    )]
    Pause {
        #[command(flatten)]
        of: OfWebhook,
        /// Why; `offtake webhook show` tells it.
        #[arg(long, value_parser = reason)]
        reason: String,
        /// Continue by itself after this long.
        #[arg(long = "for", value_parser = duration, value_name = "DURATION")]
        for_: Option<Duration>,
    },
    /// Continue with a paused webhook.
    #[command(after_help = "Example:\n  offtake webhook resume --tenant acme --name crm")]
    Resume {
        #[command(flatten)]
        of: OfWebhook,
    },
    /// Tell the receiver that rows it knows may be gone; with `backfill`, every row follows.
    #[command(
        after_help = "Example:\n  offtake webhook resync --tenant acme --name crm --mapping users"
    )]
    Resync {
        #[command(flatten)]
        of: OfWebhook,
        /// Only this mapping; all of the webhook when absent.
        #[arg(long)]
        mapping: Option<String>,
        /// Do not ask for confirmation.
        #[arg(long)]
        yes: bool,
    },
    /// Tell again, as it is now, every row that changed since a sequence id or a time.
    #[command(
        after_help = "Examples:\n  offtake webhook replay --tenant acme --name crm --from 184467\n  \
                            offtake webhook replay --tenant acme --name crm --since 2026-11-28T03:00:00Z --until 2026-11-28T04:00:00Z"
    )]
    Replay(Replay),
}

#[derive(Debug, Args)]
pub struct Replay {
    #[command(flatten)]
    pub of: OfWebhook,
    /// Begin behind this sequence id.
    #[arg(long, value_name = "SEQUENCE_ID", required_unless_present = "since", value_parser = clap::value_parser!(i64).range(0..))]
    pub from: Option<i64>,
    /// Begin with the changes of this time.
    #[arg(long, value_name = "TIME", conflicts_with = "from", value_parser = time)]
    pub since: Option<Timestamp>,
    /// End with the changes of this time; what comes later is not told again.
    #[arg(long, value_name = "TIME", requires = "since", value_parser = time)]
    pub until: Option<Timestamp>,
    /// Only this mapping; all of the webhook when absent.
    #[arg(long)]
    pub mapping: Option<String>,
    /// Give the events the ids that they had: a receiver that knows them ignores those that it took.
    #[arg(long)]
    pub same_ids: bool,
    /// Do not ask for confirmation.
    #[arg(long)]
    pub yes: bool,
}

/// One webhook.
#[derive(Debug, Args)]
pub struct OfWebhook {
    /// The tenant whose webhook is meant.
    #[arg(long, allow_hyphen_values = true)]
    pub tenant: String,
    /// The webhook's name.
    #[arg(long, allow_hyphen_values = true, default_value = "main")]
    pub name: String,
}

fn time(text: &str) -> Result<Timestamp, String> {
    text.parse().map_err(|_| "write a time as 2026-11-28T03:13:00Z".to_owned())
}
