//! The SQL that a mapping holds besides its query: the conditions of dependencies and the tenant's
//! expression.

use offtake_mapping::{Condition, Dependency, Mapping, Step, Tenant};
use tokio_postgres::Error;

use super::problem::Problem;
use super::read_only::ReadOnly;
use super::refusal::{cause_of, position, remedy_of, unfolded};
use super::tables::Tables;

/// Parses the SQL that mappings hold besides the query, under the session's own search path: the
/// conditions of dependencies and of look-ups, which the sequencer evaluates.
pub(super) async fn check_conditions(
    transaction: &ReadOnly<'_>,
    mapping: &Mapping,
    tables: &Tables,
) -> Result<Vec<Problem>, Error> {
    let mut problems = Vec::new();
    for (index, dependency) in mapping.depends_on.iter().enumerate() {
        let (source, changed) = (mapping.source.table.sql(), dependency.table.sql());
        let (key, condition) = match &dependency.condition {
            Condition::Where(condition) => ("where", condition.clone()),
            Condition::Match(pairs) => {
                let same = pairs.iter().map(|(ours, theirs)| {
                    format!("source.{} = changed.{}", ours.sql(), theirs.sql())
                });
                ("match", same.collect::<Vec<_>>().join(" and "))
            }
        };
        let part = Part {
            subject: format!("the condition on {}", dependency.table),
            path: Dependency::path(index, &[key]),
            before: format!("select from {source} as source, {changed} as changed where (\n"),
            text: &condition,
            after: "\n)".to_owned(),
        };
        problems.extend(part.check(transaction, mapping, tables).await?);
    }
    if let Tenant::Lookup(lookup) = &mapping.source.tenant {
        let mut before = &mapping.source.table;
        for (at, step) in lookup.steps.iter().enumerate() {
            let same = step.matches.iter().map(|(theirs, ours)| {
                format!("looked_up.{} = source.{}", theirs.sql(), ours.sql())
            });
            let part = Part {
                subject: format!("the look-up in {}", step.table),
                path: lookup.path(at, &["match"]),
                before: format!(
                    "select from {} as source, {} as looked_up where (\n",
                    before.sql(),
                    step.table.sql()
                ),
                text: &same.collect::<Vec<_>>().join(" and "),
                after: "\n)".to_owned(),
            };
            problems.extend(part.check(transaction, mapping, tables).await?);
            before = &step.table;
        }
    }
    Ok(problems)
}

/// Parses the tenant's expression as the triggers will: with nothing but the system catalog in the
/// search path. In a WHERE clause, where Postgres refuses what is not of one row (aggregates,
/// window functions, functions that return sets).
pub(super) async fn check_tenant(
    transaction: &ReadOnly<'_>,
    mapping: &Mapping,
    tables: &Tables,
) -> Result<Option<Problem>, Error> {
    let Tenant::Expression(expression) = &mapping.source.tenant else { return Ok(None) };
    let part = Part {
        subject: "the tenant's expression".to_owned(),
        path: Step::keys(&["source", "tenant"]),
        before: format!(
            "select from (select * from {}) as source where (\n",
            mapping.source.table.sql()
        ),
        text: expression,
        after: "\n)::text is not null".to_owned(),
    };
    part.check(transaction, mapping, tables).await
}

/// SQL of a mapping that is not its query, with what makes a statement of it.
struct Part<'a> {
    subject: String,
    path: Vec<Step>,
    before: String,
    text: &'a str,
    after: String,
}

impl Part<'_> {
    async fn check(
        &self,
        transaction: &ReadOnly<'_>,
        mapping: &Mapping,
        tables: &Tables,
    ) -> Result<Option<Problem>, Error> {
        let statement = format!("{}{}{}", self.before, self.text, self.after);
        let Err(error) = transaction.prepare(&statement).await? else { return Ok(None) };
        let otherwise =
            "correct it; functions and operators outside pg_catalog are written with their schema";
        let (at, message, remedy) = match error.as_db_error() {
            Some(db) => {
                let quoted = unfolded(tables, mapping, self.text, &self.before, &error);
                let remedy = match quoted {
                    Some(quoted) => Some(quoted),
                    None => remedy_of(transaction, db, tables.role()).await?,
                };
                let remedy = remedy.unwrap_or_else(|| otherwise.to_owned());
                (position(db, &self.before), db.message().to_owned(), remedy)
            }
            None => (0, error.to_string(), otherwise.to_owned()),
        };
        let message = format!("the source refuses {}: {message}", self.subject);
        // The condition of a `match` is composed: the file does not have its text.
        let problem = match self.path.last() == Some(&Step::Key("match".to_owned())) {
            true => Problem::at(mapping, &self.path, message, remedy),
            false => Problem::within(mapping, &self.path, self.text, at, message, remedy),
        };
        Ok(Some(Problem { cause: cause_of(&error), ..problem }))
    }
}
