//! Whether snapshots of the kind `source` would have all rows of a tenant.

use offtake_jobs::snapshots::source::{OwnTable, OwnTables, left_out};
use offtake_mapping::Mapping;
use offtake_postgres::chain;
use tokio_postgres::Client;

use crate::configuration::Configuration;

/// What is to be said of the tables whose rows tenants would get back. It says nothing where the file
/// has neither `snapshots.tables` nor `restore`, because such a file asks for no such snapshot.
/// `source` must not be in a transaction.
pub(crate) async fn warnings(
    configuration: &Configuration,
    source: &Client,
    mappings: &[Mapping],
) -> Vec<String> {
    let added = &configuration.snapshots.tables;
    if added.is_empty() && configuration.restore.source_url.is_none() {
        return Vec::new();
    }
    let read = async {
        let tables = OwnTable::of(mappings, added)?;
        OwnTables::read(source, &tables).await
    };
    match read.await {
        Ok(own) => own
            .left_out()
            .map(|reference| {
                format!(
                    "{}: `offtake snapshot create --kind source` wants it under snapshots.tables",
                    left_out(reference)
                )
            })
            .collect(),
        Err(error) => {
            vec![format!("no snapshot of the kind source can be made: {}", chain(&error))]
        }
    }
}
