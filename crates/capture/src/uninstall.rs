//! Removing capture without a trace.

use offtake_mapping::MappingSet;
use tokio_postgres::Client;

use crate::attempt::{Step, attempt};
use crate::install::remove_stale;
use crate::survey::Survey;
use crate::{Error, Options, script};

/// What was removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removal {
    /// Relations whose triggers were dropped.
    pub relations: Vec<String>,
    /// Whether there was a schema `offtake`; it was dropped with everything in it.
    pub schema: bool,
    /// The functions' role, if it was kept: another database of the cluster still uses it, or this
    /// user may not drop it.
    pub role_kept: Option<String>,
}

/// Removes triggers, functions, the schema `offtake` and the role. Safe to run again, and on a
/// source where Offtake was never installed.
pub async fn uninstall(client: &mut Client, options: &Options) -> Result<Removal, Error> {
    let mut removal = Removal::default();
    // With an empty set of mappings, no trigger is needed and all count as stale.
    let survey = Survey::take(client, &MappingSet::default()).await?;
    remove_stale(client, survey.stale_triggers, options, &mut removal.relations).await?;
    removal.schema =
        client.query_one("select to_regnamespace('offtake') is not null", &[]).await?.get(0);
    let action = "drop the schema offtake".to_owned();
    attempt(
        client,
        options,
        Step { action, relation: 0, script: "drop schema if exists offtake cascade", notes: None },
    )
    .await?;
    for role in [&survey.role, script::SHARED_ROLE] {
        let action = format!("drop the role {role}");
        let script = script::drop_role(role);
        attempt(client, options, Step { action, relation: 0, script: &script, notes: None })
            .await?;
    }
    let kept = client.query_one("select to_regrole($1) is not null", &[&survey.role]).await?;
    removal.role_kept = kept.get::<_, bool>(0).then_some(survey.role);
    Ok(removal)
}
