//! What the turns of one engine share.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use offtake_loops::BlownFuses;
use offtake_postgres::{Dialer, SourcePool};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::{Groups, JointMirrors, JointReads, PerPlace, PlaceGates, SlowReads};
use crate::Settings;
use crate::batch_size::BatchSizes;
use crate::destinations::{Links, Registry};
use crate::ownership::Visits;

/// What every turn works with.
pub(crate) struct Context {
    pub(crate) pool: SourcePool,
    pub(crate) registry: Registry,
    pub(crate) dialer: Dialer,
    pub(crate) links: Links,
    pub(crate) settings: Settings,
    pub(crate) fuses: watch::Receiver<Arc<BlownFuses>>,
    /// Bounds the batches read from the source at one time. A turn holds a place only while it
    /// reads, so a destination that hangs holds none.
    pub(crate) readers: Arc<Semaphore>,
    pub(crate) sizes: BatchSizes,
    pub(crate) rival_looks: PerPlace,
    pub(crate) doubts: PerPlace,
    pub(crate) gates: PlaceGates,
    pub(crate) groups: Groups,
    pub(crate) visits: Visits,
    pub(crate) reads: JointReads,
    pub(crate) slow_reads: SlowReads,
    pub(crate) mirrors: JointMirrors,
    /// How many requests this process works on.
    pub(crate) at_work: AtomicUsize,
    /// Bounds the turns that stay.
    pub(crate) staying: Semaphore,
    /// The last sequence id that this process knows to be numbered.
    pub(crate) numbered: watch::Receiver<i64>,
    /// The daemon is stopping: finish the batch, start no other.
    pub(crate) stopping: CancellationToken,
}
