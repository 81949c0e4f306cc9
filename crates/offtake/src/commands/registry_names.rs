//! Looking up the names on the command line, in the registry or in the list of destinations. The
//! failure for a name that is not there suggests the nearest one that is.

use offtake_admin::operations::{Named, named_destinations};
use offtake_mapping::{MappingSet, foreign, nearest};
use offtake_sync::destinations::DestinationSpec;
use tokio_postgres::Client;

use super::tenant_names::Typed;
use crate::arguments::shown;
use crate::context::Context;
use crate::context::destination_list::DestinationList;
use crate::outcome::{Exit, Failure};
use offtake_postgres::chain;

/// The tenant's destinations, or the one with that name. Returns at least one; all of them have the
/// tenant as the configuration spells it, which `tenant` need not.
pub(super) async fn destinations(
    context: &Context,
    source: &Client,
    tenant: &str,
    name: Option<&str>,
) -> Result<Vec<Named>, Failure> {
    let mut of_tenant =
        named_destinations(source, Some(tenant), None).await.map_err(|error| unreadable(&error))?;
    if of_tenant.is_empty() {
        let mut all =
            named_destinations(source, None, None).await.map_err(|error| unreadable(&error))?;
        let Some(configured) = configured(context, source, tenant, &all).await? else {
            return Err(unknown_tenant(tenant, &all));
        };
        all.retain(|d| d.tenant == configured);
        of_tenant = all;
    }
    let known: Vec<String> = of_tenant.iter().map(|d| d.name.clone()).collect();
    let wanted: Vec<Named> =
        of_tenant.into_iter().filter(|d| name.is_none_or(|name| name == d.name)).collect();
    match name {
        Some(name) if wanted.is_empty() => Err(unknown(
            format!("the tenant {tenant} has no destination named {name}"),
            name,
            known.iter().map(String::as_str),
        )),
        _ => Ok(wanted),
    }
}

/// The tenant as the configuration spells it; None where no destination is that tenant's.
pub(super) async fn configured(
    context: &Context,
    source: &Client,
    tenant: &str,
    all: &[Named],
) -> Result<Option<String>, Failure> {
    let typed = Typed::read(context, source, tenant).await;
    typed.configured(all.iter().map(|d| (d.tenant.as_str(), d.tenant_at_source.as_str())))
}

/// Checks that the registry knows every name that is given. Returns the tenant as the configuration
/// spells it.
pub(super) async fn check(
    context: &Context,
    source: &Client,
    tenant: Option<&str>,
    destination: Option<&str>,
    mapping: Option<&str>,
) -> Result<Option<String>, Failure> {
    let known = match tenant {
        Some(tenant) => destinations(context, source, tenant, destination).await?,
        None => named_destinations(source, None, None).await.map_err(|error| unreadable(&error))?,
    };
    if let Some(name) = destination
        && !known.iter().any(|d| d.name == name)
    {
        return Err(unknown(
            format!("there is no destination named {name}"),
            name,
            known.iter().map(|d| d.name.as_str()),
        ));
    }
    mapping.map_or(Ok(()), |mapping| check_mapping(mapping, &known))?;
    Ok(tenant.and_then(|_| known.first()).map(|d| d.tenant.clone()))
}

/// Checks that one of the destinations receives the mapping.
pub(super) fn check_mapping(mapping: &str, destinations: &[Named]) -> Result<(), Failure> {
    let received = || destinations.iter().flat_map(|d| &d.mappings).map(String::as_str);
    if received().any(|name| name == mapping) {
        return Ok(());
    }
    Err(not_received(mapping, received()))
}

/// The failure for a mapping that none of the destinations receives which the command is about.
pub(super) fn not_received<'a>(
    mapping: &str,
    received: impl IntoIterator<Item = &'a str>,
) -> Failure {
    let message = format!("no destination asked for receives a mapping named {mapping}");
    unknown(message, mapping, received)
}

