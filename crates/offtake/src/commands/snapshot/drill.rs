//! `offtake snapshot validate --drill`: a snapshot is loaded into a throwaway server, and what is
//! there is compared with it.

use std::time::Duration;

use offtake_jobs::snapshots::Card;
use offtake_jobs::{PublicId, Store};
use offtake_mapping::Identifier;
use offtake_postgres::{ConnectionString, Dialer};
use offtake_private_server::{Options, PrivateServer};

use super::restore::{Loaded, Target};
use crate::outcome::{Exit, Failure};

/// A server of this machine answers at once.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Loads all rows, and compares each of them by its bytes. The server and its folder are gone
/// afterwards, also where the process is killed: the next one sweeps them.
pub(super) async fn load(
    store: &Store,
    id: &PublicId,
    card: &Card,
    loaded: &Loaded,
) -> Result<(), Failure> {
    let unstarted = |why: String| {
        Failure::new(Exit::Failed, "cannot start a private server for the drill")
            .because(why)
            .remedy("install PostgreSQL's server programs, or name their folder in OFFTAKE_PG_BIN")
    };
    // Rows of a tenant are in it.
    let options = Options::default().with_random_password();
    let server = PrivateServer::start(options).await;
    let server = server.map_err(|error| unstarted(format!("{error:#}")))?;
    let url = ConnectionString::source(&server.url("postgres"));
    let url = url.map_err(|error| unstarted(error.to_string()))?;
    let schema = Identifier::new("public").map_err(|error| unstarted(error.to_string()))?;
    let target = Target::at(loaded, url, schema, "a private server".to_owned())?;
    let dialer = Dialer::trusted(CONNECT_TIMEOUT);
    let done = target.drill((store, id, card), loaded, &dialer).await;
    server.stop().await;
    done
}
