//! The section `stores`.

use std::path::Path;

use offtake_jobs::StoreSpec;
use offtake_jobs::stores::Place;

use super::section::Section;
use crate::arguments::shown;

/// A longer name is no name that people type.
const NAME_CHARS_MAX: usize = 60;

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
        let kind = section.required("kind").and_then(|_| section.choice("kind", &[("disk", ())]));
        let path = section.required("path").map(|path| base.join(path));
        let (Some(()), Some(path)) = (kind, path) else { continue };
        if let Some(other) = stores.iter().find(|other| overlap(&other.place, &path)) {
            let message =
                format!("the store {} has this folder, or one above or below it", other.name);
            section.note("path", &message, "give each store a folder of its own");
        }
        if path.exists() && !path.is_dir() {
            section.note(
                "path",
                "this is not a folder",
                "name a folder, or one that is to be made",
            );
        }
        stores.push(StoreSpec { name, place: Place::Disk(path) });
    }
    stores
}

fn overlap(place: &Place, path: &Path) -> bool {
    let Place::Disk(other) = place;
    path.starts_with(other) || other.starts_with(path)
}
