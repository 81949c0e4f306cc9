//! Every statement that writes `offtake.outgoing_request`. Each file says who calls it, and in
//! which transaction.

pub(crate) const OWE_CALLBACK: &str = include_str!("../sql/owe_callback.sql");
pub(crate) const CLAIM_CALLBACKS: &str = include_str!("../sql/claim_callbacks.sql");
pub(crate) const SETTLE_CALLBACK: &str = include_str!("../sql/settle_callback.sql");
pub(crate) const OWE_PAGE: &str = include_str!("../sql/owe_page.sql");
pub(crate) const OWE_FANNED_OUT: &str = include_str!("../sql/owe_fanned_out.sql");
pub(crate) const POSTPONE_VISITS: &str = include_str!("../sql/postpone_visits.sql");
pub(crate) const SWEEP_DUE: &str = include_str!("../sql/sweep_due.sql");
pub(crate) const SWEEP_SLICE: &str = include_str!("../sql/sweep_slice.sql");
pub(crate) const OWE_REGISTERED: &str = include_str!("../sql/owe_registered.sql");
pub(crate) const OWE_ON_COMMAND: &str = include_str!("../sql/owe_on_command.sql");
pub(crate) const OWE_RESTORED: &str = include_str!("../sql/owe_restored.sql");
pub(crate) const OWE_PLACE: &str = include_str!("../sql/owe_place.sql");
pub(crate) const REQUEST_RESYNC: &str = include_str!("../sql/request_resync.sql");
pub(crate) const RETRY_QUARANTINED: &str = include_str!("../sql/retry_quarantined.sql");
pub(crate) const BEGIN_EPOCH: &str = include_str!("../sql/begin_epoch.sql");
pub(crate) const JUDGE_PARTITION: &str = include_str!("../sql/judge_partition.sql");
pub(crate) const DEACTIVATE_DESTINATIONS: &str = include_str!("../sql/deactivate_destinations.sql");
pub(crate) const REFUSE_DESTINATION: &str = include_str!("../sql/refuse_destination.sql");
pub(crate) const BEGIN_FORGETTING: &str = include_str!("../sql/begin_forgetting.sql");
pub(crate) const FORGET_DESTINATIONS: &str = include_str!("../sql/forget_destinations.sql");
pub(crate) const BEGIN_CLAIM: &str = include_str!("../sql/begin_claim.sql");
pub(crate) const CLAIM_REQUESTS: &str = include_str!("../sql/claim_requests.sql");
pub(crate) const EXTEND_LEASES: &str = include_str!("../sql/extend_leases.sql");
pub(crate) const COMPLETE_REQUESTS: &str = include_str!("../sql/complete_requests.sql");
pub(crate) const COMPLETE_REQUEST: &str = include_str!("../sql/complete_request.sql");
pub(crate) const RELEASE_REQUEST: &str = include_str!("../sql/release_request.sql");
pub(crate) const LEAVE_REQUEST: &str = include_str!("../sql/leave_request.sql");
pub(crate) const FAIL_REQUESTS: &str = include_str!("../sql/fail_requests.sql");
pub(crate) const RESUME_PLACE: &str = include_str!("../sql/resume_place.sql");
pub(crate) const FAIL_REQUEST: &str = include_str!("../sql/fail_request.sql");

pub(crate) const CLAIM_WEBHOOKS: &str = include_str!("../sql/claim_webhooks.sql");
pub(crate) const OWE_WEBHOOKS: &str = include_str!("../sql/owe_webhooks.sql");
pub(crate) const SWEEP_WEBHOOKS: &str = include_str!("../sql/sweep_webhooks.sql");
pub(crate) const FAIL_WEBHOOK: &str = include_str!("../sql/fail_webhook.sql");
pub(crate) const DISABLE_WEBHOOK: &str = include_str!("../sql/disable_webhook.sql");
pub(crate) const ENABLE_WEBHOOK: &str = include_str!("../sql/enable_webhook.sql");
pub(crate) const HOLD_WEBHOOK_REQUESTS: &str = include_str!("../sql/hold_webhook_requests.sql");
pub(crate) const DEACTIVATE_WEBHOOKS: &str = include_str!("../sql/deactivate_webhooks.sql");
pub(crate) const REFUSE_WEBHOOK: &str = include_str!("../sql/refuse_webhook.sql");
pub(crate) const REQUEST_WEBHOOK_RESYNC: &str = include_str!("../sql/request_webhook_resync.sql");
pub(crate) const REPLAY_WEBHOOK: &str = include_str!("../sql/replay_webhook.sql");
pub(crate) const RETRY_QUARANTINED_EVENTS: &str =
    include_str!("../sql/retry_quarantined_events.sql");
