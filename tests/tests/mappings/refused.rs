//! A configuration or mapping set that cannot run is refused before anything starts, with exit code
//! 78.

use offtake_tests::{Source, World};
use serde_json::json;

use crate::{TEAMS, remedy, told, write};

#[tokio::test]
async fn a_mistake_is_told_like_a_compiler_does() {
    let world = World::with_tenants(["acme"]).without_init().mappings(&[("teams", TEAMS)]).await;
    write(&world, "teams.yaml", &TEAMS.replace("t.display_name", "t.display_nam"));
    let (code, _, stderr) = told(&world, &world.offtake(&["init"]).await);
    let expect = "offtake: mappings/teams.yaml:6:54: the source refuses the query: column t.display_nam does not exist
   |
 6 |   select t.tenancy_id as tenant_id, t.team_id as id, t.display_nam
   |                                                      ^^^^^^^^^^^^^
  remedy: Perhaps you meant to reference the column \"t.display_name\".
";
    assert_eq!((code, stderr.as_str()), (78, expect));
    // Nothing was installed for a set that cannot run.
    assert_eq!(world.source.query_text("select to_regnamespace('offtake') is null").await, "t");
}

#[tokio::test]
async fn several_mistakes_of_several_files_are_told_in_one_run() {
    let world = World::with_tenants(["acme"]).without_init().mappings(&[("teams", TEAMS)]).await;
    write(
        &world,
        "a.yaml",
        &TEAMS.replace("source:", "sorce:").replace("target:", "target:\n  shema_sql: x"),
    );
    write(&world, "b.yaml", &TEAMS.replace("from public.team t", "from public.team t limit 3"));
    write(&world, "c.yaml", "source: [\n");
    let (code, _, stderr) = told(&world, &world.offtake(&["check"]).await);
    assert_eq!(code, 78, "{stderr}");
    for expect in [
        "a.yaml:1:1: there is no key `sorce` here",
        "remedy: did you mean `source`?",
        "a.yaml:9:3: there is no key `shema_sql` here",
        "remedy: did you mean `schema_sql`?",
        "b.yaml:7:24: the query limits its rows (limit)",
        "7 |     from public.team t limit 3",
        "c.yaml:2:1: this is not YAML",
    ] {
        assert!(stderr.contains(expect), "{expect}: {stderr}");
    }
    let places: Vec<_> =
        ["a.yaml:1:1:", "a.yaml:9:3:"].iter().map(|place| stderr.find(place)).collect();
    assert!(places.is_sorted(), "in the order of the file: {stderr}");
    // Errors of the second kind need the source to be found. Again all are reported at once.
    write(
        &world,
        "a.yaml",
        &TEAMS
            .replace("table: teams", "table: a")
            .replace("tenant: tenancy_id", "tenant: tenant_id"),
    );
    write(
        &world,
        "b.yaml",
        &TEAMS.replace("table: teams", "table: b").replace("public.team t", "public.teem t"),
    );
    write(
        &world,
        "c.yaml",
        &TEAMS.replace("table: teams", "table: c").replacen("", "name: teams\n", 1),
    );
    let (code, _, stderr) = told(&world, &world.offtake(&["check", "--connect"]).await);
    assert_eq!(code, 78, "{stderr}");
    for expect in [
        "a.yaml:3:11: table public.team has no column `tenant_id`",
        "remedy: did you mean `tenancy_id`?",
        "b.yaml:7:10: the source refuses the query: relation \"public.teem\" does not exist",
        "the mapping `teams` is also defined in",
    ] {
        assert!(stderr.contains(expect), "{expect}: {stderr}");
    }
}

