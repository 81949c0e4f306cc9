//! `verify` against two databases: it finds every kind of difference, and does not report changes
//! that are not applied yet.

use std::path::Path;
use std::time::Duration;

use offtake_mapping::{Identifier, ResolvedMapping};
use offtake_sync::destinations::Reader;
use offtake_sync::verify::{Error, Options, Report, VerifyTarget, verify};
use offtake_tests::{Database, Source};

/// A source and a destination. The test has made a correct copy itself, by COPY.
struct Pair {
    source: Database,
    destination: Database,
    mapping: ResolvedMapping,
}

const ITEMS: &str = "
source: { table: public.item, tenant: tenant, key: { id: id } }
query: select tenant as tenant_id, id, name, amount, kind, data from public.item
target: { table: items }
";

/// Keys whose order depends on the collation, and values whose text is easily damaged.
const ITEM_TABLE: &str = "
  create type public.kind as enum ('zebra', 'ant');
  create table public.item (tenant text, id text, name text, amount numeric, kind public.kind, data jsonb, primary key (tenant, id));
  insert into public.item
  select t, case n % 4 when 0 then 'a-' || n when 1 then 'B' || n when 2 then 'ä' || n else e'it''s\\\\ ' || n end,
         nullif(repeat('x', n % 3), 'xx'), n / 3.0, case n % 2 when 0 then 'zebra' else 'ant' end::public.kind, jsonb_build_array(n, null, 'ü')
    from generate_series(1, 1000) n, unnest(array['acme', 'globex']) t";

const STATE_TABLE: &str = "
  create table public._offtake_state (tenant_id text, mapping text, sequence_id bigint not null, backfilled boolean not null,
    backfill_key jsonb, epoch uuid not null, version text not null, updated_at timestamptz not null, primary key (tenant_id, mapping));
  insert into public._offtake_state values ('acme', 'items', 0, true, null, gen_random_uuid(), '', now())";

impl Pair {
    async fn new(source_sql: &str, mapping: &str, destination_table: &str) -> Self {
        let source = Source::prepared().await;
        source.execute(source_sql).await;
        let destination = Source::destination().await;
        destination.execute(STATE_TABLE).await;
        destination.execute(destination_table).await;
        let parsed =
            offtake_mapping::parse(Path::new("items.yaml"), mapping).expect("the mapping parses");
        let resolved = offtake_postgres::catalog::resolve(&source.connect().await, vec![parsed])
            .await
            .expect("the mapping resolves");
        Self { source, destination, mapping: resolved.mappings()[0].as_ref().clone() }
    }

    async fn items() -> Self {
        let table = "create table items (id text collate \"C\" primary key, name text, amount numeric, kind text, data jsonb)";
        let pair = Self::new(ITEM_TABLE, ITEMS, table).await;
        pair.copy(
            "items",
            "select id, name, amount, kind, data from public.item where tenant = 'acme'",
        )
        .await;
        pair
    }

    async fn copy(&self, table: &str, query: &str) {
        use futures_util::SinkExt as _;
        let rows = self.source.copy_out(query).await;
        let client = self.destination.connect().await;
        let sink = client.copy_in(&format!("copy {table} from stdin")).await.expect("COPY begins");
        let mut sink = Box::pin(sink);
        let text: String =
            rows.iter().map(|row| format!("{}\n", row.trim_end_matches('\n'))).collect();
        sink.send(bytes::Bytes::from(text)).await.expect("COPY takes rows");
        sink.as_mut().finish().await.expect("COPY ends");
    }

    async fn verify_with(&self, options: &Options) -> Result<Report, Error> {
        let schema = Identifier::new("public").expect("a name");
        let target =
            VerifyTarget { mapping: &self.mapping, tenant_id: "acme", tenant_at_source: "acme" };
        let destination = self.destination.connect().await;
        let reader = Reader::Postgres { client: &destination, schema: &schema };
        verify(&self.source.connect().await, reader, &target, options).await
    }

    async fn verify(&self) -> Report {
        self.verify_with(&options()).await.unwrap_or_else(|error| panic!("{}", error.message()))
    }
}

/// Such small ranges that a thousand rows are many, and no waiting for changes that do not arrive.
fn options() -> Options {
    Options { range_rows: 37, wait: Duration::from_millis(200), ..Options::default() }
}

