//! Copies that would wake each other for ever.
//!
//! A destination may be in the source's own database. Its copy can then be a source table of
//! another mapping, whose copy may lead back to the first: a cycle of copies, which never comes to
//! rest. Mappings alone cannot form one, because a refreshed row does not refresh further rows.

use std::collections::BTreeSet;

use offtake_mapping::Mapping;

use crate::configuration::{Configuration, StaticDestination};
use crate::outcome::Failure;

/// One mapping of one destination that is in the source's database.
struct Copy<'a> {
    destination: &'a StaticDestination,
    mapping: &'a Mapping,
    /// The tables whose changes wake it, as `schema.table`.
    woken_by: BTreeSet<String>,
    /// The table that it writes, as `schema.table`.
    writes: String,
}

/// A failure for every cycle of copies.
pub(super) fn find(configuration: &Configuration, mappings: &[Mapping]) -> Vec<Failure> {
    let source = configuration.source.url.place();
    let inside = configuration.destinations.static_.iter().filter(|d| d.place.database() == source);
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
            "{file}: destination {}/{} is in the source, and its copies wake each other for ever: \
             {}, which wakes {}",
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
        woken_by: mapping.tables().map(ToString::to_string).collect(),
        writes: format!("{}.{}", destination.place.schema(), mapping.target.table),
    };
    mappings.iter().filter(|m| destination.receives(&m.name)).map(copy).collect()
}

/// The copies from `begin` to one that wakes `begin` again; None where there is no such way.
fn way_back<'a>(copies: &'a [Copy<'a>], begin: &'a Copy<'a>) -> Option<Vec<&'a Copy<'a>>> {
    let mut ways = vec![vec![begin]];
    while let Some(way) = ways.pop() {
        let last = way.last()?;
        if begin.woken_by.contains(&last.writes) {
            return Some(way);
        }
        for next in copies.iter().filter(|c| {
            c.woken_by.contains(&last.writes) && !way.iter().any(|seen| std::ptr::eq(*seen, *c))
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
                "name: {name}\nsource: {{ table: {from}, tenant: t }}\n{more}\
                 query: select 1\ntarget: {{ table: {to} }}\n"
            );
            offtake_mapping::parse(Path::new("m.yaml"), &text).unwrap()
        };
        let (inside, outside) =
            ("postgres://u:p@db.example.com/app", "postgres://u:p@db.example.com/other");
        let there = mapping("there", "copies.a", "b", "");
        let back = mapping("back", "copies.b", "a", "");
        let onward = mapping("onward", "copies.b", "c", "");
        let told = |url: &str, mappings: &[Mapping]| -> Vec<String> {
            find(&configuration(url, "copies"), mappings).iter().map(ToString::to_string).collect()
        };
        let cycle = told(inside, &[there.clone(), back.clone(), onward.clone()]);
        assert_eq!(cycle.len(), 1, "{cycle:?}");
        let expect = "mapping there writes to copies.b, \
                      which wakes mapping back writes to copies.a, which wakes there";
        assert!(cycle[0].contains(expect), "{cycle:?}");
        assert!(told(inside, &[there.clone(), onward.clone()]).is_empty());
        assert!(told(outside, &[there, back]).is_empty());
        let depends =
            mapping("m", "public.x", "y", "depends_on: [{ table: copies.y, match: { a: b } }]\n");
        assert_eq!(told(inside, &[depends]).len(), 1);
    }
}
