//! Mistakes in a mapping file that the file alone shows, one by one. Those that the source shows
//! are in `tests/tests/mappings/mended.rs`.

use super::mistakes::Follow::{Understand, Write};
use super::mistakes::{Follow, Mistake, mend};

const GOOD: &str = "\
source: { table: public.note, tenant: org }
depends_on: [{ table: public.author, match: { author: id } }]
query: select n.org as tenant_id, n.id, a.name from note n join author a on a.id = n.author
target: { table: notes }
";

const SOURCE: &str = "source: { table: public.note, tenant: org }";
const DEPENDS: &str = "depends_on: [{ table: public.author, match: { author: id } }]";
const QUERY: &str =
    "query: select n.org as tenant_id, n.id, a.name from note n join author a on a.id = n.author";
const TARGET: &str = "target: { table: notes }";

/// What stands instead of which part of [`GOOD`], a part of the message, and how its remedy is
/// followed.
type Wrong = (&'static str, &'static str, &'static str, Follow);

const SOURCES: [Wrong; 18] = [
    (SOURCE, "", "`source` is missing", Understand("`source: { table: …, tenant: … }`", SOURCE)),
    (
        SOURCE,
        "§sourc§: { table: public.note, tenant: org }",
        "there is no key `sourc` here",
        Write("did you mean `", "`"),
    ),
    (
        SOURCE,
        "source: §public.note§",
        "`source` has keys of its own",
        Understand(
            "write `key: value` lines below it",
            "source:\n  table: public.note\n  tenant: org",
        ),
    ),
    (
        SOURCE,
        "source: { table: public.note }",
        "`tenant` is missing",
        Understand("name the column that holds the tenant's id", SOURCE),
    ),
    (
        SOURCE,
        "source: { tenant: org }",
        "`table` is missing",
        Understand("name the table, as schema.table", SOURCE),
    ),
    (
        SOURCE,
        "source: { table: §''§, tenant: org }",
        "`table` is empty",
        Understand("write it behind the colon", SOURCE),
    ),
    (
        SOURCE,
        "source: { table: §[public, note]§, tenant: org }",
        "`table` is a text",
        Understand("write one value", SOURCE),
    ),
    (
        SOURCE,
        "source: { table: §a.b.c§, tenant: org }",
        "",
        Understand("write it as schema.table", SOURCE),
    ),
    (
        SOURCE,
        "source: { table: public.note, tenant: org, key: §id§ }",
        "`key` pairs columns",
        Understand(
            "write `key: { query column",
            "source: { table: public.note, tenant: org, key: { id: id } }",
        ),
    ),
    (
        SOURCE,
        "source: { table: public.note, tenant: org, key: { id: §7§ } }",
        "this is not a column's name",
        Understand(
            "write `key: { query column",
            "source: { table: public.note, tenant: org, key: { id: id } }",
        ),
    ),
    (
        SOURCE,
        "source: { table: public.note, tenant: \"org || §$1§\" }",
        "the expression has a parameter",
        Understand(
            "write it over the row's own columns",
            "source: { table: public.note, tenant: org || 'x' }",
        ),
    ),
    (
        SOURCE,
        "source: { table: public.note, tenant: §[]§ }",
        "the list has no look-up",
        Understand(
            "write `- { table: …, column: …, match: { … } }` for each step",
            "source: { table: public.note, tenant: [{ table: public.a, column: org, match: { id: a } }] }",
        ),
    ),
    (
        SOURCE,
        "source: { table: public.note, tenant: [§org§] }",
        "a look-up has keys",
        Understand(
            "write `- { table: …, match: { … } }`, and `column` in the last one",
            "source: { table: public.note, tenant: [{ table: public.a, column: org, match: { id: a } }] }",
        ),
    ),
    (
        SOURCE,
        "source: { table: public.note, tenant: [{ table: public.a, column: §b§, match: { id: a } }, { table: public.b, column: org, match: { id: b } }] }",
        "only the last look-up names the tenant's column",
        Understand(
            "remove it here",
            "source: { table: public.note, tenant: [{ table: public.a, match: { id: a } }, { table: public.b, column: org, match: { id: b } }] }",
        ),
    ),
    (
        SOURCE,
        "source: { table: public.note, tenant: [{ table: public.a, column: §org§, match: { id: a } }, { table: public.b, column: org, match: { id: b } }] }",
        "only the last look-up names the tenant's column",
        Understand(
            "or end the list with this look-up",
            "source: { table: public.note, tenant: [{ table: public.a, column: org, match: { id: a } }] }",
        ),
    ),
    (
        SOURCE,
        "source: { table: public.note, tenant: [{ table: public.a, match: { id: a } }, { table: §public.a§, column: org, match: { id: b } }] }",
        "the way to the tenant leads back to public.a",
        Understand(
            "name each table once",
            "source: { table: public.note, tenant: [{ table: public.a, match: { id: a } }, { table: public.b, column: org, match: { id: b } }] }",
        ),
    ),
    (
        SOURCE,
        "source: { table: public.note, tenant: \"(§select§ a.org from public.a where a.id = source.a_id)\" }",
        "the tenant's expression reads another table",
        Understand(
            "`tenant: { table: public.a, column: org, match: { id: a_id } }`",
            "source: { table: public.note, tenant: { table: public.a, column: org, match: { id: a_id } } }",
        ),
    ),
    (
        SOURCE,
        "name: §two words§\nsource: { table: public.note, tenant: org }",
        "`two words` cannot be a mapping's name",
        Understand(
            "set `name`, of letters",
            "name: two_words\nsource: { table: public.note, tenant: org }",
        ),
    ),
];

const OTHERS: [Wrong; 23] = [
    (
        DEPENDS,
        "depends_on: §public.author§",
        "this is a list",
        Understand(
            "begin each entry with `- table:`",
            "depends_on:\n  - table: public.author\n    match: { author: id }",
        ),
    ),
    (
        DEPENDS,
        "depends_on: [§public.author§]",
        "an entry of `depends_on` has keys",
        Understand(
            "write `- table: …`",
            "depends_on:\n  - table: public.author\n    match: { author: id }",
        ),
    ),
    (
        DEPENDS,
        "depends_on: [{ table: §public.author§ }]",
        "`match` or `where` is missing",
        Understand("use `match: {", DEPENDS),
    ),
    (
        DEPENDS,
        "depends_on: [{ table: public.author, match: { author: id }, where: §source.author = changed.id§ }]",
        "`match` and `where` stand together",
        Understand(
            "or `where:` with source.",
            "depends_on: [{ table: public.author, where: source.author = changed.id }]",
        ),
    ),
    (
        DEPENDS,
        "depends_on: [{ table: public.author, match: §author§ }]",
        "`match` pairs columns",
        Understand("write `match: { column of source.table", DEPENDS),
    ),
    (
        DEPENDS,
        "depends_on: [{ table: public.author, where: §source.author = id§ }]",
        "the condition names no column of the changed row",
        Understand(
            "write at least one changed.<column>",
            "depends_on: [{ table: public.author, where: source.author = changed.id }]",
        ),
    ),
    (
        DEPENDS,
        "depends_on: [{ table: public.author, where: source.author = changed.id + §$1§ }]",
        "the condition has a parameter",
        Understand(
            "write it over source.",
            "depends_on: [{ table: public.author, where: source.author = changed.id }]",
        ),
    ),
    (QUERY, "", "`query` is missing", Understand("write the SELECT whose rows", QUERY)),
    (QUERY, "query: §''§", "`query` is empty", Understand("write the SELECT whose rows", QUERY)),
    (
        QUERY,
        "query: §-- none§",
        "the query is empty",
        Understand("write the SELECT whose rows", QUERY),
    ),
    (
        QUERY,
        "query: §delete§ from note",
        "the query is not a SELECT",
        Understand("write it as a view", QUERY),
    ),
    (
        QUERY,
        "query: select org as tenant_id, id from note where org = §$1§",
        "the query has a parameter ($1)",
        Understand(
            "it returns the rows of every tenant",
            "query: select org as tenant_id, id from note",
        ),
    ),
    (
        QUERY,
        "query: select org as tenant_id, id from note§;§ select 1",
        "the query is more than one statement",
        Understand("keep one SELECT", "query: select org as tenant_id, id from note"),
    ),
    (
        QUERY,
        "query: select org as tenant_id, id from note §limit§ 5",
        "the query limits its rows",
        Understand("remove it", "query: select org as tenant_id, id from note"),
    ),
    (
        QUERY,
        "query: select org as tenant_id, id from note §for§ update",
        "the query locks rows",
        Understand("remove the `for …` clause", "query: select org as tenant_id, id from note"),
    ),
    (
        QUERY,
        "query: select org as tenant_id, id from note §tablesample§ system (5)",
        "the query takes a random sample",
        Understand(
            "remove it; choose rows by a condition",
            "query: select org as tenant_id, id from note where id < 5",
        ),
    ),
    (TARGET, "", "`target` is missing", Understand("`target: { table: … }`", TARGET)),
    (
        TARGET,
        "target: { table: §public.notes§ }",
        "a target has no schema before its name",
        Write("write `table: ", "`"),
    ),
    (
        TARGET,
        "target: { table: §aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggg§ }",
        "Postgres cuts names after 63 bytes",
        Understand("give the name as you would write it in SQL", TARGET),
    ),
    (
        TARGET,
        "target: { table: notes, §shema_sql§: create table notes (id int) }",
        "there is no key `shema_sql` here",
        Write("did you mean `", "`"),
    ),
    (
        TARGET,
        "target: { table: notes, keep_tenant: §maybe§ }",
        "this is `true` or `false`",
        Understand("write one of the two", "target: { table: notes, keep_tenant: true }"),
    ),
    (
        TARGET,
        "target: { table: notes }\non_row_error: §skip§",
        "there is no such choice",
        Understand(
            "write `quarantine` (the row is set aside",
            "target: { table: notes }\non_row_error: quarantine",
        ),
    ),
    (
        TARGET,
        "target: { table: notes }\non_row_error: §skip§",
        "there is no such choice",
        Understand("or `halt` (the mapping stops", "target: { table: notes }\non_row_error: halt"),
    ),
];

const CONFIGURATION: &str = "source: { url: \"postgres://app@db.example.com/app\" }\n";

#[test]
fn a_mistake_in_a_mapping_file_is_mended_by_what_its_message_says() {
    for (from, wrong, says, follow) in SOURCES.iter().chain(&OTHERS) {
        let (before, behind) = GOOD.split_once(from).unwrap();
        mend(&Mistake {
            file: "mappings/notes.yaml",
            beside: &[("offtake.yaml", CONFIGURATION)],
            before,
            behind,
            wrong,
            says,
            follow,
        });
    }
    // No key at all, and a sixth step.
    let good = |rule: &str| GOOD.replace("tenant: org", &format!("tenant: {rule}"));
    let steps = |count: usize| -> String {
        let step = |at: usize| format!("{{ table: public.t{at}, match: {{ id: t{at} }} }}");
        let steps: Vec<String> = (1..count).map(step).collect();
        format!("[{}, {{ table: public.t0, column: org, match: {{ id: t0 }} }}]", steps.join(", "))
    };
    let (five, four) = (good(&steps(5)), good(&steps(4)));
    let four: &'static str = four.leak();
    for (wrong, says, words) in [
        ("just a text\n", "the file has no keys", "the keys are name, source"),
        (
            five.as_str(),
            "a tenant is found in at most 4 steps",
            "in a column of one of these tables",
        ),
    ] {
        mend(&Mistake {
            file: "mappings/notes.yaml",
            beside: &[("offtake.yaml", CONFIGURATION)],
            before: "",
            behind: "",
            wrong,
            says,
            follow: &Understand(words, four),
        });
    }
}
