//! What a session is given and what it tells, whatever the kind of its destination.

use std::sync::Arc;

use offtake_mapping::{Identifier, ResolvedMapping};

use super::{DestinationSpec, Faults, Reference};
use crate::cursors::{Cursors, Identities};
use crate::ownership::{Served, Visit};

/// What taking up a destination found. Nothing was changed there.
pub(crate) struct TakenUp {
    /// Of the tenant.
    pub(crate) cursors: Cursors,
    /// What the mappings' tables are; a table that is not there has none.
    pub(crate) identities: Identities,
    /// Mappings whose table is not there or lacks columns: no cursor says anything about its rows.
    pub(crate) incomplete: Vec<String>,
    /// Something must be made before a batch can be written: a table, a column, a mark, or the
    /// destination's own state table.
    pub(crate) to_make: bool,
    /// Mappings that cannot be synced here, each with the reason.
    pub(crate) faults: Faults,
    /// Foreign keys between the mappings' tables.
    pub(crate) references: Vec<Reference>,
    /// Other tenants with cursors in the same schema. Empty where tenants may share the schema.
    pub(crate) other_tenants: Vec<String>,
    /// The source that serves the tenant there.
    pub(crate) served: Option<Served>,
}

/// A cursor of another tenant in the same schema.
pub(crate) struct OtherTenant {
    pub(crate) tenant_id: String,
    pub(crate) mapping: String,
    pub(crate) sequence_id: i64,
    /// The table's oid, where it is the table of one of our own mappings.
    pub(crate) oid: Option<String>,
    /// It was moved within the last minutes.
    pub(crate) lately: bool,
}

/// So many cursors of other tenants are read at a time.
pub(crate) const OTHERS_PAGE: usize = 1000;

/// What is to be made and begun at a destination that was taken up.
pub(crate) struct Beginning<'a> {
    pub(crate) spec: &'a DestinationSpec,
    pub(crate) mappings: &'a [Arc<ResolvedMapping>],
    /// The destination must still be so.
    pub(crate) found: &'a TakenUp,
    /// Where the cursors of the copies stand that begin.
    pub(crate) cursors: &'a Cursors,
    /// The source that serves the tenant from now on; None: the destination names it already.
    pub(crate) visit: Option<&'a Visit>,
}

/// What beginning copies did.
pub(crate) struct Begun {
    /// What the mappings' tables are now.
    pub(crate) identities: Identities,
    /// Foreign keys between them, now that they are made.
    pub(crate) references: Vec<Reference>,
    /// The tenant's cursors as they stand there now.
    pub(crate) cursors: Cursors,
    /// Mappings whose table could not be made; their copies did not begin.
    pub(crate) faults: Faults,
}

/// The rows that a statement returned, each value as text.
pub(crate) type Answer = Vec<Vec<Option<String>>>;

/// What the latest comparisons of one copy found.
#[derive(Clone)]
pub(crate) struct AuditResult {
    pub(crate) mapping: String,
    /// When the latest one began that found it equal, by the source's clock.
    pub(crate) verified_at: Option<String>,
    /// Rows that differed in the latest one.
    pub(crate) differences: Option<i64>,
}

/// What there is in a destination under a mapping's name.
pub struct Copied {
    pub standing: Standing,
    /// Name and type of each column of the table.
    pub columns: Vec<(String, String)>,
}

/// Whose the table under a mapping's name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Absent,
    /// It does not have the mapping's mark.
    Foreign,
    Ours,
}

/// A table that Offtake made and that no destination there receives any more.
pub struct OrphanTable {
    pub table: Identifier,
    pub mapping: String,
    /// The planner's idea of its rows.
    pub rows: i64,
    /// Only the table moved; the mapping goes on elsewhere.
    pub mapping_lives: bool,
}

/// A tenant whose destination is forgotten.
#[derive(Debug, Clone, Copy)]
pub struct Leaver<'a> {
    pub destination_id: i64,
    /// As the state table calls it.
    pub tenant_id: &'a str,
    /// As rows have it.
    pub tenant_at_source: &'a str,
}
