//! Destinations inside the source: what is written there must not wake what wrote it.
//!
//! Dependencies are not transitive (a refreshed row is not a changed one), so mappings alone cannot
//! form a cycle. A destination in the source's own database can close one: a copy that is captured
//! again, and copied back.

use std::collections::BTreeSet;

use offtake_mapping::Mapping;

use crate::configuration::{Configuration, StaticDestination};
use crate::outcome::Failure;

/// One mapping of one destination that lives in the source's database.
struct Copy<'a> {
    destination: &'a StaticDestination,
    mapping: &'a Mapping,
    /// `schema.table` of the tables whose changes wake it.
    wakes_by: BTreeSet<String>,
    writes: String,
}

/// A failure for every cycle of copies, told once.
pub(crate) fn check(configuration: &Configuration, mappings: &[Mapping]) -> Vec<Failure> {
    let source = configuration.source.url.place();
    let inside = configuration.destinations.static_.iter().filter(|d| d.url.place() == source);
    let copies: Vec<Copy> =
        inside.flat_map(|destination| copies_of(destination, mappings)).collect();
    let mut told = BTreeSet::new();
    let mut failures = Vec::new();
    for begin in &copies {
        let Some(way) = way_back(&copies, begin) else { continue };
        let names: BTreeSet<&str> = way.iter().map(|copy| copy.mapping.name.as_str()).collect();
        if !told.insert(names) {
            continue;
        }
        let steps: Vec<String> = way
            .iter()
            .map(|copy| format!("mapping {} writes to {}", copy.mapping.name, copy.writes))
            .collect();
        let (file, destination) = (configuration.file.display(), begin.destination);
        let message = format!(
            "{file}: destination {}/{} is in the source, and its copies wake each other for ever: {}, which wakes {}",
            destination.tenant,
            destination.name,
            steps.join(", which wakes "),
            begin.mapping.name
        );
        failures.push(
            Failure::invalid(message)
                .remedy("write one of them to another database, or to another table"),
        );
    }
    failures
}

fn copies_of<'a>(destination: &'a StaticDestination, mappings: &'a [Mapping]) -> Vec<Copy<'a>> {
    let copy = |mapping: &'a Mapping| Copy {
        destination,
        mapping,
        wakes_by: mapping.tables().map(ToString::to_string).collect(),
        writes: format!("{}.{}", destination.schema, mapping.target.table),
    };
    mappings.iter().filter(|m| destination.receives(&m.name)).map(copy).collect()
}

/// The copies from `begin` to one that wakes it, if there is such a way.
fn way_back<'a>(copies: &'a [Copy<'a>], begin: &'a Copy<'a>) -> Option<Vec<&'a Copy<'a>>> {
    let mut ways = vec![vec![begin]];
    while let Some(way) = ways.pop() {
        let last = way.last()?;
        if begin.wakes_by.contains(&last.writes) {
            return Some(way);
        }
        for next in copies.iter().filter(|c| {
            c.wakes_by.contains(&last.writes) && !way.iter().any(|seen| std::ptr::eq(*seen, *c))
        }) {
            ways.push(way.iter().copied().chain([next]).collect());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;

    #[test]
    fn a_copy_that_wakes_itself_is_refused() {
        let configuration = |url: &str, schema: &str| {
            let text = format!(
                "source: {{ url: postgres://u:p@db.example.com/app }}\n\
                 destinations: {{ static: [{{ tenant: acme, url: {url}, schema: {schema} }}] }}\n"
            );
            Configuration::parse(Path::new("offtake.yaml"), &text, &BTreeMap::new()).unwrap()
        };
        let mapping = |name: &str, from: &str, to: &str, more: &str| {
            let text = format!(
                "name: {name}\nsource: {{ table: {from}, tenant: t }}\n{more}query: select 1\ntarget: {{ table: {to} }}\n"
            );
            offtake_mapping::parse(Path::new("m.yaml"), &text).unwrap()
        };
        let (inside, outside) =
            ("postgres://u:p@db.example.com/app", "postgres://u:p@db.example.com/other");
        let there = mapping("there", "copies.a", "b", "");
        let back = mapping("back", "copies.b", "a", "");
        let onward = mapping("onward", "copies.b", "c", "");
        let told = |url: &str, mappings: &[Mapping]| -> Vec<String> {
            check(&configuration(url, "copies"), mappings).iter().map(ToString::to_string).collect()
        };
        let cycle = told(inside, &[there.clone(), back.clone(), onward.clone()]);
        assert_eq!(cycle.len(), 1, "{cycle:?}");
        let expect = "mapping there writes to copies.b, which wakes mapping back writes to copies.a, which wakes there";
        assert!(cycle[0].contains(expect), "{cycle:?}");
        assert!(told(inside, &[there.clone(), onward.clone()]).is_empty());
        assert!(told(outside, &[there, back]).is_empty());
        let depends =
            mapping("m", "public.x", "y", "depends_on: [{ table: copies.y, match: { a: b } }]\n");
        assert_eq!(told(inside, &[depends]).len(), 1);
    }
}
