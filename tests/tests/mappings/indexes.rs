//! The index that `check --connect` names is one that Postgres accepts, and it is enough.

use offtake_tests::World;

use crate::{told, write};

/// The statements that warnings name, each to its end.
fn statements(stdout: &str) -> Vec<String> {
    let warnings = stdout.lines().filter(|line| line.starts_with("warning: "));
    let found = warnings.filter_map(|line| Some(&line[line.find("create index")?..]));
    found.map(str::to_owned).collect()
}

async fn warnings(world: &World) -> String {
    let (code, stdout, stderr) = told(world, &world.offtake(&["check", "--connect"]).await);
    assert_eq!(code, 0, "{stderr}");
    stdout
}

#[tokio::test]
async fn a_partitioned_table_gets_an_index_that_postgres_accepts() {
    let world = World::with_tenants(["acme"]).without_init().mappings(&[]).await;
    world
        .source
        .execute(
            "create table pay (org text, id int, client int, at date, primary key (org, at, id)) partition by range (at);
             create table pay_1 partition of pay for values from ('2026-01-01') to ('2026-07-01');
             create table pay_2 partition of pay default;
             create table client (id int primary key, name text);
             insert into client select n, 'c' from generate_series(1, 2000) n;
             insert into pay select 'acme', n, n % 2000, '2026-01-01'::date + n % 300 from generate_series(1, 50000) n",
        )
        .await;
    world.source.execute("analyze pay; analyze client").await;
    write(
        &world,
        "pays.yaml",
        "source: { table: public.pay, tenant: org }\n\
         depends_on: [{ table: public.client, match: { client: id } }]\n\
         query: select p.org as tenant_id, p.at, p.id, c.name from pay p left join client c on c.id = p.client\n\
         target: { table: pays }\n",
    );
    let stdout = warnings(&world).await;
    let told = statements(&stdout);
    assert_eq!(told, ["create index on \"public\".\"pay\" (\"client\");"], "{stdout}");
    world.source.execute(&told[0]).await;
    let stdout = warnings(&world).await;
    assert!(!stdout.contains("warning"), "{stdout}");
}

#[tokio::test]
async fn a_key_behind_a_gap_in_an_index_is_not_found_by_it() {
    let world = World::with_tenants(["acme"]).without_init().mappings(&[]).await;
    world
        .source
        .execute(
            "create table ev (org uuid not null, id uuid not null, sub text not null, tx text not null, \
               at timestamp not null, v numeric) partition by range (at);
             create table ev_default partition of ev default;
             create unique index on ev (org, sub, tx, at);
             insert into ev select md5(n % 3 || '')::uuid, md5('e' || n)::uuid, 's' || n % 500, 't' || n, \
               '2026-01-01'::timestamp + n * interval '1.5 s', n from generate_series(1, 40000) n",
        )
        .await;
    world.source.execute("analyze ev").await;
    write(
        &world,
        "evs.yaml",
        "source: { table: public.ev, tenant: org, key: { id: id, at: at } }\n\
         query: select org as tenant_id, id, at, v from ev\n\
         target: { table: evs }\n",
    );
    let stdout = warnings(&world).await;
    let expect = "one key of evs is found among all rows of its tenant in ev; index the tenant's column with the key's: \
                  create index on \"public\".\"ev\" (\"org\", \"id\", \"at\");";
    assert!(stdout.contains(expect) && stdout.ends_with("1 warning(s)\n"), "{stdout}");
    world.source.execute(&statements(&stdout)[0]).await;
    let stdout = warnings(&world).await;
    assert!(!stdout.contains("warning") && stdout.starts_with("fine     evs"), "{stdout}");
}

#[tokio::test]
async fn an_empty_table_whose_primary_key_serves_needs_no_index() {
    let world = World::with_tenants(["acme"]).without_init().mappings(&[]).await;
    for key in ["id", "org, id", "id, org"] {
        world
            .source
            .execute(&format!(
                "drop table if exists memo; create table memo (org text, id int, primary key ({key})); \
                 create index on memo (org)"
            ))
            .await;
        write(
            &world,
            "memos.yaml",
            "source: { table: public.memo, tenant: org, key: { id: id } }\n\
             query: select org as tenant_id, id from memo\ntarget: { table: memos }\n",
        );
        let stdout = warnings(&world).await;
        assert!(!stdout.contains("warning"), "{key}: {stdout}");
    }
}

