//! The shapes of tables: those of the archive, compared with those of now, or as they are.

use std::path::PathBuf;
use std::sync::Arc;

use offtake_jobs::archive::Table;
use offtake_mapping::{
    Column, Identifier, KeyColumn, KeyOrder, Mapping, OnRowError, ResolvedMapping, Source,
    TableName, Target, Tenant,
};

/// How the table of an archive differs from the mapping of now; None: it does not.
pub(super) fn difference(table: &Table, mapping: &ResolvedMapping) -> Option<String> {
    let now = |name: &str| mapping.columns.iter().find(|column| column.name.as_str() == name);
    for column in &table.columns {
        let (name, then) = (&column.name, &column.sql_type);
        match now(name) {
            None => {
                return Some(format!("{}: the column {name} is no longer there", table.mapping));
            }
            Some(now) if now.target_type != *then => {
                let now = &now.target_type;
                return Some(format!("{}: {name} was {then} and is {now}", table.mapping));
            }
            Some(_) => {}
        }
    }
    let then = |name: &str| table.columns.iter().any(|column| column.name == name);
    if let Some(new) = mapping.columns.iter().find(|column| !then(column.name.as_str())) {
        return Some(format!("{}: the column {} is new", table.mapping, new.name));
    }
    let key = mapping.key.iter().map(|k| k.query_column.as_str());
    let same = key.eq(table.key.iter().map(String::as_str));
    (!same).then(|| format!("{}: its key is another one", table.mapping))
}

/// The mapping that makes a table of the archive's shape, whatever is mapped now. The error says
/// what of it is no name or no type.
pub(super) fn mapping_of(table: &Table) -> Result<Arc<ResolvedMapping>, String> {
    let name = |text: &str| Identifier::new(text).map_err(|error| error.to_string());
    let mut columns = Vec::new();
    for column in &table.columns {
        if !is_type(&column.sql_type) {
            return Err(format!("the column {} has no type that can be made", column.name));
        }
        columns.push(Column {
            name: name(&column.name)?,
            source_type: column.sql_type.clone(),
            target_type: column.sql_type.clone(),
        });
    }
    let mut key = Vec::new();
    for part in &table.key {
        let column = columns.iter().find(|column| column.name.as_str() == part);
        let column = column.ok_or_else(|| format!("the key {part} is no column"))?;
        key.push(KeyColumn {
            query_column: column.name.clone(),
            source_column: column.name.clone(),
            sql_type: column.target_type.clone(),
            source_type: column.target_type.clone(),
            order: KeyOrder::Native,
            equals: "=".to_owned(),
            by_text: false,
            coarse: false,
        });
    }
    let target = name(&table.table)?;
    let definition = Mapping {
        name: table.mapping.clone(),
        file: PathBuf::new(),
        text: Arc::from(""),
        source: Source {
            table: TableName { schema: target.clone(), name: target.clone() },
            tenant: Tenant::Everyone,
            key: None,
        },
        depends_on: Vec::new(),
        unchanging: Vec::new(),
        query: String::new(),
        query_line: 1,
        target: Target { table: target.clone(), schema_sql: None, keep_tenant: false },
        on_row_error: OnRowError::Halt,
    };
    let tenant = Column { name: target, source_type: "text".into(), target_type: "text".into() };
    Ok(Arc::new(ResolvedMapping::new(definition, tenant, key, columns)))
}

/// A type that every server has, as `format_type` prints it: words, a length, brackets of an array.
/// It becomes part of a statement, and it comes from a file.
fn is_type(text: &str) -> bool {
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | ' ');
    let inner = text.trim_end_matches("[]");
    if inner == "\"char\"" {
        return true;
    }
    // `numeric(10,2)`, `timestamp(3) with time zone`, `character varying(20)`.
    let (before, length, after) = match inner.split_once('(') {
        None => (inner, None, ""),
        Some((before, rest)) => match rest.split_once(')') {
            Some((length, after)) => (before, Some(length), after),
            None => return false,
        },
    };
    let of_length = |c: char| c.is_ascii_digit() || c == ',' || c == '-';
    before.starts_with(|c: char| c.is_ascii_lowercase())
        && before.chars().all(word)
        && after.chars().all(word)
        && length.is_none_or(|length| !length.is_empty() && length.chars().all(of_length))
}

#[cfg(test)]
mod tests {
    use super::is_type;

    #[test]
    fn only_what_is_a_type_becomes_one() {
        for good in [
            "bigint",
            "timestamp with time zone",
            "timestamp(3) without time zone",
            "numeric(10,2)",
            "character varying(20)[]",
            "\"char\"",
            "int4range",
        ] {
            assert!(is_type(good), "{good}");
        }
        for bad in [
            "",
            "text); drop table users; --",
            "text default 'x'",
            "text, b text",
            "\"Text\"",
            "numeric()",
            "numeric(1",
            "public.t",
            "text/**/",
            "Text",
        ] {
            assert!(!is_type(bad), "{bad}");
        }
    }
}
