//! What a command line names, looked for in the registry; what is not there is answered with the
//! nearest name that is.

use jiff::{SignedDuration, Timestamp};
use offtake_admin::operations::{Named, named_destinations};
use offtake_mapping::nearest;
use tokio_postgres::Client;

use super::status::unreadable;
use crate::outcome::{Exit, Failure};

/// The tenant's destinations, or the one of that name. At least one.
pub(super) async fn destinations(
    source: &Client,
    tenant: &str,
    name: Option<&str>,
) -> Result<Vec<Named>, Failure> {
    let of_tenant =
        named_destinations(source, Some(tenant), None).await.map_err(|error| unreadable(&error))?;
    if of_tenant.is_empty() {
        let all =
            named_destinations(source, None, None).await.map_err(|error| unreadable(&error))?;
        return Err(unknown_tenant(tenant, &all));
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

/// That the registry knows what is named, where something is.
pub(super) async fn check(
    source: &Client,
    tenant: Option<&str>,
    destination: Option<&str>,
    mapping: Option<&str>,
) -> Result<(), Failure> {
    let known = match tenant {
        Some(tenant) => destinations(source, tenant, destination).await?,
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
    mapping.map_or(Ok(()), |mapping| check_mapping(mapping, &known))
}

/// That one of the destinations receives the mapping.
pub(super) fn check_mapping(mapping: &str, destinations: &[Named]) -> Result<(), Failure> {
    let received = || destinations.iter().flat_map(|d| &d.mappings).map(String::as_str);
    if received().any(|name| name == mapping) {
        return Ok(());
    }
    Err(unknown(
        format!("no destination asked for receives a mapping named {mapping}"),
        mapping,
        received(),
    ))
}

pub(super) fn unknown_tenant(tenant: &str, all: &[Named]) -> Failure {
    let failure = unknown(
        format!("the tenant {tenant} has no destination"),
        tenant,
        all.iter().map(|d| d.tenant.as_str()),
    );
    if all.is_empty() {
        failure.remedy(
            "none is known yet: start `offtake run`, which reads them from the configuration",
        )
    } else {
        failure
    }
}

/// A name that means nothing here.
pub(super) fn unknown<'a>(
    message: String,
    name: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Failure {
    let failure = Failure::new(Exit::Usage, message);
    match nearest(name, known) {
        Some(meant) => failure.remedy(format!("did you mean {meant}?")),
        None => failure.remedy("`offtake status` lists what a running daemon has seen"),
    }
}

/// The operator's reason, in brackets behind what was done.
pub(super) fn because(reason: Option<&str>) -> String {
    reason.map(|reason| format!(" ({reason})")).unwrap_or_default()
}

/// `until 14:05:00 UTC (in 30m)`, or `until resumed`: when something goes on by itself.
pub(super) fn until(at: Option<Timestamp>, otherwise: &str) -> String {
    match at {
        Some(at) => {
            let left = at.duration_since(Timestamp::now()).max(SignedDuration::ZERO);
            format!(
                "until {} ({} left)",
                at.strftime("%Y-%m-%d %H:%M:%S UTC"),
                span(left.as_secs_f64())
            )
        }
        None => otherwise.to_owned(),
    }
}

/// Seconds as a person says them: `0.4s`, `12s`, `3m 20s`, `2h 5m`, `3d 4h`.
pub(super) fn span(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..=9 if seconds < 10.0 => format!("{seconds:.1}s"),
        0..60 => format!("{whole}s"),
        60..3_600 => format!("{}m {}s", whole / 60, whole % 60),
        3_600..86_400 => format!("{}h {}m", whole / 3_600, whole % 3_600 / 60),
        _ => format!("{}d {}h", whole / 86_400, whole % 86_400 / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_by_people() {
        for (seconds, expect) in [
            (0.0, "0.0s"),
            (0.44, "0.4s"),
            (12.3, "12s"),
            (200.0, "3m 20s"),
            (7_500.0, "2h 5m"),
            (273_600.0, "3d 4h"),
        ] {
            assert_eq!(span(seconds), expect);
        }
    }
}
