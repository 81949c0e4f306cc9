//! The requests under `/api/v1` that only read.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State as Extracted};
use axum::http::StatusCode;
use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::described::{Asked, Routes, Told};
use super::problem::Problem;
use super::{Shared, events, history, why};
use crate::metrics::Sequenced;
use crate::operations::{Quarantined, Selection, fuses, quarantined};
use crate::status::{
    Config, Destination, Fuse, Overview, Status, collect, collect_totals, destinations,
    destinations_after, destinations_containing, destinations_in_state, rounded,
};
use crate::{Error, State};

/// How long a request may wait for the source; then the answer is 503. A dashboard asks every
/// second and has no use for a later answer.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Items per page without a `limit`.
const ITEMS: usize = 100;
/// The largest `limit`.
const ITEMS_MAX: usize = 1000;

/// The longest text that is searched for, in characters; the longest tenant's id has so many.
const SEARCH_MAX: usize = 400;

/// How many items a page has at most.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "usize")]
pub(super) struct Limit(pub(super) usize);

impl Limit {
    /// So many are asked for: one more says whether there is another page.
    pub(super) fn and_one(self) -> i64 {
        i64::try_from(self.0 + 1).unwrap_or(i64::MAX)
    }
}

impl Default for Limit {
    fn default() -> Self {
        Self(ITEMS)
    }
}

impl TryFrom<usize> for Limit {
    type Error = String;

    fn try_from(limit: usize) -> Result<Self, String> {
        match limit {
            1..=ITEMS_MAX => Ok(Self(limit)),
            _ => Err(format!("a page has 1 to {ITEMS_MAX} items")),
        }
    }
}

