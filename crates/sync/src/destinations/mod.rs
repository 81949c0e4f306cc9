//! Who receives rows: the registry of destinations, and the connections to them.

mod links;
mod registry;

use offtake_mapping::Identifier;
use offtake_postgres::ConnectionString;

pub(crate) use links::{Link, Links};
pub use registry::{Known, Registered, Registry};

/// One destination as the configuration or the destinations query names it.
#[derive(Debug, Clone)]
pub struct DestinationSpec {
    pub tenant_id: String,
    /// Unique per tenant.
    pub name: String,
    pub url: ConnectionString,
    pub schema: Identifier,
    /// None: all mappings.
    pub mappings: Option<Vec<String>>,
    /// Several tenants write into this schema; then every mapping keeps the tenant, and so must
    /// they all.
    pub shared: bool,
}

impl DestinationSpec {
    /// `tenant/name`, as commands, fuses and messages name it.
    pub fn label(&self) -> String {
        format!("{}/{}", self.tenant_id, self.name)
    }

    /// Whether the destination gets the rows of the mapping with this name.
    pub fn receives(&self, mapping: &str) -> bool {
        self.mappings.as_ref().is_none_or(|names| names.iter().any(|name| name == mapping))
    }

    /// Whether connections and cursors of the one are good for the other.
    pub(crate) fn same_place(&self, other: &Self) -> bool {
        self.url.fingerprint() == other.url.fingerprint() && self.schema == other.schema
    }
}
