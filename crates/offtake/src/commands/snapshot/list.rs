//! `offtake snapshot list`.

use offtake_jobs::snapshots::Listing;
use offtake_mapping::foreign;
use serde_json::json;

use super::super::printing::{say, say_json, table};
use super::{store, told};
use crate::command_line::List;
use crate::context::Context;
use crate::outcome::{Exit, Failure};

pub(super) async fn execute(context: &Context, arguments: &List) -> Result<Exit, Failure> {
    let store = store::open(context, &arguments.place)?;
    let mut listing = store::listing(&store).await?;
    if let Some(tenant) = &arguments.tenant {
        let tenant = store::spelled(context, tenant, &listing.cards).await;
        listing.cards.retain(|card| card.tenant == tenant);
        listing.incomplete.clear();
    }
    if !arguments.all {
        listing.incomplete.clear();
    }
    match arguments.json {
        true => say_json(as_json(&listing)),
        false => print(&listing, store.name()),
    }
    Ok(Exit::Done)
}

fn as_json(listing: &Listing) -> String {
    let mut items: Vec<_> = listing.cards.iter().map(told::json).collect();
    items.extend(
        listing.incomplete.iter().map(
            |incomplete| json!({ "id": incomplete.id.as_str(), "complete": false, "why": incomplete.why }),
        ),
    );
    serde_json::to_string_pretty(&items).unwrap_or_default()
}

fn print(listing: &Listing, store: &str) {
    if listing.cards.is_empty() && listing.incomplete.is_empty() {
        say(format!("the store {store} has no such snapshot"));
        return;
    }
    let mut rows = vec![
        ["id", "tenant", "kind", "created (UTC)", "size", "rows", "complete"].map(str::to_owned),
    ];
    for card in &listing.cards {
        rows.push([
            card.id.clone(),
            foreign(&card.tenant).into_owned(),
            card.kind.as_str().to_owned(),
            card.created_at.strftime("%Y-%m-%d %H:%M:%S").to_string(),
            told::size(card.size),
            card.rows.to_string(),
            told::left_out(card).map_or("yes".to_owned(), |what| format!("yes, {what}")),
        ]);
    }
    for incomplete in &listing.incomplete {
        let mut row: [String; 7] = std::array::from_fn(|_| String::new());
        row[0] = incomplete.id.to_string();
        row[6] = format!("no: {}", incomplete.why);
        rows.push(row);
    }
    say(table(&rows));
}
