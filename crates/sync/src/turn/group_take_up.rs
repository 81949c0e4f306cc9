//! Taking up many tenants of one place: which of them stand, and for which copies begin.
//!
//! It decides what [`Turn::take_up`](super::Turn) decides, for tenants of whom nothing is in doubt.
//! A tenant that is in doubt is taken up alone.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use offtake_loops::metrics as names;
use offtake_mapping::ResolvedMapping;
use offtake_postgres::PooledConnection;
use offtake_reading::{Head, read_head};

use super::group::{Left, link};
use super::group_queue::Member;
use super::limits::within_deadline;
use super::per_place::doubt_all;
use super::{Context, Turn};
use crate::cursors::{Cursor, Cursors, Identities};
use crate::destinations::{DestinationSpec, GroupBeginning, GroupTakenUp, KnownState, Link};
use crate::ownership::{Here, Right, Served, Visit};
use crate::record;
use crate::{Error, sql};

/// What taking members up has found.
pub(super) enum TakenUp {
    Ready {
        /// All copies are complete, and the cursors stand.
        standing: Vec<Member>,
        /// All copies have begun.
        beginning: Vec<Member>,
    },
    /// Something is to be made in the place, or told of it, that one tenant's turn makes or tells.
    Unready(Vec<Member>),
}

/// What is decided of a member.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Stands,
    /// All its copies begin. `lost`: the source was told of them, and they are no longer there.
    Begins {
        lost: bool,
    },
    Alone,
}

/// What the source was told of a mapping after a commit at the destination.
struct Told {
    identity: String,
    sequence_id: i64,
    need: Option<String>,
}

/// Takes the members up. Those who are in doubt have their answer.
pub(super) async fn take_up(context: &Context, members: Vec<Member>) -> Result<TakenUp, Left> {
    match looked_at(context, &members).await {
        Ok(None) => Ok(TakenUp::Unready(members)),
        Ok(Some(decided)) => Ok(ready(context, members, decided)),
        Err(error) => Err(Left::after(members, &error)),
    }
}

fn ready(context: &Context, members: Vec<Member>, decided: Vec<Decided>) -> TakenUp {
    let (mut standing, mut beginning) = (Vec::new(), Vec::new());
    for (mut member, decided) in members.into_iter().zip(decided) {
        (member.known, member.visit) = (decided.known, decided.visit);
        match decided.verdict {
            _ if member.known.is_none() => member.goes_alone(context),
            Verdict::Stands => standing.push(member),
            Verdict::Begins { .. } => beginning.push(member),
            Verdict::Alone => member.goes_alone(context),
        }
    }
    TakenUp::Ready { standing, beginning }
}

/// What taking a member up has come to.
struct Decided {
    verdict: Verdict,
    known: Option<KnownState>,
    /// The destination has the name of this source already, and is told of the visit later.
    visit: Option<Visit>,
}

/// None: see [`TakenUp::Unready`].
async fn looked_at(context: &Context, members: &[Member]) -> Result<Option<Vec<Decided>>, Error> {
    let first = &members[0];
    let mut link = link(context, &first.registered).await?;
    let mappings = &first.registered.mappings;
    let specs: Vec<&DestinationSpec> = members.iter().map(|of| &*of.registered.spec).collect();
    let id = first.claim.destination_id;
    let work = link.session.take_up_group(&specs, mappings, &context.settings);
    let Some(found) = within_deadline(context, id, work).await? else {
        context.links.keep_of_place(link);
        return Ok(None);
    };
    let turn = Turn::new(context, &first.claim, first.registered.clone(), mappings.to_vec());
    if turn.rival(&link).await?.is_some() {
        context.links.keep_of_place(link);
        return Ok(None);
    }
    metrics::counter!(names::TAKE_UPS_TOTAL).increment(members.len() as u64);
    let decided = decide(context, members, found, &mut link).await?;
    context.links.keep_of_place(link);
    Ok(Some(decided))
}

