//! Statements built at run time: everything whose tables and columns come from mapping files.
//!
//! There is one module per SQL dialect, and every statement is built in one of them. What this
//! module holds itself is the same in every dialect: which keys a statement is about.
//!
//! A mapping's query is treated as a view. It becomes a sub-select `q`, and the predicates on
//! tenant and key stand outside it. Where a database allows no parameters (Postgres: `COPY (query)
//! TO`), values go through [`crate::literal`].

pub mod checkpoints;
mod plain_index;
pub mod postgres;
pub mod sqlite;

pub use plain_index::PlainIndex;
// The source is always Postgres, so its statements have one dialect.
pub use postgres::{
    Accepted, EventShape, ReadRange, TenantKeys, copied, copy_changed, copy_chunk, copy_chunk_json,
    copy_event_chunk, copy_events, copy_keys, estimate_rows, expand_dependants, find_dependants,
    find_end, list_changed, list_changed_ranges, list_chunk, measure_rows, resolve_tenants,
    sample_dependants, select_events, select_events_of_tenants, select_keys,
    select_keys_of_tenants, select_tenants,
};

/// The keys of a tenant that changed in a range of the change log.
#[derive(Debug, Clone, Copy)]
pub struct Changed<'a> {
    pub tenant_id: &'a str,
    /// Sequence id; exclusive.
    pub after: i64,
    /// Sequence id; inclusive.
    pub up_to: i64,
    /// The range has lists of keys.
    pub lists: bool,
    /// Also the quarantined keys of this destination that are due for another attempt.
    pub retry_quarantined_of: Option<i64>,
}

/// A range of keys, in the mapping's key order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyRange<'a> {
    /// Exclusive; None: from the beginning.
    pub after: Option<&'a [String]>,
    /// Inclusive; None: to the end.
    pub up_to: Option<&'a [String]>,
}

impl<'a> KeyRange<'a> {
    /// All keys.
    pub const ALL: Self = Self { after: None, up_to: None };

    /// The keys behind this one; None: all.
    pub fn behind(after: Option<&'a [String]>) -> Self {
        Self { after, up_to: None }
    }
}
