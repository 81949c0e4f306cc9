//! `offtake snapshot`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::JSON;

#[derive(Debug, Subcommand)]
pub enum Snapshot {
    /// Write a tenant's rows of this moment into a store, as one file.
    #[command(after_help = "Examples:\n  offtake snapshot create --tenant acme\n  \
                            offtake snapshot create --tenant acme --mapping users --store disk\n  \
                            offtake snapshot create --tenant acme --kind source")]
    Create(Create),
    /// List snapshots, the newest first.
    #[command(
        after_help = "Examples:\n  offtake snapshot list --tenant acme\n  offtake snapshot list --all --json"
    )]
    List(List),
    /// Read a whole snapshot, and check that it is complete and unchanged.
    #[command(after_help = "Examples:\n  \
                            offtake snapshot validate snap_20261128-031300_k7f3a2\n  \
                            offtake snapshot validate snap_20261128-031300_k7f3a2 --drill")]
    Validate(Validate),
    /// Show what a restore into a destination would change, without changing anything.
    #[command(after_help = "Example:\n  \
                            offtake snapshot diff snap_20261128-031300_k7f3a2 --into main\n\n\
                            Exit codes: 0 equal, 3 different.")]
    Diff(Diff),
    /// Make a tenant's tables equal to a snapshot, all of them in one transaction.
    #[command(after_help = "Examples:\n  \
                            offtake snapshot restore snap_20261128-031300_k7f3a2 --tenant acme --dry-run\n  \
                            offtake snapshot restore snap_20261128-031300_k7f3a2 --tenant acme --destination main\n  \
                            offtake snapshot restore snap_20261128-031300_k7f3a2 --tenant acme --schema restored_20261128\n  \
                            offtake snapshot restore snap_20261128-031300_k7f3a2 --tenant acme --url-file url.txt\n  \
                            offtake snapshot restore snap_20261128-031300_k7f3a2 --tenant acme --into source --dry-run")]
    Restore(Restore),
    /// Copy a snapshot's file out of its store. A download that was cut goes on where it stopped.
    #[command(after_help = "Example:\n  \
                            offtake snapshot download snap_20261128-031300_k7f3a2 --to acme.tar.zst")]
    Download(Download),
    /// Delete one snapshot.
    #[command(after_help = "Example:\n  \
                            offtake snapshot delete snap_20261128-031300_k7f3a2 --yes")]
    Delete(Delete),
    /// Delete the snapshots that `snapshots.keep` does not keep. The newest of each tenant stays.
    #[command(
        after_help = "Examples:\n  offtake snapshot forget --dry-run\n  offtake snapshot forget --tenant acme --yes"
    )]
    Forget(ForgetSnapshots),
}

impl Snapshot {
    /// Whether JSON was asked for.
    pub fn json(&self) -> bool {
        match self {
            Self::Create(of) => of.json,
            Self::List(of) => of.json,
            Self::Validate(of) => of.json,
            Self::Diff(of) => of.json,
            Self::Restore(_) | Self::Download(_) | Self::Delete(_) | Self::Forget(_) => false,
        }
    }
}

