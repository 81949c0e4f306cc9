//! What is in the files is what the mapping's query returns, in every format, for values of every
//! kind that a format could damage.

use std::process::Command;

use offtake_tests::clusters::Clusters;
use offtake_tests::samples::OTHERS;
use offtake_tests::tools::succeed;
use offtake_tests::{Database, World};
use serde_json::{Value, json};

use crate::{create, folder, psql, unzipped};

const ITEMS: &str = "
source: { table: public.item, tenant: tenant, key: { id: id } }
query: >-
  select i.tenant as tenant_id, i.id, i.body, i.big, i.exact, i.floating, i.day, i.bytes, i.free, i.packed, i.list, i.\"Odd, name\"
    from public.item i
target: { table: items }
";

const COLUMNS: &str = "body text, big bigint, exact numeric, floating float8, day timestamptz, \
                       bytes bytea, free json, packed jsonb, list text[], \"Odd, name\" text";

/// Texts that a format could damage, and 300 rows of each tenant so that there are many parts.
const FILL: &str = r#"
insert into item
select '{tenant}', n,
       (array[null, '', ' ', 'plain', 'a,b', 'say "x"', E'two\nlines', E'carriage\rreturn', E'tab\there', E'back\\slash', '\.', 'NULL', '\N',
              'emoji 🎉', E'\x01\x1f', $t$it's$t$, '{"a":1}', '=1+1'])[1 + n % 18],
       9007199254740993 + n, (n::text || '.0123456789012345678901234567890123456789')::numeric,
       (array['NaN', 'Infinity', '-Infinity', '0.1', '-0'])[1 + n % 5]::float8,
       case when n % 7 = 0 then null else '2026-11-28 03:13:00.123456+00'::timestamptz + n * interval '1 second' end,
       decode(lpad(to_hex(n), 8, '0'), 'hex'),
       (array[E'{"a":\n  [1,\n 2]}', '"x\ny"', 'null', '12345678901234567890'])[1 + n % 4]::json,
       jsonb_build_object('n', n, 'ü', null), array['a', null, 'b"c', 'd,e'], case when n % 2 = 0 then 'x' end
  from generate_series(1, 300) n"#;

/// Of acme's items.
pub(crate) const ROWS: usize = 300;

pub(crate) async fn world() -> World {
    let world = World::with_tenants(["acme", "globex"])
        .without_init()
        .mappings(&[("items", ITEMS), ("others", OTHERS)])
        .setting("/exports/chunk_rows", 70)
        .await;
    world.with_items(COLUMNS, FILL).await;
    world
}

/// What the mapping's query returns for acme.
pub(crate) fn rows_of_acme(world: &World, columns: &str) -> String {
    format!("select {columns} from public.item i where i.tenant = '{}'", world.id("acme"))
}

pub(crate) const ALL: &str = "i.id, i.body, i.big, i.exact, i.floating, i.day, i.bytes, i.free, i.packed, i.list, \
                   i.\"Odd, name\"";

/// The rows of a table as text, sorted by the key, so that two databases can be compared.
pub(crate) fn as_text(from: &str) -> String {
    format!("select md5(string_agg(r::text, E'\\n' order by (r.id))), count(*) from ({from}) r")
}

#[tokio::test]
async fn psql_reads_back_every_value_of_a_csv_file() {
    let world = world().await;
    let told = create(&world, "csv", "csv", &[]).await;
    assert_eq!(told["state"], "completed", "{told}");
    assert_eq!(told["consistency"], "snapshot", "{told}");
    assert_eq!(told["progress"]["percent"], 100, "{told}");
    let items = folder(&world, "csv").join("items.csv.gz");
    let manifest = std::fs::read_to_string(folder(&world, "csv").join("manifest.json")).unwrap();
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    assert_eq!(manifest["files"][0]["rows"], 300, "{manifest}");
    assert!(manifest["files"][0]["parts"].as_array().unwrap().len() > 4, "many parts: {manifest}");

    let loaded = Database::create(&Clusters::shared().await.destinations, "loaded", None).await;
    let table = format!("create table items (id int, {COLUMNS})");
    let copy = format!(
        "\\copy items from program 'gzip -dc {}' with (format csv, header match)",
        items.display()
    );
    psql(&loaded.url(), &[&table, &copy]);
    let there = loaded.query_text(&as_text("select * from items")).await;
    assert_eq!(there, world.source.query_text(&as_text(&rows_of_acme(&world, ALL))).await);
    assert!(there.ends_with("|300"), "{there}");
    let others = unzipped(&folder(&world, "csv").join("others.csv.gz"));
    assert_eq!(others.lines().count(), 11, "{others}");
}

#[tokio::test]
async fn a_line_of_ndjson_is_the_object_that_the_source_prints() {
    let world = world().await;
    create(&world, "ndjson", "nd", &["--mapping", "items"]).await;
    let text = unzipped(&folder(&world, "nd").join("items.ndjson.gz"));
    let mut lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 300);
    let objects: Vec<Value> =
        lines.iter().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert_eq!(objects[1]["big"].to_string(), "9007199254740995");
    assert!(text.contains("1.0123456789012345678901234567890123456789"), "a long number is cut");
    let printed = format!(
        "select translate(row_to_json(q)::text, E'\\n', ' ') from ({}) q",
        rows_of_acme(&world, ALL)
    );
    let mut expected = world.source.query_text(&printed).await;
    expected.push('\n');
    let mut expected: Vec<&str> = expected.lines().collect();
    expected.sort_unstable();
    lines.sort_unstable();
    assert_eq!(lines, expected);
    assert!(!folder(&world, "nd").join("others.ndjson.gz").exists(), "only what was asked for");
}

#[tokio::test]
async fn a_json_file_is_one_array_whatever_parts_it_has() {
    let world = world().await;
    // A tenant that has no row in one of the mappings.
    let none = format!("delete from other where tenant = '{}'", world.id("acme"));
    world.source.execute(&none).await;
    create(&world, "json", "json", &["--compression", "none"]).await;
    let read = |name: &str| {
        let text = std::fs::read_to_string(folder(&world, "json").join(name)).unwrap();
        serde_json::from_str::<Value>(&text).unwrap()
    };
    let ids: Vec<i64> = read("items.json")
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["id"].as_i64().unwrap())
        .collect();
    assert_eq!(ids, (1..=300).collect::<Vec<_>>());
    assert_eq!(read("others.json"), Value::Array(Vec::new()));
    // Python's reader too, which takes NaN and no line end in a text.
    let file = folder(&world, "json").join("items.json");
    let count = "import json,sys; print(len(json.load(open(sys.argv[1]))))";
    let (counted, _) = succeed(Command::new("python3").args(["-c", count]).arg(&file));
    assert_eq!(counted.trim(), "300");
}

