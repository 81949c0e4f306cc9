use super::*;
use crate::Tenant;

const INVITATIONS: &str = r"
source:
  table: public.invitation
  tenant: { table: public.tenancy, column: id, match: { project_id: project_id, branch_id: branch_id } }
  key: { id: invitation_id }
depends_on:
  - table: public.team
    where: source.data->>'team_id' = changed.team_id::text
query: |
  select 1 as tenant_id, 2 as id;
target:
  table: invitations
";

#[test]
fn a_file_becomes_a_mapping() {
    let mapping = parse(Path::new("mappings/invitations.yaml"), INVITATIONS).unwrap();
    assert_eq!(mapping.name, "invitations");
    assert_eq!(mapping.query, "select 1 as tenant_id, 2 as id");
    assert_eq!(mapping.query_line, 10);
    assert!(matches!(mapping.source.tenant, Tenant::Lookup(_)));
}

/// Every mistake that `INVITATIONS` has when `from` becomes `to`: place and message, and a part of
/// the first remedy.
fn check(from: &str, to: &str, expect: &[(Option<(usize, usize)>, &str)], remedy: &str) {
    assert!(INVITATIONS.contains(from), "{from}");
    let error = parse(Path::new("m.yaml"), &INVITATIONS.replace(from, to)).expect_err(to);
    let found: Vec<_> = error
        .diagnostics
        .iter()
        .map(|d| (d.position.map(|p| (p.line, p.column)), d.message.as_str()))
        .collect();
    assert_eq!(found, expect, "{to}");
    assert!(error.diagnostics[0].remedy.contains(remedy), "{:?}", error.diagnostics[0]);
    assert!(
        error.diagnostics.iter().all(|d| d.position.is_none() || d.excerpt.contains('^')),
        "{error}"
    );
}

#[test]
fn unknown_keys_are_told_with_the_nearest() {
    check(
        "target:",
        "targets:",
        &[(Some((11, 1)), "there is no key `targets` here")],
        "did you mean `target`?",
    );
    check(
        "query: |",
        "querry: |",
        &[(Some((9, 1)), "there is no key `querry` here")],
        "did you mean `query`?",
    );
    check(
        "key: {",
        "keys: {",
        &[(Some((5, 3)), "there is no key `keys` here")],
        "did you mean `key`?",
    );
    check(
        "column: id",
        "colum: id",
        &[(Some((4, 36)), "there is no key `colum` here")],
        "did you mean `column`?",
    );
    check(
        "    where:",
        "    were:",
        &[(Some((8, 5)), "there is no key `were` here")],
        "did you mean `where`?",
    );
    check(
        "target:\n",
        "target:\n  colour: red\n",
        &[(Some((12, 3)), "there is no key `colour` here")],
        "`schema_sql`",
    );
}

#[test]
fn several_mistakes_are_told_at_once() {
    let error = parse(
        Path::new("m.yaml"),
        "name: a b\nsource: { tabel: x }\ndepends_on: 3\ntarget: { table: t, keep_tenant: 1 }\n",
    );
    let shown = error.expect_err("many").to_string();
    let expect = [
        "m.yaml:1:7: `a b` cannot be a mapping's name",
        "m.yaml:2:1: `tenant` is missing",
        "m.yaml:2:11: there is no key `tabel` here",
        "m.yaml:3:13: this is a list",
        "m.yaml:4:34: this is `true` or `false`",
        "m.yaml: `query` is missing",
    ];
    let found: Vec<&str> = shown.lines().filter(|line| line.starts_with("m.yaml")).collect();
    assert_eq!(found, expect, "{shown}");
    assert!(shown.contains("\n   |\n 2 | source: { tabel: x }\n   |           ^^^^^\n  remedy: did you mean `table`?\n"), "{shown}");
}

#[test]
fn mistakes_have_their_place() {
    check(
        "query: |",
        "query: ''\non_row_error: stop\nx: |",
        &[
            (Some((9, 8)), "`query` is empty"),
            (Some((10, 15)), "there is no such choice"),
            (Some((11, 1)), "there is no key `x` here"),
        ],
        "write the SELECT",
    );
    check(
        "changed.team_id",
        "team_id",
        &[(Some((8, 12)), "the condition names no column of the changed row")],
        "changed.<column>",
    );
    check(
        "where: source.data->>'team_id' = changed.team_id::text",
        "where: source.x = $1 and changed.y = 2",
        &[(Some((8, 23)), "the condition has a parameter")],
        "changed.…",
    );
    check(
        "table: public.team\n",
        "table: a.b.c\n",
        &[(Some((7, 12)), "`a.b.c` cannot be a name: a table is written as schema.table")],
        "",
    );
    check(
        "match: { project_id: project_id, branch_id: branch_id }",
        "match: [project_id]",
        &[(Some((4, 55)), "`match` pairs columns")],
        "{",
    );
    check(
        "key: { id: invitation_id }",
        "key: { id: 7 }",
        &[(Some((5, 14)), "this is not a column's name")],
        "query column",
    );
    check(
        "    where: source",
        "    match: { a: b }\n    where: source",
        &[(Some((9, 12)), "`match` and `where` stand together")],
        "",
    );
    check("table: invitations", "table: ''", &[(Some((12, 10)), "`table` is empty")], "");
    check(
        "source:\n",
        "source: x\nb:\n",
        &[
            (Some((2, 9)), "`source` has keys of its own"),
            (Some((3, 1)), "there is no key `b` here"),
        ],
        "",
    );
}

