//! What an earlier version left behind, in `tests/previous`: a source that its program prepared and
//! worked on, with changes at every stage, and a destination that it wrote to. Dumped by pg_dump
//! from the real thing, so that no earlier program must be built for each run.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use offtake_tests::{World, beside, oracle};

use crate::guide::commands;
use crate::root;
use offtake_tests::tools::{said, succeed};

fn folder() -> PathBuf {
    root().join("tests/previous")
}

/// The tenant of the dumps. Its id is the same in every world.
const TENANT: &str = "acme";

/// Writes that are numbered and owed, and writes that are only captured, in every form that capture
/// has: a row, many rows, a deleted key, an emptied table, a table that others depend on.
const NUMBERED: &str = "
    update project_user set display_name = display_name || ' numbered' where project_user_id in
      (select project_user_id from project_user order by 1 limit 3);
    delete from team where team_id in (select team_id from team order by 1 limit 1);";
const CAPTURED: &str = "
    update project_user set display_name = display_name || ' captured';
    update contact_channel set value = 'new.' || value where is_primary;
    truncate invitation;
    delete from permission where id % 3 = 0;
    insert into permission (tenancy_id, permission_id)
      select id, 'p' || n from tenancy, generate_series(1, 280) n;";

/// `OFFTAKE_PREVIOUS=/path/of/an/earlier/offtake OFFTAKE_WRITE_PREVIOUS=V16` writes the dumps of
/// that version.
#[tokio::test]
async fn what_a_previous_version_leaves_is_written_where_asked() {
    let asked = (std::env::var_os("OFFTAKE_PREVIOUS"), std::env::var("OFFTAKE_WRITE_PREVIOUS"));
    let (Some(program), Ok(name)) = asked else { return };
    let world = World::with_tenants([TENANT]).without_init().await;
    world.fill(20).await;
    let file = world.written_configuration();
    let previous = |arguments: &[&str]| {
        let mut command = Command::new(&program);
        command.arg("--config").arg(&file).args(arguments).stdin(Stdio::null());
        command
    };
    succeed(&mut previous(&["init"]));
    succeed(&mut previous(&["run", "--once"]));
    oracle::assert_equal(&world).await;
    // A row that the destination refuses is quarantined.
    let refuse = "alter table teams add constraint teams_refuse check (display_name <> 'refused')";
    world.tenant(TENANT).destination.execute(refuse).await;
    let poison = "update team set display_name = 'refused' where team_id in
                    (select team_id from team order by 1 desc limit 1)";
    world.source.execute(poison).await;
    let _ = previous(&["run", "--once"]).output();
    // Numbered and owed, because nothing may be written.
    succeed(&mut previous(&["fuse", "off", "sync", "--reason", "an upgrade"]));
    world.source.execute(NUMBERED).await;
    let mut daemon =
        previous(&["run"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let numbered = "select count(*) from offtake.captured_change";
    world.source.wait_text(numbered, "0").await;
    let owed = "select count(*) from offtake.outgoing_request where wanted_sequence_id > 0";
    world.source.wait_text(owed, "1").await;
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    world.source.execute(CAPTURED).await;
    let into = folder().join(name);
    std::fs::create_dir_all(&into).unwrap();
    for (name, url) in [
        ("source.sql", world.source.url()),
        ("destination.sql", world.tenant(TENANT).destination.url()),
    ] {
        let mut dump = Command::new("pg_dump");
        dump.args(["--no-owner", "--no-privileges", "--dbname", &url]);
        let (text, _) = succeed(&mut dump);
        std::fs::write(into.join(name), text).unwrap();
    }
}

fn restore(url: &str, file: &Path) {
    let mut psql = Command::new("psql");
    psql.args([
        "--no-psqlrc",
        "--quiet",
        "--set=ON_ERROR_STOP=1",
        "--output=/dev/null",
        "--dbname",
        url,
    ]);
    succeed(psql.arg("--file").arg(file));
}

/// The dump is restored on another server, where it would be another source's. For this test it is
/// the server that it was made on, and the addresses are those of the test.
async fn at_home(world: &World) {
    let destination = &world.tenant(TENANT).destination;
    let place = destination.query_text("select inet_server_port(), current_database()").await;
    let (port, database) = place.split_once('|').unwrap();
    let same = format!(
        "update offtake.epoch set system_identifier = default, timeline = default;
         update offtake.destination set host = '127.0.0.1', port = {port}, database_name = '{database}'"
    );
    world.source.execute(&same).await;
    let nobody =
        "update _offtake_state set source = null, source_identity = null, served_since = null";
    destination.execute(nobody).await;
}

/// What stood still when the older version was stopped: a fuse that an operator had blown, and a row
/// that the destination refused. Both are known, and go on when their causes are gone.
async fn go_on(world: &World) {
    world.succeed(&["fuse", "on", "sync"]).await;
    let destination = &world.tenant(TENANT).destination;
    destination.execute("alter table teams drop constraint teams_refuse").await;
    world.succeed(&["quarantine", "retry", "--tenant", world.id(TENANT)]).await;
    world.source.wait_text("select count(*) from offtake.quarantined_row", "0").await;
}

#[tokio::test]
async fn what_an_earlier_version_left_is_brought_up_to_date_and_nothing_of_it_is_lost() {
    let mut versions = 0;
    for version in std::fs::read_dir(folder()).unwrap() {
        let version = version.unwrap().path();
        versions += 1;
        let world = World::with_tenants([TENANT]).without_init().await;
        world.allow("*");
        world.source.execute("drop schema public cascade; create schema public").await;
        restore(&world.source.url(), &version.join("source.sql"));
        restore(&world.tenant(TENANT).destination.url(), &version.join("destination.sql"));
        at_home(&world).await;
        assert_eq!(
            world.source.query_text("select count(*) from offtake.quarantined_row").await,
            "1"
        );
        // What the older functions have captured, as (table, key).
        let keys = "
            select source_table, row_key from offtake.captured_change where row_key is not null
             union select source_table, jsonb_build_object(key_column, listed)
                     from offtake.captured_change, unnest(keys) listed where key_column is not null";
        world.source.execute(&format!("create table public.was_captured as {keys}")).await;
        let captured = "select count(*) > 300 from public.was_captured";
        assert_eq!(world.source.query_text(captured).await, "t");

        // A daemon that is started before `init` says what is lacking, and changes nothing.
        let output = world.offtake(&["run", "--once"]).await;
        let (_, complained) = said(&output);
        assert!(complained.contains("is older than this program: it lacks V"), "{complained}");
        assert!(complained.contains("remedy: run `offtake init`"), "{complained}");

        // As docs/upgrading.md has it, while the application goes on: before, beside and after.
        let writing = async |name: &str| {
            let write = format!("update project_user set display_name = display_name || ' {name}'");
            world.source.execute(&write).await;
        };
        writing("before").await;
        let mut daemon = None;
        for line in commands("docs/upgrading.md", "systemctl restart offtake") {
            let words: Vec<&str> = line.split(' ').skip(1).collect();
            match line.as_str() {
                "offtake init" => {
                    let init = world.succeed(&words);
                    let told = beside(init, async || writing("beside").await).await;
                    assert!(told.contains("applied to the schema offtake: V"), "{told}");
                }
                "systemctl restart offtake" => {
                    writing("after").await;
                    daemon = Some(world.daemon().await);
                    go_on(&world).await;
                }
                _ => drop(world.succeed(&words).await),
            }
        }
        let mut daemon = daemon.expect("the page restarts the daemons");
        let lost = "select count(*) from public.was_captured w where not exists
                      (select from offtake.change_log l
                        where l.source_table = w.source_table and l.row_key = w.row_key)";
        world.source.wait_text(lost, "0").await;
        world.wait_in_step().await;
        oracle::assert_equal(&world).await;
        daemon.start_again().await;
        writing("later").await;
        world.wait_in_step().await;
        oracle::assert_equal(&world).await;
        daemon.stop().await;
    }
    assert!(versions > 0, "there is no earlier version");
}
