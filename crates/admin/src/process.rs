//! CPU time, memory and open files of this process, under the names that every Prometheus client
//! uses. Linux only; elsewhere the daemon exports none of them.

/// What could be read of the process, as text in the Prometheus format.
#[cfg(target_os = "linux")]
pub(crate) fn render() -> String {
    use offtake_loops::metrics::{self as names, METRICS};

    use crate::exposition::write_metric;

    let process = metrics_process::collector::collect();
    let value = |name: &str| match name {
        names::PROCESS_CPU_SECONDS_TOTAL => process.cpu_seconds_total,
        names::PROCESS_START_TIME_SECONDS => process.start_time_seconds.map(|n| n as f64),
        names::PROCESS_RESIDENT_MEMORY_BYTES => process.resident_memory_bytes.map(|n| n as f64),
        names::PROCESS_OPEN_FDS => process.open_fds.map(|n| n as f64),
        _ => None,
    };
    let mut text = String::new();
    for metric in METRICS.iter().filter(|metric| metric.of == names::Of::Process) {
        if let Some(value) = value(metric.name) {
            write_metric(&mut text, metric, [(Vec::new(), value)]);
        }
    }
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