impl JsonSchema for Limit {
    fn schema_name() -> Cow<'static, str> {
        "Limit".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": 1, "maximum": ITEMS_MAX, "default": ITEMS })
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct StatusQuery {
    /// Only the destinations, mappings and webhooks of this tenant.
    tenant: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// Only those in this state.
    #[schemars(with = "Option<State>")]
    state: Option<String>,
    /// Only this tenant's.
    tenant: Option<String>,
    /// What the tenant, the name, the host or the database contains.
    #[schemars(length(max = 400))]
    search: Option<String>,
    /// By tenant and name, the largest lag first, or the worst states first.
    #[serde(default)]
    sort: Sort,
    /// How many items the page has at most.
    #[serde(default)]
    limit: Limit,
    /// `next` of the page before.
    after: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Sort {
    /// By tenant and name.
    #[default]
    Name,
    /// The largest lag first, in rows.
    Lag,
    /// The worst states first.
    State,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct QuarantineQuery {
    /// Only this tenant's.
    tenant: Option<String>,
    /// Only rows of destinations with this name.
    destination: Option<String>,
    /// Only events of webhooks with this name.
    webhook: Option<String>,
    /// Only of this mapping.
    mapping: Option<String>,
    /// How many items the page has at most.
    #[serde(default)]
    limit: Limit,
    /// `next` of the page before.
    after: Option<String>,
}

/// One page of a list.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "PageOf{T}")]
pub(super) struct Page<T> {
    pub(super) items: Vec<T>,
    /// `after` of the next page; null: this is the last.
    pub(super) next: Option<String>,
}

impl<T> Page<T> {
    /// The first `limit` of the items that were read, one more than fit on the page. `place`: what
    /// the next page begins behind, of the last item of this one.
    pub(super) fn of(
        mut items: Vec<T>,
        limit: usize,
        place: impl FnOnce(&T) -> Option<String>,
    ) -> Self {
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).and_then(place);
        Self { items, next }
    }
}

/// The sort key of a destination in its list: what it is sorted by, the largest first, then tenant and
/// name. As JSON it is the `next` of the page that ends with it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct SortKey(Reverse<i64>, String, String);

pub(super) fn routes(routes: Routes<'_>) -> Routes<'_> {
    routes
        .get(
            "/status",
            status,
            Told::new("status", "Everything at once, of destinations the worst 1000"),
        )
        .get_other("/events", events::listen, EVENTS, |operation| {
            operation.query::<events::EventsQuery>();
            operation.text(
                StatusCode::OK,
                "text/event-stream",
                "Events `status`, whose data are those of \
                `GET status`, or `problem` while the source does not answer.",
            );
        })
        .get(
            "/destinations",
            list_destinations,
            Told::new("list_destinations", "Destinations, page by page"),
        )
        .get(
            "/destinations/{tenant}/{name}",
            one_destination,
            Told::new("destination", "One destination"),
        )
        .get("/why", why::why, WHY)
        .get("/config", config, Told::new("config", "Every setting in use, its secrets masked"))
        .get(
            "/history",
            history::list,
            Told::new("history", "What this daemon did in the last 15 minutes"),
        )
        .get(
            "/fuses",
            list_fuses,
            Told::new("list_fuses", "The fuses of the loops, and every other that was switched"),
        )
        .get(
            "/quarantine",
            list_quarantined,
            Told::new("list_quarantined", "Rows and events that are refused"),
        )
}

const EVENTS: Told =
    Told::new("events", "The status once a second, as server-sent events, for half an hour");

const WHY: Told =
    Told::new("why", "What a tenant's destinations and webhooks wait for, or one key")
        .or(&[(404, "The tenant has no destination and no webhook, or none with the mapping.")]);

pub(super) async fn status(
    Extracted(shared): Extracted<Arc<Shared>>,
    Asked(query): Asked<StatusQuery>,
) -> Result<Json<Status>, Problem> {
    Ok(Json(shared.status(query.tenant.as_deref()).await?))
}

/// The configuration in use.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct InUse {
    #[serde(flatten)]
    config: Config,
    /// Every setting; secrets are masked.
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    settings: serde_json::Value,
}

pub(super) async fn config(Extracted(shared): Extracted<Arc<Shared>>) -> Json<InUse> {
    let config = shared.state.config.borrow().clone();
    Json(InUse { config, settings: (shared.state.settings)() })
}

pub(super) async fn list_fuses(
    Extracted(shared): Extracted<Arc<Shared>>,
) -> Result<Json<Page<Fuse>>, Problem> {
    let items = shared.answer(async |source| fuses(source).await).await?;
    Ok(Json(Page { items, next: None }))
}

pub(super) async fn list_quarantined(
    Extracted(shared): Extracted<Arc<Shared>>,
    Asked(query): Asked<QuarantineQuery>,
) -> Result<Json<Page<Quarantined>>, Problem> {
    let after: Option<(String, String, String)> =
        query.after.as_deref().map(parse_after).transpose()?;
    let of = Selection {
        tenant: query.tenant.as_deref(),
        destination: query.destination.as_deref(),
        webhook: query.webhook.as_deref(),
        mapping: query.mapping.as_deref(),
    };
    let (limit, asked) = (query.limit.0, query.limit.and_one());
    let items =
        shared.answer(async |source| quarantined(source, of, after.as_ref(), asked).await).await?;
    let place = |q: &Quarantined| serde_json::to_string(&(&q.tenant, q.name(), &q.place)).ok();
    Ok(Json(Page::of(items, limit, place)))
}

pub(super) async fn list_destinations(
    Extracted(shared): Extracted<Arc<Shared>>,
    Asked(query): Asked<ListQuery>,
) -> Result<Json<Page<Destination>>, Problem> {
    let state = query
        .state
        .as_deref()
        .map(|name| named_state(&State::ALL, State::as_str, name))
        .transpose()?;
    let after: Option<SortKey> = query.after.as_deref().map(parse_after).transpose()?;
    let limit = query.limit.0;
    let tenant = query.tenant.as_deref();
    let search = query.search.as_deref().map(searched).transpose()?.flatten();
    let chosen = Chosen {
        state,
        search: search.as_deref(),
        sort: query.sort,
        after: after.as_ref(),
        limit: limit + 1,
    };
    let items = shared
        .answer(async |source| match tenant {
            Some(tenant) => Ok(chosen.of(destinations(source, Some(tenant), None).await?)),
            None => chosen.of_all(source).await,
        })
        .await?;
    Ok(Json(page(items, query.sort, limit)))
}

/// Which destinations a page of the list has.
struct Chosen<'a> {
    state: Option<State>,
    /// In lower case.
    search: Option<&'a str>,
    sort: Sort,
    /// Those after this key.
    after: Option<&'a SortKey>,
    limit: usize,
}

impl Chosen<'_> {
    /// Those of the list, in the order of the page.
    fn of(&self, mut all: Vec<Destination>) -> Vec<Destination> {
        all.retain(|d| self.state.is_none_or(|state| d.state == state));
        all.retain(|d| self.search.is_none_or(|text| d.contains(text)));
        all.sort_by_cached_key(|d| self.sort.key(d));
        all.retain(|d| self.after.is_none_or(|after| self.sort.key(d) > *after));
        all
    }

