//! Two reports beside each other.

use crate::figures::{Figure, number};
use crate::page::reached;
use crate::report::Report;
use crate::rows::ROWS;

/// A line for each figure that both have. Ranges that overlap may differ by chance alone.
pub(crate) fn text(before: &Report, now: &Report) -> String {
    let mut lines = vec![["figure", "before", "now", "ratio", "ranges"].map(str::to_owned)];
    let mut missing = Vec::new();
    for row in &now.rows {
        let Some(earlier) = before.row(&row.name) else {
            missing.push(row.name.as_str());
            continue;
        };
        for figure in &row.figures {
            let same = |f: &&Figure| f.is(&figure.case, &figure.measure, &figure.side);
            let Some(then) = earlier.figures.iter().find(same) else { continue };
            let case =
                if figure.case.is_empty() { String::new() } else { format!(" {}:", figure.case) };
            lines.push([
                format!(
                    "{}:{case} {}, {} ({})",
                    row.name, figure.side, figure.measure, figure.unit
                ),
                then.shown(),
                figure.shown(),
                number(figure.median() / then.median()),
                ranges(then, figure).to_owned(),
            ]);
        }
    }
    lines.extend(ratios(before, now));
    let mut text = aligned(&lines);
    for (report, when) in [(before, "before"), (now, "now")] {
        text.push_str(&format!(
            "{when}: {}, Offtake {} ({} build), PostgreSQL {}; {}\n",
            report.date,
            report.offtake,
            report.build,
            report.postgres,
            report.machine.items().join("; ")
        ));
    }
    if !missing.is_empty() {
        text.push_str(&format!("the earlier report has no row {}\n", missing.join(", ")));
    }
    if !before.machine.is_like(&now.machine) {
        text.push_str("The machines differ: compare ratios, not figures.\n");
    }
    if [before, now].iter().any(|report| report.quick || report.build != "release") {
        text.push_str("One of them is quick, or of a debug build: its figures mean nothing.\n");
    }
    text
}

/// The ratios that have a target. They depend less on the machine than figures do.
fn ratios(before: &Report, now: &Report) -> Vec<[String; 5]> {
    let mut lines = Vec::new();
    for row in ROWS {
        let (Some(then), Some(measured)) = (before.row(row.name), now.row(row.name)) else {
            continue;
        };
        for target in row.targets {
            let Some(beside) = target.beside else { continue };
            let both = (reached(then, target), reached(measured, target));
            let (Some((then, _)), Some((now, _))) = both else { continue };
            lines.push([
                format!("{}: {}, {} beside {beside}", row.name, target.measure, target.side),
                number(then),
                number(now),
                number(now / then),
                String::new(),
            ]);
        }
    }
    lines
}

fn ranges(before: &Figure, now: &Figure) -> &'static str {
    let apart = before.max() < now.min() || now.max() < before.min();
    match (before.samples.len().min(now.samples.len()), apart) {
        (0 | 1, _) => "too few samples",
        (_, true) => "apart",
        (_, false) => "overlap",
    }
}

fn aligned<const COLUMNS: usize>(lines: &[[String; COLUMNS]]) -> String {
    let width = |at: usize| lines.iter().map(|l| l[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..COLUMNS).map(width).collect();
    let mut text = String::new();
    for line in lines {
        let cells: Vec<String> =
            line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_touch_overlap() {
        let figure = |samples: &[f64]| Figure {
            case: String::new(),
            measure: "rate".to_owned(),
            unit: "rows/s".to_owned(),
            side: "Offtake".to_owned(),
            samples: samples.to_vec(),
        };
        let before = figure(&[1.0, 3.0, 2.0]);
        assert_eq!(ranges(&before, &figure(&[3.0, 5.0, 4.0])), "overlap");
        assert_eq!(ranges(&before, &figure(&[3.1, 5.0, 4.0])), "apart");
        assert_eq!(ranges(&before, &figure(&[0.1, 0.5])), "apart");
        assert_eq!(ranges(&before, &figure(&[9.0])), "too few samples");
    }
}
