//! A SQL text as a list of tokens, so that words are found outside strings, comments and quotes.
//!
//! It is no parser: Postgres parses the mappings' SQL. It finds what Postgres would accept and
//! Offtake cannot use, and the names that Offtake must know.

/// One word, parameter or symbol of a SQL text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub kind: Kind,
    /// A plain word in lower case, a quoted name without its quotes, a parameter as written, a
    /// symbol as one character; empty for a literal.
    pub text: String,
    /// How many characters of the text stand before it.
    pub at: usize,
    /// How many parentheses are open around it.
    pub depth: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Word,
    /// A name in double quotes.
    Quoted,
    /// `$1`.
    Parameter,
    /// A string or number.
    Literal,
    Symbol,
}

impl Token {
    /// Whether it is this keyword.
    pub fn word(&self, keyword: &str) -> bool {
        self.kind == Kind::Word && self.text == keyword
    }

    /// Whether it is this character.
    pub fn symbol(&self, symbol: char) -> bool {
        self.kind == Kind::Symbol && self.text.starts_with(symbol)
    }
}

/// The name of a function that is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    pub schema: Option<String>,
    pub name: String,
    /// How many characters of the text stand before it.
    pub at: usize,
}

/// The tokens of a SQL text. It never fails: a string or comment that is not closed ends with the
/// text.
pub fn tokens(sql: &str) -> Vec<Token> {
    let mut scanner = Scanner { chars: sql.chars().collect(), at: 0, depth: 0, tokens: Vec::new() };
    while scanner.at < scanner.chars.len() {
        scanner.step();
    }
    scanner.tokens
}

/// Every name before a parenthesis, in the order of the text. Some are no functions, such as `in`.
pub fn calls(sql: &str) -> Vec<Call> {
    let tokens = tokens(sql);
    let name = |token: &Token| matches!(token.kind, Kind::Word | Kind::Quoted);
    let mut calls = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        if !name(token) || !tokens.get(at + 1).is_some_and(|next| next.symbol('(')) {
            continue;
        }
        let schema = match at.checked_sub(2).map(|before| &tokens[before..at]) {
            Some([schema, dot]) if name(schema) && dot.symbol('.') => Some(schema),
            _ => None,
        };
        calls.push(Call {
            schema: schema.map(|s| s.text.clone()),
            name: token.text.clone(),
            at: schema.unwrap_or(token).at,
        });
    }
    calls
}

/// The columns that a SQL text names as `table.column`, one token for each mention, in the text's
/// order. `table` is in lower case and stands without a schema.
pub fn columns_of(sql: &str, table: &str) -> Vec<Token> {
    let tokens = tokens(sql);
    let name = |token: &Token| matches!(token.kind, Kind::Word | Kind::Quoted);
    let mut columns = Vec::new();
    for (at, mention) in tokens.windows(3).enumerate() {
        let [qualifier, dot, column] = mention else { continue };
        let with_a_schema = at.checked_sub(1).is_some_and(|before| tokens[before].symbol('.'));
        if name(qualifier)
            && qualifier.text == table
            && !with_a_schema
            && dot.symbol('.')
            && name(column)
        {
            columns.push(column.clone());
        }
    }
    columns
}

struct Scanner {
    chars: Vec<char>,
    at: usize,
    depth: usize,
    tokens: Vec<Token>,
}

