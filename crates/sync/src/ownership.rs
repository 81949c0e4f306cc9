//! Whose copy a destination is.
//!
//! A copy of the source (a dump that is restored elsewhere, a base backup, a snapshot of the disk)
//! brings the customers' addresses along. A daemon that is started on it would overwrite their
//! copies. So every destination names the source that serves it, in its own state table, and a
//! source serves only what names this source, or none.
//!
//! A source is known by its server, database and timeline. A copy of the disk has the same; it is
//! told apart by *visits*. Each time a worker writes its source's name it first draws a number and
//! a random id, which stay at the source. What a destination tells must be known there, or be older
//! than what is remembered.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use offtake_postgres::PooledConnection;
use offtake_requests::Lease;
use rand::Rng;
use serde::{Deserialize, Serialize};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::destinations::{DestinationSpec, Leaver, Remains};
use crate::{Error, sql};

/// How long a source must have been silent before its successor (a promoted standby, a restore to a
/// point in time) takes over by itself. A source that lives visits every destination at least every
/// ten minutes.
pub(crate) const SILENT_AFTER: Duration = Duration::from_secs(15 * 60);

/// The same for a D1 database, which is visited once an hour.
pub(crate) const SILENT_AFTER_RARE_VISITS: Duration = Duration::from_secs(75 * 60);

/// How often a worker visits a destination that it writes to all the time. A copy of the disk that
/// is older than that cannot pass for this source.
pub(crate) const VISIT_AFTER: Duration = Duration::from_secs(5 * 60);

/// No source gets this far. A tenant may write a number into its state table that leaves none to go
/// beyond.
const VISIT_MAX: i64 = 1 << 53;

/// The source that serves a destination, as its state table tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SourceIdentity {
    installation: String,
    /// Its system identifier.
    server: String,
    /// Of its write-ahead log, as in the names of its files.
    timeline: String,
    /// The oid; the name may be another one tomorrow.
    database: String,
    /// Of the destination in that source's registry.
    destination_id: i64,
    visit: i64,
    visit_id: String,
    /// The process that visited.
    daemon: String,
}

impl SourceIdentity {
    /// Reads what a destination has. None: it is nothing that a source wrote.
    pub(crate) fn parse(json: &str) -> Option<Self> {
        let identity: Self = serde_json::from_str(json).ok()?;
        (0..VISIT_MAX).contains(&identity.visit).then_some(identity)
    }
}

/// What a destination tells of the source that serves it.
#[derive(Debug, Clone)]
pub(crate) struct Served {
    pub(crate) identity: SourceIdentity,
    /// As people know it.
    pub(crate) source: String,
    pub(crate) since: String,
    pub(crate) last: String,
    pub(crate) silent: Duration,
    /// How long it must have been silent before a successor takes over.
    pub(crate) silent_max: Duration,
}

/// A visit that the source has noted, and that the destination is to be told of.
pub(crate) struct Visit {
    pub(crate) identity: SourceIdentity,
    pub(crate) source: String,
}

/// May this source serve a destination?
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Right {
    Ours,
    /// It may, but what the cursors say is of another history: every copy begins again.
    BeginningAgain,
    Strangers,
    /// A successor of the source that served it; it takes over once that one has been silent for
    /// long enough.
    NotYet,
}

/// This source, at the moment of a take-up.
pub(crate) struct Here {
    installation: String,
    server: String,
    timeline: String,
    database: String,
    name: String,
    newest: Option<i64>,
    oldest: Option<i64>,
    visit_id: Option<String>,
    /// An operator said so.
    pub(crate) adopt: bool,
    /// The worker that asks still has its claim.
    pub(crate) ours: bool,
}

impl Here {
    pub(crate) async fn read(
        source: &PooledConnection,
        destination_id: i64,
        served: Option<&Served>,
        lease: Option<&Lease>,
    ) -> Result<Self, Error> {
        let visited = served.map(|s| s.identity.destination_id);
        let number = served.map(|s| s.identity.visit);
        let (request, attempt) = (lease.map(|l| l.request_id), lease.map(|l| l.attempt));
        let row = source
            .query_one(
                sql::READ_IDENTITY,
                &[&visited, &number, &destination_id, &request, &attempt],
            )
            .await
            .map_err(Error::source)?;
        Ok(Self::of(&row))
    }

