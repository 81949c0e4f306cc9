//! Into what a snapshot is restored: a destination, another schema beside it, or another database.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use offtake_admin::operations::named_destinations;
use offtake_jobs::snapshots::Card;
use offtake_jobs::{PublicId, Store};
use offtake_mapping::{Identifier, MappingSet, ResolvedMapping, foreign};
use offtake_postgres::{Connection, ConnectionString, Dialer, Fault, SqlState, catalog};
use offtake_sync::destinations::{
    DestinationSpec, Place, RestoreError, RestoreInto, RestoredTo, Restoring,
};

use super::super::super::registry_names::{of_tenant, unknown, unreadable};
use super::super::create::at_source;
use super::super::told::ONE_AFTER_THE_OTHER;
use super::super::{store, told};
use super::{Loaded, load, shape};
use crate::arguments::shown;
use crate::command_line::RestoreTo;
use crate::context::{Context, text_file};
use crate::outcome::{Exit, Failure};

/// For one statement: the largest table is compared and merged by one each.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// The archive of a snapshot: where it is, its id and its card.
pub(in crate::commands::snapshot) type Of<'a> = (&'a Store, &'a PublicId, &'a Card);

pub(in crate::commands::snapshot) struct Target {
    /// As people name it.
    pub(super) label: String,
    pub(super) spec: DestinationSpec,
    pub(super) mappings: Vec<Arc<ResolvedMapping>>,
    pub(super) into: RestoreInto,
    /// The id of a destination that follows the source.
    pub(super) registered: Option<i64>,
}

impl Target {
    pub(super) async fn find(
        context: &Context,
        source: &Connection,
        loaded: &Loaded,
        (tenant, to): (&str, &RestoreTo),
    ) -> Result<Self, Failure> {
        let set = catalog::resolve(source, context.mappings()?).await?;
        store::require_tenant(&loaded.contents, &at_source(source, &set, tenant).await)?;
        let (spec, place) = match &to.url_file {
            Some(_) => (None, of_file(to)?),
            None => {
                let spec = named(context, source, &set, (tenant, to)).await?;
                let place = (*spec.place).clone();
                (Some(spec), place)
            }
        };
        let Place::Postgres { url, schema } = place else {
            let label = spec.map_or_else(String::new, |spec| spec.label());
            return Err(Failure::new(Exit::Usage, format!("{label} is no Postgres database"))
                .because("a snapshot is restored into Postgres only")
                .remedy("give the URL of a Postgres database with --url-file"));
        };
        match (spec, &to.schema) {
            (Some(spec), None) => Self::following(source, &set, spec, loaded).await,
            (_, given) => Self::other(loaded, url, given.as_deref().map_or(Ok(schema), name)?),
        }
    }

    /// A destination, whose tables must be of the archive's shapes.
    async fn following(
        source: &Connection,
        set: &MappingSet,
        spec: DestinationSpec,
        loaded: &Loaded,
    ) -> Result<Self, Failure> {
        let mut differ = Vec::new();
        let mut mappings = Vec::new();
        for table in &loaded.contents.tables {
            match set.get(&table.mapping) {
                None => differ.push(format!("{}: there is no such mapping now", table.mapping)),
                Some(now) => differ.extend(shape::difference(table, now)),
            }
            let received = spec.received(set).find(|mapping| mapping.name() == table.mapping);
            mappings.extend(received.cloned());
        }
        if !differ.is_empty() {
            let what = format!("{} does not fit the tables as they are now", loaded.contents.id);
            let moment: String =
                loaded.contents.id.chars().skip("snap_".len()).take("20261128".len()).collect();
            return Err(Failure::new(Exit::Failed, what)
                .because(differ.join("; "))
                .remedy(format!("restore it beside the copy: add --schema restored_{moment}")));
        }
        let known = named_destinations(source, Some(&spec.tenant_id), Some(&spec.name)).await;
        let known = known.map_err(|error| unreadable(&error))?;
        let Some(registered) = known.first().map(|named| named.destination_id) else {
            let what = format!("{} is not known to a daemon yet", spec.label());
            return Err(Failure::new(Exit::Failed, what).remedy(
                "start `offtake run`, which makes the first copy, and then run this again",
            ));
        };
        Ok(Self {
            label: spec.label(),
            spec,
            mappings,
            into: RestoreInto::Following,
            registered: Some(registered),
        })
    }

    /// A schema that no daemon writes to, with tables of the archive's shapes.
    fn other(loaded: &Loaded, url: ConnectionString, schema: Identifier) -> Result<Self, Failure> {
        let label = format!("schema {} of {}", foreign(schema.as_str()), foreign(&url.place()));
        Self::at(loaded, url, schema, label)
    }

    pub(in crate::commands::snapshot) fn at(
        loaded: &Loaded,
        url: ConnectionString,
        schema: Identifier,
        label: String,
    ) -> Result<Self, Failure> {
        let mut mappings = Vec::new();
        for table in &loaded.contents.tables {
            mappings.push(shape::mapping_of(table).map_err(|why| {
                let what = format!("the table of {} cannot be made", foreign(&table.mapping));
                Failure::new(Exit::Failed, what).because(why)
            })?);
        }
        let tenant = loaded.contents.tenant.clone();
        let spec = DestinationSpec {
            tenant_id: tenant.clone(),
            tenant_at_source: tenant,
            name: "restored".to_owned(),
            place: Arc::new(Place::Postgres { url, schema }),
            mappings: None,
            shared: false,
        };
        Ok(Self { label, spec, mappings, into: RestoreInto::Other, registered: None })
    }

