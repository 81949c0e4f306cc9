//! The destination as one runner works on it: a session, the fence, and the checkpoints.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use offtake_mapping::compose::checkpoints::{Asked, Checkpoints, Claim};
use offtake_mapping::foreign;
use offtake_postgres::Fault;
use offtake_reading::{FailedRow, Part};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use super::chunk::{self, Chunk};
use super::owner::{lease_end, now};
use super::retry::{Trip, of_destination, of_source};
use super::{Copier, Job, Stop};
use crate::Error;
use crate::cursors::{Cursor, Cursors, Identities};
use crate::destinations::{
    Answer, Aside, Beginning, DestinationSpec, Reference, Session, TakenUp, TenantWrite, Written,
    left_out,
};

/// How long something may take beyond its statements' own limit.
const DEADLINE_MARGIN: Duration = Duration::from_secs(10);

/// How often another runner's lease is looked at while it may run out.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What the state table calls the tenant whose rows a copy has.
const STATE_TENANT: &str = "copy:";

/// What tells one copy of a table from every other one: the source, the query and the tenant.
#[derive(Debug, Clone)]
pub(super) struct CopyId {
    /// The history that the cursor means; it is the same in all copies of one source.
    pub(super) source: String,
    pub(super) id: String,
}

impl CopyId {
    /// Asks the source what it is. A standby that was promoted is the same.
    pub(super) async fn of(copier: &Copier, job: &Job) -> Result<Self, Trip> {
        let connection = copier.pool.get().await.map_err(|error| of_source(&error))?;
        let asked = "select (pg_control_system()).system_identifier::text || '/' || (select oid::text \
                     from pg_database where datname = current_database())";
        let source: String = match connection.query_one(asked, &[]).await {
            Ok(row) => row.get(0),
            Err(error) if error.as_db_error().is_some() => {
                format!("{}/{}", copier.source.place(), copier.source.database())
            }
            Err(error) => return Err(of_source(&error.into())),
        };
        let mut hash = Sha256::new();
        for text in [&source, job.mapping.version.as_str(), &job.tenant] {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text.as_bytes());
        }
        let (source, id) = (hexadecimal(&Sha256::digest(&source)), hexadecimal(&hash.finalize()));
        // An epoch is a uuid.
        let parts =
            [&source[..8], &source[8..12], &source[12..16], &source[16..20], &source[20..32]];
        Ok(Self { source: parts.join("-"), id: id[..16].to_owned() })
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A destination that is held for one table.
pub(super) struct Desk<'a> {
    copier: &'a Copier,
    job: &'a Job,
    pub(super) copy: CopyId,
    pub(super) session: Session,
    spec: DestinationSpec,
    checkpoints: Checkpoints,
    cursors: Cursors,
    identities: Identities,
    references: Vec<Reference>,
}

/// The claim with the times of now.
macro_rules! claim {
    ($desk:expr, $now:ident, $until:ident, $claim:ident) => {
        let ($now, $until) = (now(), lease_end());
        let $claim = Claim {
            table_name: $desk.job.mapping.name(),
            copy_id: &$desk.copy.id,
            owner: $desk.copier.owner.as_str(),
            now: &$now,
            until: &$until,
        };
    };
}

impl<'a> Desk<'a> {
    /// Opens the destination, makes what is missing there, and holds the table: any other runner's
    /// writes are refused from then on. `first`: this run has not held it yet.
    pub(super) async fn take(
        copier: &'a Copier,
        job: &'a Job,
        first: bool,
    ) -> Result<(Self, Vec<Chunk>), Trip> {
        let copy = CopyId::of(copier, job).await?;
        let opened = Session::open(&copier.place, &copier.dialer, "offtake copy").await;
        let session = opened.map_err(of_destination)?;
        let spec = spec(copier, job);
        let checkpoints = checkpoints(copier, &session).await?;
        let desk = Self {
            copier,
            job,
            copy,
            session,
            spec,
            checkpoints,
            cursors: Cursors::new(),
            identities: Identities::new(),
            references: Vec::new(),
        };
        desk.held(first).await
    }

