//! What `check --connect` finds out about object stores: a small object is written, read, listed and
//! deleted again.

use std::time::Duration;

use tokio::task::JoinSet;

use crate::commands::store_trouble;
use crate::context::Context;
use crate::outcome::{Exit, Failure};

/// A store that takes longer is told as one that does not answer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(60);

/// What one store answered.
pub(super) struct StoreAnswer {
    pub(super) name: String,
    pub(super) warnings: Vec<String>,
    /// Why it cannot be used.
    pub(super) failure: Option<Failure>,
}

/// Tries all object stores. Folders are not tried: the daemon may be another user on another
/// machine.
pub(super) async fn try_all(context: &Context) -> Vec<StoreAnswer> {
    let mut asked = JoinSet::new();
    for store in context.stores().into_iter().filter(|store| !store.is_folder()) {
        asked.spawn(async move {
            let name = store.name().to_owned();
            let what = format!("the store {name} cannot be used");
            let tried = tokio::time::timeout(ANSWERS_WITHIN, store.try_out()).await;
            let (warnings, failure) = match tried {
                Ok(Ok(warnings)) => (warnings, None),
                Ok(Err(error)) => (Vec::new(), Some(store_trouble::failure(&what, &error))),
                Err(_) => {
                    let why = format!("no answer within {} s", ANSWERS_WITHIN.as_secs());
                    (Vec::new(), Some(Failure::new(Exit::Unreachable, what).because(why)))
                }
            };
            let warnings = warnings.iter().map(|what| format!("the store {name}: {what}"));
            StoreAnswer { warnings: warnings.collect(), name, failure }
        });
    }
    let mut answers = asked.join_all().await;
    answers.sort_by(|a, b| a.name.cmp(&b.name));
    answers
}