#[tokio::test]
async fn psql_loads_an_sql_file_into_an_empty_database() {
    let world = world().await;
    create(&world, "sql", "sql", &[]).await;
    let file = folder(&world, "sql").join("export.sql");
    std::fs::write(&file, unzipped(&folder(&world, "sql").join("export.sql.gz"))).unwrap();
    let loaded = Database::create(&Clusters::shared().await.destinations, "loaded", None).await;
    psql(&loaded.url(), &[file.to_str().unwrap()]);
    assert_eq!(
        loaded.query_text(&as_text("select * from items")).await,
        world.source.query_text(&as_text(&rows_of_acme(&world, ALL))).await
    );
    assert_eq!(loaded.query_text("select count(*) from others").await, "10");
    // The key is there too, and what was loaded once is not loaded twice.
    let again = Command::new("psql").args(["-X", "-q", &loaded.url(), "-f"]).arg(&file).output();
    assert!(!again.unwrap().status.success());
    assert_eq!(loaded.query_text("select count(*) from items").await, "300");
}

/// A part has at most `exports.chunk_bytes`, and files are compressed as `exports.compression` says,
/// unless the command says otherwise.
#[tokio::test]
async fn the_settings_say_how_files_are_cut_and_compressed() {
    let world = World::with_tenants(["acme"])
        .without_init()
        .mappings(&[("items", crate::daemons::ITEMS)])
        .setting("/exports", json!({ "chunk_bytes": "64KiB", "compression": "none" }))
        .await;
    let fill =
        "insert into item select '{tenant}', n, repeat('x', 1000) from generate_series(1, 300) n";
    world.with_items("name text", fill).await;
    let told = create(&world, "csv", "plain", &[]).await;
    assert_eq!(told["compression"], "none", "{told}");
    let text = std::fs::read_to_string(folder(&world, "plain").join("items.csv")).unwrap();
    assert_eq!(text.lines().count(), 301);
    let manifest = std::fs::read_to_string(folder(&world, "plain").join("manifest.json")).unwrap();
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    let parts = manifest["files"][0]["parts"].as_array().unwrap();
    let sizes: Vec<u64> = parts.iter().map(|part| part["size"].as_u64().unwrap()).collect();
    assert!(sizes.len() > 4 && sizes.iter().all(|size| *size < 70_000), "{sizes:?}");
    create(&world, "csv", "zipped", &["--compression", "gzip"]).await;
    assert_eq!(unzipped(&folder(&world, "zipped").join("items.csv.gz")), text);
}