#[test]
fn mistakes_of_the_query_have_their_place() {
    check(
        "as id;",
        "as id limit 5;",
        &[(
            Some((10, 34)),
            "the query limits its rows (limit), so whether a row is in it depends on rows that did not change",
        )],
        "remove it",
    );
    check(
        "select 1 as",
        "select $1 as",
        &[(Some((10, 10)), "the query has a parameter ($1)")],
        "as a view",
    );
    check(
        "select 1 as",
        "update x set",
        &[(Some((10, 3)), "the query is not a SELECT")],
        "as a view",
    );
}

#[test]
fn what_is_not_yaml_or_has_a_key_twice_is_told_with_its_place() {
    check(
        "target:\n",
        "source: 1\ntarget:\n",
        &[(Some((11, 1)), "the key `source` is here twice")],
        "keep one",
    );
    let told = |text: &str| parse(Path::new("m.yaml"), text).unwrap_err().to_string();
    assert!(
        told("a: [1\nb: 2\n").starts_with("m.yaml:2:2: this is not YAML:"),
        "{}",
        told("a: [1\nb: 2\n")
    );
    assert!(told("just text").contains("the file has no keys"));
    assert!(told("").contains("the file has no keys"));
}

const LOOK_UP: &str = "{ table: public.tenancy, column: id, match: { project_id: project_id, branch_id: branch_id } }";

#[test]
fn a_tenant_is_found_over_several_tables() {
    let project = "{ table: public.project, match: { id: project_id } }";
    let last = "{ table: public.tenancy, column: id, match: { id: tenancy_id } }";
    let text = INVITATIONS.replace(LOOK_UP, &format!("[{project}, {last}]"));
    let mapping = parse(Path::new("m.yaml"), &text).unwrap();
    let Tenant::Lookup(lookup) = mapping.source.tenant.clone() else { panic!("{mapping:?}") };
    let tables: Vec<String> = lookup.steps.iter().map(|step| step.table.to_string()).collect();
    assert_eq!(tables, ["public.project", "public.tenancy"]);
    assert_eq!(mapping.tables().count(), 4);
}

#[test]
fn mistakes_of_a_list_of_look_ups_have_their_place() {
    let first = "{ table: public.project, match: { id: project_id } }";
    let last = "{ table: public.tenancy, column: id, match: { id: tenancy_id } }";
    let list = |items: &[&str]| format!("[{}]", items.join(", "));
    check(LOOK_UP, "[]", &[(Some((4, 11)), "the list has no look-up")], "for each step");
    check(
        LOOK_UP,
        &list(&[last, first]),
        &[
            (Some((4, 45)), "only the last look-up names the tenant's column"),
            (Some((4, 78)), "`column` is missing"),
        ],
        "end the list with this look-up",
    );
    check(
        LOOK_UP,
        &list(&[first, &first.replace("project,", "invitation,"), last]),
        &[(Some((4, 75)), "the way to the tenant leads back to public.invitation")],
        "name each table once",
    );
    check(
        LOOK_UP,
        &list(&[
            first,
            &first.replace("project,", "a,"),
            &first.replace("project,", "b,"),
            &first.replace("project,", "c,"),
            last,
        ]),
        &[(Some((4, 210)), "a tenant is found in at most 4 steps")],
        "in a column of one of these tables",
    );
    check(
        LOOK_UP,
        "[project, 3]",
        &[(Some((4, 12)), "a look-up has keys"), (Some((4, 21)), "a look-up has keys")],
        "",
    );
}

#[test]
fn everyone_is_a_word_and_in_quotes_a_column() {
    let tenant = |written: &str| {
        let text = INVITATIONS.replace(LOOK_UP, written);
        parse(Path::new("m.yaml"), &text).unwrap().source.tenant
    };
    assert_eq!(tenant("everyone"), Tenant::Everyone);
    assert_eq!(tenant("Everyone"), Tenant::Everyone);
    assert!(
        matches!(tenant("'\"everyone\"'"), Tenant::Column(name) if name.as_str() == "everyone")
    );
    assert!(matches!(tenant("everyones"), Tenant::Column(_)));
}
