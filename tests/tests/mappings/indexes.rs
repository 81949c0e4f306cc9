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
