//! Rights that the connecting role lacks for installing or removing capture. They are found before
//! anything is changed.

use std::collections::BTreeSet;

use offtake_mapping::MappingSet;
use tokio_postgres::{Client, Row};

use crate::drift::DriftKind;
use crate::survey::Survey;
use crate::{Error, sql};

/// A right that is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingRight {
    /// Which role lacks which right, as a sentence.
    pub what: String,
    /// Who can grant it: `its owner`, `a superuser`.
    pub run_as: String,
    /// The statements that grant it.
    pub statements: String,
}

/// Every right that the role lacks for what is still to do; empty if everything is in place. With
/// an empty set of mappings: the rights for removing capture.
pub async fn missing_rights(client: &Client, set: &MappingSet) -> Result<Vec<MissingRight>, Error> {
    let survey = Survey::take(client, set).await?;
    let standing = client.query_one(sql::READ_STANDING, &[&survey.role]).await?;
    let role: &str = standing.get("role");
    let mut missing = of_schema(&standing, !survey.tables.is_empty());
    missing.extend(of_functions(&standing, &survey));
    let relations: Vec<u32> = touched(&survey).into_iter().collect();
    for row in client.query(sql::LIST_FOREIGN_OWNERS, &[&relations]).await? {
        let (owner, relations): (&str, Vec<String>) = (row.get("owner"), row.get("relations"));
        let (run_as, statements): (String, Vec<String>) = match row.get("superuser") {
            // Granting a superuser's role would give away all rights, so the tables change their
            // owner.
            true => (
                format!("a superuser (or have {owner} run this command)"),
                relations
                    .iter()
                    .map(|relation| format!("alter table {relation} owner to {role};"))
                    .collect(),
            ),
            false => ("a superuser".to_owned(), vec![format!("grant {owner} to {role};")]),
        };
        missing.push(MissingRight {
            what: format!(
                "the role {role} may not put triggers on {}, which {owner} owns",
                relations.join(", ")
            ),
            run_as,
            statements: statements.join(" "),
        });
    }
    Ok(missing)
}

fn of_schema(standing: &Row, installing: bool) -> Vec<MissingRight> {
    let (role, database): (&str, &str) = (standing.get("role"), standing.get("database"));
    let mut missing = Vec::new();
    let mut lacks = |what: String, statements: String, run_as: &str| {
        missing.push(MissingRight {
            what: format!("the role {role} {what}"),
            run_as: run_as.to_owned(),
            statements,
        });
    };
    match (
        standing.get::<_, Option<&str>>("schema_owner"),
        standing.get::<_, Option<bool>>("owns_schema"),
    ) {
        (Some(owner), Some(false)) => {
            lacks(
                format!("may not change the schema offtake, which {owner} owns"),
                format!("grant {owner} to {role};"),
                "a superuser",
            );
        }
        (None, _) if installing && !standing.get::<_, bool>("may_create_schema") => {
            let statement = format!("grant create on database {database} to {role};");
            lacks(
                format!("may not create the schema offtake in the database {database}"),
                statement,
                "its owner",
            );
        }
        _ => {}
    }
    if installing && !standing.get::<_, bool>("may_create_temporary") {
        let statement = format!("grant temporary on database {database} to {role};");
        lacks(
            format!("may not try a trigger on a temporary table in the database {database}"),
            statement,
            "its owner",
        );
    }
    missing
}

fn of_functions(standing: &Row, survey: &Survey) -> Option<MissingRight> {
    let role: &str = standing.get("role");
    let owner = &survey.role;
    let to_write = survey
        .tables
        .iter()
        .flat_map(|table| &table.drifts)
        .any(|drift| drift.kind == DriftKind::FunctionDiffers);
    let role_to_make = !survey.granted && !survey.tables.is_empty();
    let statements = match standing.get::<_, Option<bool>>("owns_functions") {
        Some(false) if to_write || role_to_make => format!("grant {owner} to {role};"),
        None if role_to_make && !standing.get::<_, bool>("may_create_role") => {
            format!("create role {owner} nologin; grant {owner} to {role};")
        }
        _ => return None,
    };
    Some(MissingRight {
        what: format!(
            "the role {role} may not give the trigger functions to a role {owner}, which cannot log in"
        ),
        run_as: "a superuser".to_owned(),
        statements,
    })
}

/// The relations on which triggers would be created or dropped.
fn touched(survey: &Survey) -> BTreeSet<u32> {
    let mut touched: BTreeSet<u32> =
        survey.stale_triggers.iter().map(|stale| stale.relation).collect();
    for table in &survey.tables {
        let lacking = |name: &str| {
            table.drifts.iter().any(|drift| drift.relation == name && drift.kind.event().is_some())
        };
        touched
            .extend(table.relations.iter().filter(|r| lacking(&r.name.to_string())).map(|r| r.oid));
    }
    touched
}
