//! What an operator asks for a tenant's destinations: `sync`, `resync`, `adopt`, `forget`, `pause`,
//! `resume`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::{duration, reason};

#[derive(Debug, Args)]
pub struct Sync {
    /// The tenant whose destinations are meant.
    #[arg(long, allow_hyphen_values = true)]
    pub tenant: String,
    /// One destination of the tenant; all when absent.
    #[arg(long, allow_hyphen_values = true)]
    pub destination: Option<String>,
    /// Wait, at most this long, until everything written before now has arrived.
    #[arg(long, value_parser = duration, value_name = "DURATION")]
    pub wait: Option<Duration>,
}

#[derive(Debug, Args)]
pub struct Resync {
    #[command(flatten)]
    pub of: OfTenant,
    /// Only this mapping; all of the destination when absent.
    #[arg(long)]
    pub mapping: Option<String>,
    /// Wait, at most this long, until the copies are complete.
    #[arg(long, value_parser = duration, value_name = "DURATION")]
    pub wait: Option<Duration>,
    /// Copy nothing; instead drop the tables that Offtake made for mappings that are gone.
    #[arg(long, conflicts_with_all = ["mapping", "wait"])]
    pub drop: bool,
    /// Move a damaged SQLite file aside, to FILE.corrupt-TIME; a daemon then makes a new one.
    #[arg(long, conflicts_with_all = ["mapping", "wait"])]
    pub recreate: bool,
    /// Do not ask for confirmation before dropping or moving. Nothing else asks.
    #[arg(long)]
    pub yes: bool,
}

#[derive(Debug, Args)]
pub struct Adopt {
    #[command(flatten)]
    pub of: OfTenant,
    /// Do not ask for confirmation.
    #[arg(long)]
    pub yes: bool,
}

#[derive(Debug, Args)]
pub struct Forget {
    #[command(flatten)]
    pub of: OfTenant,
    /// Also delete the tenant's rows and cursors at the destination. The tables stay.
    #[arg(long)]
    pub purge: bool,
    /// The destination's URL. `${VAR}` and `${file:…}` in it are replaced, as in offtake.yaml; put
    /// it in single quotes, so that the shell does not replace them.
    #[arg(long, requires = "purge", conflicts_with = "url_file")]
    pub url: Option<String>,
    /// A file that holds the destination's URL.
    #[arg(long, requires = "purge", value_name = "FILE")]
    pub url_file: Option<PathBuf>,
    /// The certificate authorities to trust for the destination, as `ca_file` in offtake.yaml.
    #[arg(long, requires = "purge", value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Do not ask for confirmation.
    #[arg(long)]
    pub yes: bool,
}

#[derive(Debug, Args)]
pub struct Pause {
    #[command(flatten)]
    pub of: OfTenant,
    /// Why; `offtake status` shows it.
    #[arg(long, value_parser = reason)]
    pub reason: String,
    /// Continue by itself after this long.
    #[arg(long = "for", value_parser = duration, value_name = "DURATION")]
    pub for_: Option<Duration>,
}

#[derive(Debug, Args)]
pub struct Resume {
    #[command(flatten)]
    pub of: OfTenant,
    /// Why they may continue; the answer repeats it.
    #[arg(long, value_parser = reason)]
    pub reason: Option<String>,
}

/// Some of a tenant's destinations.
#[derive(Debug, Args)]
pub struct OfTenant {
    /// The tenant whose destinations are meant.
    #[arg(long, allow_hyphen_values = true)]
    pub tenant: String,
    /// One destination of the tenant; all when absent.
    #[arg(long, allow_hyphen_values = true)]
    pub destination: Option<String>,
}
