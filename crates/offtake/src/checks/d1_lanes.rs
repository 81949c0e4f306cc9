//! Tokens of D1 databases that have too few requests for their destinations.

use std::collections::HashMap;

use offtake_sync::destinations::{DestinationSpec, Place};

/// What is told of tokens with which not all of their destinations can move within a minute.
pub(crate) fn slow(destinations: &[DestinationSpec]) -> Vec<String> {
    let mut lanes: HashMap<[u8; 32], (usize, usize)> = HashMap::new();
    for destination in destinations {
        if let Place::D1(database) = &*destination.place {
            let a_minute = database.requests_per_second() as usize * 60;
            lanes.entry(database.token_hash()).or_insert((0, a_minute)).0 += 1;
        }
    }
    let mut slow: Vec<_> = lanes.into_values().filter(|(count, most)| count > most).collect();
    slow.sort_unstable();
    let told = |(count, most): (usize, usize)| {
        format!(
            "{count} D1 databases are opened by one token, with which {} requests a second leave: of \
             destinations that change all the time, at most {most} move in a minute; give some \
             another token, or put a Worker in front of them (docs/destinations.md)",
            most / 60
        )
    };
    slow.into_iter().map(told).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use offtake_sync::destinations::D1Settings;

    use super::*;

    fn destinations(token: &str, count: usize, requests: u32) -> Vec<DestinationSpec> {
        let settings = D1Settings::new("https://d1.example.com", requests).unwrap();
        let destination = |number: usize| {
            let url = format!("d1://{}/{number:08x}-0000-0000-0000-000000000000", "0".repeat(32));
            let place = Place::d1(&url, None, Some(token), &settings).unwrap().unwrap();
            DestinationSpec {
                tenant_id: format!("t{number}"),
                tenant_at_source: format!("t{number}"),
                name: "main".to_owned(),
                place: Arc::new(place),
                mappings: None,
                shared: false,
            }
        };
        (0..count).map(destination).collect()
    }

    #[test]
    fn a_token_with_more_destinations_than_a_minute_has_requests_is_told() {
        let of = |one: usize, other: usize, requests| {
            slow(&[destinations("a", one, requests), destinations("b", other, requests)].concat())
        };
        assert!(of(180, 180, 3).is_empty());
        let told = of(181, 200, 3);
        assert_eq!(told.len(), 2);
        assert!(
            told[0].starts_with("181 D1 databases") && told[0].contains("at most 180"),
            "{told:?}"
        );
        assert!(of(500, 500, 100).is_empty());
    }
}
