use std::time::Instant;
use offtake_tests::Source;
#[tokio::test]
async fn scale() {
    let source = Source::prepared().await;
    source.execute("create table if not exists offtake.change_log_1 partition of offtake.change_log for values from (10000000) to (20000000);
     insert into offtake.destination (tenant_id, name, schema_name, host, port, database_name, user_name, mappings, source_tables, state)
     select 't'||n, 'main', 'public', 'h', 1, 'd', 'u', array['a','b','c','d','e','f','g'], array['p.a','p.b','p.c','p.d','p.e','p.f','p.g'], 'in_sync' from generate_series(1, 10000) n;
     insert into offtake.destination_mapping (destination_id, mapping, sequence_id, backfilled) select destination_id, m, 9900000, true from offtake.destination, unnest(mappings) m;
     insert into offtake.change_log (sequence_id, source_table, tenant_id, row_key, deleted, captured_at) select 9000000 + n, 'p.'||chr((97 + n % 7)::int), 't'||(n*7919 % 10000), '{}', n % 10 = 0, now() from generate_series(1::bigint, 1100000) n;
     select setval('offtake.global_sequence', 10200000)").await;
    source.execute("vacuum analyze").await;
    let c = source.connect().await;
    for _ in 0..3 { let began = Instant::now();
    let rows = c.query(include_str!("../../crates/admin/sql/list_destinations.sql"), &[&None::<String>, &None::<String>]).await.unwrap();
    eprintln!("{} in {:?}", rows.len(), began.elapsed());
    let began = Instant::now(); c.query(include_str!("../../crates/admin/sql/count_deleted_rows.sql"), &[]).await.unwrap(); eprintln!("deleted {:?}", began.elapsed());
    let began = Instant::now(); c.query(include_str!("../../crates/admin/sql/read_summary.sql"), &[]).await.unwrap(); eprintln!("summary {:?}", began.elapsed());
    let began = Instant::now(); c.query(include_str!("../../crates/admin/sql/list_destinations.sql"), &[&Some("t5"), &None::<String>]).await.unwrap(); eprintln!("one tenant {:?}", began.elapsed()); }
    let plan = c.query(&format!("explain (analyze, costs off, timing on, summary on) {}", include_str!("../../crates/admin/sql/list_destinations.sql").replace("$1::text", "null::text").replace("$2::text", "null::text").replace("$1", "null").replace("$2","null")), &[]).await.unwrap();
    for r in plan { eprintln!("{}", r.get::<_, String>(0)); }
}
