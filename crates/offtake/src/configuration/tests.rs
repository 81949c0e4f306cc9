use super::*;

const SOURCE: &str = "source: { url: postgres://app:s3cretpw@localhost/app }\n";

fn parse(text: &str) -> Result<Configuration, Error> {
    let variables =
        BTreeMap::from([("TOKEN".to_owned(), "t0ken".repeat(8)), ("N".to_owned(), "7".to_owned())]);
    Configuration::parse(Path::new("conf/offtake.yaml"), text, &variables)
}

/// The text behind [`SOURCE`] has this one mistake: its position and message, and a part of its
/// remedy.
fn check(text: &str, expect: &str, remedy: &str) {
    let error = parse(&format!("{SOURCE}{text}")).unwrap_err();
    assert!(error.to_string().starts_with(&format!("conf/offtake.yaml:{expect}")), "{error}");
    let [found] = error.diagnostics.as_slice() else { panic!("{error}") };
    assert!(found.remedy.contains(remedy), "{error:?}");
}

#[test]
fn mistakes_name_file_line_field_and_remedy() {
    check(
        "sync:\n  worker: 3\n",
        "3:3: sync.worker: there is no such key",
        "did you mean `workers`?",
    );
    check("sinc: {}\n", "2:1: sinc: there is no such key", "did you mean `sync`?");
    check(
        "http:\n  colour: red\n",
        "3:3: http.colour",
        "the keys here are `admin_token`, `listen`, `probes`, `public_url`, `read_token`, `status_secret`",
    );
    for wrong in ["offtake.example.com", "https://", "https://a/?b", "https://user@a", "ftp://a"] {
        check(
            &format!("http: {{ public_url: \"{wrong}\" }}\n"),
            "2:21: http.public_url",
            "write it like https://offtake.example.com",
        );
    }
    check(
        "sync: { workers: 0 }\n",
        "2:18: sync.workers: `0` cannot be used here",
        "from 1 to 1024; the default is 16",
    );
    check(
        "sync:\n  # none\n  retry: { initial: 5s,\n    max: 1s }\n",
        "5:10: sync.retry.max: this is shorter",
        "at least as long",
    );
    check(
        "sequencer:\n  interval: 0ms\n",
        "3:13: sequencer.interval: `0ms` cannot",
        "from 1ms to 1m",
    );
    check("poller: { lease: 60 }\n", "2:18: poller.lease: `60` cannot", "such as 60s; the default");
    check("audit: { budget: 2 }\n", "2:18: audit.budget: `2` cannot", "from 0.01% to 100%");
    check("audit: { period: never }\n", "2:18: audit.period: `never` cannot", "or off");
    check("sync: { batch_bytes: 8 }\n", "2:22: sync.batch_bytes: `8` cannot", "8MiB");
    check(
        "sync: { workers: \"${TOKEN}\" }\n",
        "2:18: sync.workers: `${TOKEN}` cannot",
        "whole number",
    );
    check(
        "retention: { changes: \"${DAYS}\" }\n",
        "2:23: retention.changes: the environment variable DAYS is not set",
        "${DAYS:-",
    );
    check(
        "http: { listen: 0.0.0.0:8080 }\n",
        "2:17: http.listen: 0.0.0.0:8080 can be reached",
        "admin_token",
    );
    check(
        "http:\n  listen: 0.0.0.0:1\n  admin_token: abc\n",
        "4:16: http.admin_token: a token of fewer",
        "openssl",
    );
    check(
        "http: { probes: 8081 }\n",
        "2:17: http.probes: this is not an address with a port",
        "127.0.0.1:8080",
    );
    check(
        "http: { listen: 127.0.0.1:8081, probes: localhost:8081 }\n",
        "2:41: http.probes: this is the address of http.listen",
        "another port",
    );
    check(
        "security: { allow_destinations: [10.0.0.0/33] }\n",
        "2:34: security.allow_destinations[0]: this is not a network",
        "10.20.0.0/16",
    );
    check("sync: 3\n", "2:7: sync: this is a section", "");
    check("source: {}\n", "2:1: the key `source` is here twice", "keep one");
    check("a: [\n", "", "indentation");
}

