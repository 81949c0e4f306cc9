//! What a receiver remembers: the newest state of each row, and what must not happen.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Request;

/// One key that the receiver was told of.
#[derive(Debug, Clone)]
pub struct Row {
    pub mapping: String,
    pub key: Value,
    pub epoch: String,
    pub as_of: i64,
    /// None: it is not there.
    pub data: Option<Value>,
    /// Whether a resync has said that it may be gone, and nothing was told of it since.
    pub doubtful: bool,
}

#[derive(Default)]
pub(super) struct Books {
    seen: BTreeSet<String>,
    rows: BTreeMap<(String, String), Row>,
    /// Content of each id.
    contents: BTreeMap<String, String>,
    /// Epoch and `as_of` of the latest request about a key, taken or not.
    latest: BTreeMap<(String, String), (String, i64)>,
    pub(super) complaints: Vec<String>,
}

impl Books {
    /// Looks at a request, whatever becomes of it.
    pub(super) fn look(&mut self, request: &Request) {
        if let Some(why) = &request.refused {
            self.complaints.push(format!("{} does not verify: {why}", request.id()));
            return;
        }
        for (id, event) in request.events() {
            if event["type"] == "offtake.test" {
                continue;
            }
            let content = format!("{} {} {}", event["type"], event["key"], event["data"]);
            let known = self.contents.entry(id.clone()).or_insert_with(|| content.clone());
            if *known != content {
                self.complaints.push(format!("{id} was {known} and is now {content}"));
            }
            if event["key"].is_null() {
                continue;
            }
            let (epoch, as_of) = moment(&event);
            let name = name(&event);
            if let Some((_, former)) = self.latest.get(&name).filter(|(known, _)| *known == epoch)
                && *former > as_of
            {
                self.complaints.push(format!("{name:?} fell from {former} to {as_of} ({id})"));
            }
            self.latest.insert(name, (epoch, as_of));
        }
    }

    /// Takes a request, as its receiver commits it.
    pub(super) fn take(&mut self, request: &Request) {
        for (id, event) in request.events() {
            // Tests, and ends of exports, tell of no row.
            let of_row = !event["type"].as_str().is_some_and(|kind| kind.starts_with("offtake."));
            if of_row && self.seen.insert(id) {
                self.tell(&event);
            }
        }
    }

    fn tell(&mut self, event: &Value) {
        let kind = event["type"].as_str().unwrap_or_default();
        let mapping = event["mapping"].as_str().expect("an event names its mapping").to_owned();
        let of_mapping = self.rows.values_mut().filter(|row| row.mapping == mapping);
        match kind.rsplit('.').next().unwrap_or_default() {
            "resync" => of_mapping.for_each(|row| row.doubtful = true),
            "backfilled" => {
                of_mapping.filter(|row| row.doubtful).for_each(|row| row.data = None);
            }
            "upserted" | "deleted" => {
                let (epoch, as_of) = moment(event);
                let name = name(event);
                let late = self
                    .rows
                    .get(&name)
                    .is_some_and(|known| known.epoch == epoch && known.as_of > as_of);
                if !late {
                    let data = Some(event["data"].clone()).filter(|data| !data.is_null());
                    let key = event["key"].clone();
                    let row = Row { mapping, key, epoch, as_of, data, doubtful: false };
                    self.rows.insert(name, row);
                }
            }
            _ => self.complaints.push(format!("an unknown type: {kind}")),
        }
    }

    pub(super) fn rows(&self, mapping: &str) -> Vec<Value> {
        let of_mapping = self.rows.values().filter(|row| row.mapping == mapping);
        of_mapping.filter_map(|row| row.data.clone()).collect()
    }

    pub(super) fn known(&self) -> Vec<Row> {
        self.rows.values().cloned().collect()
    }
}

fn name(event: &Value) -> (String, String) {
    (event["mapping"].as_str().unwrap_or_default().to_owned(), event["key"].to_string())
}

fn moment(event: &Value) -> (String, i64) {
    let as_of = event["as_of"].as_str().and_then(|text| text.parse().ok());
    let epoch = event["epoch"].as_str().unwrap_or_default().to_owned();
    (epoch, as_of.expect("as_of is a whole number, as text"))
}
