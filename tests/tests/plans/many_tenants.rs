//! The statements that write for many tenants at once, at a destination.

use std::path::Path;

use offtake_mapping::compose::postgres::Apply;
use offtake_mapping::{Column, Identifier, KeyColumn, KeyOrder, ResolvedMapping, parse};
use offtake_tests::Source;

use super::{explain, judge, statements};

/// A place of a thousand tenants with a thousand rows each. It was analyzed when it was small.
const PLACE: &str = "
create table notes (tenant_id text, id bigint, body text, primary key (tenant_id, id)) with (autovacuum_enabled = false);
create table _offtake_state (tenant_id text, mapping text, sequence_id bigint, backfilled boolean, backfill_key jsonb, epoch uuid, version text,
  updated_at timestamptz, source text, source_identity jsonb, served_since timestamptz, served_at timestamptz, primary key (tenant_id, mapping))
  with (autovacuum_enabled = false);
insert into notes select 't' || n, 1, 'first' from generate_series(1, 20) n;
insert into _offtake_state (tenant_id, mapping) select 't' || n, 'notes' from generate_series(1, 20) n;
{analyze};
insert into notes select 't' || t, n, 'body' from generate_series(1, 1000) t, generate_series(2, 1001) n;
insert into _offtake_state (tenant_id, mapping, sequence_id, backfilled) select 't' || t, m, 1, true from generate_series(21, 100000) t, unnest('{notes,marks}'::text[]) m";

/// What a write for many tenants runs: it finds rows by key, whatever the server knows of the tables.
/// The test fails where the tenants are named as those of the table's rows, and not of the staged
/// ones: then all rows of those tenants were read, 100 000 to delete fifty.
#[tokio::test]
async fn statements_for_many_tenants_find_their_rows_by_key_among_a_million() {
    let source = Source::prepared().await;
    let client = source.connect().await;
    let notes = notes();
    let tenants: Vec<String> = (1..=100).map(|n| format!("t{n}")).collect();
    let tenants: Vec<&str> = tenants.iter().map(String::as_str).collect();
    let list = format!("'{{{}}}'", tenants.join(","));
    let apply = Apply::of_tenants(&notes, &name("public"), &tenants);
    let mut bad = Vec::new();
    for analyze in ["analyze", "select"] {
        client.batch_execute("drop table if exists notes, _offtake_state").await.unwrap();
        client.batch_execute(&PLACE.replace("{analyze}", analyze)).await.unwrap();
        client
            .batch_execute(&format!(
                "set enable_seqscan = off; set jit = off; {}",
                apply.create_staging()
            ))
            .await
            .unwrap();
        let row = |n: usize| [Some(format!("t{n}")), Some(n.to_string()), Some("new".to_owned())];
        let rows: Vec<_> = (1..=100).map(|n| (n % 2 == 0, row(n))).collect();
        let fill = apply.stage(rows.iter().map(|(present, row)| (*present, &row[..])));
        client.batch_execute(&fill).await.unwrap();
        for (name, statement, parameters, pages_max) in [
            ("delete", apply.delete_absent(), String::new(), 400),
            ("upsert", apply.upsert_present(), String::new(), 800),
            ("check", apply.count_not_applied(), String::new(), 700),
            (
                "lock",
                of_state("lock_states_of_tenants"),
                format!("{list}, '{{notes,marks}}', '{{public.notes,public.marks}}'"),
                2_500,
            ),
            ("read", of_state("read_states_of_tenants"), list.clone(), 1_500),
            ("serving", of_state("read_serving_of_tenants"), list.clone(), 1_500),
            (
                "move",
                of_state("move_cursors_of_tenants"),
                format!(
                    "{list}, array_fill('notes'::text, '{{100}}'), array_fill(2::bigint, '{{100}}'), array_fill('00000000-0000-0000-0000-000000000000'::text, '{{100}}'), array_fill('v'::text, '{{100}}'), array_fill('source'::text, '{{100}}'), array_fill('{{}}'::text, '{{100}}')"
                ),
                4_000,
            ),
        ] {
            for mode in ["force_custom_plan", "force_generic_plan"] {
                client.batch_execute(&format!("set plan_cache_mode = {mode}")).await.unwrap();
                let plan = explain(&client, &statement, &parameters).await;
                bad.extend(
                    judge(&format!("{name}, {mode}, after {analyze}"), &plan, pages_max).err(),
                );
            }
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

fn name(text: &str) -> Identifier {
    Identifier::new(text).unwrap()
}

fn notes() -> ResolvedMapping {
    let text = "name: notes\nsource: { table: public.note, tenant: tenant }\n\
                query: select tenant as tenant_id, id, body from public.note\n\
                target: { table: notes, keep_tenant: true }";
    let column = |of: &str, sql_type: &str| Column {
        name: name(of),
        source_type: sql_type.to_owned(),
        target_type: sql_type.to_owned(),
    };
    let key = KeyColumn {
        query_column: name("id"),
        source_column: name("id"),
        sql_type: "bigint".to_owned(),
        source_type: "bigint".to_owned(),
        order: KeyOrder::Native,
        equals: "=".to_owned(),
        by_text: false,
        coarse: false,
    };
    let columns = vec![column("id", "bigint"), column("body", "text")];
    let definition = parse(Path::new("notes.yaml"), text).unwrap();
    ResolvedMapping::new(definition, column("tenant_id", "text"), vec![key], columns)
}

fn of_state(file: &str) -> String {
    let [statement] = &statements(&format!("sync/sql/{file}.sql"))[..] else { panic!("{file}") };
    statement.replace("{state}", "public._offtake_state")
}