fn counts(report: &Report) -> [u64; 5] {
    [report.rows, report.missing, report.extra, report.different, report.unsettled]
}

#[tokio::test]
async fn an_exact_copy_is_equal_at_every_range_size() {
    let pair = Pair::items().await;
    for range_rows in [1, 37, 999, 1000, 1001] {
        let report = pair
            .verify_with(&Options { range_rows, ..options() })
            .await
            .expect("both sides are read");
        assert_eq!(
            (counts(&report), report.rechecked),
            ([1000, 0, 0, 0, 0], 0),
            "{range_rows} rows per range"
        );
        assert!(report.equal());
    }
}

#[tokio::test]
async fn every_kind_of_difference_is_found_with_its_key_and_columns() {
    let pair = Pair::items().await;
    pair.destination
        .execute(
            "delete from items where id in ('a-4', 'ä2');
             insert into items (id, name) values ('zz', 'foreign'), ('0', null);
             update items set name = '' where id = 'B5' and name is null;
             update items set amount = 1.0 where id = e'it''s\\\\ 3' and amount = 1;
             update items set kind = 'ant', data = '[]' where id = 'a-8'",
        )
        .await;
    let report = pair.verify().await;
    assert_eq!(counts(&report), [1000, 2, 2, 3, 0], "{report:#?}");
    let told = |key: &str| {
        let found = report
            .differences
            .iter()
            .find(|d| d.key["id"] == key)
            .unwrap_or_else(|| panic!("{key} in {report:#?}"));
        (serde_json::to_value(found.kind).expect("a name"), found.columns.join(","))
    };
    assert_eq!(told("ä2"), ("missing".into(), String::new()));
    assert_eq!(told("zz"), ("extra".into(), String::new()));
    assert_eq!(told("B5"), ("different".into(), "name".to_owned()));
    assert_eq!(told("it's\\ 3"), ("different".into(), "amount".to_owned()));
    assert_eq!(told("a-8"), ("different".into(), "kind,data".to_owned()));
    assert!(
        report.differences.iter().all(|d| d.source.is_none() && d.destination.is_none()),
        "values only if asked for"
    );

    let report = pair
        .verify_with(&Options { values: true, differences_max: 1, ..options() })
        .await
        .expect("both sides are read");
    assert_eq!((counts(&report), report.differences.len()), ([1000, 2, 2, 3, 0], 1));
}

#[tokio::test]
async fn an_empty_side_and_a_surplus_are_counted() {
    let pair = Pair::items().await;
    pair.source.execute("delete from public.item where tenant = 'acme'").await;
    assert_eq!(counts(&pair.verify().await), [0, 0, 1000, 0, 0]);
    pair.destination.execute("truncate items").await;
    assert_eq!(counts(&pair.verify().await), [0, 0, 0, 0, 0]);
    pair.source.execute("update public.item set tenant = 'acme'").await;
    assert_eq!(counts(&pair.verify().await), [1000, 1000, 0, 0, 0]);
}

#[tokio::test]
async fn changes_on_their_way_are_no_differences() {
    let pair = Pair::items().await;
    let source = pair.source.session().await;
    let destination = pair.destination.session().await;
    let key = "'{\"id\": \"a-4\"}'";
    // A change is committed and captured: first it is not yet sequenced, and then not yet applied.
    source
        .batch_execute(&format!(
            "update public.item set name = 'new' where tenant = 'acme' and id = 'a-4';
             insert into offtake.captured_change (source_table, operation, tenant_id, row_key) values ('public.item', 'c', 'acme', {key})"
        ))
        .await
        .expect("the source takes it");
    let report = pair.verify().await;
    assert_eq!(
        (counts(&report), report.equal()),
        ([1000, 0, 0, 0, 1], false),
        "the change is not applied: its row is not judged, and not reported as equal"
    );

    // The change is sequenced while `verify` waits for the sequencer, and applied while `verify`
    // waits for the destination.
    let asks = |of: &str| {
        format!(
            "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and query like '%{of}%'"
        )
    };
    let apply = async {
        pair.source.wait_text(&asks("offtake.captured_change where captured_at <="), "1").await;
        source
            .batch_execute(&format!(
                "with gone as (delete from offtake.captured_change returning captured_at)
                 insert into offtake.change_log (sequence_id, source_table, tenant_id, row_key, deleted, captured_at)
                 select 7, 'public.item', 'acme', {key}, false, captured_at from gone"
            ))
            .await
            .expect("the change is sequenced");
        pair.destination.wait_text(&asks("sequence_id >= 7"), "1").await;
        destination
            .batch_execute("begin; update items set name = 'new' where id = 'a-4'; update _offtake_state set sequence_id = 7; commit")
            .await
            .expect("the change is applied");
    };
    // `verify` goes on as soon as the change has arrived, and does not use the whole hour.
    let patient = Options { wait: Duration::from_secs(3600), ..options() };
    let (report, ()) = tokio::join!(pair.verify_with(&patient), apply);
    let report = report.expect("both sides are read");
    assert_eq!((counts(&report), report.rechecked), ([1000, 0, 0, 0, 0], 1));

    pair.destination.execute("update items set name = 'tampered' where id = 'a-4'").await;
    assert_eq!(
        counts(&pair.verify().await),
        [1000, 0, 0, 1, 0],
        "the copy is not behind, and still different"
    );
}

