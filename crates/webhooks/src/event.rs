//! What a receiver is told: the state of one key, as JSON text.
//!
//! Key and data are JSON that the source printed. They are put into the body as they are, and never
//! parsed here: a number beyond 2^53 or with forty digits would come out as another one.

use bytes::Bytes;
use ring::digest::{Context, SHA256};

/// A larger event is told without its data.
pub const EVENT_BYTES_MAX: usize = 256 * 1024;

/// A batch is closed before it grows larger.
pub const BATCH_BYTES_MAX: usize = 256 * 1024;

/// What happened to the key, or to all that the receiver knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind<'a> {
    /// The row is there, as it is now.
    Upserted,
    /// No such row is there any more.
    Deleted,
    /// Rows that the receiver knows may be gone, for this reason.
    Resync(&'a str),
    /// Every row was told since the resync: what was not named between the two is gone.
    Backfilled,
}

impl EventKind<'_> {
    /// The end of the event's type, and the value of the metric's label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Upserted => "upserted",
            Self::Deleted => "deleted",
            Self::Resync(_) => "resync",
            Self::Backfilled => "backfilled",
        }
    }
}

/// How much of the row is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Payload {
    #[default]
    Full,
    /// The key only; `data` is null.
    Key,
}

/// One event. Two readings of the same state are the same event and have the same id.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    pub kind: EventKind<'a>,
    /// RFC 3339 in UTC, as the source printed it.
    pub timestamp: &'a str,
    pub tenant: &'a str,
    pub mapping: &'a str,
    /// Of the newest change of the key that was read.
    pub sequence_id: i64,
    /// The highest sequence id that the snapshot saw.
    pub as_of: i64,
    pub epoch: &'a str,
    /// A JSON object; None for resync and backfilled.
    pub key: Option<&'a str>,
    /// The row, a JSON object; None where there is none.
    pub data: Option<&'a str>,
    /// There is a row, and its data are too large to have been read.
    pub too_large: bool,
    /// Told because all rows are.
    pub backfill: bool,
}

/// Whose events they are: part of their ids.
#[derive(Debug, Clone, Copy)]
pub struct Sender {
    pub webhook_id: i64,
    /// Raised by a replay, so that the ids are new.
    pub generation: i64,
}

/// The first part of an event's type: only letters, digits, `_` and full stops may be in one.
pub fn type_name(mapping: &str) -> String {
    mapping.replace('-', "_")
}

impl Event<'_> {
    /// The event's id: a hash of what is told and to whom, so it survives a crash without being
    /// stored. Newer content has another id also where the sequence id is the same, because a
    /// receiver that drops known ids would otherwise drop the newer state.
    pub fn id(&self, sender: Sender) -> String {
        let mut hash = Hash::new();
        hash.part(self.epoch.as_bytes());
        hash.number(sender.webhook_id);
        hash.number(sender.generation);
        hash.part(self.mapping.as_bytes());
        hash.part(self.kind.as_str().as_bytes());
        if let EventKind::Resync(reason) = self.kind {
            hash.part(reason.as_bytes());
        }
        hash.part(self.key.unwrap_or_default().as_bytes());
        hash.number(self.sequence_id);
        hash.part(self.data.unwrap_or_default().as_bytes());
        hash.id()
    }

    /// The body of a request of its own.
    pub fn body(&self, payload: Payload) -> Bytes {
        self.written(None, payload)
    }

    /// The event as an item of a batch, which has its id inside.
    pub fn item(&self, id: &str, payload: Payload) -> Bytes {
        self.written(Some(id), payload)
    }

    fn written(&self, id: Option<&str>, payload: Payload) -> Bytes {
        let data = self.data.filter(|_| payload == Payload::Full);
        let body = self.with_data(id, data, self.too_large);
        match body.len() > EVENT_BYTES_MAX && data.is_some() {
            true => self.with_data(id, None, true).into(),
            false => body.into(),
        }
    }

    fn with_data(&self, id: Option<&str>, data: Option<&str>, too_large: bool) -> String {
        let length = data.map_or(0, str::len) + self.key.map_or(0, str::len);
        let mut json = Object::with_capacity(length + 320);
        if let Some(id) = id {
            json.text("id", id);
        }
        json.text("type", &format!("{}.{}", type_name(self.mapping), self.kind.as_str()));
        json.text("timestamp", self.timestamp);
        json.text("tenant", self.tenant);
        json.text("mapping", self.mapping);
        json.text("sequence_id", &self.sequence_id.to_string());
        json.text("as_of", &self.as_of.to_string());
        json.text("epoch", self.epoch);
        if let EventKind::Resync(reason) = self.kind {
            json.text("reason", reason);
        }
        for (name, is_set) in [("backfill", self.backfill), ("too_large", too_large)] {
            if is_set {
                json.raw(name, "true");
            }
        }
        json.raw("key", self.key.unwrap_or("null"));
        json.raw("data", data.unwrap_or("null"));
        json.end()
    }
}

