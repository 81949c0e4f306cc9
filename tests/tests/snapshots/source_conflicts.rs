//! Rows of a restore into the source that stand in each other's way, or in another row's.

use offtake_tests::World;
use serde_json::json;

use super::Snapshots;
use super::source::planned;

/// Two tables that refer to each other.
const CIRCLE: &str = r"
create table crew (id int primary key, tenant uuid, captain int);
create table captain (id int primary key, tenant uuid, crew int references crew);
alter table crew add constraint crew_captain foreign key (captain) references captain;
insert into crew values (1, '{acme}');
insert into captain values (1, '{acme}', 1);
update crew set captain = 1;
";

async fn world() -> Snapshots {
    let mut snapshots = planned(World::with_tenants(["acme", "globex"]), true).await;
    let circle = CIRCLE.replace("{acme}", snapshots.world.id("acme"));
    snapshots.world.source.execute(&circle).await;
    snapshots.world.configure(|configuration| {
        let table = |name: &str| json!({ "table": name, "tenant": "tenant" });
        configuration["snapshots"] =
            json!({ "tables": [table("public.invoice_line"), table("crew"), table("captain")] });
    });
    let role = format!("restorer_{}", snapshots.world.source.name());
    let grant = format!("grant select, insert, update, delete on crew, captain to {role}");
    snapshots.world.source.execute(&grant).await;
    snapshots
}