impl Scanner {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn step(&mut self) {
        let from = self.at;
        let Some(c) = self.peek(0) else { return };
        match (c, self.peek(1)) {
            (c, _) if c.is_whitespace() => self.at += 1,
            ('-', Some('-')) => self.skip_while(|c| c != '\n'),
            ('/', Some('*')) => self.skip_comment(),
            ('e' | 'E', Some('\'')) => {
                self.at += 1;
                self.skip_string('\'', true);
                self.push(Kind::Literal, String::new(), from);
            }
            ('\'', _) => {
                self.skip_string('\'', false);
                self.push(Kind::Literal, String::new(), from);
            }
            ('"', _) => {
                self.skip_string('"', false);
                let inner: String = self.chars[from + 1..self.at].iter().collect();
                self.push(
                    Kind::Quoted,
                    inner.strip_suffix('"').unwrap_or(&inner).replace("\"\"", "\""),
                    from,
                );
            }
            ('$', Some(next)) if next.is_ascii_digit() => {
                self.at += 1;
                self.skip_while(|c| c.is_ascii_digit());
                self.push(Kind::Parameter, self.chars[from..self.at].iter().collect(), from);
            }
            ('$', _) if self.skip_dollar_quoted() => self.push(Kind::Literal, String::new(), from),
            (c, _) if c.is_alphabetic() || c == '_' => {
                self.skip_while(|c| c.is_alphanumeric() || c == '_' || c == '$');
                let word: String = self.chars[from..self.at].iter().collect();
                self.push(Kind::Word, word.to_ascii_lowercase(), from);
            }
            (c, _) if c.is_ascii_digit() => {
                self.skip_while(|c| c.is_alphanumeric() || c == '_');
                self.push(Kind::Literal, String::new(), from);
            }
            (c, _) => {
                self.at += 1;
                if c == ')' {
                    self.depth = self.depth.saturating_sub(1);
                }
                self.push(Kind::Symbol, c.to_string(), from);
                if c == '(' {
                    self.depth += 1;
                }
            }
        }
    }

    fn push(&mut self, kind: Kind, text: String, at: usize) {
        self.tokens.push(Token { kind, text, at, depth: self.depth });
    }

    fn skip_while(&mut self, wanted: impl Fn(char) -> bool) {
        while self.peek(0).is_some_and(&wanted) {
            self.at += 1;
        }
    }

    /// Comments nest in Postgres.
    fn skip_comment(&mut self) {
        let mut open = 0;
        while self.at < self.chars.len() {
            match (self.peek(0), self.peek(1)) {
                (Some('/'), Some('*')) => (open, self.at) = (open + 1, self.at + 2),
                (Some('*'), Some('/')) => (open, self.at) = (open - 1, self.at + 2),
                _ => self.at += 1,
            }
            if open == 0 {
                return;
            }
        }
    }

    /// Inside, a quote is written twice; if `escapes`, also behind a backslash.
    fn skip_string(&mut self, quote: char, escapes: bool) {
        self.at += 1;
        while let Some(c) = self.peek(0) {
            self.at += 1;
            if c == '\\' && escapes {
                self.at += 1;
            } else if c == quote {
                if self.peek(0) != Some(quote) {
                    return;
                }
                self.at += 1;
            }
        }
    }

    /// Skips `$tag$ … $tag$`; false when no such string begins here.
    fn skip_dollar_quoted(&mut self) -> bool {
        let rest = &self.chars[self.at..];
        let Some(tag) = rest.iter().skip(1).position(|c| !(c.is_alphanumeric() || *c == '_'))
        else {
            return false;
        };
        if rest[tag + 1] != '$' {
            return false;
        }
        let mark = &rest[..tag + 2];
        let end = (mark.len()..rest.len()).find(|at| rest[*at..].starts_with(mark));
        self.at += end.map_or(rest.len(), |end| end + mark.len());
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_in_strings_comments_and_quotes_are_no_words() {
        let words = |sql: &str| {
            let found = tokens(sql).into_iter().filter(|t| t.kind == Kind::Word);
            found.map(|t| format!("{}@{}/{}", t.text, t.at, t.depth)).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(words("select 'limit ''1' -- limit\n limit"), "select@0/0 limit@29/0");
        assert_eq!(words(r"a e'\'limit' b"), "a@0/0 b@13/0");
        assert_eq!(words("a /* x /* limit */ y */ b"), "a@0/0 b@24/0");
        assert_eq!(words("a $q$ limit $x$ $q$ b $$ c $$"), "a@0/0 b@20/0");
        assert_eq!(words("f(x, (y)) z"), "f@0/0 x@2/1 y@6/2 z@10/0");
        assert_eq!(words("ü \"limit\" LIMIT"), "ü@0/0 limit@10/0");
        assert_eq!(words("'open"), "");
    }

    #[test]
    fn calls_are_names_before_a_parenthesis() {
        let found = calls(r#"select Random(), app."Next"  (1), 'f(', x.y from t where a in (1)"#);
        let plain: Vec<_> =
            found.iter().map(|c| (c.schema.as_deref(), c.name.as_str(), c.at)).collect();
        assert_eq!(plain, [(None, "random", 7), (Some("app"), "Next", 17), (None, "in", 59)]);
    }
}
