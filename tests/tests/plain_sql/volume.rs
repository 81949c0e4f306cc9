//! One change that concerns very many rows (H13).

use std::time::Duration;

use offtake_tests::{PATIENCE, World, oracle, until};

use crate::start;

const CHILDREN: usize = 100_000;

/// A failpoint in every tick that has something to number.
const TICK: &str = "sequencer.after_stamp";

const TABLES: &str = "
    create table parent (tenant text not null, id int not null, name text, active boolean not null default true, primary key (tenant, id));
    create table child (tenant text not null, id int not null, parent int not null, primary key (tenant, id));
    create index on child (tenant, parent, id)";

const MAPPINGS: [(&str, &str); 2] = [
    (
        "children",
        "
source: { table: public.child, tenant: tenant }
depends_on: [{ table: public.parent, match: { tenant: tenant, parent: id } }]
query: |
  select c.tenant as tenant_id, c.id, p.name from child c join parent p on p.tenant = c.tenant and p.id = c.parent where p.active
target: { table: children }",
    ),
    (
        "parents",
        "source: { table: public.parent, tenant: tenant }\nquery: select tenant as tenant_id, id, name from parent\ntarget: { table: parents }",
    ),
];

/// A parent's change reaches 100 000 children, in bounded pages. Meanwhile another tenant's change
/// is numbered between two pages and arrives before all children have. For this the test pauses the
/// sequencer twice: in the tick of the parent's change until the other change is written, and a few
/// ticks later until that change has arrived.
#[tokio::test]
async fn a_parent_with_100_000_children_leaves_and_reenters_and_delays_nobody() {
    let world = World::with_tenants(["acme", "globex"]).mappings(&MAPPINGS).without_init().await;
    let daemon = start(&world, TABLES).await;
    let (acme, globex) = (world.id("acme"), world.id("globex"));
    world
        .source
        .execute(&format!(
            "insert into parent values ('{acme}', 1, 'big'), ('{globex}', 1, 'small');
             insert into child select '{acme}', n, 1 from generate_series(1, {CHILDREN}) n; insert into child values ('{globex}', 1, 1); analyze"
        ))
        .await;
    world.wait_in_step().await;
    // The source ends a tick that pauses for long.
    world.allow("source_failed");
    let children = async || {
        world
            .tenant("acme")
            .destination
            .query_text("select count(*), min(name) from children")
            .await
    };
    let changes = [
        ("set active = false", "0|".to_owned()),
        ("set active = true, name = 'back'", format!("{CHILDREN}|back")),
    ];
    for (round, (change, expected)) in (2..).zip(changes) {
        let last = world.source.query_text("select max(sequence_id) from offtake.change_log").await;
        let held = daemon.failpoint_count(TICK);
        daemon.set_failpoint(TICK, "pause").await;
        world.source.execute(&format!("update parent {change} where tenant = '{acme}'")).await;
        daemon.wait_at_failpoint(TICK, held + 1).await;
        world
            .source
            .execute(&format!("update child set id = id + 1 where tenant = '{globex}'"))
            .await;
        daemon.set_failpoint(TICK, "2*off->pause").await;
        until("the other tenant's change arrives", PATIENCE, async || {
            let found =
                world.tenant("globex").destination.query_text("select max(id) from children").await;
            if found == round.to_string() { Ok(()) } else { Err(found) }
        })
        .await;
        assert_ne!(children().await, expected, "it arrives when all {CHILDREN} have");
        daemon.clear_failpoints().await;
        world.wait_in_step_within(Duration::from_secs(60)).await;
        assert_eq!(children().await, expected);
        let between = format!(
            "select count(*) > 0 from offtake.change_log where source_table = 'public.child' and tenant_id = '{acme}' and sequence_id >
               (select max(sequence_id) from offtake.change_log where source_table = 'public.child' and tenant_id = '{globex}')"
        );
        assert_eq!(world.source.query_text(&between).await, "t", "numbered behind all {CHILDREN}");
        let woken = format!(
            "select count(*), count(distinct row_key) from offtake.change_log where source_table = 'public.child' and tenant_id = '{acme}' and sequence_id > {last}"
        );
        assert_eq!(world.source.query_text(&woken).await, format!("{CHILDREN}|{CHILDREN}"));
    }
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}
