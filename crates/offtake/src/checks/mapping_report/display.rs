//! The report as `check --connect` prints it.

use std::fmt::{Display, Formatter, Result};

use super::{Column, MappingReport, WokenBy};
use crate::checks::destination_table::Fit;

impl Display for MappingReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Self { name, file, source_table, target_table, .. } = self;
        writeln!(f, "mapping {name} ({file}): {source_table} -> {target_table}")?;
        self.columns(f)?;
        writeln!(f, "  woken by")?;
        self.woken_by.iter().try_for_each(|woken| writeln!(f, "    {}", woken.line()))?;
        writeln!(f, "  plan")?;
        writeln!(f, "    one key: {}", self.one_key())?;
        writeln!(f, "    one page: {}", self.one_page())?;
        writeln!(f, "  a destination without it gets")?;
        self.ddl.lines().try_for_each(|line| writeln!(f, "    {line}"))?;
        if let Some(shared) = &self.shared {
            writeln!(f, "  a shared destination without it gets")?;
            shared.ddl.lines().try_for_each(|line| writeln!(f, "    {line}"))?;
        }
        for there in self.destinations.iter().filter(|t| !t.differences.is_empty()) {
            writeln!(f, "  in {}/{}: {}", there.tenant, there.name, there.differences.join("; "))?;
        }
        write!(f, "  {}", self.compared_and_received())
    }
}

impl MappingReport {
    /// Whether there is nothing to look at.
    pub(crate) fn fine(&self) -> bool {
        self.warnings().is_empty() && self.destinations.iter().all(|t| t.differences.is_empty())
    }

    /// The mapping on one line.
    pub(crate) fn line(&self) -> String {
        let Self { name, file, source_table, target_table, .. } = self;
        let rest = self.compared_and_received();
        let shared = match self.shared.is_some() {
            true => "; in shared destinations with the tenant of each row",
            false => "",
        };
        format!("{name} ({file}): {source_table} -> {target_table}{shared}; {rest}")
    }

    fn compared_and_received(&self) -> String {
        let count = |fit: Fit| self.destinations.iter().filter(|t| t.table == fit).count();
        let (have, get) = (count(Fit::Fits) + count(Fit::Differs), count(Fit::Absent));
        let tenants = match self.for_everyone {
            true => "every tenant receives it, so one change wakes every destination".to_owned(),
            false => format!("tenants agree on {} row(s) compared", self.tenant_rows_compared),
        };
        format!("{tenants}; {have} destination(s) have it, {get} would get it")
    }

    fn columns(&self, f: &mut Formatter<'_>) -> Result {
        let widest = |text: fn(&Column) -> &str| {
            self.columns.iter().map(|c| text(c).chars().count()).max().unwrap_or(0)
        };
        let (name, here) = (widest(|c| &c.name).max(6), widest(|c| &c.source_type).max(4));
        writeln!(f, "  {:name$}  {:here$}  there", "column", "here")?;
        for column in &self.columns {
            let key = if column.key { "  (key)" } else { "" };
            let Column { name: column, source_type, target_type, .. } = column;
            writeln!(f, "  {column:name$}  {source_type:here$}  {target_type}{key}")?;
        }
        Ok(())
    }

    fn one_key(&self) -> &'static str {
        match self.plan.one_key.on_indexes() {
            true => "on indexes",
            false => "a scan that grows with the table, see the warnings",
        }
    }

    fn one_page(&self) -> String {
        let page = &self.plan.page;
        let index = self.page_index.as_ref();
        let index = index.map(|index| format!("; this spares that: {index}")).unwrap_or_default();
        let own = self.source_table.rsplit('.').next().unwrap_or_default();
        let other = page.reads_all_of.iter().find(|table| *table != own);
        match (other, page.reads_all_of.is_empty(), page.sorts) {
            (Some(table), ..) => format!("reads the whole of {table} for each page of a copy"),
            (None, false, _) => format!("looks through the rows of all tenants in {own}{index}"),
            (None, true, true) => format!("sorts the tenant's rows for each page of a copy{index}"),
            (None, true, false) => "on indexes".to_owned(),
        }
    }
}

impl WokenBy {
    fn line(&self) -> String {
        let rows = match (self.rows.rows_at_most, self.rows.estimated) {
            (None, _) => "an unknown number of rows; analyze the table".to_owned(),
            (Some(1), false) if !self.rows.counted => "1 row".to_owned(),
            (Some(rows), true) => format!("about {rows} rows by the planner's estimate"),
            (Some(rows), false) => format!("at most {rows} row(s), as the table is now"),
        };
        let scan = match self.plan.as_ref().is_some_and(|plan| !plan.on_indexes()) {
            true => ", found by a scan that grows with the table, see the warnings",
            false => "",
        };
        format!("{}: one change refreshes {rows}{scan}", self.table)
    }
}