#[test]
fn mistakes_of_a_store_name_it() {
    let check =
        |stores: &str, expect, remedy| check(&format!("stores: {stores}\n"), expect, remedy);
    check("{ d: { kind: disk } }", "2:11: stores.d.path: this is required", "folder");
    check("{ d: { path: x } }", "2:11: stores.d.kind: this is required", "disk");
    check("{ d: { kind: tape, path: x } }", "2:22: stores.d.kind: `tape` cannot", "write disk");
    check("{ d: { kind: disk, pth: x } }", "2:28: stores.d.pth: there is no such key", "`path`");
    check("{ 'a b': { kind: disk, path: x } }", "2:9: stores: `a b` cannot", "letters");
    check("[a]", "2:9: stores: this is a section", "name: {");
    check("{ d: x }", "2:14: stores.d: this is a section", "lines below it");
    check(
        "{ a: { kind: disk, path: x }, b: { kind: disk, path: x/y } }",
        "2:62: stores.b.path: the store a has this folder",
        "of its own",
    );
    let parsed = parse(&format!("{SOURCE}stores: {{ d: {{ kind: disk, path: x }} }}\n")).unwrap();
    let shown = serde_yaml::to_string(&parsed.masked()).unwrap();
    assert_eq!(parse(&shown.replace("conf/", "")).unwrap().stores, parsed.stores, "{shown}");
}

#[test]
fn mistakes_of_an_object_store_name_it_and_show_no_key() {
    let store = |name: &str, more: &str| {
        let key = "access_key_id: canary-id, secret_access_key: canary-secret";
        format!("{name}: {{ kind: s3, region: auto, {key}, {more} }}")
    };
    let parse =
        |stores: &[String]| parse(&format!("{SOURCE}stores: {{ {} }}\n", stores.join(", ")));
    let check = |stores: &[String], expect: &str, remedy: &str| {
        let error = parse(stores).unwrap_err();
        assert!(error.to_string().contains(expect), "{error}");
        assert!(!error.to_string().contains("canary"), "{error}");
        let [found] = error.diagnostics.as_slice() else { panic!("{error}") };
        assert!(found.remedy.contains(remedy), "{error:?}");
    };
    for (more, expect, remedy) in [
        ("prefix: x", "stores.b.bucket: this is required", "the bucket's name"),
        ("bucket: A/b", "stores.b.bucket: this cannot be a bucket's name", "its name alone"),
        ("bucket: dumps, prefix: /x", "stores.b.prefix: this cannot be", "slashes between"),
        ("bucket: dumps, path: x", "stores.b.path: a store of this kind has no", "kind: disk"),
        (
            "bucket: dumps, endpoint: 'http://s3.example.com'",
            "stores.b.endpoint: the endpoint is plain http",
            "write it like https://",
        ),
    ] {
        check(&[store("b", more)], expect, remedy);
    }
    let two = [store("a", "bucket: dumps"), store("b", "bucket: dumps, prefix: x")];
    check(&two, "stores.b.prefix: the store a has this place", "a place of its own");

    let parsed = parse(&[store("a", "bucket: dumps, prefix: x/y")]).unwrap();
    let shown = serde_yaml::to_string(&parsed.masked()).unwrap();
    assert!(shown.contains("https://s3.auto.amazonaws.com"), "{shown}");
    assert!(!shown.contains("canary") && !format!("{parsed:?}").contains("canary"), "{shown}");
}

#[test]
fn mistakes_of_a_destination_name_its_place_in_the_list() {
    check(
        "destinations:\n  static:\n    - tenant: a\n",
        "4:7: destinations.static[0].url: this is required",
        "postgres://",
    );
    check(
        "destinations:\n  static:\n    - { tenant: a, url: '${E:-}' }\n",
        "4:25: destinations.static[0].url: this is empty, and",
        "postgres://",
    );
    // One mistake, not two: `url` is missing because it is misspelt.
    check(
        "destinations:\n  static:\n    - { tenant: a, urll: x }\n",
        "4:20: destinations.static[0].urll: there is no",
        "`url`",
    );
}

