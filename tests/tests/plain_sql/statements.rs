//! One statement of every kind.

use std::process::Stdio;

use offtake_tests::{World, oracle};
use tokio::io::AsyncWriteExt as _;

use crate::start;

const TABLES: &str = "
    create table account (tenant text not null, id int not null, name text, active boolean not null default true, boss int,
                          primary key (tenant, id),
                          foreign key (tenant, boss) references account on delete cascade);
    create table purchase (tenant text not null, id int not null, account int, note text, hidden boolean not null default false,
                           primary key (tenant, id), foreign key (tenant, account) references account on delete cascade);
    create table line (tenant text not null, purchase int not null, no int not null, note text, primary key (tenant, purchase, no),
                       foreign key (tenant, purchase) references purchase on delete cascade on update cascade);
    create table event (tenant text not null, id int not null, kind text not null, note text, primary key (tenant, id, kind))
      partition by list (kind);
    create table event_a partition of event for values in ('a');
    create table event_b partition of event for values in ('b') partition by range (id);
    create table event_b1 partition of event_b for values from (0) to (100);
    create table event_b2 partition of event_b for values from (100) to (maxvalue);
    create index on purchase (tenant, account)";

const MAPPINGS: [(&str, &str); 4] = [
    (
        "accounts",
        "
source: { table: public.account, tenant: tenant }
depends_on: [{ table: public.purchase, match: { tenant: tenant, id: account } }]
query: |
  select a.tenant as tenant_id, a.id, a.name,
         (select count(*) from purchase p where p.tenant = a.tenant and p.account = a.id and not p.hidden) as purchases
    from account a
target: { table: accounts }",
    ),
    (
        "purchases",
        "
source: { table: public.purchase, tenant: tenant }
depends_on: [{ table: public.account, match: { tenant: tenant, account: id } }]
query: |
  select p.tenant as tenant_id, p.id, p.note, a.name as account
    from purchase p join account a on a.tenant = p.tenant and a.id = p.account
   where not p.hidden and a.active
target: { table: purchases }",
    ),
    (
        "lines",
        "source: { table: public.line, tenant: tenant }\nquery: select tenant as tenant_id, purchase, no, note from line\ntarget: { table: lines }",
    ),
    (
        "events",
        "source: { table: public.event, tenant: tenant }\nquery: select tenant as tenant_id, id, kind, note from event\ntarget: { table: events }",
    ),
];

/// Rows that every case may change or delete; `{t}` is the tenant.
const ROWS: &str = "
    delete from account where tenant = '{t}'; delete from purchase where tenant = '{t}'; delete from event where tenant = '{t}';
    insert into account select '{t}', n, 'account ' || n from generate_series(1, 9) n;
    insert into purchase select '{t}', n, 1 + n % 9, 'purchase ' || n from generate_series(1, 90) n;
    insert into line select '{t}', p, n, 'line' from generate_series(1, 90) p, generate_series(1, 2) n;
    insert into event select '{t}', n, k, 'event' from generate_series(1, 120) n, unnest(array['a', 'b']) k;";

