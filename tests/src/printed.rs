//! What a message tells a person to do, taken from its text: a test that follows it word for word
//! fails when the text is wrong.

/// The text between the first `before` and the next `after`; to its end where no `after` follows.
pub fn between<'t>(text: &'t str, before: &str, after: &str) -> &'t str {
    let (_, rest) = text.split_once(before).unwrap_or_else(|| panic!("no `{before}` in: {text}"));
    rest.split_once(after).map_or(rest, |(between, _)| between)
}

/// What the first remedy on standard error says.
pub fn remedy(stderr: &str) -> &str {
    between(stderr, "remedy: ", "\n")
}

/// The command in back quotes behind the first `run`.
pub fn command(text: &str) -> &str {
    between(text, "run `", "`")
}
