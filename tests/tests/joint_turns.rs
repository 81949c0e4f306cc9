//! Destinations in databases of their own, which are due at the same time: their turns read and
//! mirror together, and each copy is as if its turn were alone.

use offtake_tests::workload::{Extent, Workload};
use offtake_tests::{Daemon, PATIENCE, Plan, World, beside, history, oracle, until};

const NOTES: &str = "
source: { table: public.note, tenant: tenant }
query: select id, tenant as tenant_id, public.read(body) as body from public.note
target: { table: notes }
";

const MARKS: &str = "
source: { table: public.mark, tenant: tenant }
query: select tenant as tenant_id, id, value from public.mark
target: { table: marks, keep_tenant: true }
";

/// `read`: fails for the text 'poison', and takes six seconds for the text 'slow'.
const SCHEMA: &str = "
    create table note (tenant text, id integer primary key, body text);
    create table mark (tenant text, id integer, value numeric, primary key (tenant, id));
    create function read(body text) returns text stable language plpgsql as $$
      begin
        if body = 'slow' then perform pg_sleep(6); end if;
        return body || 1 / case body when 'poison' then 0 else 1 end;
      end $$;
";

const DEBUG: &str = "warn,offtake=info,offtake_sync::turn=debug";

fn plan(tenants: usize) -> Plan {
    World::with_tenants((0..tenants).map(|n| format!("t{n}")))
        .mappings(&[("notes", NOTES), ("marks", MARKS)])
        .setting("/poller/lease", "2s")
        .without_init()
}

/// Each tenant has a note and a mark, all are copied, and the daemon has written to each.
async fn world(tenants: usize) -> (World, Daemon) {
    let mut world = plan(tenants).await;
    world.set_variable("RUST_LOG", DEBUG);
    world.source.execute(SCHEMA).await;
    for (n, tenant) in world.tenants().iter().enumerate() {
        let (id, first) = (&tenant.id, "first");
        let fill = format!(
            "insert into note values ('{id}', {n}, '{first}'); insert into mark values ('{id}', 1, 1.0)"
        );
        world.source.execute(&fill).await;
    }
    world.succeed(&["init"]).await;
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    world.source.execute("update note set body = 'warm'; update mark set value = 1.5").await;
    world.wait_in_step().await;
    (world, daemon)
}

/// How often several turns were worked for at once.
fn together(daemon: &Daemon, event: &str) -> usize {
    daemon.log().iter().filter(|line| line.event == event).count()
}

#[tokio::test]
async fn changes_of_many_databases_are_read_and_mirrored_together() {
    let (world, daemon) = world(24).await;
    let statements = [
        "update note set body = 'second'",
        "insert into note select tenant, id + 100, 'new' from note; update mark set value = 1.00",
        // A text that COPY escapes, and no text at all.
        "update note set body = E'a\\tb\\\\c\\nd'; update mark set value = null",
        "delete from note where id >= 100; update mark set id = 3",
        // Rows go from tenant to tenant.
        "update note n set tenant = (select m.tenant from note m where m.id = (n.id + 1) % 24)",
    ];
    for statement in statements {
        let read = together(&daemon, "read_together");
        let mirrored = together(&daemon, "mirrored_together");
        // All turns begin at once.
        daemon.set_failpoint("sync.after_claim", "pause").await;
        world.source.execute(statement).await;
        let paused = daemon.failpoint_count("sync.after_claim");
        daemon.wait_at_failpoint("sync.after_claim", paused.max(24)).await;
        daemon.clear_failpoint("sync.after_claim").await;
        world.wait_in_step().await;
        oracle::assert_equal(&world).await;
        assert!(together(&daemon, "read_together") > read, "{statement}: each read alone");
        assert!(
            together(&daemon, "mirrored_together") > mirrored,
            "{statement}: each mirrored alone"
        );
    }
    let mirrored = "select string_agg(d.tenant_id || m.mapping || m.sequence_id || coalesce(m.target_identity, '-'), ',' order by d.tenant_id, m.mapping) from offtake.destination_mapping m join offtake.destination d using (destination_id) where d.tenant_id = '{}'";
    for tenant in world.tenants() {
        let there = "select string_agg(s.tenant_id || s.mapping || s.sequence_id || c.oid || ':' || c.relfilenode, ',' order by s.tenant_id, s.mapping) from _offtake_state s join pg_class c on c.oid = s.mapping::regclass where s.mapping is not null";
        let told = world.source.query_text(&mirrored.replace("{}", &tenant.id)).await;
        assert_eq!(told, tenant.destination.query_text(there).await, "{}", tenant.name);
    }
    daemon.stop().await;
}

