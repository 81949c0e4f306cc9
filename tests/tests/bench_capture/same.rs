//! What is measured is what `offtake init` would install.

use offtake_capture::{Relations, copies};
use offtake_mapping::{Identifier, TableName};
use offtake_tests::Source;

/// The body of a function or the definition of a trigger, without the names that must differ.
fn without_names(text: &str) -> String {
    text.replace("offtake_bench_0.", "offtake.").replace("offtake.with_capture", "public.team")
}

/// With the migrations, the capture function and the triggers of the sample application in place.
#[tokio::test]
async fn the_copies_have_the_function_the_triggers_and_the_log_of_an_installation() {
    let source = Source::prepared().await;
    let client = source.connect().await;
    let set = Source::default_mapping_set(&source).await;
    let relations = Relations::read(&client, &set).await.unwrap();
    let table = TableName::from_sql("public.team").unwrap();
    let schema = Identifier::new("offtake_bench_0").unwrap();
    let made = copies(&set, &relations, &table, (&schema, "a test"), &[]).unwrap();
    source.execute(&made.script).await;
    assert!(!made.by_rows);

    let functions = |schema: &str| {
        format!(
            "select p.proname, p.prosrc, p.prosecdef, coalesce(p.proconfig::text, '')
               from pg_proc p where p.pronamespace = '{schema}'::regnamespace and p.proname like 'capture_public_team_%'
                and p.proname not like 'capture_public_team_m%' and p.proname not like 'capture_public_team_i%'
                and p.proname not like 'capture_public_team_p%'"
        )
    };
    let installed = source.query_text(&functions("offtake")).await;
    assert!(installed.contains("insert into offtake.captured_change"), "{installed}");
    let copied = source.query_text(&functions("offtake_bench_0")).await;
    assert!(copied.contains("insert into offtake_bench_0.captured_change"), "{copied}");
    assert!(!copied.contains("offtake.capture"), "{copied}");
    assert_eq!(without_names(&copied), installed);

    let triggers = |relation: &str| {
        format!(
            "select t.tgname, t.tgenabled, pg_get_triggerdef(t.oid)
               from pg_trigger t where t.tgrelid = '{relation}'::regclass and not t.tgisinternal order by t.tgname"
        )
    };
    let installed = source.query_text(&triggers("public.team")).await;
    assert_eq!(installed.lines().count(), 4, "{installed}");
    let copied = source.query_text(&triggers("offtake_bench_0.with_capture")).await;
    assert_eq!(without_names(&copied), installed);
    assert_eq!(source.query_text(&triggers("offtake_bench_0.without_capture")).await, "");

    // A migration that changes the log must change the copies' log too.
    let log = |schema: &str| {
        format!(
            "select a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,
                    pg_get_expr(d.adbin, d.adrelid), a.attstorage, a.attnum
               from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
              where a.attrelid = '{schema}.captured_change'::regclass and a.attnum > 0 order by a.attnum"
        )
    };
    assert_eq!(
        source.query_text(&log("offtake_bench_0")).await,
        source.query_text(&log("offtake")).await
    );
    let around = |schema: &str| {
        format!(
            "select (select string_agg(pg_get_constraintdef(c.oid), ',' order by c.conname) from pg_constraint c
                      where c.conrelid = '{schema}.captured_change'::regclass),
                    (select string_agg(replace(pg_get_indexdef(i.indexrelid), '{schema}', ''), ',') from pg_index i
                      where i.indrelid = '{schema}.captured_change'::regclass)"
        )
    };
    assert_eq!(
        source.query_text(&around("offtake_bench_0")).await,
        source.query_text(&around("offtake")).await
    );
}
