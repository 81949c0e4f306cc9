//! The statements of the webhooks on the source's tables. What writes `outgoing_request` is in the
//! crate `requests`; what reads rows, in `reading`.

pub(crate) const REGISTER_WEBHOOKS: &str = include_str!("../sql/register_webhooks.sql");
pub(crate) const SETTLE_WEBHOOKS: &str = include_str!("../sql/settle_webhooks.sql");
pub(crate) const LIST_REGISTERED: &str = include_str!("../sql/list_registered.sql");
pub(crate) const FORGET_GONE: &str = include_str!("../sql/forget_gone.sql");
pub(crate) const LIST_ATTEMPT_PARTITIONS: &str = include_str!("../sql/list_attempt_partitions.sql");
pub(crate) const ADD_ATTEMPT_PARTITION: &str = include_str!("../sql/add_attempt_partition.sql");
pub(crate) const SAVE_PROGRESS: &str = include_str!("../sql/save_progress.sql");
pub(crate) const SAVE_GROUP: &str = include_str!("../sql/save_group.sql");
pub(crate) const ADD_ATTEMPTS: &str = include_str!("../sql/add_attempts.sql");
pub(crate) const FAIL_WEBHOOK_MAPPING: &str = include_str!("../sql/fail_webhook_mapping.sql");
pub(crate) const READ_PREVIEW_FACTS: &str = include_str!("../sql/read_preview_facts.sql");
