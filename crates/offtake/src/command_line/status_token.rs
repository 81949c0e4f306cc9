//! `offtake status-token`.

use clap::Args;

use super::JSON;

#[derive(Debug, Args)]
pub struct StatusToken {
    /// The tenant whose view it opens.
    #[arg(long, allow_hyphen_values = true)]
    pub tenant: String,
    /// Make all tokens of the tenant that there are invalid, and print the next one.
    #[arg(long)]
    pub revoke: bool,
    #[arg(long, help = JSON)]
    pub json: bool,
}
