//! No text of a mapping file, of `offtake.yaml` or of a URL makes the program panic.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use offtake::configuration::{Configuration, example, parse_duration};
use offtake_mapping::{foreign, parse, scan};
use offtake_postgres::ConnectionString;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// So many texts are made of each valid one.
const MUTATIONS: u64 = 600;

/// What has a meaning to YAML, to SQL, to a terminal or to none of them.
const PIECES: [&str; 44] = [
    "\"",
    "'",
    "$$",
    "$a$",
    "${",
    "}",
    "$$a",
    "${file:",
    ":-",
    ":?",
    "\u{0}",
    "\u{feff}",
    "é",
    "👩‍👩‍👧",
    "ß",
    "\u{1b}[2J",
    "\u{202e}",
    "\r",
    "\r\n",
    "\n",
    "\t",
    "- ",
    ": ",
    "|\n",
    ">-\n",
    "&a ",
    "*a",
    "!!str ",
    "#",
    "--",
    "/*",
    "*/",
    "[",
    "]",
    "{",
    ",",
    "E'\\'",
    "::",
    ";",
    "(",
    ")",
    "99999999999999999999",
    "-0.0e9",
    "%ff",
];

/// Removes, repeats or moves a part of the text, or puts a piece into it, a few times.
fn mutated(text: &str, random: &mut StdRng) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for _ in 0..random.random_range(1..6) {
        let from = random.random_range(0..=chars.len());
        let to = (from + random.random_range(0..12)).min(chars.len());
        match random.random_range(0..5) {
            0 => drop(chars.drain(from..to)),
            1 => {
                let part = chars[from..to].to_vec();
                let at = random.random_range(0..=chars.len());
                chars.splice(at..at, part);
            }
            2 => chars.truncate(from.max(1)),
            _ => {
                let piece = PIECES[random.random_range(0..PIECES.len())];
                drop(chars.splice(from..from, piece.chars()));
            }
        }
    }
    chars.into_iter().collect()
}

/// Gives the reader each text and many that were made of it.
fn assert_read(what: &str, texts: &[String], read: impl Fn(&str)) {
    for (number, text) in texts.iter().enumerate() {
        for seed in 0..MUTATIONS {
            let mut random = StdRng::seed_from_u64(seed * 1000 + number as u64);
            let made = mutated(text, &mut random);
            let read = catch_unwind(AssertUnwindSafe(|| read(&made)));
            assert!(read.is_ok(), "{what} panics over {made:?}");
        }
    }
}

#[test]
fn no_text_of_a_file_makes_the_reader_panic() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../mappings");
    let mappings: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap())
        .collect();
    assert_read("a mapping", &mappings, |text| {
        // A message has an excerpt of the file, which is cut out of it by positions.
        if let Err(error) = parse(Path::new("m.yaml"), text) {
            drop(error.to_string());
        }
        drop(scan::tokens(text));
    });
    let variables =
        BTreeMap::from([("OFFTAKE_SOURCE_URL".to_owned(), "postgres://h/d".to_owned())]);
    let configuration = [example()];
    assert_read("the configuration", &configuration, |text| {
        match Configuration::parse(Path::new("offtake.yaml"), text, &variables) {
            Ok(read) => drop(format!("{read:?} {:?}", read.masked())),
            Err(error) => drop(error.to_string()),
        }
    });
    let urls = [
        "postgres://user:p%40ss@db.example.com:5432/name?sslmode=verify-full&connect_timeout=5",
        "postgresql://[2001:db8::1]:6432/d?channel_binding=require",
        "host=localhost port=5432 dbname=d user=u password='p w'",
        "1h30m 7d",
    ];
    assert_read("a URL", &urls.map(str::to_owned), |text| {
        for read in [ConnectionString::source(text), ConnectionString::destination(text, None)] {
            match read {
                Ok(url) => drop(format!("{url:?} {url}")),
                Err(error) => drop(error.to_string()),
            }
        }
        let _ = parse_duration(text);
        drop(foreign(text));
    });
}
