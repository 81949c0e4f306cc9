//! What a query may not contain, judged by its text alone.

use crate::scan::{Kind, Token, tokens};

/// One thing that a query contains and that Offtake cannot use.
pub(crate) struct Refusal {
    /// How many characters of the query stand before it.
    pub(crate) at: usize,
    pub(crate) message: String,
    pub(crate) remedy: &'static str,
}

const AS_A_VIEW: &str =
    "write it as a view: it returns the rows of every tenant, and Offtake adds the predicates";

/// Everything that is wrong with a query's text.
pub(crate) fn refusals(query: &str) -> Vec<Refusal> {
    let tokens = tokens(query);
    let mut refusals = Vec::new();
    let mut refuse = |at: usize, message: String, remedy: &'static str| {
        refusals.push(Refusal { at, message, remedy })
    };
    let Some(first) = tokens.first() else { return refusals };
    if !(first.symbol('(')
        || ["select", "with", "values", "table"].iter().any(|word| first.word(word)))
    {
        refuse(first.at, "the query is not a SELECT".to_owned(), AS_A_VIEW);
        return refusals;
    }
    if let Some(parameter) = tokens.iter().find(|t| t.kind == Kind::Parameter) {
        refuse(parameter.at, format!("the query has a parameter ({})", parameter.text), AS_A_VIEW);
    }
    if let Some(end) = tokens.iter().find(|t| t.symbol(';')) {
        refuse(
            end.at,
            "the query is more than one statement".to_owned(),
            "keep one SELECT; `with` names intermediate results",
        );
    }
    for (at, token) in tokens.iter().enumerate() {
        let before = at.checked_sub(1).map(|before| &tokens[before]);
        if token.kind != Kind::Word || before.is_some_and(|t| t.symbol('.') || t.word("as")) {
            continue;
        }
        match token.text.as_str() {
            "limit" | "offset" | "fetch" if token.depth == 0 => refuse(
                token.at,
                format!(
                    "the query limits its rows ({}), so whether a row is in it depends on rows that did not change",
                    token.text
                ),
                "remove it; a condition on the row itself can be evaluated for one key, a position among all rows cannot",
            ),
            "for" if token.depth == 0 && locks(tokens.get(at + 1)) => {
                refuse(
                    token.at,
                    "the query locks rows, and it runs read-only".to_owned(),
                    "remove the `for …` clause",
                );
            }
            "tablesample" => refuse(
                token.at,
                "the query takes a random sample, so it gives other rows each time".to_owned(),
                "remove it; choose rows by a condition on their columns",
            ),
            _ => {}
        }
    }
    refusals
}

fn locks(next: Option<&Token>) -> bool {
    next.is_some_and(|t| ["update", "share", "no", "key"].iter().any(|word| t.word(word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_evaluated_by_key_is_refused() {
        let check = |query: &str, expect: &[(usize, &str)]| {
            let found = refusals(query);
            assert_eq!(found.len(), expect.len(), "{query}");
            for (refusal, (at, message)) in found.iter().zip(expect) {
                assert!(
                    refusal.at == *at && refusal.message.contains(message),
                    "{query}: {} {}",
                    refusal.at,
                    refusal.message
                );
            }
        };
        check(
            "select a, (select b from c limit 1), 'limit 1', t.limit, x as offset from t -- limit",
            &[],
        );
        check("with x as (select 1 limit 1) select * from x for_update", &[]);
        check("select 1 from t\nlimit 10", &[(16, "limits its rows (limit)")]);
        check(
            "select 1 from t offset 1 fetch first row only",
            &[(16, "(offset)"), (25, "(fetch)")],
        );
        check("select 1 from t for update", &[(16, "locks rows")]);
        check("select 1 from t tablesample system (1)", &[(16, "random sample")]);
        check("select $1 from t where x = $2", &[(7, "a parameter ($1)")]);
        check("select 1; select 2", &[(8, "more than one statement")]);
        check("delete from t", &[(0, "not a SELECT")]);
    }
}
