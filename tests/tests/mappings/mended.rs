//! What a message about a mapping file tells to do is enough: the check then finds nothing.

use offtake_tests::World;

use crate::{told, write};

const TABLES: &str = "
create table note (org text, id int, body text, author int, primary key (org, id));
create index on note (author);
create index on note (org, body);
create index on note (body);
create table loose (org text, a int unique, b int);
create index on loose (org, a);
create table author (id int primary key, name text);
create index on author (name);
create view shown as select * from note;
create materialized view kept as select * from note;
create function twice(int) returns int language sql as 'select $1 * 2'";

/// One mistake: `source`, `depends_on` and query of the mapping with it, a part of what the message
/// says, and the same three after that was done. A statement of the message is run at the source.
struct Mistake {
    wrong: [&'static str; 3],
    says: &'static str,
    right: [&'static str; 3],
}

const NOTE: &str = "table: public.note, tenant: org";
const NAMES: &str =
    "select n.org as tenant_id, n.id, a.name from note n join author a on a.id = n.author";

fn mistakes() -> Vec<Mistake> {
    let of_query =
        |wrong, says, right| Mistake { wrong: [NOTE, "", wrong], says, right: [NOTE, "", right] };
    let of_dependency = |wrong, says| Mistake {
        wrong: [NOTE, wrong, NAMES],
        says,
        right: [NOTE, "{ table: public.author, match: { author: id } }", NAMES],
    };
    let plain = "select org as tenant_id, id, body from note";
    vec![
        of_query("select org, id, body from note", "select the tenant's id as tenant_id", plain),
        of_query(
            "select org as tenant_id, body from note",
            "select id as id",
            "select org as tenant_id, id as id, body from note",
        ),
        of_query(
            "select org as tenant_id, id, upper(body), upper(body) from note",
            "give one of them another name with `as`",
            "select org as tenant_id, id, upper(body), upper(body) as again from note",
        ),
        of_query("select org as tenant_id, id::text, body from note", "expose it as it is", plain),
        of_query("select org as tenant_id, id, body from note limit 5", "remove it", plain),
        of_query(
            "select org as tenant_id, id, public.twice(id) as two from note",
            "alter function twice(integer) stable;",
            "select org as tenant_id, id, public.twice(id) as two from note",
        ),
        of_query(
            "select n.org as tenant_id, n.id, k.body from note n left join kept k using (org, id)",
            "no trigger captures it: read the tables behind it instead",
            plain,
        ),
        Mistake {
            wrong: [
                "table: public.loose, tenant: org",
                "",
                "select org as tenant_id, a from loose",
            ],
            says: "give the key in `source.key`: { query column: source column }",
            right: [
                "table: public.loose, tenant: org, key: { a: a }",
                "",
                "select org as tenant_id, a from loose",
            ],
        },
        Mistake {
            wrong: [
                "table: public.shown, tenant: org",
                "",
                "select org as tenant_id, id from shown",
            ],
            says: "name the tables behind it, and use it in the query only",
            right: [NOTE, "", "select org as tenant_id, id from shown"],
        },
        of_dependency("{ table: public.author }", "use `match: { column of source.table"),
        of_dependency("{ table: public.author, match: { author: idd } }", "did you mean `id`?"),
        of_dependency(
            "{ table: public.author, where: 'source.author = id' }",
            "write at least one changed.<column>",
        ),
        of_dependency("", "name it under `depends_on`"),
        of_dependency(
            "{ table: public.author, where: source.author = changed.idd }",
            "did you mean `id`?",
        ),
        of_dependency(
            "{ table: public.author, where: source.author = changed.name }",
            "correct it; functions and operators outside pg_catalog",
        ),
        of_dependency(
            "{ table: public.author, match: { author: id } }, { table: public.note, match: { org: org, id: id } }",
            "remove it, or match the rows of this table that depend on the changed one",
        ),
    ]
}

/// The same, about the query's columns and the tables.
fn more_mistakes() -> Vec<Mistake> {
    let of_query =
        |wrong, says, right| Mistake { wrong: [NOTE, "", wrong], says, right: [NOTE, "", right] };
    let of_source = |wrong, says, right, query| Mistake {
        wrong: [wrong, "", query],
        says,
        right: [right, "", query],
    };
    let plain = "select org as tenant_id, id, body from note";
    let keyed = "select org as tenant_id, org as whose, id, body from note";
    vec![
        of_query(
            "select org as tenant_id, id, random() as r from note",
            "take it out of the query",
            plain,
        ),
        of_query("select org as tenant_id, id, body, from note", "correct the query", plain),
        of_query("select org as tenant_id, id, body from note where (true", "complete it", plain),
        of_query(
            "select org as tenant_id, id, bodi from note",
            "Perhaps you meant to reference the column",
            plain,
        ),
        of_source("table: public.notte, tenant: org", "did you mean public.note?", NOTE, plain),
        of_source("table: public.note, tenant: orgg", "did you mean `org`?", NOTE, plain),
        of_source(
            "table: public.kept, tenant: org, key: { id: id }",
            "name the tables behind it, also in the query",
            NOTE,
            plain,
        ),
        of_source(
            "table: public.note, tenant: org",
            "or name another column in `source.key`",
            "table: public.note, tenant: org, key: { body: body }",
            "select org as tenant_id, body from note",
        ),
        of_source(
            "table: public.note, tenant: org, key: { tenant_id: org, id: id }",
            "under another name, and write `key: { that_name: org }`",
            "table: public.note, tenant: org, key: { whose: org, id: id }",
            keyed,
        ),
        Mistake {
            wrong: [
                "table: public.author, tenant: everyone",
                "",
                "select 'x' as tenant_id, id, name from author",
            ],
            says: "leave it out or call it otherwise",
            right: ["table: public.author, tenant: everyone", "", "select id, name from author"],
        },
    ]
}

fn file([source, depends_on, query]: [&str; 3]) -> String {
    format!(
        "source: {{ {source} }}\ndepends_on: [{depends_on}]\nquery: {query}\ntarget: {{ table: notes }}\n"
    )
}

#[tokio::test]
async fn what_a_message_about_a_file_tells_is_enough() {
    let world = World::with_tenants(["acme"]).without_init().mappings(&[]).await;
    world.source.execute(TABLES).await;
    for Mistake { wrong, says, right } in mistakes().into_iter().chain(more_mistakes()) {
        write(&world, "notes.yaml", &file(wrong));
        let (_, stdout, stderr) = told(&world, &world.offtake(&["check", "--connect"]).await);
        let message = format!("{stdout}{stderr}");
        assert!(message.contains(says), "{wrong:?}: {message}");
        if says.ends_with(';') {
            world.source.execute(says).await;
        }
        write(&world, "notes.yaml", &file(right));
        let (code, stdout, stderr) = told(&world, &world.offtake(&["check", "--connect"]).await);
        assert!(code == 0 && !stdout.contains("warning"), "{right:?}: {stdout}{stderr}");
    }
}
