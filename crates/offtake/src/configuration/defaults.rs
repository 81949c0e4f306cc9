//! The value of every setting that a file does not give, and why it is that one.

use std::time::Duration;

use super::ByteSize;

/// Beside the file, as in this repository.
pub const MAPPINGS: &str = "mappings";

/// A new customer sees first rows within the time a sign-up page takes, for one small query each
/// half minute.
pub const REFRESH: Duration = Duration::from_secs(30);

/// An empty look costs some 50 µs of the source's time: 1 % of a core at 5 ms, and a third of the
/// 15 ms that a change may take at the median.
pub const SEQUENCER_INTERVAL: Duration = Duration::from_millis(5);

/// 40–50 ms of work at the 220 000 rows/s measured (benchmarks): short enough for the lock and the
/// snapshot it holds, long enough that the commit does not matter.
pub const SEQUENCER_BATCH_ROWS: u32 = 10_000;

/// Only counts when the sequencer runs in another process; then four times its interval keeps p99
/// below 60 ms.
pub const POLLER_INTERVAL: Duration = Duration::from_millis(20);

/// Longer than any pause of a healthy process, short enough that a killed one's destinations wait a
/// minute at most.
pub const LEASE: Duration = Duration::from_secs(60);

/// What 16 workers do in a second or two when every destination owes one small batch.
pub const CLAIM_LIMIT: u32 = 1000;

/// With a source that allows the usual 100 connections, the application keeps most of them.
pub const WORKERS: u32 = 16;

/// Beyond a few thousand rows COPY gains nothing more, and a batch holds up its worker for some 50
/// ms.
pub const SYNC_BATCH_ROWS: u32 = 5000;

/// 16 workers times 8 MiB is the most memory rows can take.
pub const BATCH_BYTES: ByteSize = ByteSize(8 << 20);

/// Two lost SYN packets (1 s + 2 s) and a slow handshake still fit.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A batch takes milliseconds; a minute means that something holds a lock or the plan is wrong.
pub const STATEMENT_TIMEOUT: Duration = Duration::from_secs(60);

/// Longer than a deadlock or a restarting connection pool takes to resolve.
pub const RETRY_INITIAL: Duration = Duration::from_millis(500);

/// A mended destination is noticed within half a minute, and a thousand dead ones cost 33 dials a
/// second at most.
pub const RETRY_MAX: Duration = Duration::from_secs(30);

/// A destination may be away over a long weekend.
pub const RETENTION: Duration = Duration::from_secs(7 * 86_400);

/// Only this machine, because no token is set by default.
pub const LISTEN: &str = "127.0.0.1:8080";

/// The name of a tenant's only destination.
pub const DESTINATION_NAME: &str = "main";

/// Where every database lets its owner write.
pub const SCHEMA_NAME: &str = "public";
