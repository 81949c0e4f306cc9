//! Printing a command's result to standard output.

use std::fmt::Display;
use std::io::{Error, ErrorKind, Write as _};
use std::sync::OnceLock;

use offtake_mapping::{foreign_within, printable_json};

use crate::outcome::{Exit, Failure, printable_lines};

/// Why the first line that could not be written was not.
static WRITE_ERROR: OnceLock<Error> = OnceLock::new();

/// Prints lines of the result, without what a terminal would obey. A line that cannot be written
/// does not cut short the work that was begun; [`delivered`] decides at the end what it means.
pub(super) fn say(line: impl Display) {
    say_exact(printable_lines(&line.to_string()));
}

/// The same of JSON, whose values stay what they are.
pub(super) fn say_json(json: impl Display) {
    say_exact(printable_json(&json.to_string()));
}

/// The same as it is, for what a program reads: YAML, SQL.
pub(super) fn say_exact(line: impl Display) {
    if let Err(error) = writeln!(std::io::stdout(), "{line}") {
        let _ = WRITE_ERROR.set(error);
    }
}

/// Whether all lines so far could be written, so that a reader is still there.
pub(super) fn heard() -> bool {
    WRITE_ERROR.get().is_none()
}

/// Fails where the result could not be written. A reader that closed the pipe (`| head`) had
/// what it wanted.
pub(super) fn delivered(exit: Exit) -> Result<Exit, Failure> {
    match WRITE_ERROR.get() {
        Some(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Failed, "cannot write the result to standard output")
                .because(error.to_string()))
        }
        _ => Ok(exit),
    }
}

/// A longer cell is cut. The longest are reasons, which may end with the command that mends it.
const CELL_CHARS_MAX: usize = 400;

/// Lines of cells, each column as wide as its widest cell. The first line is the header.
pub(super) fn table<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> String {
    let bounded = |row: &[String; COLUMNS]| {
        row.each_ref().map(|cell| foreign_within(cell, CELL_CHARS_MAX).into_owned())
    };
    let rows: Vec<[String; COLUMNS]> = rows.iter().map(bounded).collect();
    let mut widths = [0; COLUMNS];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |row: &[String; COLUMNS]| {
        let cells: Vec<_> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}
