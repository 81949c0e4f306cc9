//! Rows that a destination takes only together (H9, H14).

use offtake_tests::oracle;

use super::{wait_quarantined, wait_there, world, write};

const SEATS: &str = "
source: { table: public.seat, tenant: org, key: { id: id } }
query: select org as tenant_id, id, place, during from seat
target:
  table: seats
  schema_sql: |
    create table seats (id int primary key, place int unique, during int4range, exclude using gist (during with &&))
";
const SETUP: &str = "
create table seat (org text, id int, place int, during int4range, primary key (org, id));
insert into seat select '{acme}', k, k, int4range(k * 10, k * 10 + 10) from generate_series(1, 300) k";

/// Swaps, rotations of three and of three hundred, and ranges that all move by one: no row is
/// refused, and the daemon would log it if one were. Without `as_set`
/// (crates/sync/src/destinations/postgres/sets.rs) the rows of each of them stayed in quarantine.
#[tokio::test]
async fn rows_that_only_fit_together_arrive_together() {
    let world = world(&[("seats", SEATS)], SETUP).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    for change in [
        "update seat set place = case id when 1 then 2 else 1 end where id in (1, 2)",
        "update seat set place = 13 + (id - 12) % 3 where id between 13 and 15",
        "update seat set during = int4range(lower(during) + 5, upper(during) + 5)",
        "update seat set place = id % 300 + 1",
        "update seat set during = case id when 7 then int4range(85, 95) else int4range(75, 85) end where id in (7, 8)",
    ] {
        write(&world, change).await;
        world.wait_in_step().await;
        oracle::assert_equal(&world).await;
    }
    daemon.stop().await;
}

/// One of the rows does not fit for another reason: it keeps its old version, and the others
/// arrive.
#[tokio::test]
async fn a_row_that_does_not_fit_keeps_its_old_version_and_the_set_arrives() {
    let world = world(&[("seats", SEATS)], SETUP).await;
    world.allow("rows_quarantined");
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let there = &world.tenant("acme").destination;
    there.execute("alter table seats add constraint not_900 check (place <> 900)").await;
    write(
        &world,
        "update seat set place = case id when 1 then 2 when 2 then 1 when 3 then 900 else 3 end where id in (1, 2, 3, 4)",
    )
    .await;
    // Row 4 wants the place that row 3 could not leave.
    wait_quarantined(&world, "3 23514, 4 23505").await;
    wait_there(
        &world,
        "select string_agg(place::text, ' ' order by id) from seats where id <= 4",
        "2 1 3 4",
    )
    .await;
    write(&world, "update seat set place = 1000 where id = 3").await;
    // A retry before that would find the place of row 4 taken, and the next one is minutes away.
    wait_there(&world, "select place from seats where id = 3", "1000").await;
    world.source.execute("update offtake.quarantined_row set retry_at = now()").await;
    wait_quarantined(&world, "").await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}
