//! deploy/grants.sql, word for word: what it gives is enough for installing and for running, and a right that is missing is named.

use offtake_tests::{World, oracle};

const GRANTS: &str = include_str!("../../deploy/grants.sql");

/// The statements of one part of the file.
fn part(number: u32) -> &'static str {
    let from = GRANTS.find(&format!("-- Part {number}:")).expect("the part is there");
    let rest = &GRANTS[from..];
    let end = ["-- Part ", "-- At a destination"].iter().filter_map(|mark| rest[3..].find(mark)).min();
    end.map_or(rest, |end| &rest[..end + 3])
}

/// Roles belong to a server, so the source has one of its own. The tables have an owner that is no superuser.
async fn world() -> World {
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
    world.source.execute(part(1)).await;
    world.source.execute("alter role offtake_installer password 'installer'; alter role offtake password 'daemon'").await;
    world
}

async fn configure(world: &mut World, user: &str, password: &str) {
    let url = world.source_server().await.url_as(user, Some(password), world.source.name());
    world.configure(|c| c["source"]["url"] = url.into());
}

#[tokio::test]
async fn the_three_roles_have_what_they_need_and_no_more() {
    let mut world = world().await;
    world.fill(10).await;
    // The installer may install, and the daemon's role runs everything else.
    configure(&mut world, "offtake_installer", "installer").await;
    let output = world.offtake(&["init"]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let as_role = async |role: &str, sql: &str| {
        let session = world.source.connect().await;
        session.batch_execute(&format!("set role {role}; {sql}")).await.unwrap_or_else(|error| panic!("{role}: {error:?}"));
    };
    as_role("app_owner", part(2)).await;
    as_role("offtake_installer", part(3)).await;
    configure(&mut world, "offtake", "daemon").await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    world.source.execute("update project_user set display_name = 'by the daemon''s role'; delete from team").await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    for arguments in [&["check", "--connect"][..], &["status"], &["verify"], &["preview", "--changed"]] {
        let output = world.offtake(arguments).await;
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(daemon.status().await["config"]["error"], serde_json::Value::Null);
    // It may not write to the application's tables, nor become anyone else.
    let session = world.source.connect().await;
    session.batch_execute("set role offtake").await.expect("a superuser may be anyone");
    for refused in ["update public.team set display_name = 'x'", "alter table public.team disable trigger all", "create table public.x ()"]
    {
        let error = session.batch_execute(refused).await.expect_err(refused);
        assert_eq!(error.code().map(tokio_postgres::error::SqlState::code), Some("42501"), "{refused}");
    }
    daemon.stop().await;
    // A second init finds everything in place, and uninstalling is the installer's too.
    configure(&mut world, "offtake_installer", "installer").await;
    for arguments in [&["init"][..], &["uninstall", "--yes"]] {
        let output = world.offtake(arguments).await;
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(world.source.query_text("select to_regnamespace('offtake') is null").await, "t");
}

#[tokio::test]
async fn a_missing_right_at_the_source_is_named_with_its_grant() {
    let mut world = world().await;
    configure(&mut world, "offtake", "daemon").await;
    let told = |output: std::process::Output| (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned());
    let (code, stderr) = told(world.offtake(&["check", "--connect"]).await);
    assert_eq!(code, Some(78), "{stderr}");
    assert!(stderr.contains("run as its owner: grant select on \"public\".\"project_user\" to offtake;"), "{stderr}");
    // Exactly what it said is enough.
    let grants: std::collections::BTreeSet<&str> =
        stderr.lines().filter_map(|line| line.split_once("run as its owner: ")).map(|(_, g)| g).collect();
    for grant in &grants {
        world.source.execute(grant).await;
    }
    let (code, stderr) = told(world.offtake(&["check", "--connect"]).await);
    assert_eq!(code, Some(0), "{stderr}");
    // It may not install: one line says who may.
    let (code, stderr) = told(world.offtake(&["init"]).await);
    assert!(code == Some(1) && stderr.contains("grant"), "{code:?} {stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
}
