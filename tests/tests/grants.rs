//! deploy/grants.sql, word for word: its rights are enough for installing and for running, and a
//! missing right is named.

use offtake_tests::{World, oracle};

const GRANTS: &str = include_str!("../../deploy/grants.sql");

/// The statements of one part of the file.
fn part(number: u32) -> &'static str {
    let from = GRANTS.find(&format!("-- Part {number}:")).expect("the part is there");
    let rest = &GRANTS[from..];
    let end =
        ["-- Part ", "-- At a destination"].iter().filter_map(|mark| rest[3..].find(mark)).min();
    end.map_or(rest, |end| &rest[..end + 3])
}

/// Roles belong to a server, so the source has a private server. The tables' owner is not a
/// superuser.
async fn world() -> World {
    let world = owned_by_another().await;
    world.source.execute(part(1)).await;
    world.source.execute("alter role offtake_installer password 'installer'; alter role offtake password 'daemon'").await;
    world
}

async fn owned_by_another() -> World {
    let world = World::with_tenants(["acme", "globex"]).private_source().without_init().await;
    let source = &world.source;
    source.execute("create role app_owner nologin").await;
    source
        .execute(
            "do $$ declare t record; begin
               for t in select oid::regclass as name from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') loop
                 execute format('alter table %s owner to app_owner', t.name);
               end loop;
             end $$;
             alter schema public owner to app_owner",
        )
        .await;
    world
}

/// Exit code and standard error.
async fn complaint(world: &World, arguments: &[&str]) -> (Option<i32>, String) {
    let output = world.offtake(arguments).await;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!stderr.contains("panicked"), "{stderr}");
    (output.status.code(), stderr)
}

/// Runs exactly the statements of the remedies, each as the role that may run it.
async fn obey(world: &World, stderr: &str) {
    let remedies =
        stderr.lines().filter_map(|line| line.split_once("remedy: run as ")?.1.split_once(": "));
    let statements: std::collections::BTreeSet<&str> =
        remedies.map(|(_, statements)| statements).collect();
    assert!(!statements.is_empty(), "{stderr}");
    for statement in statements {
        world.source.execute(statement).await;
    }
}

async fn configure(world: &mut World, user: &str, password: &str) {
    let url = world.source_server().await.url_as(user, Some(password), world.source.name());
    world.configure(|c| c["source"]["url"] = url.into());
}

