//! What cannot be copied is told before the first row, with what to do about it.

use crate::{Copying, KINDS, Kind, orders};

/// Without a key nothing can go on where it was. The remedy is followed word for word.
#[tokio::test]
async fn a_table_without_a_key_is_refused_with_the_statement_that_gives_it_one() {
    let tables = "create table bare (a int, b text); insert into bare values (1, 'x'), (1, 'x');
                  create table half (a int unique, b text); insert into half values (1, 'x')";
    let copying = Copying::new(Kind::File, tables).await;
    for (table, rows) in [("bare", "2"), ("half", "1")] {
        let told = copying.ends(78, &format!("--table {table}")).await.complained;
        assert!(told.contains(&format!("public.{table} has no primary key")), "{told}");
        let remedy = told.split("run at the source: ").nth(1).unwrap().lines().next().unwrap();
        copying.source.execute(remedy).await;
        copying.ends(0, &format!("--table {table}")).await;
        assert_eq!(copying.there(&format!("select count(*) from {table}")).await, rows);
    }
}

#[tokio::test]
async fn a_wrong_command_line_ends_with_2() {
    let copying = Copying::new(Kind::File, &orders(10)).await;
    let check = async |arguments: &str, said: &str| {
        let told = copying.ends(2, arguments).await.complained;
        assert!(told.contains(said), "{arguments}: {told}");
        assert!(!told.contains("Canary"), "{told}");
    };
    check("", "there is nothing to copy").await;
    check("--from postgres://u:Canary@h/d --table orders", "--from has a password in it").await;
    check("--table orders --shape numeric=money", "there is no shape").await;
    check("--table orders --rate fast", "such as 3/s").await;
    check("--table orders --print-sql", "--setup").await;
    let mut d1 = Copying::new(Kind::File, "").await;
    d1.to = Some("d1://account/database".to_owned());
    let told = d1.ends(2, "--all").await.complained;
    assert!(told.contains("ids of account and database"), "{told}");
}

/// A wrong password or database, a table that is not there or may not be read.
#[tokio::test]
async fn what_is_wrong_is_named_and_ends_with_78() {
    let elsewhere = "; create schema archive; create table archive.parcel (id int primary key)";
    let mut copying = Copying::new(Kind::File, &(orders(10) + elsewhere)).await;
    for (wanted, meant) in [("ordres", "public.orders"), ("parcel", "archive.parcel")] {
        let told = copying.ends(78, &format!("--table {wanted}")).await.complained;
        assert!(told.contains(&format!("no table public.{wanted}")), "{told}");
        assert!(told.contains(&format!("is it {meant}?")), "{told}");
    }
    let told = copying.ends(78, "--table nope").await.complained;
    assert!(told.contains("no table public.nope") && !told.contains("is it"), "{told}");
    let url = copying.source.url();
    let at = url.rfind('/').unwrap();
    copying.from = Some(format!("{}/no_such_database", &url[..at]));
    let told = copying.ends(78, "--table orders").await.complained;
    assert!(told.contains("no_such_database"), "{told}");
    copying.from = Some("postgres://nobody@localhost:1/nowhere".to_owned());
    let told = copying.ends(69, "--table orders").await.complained;
    assert!(told.contains("--from") && !told.contains("source.url"), "{told}");

    let copying = Copying::new(Kind::File, &orders(10)).await;
    let folder = copying.path("nowhere").join("copy.db");
    let lost = Copying { to: Some(format!("sqlite://{}", folder.display())), ..copying };
    let told = lost.ends(78, "--table orders").await.complained;
    assert!(told.contains("its folder is not there"), "{told}");
}

