//! A tenant's own rows go back into the tables of the source, and nobody else's change.

use offtake_tests::{Daemon, PATIENCE, World, oracle, until};
use serde_json::json;

use super::{Ended, Snapshots};

/// Types that are easily damaged, keys of several columns, a name that needs quotes, an identity, a
/// generated column, foreign keys with and without `deferrable`, a look-up and a partitioned table.
pub(super) const TABLES: &str = r#"
create extension citext;
create type mood as enum ('good', 'bad');
create domain label as text check (value <> 'forbidden');
create table customer (
  id bigint generated always as identity primary key, tenant uuid not null, name text,
  mail citext unique, mood mood, tag label, doc jsonb, raw bytea, numbers numeric[],
  score float8, big numeric, at timestamptz, shouted text generated always as (upper(name)) stored);
create table "The ""Invoice" (
  tenant uuid, number int, customer bigint not null references customer, total numeric,
  during tstzrange, exclude using gist (during with &&) where (total is null),
  primary key (tenant, number));
create table invoice_line (
  tenant uuid, invoice int, line int, what text, primary key (tenant, invoice, line),
  foreign key (tenant, invoice) references "The ""Invoice" deferrable initially deferred);
create table note (
  id serial primary key, customer bigint references customer, answers int references note, body text);
create table visit (tenant uuid, at date, id int, primary key (tenant, at, id)) partition by range (at);
create table visit_old partition of visit for values from ('2000-01-01') to ('2020-01-01');
create table visit_new partition of visit for values from ('2020-01-01') to ('2100-01-01');
"#;

/// Rows of one tenant.
const ROWS: &str = r#"
insert into customer (tenant, name, mail, mood, tag, doc, raw, numbers, score, big, at)
  select '{tenant}', case n % 4 when 0 then null when 1 then e'tab\tline\n' when 2 then 'ü\N' else '' end,
         'Ann' || n || '@' || left('{tenant}', 8), case when n % 2 = 0 then 'good'::mood end,
         case when n % 3 = 0 then 'tag' end, '{"a": [1.0, null, "ü"]}', decode('00ff5c', 'hex'),
         array[1.10, null, 'NaN']::numeric[], case n % 3 when 0 then 'NaN' when 1 then '-infinity' else 0.1 end,
         case when n % 5 = 0 then 'NaN' else 1e30 / n end,
         case when n % 7 = 0 then 'infinity' else '2026-11-01 12:00+00'::timestamptz end
    from generate_series(1, 30) n;
insert into "The ""Invoice" select tenant, row_number() over (order by id), id, 1.50
  from customer where tenant = '{tenant}';
insert into invoice_line select tenant, number, line, 'what' from "The ""Invoice", generate_series(1, 3) line
  where tenant = '{tenant}';
insert into note (customer, body) select id, 'hello' from customer where tenant = '{tenant}';
insert into note (customer, answers, body) select n.customer, n.id, 'answer' from note n
  join customer c on c.id = n.customer where c.tenant = '{tenant}';
insert into visit select '{tenant}', '2019-12-20'::date + n, n from generate_series(1, 40) n;
"#;

const CUSTOMERS: &str = "\
source: { table: public.customer, tenant: tenant, key: { id: id } }
query: select tenant as tenant_id, id, name, mail::text as mail, doc from public.customer
target: { table: customers }
";

const INVOICES: &str = r#"
source: { table: 'public."The ""Invoice"', tenant: tenant, key: { number: number } }
query: select tenant as tenant_id, number, customer, total from public."The ""Invoice"
target: { table: invoices }
"#;

const NOTES: &str = "\
source:
  table: public.note
  tenant: { table: public.customer, column: tenant, match: { id: customer } }
  key: { id: id }
query: select c.tenant as tenant_id, n.id, n.body from public.note n join public.customer c on c.id = n.customer
depends_on: [{ table: public.customer, match: { customer: id } }]
target: { table: notes }
";

