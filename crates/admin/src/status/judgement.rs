//! From the facts about a destination to its state. Pure, and it never flatters: without proof that
//! a destination is in sync, it is called something else.

use jiff::Timestamp;
use offtake_mapping::shell_word;
use tokio_postgres::Row;

use super::destination::MappingFacts;
use crate::{State, moment};

/// What the registry, the fuses and the outgoing requests know of one destination.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) tenant: String,
    pub(super) paused: bool,
    pub(super) pause_reason: Option<String>,
    pub(super) fuse_blown: bool,
    pub(super) fuse_reason: Option<String>,
    pub(super) refused: Option<String>,
    /// The state that the last sync wrote into the registry.
    pub(super) mirrored_state: String,
    pub(super) mirrored_reason: Option<String>,
    pub(super) failures: i32,
    pub(super) last_error: Option<String>,
    /// Captured changes, not yet sequenced, that may concern it.
    pub(super) pending_rows: i64,
    /// There are more pending changes than the query counts, so any of them may concern it.
    pub(super) pending_uncounted: bool,
    pub(super) wanted_sequence_id: Option<i64>,
    pub(super) owed_since: Option<Timestamp>,
}

impl Facts {
    pub(super) fn read(row: &Row) -> Self {
        let failures: i32 = row.get("consecutive_failures");
        Self {
            tenant: row.get("tenant_id"),
            paused: row.get("paused"),
            pause_reason: row.get("pause_reason"),
            fuse_blown: row.get("fuse_blown"),
            fuse_reason: row.get("fuse_reason"),
            refused: row.get("refused"),
            mirrored_state: row.get("state"),
            mirrored_reason: row.get("reason"),
            failures: failures.max(row.get::<_, Option<i32>>("request_failures").unwrap_or(0)),
            last_error: row.get("last_error"),
            pending_rows: row.get("pending_rows"),
            pending_uncounted: row.get("pending_uncounted"),
            wanted_sequence_id: row.get("wanted_sequence_id"),
            owed_since: moment::optional(row, "owed_since"),
        }
    }

    /// Whether a sync is owed beyond the cursor of one of its mappings.
    pub(super) fn owed_beyond(&self, mappings: &[MappingFacts]) -> bool {
        self.wanted_sequence_id.is_some_and(|wanted| {
            mappings.iter().any(|m| m.sequence_id.is_none_or(|cursor| cursor < wanted))
        })
    }
}

/// The state, and the reason where the state alone does not explain it.
pub(super) fn judge(facts: &Facts, mappings: &[MappingFacts]) -> (State, Option<String>) {
    if facts.paused {
        return (State::Paused, facts.pause_reason.clone());
    }
    if facts.fuse_blown {
        return (State::Paused, Some(with_reason("its fuse is off", facts.fuse_reason.as_deref())));
    }
    if let Some(reason) = blocked(facts, mappings) {
        return (State::Blocked, reason);
    }
    // Tested after `blocked`: this fuse stops one mapping, and a destination that nothing can be
    // written to is worse.
    if let Some(mapping) = mappings.iter().find(|m| m.fuse_blown) {
        return (
            State::Paused,
            Some(with_reason(
                &format!("the fuse of mapping {} is off", mapping.name),
                mapping.fuse_reason.as_deref(),
            )),
        );
    }
    if let Some(mapping) = mappings.iter().find(|m| !m.mirrored || !m.backfilled) {
        return (
            State::Backfilling,
            Some(format!("the initial copy of mapping {} is not done", mapping.name)),
        );
    }
    // An operator or a daemon doubts these rows, so they do not count as complete.
    if let Some(mapping) = mappings.iter().find(|m| m.resync_requested_at.is_some()) {
        return (
            State::Backfilling,
            Some(format!("mapping {} waits to be copied again", mapping.name)),
        );
    }
    if let Some(reason) = degraded(facts, mappings) {
        return (State::Degraded, Some(reason));
    }
    // The cursors of a destination move together, so each must have reached the newest change of
    // all its tables.
    let latest = mappings.iter().filter_map(|m| m.latest).max();
    let behind = mappings.iter().any(|m| m.backlog > 0 || m.sequence_id < latest);
    if behind || facts.pending_rows > 0 || facts.pending_uncounted || facts.owed_beyond(mappings) {
        return (State::Lagging, None);
    }
    (State::InSync, None)
}

/// Some if rows are known to be missing or wrong although every change was applied, or if the
/// destination is strained.
fn degraded(facts: &Facts, mappings: &[MappingFacts]) -> Option<String> {
    let quarantined: i64 = mappings.iter().map(|m| m.quarantined).sum();
    let quarantined = (quarantined > 0).then(|| format!("{quarantined} quarantined rows"));
    let differs = |m: &&MappingFacts| m.differences.is_some_and(|rows| rows > 0);
    let tenant = shell_word(&facts.tenant);
    let differing = mappings.iter().find(differs).map(|m| {
        let rows = m.differences.unwrap_or_default();
        let others = match mappings.iter().filter(differs).count() {
            1 => String::new(),
            count => format!(", and rows of {} other mappings", count - 1),
        };
        format!(
            "{rows} row(s) of mapping {} differ from its query{others}; \
             run: offtake verify --tenant {tenant} --mapping {} --repair",
            m.name, m.name
        )
    });
    let strained = facts.mirrored_reason.clone();
    let strained = strained.filter(|_| facts.mirrored_state == State::Degraded.as_str());
    let told: Vec<String> = [quarantined, differing, strained].into_iter().flatten().collect();
    (!told.is_empty()).then(|| told.join("; "))
}

