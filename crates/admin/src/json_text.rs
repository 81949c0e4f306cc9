//! A column of the type json, as text. It is read straight into what it stands for: through a tree
//! of values, a status of a thousand destinations took twice as long.

use std::error::Error;

use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, Type};

struct JsonText<'a>(&'a str);

impl<'a> FromSql<'a> for JsonText<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(std::str::from_utf8(raw)?))
    }

    fn accepts(of: &Type) -> bool {
        *of == Type::JSON
    }
}

/// The text in that column, which is not null.
pub(crate) fn text<'a>(row: &'a Row, column: &str) -> &'a str {
    row.get::<_, JsonText<'a>>(column).0
}
