//! Rows that a destination refuses, or that a query cannot compute, among those of many tenants.

use offtake_tests::{PATIENCE, until};

use super::{
    MARKS, NOTES, logged, made, plan, together, wait_equal, wait_together, world, write_together,
};

/// The query fails for the value 13.
fn failing() -> String {
    let failing = "case when value = 13 then 1 / (value - value) else value end as value";
    MARKS.replace("id, value from", &format!("id, {failing} from"))
}

/// Ten tenants have rows that cannot be written: five that the destination refuses, five that the
/// query cannot compute. Their neighbours have everything, and nothing is said against them. The ten have what they can have. The next changes of the others go
/// together without them, and all are together again when the rows are mended.
///
/// Without a division of the group (`Left::after`, crates/sync/src/turn/group.rs) each of the others
/// was written for alone.
#[tokio::test]
async fn ten_poison_tenants_among_many_stop_no_other() {
    let plan = plan().mappings(&[("notes", NOTES), ("marks", &failing())]);
    let (world, daemon) = made(plan.setting("/poller/lease", "5s"), 120).await;
    daemon.allow("rows_quarantined");
    let there = &world.tenant("first").destination;
    there.execute("alter table notes add constraint clean check (body <> 'poison')").await;
    let refused = "('t3', 't23', 't43', 't63', 't83')";
    let failed = "('t13', 't33', 't53', 't73', 't93')";
    let before = together(&daemon);
    world
        .source
        .execute(&format!(
            "update note set body = case when tenant in {refused} then 'poison' else 'second' end;
             update mark set value = case when tenant in {failed} then 13 else 2 end"
        ))
        .await;
    let arrived = "select (select count(*) from notes where body = 'second'), (select count(*) from marks where value = 2)";
    there.wait_text(arrived, "115|115").await;
    let quarantined = format!(
        "select count(*), count(*) filter (where q.mapping = 'notes' and d.tenant_id in {refused} and q.sqlstate = '23514'
                or q.mapping = 'marks' and d.tenant_id in {failed} and q.sqlstate = '22012')
           from offtake.quarantined_row q join offtake.destination d using (destination_id)"
    );
    world.source.wait_text(&quarantined, "10|10").await;
    world.source.wait_text("select count(*) from offtake.outgoing_request", "0").await;
    let faultless = "select count(*) from offtake.destination d where state = 'in_sync' and reason is null and last_error is null and consecutive_failures = 0
        and not exists (select from offtake.quarantined_row q where q.destination_id = d.destination_id)";
    assert_eq!(world.source.query_text(faultless).await, "110");
    // One in twelve is a poison tenant. After so many attempts those that are left go alone.
    wait_together(&daemon, before, 30).await;

    let (before, left) = (together(&daemon), logged(&daemon, "group_left"));
    world.source.execute("update note set body = 'third' where body = 'second'").await;
    there.wait_text("select count(*) from notes where body = 'third'", "115").await;
    world.source.wait_text("select count(*) from offtake.outgoing_request", "0").await;
    wait_together(&daemon, before, 110).await;
    assert_eq!(logged(&daemon, "group_left"), left, "a poison tenant was in a group again");

    there.execute("alter table notes drop constraint clean").await;
    world.source.execute("update note set body = 'fourth'; update mark set value = 4").await;
    wait_equal(&world).await;
    world.source.wait_text("select count(*) from offtake.quarantined_row", "0").await;
    write_together(&world, &daemon, "update note set body = 'fifth'", 120).await;
    daemon.stop().await;
}

/// A row that the destination refuses concerns its tenant only.
#[tokio::test]
async fn a_refused_row_of_one_tenant_delays_no_other() {
    let (world, daemon) = world(60).await;
    daemon.allow("rows_quarantined");
    let there = &world.tenant("first").destination;
    there.execute("alter table notes add constraint clean check (body <> 'poison')").await;
    world
        .source
        .execute("update note set body = case when tenant = 't17' then 'poison' else 'second' end")
        .await;
    until("the others have their rows", PATIENCE, async || {
        let told = there.try_query_text("select count(*) from notes where body = 'second'").await?;
        if told == "59" { Ok(()) } else { Err(told) }
    })
    .await;
    until("the row is in quarantine", PATIENCE, async || {
        let told = "select string_agg(d.tenant_id || ' ' || q.mapping, ',') from offtake.quarantined_row q join offtake.destination d using (destination_id)";
        let told = world.source.try_query_text(told).await?;
        if told == "t17 notes" { Ok(()) } else { Err(told) }
    })
    .await;
    there.execute("alter table notes drop constraint clean").await;
    world.source.execute("update note set body = 'third'").await;
    wait_equal(&world).await;
    daemon.stop().await;
}
