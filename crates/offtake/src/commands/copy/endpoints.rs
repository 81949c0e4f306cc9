//! The two databases. Their URLs are the operator's own, and come without a password in the command
//! line, where every process of the machine would see it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use offtake_mapping::Identifier;
use offtake_postgres::{ConnectionString, Dialer, SourcePool};
use offtake_sync::destinations::{D1Settings, InvalidPlace, Place};

use super::choice::Chosen;
use crate::commands::forget::has_password;
use crate::configuration::substituted;
use crate::context::environment;
use crate::outcome::{Exit, Failure};

/// The limit of Cloudflare's API is not that of a Worker of one's own, which a copy asks for one
/// batch at a time.
const WORKER_REQUESTS_PER_SECOND: u32 = 1000;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) struct Endpoints {
    pub(super) source: ConnectionString,
    pub(super) place: Arc<Place>,
}

impl Endpoints {
    pub(super) fn new(chosen: &Chosen) -> Result<Self, Failure> {
        let source = url("--from", &chosen.from)?;
        let source =
            ConnectionString::source(&source).map_err(|error| invalid("--from", &error))?;
        let Some(to) = &chosen.to else {
            return Err(Failure::new(Exit::Usage, "there is no destination")
                .remedy("add --to '${TARGET_URL}', --to sqlite:///folder/name.db or --to d1://ACCOUNT/DATABASE"));
        };
        let place = place(&url("--to", to)?, chosen)?;
        Ok(Self { source, place: Arc::new(place) })
    }

    pub(super) fn pool(&self, size: usize, statement_timeout: Duration) -> SourcePool {
        let pool = SourcePool::new(self.source.clone(), CONNECT_TIMEOUT, size);
        pool.expect_answers_within(statement_timeout);
        pool
    }

    /// The operator's own databases may be anywhere.
    pub(super) fn dialer(&self) -> Dialer {
        Dialer::trusted(CONNECT_TIMEOUT)
    }
}

/// A URL with its variables replaced.
fn url(option: &str, text: &str) -> Result<String, Failure> {
    if has_password(text) {
        return Err(Failure::new(Exit::Usage, format!("{option} has a password in it"))
            .because("other processes of this machine see the command line")
            .remedy(format!(
                "put the URL into a variable and write {option} '${{VARIABLE}}', in single quotes"
            )));
    }
    substituted(text, Path::new(""), &environment()).map_err(|(message, remedy)| {
        Failure::new(Exit::Usage, format!("{option}: {message}")).remedy(remedy)
    })
}

fn place(url: &str, chosen: &Chosen) -> Result<Place, Failure> {
    let token = |variable: &String| environment().get(variable).cloned();
    let settings = match &chosen.d1_endpoint {
        Some(endpoint) => D1Settings::new(endpoint, WORKER_REQUESTS_PER_SECOND),
        None => Ok(D1Settings::default()),
    };
    let refused = |error: InvalidPlace| {
        Failure::new(Exit::Usage, format!("--to: {}", error.why)).remedy(error.remedy)
    };
    let settings = settings.map_err(refused)?;
    let token = token(&chosen.token_env);
    if let Some(database) = Place::d1(url, None, token.as_deref(), &settings) {
        return database.map_err(|error| match token {
            Some(_) => refused(error),
            None => Failure::new(Exit::Usage, format!("--to: {}", error.why)).remedy(format!(
                "put the token into the environment variable {}, or name another one with \
                 --token-env",
                chosen.token_env
            )),
        });
    }
    // The operator who names the file allows its folder.
    let path = url.strip_prefix("sqlite://").map(Path::new);
    let folder = path.and_then(Path::parent).map(Path::to_path_buf);
    let allowed: Vec<PathBuf> = folder.into_iter().collect();
    match Place::file(url, None, None, &allowed) {
        Some(file) => file.map_err(refused),
        None => {
            let url = ConnectionString::source(url).map_err(|error| invalid("--to", &error))?;
            let schema = Identifier::from_sql(&chosen.schema).map_err(|error| {
                Failure::new(Exit::Usage, "--schema cannot be used").because(error.to_string())
            })?;
            Ok(Place::Postgres { url, schema })
        }
    }
}

fn invalid(option: &str, error: &offtake_postgres::InvalidUrl) -> Failure {
    Failure::new(Exit::Usage, format!("{option}: the URL {}", error.what))
        .because(error.why)
        .remedy(error.remedy)
}