#[test]
fn all_mistakes_are_told_at_once_with_their_lines_and_no_secret() {
    let text = "source: { url: mysql://app:s3cretpw@localhost/app }
sync:
  worker: 3
  batch_bytes: 8
http: { listen: 0.0.0.0:80, admin_token: t0k }
destinations:
  static:
    - { tenant: a, urll: postgres://u:s3cretpw@h/d }
    - { url: \"postgres://u:${NONE}@h/d\", shared: maybe }
";
    let error = parse(text).unwrap_err();
    let places: Vec<_> = error
        .diagnostics
        .iter()
        .map(|found| found.position.map(|p| (p.line, p.column)).unwrap())
        .collect();
    assert_eq!(
        places,
        [(1, 16), (3, 3), (4, 16), (5, 42), (8, 20), (9, 7), (9, 14), (9, 50)],
        "{error}"
    );
    assert!(
        error
            .diagnostics
            .iter()
            .all(|found| !found.remedy.is_empty() && found.excerpt.contains('^')),
        "{error}"
    );
    for secret in ["s3cretpw", "t0k"] {
        assert!(!error.to_string().contains(secret), "{error}");
    }
    let told = "conf/offtake.yaml:4:16: sync.batch_bytes: `8` cannot be used here\n   |\n 4 |   batch_bytes: 8\n   |                ^\n  remedy: write a size";
    assert!(error.to_string().contains(told), "{error}");
}

#[test]
fn a_missing_source_is_told() {
    assert!(parse("").unwrap_err().to_string().contains("source.url: this is required"));
    assert!(
        parse("source: {}\n")
            .unwrap_err()
            .to_string()
            .starts_with("conf/offtake.yaml:1:1: source.url: this is required")
    );
}

const TWO: &str = "destinations:
  static:
    - { tenant: acme, url: postgres://u:p@db.example.com/x }
    - { tenant: blue, url: postgres://u:p@db.example.com/x, schema: public }
";

#[test]
fn tenants_that_share_a_schema_must_all_say_so() {
    let check = |from: &str, to: &str, expect: Option<&str>| {
        let found = parse(&format!("{SOURCE}{}", TWO.replace(from, to)));
        match expect {
            None => drop(found.unwrap()),
            Some(expect) => assert!(found.unwrap_err().to_string().contains(expect)),
        }
    };
    check("", "", Some("acme/main and blue/main are both the schema public of"));
    check("schema: public", "schema: blue", None);
    check("schema: public", "shared: true", Some("acme/main and blue/main"));
    check("/x ", "/y ", None);
    check("blue", "acme", Some("acme has two destinations named main"));
}

#[test]
fn a_chunk_has_four_batches_unless_it_is_given() {
    let chunk_rows = |sync: &str| parse(&format!("{SOURCE}{sync}")).unwrap().sync.chunk_rows;
    assert_eq!(chunk_rows(""), 20_000);
    assert_eq!(chunk_rows("sync: { batch_rows: 50 }\n"), 200);
    assert_eq!(chunk_rows("sync: { batch_rows: 50, chunk_rows: 7 }\n"), 7);
}

#[test]
fn defaults_are_those_of_the_schema() {
    let schema: serde_json::Value = serde_json::from_str(SCHEMA).unwrap();
    let effective = serde_json::to_value(parse(SOURCE).unwrap().masked()).unwrap();
    let mut compared = 0;
    for (section, node) in schema["properties"].as_object().unwrap() {
        for (key, node) in node["properties"].as_object().into_iter().flatten() {
            let Some(default) = node.get("default") else { continue };
            // One that is a variable has no value here: nothing sets it.
            let empty = serde_json::Value::from("");
            let default = if default.as_str().is_some_and(|text| text.starts_with("${")) {
                &empty
            } else {
                default
            };
            let same = |text: &serde_json::Value| text.as_str().and_then(parse_duration);
            let found = &effective[section][key];
            assert!(
                found == default || same(found) == same(default),
                "{section}.{key}: {found} instead of {default}"
            );
            compared += 1;
        }
    }
    assert!(compared > 12, "{compared}");
}

/// The file at `path` from the repository's root must be `expected`; `OFFTAKE_WRITE_DOCS=1` makes
/// it so.
fn check_written(path: &str, expected: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    if std::env::var_os("OFFTAKE_WRITE_DOCS").is_some() {
        std::fs::write(&file, expected).unwrap();
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        found == expected,
        "{path} is not what the schema makes it\n  remedy: OFFTAKE_WRITE_DOCS=1 cargo test -p offtake written"
    );
}

#[test]
fn what_is_written_about_it_is_made_from_the_schema() {
    check_written("deploy/offtake.yaml", &example());
    check_written("docs/configuration.md", &reference());
}

#[test]
fn the_documented_example_is_the_default() {
    let example = example();
    let source = ("OFFTAKE_SOURCE_URL", "postgres://app:s3cretpw@localhost/app");
    let variables = [source, ("OFFTAKE_ADMIN_TOKEN", "t0ken"), ("OFFTAKE_READ_TOKEN", "t1ken")];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let parsed = Configuration::parse(Path::new("offtake.yaml"), &example, &variables).unwrap();
    let default = Configuration::parse(Path::new("offtake.yaml"), SOURCE, &variables).unwrap();
    assert_eq!(parsed.masked(), default.masked());
    // If a token in the environment were ignored, anyone could use the API that it should protect.
    assert!(default.http.admin_token.is_some() && default.http.read_token.is_some());
    let without = format!("{SOURCE}http: {{ admin_token: '' }}\n");
    let without = Configuration::parse(Path::new("offtake.yaml"), &without, &variables).unwrap();
    assert!(without.http.admin_token.is_none(), "what the file says counts");
    // The settings that stand in comments can be used too.
    let secret = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    let uncommented = example
        .replace("# query:", "query:")
        .replace("ca_file: acme-ca.pem, ", "")
        .replace("\"${ACME_URL}\"", "postgres://u:p@db.example.com/x")
        .replace("${ACME_HOOK}", "https://hooks.example.com/x")
        .replace("[\"${HOOK_NEW}\", \"${HOOK_OLD}\"]", secret);
    let mut text = String::new();
    // The entry of a list stands before the list.
    let mut entry = String::new();
    for line in uncommented.lines() {
        if let Some(found) = line.trim_start().strip_prefix("# - {") {
            entry = format!("    - {{{found}\n");
        } else if line.trim_start() == "static: []" {
            text.push_str(&format!("  static:\n{}", std::mem::take(&mut entry)));
        } else if !line.trim_start().starts_with("# ") {
            text.push_str(&format!("{line}\n"));
        }
    }
    let parsed = Configuration::parse(Path::new("offtake.yaml"), &text, &variables).unwrap();
    assert!(parsed.destinations.static_.len() == 1 && parsed.destinations.query.is_some());
    assert!(parsed.webhooks.static_.len() == 1 && parsed.webhooks.query.is_some());
}

#[test]
fn an_audit_that_is_off_reads_back() {
    let text = format!("{SOURCE}audit: {{ period: off, budget: 2.5%, repair: true }}\n");
    let shown = serde_yaml::to_string(&parse(&text).unwrap().masked()).unwrap();
    let audit = parse(&shown).unwrap().audit;
    assert_eq!((audit.period, audit.budget.hundredths(), audit.repair), (None, 250, true));
    let audit = parse(SOURCE).unwrap().audit;
    assert_eq!((audit.period, audit.repair), (Some(std::time::Duration::from_secs(86_400)), false));
}

#[test]
fn what_is_shown_has_no_secret_and_reads_back() {
    let text = format!(
        "{SOURCE}http: {{ admin_token: \"${{TOKEN}}\", probes: 0.0.0.0:8081 }}\nsync: {{ workers: \"${{N}}\" }}\n{}",
        TWO.replace("public", "b")
    );
    let configuration = parse(&text).unwrap();
    assert_eq!(configuration.sync.workers, 7);
    assert_eq!(configuration.mappings, Path::new("conf/mappings"));
    let shown = serde_yaml::to_string(&configuration.masked()).unwrap();
    for secret in ["s3cretpw", "t0ken", ":p@"] {
        assert!(
            !shown.contains(secret) && !format!("{configuration:?}").contains(secret),
            "{shown}"
        );
    }
    let read_back = parse(&shown).unwrap();
    assert_eq!(read_back.http.probes, Some(([0, 0, 0, 0], 8081).into()), "it needs no token");
}
