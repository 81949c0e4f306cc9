//! The process as the system sees it, in the metrics every Prometheus client exports. Read from
//! /proc; elsewhere absent.

use std::fmt::Write as _;
use std::fs;

use offtake_loops::metrics::{
    PROCESS_CPU_SECONDS_TOTAL, PROCESS_OPEN_FDS, PROCESS_RESIDENT_MEMORY_BYTES,
    PROCESS_START_TIME_SECONDS,
};

/// Ticks per second in /proc/<pid>/stat: `USER_HZ`, which Linux fixes at 100 for every architecture
/// we run on.
const TICKS_PER_SECOND: f64 = 100.0;

/// The exposition of what could be read.
pub(crate) fn render() -> String {
    let mut text = String::new();
    let mut add = |name: &str, kind: &str, help: &str, value: Option<f64>| {
        if let Some(value) = value {
            let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n\n");
        }
    };
    let times = times();
    add(
        PROCESS_CPU_SECONDS_TOTAL,
        "counter",
        "Total user and system CPU time spent in seconds.",
        times.map(|t| t.cpu_seconds),
    );
    add(
        PROCESS_START_TIME_SECONDS,
        "gauge",
        "Start time of the process since unix epoch in seconds.",
        times.and_then(|t| t.started_at()),
    );
    add(PROCESS_RESIDENT_MEMORY_BYTES, "gauge", "Resident memory size in bytes.", resident_bytes());
    add(PROCESS_OPEN_FDS, "gauge", "Number of open file descriptors.", open_fds());
    text
}

#[derive(Clone, Copy)]
struct Times {
    cpu_seconds: f64,
    /// After the system's start.
    started_seconds: f64,
}

fn times() -> Option<Times> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the program's name in parentheses and may contain anything; the others
    // are counted from its end.
    let fields: Vec<&str> = stat[stat.rfind(')')? + 1..].split_whitespace().collect();
    let ticks = |field: usize| fields.get(field - 3)?.parse::<f64>().ok();
    Some(Times {
        cpu_seconds: (ticks(14)? + ticks(15)?) / TICKS_PER_SECOND,
        started_seconds: ticks(22)? / TICKS_PER_SECOND,
    })
}

impl Times {
    fn started_at(self) -> Option<f64> {
        let stat = fs::read_to_string("/proc/stat").ok()?;
        let booted: f64 =
            stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
        Some(booted + self.started_seconds)
    }
}

fn resident_bytes() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(kilobytes.trim().trim_end_matches("kB").trim().parse::<f64>().ok()? * 1024.0)
}

fn open_fds() -> Option<f64> {
    // Reading the folder opens one itself.
    Some(fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1) as f64)
}

#[cfg(test)]
mod tests {
    #[test]
    #[cfg(target_os = "linux")]
    fn everything_is_found_on_linux() {
        let text = super::render();
        for name in [
            "process_cpu_seconds_total ",
            "process_start_time_seconds 1",
            "process_resident_memory_bytes ",
            "process_open_fds ",
        ] {
            assert!(text.contains(&format!("\n{name}")), "{name} in {text}");
        }
    }
}
