//! A bucket of an object store that speaks S3's protocol: Amazon's, R2, and others.
//!
//! **Whole or not at all.** A small object is one PUT. A large one is a multipart upload, whose
//! object appears when the upload is completed. What a killed process leaves of one is aborted by
//! [`Bucket::delete_all`] and [`Bucket::remove_unfinished`].
//!
//! **An object that is not to be replaced** is written with `If-None-Match: *`. A store that does
//! not know this header is asked before whether there is such an object: two writers could then
//! both believe to be the first one.
//!
//! **A lost answer.** Every object carries the id of its write. When an answer was lost and the
//! repeated request is told that the object is there, that id tells whose it is.

mod answer;
mod client;
mod place;
mod reader;
mod signature;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use hyper::header::{CONTENT_LENGTH, HeaderMap};
use jiff::Timestamp;
use tokio::task::JoinSet;

use self::answer::{element, elements};
use self::client::{Client, Failed, Request};
pub use self::place::BucketPlace;
pub(super) use self::reader::Reader;
pub(super) use self::writer::Writer;
use super::{Error, Existing, Key, Object, Trouble};

/// The header that has the id of an object's write.
const WRITE_ID: &str = "x-amz-meta-offtake-write";

/// Objects that are deleted at the same time.
const DELETED_AT_ONCE: usize = 8;

/// A link is valid for at most this long: the protocol's bound.
const LINK_MAX: Duration = Duration::from_secs(7 * 86_400);

/// A bucket; clones share its connections.
#[derive(Clone)]
pub(super) struct Bucket {
    client: Arc<Client>,
}

impl std::fmt::Debug for Bucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.client.place.fmt(f)
    }
}

/// An upload that was begun and not completed.
struct Unfinished {
    key: Key,
    id: String,
    since: Option<Timestamp>,
}

impl Bucket {
    pub(super) fn new(place: BucketPlace) -> Self {
        Self { client: Arc::new(Client::new(place)) }
    }

    /// What messages call an object.
    fn shown(&self, key: &Key) -> String {
        let place = &self.client.place;
        let (bucket, prefix) = (&place.bucket, place.prefix_text());
        format!("s3://{bucket}/{prefix}{key} at {}", place.endpoint.authority())
    }

