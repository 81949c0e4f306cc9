//! Copies are made, follow, are made again, and are proved.

use offtake_tests::{CopyKind, PATIENCE, oracle, until};

use crate::{world, write};

/// Rows arrive by the first copy, change and leave. `verify` finds one value that the tenant has
/// changed, and only that.
pub(crate) async fn follow_and_are_verified(kind: CopyKind) {
    let world = world(kind, &["acme", "globex"]).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    write(
        &world,
        "update item set name = name || '!' where id % 3 = 0; delete from item where id % 50 = 1; \
         insert into item select tenant, 1000 + id, code, name from item where id < 20; \
         update item set id = id + 5000 where id % 50 = 2",
    )
    .await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    world.succeed(&["verify"]).await;
    let kinds = world.source.query_text("select distinct kind from offtake.destination").await;
    assert_eq!(kinds, format!("{kind:?}").to_lowercase());

    world.execute_there("acme", "update items set name = 'by hand' where id = 7").await;
    let output = world.offtake(&["verify", "--json"]).await;
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    let told = String::from_utf8_lossy(&output.stdout).replace(": ", ":");
    assert_eq!(told.matches("\"different\":1").count(), 1, "{told}");
    world.succeed(&["verify", "--repair", "--yes"]).await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

/// While a mapping is re-copied, its table is never empty: wrong rows are mended and surplus ones
/// deleted range by range.
pub(crate) async fn are_copied_again(kind: CopyKind) {
    let world = world(kind, &["acme", "globex"]).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let acme = world.tenant("acme");
    world.execute_there(
        "acme",
        "update items set name = 'wrong' where id % 3 = 0; delete from items where id % 50 = 1; \
         insert into items values (100000, 'surplus', 'surplus'), (-5, 'surplus', 'surplus')",
    )
    .await;
    world.succeed(&["resync", "--tenant", &acme.id, "--mapping", "items"]).await;
    let mut least = u32::MAX;
    until("the copy is equal again", PATIENCE, async || {
        let there = acme.try_query_there("select count(*) from items").await?;
        least = least.min(there.parse().unwrap());
        let wrong = "select count(*) from items where name in ('wrong', 'surplus')";
        match (acme.try_query_there(wrong).await?.as_str(), there.as_str()) {
            ("0", "300") => Ok(()),
            found => Err(format!("{found:?}")),
        }
    })
    .await;
    assert!(least >= 290, "{least} rows were there at one moment");
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    world.succeed(&["verify"]).await;
    daemon.stop().await;
}
