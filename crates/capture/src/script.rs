//! The scripts that change the source's schema. Each is the content of one transaction, which
//! `install` runs or prints.

use offtake_mapping::{Identifier, TableName, literal};

use crate::function::Function;
use crate::sql;
use crate::trigger::Event;

/// Takes the transaction advisory lock that allows one installer per database at a time. Two at
/// once would update the same catalog rows, and the second would fail with "tuple concurrently
/// updated". The key is the bytes of "capture".
pub(crate) const INSTALL_LOCK: &str = "select pg_advisory_xact_lock(27973158312440421);\n";

/// The role that older versions gave all capture functions of a cluster to.
pub(crate) const SHARED_ROLE: &str = "offtake_capture";

/// The role and its rights. A role's name consists of letters, digits and `_`.
pub(crate) fn role(role: &str) -> String {
    format!("{INSTALL_LOCK}{}", sql::CREATE_ROLE.replace("{role}", role))
}

/// Drops the role where nothing depends on it.
pub(crate) fn drop_role(role: &str) -> String {
    sql::DROP_ROLE.replace("{role}", role)
}

/// Ends the use of the role that older versions shared between all databases of a cluster.
pub(crate) fn retire_shared_role() -> String {
    format!("{INSTALL_LOCK}{}{}", sql::RETIRE_SHARED_ROLE, drop_role(SHARED_ROLE))
}

/// Creates one table's function and tries it on an empty copy of the table, before the table itself
/// can fire it. `by_rows`: also the function for single rows.
///
/// A role can become the owner of a function only if it may create objects in the function's
/// schema. So the role has that right during this transaction.
pub(crate) fn function(
    table: &TableName,
    function: &Function,
    by_rows: bool,
    role: &str,
) -> String {
    let name = function.sql();
    let rows = if by_rows { function_for_rows(function, role) } else { String::new() };
    let replace = if function.differs_in_trial() { function.create() } else { String::new() };
    format!(
        "{INSTALL_LOCK}\
         grant create on schema offtake to {role};\n\
         {}\
         alter function {name}() owner to {role};\n\
         revoke all on function {name}() from public;\n\
         {}\
         {replace}\
         {rows}\
         revoke create on schema offtake from {role};\n",
        function.create_for_trial(),
        trial(table, function)
    )
}

/// The function for single rows. It is not tried: whatever it evaluates may fail without an error.
fn function_for_rows(function: &Function, role: &str) -> String {
    let name = function.rows_sql();
    format!(
        "{}alter function {name}() owner to {role};\n\
         revoke all on function {name}() from public;\n",
        function.create_for_rows()
    )
}

/// Waits until every transaction that wrote to the table has ended, and blocks writers until this
/// transaction ends. So all that the old function captured is committed before the new function
/// exists. Otherwise a copy that begins then would miss those rows, and their changes would not
/// wake it.
pub(crate) fn wait_for_writers(table: &TableName) -> String {
    format!("lock table {} in share row exclusive mode;\n", table.sql())
}

/// Runs every branch of the function on no rows, so that an expression that cannot be planned fails
/// here and not in the application's write.
fn trial(table: &TableName, function: &Function) -> String {
    const COPY: &str = "pg_temp.offtake_trial";
    let update = function
        .any_column
        .as_ref()
        .map(|c| format!("update {COPY} set {0} = {0} where false;\n", c.sql()))
        .unwrap_or_default();
    let triggers: String =
        Event::OF_STATEMENTS.iter().map(|event| event.create(COPY, function, true)).collect();
    format!(
        "create temporary table offtake_trial (like {}) on commit drop;\n\
         {triggers}\
         insert into {COPY} select * from {COPY} where false;\n\
         {update}\
         delete from {COPY} where false;\n\
         drop table {COPY};\n",
        table.sql()
    )
}

/// The given triggers of one relation, which serve the captured table of `function` there, under
/// the plain names or its own.
pub(crate) fn triggers(
    relation: &TableName,
    plain: bool,
    function: &Function,
    events: &[Event],
) -> String {
    events
        .iter()
        .map(|event| {
            event.create(&relation.sql(), function, plain)
                + &event.enable_always(relation, function, plain)
        })
        .collect()
}

/// Writes the note about the table into the function's comment.
pub(crate) fn note(function: &Function, text: &str) -> String {
    format!("comment on function {}() is {};\n", function.sql(), literal(text).trim())
}

/// Records that anything in a table may have changed while it was not captured.
pub(crate) fn gap(table: &TableName) -> String {
    format!(
        "insert into offtake.captured_change (source_table, operation) values ({}, 't');\n",
        literal(&table.to_string()).trim()
    )
}

/// Drops triggers of a relation. Takes ACCESS EXCLUSIVE there, so readers wait too; hence one
/// transaction per relation.
pub(crate) fn drop_triggers(relation: &TableName, names: &[Identifier]) -> String {
    names
        .iter()
        .map(|name| format!("drop trigger if exists {} on {};\n", name.sql(), relation.sql()))
        .collect()
}

/// Drops functions that no trigger runs any more.
pub(crate) fn drop_functions(names: &[String]) -> String {
    names.iter().map(|name| format!("drop function if exists offtake.{name}();\n")).collect()
}