    async fn held(mut self, first: bool) -> Result<(Self, Vec<Chunk>), Trip> {
        let found = self.facts().await?;
        self.wait_until_free().await?;
        let lost = found.incomplete.iter().any(|name| name == self.job.mapping.name());
        self.begin(&found).await?;
        claim!(self, now, until, claim);
        let mut making = self.checkpoints.create();
        if first && (self.copier.terms.fresh || lost) {
            making.extend(self.checkpoints.restart(claim.table_name));
        }
        making.extend(self.checkpoints.claim(&claim));
        let mut statements: Vec<Asked> = making.into_iter().map(Asked::from).collect();
        statements.push(self.checkpoints.holder(&claim));
        statements.push(self.checkpoints.list(Some(claim.table_name)));
        let mut answers = self.ask(&statements).await?;
        let (listed, holder) = (answers.pop().unwrap_or_default(), answers.pop());
        if let Some(row) = holder.unwrap_or_default().first() {
            return Err(held_by(row).into());
        }
        let mut chunks: Vec<Chunk> = listed.iter().filter_map(|row| Chunk::read(row)).collect();
        chunks.sort_by_key(|chunk| chunk.id);
        if chunks.iter().any(|chunk| chunk.copy_id != self.copy.id) {
            self.release().await?;
            let table = self.job.mapping.name().to_owned();
            return Err(Stop::OtherCopy { table }.into());
        }
        Ok((self, chunks))
    }

    /// What is there, unless the table cannot be copied to.
    async fn facts(&self) -> Result<TakenUp, Trip> {
        facts(self.copier, self.job, &self.session).await
    }

    /// Waits for a lease that may be that of a dead runner. One that moves is a living one's.
    async fn wait_until_free(&self) -> Result<(), Trip> {
        let (mut seen, began): (Option<Answer>, _) = (None, Instant::now());
        loop {
            claim!(self, now, until, claim);
            let holder = match self.ask_if_there(&[self.checkpoints.holder(&claim)]).await? {
                Some(mut answers) => answers.pop().unwrap_or_default(),
                None => return Ok(()),
            };
            let Some(row) = holder.first() else { return Ok(()) };
            let owner = row.first().cloned().flatten().unwrap_or_default();
            if self.copier.owner.knows_dead(&owner) {
                let expire = self.checkpoints.expire(claim.table_name, &owner);
                self.ask(&[expire.into()]).await?;
                continue;
            }
            let moved = seen.as_ref().is_some_and(|seen| *seen != holder);
            if moved || began.elapsed() > super::owner::LEASE + DEADLINE_MARGIN {
                return Err(held_by(row).into());
            }
            seen.get_or_insert(holder);
            tokio::select! {
                () = tokio::time::sleep(LOOK_AGAIN) => {}
                () = self.copier.stopping.cancelled() => return Err(Stop::Interrupted.into()),
            }
        }
    }

    /// Makes what is missing, and moves the fence.
    async fn begin(&mut self, found: &TakenUp) -> Result<(), Trip> {
        let mapping = &self.job.mapping;
        let cursor = Cursor::beginning(0, &self.copy.source, mapping.version.as_str());
        let cursors = Cursors::from([(mapping.name().to_owned(), cursor)]);
        let mappings = [mapping.clone()];
        let beginning = Beginning {
            spec: &self.spec,
            mappings: &mappings,
            found,
            cursors: &cursors,
            visit: None,
        };
        let work = self.session.begin(&beginning, &self.copier.settings);
        let begun = Box::pin(in_time(self.copier, work)).await?;
        if let Some((_, fault)) = begun.faults.first() {
            return Err(refused(fault.message.clone()));
        }
        (self.cursors, self.identities) = (begun.cursors, begun.identities);
        self.references = begun.references;
        Ok(())
    }

    /// Writes a part and moves its checkpoint: all of it or nothing. Returns whether that took so
    /// long that the next part should be smaller. `checkpoint`: the statement that moves it.
    pub(super) async fn write(
        &mut self,
        part: Option<Part>,
        checkpoint: &str,
        backfilled: bool,
    ) -> Result<bool, Trip> {
        let (copier, job) = (self.copier, self.job);
        let parts: Vec<Part> = part.into_iter().collect();
        let mappings = [job.mapping.clone()];
        let mut next = self.cursors.clone();
        next.values_mut().for_each(|cursor| cursor.backfilled = backfilled);
        let (name, noted_at) = (job.mapping.name(), now());
        let skip = |row: &FailedRow| {
            let row = [&chunk::json(&row.key), row.sqlstate.as_str(), row.error.as_str()];
            self.checkpoints.skip(name, row, &noted_at)
        };
        let noted = AtomicUsize::new(0);
        let also = |left_out: &[FailedRow]| {
            noted.store(left_out.len(), Ordering::Relaxed);
            left_out.iter().map(skip).chain([checkpoint.to_owned()]).collect()
        };
        let write = TenantWrite {
            tenant_id: &self.spec.tenant_id,
            tenant_at_source: &self.spec.tenant_at_source,
            mappings: &mappings,
            parts: &parts,
            references: &self.references,
            expected: &self.cursors,
            identities: &self.identities,
            next: &next,
            also: Some(&also),
        };
        let writes = [write];
        let work = self.session.write(&writes, &Aside::Noted, &copier.settings);
        let written = match Box::pin(in_time(copier, work)).await {
            Ok(mut written) => written.pop().flatten().ok_or(Error::Stale)?,
            Err(error) => {
                if let Error::Deadline(_) = error {
                    tokio::spawn(self.session.cancel());
                }
                return Err(error.into());
            }
        };
        let Written { outcomes, faults, cursors, slow } = written;
        if let Some((_, fault)) = faults.into_iter().next() {
            return Err(Trip::Chunk(fault.message));
        }
        self.cursors = cursors;
        let left_out = left_out(&parts, &outcomes);
        if left_out.len() > noted.into_inner() {
            // A kind that finds them by writing says so only afterwards.
            let noting: Vec<Asked> = left_out.iter().map(|row| skip(row).into()).collect();
            self.ask(&noting).await?;
        }
        Ok(slow)
    }

