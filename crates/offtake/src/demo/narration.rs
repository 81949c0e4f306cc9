//! The lines that the demo prints.

use std::fmt::Display;
use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use offtake_admin::Destination;

use super::probe::Latencies;
use super::proof::Verdict;
use super::receiver::{MAPPING, Picture};
use super::stage::{Stage, Tenant};

/// A person can read a line per second; a log file should have fewer.
const EVERY_ON_TERMINAL: Duration = Duration::from_secs(1);
const EVERY_IN_FILE: Duration = Duration::from_secs(5);

/// This many tenants fit on a line by name. Of more tenants, only the one that is furthest behind
/// is named.
const TENANTS_PER_LINE: usize = 6;

/// Prints a line. A reader that closed the pipe is no failure of the demo.
pub(super) fn say(line: impl Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// How often a line about writes and latencies is printed.
pub(super) fn interval() -> Duration {
    if std::io::stdout().is_terminal() { EVERY_ON_TERMINAL } else { EVERY_IN_FILE }
}

/// A step of the demo, printed with the time that it took.
pub(super) struct Step(Instant);

impl Step {
    pub(super) fn begin() -> Self {
        Self(Instant::now())
    }

    pub(super) fn done(self, what: impl Display) {
        say(format!("  {:>5.1} s  {what}", self.0.elapsed().as_secs_f64()));
    }
}

/// A number in groups of three digits, such as `1 234 567`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(|group| String::from_utf8_lossy(group).into_owned())
        .collect();
    groups.join(" ")
}

/// Commands with which the user can look into the copies while they change.
pub(super) fn places(stage: &Stage) -> String {
    const SHOWN: usize = 3;
    let file = stage.folder().join("offtake.yaml");
    let mut lines = vec!["Look into a customer's database while it changes:".to_owned()];
    for tenant in stage.tenants.iter().take(SHOWN) {
        let (program, place) = match tenant.file() {
            Some(file) => ("sqlite3", format!("'{file}'")),
            None => ("psql", format!("'{}' -c", tenant.url)),
        };
        lines.push(format!("  {program} {place} 'select * from users limit 5'"));
    }
    if stage.tenants.len() > SHOWN {
        lines.push(format!(
            "  … the other {} are in {}",
            stage.tenants.len() - SHOWN,
            file.display()
        ));
    }
    lines.push("Write as the application does, and look at it there:".to_owned());
    lines.push(format!("  psql '{}'", stage.application_url()));
    lines.push("Ask Offtake; mappings/ beside the file can be edited while it runs:".to_owned());
    lines.push(format!("  {} status --config {}", program(), file.display()));
    lines.join("\n")
}

/// What to type for this program: `make demo` does not put it on the path.
fn program() -> String {
    let Ok(this) = std::env::current_exe() else { return "offtake".to_owned() };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut named = std::env::split_paths(&path).map(|folder| folder.join("offtake"));
    let found = named.find_map(|program| program.canonicalize().ok());
    match found.is_some_and(|found| found == this) {
        true => "offtake".to_owned(),
        false => this.display().to_string(),
    }
}

/// The lines about writes, latencies and lag while the load runs.
pub(super) struct Flow<'a> {
    tenants: &'a [Tenant],
    begun: Instant,
    last: Instant,
    writes: u64,
    sequence_id: i64,
    probes: usize,
}

impl<'a> Flow<'a> {
    pub(super) fn begin(tenants: &'a [Tenant], sequence_id: i64) -> Self {
        say("   time   writes/s   changes/s   visible after p50 / p99   behind");
        let now = Instant::now();
        Self { tenants, begun: now, last: now, writes: 0, sequence_id, probes: 0 }
    }

