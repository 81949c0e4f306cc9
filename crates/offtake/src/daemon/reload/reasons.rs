//! What a failure that concerns many mapping files says of each of them.

use std::path::Path;

use offtake_mapping::MappingSet;
use offtake_sync::destinations::Waiting;

/// What the failure of a whole folder says of one of its files: the line that begins with the
/// file's name, and the remedy behind it; otherwise the first mistake of another file.
pub(super) fn reason_for(file: &Path, error: &str) -> String {
    let begins = file.display().to_string();
    let own = error.lines().position(|line| line.starts_with(&begins));
    let lines: Vec<&str> = error.lines().skip(own.unwrap_or(0)).collect();
    let remedy = lines.iter().find(|line| line.starts_with("  remedy: "));
    let told = [lines.first(), remedy].into_iter().flatten().map(|line| line.trim());
    let told = told.collect::<Vec<_>>().join("; ");
    match own {
        Some(_) => told,
        None => format!("the mapping files are used together or not at all: {told}"),
    }
}

/// The mappings of the set whose files the error names, each with what it says of them.
pub(super) fn named_in(error: &str, set: &MappingSet) -> Waiting {
    let reason = |file: &Path| {
        let begins = format!("{}:", file.display());
        error.lines().any(|line| line.starts_with(&begins)).then(|| reason_for(file, error))
    };
    let mappings = set.mappings().iter();
    mappings.filter_map(|m| Some((m.name().to_owned(), reason(&m.definition.file)?))).collect()
}
