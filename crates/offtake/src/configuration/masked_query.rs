//! `destinations.query` without the secrets that it may hold. A query may hold a whole URL, or
//! compose one of its parts.

/// What stands in place of a secret.
const MASK: &str = "***";

/// What names a password in a connection string. A setting's name ends in one of them.
const SECRET_WORDS: [&str; 5] = ["password", "passwd", "pass", "pwd", "secret"];

/// A part of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part<'a> {
    /// A string in quotes: the opening quote, the text, the closing quote.
    Literal(&'a str, &'a str, &'a str),
    Other(&'a str),
}

/// The query with its secrets masked. Where one of its strings is part of a URL, or names a
/// password, the others may be parts of the same: they are masked as a whole. Dollar signs are
/// written twice, so that Offtake can read the shown configuration again.
pub(super) fn masked_query(query: &str) -> String {
    let parts = parts(query);
    let composes = parts.iter().any(|part| match part {
        Part::Literal(_, text, _) => text.contains("://") || names_secret(text),
        Part::Other(_) => false,
    });
    let shown = parts.iter().map(|part| match part {
        Part::Literal(open, text, close) if text.contains("://") => {
            format!("{open}{}{close}", masked_url(text))
        }
        Part::Literal(open, text, close) if composes && !text.is_empty() => {
            format!("{open}{MASK}{close}")
        }
        Part::Literal(open, text, close) => format!("{open}{text}{close}"),
        Part::Other(text) => masked_words(text),
    });
    shown.collect::<String>().replace('$', "$$")
}

/// Whether a text has a word like `password=`, in any case.
fn names_secret(text: &str) -> bool {
    let text = text.to_lowercase();
    text.match_indices('=').any(|(at, _)| {
        let word = text[..at].trim_end();
        SECRET_WORDS.iter().any(|secret| word.ends_with(secret))
    })
}

/// A URL, or the beginning of one: without its password and without what stands behind it.
fn masked_url(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return MASK.to_owned() };
    let (login, place) = match rest.rsplit_once('@') {
        Some((login, place)) => (login, Some(place)),
        // `postgres://user:` or `postgres://user:pa`, and the rest follows.
        None if rest.contains(':') => (rest, None),
        None => ("", Some(rest)),
    };
    let user = login.split(':').next().unwrap_or_default();
    let login = match (login.is_empty(), place) {
        (true, _) => String::new(),
        (false, Some(_)) => format!("{user}:{MASK}@"),
        (false, None) => format!("{user}:{MASK}"),
    };
    let place = place.unwrap_or_default();
    let place = match place.split_once('?') {
        Some((place, settings)) if names_secret(settings) => format!("{place}?{MASK}"),
        _ => place.to_owned(),
    };
    format!("{scheme}://{login}{place}")
}

/// Text outside quotes: somebody may have pasted a connection string in place of a query.
fn masked_words(text: &str) -> String {
    let mut shown = String::new();
    for word in text.split_inclusive(char::is_whitespace) {
        let end = word.trim_end().len();
        let (word, space) = word.split_at(end);
        match word.contains("://") {
            true => shown.push_str(&masked_url(word)),
            false if names_secret(word) || (word.contains('@') && word.contains(':')) => {
                shown.push_str(MASK);
            }
            false => shown.push_str(word),
        }
        shown.push_str(space);
    }
    shown
}

/// The query in parts. A string that is not closed ends with the query.
fn parts(query: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let (mut begin, mut at) = (0, 0);
    while let Some(open) = query.get(at..).and_then(opening) {
        let text_at = at + open.at + open.quote.len();
        let rest = &query[text_at..];
        let length = rest.find(open.quote).unwrap_or(rest.len());
        let close = &rest[length..(length + open.quote.len()).min(rest.len())];
        parts.push(Part::Other(&query[begin..at + open.at]));
        parts.push(Part::Literal(open.quote, &rest[..length], close));
        at = text_at + length + close.len();
        begin = at;
    }
    parts.push(Part::Other(&query[begin..]));
    parts
}

struct Opening<'a> {
    at: usize,
    quote: &'a str,
}

/// The next quote: `'`, or `$name$`. A doubled quote inside a string ends one string and begins
/// another, which is masked like the first.
fn opening(text: &str) -> Option<Opening<'_>> {
    let single = text.find('\'').map(|at| Opening { at, quote: &text[at..=at] });
    let dollars = text.match_indices('$').find_map(|(at, _)| {
        let name = text[at + 1..].split('$').next()?;
        let plain = name.chars().all(|c| c.is_alphanumeric() || c == '_')
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && text[at + 1 + name.len()..].starts_with('$');
        plain.then(|| Opening { at, quote: &text[at..at + name.len() + 2] })
    });
    match (single, dollars) {
        (Some(single), Some(dollars)) if dollars.at < single.at => Some(dollars),
        (Some(single), _) => Some(single),
        (None, dollars) => dollars,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_the_query_is_masked() {
        let check = |query: &str, expect: &str| assert_eq!(masked_query(query), expect);
        check("select 1", "select 1");
        check("select 'main' as name, url from db", "select 'main' as name, url from db");
        check(
            "select 'postgres://u:p@ss@h/d' as url, $1",
            "select 'postgres://u:***@h/d' as url, $$1",
        );
        check("select 'postgres://' || host", "select 'postgres://' || host");
        check(
            "select 'postgres://u@h/d?sslmode=require' as url",
            "select 'postgres://u:***@h/d?sslmode=require' as url",
        );
        check("select 'postgres://h/d?password=pw'", "select 'postgres://h/d?***'");
    }

    #[test]
    fn a_password_in_a_part_of_a_composed_url_is_masked() {
        for query in [
            "select 'postgres://u:Canary@' || host || '/x' as url",
            "select 'postgres://u:' || 'Canary' || '@' || host as url",
            "select 'postgres://' || name || ':Canary@' || host as url",
            "select format('postgres://%s:%s@%s', name, 'Canary', host) as url",
            "select 'postgres://' || host || '/x?password=Canary' as url",
            "select 'postgres://u:Cana''ry@h/Canary' as url",
            "select $q$postgres://u:Canary@h$q$ as url",
            "select 'host=h PASSWORD = Canary' as url",
            "select 'host=h password=' || 'Canary' as url",
            "select 'Host=h;Pwd=Canary;' as url",
            "postgres://u@h/x?password=Canary",
            "host=h password=Canary",
            "PGPASSWORD=Canary psql",
            "u:Canary@h:5432/x",
            "select 'postgres://u:Canary@h",
        ] {
            let shown = masked_query(query);
            assert!(!shown.contains("Canary"), "{query}: {shown}");
        }
    }
}