#[derive(Debug, Args)]
pub struct Create {
    /// The tenant whose rows these are.
    #[arg(long, allow_hyphen_values = true)]
    pub tenant: String,
    /// What of the tenant it has.
    #[arg(long, value_enum, default_value_t)]
    pub kind: SnapshotKind,
    /// Only this mapping; may be given several times.
    #[arg(long, value_name = "NAME")]
    pub mapping: Vec<String>,
    /// Of the kind `source`: also where a table refers to one of the snapshot and is not in it.
    #[arg(long)]
    pub partial: bool,
    /// Make one of a tenant without a row too.
    #[arg(long)]
    pub allow_empty: bool,
    /// Return once the snapshot is complete. The command makes it itself, so it does that in any case.
    #[arg(long)]
    pub wait: bool,
    #[command(flatten)]
    pub place: InStore,
    #[arg(long, help = JSON)]
    pub json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum SnapshotKind {
    /// What the mappings return: what its destinations hold.
    #[default]
    Rows,
    /// Its own rows in the tables of the source, which can be restored there.
    Source,
}

#[derive(Debug, Args)]
pub struct List {
    /// Only this tenant's.
    #[arg(long, allow_hyphen_values = true)]
    pub tenant: Option<String>,
    /// Also what was not written to its end or cannot be read.
    #[arg(long)]
    pub all: bool,
    #[command(flatten)]
    pub place: InStore,
    #[arg(long, help = JSON)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Validate {
    #[command(flatten)]
    pub snapshot: OneSnapshot,
    /// Also load it into a private, throwaway Postgres server, and compare every row there.
    #[arg(long)]
    pub drill: bool,
    #[arg(long, help = JSON)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Diff {
    #[command(flatten)]
    pub snapshot: OneSnapshot,
    /// The name of the tenant's destination.
    #[arg(long, value_name = "DESTINATION", allow_hyphen_values = true)]
    pub into: String,
    /// Also show the values of those rows, which may be confidential.
    #[arg(long)]
    pub show_values: bool,
    #[arg(long, help = JSON)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Restore {
    #[command(flatten)]
    pub snapshot: OneSnapshot,
    /// The tenant whose snapshot it is, and whose rows are replaced.
    #[arg(long, allow_hyphen_values = true)]
    pub tenant: String,
    #[command(flatten)]
    pub to: RestoreTo,
    #[command(flatten)]
    pub source: RestoreIntoSource,
    /// Leave the destination paused, so that it keeps the restored rows.
    #[arg(long, conflicts_with_all = ["url_file", "schema"])]
    pub hold: bool,
    /// Only show what would change; exit 3 where something would.
    #[arg(long)]
    pub dry_run: bool,
    /// Also show the values of the rows that differ, which may be confidential.
    #[arg(long)]
    pub show_values: bool,
    /// Do not ask for confirmation.
    #[arg(long)]
    pub yes: bool,
}

#[derive(Debug, Args)]
pub struct RestoreTo {
    /// The name of the tenant's destination; its only one when absent.
    #[arg(long, value_name = "NAME", allow_hyphen_values = true)]
    pub destination: Option<String>,
    /// A file with the URL of another Postgres database, under the rules for destinations.
    #[arg(long, value_name = "FILE", conflicts_with = "destination")]
    pub url_file: Option<PathBuf>,
    /// The certificate authorities to trust for that URL, instead of the system's.
    #[arg(long, value_name = "FILE", requires = "url_file")]
    pub ca_file: Option<PathBuf>,
    /// Into this schema of that database, which no daemon writes to. It is made if it is missing.
    #[arg(long, value_name = "NAME")]
    pub schema: Option<String>,
}

/// How rows come back into the application's own tables.
#[derive(Debug, Args)]
pub struct RestoreIntoSource {
    /// Into the application's own tables, by the role of `restore.source_url`. The snapshot must be
    /// of the kind `source`.
    #[arg(long, value_enum, conflicts_with_all = ["destination", "url_file", "schema", "hold"])]
    pub into: Option<IntoSource>,
    /// Which rows are written there.
    #[arg(long, value_enum, default_value_t, requires = "into")]
    pub mode: RestoreMode,
    /// Only this table, as `offtake snapshot list --json` names it; may be given several times.
    #[arg(long, value_name = "TABLE", requires = "into")]
    pub table: Vec<String>,
    /// Only rows that meet this SQL condition over the columns of the one `--table`.
    #[arg(long = "where", value_name = "SQL", requires = "into")]
    pub condition: Option<String>,
    /// Refuse to write more rows than this.
    #[arg(long, value_name = "ROWS", default_value_t = RESTORE_ROWS_MAX, requires = "into")]
    pub max_rows: u64,
    /// The tenant's id once more: `--mode mirror` deletes rows, and wants it typed.
    #[arg(long, value_name = "TENANT", allow_hyphen_values = true, requires = "into")]
    pub confirm: Option<String>,
}

/// What an employee of one customer deletes by mistake is rarely more, and an operator who means more
/// can say so.
const RESTORE_ROWS_MAX: u64 = 100_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum IntoSource {
    Source,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum RestoreMode {
    /// Rows whose key is gone.
    #[default]
    InsertMissing,
    /// Also rows that differ.
    Overwrite,
    /// Also delete rows that are not in the snapshot.
    Mirror,
}

#[derive(Debug, Args)]
pub struct Download {
    #[command(flatten)]
    pub snapshot: OneSnapshot,
    /// The file to write. A file that is there already is not overwritten.
    #[arg(long, value_name = "FILE")]
    pub to: PathBuf,
}

#[derive(Debug, Args)]
pub struct Delete {
    #[command(flatten)]
    pub snapshot: OneSnapshot,
    /// Do not ask for confirmation.
    #[arg(long)]
    pub yes: bool,
}

#[derive(Debug, Args)]
pub struct ForgetSnapshots {
    /// Only this tenant's.
    #[arg(long, allow_hyphen_values = true)]
    pub tenant: Option<String>,
    /// Only say which ones would be deleted.
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask for confirmation.
    #[arg(long)]
    pub yes: bool,
    #[command(flatten)]
    pub place: InStore,
}

#[derive(Debug, Args)]
pub struct InStore {
    /// The store of offtake.yaml that has the snapshots; `snapshots.store` when absent.
    #[arg(long, value_name = "NAME")]
    pub store: Option<String>,
}

/// Which snapshot, and where it is.
#[derive(Debug, Args)]
pub struct OneSnapshot {
    /// The snapshot's id, as `offtake snapshot list` prints it.
    pub id: String,
    #[command(flatten)]
    pub place: InStore,
}
