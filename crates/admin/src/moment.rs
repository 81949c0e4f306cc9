//! Times of our own tables, of which Postgres can hold more than the calendar here has.
//!
//! An operator may have written `infinity` or the year 275817 into a table. A time beyond the
//! calendar is read as its first or last moment, because the commands that would mend it read it
//! too.

use std::error::Error;

use jiff::Timestamp;
use serde::de::{Deserialize, Deserializer};
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, Type};

/// Microseconds from the epoch of Unix to Postgres's, 2000-01-01.
const POSTGRES_EPOCH: i64 = 946_684_800_000_000;

/// A time, brought into the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Moment(Timestamp);

/// The time in that column; None where it is null.
pub fn optional(row: &Row, column: &str) -> Option<Timestamp> {
    row.get::<_, Option<Moment>>(column).map(|moment| moment.0)
}

/// The time in that column, which is not null.
pub fn required(row: &Row, column: &str) -> Timestamp {
    row.get::<_, Moment>(column).0
}

/// The same of a time that Postgres put into JSON.
pub(crate) fn in_json<'de, D: Deserializer<'de>>(json: D) -> Result<Option<Timestamp>, D::Error> {
    let text = Option::<String>::deserialize(json)?;
    Ok(text.map(|text| Moment::read(&text).0))
}

impl Moment {
    /// From the text of Postgres's JSON, which is ISO 8601 but for what is not in that.
    fn read(text: &str) -> Self {
        let before = text.starts_with('-') || text.ends_with("BC");
        let beyond = if before { Timestamp::MIN } else { Timestamp::MAX };
        let read = if before { None } else { text.parse().ok() };
        Self(read.unwrap_or(beyond))
    }
}

impl<'a> FromSql<'a> for Moment {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        let since_2000 = i64::from_be_bytes(raw.try_into()?);
        let beyond = if since_2000 < 0 { Timestamp::MIN } else { Timestamp::MAX };
        let moment = since_2000
            .checked_add(POSTGRES_EPOCH)
            .and_then(|microseconds| Timestamp::from_microsecond(microseconds).ok());
        Ok(Self(moment.unwrap_or(beyond)))
    }

    fn accepts(of: &Type) -> bool {
        *of == Type::TIMESTAMPTZ
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_of_postgres_is_read() {
        let check = |raw: i64, text: &str, expect: &str| {
            let expect: Timestamp = expect.parse().unwrap();
            let read = Moment::from_sql(&Type::TIMESTAMPTZ, &raw.to_be_bytes()).unwrap();
            assert_eq!((read.0, Moment::read(text).0), (expect, expect), "{text}");
        };
        check(0, "2000-01-01T00:00:00+00:00", "2000-01-01T00:00:00Z");
        check(-1_500_000, "1999-12-31T23:59:58.5+00:00", "1999-12-31T23:59:58.5Z");
        let (first, last) = (Timestamp::MIN.to_string(), Timestamp::MAX.to_string());
        check(i64::MAX, "infinity", &last);
        check(i64::MIN, "-infinity", &first);
        check(8_640_000_000_000_000_000, "275817-01-01T00:00:00+00:00", &last);
        check(-211_813_488_000_000_000 * 2, "4713-01-01T00:00:00+00:00 BC", &first);
    }
}
