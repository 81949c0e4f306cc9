//! Which store, and which snapshot in it.

use offtake_jobs::archive::{Contents, Kind as SnapshotKind};
use offtake_jobs::snapshots::{self, Card, Listing};
use offtake_jobs::{Kind, PublicId, Store};
use offtake_mapping::{foreign, nearest, shell_word};
use offtake_postgres::catalog;

use super::told::failure;
use crate::arguments::shown;
use crate::command_line::{InStore, OneSnapshot};
use crate::context::Context;
use crate::outcome::{Exit, Failure};

/// So many ids are suggested for one that is not there.
const SUGGESTED: usize = 3;

/// The store that is asked for, that of `snapshots.store`, or the only one of the file.
pub(super) fn open(context: &Context, asked: &InStore) -> Result<Store, Failure> {
    let configuration = &context.configuration;
    let stores = &configuration.stores;
    let names = || stores.iter().map(|store| store.name.as_str());
    let default = configuration.snapshots.default_store(stores);
    let name = asked.store.as_deref().or(default);
    let file = configuration.file.display();
    let found = name.and_then(|name| stores.iter().find(|store| store.name == name));
    if let Some(spec) = found {
        return Ok(Store::open(spec));
    }
    Err(match (name, stores.is_empty()) {
        (_, true) => Failure::invalid(format!("{file} has no store for snapshots"))
            .remedy("add a line like this: stores: { disk: { kind: disk, path: files } }"),
        (Some(name), false) => {
            let known = names().collect::<Vec<_>>().join(", ");
            let remedy = match nearest(name, names()) {
                Some(meant) => format!("did you mean {meant}?"),
                None => format!("the stores of {file} are {known}"),
            };
            let what = format!("there is no store named {}", shown(name));
            Failure::new(Exit::Usage, what).remedy(remedy)
        }
        (None, false) => {
            let known = names().collect::<Vec<_>>().join(", ");
            Failure::new(Exit::Usage, format!("{file} has several stores: {known}"))
                .remedy("name one with --store, or in snapshots.store")
        }
    })
}

/// The snapshot that is asked for, and its store.
pub(super) async fn named(
    context: &Context,
    asked: &OneSnapshot,
) -> Result<(Store, PublicId, Card), Failure> {
    let store = open(context, &asked.place)?;
    let (id, card) = find(&store, &asked.id).await?;
    Ok((store, id, card))
}

/// The snapshot with this id. What is no id reaches no path and no key.
pub(super) async fn find(store: &Store, text: &str) -> Result<(PublicId, Card), Failure> {
    let missing = format!("the store {} has no snapshot {}", store.name(), shown(text));
    if let Some(id) = PublicId::parse(Kind::Snapshot, text) {
        let doing = || format!("cannot look for the snapshot {id}");
        let found = snapshots::find(store, &id).await;
        if let Some(card) = found.map_err(|error| failure(doing(), &error))? {
            return Ok((id, card));
        }
    }
    let listing = listing(store).await?;
    if let Some(incomplete) = listing.incomplete.iter().find(|i| i.id.as_str() == text) {
        let what = format!("{text} is no complete snapshot");
        return Err(Failure::new(Exit::Failed, what)
            .because(incomplete.why)
            .remedy(format!("`offtake snapshot delete {text}` removes what is there")));
    }
    let mut near: Vec<(usize, &str)> =
        listing.cards.iter().map(|card| (apart(&card.id, text), card.id.as_str())).collect();
    near.sort_unstable();
    let near: Vec<String> =
        near.iter().take(SUGGESTED).map(|(_, id)| foreign(id).into_owned()).collect();
    let remedy = match near.is_empty() {
        true => "`offtake snapshot create` makes one".to_owned(),
        false => format!("the nearest are {}", near.join(", ")),
    };
    Err(Failure::new(Exit::Failed, missing).remedy(remedy))
}

pub(super) async fn listing(store: &Store) -> Result<Listing, Failure> {
    let listed = snapshots::list(store).await;
    listed.map_err(|error| failure(format!("cannot list the store {}", store.name()), &error))
}

/// The tenant as snapshots have it, which is how the source prints it. Where none is called as it was
/// typed, the source is asked; where it does not answer, the text is what was meant.
pub(super) async fn spelled(context: &Context, typed: &str, cards: &[Card]) -> String {
    if cards.is_empty() || cards.iter().any(|card| card.tenant == typed) {
        return typed.to_owned();
    }
    let asked = async {
        let source = context.connect_source("snapshot").await.ok()?;
        let set = catalog::resolve(&source, context.mappings().ok()?).await.ok()?;
        Some(super::create::at_source(&source, &set, typed).await)
    };
    asked.await.unwrap_or_else(|| typed.to_owned())
}

/// A snapshot of what mappings return, and not of the source's own tables. `instead`: what does with
/// one of those what was asked for.
pub(super) fn require_rows(card: &Card, instead: &str) -> Result<(), Failure> {
    if card.kind == SnapshotKind::Rows {
        return Ok(());
    }
    let what = format!("{} is of the kind {}", foreign(&card.id), card.kind.as_str());
    Err(Failure::new(Exit::Usage, what)
        .because("it has rows of the source's tables, which are no rows of a copy")
        .remedy(format!("{instead}, or use a snapshot of the kind rows")))
}

/// What shows how the source's tables differ from a snapshot of them.
pub(super) fn dry_run_into_source(card: &Card) -> String {
    let tenant = shell_word(&card.tenant);
    format!(
        "`offtake snapshot restore {} --tenant {tenant} --into source --dry-run` compares it with \
         those tables",
        foreign(&card.id)
    )
}

/// The snapshot of one tenant never goes to another one. `tenant`: as the source prints it.
pub(super) fn require_tenant(contents: &Contents, tenant: &str) -> Result<(), Failure> {
    let of = &contents.tenant;
    if of == tenant {
        return Ok(());
    }
    let (id, of, tenant) = (&contents.id, foreign(of), foreign(tenant));
    Err(Failure::new(Exit::Usage, format!("{id} is of the tenant {of}, and not of {tenant}"))
        .because("rows of one tenant are never restored for another")
        .remedy("see `offtake snapshot list --tenant` for the snapshots of a tenant"))
}

/// How many characters of two ids differ, place by place: ids are of one length.
fn apart(one: &str, other: &str) -> usize {
    let differing = one.chars().zip(other.chars()).filter(|(a, b)| a != b).count();
    differing + one.chars().count().abs_diff(other.chars().count())
}