#[tokio::test]
async fn a_row_that_never_rests_is_not_called_different() {
    let pair = Pair::items().await;
    let source = pair.source.connect().await;
    let destination = pair.destination.connect().await;
    // The row alternates between two states, and the copy, with its cursor, is always one step
    // behind. The log has every change. At no moment is the copy both different and up to date.
    let writer = tokio::spawn(async move {
        for n in 1..i64::MAX {
            let toggled = source
                .batch_execute(&format!(
                    "begin; update public.item set name = '{}' where tenant = 'acme' and id = 'a-4';
                     insert into offtake.change_log (sequence_id, source_table, tenant_id, row_key, deleted, captured_at)
                     values ({n}, 'public.item', 'acme', '{{\"id\": \"a-4\"}}', false, now()); commit",
                    n % 2
                ))
                .await;
            let applied = destination
                .batch_execute(&format!(
                    "begin; update items set name = '{}' where id = 'a-4'; update _offtake_state set sequence_id = {}; commit",
                    (n - 1) % 2,
                    n - 1
                ))
                .await;
            if toggled.is_err() || applied.is_err() {
                break;
            }
        }
    });
    for _ in 0..5 {
        let report = pair.verify().await;
        assert_eq!(report.different + report.missing + report.extra, 0, "{report:#?}");
    }
    writer.abort();
}

#[tokio::test]
async fn a_query_without_a_unique_key_is_an_error() {
    let table = "create table items (id text primary key, name text)";
    let mapping = |query: &str| {
        format!(
            "source: {{ table: public.item, tenant: tenant, key: {{ id: id }} }}\nquery: {query}\ntarget: {{ table: items }}"
        )
    };
    let twice = mapping(
        "select tenant as tenant_id, id, name from public.item union all select tenant, id, name from public.item where id = 'B5'",
    );
    let pair = Pair::new(ITEM_TABLE, &twice, table).await;
    let error = pair.verify_with(&options()).await.expect_err("a key comes twice");
    assert_eq!(
        error.to_string(),
        "the query of mapping items gives the key {\"id\":\"B5\"} more than once"
    );

    let none = mapping("select tenant as tenant_id, nullif(id, 'B5') as id, name from public.item");
    let pair = Pair::new(ITEM_TABLE, &none, table).await;
    let error = pair.verify_with(&options()).await.expect_err("a key is null");
    assert_eq!(
        error.to_string(),
        "the query of mapping items gives rows without a key (id is null)"
    );
}

/// Of each text it prints all but `huge`, as the server does with what is over a gigabyte.
const PRINTED: &str = "
  create function public.printed(text) returns text immutable language plpgsql as $$
    begin
      if $1 = 'huge' then raise 'invalid memory alloc request size 1120000003' using errcode = 'XX000'; end if;
      if $1 = 'long' then return repeat('x', 2000000000); end if;
      return $1;
    end $$;";

/// The keys of the rows that could not be compared, with their side, in the order of the keys.
fn not_compared(report: &Report) -> Vec<String> {
    let line = |row: &offtake_sync::verify::Unprinted| {
        let side = serde_json::to_value(row.side).expect("a name");
        format!("{} {}", row.key["id"].as_str().unwrap_or("?"), side.as_str().unwrap_or("?"))
    };
    let mut lines: Vec<String> = report.unprinted.iter().map(line).collect();
    lines.sort();
    lines
}

