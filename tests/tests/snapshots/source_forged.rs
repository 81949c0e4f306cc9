//! What a restore into the source refuses: archives that somebody forged, and rows that would harm
//! others.

use offtake_jobs::archive::{Contents, Manifest, Member, Reader, Writer};
use offtake_jobs::snapshots::source::{Archive, Error, Mode, OwnTable, Restoring, Wanted};
use offtake_jobs::snapshots::{self, Card};
use offtake_jobs::stores::Place;
use offtake_jobs::{Kind, PublicId, Store, StoreSpec};

use super::Snapshots;
use super::source::{deletion, world};

/// Rewrites an archive as somebody could who can write to the store: its members, hashes and card
/// agree with each other. Each of its statements would make a table of the name `ran`, too.
pub(super) fn forge(
    snapshots: &Snapshots,
    id: &str,
    edit: impl Fn(&Contents, usize, String) -> String,
) {
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
            Member::Schema { sql, .. } => {
                let sql = String::from_utf8(sql.to_vec()).unwrap();
                schemas.push(format!("create table if not exists ran ();\n{sql}"));
            }
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
    for (what, words) in
        [("type", "was text"), ("name", "is no longer there"), ("twice", "is there twice")]
    {
        again();
        forge_contents(
            &snapshots,
            &id,
            |contents| {
                for table in &mut contents.tables {
                    match what {
                        "type" => table.columns[0].sql_type = hostile.to_owned(),
                        "twice" => table.columns[1] = table.columns[0].clone(),
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

/// The command refuses a condition that leaves its brackets. The guards hold without that, too.
#[tokio::test]
async fn a_condition_that_lets_others_in_is_refused_by_the_guards() {
    let snapshots = world(&["acme", "globex"]).await;
    let source = &snapshots.world.source;
    let id = PublicId::parse(Kind::Snapshot, &snapshots.make_of_source("acme").await).unwrap();
    let store = Store::open(&StoreSpec {
        name: "disk".to_owned(),
        place: Place::Disk(snapshots.world.folder().join("files")),
    });
    let card = snapshots::find(&store, &id).await.unwrap().unwrap();
    let (contents, manifest) = snapshots::check(&store, &id, &card).await.unwrap();
    let tables = OwnTable::of(&snapshots.world.mappings(), &[]).unwrap();
    let client = source.connect().await;
    let archive =
        Archive { store: &store, id: &id, card: &card, contents: &contents, manifest: &manifest };
    let wanted = Wanted {
        tables: &tables,
        mode: Mode::Mirror,
        only: &["public.visit".to_owned()],
        condition: Some("false) union all (select v.* from public.visit v"),
    };
    let refused = Restoring::begin(&client, archive, wanted).await.err();
    let Some(Error::Guarded(lines)) = refused else { panic!("{refused:?}") };
    for words in ["belongs to another tenant now", "is not of this tenant"] {
        assert!(lines.iter().any(|line| line.ends_with(words)), "{words}: {lines:?}");
    }
}
