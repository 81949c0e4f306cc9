//! Transactions whose opening is not waited for.

use std::ops::Deref;

use futures_util::FutureExt as _;
use tokio_postgres::Error;

use crate::PooledConnection;

/// A transaction on a [`PooledConnection`] that is opened by a statement of the caller's, sent
/// together with the first one that needs it: on an idle system a round trip of its own costs a
/// change a quarter of a millisecond. Rolled back when dropped, without waiting: the rollback is on
/// its way before the session's next user can send anything.
pub struct Begun<'a> {
    session: &'a PooledConnection,
    ended: bool,
}

impl<'a> Begun<'a> {
    /// Sends `opening` (BEGIN and settings) and, right behind it, whatever `first` sends when it is
    /// polled; returns what `first` does. Where the opening fails the transaction is aborted or the
    /// session is gone, so `first` cannot succeed outside it.
    pub async fn open<T>(
        session: &'a mut PooledConnection,
        opening: &str,
        first: impl AsyncFnOnce(&PooledConnection) -> Result<T, Error>,
    ) -> Result<(Self, T), Error> {
        let begun = Self { session, ended: false };
        let (opened, first) =
            tokio::join!(biased; begun.session.batch_execute(opening), first(begun.session));
        opened?;
        Ok((begun, first?))
    }

    pub async fn commit(mut self) -> Result<(), Error> {
        self.session.batch_execute("commit").await?;
        self.ended = true;
        Ok(())
    }
}

impl Deref for Begun<'_> {
    type Target = PooledConnection;

    fn deref(&self) -> &PooledConnection {
        self.session
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        if !self.ended {
            // Polled once, the request is in the session's queue; its answer is dropped by the
            // session.
            let _ = self.session.batch_execute("rollback").now_or_never();
        }
    }
}
