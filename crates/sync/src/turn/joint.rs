//! What several turns want of the source at about the same time, done for all of them at once.
//!
//! The turns of destinations in databases of their own have nothing in common but the source. Under
//! load, many of them read from it and tell it of a commit within a few milliseconds, and each such
//! transaction costs more by itself than by what it does. So while one is under way, those that
//! come wait, and one of them then does it for all. Where nothing is under way, nothing waits.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

/// So many are under way, of one kind, before others wait. With two, turns that come a little apart
/// from each other were hardly ever worked for at once: 718 destinations a second, and 1 236 with
/// one.
const UNDER_WAY_MAX: usize = 1;

/// So many are done at once: as many as there may be connections to destinations.
const TOGETHER_MAX: usize = 100;

/// One that takes longer counts as over: a slow tenant keeps no other waiting.
const COUNTS_FOR: Duration = Duration::from_millis(10);

/// A turn that waits longer, or whose answer takes longer, goes on alone. A hundred are read in a
/// tenth of it.
pub(super) const PATIENCE: Duration = Duration::from_millis(250);

/// After several together failed or took too long, each goes alone for this long: until then, the
/// one to blame is known by its own read. It is twice as long each time that it happens again, up
/// to [`UNFIT_MAX`]: where the source is far away it always does.
const UNFIT_FIRST: Duration = Duration::from_millis(500);
const UNFIT_MAX: Duration = Duration::from_secs(15);

/// The wishes `W` of turns, and their answers `A`, by what they have in common.
pub(crate) struct Joint<W, A> {
    queues: Arc<Mutex<HashMap<String, Queue<W, A>>>>,
}

struct Queue<W, A> {
    under_way: usize,
    waiting: Vec<Waiting<W, A>>,
    unfit: Option<Unfit>,
}

/// Several together failed or took too long.
#[derive(Clone, Copy)]
struct Unfit {
    since: Instant,
    lasts: Duration,
}

/// Who waits, or is worked for by another turn.
pub(crate) struct Waiting<W, A> {
    pub(crate) wish: W,
    told: oneshot::Sender<Told<W, A>>,
}

impl<W, A> Waiting<W, A> {
    /// None: it is to go on alone.
    pub(crate) fn tell(self, answer: Option<A>) {
        // It may have gone on alone meanwhile.
        let _ = self.told.send(answer.map_or(Told::Alone, Told::Done));
    }

    /// It still waits for the answer.
    pub(crate) fn waits(&self) -> bool {
        !self.told.is_closed()
    }
}

enum Told<W, A> {
    Done(A),
    Alone,
    /// It is to work for itself and these. If it is gone by then, this ends what is under way.
    Lead(UnderWay<W, A>, Vec<Waiting<W, A>>),
}

/// What a turn is to do about its wish.
pub(crate) enum Role<W, A> {
    /// Another turn has done it.
    Done(A),
    /// It does it for itself and for these.
    Leads(UnderWay<W, A>, Vec<Waiting<W, A>>),
    /// It does it for itself.
    Alone,
}

impl<W, A> Default for Joint<W, A> {
    fn default() -> Self {
        Self { queues: Arc::default() }
    }
}

impl<W, A> Default for Queue<W, A> {
    fn default() -> Self {
        Self { under_way: 0, waiting: Vec::new(), unfit: None }
    }
}

impl<W, A> Clone for Joint<W, A> {
    fn clone(&self) -> Self {
        Self { queues: self.queues.clone() }
    }
}

impl<W, A> Joint<W, A> {
    /// Waits until another turn has done it, or this one is to do it. `wish` is what the other needs
    /// to know.
    pub(crate) async fn role(&self, key: &str, wish: impl FnOnce() -> W) -> Role<W, A> {
        let answer = {
            let mut queues = self.queues();
            let queue = queues.entry(key.to_owned()).or_default();
            if queue.unfit.is_some_and(|unfit| unfit.since.elapsed() < unfit.lasts) {
                return Role::Alone;
            }
            if queue.under_way < UNDER_WAY_MAX {
                queue.under_way += 1;
                return Role::Leads(self.under_way(key), Vec::new());
            }
            let (told, answer) = oneshot::channel();
            queue.waiting.push(Waiting { wish: wish(), told });
            answer
        };
        match tokio::time::timeout(PATIENCE, answer).await {
            Ok(Ok(Told::Done(answer))) => Role::Done(answer),
            Ok(Ok(Told::Lead(under_way, others))) => Role::Leads(under_way, others),
            Ok(Ok(Told::Alone) | Err(_)) | Err(_) => Role::Alone,
        }
    }

