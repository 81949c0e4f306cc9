//! Mistakes in `offtake.yaml`, one by one: the message names the file, the line, the field and the
//! reason, and `check` passes once its remedy has been followed.

use offtake_tests::samples::{TEAMS, USERS};

use super::mistakes::Follow::{Make, Run, Set, Understand, Write};
use super::mistakes::{Follow, Mistake, mend};

/// What every file here begins with: two lines.
const BEGINNING: &str =
    "source: { url: \"postgres://app@db.example.com/app\" }\nmappings: mappings\n";

/// What is wrong behind [`BEGINNING`], a part of the message, and how its remedy is followed.
type Wrong = (&'static str, &'static str, Follow);

const VALUES: [Wrong; 29] = [
    ("sync: { §worker§: 3 }", "sync.worker: there is no such key", Write("did you mean `", "`")),
    ("§sinc§: { workers: 3 }", "sinc: there is no such key", Write("did you mean `", "`")),
    (
        "http: { §colour§: red }",
        "http.colour: there is no such key",
        Write("the keys here are `", "`"),
    ),
    (
        "sync: { workers: §0§ }",
        "sync.workers: `0` cannot be used here",
        Write("the default is ", "\n"),
    ),
    (
        "sync: { workers: §many§ }",
        "sync.workers: `many` cannot be used here",
        Write("a whole number from ", " to "),
    ),
    (
        "sync: { retry: { initial: 5s, max: §1s§ } }",
        "sync.retry.max: this is shorter than `initial`",
        Understand("make it at least as long", "sync: { retry: { initial: 5s, max: 5s } }"),
    ),
    (
        "sequencer: { interval: §0ms§ }",
        "sequencer.interval: `0ms` cannot be used here",
        Write("such as ", " or "),
    ),
    ("poller: { lease: §60§ }", "poller.lease: `60` cannot be used here", Write("such as ", ";")),
    (
        "poller: { lease: §2d§ }",
        "poller.lease: `2d` cannot be used here",
        Write("a duration from ", " to "),
    ),
    (
        "retention: { changes: §1ms§ }",
        "retention.changes: `1ms` cannot be used here",
        Write(" or ", ";"),
    ),
    (
        "metrics: { tenants: §all§ }",
        "metrics.tenants: `all` cannot be used here",
        Write("write off, or ", " to "),
    ),
    (
        "telemetry: { otlp_endpoint: §localhost:4318§ }",
        "telemetry.otlp_endpoint: this is not the http:// or https:// URL of a collector",
        Write("write it like ", "\n"),
    ),
    (
        "telemetry: { otlp_endpoint: §\"http://u:pw@collector:4318\"§ }",
        "telemetry.otlp_endpoint: this URL has more than a host and a path",
        Understand(
            "put secrets into the environment variable OTEL_EXPORTER_OTLP_HEADERS",
            "telemetry: { otlp_endpoint: \"http://collector:4318\" }",
        ),
    ),
    ("audit: { budget: §2§ }", "audit.budget: `2` cannot be used here", Write("such as ", ";")),
    (
        "audit: { period: §never§ }",
        "audit.period: `never` cannot be used here",
        Write(", or ", ";"),
    ),
    (
        "audit: { repair: §perhaps§ }",
        "audit.repair: this is `true` or `false`",
        Understand("write one of the two", "audit: { repair: true }"),
    ),
    (
        "sync: { batch_bytes: §8§ }",
        "sync.batch_bytes: `8` cannot be used here",
        Write("such as ", ";"),
    ),
    (
        "sync: §3§",
        "sync: this is a section",
        Understand("write `key: value` lines below it", "sync:\n  workers: 3"),
    ),
    (
        "sync: { workers: §[3]§ }",
        "sync.workers: this is a single value",
        Understand("write it as `key: value`", "sync: { workers: 3 }"),
    ),
    (
        "sync: { workers: 3 }\n§sync§: { workers: 4 }",
        "the key `sync` is here twice",
        Understand("keep one of them", "sync: { workers: 4 }"),
    ),
    (
        "sync: { workers: 3",
        "this is not YAML",
        Understand("check indentation and quotes around this place", "sync: { workers: 3 }"),
    ),
    (
        "retention: { changes: §\"${DAYS}\"§ }",
        "retention.changes: the environment variable DAYS is not set",
        Set("3d"),
    ),
    (
        "retention: { changes: §\"${DAYS}\"§ }",
        "retention.changes: the environment variable DAYS is not set",
        Understand("give a default with ${DAYS:-…}", "retention: { changes: \"${DAYS:-3d}\" }"),
    ),
    (
        "retention: { changes: §\"${DAYS:?how long}\"§ }",
        "retention.changes: DAYS is not set: how long",
        Set("3d"),
    ),
    (
        "retention: { changes: §\"${DAYS\"§ }",
        "retention.changes: a `${` is not closed",
        Understand("close it with `}`", "retention: { changes: \"${DAYS:-3d}\" }"),
    ),
    (
        "retention: { changes: §\"${}\"§ }",
        "retention.changes: a `${…}` does not name a variable",
        Understand("${VAR:-default}", "retention: { changes: \"${VAR:-3d}\" }"),
    ),
    (
        "retention: { changes: §\"${A:=3d}\"§ }",
        "retention.changes: what follows A in `${A:…}` is not understood",
        Understand("write ${A:-default} or ${A:?message}", "retention: { changes: \"${A:-3d}\" }"),
    ),
    ("retention: { changes: §\"${file:days}\"§ }", "retention.changes: cannot read", Make("days")),
    (
        "security: { allow_destinations: [§10.0.0.0/33§] }",
        "security.allow_destinations[0]: this is not a network",
        Write(" or ", ","),
    ),
];

