//! Files are read by programs that others wrote: to their end, whatever parts they are made of.

use std::path::Path;
use std::process::Command;

use offtake_tests::clusters::Clusters;
use offtake_tests::tools::{on_path, python_packages, succeed};
use offtake_tests::{Database, SqliteFile};
use serde_json::Value;

use crate::formats::{ALL, ROWS, as_text, rows_of_acme, world};
use crate::{create, folder, psql, unzipped};

/// What a program of Python prints for a file.
fn python(program: &str, file: &Path, more: &str) -> Option<String> {
    if !python_packages().join("duckdb").is_dir() {
        eprintln!("skipped: duckdb is not installed\n  remedy: scripts/ensure-tools");
        return None;
    }
    let mut command = Command::new("python3");
    command.env("PYTHONPATH", python_packages()).args(["-c", program]).arg(file).arg(more);
    Some(succeed(&mut command).0.trim().to_owned())
}

#[tokio::test]
async fn duckdb_and_node_read_every_member_of_a_gzip_file() {
    let world = world().await;
    create(&world, "csv", "csv", &["--mapping", "items", "--schema"]).await;
    create(&world, "ndjson", "nd", &["--mapping", "items"]).await;
    let csv = folder(&world, "csv").join("items.csv.gz");
    let lines = folder(&world, "nd").join("items.ndjson.gz");
    if let Some(mut node) = on_path("node") {
        let count = "const z = require('zlib'), f = require('fs');
                     const text = z.gunzipSync(f.readFileSync(process.argv[1])).toString();
                     console.log(text.split('\\n').length)";
        let (counted, _) = succeed(node.args(["-e", count]).arg(&lines));
        assert_eq!(counted.trim(), (ROWS + 1).to_string());
    }
    // A row's body may have a line end, so columns are summed and not lines counted.
    let sums = "import duckdb, sys
sums = 'count(*), sum(id), sum(big), count(body), count(distinct bytes)'
table = sys.argv[2].replace('FILE', sys.argv[1])
print(duckdb.sql(f'select {sums} from {table}').fetchall()[0])";
    let sum = ROWS * (ROWS + 1) / 2;
    let big = 9_007_199_254_740_993_u64 * ROWS as u64 + sum as u64;
    let bodies = format!("select count(body) from ({}) r", rows_of_acme(&world, "i.body"));
    let bodies = world.source.query_text(&bodies).await;
    let expect = format!("({ROWS}, {sum}, {big}, {bodies}, {ROWS})");
    for (file, read) in
        [(&csv, "read_csv('FILE', allow_quoted_nulls = false)"), (&lines, "read_json('FILE')")]
    {
        if let Some(told) = python(sums, file, read) {
            assert_eq!(told, expect, "{}", file.display());
        }
    }
    let parquet = "import duckdb, sys
duckdb.sql(f\"copy (from '{sys.argv[1]}') to '{sys.argv[1]}.parquet'\")
print(duckdb.sql(f\"select count(*) from '{sys.argv[1]}.parquet'\").fetchall()[0][0])";
    if let Some(told) = python(parquet, &csv, "") {
        assert_eq!(told, ROWS.to_string());
    }
    // The tables' definitions beside the rows.
    let loaded = Database::create(&Clusters::shared().await.destinations, "loaded", None).await;
    let schema = unzipped(&folder(&world, "csv").join("schema.sql.gz"));
    let copy = format!(
        "\\copy items from program 'gzip -dc {}' with (format csv, header match)",
        csv.display()
    );
    psql(&loaded.url(), &[&schema, &copy]);
    assert_eq!(
        loaded.query_text(&as_text("select * from items")).await,
        world.source.query_text(&as_text(&rows_of_acme(&world, ALL))).await
    );
}

#[tokio::test]
async fn a_zstd_file_is_one_frame_and_a_single_file_has_a_name_of_choice() {
    let world = world().await;
    create(&world, "csv", "gz", &["--mapping", "items"]).await;
    let told = create(&world, "csv", "zst", &["--mapping", "items", "--compression", "zstd"]).await;
    let file = folder(&world, "zst").join("items.csv.zst");
    world.succeed(&["export", "verify", told["id"].as_str().unwrap()]).await;
    assert_eq!(told["files"][0]["size"], file.metadata().unwrap().len(), "{told}");
    if on_path("zstd").is_some() {
        assert_eq!(frames(&file), 1);
        let (text, _) = succeed(Command::new("zstd").arg("-dc").arg(&file));
        assert!(text == unzipped(&folder(&world, "gz").join("items.csv.gz")), "another text");
    }

    let named = |name: &str| world.folder().join("one").join(name);
    let arguments = |format: &'static str, to: &Path, more: &[&'static str]| {
        let to = to.to_str().unwrap().to_owned();
        let mut all = vec!["export", "create", "--tenant", world.id("acme"), "--format", format];
        all.extend(more);
        let all = all.into_iter().map(str::to_owned);
        all.chain(["--json".to_owned(), "--to".to_owned(), to]).collect::<Vec<String>>()
    };
    let run = async |arguments: Vec<String>| {
        let output = world.offtake(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let told = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.code(), told)
    };
    let to = named("acme.csv.gz");
    let (code, told) = run(arguments("csv", &to, &["--mapping", "items"])).await;
    assert_eq!(code, Some(0), "{told}");
    let id: Value = serde_json::from_str(told.lines().last().unwrap()).unwrap();
    assert_eq!(unzipped(&to), unzipped(&folder(&world, "gz").join("items.csv.gz")));
    let mut names: Vec<_> = std::fs::read_dir(to.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["acme.csv.gz", "acme.csv.gz.manifest.json"]);
    world.succeed(&["export", "verify", id["id"].as_str().unwrap()]).await;
    world.succeed(&["export", "verify", "--in", to.to_str().unwrap()]).await;
    for (format, to, more, says) in [
        ("csv", to.clone(), vec!["--mapping", "items"], "name another file with --to"),
        ("csv", named("b.csv.gz"), vec![], "name one mapping with --mapping"),
        ("csv", named("b.csv.gz"), vec!["--mapping", "items", "--schema"], "leave --schema out"),
        ("csv", named("c"), vec!["--inserts"], "write --format sql, or leave --inserts out"),
        ("sql", named("b c.sql.gz"), vec![], "write letters, digits"),
    ] {
        let (code, told) = run(arguments(format, &to, &more)).await;
        assert_eq!(code, Some(2), "{told}");
        assert!(told.contains(says), "{told}");
    }
    let (_, told) = run(arguments("sql", &named("x.sql.gz"), &["--inserts", "--state"])).await;
    assert!(told.contains("cannot be used with"), "{told}");
}

/// The frames of a zstd file.
pub(crate) fn frames(file: &Path) -> usize {
    let (told, _) = succeed(Command::new("zstd").args(["-l", "-v"]).arg(file));
    let count = told.lines().find_map(|line| line.split("Zstandard Frames: ").nth(1));
    count.and_then(|count| count.trim().parse().ok()).unwrap_or_else(|| panic!("{told}"))
}

#[tokio::test]
async fn sqlite_reads_inserts_and_has_the_values() {
    let world = world().await;
    let to = world.folder().join("acme.sql");
    let more = ["--inserts", "--schema", "--compression", "none"];
    create(&world, "sql", "acme.sql", &more).await;
    let text = std::fs::read_to_string(&to).unwrap();
    // Rows of a part are in statements of 500 at most; parts have 70 here.
    assert_eq!(text.matches("insert into \"items\"").count(), ROWS.div_ceil(70));
    let file = SqliteFile::new(world.folder().join("acme.db"));
    std::fs::write(file.path(), "").unwrap();
    file.execute(&text);
    // Numbers of any length are doubles there.
    let columns = "id, coalesce(body, 'NULL'), big, bytes, packed, list";
    let rows = file.query_text(&format!("select {columns} from items order by id"));
    let printed = format!(
        "select string_agg(concat_ws('|', {columns}), E'\\n' order by id) from ({}) r",
        rows_of_acme(&world, ALL)
    );
    assert_eq!(rows, world.source.query_text(&printed).await);
}