/// A table of that name that is another program's stays untouched.
#[tokio::test]
async fn a_table_that_was_there_before_is_not_touched() {
    for kind in KINDS {
        let copying = Copying::new(kind, &orders(10)).await;
        if kind == Kind::File {
            rusqlite::Connection::open(copying.file.path()).unwrap();
        }
        copying.write_there("create table orders (id int primary key, mine text)").await;
        copying.write_there("insert into orders values (1, 'mine')").await;
        let told = copying.ends(78, "--table orders").await.complained;
        assert!(told.contains("public.orders cannot be copied there"), "{told}");
        assert_eq!(copying.there("select * from orders").await, "1|mine");
    }
}

/// A table that is copied once need not be fit for triggers, and `tenant_id` is a column like any
/// other, in the key too.
#[tokio::test]
async fn a_table_is_copied_that_could_not_be_kept_in_step() {
    let tables = "create unlogged table visit (tenant_id int, number int, page text, primary key (tenant_id, number));
                  insert into visit select n % 3, n, 'page ' || n from generate_series(1, 90) n;
                  create table log (id int not null, at int not null, primary key (at, id)) partition by range (at);
                  create table log_now partition of log for values from (10) to (20);
                  insert into log select n, 10 + n % 10 from generate_series(1, 40) n";
    for kind in KINDS {
        let copying = Copying::new(kind, tables).await;
        let ended = copying.ends(0, "--all").await;
        assert_eq!(ended.events("table").len(), 2, "{}", ended.told);
        for sql in [
            "select count(*), min(tenant_id), max(tenant_id), count(distinct number) from visit",
            "select count(*), min(id), max(at) from log",
        ] {
            copying.assert_same(sql).await;
        }
        // Also once the tables are there.
        copying.source.execute("update visit set page = 'new' where tenant_id = 1").await;
        copying.ends(0, "--all --fresh").await;
        copying.assert_same("select count(*) from visit where page = 'new'").await;
    }
}

/// A copy has no mapping file: what is refused is mended at the source, at the destination, or on
/// the command line.
#[tokio::test]
async fn a_refused_table_is_told_in_the_words_of_a_copy() {
    let tables = "create table fold (id int primary key, \"Name\" text, name text);
                  create table taken (id int primary key, note text);
                  create table wanting (id int primary key)";
    for kind in KINDS {
        let copying = Copying::new(kind, tables).await;
        copying.ends(0, "--table wanting").await;
        copying.write_there("create table taken (id int primary key, note text)").await;
        copying.write_there("insert into taken values (1, 'mine')").await;
        copying.write_there("alter table wanting add column more int not null default 1").await;
        if kind == Kind::Postgres {
            copying.write_there("alter table wanting alter column more drop default").await;
        }
        let mut refusals = vec![("taken", "was there before Offtake")];
        match kind {
            Kind::Postgres => refusals.push(("wanting", "no such column")),
            Kind::File => refusals.push(("fold", "Name and name are one in SQLite")),
        }
        for (table, why) in refusals {
            let told = copying.ends(78, &format!("--table {table}")).await.complained;
            assert!(told.contains(why), "{told}");
            for word in ["target.table", "the query", "mappings", "source.key"] {
                assert!(!told.contains(word), "{word}: {told}");
            }
        }
    }
}

/// Two tables that would be one there are told before either is copied.
#[tokio::test]
async fn tables_that_would_have_one_name_are_refused_together() {
    let tables =
        "create table \"Parcel\" (id int primary key); create table parcel (id int primary key);
                  create schema shop; create table shop.item (id int primary key);
                  create table shop_item (id int primary key)";
    for kind in KINDS {
        let copying = Copying::new(kind, tables).await;
        let told = copying.ends(78, "--all").await.complained;
        assert!(told.contains("public.shop_item and shop.item would be one table there"), "{told}");
        let folded = "public.\"Parcel\" and public.parcel would be one table there";
        assert_eq!(told.contains(folded), kind == Kind::File, "{told}");
        copying.ends(0, "--all --exclude shop_item --exclude parcel").await;
    }
}

