//! Rows that a batch left out.
//!
//! Elsewhere a refused row is in the source's quarantine before the commit that leaves it out. Here
//! the commit is what finds it. So the batch itself notes the numbers of such rows in
//! `_offtake_refused`; they are quarantined then, and the notes are deleted. A worker that dies in
//! between leaves the notes, and the next worker copies the mapping again.

use offtake_postgres::Fault;
use offtake_reading::FailedRow;

use super::call::{Failed, Statement};
use super::sqlite::state;
use super::stage::Stage;
use super::write::Plan;
use super::{Session, Trouble, fence, sql};
use crate::Error;
use crate::cursors::Cursors;
use crate::destinations::{Aside, TenantWrite, Written};

/// For so many refused rows it is asked why each of them is.
const ASKED_MAX: usize = 8;

const FORGET: &str =
    "delete from \"_offtake_refused\" where tenant_id = ?1 and mapping = ?2 and write_id = ?3";

/// The write that left rows out.
pub(super) struct WrittenAs<'a> {
    pub(super) write: &'a TenantWrite<'a>,
    pub(super) aside: &'a Aside<'a>,
    pub(super) id: &'a str,
    /// The cursors that it moved, as they stand since.
    pub(super) ours: Cursors,
}

impl Session {
    /// Settles what becomes of the rows that were left out: `lines` are the places of their parts,
    /// and their numbers.
    pub(super) async fn settle(
        &self,
        plans: &[Plan<'_>],
        lines: Vec<(usize, usize)>,
        mut as_: WrittenAs<'_>,
        written: &mut Written,
    ) -> Result<(), Error> {
        for (at, plan) in plans.iter().enumerate() {
            let of_plan = lines.iter().filter(|(of, _)| *of == at);
            let numbers: Vec<usize> = of_plan.map(|(_, number)| *number).collect();
            let Some(Some(applied)) = written.outcomes.get_mut(at) else { continue };
            if numbers.is_empty() {
                continue;
            }
            let unique =
                plan.reason.as_ref().is_some_and(|why| why.code.as_deref() == Some("23505"));
            let cursors = &mut written.cursors;
            if unique
                && numbers.len() > 1
                && self.write_as_set(plan, &numbers, &mut as_, cursors).await?
            {
                applied.upserted += numbers.len() as u64;
                continue;
            }
            let (mut refused, fit) = self.sift(plan, &numbers).await?;
            if !fit.is_empty() {
                if unique && self.write_as_set(plan, &fit, &mut as_, cursors).await? {
                    applied.upserted += fit.len() as u64;
                } else {
                    refused.extend(fit.into_iter().map(|number| failed(plan, number, None)));
                }
            }
            as_.aside.set(&plan.part.mapping, &refused).await?;
            // A row may be among the changes and in the chunk.
            let keys: Vec<_> = refused.iter().map(|row| &row.key).collect();
            applied.refused.retain(|row| !keys.contains(&&row.key));
            applied.refused.extend(refused);
            self.forget(plan, &as_).await?;
        }
        Ok(())
    }

    /// Two of them may have swapped a unique value, which shows only where the old versions of both
    /// are deleted first. True: that is what it was, and they are written.
    async fn write_as_set(
        &self,
        plan: &Plan<'_>,
        numbers: &[usize],
        as_: &mut WrittenAs<'_>,
        cursors: &mut Cursors,
    ) -> Result<bool, Error> {
        let (id, mut moved) = (state::write_id(), as_.ours.clone());
        let mut expected = as_.write.expected.clone();
        expected.extend(as_.ours.clone());
        let tenant = as_.write.tenant_id;
        let mut batch = vec![fence::cursors(tenant, &expected, &id)];
        batch.extend(fence::tables(as_.write.mappings, as_.write.identities));
        batch.extend(fence::moves(tenant, &mut moved, &id));
        let stages = plan.only(numbers);
        for stage in &stages {
            let lines = stage.pieces.iter().flat_map(|piece| piece.lines.iter().copied());
            batch.extend(stage.delete(lines));
        }
        batch.extend(stages.iter().flat_map(|stage| stage.insert()));
        let forget = format!("{FORGET} and line in (select n.value from json_each(?4) as n)");
        let forget = Statement::new(forget).with(tenant).with(plan.part.mapping.name());
        batch.push(forget.with(as_.id).with(serde_json::json!(numbers).to_string()));
        match self.run(&batch).await {
            Ok(_) => {
                cursors.extend(moved.clone());
                as_.ours = moved;
                Ok(true)
            }
            Err(Failed::Trouble(trouble)) if trouble.fault == Fault::Row => Ok(false),
            // Another worker goes on from the commit, with the notes that it left.
            Err(failed) => Err(failed.into()),
        }
    }

    /// Which of the rows would be refused even if the old versions of all of them were gone, each with
    /// its reason; and the numbers of those that would not. Of many, the one reason that was told
    /// stands for all.
    async fn sift(
        &self,
        plan: &Plan<'_>,
        numbers: &[usize],
    ) -> Result<(Vec<FailedRow>, Vec<usize>), Error> {
        let (mut refused, mut fit) = (Vec::with_capacity(numbers.len()), Vec::new());
        let all = plan.only(numbers);
        for (asked, number) in numbers.iter().enumerate() {
            let mut why = None;
            if asked < ASKED_MAX && numbers.len() > 1 {
                let lines = |stage: &Stage<'_>| {
                    stage.delete(stage.pieces.iter().flat_map(|piece| piece.lines.clone()))
                };
                let mut batch: Vec<_> = all.iter().flat_map(lines).collect();
                batch.extend(plan.only(&[*number]).iter().flat_map(|stage| stage.insert()));
                batch.push(Statement::new(sql::PROBE));
                match self.run(&batch).await {
                    Err(Failed::Trouble(trouble)) if trouble.fault == Fault::Row => {
                        why = Some(trouble);
                    }
                    Err(Failed::Guard(_)) => {
                        fit.push(*number);
                        continue;
                    }
                    Err(Failed::Trouble(trouble)) => return Err(Error::Destination(trouble)),
                    Ok(_) => {}
                }
            }
            refused.push(failed(plan, *number, why));
        }
        Ok((refused, fit))
    }

    /// Deletes the notes of rows that are in quarantine, if nobody has written since: another worker
    /// has taken the notes for those of a dead one.
    async fn forget(&self, plan: &Plan<'_>, as_: &WrittenAs<'_>) -> Result<(), Error> {
        let (tenant, mapping) = (as_.write.tenant_id, plan.part.mapping.name());
        let mut expected = as_.write.expected.clone();
        expected.extend(as_.ours.clone());
        let batch = [
            fence::cursors(tenant, &expected, as_.id),
            Statement::new(FORGET).with(tenant).with(mapping).with(as_.id),
        ];
        self.run(&batch).await?;
        Ok(())
    }
}

fn failed(plan: &Plan<'_>, number: usize, why: Option<Trouble>) -> FailedRow {
    let why = why.as_ref().or(plan.reason.as_ref());
    FailedRow {
        key: plan.key(number),
        sqlstate: why.and_then(|why| why.code.clone()).unwrap_or_default(),
        error: why.map_or_else(String::new, |why| why.message.clone()),
    }
}