#[tokio::test]
async fn the_three_roles_have_what_they_need_and_no_more() {
    let mut world = world().await;
    world.fill(10).await;
    // The installer installs, and the daemon's role runs everything else.
    configure(&mut world, "offtake_installer", "installer").await;
    world.succeed(&["init"]).await;
    let as_role = async |role: &str, sql: &str| {
        let session = world.source.connect().await;
        session
            .batch_execute(&format!("set role {role}; {sql}"))
            .await
            .unwrap_or_else(|error| panic!("{role}: {error:?}"));
    };
    as_role("app_owner", part(2)).await;
    as_role("offtake_installer", part(3)).await;
    configure(&mut world, "offtake", "daemon").await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    world
        .source
        .execute("update project_user set display_name = 'by the daemon''s role'; delete from team")
        .await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    for arguments in
        [&["check", "--connect"][..], &["status"], &["verify"], &["preview", "--changed"]]
    {
        let output = world.offtake(arguments).await;
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    assert_eq!(daemon.status().await["config"]["error"], serde_json::Value::Null);
    // The daemon's role may not write to the application's tables, nor become another role.
    let session = world.source.connect().await;
    session.batch_execute("set role offtake").await.expect("a superuser may be anyone");
    for refused in [
        "update public.team set display_name = 'x'",
        "alter table public.team disable trigger all",
        "create table public.x ()",
    ] {
        let error = session.batch_execute(refused).await.expect_err(refused);
        assert_eq!(
            error.code().map(tokio_postgres::error::SqlState::code),
            Some("42501"),
            "{refused}"
        );
    }
    daemon.stop().await;
    // A second `init` finds everything in place. The installer may also uninstall.
    configure(&mut world, "offtake_installer", "installer").await;
    for arguments in [&["init"][..], &["uninstall", "--yes"]] {
        let output = world.offtake(arguments).await;
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    assert_eq!(world.source.query_text("select to_regnamespace('offtake') is null").await, "t");
}

#[tokio::test]
async fn a_missing_right_at_the_source_is_named_with_its_grant() {
    let mut world = world().await;
    configure(&mut world, "offtake", "daemon").await;
    let (code, stderr) = complaint(&world, &["check", "--connect"]).await;
    assert_eq!(code, Some(78), "{stderr}");
    assert!(
        stderr
            .contains("run as its owner: grant select on \"public\".\"project_user\" to offtake;"),
        "{stderr}"
    );
    obey(&world, &stderr).await;
    let (code, stderr) = complaint(&world, &["check", "--connect"]).await;
    assert_eq!(code, Some(0), "{stderr}");
}

/// As a user who has only a login, and does not know deploy/grants.sql.
#[tokio::test]
async fn init_names_everything_it_may_not_before_it_changes_anything() {
    let mut world = owned_by_another().await;
    let database = world.source.name().to_owned();
    world.source.execute("create role \"Plain\" login password 'plain'; create role looker login password 'looker'").await;
    world
        .source
        .execute(&format!("revoke temporary on database {database} from public; create table own (id int primary key, t text)"))
        .await;
    configure(&mut world, "Plain", "plain").await;
    let (code, stderr) = complaint(&world, &["init"]).await;
    assert!(
        code == Some(78) && stderr.contains("grant select on \"public\".\"team\" to \"Plain\";"),
        "{code:?} {stderr}"
    );
    obey(&world, &stderr).await;
    // One table belongs to a superuser, whose rights must not be granted to another role.
    std::fs::write(
        world.mappings_folder().join("own.yaml"),
        "source: { table: public.own, tenant: t }\nquery: select t as tenant_id, id from public.own\ntarget: { table: own }\n",
    )
    .expect("the folder can be written");
    world.source.execute("grant select on own to \"Plain\"").await;
    let (code, stderr) = complaint(&world, &["init"]).await;
    let role_at = stderr.find("offtake_capture_").expect("the functions' role is named");
    let capture = &stderr[role_at..role_at + "offtake_capture_".len() + 12];
    for expect in [
        format!("grant create on database {database} to \"Plain\";"),
        format!("grant temporary on database {database} to \"Plain\";"),
        format!("run as a superuser: create role {capture} nologin; grant {capture} to \"Plain\";"),
        "run as a superuser: grant app_owner to \"Plain\";".to_owned(),
        "run as a superuser (or have postgres run this command): alter table public.own owner to \"Plain\";".to_owned(),
    ] {
        assert!(stderr.contains(&expect), "{expect}: {stderr}");
    }
    assert_eq!(code, Some(1), "{stderr}");
    assert_eq!(world.source.query_text("select to_regnamespace('offtake') is null").await, "t");
    obey(&world, &stderr).await;
    let (code, stderr) = complaint(&world, &["init"]).await;
    assert_eq!(code, Some(0), "{stderr}");
    // Another role may not even read the catalog and tables before that is granted.
    configure(&mut world, "looker", "looker").await;
    let (code, stderr) = complaint(&world, &["status"]).await;
    let grant = "grant usage on schema offtake to looker; grant select on all tables in schema offtake to looker; \
                 grant select on all sequences in schema offtake to looker;";
    assert!(
        code == Some(1) && stderr.contains(&format!("run as \"Plain\": {grant}")),
        "{code:?} {stderr}"
    );
    world.source.execute(grant).await;
    let (code, stderr) = complaint(&world, &["status"]).await;
    assert_eq!(code, Some(0), "{stderr}");
    // A daemon needs more rights than that.
    let (code, stderr) = complaint(&world, &["run", "--once"]).await;
    assert!(
        code == Some(1) && stderr.contains("as a superuser: grant \"Plain\" to looker;"),
        "{code:?} {stderr}"
    );
    world.source.execute("grant \"Plain\" to looker").await;
    let (code, stderr) = complaint(&world, &["run", "--once"]).await;
    assert_eq!(code, Some(0), "{stderr}");
    let (code, stderr) = complaint(&world, &["uninstall", "--yes"]).await;
    assert_eq!(code, Some(0), "{stderr}");
}

const DEALS: &str = r#"
source: { table: '"Crm"."Deal"', tenant: org, key: { id: id } }
unchanging: ['"Crm"."Other Thing"', '"Crm"."Deal Numbers"']
query: |
  select d.org as tenant_id, d.id, "Crm"."Twice"(d.id) as twice, v.x, v.last,
         (select count(*) from "Crm"."Other Thing") as things
    from "Crm"."Deal" d cross join "Crm"."A View" v
target: { table: deals }
"#;

/// What a query reads may be in any schema, under a name that needs quotes, and be a view or a
/// function, and a policy may hide its rows. The remedies alone, each as it is printed, lead to a
/// check that finds nothing.
#[tokio::test]
async fn the_rights_that_a_query_lacks_are_granted_as_printed() {
    let plan = World::with_tenants(["acme"]).private_source().without_init();
    let mut world = plan.mappings(&[("deals", DEALS)]).await;
    let objects = r#"
        create role "Plain" login password 'plain';
        create schema "Crm";
        create table "Crm"."Deal" (org text, id int, primary key (org, id));
        alter table "Crm"."Deal" enable row level security;
        create policy own on "Crm"."Deal" using (org = current_user);
        create table "Crm"."Other Thing" (x int);
        create table "Other Thing" (x int);
        create sequence "Crm"."Deal Numbers";
        create view "Crm"."A View" as select 1 as x, last_value as last from "Crm"."Deal Numbers";
        create function "Crm"."Twice"(int) returns int language sql immutable as 'select $1 * 2';
        revoke execute on function "Crm"."Twice"(int) from public"#;
    world.source.execute(objects).await;
    configure(&mut world, "Plain", "plain").await;
    let mut rounds = 0;
    loop {
        let (code, stderr) = complaint(&world, &["check", "--connect"]).await;
        if code == Some(0) {
            break;
        }
        rounds += 1;
        assert!(rounds < 10, "{stderr}");
        obey(&world, &stderr).await;
    }
    assert!(rounds > 1, "there were rights to ask for");
}

/// Policies on many tables are one cause: one message with every place, and one remedy, which mends
/// all of them.
#[tokio::test]
async fn row_level_security_on_many_tables_is_told_once() {
    let names = ["a", "b", "c"];
    let mapping = |name: &str| {
        let text = format!(
            "source: {{ table: public.{name}, tenant: org }}\n\
             query: select org as tenant_id, id from {name}\ntarget: {{ table: {name} }}\n"
        );
        (name.to_owned(), text)
    };
    let plan = World::with_tenants(["acme"]).private_source().without_init();
    let mut world = plan.computed_mappings(names.map(mapping)).await;
    world.source.execute("create role \"Plain\" login password 'plain'").await;
    for name in names {
        let table = format!(
            "create table {name} (org text, id int, primary key (org, id)); \
             alter table {name} enable row level security; \
             create policy own on {name} using (org = current_user); \
             grant select on {name} to \"Plain\""
        );
        world.source.execute(&table).await;
    }
    configure(&mut world, "Plain", "plain").await;
    let (code, stderr) = complaint(&world, &["check", "--connect"]).await;
    assert_eq!(code, Some(78), "{stderr}");
    assert_eq!(stderr.matches("row-level security").count(), 1, "{stderr}");
    assert_eq!(stderr.matches("remedy: ").count(), 1, "{stderr}");
    for name in names {
        assert!(stderr.contains(&format!("mappings/{name}.yaml:2:8")), "{stderr}");
    }
    obey(&world, &stderr).await;
    let (code, stderr) = complaint(&world, &["check", "--connect"]).await;
    assert_eq!(code, Some(0), "{stderr}");
}

/// What only the server's administrators may use is no right to ask for: the printed grant led to
/// the next refusal.
#[tokio::test]
async fn what_is_the_servers_own_is_taken_out_of_the_query() {
    let plain = "source: { table: public.a, tenant: org }\n\
                 query: select org as tenant_id, id from a\ntarget: { table: a }\n";
    let plan = World::with_tenants(["acme"]).private_source().without_init();
    let mut world = plan.mappings(&[("a", plain)]).await;
    let objects = "create role \"Plain\" login password 'plain';
                   create table a (org text, id int, primary key (org, id)); grant select on a to \"Plain\"";
    world.source.execute(objects).await;
    configure(&mut world, "Plain", "plain").await;
    for (from, named) in [
        (
            "from a where exists (select from pg_authid)",
            "take pg_catalog.pg_authid out of the query",
        ),
        ("from a where pg_read_file('x') = ''", "take pg_catalog.pg_read_file out of the query"),
    ] {
        world.write_mapping("a", &plain.replace("from a", from));
        let (code, stderr) = complaint(&world, &["check", "--connect"]).await;
        assert!(code == Some(78) && stderr.contains(named), "{stderr}");
        assert!(!stderr.contains("grant "), "{stderr}");
    }
    world.write_mapping("a", plain);
    let (code, stderr) = complaint(&world, &["check", "--connect"]).await;
    assert_eq!(code, Some(0), "{stderr}");
}

/// The server refuses a partitioned table in a tablespace that is said to be the default, also where
/// the database is in it anyway (0A000): `init` ended with 1.
#[tokio::test]
async fn init_runs_where_the_default_tablespace_is_the_databases_own() {
    let world = World::with_tenants(["acme"]).without_init().await;
    let setting = format!(
        "alter database {} set default_tablespace = 'pg_default'",
        world.source.query_text("select quote_ident(current_database())").await
    );
    world.source.execute(&setting).await;
    world.succeed(&["init"]).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    daemon.stop().await;
}
