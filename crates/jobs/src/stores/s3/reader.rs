//! Reading an object: piece by piece, and from the same place on where the connection was lost.

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, ETAG, HeaderMap};
use hyper::{Method, StatusCode};
use tokio::time::timeout;

use super::Bucket;
use super::client::{Failed, PIECE_WITHIN, Sender};
use crate::stores::{Error, Key, Trouble};

/// An answer that breaks off so often, without a byte between, ends the read.
const BREAKS_MAX: u32 = 5;

/// The bytes of an object, piece by piece.
pub(in crate::stores) struct Reader {
    bucket: Bucket,
    key: Key,
    at: u64,
    left: u64,
    /// What is read further must be of the same object.
    etag: Option<String>,
    open: Option<(Incoming, Sender)>,
    breaks: u32,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("key", &self.key).finish_non_exhaustive()
    }
}

impl Reader {
    pub(super) async fn open(
        bucket: Bucket,
        key: Key,
        from: u64,
        length: Option<u64>,
    ) -> Result<Self, Error> {
        let mut reader = Self { bucket, key, at: from, left: 0, etag: None, open: None, breaks: 0 };
        if length == Some(0) {
            return Ok(reader);
        }
        let range = match (from, length) {
            (0, None) => None,
            (from, None) => Some(format!("bytes={from}-")),
            (from, Some(length)) => {
                Some(format!("bytes={from}-{}", from.saturating_add(length) - 1))
            }
        };
        match reader.ask(range.as_deref()).await {
            // There is nothing at that place.
            Err(failed) if is(&failed, StatusCode::RANGE_NOT_SATISFIABLE) => Ok(reader),
            Err(failed) => Err(failed.error),
            Ok(headers) => {
                let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
                let left = text(CONTENT_LENGTH).and_then(|length| length.parse().ok());
                let what = || format!("cannot read {}", reader.bucket.shown(&reader.key));
                let Some(left) = left else {
                    let why = "the store tells no length";
                    return Err(Error::new(Trouble::Unavailable, what(), why));
                };
                let etag = text(ETAG).map(str::to_owned);
                (reader.left, reader.etag) = (left, etag);
                Ok(reader)
            }
        }
    }

    /// Asks for the bytes of a range, or for all.
    async fn ask(&mut self, range: Option<&str>) -> Result<HeaderMap, Failed> {
        let what = format!("cannot read {}", self.bucket.shown(&self.key));
        let mut request = self.bucket.request(Method::GET, &self.key, &what);
        request.headers.extend(range.map(|range| ("range", range)));
        request.headers.extend(self.etag.as_deref().map(|etag| ("if-match", etag)));
        let answer = self.bucket.client.call(&request).await?;
        let (status, headers, repeated) = (answer.status, answer.headers.clone(), answer.repeated);
        self.open = Some(answer.into_body());
        if range.is_some() && status != StatusCode::PARTIAL_CONTENT {
            let why = "the store does not know ranges of bytes";
            let error = Error::new(Trouble::Unavailable, what, why);
            return Err(Failed { error, repeated, refusal: None });
        }
        Ok(headers)
    }

    pub(in crate::stores) fn left(&self) -> u64 {
        self.left
    }

    pub(in crate::stores) async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        while self.left > 0 {
            if self.open.is_none() {
                self.reopen().await?;
            }
            match self.piece().await {
                Some(piece) if !piece.is_empty() => {
                    let piece = piece
                        .slice(..piece.len().min(usize::try_from(self.left).unwrap_or(usize::MAX)));
                    let bytes = piece.len() as u64;
                    (self.at, self.left, self.breaks) = (self.at + bytes, self.left - bytes, 0);
                    if self.left == 0 {
                        self.keep().await;
                    }
                    return Ok(Some(piece));
                }
                Some(_) => {}
                None => self.open = None,
            }
        }
        Ok(None)
    }

    /// The next bytes of the open answer; None: it broke off.
    async fn piece(&mut self) -> Option<Bytes> {
        let (body, _) = self.open.as_mut()?;
        let frame = timeout(PIECE_WITHIN, body.frame()).await.ok()??.ok()?;
        Some(frame.into_data().unwrap_or_default())
    }

    async fn reopen(&mut self) -> Result<(), Error> {
        self.breaks += 1;
        if self.breaks > BREAKS_MAX {
            let what = format!("cannot read {}", self.bucket.shown(&self.key));
            let why = "store unreachable (its answers break off)";
            return Err(Error::new(Trouble::Unreachable, what, why));
        }
        let range = format!("bytes={}-{}", self.at, self.at + self.left - 1);
        match self.ask(Some(&range)).await {
            Ok(_) => Ok(()),
            Err(failed)
                if is(&failed, StatusCode::PRECONDITION_FAILED)
                    || is(&failed, StatusCode::RANGE_NOT_SATISFIABLE) =>
            {
                let what = format!("cannot read {}", self.bucket.shown(&self.key));
                Err(Error::new(Trouble::Unavailable, what, "it was replaced while it was read"))
            }
            Err(failed) => Err(failed.error),
        }
    }

    /// The connection can be used again once the end of the answer was seen.
    async fn keep(&mut self) {
        let Some((mut body, sender)) = self.open.take() else { return };
        if let Ok(None) = timeout(PIECE_WITHIN, body.frame()).await {
            self.bucket.client.keep(sender);
        }
    }
}

fn is(failed: &Failed, status: StatusCode) -> bool {
    failed.refusal.as_ref().is_some_and(|refusal| refusal.status == status)
}
