//! The kinds of values that a mapping file has: texts, tables, names, pairs of columns.
//!
//! A function returns None when it could not read the value; the mistake was then noted.

use serde_yaml::Value;

use super::KEYS;
use crate::scan::{Kind, tokens};
use crate::yaml::{Section, Step};
use crate::{Identifier, TableName};

/// Notes every key of the section that is not among the known ones.
pub(super) fn refuse_unknown_keys(section: &Section, known: &[&str]) {
    for unknown in section.unknown_keys(known) {
        let message = format!("there is no key `{}` here", unknown.key);
        section.document().note_key(&unknown.path, message, unknown.remedy);
    }
}

/// Whether the section has a key that is probably meant as one of these, and is a key nowhere.
pub(super) fn misspelt(section: &Section, keys: &[&str]) -> bool {
    section.misspelt(&KEYS.concat(), keys)
}

/// A required section, read by `read`.
pub(super) fn section<T>(
    outer: &Section,
    key: &str,
    read: impl FnOnce(&Section) -> Option<T>,
) -> Option<T> {
    match outer.get(key) {
        Some(Value::Mapping(entries)) => {
            read(&Section::new(outer.document(), outer.path_to(&[key]), Some(entries)))
        }
        None => missing(outer, key),
        Some(_) => {
            let message = format!("`{key}` has keys of its own");
            outer.note(&[key], message, "write `key: value` lines below it");
            None
        }
    }
}

fn missing<T>(section: &Section, key: &str) -> Option<T> {
    if !misspelt(section, &[key]) {
        let remedy = match key {
            "source" => {
                "say which table's rows drive the mapping: `source: { table: …, tenant: … }`"
            }
            "query" => "write the SELECT whose rows the destination gets",
            "target" => "name the table in the destination: `target: { table: … }`",
            "tenant" | "column" => "name the column that holds the tenant's id",
            "match" => "pair the columns: `match: { column: column }`",
            _ => "name the table, as schema.table",
        };
        section.note(&[key], format!("`{key}` is missing"), remedy);
    }
    None
}

/// A required text.
pub(super) fn text(section: &Section, key: &str) -> Option<String> {
    let (message, remedy) = match section.get(key) {
        None => return missing(section, key),
        Some(Value::String(text)) if !text.trim().is_empty() => return Some(text.clone()),
        Some(Value::String(_) | Value::Null) => {
            let remedy = match key {
                "query" => "write the SELECT whose rows the destination gets",
                _ => "write it behind the colon",
            };
            (format!("`{key}` is empty"), remedy)
        }
        Some(_) => {
            let remedy = "write one value, in quotes if it looks like a number or a list";
            (format!("`{key}` is a text"), remedy)
        }
    };
    section.note(&[key], message, remedy);
    None
}

/// A required SQL text without parameters. `what` is what the message calls it.
pub(super) fn sql(section: &Section, key: &str, what: &str, remedy: &str) -> Option<String> {
    let text = text(section, key)?;
    if let Some(parameter) = tokens(&text).into_iter().find(|t| t.kind == Kind::Parameter) {
        let message = format!("the {what} has a parameter");
        section.note_within(key, &text, parameter.at, message, remedy);
        return None;
    }
    Some(text)
}

/// A required table.
pub(super) fn table(section: &Section, key: &str) -> Option<TableName> {
    let name = TableName::from_sql(&text(section, key)?);
    name.map_err(|error| section.note(&[key], error.to_string(), "write it as schema.table")).ok()
}

/// A list of tables; empty where the key is missing.
pub(super) fn tables(section: &Section, key: &str) -> Option<Vec<TableName>> {
    let remedy = format!("write `{key}: [schema.table, …]`");
    let items = match section.get(key) {
        None | Some(Value::Null) => return Some(Vec::new()),
        Some(Value::Sequence(items)) => items,
        Some(_) => {
            section.note(&[key], "this is a list", remedy);
            return None;
        }
    };
    let table = |(index, item): (usize, &Value)| {
        let name = item.as_str().ok_or("this is not a table's name".to_owned());
        let table =
            name.and_then(|name| TableName::from_sql(name).map_err(|error| error.to_string()));
        let path: Vec<Step> =
            section.path_to(&[key]).into_iter().chain([Step::Index(index)]).collect();
        table.map_err(|message| section.document().note(&path, message, remedy.clone())).ok()
    };
    // Every mistake is noted before the first ends the list.
    let tables: Vec<Option<TableName>> = items.iter().enumerate().map(table).collect();
    tables.into_iter().collect()
}

/// A required name of a column, or of a table without a schema.
pub(super) fn identifier(section: &Section, key: &str) -> Option<Identifier> {
    let name = Identifier::from_sql(&text(section, key)?);
    let remedy = "give the name as you would write it in SQL";
    name.map_err(|error| section.note(&[key], error.to_string(), remedy)).ok()
}

/// Required pairs of columns. `meaning` says what stands left and what right of the colon.
pub(super) fn pairs(
    section: &Section,
    key: &str,
    meaning: &str,
) -> Option<Vec<(Identifier, Identifier)>> {
    let remedy = format!("write `{key}: {{ {meaning} }}`");
    let entries = match section.get(key) {
        None => return missing(section, key),
        Some(Value::Mapping(entries)) if !entries.is_empty() => entries,
        Some(_) => {
            section.note(&[key], format!("`{key}` pairs columns"), remedy);
            return None;
        }
    };
    let mut pairs = Some(Vec::new());
    for (left, right) in entries {
        match (pair(key, left, right), &mut pairs) {
            (Ok(pair), Some(all)) => all.push(pair),
            (Ok(_), None) => {}
            (Err((at, message)), _) => {
                section.note(&at, message, remedy.clone());
                pairs = None;
            }
        }
    }
    pairs
}

/// One pair; or the path of what is wrong with it, and a message.
fn pair<'a>(
    key: &'a str,
    left: &'a Value,
    right: &Value,
) -> Result<(Identifier, Identifier), (Vec<&'a str>, String)> {
    let left = left
        .as_str()
        .ok_or_else(|| (vec![key], format!("`{key}` pairs columns by their names")))?;
    let at = || vec![key, left];
    let right = right.as_str().ok_or_else(|| (at(), "this is not a column's name".to_owned()))?;
    let name = |text: &str| Identifier::from_sql(text).map_err(|error| (at(), error.to_string()));
    Ok((name(left)?, name(right)?))
}
