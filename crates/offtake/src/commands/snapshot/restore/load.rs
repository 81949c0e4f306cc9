//! From an archive into staging tables.

use std::sync::Arc;

use offtake_jobs::archive::{Contents, Manifest, Member};
use offtake_jobs::snapshots::{self, Card, Pass};
use offtake_jobs::{PublicId, Store};
use offtake_mapping::{Identifier, ResolvedMapping};
use offtake_sync::destinations::{RestoreError, Restoring, StagedLines};

use super::super::told;
use crate::outcome::Failure;

/// An archive that was read once as a whole, and found to be unchanged.
pub(in crate::commands::snapshot) struct Loaded {
    pub(super) contents: Contents,
    pub(in crate::commands::snapshot) manifest: Manifest,
}

/// Whose failure it is.
#[derive(Debug)]
pub(in crate::commands::snapshot) enum Error {
    Archive(snapshots::Error),
    There(RestoreError),
}

impl From<snapshots::Error> for Error {
    fn from(error: snapshots::Error) -> Self {
        Self::Archive(error)
    }
}

impl From<RestoreError> for Error {
    fn from(error: RestoreError) -> Self {
        Self::There(error)
    }
}

impl Loaded {
    /// The first pass. Nothing is connected to before it ends.
    pub(in crate::commands::snapshot) async fn check(
        store: &Store,
        id: &PublicId,
        card: &Card,
    ) -> Result<Self, Failure> {
        let checked = snapshots::check(store, id, card).await;
        let (contents, manifest) = checked
            .map_err(|error| told::failure(format!("the snapshot {id} cannot be used"), &error))?;
        Ok(Self { contents, manifest })
    }

    /// Stages the rows of every table that one of the mappings is of.
    pub(in crate::commands::snapshot) async fn stage(
        &self,
        store: &Store,
        id: &PublicId,
        card: &Card,
        restoring: &Restoring,
    ) -> Result<(), Error> {
        let tables = self.contents.tables.iter();
        let wanted: Vec<Option<&Arc<ResolvedMapping>>> = tables
            .map(|table| restoring.mappings().iter().find(|m| m.name() == table.mapping))
            .collect();
        let mut pass = Pass::again(store, id, self.manifest.clone()).await?;
        let mut open: Option<(usize, StagedLines)> = None;
        let mut next = 0;
        while let Some(member) = pass.next().await? {
            let Member::Data { table, lines } = member else { continue };
            let Some(mapping) = wanted[table] else { continue };
            if open.as_ref().is_none_or(|(at, _)| *at != table) {
                self.end(open.take()).await?;
                self.stage_empty(restoring, &wanted, next..table).await?;
                next = table + 1;
                open = Some((table, self.begin(restoring, table, mapping).await?));
            }
            if let Some((_, staged)) = &mut open {
                staged.send(lines).await?;
            }
        }
        self.end(open.take()).await?;
        self.stage_empty(restoring, &wanted, next..wanted.len()).await?;
        pass.end(card)?;
        Ok(())
    }

    /// Tables without a row have no member.
    async fn stage_empty(
        &self,
        restoring: &Restoring,
        wanted: &[Option<&Arc<ResolvedMapping>>],
        tables: std::ops::Range<usize>,
    ) -> Result<(), Error> {
        for table in tables {
            if let Some(mapping) = wanted[table] {
                let staged = self.begin(restoring, table, mapping).await?;
                self.end(Some((table, staged))).await?;
            }
        }
        Ok(())
    }

    async fn begin(
        &self,
        restoring: &Restoring,
        table: usize,
        mapping: &ResolvedMapping,
    ) -> Result<StagedLines, Error> {
        let columns = self.contents.tables[table].columns.iter();
        // Names that cannot be one were refused with the shape.
        let columns: Vec<Identifier> =
            columns.filter_map(|column| Identifier::new(column.name.as_str()).ok()).collect();
        Ok(restoring.stage(mapping, &columns).await?)
    }

    async fn end(&self, open: Option<(usize, StagedLines)>) -> Result<(), Error> {
        let Some((table, staged)) = open else { return Ok(()) };
        let (rows, expected) = (staged.finish().await?, self.manifest.rows[table]);
        if rows == expected {
            return Ok(());
        }
        let mapping = &self.contents.tables[table].mapping;
        let what = format!("{rows} rows of {mapping} were staged, and the snapshot has {expected}");
        Err(RestoreError::Unfit(what).into())
    }

    /// The versions of mappings that the rows are of.
    pub(super) fn versions(&self, mappings: &[Arc<ResolvedMapping>]) -> Vec<(String, String)> {
        let tables = self.contents.tables.iter();
        let restored = tables.filter(|table| mappings.iter().any(|m| m.name() == table.mapping));
        restored.map(|table| (table.mapping.clone(), table.version.clone())).collect()
    }
}