/// Input for psql. Before each case [`ROWS`] are inserted. A case must change the source, unless it
/// begins with `-- nothing`.
const CASES: [&str; 37] = [
    // Sets of rows, upserts, MERGE, CTEs that write.
    "insert into account values ('{t}', 10, 'ten'), ('{t}', 11, null); insert into account select tenant, id + 100, name from account where tenant = '{t}'",
    "insert into account values ('{t}', 1, 'again'), ('{t}', 20, 'new') on conflict (tenant, id) do nothing",
    "insert into event values ('{t}', 1, 'a', 'again'), ('{t}', 500, 'b', 'new') on conflict (tenant, id, kind) do update set note = excluded.note || '!'",
    "merge into purchase p using (select '{t}' as tenant, n as id from generate_series(85, 95) n) s on p.tenant = s.tenant and p.id = s.id
       when matched and s.id < 88 then delete when matched then update set note = 'merged' when not matched then insert values (s.tenant, s.id, 1, 'merged', false)",
    "merge into event_a e using (select '{t}' as tenant, n as id from generate_series(115, 125) n) s on e.tenant = s.tenant and e.id = s.id
       when matched then delete when not matched then insert values (s.tenant, s.id, 'a', 'merged')",
    "with gone as (delete from line where tenant = '{t}' and purchase < 30 returning *), came as (insert into line select tenant, purchase, no + 10, 'moved' from gone)
       update purchase set note = 'lost its lines' where tenant = '{t}' and id in (select purchase from gone)",
    "with a as (update line set note = 'a' where tenant = '{t}' and no = 1), b as (update line set note = 'b' where tenant = '{t}' and no = 2) delete from line where tenant = '{t}' and purchase = 90 and no > 2 or purchase = 1000;
     with a as (insert into event values ('{t}', 900, 'a', 'x') returning *) insert into event select tenant, id, 'b', note from a",
    "update purchase p set note = l.note from line l where l.tenant = p.tenant and l.purchase = p.id and p.id < 5 and p.tenant = '{t}'",
    "delete from line l using purchase p where p.tenant = l.tenant and p.id = l.purchase and p.id % 2 = 0 and p.tenant = '{t}'",
    // COPY, on a table, a root and a leaf.
    "copy account (tenant, id, name) from stdin;\n{t}\t200\tcopied\n{t}\t201\t\\N\n\\.",
    "copy event from stdin;\n{t}\t700\ta\tcopied\n{t}\t700\tb\tcopied\n\\.\ncopy event_b2 from stdin;\n{t}\t701\tb\tcopied\n\\.",
    // Cascades, also of a table into itself.
    "delete from account where tenant = '{t}' and id in (1, 2)",
    "update account set boss = id - 1 where tenant = '{t}' and id > 1; delete from account where tenant = '{t}' and id = 4",
    "update purchase set id = id + 1000 where tenant = '{t}' and id <= 20",
    // TRUNCATE: alone, through foreign keys, of a partition, rolled back, and followed by inserts.
    "truncate line",
    "truncate account cascade",
    "truncate event_b1; truncate event_a",
    "-- nothing\nbegin; truncate account cascade; rollback",
    "begin; savepoint s; truncate event; rollback to s; update event set note = 'kept' where id = 1; commit",
    "begin; truncate purchase cascade; insert into purchase values ('{t}', 1, 1, 'after'), ('{t}', 300, 2, 'after'); insert into line values ('{t}', 1, 1, 'after'); commit",
    "begin; insert into event values ('{t}', 800, 'a', 'before'); truncate event; insert into event values ('{t}', 801, 'b', 'after'); delete from event where id = 801; insert into event values ('{t}', 802, 'a', 'after'); commit",
    // Sessions that skip ordinary triggers.
    "set session_replication_role = replica; insert into account values ('{t}', 30, 'replica'); update event set note = 'replica' where tenant = '{t}' and id < 9; delete from line where tenant = '{t}' and no = 1",
    "set session_replication_role = replica; truncate event",
    // Rows leave the filter and come back: by a change of the row itself, of the joined row, or of
    // both, within one transaction or in several.
    "update purchase set hidden = true where tenant = '{t}' and id % 3 = 0",
    "update purchase set hidden = true where tenant = '{t}' and id % 3 = 0; update purchase set hidden = false, note = 'back' where tenant = '{t}' and id % 6 = 0",
    "update account set active = false where tenant = '{t}' and id < 4",
    "update account set active = false where tenant = '{t}'; update account set active = true, name = 'back' where tenant = '{t}' and id < 4",
    "begin; update account set active = false where tenant = '{t}' and id = 5; update purchase set hidden = true where tenant = '{t}' and account = 5; update account set active = true where tenant = '{t}' and id = 5; commit; update purchase set hidden = false where tenant = '{t}' and account = 5 and id > 40",
    "update purchase set account = null where tenant = '{t}' and id < 10; update purchase set account = 3 where tenant = '{t}' and id < 4",
    // Between partitions, through the root and through a parent of leaves.
    "update event set kind = 'a', id = id + 1000 where tenant = '{t}' and kind = 'b' and id < 10; update event_b set id = id + 500 where tenant = '{t}' and id > 90",
    "update event set tenant = 'elsewhere' where tenant = '{t}' and id < 50; update event set tenant = '{t}' where tenant = 'elsewhere' and id < 20",
    // A rollback leaves nothing; a caught error keeps the changes made before it.
    "-- nothing\nbegin; delete from account; update event set note = 'x'; rollback",
    "begin; update line set note = 'kept' where tenant = '{t}' and no = 1; savepoint s; delete from line; rollback to s; savepoint s2; insert into event values ('{t}', 950, 'a', 'kept'); release s2; commit",
    "do $$ begin update event set note = 'before' where id = 2; begin delete from event; raise 'undone'; exception when others then null; end; insert into event values ('{t}', 960, 'b', 'after'); end $$",
    "do $$ declare c cursor for select * from line where tenant = '{t}' and purchase < 8 for update; begin for r in c loop
       if r.purchase % 2 = 0 then delete from line where current of c; else update line set note = 'by cursor' where current of c; end if; end loop; end $$",
    // Triggers and rules of the application that write elsewhere, and a table written through a
    // view.
    "create function copy_event() returns trigger language plpgsql as $$ begin insert into event values (new.tenant, new.id, 'a', 'by trigger') on conflict do nothing; new.name := upper(new.name); return new; end $$;
     create trigger copy before insert on account for each row execute function copy_event(); insert into account values ('{t}', 990, 'lower'); drop trigger copy on account; drop function copy_event",
    "create view shown as select * from purchase where not hidden; update shown set note = 'through a view' where tenant = '{t}' and id < 7; delete from shown where tenant = '{t}' and id = 80; drop view shown",
];