#[tokio::test]
async fn the_daemon_does_not_start_with_what_cannot_run() {
    let world = World::with_tenants(["acme"]).mappings(&[("teams", TEAMS)]).await;
    let check = async |from: &str, to: &str, expect: &str| {
        assert!(TEAMS.contains(from), "{from}");
        write(&world, "teams.yaml", &TEAMS.replace(from, to));
        let (code, _, stderr) = told(&world, &world.offtake(&["run"]).await);
        assert!(code == 78 && stderr.contains(expect), "{code} {stderr}");
    };
    check(
        "t.display_name",
        "t.display_name,",
        "7:5: the source refuses the query: syntax error at or near \"from\"",
    )
    .await;
    check(
        "t.tenancy_id as tenant_id",
        "t.tenancy_id",
        "6:3: the query has no column `tenant_id`, which says whose row it is",
    )
    .await;
    check("t.team_id as id", "t.team_id", "6:3: the query has no column `id`, which is in the key")
        .await;
    check(
        "t.team_id as id",
        "t.team_id::text as id",
        "6:56: `id` is text in the query, and public.team.team_id, which",
    )
    .await;
    check("t.tenancy_id as", "t.tenancy_id::text as", "6:32: `tenant_id` is text in the query")
        .await;
    check(
        "query:",
        "depends_on:\n  - table: public.teem\n    match: { team_id: team_id }\nquery:",
        "6:12: the source has no table",
    )
    .await;
    check(
        "query:",
        "depends_on:\n  - table: public.team_member\n    match: { team_id: teamid }\nquery:",
        "7:23: table public.team_member has no column `teamid`",
    )
    .await;
    check(
        "query:",
        "depends_on:\n  - table: public.team\n    match: { tenancy_id: tenancy_id, team_id: team_id }\nquery:",
        "6:12: the dependency on public.team leads back to the row that changed",
    )
    .await;
    check("t.display_name", "$1::text as x", "6:54: the query has a parameter ($1)").await;
    check("t.display_name", "random() as x", "6:54: `random` is volatile").await;
    check(
        "team t\n",
        "team t\n   fetch first 5 rows only\n",
        "8:4: the query limits its rows (fetch)",
    )
    .await;
    write(&world, "teams.yaml", &TEAMS.replace("public.team\n", "public.teem\n"));
    let (_, _, stderr) = told(&world, &world.offtake(&["check", "--connect"]).await);
    assert!(
        stderr.contains("the source has no table public.teem")
            && stderr.contains("did you mean public.team?"),
        "{stderr}"
    );
    write(&world, "teams.yaml", TEAMS);
    write(&world, "more.yaml", TEAMS);
    let (code, _, stderr) = told(&world, &world.offtake(&["run"]).await);
    assert!(code == 78 && stderr.contains("also writes to the table `teams`"), "{code} {stderr}");
}

#[tokio::test]
async fn a_table_without_primary_key_needs_a_key() {
    let world = World::with_tenants(["acme"]).without_init().mappings(&[("teams", TEAMS)]).await;
    world
        .source
        .execute("create table public.visit (tenant text, at timestamptz, page text)")
        .await;
    let visits = "source: { table: public.visit, tenant: tenant }\nquery: select tenant as tenant_id, at, page from public.visit\n\
                  target: { table: visits }\n";
    write(&world, "visits.yaml", visits);
    let (code, _, stderr) = told(&world, &world.offtake(&["check", "--connect"]).await);
    assert!(
        code == 78 && stderr.contains("visits.yaml:1:18: table public.visit has no primary key"),
        "{code} {stderr}"
    );
    assert!(stderr.contains("remedy: give the key in `source.key`"), "{stderr}");
}