#[tokio::test]
async fn two_files_of_one_name_or_one_table_are_refused_without_a_database() {
    let memos = "source: { table: public.memo, tenant: org }\n\
                 query: select org as tenant_id, id from memo\ntarget: { table: memos }\n";
    let world = World::with_tenants(["acme"]).without_init().mappings(&[("memos", memos)]).await;
    // `.yml` is read like `.yaml`.
    write(&world, "other.yml", &format!("name: memos\n{}", memos.replace("memos", "others")));
    let (code, _, stderr) = told(&world, &world.offtake(&["check"]).await);
    assert!(code == 78 && stderr.contains("the mapping `memos` is also defined in"), "{stderr}");
    write(&world, "other.yml", memos);
    let (code, _, stderr) = told(&world, &world.offtake(&["check"]).await);
    let expect = "also writes to the table `memos`";
    assert!(code == 78 && stderr.contains(expect), "{stderr}");
    assert!(stderr.contains("remedy: give each mapping a `target.table` of its own"), "{stderr}");
    write(&world, "other.yml", &memos.replace("memos", "others"));
    world.succeed(&["check"]).await;
}

/// An index of a table is not its children's, and an empty parent, or an empty partition, is read
/// as a whole by any plan. The statements that are told are enough.
#[tokio::test]
async fn children_get_indexes_of_their_own_and_an_empty_part_needs_none() {
    let world = World::with_tenants(["acme"]).without_init().mappings(&[]).await;
    let setup = "
        create table pay (org text, id int, client int, primary key (org, id));
        create table pay_a (primary key (org, id)) inherits (pay);
        create table pay_b (primary key (org, id)) inherits (pay);
        create index on pay_b (client);
        create table due (org text, id int, client int, primary key (org, id)) partition by list (org);
        create table due_a partition of due for values in ('acme');
        create table due_rest partition of due default;
        create table client (id int primary key, name text);
        insert into client select n, 'c' from generate_series(1, 2000) n;
        insert into pay_a select 'acme', n, n % 2000 from generate_series(1, 20000) n;
        insert into pay_b select 'acme', n + 100000, n % 2000 from generate_series(1, 20000) n;
        insert into due select 'acme', n, n % 2000 from generate_series(1, 20000) n";
    world.source.execute(setup).await;
    let mapping = |table: &str| {
        format!(
            "source: {{ table: public.{table}, tenant: org, key: {{ id: id }} }}\n\
             depends_on: [{{ table: public.client, match: {{ client: id }} }}]\n\
             query: select p.org as tenant_id, p.id, c.name from {table} p left join client c on c.id = p.client\n\
             target: {{ table: {table}s }}\n"
        )
    };
    write(&world, "pays.yaml", &mapping("pay"));
    write(&world, "dues.yaml", &mapping("due"));
    world.source.execute("analyze").await;
    let stdout = warnings(&world).await;
    let told = statements(&stdout);
    let expect = [
        "create index on \"public\".\"due\" (\"client\");",
        "create index concurrently on public.pay (\"client\"); create index concurrently on public.pay_a (\"client\");",
    ];
    assert_eq!(told, expect, "{stdout}");
    for statement in told.iter().flat_map(|told| told.split_inclusive(';')) {
        world.source.execute(statement).await;
    }
    world.source.execute("analyze").await;
    let stdout = warnings(&world).await;
    assert!(!stdout.contains("warning"), "{stdout}");
}

/// What a `where` compares with the changed row can be indexed. Where the source makes no such
/// index, none is named.
#[tokio::test]
async fn the_index_that_serves_a_condition_is_named_and_made() {
    let world = World::with_tenants(["acme"]).without_init().mappings(&[]).await;
    let setup = "
        create table crew (id int primary key, name text, at timestamptz);
        create table invite (id int primary key, tenant text, data jsonb, at timestamptz);
        create index on invite (tenant, id);
        insert into crew select n, 'c' from generate_series(1, 2000) n;
        insert into invite select n, 'acme', jsonb_build_object('crew', n % 2000) from generate_series(1, 20000) n";
    world.source.execute(setup).await;
    world.source.execute("analyze").await;
    let mapping = |condition: &str| {
        format!(
            "source: {{ table: public.invite, tenant: tenant }}\n\
             depends_on: [{{ table: public.crew, where: \"{condition}\" }}]\n\
             query: select i.tenant as tenant_id, i.id, c.name from invite i left join crew c on c.id = (i.data ->> 'crew')::int\n\
             target: {{ table: invites }}\n"
        )
    };
    write(&world, "invites.yaml", &mapping("source.at::text = changed.at::text"));
    let stdout = warnings(&world).await;
    assert!(stdout.contains("make an index that serves the condition"), "{stdout}");
    write(&world, "invites.yaml", &mapping("source.data ->> 'crew' = changed.id::text"));
    let stdout = warnings(&world).await;
    let told = statements(&stdout);
    let expect = "create index concurrently on \"public\".\"invite\" ((data ->> 'crew'));";
    assert_eq!(told, [expect], "{stdout}");
    world.source.execute(&told[0]).await;
    let stdout = warnings(&world).await;
    assert!(!stdout.contains("warning"), "{stdout}");
}
