//! A guard on what a server sends us, between the socket and tokio-postgres.
//!
//! tokio-postgres answers any login request it knows, and buffers any message until it is complete.
//! Towards a stranger's server both are too much: a request for the password in clear text or as
//! MD5 would hand out something that can be used again, and a message may claim two gigabytes. The
//! guard follows the framing of the protocol (a kind byte, four bytes of length, the body) and ends
//! the connection at the first message that goes too far, when an answer has no end ([`budget`]),
//! or when the server owes an answer for too long ([`answer_timeout`]).

mod answer_timeout;
mod budget;
mod scram;

use std::collections::HashSet;
use std::future::{Ready, ready};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};

pub(crate) use self::answer_timeout::AnswerTimeout;
use self::answer_timeout::OwedAnswers;
use self::budget::Budget;

/// Rows: Postgres itself allows no larger value, but a copy of Offtake's rows has no reason to come
/// near it.
const ROW_BYTES_MAX: u32 = 256 << 20;

/// Errors quote the value they refuse.
const ERROR_BYTES_MAX: u32 = 16 << 20;

/// Everything else is bookkeeping. Descriptions of 1600 columns with long names stay well below.
const OTHER_BYTES_MAX: u32 = 1 << 20;

/// All that is sent until the server is ready for the first statement; tokio-postgres keeps the
/// notices among it.
const LOGIN_BYTES_MAX: u64 = 1 << 20;

/// Settings a server may report: tokio-postgres keeps every name it is told. Postgres reports
/// fifteen.
const PARAMETERS_MAX: usize = 200;

/// How much of a body is looked at: the authentication code, the challenge of SCRAM, or the name of
/// a setting.
const PREFIX_BYTES: usize = 1024;

/// No setting of Postgres has so long a name.
const SETTING_BYTES_MAX: usize = 64;

/// How far a server is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trust {
    /// The server is the one that was meant, and no third party can listen: it may have the
    /// password itself.
    pub(crate) passwords: bool,
    /// The server is the operator's own: no bound on what it sends.
    pub(crate) volume: bool,
}