/// Some if nothing can be written there, or one mapping fails; inside it the reason, if known.
fn blocked(facts: &Facts, mappings: &[MappingFacts]) -> Option<Option<String>> {
    if facts.refused.is_some() {
        return Some(facts.refused.clone());
    }
    if facts.mirrored_state == State::Blocked.as_str() || facts.failures > 0 {
        return Some(facts.mirrored_reason.clone().or_else(|| facts.last_error.clone()));
    }
    if let Some(mapping) = mappings.iter().find(|m| !m.fuse_blown && m.waits.is_some()) {
        let what = format!("mapping {} waits", mapping.name);
        return Some(Some(with_reason(&what, mapping.waits.as_deref())));
    }
    let failed =
        mappings.iter().find(|m| !m.fuse_blown && (m.failures > 0 || m.error.is_some()))?;
    Some(Some(with_reason(&format!("mapping {}", failed.name), failed.error.as_deref())))
}

fn with_reason(what: &str, reason: Option<&str>) -> String {
    reason.map_or_else(|| what.to_owned(), |reason| format!("{what}: {reason}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn mapping(changes: serde_json::Value) -> MappingFacts {
        let mut facts = json!({
            "name": "users", "source_tables": ["public.users"], "mirrored": true, "sequence_id": 7, "backfilled": true,
            "rows_done": 1, "rows_total": null, "backfill_started_at": null, "error": null, "retry_at": null, "waits": null,
            "verified_at": null, "differences": null, "audit_error": null, "failures": 0,
            "fuse_blown": false, "fuse_reason": null, "quarantined": 0, "latest": 7, "resync_requested_at": null, "backlog": 0, "oldest_at": null,
        });
        facts.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        serde_json::from_value(facts).unwrap()
    }

    #[test]
    fn the_worst_that_holds_is_told() {
        let in_sync = || Facts {
            mirrored_state: "in_sync".to_owned(),
            wanted_sequence_id: Some(7),
            ..Facts::default()
        };
        let check = |facts: Facts, changes, expect| {
            assert_eq!(judge(&facts, &[mapping(changes)]).0, expect)
        };
        check(in_sync(), json!({}), State::InSync);
        check(in_sync(), json!({"backlog": 1, "latest": 8}), State::Lagging);
        check(in_sync(), json!({"latest": 8}), State::Lagging);
        check(Facts { pending_rows: 1, ..in_sync() }, json!({}), State::Lagging);
        check(Facts { pending_uncounted: true, ..in_sync() }, json!({}), State::Lagging);
        check(Facts { wanted_sequence_id: Some(8), ..in_sync() }, json!({}), State::Lagging);
        check(in_sync(), json!({"quarantined": 1, "backlog": 5}), State::Degraded);
        check(in_sync(), json!({"differences": 0}), State::InSync);
        let strained = || Facts {
            mirrored_state: "degraded".to_owned(),
            mirrored_reason: Some("its log grows".to_owned()),
            ..in_sync()
        };
        check(strained(), json!({"backlog": 5}), State::Degraded);
        check(strained(), json!({"backfilled": false}), State::Backfilling);
        check(in_sync(), json!({"differences": 2, "backlog": 5}), State::Degraded);
        check(in_sync(), json!({"differences": 2, "backfilled": false}), State::Backfilling);
        check(in_sync(), json!({"differences": 2, "failures": 1}), State::Blocked);
        check(in_sync(), json!({"backfilled": false, "quarantined": 1}), State::Backfilling);
        check(
            in_sync(),
            json!({"resync_requested_at": "2026-01-01T00:00:00Z"}),
            State::Backfilling,
        );
        check(in_sync(), json!({"mirrored": false, "sequence_id": null}), State::Backfilling);
        check(Facts { failures: 1, ..in_sync() }, json!({"backfilled": false}), State::Blocked);
        check(
            Facts { mirrored_state: "blocked".to_owned(), ..in_sync() },
            json!({}),
            State::Blocked,
        );
        check(
            Facts { refused: Some("two tenants".to_owned()), ..in_sync() },
            json!({}),
            State::Blocked,
        );
        check(in_sync(), json!({"error": "column gone", "failures": 1}), State::Blocked);
        check(in_sync(), json!({"waits": "no trigger"}), State::Blocked);
        check(Facts { paused: true, failures: 1, ..in_sync() }, json!({}), State::Paused);
        check(in_sync(), json!({"fuse_blown": true}), State::Paused);
        check(
            in_sync(),
            json!({"fuse_blown": true, "error": "column gone", "failures": 1}),
            State::Paused,
        );
        check(Facts { failures: 1, ..in_sync() }, json!({"fuse_blown": true}), State::Blocked);
    }

    #[test]
    fn rows_that_differ_are_told_with_the_mapping_and_the_command() {
        let facts = Facts { tenant: "acme".to_owned(), ..Facts::default() };
        let check = |changes: &[serde_json::Value], expect: &str| {
            let mappings: Vec<MappingFacts> = changes.iter().cloned().map(mapping).collect();
            assert_eq!(judge(&facts, &mappings).1.as_deref(), Some(expect));
        };
        let command = "run: offtake verify --tenant acme --mapping users --repair";
        let two = json!({"differences": 2});
        check(
            std::slice::from_ref(&two),
            &format!("2 row(s) of mapping users differ from its query; {command}"),
        );
        let quarantined = json!({"quarantined": 3, "differences": 1});
        check(
            &[json!({}), two, quarantined],
            &format!(
                "3 quarantined rows; 2 row(s) of mapping users differ from its query, \
                 and rows of 1 other mappings; {command}"
            ),
        );
    }

    #[test]
    fn a_destination_without_mappings_is_in_sync_only_if_nothing_is_owed() {
        let facts = Facts { mirrored_state: "in_sync".to_owned(), ..Facts::default() };
        assert_eq!(judge(&facts, &[]).0, State::InSync);
    }
}
