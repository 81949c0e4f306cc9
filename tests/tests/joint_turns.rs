//! Destinations in databases of their own, which are due at the same time: their turns read and
//! mirror together, and each copy is as if its turn were alone.

use std::time::{Duration, Instant};

use offtake_tests::proxy::Cut;
use offtake_tests::workload::Workload;
use offtake_tests::{Daemon, PATIENCE, Plan, World, history, oracle, until};

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
        .without_init()
}

/// Each tenant has a note and a mark, all are copied, and the daemon has written to each.
async fn world(tenants: usize) -> (World, Daemon) {
    made(plan(tenants)).await
}

async fn made(plan: Plan) -> (World, Daemon) {
    let mut world = plan.await;
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

/// Changes something for every tenant, and has their turns begin at once.
async fn all_at_once(world: &World, daemon: &Daemon, statement: &str) {
    all_at_once_after(world, daemon, statement, || ()).await;
}

/// The same; `first` is done when all turns wait at their beginning.
async fn all_at_once_after<T>(
    world: &World,
    daemon: &Daemon,
    statement: &str,
    first: impl FnOnce() -> T,
) -> T {
    let before = daemon.failpoint_count("sync.after_claim");
    daemon.set_failpoint("sync.after_claim", "pause").await;
    world.source.execute(statement).await;
    daemon.wait_at_failpoint("sync.after_claim", before + world.tenants().len()).await;
    let done = first();
    daemon.clear_failpoint("sync.after_claim").await;
    done
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
    // A turn waits a quarter of a second for others. Where the machine stands still for longer,
    // each goes alone for a while; then all statements are written once more.
    let (mut alone, began) = (statements.to_vec(), Instant::now());
    while !alone.is_empty() && began.elapsed() < PATIENCE {
        for statement in statements {
            let read = together(&daemon, "read_together");
            let mirrored = together(&daemon, "mirrored_together");
            all_at_once(&world, &daemon, statement).await;
            world.wait_in_step().await;
            oracle::assert_equal(&world).await;
            if together(&daemon, "read_together") > read
                && together(&daemon, "mirrored_together") > mirrored
            {
                alone.retain(|one| *one != statement);
            }
        }
    }
    assert!(alone.is_empty(), "each read or mirrored alone: {alone:?}");
    let mirrored = "
        select string_agg(m.mapping || m.sequence_id || coalesce(m.target_identity, '-'), ',' order by m.mapping)
          from offtake.destination_mapping m join offtake.destination d using (destination_id)
         where d.tenant_id = '{}'";
    let there = "
        select string_agg(s.mapping || s.sequence_id || c.oid || ':' || c.relfilenode, ',' order by s.mapping)
          from _offtake_state s join pg_class c on c.oid = s.mapping::regclass where s.mapping is not null";
    for tenant in world.tenants() {
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
    let change = format!(
        "update note set body = case tenant when '{poisoned}' then 'poison' else 'fine' end"
    );
    all_at_once(&world, &daemon, &change).await;
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
    let change =
        format!("update note set body = case tenant when '{slow}' then 'slow' else 'fast' end");
    all_at_once(&world, &daemon, &change).await;
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

/// Who waited for a reader was not slow. Fails if that wait counts: then what was to be read
/// together, and each that was to be read alone, is read alone for a while.
#[tokio::test]
async fn turns_that_waited_for_a_reader_are_read_together_afterwards() {
    let (world, daemon) = made(plan(12).setting("/sync/workers", 1)).await;
    let slow = &world.tenant("t5").id;
    world.source.execute(&format!("update note set body = 'slow' where tenant = '{slow}'")).await;
    let sleeps = "select count(*) from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep' and query like '%note%'";
    world.source.wait_text(sleeps, "1").await;
    let others = format!("update note set body = 'second' where tenant <> '{slow}'");
    world.source.execute(&others).await;
    world.wait_in_step().await;
    // A machine that stands still for a moment has turns go alone, too. If the wait counted, they
    // would for three times as long as this.
    const TOGETHER_WITHIN: Duration = Duration::from_secs(5);
    let (read, began) = (together(&daemon, "read_together"), Instant::now());
    while together(&daemon, "read_together") == read && began.elapsed() < TOGETHER_WITHIN {
        all_at_once(&world, &daemon, "update note set body = body || '.'").await;
        world.wait_in_step().await;
    }
    assert!(together(&daemon, "read_together") > read, "each read alone");
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
        let works_together = async |daemon: &Daemon| {
            until("turns read and mirror together", PATIENCE, async || {
                let counts = ["read_together", "mirrored_together"].map(|e| together(daemon, e));
                if counts.iter().all(|n| *n > 1) { Ok(()) } else { Err(format!("{counts:?}")) }
            })
            .await;
        };
        workload.run_until_killed(&world, point, works_together).await;
    }
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    history::assert_sound(&world).await;
    daemon.stop().await;
}

/// A turn that mirrors for others does not learn whether its commit happened, or whether the requests
/// are completed: each of them asks again, alone.
#[tokio::test]
async fn replies_that_the_source_loses_leave_nothing_owed() {
    let (world, daemon) = made(plan(24).setting("/poller/lease", "2s").proxied_source()).await;
    world.allow("*");
    for cut in [Cut::before_reply("commit").times(12), Cut::before_reply("delete").times(3)] {
        let change = "update note set body = body || '+'; update mark set value = 2";
        let arm = || world.source_proxy().arm(cut);
        let cut = all_at_once_after(&world, &daemon, change, arm).await;
        cut.wait().await;
        world.wait_in_step().await;
        oracle::assert_equal(&world).await;
    }
    daemon.stop().await;
}
