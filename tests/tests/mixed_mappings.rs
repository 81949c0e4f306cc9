//! Daemons with different mapping files, one after another and at the same time, as during the
//! roll-out of a new version. Changes for a mapping that one daemon does not know must not be lost
//! for ever for the others.

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::time::Duration;

use offtake_tests::samples::{TEAMS, USERS};
use offtake_tests::{Daemon, PATIENCE, World, oracle, until};

/// Members with their team's name: the change of a team's name wakes them.
const MEMBERS: &str = "\
source: { table: public.team_member, tenant: tenancy_id, key: { team_id: team_id, user_id: project_user_id } }
depends_on: [ { table: public.team, match: { tenancy_id: tenancy_id, team_id: team_id } } ]
query: |
  select m.tenancy_id as tenant_id, m.team_id, m.project_user_id as user_id, t.display_name as team
    from public.team_member m join public.team t using (tenancy_id, team_id)
target: { table: members }
";

/// The same rows in a second mapping, so that the triggers of both tables are the same with and
/// without it.
fn more_members() -> String {
    MEMBERS.replace("table: members", "table: more_members")
}

/// A world with all the mappings, and a folder with only the older ones.
async fn world(mappings: &[(&str, &str)], older: &[(&str, &str)]) -> (World, PathBuf) {
    let world = World::with_tenants(["acme"]).mappings(mappings).await;
    world.allow("mapping_overlooked");
    world.allow("overlooked_mapping_copied");
    world.fill(20).await;
    let folder = world.folder().join("older");
    std::fs::create_dir(&folder).unwrap();
    for (name, text) in older {
        std::fs::write(folder.join(name).with_extension("yaml"), text).unwrap();
    }
    (world, folder)
}

/// The mapping of members without the dependency on teams: right only as long as no team is
/// renamed.
fn without_dependency() -> String {
    let line = |line: &str| match line.starts_with("depends_on") {
        true => "unchanging: [public.team]\n".to_owned(),
        false => format!("{line}\n"),
    };
    MEMBERS.lines().map(line).collect()
}

async fn wait_numbered(world: &World) {
    until("the change is numbered", PATIENCE, async || {
        match world
            .source
            .try_query_text("select count(*) from offtake.captured_change")
            .await?
            .as_str()
        {
            "0" => Ok(()),
            waiting => Err(format!("{waiting} wait")),
        }
    })
    .await;
}

/// Starts a daemon with the mappings of that folder.
async fn daemon_of(world: &mut World, folder: PathBuf) -> Daemon {
    world.configure(|configuration| configuration["mappings"] = folder.to_str().unwrap().into());
    world.daemon().await
}

const RENAME: &str = "update team set display_name = 'renamed ' || display_name";

/// Daemons look at the triggers every 30 seconds.
const LOOK_TWICE: Duration = Duration::from_secs(60);

async fn overlooked(world: &World) -> String {
    world.source.query_text("select coalesce(string_agg(mapping, ' ' order by mapping), '') from offtake.overlooked_mapping").await
}

/// Makes it look as if the daemons with the other files had ended long ago. Waits until every copy
/// is re-copied.
async fn over_for_long(world: &World, mapping: &str) {
    // Until the running daemon has recorded itself, it would record the mapping as overlooked once
    // more.
    let taken = format!("select needs::text like '%{mapping} %' from offtake.numbering");
    until("a daemon that knows it numbers", PATIENCE, async || {
        match world.source.try_query_text(&taken).await? {
            known if known == "t" => Ok(()),
            known => Err(known),
        }
    })
    .await;
    world.source.execute("update offtake.overlooked_mapping set overlooked_at = overlooked_at - interval '10 minutes'").await;
    until("nothing is overlooked any more", PATIENCE, async || match overlooked(world).await {
        noted if noted.is_empty() => Ok(()),
        noted => Err(noted),
    })
    .await;
}

