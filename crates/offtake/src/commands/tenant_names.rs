//! A tenant that the command line spells otherwise than the configuration.
//!
//! A uuid in capitals, or a number with zeros in front, is a tenant that the source prints
//! otherwise. Registry, status and `_offtake_state` have it under the configuration's spelling.
//! Where no tenant is called as it was typed, commands bring the text into the source's own
//! spelling, as the daemon does with the configuration's, and look for that.

use std::collections::BTreeSet;

use offtake_mapping::{MappingSet, foreign};
use offtake_postgres::catalog;
use tokio_postgres::Client;

use crate::context::{Context, tenant_spelling};
use crate::outcome::{Exit, Failure};

/// A tenant as it was typed, and as the source would print it.
pub(super) struct Typed<'a> {
    typed: &'a str,
    spellings: BTreeSet<String>,
}

impl<'a> Typed<'a> {
    /// Reads the mapping files, which say by which types they name tenants. Without files that can
    /// be used, only what was typed is known. `source` must not be in a transaction.
    pub(super) async fn read(context: &Context, source: &Client, typed: &'a str) -> Self {
        let set = match context.mappings() {
            Ok(mappings) => catalog::resolve(source, mappings).await.ok(),
            Err(_) => None,
        };
        match set {
            Some(set) => Self::of_set(source, &set, typed).await,
            None => Self { typed, spellings: BTreeSet::from([typed.to_owned()]) },
        }
    }

    /// The same with mappings that are known already.
    pub(super) async fn of_set(source: &Client, set: &MappingSet, typed: &'a str) -> Self {
        let spellings = tenant_spelling::spellings_of(source, set, typed).await;
        let mut spellings = spellings.unwrap_or_default();
        spellings.insert(typed.to_owned());
        Self { typed, spellings }
    }

    /// How the source may print it.
    pub(super) fn spellings(&self) -> &BTreeSet<String> {
        &self.spellings
    }

    /// The tenant's id in the configuration. `known`: ids of the configuration, each with how the
    /// source prints it. None: there is no such tenant.
    pub(super) fn configured<'k>(
        &self,
        known: impl IntoIterator<Item = (&'k str, &'k str)>,
    ) -> Result<Option<String>, Failure> {
        let meant =
            |(id, printed): (&'k str, &'k str)| self.spellings.contains(printed).then_some(id);
        let ids: BTreeSet<&str> = known.into_iter().filter_map(meant).collect();
        if ids.len() > 1 {
            let ids = ids.iter().map(|id| foreign(id)).collect::<Vec<_>>().join(" and ");
            let message = format!("{} may be the tenant {ids}", foreign(self.typed));
            return Err(Failure::new(Exit::Usage, message)
                .because("the configuration spells one tenant's id in several ways")
                .remedy("give the id as the configuration has it"));
        }
        Ok(ids.first().map(|id| (*id).to_owned()))
    }
}
