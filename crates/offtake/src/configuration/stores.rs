//! The section `stores`.

use std::path::Path;

use offtake_jobs::StoreSpec;
use offtake_jobs::stores::{BucketPlace, Endpoint, Key, Place};

use super::section::Section;
use crate::arguments::shown;

/// A longer name is no name that people type.
const NAME_CHARS_MAX: usize = 60;

/// The keys of each kind, beside `kind`.
const OF_DISK: [&str; 1] = ["path"];
const OF_S3: [&str; 7] =
    ["bucket", "prefix", "endpoint", "region", "access_key_id", "secret_access_key", "ca_file"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Disk,
    S3,
}

/// The stores of the file, in the order of the file.
pub(super) fn read(root: &Section, base: &Path) -> Vec<StoreSpec> {
    let mut stores: Vec<StoreSpec> = Vec::new();
    for (name, section) in root.named_sections("stores") {
        let of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        if name.is_empty() || name.len() > NAME_CHARS_MAX || !name.chars().all(of_name) {
            let message = format!("`{}` cannot be a store's name", shown(&name));
            let remedy = format!(
                "name it with at most {NAME_CHARS_MAX} letters, digits, `_` and `-`, such as disk"
            );
            root.note("stores", &message, &remedy);
            continue;
        }
        let kinds = [("disk", Kind::Disk), ("s3", Kind::S3)];
        let kind = section.required("kind").and_then(|_| section.choice("kind", &kinds));
        let place = match kind {
            Some(Kind::Disk) => disk(&section, base),
            Some(Kind::S3) => bucket(&section, base).map(Place::S3),
            None => continue,
        };
        let Some(place) = place else { continue };
        if let Some(other) = stores.iter().find(|other| overlap(&other.place, &place)) {
            let (key, what) = match place {
                Place::Disk(_) => ("path", "folder"),
                Place::S3(_) => ("prefix", "place"),
            };
            let message =
                format!("the store {} has this {what}, or one above or below it", other.name);
            section.note(key, &message, &format!("give each store a {what} of its own"));
        }
        stores.push(StoreSpec { name, place });
    }
    stores
}

/// Notes the keys that only stores of another kind have.
fn refuse_others(section: &Section, others: &[&str], remedy: &str) {
    for key in others.iter().filter(|key| section.has(key)) {
        section.note(key, "a store of this kind has no such setting", remedy);
    }
}

fn disk(section: &Section, base: &Path) -> Option<Place> {
    refuse_others(section, &OF_S3, "leave it out, or write `kind: s3`");
    let path = section.required("path").map(|path| base.join(path))?;
    if path.exists() && !path.is_dir() {
        section.note("path", "this is not a folder", "name a folder, or one that is to be made");
    }
    Some(Place::Disk(path))
}

fn bucket(section: &Section, base: &Path) -> Option<BucketPlace> {
    refuse_others(section, &OF_DISK, "leave it out, or write `kind: disk`");
    let bucket = section.required("bucket");
    let region = section.required("region");
    let (id, secret) = (section.required("access_key_id"), section.required("secret_access_key"));
    if bucket.as_deref().is_some_and(|bucket| !BucketPlace::is_bucket(bucket)) {
        let remedy = "write its name alone: 3 to 63 small letters, digits, `-` and `.`";
        section.note("bucket", "this cannot be a bucket's name", remedy);
    }
    let of_region = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if region.as_deref().is_some_and(|region| !region.chars().all(of_region)) {
        let remedy = "write it as the store calls it, such as eu-central-1, or auto for R2";
        section.note("region", "this cannot be a region", remedy);
    }
    for (key, value) in [("access_key_id", &id), ("secret_access_key", &secret)] {
        if value.as_deref().is_some_and(|value| !value.bytes().all(|b| b.is_ascii_graphic())) {
            let message = "it has a character that no access key has, such as a space";
            section.note(key, message, "copy it again");
        }
    }
    let prefix = section.text("prefix").map(|text| Key::new(text.trim_end_matches('/')));
    if prefix == Some(None) {
        let remedy = "write words of letters, digits, `_`, `-` and `.` with slashes between them";
        section.note("prefix", "this cannot be what keys begin with", remedy);
    }
    let endpoint = match section.text("endpoint") {
        None => region.as_deref().and_then(BucketPlace::amazon),
        Some(text) => Endpoint::parse(&text)
            .map_err(|why| {
                let remedy = "write it like https://ACCOUNT.r2.cloudflarestorage.com, or leave it \
                              out for Amazon's";
                section.note("endpoint", &format!("the endpoint {why}"), remedy);
            })
            .ok(),
    };
    Some(BucketPlace {
        endpoint: endpoint?,
        bucket: bucket?,
        prefix: prefix.flatten(),
        region: region?,
        access_key_id: id?,
        secret_access_key: secret?,
        ca_file: section.text("ca_file").map(|path| base.join(path)),
    })
}

fn overlap(one: &Place, other: &Place) -> bool {
    match (one, other) {
        (Place::Disk(one), Place::Disk(other)) => one.starts_with(other) || other.starts_with(one),
        (Place::S3(one), Place::S3(other)) => one.overlaps(other),
        _ => false,
    }
}