#[tokio::test]
async fn a_configuration_that_cannot_be_used_is_refused() {
    let mut world =
        World::with_tenants(["acme", "globex"]).without_init().mappings(&[("teams", TEAMS)]).await;
    let both = Source::destination().await;
    world.configure(|c| {
        for destination in c["destinations"]["static"].as_array_mut().expect("a list") {
            destination["url"] = both.url().into();
        }
    });
    let (code, _, stderr) = told(&world, &world.offtake(&["run"]).await);
    assert!(
        code == 78
            && stderr.contains("are both the schema public of")
            && stderr.contains("shared: true"),
        "{code} {stderr}"
    );
    for tenant in ["acme", "globex"] {
        assert!(stderr.contains(world.id(tenant)), "{stderr}");
    }
    let destinations = json!({ "static": [{ "tenant": "acme", "url": "${NO_SUCH_URL}" }] });
    world.configure(|c| c["destinations"] = destinations);
    let (code, _, stderr) = told(&world, &world.offtake(&["run"]).await);
    assert!(
        code == 78 && stderr.contains("the environment variable NO_SUCH_URL is not set"),
        "{code} {stderr}"
    );
}

/// What a transaction that only reads may not do is told at its place, by `check` and `init` alike.
/// Only the run of the query shows some of it: they ended with 1 and without a place.
#[tokio::test]
async fn a_query_that_locks_or_writes_is_refused_at_its_place() {
    let world = World::with_tenants(["acme"]).without_init().mappings(&[("teams", TEAMS)]).await;
    world.fill(3).await;
    world
        .source
        .execute(
            "create sequence counter; create table seen (id uuid);
             create view locked as select team_id from public.team for update;
             create function numbered() returns bigint stable language sql as 'select nextval(''counter'')';
             create function noted(id uuid) returns uuid stable language plpgsql
               as 'begin insert into seen values ($1); return $1; end'",
        )
        .await;
    let from = "from public.team t";
    let of = |sub: &str| format!("from public.team t where t.team_id in ({sub})");
    let column = |sql: &str| ("t.display_name".to_owned(), format!("t.display_name, {sql} as x"));
    let cases = [
        (
            (from.to_owned(), of("select team_id from public.team for update")),
            "teams.yaml:7:76: the source refuses the query: cannot execute SELECT FOR UPDATE",
        ),
        (
            (from.to_owned(), of("select team_id from public.team for no key update skip locked")),
            "teams.yaml:7:76: the source refuses the query: cannot execute SELECT FOR NO KEY UPDATE",
        ),
        (
            (from.to_owned(), of("select team_id from public.team for key share")),
            "teams.yaml:7:76: the source refuses the query: cannot execute SELECT FOR KEY SHARE",
        ),
        (
            (from.to_owned(), of("select team_id from locked")),
            "teams.yaml:6:3: the source refuses the query: cannot execute SELECT FOR UPDATE",
        ),
        (
            (
                from.to_owned(),
                of("with gone as (delete from seen returning id) select id from gone"),
            ),
            "teams.yaml:7:49: the source refuses the query: WITH clause containing",
        ),
        (column("nextval('counter')"), "teams.yaml:6:70: `nextval` is volatile"),
        (column("set_config('a.b', 'c', true)"), "teams.yaml:6:70: `set_config` is volatile"),
        (column("pg_advisory_lock(1)"), "teams.yaml:6:70: `pg_advisory_lock` is volatile"),
        (
            column("numbered()"),
            "teams.yaml:6:70: the source does not run the query: cannot execute nextval() in a \
             read-only transaction (`numbered`)",
        ),
        (
            column("noted(t.team_id)"),
            "teams.yaml:6:70: the source does not run the query: INSERT is not allowed in a \
             non-volatile function (`noted`)",
        ),
        (
            (format!("  {from}"), format!("  into kept {from}")),
            "teams.yaml:7:10: the source refuses the query: SELECT ... INTO is not allowed here",
        ),
    ];
    for ((before, after), expect) in cases {
        write(&world, "teams.yaml", &TEAMS.replacen(&before, &after, 1));
        for command in [&["check", "--connect"][..], &["init"]] {
            let (code, _, stderr) = told(&world, &world.offtake(command).await);
            assert!(code == 78 && stderr.contains(expect), "{command:?} {expect}: {code} {stderr}");
            assert!(stderr.contains("\n  remedy: "), "{stderr}");
        }
    }
    // The remedy of the first: without the clause it is a query like any other.
    let text = TEAMS.replace(from, &of("select team_id from public.team"));
    write(&world, "teams.yaml", &text);
    world.succeed(&["check", "--connect"]).await;
}

