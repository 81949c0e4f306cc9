//! The sample application's write load: every kind of write works, and the same seed gives the same
//! writes.

#![allow(clippy::unwrap_used)]

use offtake::demo::{INSERT_SAMPLE_ROWS, Load};
use offtake_tests::{Database, Source};

async fn application(tenancies: u32) -> Database {
    let source = Source::application().await;
    for n in 1..=tenancies {
        let insert = format!(
            "insert into public.tenancy (id, project_id, branch_id, display_name) values (md5('{n}')::uuid, 'p{n}', 'main', 'T{n}')"
        );
        source.execute(&insert).await;
    }
    source
}

#[tokio::test]
async fn every_kind_of_write_works() {
    let source = application(3).await;
    source.connect().await.execute(INSERT_SAMPLE_ROWS, &[&200]).await.unwrap();
    let mut load = Load::new(source.connect().await, 1).await.unwrap();
    for _ in 0..20 {
        load.write_every_kind().await.unwrap();
    }
    for _ in 0..2000 {
        load.write().await.unwrap();
    }
    let totals = load.totals();
    assert_eq!(totals.writes, 20 * load.kinds().count() as u64 + 2000);
    assert!(totals.rows > totals.writes / 2, "{totals:?}");
    let users: i64 =
        source.query_text("select count(*) from public.project_user").await.parse().unwrap();
    assert!(
        (300..20_000).contains(&users),
        "the load keeps the number of users within bounds, {users} are left"
    );
}

#[tokio::test]
async fn a_user_stays_where_the_other_tenancy_has_one_of_its_key() {
    let source = application(3).await;
    let users = "insert into public.project_user (tenancy_id, project_user_id, display_name)
                 select id, md5('phoenix ' || n)::uuid, 'Phoenix' from public.tenancy, generate_series(0, 19) n";
    source.execute(users).await;
    let mut load = Load::new(source.connect().await, 1).await.unwrap();
    for _ in 0..20 {
        load.write_every_kind().await.unwrap();
    }
}

#[tokio::test]
async fn the_same_seed_writes_the_same() {
    let mut contents = Vec::new();
    for _ in 0..2 {
        let source = application(2).await;
        let mut load = Load::new(source.connect().await, 42).await.unwrap();
        for _ in 0..500 {
            load.write().await.unwrap();
        }
        contents.push(source.query_text("select tenancy_id, project_user_id, display_name from public.project_user order by 1, 2").await);
    }
    assert!(contents[0].lines().count() > 20);
    assert_eq!(contents[0], contents[1]);
}
