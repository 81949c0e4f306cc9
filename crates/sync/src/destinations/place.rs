//! Where a destination's rows go.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Weak};

use offtake_mapping::{Identifier, Kind, ResolvedMapping};
use offtake_postgres::ConnectionString;

use super::{D1Database, D1Settings, DatabaseFile, InvalidPlace, Spent};

/// The kind of a destination's database, and what names the place of its rows there.
///
/// A new kind is a new variant: every `match` on it that is missing is then a compile error.
#[derive(Debug, Clone)]
pub enum Place {
    Postgres { url: ConnectionString, schema: Identifier },
    Sqlite(Arc<DatabaseFile>),
    D1(Arc<D1Database>),
}

/// The schema that SQLite has: a file has one.
const SQLITE_SCHEMA: &str = "main";

/// What the source's registry keeps of a place, so that people recognise it. It has no secret.
pub(crate) struct Registration<'a> {
    pub(crate) kind: Kind,
    pub(crate) host: &'a str,
    pub(crate) port: i32,
    pub(crate) database: &'a str,
    pub(crate) user: &'a str,
    pub(crate) schema: &'a str,
}

impl Place {
    pub fn kind(&self) -> Kind {
        match self {
            Self::Postgres { .. } => Kind::Postgres,
            Self::Sqlite(_) => Kind::Sqlite,
            Self::D1(_) => Kind::D1,
        }
    }

    /// The file that a URL names, if it names one. A file has one schema.
    pub fn file(
        url: &str,
        schema: Option<&str>,
        mode: Option<&str>,
        allow_files: &[PathBuf],
    ) -> Option<Result<Self, InvalidPlace>> {
        DatabaseFile::is_meant_by(url).then(|| {
            if let Some(other) = schema.filter(|schema| *schema != SQLITE_SCHEMA) {
                return Err(InvalidPlace {
                    why: format!("a file has no schema {other:?}"),
                    remedy: "leave `schema` out".to_owned(),
                });
            }
            let file = DatabaseFile::parse(url, mode, allow_files)?;
            Ok(Self::Sqlite(Arc::new(file)))
        })
    }

    /// The D1 database that a URL names, if it names one. It has one schema, and no mode.
    pub fn d1(
        url: &str,
        schema: Option<&str>,
        token: Option<&str>,
        settings: &D1Settings,
    ) -> Option<Result<Self, InvalidPlace>> {
        D1Database::is_meant_by(url).then(|| {
            if let Some(other) = schema.filter(|schema| *schema != SQLITE_SCHEMA) {
                return Err(InvalidPlace {
                    why: format!("a D1 database has no schema {other:?}"),
                    remedy: "leave `schema` out".to_owned(),
                });
            }
            let database = D1Database::parse(url, token, settings)?;
            Ok(Self::D1(Arc::new(database)))
        })
    }

    /// Whether many tenants that share it are written to in one transaction.
    pub(crate) fn takes_groups(&self) -> bool {
        match self {
            Self::Postgres { .. } => true,
            Self::Sqlite(_) | Self::D1(_) => false,
        }
    }

    /// What this process has spent there so far; None: requests are not counted.
    pub fn spent(&self) -> Option<Spent> {
        match self {
            Self::Postgres { .. } | Self::Sqlite(_) => None,
            Self::D1(database) => Some(database.spent()),
        }
    }

    /// The bytes of rows that the next transaction there may have.
    pub(crate) fn batch_bytes_max(&self) -> usize {
        match self {
            Self::Postgres { .. } | Self::Sqlite(_) => usize::MAX,
            Self::D1(database) => database.batch_bytes_max(),
        }
    }

    /// Changes whenever a session made for this place must not be used any more: with the URL (its
    /// password too) or the schema.
    pub fn fingerprint(&self) -> String {
        match self {
            Self::Postgres { url, schema } => format!("{} {schema}", url.fingerprint()),
            Self::Sqlite(file) => format!("file {}", file.as_str()),
            Self::D1(database) => database.fingerprint(),
        }
    }

    /// The database as people name it: host, port and database, or a file.
    pub fn database(&self) -> String {
        match self {
            Self::Postgres { url, .. } => url.place(),
            Self::Sqlite(file) => file.as_str().to_owned(),
            Self::D1(database) => database.url(),
        }
    }

    /// The part of the database that holds the rows.
    pub fn schema(&self) -> &str {
        match self {
            Self::Postgres { schema, .. } => schema.as_str(),
            Self::Sqlite(_) | Self::D1(_) => SQLITE_SCHEMA,
        }
    }

    /// The table of a mapping there, quoted and qualified, as people find it.
    pub fn table_name(&self, mapping: &ResolvedMapping) -> String {
        match self {
            Self::Postgres { schema, .. } => {
                format!("{}.{}", schema.sql(), mapping.definition.target.table.sql())
            }
            Self::Sqlite(_) | Self::D1(_) => mapping.definition.target.table.sql(),
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
            Self::D1(database) => Registration {
                kind: Kind::D1,
                host: database.host(),
                port: i32::from(database.port()),
                database: database.name(),
                user: "",
                schema: SQLITE_SCHEMA,
            },
            Self::Postgres { url, schema } => Registration {
                kind: Kind::Postgres,
                host: url.host(),
                port: i32::from(url.port()),
                database: url.database(),
                user: url.user(),
                schema: schema.as_str(),
            },
            Self::Sqlite(file) => Registration {
                kind: Kind::Sqlite,
                host: "",
                port: 0,
                database: file.as_str(),
                user: "",
                schema: SQLITE_SCHEMA,
            },
        }
    }
}

/// Places that several destinations have, each kept once.
#[derive(Default)]
pub struct Places {
    known: HashMap<String, Weak<Place>>,
    /// `security.allow_files`.
    allow_files: Vec<PathBuf>,
    /// `destinations.d1`.
    d1: D1Settings,
}

impl Places {
    /// None are known yet; files may be below these folders.
    pub fn with(allow_files: &[PathBuf], d1: &D1Settings) -> Self {
        Self { known: HashMap::new(), allow_files: allow_files.to_vec(), d1: d1.clone() }
    }

    /// The file or the D1 database that a URL names, if it names one.
    pub fn beside_postgres(
        &self,
        url: &str,
        schema: Option<&str>,
        (mode, token): (Option<&str>, Option<&str>),
    ) -> Option<Result<Place, InvalidPlace>> {
        Place::file(url, schema, mode, &self.allow_files)
            .or_else(|| Place::d1(url, schema, token, &self.d1))
    }

    /// The same place, and where it was seen before, that very one.
    pub fn shared(&mut self, place: Place) -> Arc<Place> {
        let known = self.known.entry(place.fingerprint()).or_default();
        known.upgrade().unwrap_or_else(|| {
            let place = Arc::new(place);
            *known = Arc::downgrade(&place);
            place
        })
    }
}
