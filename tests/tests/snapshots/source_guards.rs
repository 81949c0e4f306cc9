//! What a restore into the source refuses, and what a crash or a lost reply leaves.

use offtake_jobs::archive::{Contents, Manifest, Member, Reader, Writer};
use offtake_jobs::snapshots::Card;
use offtake_tests::{World, beside};

use super::Snapshots;
use super::source::{as_role, deletion, planned, world};

/// Rewrites an archive as somebody could who can write to the store: its members, hashes and card
/// agree with each other.
fn forge(snapshots: &Snapshots, id: &str, edit: impl Fn(&Contents, usize, String) -> String) {
    forge_contents(snapshots, id, |_| {}, edit);
}

fn forge_contents(
    snapshots: &Snapshots,
    id: &str,
    contents_edit: impl Fn(&mut Contents),
    edit: impl Fn(&Contents, usize, String) -> String,
) {
    let mut reader = Reader::new().unwrap();
    reader.feed(std::fs::read(snapshots.archive(id)).unwrap().into());
    let (mut contents, mut data, mut schemas) = (None, Vec::new(), Vec::new());
    while let Some(member) = reader.take().unwrap() {
        match member {
            Member::Contents(read) => contents = Some(read),
            Member::Data { table, lines } => {
                data.push((table, String::from_utf8(lines.to_vec()).unwrap()));
            }
            Member::Schema { sql, .. } => schemas.push(String::from_utf8(sql.to_vec()).unwrap()),
            Member::Fill | Member::Manifest(_) => {}
        }
    }
    let mut contents = contents.unwrap();
    contents_edit(&mut contents);
    let mut writer = Writer::new(&contents).unwrap();
    for table in 0..contents.tables.len() {
        let lines: String =
            data.iter().filter(|(of, _)| *of == table).map(|(_, lines)| lines.as_str()).collect();
        writer.lines(edit(&contents, table, lines).as_bytes()).unwrap();
        writer.end_table().unwrap();
    }
    let mut archive = writer.take();
    let rest = writer.end(&schemas).unwrap();
    archive.extend(rest.bytes);
    put(snapshots, id, (&contents, &rest.manifest), archive);
}

fn put(
    snapshots: &Snapshots,
    id: &str,
    (contents, manifest): (&Contents, &Manifest),
    archive: Vec<u8>,
) {
    let file = snapshots.file(id, ".json");
    let mut card: Card = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    card.tenant.clone_from(&contents.tenant);
    card.rows = manifest.rows_total();
    for (table, rows) in card.tables.iter_mut().zip(&manifest.rows) {
        table.rows = *rows;
    }
    card.size = archive.len() as u64;
    let hash = ring::digest::digest(&ring::digest::SHA256, &archive);
    card.sha256 = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    std::fs::write(snapshots.archive(id), archive).unwrap();
    std::fs::write(file, serde_json::to_vec(&card).unwrap()).unwrap();
}

/// Every statement that writes fails with this text, before it writes a row.
async fn forbid_writes(snapshots: &Snapshots) {
    snapshots
        .world
        .source
        .execute(
            r#"create function forbidden() returns trigger language plpgsql as $$
                 begin raise 'a statement wrote'; end $$;
               create trigger forbidden before insert or update or delete on customer execute function forbidden();
               create trigger forbidden before insert or update or delete on "The ""Invoice" execute function forbidden();
               create trigger forbidden before insert or update or delete on invoice_line execute function forbidden();
               create trigger forbidden before insert or update or delete on note execute function forbidden();
               create trigger forbidden before insert or update or delete on visit execute function forbidden();"#,
        )
        .await;
}

async fn allow_writes(snapshots: &Snapshots) {
    snapshots.world.source.execute("drop function forbidden cascade").await;
}

fn is_table(contents: &Contents, table: usize, name: &str) -> bool {
    contents.tables[table].table == name
}