    /// Prints what happened since the previous line.
    pub(super) fn line(
        &mut self,
        writes: u64,
        sequence_id: i64,
        latencies: &Latencies,
        destinations: &[Destination],
    ) {
        let seconds = self.last.elapsed().as_secs_f64().max(0.001);
        let rate = |now: u64, before: u64| {
            grouped((now.saturating_sub(before) as f64 / seconds).round() as u64)
        };
        let changes = rate(sequence_id.unsigned_abs(), self.sequence_id.unsigned_abs());
        let visible = latencies
            .percentiles(self.probes)
            .map_or_else(|| "-".to_owned(), |p| format!("{} / {}", ms(p.0), ms(p.1)));
        say(format!(
            "  {:>3} s   {:>8}   {changes:>9}   {visible:>23}   {}",
            self.begun.elapsed().as_secs(),
            rate(writes, self.writes),
            self.behind(destinations)
        ));
        (self.last, self.writes, self.sequence_id, self.probes) =
            (Instant::now(), writes, sequence_id, latencies.count());
    }

    /// How many changes are not in the copies yet.
    fn behind(&self, destinations: &[Destination]) -> String {
        let rows = |tenant: &Tenant| {
            destinations.iter().filter(|d| d.tenant == tenant.id).map(|d| d.lag_rows.0).sum::<i64>()
        };
        let lags = self.tenants.iter().map(|tenant| (rows(tenant), tenant.name.as_str()));
        if self.tenants.len() <= TENANTS_PER_LINE {
            return lags
                .map(|(rows, name)| format!("{name} {rows}"))
                .collect::<Vec<_>>()
                .join("  ");
        }
        let behind: Vec<_> = lags.filter(|(rows, _)| *rows > 0).collect();
        match behind.iter().max() {
            Some((rows, name)) => {
                format!("{} of {}, the furthest {name} by {rows}", behind.len(), self.tenants.len())
            }
            None => "none".to_owned(),
        }
    }
}

/// A duration in milliseconds, such as `6.4 ms`.
pub(super) fn ms(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
}

/// The result: a line per tenant, and the keys that differ.
pub(super) fn verdicts(verdicts: &[Verdict]) -> String {
    let mut rows = vec![
        ["tenant", "equal copies", "rows", "missing", "surplus", "different"].map(str::to_owned),
    ];
    rows.extend(verdicts.iter().map(Verdict::cells));
    let widths: Vec<_> =
        (0..6).map(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0)).collect();
    let mut lines: Vec<_> = rows
        .iter()
        .map(|row| {
            let cells = row.iter().zip(&widths).enumerate();
            let cells = cells.map(|(at, (cell, width))| {
                if at == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
            });
            format!("  {}", cells.collect::<Vec<_>>().join("   "))
        })
        .collect();
    for verdict in verdicts.iter().filter(|verdict| !verdict.equal()) {
        for report in verdict.reports.iter().filter(|report| !report.equal()) {
            let keys: Vec<_> = report
                .differences
                .iter()
                .take(5)
                .map(|d| format!("{:?} {}", d.kind, serde_json::Value::from(d.key.clone())))
                .collect();
            lines.push(format!(
                "  {}/{} differs: {}",
                verdict.tenant,
                report.mapping,
                keys.join(", ")
            ));
        }
    }
    lines.join("\n")
}

/// What a tenant's webhook was told, and whether that is what the query says.
pub(super) fn picture(tenant: &Tenant, picture: &Picture) -> String {
    let Picture { requests, unverified, repeated, known, equal } = picture;
    let verified = match unverified {
        0 => "all of which verify".to_owned(),
        some => format!("of which {some} do not verify: this is a bug, please report it"),
    };
    let as_is = match equal {
        true => "equals the query",
        false => "does not equal the query: this is a bug, please report it",
    };
    format!(
        "\n{}'s webhook was sent {} requests, {verified} ({repeated} repeated). Its picture of \
         {MAPPING}, {} rows, {as_is}.",
        tenant.name,
        grouped(*requests),
        grouped(*known as u64)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1 000", "1 234 567"]);
    }
}
