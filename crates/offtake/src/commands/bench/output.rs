//! The result for people and for programs.

use serde_json::{Value, json};

use super::measure::{Case, Kind, Measured, Size, median};
use super::plan::Plan;
use crate::commands::printing::{say, say_json, table};

pub(super) fn print(plan: &Plan, measured: &Measured, as_json: bool, dropped: bool) {
    if as_json {
        let json = json(plan, measured, dropped);
        say_json(serde_json::to_string_pretty(&json).unwrap_or_default());
    } else {
        say(text(plan, measured, dropped));
    }
}

fn text(plan: &Plan, measured: &Measured, dropped: bool) -> String {
    let name = plan.table.in_sql();
    let (schema, count) = (&plan.schema, thousands(measured.rows));
    let form = if plan.copies.by_rows { "row by row" } else { "by statement" };
    let mut lines = vec![
        format!(
            "What capture costs on {name}, in microseconds per row: medians of {} round(s), \
             captured {form}",
            plan.rounds
        ),
        String::new(),
        lines_of_cases(measured),
        String::new(),
    ];
    if measured.cases.iter().any(|case| !case.told_apart()) {
        lines.push(
            "~: within the noise of this run; a quieter server or more --rounds tell more"
                .to_owned(),
        );
    }
    lines.push(
        "A statement of one row is a transaction: its commit and the way to the server are in it;"
            .to_owned(),
    );
    lines.push("with synchronous_commit = off it does not wait for the disk.".to_owned());
    lines.push(String::new());
    lines.push(format!("read:        {count} row(s) of {name}"));
    let gone = if dropped { "which is dropped again" } else { "which may still be there" };
    lines.push(format!("written:     the schema {schema}, {gone}:"));
    lines.push(
        "             two copies of the table with its columns, indexes and checks, and one's log"
            .to_owned(),
    );
    lines.push(format!(
        "captured:    {} row(s) by the triggers of that copy",
        thousands(usize::try_from(measured.captured).unwrap_or_default())
    ));
    lines.push(format!(
        "not touched: {name} and its triggers, sequences, the schema offtake, destinations"
    ));
    lines.push(
        "not in it:   foreign keys and your own triggers, which the copies lack. With them your \
         statements"
            .to_owned(),
    );
    lines.push(
        "             take longer, and the ratio is smaller. Nor what a daemon does at the source."
            .to_owned(),
    );
    lines.extend(plan.notes.iter().map(|note| format!("note:        {note}")));
    lines.join("\n")
}

fn lines_of_cases(measured: &Measured) -> String {
    let header = ["statement", "without capture", "with capture", "more", "ratio (lowest-highest)"];
    let mut rows = vec![header.map(str::to_owned)];
    for case in &measured.cases {
        let (without, with) = (median(&case.without), median(&case.with));
        let ratio = Spread::of(&case.ratios());
        let mark = if case.told_apart() { "" } else { " ~" };
        let what = match case.size {
            Size::One => "1 row".to_owned(),
            Size::OneUnflushed => "1 row, disk not waited for".to_owned(),
            Size::Many => format!("{} rows", thousands(measured.rows)),
        };
        rows.push([
            format!("{} of {what}", case.kind.name()),
            microseconds(without),
            microseconds(with),
            format!("{:+.1}", with - without),
            format!("{:.2} ({:.2}-{:.2}){mark}", ratio.median, ratio.min, ratio.max),
        ]);
    }
    table(&rows)
}

fn json(plan: &Plan, measured: &Measured, dropped: bool) -> Value {
    let statements: Vec<Value> = measured
        .cases
        .iter()
        .map(|case| {
            json!({
                "statement": case.kind.name(),
                "rows": if case.size == Size::Many { measured.rows } else { 1 },
                "waits_for_disk": case.size != Size::OneUnflushed,
                "without_capture": Spread::of(&case.without).json(),
                "with_capture": Spread::of(&case.with).json(),
                "ratio": Spread::of(&case.ratios()).json(),
                "told_apart": case.told_apart(),
            })
        })
        .collect();
    json!({
        "table": plan.table.to_string(),
        "rows": measured.rows,
        "rounds": plan.rounds,
        "captured_by": if plan.copies.by_rows { "row" } else { "statement" },
        "unit": "microseconds per row",
        "statements": statements,
        "captured_rows": measured.captured,
        "schema": plan.schema.as_str(),
        "schema_dropped": dropped,
        "notes": plan.notes,
    })
}

struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

impl Spread {
    fn of(values: &[f64]) -> Self {
        Self {
            median: median(values),
            min: values.iter().copied().fold(f64::INFINITY, f64::min),
            max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        }
    }

    fn json(&self) -> Value {
        json!({ "median": self.median, "min": self.min, "max": self.max })
    }
}

impl Case {
    /// With capture divided by without, in each round.
    fn ratios(&self) -> Vec<f64> {
        self.with.iter().zip(&self.without).map(|(with, without)| with / without).collect()
    }

    /// Whether every round says the same: that capture costs something.
    fn told_apart(&self) -> bool {
        self.ratios().iter().all(|ratio| *ratio > 1.0)
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Update => "UPDATE",
            Kind::Insert => "INSERT",
            Kind::Delete => "DELETE",
        }
    }
}

fn microseconds(value: f64) -> String {
    if value < 100.0 { format!("{value:.1}") } else { format!("{value:.0}") }
}

/// `20000` → `20 000`.
fn thousands(value: usize) -> String {
    let digits = value.to_string();
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(|group| std::str::from_utf8(group).unwrap_or_default())
        .collect();
    groups.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_medians_difference_and_ratio() {
        let case = |size, without: &[f64], with: &[f64]| Case {
            kind: Kind::Update,
            size,
            without: without.to_vec(),
            with: with.to_vec(),
        };
        let cases = vec![
            case(Size::One, &[200.0, 300.0, 250.0], &[300.0, 330.0, 300.0]),
            case(Size::Many, &[4.0, 5.0, 4.5], &[3.9, 6.0, 5.0]),
        ];
        let lines = lines_of_cases(&Measured { rows: 20_000, captured: 0, cases });
        let words = |at: usize| -> Vec<&str> {
            lines.lines().nth(at).unwrap_or_default().split_whitespace().collect()
        };
        assert_eq!(
            words(1),
            ["UPDATE", "of", "1", "row", "250", "300", "+50.0", "1.20", "(1.10-1.50)"]
        );
        assert_eq!(
            words(2),
            ["UPDATE", "of", "20", "000", "rows", "4.5", "5.0", "+0.5", "1.11", "(0.97-1.20)", "~"]
        );
    }
}
