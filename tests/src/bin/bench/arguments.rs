//! What can be typed after `make bench ARGS=`.

use std::path::PathBuf;

use anyhow::{Context, bail, ensure};

use crate::row::{Plan, Row};
use crate::rows::ROWS;

const USAGE: &str = "
  --list               name the rows
  --only ROW[,ROW]     measure these rows; all without it
  --rounds N           samples of each figure; 3 without it
  --quick              one round with little data, to see that the benchmark works
  --json FILE          write what was measured
  --from FILE[,FILE]   measure nothing, take the rows of these files
  --compare FILE       print what was measured beside an earlier file of --json
  --save               write docs/benchmarks.md";

pub(crate) struct Arguments {
    pub(crate) list: bool,
    pub(crate) plan: Plan,
    pub(crate) rows: Vec<&'static Row>,
    pub(crate) json: Option<PathBuf>,
    pub(crate) from: Vec<PathBuf>,
    pub(crate) compare: Option<PathBuf>,
    pub(crate) save: bool,
}

impl Arguments {
    pub(crate) fn parse(typed: impl Iterator<Item = String>) -> anyhow::Result<Self> {
        let mut typed = typed;
        let mut parsed = Self {
            list: false,
            plan: Plan::FULL,
            rows: ROWS.to_vec(),
            json: None,
            from: Vec::new(),
            compare: None,
            save: false,
        };
        let mut rounds = None;
        while let Some(argument) = typed.next() {
            let mut value =
                || typed.next().with_context(|| format!("{argument} needs a value; usage:{USAGE}"));
            match argument.as_str() {
                "--list" => parsed.list = true,
                "--save" => parsed.save = true,
                "--quick" => parsed.plan = Plan::QUICK,
                "--only" => parsed.rows = named(&value()?)?,
                "--json" => parsed.json = Some(value()?.into()),
                "--compare" => parsed.compare = Some(value()?.into()),
                "--from" => parsed.from = value()?.split(',').map(PathBuf::from).collect(),
                "--rounds" => rounds = Some(value()?.parse().context("--rounds takes a number")?),
                other => bail!("`{other}` is unknown; usage:{USAGE}"),
            }
        }
        if let Some(rounds) = rounds {
            ensure!(rounds > 0, "--rounds takes a number of at least 1");
            parsed.plan.rounds = rounds;
        }
        Ok(parsed)
    }
}

fn named(list: &str) -> anyhow::Result<Vec<&'static Row>> {
    let wanted: Vec<&str> = list.split(',').collect();
    for name in &wanted {
        let known = ROWS.iter().map(|row| row.name).collect::<Vec<_>>().join(", ");
        ensure!(
            ROWS.iter().any(|row| row.name == *name),
            "there is no row `{name}`; the rows are {known}"
        );
    }
    Ok(ROWS.iter().copied().filter(|row| wanted.contains(&row.name)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> anyhow::Result<Arguments> {
        Arguments::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn rows_are_chosen_by_name() {
        let chosen = parse("--only idle,update --quick --rounds 2").expect("it is valid");
        let names: Vec<_> = chosen.rows.iter().map(|row| row.name).collect();
        assert_eq!(names, ["update", "idle"], "in the order of measuring");
        assert_eq!((chosen.plan.rounds, chosen.plan.quick), (2, true));
        assert_eq!(parse("").expect("it is valid").rows.len(), ROWS.len());
    }

    #[test]
    fn a_mistake_is_told() {
        for (line, told) in [
            ("--only speed", "there is no row `speed`; the rows are update, latency"),
            ("--json", "--json needs a value"),
            ("--fast", "`--fast` is unknown"),
            ("--rounds 0", "at least 1"),
        ] {
            let error = parse(line).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains(told), "{line}: {error}");
        }
    }
}
