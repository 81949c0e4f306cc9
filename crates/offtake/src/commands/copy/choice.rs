//! What the command line says, and what the environment says where it is silent: the names by which
//! scripts for such copies are used to set them.

use std::collections::BTreeMap;

use crate::command_line::Copy;

/// Larger batches are not faster, and their rows are in memory twice.
const BATCH_ROWS_MAX: u32 = 100_000;

/// What is to be copied, from where to where.
pub(super) struct Chosen {
    pub(super) from: String,
    /// None: nothing says where to.
    pub(super) to: Option<String>,
    pub(super) schema: String,
    /// The variable that has the token of a D1 database, and where such databases answer.
    pub(super) token_env: String,
    pub(super) d1_endpoint: Option<String>,
    pub(super) tables: Vec<String>,
    pub(super) chunk_rows: Option<u32>,
    pub(super) batch_rows: Option<u32>,
    pub(super) fresh: bool,
    /// What was taken from the environment, or was changed.
    pub(super) notes: Vec<String>,
}

impl Chosen {
    pub(super) fn new(arguments: &Copy, environment: &BTreeMap<String, String>) -> Self {
        let mut notes = Vec::new();
        let variable = |name: &str| environment.get(name).filter(|value| !value.is_empty());
        let to = arguments.to.clone().or_else(|| {
            let (account, database) =
                (variable("CLOUDFLARE_ACCOUNT_ID")?, variable("D1_DATABASE_ID")?);
            Some(format!("d1://{account}/{database}"))
        });
        let mut tables = arguments.table.clone();
        if tables.is_empty() && !arguments.all && arguments.mapping.is_empty() {
            tables.extend(variable("TABLE_NAME").cloned());
        }
        let number = |given: Option<u32>, name: &str, notes: &mut Vec<String>| {
            given.or_else(|| match variable(name)?.parse() {
                Ok(number) if number > 0 => Some(number),
                _ => {
                    notes.push(format!("{name} is no number of rows and is not used"));
                    None
                }
            })
        };
        let chunk_rows = number(arguments.pace.chunk_rows, "CHECKPOINT_SIZE", &mut notes);
        let asked = number(arguments.pace.batch_rows, "BATCH_SIZE", &mut notes);
        let batch_rows = asked.map(|rows| rows.min(BATCH_ROWS_MAX));
        if let Some(rows) = asked.filter(|rows| *rows > BATCH_ROWS_MAX) {
            notes.push(format!("a batch has at most {BATCH_ROWS_MAX} rows, not {rows}"));
        }
        let again =
            variable("RESUME_MODE").is_some_and(|value| value.eq_ignore_ascii_case("false"));
        if again && !arguments.fresh {
            notes.push("RESUME_MODE is false: all rows are copied again".to_owned());
        }
        Self {
            from: arguments.from.clone().unwrap_or_else(|| "${DATABASE_URL}".to_owned()),
            to,
            schema: arguments.schema.clone(),
            token_env: arguments.token_env.clone(),
            d1_endpoint: arguments.d1_endpoint.clone(),
            tables,
            chunk_rows,
            batch_rows,
            fresh: arguments.fresh || again,
            notes,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::command_line::{Command, CommandLine};

    fn chosen(line: &str, environment: &[(&str, &str)]) -> Chosen {
        let line = format!("offtake copy {line}");
        let parsed = CommandLine::try_parse_from(line.split_whitespace()).unwrap();
        let Command::Copy(arguments) = parsed.command else { panic!("{line}") };
        let environment = environment.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        Chosen::new(&arguments, &environment.collect())
    }

    #[test]
    fn the_environment_is_read_where_the_command_line_is_silent() {
        let environment = [
            ("CLOUDFLARE_ACCOUNT_ID", "a"),
            ("D1_DATABASE_ID", "d"),
            ("TABLE_NAME", "metadata"),
            ("CHECKPOINT_SIZE", "20000"),
            ("BATCH_SIZE", "500000"),
            ("RESUME_MODE", "false"),
        ];
        let all = chosen("", &environment);
        assert_eq!(all.from, "${DATABASE_URL}");
        assert_eq!(all.to.as_deref(), Some("d1://a/d"));
        assert_eq!((all.tables, all.chunk_rows), (vec!["metadata".to_owned()], Some(20_000)));
        assert_eq!((all.batch_rows, all.fresh, all.notes.len()), (Some(100_000), true, 2));

        let line = "--from x --to y --table t --chunk-rows 7 --batch-rows 3";
        let given = chosen(line, &environment[..5]);
        assert_eq!((given.from.as_str(), given.to.as_deref()), ("x", Some("y")));
        assert_eq!((given.tables, given.chunk_rows), (vec!["t".to_owned()], Some(7)));
        assert_eq!((given.batch_rows, given.fresh), (Some(3), false));
        assert!(chosen("--all", &environment).tables.is_empty());
        let wrong = chosen("", &[("BATCH_SIZE", "many"), ("RESUME_MODE", "true")]);
        assert_eq!((wrong.batch_rows, wrong.fresh, wrong.notes.len()), (None, false, 1));
    }
}
