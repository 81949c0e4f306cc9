//! `offtake quarantine`.

use clap::{Args, Subcommand};

use super::JSON;

#[derive(Debug, Subcommand)]
pub enum Quarantine {
    /// List them by their keys, with the errors.
    #[command(after_help = "Example:\n  offtake quarantine list --mapping users --json")]
    List {
        #[command(flatten)]
        of: OfQuarantine,
        #[arg(long, help = JSON)]
        json: bool,
    },
    /// Try them again now.
    #[command(after_help = "Example:\n  offtake quarantine retry --tenant acme")]
    Retry {
        #[command(flatten)]
        of: OfQuarantine,
    },
    /// Forget them: they stay missing in the destination, or untold, until they change at the
    /// source.
    #[command(
        after_help = "Example:\n  offtake quarantine discard --tenant acme --mapping users --yes"
    )]
    Discard {
        #[command(flatten)]
        of: OfQuarantine,
        /// Do not ask for confirmation.
        #[arg(long)]
        yes: bool,
    },
}

/// Some of the quarantined rows and events.
#[derive(Debug, Args)]
pub struct OfQuarantine {
    /// Only this tenant's.
    #[arg(long, allow_hyphen_values = true)]
    pub tenant: Option<String>,
    /// Only this destination's rows.
    #[arg(long, allow_hyphen_values = true)]
    pub destination: Option<String>,
    /// Only this webhook's events.
    #[arg(long, allow_hyphen_values = true, conflicts_with = "destination")]
    pub webhook: Option<String>,
    /// Only this mapping's.
    #[arg(long)]
    pub mapping: Option<String>,
}