async fn psql(world: &World, script: &str) {
    let mut command = tokio::process::Command::new("psql");
    command.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", &world.source.url()]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().unwrap();
    process.stdin.take().unwrap().write_all(format!("{script}\n;\n").as_bytes()).await.unwrap();
    let output = process.wait_with_output().await.unwrap();
    assert!(output.status.success(), "{script}\n{}", String::from_utf8_lossy(&output.stderr));
}

/// Each case runs alone, so that a failure names it. For comparison, the previous system's method
/// runs in the same database under its best conditions: it finds every changed row, but application
/// code has to record deletions, and here there is none.
#[tokio::test]
async fn statements_of_every_kind_arrive() {
    let world = World::with_tenants(["acme", "globex"]).mappings(&MAPPINGS).without_init().await;
    let daemon = start(&world, TABLES).await;
    for tenant in ["acme", "globex"] {
        world.source.execute(&ROWS.replace("{t}", world.id(tenant))).await;
    }
    world
        .source
        .execute("create schema naive; create table naive.line (like line including all)")
        .await;
    const CONTENT: &str =
        "select md5(string_agg(r::text, ',' order by r::text)) from (select a::text from account a union all select p::text from purchase p
        union all select l::text from line l union all select e::text from event e) x (r)";
    for case in CASES {
        world.source.execute(&ROWS.replace("{t}", world.id("acme"))).await;
        world.wait_in_step().await;
        let before = world.source.query_text(CONTENT).await;
        psql(&world, &case.replace("{t}", world.id("acme"))).await;
        let changed = world.source.query_text(CONTENT).await != before;
        assert_ne!(changed, case.starts_with("-- nothing"), "{case}");
        world.wait_in_step().await;
        oracle::assert_equal_after(&world, case).await;
        world
            .source
            .execute("insert into naive.line select * from line on conflict (tenant, purchase, no) do update set note = excluded.note")
            .await;
    }
    let ghosts = "select count(*) from naive.line n where not exists
        (select from line l where (l.tenant, l.purchase, l.no) = (n.tenant, n.purchase, n.no))";
    assert_ne!(world.source.query_text(ghosts).await, "0");
    daemon.stop().await;
}
