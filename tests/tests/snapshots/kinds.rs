//! Daemons that make snapshots of both kinds in each interval.

use offtake_tests::{Daemon, World};
use serde_json::{Value, json};

use super::Snapshots;
use super::daemons::complete_round;
use super::source_beside::{INVOICE_TABLES, INVOICES, PLANS};

/// The tenant's snapshots: how many of each kind stand in each state, or are old.
const STATES: &str =
    "select string_agg(of_kind || ' ' || stands || ' ' || jobs, ', ' order by of_kind, stands)
    from (select coalesce(options ->> 'kind', 'rows') as of_kind, count(*) as jobs,
                 case when state in ('completed', 'expired') and expires_at <= now() then 'old'
                      else state end as stands
            from offtake.job where kind = 'snapshot' group by of_kind, stands) s";

const MADE: &str = "select made_at from offtake.snapshot_schedule";

impl Snapshots {
    /// An interval begins, and its snapshots end like this.
    async fn interval(&self, states: &str) {
        let due = "update offtake.snapshot_schedule set next_at = now()";
        self.world.source.wait_text("select count(*) from offtake.snapshot_schedule", "1").await;
        self.world.source.execute(due).await;
        self.world.source.wait_text(STATES, states).await;
    }

    async fn made_at(&self) -> String {
        self.world.source.query_text(MADE).await
    }

    async fn newest_of_source(&self) -> Value {
        let listed = self.run(&["list", "--json"]).await.json();
        let of_source = listed.as_array().unwrap().iter().find(|one| one["kind"] == "source");
        of_source.unwrap().clone()
    }

    /// A daemon that has read the configuration, and leaves out tables where `tables` is empty.
    async fn daemon_with(&mut self, tables: Value) -> Daemon {
        self.world.configure(|c| c["snapshots"]["tables"] = tables);
        let daemon = self.world.daemon().await;
        for event in ["snapshot_partial", "snapshot_failed", "snapshot_paused"] {
            daemon.allow(event);
        }
        daemon
    }
}

