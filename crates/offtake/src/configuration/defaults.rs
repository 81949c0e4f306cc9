//! The value of every setting that the file does not give, and why it is that value.

use std::time::Duration;

use offtake_sync::audit::Share;

use super::ByteSize;

/// A snapshot holds back vacuum at the source for as long as it reads: some 30 GB of rows in this
/// time.
pub const SNAPSHOT_MAX_DURATION: Duration = Duration::from_secs(30 * 60);

/// Beside the file, as in this repository.
pub const MAPPINGS: &str = "mappings";

/// A new tenant's first rows arrive while the sign-up page is still open. It costs the source one
/// small query every half minute.
pub const REFRESH: Duration = Duration::from_secs(30);

/// A change that follows others waits half of this on average. Silence and load make the pause
/// longer, so that it costs little: the sequencer's `pause` says how much.
pub const SEQUENCER_INTERVAL: Duration = Duration::from_millis(1);

/// 40–50 ms of work at the 220 000 rows/s that the benchmark measured. The tick holds a lock and a
/// snapshot for that time, which is short enough; the time of the commit does not matter beside it.
pub const SEQUENCER_BATCH_ROWS: u32 = 10_000;

/// It only matters when the sequencer runs in another process. The latency's p99 is then below 60 ms.
pub const POLLER_INTERVAL: Duration = Duration::from_millis(20);

/// Longer than any pause of a healthy process. The destinations of a killed process wait at most a
/// minute.
pub const LEASE: Duration = Duration::from_secs(60);

/// What 16 workers do in a second or two when every destination is owed one small batch.
pub const CLAIM_LIMIT: u32 = 1000;

/// A source usually allows 100 connections; the application keeps most of them.
pub const WORKERS: u32 = 16;

/// With more rows than a few thousand, COPY is not faster per row. A batch of this size occupies
/// its worker for some 50 ms.
pub const SYNC_BATCH_ROWS: u32 = 5000;
pub const BATCHES_PER_CHUNK: u32 = 4;

/// Each destination at work takes at most twice this in memory: 256 MiB for 16 of them.
pub const BATCH_BYTES: ByteSize = ByteSize(8 << 20);

/// A reader that ends within minutes never gets there: a gigabyte is some million changed rows.
pub const FILE_LOG_BYTES: ByteSize = ByteSize(1 << 30);

/// A sixth below the 10 GB that Cloudflare takes: time to act for most databases.
pub const D1_DATABASE_BYTES: ByteSize = ByteSize(8 << 30);

/// Long enough for a connection that loses two SYN packets (1 s + 2 s) and has a slow handshake.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A batch takes milliseconds. After a minute something holds a lock, or the plan is wrong.
pub const STATEMENT_TIMEOUT: Duration = Duration::from_secs(60);

/// Longer than a deadlock or a restarting connection pool takes to resolve.
pub const RETRY_INITIAL: Duration = Duration::from_millis(500);

/// A destination that works again is noticed within half a minute. A thousand dead ones cost at
/// most 33 dials a second.
pub const RETRY_MAX: Duration = Duration::from_secs(30);

/// A row that was changed in the morning is known the next morning. Within one percent that is some
/// fifty million rows (docs/benchmarks.md: 10 s of the source for a million).
pub const AUDIT_PERIOD: Duration = Duration::from_secs(86_400);

/// About what a daemon without work costs. It is enough for most sources.
pub const AUDIT_BUDGET: Share = match Share::of_hundredths(100) {
    Some(share) => share,
    None => Share::WHOLE,
};

/// A destination may be unreachable over a long weekend, and need not be re-copied.
pub const RETENTION: Duration = Duration::from_secs(7 * 86_400);

/// A receiver that is restarted answers again within seconds…
pub const WEBHOOK_RETRY_INITIAL: Duration = Duration::from_secs(5);

/// …and one that is mended is noticed within five minutes.
pub const WEBHOOK_RETRY_MAX: Duration = Duration::from_secs(5 * 60);

/// The schedule of Standard Webhooks: ten attempts within three days. An event is refused for a
/// mistake that a person must mend, so the pauses grow to a day.
pub const WEBHOOK_RETRY_EVENTS: [Duration; 9] = [
    Duration::from_secs(5),
    Duration::from_secs(5 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(2 * 3600),
    Duration::from_secs(5 * 3600),
    Duration::from_secs(10 * 3600),
    Duration::from_secs(14 * 3600),
    Duration::from_secs(20 * 3600),
    Duration::from_secs(24 * 3600),
];

/// Longer than a weekend with a holiday.
pub const WEBHOOK_DISABLE_AFTER: Duration = Duration::from_secs(5 * 86_400);

/// As long as the log goes back: what was sent can be compared with what changed.
pub const WEBHOOK_ATTEMPTS_KEEP: Duration = Duration::from_secs(7 * 86_400);

/// Standard Webhooks recommends 15 to 30 seconds.
pub const WEBHOOK_TIMEOUT: Duration = Duration::from_secs(15);

/// Enough to hide the network's latency; few enough not to overrun a small receiver.
pub const WEBHOOK_CONCURRENCY: u32 = 4;

/// Half of the file descriptors that a process may usually open.
pub const WEBHOOK_CONNECTIONS: u32 = 512;

/// No customer has needed more; a mistake in the query may name thousands.
pub const WEBHOOKS_PER_TENANT: u32 = 20;

/// Only this machine, because no token is set by default.
pub const LISTEN: &str = "127.0.0.1:8080";

/// The name of a tenant's only destination.
pub const DESTINATION_NAME: &str = "main";

/// Every database has it, and lets its owner write there.
pub const SCHEMA_NAME: &str = "public";

/// Large enough that a part's own costs are small, and six of them are far below 256 MiB.
pub const EXPORT_CHUNK_BYTES: ByteSize = ByteSize(32 << 20);

/// Long enough for millions of rows, and short enough that vacuum is not held up for long.
pub const EXPORT_WORK: Duration = Duration::from_secs(25);

/// A sixth of the time, the source has to itself.
pub const EXPORT_PAUSE: Duration = Duration::from_secs(5);

/// The one snapshot of an export that may be longer: as long as a large report runs.
pub const EXPORT_SETTLE: Duration = Duration::from_secs(300);

/// One export keeps one processor busy with printing and compressing.
pub const EXPORT_WORKERS: u32 = 1;

/// What one worker does in a night, if they are small.
pub const EXPORT_QUEUE: u32 = 100;

/// Somebody who was ill for a few days still finds the files.
pub const EXPORT_KEEP: Duration = Duration::from_secs(7 * 86_400);

/// One snapshot keeps one processor busy with printing and compressing.
pub const SNAPSHOT_WORKERS: u32 = 1;
