//! Reads a database file as an old program does: `old-sqlite FILE SQL` prints its own version, then
//! one line per row, columns separated by `|`.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, NO_PARAMS};

fn main() -> rusqlite::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, sql] = &arguments[..] else { panic!("old-sqlite FILE SQL") };
    println!("{}", rusqlite::version());
    let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let mut statement = connection.prepare(sql)?;
    let columns = statement.column_count();
    let mut rows = statement.query(NO_PARAMS)?;
    while let Some(row) = rows.next()? {
        let text = |at| {
            Ok(match row.get_raw_checked(at)? {
                ValueRef::Null => String::new(),
                ValueRef::Integer(number) => number.to_string(),
                ValueRef::Real(number) => number.to_string(),
                ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
                ValueRef::Blob(bytes) => format!("{bytes:02x?}"),
            })
        };
        let texts = (0..columns).map(text).collect::<rusqlite::Result<Vec<_>>>()?;
        println!("{}", texts.join("|"));
    }
    Ok(())
}
