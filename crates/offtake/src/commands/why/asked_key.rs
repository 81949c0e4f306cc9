//! The key that the command line asks for, in the source's own spelling.

use offtake_admin::why::key_columns;
use offtake_mapping::ResolvedMapping;
use offtake_postgres::Connection;
use offtake_sync::verify::{SpeltKey, spell_key};
use serde_json::{Map, Value};

use crate::arguments::shown;
use crate::checks::files::Files;
use crate::commands::registry_names::unreadable;
use crate::outcome::{Exit, Failure};

pub(super) struct AskedKey {
    /// As the change log has it.
    pub(super) row_key: Value,
    /// The text of each key column, in key order; None where no usable file says which they are.
    pub(super) values: Option<Vec<String>>,
}

impl AskedKey {
    /// `text`: a JSON object of the key's columns, by their names in the query or in the source
    /// table; or the text of the only one.
    pub(super) async fn read(
        source: &Connection,
        files: &Files,
        tenant: &str,
        mapping: &str,
        text: &str,
    ) -> Result<Self, Failure> {
        let given = serde_json::from_str::<Value>(text).ok();
        let object = match given {
            Some(Value::Object(object)) => Some(object),
            _ => None,
        };
        match files.set.as_ref().and_then(|set| set.get(mapping)) {
            Some(mapping) => Self::of_mapping(source, mapping, object.as_ref(), text).await,
            None => Self::of_log(source, (tenant, mapping), object, text).await,
        }
    }

    async fn of_mapping(
        source: &Connection,
        mapping: &ResolvedMapping,
        object: Option<&Map<String, Value>>,
        text: &str,
    ) -> Result<Self, Failure> {
        let values = match (object, mapping.key.as_slice()) {
            (None, [_]) => Some(vec![text.to_owned()]),
            (None, _) => None,
            (Some(object), key) => key
                .iter()
                .map(|k| {
                    let named = object.get(k.query_column.as_str());
                    named.or_else(|| object.get(k.source_column.as_str())).and_then(as_text)
                })
                .collect(),
        };
        let values = values.ok_or_else(|| {
            let columns = mapping.key.iter().map(|k| k.query_column.as_str());
            incomplete(mapping.name(), columns)
        })?;
        let spelt = spell_key(source, mapping, &values).await;
        let SpeltKey { row_key, values } = spelt.map_err(|error| {
            let message = format!("{} cannot be a key of mapping {}", shown(text), mapping.name());
            Failure::new(Exit::Usage, message).because(error.message())
        })?;
        Ok(Self { row_key, values: Some(values) })
    }

    /// Without mapping files: as it was typed, with the columns that the log knows.
    async fn of_log(
        source: &Connection,
        (tenant, mapping): (&str, &str),
        object: Option<Map<String, Value>>,
        text: &str,
    ) -> Result<Self, Failure> {
        if let Some(object) = object {
            let texts = object.iter().map(|(name, value)| (name.clone(), as_text(value).into()));
            return Ok(Self { row_key: Value::Object(texts.collect()), values: None });
        }
        let columns = key_columns(source, tenant, mapping).await;
        match columns.map_err(|error| unreadable(&error))?.as_slice() {
            [column] => {
                let one = Map::from_iter([(column.clone(), Value::from(text))]);
                Ok(Self { row_key: Value::Object(one), values: None })
            }
            columns => Err(incomplete(mapping, columns.iter().map(String::as_str))),
        }
    }
}

fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}

fn incomplete<'a>(mapping: &str, columns: impl Iterator<Item = &'a str>) -> Failure {
    let columns: Vec<String> = columns.map(|column| format!("\"{column}\": \"…\"")).collect();
    let failure = Failure::new(Exit::Usage, format!("this is no key of mapping {mapping}"));
    match columns.is_empty() {
        true => failure.remedy("give the key as `offtake quarantine list --json` shows keys"),
        false => failure.remedy(format!("write --key '{{{}}}'", columns.join(", "))),
    }
}
