//! `offtake export`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use offtake_jobs::exports;

use super::JSON;

#[derive(Debug, Subcommand)]
pub enum Export {
    /// Write all rows of a tenant to files.
    #[command(after_help = CREATE)]
    Create(ExportCreate),
    /// List exports, the newest first.
    #[command(after_help = "Example:\n  offtake export list --tenant acme")]
    List {
        /// Only this tenant's.
        #[arg(long, allow_hyphen_values = true)]
        tenant: Option<String>,
        /// Only those in this state: accepted, processing, paused, settling, completed, expired,
        /// failed, cancelled.
        #[arg(long)]
        state: Option<String>,
        /// At most this many.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
        #[arg(long, help = JSON)]
        json: bool,
    },
    /// Show one export: its state, how far it is, and its files.
    #[command(after_help = "Example:\n  offtake export status exp_20261128-031300_k7f3a2")]
    Status(OfExport),
    /// Have an export go on that was interrupted, cancelled or has failed.
    #[command(after_help = "Example:\n  offtake export resume exp_20261128-031300_k7f3a2")]
    Resume(OfExport),
    /// End an export. Its parts stay, so that it can be resumed.
    #[command(after_help = "Example:\n  offtake export cancel exp_20261128-031300_k7f3a2")]
    Cancel(OfExport),
    /// Read every byte of an export, and compare sizes and SHA-256 with its manifest.
    #[command(after_help = "Examples:\n  offtake export verify exp_20261128-031300_k7f3a2\n  \
                            offtake export verify --in acme/    # needs no source and no configuration\n\n\
                            Exit codes: 0 everything is as it was written, 3 something differs.")]
    Verify {
        /// The export's id.
        #[arg(required_unless_present = "folder")]
        id: Option<String>,
        /// A folder with files and manifest, or a file with its manifest beside it, instead of an id.
        #[arg(long = "in", value_name = "FOLDER or FILE", conflicts_with = "id")]
        folder: Option<PathBuf>,
        #[arg(long, help = JSON)]
        json: bool,
    },
    /// Fetch the files of an export from its store. What is there already is kept, a file that was
    /// interrupted goes on, and every byte is compared with the manifest.
    #[command(
        after_help = "Example:\n  offtake export download exp_20261128-031300_k7f3a2 --to acme/"
    )]
    Download {
        /// The export's id.
        id: String,
        /// Only this file.
        #[arg(long, value_name = "NAME")]
        file: Option<String>,
        /// The folder that the files are written to. It is made if it is not there.
        #[arg(long, value_name = "FOLDER")]
        to: PathBuf,
        #[arg(long, help = JSON)]
        json: bool,
    },
    /// Delete an export: its parts in the store, and what is known of it. Files that a command has
    /// written stay.
    #[command(after_help = "Example:\n  offtake export delete exp_20261128-031300_k7f3a2 --yes")]
    Delete {
        /// The export's id.
        id: String,
        /// Do not ask for confirmation.
        #[arg(long)]
        yes: bool,
        #[arg(long, help = JSON)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub struct OfExport {
    /// The export's id.
    pub id: String,
    #[arg(long, help = JSON)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct ExportCreate {
    /// The tenant whose rows are written.
    #[arg(long, allow_hyphen_values = true)]
    pub tenant: String,
    /// csv, ndjson and json: a file for each mapping. sql: one file that psql loads.
    #[arg(long)]
    pub format: ExportFormat,
    /// Only the rows of this mapping; may be given several times.
    #[arg(long, value_name = "NAME")]
    pub mapping: Vec<String>,
    /// The folder that this command writes the files to. It is made if it is not there. A name that
    /// ends as the file's own would, such as acme.csv.gz, is that of the file, where there is only
    /// one.
    #[arg(long, value_name = "FOLDER or FILE")]
    pub to: Option<PathBuf>,
    /// The store of offtake.yaml that a daemon writes the files to; without --to and --store,
    /// `exports.store`.
    #[arg(long, value_name = "NAME", conflicts_with = "to")]
    pub store: Option<String>,
    /// Wait until the daemon has written the files.
    #[arg(long, conflicts_with = "to")]
    pub wait: bool,
    /// How the files are compressed; without it as `exports.compression` says, which is gzip.
    #[arg(long)]
    pub compression: Option<ExportCompression>,
    /// With the state of a destination: where the SQL file is loaded into an empty database, and that
    /// is listed as the tenant's destination, live sync goes on there without a copy.
    #[arg(long)]
    pub state: bool,
    /// Rows as INSERT statements of standard SQL, for databases that are not Postgres. Tables are made
    /// with --schema only.
    #[arg(long, conflicts_with = "state")]
    pub inserts: bool,
    /// With the statements that create the tables, in a file of their own. An SQL file that psql loads
    /// has them always.
    #[arg(long)]
    pub schema: bool,
    /// Fail where the rows change so fast that they cannot be read as of one moment.
    #[arg(long)]
    pub require_consistent: bool,
    /// Have a daemon tell this address how the export ended: a request that is signed as a webhook's,
    /// with `exports.callback_secret`.
    #[arg(long, value_name = "URL")]
    pub callback: Option<String>,
    #[arg(long, help = JSON)]
    pub json: bool,
}

const CREATE: &str = "Examples:\n  offtake export create --tenant acme --format csv --to acme/\n  \
    offtake export create --tenant acme --format sql --to acme/ --mapping users\n  \
    offtake export create --tenant acme --format csv --store disk --wait    # a daemon does it\n  \
    offtake export create --tenant acme --format sql --inserts --to acme.sql.gz\n\n\
    Exit codes: 0 complete, 1 failed, 69 the source does not answer, 130 interrupted. Where it was \
    interrupted, the last line is the command that goes on.";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    Csv,
    Ndjson,
    Json,
    Sql,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportCompression {
    Gzip,
    Zstd,
    None,
}

impl From<ExportFormat> for exports::Format {
    fn from(format: ExportFormat) -> Self {
        match format {
            ExportFormat::Csv => Self::Csv,
            ExportFormat::Ndjson => Self::Ndjson,
            ExportFormat::Json => Self::Json,
            ExportFormat::Sql => Self::Sql,
        }
    }
}

impl From<ExportCompression> for exports::Compression {
    fn from(compression: ExportCompression) -> Self {
        match compression {
            ExportCompression::Gzip => Self::Gzip,
            ExportCompression::Zstd => Self::Zstd,
            ExportCompression::None => Self::None,
        }
    }
}
