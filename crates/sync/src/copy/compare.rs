//! The comparison at the end, range by range. A range that differs is copied once more, in place.

use std::collections::HashSet;

use offtake_mapping::compose::KeyRange;
use offtake_postgres::Dialer;
use serde_json::Value;
use tokio::time::Instant;
use tokio_postgres::Client;

use super::batches::may_go_on;
use super::desk::Desk;
use super::retry::{Trip, of_source};
use super::run::{RENEW_EVERY, Run};
use super::{Compared, Event, Side, Stop, chunk};
use crate::verify::{self, Options, Point, Report, Slice, VerifyTarget, verify_slice};

/// How often a range that differs is copied again. One that still differs then is written to all
/// the time.
const ROUNDS_MAX: u32 = 3;

/// So many differing keys of a range are looked at by name.
const KEYS_MAX: usize = 1000;

/// Where the comparison stands.
struct At {
    point: Point,
    /// How often this range was copied again.
    round: u32,
    /// Rows of it that differed at first.
    differed: u64,
}

impl Run<'_> {
    pub(super) async fn compare(&mut self) -> Result<(), Stop> {
        let mut found = Compared::default();
        // Those that turn out to be missing in the end stay left out.
        let mut absent = HashSet::new();
        let first = Point::first(verify::RANGE_ROWS);
        let mut at = Some(At { point: first, round: 0, differed: 0 });
        let mut source: Option<(offtake_postgres::Connection, Instant)> = None;
        while at.is_some() {
            if let Err(Trip::Stop(stop)) = may_go_on(self.copier) {
                return Err(stop);
            }
            let step = self.persistently(async |run| {
                if source.is_none() {
                    source = Some((run.dial().await?, Instant::now()));
                }
                let Some((client, renewed)) = &mut source else { return Ok(()) };
                let step = run.step(client, &mut at, (&mut found, &mut absent)).await;
                if step.is_err() {
                    source = None;
                } else if renewed.elapsed() > RENEW_EVERY {
                    *renewed = Instant::now();
                    run.held().await?.renew().await?;
                }
                step
            });
            step.await?;
        }
        let arrived = self.persistently(async |run| {
            let desk = run.held().await?;
            let noted = desk.skipped().await?;
            let arrived = noted.into_iter().map(|(key, _)| key).filter(|key| !absent.contains(key));
            desk.unskip(&arrived.collect::<Vec<_>>()).await
        });
        arrived.await?;
        self.outcome.compared = Some(found);
        Ok(())
    }

    async fn dial(&self) -> Result<offtake_postgres::Connection, Trip> {
        let dialer = Dialer::trusted(self.copier.settings.lock_timeout);
        let dialed = dialer.dial(&self.copier.source, "offtake copy").await;
        dialed.map_err(|error| of_source(&error))
    }

    /// Compares one range; where it differs, copies it once more and stays there.
    async fn step(
        &mut self,
        source: &Client,
        at: &mut Option<At>,
        (found, absent): (&mut Compared, &mut HashSet<String>),
    ) -> Result<(), Trip> {
        let Some(here) = at.as_mut() else { return Ok(()) };
        let slice = self.range(source, &here.point).await?;
        let Slice { report, last, next, .. } = slice;
        let differing = report.missing + report.extra + report.different + report.unsettled;
        let noted = if differing > 0 { self.only_left_out(&report).await? } else { None };
        if differing > 0 && noted.is_none() && here.round < ROUNDS_MAX {
            let up_to = next.as_ref().and_then(Point::after).map(<[String]>::to_vec);
            let range = KeyRange { after: last.after(), up_to: up_to.as_deref() };
            self.copy_again(range).await?;
            here.differed = here.differed.max(differing);
            (here.round, here.point) = (here.round + 1, last);
            return Ok(());
        }
        found.rows += report.rows;
        found.not_compared += report.not_compared;
        match noted {
            Some(keys) => absent.extend(keys),
            None => found.add(&report, here.differed),
        }
        (self.copier.tell)(Event::Compared { table: self.table(), rows: found.rows });
        *at = next.map(|point| At { point, round: 0, differed: 0 });
        Ok(())
    }

    async fn range(&mut self, source: &Client, at: &Point) -> Result<Slice, Trip> {
        let (job, limit) = (self.job, self.copier.settings.statement_timeout);
        let options = Options {
            differences_max: KEYS_MAX,
            statement_timeout: limit,
            made_once: true,
            ..Options::default()
        };
        let desk = self.held().await?;
        let target = VerifyTarget {
            mapping: &job.mapping,
            tenant_id: desk.state_tenant(),
            tenant_at_source: &job.tenant,
        };
        let reader = desk.session.reader();
        let nothing = std::time::Duration::ZERO;
        let slice = verify_slice(source, reader, &target, &options, at.clone(), nothing).await;
        slice.map_err(tripped)
    }

    /// The keys of the rows that are missing, if no other row differs and all of them were left out
    /// because the destination refuses them.
    async fn only_left_out(&mut self, report: &Report) -> Result<Option<Vec<String>>, Trip> {
        let others = report.extra + report.different + report.unsettled;
        if others > 0 || report.missing > report.differences.len() as u64 {
            return Ok(None);
        }
        let noted: HashSet<String> =
            self.held().await?.skipped().await?.into_iter().map(|(key, _)| key).collect();
        let key = |of: &verify::Difference| {
            let names = self.job.mapping.key.iter().map(|k| k.query_column.as_str());
            let values = names.map(|name| of.key.get(name).and_then(Value::as_str));
            Some(chunk::json(&values.map(|v| Some(v?.to_owned())).collect::<Option<Vec<_>>>()?))
        };
        let keys: Option<Vec<String>> = report.differences.iter().map(key).collect();
        Ok(keys.filter(|keys| keys.iter().all(|key| noted.contains(key))))
    }

    /// Copies a range over what is there.
    async fn copy_again(&mut self, range: KeyRange<'_>) -> Result<(), Trip> {
        let (copier, job) = (self.copier, self.job);
        self.held().await?;
        let Self { desk: Some(desk), pace, outcome, .. } = self else {
            return Err(Stop::Interrupted.into());
        };
        let mut rows = 0;
        let limited = pace.left.take();
        let renewing = |desk: &Desk<'_>, _: Option<&[String]>, _: u64| desk.renewing();
        let told = |done: super::batches::Done| rows += done.rows;
        let copied = desk.copy_range((copier, job), range, pace, renewing, told);
        let copied = Box::pin(copied).await;
        pace.left = limited;
        outcome.copied += rows;
        copied?;
        (copier.tell)(Event::Repaired { table: job.mapping.name(), rows });
        Ok(())
    }
}

impl Compared {
    fn add(&mut self, report: &Report, differed: u64) {
        self.missing += report.missing;
        self.extra += report.extra;
        self.different += report.different;
        self.unsettled += report.unsettled;
        let left = report.missing + report.extra + report.different + report.unsettled;
        self.repaired += differed.saturating_sub(left);
        if let (Some(one), None) = (report.differences.first(), &self.example) {
            self.example = Some(Value::Object(one.key.clone()).to_string());
        }
    }
}

fn tripped(error: verify::Error) -> Trip {
    use offtake_postgres::{Fault, chain};
    let side = match &error {
        verify::Error::Destination(_) | verify::Error::Unreadable(_) => Side::Destination,
        _ => Side::Source,
    };
    let why = chain(&error);
    match error.fault() {
        Fault::Transient | Fault::Unreachable | Fault::OutcomeUnknown | Fault::TooSlow => {
            Trip::Again { side, why }
        }
        _ => Trip::Stop(Stop::Refused { side, why }),
    }
}
