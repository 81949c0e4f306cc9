//! From the facts about a webhook to its state. Pure, and it never flatters.

use offtake_mapping::shell_word;

use super::WebhookState;

/// What the source knows of one webhook.
#[derive(Debug, Default, Clone)]
pub(super) struct Facts {
    pub(super) tenant: String,
    pub(super) name: String,
    pub(super) disabled: Option<String>,
    pub(super) paused: bool,
    pub(super) pause_reason: Option<String>,
    /// A blown fuse that stops all of it, and why.
    pub(super) fuse: Option<(String, Option<String>)>,
    pub(super) refused: Option<String>,
    /// Why it is told of less than it asks for.
    pub(super) incomplete: Option<String>,
    /// The state and the reason that the last turn wrote.
    pub(super) mirrored_state: String,
    pub(super) mirrored_reason: Option<String>,
    pub(super) failures: i32,
    pub(super) last_error: Option<String>,
    /// A mapping whose query fails, and why.
    pub(super) failing: Option<(String, Option<String>)>,
    /// A mapping whose fuse is blown, and why.
    pub(super) stopped: Option<(String, Option<String>)>,
    /// A mapping of which not all is told that should be: a resync, or a backfill.
    pub(super) backfilling: Option<String>,
    pub(super) quarantined: i64,
    /// A change is beyond a cursor, or may be.
    pub(super) behind: bool,
}

/// The state, and the reason where the state alone does not explain it.
pub(super) fn judge(facts: &Facts) -> (WebhookState, Option<String>) {
    if let Some(reason) = &facts.disabled {
        let Facts { tenant, name, .. } = facts;
        let (tenant, name) = (shell_word(tenant), shell_word(name));
        let enable = format!("run: offtake webhook enable --tenant {tenant} --name {name}");
        return (WebhookState::Disabled, Some(format!("{reason}; {enable}")));
    }
    if facts.paused {
        return (WebhookState::Paused, facts.pause_reason.clone());
    }
    if let Some((fuse, reason)) = &facts.fuse {
        let what = format!("the fuse {fuse} is off");
        return (WebhookState::Paused, Some(with_reason(&what, reason.as_deref())));
    }
    if let Some(refused) = &facts.refused {
        return (WebhookState::Blocked, Some(refused.clone()));
    }
    if facts.mirrored_state == WebhookState::Blocked.as_str() || facts.failures > 0 {
        let reason = facts.mirrored_reason.clone().or_else(|| facts.last_error.clone());
        return (WebhookState::Blocked, reason);
    }
    if let Some((mapping, reason)) = &facts.failing {
        let what = format!("mapping {mapping}");
        return (WebhookState::Blocked, Some(with_reason(&what, reason.as_deref())));
    }
    if let Some(incomplete) = &facts.incomplete {
        return (WebhookState::Blocked, Some(incomplete.clone()));
    }
    if let Some((mapping, reason)) = &facts.stopped {
        let what = format!("the fuse of mapping {mapping} is off");
        return (WebhookState::Paused, Some(with_reason(&what, reason.as_deref())));
    }
    if let Some(mapping) = &facts.backfilling {
        let reason = format!("not every row of mapping {mapping} is told that is to be told");
        return (WebhookState::Backfilling, Some(reason));
    }
    if facts.quarantined > 0 {
        let reason = format!("{} quarantined event(s)", facts.quarantined);
        return (WebhookState::Degraded, Some(reason));
    }
    if facts.behind {
        return (WebhookState::Lagging, None);
    }
    (WebhookState::InSync, None)
}

fn with_reason(what: &str, reason: Option<&str>) -> String {
    reason.map_or_else(|| what.to_owned(), |reason| format!("{what}: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_that_holds_is_told_of_a_webhook() {
        let calm = || Facts { mirrored_state: "in_sync".to_owned(), ..Facts::default() };
        let check = |facts: Facts, expect| assert_eq!(judge(&facts).0, expect, "{facts:?}");
        let why = || Some("why".to_owned());
        let mapping = || Some(("users".to_owned(), None));
        check(calm(), WebhookState::InSync);
        check(Facts { mirrored_state: "lagging".to_owned(), ..calm() }, WebhookState::InSync);
        let behind = Facts { behind: true, ..calm() };
        check(behind.clone(), WebhookState::Lagging);
        let degraded = Facts { quarantined: 1, ..behind };
        check(degraded.clone(), WebhookState::Degraded);
        let backfilling = Facts { backfilling: Some("users".to_owned()), ..degraded };
        check(backfilling.clone(), WebhookState::Backfilling);
        let stopped = Facts { stopped: mapping(), ..backfilling };
        check(stopped.clone(), WebhookState::Paused);
        let incomplete = Facts { incomplete: why(), ..stopped };
        check(incomplete.clone(), WebhookState::Blocked);
        let failing = Facts { failing: mapping(), ..incomplete };
        check(failing.clone(), WebhookState::Blocked);
        check(Facts { failures: 1, ..calm() }, WebhookState::Blocked);
        check(Facts { mirrored_state: "blocked".to_owned(), ..calm() }, WebhookState::Blocked);
        let refused = Facts { refused: why(), ..failing };
        check(refused.clone(), WebhookState::Blocked);
        let stopped = Facts { fuse: mapping(), ..refused };
        check(stopped.clone(), WebhookState::Paused);
        check(Facts { paused: true, ..stopped.clone() }, WebhookState::Paused);
        check(Facts { disabled: why(), paused: true, ..stopped }, WebhookState::Disabled);
    }

    #[test]
    fn a_disabled_webhook_tells_the_command_that_enables_it() {
        let facts = Facts {
            tenant: "a b".to_owned(),
            name: "crm".to_owned(),
            disabled: Some("answers 410: it is gone".to_owned()),
            ..Facts::default()
        };
        let expect = "answers 410: it is gone; \
                      run: offtake webhook enable --tenant 'a b' --name crm";
        assert_eq!(judge(&facts).1.as_deref(), Some(expect));
    }
}