/// One of each kind in each interval. What lacks a table, or fails, leaves the tenant waiting for a
/// whole one, and replaces none.
#[tokio::test]
async fn daemons_make_a_snapshot_of_each_kind_in_each_interval() {
    let plan = World::with_tenants(["acme"]).without_init();
    let mut world = plan.mappings(&[("invoices", INVOICES), ("plans", PLANS)]).await;
    let acme = world.id("acme").to_owned();
    world.source.execute(&INVOICE_TABLES.replace("{acme}", &acme)).await;
    world.source.execute("create table plan (id int primary key)").await;
    let (files, url) = (world.folder().join("files"), world.source.url());
    world.configure(|c| {
        c["stores"] = json!({ "disk": { "kind": "disk", "path": files } });
        c["restore"] = json!({ "source_url": url });
        c["snapshots"] = json!({
            "every": "24h", "kinds": ["rows", "source"], "max_duration": "10s",
            "keep": { "last": 1, "within": "0s" },
        });
    });
    world.succeed(&["init"]).await;
    let mut snapshots = Snapshots { world };
    let lines = json!([{ "table": "public.invoice_line", "tenant": "tenancy_id" }]);

    // A table that is left out is told, and the alert on the age of snapshots goes on counting.
    let daemon = snapshots.daemon_with(json!([])).await;
    snapshots.world.wait_in_step().await;
    snapshots.interval("rows completed 1, source completed 1").await;
    daemon.wait_logged("snapshot_partial").await;
    let told = daemon.log().into_iter().find(|line| line.event == "snapshot_partial").unwrap();
    let reference = "public.invoice_line (invoice) refers to public.invoice";
    assert!(told.text.contains(reference), "{}", told.text);
    snapshots.run(&["list"]).await.assert_says(0, &["yes, not all tables", "rows"]);
    assert_eq!(snapshots.made_at().await, "");
    daemon.stop().await;

    // One ends and the next is recorded in one transaction: where the second cannot be, neither is.
    let refuse = "create function refuse() returns trigger language plpgsql as
          $$ begin raise 'not now'; end $$;
        create trigger refuse before insert on offtake.job for each row
          when (new.options ->> 'kind' = 'source') execute function refuse()";
    snapshots.world.source.execute(refuse).await;
    let daemon = snapshots.daemon_with(lines).await;
    snapshots.interval("rows completed 1, rows paused 1, source completed 1").await;
    let again = "drop function refuse cascade;
        update offtake.job set not_before = now() where state = 'paused'";
    snapshots.world.source.execute(again).await;
    let states = "rows completed 1, rows old 1, source completed 1, source old 1";
    snapshots.world.source.wait_text(STATES, states).await;
    let made_at = snapshots.made_at().await;
    assert_ne!(made_at, "");
    let of_source = snapshots.newest_of_source().await;
    let id = of_source["id"].as_str().unwrap();
    assert_eq!((&of_source["rows"], &of_source["narrowed"]), (&json!("9"), &json!(false)));
    let path = format!("/api/v1/snapshots/{id}");
    let told: Value = serde_json::from_str(&daemon.get(&path).await.1).unwrap();
    assert_eq!((&told["kind"], &told["scheduled"]), (&json!("source"), &json!(true)), "{told}");

    // A snapshot of rows that fails for good keeps no other kind from being made.
    let holder = snapshots.world.source.connect().await;
    holder.batch_execute("begin; lock table plan in access exclusive mode").await.unwrap();
    snapshots
        .interval("rows completed 1, rows failed 1, rows old 1, source completed 1, source old 2")
        .await;
    holder.batch_execute("rollback").await.unwrap();
    assert_eq!(snapshots.made_at().await, made_at);
    daemon.stop().await;

    let whole = snapshots.newest_of_source().await["id"].as_str().unwrap().to_owned();

    // Neither does one of the application's tables that has failed again and again.
    let gone = json!([{ "table": "public.gone", "tenant": "tenancy_id" }]);
    let daemon = snapshots.daemon_with(gone).await;
    let rows = "rows completed 1, rows failed 1, rows old 2";
    snapshots.interval(&format!("{rows}, source completed 1, source old 2, source paused 1")).await;
    // The next attempt, a second later, clears the reason while it goes on.
    let reason = "select reason from offtake.job where state = 'paused'";
    snapshots.world.source.wait_text(reason, "there is no table public.gone").await;
    let again = "update offtake.job set failures = 10, not_before = now()
         where state in ('paused', 'processing')";
    snapshots.world.source.execute(again).await;
    let states = format!("{rows}, source completed 1, source failed 1, source old 2");
    snapshots.world.source.wait_text(STATES, &states).await;
    daemon.stop().await;

    // The newest from which nothing is left out is kept beside a newer one.
    let daemon = snapshots.daemon_with(json!([])).await;
    let rows = "rows completed 1, rows failed 1, rows old 3";
    let of_source = "source completed 2, source failed 1, source old 2";
    let states = format!("{rows}, {of_source}");
    snapshots.interval(&states).await;
    assert_eq!(snapshots.world.source.query_text(STATES).await, states);

    // One that a client asked for is none of the interval that begins while it goes on: the
    // interval has its own afterwards, one of each kind.
    let asked_for = format!(
        "insert into offtake.job (public_id, kind, tenant_id, store, state, not_before)
         values ('snap_20261128-031300_k7f3a2', 'snapshot', '{acme}', 'disk', 'paused',
                 now() + interval '1 h')"
    );
    snapshots.world.source.execute(&asked_for).await;
    let waits = "rows completed 1, rows failed 1, rows old 3, rows paused 1";
    snapshots.interval(&format!("{waits}, {of_source}")).await;
    for _ in 0..3 {
        complete_round(&daemon).await;
    }
    let again = "update offtake.job set not_before = now() where state = 'paused'";
    snapshots.world.source.execute(again).await;
    let states = "rows completed 1, rows failed 1, rows old 5, \
                  source completed 2, source failed 1, source old 3";
    snapshots.world.source.wait_text(STATES, states).await;
    let later = "select count(*) from offtake.snapshot_schedule where next_at > now()";
    assert_eq!(snapshots.world.source.query_text(later).await, "1");
    daemon.stop().await;
    snapshots.world.source.execute("delete from invoice_line; delete from invoice").await;
    let lines = json!([{ "table": "public.invoice_line", "tenant": "tenancy_id" }]);
    snapshots.world.configure(|c| c["snapshots"]["tables"] = lines);
    snapshots.bring_back(&whole, &["--yes"]).await.assert_says(0, &["restored 9 rows"]);
}
