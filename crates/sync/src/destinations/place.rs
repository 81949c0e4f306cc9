//! Where a destination's rows go.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use offtake_mapping::{Identifier, ResolvedMapping};
use offtake_postgres::ConnectionString;

/// The kind of a destination's database, and what names the place of its rows there.
///
/// A new kind is a new variant: every `match` on it that is missing is then a compile error.
#[derive(Debug, Clone)]
pub enum Place {
    Postgres { url: ConnectionString, schema: Identifier },
}

/// What the source's registry keeps of a place, so that people recognise it. It has no secret.
pub(crate) struct Registration<'a> {
    pub(crate) host: &'a str,
    pub(crate) port: i32,
    pub(crate) database: &'a str,
    pub(crate) user: &'a str,
    pub(crate) schema: &'a str,
}

impl Place {
    /// Changes whenever a session made for this place must not be used any more: with the URL (its
    /// password too) or the schema.
    pub fn fingerprint(&self) -> String {
        match self {
            Self::Postgres { url, schema } => format!("{} {schema}", url.fingerprint()),
        }
    }

    /// The database as people name it: host, port and database.
    pub fn database(&self) -> String {
        match self {
            Self::Postgres { url, .. } => url.place(),
        }
    }

    /// The part of the database that holds the rows.
    pub fn schema(&self) -> &str {
        match self {
            Self::Postgres { schema, .. } => schema.as_str(),
        }
    }

    /// The table of a mapping there, quoted and qualified, as people find it.
    pub fn table_name(&self, mapping: &ResolvedMapping) -> String {
        match self {
            Self::Postgres { schema, .. } => {
                format!("{}.{}", schema.sql(), mapping.definition.target.table.sql())
            }
        }
    }

    /// Sessions and cursors of the one are good for the other.
    pub(crate) fn same_as(&self, other: &Self) -> bool {
        self.fingerprint() == other.fingerprint()
    }

    /// Rows written to the one are seen in the other, as far as their names tell.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.database() == other.database() && self.schema() == other.schema()
    }

    pub(crate) fn registration(&self) -> Registration<'_> {
        match self {
            Self::Postgres { url, schema } => Registration {
                host: url.host(),
                port: i32::from(url.port()),
                database: url.database(),
                user: url.user(),
                schema: schema.as_str(),
            },
        }
    }
}

/// Places that several destinations have, each kept once.
#[derive(Default)]
pub struct Places(HashMap<String, Weak<Place>>);

impl Places {
    /// The same place, and where it was seen before, that very one.
    pub fn shared(&mut self, place: Place) -> Arc<Place> {
        let known = self.0.entry(place.fingerprint()).or_default();
        known.upgrade().unwrap_or_else(|| {
            let place = Arc::new(place);
            *known = Arc::downgrade(&place);
            place
        })
    }
}