/// Each of these would write into another tenant's rows, or leave a row that refers to nothing. No
/// statement that writes is sent, and another tenant's rows stay as they are.
#[tokio::test]
async fn what_cannot_be_restored_is_refused_before_a_statement_writes() {
    let snapshots = world(&["acme", "globex"]).await;
    let (acme, globex) =
        (snapshots.world.id("acme").to_owned(), snapshots.world.id("globex").to_owned());
    let source = &snapshots.world.source;
    let id = snapshots.make_of_source("acme").await;
    let good = (
        std::fs::read(snapshots.archive(&id)).unwrap(),
        std::fs::read(snapshots.file(&id, ".json")).unwrap(),
    );
    let again = || {
        std::fs::write(snapshots.archive(&id), &good.0).unwrap();
        std::fs::write(snapshots.file(&id, ".json"), &good.1).unwrap();
    };
    let others = snapshots.rows_of("globex").await;
    let overwrite = ["--mode", "overwrite", "--yes"];
    let refused = async |how: &str, more: &[&str], words: &[&str]| {
        forbid_writes(&snapshots).await;
        let refused = snapshots.bring_back(&id, &[&overwrite[..], more].concat()).await;
        allow_writes(&snapshots).await;
        let untouched = "nothing was changed in the source";
        assert!(
            refused.complained.contains(untouched) || refused.complained.contains("no statement"),
            "{how}: {refused:?}"
        );
        assert!(!refused.complained.contains("a statement wrote"), "{how}: {refused:?}");
        refused.assert_says(1, words);
        assert_eq!(snapshots.rows_of("globex").await, others, "{how}");
    };

    // A staged row of another tenant, with a key of its own and with one that the other tenant has.
    again();
    forge(&snapshots, &id, |contents, table, lines| {
        match is_table(contents, table, "public.visit") {
            true => format!("{lines}{globex}\t2019-01-01\t7\n"),
            false => lines,
        }
    });
    refused("a row of another tenant", &[], &["public.visit", &globex, "is not of this tenant"])
        .await;
    again();
    forge(&snapshots, &id, |contents, table, lines| {
        match is_table(contents, table, "public.customer") {
            true => lines.replacen("1\t", "31\t", 1),
            false => lines,
        }
    });
    refused(
        "a key of another tenant",
        &[],
        &[r#"public.customer {"id": "31"} belongs to another tenant now"#],
    )
    .await;
    // A note's tenant is that of its customer, whose key is another tenant's.
    again();
    forge(&snapshots, &id, |contents, table, lines| {
        match is_table(contents, table, "public.note") {
            true => format!("{lines}9000\t31\t\\N\tof another one\n"),
            false => lines,
        }
    });
    refused(
        "a row that is looked up",
        &[],
        &[r#"public.note {"id": "9000"} would not be of this tenant"#],
    )
    .await;
    // A reference to a row that is not there.
    again();
    forge(&snapshots, &id, |contents, table, lines| {
        match is_table(contents, table, "public.\"The \"\"Invoice\"") {
            true => format!("{lines}{acme}\t900\t12345\t1\t\\N\n"),
            false => lines,
        }
    });
    refused(
        "a reference to nothing",
        &[],
        &[r#""number": "900""#, "would refer to a row of public.customer that is not there"],
    )
    .await;
    // A key twice, a line too few, a line that ends the copy early, another type, another name.
    again();
    forge(&snapshots, &id, |contents, table, lines| {
        match is_table(contents, table, "public.visit") {
            true => format!("{lines}{}\n", lines.lines().next().unwrap()),
            false => lines,
        }
    });
    refused("a key twice", &[], &["unique"]).await;
    again();
    forge(&snapshots, &id, |contents, table, lines| {
        match is_table(contents, table, "public.visit") {
            true => format!("\\.\n{lines}"),
            false => lines,
        }
    });
    refused("an early end", &[], &["were staged"]).await;
    let hostile = "text) from stdin; drop table visit; --";
    for (what, words) in [("type", "was text"), ("name", "is no longer there")] {
        again();
        forge_contents(
            &snapshots,
            &id,
            |contents| {
                for table in &mut contents.tables {
                    match what {
                        "type" => table.columns[0].sql_type = hostile.to_owned(),
                        _ => table.columns[0].name = hostile.to_owned(),
                    }
                }
            },
            |_, _, lines| lines,
        );
        refused(what, &[], &[words]).await;
    }
    again();
    forge_contents(
        &snapshots,
        &id,
        |contents| contents.tables[0].table = "public.customer; drop table visit".to_owned(),
        |_, _, lines| lines,
    );
    refused("a table", &[], &["no mapping and no entry of snapshots.tables names it"]).await;
    // Another tenant's whole snapshot under this one's name is another tenant's rows.
    again();
    forge_contents(
        &snapshots,
        &id,
        |contents| contents.tenant.clone_from(&globex),
        |_, _, lines| lines,
    );
    let of_other = snapshots.bring_back(&id, &overwrite).await;
    of_other.assert_says(2, &["is of the tenant", "never restored for another"]);
    forge_contents(
        &snapshots,
        &id,
        |contents| contents.tenant.clone_from(&acme),
        |_, _, lines| lines.replace(&acme, &globex),
    );
    refused("rows under another name", &[], &["is not of this tenant"]).await;
    again();

    // A row of another tenant refers to one that would be deleted: its `cascade` would take it along.
    source.execute(&format!(
        "create table remark (id int primary key, customer bigint references customer on delete cascade);
         insert into customer (tenant, name) values ('{acme}', 'later');
         insert into remark select 1, id from customer where name = 'later'")).await;
    let role = format!("restorer_{}", source.name());
    let mirror = ["--mode", "mirror", "--confirm", &acme, "--yes"];
    let denied = snapshots.bring_back(&id, &mirror).await;
    denied.assert_says(1, &["permission denied for table remark", "docs/snapshots.md"]);
    source.execute(&format!("grant select on remark to {role}")).await;
    forbid_writes(&snapshots).await;
    let orphaning = snapshots.bring_back(&id, &mirror).await;
    allow_writes(&snapshots).await;
    orphaning.assert_says(
        1,
        &["public.customer", "would be gone, and a row of public.remark refers to it"],
    );
    assert_eq!(source.query_text("select count(*) from remark").await, "1");
    source.execute("drop table remark; delete from customer where name = 'later'").await;

    // More than was meant, and a condition that would let others in.
    source.execute(&deletion(&acme)).await;
    let many = snapshots.bring_back(&id, &["--max-rows", "88", "--yes"]).await;
    many.assert_says(1, &["would write 89 rows", "--max-rows 89"]);
    let lone = snapshots.bring_back(&id, &["--where", "true", "--yes"]).await;
    lone.assert_says(2, &["--where needs exactly one --table"]);
    for condition in
        ["true) or (true", "true); delete from visit; --", "id in (1", "true; select 1"]
    {
        let open = ["--table", "public.visit", "--where", condition, "--yes"];
        snapshots.bring_back(&id, &open).await.assert_says(2, &["is not one condition"]);
    }
    let some = ["--table", "public.visit", "--where", "id in (1, 2) or true -- all)", "--yes"];
    snapshots.bring_back(&id, &some).await.assert_says(0, &["restored 19 rows"]);
    let narrow = ["--table", "public.invoice_line", "--yes"];
    snapshots
        .bring_back(&id, &narrow)
        .await
        .assert_says(1, &["would refer to a row of", "leave them out"]);
    snapshots.bring_back(&id, &["--yes"]).await.assert_says(0, &["restored 70 rows"]);
    assert_eq!(snapshots.rows_of("globex").await, others);
}

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
    partial.assert_says(0, &["4 tables", "its rows would not come back"]);
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
    snapshots.run(&["validate", &id, "--drill"]).await.assert_says(2, &["is of the kind source"]);

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

/// A process that dies at any step leaves the source as it was before or as it is after.
#[tokio::test]
async fn a_restore_into_the_source_killed_at_any_step_is_before_or_after() {
    let mut snapshots = world(&["acme", "globex"]).await;
    let acme = snapshots.world.id("acme").to_owned();
    let id = snapshots.make_of_source("acme").await;
    let (whole, others) = (snapshots.rows_of("acme").await, snapshots.rows_of("globex").await);
    let points: Vec<&str> = offtake_loops::FAILPOINTS
        .into_iter()
        .filter(|p| p.starts_with("source_restore."))
        .collect();
    assert_eq!(points.len(), 5);
    for point in points {
        snapshots.world.source.execute(&deletion(&acme)).await;
        let before = snapshots.rows_of("acme").await;
        assert_ne!(before, whole);
        snapshots.world.set_variable("FAILPOINTS", &format!("{point}=abort"));
        let killed = snapshots.bring_back(&id, &["--yes"]).await;
        assert_eq!(killed.code, -1, "{point}: {killed:?}");
        snapshots.world.set_variable("FAILPOINTS", "");
        let left = "select count(*) from pg_stat_activity where application_name = 'offtake snapshot restore' \
                    and datname = current_database()";
        snapshots.world.source.wait_text(left, "0").await;
        let expected = if point == "source_restore.after_commit" { &whole } else { &before };
        assert_eq!(snapshots.rows_of("acme").await, *expected, "{point}");
        snapshots.bring_back(&id, &["--yes"]).await.assert_says(0, &[]);
        assert_eq!(snapshots.rows_of("acme").await, whole);
        assert_eq!(snapshots.rows_of("globex").await, others);
    }
}

/// Whose lock it is, is told; nothing of the application waits for long.
#[tokio::test]
async fn a_session_that_holds_a_lock_is_told_and_waited_for() {
    let mut snapshots = world(&["acme"]).await;
    let source = &snapshots.world.source;
    let id = snapshots.make_of_source("acme").await;
    source.execute("update customer set name = 'other' where id = 5").await;
    let holder = source.connect().await;
    holder.batch_execute("set application_name = 'the holder'; begin; select from customer where id = 5 for update").await.unwrap();
    let overwrite = ["--mode", "overwrite", "--yes"];
    let failed = snapshots.bring_back(&id, &overwrite).await;
    failed.assert_says(
        1,
        &["a lock was not given", "it waited for pid", "the holder", "nothing was changed"],
    );
    let mut held = true;
    let done = beside(snapshots.bring_back(&id, &overwrite), async || {
        let waits = "select count(*) from pg_stat_activity where application_name = 'offtake snapshot restore' \
                     and wait_event_type = 'Lock' and datname = current_database()";
        if source.query_text(waits).await == "1" && held {
            holder.batch_execute("rollback").await.unwrap();
            held = false;
        }
    })
    .await;
    assert!(!held, "it was not seen waiting");
    done.assert_says(0, &["restored 1 rows"]);
    // What somebody else changes after it was shown is not what was agreed.
    source.execute("delete from visit where id < 3").await;
    snapshots.world.set_variable("FAILPOINTS", "source_restore.planned=1*sleep(1500)");
    let source = &snapshots.world.source;
    let mut deleted = false;
    let changed = beside(snapshots.bring_back(&id, &["--yes"]), async || {
        let shows = "select count(*) from pg_stat_activity where application_name = 'offtake snapshot restore' \
                     and state = 'idle in transaction' and query like '%offtake_plan%' and datname = current_database()";
        if source.query_text(shows).await == "1" && !deleted {
            source.execute("delete from visit where id = 3").await;
            deleted = true;
        }
    })
    .await;
    assert!(deleted, "it was not seen showing");
    changed.assert_says(1, &["the source has changed", "nothing was changed", "--dry-run"]);
    let again = snapshots.bring_back(&id, &["--yes"]).await;
    again.assert_says(0, &["restored 3 rows"]);
}

/// The reply to the commit is lost: the source is asked what became of the transaction.
#[tokio::test]
async fn a_lost_reply_to_the_commit_is_asked_for() {
    let mut snapshots = world(&["acme"]).await;
    let acme = snapshots.world.id("acme").to_owned();
    let id = snapshots.make_of_source("acme").await;
    let whole = snapshots.rows_of("acme").await;
    let role = format!("restorer_{}", snapshots.world.source.name());
    let url = as_role(&snapshots.world.source.url(), &role);
    let proxy = offtake_tests::proxy::Proxy::before(&url);
    let proxied = proxy.url(&url);
    snapshots.world.configure(|c| c["restore"]["source_url"] = proxied.into());
    for committed in [true, false] {
        snapshots.world.source.execute(&deletion(&acme)).await;
        let before = snapshots.rows_of("acme").await;
        let armed = match committed {
            true => proxy.arm(offtake_tests::proxy::Cut::before_reply("commit")),
            false => proxy.arm(offtake_tests::proxy::Cut::before_statement("\u{b}commit")),
        };
        let ended = snapshots.bring_back(&id, &["--yes"]).await;
        drop(armed);
        proxy.disarm();
        match committed {
            true => {
                ended.assert_says(0, &["the reply to the commit was lost", "restored 89 rows"]);
                assert_eq!(snapshots.rows_of("acme").await, whole);
            }
            false => {
                ended.assert_says(1, &["was not restored", "run it again"]);
                assert_eq!(snapshots.rows_of("acme").await, before);
                snapshots.bring_back(&id, &["--yes"]).await.assert_says(0, &["restored 89 rows"]);
            }
        }
    }
}
