//! `offtake resync --recreate`: moves damaged SQLite files aside. A daemon makes a new file where
//! none is, and copies everything into it.
//!
//! Only a file is moved that SQLite itself calls damaged, or no database. Nothing is deleted.

use std::collections::BTreeSet;

use offtake_admin::operations::{Named, named_destinations, owe_sync};
use offtake_mapping::{foreign, shell_word};
use offtake_sync::destinations::{DestinationSpec, Place, Trouble};

use super::chosen::chosen;
use crate::command_line::Resync;
use crate::commands::confirm::confirmed;
use crate::commands::printing::say;
use crate::commands::registry_names::unreadable;
use crate::context::Context;
use crate::outcome::{Exit, Failure};

pub(super) async fn execute(context: &Context, arguments: &Resync) -> Result<Exit, Failure> {
    let source = context.connect_source("resync").await?;
    let registered =
        named_destinations(&source, None, None).await.map_err(|error| unreadable(&error))?;
    let list = context.destinations().await?;
    let (mut failures, mut moved) = (Vec::new(), BTreeSet::new());
    for spec in chosen(context, &source, &list.usable, &registered, arguments).await? {
        match move_aside(spec, arguments.yes).await? {
            Ok(true) => moved.extend(served_there(spec, &list.usable, &registered)),
            Ok(false) => {}
            Err(failure) => failures.push(failure),
        }
    }
    let moved: Vec<i64> = moved.into_iter().collect();
    owe_sync(&source, &moved).await.map_err(|error| unreadable(&error))?;
    if failures.is_empty() { Ok(Exit::Done) } else { Err(Failure::all(failures)) }
}

/// Moves the destination's file, if it is damaged. False: the operator did not agree. The outer
/// error ends the command; the inner one only concerns this destination.
async fn move_aside(spec: &DestinationSpec, yes: bool) -> Result<Result<bool, Failure>, Failure> {
    let label = spec.label();
    let refused = |why: &str| {
        let what = format!("{label} is not made anew");
        Failure::new(Exit::SomeDestinationsFailed, what).because(why)
    };
    let Place::Sqlite(file) = &*spec.place else {
        let failure = refused("only a destination that is a SQLite file can be");
        return Ok(Err(failure.remedy("leave --recreate out: a re-copy is made in place")));
    };
    let failed = |trouble: Trouble| refused(&trouble.message);
    let damage = match file.damage().await {
        Ok(Some(damage)) => damage,
        Ok(None) => {
            let failure = refused("SQLite finds no damage in its file, or there is no file");
            let again = format!("offtake resync --tenant {}", shell_word(&spec.tenant_id));
            return Ok(Err(failure.remedy(format!("to copy it again in place, run: {again}"))));
        }
        Err(trouble) => return Ok(Err(failed(trouble))),
    };
    let path = foreign(file.as_str()).to_string();
    let aside = file.name_aside();
    let what = format!("{path} to {}", foreign(&aside));
    let consequence = format!("{path} is damaged ({damage}): this moves {what}");
    if !confirmed(yes, &consequence, &format!("Move {what}?")).await? {
        say(format!("{label}: nothing was changed"));
        return Ok(Ok(false));
    }
    if let Err(trouble) = file.move_to(&aside) {
        return Ok(Err(failed(trouble)));
    }
    say(format!("moved {what}; a daemon makes a new file and copies everything into it"));
    Ok(Ok(true))
}

/// Every registered destination whose rows are in the same file.
fn served_there(
    spec: &DestinationSpec,
    specs: &[DestinationSpec],
    registered: &[Named],
) -> Vec<i64> {
    let there = |of: &&Named| {
        let is = |s: &DestinationSpec| s.tenant_id == of.tenant && s.name == of.name;
        specs.iter().any(|s| is(s) && s.place.overlaps(&spec.place))
    };
    registered.iter().filter(there).map(|of| of.destination_id).collect()
}