    fn of(row: &Row) -> Self {
        Self {
            installation: row.get("installation"),
            server: row.get("server"),
            timeline: row.get("timeline"),
            database: row.get("database"),
            name: row.get("name"),
            newest: row.get("newest"),
            oldest: row.get("oldest"),
            visit_id: row.get("visit_id"),
            adopt: row.get("adopt"),
            ours: row.get("ours"),
        }
    }

    /// [`read`](Self::read) for many destinations, each with what it tells of its visitor.
    pub(crate) async fn read_all(
        source: &PooledConnection,
        asked: &[(i64, Lease, Option<&Served>)],
    ) -> Result<Vec<Self>, Error> {
        let destinations: Vec<i64> = asked.iter().map(|(id, ..)| *id).collect();
        let of = |value: fn(&SourceIdentity) -> i64| -> Vec<Option<i64>> {
            asked.iter().map(|(_, _, served)| served.map(|s| value(&s.identity))).collect()
        };
        let (visited, numbers) = (of(|of| of.destination_id), of(|of| of.visit));
        let requests: Vec<i64> = asked.iter().map(|(_, lease, _)| lease.request_id).collect();
        let attempts: Vec<i64> = asked.iter().map(|(_, lease, _)| lease.attempt).collect();
        let parameters: [&(dyn ToSql + Sync); 5] =
            [&destinations, &visited, &numbers, &requests, &attempts];
        let rows = source.query(sql::READ_IDENTITIES, &parameters).await.map_err(Error::source)?;
        Ok(rows.iter().map(Self::of).collect())
    }

    /// [`begin_visit`](Self::begin_visit) for many destinations. One that is missing from the answer
    /// was visited by another worker at this moment.
    pub(crate) async fn begin_visits(
        &self,
        source: &PooledConnection,
        asked: &[(i64, Option<&Served>)],
        daemon: &str,
    ) -> Result<HashMap<i64, Visit>, Error> {
        let destinations: Vec<i64> = asked.iter().map(|(id, _)| *id).collect();
        let beyond: Vec<i64> =
            asked.iter().map(|(_, served)| served.map_or(0, |of| of.identity.visit)).collect();
        let rows = source.query(sql::BEGIN_VISITS, &[&destinations, &beyond]).await;
        let visit = |row: &Row| {
            let destination_id = row.get("destination_id");
            (destination_id, self.visit(destination_id, row, daemon))
        };
        Ok(rows.map_err(Error::source)?.iter().map(visit).collect())
    }

    fn visit(&self, destination_id: i64, row: &Row, daemon: &str) -> Visit {
        let identity = SourceIdentity {
            installation: self.installation.clone(),
            server: self.server.clone(),
            timeline: self.timeline.clone(),
            database: self.database.clone(),
            destination_id,
            visit: row.get("number"),
            visit_id: row.get("visit_id"),
            daemon: daemon.to_owned(),
        };
        Visit { identity, source: self.source() }
    }

    /// As people know it. Without a host: a tenant reads this in its own database.
    pub(crate) fn source(&self) -> String {
        let installation = self.installation.split('-').next().unwrap_or_default();
        format!(
            "{} on server {}, timeline {}, installation {installation}",
            self.name,
            self.server,
            self.timeline.trim_start_matches('0')
        )
    }

    pub(crate) fn right(&self, served: Option<&Served>, daemon: &str) -> Right {
        let Some(Served { identity: other, silent, silent_max, .. }) = served else {
            return Right::Ours;
        };
        let strangers = if self.adopt { Right::BeginningAgain } else { Right::Strangers };
        let same_database = (&self.server, &self.database) == (&other.server, &other.database);
        if !same_database || self.timeline < other.timeline {
            return strangers;
        }
        if self.timeline > other.timeline {
            if self.installation != other.installation {
                return strangers;
            }
            // The process that wrote the name asks again: no other took its place.
            let alone = other.daemon == daemon || silent >= silent_max;
            return if alone || self.adopt { Right::Ours } else { Right::NotYet };
        }
        // Offtake was removed from this database and installed again.
        if self.installation != other.installation || self.knows(other) {
            return Right::Ours;
        }
        // The source was set back under the daemon that served it.
        if other.daemon == daemon { Right::BeginningAgain } else { strangers }
    }