/// The names of the set's mappings that one of the destinations receives.
pub(super) fn received_names<'a>(
    set: &'a MappingSet,
    destinations: &[DestinationSpec],
) -> impl Iterator<Item = &'a str> {
    let names = set.mappings().iter().map(|mapping| mapping.name());
    names.filter(|name| destinations.iter().any(|spec| spec.receives(name)))
}

/// Checks that the destinations of a tenant are served: one that is refused would never do what
/// the command asks of it.
pub(super) fn check_served(destinations: &[Named]) -> Result<(), Failure> {
    let refused = destinations.iter().find_map(|d| Some((d, d.refused.clone()?)));
    let Some((Named { tenant, name, .. }, why)) = refused else { return Ok(()) };
    let what = format!("{}/{} is not served", foreign(tenant), foreign(name));
    Err(Failure::new(Exit::SomeDestinationsFailed, what).because(why))
}

/// The destinations of the list that belong to the tenant; all of them where none is named. The
/// list has the tenants in the source's spelling, by the mappings of `set`.
pub(super) async fn of_tenant(
    source: &Client,
    set: &MappingSet,
    mut list: DestinationList,
    tenant: Option<&str>,
) -> Result<DestinationList, Failure> {
    let Some(tenant) = tenant else { return Ok(list) };
    let usable = list.usable.iter().map(|s| (s.tenant_id.as_str(), s.tenant_at_source.as_str()));
    let refused = list.refused.iter().map(|r| (r.tenant_id.as_str(), r.tenant_id.as_str()));
    let known: Vec<(&str, &str)> = usable.chain(refused).collect();
    let meant = if known.iter().any(|(id, _)| *id == tenant) {
        Some(tenant.to_owned())
    } else {
        Typed::of_set(source, set, tenant).await.configured(known.iter().copied())?
    };
    let Some(meant) = meant else {
        let message = format!("the tenant {tenant} has no destination");
        return Err(unknown(message, tenant, known.iter().map(|(id, _)| *id)));
    };
    list.usable.retain(|spec| spec.tenant_id == meant);
    list.refused.retain(|refused| refused.tenant_id == meant);
    Ok(list)
}

/// The failure for a tenant that none of `all` destinations belongs to.
pub(super) fn unknown_tenant(tenant: &str, all: &[Named]) -> Failure {
    let failure = unknown(
        format!("the tenant {tenant} has no destination"),
        tenant,
        all.iter().map(|d| d.tenant.as_str()),
    );
    if all.is_empty() {
        failure.remedy(
            "none is known yet: start `offtake run`, which reads them from the configuration; a daemon \
             that has just started does so within seconds",
        )
    } else {
        failure
    }
}

/// The failure for a name that is not among the known ones.
pub(super) fn unknown<'a>(
    message: String,
    name: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Failure {
    let message = if name.is_empty() { message } else { message.replace(name, &shown(name)) };
    let failure = Failure::new(Exit::Usage, message);
    let known: Vec<&str> = known.into_iter().collect();
    let respelt = known.iter().copied().find(|known| known.eq_ignore_ascii_case(name));
    match respelt.or_else(|| nearest(name, known)) {
        Some(meant) => failure.remedy(format!("did you mean {}?", foreign(meant))),
        None => failure.remedy("`offtake status` lists what a running daemon has seen"),
    }
}

/// The failure for an error of the admin crate, which reads and writes the schema `offtake`.
/// The failure of a statement on the tables of jobs.
pub(super) fn unreadable_jobs(error: offtake_postgres::Error) -> Failure {
    unreadable(&error.into())
}

pub(super) fn unreadable(error: &offtake_admin::Error) -> Failure {
    const WHAT: &str = "cannot read from, or write to, the schema offtake of the source";
    let failure = match error {
        offtake_admin::Error::Source(error) => Failure::of_source(WHAT, error),
        other => Failure::new(Exit::Failed, WHAT).because(chain(other)),
    };
    match error.hint() {
        Some(hint) => failure.remedy(hint),
        None => failure,
    }
}
