//! Who receives rows: the registry of destinations, the sessions with them, and one folder for each
//! kind of database.
//!
//! A kind is a variant of [`Place`] and of [`Session`], and a folder. What it does is a few coarse
//! operations, each of which it makes atomic in whatever way it has: see [`Session`]. Nothing
//! outside its folder composes a statement for a destination or reads one of its error codes.

mod certificates;
mod d1;
mod elsewhere;
mod links;
mod place;
mod postgres;
mod refusal;
mod registry;
mod remembered;
mod session;
mod sqlite;
mod strain;
mod told;
mod trouble;
mod write;

pub use certificates::CERTIFICATE_EXPIRES_SOON;
pub use d1::{
    D1Database, D1Settings, ENDPOINT as D1_ENDPOINT, REQUESTS_PER_SECOND as D1_REQUESTS_PER_SECOND,
    Spent,
};
pub(crate) use d1::{ROW_BYTES_MAX as D1_ROW_BYTES_MAX, Session as D1Session};
pub(crate) use links::{IDLE_MAX, KNOWN_MAX, KnownState, Link, Links};
pub use place::{Place, Places};
pub use postgres::{
    Differences, DifferentRow, RestoreError, RestoreInto, RestoredTo, Restoring, StagedLines, Told,
};
pub(crate) use postgres::{GroupBeginning, GroupTakenUp, GroupWritten};
pub use postgres::{Health, Misfit, RemainingTable, Remains, STATE_TABLE, Tried, try_schema_sql};
pub use refusal::contradiction;
pub use registry::{Known, Named, Registered, Registry, Waiting};
pub use session::{Reader, Session};
pub(crate) use sqlite::{Cells, Session as SqliteSession};
pub use sqlite::{DatabaseFile, InvalidPlace, all_closed};
pub(crate) use told::{Answer, AuditResult, Beginning, Begun, OTHERS_PAGE, OtherTenant, TakenUp};
pub use told::{Copied, Leaver, OrphanTable, Standing};
pub use trouble::Trouble;
pub(crate) use write::{
    Applied, Aside, Faults, Reference, TenantWrite, Written, left_out, row_key,
};

use std::sync::Arc;

use offtake_mapping::{MappingSet, ResolvedMapping, foreign};

/// Of the name that a state table tells; ours is shorter.
const SOURCE_CHARACTERS_MAX: usize = 200;

/// A text of the tenant's, as it may stand in a message.
fn one_line(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(SOURCE_CHARACTERS_MAX).collect()
}

/// One destination as the configuration or the destinations query names it.
#[derive(Debug, Clone)]
pub struct DestinationSpec {
    /// As it is configured: what people, the registry and `_offtake_state` call the tenant.
    pub tenant_id: String,
    /// As the source prints it: how the change log names the tenant. Another spelling of the same
    /// value, or the same text.
    pub tenant_at_source: String,
    /// Unique per tenant.
    pub name: String,
    /// Destinations of one place may have one copy of it between them.
    pub place: Arc<Place>,
    /// None: all mappings.
    pub mappings: Option<Vec<String>>,
    /// Several tenants write into this schema, and all of their destinations say so. Their tables
    /// have the tenant of each row.
    pub shared: bool,
}

impl DestinationSpec {
    /// `tenant/name` for messages, fit for a terminal: no key, because long names are cut.
    pub fn label(&self) -> String {
        format!("{}/{}", foreign(&self.tenant_id), foreign(&self.name))
    }

    /// Tenant and name, which no other destination has.
    pub(crate) fn key(&self) -> (&str, &str) {
        (&self.tenant_id, &self.name)
    }

    /// Whether it says the same of the same destination.
    pub(crate) fn same_as(&self, other: &Self) -> bool {
        let same_place =
            || Arc::ptr_eq(&self.place, &other.place) || self.place.same_as(&other.place);
        self.tenant_id == other.tenant_id
            && self.tenant_at_source == other.tenant_at_source
            && self.name == other.name
            && self.mappings == other.mappings
            && self.shared == other.shared
            && same_place()
    }

    /// The mappings of the set that the destination gets, in the form in which it gets them.
    pub fn received<'a>(
        &'a self,
        set: &'a MappingSet,
    ) -> impl Iterator<Item = &'a Arc<ResolvedMapping>> {
        set.forms_of(self.place.kind(), self.shared)
            .iter()
            .filter(|mapping| self.receives(mapping.name()))
    }

    /// Whether the destination gets the rows of the mapping with this name.
    pub fn receives(&self, mapping: &str) -> bool {
        self.mappings.as_ref().is_none_or(|names| names.iter().any(|name| name == mapping))
    }
}
