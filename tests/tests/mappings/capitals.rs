//! Names with capitals, written without quotes: the remedy is the text that works, as YAML wants
//! it.

use offtake_tests::World;

use crate::{told, write};

const USERS: &str = "\
source:
  table: public.User
  tenant: orgId
  key: { '\"userId\"': userId }
depends_on:
  - table: public.Gang
    match: { teamId: id }
  - table: public.Gang
    where: source.teamId = changed.ID
query: |
  select u.orgId as tenant_id, u.\"userId\", t.name from public.\"User\" u
    left join public.\"Gang\" t on t.\"ID\" = u.\"teamId\"
target: { table: users }
";

/// The file with each of the remedies, which are found one after the other, put to use.
#[tokio::test]
async fn a_name_that_folds_is_told_as_it_must_be_written() {
    let world = World::with_tenants(["acme"]).without_init().mappings(&[("users", USERS)]).await;
    world
        .source
        .execute(
            "create table \"User\" (\"orgId\" text, \"userId\" int, \"teamId\" int, primary key (\"orgId\", \"userId\"));
             create table \"Gang\" (\"ID\" int primary key, name text);",
        )
        .await;
    let mut text = USERS.to_owned();
    let mut mended = Vec::new();
    for _ in 0..12 {
        let (code, _, stderr) = told(&world, &world.offtake(&["check", "--connect"]).await);
        if code == 0 {
            break;
        }
        assert_eq!(code, 78, "{stderr}");
        // Position and marks of the first mistake, and what to write there.
        let place = stderr.split_once("users.yaml:").expect("a place").1;
        let mut numbers = place.split(':').map(|n| n.parse::<usize>().unwrap_or(0));
        let (line, column) = (numbers.next().expect("a line"), numbers.next().expect("a column"));
        let marks = stderr.lines().find(|l| l.ends_with('^')).expect("marks");
        let length = marks.matches('^').count();
        let (_, remedy) = stderr
            .split_once("remedy: write it in double quotes: ")
            .unwrap_or_else(|| panic!("{stderr}"));
        let written = remedy.lines().next().expect("a name");
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let old: String = lines[line - 1].chars().skip(column - 1).take(length).collect();
        // The marks are under `alias.column` in SQL, and the remedy is the column.
        let new = match old.rsplit_once('.') {
            Some((alias, _)) if !written.contains('.') => format!("{alias}.{written}"),
            _ => written.to_owned(),
        };
        lines[line - 1] = format!(
            "{}{new}{}",
            lines[line - 1].chars().take(column - 1).collect::<String>(),
            lines[line - 1].chars().skip(column - 1 + length).collect::<String>()
        );
        mended.push(written.to_owned());
        text = format!("{}\n", lines.join("\n"));
        write(&world, "users.yaml", &text);
    }
    let (code, _, stderr) = told(&world, &world.offtake(&["check", "--connect"]).await);
    assert_eq!(code, 0, "{text}\n{stderr}");
    for expect in [
        "'public.\"User\"'",
        "'\"orgId\"'",
        "'\"userId\"'",
        "'public.\"Gang\"'",
        "'\"ID\"'",
        "\"orgId\"",
    ] {
        assert!(mended.iter().any(|written| written == expect), "{expect}: {mended:?}");
    }
}
