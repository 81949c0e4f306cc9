//! The index that serves a dependency's `where`: on what the condition compares with the changed
//! row.

use offtake_mapping::ResolvedMapping;
use offtake_mapping::scan::{self, Token};
use tokio_postgres::Client;

/// What an index for the condition has, as `create index` takes it: each side of a comparison by
/// `=` that is made of the source's columns alone, where the other side is made of the changed
/// row's. None where the condition does not compare so, or not for all rows (`or`, `not`).
pub(super) fn searched_columns(condition: &str) -> Option<Vec<String>> {
    let tokens = scan::tokens(condition);
    let outside = |token: &&Token| token.depth == 0;
    if tokens.iter().filter(outside).any(|token| token.word("or") || token.word("not")) {
        return None;
    }
    let chars: Vec<char> = condition.chars().collect();
    let parts = tokens.split_inclusive(joins);
    let columns: Vec<String> = parts.filter_map(|part| searched_side(&chars, part)).collect();
    (!columns.is_empty()).then_some(columns)
}

fn joins(token: &Token) -> bool {
    token.depth == 0 && token.word("and")
}

/// `part`: a comparison, and the `and` behind it.
fn searched_side(chars: &[char], part: &[Token]) -> Option<String> {
    let (comparison, end) = match part.split_last()? {
        (and, comparison) if joins(and) => (comparison, and.at),
        _ => (part, chars.len()),
    };
    let is_operator = |at: Option<usize>| {
        at.and_then(|at| chars.get(at)).is_some_and(|c| "<>=!~@#%^&|?+-*/".contains(*c))
    };
    let equals = |token: &Token| {
        token.depth == 0
            && token.symbol('=')
            && !is_operator(token.at.checked_sub(1))
            && !is_operator(Some(token.at + 1))
    };
    let mut sides = comparison.split(equals);
    let (Some(left), Some(right), None) = (sides.next(), sides.next(), sides.next()) else {
        return None;
    };
    let made_of = |side: &[Token], this: &str, other: &str| {
        let names = |name: &str| side.windows(2).any(|two| two[0].word(name) && two[1].symbol('.'));
        names(this) && !names(other)
    };
    let side = match (made_of(left, "source", "changed"), made_of(right, "source", "changed")) {
        (true, false) if made_of(right, "changed", "source") => left,
        (false, true) if made_of(left, "changed", "source") => right,
        _ => return None,
    };
    let from = side.first()?.at;
    let beyond =
        comparison.iter().map(|token| token.at).filter(|at| *at > side.last().map_or(0, |t| t.at));
    let to = beyond.min().unwrap_or(end);
    let named: Vec<(usize, usize)> = side
        .windows(2)
        .filter(|two| two[0].word("source") && two[1].symbol('.'))
        .map(|two| (two[0].at, two[1].at))
        .collect();
    let kept = (from..to).filter(|at| !named.iter().any(|(name, dot)| (name..=dot).contains(&at)));
    let text: String = kept.map(|at| chars[at]).collect();
    let text = text.trim();
    // `source.column` alone is a column; anything else is an expression.
    Some(if side.len() == 3 { text.to_owned() } else { format!("({text})") })
}

/// Whether the source makes such an index: tried on an empty copy of the table that is rolled back.
/// False also where the role may make none.
pub(super) async fn can_be_made(
    source: &Client,
    mapping: &ResolvedMapping,
    columns: &[String],
) -> Result<bool, tokio_postgres::Error> {
    let table = mapping.definition.source.table.sql();
    let trial = format!(
        "begin; set local lock_timeout = '1s'; set local client_min_messages = error; \
         create temporary table offtake_trial (like {table}) on commit drop; \
         create index on pg_temp.offtake_trial ({})",
        columns.join(", ")
    );
    let made = source.batch_execute(&trial).await;
    source.batch_execute("rollback").await?;
    Ok(made.is_ok())
}

#[cfg(test)]
mod tests {
    use super::searched_columns;

    #[test]
    fn what_is_compared_with_the_changed_row_is_indexed() {
        let check = |condition: &str, expect: &[&str]| {
            assert_eq!(searched_columns(condition).unwrap_or_default(), expect, "{condition}");
        };
        check("source.data ->> 'crew' = changed.id::text", &["(data ->> 'crew')"]);
        check(
            "changed.id = source.team_id and source.\"Org\"=changed.org",
            &["team_id", "\"Org\""],
        );
        check("lower(source.mail) = lower(changed.mail) and source.live", &["(lower(mail))"]);
        check("source.id = changed.id or source.id = changed.other", &[]);
        check("source.at >= changed.at and source.id <> changed.id", &[]);
        check("source.a + changed.b = changed.c", &[]);
        check(
            "coalesce(source.a, '=') = changed.a || 'source.b = changed.b'",
            &["(coalesce(a, '='))"],
        );
    }
}