    /// Notes that a chunk begins, where it ends once that is known.
    pub(super) async fn begin_chunk(&self, chunk: &Chunk, bound: bool) -> Result<(), Trip> {
        claim!(self, now, until, claim);
        let mut statements: Vec<Asked> = Vec::new();
        if bound {
            let bounds = chunk::bounds(&self.job.mapping, chunk.left());
            statements.push(self.checkpoints.bound(chunk.id, &bounds).into());
        }
        statements.push(self.checkpoints.begin(chunk.id, &claim).into());
        self.ask(&statements).await.map(|_| ())
    }

    /// Adds the chunk behind this key. Returns it.
    pub(super) async fn cut(&self, start: &[String]) -> Result<Option<Chunk>, Trip> {
        claim!(self, now, until, claim);
        let range = offtake_mapping::compose::KeyRange::behind(Some(start));
        let bounds = chunk::bounds(&self.job.mapping, range);
        let cut = self.checkpoints.cut(&claim, &bounds);
        let list = self.checkpoints.list(Some(claim.table_name));
        let mut answers = self.ask(&[cut.into(), list]).await?;
        let listed = answers.pop().unwrap_or_default();
        Ok(listed.iter().filter_map(|row| Chunk::read(row)).max_by_key(|chunk| chunk.id))
    }

    pub(super) async fn fail_chunk(&self, chunk: &Chunk, message: &str) -> Result<(), Trip> {
        self.ask(&[self.checkpoints.failed(chunk.id, message).into()]).await.map(|_| ())
    }

    /// The statement that moves a chunk's checkpoint to behind these rows.
    pub(super) fn moving(&self, chunk: &Chunk, last: Option<&[String]>, rows: u64) -> String {
        claim!(self, now, until, claim);
        match last {
            Some(last) => self.checkpoints.moved(chunk.id, &chunk::json(last), rows, &until),
            None => self.checkpoints.completed(chunk.id, rows, &claim),
        }
    }

    /// The statement that goes on holding the table.
    pub(super) fn renewing(&self) -> String {
        claim!(self, now, until, claim);
        self.checkpoints.renew(&claim)
    }

    pub(super) async fn renew(&self) -> Result<(), Trip> {
        self.ask(&[self.renewing().into()]).await.map(|_| ())
    }

    /// Gives the table back.
    pub(super) async fn release(&self) -> Result<(), Trip> {
        claim!(self, now, until, claim);
        self.ask(&[self.checkpoints.release(&claim).into()]).await.map(|_| ())
    }

    /// The rows that were left out: their keys as JSON, each with the reason.
    pub(super) async fn skipped(&self) -> Result<Vec<(String, String)>, Trip> {
        let list = self.checkpoints.list_skipped(self.job.mapping.name());
        let mut answers = self.ask(&[list]).await?;
        let row = |row: &Vec<Option<String>>| {
            let text = |at: usize| row.get(at).cloned().flatten().unwrap_or_default();
            (text(0), format!("{} ({})", text(2), text(1)))
        };
        Ok(answers.pop().unwrap_or_default().iter().map(row).collect())
    }

    /// Forgets that these rows were left out.
    pub(super) async fn unskip(&self, keys: &[String]) -> Result<(), Trip> {
        let name = self.job.mapping.name();
        let forget = keys.iter().map(|key| self.checkpoints.unskip(name, key).into());
        let forget: Vec<Asked> = forget.collect();
        match forget.is_empty() {
            true => Ok(()),
            false => self.ask(&forget).await.map(|_| ()),
        }
    }