    /// Those of all tenants. Costs what is not in sync, and a page.
    async fn of_all(&self, source: &tokio_postgres::Client) -> Result<Vec<Destination>, Error> {
        let after = self.after.map(|SortKey(lag, tenant, name)| (lag.0, (&**tenant, &**name)));
        if let (None, Sort::Name) = (self.state, self.sort) {
            let place = after.map(|(_, place)| place);
            return match self.search {
                None => destinations_after(source, None, place, self.limit).await,
                Some(text) => destinations_containing(source, text, place, self.limit).await,
            };
        }
        if let (Some(state), None, Sort::Name) = (self.state, self.search, self.sort) {
            let place = after.map(|(_, place)| place);
            return destinations_in_state(source, state, place, self.limit).await;
        }
        let overview = Overview::read_in(source, self.state).await?;
        // What the settled destinations are sorted by: all have the same lag, and few states.
        let ranks: Vec<(i64, Option<State>)> = match self.sort {
            Sort::Name => vec![(0, self.state)],
            Sort::Lag => vec![(overview.settled_lag_rows(), self.state)],
            // One that lags by now still belongs into the list, where nothing else is asked for.
            Sort::State if self.state.is_none() && overview.settled_states().len() == 1 => {
                overview.settled_states().into_iter().map(|one| (badness(one), None)).collect()
            }
            Sort::State => {
                let wanted = |state: &State| self.state.is_none_or(|only| only == *state);
                let ranked = State::ALL.into_iter().filter(wanted);
                let mut ranked: Vec<_> =
                    ranked.map(|state| (badness(state), Some(state))).collect();
                ranked.sort_by_key(|(rank, _)| Reverse(*rank));
                ranked
            }
        };
        let mut settled = Vec::new();
        for (rank, state) in ranks {
            if settled.len() >= self.limit || after.is_some_and(|(before, _)| before < rank) {
                continue;
            }
            let place = after.filter(|(before, _)| *before == rank).map(|(_, place)| place);
            let room = self.limit - settled.len();
            settled
                .extend(overview.settled_after(source, (state, self.search), place, room).await?);
        }
        Ok(self.of(overview.unsettled.into_iter().chain(settled).collect()))
    }
}

pub(super) async fn one_destination(
    Extracted(shared): Extracted<Arc<Shared>>,
    Path((tenant, name)): Path<(String, String)>,
) -> Result<Json<Destination>, Problem> {
    let found = shared
        .answer(async |source| destinations(source, Some(&tenant), Some(&name)).await)
        .await?;
    let missing = || {
        Problem::new(StatusCode::NOT_FOUND, format!("tenant {tenant} has no destination {name}"))
    };
    found.into_iter().next().map(Json).ok_or_else(missing)
}

impl Shared {
    /// The status, with the fields that only this process knows.
    pub(super) async fn status(&self, tenant: Option<&str>) -> Result<Status, Problem> {
        self.completed(self.answer(async |source| collect(source, tenant).await).await?).await
    }

