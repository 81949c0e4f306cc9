//! Writing an object that is too large to hold: a multipart upload of parts of one size.

use bytes::{Bytes, BytesMut};
use hyper::Method;
use hyper::header::ETAG;

use super::answer::{Refusal, element};
use super::client::Request;
use super::{Bucket, WRITE_ID, fresh_id};
use crate::stores::{Error, Existing, Key, Trouble};

/// Of each part but the last. R2 wants one size for all, and no store takes less than 5 MiB.
const PART_BYTES: usize = 16 << 20;

/// The protocol's bound.
const PARTS_MAX: usize = 10_000;

/// The end of an upload is asked for so often: a store may answer 200 and then tell an error.
const ENDS_MAX: u32 = 3;

/// An object that is being written. It holds one part.
pub(in crate::stores) struct Writer {
    bucket: Bucket,
    key: Key,
    write: String,
    held: BytesMut,
    upload: Option<Upload>,
}

/// A multipart upload that was begun.
struct Upload {
    id: String,
    /// Of the parts, in their order.
    etags: Vec<String>,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("key", &self.key).finish_non_exhaustive()
    }
}

impl Writer {
    pub(super) fn new(bucket: Bucket, key: Key) -> Self {
        Self { bucket, key, write: fresh_id(), held: BytesMut::new(), upload: None }
    }

    pub(in crate::stores) async fn write(&mut self, content: Bytes) -> Result<(), Error> {
        self.held.extend_from_slice(&content);
        drop(content);
        // The last part may be shorter, so one is sent when more is known to follow.
        while self.held.len() > PART_BYTES {
            let part = self.held.split_to(PART_BYTES).freeze();
            self.send(part).await?;
        }
        Ok(())
    }

    pub(in crate::stores) async fn finish(mut self, existing: Existing) -> Result<(), Error> {
        let rest = self.held.split().freeze();
        if self.upload.is_none() {
            return self.bucket.put(&self.key, rest, existing).await;
        }
        self.send(rest).await?;
        self.complete(existing).await?;
        self.upload = None;
        Ok(())
    }

    fn what(&self) -> String {
        format!("cannot write {}", self.bucket.shown(&self.key))
    }

    async fn send(&mut self, part: Bytes) -> Result<(), Error> {
        if self.upload.is_none() {
            self.upload = Some(self.begin().await?);
        }
        let what = self.what();
        let Some(upload) = &mut self.upload else { return Ok(()) };
        let number = upload.etags.len() + 1;
        if number > PARTS_MAX {
            let why = format!("it has more than {PARTS_MAX} parts of {} MiB", PART_BYTES >> 20);
            return Err(Error::new(Trouble::Full, what, why));
        }
        let number = number.to_string();
        let query = [("partNumber", number.as_str()), ("uploadId", upload.id.as_str())];
        let request = Request {
            query: &query,
            body: part,
            ..self.bucket.request(Method::PUT, &self.key, &what)
        };
        let (headers, _) = self.bucket.client.ask(&request).await?;
        let etag = headers.get(ETAG).and_then(|etag| etag.to_str().ok());
        let Some(etag) = etag.map(str::to_owned) else {
            return Err(Error::new(Trouble::Unavailable, what, "the store gives no ETag"));
        };
        upload.etags.push(etag);
        Ok(())
    }

    async fn begin(&self) -> Result<Upload, Error> {
        let what = self.what();
        let mut request = self.bucket.request(Method::POST, &self.key, &what);
        request.query = &[("uploads", "")];
        request.headers.push((WRITE_ID, self.write.as_str()));
        let (_, xml) = self.bucket.client.ask(&request).await?;
        let id = element(&xml, "UploadId").filter(|id| !id.is_empty());
        let unknown = || Error::new(Trouble::Unavailable, what.as_str(), "it begins no upload");
        Ok(Upload { id: id.ok_or_else(unknown)?, etags: Vec::new() })
    }

    async fn complete(&self, existing: Existing) -> Result<(), Error> {
        let Some(upload) = &self.upload else { return Ok(()) };
        let what = self.what();
        self.bucket.expect_room_for(&self.key, existing, &what).await?;
        let parts = upload.etags.iter().enumerate().map(|(at, etag)| {
            let number = at + 1;
            format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>")
        });
        let body = format!(
            "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{}\
             </CompleteMultipartUpload>",
            parts.collect::<String>()
        );
        let body = Bytes::from(body);
        let query = [("uploadId", upload.id.as_str())];
        let (mut conditional, mut ends) = (existing == Existing::Keep, 0);
        loop {
            let mut request = self.bucket.request(Method::POST, &self.key, &what);
            (request.query, request.body) = (&query, body.clone());
            if conditional {
                request.headers.push(("if-none-match", "*"));
            }
            match self.bucket.client.ask(&request).await {
                Ok((_, xml)) if element(&xml, "Code").is_none() => return Ok(()),
                Ok((_, xml)) => {
                    ends += 1;
                    if ends == ENDS_MAX {
                        let status = hyper::StatusCode::INTERNAL_SERVER_ERROR;
                        let refusal = Refusal::read(status, None, &xml);
                        return Err(refusal.error(&what, &self.bucket.client.place));
                    }
                }
                Err(failed) if conditional && failed.unknown_request() => conditional = false,
                Err(mut failed) => {
                    failed.repeated |= ends > 0;
                    return self.bucket.settled(failed, &self.key, &self.write).await;
                }
            }
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let Some(upload) = self.upload.take() else { return };
        // Outside of a runtime nothing can be sent: the upload is found by its age later.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (bucket, key) = (self.bucket.clone(), self.key.clone());
        runtime.spawn(async move {
            if let Err(error) = bucket.abort(&key, &upload.id).await {
                tracing::warn!(event = "store_failed", "an upload is left behind: {error}");
            }
        });
    }
}