/// A copy has one row for each key. Two rows of one key were found by the daemon only.
#[tokio::test]
async fn a_query_that_gives_a_key_twice_is_refused_with_the_key() {
    let world = World::with_tenants(["acme"]).without_init().mappings(&[("teams", TEAMS)]).await;
    world.fill(3).await;
    let all = world.source.query_text("select count(*) from team").await;
    let twice = TEAMS.trim_end().replace(
        "from public.team t",
        "from public.team t\n  union all select t.tenancy_id, t.team_id, 'again' from public.team t",
    );
    let joined =
        TEAMS.replace("from public.team t", "from public.team t cross join generate_series(1, 2)");
    assert_ne!(all, "0");
    for text in [twice, joined] {
        write(&world, "teams.yaml", &text);
        for command in [&["check", "--connect"][..], &["init"]] {
            let (code, _, stderr) = told(&world, &world.offtake(command).await);
            let expect = "mappings/teams.yaml:6:3: the query gives more than one row for id = ";
            assert!(code == 78 && stderr.contains(expect), "{command:?}: {code} {stderr}");
            assert!(stderr.contains(" row(s) looked at)"), "{stderr}");
            assert!(stderr.contains("`select distinct on` the key"), "{stderr}");
        }
    }
    let distinct = TEAMS.replace(
        "select t.tenancy_id",
        "select distinct on (t.tenancy_id, t.team_id) t.tenancy_id",
    );
    write(
        &world,
        "teams.yaml",
        &distinct
            .replace("from public.team t", "from public.team t cross join generate_series(1, 2)"),
    );
    world.succeed(&["check", "--connect"]).await;
}

/// A table that is locked is no source that cannot be reached: the message names the table and the
/// session, and the statements of its remedy find and end it.
#[tokio::test]
async fn a_locked_table_is_told_with_the_session_that_locks_it() {
    let world = World::with_tenants(["acme"]).without_init().mappings(&[("teams", TEAMS)]).await;
    world.source.execute("create table other (id int)").await;
    let session = world.source.connect().await;
    session.batch_execute("begin; lock table other; lock table team").await.expect("locks");
    let pid: i32 = session.query_one("select pg_backend_pid()", &[]).await.expect("a pid").get(0);
    let (code, _, stderr) = told(&world, &world.offtake(&["check", "--connect"]).await);
    let expect = format!("because a table is locked: team by session {pid} (role ");
    assert!(code == 69 && stderr.contains(&expect), "{code} {stderr}");
    assert!(!stderr.contains("reachable"), "{stderr}");
    let remedy = remedy(&stderr).to_owned();
    let statements: Vec<&str> = remedy.split('`').skip(1).step_by(2).collect();
    let state = statements[0].replace("select *", "select state");
    assert_eq!(world.source.query_text(&state).await, "idle in transaction");
    assert_eq!(world.source.query_text(statements[1]).await, "t");
    world.succeed(&["check", "--connect"]).await;

    // A limit of the role on statements is another cause.
    let role = world.source.query_text("select quote_ident(current_user)").await;
    let database = world.source.query_text("select quote_ident(current_database())").await;
    let session = world.source.connect().await;
    let limit = format!("alter role {role} in database {database} set statement_timeout");
    session.batch_execute(&format!("{limit} = '300ms'")).await.expect("a setting");
    session.batch_execute("begin; lock table team").await.expect("a lock");
    let (code, _, stderr) = told(&world, &world.offtake(&["check", "--connect"]).await);
    assert!(code == 69 && stderr.contains("a table is locked: team by session"), "{code} {stderr}");
    session.batch_execute(&format!("rollback; {limit} = '10min'")).await.expect("a setting");
}