#[tokio::test]
async fn a_row_that_cannot_be_computed_stops_no_other_tenant() {
    let (world, daemon) = world(12).await;
    world.allow("rows_quarantined");
    let poisoned = world.tenant("t5").id.clone();
    daemon.set_failpoint("sync.after_claim", "pause").await;
    world
        .source
        .execute(&format!(
            "update note set body = case tenant when '{poisoned}' then 'poison' else 'fine' end"
        ))
        .await;
    daemon.wait_at_failpoint("sync.after_claim", 12).await;
    daemon.clear_failpoint("sync.after_claim").await;
    until("the others have their change, and one row is set aside", PATIENCE, async || {
        let aside =
            world.source.try_query_text("select count(*) from offtake.quarantined_row").await?;
        let mut fine = 0;
        for tenant in world.tenants() {
            let body = tenant.destination.try_query_text("select body from notes").await?;
            fine += usize::from(body == "fine1");
        }
        if (aside.as_str(), fine) == ("1", 11) { Ok(()) } else { Err(format!("{aside} {fine}")) }
    })
    .await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_slow_tenant_keeps_no_other_waiting() {
    let (world, daemon) = world(12).await;
    let slow = &world.tenant("t5").id;
    daemon.set_failpoint("sync.after_claim", "pause").await;
    let change =
        format!("update note set body = case tenant when '{slow}' then 'slow' else 'fast' end");
    world.source.execute(&change).await;
    daemon.wait_at_failpoint("sync.after_claim", 12).await;
    daemon.clear_failpoint("sync.after_claim").await;
    let others = world.tenants().iter().filter(|tenant| tenant.id != *slow).collect::<Vec<_>>();
    until("the others have their change", PATIENCE, async || {
        let mut fast = 0;
        for tenant in &others {
            let body = tenant.destination.try_query_text("select body from notes").await?;
            fast += usize::from(body == "fast1");
        }
        if fast == others.len() { Ok(()) } else { Err(fast.to_string()) }
    })
    .await;
    let there = &world.tenant("t5").destination;
    assert_eq!(there.query_text("select body from notes").await, "warm1", "it was not slow");
    world.wait_in_step().await;
    assert_eq!(there.query_text("select body from notes").await, "slow1");
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

/// The random workload over many databases, with its history, while the daemon is killed.
#[tokio::test]
async fn a_daemon_killed_within_joint_turns_loses_nothing() {
    let workload = Workload::new(41);
    let tenants = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
    let mut world = Workload::plan(tenants).setting("/poller/lease", "1s").await;
    world.allow("*");
    world.set_variable("RUST_LOG", DEBUG);
    workload.prepare(&world).await;
    history::install(&world).await;
    for point in ["sync.after_read", "sync.before_commit", "sync.after_commit", "sync.after_claim"]
    {
        let mut daemon = world.spawn_daemon_with_failpoints(&[]);
        let breaks = async {
            until("turns read and mirror together", PATIENCE, async || {
                let counts = ["read_together", "mirrored_together"].map(|e| together(&daemon, e));
                if counts.iter().all(|n| *n > 1) { Ok(()) } else { Err(format!("{counts:?}")) }
            })
            .await;
            daemon.set_failpoint(point, "abort").await;
            daemon.wait_exit(PATIENCE).await;
        };
        let write = async || {
            workload.run(&world, Extent::Steps(10)).await;
        };
        beside(breaks, write).await;
    }
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    history::assert_sound(&world).await;
    daemon.stop().await;
}
