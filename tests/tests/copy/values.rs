//! Values of every type arrive as they are, also those that some types have and others cannot hold.

use crate::{Copying, KINDS, Kind};

const TABLE: &str = "
create type mood as enum ('sad', 'glad');
create domain short as varchar(5);
create table things (
  id bigint primary key, small smallint, big bigint, price numeric, money money, single real,
  twice double precision, yes boolean, word text, code char(5), name short, day date, at timestamptz,
  plain timestamp, clock time, span interval, raw bytea, doc json, docb jsonb, tags text[], numbers int[],
  who uuid, net inet, bits bit varying, feeling mood, reach int4range, doubled int generated always as (small * 2) stored
);
insert into things (id, small, big, price, single, twice, yes, word, code, name, day, at, plain, clock, span,
                    raw, doc, docb, tags, numbers, who, net, bits, feeling, reach)
values
 (1, -32768, 9223372036854775807, '1.10', '1e-38', '1.7976931348623157e308', true, E'a\\tb\\n\\\\N😀', 'ab', 'abc',
  '2026-02-28', '2026-01-01 00:00:00.123456+00', '2026-01-01 00:00:00.1', '23:59:59.999999', '1 year 2 days',
  '\\x00ff5c27', '{\"a\": 1.10}', '{\"a\": 1.10}', array['x', null, 'a,b', '\"'], array[1, null],
  'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '10.0.0.1/32', '101', 'glad', '[1,5)'),
 (2, 0, -9223372036854775808, 'NaN', 'NaN', 'NaN', false, '', '', '', 'infinity', 'infinity', '-infinity', '00:00', '0',
  '', 'null', '\"0012\"', '{}', '{}', null, '::1', '', 'sad', 'empty'),
 (3, null, null, '123456789012345678901234567890.123456789', 'Infinity', '-Infinity', null, null, null, null,
  '0044-03-15 BC', '0044-03-15 00:00:00+00 BC', null, null, null, null, null, null, null, null, null, null, null, null, null),
 (4, 1, 1, '-0.00', '0', '4.9e-324', true, '0012', '1', '1.10', '9999-12-31', '1970-01-01 00:00:00+00', '1970-01-01',
  '12:00', '-1 day', '\\x31', '1.10', '12', array['1'], array[9], null, null, '0', 'sad', '(,)')
";

/// The comparison reads both sides by itself: it and the rows that a reader sees say the same.
#[tokio::test]
async fn values_of_every_type_are_copied_exactly() {
    for kind in KINDS {
        let copying = Copying::new(kind, TABLE).await;
        let ended = copying.ends(0, "--table things").await;
        assert_eq!(ended.table()["compared"]["equal"], true, "{}", ended.told);
        copying.assert_same("select id, big, price, word, docb from things order by id").await;
        if kind == Kind::File {
            let held = "select typeof(big), typeof(price), typeof(twice), typeof(raw), typeof(yes) from things where id = 1";
            assert_eq!(copying.there(held).await, "integer|text|real|blob|integer");
            let not_numbers = "select single, twice from things where id in (2, 3) order by id";
            assert_eq!(copying.there(not_numbers).await, "NaN|NaN\nInfinity|-Infinity");
            let at = "select at, datetime(at) from things where id = 1";
            assert_eq!(
                copying.there(at).await,
                "2026-01-01 00:00:00.123456+00:00|2026-01-01 00:00:00"
            );
        }
    }
}

/// How each column is held is told before the first row, and so is what is not copied.
#[tokio::test]
async fn types_and_what_is_not_copied_are_told_before_the_first_row() {
    let copying = Copying::new(Kind::File, TABLE).await;
    copying
        .source
        .execute(
            "create index things_word on things (word); create index things_lower on things (lower(word));
             create index things_some on things (big) where yes; create unique index things_pair on things (big, small);
             alter table things add check (small < 100), alter column word set default 'x'",
        )
        .await;
    let ended = copying.ends(0, "--table things").await;
    let types = ended.events("types")[0].clone();
    let first = ended.told.lines().next().unwrap();
    assert!(first.contains(r#""event":"types""#), "{first}");
    let column = |name: &str| {
        let columns = types["columns"].as_array().unwrap().iter();
        columns.clone().find(|column| column["column"] == name).unwrap().clone()
    };
    assert_eq!(
        (&column("big")["to"], &column("big")["kept"]),
        (&"INTEGER".into(), &"exact".into())
    );
    assert!(column("price")["kept"].as_str().unwrap().contains("cast"));
    assert!(column("single")["kept"].as_str().unwrap().contains("NaN"));
    let uncopied = types["not_copied"].to_string();
    for part in [
        "things_lower",
        "things_some",
        "check things_small_check",
        "word has a default",
        "doubled is generated",
    ] {
        assert!(uncopied.contains(part), "{part}: {uncopied}");
    }
    let indexes = "select name, \"unique\" from pragma_index_list('things') where name like 'things_%' order by 1";
    assert_eq!(copying.there(indexes).await, "things_pair|1\nthings_word|0");
}
