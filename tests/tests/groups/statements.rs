//! What the statements for several tenants do to rows of others, whatever is staged.
//!
//! Only rows of the tenants that are written for come to be staged: each line that is read is
//! compared with its tenant (`apart`, crates/reading/src/group.rs). Here that guard is broken, so
//! that the statements' own are seen.

use offtake_mapping::compose::KeyRange;
use offtake_mapping::compose::postgres::Apply;
use offtake_mapping::{Identifier, parse};
use offtake_tests::Source;

use super::NOTES;

/// Rows of a and b are written, and rows of two others are staged as well. Each of the statements
/// fails the test where it lacks its `tenant_id = any(…)`, or does not compare the tenants.
#[tokio::test]
async fn statements_for_some_tenants_touch_no_row_of_another() {
    let source = Source::application().await;
    let table = "create table note (tenant text, id integer, body text, primary key (tenant, id))";
    source.execute(table).await;
    let notes = parse("notes.yaml".as_ref(), NOTES).expect("a mapping");
    let set = Source::mapping_set(&source, vec![notes]).await;
    let mapping = set.forms(true).iter().find(|of| of.name() == "notes").expect("it is resolved");
    let schema = Identifier::new("public").expect("a name");
    let apply = Apply::of_tenants(mapping, &schema, &["a", "b"]);
    let there = Source::destination().await;
    there.execute(&apply.create_table()).await;
    let rows = "insert into notes select tenant, id, 'old' from unnest('{a,b,neighbour,stranger}'::text[]) tenant, generate_series(1, 3) id";
    there.execute(rows).await;
    let row =
        |tenant: &str, id: &str, body: &str| [tenant, id, body].map(|value| Some(value.to_owned()));
    let staged = [
        (true, row("a", "1", "new")),
        (false, row("a", "2", "")),
        (false, row("b", "1", "")),
        (true, row("stranger", "1", "new")),
        (false, row("stranger", "2", "")),
        (true, row("stranger", "4", "new")),
        (false, row("neighbour", "1", "")),
    ];
    let stage = apply.stage(staged.iter().map(|(present, row)| (*present, &row[..])));
    let range = KeyRange { after: None, up_to: None };
    let all =
        "select string_agg(tenant_id || id || ' ' || body, ', ' order by tenant_id, id) from notes";
    let others = "neighbour1 old, neighbour2 old, neighbour3 old, stranger1 old, stranger2 old, stranger3 old";
    for (statement, ours) in [
        (apply.delete_absent(), "a1 old, a3 old, b2 old, b3 old"),
        (apply.delete_staged(), "a3 old, b2 old, b3 old"),
        (apply.upsert_present(), "a1 new, a2 old, a3 old, b1 old, b2 old, b3 old"),
        // The rows that are not staged: a staged one may be there or not.
        (apply.delete_range(range, None), "a1 old, a2 old, b1 old"),
    ] {
        let session = there.connect().await;
        let begin = format!("begin; {}; {stage}; {statement}", apply.create_staging());
        session.batch_execute(&begin).await.expect("the statements run");
        let found = session.query_one(all, &[]).await.expect("a row").get::<_, String>(0);
        assert_eq!(found, format!("{ours}, {others}"), "{statement}");
        session.batch_execute("rollback").await.expect("nothing is changed");
    }
    // What is not written is found missing: both rows of the stranger, and the one that is to be
    // deleted is no row of ours.
    let session = there.connect().await;
    let write = format!(
        "begin; {}; {stage}; {}; {}",
        apply.create_staging(),
        apply.delete_absent(),
        apply.upsert_present()
    );
    session.batch_execute(&write).await.expect("the statements run");
    let missing = session.query_one(&apply.count_not_applied(), &[]).await.expect("a row");
    assert_eq!(missing.get::<_, i64>(0), 2);
}
