//! Tables of every kind can be measured.

use super::{Application, everything};

/// Each with what is measured of it: the table, the way of capture, and the rows.
#[tokio::test]
async fn tables_of_every_kind_are_measured() {
    let tables = r#"
        create sequence public.drawn;
        create table public."Odd ""name""" (
          "Id" bigint generated always as identity primary key, "from" uuid not null,
          doubled bigint generated always as ("Id" * 2) stored, drawn bigint not null default nextval('drawn'),
          gone text, at timestamptz not null default now(), exclude using btree (drawn with =)
        );
        alter table public."Odd ""name""" drop column gone;
        insert into public."Odd ""name""" ("from") select md5('a')::uuid from generate_series(1, 30);

        create table public.parted (tenant uuid not null, id bigint not null, at date not null, primary key (tenant, id, at))
          partition by range (at);
        create table public.parted_1 partition of public.parted for values from ('2026-01-01') to ('2026-07-01');
        create table public.parted_2 partition of public.parted for values from ('2026-07-01') to ('2027-01-01');
        insert into public.parted select md5('a')::uuid, n, date '2026-01-01' + n * 5 from generate_series(1, 60) n;

        create table public.above (tenant uuid not null, id bigint not null, note text, primary key (tenant, id));
        create table public.below (primary key (tenant, id)) inherits (public.above);
        insert into public.above select md5('a')::uuid, n from generate_series(1, 10) n;
        insert into public.below select md5('a')::uuid, n from generate_series(1, 20) n;

        create table public.computed (id bigint primary key, data jsonb not null);
        insert into public.computed select n, jsonb_build_object('tenant', n % 3) from generate_series(1, 40) n;

        create table public.looked_up (id bigint primary key, parent bigint not null);
        create index on public.looked_up (parent);
        insert into public.looked_up select n, n % 20 from generate_series(1, 60) n;

        create table public.keyless (word text not null, meaning text);
        insert into public.keyless select 'word ' || n, repeat('long ', 1000) from generate_series(1, 50) n"#;
    let mapping = |table: &str, tenant: &str, id: &str| {
        let name = table.replace('"', "").replace(' ', "_").to_lowercase();
        let text = format!(
            "source: {{ table: '{table}', tenant: '{tenant}', key: {{ id: '{id}' }} }}\n\
             query: 'select {tenant} as tenant_id, {id} as id from {table}'\ntarget: {{ table: {name} }}\n"
        );
        (name, text)
    };
    let odd = r#"public."Odd ""name""""#;
    let mut mappings = vec![
        mapping(odd, r#""from""#, r#""Id""#),
        mapping("public.above", "tenant", "id"),
        mapping("public.below", "tenant", "id"),
    ];
    mappings[0].0 = "odd".to_owned();
    mappings[0].1 = mappings[0].1.replace("table: public.odd", "table: odd");
    let computed = "source: { table: public.computed, tenant: \"source.data->>'tenant'\" }\n\
                    query: select data->>'tenant' as tenant_id, id from public.computed\ntarget: { table: computed }\n";
    mappings.push(("computed".to_owned(), computed.to_owned()));
    let looked_up = "source:\n  table: public.looked_up\n  tenant: { table: public.above, column: tenant, match: { id: parent } }\n\
                     query: |\n  select a.tenant as tenant_id, l.id from public.looked_up l join public.above a on a.id = l.parent\n\
                     target: { table: looked_up }\n";
    mappings.push(("looked_up".to_owned(), looked_up.to_owned()));
    let parted = "source: { table: public.parted, tenant: tenant, key: { id: id, at: at } }\n\
                  depends_on: [{ table: public.keyless, where: source.id::text = changed.word }]\n\
                  query: select tenant as tenant_id, id, at from public.parted\ntarget: { table: parted }\n";
    mappings.push(("parted".to_owned(), parted.to_owned()));
    for (name, text) in &mut mappings {
        if text.contains("target: { table: public.") {
            *text = text.replace("target: { table: public.", "target: { table: ");
        }
        *name = name.trim_start_matches("public.").to_owned();
    }
    let mappings: Vec<(&str, &str)> =
        mappings.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let application = Application::with(tables, &mappings).await;
    for (table, captured_by, rows) in [
        (odd, "statement", 30),
        ("public.parted", "statement", 60),
        // The rows of the child are the child's: only the table's own are copied.
        ("public.above", "statement", 10),
        // Its rows are also written through the table above.
        ("public.below", "row", 20),
        ("public.computed", "statement", 40),
        ("public.looked_up", "statement", 60),
        ("public.keyless", "statement", 50),
    ] {
        let before = everything(&application.source, table).await;
        let measured = application.measured(table).await;
        assert_eq!(everything(&application.source, table).await, before, "{table}");
        assert_eq!(
            (measured["captured_by"].as_str().unwrap(), measured["rows"].as_u64().unwrap()),
            (captured_by, rows),
            "{table}: {measured}"
        );
        assert!(measured["captured_rows"].as_i64().unwrap() > 0, "{table}: {measured}");
    }
}