const HTTP: [Wrong; 11] = [
    (
        "http: { listen: §8081§ }",
        "http.listen: this is not an address with a port",
        Write("like ", " or "),
    ),
    (
        "http: { probes: §8081§ }",
        "http.probes: this is not an address with a port",
        Write(" or ", ","),
    ),
    (
        "http: { listen: 127.0.0.1:8081, probes: §localhost:8081§ }",
        "http.probes: this is the address of http.listen",
        Understand(
            "give it another port",
            "http: { listen: 127.0.0.1:8081, probes: localhost:8082 }",
        ),
    ),
    (
        "http: { listen: 127.0.0.1:8081, probes: §localhost:8081§ }",
        "http.probes: this is the address of http.listen",
        Understand("or leave it out", "http: { listen: 127.0.0.1:8081 }"),
    ),
    (
        "http: { listen: §0.0.0.0:8081§ }",
        "http.listen: 0.0.0.0:8081 can be reached from other machines, and there is no token",
        Understand("listen on 127.0.0.1", "http: { listen: 127.0.0.1:8081 }"),
    ),
    (
        "http: { listen: §0.0.0.0:8081§ }",
        "http.listen: 0.0.0.0:8081 can be reached from other machines, and there is no token",
        Understand(
            "set http.admin_token",
            "http: { listen: 0.0.0.0:8081, admin_token: 0123456789abcdef }",
        ),
    ),
    (
        "http: { listen: 0.0.0.0:8081, admin_token: §abc§ }",
        "http.admin_token: a token of fewer than 16 characters can be guessed",
        Run,
    ),
    (
        "http: { admin_token: one, read_token: §one§ }",
        "http.read_token: this is the admin token too",
        Understand("make another one", "http: { admin_token: one, read_token: two }"),
    ),
    (
        "http: { status_secret: §short§ }",
        "http.status_secret: a secret of fewer than 32 characters can be guessed from a token",
        Run,
    ),
    (
        "http:\n  read_token: 0123456789abcdef0123456789abcdef\n  \
         status_secret: §0123456789abcdef0123456789abcdef§",
        "http.status_secret: this is a token for the API too",
        Understand(
            "make another one",
            "http:\n  read_token: 0123456789abcdef0123456789abcdef\n  \
             status_secret: fedcba9876543210fedcba9876543210",
        ),
    ),
    ("http: { admin_token: §\"${file:token}\"§ }", "http.admin_token: cannot read", Make("token")),
];

