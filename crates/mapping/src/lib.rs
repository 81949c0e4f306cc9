//! Mapping files: what an operator writes, what the source's catalog adds to it, and the SQL that
//! is composed of both.
//!
//! Pure: it works on the text it is given, and has no IO and no runtime. A [`Mapping`] is one
//! parsed file. The source's catalog turns it into a [`ResolvedMapping`] (types, key, columns). A
//! [`MappingSet`] is all of them, with what the triggers must capture ([`Capture`]) and which
//! changes wake which mapping ([`Waking`]). Statements about the tables and columns of mappings are
//! composed in [`compose`] and nowhere else; names go into them through [`Identifier`], values
//! through [`literal`].
//!
//! [`yaml`] is the reader of every YAML file that people write, `offtake.yaml` included.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod compose;
mod definition;
pub mod equality;
mod foreign_text;
mod identifier;
mod kind;
mod mistake;
mod nearest;
mod parse;
mod query_text;
mod resolved;
pub mod scan;
mod set;
pub mod yaml;

pub use definition::{
    Condition, Dependency, LookupStep, Mapping, OnRowError, Source, Target, Tenant, TenantLookup,
};
pub use equality::{Equality, TypeFacts};
pub use foreign_text::{foreign, foreign_within, is_unprintable, printable_json, shell_word};
pub use identifier::{Identifier, InvalidName, TableName, literal};
pub use kind::Kind;
pub use nearest::{nearest, suggestion};
pub use parse::{Error, parse, table_of_tenants};
pub use resolved::{Column, KeyColumn, KeyOrder, ResolvedMapping, Version};
pub use set::{
    Capture, CapturedColumn, CapturedTenant, LookupPath, LookupWaking, MappingSet, Waking,
};
pub use yaml::{Diagnostic, Position, Step};
