//! The statements of this crate. Each file says what its statement does and costs.

use std::sync::LazyLock;

use crate::State;

pub(crate) const READ_SUMMARY: &str = include_str!("../sql/read_summary.sql");
pub(crate) const READ_GAUGES: &str = include_str!("../sql/read_gauges.sql");
pub(crate) const COUNT_SEQUENCED: &str = include_str!("../sql/count_sequenced.sql");
pub(crate) const ADOPT_DESTINATIONS: &str = include_str!("../sql/adopt_destinations.sql");
pub(crate) const LIST_DAEMONS: &str = include_str!("../sql/list_daemons.sql");
pub(crate) const KNOWS_FUSE: &str = include_str!("../sql/knows_fuse.sql");
pub(crate) const LIST_FUSES: &str = include_str!("../sql/list_fuses.sql");
pub(crate) const COUNT_DELETED_ROWS: &str = include_str!("../sql/count_deleted_rows.sql");
pub(crate) const LIST_NAMED_DESTINATIONS: &str = include_str!("../sql/list_named_destinations.sql");
pub(crate) const LIST_KEPT_DESTINATIONS: &str = include_str!("../sql/list_kept_destinations.sql");
pub(crate) const PAUSE_DESTINATIONS: &str = include_str!("../sql/pause_destinations.sql");
pub(crate) const RESUME_DESTINATIONS: &str = include_str!("../sql/resume_destinations.sql");
pub(crate) const READ_RESYNC_PROGRESS: &str = include_str!("../sql/read_resync_progress.sql");
pub(crate) const LIST_QUARANTINED: &str = include_str!("../sql/list_quarantined.sql");
pub(crate) const DISCARD_QUARANTINED: &str = include_str!("../sql/discard_quarantined.sql");
pub(crate) const DISCARD_QUARANTINED_EVENTS: &str =
    include_str!("../sql/discard_quarantined_events.sql");
/// Where all of them are settled.
pub(crate) const COUNT_WEBHOOKS: &str =
    "select coalesce(sum(webhooks), 0)::bigint from offtake.webhook_count";
pub(crate) const LIST_NAMED_WEBHOOKS: &str = include_str!("../sql/list_named_webhooks.sql");
pub(crate) const LIST_WEBHOOK_ATTEMPTS: &str = include_str!("../sql/list_webhook_attempts.sql");
pub(crate) const PAUSE_WEBHOOK: &str = include_str!("../sql/pause_webhook.sql");
pub(crate) const RESUME_WEBHOOK: &str = include_str!("../sql/resume_webhook.sql");
pub(crate) const COUNT_DAEMON_SESSIONS: &str = include_str!("../sql/count_daemon_sessions.sql");
pub(crate) const READ_WAY: &str = include_str!("../sql/read_way.sql");
pub(crate) const FIND_KEY_CHANGES: &str = include_str!("../sql/find_key_changes.sql");
pub(crate) const FIND_PENDING_CHANGES: &str = include_str!("../sql/find_pending_changes.sql");
pub(crate) const FIND_QUARANTINED: &str = include_str!("../sql/find_quarantined.sql");
pub(crate) const READ_KEY_COLUMNS: &str = include_str!("../sql/read_key_columns.sql");
pub(crate) const READ_REVOCATIONS: &str = include_str!("../sql/read_revocations.sql");
pub(crate) const REVOKE_STATUS_TOKENS: &str = include_str!("../sql/revoke_status_tokens.sql");
pub(crate) const COUNT_REPLAYED: &str = include_str!("../sql/count_replayed.sql");

const CHOSEN: &str = "{chosen}";
const LIST_DESTINATIONS: &str = include_str!("../sql/list_destinations.sql");

/// Destinations by tenant and name.
pub(crate) static LIST_NAMED: LazyLock<String> =
    LazyLock::new(|| LIST_DESTINATIONS.replace(CHOSEN, include_str!("../sql/choose_named.sql")));

/// Destinations of which something contains a text.
pub(crate) static LIST_SEARCHED: LazyLock<String> =
    LazyLock::new(|| LIST_DESTINATIONS.replace(CHOSEN, include_str!("../sql/choose_searched.sql")));

/// The destinations that are not simply counted, with the count of the others.
pub(crate) static LIST_UNSETTLED: LazyLock<String> = LazyLock::new(|| counted(CHOOSE_UNSETTLED));

/// The same of those only that may be in this state.
pub(crate) fn list_unsettled_in(state: State) -> &'static str {
    static PAUSED: LazyLock<String> =
        LazyLock::new(|| unsettled(include_str!("../sql/may_be_paused.sql")));
    static BLOCKED: LazyLock<String> =
        LazyLock::new(|| unsettled(include_str!("../sql/may_be_blocked.sql")));
    static BACKFILLING: LazyLock<String> =
        LazyLock::new(|| unsettled(include_str!("../sql/may_be_backfilling.sql")));
    static DEGRADED: LazyLock<String> =
        LazyLock::new(|| unsettled(include_str!("../sql/may_be_degraded.sql")));
    match state {
        State::Paused => &PAUSED,
        State::Blocked => &BLOCKED,
        State::Backfilling => &BACKFILLING,
        State::Degraded => &DEGRADED,
        State::Lagging | State::InSync => &LIST_UNSETTLED,
    }
}

const CHOOSE_UNSETTLED: &str = include_str!("../sql/choose_unsettled.sql");

fn unsettled(may_be: &str) -> String {
    counted(&may_be.replace("{unsettled}", CHOOSE_UNSETTLED))
}

/// The same where all are looked at, with the parameters of [`LIST_NAMED`].
pub(crate) static LIST_DOUBTED: LazyLock<String> =
    LazyLock::new(|| counted(include_str!("../sql/choose_named.sql")));

const LIST_WEBHOOKS: &str = include_str!("../sql/list_webhooks.sql");

/// Webhooks by tenant and name, with their mappings.
pub(crate) static WEBHOOKS_BY_NAME: LazyLock<String> = LazyLock::new(|| {
    let chosen = include_str!("../sql/choose_named_webhooks.sql");
    LIST_WEBHOOKS.replace("{webhooks}", chosen).replace("{with_mappings}", "true")
});

/// Webhooks of which something contains a text, with their mappings.
pub(crate) static SEARCHED_WEBHOOKS: LazyLock<String> = LazyLock::new(|| {
    let chosen = include_str!("../sql/choose_searched_webhooks.sql");
    LIST_WEBHOOKS.replace("{webhooks}", chosen).replace("{with_mappings}", "true")
});

/// The webhooks that are not simply counted, without their mappings.
pub(crate) static UNSETTLED_WEBHOOKS: LazyLock<String> = LazyLock::new(|| {
    let chosen = include_str!("../sql/choose_unsettled_webhooks.sql");
    LIST_WEBHOOKS.replace("{webhooks}", chosen).replace("{with_mappings}", "false")
});

fn counted(chosen: &str) -> String {
    let listed = LIST_DESTINATIONS.replace(CHOSEN, chosen);
    include_str!("../sql/list_unsettled.sql").replace("{listed}", &listed)
}
