//! What does not fit a restore into the source: the role, the kind, tables, columns, triggers.

use offtake_tests::World;

use super::source::planned;

/// The role, the kind, the tables, the columns.
#[tokio::test]
async fn what_is_missing_for_a_restore_into_the_source_is_told() {
    let mut snapshots = planned(World::with_tenants(["acme"]), false).await;
    let acme = snapshots.world.id("acme").to_owned();
    let create = ["create", "--tenant", &acme, "--kind", "source"];
    let left_out = snapshots.run(&create).await;
    left_out.assert_says(
        1,
        &["public.invoice_line (tenant, invoice) refers to", "snapshots.tables", "--partial"],
    );
    let partial = snapshots.run(&[&create[..], &["--partial"]].concat()).await;
    partial.assert_says(0, &["4 tables", "(not all tables)", "its rows would not come back"]);
    snapshots.run(&["list"]).await.assert_says(0, &["yes, not all tables"]);
    let checked = snapshots.world.offtake(&["check", "--connect"]).await;
    let warned =
        String::from_utf8(checked.stdout).unwrap() + &String::from_utf8(checked.stderr).unwrap();
    assert!(warned.contains("public.invoice_line (tenant, invoice) refers to"), "{warned}");
    let rows = snapshots.make("acme").await;
    let wrong = snapshots.bring_back(&rows, &["--yes"]).await;
    wrong.assert_says(2, &["is of the kind rows", "--kind source"]);
    snapshots.world.configure(|configuration| {
        configuration["snapshots"] =
            serde_json::json!({ "tables": [{ "table": "invoice_line", "tenant": "tenant" }] });
    });
    let id = snapshots.make_of_source("acme").await;
    let other = ["restore", &id, "--tenant", &acme, "--destination", "main", "--yes"];
    snapshots.run(&other).await.assert_says(2, &["is of the kind source", "--into source"]);
    snapshots.run(&["validate", &id]).await.assert_says(0, &["complete and unchanged"]);
    let compares =
        format!("`offtake snapshot restore {id} --tenant {acme} --into source --dry-run` compares");
    for other in [&["validate", &id, "--drill"][..], &["diff", &id, "--into", "main"]] {
        snapshots.run(other).await.assert_says(2, &["is of the kind source", &compares]);
    }
    snapshots.bring_back(&id, &["--dry-run"]).await.assert_says(0, &["nothing is to be restored"]);

    // Columns that are new, gone or others since.
    let source = &snapshots.world.source;
    source.execute("alter table visit add column place text default 'here'; delete from visit where id = 1").await;
    let new = snapshots.bring_back(&id, &["--yes"]).await;
    new.assert_says(0, &["the column place is new", "restored 1 rows"]);
    assert_eq!(source.query_text("select place from visit where id = 1").await, "here");
    source.execute("alter table customer drop column raw; alter table invoice_line alter column what type varchar(20);
        alter table note add column must int not null default 1; alter table note alter column must drop default").await;
    let differs = snapshots.bring_back(&id, &["--yes"]).await;
    differs.assert_says(
        1,
        &[
            "public.customer: the column raw is no longer there",
            "public.invoice_line: what was text and is character varying(20)",
            "public.note: the column must is new, without a default",
        ],
    );
    source.execute("delete from visit where id = 2").await;
    let fits = snapshots.bring_back(&id, &["--table", "public.visit", "--yes"]).await;
    fits.assert_says(0, &["restored 1 rows"]);
    source.execute("alter table note drop column body, add column body text generated always as ('x') stored;
        alter table visit drop constraint visit_pkey, add primary key (id, at, tenant)").await;
    let others = ["--table", "public.note", "--table", "public.visit", "--yes"];
    snapshots.bring_back(&id, &others).await.assert_says(
        1,
        &["public.note: the column body is generated now", "public.visit: its key is another one"],
    );

    // Triggers of the application: one that changes a value is told, one that drops a row ends it.
    source.execute("delete from visit where id in (3, 4);
        create function stamp() returns trigger language plpgsql as $$ begin new.place := 'stamped'; return new; end $$;
        create trigger stamp before insert on visit for each row execute function stamp()").await;
    let fresh = snapshots.make_of_source("acme").await;
    source.execute("delete from visit where id = 5").await;
    let stamped = snapshots.bring_back(&fresh, &["--yes"]).await;
    stamped.assert_says(
        0,
        &["1 rows of public.visit have another place than the snapshot", "a trigger"],
    );
    source.execute("create or replace function stamp() returns trigger language plpgsql as $$ begin return null; end $$;
        delete from visit where id = 6").await;
    let dropped = snapshots.bring_back(&fresh, &["--yes"]).await;
    dropped.assert_says(
        1,
        &["0 rows of public.visit would be added where 1 are to be", "nothing was changed"],
    );
    source
        .execute(
            "create or replace function stamp() returns trigger language plpgsql as $$
        begin new.tenant := '00000000-0000-0000-0000-000000000000'; return new; end $$",
        )
        .await;
    let moved = snapshots.bring_back(&fresh, &["--yes"]).await;
    moved.assert_says(1, &["is not as it was to be after the application's triggers ran"]);
    source.execute("drop function stamp cascade").await;

    // A sequence that would give a number that is taken, and stays as it is.
    let role = format!("restorer_{}", source.name());
    source
        .execute(&format!(
            "delete from note where id = 60; alter sequence note_id_seq restart with 5;
             grant select on sequence note_id_seq to {role}"
        ))
        .await;
    let behind = snapshots.bring_back(&fresh, &["--table", "public.note", "--yes"]).await;
    behind.assert_says(0, &["the sequence public.note_id_seq stands at 0", "up to 60"]);
    assert_eq!(source.query_text("select nextval('note_id_seq')").await, "5");

    // Row security, roles without rights, without triggers, and another database.
    source.execute("alter table visit enable row level security").await;
    let hidden = snapshots.bring_back(&fresh, &["--yes"]).await;
    hidden.assert_says(1, &["row-level security", "nothing was changed"]);
    source.execute(&format!("alter table visit disable row level security; alter role {role} set session_replication_role = replica")).await;
    let silent = snapshots.bring_back(&fresh, &["--yes"]).await;
    silent.assert_says(1, &["session_replication_role"]);
    source
        .execute(&format!(
            "alter role {role} reset session_replication_role; revoke insert on visit from {role}"
        ))
        .await;
    let denied = snapshots.bring_back(&fresh, &["--yes"]).await;
    denied.assert_says(1, &["permission denied for table visit", "docs/snapshots.md"]);
    let there = snapshots.world.tenant("acme").destination.url();
    snapshots.world.configure(|c| c["restore"]["source_url"] = there.into());
    let elsewhere = snapshots.bring_back(&fresh, &["--yes"]).await;
    elsewhere.assert_says(78, &["leads to another database than source.url"]);
    snapshots.world.configure(|c| c["restore"]["source_url"] = "".into());
    let off = snapshots.bring_back(&fresh, &["--yes"]).await;
    off.assert_says(
        78,
        &["does not allow a restore into the source", "restore.source_url", "docs/snapshots.md"],
    );
}