    /// The same of all tenants, without a list of destinations.
    pub(super) async fn totals(&self) -> Result<Status, Problem> {
        self.completed(self.answer(async |source| collect_totals(source, 0).await).await?).await
    }

    async fn completed(&self, mut status: Status) -> Result<Status, Problem> {
        status.config = Some(self.state.config.borrow().clone());
        status.loops = self.state.readiness.loops();
        for daemon in &mut status.daemons {
            daemon.this = daemon.process == self.state.process;
        }
        let after = self.scrapes.sampled_up_to();
        let sequenced = self.answer(async |source| Sequenced::after(source, after).await).await?;
        let rates = self.scrapes.rates(sequenced);
        status.sequencer.rows_per_second = rates.sequenced_per_second.map(rounded);
        status.sync.rows_per_second = rates.applied_per_second.map(rounded);
        status.sync.rows_applied_total = Some(crate::status::Long(rates.applied_total));
        status.webhooks.events_per_second = rates.events_per_second.map(rounded);
        Ok(status)
    }

    /// Reads from the source, one request at a time, with a timeout.
    pub(super) async fn answer<T>(
        &self,
        read: impl AsyncFnOnce(&tokio_postgres::Client) -> Result<T, Error>,
    ) -> Result<T, Problem> {
        let answer = async {
            let _turn = self.turn.lock().await;
            let connection = self.state.source.get().await.map_err(Error::from)?;
            read(&connection).await
        };
        match tokio::time::timeout(ANSWER_WITHIN, answer).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "the source did not answer within 10 s",
            )),
        }
    }
}

/// Parses `after`, which must be the `next` of a page.
pub(super) fn parse_after<T: serde::de::DeserializeOwned>(after: &str) -> Result<T, Problem> {
    serde_json::from_str(after)
        .map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "`after` is not the `next` of a page"))
}

/// Parses a time.
pub(super) fn parse_time(text: &str) -> Result<Timestamp, Problem> {
    text.parse().map_err(|_| {
        let detail = format!("{text} is no time; write it as 2026-11-28T03:13:00Z");
        Problem::new(StatusCode::BAD_REQUEST, detail)
    })
}

/// The state of this name, of all that there are.
pub(super) fn named_state<S: Copy>(
    all: &[S],
    as_str: fn(S) -> &'static str,
    name: &str,
) -> Result<S, Problem> {
    all.iter().copied().find(|state| as_str(*state) == name).ok_or_else(|| {
        let known: Vec<&str> = all.iter().map(|state| as_str(*state)).collect();
        let detail = format!("no state is called {name}; they are {}", known.join(", "));
        Problem::new(StatusCode::BAD_REQUEST, detail)
    })
}

/// A worse state has a larger number. No person has to look at what an operator has stopped, so that
/// state comes after those that fail, lack rows, or are late.
fn badness(state: State) -> i64 {
    match state {
        State::Blocked => 5,
        State::Degraded => 4,
        State::Backfilling => 3,
        State::Lagging => 2,
        State::Paused => 1,
        State::InSync => 0,
    }
}

/// What is searched for, in lower case; None where it is empty.
pub(super) fn searched(text: &str) -> Result<Option<String>, Problem> {
    let text = text.trim().to_lowercase();
    if text.chars().count() > SEARCH_MAX {
        let detail = format!("`search` has at most {SEARCH_MAX} characters");
        return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
    }
    Ok((!text.is_empty()).then_some(text))
}

impl Sort {
    fn key(self, destination: &Destination) -> SortKey {
        let rank = match self {
            Self::Name => 0,
            Self::Lag => destination.lag_rows.0,
            Self::State => badness(destination.state),
        };
        SortKey(Reverse(rank), destination.tenant.clone(), destination.name.clone())
    }
}

/// The first `limit` of sorted destinations, and where the next page begins if there are more.
fn page(items: Vec<Destination>, sort: Sort, limit: usize) -> Page<Destination> {
    Page::of(items, limit, |last| serde_json::to_string(&sort.key(last)).ok())
}
