//! A row that SQLite returned, read without trust: what is of another type than was asked for reads as
//! empty, because tenants may alter what is there.

use rusqlite::Row;
use rusqlite::types::{Value, ValueRef};

pub(crate) trait Cells {
    fn at(&self, column: usize) -> ValueRef<'_>;

    fn is_null(&self, column: usize) -> bool {
        matches!(self.at(column), ValueRef::Null)
    }

    fn text(&self, column: usize) -> String {
        match self.at(column) {
            ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
            ValueRef::Integer(number) => number.to_string(),
            _ => String::new(),
        }
    }

    fn text_or_null(&self, column: usize) -> Option<String> {
        (!self.is_null(column)).then(|| self.text(column))
    }

    fn number(&self, column: usize) -> i64 {
        match self.at(column) {
            ValueRef::Integer(number) => number,
            _ => 0,
        }
    }

    fn double(&self, column: usize) -> f64 {
        match self.at(column) {
            ValueRef::Integer(number) => number as f64,
            ValueRef::Real(number) => number,
            _ => 0.0,
        }
    }
}

impl Cells for Row<'_> {
    fn at(&self, column: usize) -> ValueRef<'_> {
        self.get_ref(column).unwrap_or(ValueRef::Null)
    }
}

impl Cells for Vec<Value> {
    fn at(&self, column: usize) -> ValueRef<'_> {
        self.get(column).map_or(ValueRef::Null, ValueRef::from)
    }
}
