//! What Offtake finds out about files, source and destinations before it works with them. `init`,
//! `check`, `status` and the daemon ask the same functions, so that they cannot disagree.
//!
//! | about | module |
//! |---|---|
//! | the files alone | [`static_destinations`], [`static_webhooks`], [`target_tables`], [`copy_cycles`]; [`check_files`] asks them |
//! | the files and the source together | [`files`], [`undeclared_tables`], [`tenant_ids`] |
//! | whether statements stay cheap as tables grow | [`statement_plans`], [`index_use`], [`planner`] |
//! | whether rows of a mapping reach the tenant that the query names | [`tenant_agreement`] |
//! | one mapping, everything that `check --connect` tells | [`mapping_report`] |
//! | the source, and what the role in `source.url` may do | [`source_readiness`], [`rights`] |
//! | the triggers, and changes that they missed | [`triggers`], [`capture_gaps`] |
//! | the table that a mapping's `schema_sql` would make | [`schema_sql`] |
//! | the table of a mapping in a destination | [`destination_table`] |
//! | requests that destinations of one D1 token share | [`d1_lanes`] |
//! | tables that snapshots of the source would lack | [`own_tables`] |
//!
//! A check changes nothing. The exception is [`capture_gaps`]: the changes that it finds missing
//! are also noted at the source, so that their rows are copied again.

pub(crate) mod capture_gaps;
mod copy_cycles;
pub(crate) mod d1_lanes;
pub(crate) mod destination_table;
pub(crate) mod files;
mod index_use;
pub(crate) mod mapping_report;
pub(crate) mod own_tables;
mod planner;
pub(crate) mod rights;
pub(crate) mod schema_sql;
pub(crate) mod source_readiness;
mod statement_plans;
mod static_destinations;
mod static_webhooks;
mod target_tables;
pub(crate) mod tenant_agreement;
pub(crate) mod tenant_ids;
pub(crate) mod triggers;
pub(crate) mod undeclared_tables;
mod where_index;

use offtake_mapping::Mapping;

use crate::configuration::Configuration;
use crate::outcome::Failure;

/// Whether configuration file and mapping files fit each other. Asks no database.
pub(crate) fn check_files(
    configuration: &Configuration,
    mappings: &[Mapping],
) -> Result<(), Failure> {
    let mut failures = copy_cycles::find(configuration, mappings);
    failures.extend(static_destinations::find(configuration, mappings));
    failures.extend(static_webhooks::find(configuration, mappings));
    failures.extend(target_tables::find(configuration, mappings));
    if failures.is_empty() { Ok(()) } else { Err(Failure::all(failures)) }
}