    fn request<'a>(&self, method: Method, key: &Key, what: &'a str) -> Request<'a> {
        let path = self.client.place.object_path(key);
        Request { method, path, query: &[], headers: Vec::new(), body: Bytes::new(), what }
    }

    pub(super) async fn put(
        &self,
        key: &Key,
        content: Bytes,
        existing: Existing,
    ) -> Result<(), Error> {
        let what = format!("cannot write {}", self.shown(key));
        self.expect_room_for(key, existing, &what).await?;
        let write = fresh_id();
        let mut conditional = existing == Existing::Keep;
        loop {
            let mut request = self.request(Method::PUT, key, &what);
            request.headers.push((WRITE_ID, write.as_str()));
            if conditional {
                request.headers.push(("if-none-match", "*"));
            }
            request.body = content.clone();
            match self.client.ask(&request).await {
                Ok(_) => return Ok(()),
                Err(failed) if conditional && failed.unknown_request() => conditional = false,
                Err(failed) => return self.settled(failed, key, &write).await,
            }
        }
    }

    /// Refuses to write an object that is there already. It spares most of what the condition of the
    /// request would refuse, and is all there is where the store does not know conditions.
    async fn expect_room_for(
        &self,
        key: &Key,
        existing: Existing,
        what: &str,
    ) -> Result<(), Error> {
        if existing == Existing::Keep && self.size(key).await?.is_some() {
            return Err(Error::new(Trouble::Exists, what, "there is such an object already"));
        }
        Ok(())
    }

    /// A write that failed, or was done by a request whose answer was lost: stores refuse the second
    /// one in ways of their own.
    async fn settled(&self, failed: Failed, key: &Key, write: &str) -> Result<(), Error> {
        if failed.repeated
            && let Ok(Some(head)) = self.head(key).await
            && head.get(WRITE_ID).and_then(|id| id.to_str().ok()) == Some(write)
        {
            return Ok(());
        }
        Err(failed.error)
    }

    pub(super) fn writer(&self, key: &Key) -> Writer {
        Writer::new(self.clone(), key.clone())
    }

    pub(super) async fn read(
        &self,
        key: &Key,
        from: u64,
        length: Option<u64>,
    ) -> Result<Reader, Error> {
        Reader::open(self.clone(), key.clone(), from, length).await
    }

    pub(super) async fn get(&self, key: &Key, bytes_max: u64) -> Result<Bytes, Error> {
        let mut reader = self.read(key, 0, None).await?;
        if reader.left() > bytes_max {
            let what = format!("cannot read {}", self.shown(key));
            let why = format!("it has more than {bytes_max} bytes");
            return Err(Error::new(Trouble::Denied, what, why));
        }
        let mut content = Vec::with_capacity(usize::try_from(reader.left()).unwrap_or(0));
        while let Some(piece) = reader.next().await? {
            content.extend_from_slice(&piece);
        }
        Ok(content.into())
    }

    pub(super) async fn size(&self, key: &Key) -> Result<Option<u64>, Error> {
        let Some(head) = self.head(key).await? else { return Ok(None) };
        let length = head.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let what = || format!("cannot look for {}", self.shown(key));
        let unknown = || Error::new(Trouble::Unavailable, what(), "the store tells no length");
        length.map(Some).ok_or_else(unknown)
    }

    /// The headers of an object; None: there is none.
    async fn head(&self, key: &Key) -> Result<Option<HeaderMap>, Error> {
        let what = format!("cannot look for {}", self.shown(key));
        match self.client.ask(&self.request(Method::HEAD, key, &what)).await {
            Ok((headers, _)) => Ok(Some(headers)),
            Err(failed) if failed.error.trouble == Trouble::Missing => Ok(None),
            Err(failed) => Err(failed.error),
        }
    }

    /// What is below a key, or everything below the store's prefix.
    fn prefix_of(&self, below: Option<&Key>) -> String {
        let own = self.client.place.prefix_text();
        below.map_or(own.clone(), |below| format!("{own}{below}/"))
    }

    /// The key of an object that the store lists. What is no key of ours is passed over.
    fn key_of(&self, listed: &str) -> Option<Key> {
        Key::new(listed.strip_prefix(&self.client.place.prefix_text())?)
    }

    pub(super) async fn list(&self, below: Option<&Key>) -> Result<Vec<Object>, Error> {
        let what = format!("cannot list {}", self.client.place.shown());
        let prefix = self.prefix_of(below);
        let (mut found, mut token) = (Vec::new(), None::<String>);
        loop {
            let mut query = vec![("list-type", "2"), ("prefix", prefix.as_str())];
            query.extend(token.as_deref().map(|token| ("continuation-token", token)));
            let xml = self.list_page(&query, &what).await?;
            for object in elements(&xml, "Contents") {
                let key = element(object, "Key").and_then(|key| self.key_of(&key));
                let size = element(object, "Size").and_then(|size| size.parse().ok());
                if let (Some(key), Some(size)) = (key, size) {
                    found.push(Object { key, size });
                }
            }
            let next = element(&xml, "NextContinuationToken").filter(|next| !next.is_empty());
            if next.is_none() || next == token {
                return Ok(found);
            }
            token = next;
        }
    }

    async fn list_page(&self, query: &[(&str, &str)], what: &str) -> Result<String, Failed> {
        let path = self.client.place.bucket_path();
        let (headers, body) = (Vec::new(), Bytes::new());
        let request = Request { method: Method::GET, path, query, headers, body, what };
        self.client.ask(&request).await.map(|(_, xml)| xml)
    }

    /// Buckets have no renaming: the bytes go through this process.
    pub(super) async fn rename(&self, from: &Key, to: &Key) -> Result<(), Error> {
        let mut reader = match self.read(from, 0, None).await {
            Err(error) if error.trouble == Trouble::Missing => return Ok(()),
            reader => reader?,
        };
        let mut writer = self.writer(to);
        while let Some(piece) = reader.next().await? {
            writer.write(piece).await?;
        }
        writer.finish(Existing::Keep).await?;
        self.delete(from).await
    }

    pub(super) async fn delete(&self, key: &Key) -> Result<(), Error> {
        let what = format!("cannot delete {}", self.shown(key));
        match self.client.ask(&self.request(Method::DELETE, key, &what)).await {
            Err(failed) if failed.error.trouble != Trouble::Missing => Err(failed.error),
            _ => Ok(()),
        }
    }

    pub(super) async fn delete_all(&self, below: &Key) -> Result<(), Error> {
        let mut deleting: JoinSet<Result<(), Error>> = JoinSet::new();
        for object in self.list(Some(below)).await? {
            if deleting.len() >= DELETED_AT_ONCE {
                ended(deleting.join_next().await)?;
            }
            let bucket = self.clone();
            deleting.spawn(async move { bucket.delete(&object.key).await });
        }
        while let Some(one) = deleting.join_next().await {
            ended(Some(one))?;
        }
        for upload in self.unfinished(Some(below)).await? {
            self.abort(&upload.key, &upload.id).await?;
        }
        Ok(())
    }

    /// Aborts the uploads below a prefix that were begun longer ago than this, and not completed.
    pub(super) async fn remove_unfinished(&self, below: &Key, age: Duration) -> Result<(), Error> {
        let before = Timestamp::now() - age;
        for upload in self.unfinished(Some(below)).await? {
            if upload.since.is_some_and(|since| since < before) {
                self.abort(&upload.key, &upload.id).await?;
            }
        }
        Ok(())
    }

    /// The uploads that were begun and not completed. None are known of a store that cannot list
    /// them.
    async fn unfinished(&self, below: Option<&Key>) -> Result<Vec<Unfinished>, Error> {
        let what = format!("cannot list the uploads of {}", self.client.place.shown());
        let prefix = self.prefix_of(below);
        let (mut found, mut behind) = (Vec::new(), None::<(String, String)>);
        loop {
            let mut query = vec![("uploads", ""), ("prefix", prefix.as_str())];
            if let Some((key, id)) = &behind {
                query.extend([("key-marker", key.as_str()), ("upload-id-marker", id.as_str())]);
            }
            let xml = match self.list_page(&query, &what).await {
                Err(failed) if failed.unknown_request() => return Ok(found),
                xml => xml?,
            };
            for upload in elements(&xml, "Upload") {
                let key = element(upload, "Key").and_then(|key| self.key_of(&key));
                let (Some(key), Some(id)) = (key, element(upload, "UploadId")) else { continue };
                let since = element(upload, "Initiated").and_then(|since| since.parse().ok());
                found.push(Unfinished { key, id, since });
            }
            let next = element(&xml, "NextKeyMarker").filter(|key| !key.is_empty());
            let next = next.zip(element(&xml, "NextUploadIdMarker"));
            let more = element(&xml, "IsTruncated").as_deref() == Some("true");
            if !more || next.is_none() || next == behind {
                return Ok(found);
            }
            behind = next;
        }
    }

    async fn abort(&self, key: &Key, upload: &str) -> Result<(), Error> {
        let what = format!("cannot end an upload of {}", self.shown(key));
        let query = [("uploadId", upload)];
        let request = Request { query: &query, ..self.request(Method::DELETE, key, &what) };
        match self.client.ask(&request).await {
            Err(failed) if failed.error.trouble != Trouble::Missing => Err(failed.error),
            _ => Ok(()),
        }
    }

    /// A URL with which anybody may read an object for that long. `name` is what a browser calls the
    /// file.
    pub(super) fn link(&self, key: &Key, valid: Duration, name: Option<&Key>) -> String {
        let place = &self.client.place;
        let (path, authority) = (place.object_path(key), place.endpoint.authority());
        let moment = signature::moment(Timestamp::now());
        let named = name.map(|name| format!("attachment; filename=\"{name}\""));
        let others: Vec<(&str, &str)> =
            named.iter().map(|named| ("response-content-disposition", named.as_str())).collect();
        let seconds = valid.min(LINK_MAX).as_secs().max(1);
        let query = signature::presigned(place, &moment, (&path, &authority), seconds, &others);
        format!("{}{path}?{query}", place.endpoint.origin())
    }
}

