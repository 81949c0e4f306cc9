//! One entry of `destinations.static`.

use std::path::Path;

use offtake_mapping::Identifier;
use offtake_postgres::ConnectionString;

use super::defaults;
use super::section::Section;

/// A destination written in the file.
#[derive(Debug, Clone)]
pub struct StaticDestination {
    pub tenant: String,
    pub name: String,
    pub url: ConnectionString,
    pub schema: Identifier,
    /// None: all.
    pub mappings: Option<Vec<String>>,
    pub shared: bool,
}

impl StaticDestination {
    /// None only when a mistake was noted.
    pub(super) fn read(section: &Section, base: &Path) -> Option<Self> {
        let ca_file = section.text("ca_file").map(|path| base.join(path));
        if let Some(path) = ca_file.as_deref().filter(|path| !path.is_file()) {
            section.note(
                "ca_file",
                &format!("{} is not a file", path.display()),
                "name a PEM file, relative to this one",
            );
        }
        let (tenant, url) = (section.required("tenant"), section.required("url"));
        let url = url.and_then(|url| {
            let url = ConnectionString::destination(
                &url,
                ca_file.as_deref().filter(|path| path.is_file()),
            );
            url.map_err(|e| section.note("url", &format!("{}: {}", e.what, e.why), e.remedy)).ok()
        });
        let schema = Identifier::new(
            section.text("schema").unwrap_or_else(|| defaults::SCHEMA_NAME.to_owned()),
        );
        let schema = schema.map_err(|e| {
            section.note("schema", &e.to_string(), "give the name as the catalog stores it")
        });
        let name = section.text("name").unwrap_or_else(|| defaults::DESTINATION_NAME.to_owned());
        let (mappings, shared) = (section.list("mappings"), section.flag("shared"));
        Some(Self { tenant: tenant?, name, url: url?, schema: schema.ok()?, mappings, shared })
    }

    /// Whether the destination gets the rows of the mapping with this name.
    pub(crate) fn receives(&self, mapping: &str) -> bool {
        self.mappings.as_ref().is_none_or(|names| names.iter().any(|name| name == mapping))
    }

    /// A message if the two would write to the same tables and may not: two tenants may when both
    /// entries have `shared: true`.
    pub(super) fn collides(&self, other: &Self) -> Option<String> {
        let same_schema = self.url.place() == other.url.place() && self.schema == other.schema;
        let different_tenants_share = self.tenant != other.tenant && self.shared && other.shared;
        (same_schema && !different_tenants_share).then(|| {
            let (place, schema) = (self.url.place(), &self.schema);
            format!(
                "{}/{} and {}/{} are both the schema {schema} of {place}",
                self.tenant, self.name, other.tenant, other.name
            )
        })
    }
}
