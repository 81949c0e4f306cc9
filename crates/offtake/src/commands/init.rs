//! `offtake init`: prepares the source. Run again, it does what is missing and nothing else.

use offtake_capture::{Look, Options, Report};
use offtake_mapping::MappingSet;
use offtake_postgres::{Connection, catalog, migrate, migration_sql};
use tokio_postgres::Client;

use super::printing::{say, say_exact};
use crate::checks::capture_gaps::{
    copied_before, let_others_go, note_overlooked, release_unlogged,
};
use crate::checks::rights::require_rights;
use crate::checks::schema_sql::require_fit;
use crate::checks::source_readiness::{Obstacle, newer_migration};
use crate::checks::tenant_agreement::require_agreement;
use crate::checks::tenant_ids::check_tenants;
use crate::checks::undeclared_tables::require_declared;
use crate::command_line::Init;
use crate::context::Context;
use crate::outcome::{Exit, Failure};

pub(super) async fn execute(context: &Context, arguments: &Init) -> Result<Exit, Failure> {
    let mappings = context.mappings()?;
    let mut source = context.connect_source("init").await?;
    let set = catalog::resolve(&source, mappings).await?;
    check_tenants(context, &source, &set).await?;
    if arguments.print_sql {
        print_sql(&source, &set).await?;
        return Ok(Exit::Done);
    }
    // A destinations query that cannot run yet is no reason to stop: the sample has tenants of its
    // own.
    let list = context.spelt_destinations(&source, &set).await.unwrap_or_default();
    let tenants: Vec<String> = list.usable.into_iter().map(|spec| spec.tenant_at_source).collect();
    require_agreement(&source, set.mappings(), &tenants).await?;
    require_declared(&source, set.mappings()).await?;
    require_fit(&source, set.mappings()).await?;
    require_rights(&source, &set).await?;
    refuse_newer(&source).await?;
    let place = context.configuration.source.url.place();
    let applied = migrate(&mut source)
        .await
        .map_err(|error| Failure::of_source(&format!("cannot migrate {place}"), &error))?;
    if applied.is_empty() {
        say("the schema offtake is up to date");
    } else {
        say(format!("applied to the schema offtake: {}", applied.join(", ")));
    }
    say_installed(&install_triggers(&mut source, &set).await?);
    say(format!("{place} is ready for {} mapping(s); next: offtake run", set.mappings().len()));
    Ok(Exit::Done)
}

/// An older version would put its own triggers in the place of a newer one's.
async fn refuse_newer(source: &Client) -> Result<(), Failure> {
    let newer = newer_migration(source).await;
    match newer.map_err(|error| Failure::of_source("cannot read the schema", &error.into()))? {
        Some(name) => Err(Obstacle::Newer(name).failure()),
        None => Ok(()),
    }
}

/// Prints what `init` would run on a source that has nothing yet.
async fn print_sql(source: &Client, set: &MappingSet) -> Result<(), Failure> {
    say_exact("-- What `offtake init` would run on a source that has nothing yet.\n");
    for (name, sql) in migration_sql() {
        say_exact(format!("-- {name}\nbegin;\n{}\ncommit;\n", sql.trim_end()));
    }
    let relations = offtake_capture::Relations::read(source, set).await?;
    say_exact(offtake_capture::install_sql(set, &relations).trim_end());
    Ok(())
}

async fn install_triggers(source: &mut Connection, set: &MappingSet) -> Result<Report, Failure> {
    release_unlogged(source, set).await?;
    let look = Look::take(source, set).await?;
    let options = Options {
        note_gap: copied_before(source, set, &look.drifts()).await?,
        ..Options::default()
    };
    let_others_go(source, set).await?;
    let missed = look.lets_go_by(set);
    note_overlooked(source, &missed).await?;
    let report = look.install(source, &options).await?;
    note_overlooked(source, &missed).await?;
    Ok(report)
}

fn say_installed(report: &Report) {
    for (what, which) in [
        ("triggers put on", &report.installed),
        ("capture function written for", &report.functions),
        ("triggers taken off", &report.removed),
        ("noted as changed while it was not captured", &report.gaps),
    ] {
        if !which.is_empty() {
            say(format!("{what}: {}", which.join(", ")));
        }
    }
    if report.unchanged() {
        say("all triggers are in place");
    }
}
