//! What only a look at the destinations tells: whether each answers now, and how the key's row
//! compares. A destination that does not answer is part of the story and fails nothing.

use std::time::Duration;

use futures_util::future::join_all;
use offtake_admin::why::{Kind, Row, Why};
use offtake_mapping::MappingSet;
use offtake_postgres::Connection;
use offtake_sync::destinations::{DestinationSpec, Session};
use offtake_sync::verify::{Options, VerifyTarget, verify_key};

use super::AskedKey;
use crate::context::Context;

/// For all that is said to one destination, its login included.
const DESTINATION_WITHIN: Duration = Duration::from_secs(10);

/// For one statement that compares the row. A lookup by key takes milliseconds; without an index it
/// reads the tenant's rows.
const COMPARED_WITHIN: Duration = Duration::from_secs(5);

/// A destination with a lock that is not free is told so.
const LOCK_WITHIN: Duration = Duration::from_secs(1);

pub(super) async fn at_destinations(
    context: &Context,
    source: &Connection,
    set: &MappingSet,
    why: &mut Why,
    key: Option<&AskedKey>,
) {
    let listing = context.spelt_destinations(source, set);
    let Ok(Ok(list)) = tokio::time::timeout(DESTINATION_WITHIN, listing).await else { return };
    let of_tenant: Vec<DestinationSpec> =
        list.usable.into_iter().filter(|spec| spec.tenant_id == why.tenant).collect();
    let opened = of_tenant.iter().map(|spec| async move { (spec, open(context, spec).await) });
    for (spec, session) in join_all(opened).await {
        let named = |kind: Kind, name: &str| kind == Kind::Destination && name == spec.name;
        let Some(item) = why.items.iter_mut().find(|i| named(i.kind, &i.name)) else { continue };
        let session = match session {
            Ok(session) => session,
            Err(error) => {
                item.answered(Err(error));
                continue;
            }
        };
        item.answered(Ok(()));
        if let (Some(story), Some(AskedKey { values: Some(values), .. })) = (&mut item.key, key) {
            let row = compare(source, &session, spec, set, &story.mapping, values).await;
            story.compared(&why.tenant, row);
        }
    }
}

async fn open(context: &Context, spec: &DestinationSpec) -> Result<Session, String> {
    let answer = async {
        let session = Session::open(&spec.place, &context.dialer, "offtake why").await;
        let session = session.map_err(|trouble| trouble.reason)?;
        let cursors = session.cursors(&spec.tenant_id).await;
        cursors.map(|_| session).map_err(|trouble| trouble.reason)
    };
    let late = || Err(format!("no answer within {} s", DESTINATION_WITHIN.as_secs()));
    tokio::time::timeout(DESTINATION_WITHIN, answer).await.unwrap_or_else(|_| late())
}

async fn compare(
    source: &Connection,
    session: &Session,
    spec: &DestinationSpec,
    set: &MappingSet,
    mapping: &str,
    values: &[String],
) -> Row {
    let unknown = |error: String| Row {
        at_source: None,
        at_destination: None,
        equal: None,
        error: Some(error),
    };
    let Some(mapping) = spec.received(set).find(|m| m.name() == mapping) else {
        return unknown("the mapping files do not give it to this destination".to_owned());
    };
    let target = VerifyTarget {
        mapping,
        tenant_id: &spec.tenant_id,
        tenant_at_source: &spec.tenant_at_source,
    };
    let options = Options {
        statement_timeout: COMPARED_WITHIN,
        lock_timeout: Some(LOCK_WITHIN),
        ..Options::default()
    };
    match verify_key(source, session.reader(), &target, &options, values).await {
        Ok(found) => Row {
            at_source: Some(found.at_source),
            at_destination: Some(found.at_destination),
            equal: Some(found.equal),
            error: None,
        },
        Err(error) => unknown(session.cut().unwrap_or_else(|| error.message())),
    }
}