impl Failed {
    fn unknown_request(&self) -> bool {
        self.refusal.as_ref().is_some_and(answer::Refusal::unknown_request)
    }
}

fn ended(one: Option<Result<Result<(), Error>, tokio::task::JoinError>>) -> Result<(), Error> {
    match one {
        Some(Ok(done)) => done,
        Some(Err(error)) => {
            Err(Error::new(Trouble::Unavailable, "cannot delete objects", error.to_string()))
        }
        None => Ok(()),
    }
}

/// What [`super::Store::try_out`] tells of a store that does not know `If-None-Match`.
const REPLACES: &str = "it replaces an object in spite of `If-None-Match: *`: a daemon that was \
                        frozen at the end of a snapshot may replace the one of its successor";

/// Writes, reads, lists and deletes a small object.
pub(super) async fn try_out(bucket: &Bucket) -> Result<Vec<&'static str>, Error> {
    let name = format!("offtake-check-{}/object", fresh_id());
    let Some(key) = Key::new(name) else { return Ok(Vec::new()) };
    let tried = try_with(bucket, &key).await;
    // What was written goes away, also where something else failed.
    let deleted = bucket.delete(&key).await;
    let told = tried?;
    deleted?;
    Ok(told)
}

async fn try_with(bucket: &Bucket, key: &Key) -> Result<Vec<&'static str>, Error> {
    let content = Bytes::from_static(b"offtake check --connect\n");
    let what = format!("cannot use {}", bucket.client.place.shown());
    let above = Key::new(key.split().0.join("/"));
    bucket.put(key, content.clone(), Existing::Replace).await?;
    let other = |why: &str| Error::new(Trouble::Unavailable, what.as_str(), why);
    if bucket.get(key, 1 << 10).await? != content {
        return Err(other("it does not return what was written"));
    }
    if bucket.list(above.as_ref()).await?.iter().all(|object| object.key != *key) {
        return Err(other("it does not list what was written"));
    }
    bucket.unfinished(None).await?;
    let mut request = bucket.request(Method::PUT, key, &what);
    request.headers.push(("if-none-match", "*"));
    request.body = content;
    match bucket.client.ask(&request).await {
        Ok(_) => Ok(vec![REPLACES]),
        Err(failed) if failed.error.trouble == Trouble::Exists => Ok(Vec::new()),
        Err(failed) if failed.unknown_request() => Ok(vec![REPLACES]),
        Err(failed) => Err(failed.error),
    }
}

fn fresh_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}
