//! The statements on the tables of jobs. What reads a tenant's rows is in the crate `reading`.

pub(crate) const CLAIM_JOB: &str = include_str!("../sql/claim_job.sql");
pub(crate) const EXTEND_JOB_LEASE: &str = include_str!("../sql/extend_job_lease.sql");
pub(crate) const RELEASE_JOB: &str = include_str!("../sql/release_job.sql");
pub(crate) const CREATE_JOB: &str = include_str!("../sql/create_job.sql");
pub(crate) const READ_JOB_BY_NUMBER: &str = include_str!("../sql/read_job_by_number.sql");
pub(crate) const READ_JOB: &str = include_str!("../sql/read_job.sql");
pub(crate) const LIST_JOBS: &str = include_str!("../sql/list_jobs.sql");
pub(crate) const FIND_RUNNING: &str = include_str!("../sql/find_running.sql");
pub(crate) const COUNT_QUEUED: &str = include_str!("../sql/count_queued.sql");
pub(crate) const LIST_CHUNKS: &str = include_str!("../sql/list_chunks.sql");
pub(crate) const PUT_CHUNK: &str = include_str!("../sql/put_chunk.sql");
pub(crate) const DROP_PIECES: &str = include_str!("../sql/drop_pieces.sql");
pub(crate) const NOTE_PROGRESS: &str = include_str!("../sql/note_progress.sql");
pub(crate) const INVALIDATE_CHUNKS: &str = include_str!("../sql/invalidate_chunks.sql");
pub(crate) const FINISH_JOB: &str = include_str!("../sql/finish_job.sql");
pub(crate) const FIND_REPEATED: &str = include_str!("../sql/find_repeated.sql");
pub(crate) const CANCEL_JOB: &str = include_str!("../sql/cancel_job.sql");
pub(crate) const RESUME_JOB: &str = include_str!("../sql/resume_job.sql");
pub(crate) const RETIRE_JOB: &str = include_str!("../sql/retire_job.sql");
pub(crate) const DELETE_JOB: &str = include_str!("../sql/delete_job.sql");
pub(crate) const LIST_EXPIRED: &str = include_str!("../sql/list_expired.sql");
pub(crate) const EXPIRE_JOB: &str = include_str!("../sql/expire_job.sql");
pub(crate) const FORGET_ENDED: &str = include_str!("../sql/forget_ended.sql");
pub(crate) const READ_MOMENT: &str = include_str!("../sql/read_moment.sql");
pub(crate) const REFRESH_SNAPSHOT_SCHEDULE: &str =
    include_str!("../sql/refresh_snapshot_schedule.sql");
pub(crate) const CLEAR_SNAPSHOT_SCHEDULE: &str = include_str!("../sql/clear_snapshot_schedule.sql");
pub(crate) const RECORD_DUE_SNAPSHOTS: &str = include_str!("../sql/record_due_snapshots.sql");
pub(crate) const NOTE_SNAPSHOT_MADE: &str = include_str!("../sql/note_snapshot_made.sql");
pub(crate) const LIST_OLD_SNAPSHOTS: &str = include_str!("../sql/list_old_snapshots.sql");
pub(crate) const END_SNAPSHOTS: &str = include_str!("../sql/end_snapshots.sql");
pub(crate) const RECORD_SNAPSHOT: &str = include_str!("../sql/record_snapshot.sql");
pub(crate) const NOTE_SNAPSHOTS_DELETED: &str = include_str!("../sql/note_snapshots_deleted.sql");
pub(crate) const END_IF_CANCELLED: &str = include_str!("../sql/end_if_cancelled.sql");
pub(crate) const PROBE_DUE_SNAPSHOTS: &str = include_str!("../sql/probe_due_snapshots.sql");
