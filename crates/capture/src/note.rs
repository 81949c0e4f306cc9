//! What Offtake remembers of a captured table between two looks. The note is stored as the comment
//! of the capture function, where writing it takes no lock on the application's tables.
//!
//! A trigger may be disabled and enabled again, a partition may be detached and attached again, a
//! column may get other values: afterwards the catalog reads the same. But each of these wrote a
//! row of the catalog, and that row's `xmin` names the transaction that wrote it. We only compare
//! `xmin` with the one in the note. VACUUM keeps it, and so does VACUUM FULL of the catalog. A dump
//! and an upgrade of the server change it; re-copying is then right, or costs only time.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::DriftKind;
use crate::survey::Relation;

/// Introduces the columns' numbers, which are the end of the comment.
const NUMBERS: &str = ", numbers ";

/// The state of a table and its partitions at one moment, as hashes, with the numbers of its
/// columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Note {
    /// Which partitions exist, and which transaction attached each.
    partitions: String,
    /// Our triggers, and which transaction last wrote each.
    triggers: String,
    /// The files that hold the rows. TRUNCATE, VACUUM FULL, CLUSTER and an ALTER TABLE that
    /// rewrites the table give it a new file.
    files: String,
    /// The columns, and which transaction last wrote each. VACUUM FULL writes, once, those that
    /// were added with a default.
    columns: String,
    /// The number of each column by its name. Postgres never gives a number twice. So a name with
    /// another number belongs to another column with other values, even though no row was written.
    numbers: Numbers,
}

/// Dropped columns are kept too. Otherwise, if a look comes between the drop and the return of a
/// column, the returning column would look like a new one. Postgres gives a table at most 1600
/// numbers in its whole life, so at most 1600 names are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Numbers {
    /// The table's oid. Numbers of another table cannot be compared.
    table: u32,
    by_name: BTreeMap<String, i16>,
}

impl Note {
    pub(crate) fn of(relations: &[Relation]) -> Self {
        let attached =
            |r: &Relation| (!r.attached.is_empty()).then(|| format!("of {}", r.attached));
        Self {
            partitions: hash(relations, attached),
            triggers: hash(relations, |r| Some(r.triggers.clone())),
            files: hash(relations, |r| Some(r.file.to_string())),
            columns: hash(relations, |r| Some(r.columns.clone())),
            numbers: relations
                .first()
                .map(|t| Numbers::of(t.oid, &t.numbers, t.comment.as_deref()))
                .unwrap_or_default(),
        }
    }

    /// The note as the comment's text.
    pub(crate) fn text(&self) -> String {
        let Self { triggers, files, columns, numbers, .. } = self;
        format!(
            "{}, triggers {triggers}, files {files}, columns {columns}{}",
            self.text_of_partitions(),
            numbers.text()
        )
    }

    /// The part of the note that is known before the triggers exist; the next look completes it.
    pub(crate) fn text_of_partitions(&self) -> String {
        format!("Offtake has seen the partitions {}", self.partitions)
    }

    /// What happened since the look that wrote this comment.
    pub(crate) fn since(&self, comment: &str) -> Option<DriftKind> {
        let has = |what: &str, hash: &str| comment.contains(&format!("{what} {hash}"));
        let complete = comment.contains("triggers ");
        if !has("partitions", &self.partitions) {
            Some(DriftKind::PartitionsChanged)
        } else if complete && !has("triggers", &self.triggers) {
            Some(DriftKind::TriggersReplaced)
        } else if complete && !has("files", &self.files) && !has("columns", &self.columns) {
            Some(DriftKind::Rewritten)
        } else if Numbers::read(comment).is_some_and(|before| self.numbers.replace(&before)) {
            Some(DriftKind::ColumnsReplaced)
        } else {
            (comment != self.text()).then_some(DriftKind::NoteOutdated)
        }
    }
}

impl Numbers {
    /// The numbers of the table's columns now, and of the dropped columns that the comment has.
    fn of(table: u32, now: &str, comment: Option<&str>) -> Self {
        let before = comment.and_then(Self::read).filter(|before| before.table == table);
        let mut by_name = before.map(|before| before.by_name).unwrap_or_default();
        by_name.extend(serde_json::from_str::<BTreeMap<String, i16>>(now).unwrap_or_default());
        Self { table, by_name }
    }

    /// The numbers in the comment; None if an older version or `init --print-sql` wrote it.
    fn read(comment: &str) -> Option<Self> {
        let (_, text) = comment.split_once(NUMBERS)?;
        let (table, by_name) = text.split_once(' ')?;
        Some(Self { table: table.parse().ok()?, by_name: serde_json::from_str(by_name).ok()? })
    }

    fn text(&self) -> String {
        let by_name = serde_json::to_string(&self.by_name).unwrap_or_default();
        format!("{NUMBERS}{} {by_name}", self.table)
    }

    /// Whether a column has a name that another column of the same table had.
    fn replace(&self, before: &Self) -> bool {
        let other = |(name, number): (&String, &i16)| {
            before.by_name.get(name).is_some_and(|before| before != number)
        };
        self.table == before.table && self.by_name.iter().any(other)
    }
}

/// Hashes one line per relation, by oid: a relation with two parents is listed once for each of
/// them, and a relation's name may change.
fn hash(relations: &[Relation], of: impl Fn(&Relation) -> Option<String>) -> String {
    let lines: BTreeMap<u32, String> =
        relations.iter().filter_map(|r| Some((r.oid, of(r)?))).collect();
    let mut digest = Sha256::new();
    for (oid, line) in lines {
        digest.update(format!("{oid} {line}\n"));
    }
    digest.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_that_comes_back_is_another_whoever_looked_meanwhile() {
        let check = |looks: &[&str], expect: bool| {
            let mut comment =
                "Offtake has seen the partitions 00, triggers 11, files 22, columns 33".to_owned();
            let mut replaced = false;
            for now in looks {
                let numbers = Numbers::of(1, now, Some(&comment));
                replaced = Numbers::read(&comment).is_some_and(|before| numbers.replace(&before));
                comment = numbers.text();
            }
            assert_eq!(replaced, expect, "{looks:?}");
        };
        check(&[r#"{"id": 1, "name": 2}"#], false);
        check(&[r#"{"id": 1, "name": 2}"#, r#"{"id": 1, "name": 2, "other": 3}"#], false);
        check(&[r#"{"id": 1, "name": 2}"#, r#"{"id": 1}"#], false);
        check(&[r#"{"id": 1, "name": 2}"#, r#"{"id": 1, "renamed": 2}"#], false);
        check(&[r#"{"id": 1, "name": 2}"#, r#"{"id": 1, "name": 3}"#], true);
        check(&[r#"{"id": 1, "name": 2}"#, r#"{"id": 1}"#, r#"{"id": 1, "name": 3}"#], true);
        check(&[r#"{"id": 1, "name": 2}"#, r#"{"id": 2, "name": 1}"#], true);
        check(
            &[r#"{"id": 1, ", numbers 1": 2}"#, r#"{"id": 1, ", numbers 1": 2, "\"": 3}"#],
            false,
        );
        let other_table = Numbers::of(
            2,
            r#"{"id": 3}"#,
            Some(&Numbers::of(1, r#"{"id": 1, "gone": 2}"#, None).text()),
        );
        assert_eq!(other_table.text(), r#", numbers 2 {"id":3}"#);
    }
}
