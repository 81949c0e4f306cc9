//! `offtake init`: prepares the source. Running it again does what is still to do, and nothing
//! else.

use std::path::Path;

use offtake_capture::{Look, Options};
use offtake_mapping::MappingSet;
use offtake_postgres::{catalog, migrate, migration_sql};
use tokio_postgres::Client;

use super::{connect_source, load_configuration, say};
use crate::command_line::Init;
use crate::destinations::check_static;
use crate::mapping_files;
use crate::outcome::{Exit, Failure};
use crate::triggers::{copied_before, let_others_go, note_overlooked};

/// Everything that the role lacks is told before anything is changed.
pub(super) async fn require_rights(source: &Client, set: &MappingSet) -> Result<(), Failure> {
    let missing = offtake_capture::missing_rights(source, set).await?;
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::all(missing.into_iter().map(|right| {
        let remedy = format!("run as {}: {}", right.run_as, right.statements);
        Failure::new(Exit::Failed, right.what).remedy(remedy)
    })))
}

pub(super) async fn execute(file: &Path, arguments: &Init) -> Result<Exit, Failure> {
    let configuration = load_configuration(file)?;
    let (mappings, _) = mapping_files::load(&configuration.mappings)?;
    check_static(&configuration, &mappings)?;
    let mut source = connect_source(&configuration, "init").await?;
    let set = catalog::resolve(&source, mappings).await?;
    if arguments.print_sql {
        say("-- What `offtake init` would run on a source that has nothing yet.\n");
        for (name, sql) in migration_sql() {
            say(format!("-- {name}\nbegin;\n{}\ncommit;\n", sql.trim_end()));
        }
        let relations = offtake_capture::Relations::read(&source, &set).await?;
        say(offtake_capture::install_sql(&set, &relations).trim_end());
        return Ok(Exit::Done);
    }
    require_rights(&source, &set).await?;
    let place = configuration.source.url.place();
    let applied = migrate(&mut source)
        .await
        .map_err(|error| Failure::of_source(&format!("cannot migrate {place}"), &error))?;
    if applied.is_empty() {
        say("the schema offtake is up to date");
    } else {
        say(format!("applied to the schema offtake: {}", applied.join(", ")));
    }
    let look = Look::take(&source, &set).await?;
    let options = Options {
        note_gap: copied_before(&source, &set, &look.drifts()).await?,
        ..Options::default()
    };
    let_others_go(&source, &set).await?;
    let missed = look.lets_go_by(&set);
    note_overlooked(&source, &missed).await?;
    let report = look.install(&mut source, &options).await?;
    note_overlooked(&source, &missed).await?;
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
    say(format!("{place} is ready for {} mapping(s); next: offtake run", set.mappings().len()));
    Ok(Exit::Done)
}