/// Why the guard ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Violation {
    #[error("the server asks for the password {0}")]
    Password(&'static str),
    #[error("the server sent a message larger than anything Offtake asks for")]
    Message,
    #[error("the server sent more than a login needs")]
    Login,
    #[error("the server reported more settings than Postgres has to report")]
    Parameters,
    #[error("the server sent more than {0} to one question")]
    Answer(&'static str),
    #[error("the server sent what it was not asked for")]
    Unasked,
    #[error("the server asks for more rounds of SCRAM than any password needs")]
    Rounds,
    #[error("the server owes an answer and has been silent for {} ms", .0.as_millis())]
    AnswerTimeout(Duration),
}

/// A stream whose incoming bytes are watched.
pub(crate) struct Guarded<S> {
    stream: S,
    frames: Frames,
    owed: Option<Box<OwedAnswers>>,
    /// Why the connection was cut. The error of its user only says "connection closed".
    cut: Arc<OnceLock<Violation>>,
}

impl<S> Guarded<S> {
    pub(crate) fn new(stream: S, trust: Trust) -> Self {
        Self { stream, frames: Frames::new(trust), owed: None, cut: Arc::default() }
    }

    /// Writes down the number of the server process, as the login tells it.
    pub(crate) fn noting(mut self, process: Arc<AtomicI32>) -> Self {
        self.frames.process = Some(process);
        self
    }

    /// Writes down why the guard ended the connection.
    pub(crate) fn telling(mut self, cut: Arc<OnceLock<Violation>>) -> Self {
        self.cut = cut;
        self
    }

    /// The connection ends when the server owes an answer and sends nothing for so long. `None`: it
    /// is waited for without end.
    pub(crate) fn answering_within(self, timeout: Option<AnswerTimeout>) -> Self {
        Self { owed: timeout.map(|timeout| Box::new(OwedAnswers::within(timeout))), ..self }
    }
}

/// Where in the framing the incoming bytes are.
struct Frames {
    trust: Trust,
    /// Kind and length of the message under way, as far as they have come.
    header: [u8; 5],
    header_filled: usize,
    body_left: u32,
    prefix: Vec<u8>,
    ready_once: bool,
    login_bytes: u64,
    parameters: HashSet<u64>,
    process: Option<Arc<AtomicI32>>,
    /// Answers that are complete and were not yet reported to [`OwedAnswers`].
    answered: u32,
    /// What a stranger's server has sent and was asked.
    budget: Budget,
}

impl Frames {
    fn new(trust: Trust) -> Self {
        Self {
            trust,
            header: [0; 5],
            header_filled: 0,
            body_left: 0,
            prefix: Vec::with_capacity(PREFIX_BYTES),
            ready_once: false,
            login_bytes: 0,
            parameters: HashSet::new(),
            process: None,
            answered: 0,
            budget: Budget::default(),
        }
    }

    /// Takes the next bytes, wherever the network cut them.
    fn take(&mut self, mut bytes: &[u8]) -> Result<(), Violation> {
        if !self.ready_once && !self.trust.volume {
            self.login_bytes += bytes.len() as u64;
            if self.login_bytes > LOGIN_BYTES_MAX {
                return Err(Violation::Login);
            }
        }
        while !bytes.is_empty() {
            if self.header_filled < self.header.len() {
                let taken = bytes.len().min(self.header.len() - self.header_filled);
                self.header[self.header_filled..self.header_filled + taken]
                    .copy_from_slice(&bytes[..taken]);
                self.header_filled += taken;
                bytes = &bytes[taken..];
                if self.header_filled == self.header.len() {
                    self.begin_body()?;
                }
            } else {
                let taken = bytes.len().min(usize::try_from(self.body_left).unwrap_or(usize::MAX));
                let wanted = taken.min(PREFIX_BYTES - self.prefix.len());
                self.prefix.extend_from_slice(&bytes[..wanted]);
                self.body_left -= u32::try_from(taken).unwrap_or(self.body_left);
                bytes = &bytes[taken..];
                if self.body_left == 0 {
                    self.end_body()?;
                }
            }
        }
        Ok(())
    }

    fn begin_body(&mut self) -> Result<(), Violation> {
        let [kind, length @ ..] = self.header;
        // The length counts itself. A smaller one is nonsense that tokio-postgres refuses.
        let body = u32::from_be_bytes(length).saturating_sub(4);
        let most = match kind {
            b'D' | b'd' => ROW_BYTES_MAX,
            b'E' => ERROR_BYTES_MAX,
            _ => OTHER_BYTES_MAX,
        };
        if !self.trust.volume {
            if body > most {
                return Err(Violation::Message);
            }
            self.budget.spend(kind, body)?;
        }
        self.prefix.clear();
        self.body_left = body;
        if body == 0 { self.end_body() } else { Ok(()) }
    }

    fn end_body(&mut self) -> Result<(), Violation> {
        self.header_filled = 0;
        match self.header[0] {
            b'R' if !self.trust.passwords => match self.prefix.get(..4) {
                Some([0, 0, 0, 3]) => Err(Violation::Password("in clear text")),
                Some([0, 0, 0, 5]) => Err(Violation::Password("as MD5")),
                Some([0, 0, 0, 11]) => scram::examine(&self.prefix[4..], true),
                _ => Ok(()),
            },
            b'R' if !self.trust.volume && self.prefix.starts_with(&[0, 0, 0, 11]) => {
                scram::examine(&self.prefix[4..], false)
            }
            b'S' if !self.trust.volume => {
                let name = self.prefix.split(|byte| *byte == 0).next().unwrap_or_default();
                let mut hasher = DefaultHasher::new();
                name.hash(&mut hasher);
                // A name that does not end within the prefix may be one of endless many: no setting
                // of Postgres is so long.
                let counted = self.parameters.insert(hasher.finish())
                    && self.parameters.len() > PARAMETERS_MAX;
                if counted || name.len() >= SETTING_BYTES_MAX {
                    Err(Violation::Parameters)
                } else {
                    Ok(())
                }
            }
            // What a request to cancel must name.
            b'K' => {
                if let (Some(process), Some(number)) = (&self.process, self.prefix.first_chunk()) {
                    process.store(i32::from_be_bytes(*number), Ordering::Relaxed);
                }
                Ok(())
            }
            b'Z' => {
                self.ready_once = true;
                self.answered += 1;
                self.budget.answered();
                Ok(())
            }
            // A server that takes COPY data ignores the Sync that tokio-postgres sent right behind
            // the statement.
            b'G' => {
                self.answered += 1;
                self.budget.answered();
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        // Read before looking at the timer: if this process was paused, the timer may have ended
        // although the answer has long been there.
        match Pin::new(&mut self.stream).poll_read(context, buffer) {
            Poll::Ready(read) => read?,
            Poll::Pending => {
                let Some(owed) = &mut self.owed else { return Poll::Pending };
                return owed.poll_timed_out(context).map(|timeout| {
                    let silence = Violation::AnswerTimeout(timeout);
                    let _ = self.cut.set(silence);
                    Err(io::Error::other(silence))
                });
            }
        }
        let taken = self.frames.take(&buffer.filled()[before..]);
        let answered = std::mem::take(&mut self.frames.answered);
        if let Some(owed) = &mut self.owed {
            owed.received(answered);
        }
        Poll::Ready(taken.map_err(|violation| {
            let _ = self.cut.set(violation);
            io::Error::other(violation)
        }))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        if let Poll::Ready(Ok(count)) = &written {
            if let Some(owed) = &mut self.owed {
                owed.sent(&bytes[..*count], context);
            }
            if !self.frames.trust.volume {
                self.frames.budget.sent(&bytes[..*count]);
            }
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl<S: TlsStream + Unpin> TlsStream for Guarded<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.stream.channel_binding()
    }
}

/// Tells tokio-postgres that the TLS handshake is done: ours, because only so its errors keep their
/// kinds and the guard sits inside.
pub(crate) struct Established;

impl<S: TlsStream + Unpin> TlsConnect<Guarded<S>> for Established {
    type Stream = Guarded<S>;
    type Error = io::Error;
    type Future = Ready<io::Result<Guarded<S>>>;

    fn connect(self, stream: Guarded<S>) -> Self::Future {
        ready(Ok(stream))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRANGER: Trust = Trust { passwords: false, volume: false };

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let mut message = vec![kind];
        message.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
        message.extend_from_slice(body);
        message
    }

    /// However the network cuts the bytes, the verdict is the same.
    fn verdict(trust: Trust, bytes: &[u8]) -> Result<(), Violation> {
        let whole = Frames::new(trust).take(bytes);
        let mut frames = Frames::new(trust);
        let cut = bytes.chunks(3).try_for_each(|chunk| frames.take(chunk));
        assert_eq!(whole, cut);
        whole
    }

    #[test]
    fn a_reusable_password_is_never_given_to_a_stranger() {
        let clear = message(b'R', &[0, 0, 0, 3]);
        let md5 = message(b'R', &[0, 0, 0, 5, 1, 2, 3, 4]);
        let notice_first = [message(b'N', b"SNOTICE\0\0"), clear.clone()].concat();
        assert_eq!(verdict(STRANGER, &clear), Err(Violation::Password("in clear text")));
        assert_eq!(verdict(STRANGER, &md5), Err(Violation::Password("as MD5")));
        assert_eq!(verdict(STRANGER, &notice_first), Err(Violation::Password("in clear text")));
        assert_eq!(verdict(STRANGER, &message(b'R', b"\0\0\0\nSCRAM-SHA-256\0\0")), Ok(()));
        assert_eq!(verdict(Trust { passwords: true, volume: false }, &clear), Ok(()));
    }

    #[test]
    fn a_stranger_cannot_make_us_hold_what_we_did_not_ask_for() {
        let ready = message(b'Z', b"I");
        assert_eq!(verdict(STRANGER, &[b'N', 0x7f, 0xff, 0xff, 0xff]), Err(Violation::Message));
        assert_eq!(
            verdict(STRANGER, &[ready.clone(), vec![b'D', 0x7f, 0xff, 0xff, 0xff]].concat()),
            Err(Violation::Message)
        );
        let notices = message(b'N', &[b'x'; 1000]).repeat(1100);
        assert_eq!(verdict(STRANGER, &notices), Err(Violation::Login));
        assert_eq!(verdict(STRANGER, &[ready.clone(), Vec::new()].concat()), Ok(()));
        let mut frames = Frames::new(STRANGER);
        assert_eq!(frames.take(&ready), Ok(()));
        assert_eq!(
            frames.take(&notices),
            Ok(()),
            "after the login, notices are dropped as they come"
        );
        let flood = notices.repeat(100);
        assert_eq!(frames.take(&flood), Err(Violation::Answer("64 MiB")), "but not without end");
    }

    #[test]
    fn endless_settings_end_the_connection_but_changing_ones_do_not() {
        let setting = |name: &str| message(b'S', format!("{name}\0on\0").as_bytes());
        let endless: Vec<u8> =
            (0..=PARAMETERS_MAX).flat_map(|n| setting(&format!("setting_{n}"))).collect();
        assert_eq!(verdict(STRANGER, &endless), Err(Violation::Parameters));
        assert_eq!(verdict(STRANGER, &setting(&"x".repeat(100))), Err(Violation::Parameters));
        assert_eq!(verdict(STRANGER, &setting("TimeZone").repeat(1000)), Ok(()));
    }
}
