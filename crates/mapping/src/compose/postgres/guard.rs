//! Guards: what must hold in a destination before its rows are changed.
//!
//! A foreign key with an action deletes or changes rows by itself. The source may still have those
//! rows as they were. A statement that would make a key act on such a row fails, as if the key had
//! no action.

use super::{Apply, row_of};
use crate::compose::KeyRange;
use crate::{Identifier, literal};

/// A foreign key with `on delete cascade`, `set null` or `set default`, from the table of a mapping
/// to that of another one or to itself. Its server would delete or change rows of the copy that the
/// source still has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActingKey {
    pub constraint: String,
    /// The table that refers, quoted and qualified.
    pub child: String,
    /// A row `c` of that table refers to a row `t`.
    pub refers: String,
}

/// A foreign key with `on update cascade`, `set null` or `set default`, likewise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdatingKey {
    pub key: ActingKey,
    /// The columns of the parent that it refers to.
    pub columns: Vec<String>,
}

impl Apply<'_> {
    /// The same for a table that others refer to by keys that act.
    pub fn guarded(mut self, acting: Vec<ActingKey>) -> Self {
        self.acting = acting;
        self
    }

    /// The same for keys that act when the table's rows change. Each with the rows `c` of the child
    /// that are written after this table, whatever the key does to them: see
    /// [`these_rows`](Self::these_rows).
    pub fn guarded_updates(mut self, mut updating: Vec<(UpdatingKey, Option<String>)>) -> Self {
        let ours = |name: &String| self.names().any(|column| column.as_str() == name);
        // A column that the mapping does not have is the tenant's own, and never changes here.
        updating.retain(|(key, _)| key.columns.iter().any(ours));
        self.updating = updating;
        self
    }

    /// A key that acts on changes refers to the table from the table itself: it may act on rows of
    /// the very statement that changes them.
    pub fn updates_itself(&self) -> bool {
        self.updating.iter().any(|(of, _)| of.key.child == self.table)
    }

    /// The condition that a row `c` of this table has one of these keys.
    pub fn these_rows(&self, keys: &[Vec<String>]) -> Option<String> {
        let (key, literals) = self.compared_key("c");
        let keys: Vec<String> =
            keys.iter().map(|values| row_of(&literals(&self.mapping.key, values))).collect();
        let among = format!("{} in ({})", row_of(&key), keys.join(", "));
        let conditions: Vec<String> = self.of_tenant("c").into_iter().chain([among]).collect();
        (!keys.is_empty()).then(|| conditions.join(" and "))
    }

    /// Statements that fail with `foreign_key_violation` where
    /// [`delete_absent`](Self::delete_absent) would make a key act on a row that stays: as if the
    /// key did not act. A row of the table itself that is staged too goes or is written again.
    pub fn guard_absent(&self) -> Vec<String> {
        let goes = format!("not s.offtake_present and {}", self.same_key("t", "s"));
        self.guards(&format!("{} t join {} s on {goes}", self.table, self.staging), None)
    }

    /// The same for [`delete_range`](Self::delete_range).
    pub fn guard_range(&self, range: KeyRange<'_>, spare: Option<&[String]>) -> Vec<String> {
        let inner = self.outside("c", range, spare);
        let goes = self.outside("t", range, spare);
        self.guards(&format!("(select t.* from {} t where {goes}) t", self.table), Some(&inner))
    }

    fn guards(&self, going: &str, also_going: Option<&str>) -> Vec<String> {
        let guard = |key: &ActingKey| {
            let ActingKey { constraint, child, refers } = key;
            let mut stays = vec![refers.clone()];
            if *child == self.table {
                stays.push(format!(
                    "not exists (select from {} s where {})",
                    self.staging,
                    self.same_key("c", "s")
                ));
                stays.extend(also_going.map(|going| format!("not ({going})")));
            }
            let said = format!(
                "deleting a row of {} would delete or change rows of {child} by the foreign key {constraint}",
                self.table
            );
            let body = format!(
                "begin if exists (select from {going} join {child} c on {}) then raise foreign_key_violation using message = {}; end if; end",
                stays.join(" and "),
                literal(&said)
            );
            format!("do {}", literal(&body))
        };
        self.acting.iter().map(guard).collect()
    }

    /// The same for [`upsert_present`](Self::upsert_present), where a row is changed in a column
    /// that a key refers to and that acts then.
    pub fn guard_present(&self) -> Vec<String> {
        self.updating.iter().map(|(of, later)| self.guard_update(of, later.as_deref())).collect()
    }

    fn guard_update(&self, of: &UpdatingKey, later: Option<&str>) -> String {
        let ActingKey { constraint, child, refers } = &of.key;
        let columns: Vec<&Identifier> =
            self.names().filter(|name| of.columns.iter().any(|c| c == name.as_str())).collect();
        let columns = |row: &str| super::columns_of(row, columns.iter().copied());
        // By their bytes, as the server does.
        let changing = format!(
            "{} t join {} s on s.offtake_present and {} and row({})::record *<> row({})::record",
            self.table,
            self.staging,
            self.same_key("t", "s"),
            columns("t"),
            columns("s")
        );
        let mut stays = vec![refers.clone()];
        stays.extend(later.map(|later| format!("not ({later})")));
        if *child == self.table {
            let staged = self.same_key("c", "s");
            stays.push(format!("not exists (select from {} s where {staged})", self.staging));
        }
        let said = format!(
            "changing a row of {} would change rows of {child} by the foreign key {constraint}",
            self.table
        );
        // Mostly nothing that is referred to changes, and then the child is not looked at.
        let body = format!(
            "begin if exists (select from {changing}) then \
               if exists (select from {changing} join {child} c on {}) then raise foreign_key_violation using message = {}; end if; \
             end if; end",
            stays.join(" and "),
            literal(&said)
        );
        format!("do {}", literal(&body))
    }
}