    /// The destination has the name that this source has now.
    pub(crate) fn named_by(&self, served: Option<&Served>) -> bool {
        served.is_some_and(|Served { identity: other, .. }| {
            (&self.installation, &self.server, &self.timeline, &self.database)
                == (&other.installation, &other.server, &other.timeline, &other.database)
        })
    }

    fn knows(&self, other: &SourceIdentity) -> bool {
        match (&self.visit_id, self.oldest, self.newest) {
            (Some(visit_id), _, _) => *visit_id == other.visit_id,
            // An older backup of the destination.
            (None, Some(oldest), Some(newest)) => other.visit < oldest && other.visit < newest,
            (None, _, _) => false,
        }
    }

    /// Why a destination is not served, with both names.
    pub(crate) fn refusal(&self, right: &Right, served: &Served, spec: &DestinationSpec) -> String {
        let by_itself = match right {
            Right::NotYet => format!(
                "it does so by itself once the other has been silent for {} minutes, or ",
                served.silent_max.as_secs() / 60
            ),
            _ => String::new(),
        };
        let copy = if self.source() == served.source { " (a copy of the same disk)" } else { "" };
        format!(
            "{} is served by another source: {}{copy}, since {}, last at {}; this source is {}; if this \
             source is to serve it from now on: {by_itself}run offtake adopt --tenant {} --destination {}",
            spec.label(),
            served.source,
            served.since,
            served.last,
            self.source(),
            offtake_mapping::shell_word(&spec.tenant_id),
            offtake_mapping::shell_word(&spec.name)
        )
    }

    /// Notes a visit at the source.
    pub(crate) async fn begin_visit(
        &self,
        source: &PooledConnection,
        destination_id: i64,
        served: Option<&Served>,
        daemon: &str,
    ) -> Result<Visit, Error> {
        let beyond = served.map_or(0, |served| served.identity.visit);
        let row = source
            .query_opt(sql::BEGIN_VISIT, &[&destination_id, &beyond])
            .await
            .map_err(Error::source)?
            .ok_or(Error::Stale)?;
        Ok(self.visit(destination_id, &row, daemon))
    }
}

/// Why this source may not delete what a tenant that left has in a destination: another source
/// serves it there now. None: it may.
pub async fn served_by_another(
    source: &PooledConnection,
    leaver: &Leaver<'_>,
    remains: &Remains,
) -> Result<Option<String>, Error> {
    served_by_stranger(source, leaver.destination_id, remains.served.as_ref()).await
}

/// Which other source serves a destination; None: this one does, or none.
pub(crate) async fn served_by_stranger(
    source: &PooledConnection,
    destination_id: i64,
    served: Option<&Served>,
) -> Result<Option<String>, Error> {
    let Some(served) = served else { return Ok(None) };
    let here = Here::read(source, destination_id, Some(served), None).await?;
    Ok(match here.right(Some(served), "") {
        Right::Ours | Right::BeginningAgain => None,
        Right::Strangers | Right::NotYet => Some(format!(
            "it is served by another source: {}, since {}, last at {}; this source is {}",
            served.source,
            served.since,
            served.last,
            here.source()
        )),
    })
}

/// When this process last visited each destination.
pub(crate) struct Visits {
    /// Names this process in the destinations.
    pub(crate) daemon: String,
    at: Mutex<HashMap<i64, Instant>>,
}

impl Default for Visits {
    fn default() -> Self {
        let daemon = format!("{:016x}", rand::rng().random::<u64>());
        Self { daemon, at: Mutex::default() }
    }
}

impl Visits {
    /// Whether a destination is to be told again who serves it.
    pub(crate) fn due(&self, destination_id: i64) -> bool {
        let at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        at.get(&destination_id).is_none_or(|at| at.elapsed() > VISIT_AFTER)
    }

    pub(crate) fn done(&self, destination_id: i64) {
        let mut at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        at.insert(destination_id, Instant::now());
    }

