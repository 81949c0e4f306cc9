//! A session with one destination: what every kind of destination can do.
//!
//! | operation | what it does | changes the destination |
//! |---|---|---|
//! | [`take_up`](Session::take_up) | tells facts: cursors, tables, which other tenants write there | no |
//! | [`begin`](Session::begin) | makes what is missing and starts copies, if the cursors are still those that were taken up | yes |
//! | [`write`](Session::write) | applies a batch and moves the cursors, if they are still those that it was read for | yes |
//! | [`write_group`](Session::write_group) | the same for many tenants that share the place, where nothing is in the way | yes |
//! | [`tell_audits`](Session::tell_audits) | tells the tenant what audits found, if the cursors are still those | yes |
//! | [`transact`](Session::transact) | runs a few statements of what is no mapping's, such as a one-shot copy's checkpoints | yes |
//! | [`cursors`](Session::cursors) | tells what stands there, also after a write whose outcome is not known | no |
//! | [`health`](Session::health) | tells version, role and clock of its server | no |
//! | [`reader`](Session::reader) | what `verify` and `preview` read through | no |
//! | [`table_of`](Session::table_of) | tells how a mapping's table looks | no |
//! | [`try_tables`](Session::try_tables) | tells what copies would run into, by a transaction that is rolled back | no |
//! | [`orphans`](Session::orphans), [`drop_orphans`](Session::drop_orphans) | lists and drops tables of mappings that are gone | the second |
//! | [`remains`](Session::remains), [`fence_off`](Session::fence_off), [`purge`](Session::purge) | counts and deletes what a tenant that left has there | the last two |
//!
//! There is no begin and commit between them: some databases have no interactive transaction. A
//! write is of one database and of one or several tenants in it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use offtake_mapping::compose::checkpoints::Asked;
use offtake_mapping::{Identifier, Mapping, ResolvedMapping};
use offtake_postgres::Dialer;
use tokio_postgres::Client;

use super::{
    Answer, Aside, AuditResult, Beginning, Begun, Copied, DestinationSpec, GroupBeginning,
    GroupTakenUp, GroupWritten, Health, Leaver, OrphanTable, OtherTenant, Place, Remains, TakenUp,
    TenantWrite, Trouble, Written,
};
use super::{d1, postgres, sqlite};
use crate::cursors::Cursors;
use crate::ownership::Visit;
use crate::{Error, Settings};

/// How often `verify` asks a Postgres destination whether it has caught up: half of a healthy
/// system's latency, so that waiting costs little more than the change takes anyway.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(10);

/// The same where each question costs some of a budget.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(2);

/// An open session. It serves one destination and never another one, also of the same tenant.
pub enum Session {
    Postgres(Box<postgres::Session>),
    Sqlite(sqlite::Session),
    D1(d1::Session),
}

/// What `verify` reads a destination through. A Postgres destination is compared by SQL in its own
/// words; see `verify/`.
#[derive(Clone, Copy)]
pub enum Reader<'a> {
    Postgres { client: &'a Client, schema: &'a Identifier },
    Sqlite(&'a sqlite::Session),
    D1(&'a d1::Session),
}

impl Reader<'_> {
    /// How long to wait before asking once more whether the destination has caught up.
    pub(crate) fn look_again_after(&self) -> Duration {
        match self {
            Self::Postgres { .. } | Self::Sqlite(_) => LOOK_AGAIN_AFTER,
            Self::D1(_) => ASK_AGAIN_AFTER,
        }
    }
}

impl Session {
    /// Dials a destination. `application_name` is what its server shows of us.
    pub async fn open(
        place: &Place,
        dialer: &Dialer,
        application_name: &str,
    ) -> Result<Self, Trouble> {
        match place {
            Place::Postgres { url, schema } => {
                let session = postgres::Session::open(url, schema, dialer, application_name);
                session.await.map(|session| Self::Postgres(Box::new(session)))
            }
            Place::Sqlite(file) => sqlite::Session::open(file).await.map(Self::Sqlite),
            Place::D1(database) => Ok(Self::D1(d1::Session::open(database))),
        }
    }

