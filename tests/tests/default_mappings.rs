//! New users start from copies of the default mappings, so these must parse and fit the sample
//! application.

use offtake_tests::Source;

#[test]
fn every_default_mapping_parses() {
    let names: Vec<_> =
        Source::default_mappings().into_iter().map(|mapping| mapping.name).collect();
    assert_eq!(
        names,
        [
            "contact_channels",
            "invitations",
            "permissions",
            "team_members",
            "teams",
            "tenancies",
            "users"
        ]
    );
}

#[tokio::test]
async fn the_default_mappings_resolve_against_the_sample_application() {
    let source = Source::application().await;
    let set = Source::default_mapping_set(&source).await;
    assert_eq!(set.mappings().len(), 7);
    let session = source.connect().await;
    let filled = session
        .query_one(offtake::demo::INSERT_SAMPLE_ROWS, &[&20])
        .await
        .expect("the sample rows fit");
    assert_eq!(filled.get::<_, i64>(0), 0);
}

#[tokio::test]
async fn a_prepared_source_captures_the_sample_rows() {
    let source = Source::prepared().await;
    let _destination = Source::destination().await;
    source.execute("insert into public.tenancy (project_id, branch_id, display_name) values ('acme', 'main', 'Acme')").await;
    let session = source.connect().await;
    session.execute(offtake::demo::INSERT_SAMPLE_ROWS, &[&20]).await.expect("the sample rows fit");
    let tables = source
        .query_text(
            "select source_table, count(*) > 0 from offtake.captured_change group by 1 order by 1",
        )
        .await;
    let expected = [
        "contact_channel",
        "invitation",
        "permission",
        "project_user",
        "team",
        "team_member",
        "tenancy",
    ];
    assert_eq!(tables, expected.map(|table| format!("public.{table}|t")).join("\n"));
}
