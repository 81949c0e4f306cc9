//! `offtake copy`.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{JSON, duration};

pub(super) const COPY: &str = "Examples:\n  \
    offtake copy --from '${DATABASE_URL}' --to sqlite:///srv/copies/app.db --table public.orders\n  \
    offtake copy --from '${DATABASE_URL}' --to '${TARGET_URL}' --all --exclude 'audit_*' --for 5h50m\n  \
    offtake copy --validate --to sqlite:///srv/copies/app.db --all\n\n\
    Exit codes: 0 copied and equal, 1 another runner holds it, 3 rows still differ, 4 chunks, rows or \
    tables failed, 69 unreachable, 75 --for is over or --limit-rows reached: run it again, 78 a \
    credential, a table or a limit is wrong, 130 interrupted: run it again.";

#[derive(Debug, Args)]
pub struct Copy {
    /// The source's URL. `${VAR}` and `${file:…}` in it are replaced; put it in single quotes.
    /// `${DATABASE_URL}` when absent.
    #[arg(long, value_name = "URL")]
    pub from: Option<String>,
    /// The destination's URL, written likewise: postgres://…, sqlite:///folder/name.db or
    /// d1://ACCOUNT/DATABASE.
    #[arg(long, value_name = "URL")]
    pub to: Option<String>,
    /// The schema of a Postgres destination.
    #[arg(long, value_name = "NAME", default_value = "public")]
    pub schema: String,
    /// The environment variable that has the token of a D1 database.
    #[arg(long, value_name = "NAME", default_value = "CLOUDFLARE_API_TOKEN")]
    pub token_env: String,
    /// Where D1 databases answer, if not at Cloudflare's API: a Worker of `deploy/d1-worker`.
    #[arg(long, value_name = "URL")]
    pub d1_endpoint: Option<String>,
    /// A table, as `schema.table`; may be given several times.
    #[arg(long, value_name = "TABLE", conflicts_with_all = ["all", "mapping"])]
    pub table: Vec<String>,
    /// All tables of the source.
    #[arg(long, conflicts_with = "mapping")]
    pub all: bool,
    /// Not these tables; `*` stands for any characters.
    #[arg(long, value_name = "PATTERN", requires = "all")]
    pub exclude: Vec<String>,
    /// The rows of this mapping of offtake.yaml instead of a table; may be given several times.
    #[arg(long, value_name = "NAME", requires = "tenant")]
    pub mapping: Vec<String>,
    /// The tenant whose rows of the mappings are copied.
    #[arg(long, requires = "mapping", allow_hyphen_values = true)]
    pub tenant: Option<String>,
    /// How columns of a type are copied: timestamptz=unix_ms, timestamp=unix_ms, numeric=float8,
    /// array=json, and unix_s; may be given several times.
    #[arg(long, value_name = "TYPE=SHAPE", conflicts_with = "mapping")]
    pub shape: Vec<String>,
    #[command(flatten)]
    pub pace: Pace,
    /// What becomes of a row that the destination refuses: its chunk fails, or the row is left out
    /// and listed in `_offtake_skipped`.
    #[arg(long, value_name = "WHAT", default_value = "fail")]
    pub on_row_error: RowError,
    /// Copy all rows again, over what is there: no row is missing meanwhile.
    #[arg(long)]
    pub fresh: bool,
    /// Do not compare both sides at the end.
    #[arg(long)]
    pub no_verify: bool,
    #[command(flatten)]
    pub instead: Instead,
    #[arg(long, help = JSON)]
    pub json: bool,
}

/// How fast, and for how long.
#[derive(Debug, Args)]
pub struct Pace {
    /// Rows of a chunk, which fails or is done as a whole. 50000 when absent.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub chunk_rows: Option<u32>,
    /// Rows of a batch, which is written in one transaction; 10000, or 4 MiB of them, when absent.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub batch_rows: Option<u32>,
    /// At most so many batches per second, minute or hour, such as 3/s or 100/m.
    #[arg(long, value_name = "N/UNIT", value_parser = rate)]
    pub rate: Option<Duration>,
    /// How often a batch is tried before its chunk has failed.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub attempts: u32,
    /// Begin no batch after this long, and end with 75: the same command goes on later.
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    pub length: Option<Duration>,
    /// Copy at most so many rows of each table now, and end with 75.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit_rows: Option<u64>,
    /// For a single statement on either side.
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "60s")]
    pub statement_timeout: Duration,
}

/// What is done instead of copying.
#[derive(Debug, Args)]
pub struct Instead {
    /// Check logins, rights, keys, limits and space, and copy nothing.
    #[arg(long, conflicts_with_all = ["setup", "status", "failed", "reset_stuck"])]
    pub validate: bool,
    /// Make the tables and the checkpoints, show how each column is held, and copy nothing.
    #[arg(long, conflicts_with_all = ["status", "failed", "reset_stuck"])]
    pub setup: bool,
    /// Show how far the copies in the destination are.
    #[arg(long, conflicts_with_all = ["failed", "reset_stuck"])]
    pub status: bool,
    /// List the chunks that failed, with their messages.
    #[arg(long, conflicts_with = "reset_stuck")]
    pub failed: bool,
    /// Give back the chunks of runners whose clocks lie; a dead runner needs no command.
    #[arg(long)]
    pub reset_stuck: bool,
    /// Print the SQL of --setup instead of running it.
    #[arg(long, requires = "setup")]
    pub print_sql: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RowError {
    Fail,
    Skip,
}

/// The shortest time between two of so many.
fn rate(text: &str) -> Result<Duration, String> {
    let parsed = || {
        let (count, unit) = text.split_once('/')?;
        let count: u32 = count.trim().parse().ok().filter(|count| *count > 0)?;
        let of = match unit.trim() {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            _ => return None,
        };
        Some(Duration::from_secs(of) / count)
    };
    parsed().ok_or_else(|| "write a number and a unit, such as 3/s, 100/m or 500/h".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_per_unit() {
        assert_eq!(rate("4/s"), Ok(Duration::from_millis(250)));
        assert_eq!(rate("120/m"), Ok(Duration::from_millis(500)));
        assert_eq!(rate("1/h"), Ok(Duration::from_secs(3600)));
        for wrong in ["", "3", "0/s", "-1/s", "3/d", "x/s"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }
}
