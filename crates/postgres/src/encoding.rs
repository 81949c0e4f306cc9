//! A source may store text in another encoding than UTF-8. It refuses a statement with a character
//! that it lacks, also in a comment.

use std::borrow::Cow;

use tokio_postgres::{Client, Error};

/// Whether the database's encoding has every character, or none that the server would look at.
pub(crate) async fn holds_any_text(client: &Client) -> Result<bool, Error> {
    let encoding = client.query_one("select current_setting('server_encoding')", &[]).await?;
    Ok(matches!(encoding.get(0), "UTF8" | "SQL_ASCII"))
}

/// The text with `?` in place of each character that is not ASCII.
pub(crate) fn in_ascii(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let plain = |c: char| if c.is_ascii() { c } else { '?' };
    Cow::Owned(text.replace('…', "...").chars().map(plain).collect())
}

#[cfg(test)]
mod tests {
    use super::in_ascii;

    #[test]
    fn a_text_for_another_encoding_is_ascii() {
        assert_eq!(in_ascii("plain"), "plain");
        assert_eq!(in_ascii("value \"…\" of café is €"), "value \"...\" of caf? is ?");
    }
}
