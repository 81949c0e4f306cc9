//! Which snapshots are old.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use super::Card;

/// What is kept of a tenant's snapshots: the union of both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// So many of the newest.
    pub last: u32,
    /// Those that are not older.
    pub within: Duration,
}

/// The ids of the snapshots that may be deleted. The newest of each tenant and kind never is, and of
/// those that have all mappings the newest is not either.
pub fn chosen_by(keep: &Keep, cards: &[Card], now: Timestamp) -> BTreeSet<String> {
    let mut groups: BTreeMap<(&str, &str), Vec<&Card>> = BTreeMap::new();
    for card in cards {
        groups.entry((&card.tenant, card.kind.as_str())).or_default().push(card);
    }
    let mut chosen = BTreeSet::new();
    for group in groups.values_mut() {
        group.sort_by_key(|card| std::cmp::Reverse((card.created_at, &card.id)));
        let newest_whole = group.iter().position(|card| !card.narrowed);
        for (at, card) in group.iter().enumerate() {
            let age = now.duration_since(card.created_at);
            let young = age
                <= jiff::SignedDuration::try_from(keep.within).unwrap_or(jiff::SignedDuration::MAX);
            let last = at < usize::try_from(keep.last).unwrap_or(usize::MAX);
            if !(young || last || at == 0 || Some(at) == newest_whole) {
                chosen.insert(card.id.clone());
            }
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::{FORMAT, Kind};

    fn card(id: &str, tenant: &str, days_old: i64, narrowed: bool) -> Card {
        Card {
            offtake_snapshot: FORMAT,
            id: id.into(),
            kind: Kind::Rows,
            tenant: tenant.into(),
            created_at: now() - jiff::SignedDuration::from_hours(24 * days_old),
            epoch: String::new(),
            sequence_id: 0,
            narrowed,
            size: 0,
            sha256: String::new(),
            bytes: 0,
            rows: 0,
            tables: Vec::new(),
        }
    }

    fn now() -> Timestamp {
        "2026-11-28T00:00:00Z".parse().unwrap()
    }

    fn chosen(last: u32, days: u64, cards: &[Card]) -> Vec<String> {
        let keep = Keep { last, within: Duration::from_secs(days * 86_400) };
        chosen_by(&keep, cards, now()).into_iter().collect()
    }

    #[test]
    fn what_is_among_the_last_or_young_is_kept() {
        let cards: Vec<Card> =
            (0..6).map(|day| card(&format!("{day}"), "acme", day * 10, false)).collect();
        assert_eq!(chosen(2, 5, &cards), ["2", "3", "4", "5"]);
        assert_eq!(chosen(1, 25, &cards), ["3", "4", "5"]);
        assert_eq!(chosen(9, 0, &cards), [] as [&str; 0]);
    }

    #[test]
    fn the_newest_of_a_tenant_is_never_chosen() {
        let cards = [
            card("a1", "acme", 100, false),
            card("a2", "acme", 90, true),
            card("b1", "globex", 400, false),
            card("b2", "globex", 500, false),
        ];
        assert_eq!(chosen(0, 0, &cards), ["b2"]);
    }

    #[test]
    fn a_snapshot_of_one_kind_replaces_none_of_another() {
        let of_source = |id: &str, days_old: i64| Card {
            kind: Kind::Source,
            ..card(id, "acme", days_old, false)
        };
        let cards = [
            card("r1", "acme", 100, false),
            of_source("s1", 1),
            card("r2", "acme", 200, false),
            of_source("s2", 2),
        ];
        assert_eq!(chosen(1, 0, &cards), ["r2", "s2"]);
    }
}