const VISITS: &str = "\
source: { table: public.visit, tenant: tenant, key: { at: at, id: id } }
query: select tenant as tenant_id, at, id from public.visit
target: { table: visits }
";

/// What the role of `restore.source_url` needs; docs/snapshots.md has these statements.
const GRANTS: &str = r#"
grant usage on schema public to {role};
grant select, insert, update, delete on customer, "The ""Invoice", invoice_line, note, visit to {role};
"#;

/// A source with these tables, filled for each tenant; `invoice_line` is in `snapshots.tables`.
pub(super) async fn world(names: &[&str]) -> Snapshots {
    let plan = World::with_tenants(names.to_vec());
    planned(plan, true).await
}

pub(super) async fn planned(plan: offtake_tests::Plan, lines: bool) -> Snapshots {
    let mappings =
        [("customers", CUSTOMERS), ("invoices", INVOICES), ("notes", NOTES), ("visits", VISITS)];
    let mut world = plan.without_init().mappings(&mappings).await;
    let source = &world.source;
    source.execute(TABLES).await;
    for tenant in world.tenants() {
        source.execute(&ROWS.replace("{tenant}", &tenant.id)).await;
    }
    let role = format!("restorer_{}", source.name());
    source.execute(&format!("create role {role} login")).await;
    source.execute(&GRANTS.replace("{role}", &role)).await;
    let url = as_role(&source.url(), &role);
    let files = world.folder().join("files");
    let table = json!({ "table": "public.invoice_line", "tenant": "tenant" });
    world.configure(|configuration| {
        configuration["stores"] = json!({ "disk": { "kind": "disk", "path": files } });
        configuration["restore"] = json!({ "source_url": url });
        if lines {
            configuration["snapshots"] = json!({ "tables": [table] });
        }
    });
    world.succeed(&["init"]).await;
    Snapshots { world }
}

/// The URL with another role, which needs no password there.
pub(super) fn as_role(url: &str, role: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap();
    let server = rest.rsplit_once('@').map_or(rest, |(_, server)| server);
    format!("{scheme}://{role}@{server}")
}

impl Snapshots {
    pub(super) async fn make_of_source(&self, tenant: &str) -> String {
        let create = ["create", "--tenant", self.world.id(tenant), "--kind", "source", "--json"];
        self.run(&create).await.json()["id"].as_str().unwrap().to_owned()
    }

    pub(super) async fn bring_back(&self, id: &str, more: &[&str]) -> Ended {
        let tenant = self.world.id("acme").to_owned();
        let restore = ["restore", id, "--tenant", &tenant, "--into", "source"];
        self.run(&[&restore[..], more].concat()).await
    }

    /// All rows of all tables of one tenant, as text.
    pub(super) async fn rows_of(&self, tenant: &str) -> Vec<String> {
        let id = self.world.id(tenant);
        let mut rows = Vec::new();
        for table in ["customer", "\"The \"\"Invoice\"", "invoice_line", "visit"] {
            let query = format!("select t.* from {table} t where tenant = '{id}' order by t::text");
            rows.extend(self.world.source.copy_out(&query).await);
        }
        let notes = format!(
            "select n.* from note n join customer c on c.id = n.customer where c.tenant = '{id}' order by n.id"
        );
        rows.extend(self.world.source.copy_out(&notes).await);
        rows
    }

    async fn in_step(&self, daemon: Daemon) {
        self.world.wait_in_step().await;
        oracle::assert_equal(&self.world).await;
        let tenant = self.world.id("acme").to_owned();
        self.world.succeed(&["verify", "--tenant", &tenant]).await;
        daemon.stop().await;
    }
}

/// What an employee of `acme` does by mistake: customers with all that hangs on them.
pub(super) fn deletion(tenant: &str) -> String {
    format!(
        r#"begin;
        delete from note n using customer c where c.id = n.customer and c.tenant = '{tenant}' and c.id % 3 = 0;
        delete from invoice_line l using "The ""Invoice" i, customer c
         where i.tenant = l.tenant and i.number = l.invoice and c.id = i.customer and c.tenant = '{tenant}' and c.id % 3 = 0;
        delete from "The ""Invoice" i using customer c where c.id = i.customer and c.tenant = '{tenant}' and c.id % 3 = 0;
        delete from customer where tenant = '{tenant}' and id % 3 = 0;
        delete from visit where tenant = '{tenant}' and id < 20;
        commit"#
    )
}

