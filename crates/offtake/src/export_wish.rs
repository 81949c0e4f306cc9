//! What is looked at before an export is recorded, for the command and for HTTP alike.

use offtake_jobs::exports::{Asked, Callback, Compression, Format, Options};
use offtake_mapping::MappingSet;
use offtake_mapping::compose::{KeyRange, list_chunk};
use offtake_webhooks::Url;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::configuration::Exports;
use crate::context::tenant_spelling;

/// An export that somebody asks for.
pub(crate) struct Wish<'a> {
    pub(crate) tenant: &'a str,
    pub(crate) format: Format,
    /// Empty: all.
    pub(crate) mappings: &'a [String],
    pub(crate) compression: Compression,
    pub(crate) state: bool,
    pub(crate) inserts: bool,
    pub(crate) schema: bool,
    pub(crate) chunk_rows: u32,
    pub(crate) require_consistent: bool,
    /// The URL of its callback.
    pub(crate) callback: Option<&'a str>,
}

/// A wish that can be recorded.
pub(crate) struct Fit {
    pub(crate) tenant_at_source: String,
    pub(crate) options: Options,
}

/// Why a wish cannot be met.
#[derive(Debug)]
pub(crate) enum Unfit {
    /// There is no mapping of this name.
    Mapping(String),
    /// The tenant may be any of these.
    Ambiguous(Vec<String>),
    /// No mapping has a row of the tenant.
    NoRows,
    Source {
        what: String,
        error: offtake_postgres::Error,
    },
}

/// Why a callback cannot be told; None: it can.
pub(crate) fn unfit_callback(exports: &Exports, url: &str) -> Option<String> {
    match Url::parse(url) {
        Err(why) => Some(why),
        Ok(_) if exports.callback_secret.is_none() => {
            Some("callbacks are signed with `exports.callback_secret`, which is not set".to_owned())
        }
        Ok(_) => None,
    }
}

impl Wish<'_> {
    /// `source` must not be in a transaction.
    pub(crate) async fn fit(&self, source: &Client, set: &MappingSet) -> Result<Fit, Unfit> {
        let names = chosen(set, self.mappings)?;
        let tenant_at_source = spelt(source, set, self.tenant).await?;
        expect_rows(source, set, &names, &tenant_at_source).await?;
        let asked = names.iter().filter_map(|name| set.get(name)).map(|mapping| Asked {
            name: mapping.name().to_owned(),
            version: mapping.version.to_string(),
        });
        let options = Options {
            format: self.format,
            compression: self.compression,
            mappings: asked.collect(),
            chunk_rows: self.chunk_rows,
            state: self.state,
            inserts: self.inserts,
            schema: self.schema,
            file: None,
            require_consistent: self.require_consistent,
            callback: self.callback.map(|url| Callback { url: url.to_owned() }),
        };
        Ok(Fit { tenant_at_source, options })
    }
}

/// The mappings of these names, in the order of the set; without a name all of them.
pub(crate) fn chosen(set: &MappingSet, asked: &[String]) -> Result<Vec<String>, Unfit> {
    if let Some(name) = asked.iter().find(|name| set.get(name).is_none()) {
        return Err(Unfit::Mapping(name.clone()));
    }
    let all = set.mappings().iter().map(|mapping| mapping.name().to_owned());
    Ok(all.filter(|name| asked.is_empty() || asked.contains(name)).collect())
}

/// The tenant as the source prints it.
pub(crate) async fn spelt(
    source: &Client,
    set: &MappingSet,
    tenant: &str,
) -> Result<String, Unfit> {
    let spellings = tenant_spelling::spellings_of(source, set, tenant).await.map_err(|error| {
        let what = "cannot look at the tenant's id".to_owned();
        Unfit::Source { what, error: error.into() }
    })?;
    match spellings.len() {
        0 => Ok(tenant.to_owned()),
        1 => Ok(spellings.into_iter().next().unwrap_or_default()),
        _ => Err(Unfit::Ambiguous(spellings.into_iter().collect())),
    }
}

/// A tenant without one row is more likely a misspelt one.
pub(crate) async fn expect_rows(
    source: &Client,
    set: &MappingSet,
    names: &[String],
    tenant: &str,
) -> Result<(), Unfit> {
    for mapping in names.iter().filter_map(|name| set.get(name)) {
        let one = list_chunk(mapping, tenant, KeyRange::ALL, 1);
        let rows = source.query(&one, &[]).await;
        // The tenant is the only value in the statement that came from outside.
        let unlike = rows.as_ref().err().and_then(tokio_postgres::Error::code)
            == Some(&SqlState::INVALID_TEXT_REPRESENTATION);
        if unlike && mapping.tenant_type != "text" {
            continue;
        }
        let rows = rows.map_err(|error| {
            let what = format!("cannot read the rows of mapping {}", mapping.name());
            Unfit::Source { what, error: error.into() }
        })?;
        if !rows.is_empty() {
            return Ok(());
        }
    }
    Err(Unfit::NoRows)
}