    fn under_way(&self, key: &str) -> UnderWay<W, A> {
        UnderWay { joint: self.clone(), key: key.to_owned(), counts: true }
    }

    /// One is over. One of those that wait does it for all of them.
    fn over(&self, key: &str) {
        let mut queues = self.queues();
        let Some(queue) = queues.get_mut(key) else { return };
        queue.waiting.retain(Waiting::waits);
        while let Some(leader) = queue.waiting.pop() {
            let first = queue.waiting.len().saturating_sub(TOGETHER_MAX - 1);
            let others = queue.waiting.split_off(first);
            match leader.told.send(Told::Lead(self.under_way(key), others)) {
                Ok(()) => return,
                Err(Told::Lead(mut under_way, others)) => {
                    under_way.counts = false;
                    queue.waiting.extend(others);
                }
                Err(_) => {}
            }
        }
        queue.under_way -= 1;
        if queue.under_way == 0 && queue.unfit.is_none() {
            queues.remove(key);
        }
    }

    fn queues(&self) -> MutexGuard<'_, HashMap<String, Queue<W, A>>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Something is under way until this is dropped.
pub(crate) struct UnderWay<W, A> {
    joint: Joint<W, A>,
    key: String,
    counts: bool,
}

impl<W, A> UnderWay<W, A> {
    /// Awaits the work, for a while on behalf of the others.
    pub(crate) async fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        match tokio::time::timeout(COUNTS_FOR, &mut work).await {
            Ok(done) => done,
            Err(_) => {
                self.end();
                work.await
            }
        }
    }

    /// Several together, who `began` then, failed or took too long. Each goes alone for a while. Of
    /// others who began before this was known, it says nothing more.
    pub(crate) fn note_unfit(&self, began: Instant) {
        let mut queues = self.joint.queues();
        let queue = queues.entry(self.key.clone()).or_default();
        if queue.unfit.is_some_and(|before| before.since >= began) {
            return;
        }
        let lasts = queue.unfit.map_or(UNFIT_FIRST, |before| (before.lasts * 2).min(UNFIT_MAX));
        queue.unfit = Some(Unfit { since: Instant::now(), lasts });
    }

    /// Several together, who `began` then, are done.
    pub(crate) fn note_fit(&self, began: Instant) {
        if let Some(queue) = self.joint.queues().get_mut(&self.key) {
            queue.unfit = queue.unfit.filter(|unfit| unfit.since > began);
        }
    }

    fn end(&mut self) {
        if std::mem::take(&mut self.counts) {
            self.joint.over(&self.key);
        }
    }
}

impl<W, A> Drop for UnderWay<W, A> {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::{Joint, Role, UNFIT_FIRST, UNFIT_MAX, UnderWay};

    async fn leads(joint: &Joint<(), ()>) -> Option<UnderWay<(), ()>> {
        match joint.role("key", || ()).await {
            Role::Leads(under_way, _) => Some(under_way),
            Role::Done(()) | Role::Alone => None,
        }
    }

    fn lasts(joint: &Joint<(), ()>) -> Option<std::time::Duration> {
        joint.queues().get("key").and_then(|queue| queue.unfit).map(|unfit| unfit.lasts)
    }

    #[tokio::test]
    async fn going_alone_lasts_longer_each_time_until_several_are_done_together() {
        let joint = Joint::default();
        let under_way = leads(&joint).await.expect("nothing is under way");
        let mut wanted = UNFIT_FIRST;
        let earlier = Instant::now();
        for _ in 0..7 {
            under_way.note_unfit(Instant::now());
            assert_eq!(lasts(&joint), Some(wanted));
            // Those that were under way already.
            under_way.note_unfit(earlier);
            under_way.note_fit(earlier);
            assert_eq!(lasts(&joint), Some(wanted));
            assert!(leads(&joint).await.is_none(), "it does not go alone");
            wanted = (wanted * 2).min(UNFIT_MAX);
        }
        assert_eq!(wanted, UNFIT_MAX);
        under_way.note_fit(Instant::now());
        assert_eq!(lasts(&joint), None);
        drop(under_way);
        assert!(leads(&joint).await.is_some());
    }
}