/// Checkpoints of another source are not gone on with, unless that is asked for.
#[tokio::test]
async fn a_copy_of_another_source_goes_on_only_when_asked() {
    for kind in KINDS {
        let first = Copying::new(kind, &orders(100)).await;
        first.ends(0, "--table orders").await;
        let mut second = Copying::new(Kind::File, &orders(50)).await;
        second.to = Some(match &first.database {
            Some(database) => database.url(),
            None => first.file.url(),
        });
        let ended = second.ends(4, "--table orders").await;
        assert!(ended.told.contains("--fresh"), "{}", ended.told);
        assert_eq!(first.there("select count(*) from orders").await, "100");
        second.ends(0, "--table orders --fresh").await;
        // In place: what the second source has not is gone, and nothing is there twice.
        assert_eq!(first.there("select count(*), max(id) from orders").await, "50|350");
    }
}

/// A table that a daemon keeps in step is left to it.
#[tokio::test]
async fn a_table_that_is_kept_in_step_is_left_to_the_daemon() {
    let copying = Copying::new(Kind::File, &orders(10)).await;
    copying.ends(0, "--table orders").await;
    copying.file.execute(
        "insert into _offtake_state select 'acme', mapping, 5, 1, null, epoch, version, updated_at, \
         write_id, source, source_identity, served_since, served_at, verified_at, differences \
         from _offtake_state",
    );
    let told = copying.ends(78, "--table orders").await.complained;
    assert!(told.contains("kept in step there for the tenant acme"), "{told}");
}

/// A role that may log in and nothing else is told what to grant, and the index that pages of a
/// text key need. Both are done word for word.
#[tokio::test]
async fn a_right_that_is_missing_is_granted_and_an_index_made_as_printed() {
    let table =
        "create schema shop; create table shop.visit (who text collate \"en-x-icu\" primary key);
                 insert into shop.visit select 'v' || n from generate_series(1, 50) n";
    let mut copying = Copying::new(Kind::File, table).await;
    let role = format!("reader_{}", copying.source.name());
    copying.source.execute(&format!("create role {role} login password 'reader'")).await;
    let url = copying.source.url();
    let (_, server) = url.rsplit_once('@').unwrap_or_else(|| url.split_once("://").unwrap());
    copying.from = Some(format!("postgres://{role}:reader@{server}"));
    let told = copying.ends(78, "--table shop.visit").await.complained;
    let remedy = told.split("run at the source: ").nth(1).unwrap().lines().next().unwrap();
    copying.source.execute(remedy).await;
    let ended = copying.ends(0, "--table shop.visit").await;
    assert_eq!(copying.there("select count(*) from shop_visit").await, "50");
    let notes = |ended: &crate::Ended| ended.events("types")[0]["notes"].clone();
    let note = notes(&ended)[0].as_str().unwrap().to_owned();
    copying.source.execute(note.split("first: ").nth(1).unwrap()).await;
    let ended = copying.ends(0, "--table shop.visit").await;
    assert!(notes(&ended).as_array().unwrap().is_empty(), "{}", ended.told);
    copying.source.execute(&format!("drop owned by {role}; drop role {role}")).await;
}

/// Postgres refuses `concurrently` there.
#[tokio::test]
async fn an_index_of_a_partitioned_table_is_made_as_printed() {
    let table =
        "create table visit (who text collate \"en-x-icu\" primary key) partition by hash (who);
                 create table visit_0 partition of visit for values with (modulus 1, remainder 0);
                 insert into visit select 'v' || n from generate_series(1, 50) n";
    let copying = Copying::new(Kind::File, table).await;
    let note = |ended: &crate::Ended| ended.events("types")[0]["notes"].as_array().unwrap().clone();
    let notes = note(&copying.ends(0, "--table visit").await);
    let remedy = notes[0].as_str().unwrap().split("first: ").nth(1).unwrap();
    copying.source.execute(remedy).await;
    let notes = note(&copying.ends(0, "--table visit").await);
    assert!(notes.is_empty(), "{notes:?}");
}
