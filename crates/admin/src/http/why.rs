//! `GET /api/v1/why`: what a tenant's destinations and webhooks wait for, as the source knows it.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::Shared;
use super::described::Asked as AskedQuery;
use super::problem::Problem;
use crate::why::{Asked, Why, explain, key_columns};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WhyQuery {
    /// The tenant that asks.
    tenant: String,
    /// Only this mapping.
    mapping: Option<String>,
    /// Only with `mapping`: a JSON object of the key's columns as `GET quarantine` shows keys, or
    /// the text of the only one.
    key: Option<String>,
}

pub(super) async fn why(
    State(shared): State<Arc<Shared>>,
    AskedQuery(WhyQuery { tenant, mapping, key }): AskedQuery<WhyQuery>,
) -> Result<Json<Why>, Problem> {
    let key = match (&mapping, key) {
        (_, None) => None,
        (None, Some(_)) => {
            return Err(Problem::new(StatusCode::BAD_REQUEST, "`key` is given without `mapping`"));
        }
        (Some(mapping), Some(text)) => Some(read_key(&shared, (&tenant, mapping), &text).await?),
    };
    let uncaptured = BTreeMap::new();
    let asked = Asked {
        tenant: &tenant,
        mapping: mapping.as_deref(),
        key: key.as_ref(),
        uncaptured: &uncaptured,
    };
    let why = shared.answer(async |source| explain(source, &asked).await).await?;
    if why.items.is_empty() {
        let has =
            mapping.map_or_else(String::new, |mapping| format!(" with the mapping {mapping}"));
        let message = format!("tenant {tenant} has no destination and no webhook{has}");
        return Err(Problem::new(StatusCode::NOT_FOUND, message));
    }
    Ok(Json(why))
}

/// The key as the change log has it.
async fn read_key(
    shared: &Shared,
    (tenant, mapping): (&str, &str),
    text: &str,
) -> Result<Value, Problem> {
    if let Ok(object @ Value::Object(_)) = serde_json::from_str(text) {
        return Ok(object);
    }
    let columns = shared.answer(async |source| key_columns(source, tenant, mapping).await).await?;
    match columns.as_slice() {
        [column] => Ok(Value::Object(Map::from_iter([(column.clone(), Value::from(text))]))),
        _ => Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "give `key` as a JSON object of the key's columns, as `GET quarantine` shows keys",
        )),
    }
}