/// Each of these fails with a message that names the tables, and changes nothing.
#[tokio::test]
async fn rows_that_stand_in_the_way_leave_the_source_as_it_was() {
    let snapshots = world().await;
    let source = &snapshots.world.source;
    let (acme, globex) =
        (snapshots.world.id("acme").to_owned(), snapshots.world.id("globex").to_owned());
    let booked = |tenant: &str, number: i32, from: &str| {
        format!(
            r#"update "The ""Invoice" set total = null, during = '[{from}, 2026-03-01)'
                where tenant = '{tenant}' and number = {number}"#
        )
    };
    source.execute(&booked(&acme, 2, "2026-01-01")).await;
    let id = snapshots.make_of_source("acme").await;
    let before = snapshots.rows_of("acme").await;
    let mirror = ["--mode", "mirror", "--yes", "--confirm", &acme];

    // Another tenant has taken the room of an exclusion constraint. Its value is not told.
    source
        .execute(&format!(
            r#"delete from invoice_line where tenant = '{acme}' and invoice = 2;
               delete from "The ""Invoice" where tenant = '{acme}' and number = 2;
               {}"#,
            booked(&globex, 3, "2026-02-02")
        ))
        .await;
    let (now, others) = (snapshots.rows_of("acme").await, snapshots.rows_of("globex").await);
    let excluded = snapshots.bring_back(&id, &["--yes"]).await;
    excluded.assert_says(
        1,
        &["violates exclusion constraint", "nothing was changed in the source", "mend that"],
    );
    assert!(!excluded.complained.contains("2026-02-02"), "{excluded:?}");
    assert_eq!(snapshots.rows_of("acme").await, now);
    assert_eq!(snapshots.rows_of("globex").await, others);
    let free = format!(r#"update "The ""Invoice" set total = 1 where tenant = '{globex}'"#);
    source.execute(&free).await;
    snapshots.bring_back(&id, &["--yes"]).await.assert_says(0, &["restored 4 rows"]);
    assert_eq!(snapshots.rows_of("acme").await, before);

    // A row that refers to one that `mirror` deletes, and that is changed only afterwards.
    let moved = format!(
        r#"with added as (insert into customer (tenant, name) values ('{acme}', 'added') returning id)
           update "The ""Invoice" set customer = added.id from added where tenant = '{acme}' and number = 1"#
    );
    for action in ["no action", "set null", "cascade deferrable", "no action deferrable"] {
        source
            .execute(&format!(
                r#"alter table "The ""Invoice" drop constraint "The ""Invoice_customer_fkey";
                   alter table "The ""Invoice" add constraint "The ""Invoice_customer_fkey"
                     foreign key (customer) references customer on delete {action}"#
            ))
            .await;
        source.execute(&moved).await;
        let now = snapshots.rows_of("acme").await;
        if action == "no action deferrable" {
            snapshots.bring_back(&id, &mirror).await.assert_says(0, &["restored 2 rows"]);
            assert_eq!(snapshots.rows_of("acme").await, before);
            continue;
        }
        let referred = snapshots.bring_back(&id, &mirror).await;
        referred.assert_says(
            1,
            &[
                "would be deleted before a row of public.\"The \"\"Invoice\" that refers to it",
                "--mode overwrite first",
                "no statement that writes was sent",
            ],
        );
        assert_eq!(snapshots.rows_of("acme").await, now, "{action}");
        let overwrite = ["--mode", "overwrite", "--yes"];
        snapshots.bring_back(&id, &overwrite).await.assert_says(0, &["restored 1 rows"]);
        snapshots.bring_back(&id, &mirror).await.assert_says(0, &["restored 1 rows"]);
        assert_eq!(snapshots.rows_of("acme").await, before, "{action}");
    }

    // Tables in a circle come back once one of their foreign keys can wait for the other's rows.
    source.execute("update crew set captain = null; delete from captain; delete from crew").await;
    let circle = snapshots.bring_back(&id, &["--yes"]).await;
    circle.assert_says(
        1,
        &[
            "public.crew and public.captain refer to each other",
            "deferrable",
            "nothing was changed",
        ],
    );
    source.execute("alter table crew alter constraint crew_captain deferrable").await;
    snapshots.bring_back(&id, &["--yes"]).await.assert_says(0, &["restored 2 rows"]);
    assert_eq!(source.query_text("select id, captain from crew").await, "1|1");
    values_are_exchanged(&snapshots, &id).await;
}

/// Rows that exchange the values of a unique constraint are written one after the other. The
/// message names them, and they come back once they have made room.
async fn values_are_exchanged(snapshots: &Snapshots, id: &str) {
    let source = &snapshots.world.source;
    let (acme, globex) = (snapshots.world.id("acme"), snapshots.world.id("globex"));
    let before = snapshots.rows_of("acme").await;
    let overwrite = ["--mode", "overwrite", "--yes"];
    let free = "update customer set mail = null where id in (1, 2)";
    let exchange = format!(
        "begin; {free}; update customer set mail = 'Ann' || 3 - id || '@' || left('{acme}', 8)
          where id in (1, 2); commit"
    );
    source.execute(&exchange).await;
    let now = snapshots.rows_of("acme").await;
    let exchanged = snapshots.bring_back(id, &overwrite).await;
    exchanged.assert_says(
        1,
        &[
            "violates unique constraint \"customer_mail_key\"",
            r#"public.customer {"id": "1"} has a value that another row is to have"#,
            r#"public.customer {"id": "2"} has a value that another row is to have"#,
            "nothing was changed in the source",
            "give those rows other values",
        ],
    );
    assert!(!exchanged.complained.contains("Ann"), "no value is told: {exchanged:?}");
    assert_eq!(snapshots.rows_of("acme").await, now);
    source.execute(free).await;
    snapshots.bring_back(id, &overwrite).await.assert_says(0, &["restored 2 rows"]);
    assert_eq!(snapshots.rows_of("acme").await, before);

    // Another tenant has the value of a row that is gone.
    let taken = format!(
        "update customer set mail = null where id = 1;
         update customer set mail = 'Ann1@' || left('{acme}', 8) where id = 31 and tenant = '{globex}'"
    );
    source.execute(&taken).await;
    let of_other = snapshots.bring_back(id, &overwrite).await;
    let line = r#"public.customer {"id": "31"} is of another tenant and has a value that a row is to have"#;
    of_other.assert_says(1, &[line]);
    source.execute("update customer set mail = null where id = 31").await;
    snapshots.bring_back(id, &overwrite).await.assert_says(0, &["restored 1 rows"]);

    // A constraint that can wait is no hindrance.
    let deferrable = "alter table customer drop constraint customer_mail_key,
        add constraint customer_mail_key unique (mail) deferrable";
    source.execute(deferrable).await;
    source.execute(&exchange).await;
    snapshots.bring_back(id, &overwrite).await.assert_says(0, &["restored 2 rows"]);
    assert_eq!(snapshots.rows_of("acme").await, before);
}
