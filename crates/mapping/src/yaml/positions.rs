//! The line and column of every key and value of a YAML text.
//!
//! The deserialiser (`serde_yaml`) hands out values without positions, so `saphyr_parser` reads the
//! text a second time for the positions alone. Where it understands less than the deserialiser, a
//! position is missing, and a message points to the nearest key above or names the file only.

use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span};

use crate::Identifier;

/// One step from the document's root to a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Key(String),
    Index(usize),
}

impl Step {
    /// A path of keys.
    pub fn keys(keys: &[&str]) -> Vec<Self> {
        keys.iter().map(|key| Self::Key((*key).to_owned())).collect()
    }
}

/// Line and column, both 1-based; the column counts characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    pub line: usize,
    pub column: usize,
}

impl From<Marker> for Position {
    fn from(marker: Marker) -> Self {
        Self { line: marker.line(), column: marker.col() + 1 }
    }
}

/// Deeper nesting is refused. Nothing that is read here has more than ten levels.
const DEPTH_MAX: usize = 100;

/// Brackets and braces that are open at one time, wherever they stand: also in texts, where they
/// mostly close again.
const OPEN_MAX: usize = 1000;

/// Whether more brackets are opened than any text has. The deserialiser looks through all open ones
/// at every word, so this is found out before.
fn opens_without_end(text: &str) -> bool {
    let mut open: usize = 0;
    text.bytes().any(|byte| {
        match byte {
            b'[' | b'{' => open += 1,
            b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        open > OPEN_MAX
    })
}

/// The positions in the first document of a text, up to its first mistake of syntax.
#[derive(Debug)]
pub struct Positions {
    text: Vec<char>,
    /// Where each line begins, in characters.
    line_begins: Vec<usize>,
    /// All nodes in the order in which they begin; the first is the root. An alias is no node of
    /// its own: what contains it refers to the node that has the anchor.
    nodes: Vec<Node>,
    duplicate_key: Option<(String, Position)>,
    too_deep: bool,
}

#[derive(Debug)]
struct Node {
    /// Where a message about it points.
    begin: Position,
    /// Where its text begins, in characters from the start of the file: in a block scalar, its
    /// first line below the `|`.
    content_offset: usize,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Scalar(String),
    /// Indices of the items in [`Positions::nodes`].
    Sequence(Vec<usize>),
    Mapping(Vec<Entry>),
}

#[derive(Debug)]
struct Entry {
    /// None: the key is not a scalar.
    key: Option<String>,
    key_begin: Position,
    /// Index in [`Positions::nodes`].
    value: usize,
}

impl Positions {
    /// Reads the text.
    pub fn of(text: &str) -> Self {
        // The parser refuses some tabs that YAML allows between a key and its value. A blank is as
        // wide as a tab here, so no position changes.
        let without_tabs = text.replace('\t', " ");
        let mut builder = Builder::new(text);
        if opens_without_end(text) {
            builder.positions.too_deep = true;
            return builder.positions;
        }
        for event in Parser::new_from_str(&without_tabs) {
            let (event, span) = match event {
                Ok(event) => event,
                Err(error) => {
                    // The scanner is ahead of the events, and counts to 255.
                    builder.positions.too_deep = error.info() == "recursion limit exceeded";
                    break;
                }
            };
            let last = matches!(event, Event::DocumentEnd);
            builder.add(event, span);
            builder.positions.too_deep = builder.open.len() > DEPTH_MAX;
            if last || builder.positions.too_deep {
                break;
            }
        }
        builder.positions
    }

    /// Whether the text is nested deeper than anything that is read here.
    pub fn too_deep(&self) -> bool {
        self.too_deep
    }

    /// The first key that its mapping had before, and where it stands the second time.
    pub fn duplicate_key(&self) -> Option<(&str, Position)> {
        self.duplicate_key.as_ref().map(|(key, begin)| (key.as_str(), *begin))
    }

    /// Where the key or list item begins that `path` leads to; None when the text does not have it.
    pub fn of_key(&self, path: &[Step]) -> Option<Position> {
        let Some((Step::Key(key), above)) = path.split_last() else { return self.of_value(path) };
        Some(self.entry(self.find(above)?, key)?.key_begin)
    }

    /// Where the value begins that `path` leads to. For an alias this is the value with the anchor,
    /// because that is the text to correct.
    pub fn of_value(&self, path: &[Step]) -> Option<Position> {
        Some(self.nodes[self.find(path)?].begin)
    }

    /// Where the value at `path` begins. When the text does not have it (a missing key), where the
    /// nearest key above it begins.
    pub fn nearest(&self, path: &[Step]) -> Option<Position> {
        let above = || (1..path.len()).rev().find_map(|length| self.of_key(&path[..length]));
        self.of_value(path).or_else(above)
    }

    /// Where a part of the value at `path` stands in the file: the part that begins after `at`
    /// characters of `value`, which is the value as it was read.
    ///
    /// YAML indents, folds and quotes, so the value is not found in the file character by
    /// character. The word at `at` is: it is the n-th of its kind in the value, and in the file
    /// from there on.
    pub fn within(&self, path: &[Step], value: &str, at: usize) -> Option<Position> {
        let node = &self.nodes[self.find(path)?];
        let value: Vec<char> = value.chars().collect();
        // A mistake behind the end (something is missing there) points to the last character.
        let last = value.iter().rposition(|c| !c.is_whitespace())?;
        let mut at = at.min(last);
        while value[at].is_whitespace() {
            at += 1;
        }
        let of_word = |c: &&char| c.is_alphanumeric() || **c == '_';
        let length = value[at..].iter().take_while(of_word).count().max(1);
        let word = &value[at..at + length];
        let before = (0..at).filter(|from| value[*from..].starts_with(word)).count();
        let begins_here = |offset: &usize| self.text[*offset..].starts_with(word);
        let mut found = (node.content_offset..self.text.len()).filter(begins_here);
        Some(found.nth(before).map_or(node.begin, |offset| self.position(offset)))
    }

    fn position(&self, offset: usize) -> Position {
        let line = self.line_begins.partition_point(|begin| *begin <= offset);
        Position { line, column: 1 + offset - self.line_begins[line - 1] }
    }

    fn find(&self, path: &[Step]) -> Option<usize> {
        let root = (!self.nodes.is_empty()).then_some(0)?;
        path.iter().try_fold(root, |node, step| match (step, &self.nodes[node].content) {
            (Step::Key(key), _) => self.entry(node, key).map(|entry| entry.value),
            (Step::Index(index), Content::Sequence(items)) => items.get(*index).copied(),
            (Step::Index(_), _) => None,
        })
    }

    fn entry(&self, node: usize, key: &str) -> Option<&Entry> {
        let Content::Mapping(entries) = &self.nodes[node].content else { return None };
        let exact = entries.iter().find(|entry| entry.key.as_deref() == Some(key));
        // A key may be a name in SQL, which was folded, or lost its quotes, when it was read.
        let folds = |text: &str| Identifier::from_sql(text).is_ok_and(|name| name.as_str() == key);
        exact.or_else(|| entries.iter().find(|entry| entry.key.as_deref().is_some_and(folds)))
    }

    /// Where a message about a node points, as an offset. The parser reports some nodes a little
    /// before or behind the character that a reader would point to.
    fn visible_begin(&self, event: &Event<'_>, reported: usize) -> usize {
        let at = |offset: usize| self.text.get(offset).copied();
        match event {
            // A block scalar is reported where its text begins; `|` is on a line above it.
            Event::Scalar(_, ScalarStyle::Literal | ScalarStyle::Folded, ..) => {
                self.block_header(reported).unwrap_or(reported)
            }
            // A value that is left out is reported at the colon, and belongs behind it.
            Event::Scalar(text, ScalarStyle::Plain, ..) if text.is_empty() => {
                reported + usize::from(at(reported) == Some(':'))
            }
            // A list that is not indented is reported at its first item, behind the dash.
            Event::SequenceStart(..) if !matches!(at(reported), Some('-' | '[')) => {
                let blanks = |offset: &usize| !at(*offset).is_some_and(char::is_whitespace);
                let dash = (0..reported).rev().find(blanks);
                dash.filter(|offset| at(*offset) == Some('-')).unwrap_or(reported)
            }
            _ => reported,
        }
    }

    /// The `|` or `>` that begins a block scalar whose text begins at `content`. It is in the last
    /// line above that is not blank, before an indentation, a sign, a comment.
    fn block_header(&self, content: usize) -> Option<usize> {
        let end = self.text[..content].iter().rposition(|c| !c.is_whitespace())? + 1;
        let line_begin = self.text[..end].iter().rposition(|c| *c == '\n').map_or(0, |at| at + 1);
        (line_begin..end).find(|offset| {
            let after_a_blank = *offset == line_begin || self.text[offset - 1].is_whitespace();
            let [sign, rest @ ..] = &self.text[*offset..end] else { return false };
            let indicators = |c: &&char| matches!(c, '0'..='9' | '+' | '-');
            let comment = &rest[rest.iter().take_while(indicators).count()..];
            let begins_comment = |c: &char| *c == '#' && comment[0].is_whitespace();
            let text = comment.iter().find(|c| !c.is_whitespace());
            after_a_blank && matches!(sign, '|' | '>') && text.is_none_or(begins_comment)
        })
    }
}

/// Makes [`Positions`] of the parser's events.
struct Builder {
    positions: Positions,
    /// The sequences and mappings that have begun and not ended, the innermost last.
    open: Vec<Open>,
    /// From an anchor's number to the node that has it.
    anchors: HashMap<usize, usize>,
}

struct Open {
    node: usize,
    /// Of a mapping: the key whose value comes next, and where it begins.
    key: Option<(Option<String>, Position)>,
    /// Of a mapping: the keys that it had so far.
    keys: HashSet<String>,
}

impl Builder {
    fn new(text: &str) -> Self {
        let text: Vec<char> = text.chars().collect();
        let line_ends = text.iter().enumerate().filter(|(_, c)| **c == '\n').map(|(at, _)| at + 1);
        let line_begins = std::iter::once(0).chain(line_ends).collect();
        let positions = Positions {
            text,
            line_begins,
            nodes: Vec::new(),
            duplicate_key: None,
            too_deep: false,
        };
        Self { positions, open: Vec::new(), anchors: HashMap::new() }
    }

    fn add(&mut self, event: Event<'_>, span: Span) {
        let reported = span.start.index();
        let begin = match self.positions.visible_begin(&event, reported) {
            same if same == reported => span.start.into(),
            other => self.positions.position(other),
        };
        let (anchor, content) = match event {
            Event::Scalar(text, _, anchor, _) => (anchor, Content::Scalar(text.into_owned())),
            Event::SequenceStart(anchor, _) => (anchor, Content::Sequence(Vec::new())),
            Event::MappingStart(anchor, _) => (anchor, Content::Mapping(Vec::new())),
            Event::Alias(anchor) => {
                if let Some(node) = self.anchors.get(&anchor) {
                    self.attach(*node, begin);
                }
                return;
            }
            Event::SequenceEnd | Event::MappingEnd => return drop(self.open.pop()),
            _ => return,
        };
        let node = self.positions.nodes.len();
        let collection = !matches!(content, Content::Scalar(_));
        self.positions.nodes.push(Node { begin, content_offset: reported, content });
        // The parser numbers anchors from 1; 0 means that there is none.
        if anchor > 0 {
            self.anchors.insert(anchor, node);
        }
        self.attach(node, begin);
        if collection {
            self.open.push(Open { node, key: None, keys: HashSet::new() });
        }
    }

    /// Puts a node where the innermost open collection expects one.
    fn attach(&mut self, node: usize, begin: Position) {
        let Some(open) = self.open.last_mut() else { return };
        let text = match &self.positions.nodes[node].content {
            Content::Scalar(text) => Some(text.clone()),
            Content::Sequence(_) | Content::Mapping(_) => None,
        };
        match (&mut self.positions.nodes[open.node].content, open.key.take()) {
            (Content::Sequence(items), _) => items.push(node),
            (Content::Mapping(entries), Some((key, key_begin))) => {
                entries.push(Entry { key, key_begin, value: node });
            }
            (Content::Mapping(_), None) => {
                if let Some(key) = &text
                    && !open.keys.insert(key.clone())
                    && self.positions.duplicate_key.is_none()
                {
                    self.positions.duplicate_key = Some((key.clone(), begin));
                }
                open.key = Some((text, begin));
            }
            (Content::Scalar(_), _) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "a: 1\n# b: no\nb:\n  query: |\n    c: no\n  list:\n    - { x: 1 }\n    - x: 2\n      c: 3\nd: { e: 1,\n  f: ü, g: 7 }\n";

    fn path(text: &str) -> Vec<Step> {
        let step = |s: &str| s.parse().map_or_else(|_| Step::Key(s.to_owned()), Step::Index);
        text.split('.').map(step).collect()
    }

    fn plain(position: Option<Position>) -> Option<(usize, usize)> {
        position.map(|p| (p.line, p.column))
    }

    /// Where the key and where the value at `to` begins.
    fn check(text: &str, to: &str, key: (usize, usize), value: (usize, usize)) {
        let positions = Positions::of(text);
        let found = [positions.of_key(&path(to)), positions.of_value(&path(to))].map(plain);
        assert_eq!(found, [Some(key), Some(value)], "{to} of {text:?}");
        check_all(&positions, &serde_yaml::from_str(text).unwrap_or_default(), &mut Vec::new());
    }

    /// What the deserialiser reads, the other parser has positions of.
    fn check_all(positions: &Positions, value: &serde_yaml::Value, path: &mut Vec<Step>) {
        let steps: Vec<(Step, &serde_yaml::Value)> = match value {
            serde_yaml::Value::Mapping(entries) => entries
                .iter()
                .map(|(key, value)| (Step::Key(key.as_str().unwrap().to_owned()), value))
                .collect(),
            serde_yaml::Value::Sequence(items) => {
                items.iter().enumerate().map(|(index, item)| (Step::Index(index), item)).collect()
            }
            _ => Vec::new(),
        };
        for (step, value) in steps {
            path.push(step);
            let found = [positions.of_key(path), positions.of_value(path)];
            assert!(found.iter().all(Option::is_some), "{path:?}");
            check_all(positions, value, path);
            path.pop();
        }
    }

    #[test]
    fn keys_and_values_are_found_where_they_begin() {
        check(TEXT, "a", (1, 1), (1, 4));
        check(TEXT, "b", (3, 1), (4, 3));
        check(TEXT, "b.query", (4, 3), (4, 10));
        check(TEXT, "b.list.0.x", (7, 9), (7, 12));
        check(TEXT, "b.list.1", (8, 7), (8, 7));
        check(TEXT, "b.list.1.c", (9, 7), (9, 10));
        check(TEXT, "d.g", (11, 9), (11, 12));
        let positions = Positions::of(TEXT);
        for absent in ["d.h", "b.list.0.y", "b.list.2", "a.x", "a.0"] {
            assert_eq!(positions.of_key(&path(absent)), None, "{absent}");
            assert_eq!(positions.of_value(&path(absent)), None, "{absent}");
        }
        assert_eq!(plain(positions.nearest(&path("d.h"))), Some((10, 1)));
        assert_eq!(plain(positions.nearest(&path("x.y"))), None);
    }

    #[test]
    fn every_way_to_write_yaml_has_its_positions() {
        // Quotes, blanks in keys, flow style over several lines.
        check("'a b': 1\n\"c\": { \"x\":'y' }\n", "a b", (1, 1), (1, 8));
        check("'a b': 1\n\"c\": { \"x\":'y' }\n", "c.x", (2, 8), (2, 12));
        check("a: {\n  b: 1, # c\n\n  c: 2,\n}\n", "a.c", (4, 3), (4, 6));
        // Values that are left out: behind the colon.
        check("a:\nb: {c: , d: 1}\n", "a", (1, 1), (1, 3));
        check("a:\nb: {c: , d: 1}\n", "b.c", (2, 5), (2, 7));
        // Scalars over several lines: the sign that begins them, or a tag before it.
        check("a: |2- # b: |\n\n    c\nd: >\n  e\n", "a", (1, 1), (1, 4));
        check("a: |2-\n\n    c\nd: !!str >\n  e\n", "d", (4, 1), (4, 4));
        check("a:\n  - |\n  - >-\n", "a.1", (3, 5), (3, 5));
        check("a: |\nb: 1\n", "a", (1, 1), (1, 4));
        check("a: |", "a", (1, 1), (1, 4));
        check("a: x\n  y: z\nb: 1\n", "a", (1, 1), (1, 4));
        check("a: \"x\n  b: y\"\nb: 1\n", "b", (3, 1), (3, 4));
        // A list that is not indented: its first dash.
        check("a:\n- x: 1\n  y: 2\n- z\n", "a", (1, 1), (2, 1));
        check("a:\n- x: 1\n  y: 2\n- z\n", "a.0.y", (3, 3), (3, 6));
        // Tabs count as one character, line ends of Windows as one line end.
        check("a:\t1\nb:\t# x\n  c:\t2\n", "b.c", (3, 3), (3, 6));
        check("a: 1\r\nb:\r\n  c: |\r\n    d\r\ne: 2\r\n", "b.c", (3, 3), (3, 6));
        check("a: 1\r\nb:\r\n  c: |\r\n    d\r\ne: 2\r\n", "e", (5, 1), (5, 4));
        // An alias leads to the value with the anchor; nothing is merged.
        check("a: &x { b: 1 }\nc: *x\n", "c", (2, 1), (1, 4));
        check("a: &x { b: 1 }\nc: *x\n", "c.b", (1, 9), (1, 12));
        check("a: &x { b: 1 }\nc:\n  <<: *x\n", "c.<<", (3, 3), (1, 4));
        // Of several documents the first; up to a mistake of syntax, what comes before it.
        check("---\na: 1\n---\na: 2\n", "a", (2, 1), (2, 4));
        check("a: 1\nb: [2\nc: 3\n", "a", (1, 1), (1, 4));
    }

    #[test]
    fn a_key_that_is_there_twice_is_found() {
        let check = |text: &str, expect: Option<(&str, (usize, usize))>| {
            let positions = Positions::of(text);
            let found = positions.duplicate_key().map(|(key, p)| (key, (p.line, p.column)));
            assert_eq!(found, expect, "{text:?}");
        };
        check(TEXT, None);
        check("a: 1\nb: { c: 1, d: 2, c: 3 }\n", Some(("c", (2, 18))));
        check("a: 1\n\"a\": 2\na: 3\n", Some(("a", (2, 1))));
        check("a: { b: 1 }\nc: { b: 2 }\n---\na: 3\n", None);
        check("a: 1\na: 2\nb: [\n", Some(("a", (2, 1))));
    }

    #[test]
    fn nesting_without_end_is_not_followed() {
        for opening in ["- ", "[", "{ a: ", "? "] {
            let positions = Positions::of(&opening.repeat(100_000));
            assert!(positions.nodes.len() <= 2 * DEPTH_MAX, "{opening}");
            assert!(positions.too_deep(), "{opening}");
        }
    }

    #[test]
    fn positions_in_a_value_become_positions_of_the_file() {
        let check = |yaml: &str, word: &str, expect: (usize, usize)| {
            let value: serde_yaml::Mapping = serde_yaml::from_str(yaml).unwrap();
            let value = value["query"].as_str().unwrap().to_owned();
            let at = value[..value.rfind(word).unwrap()].chars().count();
            let found = Positions::of(yaml).within(&path("query"), &value, at);
            assert_eq!(plain(found), Some(expect), "{yaml}");
        };
        check("query: select x from t", "t", (1, 22));
        check("a: 1\nquery: |\n  select ü,\n    nothing,\n  nothing from t\n", "nothing", (5, 3));
        check("query: | # select\n  with a\n  select b\n", "select", (3, 3));
        check("query: >-\n  select a\n  from a\nb: a\n", "a", (3, 8));
        check("query: |\r\n  select a\r\n  from b\r\n", "b", (3, 8));
        check("query: 'select ''x'' from t'\n", "from", (1, 22));
        check("query: \"select a,\n  b from c\"\n", "c", (2, 10));
    }

    #[test]
    fn what_is_missing_at_the_end_is_told_of_the_last_word() {
        let positions = Positions::of("query: |\n  select a\n  where\n\ntarget: 1\n");
        let found = positions.within(&path("query"), "select a\nwhere\n\n", 99);
        assert_eq!(plain(found), Some((3, 7)));
    }
}
