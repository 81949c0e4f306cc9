//! The report as a Markdown page: docs/benchmarks.md.

use std::fmt::Write as _;

use crate::figures::{Figure, number, whole};
use crate::report::{MeasuredRow, Report};
use crate::row::{Limit, Row, Target};
use crate::rows::ROWS;

const INTRODUCTION: &str = "# Benchmarks

Written by `make bench ARGS=--save`. `tests/src/bin/bench/main.rs` describes the method, and the
modules in `tests/src/bin/bench/rows` the rows; `make bench ARGS=\"--only NAME\"` measures one again.
A figure is the median of its samples, with minimum and maximum in brackets. Absolute figures belong
to the machine: compare the columns with each other. Source, destination, writer and daemon share
the machine's cores, and the network is loopback.
";

pub(crate) fn text(report: &Report) -> String {
    let mut text = INTRODUCTION.to_owned();
    text.push_str(&targets(report));
    for row in ROWS {
        if let Some(measured) = report.row(row.name) {
            text.push_str(&section(row, measured));
        }
    }
    text.push_str(&circumstances(report));
    text
}

/// What every row should reach, and what it does.
fn targets(report: &Report) -> String {
    let mut text = String::new();
    for row in ROWS {
        let Some(measured) = report.row(row.name) else { continue };
        for target in row.targets {
            let Some((value, unit)) = reached(measured, target) else { continue };
            let what = match target.beside {
                Some(beside) => format!("{}, {} beside {beside}", target.measure, target.side),
                None => format!("{}, {} ({unit})", target.measure, target.side),
            };
            let case =
                if target.case.is_empty() { String::new() } else { format!("{}: ", target.case) };
            let wanted = match target.limit {
                Limit::AtLeast(limit) => format!("at least {}", number(limit)),
                Limit::AtMost(limit) => format!("at most {}", number(limit)),
            };
            let verdict = if target.limit.holds(value) { "yes" } else { "**no**" };
            let _ = writeln!(
                text,
                "| `{}` | {case}{what} | {wanted} | {} | {verdict} |",
                row.name,
                number(value)
            );
        }
    }
    if text.is_empty() {
        return text;
    }
    format!(
        "\n## Targets\n\n| row | figure | target | measured | reached |\n|---|---|---|---|---|\n{text}"
    )
}

/// The target's figure, or its ratio, and the unit.
pub(crate) fn reached(measured: &MeasuredRow, target: &Target) -> Option<(f64, String)> {
    let of = |side: &str| {
        measured.figures.iter().find(|figure| figure.is(target.case, target.measure, side))
    };
    let figure = of(target.side)?;
    match target.beside {
        Some(beside) => Some((figure.median() / of(beside)?.median(), "ratio".to_owned())),
        None => Some((figure.median(), figure.unit.clone())),
    }
}

/// A table with a line for each case and measure, and a column for each side.
fn section(row: &Row, measured: &MeasuredRow) -> String {
    let sides = distinct(&measured.figures, |figure| figure.side.as_str());
    let with_case = measured.figures.iter().any(|figure| !figure.case.is_empty());
    let mut text = format!("\n## `{}`\n\n{}\n\n", row.name, wrapped(row.about));
    let case = if with_case { "| case " } else { "" };
    let _ = writeln!(text, "{case}| measure | {} |", sides.join(" | "));
    let columns = sides.len() + 1 + usize::from(with_case);
    let _ = writeln!(text, "{}|", "|---".repeat(columns));
    let of_line = |figure: &Figure| (figure.case.clone(), figure.measure.clone());
    let mut lines: Vec<(String, String)> = Vec::new();
    for figure in &measured.figures {
        if !lines.contains(&of_line(figure)) {
            lines.push(of_line(figure));
        }
    }
    // One case after the other, also where their sides were measured at different times.
    let cases = distinct(&measured.figures, |figure| figure.case.as_str());
    lines.sort_by_key(|(case, _)| cases.iter().position(|known| known == case));
    for (case, measure) in &lines {
        let figure =
            |side: &&str| measured.figures.iter().find(|figure| figure.is(case, measure, side));
        let unit = sides.iter().find_map(figure).map(|figure| figure.unit.as_str());
        let cells: Vec<String> =
            sides.iter().map(|side| figure(side).map(Figure::shown).unwrap_or_default()).collect();
        let case = if with_case { format!("| {case} ") } else { String::new() };
        let _ = writeln!(
            text,
            "{case}| {measure}, {} | {} |",
            unit.unwrap_or_default(),
            cells.join(" | ")
        );
    }
    let samples = measured.figures.iter().map(|figure| figure.samples.len()).max().unwrap_or(0);
    if samples > 1 {
        let samples = whole(u32::try_from(samples).unwrap_or(u32::MAX));
        let _ = write!(text, "\n{samples} samples of each figure.\n");
    }
    text
}

fn circumstances(report: &Report) -> String {
    let mut text = format!(
        "\n## Where and when\n\nMeasured on {} with Offtake {} ({} build, default intervals and\n\
         batch sizes) and PostgreSQL {}.{}\n\nThe machine:\n\n",
        report.date,
        report.offtake,
        report.build,
        report.postgres,
        if report.quick { " A quick run: the figures mean nothing." } else { "" }
    );
    for item in report.machine.items() {
        let _ = writeln!(text, "- {item}");
    }
    text.push_str(
        "\n`wal_level` is `replica` at Offtake's source and `logical` at the other. All servers have:\n\n",
    );
    for (name, value) in &report.settings {
        let _ = writeln!(text, "- `{name} = {value}`");
    }
    text
}

fn distinct<'a>(figures: &'a [Figure], of: impl Fn(&'a Figure) -> &'a str) -> Vec<&'a str> {
    let mut found: Vec<&str> = Vec::new();
    for value in figures.iter().map(of) {
        if !found.contains(&value) {
            found.push(value);
        }
    }
    found
}

/// In lines of at most 100 characters.
fn wrapped(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().filter(|l| l.chars().count() + word.chars().count() < 99);
        match line {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) => {
                line.push(' ');
                line.push_str(word);
            }
            None => lines.push(word.to_owned()),
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::Figures;

    #[test]
    fn a_row_is_a_table_with_a_column_for_each_side() {
        let row = ROWS.iter().find(|row| row.name == "catch_up").expect("the row is there");
        let mut figures = Figures::default();
        for (ours, theirs) in [(10.0, 20.0), (12.0, 18.0), (11.0, 19.0)] {
            figures.add("", ("rate", "rows/s"), "Offtake", ours);
            figures.add("", ("rate", "rows/s"), "built-in logical replication", theirs);
            figures.add("", ("memory", "MiB"), "Offtake", 3.0);
        }
        let measured = MeasuredRow { name: row.name.to_owned(), figures: figures.0 };
        let text = section(row, &measured);
        let expected = "| measure | Offtake | built-in logical replication |\n|---|---|---|\n\
             | rate, rows/s | 11.0 (10.0–12.0) | 19.0 (18.0–20.0) |\n\
             | memory, MiB | 3.00 (3.00–3.00) |  |\n";
        assert!(text.contains(expected), "{text}");
        let reached = reached(&measured, &row.targets[0]).expect("both sides are there");
        assert!((reached.0 - 11.0 / 19.0).abs() < 1e-9, "{reached:?}");
    }

    #[test]
    fn every_target_names_what_its_row_measures() {
        for row in ROWS {
            assert!(wrapped(row.about).lines().all(|line| line.chars().count() <= 100));
            for target in row.targets {
                assert!(!target.measure.is_empty() && !target.side.is_empty(), "{}", row.name);
            }
        }
    }
}