/// The test fails without `Numbering::claim`: the rename reached one of two mappings, and no daemon
/// noticed.
#[tokio::test]
async fn what_a_daemon_with_other_mappings_numbered_is_copied_again() {
    let more = more_members();
    let both: [(&str, &str); 2] = [("members", MEMBERS), ("more_members", &more)];
    let (mut world, older) = world(&both, &both[..1]).await;
    let newer = world.mappings_folder();
    let daemon = daemon_of(&mut world, newer.clone()).await;
    world.wait_in_step().await;
    // A restart with the same files overlooks nothing.
    daemon.stop().await;
    let daemon = daemon_of(&mut world, newer.clone()).await;
    world.source.execute(RENAME).await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    assert_eq!(overlooked(&world).await, "");
    daemon.stop().await;

    let daemon = daemon_of(&mut world, older).await;
    world.source.execute(RENAME).await;
    wait_numbered(&world).await;
    daemon.stop().await;

    let daemon = daemon_of(&mut world, newer).await;
    assert_eq!(overlooked(&world).await, "more_members");
    world.wait_in_step().await;
    let status = daemon.status().await;
    assert_eq!(status["destinations"][0]["state"], "backfilling", "{status:#}");
    over_for_long(&world, "more_members").await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

/// The older daemon's capture function does not record the columns of a team by which the newer
/// daemon's mapping is woken. The older daemon also numbers.
/// `what_was_rewritten_while_no_daemon_ran_is_copied_again` shows that the function alone is
/// noticed, too.
#[tokio::test]
async fn what_a_rewritten_function_let_go_by_is_copied_again() {
    let (mut world, older) =
        world(&[("teams", TEAMS), ("members", MEMBERS)], &[("teams", TEAMS)]).await;
    let newer = world.mappings_folder();
    let new = daemon_of(&mut world, newer).await;
    world.wait_in_step().await;
    // A daemon installs what it needs when it starts, so it has rewritten the function when it is
    // ready.
    let old = daemon_of(&mut world, older).await;
    world.source.execute(RENAME).await;
    old.stop().await;
    // The reload makes the daemon look at once, and not only at its next look.
    new.reload();
    new.wait_logged("mappings_loaded").await;
    assert_eq!(overlooked(&world).await, "members", "and not the mapping that both know");
    over_for_long(&world, "members").await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    new.stop().await;
}

/// A single daemon reads edited files: no other daemon numbered, and nothing is copied twice.
#[tokio::test]
async fn a_daemon_that_reads_edited_files_has_overlooked_nothing() {
    let more = more_members();
    let (mut world, _) =
        world(&[("members", MEMBERS), ("more_members", &more), ("users", USERS)], &[]).await;
    let folder = world.mappings_folder();
    let late = folder.join("more_members.yaml");
    std::fs::rename(&late, folder.with_extension("late")).unwrap();
    let daemon = daemon_of(&mut world, folder.clone()).await;
    world.wait_in_step().await;
    std::fs::rename(folder.with_extension("late"), &late).unwrap();
    daemon.reload();
    daemon.wait_logged("mappings_loaded").await;
    for _ in 0..5 {
        world.source.execute(RENAME).await;
    }
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    assert_eq!(overlooked(&world).await, "");
    daemon.stop().await;
}

/// The test fails if a copy is recorded at the source only after its first batch: no daemon knew
/// that a copy existed that had to be re-copied.
#[tokio::test]
async fn a_copy_whose_first_batch_nobody_told_of_is_copied_again_too() {
    let (mut world, older) =
        world(&[("teams", TEAMS), ("members", MEMBERS)], &[("teams", TEAMS)]).await;
    let newer = world.mappings_folder();
    // Its claims expire soon after its end.
    world.configure(|configuration| configuration["poller"] = serde_json::json!({ "lease": "1s" }));
    let mut killed = world.spawn_daemon_with_failpoints(&[("sync.after_commit", "pause")]);
    killed.wait_ready().await;
    killed.wait_at_failpoint("sync.after_commit", 1).await;
    killed.kill();
    world.configure(|configuration| configuration["poller"] = serde_json::json!({}));

    let daemon = daemon_of(&mut world, older).await;
    world.source.execute(RENAME).await;
    wait_numbered(&world).await;
    daemon.stop().await;

    let daemon = daemon_of(&mut world, newer).await;
    over_for_long(&world, "members").await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

/// A mapping that waited for its triggers becomes part of the set at a look, without an edit. The
/// test fails if the daemon does not claim the new set then: the next daemon found that the
/// previous one did not know the mapping; worse, other daemons could number without it unnoticed.
#[tokio::test]
async fn a_mapping_that_waited_for_its_triggers_is_numbered_for_when_it_joins() {
    let (mut world, _) = world(&[("teams", TEAMS)], &[]).await;
    let folder = world.mappings_folder();
    world.allow("*");
    let daemon = daemon_of(&mut world, folder.clone()).await;
    world.wait_in_step().await;
    let writer = world.source.connect().await;
    writer.batch_execute("begin; update public.team set display_name = 'under way'").await.unwrap();
    world.write_mapping("members", MEMBERS);
    until("the mapping waits for its triggers", PATIENCE, async || {
        let told = daemon.status().await["config"]["error"].to_string();
        if told.contains("waiting for it: members") { Ok(()) } else { Err(told) }
    })
    .await;
    writer.batch_execute("commit").await.unwrap();
    until(
        "the mapping is used",
        LOOK_TWICE,
        async || match daemon.status().await["config"]["error"].is_null() {
            true => Ok(()),
            false => Err("not yet".to_owned()),
        },
    )
    .await;
    world.wait_in_step().await;
    assert_eq!(
        world
            .source
            .query_text("select needs::text like '%members %' from offtake.numbering")
            .await,
        "t"
    );
    daemon.stop().await;
    let daemon = daemon_of(&mut world, folder.clone()).await;
    world.wait_in_step().await;
    assert_eq!(overlooked(&world).await, "");
    daemon.stop().await;
}

/// No copy of the mapping's current version exists. Its new version alone causes one re-copy.
#[tokio::test]
async fn a_daemon_begun_again_with_edited_files_has_overlooked_nothing() {
    let (mut world, _) = world(&[("teams", TEAMS), ("members", &without_dependency())], &[]).await;
    let folder = world.mappings_folder();
    let daemon = daemon_of(&mut world, folder.clone()).await;
    world.wait_in_step().await;
    daemon.stop().await;
    world.write_mapping("members", MEMBERS);
    let daemon = daemon_of(&mut world, folder).await;
    world.source.execute(RENAME).await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    assert_eq!(overlooked(&world).await, "");
    daemon.stop().await;
}

/// `offtake init` with newer files while a daemon with older files runs, as before a rolling
/// update: more is captured than the daemon needs, and not less.
#[tokio::test]
async fn a_function_that_captures_more_has_overlooked_nothing() {
    let (mut world, older) =
        world(&[("teams", TEAMS), ("members", MEMBERS)], &[("teams", TEAMS)]).await;
    let newer = world.mappings_folder();
    world.configure(|configuration| configuration["mappings"] = older.to_str().unwrap().into());
    world.succeed(&["init"]).await;
    let old = daemon_of(&mut world, older).await;
    until("the teams are copied", PATIENCE, async || {
        match world
            .source
            .query_text("select count(*) from offtake.destination_mapping where mapping = 'teams' and backfilled")
            .await
            .as_str()
        {
            "1" => Ok(()),
            _ => Err("not yet".to_owned()),
        }
    })
    .await;
    world.configure(|configuration| configuration["mappings"] = newer.to_str().unwrap().into());
    world.succeed(&["init"]).await;
    old.reload();
    old.wait_logged("mappings_loaded").await;
    assert_eq!(overlooked(&world).await, "");
    old.stop().await;
}

/// `offtake init` with older files, while no daemon runs. The test fails if only a running daemon
/// records what was rewritten.
#[tokio::test]
async fn what_was_rewritten_while_no_daemon_ran_is_copied_again() {
    let before = without_dependency();
    let (mut world, older) =
        world(&[("teams", TEAMS), ("members", MEMBERS)], &[("teams", TEAMS), ("members", &before)])
            .await;
    let newer = world.mappings_folder();
    let daemon = daemon_of(&mut world, newer.clone()).await;
    world.wait_in_step().await;
    daemon.stop().await;
    world.configure(|configuration| configuration["mappings"] = older.to_str().unwrap().into());
    world.succeed(&["init"]).await;
    world.source.execute(RENAME).await;
    let daemon = daemon_of(&mut world, newer).await;
    over_for_long(&world, "members").await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}
