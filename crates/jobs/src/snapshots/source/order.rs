//! In which order tables are written.

use offtake_mapping::Tenant;

use super::tables::OwnTables;

/// Places of all tables, parents before children. Where tables refer to each other in a circle, the
/// foreign keys that can be deferred are left aside. `adding`: the tables that get rows. The error
/// has the tables of a circle without such a key of which several get rows.
pub(super) fn parents_first(own: &OwnTables, adding: &[bool]) -> Result<Vec<usize>, Vec<usize>> {
    let mut edges: Vec<(usize, usize, bool)> = own
        .references
        .iter()
        .filter_map(|reference| Some((reference.parent?, reference.child?, reference.deferrable)))
        .collect();
    // A row's tenant is looked up when it is written, so what it is looked up in comes before.
    for (child, table) in own.tables.iter().enumerate() {
        let Tenant::Lookup(lookup) = &table.tenant else { continue };
        for step in &lookup.steps {
            if let Some(parent) = own.tables.iter().position(|table| table.name == step.table) {
                edges.push((parent, child, true));
            }
        }
    }
    edges.retain(|(parent, child, _)| parent != child);
    let mut left: Vec<usize> = (0..own.tables.len()).collect();
    let mut order = Vec::new();
    while !left.is_empty() {
        let waits = |at: &usize, soft: bool| {
            edges.iter().any(|(parent, child, deferrable)| {
                child == at && left.contains(parent) && (soft || !deferrable)
            })
        };
        let next = left
            .iter()
            .position(|at| !waits(at, true))
            .or_else(|| left.iter().position(|at| !waits(at, false)));
        match next {
            Some(next) => order.push(left.remove(next)),
            None => {
                let circle: Vec<usize> = left.iter().copied().filter(|at| adding[*at]).collect();
                if circle.len() > 1 {
                    return Err(circle);
                }
                order.push(left.remove(0));
            }
        }
    }
    Ok(order)
}