const STORES: [Wrong; 12] = [
    (
        "stores: { disk: { kind: disk, path: files } }\nexports: { store: §tape§ }",
        "exports.store: there is no store named tape",
        Understand(
            "name one of those in `stores`",
            "stores: { disk: { kind: disk, path: files } }\nexports: { store: disk }",
        ),
    ),
    ("stores: §[disk]§", "stores: this is a section", Understand("write `name: ", FILES)),
    ("stores: { §disk§: { path: files } }", "stores.disk.kind: this is required", {
        Understand("`disk`, a folder", FILES)
    }),
    (
        "stores: { disk: { kind: §tape§, path: files } }",
        "stores.disk.kind: `tape` cannot be used here",
        Write("write ", " or "),
    ),
    (
        "stores: §{ 'my disk': { kind: disk, path: files } }§",
        "stores: `my disk` cannot be a store",
        { Understand("such as disk", FILES) },
    ),
    (
        "stores: { disk: { kind: disk, path: files }, more: { kind: disk, path: §files/more§ } }",
        "stores.more.path: the store disk has this folder",
        Understand(
            "give each store a folder of its own",
            "stores: { disk: { kind: disk, path: files }, more: { kind: disk, path: more } }",
        ),
    ),
    (
        "stores: { disk: { kind: disk, path: files } }\nsnapshots: { store: §dsik§ }",
        "snapshots.store: there is no store named `dsik`",
        Write("did you mean ", "?"),
    ),
    (
        "stores: { disk: { kind: disk, path: files } }\nsnapshots: { store: §tape-12§ }",
        "snapshots.store: there is no store named `tape-12`",
        Understand("the name of one of the `stores`", FILES),
    ),
    (
        "snapshots: { every: §24h§ }",
        "snapshots.every: there is no store that snapshots could be kept in",
        Understand(
            "name one of the `stores` of this file in snapshots.store",
            "stores: { disk: { kind: disk, path: files } }\nsnapshots: { every: 24h, store: disk }",
        ),
    ),
    (
        "snapshots: { kinds: [§sources§] }",
        "snapshots.kinds[0]: there is no such kind",
        Write("write one or both of rows and ", ":"),
    ),
    (
        "snapshots: { kinds: [rows, §rows§] }",
        "snapshots.kinds[1]: this is there already",
        Write("write one or both of rows and ", ":"),
    ),
    (
        "snapshots: { kinds: §[]§ }",
        "snapshots.kinds: this is empty",
        Understand("write one or both of rows and source", "snapshots: { kinds: [rows, source] }"),
    ),
];

/// A store that is a bucket, and what it lacks or has too much.
const BUCKETS: [Wrong; 9] = [
    (
        "stores: { §r2§: { kind: s3, region: auto, access_key_id: a, secret_access_key: b } }",
        "stores.r2.bucket: this is required",
        Understand("s3: the bucket's name", BUCKET),
    ),
    (
        "stores: { §r2§: { kind: s3, bucket: dumps, access_key_id: a, secret_access_key: b } }",
        "stores.r2.region: this is required",
        Understand("`auto` for R2", BUCKET),
    ),
    (
        "stores: { r2: { kind: s3, bucket: §dumps/of§, region: auto, access_key_id: a, secret_access_key: b } }",
        "stores.r2.bucket: this cannot be a bucket's name",
        Understand("write its name alone", BUCKET),
    ),
    (
        "stores: { r2: { kind: s3, bucket: dumps, region: §'a b'§, access_key_id: a, secret_access_key: b } }",
        "stores.r2.region: this cannot be a region",
        Understand("or auto for R2", BUCKET),
    ),
    (
        "stores: { r2: { kind: s3, bucket: dumps, region: auto, access_key_id: §'a b'§, secret_access_key: b } }",
        "stores.r2.access_key_id: it has a character that no access key has",
        Understand("copy it again", BUCKET),
    ),
    (
        "stores: { r2: { kind: s3, bucket: dumps, prefix: §/of§, region: auto, access_key_id: a, secret_access_key: b } }",
        "stores.r2.prefix: this cannot be what keys begin with",
        Understand("with slashes between them", BUCKET),
    ),
    (
        "stores: { r2: { kind: s3, bucket: dumps, endpoint: §'http://s3.example.com'§, region: auto, access_key_id: a, secret_access_key: b } }",
        "stores.r2.endpoint: the endpoint is plain http",
        Understand("or leave it out for Amazon's", BUCKET),
    ),
    (
        "stores: { r2: { kind: s3, path: §files§, bucket: dumps, region: auto, access_key_id: a, secret_access_key: b } }",
        "stores.r2.path: a store of this kind has no such setting",
        Understand("leave it out, or write `kind: disk`", BUCKET),
    ),
    (
        "stores: { disk: { kind: disk, path: files, bucket: §dumps§ } }",
        "stores.disk.bucket: a store of this kind has no such setting",
        Understand("leave it out, or write `kind: s3`", FILES),
    ),
];

const BUCKET: &str = "stores: { r2: { kind: s3, bucket: dumps, region: auto, access_key_id: a, secret_access_key: b } }";

const FILES: &str = "stores: { disk: { kind: disk, path: files } }";

