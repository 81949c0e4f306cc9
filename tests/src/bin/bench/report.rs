//! The figures as a Markdown page, which also describes the machine.

use std::io::Write as _;
use std::time::Instant;

use crate::Extent;
use crate::audit::Audit;
use crate::idle::Idle;
use crate::rig::SETTINGS;

/// One figure of each side.
#[derive(Debug, Default)]
pub(crate) struct Pair<T> {
    pub(crate) offtake: T,
    pub(crate) built_in: T,
}

#[derive(Debug)]
pub(crate) struct Figures {
    pub(crate) machine: Machine,
    /// When the figures were measured, by the source's clock.
    pub(crate) date: String,
    pub(crate) postgres: String,
    /// Milliseconds.
    pub(crate) latency: Pair<Vec<f64>>,
    pub(crate) idle_latency: Vec<f64>,
    /// Rows per second.
    pub(crate) catch_up: Pair<Vec<f64>>,
    /// The daemon's peak memory while it caught up.
    pub(crate) peak_mib: f64,
    pub(crate) idle: Idle,
    pub(crate) audit: Audit,
}

#[derive(Debug)]
pub(crate) struct Machine {
    cores: usize,
    processor: String,
    memory_gib: f64,
    kernel: String,
    /// The least that a durable commit costs.
    fdatasync_microseconds: f64,
}

impl Machine {
    pub(crate) fn describe() -> anyhow::Result<Self> {
        let read = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text
                .lines()
                .find(|line| line.starts_with(name))
                .and_then(|line| line.split_once(':'));
            line.map_or("unknown".to_owned(), |(_, value)| value.trim().to_owned())
        };
        let memory_kib: f64 = field(&read("/proc/meminfo"), "MemTotal")
            .trim_end_matches(" kB")
            .parse()
            .unwrap_or_default();
        Ok(Self {
            cores: std::thread::available_parallelism()?.get(),
            processor: field(&read("/proc/cpuinfo"), "model name"),
            memory_gib: memory_kib / 1024.0 / 1024.0,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            fdatasync_microseconds: fdatasync_microseconds()?,
        })
    }

    pub(crate) fn line(&self) -> String {
        format!(
            "{} cores ({}), {:.0} GiB, Linux {}, fdatasync {:.0} µs",
            self.cores, self.processor, self.memory_gib, self.kernel, self.fdatasync_microseconds
        )
    }
}

/// Median of 200 writes of one page in the temporary folder, where the servers' data also is.
fn fdatasync_microseconds() -> anyhow::Result<f64> {
    let mut file = tempfile::tempfile()?;
    let mut microseconds = Vec::new();
    for _ in 0..200 {
        file.write_all(&[1; 8192])?;
        let begun = Instant::now();
        file.sync_data()?;
        microseconds.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    Ok(percentile(&microseconds, 50.0))
}

/// The percentile by nearest rank.
pub(crate) fn percentile(values: &[f64], percent: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied().unwrap_or(f64::NAN)
}

/// Median, 99th percentile and maximum.
pub(crate) fn milliseconds(values: &[f64]) -> String {
    format!(
        "{:.1} / {:.1} / {:.1} ms",
        percentile(values, 50.0),
        percentile(values, 99.0),
        percentile(values, 100.0)
    )
}

pub(crate) fn markdown(extent: &Extent, figures: &Figures) -> String {
    let Figures {
        machine, date, postgres, latency, idle_latency, catch_up, peak_mib, idle, ..
    } = figures;
    let rate = |v: &[f64]| {
        format!(
            "{} rows/s ({}–{})",
            thousands(percentile(v, 50.0)),
            thousands(percentile(v, 0.0)),
            thousands(percentile(v, 100.0))
        )
    };
    let ratio = percentile(&catch_up.offtake, 50.0) / percentile(&catch_up.built_in, 50.0);
    let settings =
        SETTINGS.iter().map(|(name, value)| format!("- `{name} = {value}`\n")).collect::<String>();
    format!(
        "# Benchmarks\n\n\
         Written by `make bench ARGS=--save`. `tests/src/bin/bench/main.rs` describes the method. Absolute\n\
         figures belong to the machine; compare the columns with each other. Source, destination, writer and\n\
         daemon share the machine's cores, and the network is loopback.\n\n\
         | work | Offtake | built-in logical replication |\n|---|---|---|\n\
         | commit → visible of one change, a dozen of them a second: p50 / p99 / max of {samples} | {} | {} |\n\
         | the same after more than a second without any: p50 / p99 / max of {idle_samples} | {} | |\n\
         | {rows} changed rows of one tenant, start → last row visible: median (min–max) of {rounds} | {} | {} |\n\
         | the same, as a ratio of the medians | {ratio:.2} | 1 |\n\
         | idle daemon, three tenants, over {seconds} s: share of one core | {:.1} % | |\n\
         | its transactions at the source | {:.0} a second | |\n\
         | its memory (peak while catching up) | {:.0} MiB ({peak_mib:.0} MiB) | |\n\n\
         Measured on {date} with Offtake {} (release build, default intervals and\n\
         batch sizes) and PostgreSQL {postgres}.\n\n\
         Machine: {}.\n\n\
         Server settings: `wal_level` is `replica` at Offtake's source and `logical` at the other. All\n\
         servers have:\n\n\
         {settings}\n{audit}",
        milliseconds(&latency.offtake),
        milliseconds(&latency.built_in),
        milliseconds(idle_latency),
        rate(&catch_up.offtake),
        rate(&catch_up.built_in),
        idle.cpu_percent,
        idle.source_transactions_per_second,
        idle.resident_mib,
        env!("CARGO_PKG_VERSION"),
        machine.line(),
        samples = extent.samples * extent.rounds,
        idle_samples = extent.idle_samples * extent.rounds,
        rows = thousands(f64::from(extent.rows)),
        rounds = extent.rounds,
        seconds = extent.idle_seconds,
        audit = audit(&figures.audit),
    )
}

/// The section about the continuous audit.
pub(crate) fn audit(audit: &Audit) -> String {
    let Audit { rows, daemon, source, destination, elapsed, shares, seconds } = audit;
    let million = |seconds: &f64| seconds / rows * 1e6;
    let build = if cfg!(debug_assertions) { "debug" } else { "release" };
    format!(
        "## The continuous audit\n\n\
         Every copy of the rig is audited, {} rows in all, while nothing changes. What the daemon and\n\
         the servers take without an audit is subtracted.\n\n\
         | what | daemon ({build} build) | source | destination |\n|---|---|---|---|\n\
         | one audit without a budget: seconds of a processor | {daemon:.2} | {source:.2} | {destination:.2} |\n\
         | the same for a million rows | {:.1} | {:.1} | {:.1} |\n\
         | one audit after the other under the default budget of 1 %, over {seconds} s: share of one core | {:.2} % | {:.2} % | {:.2} % |\n\n\
         Without a budget the audit took {elapsed:.1} s.\n",
        thousands(*rows),
        million(daemon),
        million(source),
        million(destination),
        shares[0],
        shares[1],
        shares[2],
    )
}

/// `123456.7` → `123 457`.
fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(|group| std::str::from_utf8(group).unwrap_or_default())
        .collect();
    groups.join(" ")
}