    /// Forgets destinations that no longer exist.
    pub(crate) fn retain(&self, known: impl Fn(i64) -> bool) {
        let mut at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        at.retain(|id, _| known(*id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    /// This source remembers its visits 5 to 20; the latest has the id `twenty`.
    fn here(visit_id: Option<&str>) -> Here {
        Here {
            installation: "i".to_owned(),
            server: "s".to_owned(),
            timeline: "00000002".to_owned(),
            database: "d".to_owned(),
            name: "app".to_owned(),
            newest: Some(20),
            oldest: Some(5),
            visit_id: visit_id.map(str::to_owned),
            adopt: false,
            ours: true,
        }
    }

    /// Visited by this source, in its visit 20, by another process, a minute ago.
    fn served() -> Served {
        let identity = SourceIdentity {
            installation: "i".to_owned(),
            server: "s".to_owned(),
            timeline: "00000002".to_owned(),
            database: "d".to_owned(),
            destination_id: 1,
            visit: 20,
            visit_id: "twenty".to_owned(),
            daemon: "before".to_owned(),
        };
        let text = String::new;
        Served {
            identity,
            source: text(),
            since: text(),
            last: text(),
            silent: MINUTE,
            silent_max: SILENT_AFTER,
        }
    }

    fn check(
        visit_id: Option<&str>,
        change: impl Fn(&mut Served),
        by_itself: Right,
        adopted: Right,
    ) {
        let mut served = served();
        change(&mut served);
        let mut here = here(visit_id);
        assert_eq!(here.right(Some(&served), "now"), by_itself, "{served:?}");
        here.adopt = true;
        assert_eq!(here.right(Some(&served), "now"), adopted, "{served:?}");
    }

    #[test]
    fn a_source_serves_what_names_it_or_nobody() {
        use Right::{BeginningAgain, Ours, Strangers};
        assert_eq!(here(None).right(None, "now"), Ours);
        let unchanged = |_: &mut Served| {};
        check(Some("twenty"), unchanged, Ours, Ours);
        check(Some("another"), unchanged, Strangers, BeginningAgain);
        check(None, unchanged, Strangers, BeginningAgain);
        check(None, |s| s.identity.visit = 21, Strangers, BeginningAgain);
        // A destination that was restored from an old backup of itself.
        check(None, |s| s.identity.visit = 4, Ours, Ours);
        // Set back under the daemon that served it.
        check(None, |s| s.identity.daemon = "now".to_owned(), BeginningAgain, BeginningAgain);
        check(None, |s| s.identity.server = "other".to_owned(), Strangers, BeginningAgain);
        check(
            Some("twenty"),
            |s| s.identity.database = "other".to_owned(),
            Strangers,
            BeginningAgain,
        );
        check(None, |s| s.identity.installation = "other".to_owned(), Ours, Ours);
    }

    #[test]
    fn a_successor_takes_over_from_a_source_that_is_silent() {
        use Right::{BeginningAgain, NotYet, Ours, Strangers};
        let older = |s: &mut Served| s.identity.timeline = "00000001".to_owned();
        check(None, older, NotYet, Ours);
        check(
            None,
            |s| {
                older(s);
                s.silent = SILENT_AFTER;
            },
            Ours,
            Ours,
        );
        check(
            None,
            |s| {
                older(s);
                s.identity.daemon = "now".to_owned();
            },
            Ours,
            Ours,
        );
        // It is visited once an hour, and so heard of no more often.
        let rarely = |s: &mut Served| {
            older(s);
            s.silent = SILENT_AFTER;
            s.silent_max = SILENT_AFTER_RARE_VISITS;
        };
        check(None, rarely, NotYet, Ours);
        // The old primary comes back.
        let newer = |s: &mut Served| {
            s.identity.timeline = "00000003".to_owned();
            s.silent = SILENT_AFTER;
        };
        check(None, newer, Strangers, BeginningAgain);
    }

    #[test]
    fn what_no_source_wrote_names_nobody() {
        let mut identity = served().identity;
        assert!(SourceIdentity::parse(&serde_json::json!(identity).to_string()).is_some());
        identity.visit = i64::MAX;
        assert!(SourceIdentity::parse(&serde_json::json!(identity).to_string()).is_none());
        assert!(SourceIdentity::parse("{\"server\": 1}").is_none());
    }
}
