//! A bound on how long a server may owe an answer and send nothing.
//!
//! The guard counts what the server owes: one ReadyForQuery for the login, for every Query and for
//! every Sync. While the server owes nothing, the session may be idle for ever. While it owes an
//! answer, also in the middle of one or after the first of two, the timeout runs; every byte that
//! arrives restarts it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// The timeout in milliseconds, shared by all sessions of a pool; 0: none.
#[derive(Debug, Clone, Default)]
pub(crate) struct AnswerTimeout(Arc<AtomicU64>);

impl AnswerTimeout {
    /// Also changes the timeout of sessions that exist already.
    pub(crate) fn set(&self, limit: Duration) {
        self.0.store(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// `None`: the server is waited for without end.
    pub(crate) fn get(&self) -> Option<Duration> {
        Some(self.0.load(Ordering::Relaxed)).filter(|limit| *limit > 0).map(Duration::from_millis)
    }
}

/// The answers that one server owes, and the timer that runs meanwhile.
pub(super) struct OwedAnswers {
    timeout: AnswerTimeout,
    count: u32,
    /// When the last byte arrived, or the first question after it was sent. None while nothing is
    /// owed.
    waiting_since: Option<Instant>,
    /// Moved only when it ends too early: most answers arrive long before.
    timer: Option<Pin<Box<Sleep>>>,
    questions: Questions,
}

impl OwedAnswers {
    pub(super) fn within(timeout: AnswerTimeout) -> Self {
        Self {
            timeout,
            count: 0,
            waiting_since: None,
            timer: None,
            questions: Questions::default(),
        }
    }

    /// Counts the questions in what was sent. Starts the timer itself, because the reading half was
    /// polled before, when nothing was owed.
    pub(super) fn sent(&mut self, bytes: &[u8], context: &mut Context<'_>) {
        self.count += self.questions.take(bytes);
        if self.count > 0 && self.waiting_since.is_none() {
            self.waiting_since = Some(Instant::now());
            // Only to register the waker: the timeout cannot be over yet.
            let _ = self.poll_timed_out(context);
        }
    }

    /// Something arrived; `complete` is the number of answers that ended with it.
    pub(super) fn received(&mut self, complete: u32) {
        self.count = self.count.saturating_sub(complete);
        self.waiting_since = (self.count > 0).then(Instant::now);
    }

    /// Ready, with the timeout, when the server has owed an answer and sent nothing for so long.
    pub(super) fn poll_timed_out(&mut self, context: &mut Context<'_>) -> Poll<Duration> {
        let (Some(since), Some(timeout)) = (self.waiting_since, self.timeout.get()) else {
            return Poll::Pending;
        };
        let deadline = since + timeout;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        while timer.as_mut().poll(context).is_ready() {
            if deadline <= Instant::now() {
                return Poll::Ready(timeout);
            }
            timer.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

/// Where in the framing the outgoing bytes are. The first message, of the login, has a length but
/// no kind byte.
#[derive(Default)]
pub(super) struct Questions {
    logged_in: bool,
    header: [u8; 5],
    header_filled: usize,
    body_left: usize,
}

impl Questions {
    /// How many questions begin in these bytes.
    pub(super) fn take(&mut self, mut bytes: &[u8]) -> u32 {
        let mut asked = 0;
        while !bytes.is_empty() {
            if self.body_left > 0 {
                let taken = bytes.len().min(self.body_left);
                self.body_left -= taken;
                bytes = &bytes[taken..];
                continue;
            }
            if !self.logged_in && self.header_filled == 0 {
                self.header_filled = 1;
            }
            let taken = bytes.len().min(self.header.len() - self.header_filled);
            self.header[self.header_filled..self.header_filled + taken]
                .copy_from_slice(&bytes[..taken]);
            self.header_filled += taken;
            bytes = &bytes[taken..];
            if self.header_filled == self.header.len() {
                let [kind, length @ ..] = self.header;
                asked += u32::from(!self.logged_in || matches!(kind, b'Q' | b'S'));
                self.logged_in = true;
                self.header_filled = 0;
                // The length counts itself.
                self.body_left = usize::try_from(u32::from_be_bytes(length).saturating_sub(4))
                    .unwrap_or(usize::MAX);
            }
        }
        asked
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::super::{Guarded, Trust};
    use super::*;

    const LIMIT: Duration = Duration::from_millis(100);
    const LOGIN: &[u8] = b"\0\0\0\x08\0\x03\0\0";
    const QUERY: &[u8] = b"Q\0\0\0\x05\0";
    const SYNC: &[u8] = b"S\0\0\0\x04";
    const READY: &[u8] = b"Z\0\0\0\x05I";

    async fn logged_in() -> (Guarded<DuplexStream>, DuplexStream) {
        let (ours, theirs) = duplex(1024);
        let trust = Trust { passwords: true, volume: true };
        let timeout = AnswerTimeout::default();
        timeout.set(LIMIT);
        let mut session = (Guarded::new(ours, trust).answering_within(Some(timeout)), theirs);
        exchange(&mut session, LOGIN, READY).await;
        session
    }

    async fn exchange(
        (session, server): &mut (Guarded<DuplexStream>, DuplexStream),
        question: &[u8],
        answer: &[u8],
    ) {
        // However the bytes are cut.
        for byte in question.chunks(2) {
            session.write_all(byte).await.unwrap();
        }
        server.write_all(answer).await.unwrap();
        session.read_exact(&mut vec![0; answer.len()]).await.unwrap();
    }

    /// Whether the session is given up when nothing more comes.
    async fn given_up(question: &[u8], answer: &[u8]) -> bool {
        let mut session = logged_in().await;
        exchange(&mut session, question, answer).await;
        let more = tokio::time::timeout(3 * LIMIT, session.0.read_u8()).await;
        more.is_ok_and(|read| read.unwrap_err().to_string().contains("silent for 100 ms"))
    }

    // By a clock that stands still while anybody has something to do.
    #[tokio::test(start_paused = true)]
    async fn only_what_is_owed_is_waited_for() {
        assert!(!given_up(b"", b"").await, "it is idle");
        assert!(!given_up(QUERY, READY).await, "it was answered");
        assert!(given_up(QUERY, b"").await);
        assert!(given_up(SYNC, b"").await);
        assert!(given_up(QUERY, b"D\0\0\0\x09").await, "it stopped in the middle of a row");
        assert!(given_up(QUERY, b"C\0\0\0\x04").await, "it stopped between two messages");
        assert!(given_up(&[QUERY, QUERY].concat(), READY).await, "it answered one of two");
        assert!(!given_up(&[QUERY, QUERY].concat(), &READY.repeat(2)).await);
        assert!(!given_up(b"", b"S\0\0\0\x04").await, "it reported a setting that changed");
        let copy_in = [b"E\0\0\0\x04", SYNC].concat();
        assert!(!given_up(&copy_in, b"G\0\0\0\x04").await, "it waits for our data");
        assert!(given_up(&[b"d\0\0\0\x04", SYNC].concat(), b"").await);
    }

    /// The waker must be there although the reader was polled before the question was sent.
    #[tokio::test(start_paused = true)]
    async fn a_reader_that_already_waits_is_woken() {
        let (session, _server) = logged_in().await;
        let (mut reader, mut writer) = tokio::io::split(session);
        // In one task, as tokio-postgres reads and writes.
        let asks = async {
            tokio::time::sleep(2 * LIMIT).await;
            writer.write_all(QUERY).await.unwrap();
        };
        let both = async { tokio::join!(reader.read_u8(), asks).0 };
        let read = tokio::time::timeout(5 * LIMIT, both).await.expect("it is woken");
        assert!(read.is_err());
    }
}
