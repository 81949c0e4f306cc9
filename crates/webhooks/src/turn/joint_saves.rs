//! The ends of several turns, recorded at once.
//!
//! Many turns end within a few milliseconds, and what each has to record is little. So one of them
//! records it for all that wait, in one transaction, while those that end meanwhile wait for the
//! next. Where none is being recorded, nothing waits. Only the end of a turn of which nothing is to
//! be recorded but that everything was told is recorded so.

use std::sync::{Mutex, MutexGuard, PoisonError};

use offtake_postgres::SourcePool;
use tokio::sync::oneshot::{self, error::TryRecvError};

use crate::record::{Saved, ToldAll, save_group};

/// Turns whose ends are recorded at once, at most.
const TOGETHER_MAX: usize = 100;

/// The ends of turns that are to be recorded.
#[derive(Default)]
pub(crate) struct JointSaves {
    waiting: Mutex<Vec<Waiting>>,
    /// Held by the turn that records for all.
    leads: tokio::sync::Mutex<()>,
}

struct Waiting {
    done: ToldAll,
    tell: oneshot::Sender<Saved>,
}

impl JointSaves {
    /// Records that a turn told everything. None: that failed, and it is to be recorded alone.
    pub(crate) async fn save(&self, pool: &SourcePool, done: ToldAll) -> Option<Saved> {
        let (tell, mut saved) = oneshot::channel();
        self.waiting().push(Waiting { done, tell });
        tokio::select! {
            biased;
            saved = &mut saved => saved.ok(),
            leads = self.leads.lock() => {
                let saved = self.lead(pool, &mut saved).await;
                drop(leads);
                saved
            }
        }
    }

    /// Records what waits until the turn's own end is among it.
    async fn lead(&self, pool: &SourcePool, own: &mut oneshot::Receiver<Saved>) -> Option<Saved> {
        loop {
            match own.try_recv() {
                Ok(saved) => return Some(saved),
                // It was with those of an attempt that failed.
                Err(TryRecvError::Closed) => return None,
                Err(TryRecvError::Empty) => {}
            }
            let some = self.take();
            let done: Vec<&ToldAll> = some.iter().map(|waiting| &waiting.done).collect();
            let Ok(saved) = save_group(pool, &done).await else { continue };
            let turns = done.len();
            tracing::debug!(event = "webhooks_saved_together", turns, "{turns} turns were saved");
            for Waiting { done, tell } in some {
                let ended = saved.get(&done.lease.request_id).copied().unwrap_or(Saved::Lost);
                // The turn may have been cancelled meanwhile.
                let _ = tell.send(ended);
            }
        }
    }

    /// The first of those that wait, without those whose turns were cancelled.
    fn take(&self) -> Vec<Waiting> {
        let mut waiting = self.waiting();
        waiting.retain(|waiting| !waiting.tell.is_closed());
        let count = waiting.len().min(TOGETHER_MAX);
        waiting.drain(..count).collect()
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
