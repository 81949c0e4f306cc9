//! Tenants that share a place are written for together: by few transactions, and each as if alone.
//!
//! Each test shows by the daemon's log, by a failpoint or by the destination's own log that tenants
//! were written for together, and not only that the result is right.

mod again;
mod compared;
mod late;
mod places;
mod poison;
mod statements;
mod stopped;
mod strangers;
mod tables;
mod together;
mod visible;

use offtake_tests::{Daemon, PATIENCE, Plan, World, until};
use serde_json::{Value, json};

const NOTES: &str = "
source: { table: public.note, tenant: tenant }
query: select tenant as tenant_id, id, body from public.note
target: { table: notes, keep_tenant: true }
";

const MARKS: &str = "
source: { table: public.mark, tenant: tenant }
query: select tenant as tenant_id, id, value from public.mark
target: { table: marks, keep_tenant: true }
";

/// The daemon logs what it does for several tenants.
const DEBUG: &str = "warn,offtake=info,offtake_sync::turn=debug";

fn plan() -> Plan {
    World::with_tenants(["first"])
        .mappings(&[("notes", NOTES), ("marks", MARKS)])
        .setting("/sync/retry", json!({ "initial": "100ms", "max": "500ms" }))
}

/// A world of so many tenants in one database, with a note and a mark each, all copied, and a
/// daemon that has just written to each of them.
async fn world(tenants: usize) -> (World, Daemon) {
    made(plan(), tenants).await
}

/// The same of a plan. Where that has a proxy before the database, the daemons take it.
async fn made(plan: Plan, tenants: usize) -> (World, Daemon) {
    let mut world = plan.without_init().await;
    let first = world.tenant("first");
    let proxy = world.named_proxies().find(|(name, _)| name == "first");
    let url = proxy.map_or(first.destination.url(), |(_, of)| of.url(&first.destination.url()));
    let all: Vec<_> = (0..tenants)
        .map(|n| json!({ "tenant": format!("t{n}"), "url": url, "shared": true }))
        .collect();
    world.configure(|c| c["destinations"]["static"] = all.into());
    world.set_variable("RUST_LOG", DEBUG);
    let fill = format!(
        "create table note (tenant text, id integer, body text, primary key (tenant, id));
         create table mark (tenant text, id integer, value numeric, primary key (tenant, id));
         insert into note select 't' || n, 1, 'first' from generate_series(0, {0}) n;
         insert into mark select 't' || n, 1, 1.0 from generate_series(0, {0}) n",
        tenants - 1
    );
    world.source.execute(&fill).await;
    world.succeed(&["init"]).await;
    let daemon = world.daemon().await;
    wait_equal(&world).await;
    (world, daemon)
}

/// What both tables have of the tenants that are served, as one text.
const THERE: &str = "select (select md5(string_agg(n::text, ',' order by tenant_id, id)) from notes n where tenant_id like 't%'),
    (select md5(string_agg(m::text, ',' order by tenant_id, id)) from marks m where tenant_id like 't%')";

/// Waits until the copies are those rows, and nothing is owed. That is asked last: before, what is
/// written may not be owed yet.
async fn wait_equal(world: &World) {
    let here = THERE
        .replace("notes n", "note n")
        .replace("marks m", "mark m")
        .replace("tenant_id", "tenant");
    until("the copies are equal and nothing is owed", PATIENCE, async || {
        let source = world.source.try_query_text(&here).await?;
        let there = world.tenant("first").destination.try_query_text(THERE).await?;
        let owed =
            world.source.try_query_text("select count(*) from offtake.outgoing_request").await?;
        if owed == "0" && there == source {
            Ok(())
        } else {
            Err(format!("{owed} owed; {there}, not {source}"))
        }
    })
    .await;
}

/// Every cursor that the source was told of is the one that is there, and of the table that is
/// there.
async fn assert_told(world: &World, when: &str) {
    let told = "select string_agg(concat_ws(' ', d.tenant_id, m.mapping, m.sequence_id, m.target_identity), ',' order by d.tenant_id collate \"C\", m.mapping)
        from offtake.destination_mapping m join offtake.destination d using (destination_id)";
    let there = "select string_agg(concat_ws(' ', tenant_id, mapping, sequence_id, oid || ':' || relfilenode), ',' order by tenant_id collate \"C\", mapping)
        from _offtake_state join pg_class on oid = mapping::regclass";
    let there = world.tenant("first").destination.query_text(there).await;
    assert_eq!(world.source.query_text(told).await, there, "{when}");
}

/// How many batches were applied, and how many destinations were taken up.
async fn counted(daemon: &Daemon) -> (f64, f64) {
    let (_, metrics) = daemon.get("/metrics").await;
    let value = |name: &str| {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name));
        line.map_or(0.0, |value| value.trim().parse().expect("a number"))
    };
    (value("offtake_batches_total{result=\"applied\"} "), value("offtake_take_ups_total "))
}

/// For how many tenants the daemon has written together with others.
fn together(daemon: &Daemon) -> u64 {
    sum(daemon, "written_together", "members")
}

/// The sum of a number in all events of a name.
fn sum(daemon: &Daemon, event: &str, number: &str) -> u64 {
    let lines = daemon.log().into_iter().filter(|line| line.event == event);
    let told = lines.filter_map(|line| serde_json::from_str::<Value>(&line.text).ok());
    told.filter_map(|told| told[number].as_u64()).sum()
}

fn logged(daemon: &Daemon, event: &str) -> usize {
    daemon.log().iter().filter(|line| line.event == event).count()
}

/// Waits until the daemon has written together for so many more tenants than `before`.
async fn wait_together(daemon: &Daemon, before: u64, members: u64) {
    until("tenants are written for together", PATIENCE, async || {
        let written = together(daemon) - before;
        if written >= members { Ok(()) } else { Err(format!("{written} of {members}")) }
    })
    .await;
}

/// Writes at the source, and waits until the copies are equal. At least so many tenants were written
/// for together.
async fn write_together(world: &World, daemon: &Daemon, statement: &str, members: u64) {
    let before = together(daemon);
    world.source.execute(statement).await;
    wait_equal(world).await;
    wait_together(daemon, before, members).await;
}

/// The row versions of both tables, of the tenants that the condition names: what is written again
/// has another one.
async fn versions(world: &World, table: &str, which: &str) -> String {
    let versions = format!(
        "select string_agg(tenant_id || ' ' || id || ' ' || xmin, ',' order by tenant_id, id) from {table} where {which}"
    );
    world.tenant("first").destination.query_text(&versions).await
}