const PRINTED_ITEMS: &str = "
source: { table: public.item, tenant: tenant, key: { id: id } }
query: select tenant as tenant_id, id, public.printed(name) as name from public.item
target: { table: items }
";

#[tokio::test]
async fn a_row_that_the_source_cannot_print_is_named_and_every_other_is_compared() {
    let table = "create table items (id text collate \"C\" primary key, name text)";
    let pair = Pair::new(&format!("{PRINTED} {ITEM_TABLE}"), PRINTED_ITEMS, table).await;
    pair.copy("items", "select id, name from public.item where tenant = 'acme'").await;
    // The first row and the last one, two neighbours, and one that the copy does not have.
    pair.source
        .execute(
            "update public.item set name = 'huge' where id in ('B1', 'a-4', 'a-400', 'ä998');
             update public.item set name = 'long' where id = 'a-404';
             insert into public.item values ('acme', 'zz', 'huge'), ('acme', '0', 'new')",
        )
        .await;
    pair.destination.execute("update items set name = 'other' where id in ('a-408', 'ä994')").await;
    for range_rows in [1, 37, 500, 5000] {
        let report = pair
            .verify_with(&Options { range_rows, ..options() })
            .await
            .unwrap_or_else(|error| panic!("{range_rows}: {}", error.message()));
        let found = (counts(&report), report.not_compared);
        assert_eq!(found, ([996, 1, 0, 2, 0], 6), "{range_rows}: {report:#?}");
        let expected = ["B1", "a-4", "a-400", "a-404", "zz", "ä998"];
        assert_eq!(not_compared(&report), expected.map(|key| format!("{key} source")));
        let error = &report.unprinted[0].error;
        assert_eq!(error, "invalid memory alloc request size 1120000003 (XX000)");
    }
}

#[tokio::test]
async fn a_row_that_the_destination_cannot_print_is_named_and_every_other_is_compared() {
    let table = "create table items (id text collate \"C\" primary key, name text)";
    let items = ITEMS.replace(", amount, kind, data", "");
    let pair = Pair::new(ITEM_TABLE, &items, table).await;
    pair.copy("items", "select id, name from public.item where tenant = 'acme'").await;
    pair.destination
        .execute(&format!(
            "{PRINTED} update items set name = 'huge' where id in ('a-4', 'a-400');
             insert into items values ('a-3', 'huge'), ('a-39', 'extra');
             alter table items rename to kept;
             create view items as select id, public.printed(name) as name from kept"
        ))
        .await;
    pair.source.execute("delete from public.item where id = 'ä998' and tenant = 'acme'").await;
    for range_rows in [1, 37, 5000] {
        let report = pair
            .verify_with(&Options { range_rows, ..options() })
            .await
            .unwrap_or_else(|error| panic!("{range_rows}: {}", error.message()));
        let found = (counts(&report), report.not_compared);
        assert_eq!(found, ([997, 0, 2, 0, 0], 3), "{range_rows}: {report:#?}");
        let expected = ["a-3", "a-4", "a-400"];
        assert_eq!(not_compared(&report), expected.map(|key| format!("{key} destination")));
    }
}

/// A real row of 1.2 GB as text. It takes some gigabytes of memory.
#[tokio::test]
async fn a_row_of_more_than_a_gigabyte_is_named_and_every_other_is_compared() {
    if std::env::var_os("OFFTAKE_SOAK").is_none() {
        eprintln!(
            "skipped: a row of a gigabyte takes some gigabytes of memory; `make soak` runs it"
        );
        return;
    }
    let mapping = "
source: { table: public.item, tenant: tenant, key: { id: id } }
query: select tenant as tenant_id, id, data from public.item
target: { table: items }
";
    let source = "
      create table public.item (tenant text, id int, data bytea, primary key (tenant, id));
      insert into public.item select 'acme', n, '\\x01' from generate_series(1, 100) n;
      update public.item set data = convert_to(repeat('x', 600000000), 'UTF8') where id = 30";
    let pair =
        Pair::new(source, mapping, "create table items (id int primary key, data bytea)").await;
    pair.copy("items", "select id, data from public.item where id <> 30").await;
    pair.destination
        .execute("delete from items where id = 20; update items set data = '' where id = 40")
        .await;
    let options = Options { range_rows: 10_000, ..options() };
    let report = pair.verify_with(&options).await.unwrap_or_else(|e| panic!("{}", e.message()));
    let found = (counts(&report), not_compared(&report));
    assert_eq!(found, ([99, 1, 0, 1, 0], vec!["30 source".to_owned()]), "{report:#?}");
    eprintln!("{}", report.unprinted[0].error);
}