    /// Makes an index. The error is a person's to read.
    pub(super) async fn make_index(&self, create: String) -> Result<Result<(), String>, Trip> {
        let create = [Asked::from(create)];
        let work = self.session.transact(&create, &self.copier.settings);
        match in_time(self.copier, work).await {
            Ok(_) => Ok(Ok(())),
            Err(Error::Destination(trouble))
                if matches!(trouble.fault, Fault::Row | Fault::Schema | Fault::TooSlow) =>
            {
                Ok(Err(trouble.message))
            }
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn table(&self) -> String {
        self.session.qualified(&self.job.mapping.definition.target.table)
    }

    /// As the state table calls the copy's tenant.
    pub(super) fn state_tenant(&self) -> &str {
        &self.spec.tenant_id
    }

    async fn ask(&self, statements: &[Asked]) -> Result<Vec<Answer>, Trip> {
        let work = self.session.transact(statements, &self.copier.settings);
        in_time(self.copier, work).await?.ok_or_else(|| Error::Stale.into())
    }

    /// The same where the tables may not be there yet.
    async fn ask_if_there(&self, statements: &[Asked]) -> Result<Option<Vec<Answer>>, Trip> {
        let work = self.session.transact(statements, &self.copier.settings);
        match in_time(self.copier, work).await {
            Ok(answers) => Ok(answers),
            Err(Error::Destination(trouble)) if trouble.fault == Fault::Schema => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// Gives a server up that does not answer in time. The next attempt dials it again.
async fn in_time<T>(
    copier: &Copier,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let limit = copier.settings.statement_timeout + DEADLINE_MARGIN;
    let done = tokio::time::timeout(limit, work).await;
    done.unwrap_or(Err(Error::Deadline(limit.as_secs())))
}

/// What is there, unless the table cannot be copied to. Nothing is changed.
pub(super) async fn facts(copier: &Copier, job: &Job, session: &Session) -> Result<TakenUp, Trip> {
    let mappings = [job.mapping.clone()];
    let spec = spec(copier, job);
    let found = in_time(copier, session.take_up(&spec, &mappings, &copier.settings)).await?;
    if let Some((_, fault)) = found.faults.first() {
        return Err(refused(fault.message.clone()));
    }
    let others = session.others(&spec, &mappings, None, &copier.settings);
    let others = in_time(copier, others).await?;
    let name = job.mapping.name();
    match others.iter().find(|other| other.mapping == name) {
        Some(other) => Err(refused(format!(
            "the table of {} is kept in step there for the tenant {}; copy to another schema or \
             file, or leave that one to the daemon",
            foreign(name),
            foreign(&other.tenant_id)
        ))),
        None => Ok(found),
    }
}

/// The destination of a copy, as the sessions know destinations.
pub(super) fn spec(copier: &Copier, job: &Job) -> DestinationSpec {
    DestinationSpec {
        tenant_id: format!("{STATE_TENANT}{}", job.mapping.name()),
        tenant_at_source: job.tenant.clone(),
        name: "copy".to_owned(),
        place: Arc::clone(&copier.place),
        mappings: None,
        shared: false,
    }
}

/// Which table has the checkpoints: the one that people's tools know, unless another program has a
/// table of that name.
pub(super) async fn checkpoints(copier: &Copier, session: &Session) -> Result<Checkpoints, Trip> {
    let named = |beside: bool| {
        let [table, skipped] = Checkpoints::names(beside).ok_or(Error::Stale)?;
        let kind = copier.place.kind();
        let (table, skipped) = (session.qualified(&table), session.qualified(&skipped));
        Ok::<_, Error>(Checkpoints::new(kind, table, skipped))
    };
    let there = async |statement: Asked| {
        let statement = [statement];
        match in_time(copier, session.transact(&statement, &copier.settings)).await {
            Ok(answer) => Ok(answer.is_some()),
            Err(Error::Destination(trouble)) if trouble.fault == Fault::Schema => Ok(false),
            Err(error) => Err(Trip::from(error)),
        }
    };
    let usual = named(false)?;
    match there(usual.probe()).await? && !there(usual.probe_ours()).await? {
        true => Ok(named(true)?),
        false => Ok(usual),
    }
}

fn held_by(row: &[Option<String>]) -> Stop {
    let text = |at: usize| row.get(at).cloned().flatten();
    Stop::Held { owner: text(0).unwrap_or_default(), since: text(1).unwrap_or_default() }
}

fn refused(why: String) -> Trip {
    Trip::Stop(Stop::Table { why })
}
