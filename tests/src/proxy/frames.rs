//! The messages in a stream of bytes.

/// Splits one direction of a connection into messages. Bytes that it does not understand (TLS) pass
/// unchanged.
#[derive(Debug)]
pub(super) struct Frames {
    buffer: Vec<u8>,
    /// The client's first messages have no type: a length and a code.
    untyped: bool,
    /// How many single-byte answers are still to come: the server answers a request for encryption
    /// with one byte.
    pub(super) bare_answers: u32,
    raw: bool,
}

/// The first byte of a TLS connection; a Postgres message would be 400 MB long.
const TLS_HANDSHAKE: u8 = 0x16;
const WANTS_TLS: u32 = 80_877_103;
const WANTS_GSS: u32 = 80_877_104;

impl Frames {
    pub(super) fn of_client() -> Self {
        Self { buffer: Vec::new(), untyped: true, bare_answers: 0, raw: false }
    }

    pub(super) fn of_server() -> Self {
        Self { untyped: false, ..Self::of_client() }
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// From here on, bytes pass without being split into messages.
    pub(super) fn set_raw(&mut self) {
        self.raw = true;
    }

    /// The next whole message. Sets `wish` if it is an untyped message of the client that asks for
    /// encryption.
    pub(super) fn next(&mut self, wish: &mut bool) -> Option<Vec<u8>> {
        self.raw |= self.untyped && self.buffer.first() == Some(&TLS_HANDSHAKE);
        if self.raw {
            return (!self.buffer.is_empty()).then(|| std::mem::take(&mut self.buffer));
        }
        if self.bare_answers > 0 && !self.buffer.is_empty() {
            self.bare_answers -= 1;
            return Some(self.buffer.drain(..1).collect());
        }
        let number =
            |at: usize| Some(u32::from_be_bytes(self.buffer.get(at..at + 4)?.try_into().ok()?));
        let length = if self.untyped { number(0)? as usize } else { 1 + number(1)? as usize };
        if self.buffer.len() < length.max(5) {
            return None;
        }
        if self.untyped {
            *wish = matches!(number(4), Some(WANTS_TLS | WANTS_GSS));
            self.untyped = *wish;
        }
        Some(self.buffer.drain(..length).collect())
    }
}
