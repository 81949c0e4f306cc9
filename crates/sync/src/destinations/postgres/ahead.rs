//! The rows of a small batch, sent together with the lock of its cursors.
//!
//! Most batches are one row, and what a row waits for is mostly round trips. The lock's answer says
//! whether the batch still fits; where it does not, the transaction is rolled back, so nothing is
//! lost by having written already. The server runs the statements in the order in which they were
//! sent: the lock is held before the first row is written, as ever.

use offtake_loops::failpoint_is_set;

use super::Session;
use super::apply::{self, Checks, Done};
use super::linked;
use super::state::Locked;
use crate::destinations::TenantWrite;

/// The one part of a write that has rows, applied before it is known whether it may be.
pub(super) struct Ahead {
    /// Which of the write's parts.
    part: usize,
    /// None: something was refused, and the rows have to be told apart.
    done: Option<Done>,
    converts: bool,
}

impl Session {
    /// Applies the write's rows if there are few, of one mapping, and this session has written rows
    /// of it before. The caller has sent the opening of the transaction and the lock.
    pub(super) async fn ahead(&self, write: &TenantWrite<'_>) -> Option<Ahead> {
        let has_rows =
            |part: &offtake_reading::Part| !part.changed.is_empty() || part.chunk.is_some();
        let mut with_rows = write.parts.iter().enumerate().filter(|(_, part)| has_rows(part));
        let (at, part) = with_rows.next()?;
        let staging = self.staged.get(&part.mapping.version)?;
        let fits = with_rows.next().is_none()
            && part.chunk.is_none()
            && apply::is_stated(&part.changed)
            && !linked::is_linked(write)
            && write.parts.iter().all(|part| part.failed.is_empty());
        if !fits || !self.frame.locks_at_once() || failpoint_is_set("sync.after_begin") {
            return None;
        }
        let sent = self.send(write, part, (Checks::AtOnce, false), Some(staging)).await;
        Some(Ahead { part: at, done: sent.ok(), converts: self.converts() })
    }

    /// What was applied ahead, if it stands now that the lock has answered. Otherwise it is undone.
    pub(super) async fn stands(
        &self,
        ahead: Option<Ahead>,
        found: &Locked,
        direct: bool,
    ) -> Result<Option<(usize, Done)>, crate::Error> {
        let Some(Ahead { part, done, converts }) = ahead else { return Ok(None) };
        let as_supposed = direct && found.altering.is_empty() && found.converts == converts;
        match done.filter(|_| as_supposed) {
            Some(done) => Ok(Some((part, done))),
            None => self.back().await.map(|()| None),
        }
    }
}
