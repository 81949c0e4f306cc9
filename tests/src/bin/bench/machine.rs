//! The machine that was measured on.

use std::io::Write as _;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::figures::percentile;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    cores: usize,
    processor: String,
    memory_gib: f64,
    kernel: String,
    /// The least that a durable commit costs.
    fdatasync_microseconds: f64,
    /// Of the minute before the measurement. Where other work ran too, the figures mean little.
    load_average: f64,
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
        let load = read("/proc/loadavg");
        Ok(Self {
            load_average: load.split(' ').next().and_then(|l| l.parse().ok()).unwrap_or_default(),
            cores: std::thread::available_parallelism()?.get(),
            processor: field(&read("/proc/cpuinfo"), "model name"),
            memory_gib: memory_kib / 1024.0 / 1024.0,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            fdatasync_microseconds: fdatasync_microseconds()?,
        })
    }

    /// Whether both are of one kind, as far as can be told.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        (self.cores, &self.processor, &self.kernel)
            == (other.cores, &other.processor, &other.kernel)
    }

    /// What it is, as items of a list.
    pub(crate) fn items(&self) -> [String; 3] {
        [
            format!("{} cores ({}), {:.0} GiB", self.cores, self.processor, self.memory_gib),
            format!("Linux {}, fdatasync {:.0} µs", self.kernel, self.fdatasync_microseconds),
            format!("load average before the first row: {:.1}", self.load_average),
        ]
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
