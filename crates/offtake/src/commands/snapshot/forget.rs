//! `offtake snapshot forget` and `offtake snapshot delete`.

use jiff::Timestamp;
use offtake_jobs::snapshots::{self, Card, Incomplete, chosen_by};
use offtake_jobs::{Kind, PublicId, Store};
use offtake_mapping::foreign;

use super::super::confirm::confirmed;
use super::super::printing::say;
use super::{store, told};
use crate::command_line::{Delete, ForgetSnapshots};
use crate::context::Context;
use crate::outcome::{Exit, Failure};

pub(super) async fn execute(
    context: &Context,
    arguments: &ForgetSnapshots,
) -> Result<Exit, Failure> {
    let store = store::open(context, &arguments.place)?;
    let Some(keep) = context.configuration.snapshots.keep else {
        let what = format!("{} does not say what is kept", context.configuration.file.display());
        return Err(Failure::invalid(what)
            .because("without snapshots.keep, all snapshots are")
            .remedy("add a line like this: snapshots: { keep: { last: 7, within: 30d } }"));
    };
    let listing = store::listing(&store).await?;
    let tenant = match &arguments.tenant {
        Some(tenant) => Some(store::spelled(context, tenant, &listing.cards).await),
        None => None,
    };
    let of_tenant = |card: &&Card| tenant.as_ref().is_none_or(|tenant| card.tenant == *tenant);
    let cards: Vec<Card> = listing.cards.iter().filter(of_tenant).cloned().collect();
    let ids = chosen_by(&keep, &cards, Timestamp::now());
    let chosen: Vec<&Card> = cards.iter().filter(|card| ids.contains(&card.id)).collect();
    if chosen.is_empty() {
        say(format!("all {} snapshots are kept", cards.len()));
        return Ok(Exit::Done);
    }
    if arguments.dry_run {
        for card in &chosen {
            say(format!("would delete {}", line(card)));
        }
        return Ok(Exit::Done);
    }
    let bytes: u64 = chosen.iter().map(|card| card.size).sum();
    let what = format!("{} of {} snapshots, {}", chosen.len(), cards.len(), told::size(bytes));
    let question = format!("Delete {what}?");
    if !confirmed(arguments.yes, &format!("this deletes {what}"), &question).await? {
        say("nothing was changed");
        return Ok(Exit::Failed);
    }
    let mut deleted = Vec::new();
    let done = async {
        for card in chosen {
            if let Some(id) = PublicId::parse(Kind::Snapshot, &card.id) {
                remove(&store, &id).await?;
                deleted.push(id.to_string());
                say(format!("deleted {}", line(card)));
            }
        }
        Ok(Exit::Done)
    };
    let done = done.await;
    note(context, &deleted).await;
    done
}

pub(super) async fn delete(context: &Context, arguments: &Delete) -> Result<Exit, Failure> {
    let asked = &arguments.snapshot;
    let store = store::open(context, &asked.place)?;
    let listing = store::listing(&store).await?;
    let is_it = |incomplete: &&Incomplete| incomplete.id.as_str() == asked.id;
    let (id, what) = match listing.incomplete.iter().find(is_it) {
        Some(incomplete) => (incomplete.id.clone(), format!("what is there of {}", incomplete.id)),
        None => {
            let (id, card) = store::find(&store, &asked.id).await?;
            let alike = |other: &&Card| other.tenant == card.tenant && other.kind == card.kind;
            let last = match listing.cards.iter().filter(alike).count() {
                1 => {
                    format!(", the only snapshot of this tenant of the kind {}", card.kind.as_str())
                }
                _ => String::new(),
            };
            (id, format!("{}{last}", line(&card)))
        }
    };
    let question = format!("Delete {what}?");
    if !confirmed(arguments.yes, &format!("this deletes {what}"), &question).await? {
        say("nothing was changed");
        return Ok(Exit::Failed);
    }
    remove(&store, &id).await?;
    note(context, &[id.to_string()]).await;
    say(format!("deleted {id}"));
    Ok(Exit::Done)
}

async fn remove(store: &Store, id: &PublicId) -> Result<(), Failure> {
    let deleted = snapshots::delete(store, id).await;
    deleted.map_err(|error| told::failure(format!("cannot delete {id}"), &error.into()))
}

/// Tells the source what is deleted. A source that does not answer is no reason to keep it.
async fn note(context: &Context, ids: &[String]) {
    if let Ok(source) = context.pool.get().await {
        let _ = snapshots::note_deleted(&source, ids).await;
    }
}

fn line(card: &Card) -> String {
    format!(
        "{} of {}, {}, {} rows",
        foreign(&card.id),
        foreign(&card.tenant),
        card.created_at.strftime("%Y-%m-%d %H:%M:%S UTC"),
        card.rows
    )
}