async fn decide(
    context: &Context,
    members: &[Member],
    found: GroupTakenUp,
    link: &mut Link,
) -> Result<Vec<Decided>, Error> {
    // Read after the cursors: a cursor that is beyond this head is not of this history.
    let source = context.pool.get().await.map_err(Error::Source)?;
    let head = read_head(&source).await?;
    let told = told(&source, members).await?;
    let asked: Vec<_> = members
        .iter()
        .zip(&found.members)
        .map(|(of, (_, served))| (of.claim.destination_id, of.claim.lease, served.as_ref()))
        .collect();
    let heres = Here::read_all(&source, &asked).await?;
    let judge = Judge { context, head: &head, found: &found, told: &told };
    let mut verdicts: Vec<Verdict> =
        (0..members.len()).map(|at| judge.verdict(&members[at], at, &heres[at])).collect();
    let lost = verdicts.iter().filter(|of| matches!(of, Verdict::Begins { lost: true })).count();
    let visiting: Vec<(i64, Option<&Served>)> = (0..members.len())
        .filter(|at| verdicts[*at] != Verdict::Alone)
        .map(|at| (asked[at].0, asked[at].2, &heres[at]))
        .filter(|(id, served, here)| context.visits.due(*id) || !here.named_by(*served))
        .map(|(id, served, _)| (id, served))
        .collect();
    let mut visits = match heres.first() {
        Some(here) if !visiting.is_empty() => {
            here.begin_visits(&source, &visiting, &context.visits.daemon).await?
        }
        _ => HashMap::new(),
    };
    // Not held while the destination is asked.
    drop(source);
    if lost > 0 {
        tell_lost(&members[0].registered.spec, lost);
        doubt_all(context, &members[0].registered.spec).await?;
    }
    let unvisited: HashSet<i64> =
        visiting.iter().map(|(id, _)| *id).filter(|id| !visits.contains_key(id)).collect();
    for (member, verdict) in members.iter().zip(&mut verdicts) {
        if unvisited.contains(&member.claim.destination_id) {
            *verdict = Verdict::Alone;
        }
    }
    // A copy that stands is written to next, and a source's name that is there already can wait.
    let mut later = HashMap::new();
    for (at, verdict) in verdicts.iter().enumerate() {
        let (id, _, served) = asked[at];
        if *verdict == Verdict::Stands && heres[at].named_by(served) {
            later.extend(visits.remove_entry(&id));
        }
    }
    let cursors = begin(context, members, (&found, &head), (&verdicts, &visits), link).await?;
    let known = tell(context, members, (&verdicts, &told), cursors, &found.identities).await?;
    let decided = members.iter().zip(verdicts).zip(known).map(|((member, verdict), known)| {
        let visit = later.remove(&member.claim.destination_id);
        Decided { verdict, known, visit }
    });
    Ok(decided.collect())
}

/// What members are judged by.
struct Judge<'a> {
    context: &'a Context,
    head: &'a Head,
    found: &'a GroupTakenUp,
    told: &'a HashMap<i64, BTreeMap<String, Told>>,
}

impl Judge<'_> {
    fn verdict(&self, member: &Member, at: usize, here: &Here) -> Verdict {
        let (cursors, served) = &self.found.members[at];
        let right = here.right(served.as_ref(), &self.context.visits.daemon);
        if !here.ours || here.adopt || right != Right::Ours {
            return Verdict::Alone;
        }
        let told = self.told.get(&member.claim.destination_id);
        let told_of = |mapping: &ResolvedMapping| told.and_then(|told| told.get(mapping.name()));
        let stands = |mapping: &ResolvedMapping| {
            let identity = self.found.identities.get(mapping.name());
            let cursor = cursors.get(mapping.name());
            cursor.is_some_and(|cursor| {
                stands(mapping, cursor, self.head, (identity, told_of(mapping)))
            })
        };
        // Rows are there that need not be copied again.
        let under_way = |mapping: &ResolvedMapping| {
            let cursor = cursors.get(mapping.name());
            cursor
                .is_some_and(|cursor| self.is_now(mapping, cursor) && cursor.backfill_key.is_some())
        };
        // An edited mapping, or another history of the source, is no loss.
        let lost = |mapping: &ResolvedMapping| {
            let cursor = cursors.get(mapping.name());
            told_of(mapping).is_some()
                && cursor.is_none_or(|cursor| cursor.backfilled && self.is_now(mapping, cursor))
        };
        let mappings = || member.registered.mappings.iter().map(|mapping| &**mapping);
        if mappings().all(stands) {
            Verdict::Stands
        } else if !mappings().any(|mapping| stands(mapping) || under_way(mapping)) {
            Verdict::Begins { lost: mappings().any(lost) }
        } else {
            Verdict::Alone
        }
    }

    /// The cursor is of the mapping and of the history as they are now.
    fn is_now(&self, mapping: &ResolvedMapping, cursor: &Cursor) -> bool {
        cursor.is_of(mapping) && cursor.epoch == self.head.epoch
    }
}

/// Begins the copies, and has the destination name this source for those who are visited. Returns
/// the cursors of each member as they stand there then; None: it is left out.
async fn begin(
    context: &Context,
    members: &[Member],
    (found, head): (&GroupTakenUp, &Head),
    (verdicts, visits): (&[Verdict], &HashMap<i64, Visit>),
    link: &mut Link,
) -> Result<Vec<Option<Cursors>>, Error> {
    let mappings = &members[0].registered.mappings;
    let stands = |(verdict, (cursors, _)): (&Verdict, &(Cursors, Option<Served>))| {
        (*verdict == Verdict::Stands).then(|| cursors.clone())
    };
    let mut cursors: Vec<Option<Cursors>> =
        verdicts.iter().zip(&found.members).map(stands).collect();
    let visit = |at: usize| visits.get(&members[at].claim.destination_id);
    let begins = |at: &usize| match verdicts[*at] {
        Verdict::Begins { .. } => true,
        Verdict::Stands => visit(*at).is_some(),
        Verdict::Alone => false,
    };
    let beginning: Vec<usize> = (0..members.len()).filter(begins).collect();
    if beginning.is_empty() {
        return Ok(cursors);
    }
    let first = |mapping: &Arc<ResolvedMapping>| {
        let version = mapping.version.as_str();
        (mapping.name().to_owned(), Cursor::beginning(head.sequence_id, &head.epoch, version))
    };
    let first: Cursors = mappings.iter().map(first).collect();
    let of = |at: &usize| GroupBeginning {
        tenant_id: &members[*at].registered.spec.tenant_id,
        found: &found.members[*at].0,
        begins: matches!(verdicts[*at], Verdict::Begins { .. }),
        visit: visit(*at),
    };
    let beginnings: Vec<GroupBeginning<'_>> = beginning.iter().map(of).collect();
    let work = link.session.begin_group(&beginnings, (mappings, &first), &context.settings);
    let begun = within_deadline(context, members[0].claim.destination_id, work).await?;
    for (at, begun) in beginning.into_iter().zip(begun) {
        if begun.is_some() && visit(at).is_some() {
            context.visits.done(members[at].claim.destination_id);
        }
        cursors[at] = begun;
    }
    Ok(cursors)
}