#[tokio::test]
async fn a_tenants_deleted_rows_come_back_and_nobody_elses_change() {
    let snapshots = world(&["acme", "globex"]).await;
    let (source, acme) = (&snapshots.world.source, snapshots.world.id("acme").to_owned());
    let daemon = snapshots.world.daemon().await;
    snapshots.world.wait_in_step().await;
    let id = snapshots.make_of_source("acme").await;
    let (before, others) = (snapshots.rows_of("acme").await, snapshots.rows_of("globex").await);
    assert_eq!(before.len(), 30 + 30 + 90 + 60 + 40);
    source.execute(&deletion(&acme)).await;
    // What was added and changed since is not touched by `insert-missing`.
    source
        .execute(&format!(
            "update customer set name = 'new name' where tenant = '{acme}' and id % 3 = 1"
        ))
        .await;
    snapshots.world.wait_in_step().await;

    let dry = snapshots.bring_back(&id, &["--dry-run"]).await;
    dry.assert_says(
        3,
        &[
            "public.customer: to add 10, to change 0, to delete 0; 30 rows",
            "public.visit: to add 19",
            r#"public."The ""Invoice": to add 10"#,
            "public.invoice_line: to add 30",
            "public.note: to add 20",
            r#"add {"id": "3"}"#,
        ],
    );
    assert!(!dry.told.contains("Ann"), "no value is told: {dry:?}");
    let refused = snapshots.bring_back(&id, &[]).await;
    refused.assert_says(2, &["no terminal to ask on", "add --yes"]);
    let done = snapshots.bring_back(&id, &["--yes"]).await;
    done.assert_says(0, &["restored 89 rows", "copies follow"]);
    let added = "offtake_restore_rows_total{operation=\"add\"}";
    // A scrape does not wait for a source that answers late.
    until("the added rows are told", PATIENCE, async || match daemon.metric(added).await {
        rows if rows > 0.0 => Ok(()),
        rows => Err(rows.to_string()),
    })
    .await;
    assert_eq!(daemon.metric(added).await, 89.0);
    let again = snapshots.bring_back(&id, &["--dry-run"]).await;
    again.assert_says(0, &["nothing is to be restored"]);
    assert_eq!(snapshots.rows_of("acme").await.len(), before.len());
    assert_eq!(snapshots.rows_of("globex").await, others);

    // `overwrite` makes the others as they were, too.
    let dry = snapshots
        .bring_back(&id, &["--mode", "overwrite", "--table", "public.customer", "--dry-run"])
        .await;
    dry.assert_says(3, &["public.customer: to add 0, to change 10, to delete 0"]);
    let only = [
        "--mode",
        "overwrite",
        "--table",
        "public.customer",
        "--where",
        "id = 4 -- the first",
        "--yes",
    ];
    snapshots.bring_back(&id, &only).await.assert_says(0, &["restored 1 rows"]);
    let changed = snapshots.bring_back(&id, &["--mode", "overwrite", "--yes"]).await;
    changed.assert_says(0, &["to change 9", "restored 9 rows"]);
    assert_eq!(snapshots.rows_of("acme").await, before);

    // `mirror` deletes what was added, and the last line brings that back.
    source
        .execute(&format!(
            "insert into customer (tenant, name) values ('{acme}', 'added');
        insert into note (customer, body) select id, 'added' from customer where name = 'added'"
        ))
        .await;
    let with_added = snapshots.rows_of("acme").await;
    let mirror = ["--mode", "mirror", "--yes"];
    let unconfirmed = snapshots.bring_back(&id, &mirror).await;
    unconfirmed.assert_says(2, &["deletes rows", &format!("add --confirm {acme}")]);
    let mirror = [&mirror[..], &["--confirm", &acme]].concat();
    let done = snapshots.bring_back(&id, &mirror).await;
    done.assert_says(0, &["to delete 1", "restored 2 rows"]);
    assert_eq!(snapshots.rows_of("acme").await, before);
    let last = done.told.lines().last().unwrap();
    let command = last.split('`').nth(1).unwrap().strip_prefix("offtake snapshot ").unwrap();
    let command: Vec<&str> = command.split(' ').chain(["--yes"]).collect();
    snapshots.run(&command).await.assert_says(0, &["restored 2 rows"]);
    assert_eq!(snapshots.rows_of("acme").await, with_added);
    assert_eq!(snapshots.rows_of("globex").await, others);
    snapshots.in_step(daemon).await;
}

