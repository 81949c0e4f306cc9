//! The Prometheus text format, for values that no recorder keeps: what the system says of the
//! process, and the worst destinations.

use std::fmt::Write as _;

use offtake_loops::metrics::Metric;

/// Adds a metric with its series. `samples`: the values of its labels, in their order, and its
/// value.
pub(crate) fn write_metric<'a>(
    text: &mut String,
    metric: &Metric,
    samples: impl IntoIterator<Item = (Vec<&'a str>, f64)>,
) {
    let Metric { name, kind, help, labels, .. } = metric;
    let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {}\n", kind.as_str());
    for (values, sample) in samples {
        let pairs = labels.iter().zip(values);
        let pairs = pairs.map(|(label, value)| format!("{}=\"{}\"", label.name, escaped(value)));
        let pairs = pairs.collect::<Vec<_>>().join(",");
        let pairs = if pairs.is_empty() { pairs } else { format!("{{{pairs}}}") };
        let _ = writeln!(text, "{name}{pairs} {sample}");
    }
    text.push('\n');
}

/// A label's value may be any text: a tenant's id is what the source prints.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use offtake_loops::metrics::{DESTINATION_LAG_SECONDS, METRICS};

    use super::*;

    #[test]
    fn a_tenant_of_any_name_stays_inside_its_label() {
        let metric = METRICS.iter().find(|metric| metric.name == DESTINATION_LAG_SECONDS).unwrap();
        let mut text = String::new();
        write_metric(&mut text, metric, [(vec!["a\"} 9\nb\\", "main"], 1.5)]);
        let sample = text.lines().nth(2).unwrap();
        assert_eq!(
            sample,
            r#"offtake_destination_lag_seconds{tenant="a\"} 9\nb\\",destination="main"} 1.5"#
        );
    }
}
