//! The section `destinations`.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use offtake_mapping::{Diagnostic, Identifier, Kind, is_unprintable};
use offtake_postgres::ConnectionString;
use offtake_sync::destinations::{D1_ENDPOINT, D1_REQUESTS_PER_SECOND, D1Settings, Place};

use super::section::Section;
use super::{DAY, Destinations, MILLISECOND, defaults};
use crate::arguments::shown;

/// A destination written in the file.
#[derive(Debug, Clone)]
pub struct StaticDestination {
    pub tenant: String,
    pub name: String,
    pub place: Arc<Place>,
    /// None: all.
    pub mappings: Option<Vec<String>>,
    /// Where each of them stands in the file.
    pub mappings_at: Vec<Diagnostic>,
    pub shared: bool,
}

/// The longest tenant id. Together with the longest name it fits into an entry of the registry's
/// index, which holds 2704 bytes; a longer one would stop the registry for everyone.
const TENANT_CHARS_MAX: usize = 400;

/// The longest name of a destination.
const NAME_CHARS_MAX: usize = 200;

/// Why a tenant id cannot be used. It may contain any character, because it is the source's.
pub(crate) fn unusable_tenant(tenant: &str) -> Option<String> {
    let long = tenant.chars().nth(TENANT_CHARS_MAX).is_some();
    long.then(|| format!("a tenant id has at most {TENANT_CHARS_MAX} characters"))
}

/// Why a destination's name cannot be used.
pub(crate) fn unusable_name(name: &str) -> Option<String> {
    if name.chars().nth(NAME_CHARS_MAX).is_some() {
        return Some(format!("a destination's name has at most {NAME_CHARS_MAX} characters"));
    }
    let hidden = name.contains(is_unprintable);
    hidden
        .then(|| "a destination's name has no character that a terminal hides or obeys".to_owned())
}

impl Destinations {
    pub(super) fn read(section: &Section, base: &Path, allow_files: &[PathBuf]) -> Self {
        let d1 = read_d1(&section.section("d1"));
        let mut static_: Vec<StaticDestination> = Vec::new();
        let mut names = HashSet::new();
        // By database and schema: comparing every entry with every other took seconds for some
        // thousand entries.
        let mut by_schema: HashMap<_, Vec<usize>> = HashMap::new();
        for entry in section.sections("static") {
            let read = StaticDestination::read(&entry, base, allow_files, &d1);
            let Some(destination) = read else { continue };
            let StaticDestination { tenant, name, place, .. } = &destination;
            let place = (place.database(), place.schema().to_owned());
            let neighbours = by_schema.entry(place).or_default();
            if !names.insert((tenant.clone(), name.clone())) {
                let message = format!("{tenant} has two destinations named {name}");
                entry.note("tenant", &message, "give one of them another `name`");
            } else if let Some(message) =
                neighbours.iter().find_map(|other| static_[*other].collides(&destination))
            {
                let remedy = "give each its own schema, or mark all of them `shared: true`";
                entry.note("url", &message, remedy);
            }
            neighbours.push(static_.len());
            static_.push(destination);
        }
        let refresh = section.duration("refresh", defaults::REFRESH, MILLISECOND..=DAY);
        let allow_files = allow_files.to_vec();
        Self { static_, query: section.text("query"), refresh, allow_files, d1 }
    }
}

fn read_d1(section: &Section) -> D1Settings {
    let endpoint = section.text("endpoint").unwrap_or_else(|| D1_ENDPOINT.to_owned());
    let rate = section.count("requests_per_second", D1_REQUESTS_PER_SECOND, 1..=1000);
    let settings = D1Settings::new(&endpoint, rate);
    settings.unwrap_or_else(|error| {
        section.note("endpoint", &error.why, &error.remedy);
        D1Settings::default()
    })
}

impl StaticDestination {
    /// None only when a mistake was noted.
    pub(super) fn read(
        section: &Section,
        base: &Path,
        allow_files: &[PathBuf],
        d1: &D1Settings,
    ) -> Option<Self> {
        let ca_file = section.text("ca_file").map(|path| base.join(path));
        if let Some(path) = ca_file.as_deref().filter(|path| !path.is_file()) {
            section.note(
                "ca_file",
                &format!("{} is not a file", shown(&path.to_string_lossy())),
                "name a PEM file, relative to this one",
            );
        }
        let (tenant, url) = (section.required("tenant"), section.required("url"));
        let tenant = tenant.filter(|tenant| match unusable_tenant(tenant) {
            Some(why) => {
                section.note("tenant", &why, "give the tenant a shorter id");
                false
            }
            None => true,
        });
        let place = url.and_then(|url| {
            let (schema, mode) = (section.text("schema"), section.text("mode"));
            let token = section.text("token");
            let (schema_name, token) = (schema.as_deref(), token.as_deref());
            let beside = match Place::file(&url, schema_name, mode.as_deref(), allow_files) {
                None => Place::d1(&url, schema_name, token, d1),
                file => file,
            };
            let place = match beside {
                Some(place) => place.map_err(|e| section.note("url", &e.why, &e.remedy)).ok(),
                None => database(section, &url, schema, ca_file.as_deref()),
            };
            let kind = place.as_ref().map(Place::kind);
            if mode.is_some() && kind.is_some_and(|kind| kind != Kind::Sqlite) {
                section.note("mode", "only a file has a mode", "leave `mode` out");
            }
            if token.is_some() && kind.is_some_and(|kind| kind != Kind::D1) {
                section.note("token", "only a D1 database has a token", "leave `token` out");
            }
            place
        });
        let name = section.text("name").unwrap_or_else(|| defaults::DESTINATION_NAME.to_owned());
        if let Some(why) = unusable_name(&name) {
            section.note("name", &why, "choose a short name; people type it");
        }
        let (mappings, shared) = (section.list("mappings"), section.flag("shared"));
        let count = mappings.as_ref().map_or(0, Vec::len);
        let mappings_at = (0..count).map(|at| section.place_of_item("mappings", at)).collect();
        let (tenant, place) = (tenant?, Arc::new(place?));
        Some(Self { tenant, name, place, mappings, mappings_at, shared })
    }

    /// Whether the destination gets the rows of the mapping with this name.
    pub(crate) fn receives(&self, mapping: &str) -> bool {
        self.mappings.as_ref().is_none_or(|names| names.iter().any(|name| name == mapping))
    }

    /// A message if the two, which are in the same schema of one database, may not write to the
    /// same tables: two tenants may when both entries have `shared: true`.
    pub(super) fn collides(&self, other: &Self) -> Option<String> {
        let different_tenants_share = self.tenant != other.tenant && self.shared && other.shared;
        (!different_tenants_share).then(|| {
            let (place, schema) = (self.place.database(), self.place.schema());
            format!(
                "{}/{} and {}/{} are both the schema {schema} of {place}",
                self.tenant, self.name, other.tenant, other.name
            )
        })
    }
}

/// A Postgres database. None only when a mistake was noted.
fn database(
    section: &Section,
    url: &str,
    schema: Option<String>,
    ca_file: Option<&Path>,
) -> Option<Place> {
    let url = ConnectionString::destination(url, ca_file.filter(|path| path.is_file()));
    let url = url.map_err(|e| section.note("url", &format!("{}: {}", e.what, e.why), e.remedy));
    let schema = Identifier::new(schema.unwrap_or_else(|| defaults::SCHEMA_NAME.to_owned()));
    let schema = schema.map_err(|e| {
        section.note("schema", &e.to_string(), "give the name as the catalog stores it")
    });
    Some(Place::Postgres { url: url.ok()?, schema: schema.ok()? })
}
