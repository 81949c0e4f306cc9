//! Rows that exchange a unique value.

use offtake_tests::{World, oracle};

use crate::{world, write};

async fn quarantined(world: &World) -> String {
    let all = "select string_agg(row_key ->> 'id' || ' ' || sqlstate, ', ' order by row_key ->> 'id') from offtake.quarantined_row";
    world.source.query_text(all).await
}

/// Two rows exchange a unique value, and three pass it round, in one batch. SQLite cannot put off
/// the check of a unique index to the end.
#[tokio::test]
async fn rows_that_exchange_a_unique_value_arrive_together() {
    let world = world().await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let file = world.tenant("acme").file();
    file.execute("create unique index code_once on items (code)");
    write(
        &world,
        "update item set code = case id when 1 then 'c2' when 2 then 'c1' when 3 then 'c4' when 4 then 'c5' when 5 then 'c3' end \
          where {acme} and id <= 5",
    )
    .await;
    world.wait_in_step().await;
    assert_eq!(quarantined(&world).await, "");
    oracle::assert_equal(&world).await;
    let codes = file.query_text(
        "select group_concat(code) from (select code from items where id <= 5 order by id)",
    );
    assert_eq!(codes, "c2,c1,c4,c5,c3");
    daemon.stop().await;
}
