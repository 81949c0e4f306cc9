//! In which order the mappings of a batch are read and written.

use std::sync::Arc;

use offtake_mapping::ResolvedMapping;

use crate::destinations::Reference;

/// Puts the mappings whose tables others refer to before those others, and leaves all else in the
/// order of names. The order depends on the constraints and names alone, so that two workers lock
/// the tables of one database in the same order (H30). In a cycle, the first name goes first.
pub(crate) fn parents_first(mappings: &mut Vec<Arc<ResolvedMapping>>, references: &[Reference]) {
    if references.is_empty() {
        return;
    }
    let mut open = std::mem::take(mappings);
    open.sort_by(|a, b| a.name().cmp(b.name()));
    while !open.is_empty() {
        let waits = |of: &Arc<ResolvedMapping>| {
            references.iter().any(|reference| {
                reference.child == of.name()
                    && reference.parent != reference.child
                    && open.iter().any(|other| other.name() == reference.parent)
            })
        };
        let next = open.iter().position(|mapping| !waits(mapping)).unwrap_or(0);
        mappings.push(open.remove(next));
    }
}