/// An event of a batch.
#[derive(Debug, Clone, Copy)]
pub struct Item<'a> {
    pub id: &'a str,
    pub timestamp: &'a str,
    /// From [`Event::item`].
    pub body: &'a [u8],
}

/// The id and the body of one request for several events. Its id stands for exactly these events in
/// this order: a retry that is cut differently has another one.
pub fn batch(tenant: &str, items: &[Item<'_>]) -> (String, Bytes) {
    let mut hash = Hash::new();
    hash.part(b"offtake.batch");
    let mut data = Vec::with_capacity(items.iter().map(|item| item.body.len() + 1).sum());
    for (index, item) in items.iter().enumerate() {
        hash.part(item.id.as_bytes());
        data.push(if index == 0 { b'[' } else { b',' });
        data.extend_from_slice(item.body);
    }
    data.extend_from_slice(if items.is_empty() { b"[]" } else { b"]" });
    // All are of one length and in UTC, so the greatest text is the latest time.
    let newest = items.iter().map(|item| item.timestamp).max().unwrap_or_default();
    let mut json = Object::with_capacity(200);
    json.text("type", "offtake.batch");
    json.text("timestamp", newest);
    json.text("tenant", tenant);
    let head = json.open("data");
    let body = [head.as_bytes(), &data, b"}"].concat();
    (hash.id(), body.into())
}

/// The id and the body of an event that says nothing, for `offtake webhook test`.
pub fn test_event(tenant: &str, webhook: &str, timestamp: &str) -> (String, Bytes) {
    let mut hash = Hash::new();
    for part in ["offtake.test", tenant, webhook, timestamp] {
        hash.part(part.as_bytes());
    }
    let mut data = Object::with_capacity(80);
    data.text("webhook", webhook);
    let mut json = Object::with_capacity(200);
    json.text("type", "offtake.test");
    json.text("timestamp", timestamp);
    json.text("tenant", tenant);
    json.raw("data", &data.end());
    (hash.id(), json.end().into())
}

/// Compact JSON, written in order.
struct Object(String);

impl Object {
    fn with_capacity(bytes: usize) -> Self {
        Self(String::with_capacity(bytes))
    }

    fn name(&mut self, name: &str) {
        self.0.push(if self.0.is_empty() { '{' } else { ',' });
        self.0.push('"');
        self.0.push_str(name);
        self.0.push_str("\":");
    }

    fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        self.0.push_str(&serde_json::Value::from(value).to_string());
    }

    /// A value that is JSON already.
    fn raw(&mut self, name: &str, json: &str) {
        self.name(name);
        self.0.push_str(json);
    }

    fn open(mut self, name: &str) -> String {
        self.name(name);
        self.0
    }

    fn end(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

/// A hash over parts, each with its length, so that no two lists of parts are the same bytes.
struct Hash(Context);

impl Hash {
    fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    fn part(&mut self, bytes: &[u8]) {
        self.0.update(&(bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
    }

    fn number(&mut self, number: i64) {
        self.0.update(&number.to_be_bytes());
    }

    /// `evt_` and 26 characters of base32 (Crockford's letters): 130 bits.
    fn id(self) -> String {
        const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
        let digest = self.0.finish();
        let mut id = String::with_capacity(30);
        id.push_str("evt_");
        for at in 0..26 {
            let (byte, bit) = (at * 5 / 8, at * 5 % 8);
            let two = u16::from_be_bytes([digest.as_ref()[byte], digest.as_ref()[byte + 1]]);
            id.push(LETTERS[usize::from(two >> (11 - bit) & 31)].into());
        }
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENDER: Sender = Sender { webhook_id: 7, generation: 0 };

    fn event() -> Event<'static> {
        Event {
            kind: EventKind::Upserted,
            timestamp: "2026-11-28T03:13:00.123456Z",
            tenant: "acme",
            mapping: "user-roles",
            sequence_id: 184_467,
            as_of: 184_502,
            epoch: "5f0c",
            key: Some(r#"{"id":"7b0c"}"#),
            data: Some(r#"{"id":"7b0c","display_name":"Ann"}"#),
            too_large: false,
            backfill: false,
        }
    }

    fn text(body: &Bytes) -> &str {
        std::str::from_utf8(body).unwrap()
    }

    #[test]
    fn a_body_is_compact_and_in_the_documented_order() {
        assert_eq!(
            text(&event().body(Payload::Full)),
            r#"{"type":"user_roles.upserted","timestamp":"2026-11-28T03:13:00.123456Z","tenant":"acme","mapping":"user-roles","sequence_id":"184467","as_of":"184502","epoch":"5f0c","key":{"id":"7b0c"},"data":{"id":"7b0c","display_name":"Ann"}}"#
        );
        let deleted = Event { kind: EventKind::Deleted, data: None, backfill: true, ..event() };
        assert!(
            text(&deleted.body(Payload::Full))
                .ends_with(r#""epoch":"5f0c","backfill":true,"key":{"id":"7b0c"},"data":null}"#)
        );
        let resync =
            Event { kind: EventKind::Resync("truncated"), key: None, data: None, ..event() };
        let body = resync.body(Payload::Full);
        assert!(text(&body).starts_with(r#"{"type":"user_roles.resync","#), "{body:?}");
        assert!(text(&body).ends_with(r#""reason":"truncated","key":null,"data":null}"#));
    }

    #[test]
    fn what_the_source_printed_is_in_the_body_byte_by_byte() {
        let data = "{\"n\":0.1234567890123456789012345678901234567890,\"big\":9007199254740993,\
                    \"e\":1E400,\"b\": {\"a\": 1,  \"a\":2}, \"text\":\"\\u00e9é\\\"\"}";
        let event = Event { data: Some(data), ..event() };
        assert!(text(&event.body(Payload::Full)).ends_with(&format!(",\"data\":{data}}}")));
    }

    #[test]
    fn a_tenant_s_name_stays_a_text() {
        let event = Event { tenant: "a\",\"x\":\"\n\u{1f600}", ..event() };
        let parsed: serde_json::Value = serde_json::from_slice(&event.body(Payload::Full)).unwrap();
        assert_eq!(parsed["tenant"], event.tenant);
        assert_eq!(parsed["x"], serde_json::Value::Null);
    }

    #[test]
    fn an_event_beyond_the_cap_has_its_key_and_says_so() {
        let fits = format!("{{\"t\":\"{}\"}}", "x".repeat(EVENT_BYTES_MAX - 400));
        let large = format!("{{\"t\":\"{}\"}}", "x".repeat(EVENT_BYTES_MAX));
        let fitting = Event { data: Some(&fits), ..event() }.body(Payload::Full);
        assert!(text(&fitting).contains("xxx") && !text(&fitting).contains("too_large"));
        let cut = Event { data: Some(&large), ..event() }.body(Payload::Full);
        assert!(text(&cut).ends_with(r#""too_large":true,"key":{"id":"7b0c"},"data":null}"#));
        let key_only = Event { data: Some(&large), ..event() }.body(Payload::Key);
        assert!(text(&key_only).ends_with(r#""epoch":"5f0c","key":{"id":"7b0c"},"data":null}"#));
    }

    #[test]
    fn an_id_is_of_the_content_and_of_the_sender() {
        let id = event().id(SENDER);
        assert_eq!(id, event().id(SENDER));
        assert_eq!(id, Event { as_of: 9, timestamp: "later", ..event() }.id(SENDER));
        assert_eq!((id.len(), id.contains('.')), (30, false), "{id}");
        let others = [
            Event { data: Some(r#"{"id":"7b0c","display_name":"Ben"}"#), ..event() }.id(SENDER),
            Event { data: None, kind: EventKind::Deleted, ..event() }.id(SENDER),
            Event { key: Some(r#"{"id":"7b0d"}"#), ..event() }.id(SENDER),
            Event { sequence_id: 184_468, ..event() }.id(SENDER),
            Event { mapping: "users", ..event() }.id(SENDER),
            Event { epoch: "5f0d", ..event() }.id(SENDER),
            event().id(Sender { generation: 1, ..SENDER }),
            event().id(Sender { webhook_id: 8, ..SENDER }),
            Event { key: None, data: None, kind: EventKind::Resync("asked"), ..event() }.id(SENDER),
            Event { key: None, data: None, kind: EventKind::Resync("epoch"), ..event() }.id(SENDER),
            Event { key: None, data: None, kind: EventKind::Backfilled, ..event() }.id(SENDER),
        ];
        let mut all: Vec<&String> = others.iter().chain([&id]).collect();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), others.len() + 1);
    }

    /// An id must survive an upgrade: a receiver would take a repeated event for a new one.
    #[test]
    fn an_id_is_the_same_in_every_version() {
        assert_eq!(event().id(SENDER), "evt_jz9830y0zeeag8yjsz9d4zq1zc");
    }

    #[test]
    fn a_batch_has_each_event_with_its_id() {
        let events = [
            event(),
            Event { sequence_id: 2, timestamp: "2026-11-28T03:14:00.000000Z", ..event() },
        ];
        let ids = events.map(|event| event.id(SENDER));
        let bodies =
            [events[0].item(&ids[0], Payload::Full), events[1].item(&ids[1], Payload::Full)];
        let items: Vec<Item<'_>> = (0..2)
            .map(|at| Item { id: &ids[at], timestamp: events[at].timestamp, body: &bodies[at] })
            .collect();
        let (id, body) = batch("acme", &items);
        let parsed: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(parsed["type"], "offtake.batch");
        assert_eq!(parsed["timestamp"], "2026-11-28T03:14:00.000000Z");
        assert_eq!(parsed["data"][0]["id"], ids[0]);
        assert_eq!(parsed["data"][1]["sequence_id"], "2");
        assert!(text(&body).starts_with(r#"{"type":"offtake.batch","timestamp":"#));
        assert_ne!(id, batch("acme", &items[..1]).0);
        let swapped = [items[1], items[0]];
        assert_ne!(id, batch("acme", &swapped).0);
        assert_eq!(text(&batch("acme", &[]).1).split("\"data\":").nth(1), Some("[]}"));
    }
}