/// A query that fails for every row is no fault of the rows.
#[tokio::test]
async fn more_rows_that_cannot_be_printed_than_a_person_reads_fail_the_comparison() {
    let table = "create table items (id text collate \"C\" primary key, name text)";
    let pair = Pair::new(&format!("{PRINTED} {ITEM_TABLE}"), PRINTED_ITEMS, table).await;
    pair.source.execute("update public.item set name = 'huge'").await;
    let error = pair.verify_with(&options()).await.expect_err("nothing can be compared");
    assert_eq!(
        error.message(),
        "more than 100 rows cannot be compared: invalid memory alloc request size 1120000003 (XX000)"
    );
}

/// All 1000 rows in one statement take longer than a statement may. The test fails without
/// `Point::smaller` in `ranges.rs`: the comparison failed as a whole.
#[tokio::test]
async fn a_range_that_takes_too_long_is_compared_in_smaller_ones() {
    let slow = "create function public.printed(text) returns text immutable language plpgsql as
                $$ begin perform pg_sleep(0.004); return $1; end $$;";
    let table = "create table items (id text collate \"C\" primary key, name text)";
    let pair = Pair::new(&format!("{slow} {ITEM_TABLE}"), PRINTED_ITEMS, table).await;
    pair.copy("items", "select id, name from public.item where tenant = 'acme'").await;
    pair.destination.execute("update items set name = 'other' where id = 'a-4'").await;
    let statement_timeout = Duration::from_millis(1500);
    let options = Options { range_rows: 10_000, statement_timeout, ..options() };
    let report = pair.verify_with(&options).await.unwrap_or_else(|e| panic!("{}", e.message()));
    assert_eq!((counts(&report), report.rechecked), ([1000, 0, 0, 1, 0], 1), "{report:#?}");
}

#[tokio::test]
async fn a_table_with_types_of_its_own_and_other_tenants_rows_is_read_as_it_holds_them() {
    let mapping = "
source: { table: public.reading, tenant: tenant_id, key: { sensor: sensor, at: at } }
query: select tenant_id, sensor, at, doc, price, flag, code, span from public.reading
target: { table: readings, keep_tenant: true }
";
    let source = "
      create table public.reading (tenant_id text, sensor int, at timestamptz, doc json, price int, flag boolean, code char(5), span interval,
                                   primary key (tenant_id, sensor, at));
      insert into public.reading
      select t, n % 10, '2024-01-01'::timestamptz + n * interval '1 microsecond', '{\"b\":1,\"a\":  2}', n, n % 2 = 0, 'ab', n * interval '1 hour'
        from generate_series(1, 300) n, unnest(array['acme', 'globex']) t";
    let table = "create table readings (tenant_id text, sensor bigint, at timestamp, doc jsonb, price numeric(10, 2), flag text, code text, span interval,
                                        primary key (tenant_id, sensor, at))";
    let pair =
        Pair::new(source, &mapping.replace("\nsource", "\nname: items\nsource"), table).await;
    pair.copy("readings", "select tenant_id, sensor, at at time zone 'UTC', doc, price, flag, code, span from public.reading").await;
    assert_eq!(counts(&pair.verify().await), [300, 0, 0, 0, 0]);
    pair.destination
        .execute("update readings set price = price + 0.01 where price = 5; delete from readings where tenant_id = 'globex'")
        .await;
    let report = pair.verify().await;
    assert_eq!(
        (counts(&report), report.differences[0].columns.join(",")),
        ([300, 0, 0, 1, 0], "price".to_owned()),
        "{report:#?}"
    );
}

#[tokio::test]
async fn what_is_not_there_is_named() {
    let pair = Pair::items().await;
    pair.destination.execute("alter table items drop column data").await;
    let error = pair.verify_with(&options()).await.expect_err("a column is missing");
    assert_eq!(error.to_string(), "the destination's table public.items has no column data");
    pair.destination.execute("drop table items").await;
    let error = pair.verify_with(&options()).await.expect_err("the table is missing");
    assert_eq!(error.to_string(), "the destination has no table public.items");
}
