//! What was measured, as JSON: for the page, and to compare with a later run.

use std::path::Path;

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::figures::Figure;
use crate::machine::Machine;
use crate::rig::{self, SETTINGS};
use crate::row::Plan;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    /// The version of Offtake.
    pub(crate) offtake: String,
    /// `release` or `debug`.
    pub(crate) build: String,
    pub(crate) quick: bool,
    /// When the measurement began, by the clock of a private server.
    pub(crate) date: String,
    pub(crate) postgres: String,
    pub(crate) machine: Machine,
    /// Of all servers, as name and value.
    pub(crate) settings: Vec<(String, String)>,
    pub(crate) rows: Vec<MeasuredRow>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct MeasuredRow {
    pub(crate) name: String,
    pub(crate) figures: Vec<Figure>,
}

impl Report {
    /// A report without rows.
    pub(crate) async fn begin(plan: Plan) -> anyhow::Result<Self> {
        let machine = Machine::describe()?;
        let (date, postgres) = rig::date_and_version().await?;
        Ok(Self {
            offtake: env!("CARGO_PKG_VERSION").to_owned(),
            build: if cfg!(debug_assertions) { "debug" } else { "release" }.to_owned(),
            quick: plan.quick,
            date,
            postgres,
            machine,
            settings: SETTINGS.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
            rows: Vec::new(),
        })
    }

    /// The rows of several files in one report; what the last file has of a row counts. The rest is
    /// the last file's.
    pub(crate) fn read(files: &[&Path]) -> anyhow::Result<Self> {
        let mut all: Option<Self> = None;
        for file in files {
            let text = std::fs::read_to_string(file)
                .with_context(|| format!("cannot read {}", file.display()))?;
            let mut report: Self = serde_json::from_str(&text)
                .with_context(|| format!("{} is no report of the benchmark", file.display()))?;
            let earlier = all.take().map(|all| all.rows).unwrap_or_default();
            let kept = earlier.into_iter().filter(|row| report.row(&row.name).is_none());
            let mut rows: Vec<MeasuredRow> = kept.collect();
            rows.append(&mut report.rows);
            report.rows = rows;
            all = Some(report);
        }
        let report = all.context("no report is named")?;
        ensure!(!report.rows.is_empty(), "the reports have no rows");
        Ok(report)
    }

    pub(crate) fn row(&self, name: &str) -> Option<&MeasuredRow> {
        self.rows.iter().find(|row| row.name == name)
    }

    /// Has median, minimum and maximum beside the samples, for other programs.
    pub(crate) fn write(&self, file: &Path) -> anyhow::Result<()> {
        let mut text = serde_json::to_string_pretty(&self.json()?)?;
        text.push('\n');
        std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
    }

    fn json(&self) -> anyhow::Result<Value> {
        let mut json = serde_json::to_value(self)?;
        for (row, measured) in self.rows.iter().enumerate() {
            for (at, figure) in measured.figures.iter().enumerate() {
                let object = &mut json["rows"][row]["figures"][at];
                object["median"] = json!(figure.median());
                object["min"] = json!(figure.min());
                object["max"] = json!(figure.max());
            }
        }
        Ok(json)
    }
}