/// A tenant of several types, by a column, a domain and an expression; keys that are no primary key
/// or are compared without case; children by inheritance.
const OTHER_TABLES: &str = r#"
create extension citext;
create domain organisation as bigint;
create table plan (id int primary key);
create table base (id int primary key, tenant bigint, v text);
create table base_child (more text, primary key (id)) inherits (base);
create table owned (at organisation, "Key" citext, half int, primary key ("Key", at));
create table document (slug text not null unique, data jsonb);
insert into base select n, 7 + n % 2, 'v' || n from generate_series(1, 10) n;
insert into base_child select n, 7 + n % 2, 'v' || n, 'more' from generate_series(1, 10) n;
insert into owned select 7 + n % 2, 'K' || n, n from generate_series(1, 10) n;
insert into document select 'doc' || n, jsonb_build_object('org', (7 + n % 2)::text) from generate_series(1, 10) n;
"#;

#[tokio::test]
async fn tenants_of_other_types_and_inherited_tables_come_back() {
    let plan = "source: { table: public.plan, tenant: everyone }\nquery: select id from public.plan\n\
                target: { table: plans }\n";
    let mut world = World::with_tenants(["acme"]).without_init().mappings(&[("plans", plan)]).await;
    world.source.execute(OTHER_TABLES).await;
    let (files, url) = (world.folder().join("files"), world.source.url());
    world.configure(|configuration| {
        configuration["stores"] = json!({ "disk": { "kind": "disk", "path": files } });
        configuration["restore"] = json!({ "source_url": url });
        configuration["snapshots"] = json!({ "tables": [
            { "table": "base", "tenant": "tenant" },
            { "table": "owned", "tenant": "at" },
            { "table": "document", "tenant": "data->>'org'" },
        ] });
    });
    world.succeed(&["init"]).await;
    let snapshots = Snapshots { world };
    let source = &snapshots.world.source;
    let all = async || {
        let mut rows = Vec::new();
        for table in ["only base", "base_child", "owned", "document"] {
            rows.extend(
                source.copy_out(&format!("select t.* from {table} t order by t::text")).await,
            );
        }
        rows
    };
    let before = all().await;
    let made =
        snapshots.run(&["create", "--tenant", "7", "--kind", "source", "--json"]).await.json();
    assert_eq!(made["rows"], "20");
    let id = made["id"].as_str().unwrap();
    source
        .execute(
            r#"delete from base where tenant = 7; delete from owned where at = 7 and half > 2;
               update owned set "Key" = lower("Key"), half = 0 where at = 7;
               delete from document where data->>'org' = '7'"#,
        )
        .await;
    let restore =
        ["restore", id, "--tenant", "7", "--into", "source", "--mode", "overwrite", "--yes"];
    let done = snapshots.run(&restore).await;
    done.assert_says(
        0,
        &[
            "public.base: to add 5",
            "public.base_child: to add 5",
            "public.owned: to add 4, to change 1",
            "public.document: to add 5",
            "restored 20 rows",
        ],
    );
    // A key that is compared without case keeps the spelling that it has now.
    source.execute(r#"update owned set "Key" = upper("Key") where at = 7"#).await;
    assert_eq!(all().await, before);
}