/// Logs that copies of a place are lost; see [`Turn::tell_replaced`] for one tenant.
fn tell_lost(spec: &DestinationSpec, tenants: usize) {
    let (database, schema) = (spec.place.database(), spec.place.schema());
    tracing::warn!(
        event = "table_replaced",
        database,
        schema,
        tenants,
        "tables of schema {schema} in {database} were truncated, rewritten or replaced, or its \
         cursors are gone; the copies of {tenants} tenants are made again in place"
    );
}

/// Says at the source, before anything is read, which copies there are, unless it knows of all of
/// them. A member whose request another worker has is left out.
async fn tell(
    context: &Context,
    members: &[Member],
    (verdicts, told): (&[Verdict], &HashMap<i64, BTreeMap<String, Told>>),
    cursors: Vec<Option<Cursors>>,
    identities: &Identities,
) -> Result<Vec<Option<KnownState>>, Error> {
    let mappings = &members[0].registered.mappings;
    let needs: Vec<(&str, String)> = mappings.iter().map(|of| (of.name(), of.need())).collect();
    let is_known = |(member, verdict): (&Member, &Verdict)| {
        let told = told.get(&member.claim.destination_id);
        let same = |(name, need): &(&str, String)| {
            told?.get(*name).map(|told| told.need.as_ref() == Some(need))
        };
        *verdict == Verdict::Stands && needs.iter().all(|of| same(of) == Some(true))
    };
    let are_known: Vec<bool> = members.iter().zip(verdicts).map(is_known).collect();
    let positions = |cursors: &Cursors| -> Vec<i64> {
        mappings.iter().map(|m| cursors.get(m.name()).map_or(0, |c| c.sequence_id)).collect()
    };
    let begun: Vec<_> = members
        .iter()
        .zip(&cursors)
        .zip(&are_known)
        .filter(|(_, known)| !**known)
        .filter_map(|((of, cursors), _)| Some((of.claim.lease, positions(cursors.as_ref()?))))
        .collect();
    let ours = match begun.is_empty() {
        true => HashSet::new(),
        false => record::begin_copies_of_group(&context.pool, mappings, &begun).await?,
    };
    let fingerprint = members[0].registered.spec.place.fingerprint();
    let known = |((member, cursors), is_known): ((&Member, Option<Cursors>), bool)| {
        let ours = |_: &Cursors| is_known || ours.contains(&member.claim.lease.request_id);
        Some(KnownState::new(fingerprint.clone(), cursors.filter(ours)?, identities.clone()))
    };
    Ok(members.iter().zip(cursors).zip(are_known).map(known).collect())
}

/// Whether the copy is complete and its cursor still says what has arrived; see
/// [`stands`](super::take_up).
fn stands(
    mapping: &ResolvedMapping,
    cursor: &Cursor,
    head: &Head,
    (identity, told): (Option<&String>, Option<&Told>),
) -> bool {
    let replaced = told.is_some_and(|told| identity != Some(&told.identity));
    let went_back = told.is_some_and(|told| told.sequence_id > cursor.sequence_id);
    cursor.backfilled
        && cursor.is_of(mapping)
        && cursor.epoch == head.epoch
        && (head.log_begins..=head.sequence_id).contains(&cursor.sequence_id)
        && !replaced
        && !went_back
}

/// What the source was last told of each member, by destination and mapping.
async fn told(
    source: &PooledConnection,
    members: &[Member],
) -> Result<HashMap<i64, BTreeMap<String, Told>>, Error> {
    let ids: Vec<i64> = members.iter().map(|member| member.claim.destination_id).collect();
    let rows = source.query(sql::READ_MIRRORED_OF_GROUP, &[&ids]).await.map_err(Error::source)?;
    let mut all = HashMap::<i64, BTreeMap<String, Told>>::new();
    for row in &rows {
        let told = Told {
            identity: row.get("target_identity"),
            sequence_id: row.get("sequence_id"),
            need: row.get("need"),
        };
        all.entry(row.get("destination_id")).or_default().insert(row.get("mapping"), told);
    }
    Ok(all)
}
