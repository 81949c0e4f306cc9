//! CPU time, memory and open files of this process, under the names that every Prometheus client
//! uses. Linux only; elsewhere the daemon exports none of them.

/// What could be read of the process, as text in the Prometheus format.
#[cfg(target_os = "linux")]
pub(crate) fn render() -> String {
    use std::fmt::Write as _;

    use offtake_loops::metrics as names;

    let process = metrics_process::collector::collect();
    let mut text = String::new();
    let mut add = |name: &str, kind: &str, help: &str, value: Option<f64>| {
        if let Some(value) = value {
            let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n\n");
        }
    };
    add(
        names::PROCESS_CPU_SECONDS_TOTAL,
        "counter",
        "Total user and system CPU time spent in seconds.",
        process.cpu_seconds_total,
    );
    add(
        names::PROCESS_START_TIME_SECONDS,
        "gauge",
        "Start time of the process since unix epoch in seconds.",
        process.start_time_seconds.map(|seconds| seconds as f64),
    );
    add(
        names::PROCESS_RESIDENT_MEMORY_BYTES,
        "gauge",
        "Resident memory size in bytes.",
        process.resident_memory_bytes.map(|bytes| bytes as f64),
    );
    add(
        names::PROCESS_OPEN_FDS,
        "gauge",
        "Number of open file descriptors.",
        process.open_fds.map(|count| count as f64),
    );
    text
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn render() -> String {
    String::new()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #[test]
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