    /// When the certificate expires that the server showed; None: it showed none.
    pub fn certificate_expires_at(&self) -> Option<SystemTime> {
        match self {
            Self::Postgres(session) => session.connection.certificate_expires_at(),
            Self::Sqlite(_) | Self::D1(_) => None,
        }
    }

    pub(crate) fn closed(&self) -> bool {
        match self {
            Self::Postgres(session) => session.connection.is_closed(),
            Self::Sqlite(session) => session.closed(),
            Self::D1(_) => false,
        }
    }

    /// Why we ended the connection, if we did.
    pub fn cut(&self) -> Option<String> {
        match self {
            Self::Postgres(session) => session.connection.cut().map(|cut| cut.message()),
            Self::Sqlite(_) | Self::D1(_) => None,
        }
    }

    /// Ends, at the server, the statement that is still running there.
    pub(crate) fn cancel(&self) -> impl Future<Output = ()> + Send + 'static {
        let canceller = match self {
            Self::Postgres(session) => Some(Box::pin(session.connection.canceller())),
            Self::Sqlite(session) => {
                session.give_up();
                None
            }
            // A request that is on its way cannot be called back. It has its guards.
            Self::D1(_) => None,
        };
        async {
            if let Some(canceller) = canceller {
                canceller.await;
            }
        }
    }

    /// The facts about a destination that a turn decides by.
    pub(crate) async fn take_up(
        &self,
        spec: &DestinationSpec,
        mappings: &[Arc<ResolvedMapping>],
        settings: &Settings,
    ) -> Result<TakenUp, Error> {
        match self {
            Self::Postgres(session) => session.take_up(spec, mappings, settings).await,
            Self::Sqlite(session) => session.take_up(spec, mappings, settings).await,
            Self::D1(session) => session.take_up(spec, mappings).await,
        }
    }

    /// The cursors of other tenants in the same schema, as they are now: at most [`OTHERS_PAGE`],
    /// those that come after this tenant and mapping.
    pub(crate) async fn others(
        &self,
        spec: &DestinationSpec,
        mappings: &[Arc<ResolvedMapping>],
        after: Option<&(String, String)>,
        settings: &Settings,
    ) -> Result<Vec<OtherTenant>, Error> {
        match self {
            Self::Postgres(session) => {
                session.others(&spec.tenant_id, mappings, after, settings).await
            }
            Self::Sqlite(session) => {
                session.others(&spec.tenant_id, mappings, after, settings).await
            }
            Self::D1(session) => session.others(&spec.tenant_id, mappings, after).await,
        }
    }

    /// Why what is not there any more must not be made again. `told`: what the tables were when the
    /// source was last told.
    pub(crate) async fn not_mounted<'t>(
        &self,
        told: impl Iterator<Item = &'t str>,
    ) -> Result<Option<String>, Error> {
        match self {
            Self::Postgres(_) | Self::D1(_) => Ok(None),
            Self::Sqlite(session) => session.not_mounted(told).await,
        }
    }

    /// The statement with which an operator removes what is left there of a tenant that is gone.
    pub(crate) fn forget_tenant_statement(&self, tenant_id: &str) -> String {
        match self {
            Self::Postgres(session) => session.forget_tenant_statement(tenant_id),
            Self::Sqlite(session) => session.forget_tenant_statement(tenant_id),
            Self::D1(session) => session.forget_tenant_statement(tenant_id),
        }
    }

    /// Makes what is missing, sets the cursors of the copies that begin over what is there, and
    /// names the source that serves the tenant from now on.
    ///
    /// Nothing of it happens, and the error is [`Error::Stale`], if the destination is not as it
    /// was found. Where the schema is not shared, another tenant that began meanwhile makes it
    /// stale too: of two tenants that begin at once, only one may. Nothing of it happens either
    /// where the error is [`Error::Making`]. After both the session is fit for the next operation.
    pub(crate) async fn begin(
        &mut self,
        beginning: &Beginning<'_>,
        settings: &Settings,
    ) -> Result<Begun, Error> {
        match self {
            Self::Postgres(session) => session.begin(beginning, settings).await,
            Self::Sqlite(session) => session.begin(beginning, settings).await,
            Self::D1(session) => session.begin(beginning).await,
        }
    }

    /// Applies the batches of one or several tenants and moves their cursors: all of it, or
    /// nothing. A tenant whose cursors or tables are not those that its batch was read for is left
    /// out; its place in the answer is None. Rows that the destination refuses go to `aside` before
    /// anything is visible without them.
    pub(crate) async fn write(
        &mut self,
        writes: &[TenantWrite<'_>],
        aside: &Aside<'_>,
        settings: &Settings,
    ) -> Result<Vec<Option<Written>>, Error> {
        match self {
            Self::Postgres(session) => session.write(writes, aside, settings).await,
            Self::Sqlite(session) => session.write(writes, aside, settings).await,
            Self::D1(session) => session.write(writes, aside).await,
        }
    }

    /// [`take_up`](Self::take_up) for many tenants that share the place. None: something is to be
    /// made there first, or the tables are not fit for a group.
    pub(crate) async fn take_up_group(
        &self,
        specs: &[&DestinationSpec],
        mappings: &[Arc<ResolvedMapping>],
        settings: &Settings,
    ) -> Result<Option<GroupTakenUp>, Error> {
        match self {
            Self::Postgres(session) => session.take_up_group(specs, mappings, settings).await,
            Self::Sqlite(_) | Self::D1(_) => Ok(None),
        }
    }

    /// [`begin`](Self::begin) for many of them, where nothing is to be made. `first`: where the
    /// cursors of copies stand that begin. Returns the cursors of each as they stand then; None: it
    /// is left out, because its cursors are others by now, or another worker holds them.
    pub(crate) async fn begin_group(
        &mut self,
        beginnings: &[GroupBeginning<'_>],
        (mappings, first): (&[Arc<ResolvedMapping>], &Cursors),
        settings: &Settings,
    ) -> Result<Vec<Option<Cursors>>, Error> {
        match self {
            Self::Postgres(session) => {
                session.begin_group(beginnings, (mappings, first), settings).await
            }
            Self::Sqlite(_) | Self::D1(_) => Ok(beginnings.iter().map(|_| None).collect()),
        }
    }

    /// Applies the batches of many tenants that share the place, whose copies are complete, and moves
    /// their cursors: all of it, or nothing. A member whose cursors or tables are not those that its
    /// batch was read for is left out, and so is one whose cursors another worker holds. With them go
    /// the `visits`, one or none for each member.
    ///
    /// A row that the destination refuses is an error, and so is whatever concerns one mapping only:
    /// then the same is to be tried for fewer members, in the end by [`write`](Self::write).
    pub(crate) async fn write_group(
        &mut self,
        writes: &[TenantWrite<'_>],
        visits: &[Option<&Visit>],
        settings: &Settings,
    ) -> Result<GroupWritten, Error> {
        match self {
            Self::Postgres(session) => session.write_group(writes, visits, settings).await,
            Self::Sqlite(_) | Self::D1(_) => Err(Error::Stale),
        }
    }

    /// Tells the tenant what the audits of its copies found. Nothing of it happens, and the answer
    /// is None, if another worker moved the cursors. Otherwise it is the cursors as they stand
    /// then.
    pub(crate) async fn tell_audits(
        &self,
        spec: &DestinationSpec,
        expected: &Cursors,
        audits: &[AuditResult],
        settings: &Settings,
    ) -> Result<Option<Cursors>, Error> {
        match self {
            Self::Postgres(session) => session.tell_audits(spec, expected, audits, settings).await,
            Self::Sqlite(session) => session.tell_audits(spec, expected, audits, settings).await,
            Self::D1(session) => session.tell_audits(spec, expected, audits).await,
        }
    }

    /// Runs statements of the destination's dialect in one transaction. None: there is no database
    /// yet, which a file is until a first copy begins.
    pub(crate) async fn transact(
        &self,
        statements: &[Asked],
        settings: &Settings,
    ) -> Result<Option<Vec<Answer>>, Error> {
        match self {
            Self::Postgres(session) => session.transact(statements, settings).await.map(Some),
            Self::Sqlite(session) => session.transact(statements, settings).await,
            Self::D1(session) => session.transact(statements).await.map(Some),
        }
    }

    /// A table of the destination's schema as its statements name it.
    pub(crate) fn qualified(&self, table: &Identifier) -> String {
        match self {
            Self::Postgres(session) => format!("{}.{}", session.schema.sql(), table.sql()),
            Self::Sqlite(_) | Self::D1(_) => table.sql(),
        }
    }

    /// The tenant's cursors as they stand there now; none where there is no state table.
    pub async fn cursors(&self, tenant_id: &str) -> Result<Cursors, Trouble> {
        match self {
            Self::Postgres(session) => session.cursors(tenant_id).await,
            Self::Sqlite(session) => session.cursors(tenant_id).await,
            Self::D1(session) => session.cursors(tenant_id).await,
        }
    }

    /// What of the destination's server matters beside its tables.
    pub async fn health(&self) -> Result<Health, Trouble> {
        match self {
            Self::Postgres(session) => session.health().await,
            Self::Sqlite(session) => session.health().await,
            Self::D1(session) => session.health().await,
        }
    }

    /// For reading the copies.
    pub fn reader(&self) -> Reader<'_> {
        match self {
            Self::Postgres(session) => {
                Reader::Postgres { client: &session.connection, schema: &session.schema }
            }
            Self::Sqlite(session) => Reader::Sqlite(session),
            Self::D1(session) => Reader::D1(session),
        }
    }

    /// What the destination has under a mapping's name.
    pub async fn table_of(&self, mapping: &ResolvedMapping) -> Result<Copied, Trouble> {
        match self {
            Self::Postgres(session) => session.table_of(mapping).await,
            Self::Sqlite(session) => session.table_of(mapping).await,
            Self::D1(session) => session.table_of(mapping).await,
        }
    }

    /// What copies of the mappings would run into there, in their order; None if nothing. The
    /// tables are made and written to in a transaction that is rolled back; one that is there is
    /// only looked at.
    pub async fn try_tables(
        &self,
        spec: &DestinationSpec,
        mappings: &[Arc<ResolvedMapping>],
    ) -> Result<Vec<Option<String>>, Trouble> {
        match self {
            Self::Postgres(session) => session.try_tables(spec, mappings).await,
            Self::Sqlite(session) => session.try_tables(mappings).await,
            Self::D1(session) => session.try_tables(mappings).await,
        }
    }

    /// Tables that Offtake made there and that none of the `received` mappings writes.
    pub async fn orphans(&self, received: &[&Mapping]) -> Result<Vec<OrphanTable>, Trouble> {
        match self {
            Self::Postgres(session) => session.orphans(received).await,
            Self::Sqlite(session) => session.orphans(received).await,
            Self::D1(session) => session.orphans(received).await,
        }
    }

    /// Drops all of these tables or none, with the cursors of mappings that are gone.
    pub async fn drop_orphans(&mut self, orphans: &[OrphanTable]) -> Result<(), Trouble> {
        match self {
            Self::Postgres(session) => session.drop_orphans(orphans).await,
            Self::Sqlite(session) => session.drop_orphans(orphans).await,
            Self::D1(session) => session.drop_orphans(orphans).await,
        }
    }

    /// What a tenant that left has there.
    pub async fn remains(&self, leaver: &Leaver<'_>) -> Result<Remains, Trouble> {
        match self {
            Self::Postgres(session) => session.remains(leaver).await,
            Self::Sqlite(session) => session.remains(leaver).await,
            Self::D1(session) => session.remains(leaver).await,
        }
    }

    /// Has no worker write for the tenant any more what it has read before. To be called when no
    /// worker can claim its destination any more.
    pub async fn fence_off(&self, leaver: &Leaver<'_>) -> Result<(), Trouble> {
        match self {
            Self::Postgres(session) => session.fence_off(leaver).await,
            Self::Sqlite(session) => session.fence_off(leaver).await,
            Self::D1(session) => session.fence_off(leaver).await,
        }
    }

    /// Deletes the tenant's rows, a few at a time, and tells how many after each step. A failure
    /// leaves some of them deleted; the next call goes on.
    pub async fn purge(
        &self,
        remains: &Remains,
        tell: &(dyn Fn(u64) + Sync),
    ) -> Result<(), Trouble> {
        match self {
            Self::Postgres(session) => session.purge(remains, tell).await,
            Self::Sqlite(session) => session.purge(remains, tell).await,
            Self::D1(session) => session.purge(remains, tell).await,
        }
    }
}
