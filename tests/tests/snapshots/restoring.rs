//! A snapshot goes back into a destination, another schema or another database.

use offtake_tests::{Source, oracle};

use super::Snapshots;
use super::making::rows;

/// A tenant whose copy is complete, with a snapshot; no daemon runs any more.
async fn copied(names: &[&str]) -> (Snapshots, String) {
    let snapshots = Snapshots::of(names).await;
    let daemon = snapshots.world.daemon().await;
    snapshots.world.wait_in_step().await;
    daemon.stop().await;
    let id = snapshots.make("acme").await;
    (snapshots, id)
}

/// One row less, one more and one other; the view and the grant hang on the tenant's table.
const DAMAGE: &str = "
  create view of_items as select count(*) from items;
  grant select on items to public;
  delete from items where id <= 3;
  update items set amount = -1 where id = 100;
  insert into items values (1000, 'mine', 1)";

#[tokio::test]
async fn a_restore_makes_the_copy_equal_and_what_hangs_on_it_stays() {
    let (snapshots, id) = copied(&["acme", "globex"]).await;
    let (world, acme) = (&snapshots.world, snapshots.world.tenant("acme"));
    let (items, there) = (rows(&acme.destination, "items").await, &acme.destination);
    let diff = ["diff", &id, "--into", "main"];
    snapshots
        .run(&diff)
        .await
        .assert_says(0, &["items: equal, 200 rows", "others: equal, 10 rows"]);
    there.execute(DAMAGE).await;
    let oid = there.query_text("select 'items'::regclass::oid").await;
    let told = snapshots.run(&diff).await;
    let counts = "items: to add 3, to change 1, to delete 1";
    told.assert_says(
        3,
        &[counts, r#"add {"id": "1"}"#, r#"change {"id": "100"}"#, r#"delete {"id": "1000"}"#],
    );
    assert!(!told.told.contains("mine"), "no value is told: {told:?}");
    let json = snapshots.run(&["diff", &id, "--into", "main", "--json"]).await.json();
    assert_eq!(json[0]["add"], "3");
    assert_eq!(json[0]["first"].as_array().unwrap().len(), 5);
    assert!(json[0]["first"][0].get("snapshot").is_none(), "{json}");
    let shown = ["diff", &id, "--into", "main", "--show-values"];
    snapshots.run(&shown).await.assert_says(3, &["there:    {", "mine", "snapshot: {"]);
    let json = snapshots.run(&[&shown[..], &["--json"]].concat()).await.json();
    let kinds = json[0]["first"].as_array().unwrap();
    let of = |kind: &str| kinds.iter().find(|row| row["kind"] == kind).unwrap();
    assert_eq!(of("change")["there"]["amount"], "-1", "{json}");
    assert_eq!(of("delete")["there"]["name"], "mine", "{json}");
    assert_eq!(of("change")["snapshot"]["id"], "100", "{json}");
    assert!(of("add").get("there").is_none() && of("delete").get("snapshot").is_none(), "{json}");

    let restore = ["restore", &id, "--tenant", &acme.id, "--destination", "main"];
    let refused = snapshots.run(&restore).await;
    refused.assert_says(2, &["no terminal to ask on", "add --yes"]);
    let dry = [&restore[..], &["--dry-run"]].concat();
    snapshots.run(&dry).await.assert_says(3, &[counts]);
    assert_eq!(there.query_text("select count(*) from items where id = 1000").await, "1");

    let yes = [&restore[..], &["--yes"]].concat();
    snapshots.run(&yes).await.assert_says(0, &["follows the source", "restored 210 rows"]);
    assert_eq!(rows(there, "items").await, items);
    assert_eq!(there.query_text("select 'items'::regclass::oid").await, oid);
    assert_eq!(there.query_text("select count from of_items").await, "200");
    let granted = "select has_table_privilege('public', 'items', 'select')";
    assert_eq!(there.query_text(granted).await, "t");
    assert_eq!(
        there.query_text("select count(*) from pg_namespace where nspname ~ 'restore'").await,
        "0"
    );

    // Triggers and indexes of the tenant that do not let the copy be as the snapshot end a restore,
    // and change nothing.
    let lets = |body: &str| {
        format!(
            "create or replace function mine() returns trigger language plpgsql as
               $$ begin {body} return new; end $$;
             create or replace trigger mine before insert or update on items
               for each row execute function mine();
             delete from items where id = 7"
        )
    };
    for (body, says) in [
        ("return null;", "0 rows of items would be written where 1 are to be"),
        (
            "if new.id = 7 then new.amount := 9; end if;",
            "would have 200 rows where the snapshot has 200, and 1 of them would differ",
        ),
    ] {
        there.execute(&lets(body)).await;
        let refused = snapshots.run(&yes).await;
        refused.assert_says(1, &[says, "look for triggers and rules", "nothing was changed there"]);
        assert_eq!(there.query_text("select count(*) from items where id = 7").await, "0");
    }
    there.execute("drop function mine cascade").await;
    snapshots.run(&yes).await.assert_says(0, &["to add 1", "restored 210 rows"]);
    let (free, unique) = (
        "update items set amount = null where id in (10, 20)",
        "create unique index one_amount on items (amount)",
    );
    let exchange = format!(
        "{unique}; begin; {free}; update items set amount = (30 - id) / 3.0 where id in (10, 20); commit"
    );
    there.execute(&exchange).await;
    let exchanged = snapshots.run(&yes).await;
    exchanged.assert_says(
        1,
        &[
            "violates unique constraint \"one_amount\"",
            "one after the other",
            "give those rows other values",
            "--schema",
            "nothing was changed there",
        ],
    );
    assert!(!exchanged.complained.contains("6.66"), "no value is told: {exchanged:?}");
    let beside = [&yes[..], &["--schema", "beside_it"]].concat();
    let beside: Vec<&str> =
        beside.into_iter().filter(|w| !["--destination", "main"].contains(w)).collect();
    snapshots.run(&beside).await.assert_says(0, &["restored 210 rows"]);
    there.execute(free).await;
    snapshots.run(&yes).await.assert_says(0, &["to change 2", "restored 210 rows"]);
    assert_eq!(rows(there, "items").await, items);
    there.execute("drop index one_amount").await;

    // It follows the source again, from the snapshot on, and no row is copied once more.
    let daemon = world.daemon().await;
    world.source.execute("update item set amount = 7 where id = 5").await;
    world.wait_in_step().await;
    oracle::assert_equal(world).await;
    world.succeed(&["verify", "--tenant", &acme.id]).await;
    daemon.stop().await;
}

/// The source has gone on since the snapshot: its changes come again, from the log.
#[tokio::test]
async fn an_old_snapshot_is_caught_up_from_the_log_without_a_new_copy() {
    let (snapshots, id) = copied(&["acme"]).await;
    let (world, acme) = (&snapshots.world, snapshots.world.tenant("acme"));
    let daemon = world.daemon().await;
    world
        .source
        .execute("update item set amount = 7 where id < 50; delete from item where id > 190")
        .await;
    world.wait_in_step().await;
    let copied = "select coalesce(sum(rows_done), 0) from offtake.destination_mapping";
    let before = world.source.query_text(copied).await;
    // The daemon runs meanwhile, and lets go.
    let restore = ["restore", &id, "--tenant", &acme.id, "--yes"];
    snapshots.run(&restore).await.assert_says(0, &["restored 210 rows"]);
    world.wait_in_step().await;
    oracle::assert_equal(world).await;
    assert_eq!(world.source.query_text(copied).await, before, "it was copied again");
    daemon.stop().await;
}

/// `--hold` keeps the old rows until the operator lets it go on.
#[tokio::test]
async fn a_held_destination_keeps_what_was_restored() {
    let (snapshots, id) = copied(&["acme"]).await;
    let (world, acme) = (&snapshots.world, snapshots.world.tenant("acme"));
    let items = rows(&acme.destination, "items").await;
    let daemon = world.daemon().await;
    world.source.execute("delete from item").await;
    world.wait_in_step().await;
    let restore = ["restore", &id, "--tenant", &acme.id, "--hold", "--yes"];
    let held = snapshots.run(&restore).await;
    held.assert_says(0, &["it is paused", "offtake resume --tenant"]);
    let status = world.wait_told(&daemon, "acme", "paused", &[&format!("restore {id}")]).await;
    assert_eq!(status["state"], "paused");
    assert_eq!(rows(&acme.destination, "items").await, items);
    world.succeed(&["resume", "--tenant", &acme.id, "--destination", "main"]).await;
    world.wait_in_step().await;
    assert_eq!(rows(&acme.destination, "items").await, [] as [String; 0]);
    daemon.stop().await;
}

/// A process that dies at any step leaves the copy as it was before or as it is after, and the next
/// restore goes on.
#[tokio::test]
async fn a_restore_killed_at_any_step_is_before_or_after() {
    let (mut snapshots, id) = copied(&["acme"]).await;
    let tenant = snapshots.world.id("acme").to_owned();
    let restore = ["restore", &id, "--tenant", &tenant, "--yes"];
    let tables = async |snapshots: &Snapshots| {
        let there = &snapshots.world.tenant("acme").destination;
        (rows(there, "items").await, rows(there, "others").await)
    };
    let restored = tables(&snapshots).await;
    let points: Vec<&str> =
        offtake_loops::FAILPOINTS.into_iter().filter(|name| name.starts_with("restore.")).collect();
    assert_eq!(points.len(), 4);
    for point in points {
        let damage = "delete from items where id <= 3; update others set body = 'other'";
        snapshots.world.tenant("acme").destination.execute(damage).await;
        let before = tables(&snapshots).await;
        snapshots.world.set_variable("FAILPOINTS", &format!("{point}=abort"));
        let killed = snapshots.run(&restore).await;
        assert_eq!(killed.code, -1, "{point}: {killed:?}");
        snapshots.world.set_variable("FAILPOINTS", "");
        // The servers notice that the sessions are gone, and nothing is left to sweep.
        snapshots.world.source.wait_left().await;
        snapshots.world.tenant("acme").destination.wait_left().await;
        let staged = "select count(*) from pg_class where relname ~ '^offtake_[0-9a-f]{16}$'";
        snapshots.world.tenant("acme").destination.wait_text(staged, "0").await;
        let expected = if point == "restore.after_commit" { &restored } else { &before };
        assert_eq!(tables(&snapshots).await, *expected, "{point}");
        snapshots.run(&restore).await.assert_says(0, &["restored 210 rows"]);
        assert_eq!(tables(&snapshots).await, restored);
        snapshots.world.succeed(&["resume", "--tenant", &tenant]).await;
    }
    let daemon = snapshots.world.daemon().await;
    snapshots.world.wait_in_step().await;
    oracle::assert_equal(&snapshots.world).await;
    daemon.stop().await;
}

/// Beside the copy, in the same database; the copy itself stays as it is.
#[tokio::test]
async fn a_schema_of_its_own_keeps_old_rows_beside_the_copy() {
    let (snapshots, id) = copied(&["acme"]).await;
    let acme = snapshots.world.tenant("acme");
    let there = &acme.destination;
    let items = rows(there, "items").await;
    there.execute("delete from items where id <= 3").await;
    let restore = ["restore", &id, "--tenant", &acme.id, "--schema", "restored_20261128", "--yes"];
    snapshots
        .run(&restore)
        .await
        .assert_says(0, &["schema restored_20261128", "restored 210 rows"]);
    assert_eq!(rows(there, "restored_20261128.items").await, items);
    assert_eq!(rows(there, "items").await.len(), 197);
    // Again over what is there, and not over what is somebody else's.
    there.execute("delete from restored_20261128.items where id = 5").await;
    snapshots.run(&restore).await.assert_says(0, &["to add 1", "restored 210 rows"]);
    let own = ["restore", &id, "--tenant", &acme.id, "--schema", "public", "--yes"];
    snapshots.run(&own).await.assert_says(1, &["a daemon", "--destination", "nothing was changed"]);
    there.execute("create schema mine; create table mine.items (id integer); insert into mine.items values (1)").await;
    let mine = ["restore", &id, "--tenant", &acme.id, "--schema", "mine", "--yes"];
    snapshots.run(&mine).await.assert_says(1, &["was there before Offtake", "stays untouched"]);
}

/// Another database, under the rules for destinations.
#[tokio::test]
async fn another_database_gets_the_rows_by_its_url() {
    let (snapshots, id) = copied(&["acme"]).await;
    let acme = snapshots.world.tenant("acme");
    let other = Source::destination().await;
    let file = snapshots.world.folder().join("url.txt");
    std::fs::write(&file, format!("{}\n", other.url())).unwrap();
    let file = file.to_str().unwrap();
    let restore = ["restore", &id, "--tenant", &acme.id, "--url-file", file, "--yes"];
    snapshots.run(&restore).await.assert_says(0, &["restored 210 rows"]);
    assert_eq!(rows(&other, "items").await, rows(&acme.destination, "items").await);
    assert_eq!(rows(&other, "others").await, rows(&acme.destination, "others").await);
    std::fs::write(file, "postgres://u@10.1.2.3/x?sslmode=disable").unwrap();
    let refused = snapshots.run(&restore).await;
    refused.assert_says(69, &["10.1.2.3 is a private address", "security.allow_destinations"]);
    std::fs::write(file, "mysql://u@h/x").unwrap();
    snapshots.run(&restore).await.assert_says(2, &["URL"]);
}

/// In a table that tenants share, the rows of others are never touched.
#[tokio::test]
async fn a_restore_into_a_shared_table_touches_no_other_tenant() {
    let mut snapshots = Snapshots::of(&["acme", "globex"]).await;
    snapshots.world.share_one_database();
    let daemon = snapshots.world.daemon().await;
    snapshots.world.wait_in_step().await;
    daemon.stop().await;
    let id = snapshots.make("acme").await;
    let there = &snapshots.world.tenant("acme").destination;
    let all = "select * from items order by tenant_id, id";
    let before = there.copy_out(all).await;
    let (acme, globex) = (snapshots.world.id("acme"), snapshots.world.id("globex"));
    let damage = format!(
        "delete from items where tenant_id = '{acme}' and id < 10; \
         update items set amount = -5 where tenant_id = '{globex}' and id = 1"
    );
    there.execute(&damage).await;
    snapshots
        .run(&["restore", &id, "--tenant", acme, "--yes"])
        .await
        .assert_says(0, &["to add 9, to change 0, to delete 0"]);
    there
        .execute(&format!(
            "update items set amount = 1 / 3.0 where tenant_id = '{globex}' and id = 1"
        ))
        .await;
    assert_eq!(there.copy_out(all).await, before);
}

/// Another tenant's snapshot, or one of other shapes, is refused before anything is touched.
#[tokio::test]
async fn what_does_not_fit_is_refused_with_what_to_do() {
    let (snapshots, id) = copied(&["acme", "globex"]).await;
    let (world, acme) = (&snapshots.world, snapshots.world.tenant("acme"));
    let of_other = ["restore", &id, "--tenant", world.id("globex"), "--yes"];
    snapshots
        .run(&of_other)
        .await
        .assert_says(2, &["is of the tenant", "never restored for another"]);
    let nowhere = ["restore", &id, "--tenant", &acme.id, "--destination", "mian", "--yes"];
    snapshots
        .run(&nowhere)
        .await
        .assert_says(2, &["no destination named mian", "did you mean main?"]);
    world.write_mapping(
        "items",
        &super::ITEMS.replace("i.amount from", "i.amount::text as amount from"),
    );
    let restore = ["restore", &id, "--tenant", &acme.id, "--yes"];
    let refused = snapshots.run(&restore).await;
    refused.assert_says(1, &["items: amount was numeric and is text", "--schema restored_2"]);
    // The remedy.
    let schema =
        refused.complained.split("--schema ").nth(1).unwrap().split_whitespace().next().unwrap();
    let beside = ["restore", &id, "--tenant", &acme.id, "--schema", schema, "--yes"];
    snapshots.run(&beside).await.assert_says(0, &["restored 210 rows"]);
}

/// Before the first copy there is nothing to compare with.
#[tokio::test]
async fn a_destination_without_a_copy_is_restored_once_it_has_one() {
    let snapshots = Snapshots::of(&["acme"]).await;
    let (world, acme) = (&snapshots.world, snapshots.world.tenant("acme"));
    let id = snapshots.make("acme").await;
    let restore = ["restore", &id, "--tenant", &acme.id, "--yes"];
    snapshots.run(&restore).await.assert_says(1, &["not known to a daemon yet", "offtake run"]);
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    snapshots.run(&restore).await.assert_says(0, &["items: equal", "restored 210 rows"]);
    world.wait_in_step().await;
    oracle::assert_equal(world).await;
    daemon.stop().await;
}