    /// Opens a transaction there, and stages the rows in it.
    pub(super) async fn stage(
        &self,
        (store, id, card): Of<'_>,
        loaded: &Loaded,
        dialer: &Dialer,
    ) -> Result<Restoring, Failure> {
        let (spec, mappings) = (&self.spec, &self.mappings);
        let begun = Restoring::begin(spec, mappings, self.into, dialer, STATEMENT_TIMEOUT);
        let restoring = begun.await.map_err(|error| self.failure(id, &error))?;
        let staged = loaded.stage(store, id, card, &restoring).await;
        staged.map_err(|error| match error {
            load::Error::Archive(error) => {
                told::failure(format!("the snapshot {id} cannot be used"), &error)
            }
            load::Error::There(error) => self.failure(id, &error),
        })?;
        Ok(restoring)
    }

    /// Restores, and compares what is there with the archive once more.
    pub(in crate::commands::snapshot) async fn drill(
        &self,
        of: Of<'_>,
        loaded: &Loaded,
        dialer: &Dialer,
    ) -> Result<(), Failure> {
        let failure = |error: RestoreError| self.failure(of.1, &error);
        let to = RestoredTo {
            sequence_id: of.2.sequence_id,
            epoch: of.2.epoch.clone(),
            epoch_now: of.2.epoch.clone(),
            versions: Vec::new(),
        };
        let restoring = self.stage(of, loaded, dialer).await?;
        for mapping in &self.mappings {
            restoring.differences(mapping).await.map_err(failure)?;
        }
        restoring.merge(&to, async || Ok(())).await.map_err(failure)?;
        let again = self.stage(of, loaded, dialer).await?;
        for mapping in &self.mappings {
            if again.differences(mapping).await.map_err(failure)?.any() {
                let why = format!("{} is there otherwise than it was loaded", mapping.name());
                return Err(failure(RestoreError::Unfit(why)));
            }
        }
        Ok(())
    }

    pub(super) fn failure(&self, id: &PublicId, error: &RestoreError) -> Failure {
        failure(format!("cannot restore {id} into {}", self.label), error)
    }
}

/// The destination of the tenant that is named; its only one, if none is.
async fn named(
    context: &Context,
    source: &Connection,
    set: &MappingSet,
    (tenant, to): (&str, &RestoreTo),
) -> Result<DestinationSpec, Failure> {
    let list = context.spelt_destinations(source, set).await?;
    let list = of_tenant(source, set, list, Some(tenant)).await?;
    if let Some(refused) = list.refused.first() {
        let what = format!("{}/{} is not served", foreign(tenant), foreign(&refused.name));
        return Err(Failure::new(Exit::Failed, what).because(&refused.why));
    }
    let names = || list.usable.iter().map(|spec| spec.name.as_str());
    let found = match &to.destination {
        Some(name) => list.usable.iter().find(|spec| spec.name == *name),
        None => list.usable.first().filter(|_| list.usable.len() == 1),
    };
    match (found, &to.destination) {
        (Some(spec), _) => Ok(spec.clone()),
        (None, Some(name)) => Err(unknown(
            format!("the tenant {} has no destination named {name}", foreign(tenant)),
            name,
            names(),
        )),
        (None, None) => {
            let known = names().collect::<Vec<_>>().join(", ");
            let what = format!("the tenant {} has several destinations", foreign(tenant));
            Err(Failure::new(Exit::Usage, what)
                .remedy(format!("name one of {} with --destination", foreign(&known))))
        }
    }
}

/// The database of `--url-file`, under the rules for destinations.
fn of_file(to: &RestoreTo) -> Result<Place, Failure> {
    let file = to.url_file.as_deref().unwrap_or(Path::new(""));
    let text = text_file::read(file, text_file::SECRET_BYTES_MAX).map_err(|error| {
        let what = format!("cannot read {}", shown(&file.to_string_lossy()));
        Failure::new(Exit::Usage, what)
            .because(error.to_string())
            .remedy("name a file that has a postgres:// URL and nothing else")
    })?;
    let url = ConnectionString::destination(text.trim(), to.ca_file.as_deref());
    let url = url.map_err(|error| {
        Failure::new(Exit::Usage, format!("the URL {}", error.what))
            .because(error.why)
            .remedy(error.remedy)
    })?;
    Ok(Place::Postgres { url, schema: name("public")? })
}

fn name(text: &str) -> Result<Identifier, Failure> {
    Identifier::new(text).map_err(|error| {
        Failure::new(Exit::Usage, "--schema cannot be used")
            .because(error.to_string())
            .remedy("write a name of 1 to 63 bytes")
    })
}

/// The failure for what could not be done at the database that is restored into.
fn failure(what: String, error: &RestoreError) -> Failure {
    let untouched = "nothing was changed there";
    match error {
        RestoreError::Unfit(why) => {
            Failure::new(Exit::Failed, what).because(why).because(untouched)
        }
        RestoreError::OutcomeUnknown(trouble) => {
            Failure::new(Exit::Unreachable, what).because(&trouble.reason)
        }
        RestoreError::Trouble(trouble) => {
            let exit = match trouble.fault {
                Fault::Unreachable => Exit::Unreachable,
                _ => Exit::Failed,
            };
            let failure = Failure::new(exit, what).because(&trouble.reason).because(untouched);
            let failure = failure.of_class(trouble.fault.as_str(), trouble.code.as_deref());
            let exchanged = trouble.code.as_deref() == Some(SqlState::UNIQUE_VIOLATION.code());
            match trouble.fault {
                Fault::Unreachable | Fault::Transient => failure.remedy("run it again"),
                _ if exchanged => failure.because(ONE_AFTER_THE_OTHER).remedy(
                    "give those rows other values there for the moment and run it again, or restore \
                     beside the copy with --schema",
                ),
                _ => failure.remedy("mend that, or restore beside the copy with --schema"),
            }
        }
    }
}