const DESTINATIONS: [Wrong; 12] = [
    (
        "destinations:\n  static:\n    - §tenant§: acme",
        "destinations.static[0].url: this is required",
        Understand(
            "postgres://",
            "destinations:\n  static:\n    - { tenant: acme, url: postgres://u@db.example.com/a }",
        ),
    ),
    (
        "destinations:\n  static:\n    - §url§: postgres://u@db.example.com/a",
        "destinations.static[0].tenant: this is required",
        Understand(
            "tenant",
            "destinations:\n  static:\n    - { tenant: acme, url: postgres://u@db.example.com/a }",
        ),
    ),
    (
        "destinations:\n  static: §{ tenant: acme }§",
        "destinations.static: this is a list",
        Understand(
            "begin each entry with `- `",
            "destinations:\n  static:\n    - { tenant: acme, url: postgres://u@db.example.com/a }",
        ),
    ),
    (
        "destinations:\n  static:\n    - { tenant: acme, url: postgres://u@db.example.com/a }\n    \
         - { tenant: §acme§, url: postgres://u@db.example.com/b }",
        "destinations.static[1].tenant: acme has two destinations named main",
        Understand(
            "give one of them another `name`",
            "destinations:\n  static:\n    - { tenant: acme, url: postgres://u@db.example.com/a }\n    \
             - { tenant: acme, name: other, url: postgres://u@db.example.com/b }",
        ),
    ),
    (
        "destinations:\n  static:\n    - { tenant: acme, url: postgres://u@db.example.com/a }\n    \
         - { tenant: globex, url: §postgres://u@db.example.com/a§ }",
        "destinations.static[1].url: acme/main and globex/main are both the schema public",
        Understand(
            "give each its own schema",
            "destinations:\n  static:\n    - { tenant: acme, url: postgres://u@db.example.com/a }\n    \
             - { tenant: globex, url: postgres://u@db.example.com/a, schema: globex }",
        ),
    ),
    (
        "destinations:\n  static:\n    - { tenant: acme, url: postgres://u@db.example.com/a }\n    \
         - { tenant: globex, url: §postgres://u@db.example.com/a§ }",
        "destinations.static[1].url: acme/main and globex/main are both the schema public",
        Understand(
            "mark all of them `shared: true`",
            "destinations:\n  static:\n    - { tenant: acme, url: postgres://u@db.example.com/a, shared: true }\n    \
             - { tenant: globex, url: postgres://u@db.example.com/a, shared: true }",
        ),
    ),
    (
        "destinations:\n  static:\n    - { tenant: acme, url: postgres://u@db.example.com/a, ca_file: §ca.pem§ }",
        "destinations.static[0].ca_file: ",
        Make("ca.pem"),
    ),
    (
        "destinations:\n  static:\n    - { tenant: acme, url: postgres://u@db.example.com/a, shared: §maybe§ }",
        "destinations.static[0].shared: this is `true` or `false`",
        Understand(
            "write one of the two",
            "destinations:\n  static:\n    - { tenant: acme, url: postgres://u@db.example.com/a, shared: false }",
        ),
    ),
    (
        "destinations:\n  static:\n    - { tenant: acme, url: postgres://u@db.example.com/a, name: §\"a\\e[2J\"§ }",
        "destinations.static[0].name: a destination's name has no character that a terminal",
        Understand(
            "choose a short name",
            "destinations:\n  static:\n    - { tenant: acme, url: postgres://u@db.example.com/a, name: a }",
        ),
    ),
    (
        "destinations:\n  static:\n    - { tenant: acme, url: postgres://u@db.example.com/a, schema: \
         §aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggg§ }",
        "destinations.static[0].schema: ",
        Understand(
            "give the name as the catalog stores it",
            "destinations:\n  static:\n    - { tenant: acme, url: postgres://u@db.example.com/a, schema: a }",
        ),
    ),
    (
        "destinations: { refresh: §2d§ }",
        "destinations.refresh: `2d` cannot be used here",
        Write("such as ", " or "),
    ),
    (
        "destinations:\n  static:\n    - { tenant: acme, url: postgres://u@db.example.com/a, mappings: [userz] }",
        "offtake.yaml:5:70: destination acme/main: there is no mapping named userz",
        Understand(
            "the mappings are teams, users",
            "destinations:\n  static:\n    - { tenant: acme, url: postgres://u@db.example.com/a, mappings: [users] }",
        ),
    ),
];

fn all_mistakes() -> impl Iterator<Item = &'static Wrong> {
    VALUES.iter().chain(&HTTP).chain(&STORES).chain(&BUCKETS).chain(&DESTINATIONS)
}

#[test]
fn a_mistake_in_the_configuration_is_mended_by_what_its_message_says() {
    for (wrong, says, follow) in all_mistakes() {
        mend(&Mistake {
            file: "offtake.yaml",
            beside: &[("mappings/users.yaml", USERS), ("mappings/teams.yaml", TEAMS)],
            before: BEGINNING,
            wrong,
            behind: "\n",
            says,
            follow,
        });
    }
}
