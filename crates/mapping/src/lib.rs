//! Mapping files: what an operator writes, what the catalogs add to it, and the SQL that follows.
//!
//! Pure: no IO beyond the text it is given, no runtime. A [`Mapping`] is one parsed file. The
//! source's catalog turns it into a [`ResolvedMapping`] (types, key, columns); [`MappingSet`] is
//! all of them, with what the triggers must capture ([`Capture`]) and which changes wake which
//! mapping ([`Waking`]). Statements that are built at run time are built in [`compose`] and nowhere
//! else, through [`Identifier`] and [`literal`].

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod compose;
mod definition;
mod diagnostic;
mod identifier;
mod locate;
mod mistake;
mod nearest;
mod parse;
mod query_text;
mod resolved;
pub mod scan;
mod set;

pub use definition::{
    Condition, Dependency, Mapping, OnRowError, Source, Target, Tenant, TenantLookup,
};
pub use diagnostic::Diagnostic;
pub use identifier::{Identifier, InvalidName, TableName, literal};
pub use locate::{Place, Step, duplicate_key, place_of, place_of_key, place_of_value};
pub use nearest::{nearest, suggestion};
pub use parse::{Error, parse};
pub use resolved::{Column, KeyColumn, KeyOrder, ResolvedMapping, Version};
pub use set::{Capture, CapturedColumn, CapturedTenant, MappingSet, Waking};
