//! A tenant's expression must get by with the row's own columns. A trigger evaluates it inside the
//! application's write, and nothing would tell the old tenant when another table's row changes.

use crate::scan::{Kind, Token, tokens};
use crate::{Identifier, TableName};

/// Words that Postgres reads as a value of the session or of the moment.
const SESSION_WORDS: [&str; 11] = [
    "current_catalog",
    "current_date",
    "current_role",
    "current_schema",
    "current_time",
    "current_timestamp",
    "current_user",
    "localtime",
    "localtimestamp",
    "session_user",
    "user",
];

/// Functions of the catalog that are not volatile and give such a value.
const SESSION_FUNCTIONS: [&str; 14] = [
    "current_database",
    "current_query",
    "current_schemas",
    "current_setting",
    "inet_client_addr",
    "inet_client_port",
    "inet_server_addr",
    "inet_server_port",
    "now",
    "pg_backend_pid",
    "pg_current_xact_id_if_assigned",
    "statement_timestamp",
    "transaction_timestamp",
    "txid_current_if_assigned",
];

/// Where in the expression another table is read, and what to write instead.
pub(super) struct SubSelect {
    /// How many characters of the expression stand before it.
    pub(super) at: usize,
    pub(super) remedy: String,
}

/// The first sub-select of an expression.
pub(super) fn sub_select(expression: &str) -> Option<SubSelect> {
    let tokens = tokens(expression);
    let begins = |at: &usize| {
        // Behind a dot it is a column's name.
        let column = at.checked_sub(1).is_some_and(|before| tokens[before].symbol('.'));
        !column && ["select", "table"].iter().any(|word| tokens[*at].word(word))
    };
    let at = (0..tokens.len()).find(begins)?;
    let look_up = Reader { tokens: &tokens[at..] }.look_up();
    let remedy = match look_up {
        Some(look_up) => format!("write it as a look-up: `{look_up}`"),
        None => "write it as a look-up: `tenant: { table: …, column: …, match: { its column: \
                 column of source.table } }`, or keep the tenant's id in a column of this table"
            .to_owned(),
    };
    Some(SubSelect { at: tokens[at].at, remedy })
}

/// The first value in the expression that is of the session, and not of the row. The trigger runs
/// in the application's session and as another role, and the query in Offtake's.
pub(super) fn of_session(expression: &str) -> Option<Token> {
    let tokens = tokens(expression);
    let of_session = |at: usize, token: &Token| {
        let named =
            |names: &[&str]| token.kind == Kind::Word && names.contains(&token.text.as_str());
        let before = |symbol| at.checked_sub(1).is_some_and(|at| tokens[at].symbol(symbol));
        let called = tokens.get(at + 1).is_some_and(|next| next.symbol('('));
        // Behind a dot a word is a column's name, and a function has its schema.
        (named(&SESSION_WORDS) && !before('.')) || (named(&SESSION_FUNCTIONS) && called)
    };
    let at = (0..tokens.len()).find(|at| of_session(*at, &tokens[*at]))?;
    Some(tokens[at].clone())
}

/// Reads `select a.x from t a where a.y = source.z and …)`, in which `a` may be absent.
struct Reader<'a> {
    tokens: &'a [Token],
}

impl Reader<'_> {
    /// The sub-select as the look-up that means the same; None if it is of another form.
    fn look_up(mut self) -> Option<String> {
        self.word("select")?;
        let column = self.name()?.pop()?;
        self.word("from")?;
        let mut table = self.name()?;
        let name = table.pop()?;
        let schema = match table.pop() {
            Some(schema) => schema,
            None => Identifier::new("public").ok()?,
        };
        let table = TableName { schema, name };
        let _ = self.word("as");
        if !self.tokens.first()?.word("where") {
            self.name()?;
        }
        self.word("where")?;
        let mut pairs = Vec::new();
        loop {
            let (left, _) = (self.name()?, self.symbol('=')?);
            let right = self.name()?;
            let (theirs, ours) = if of_row(&right) { (left, right) } else { (right, left) };
            if !of_row(&ours) || of_row(&theirs) {
                return None;
            }
            pairs.push(format!("{}: {}", theirs.last()?.in_yaml(), ours.last()?.in_yaml()));
            if self.word("and").is_none() {
                break;
            }
        }
        let closed = self.tokens.iter().all(|token| token.symbol(')'));
        closed.then(|| {
            format!(
                "tenant: {{ table: {}, column: {}, match: {{ {} }} }}",
                table.in_yaml(),
                column.in_yaml(),
                pairs.join(", ")
            )
        })
    }

    fn next(&mut self) -> Option<&Token> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(first)
    }

    fn word(&mut self, word: &str) -> Option<()> {
        self.tokens.first()?.word(word).then(|| self.next()).map(|_| ())
    }

    fn symbol(&mut self, symbol: char) -> Option<()> {
        self.tokens.first()?.symbol(symbol).then(|| self.next()).map(|_| ())
    }

    /// A name of one or two parts.
    fn name(&mut self) -> Option<Vec<Identifier>> {
        let mut parts = Vec::new();
        loop {
            let token = self.next().filter(|t| matches!(t.kind, Kind::Word | Kind::Quoted))?;
            parts.push(Identifier::new(token.text.clone()).ok()?);
            if self.symbol('.').is_none() {
                return (parts.len() <= 2).then_some(parts);
            }
        }
    }
}

/// Whether the name is a column of the mapping's own row.
fn of_row(name: &[Identifier]) -> bool {
    matches!(name, [table, _] if table.as_str() == "source")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_the_session_is_found() {
        let check = |expression: &str, expect: Option<(usize, &str)>| {
            let found = of_session(expression);
            assert_eq!(found.as_ref().map(|t| (t.at, t.text.as_str())), expect, "{expression}");
        };
        check("coalesce(org, current_user)", Some((14, "current_user")));
        check("coalesce(org, Current_Setting('app.org', true))", Some((14, "current_setting")));
        check("pg_catalog.now()::text || org", Some((11, "now")));
        check("case when at > localtimestamp(3) then org end", Some((15, "localtimestamp")));
        check("lower(source.user) || source.current_date", None);
        check("lower(\"user\") || 'current_user' || now /* user */", None);
    }

    #[test]
    fn a_sub_select_is_found_with_the_look_up_that_means_the_same() {
        let check = |expression: &str, expect: Option<(usize, &str)>| {
            let found = sub_select(expression);
            let found = found.as_ref().map(|f| (f.at, f.remedy.as_str()));
            let expect =
                expect.map(|(at, look_up)| (at, format!("write it as a look-up: `{look_up}`")));
            assert_eq!(found, expect.as_ref().map(|(at, remedy)| (*at, remedy.as_str())));
        };
        check("lower(source.org)", None);
        check("source.select || 'select'", None);
        check(
            "(select b.org from public.bill b where b.id = source.bill_id)",
            Some((1, "tenant: { table: public.bill, column: org, match: { id: bill_id } }")),
        );
        check(
            "(SELECT \"orgId\" FROM \"Bill\" WHERE source.a = a and source.b = \"B\")",
            Some((
                1,
                "tenant: { table: 'public.\"Bill\"', column: '\"orgId\"', match: { a: a, '\"B\"': b } }",
            )),
        );
        let other = sub_select("coalesce(org, (select max(org) from bill))").unwrap();
        assert!(other.at == 15 && other.remedy.contains("match: { its column"), "{}", other.remedy);
        assert!(sub_select("case when exists (table bill) then 'a' end").is_some());
    }
}
