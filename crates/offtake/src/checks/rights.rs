//! Whether the role in `source.url` may do what `init` and `uninstall` do.

use offtake_mapping::MappingSet;
use tokio_postgres::Client;

use crate::outcome::{Exit, Failure};

/// Fails with every right that the role lacks, each with the statement that grants it. Asked before
/// anything is changed.
pub(crate) async fn require_rights(source: &Client, set: &MappingSet) -> Result<(), Failure> {
    let missing = offtake_capture::missing_rights(source, set).await?;
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::all(missing.into_iter().map(|right| {
        let remedy = format!("run as {}: {}", right.run_as, right.statements);
        Failure::new(Exit::Failed, right.what).remedy(remedy)
    })))
}
