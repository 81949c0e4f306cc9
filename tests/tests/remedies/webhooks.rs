//! Mistakes in the section `webhooks` of `offtake.yaml`, each line of it wrong once.

use offtake_tests::samples::{TEAMS, USERS};

use super::mistakes::Follow::{Make, Understand, Write};
use super::mistakes::{Follow, Mistake, mend};

/// Two lines.
const BEGINNING: &str =
    "source: { url: \"postgres://app@db.example.com/app\" }\nmappings: mappings\n";

/// The first three lines of a webhook; what is wrong is behind it.
macro_rules! hook {
    ($rest:literal) => {
        concat!(
            "webhooks:\n  static:\n    - tenant: acme\n      url: https://hooks.example.com/a\n      ",
            "secret: whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD\n      ",
            $rest
        )
    };
}

const OF_ONE: [(&str, &str, Follow); 24] = [
    (
        "webhooks:\n  static:\n    - §url§: https://hooks.example.com/a\n      \
         secret: whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
        "webhooks.static[0].tenant: this is required",
        Understand("tenant", hook!("name: main")),
    ),
    (
        "webhooks:\n  static:\n    - §tenant§: acme\n      secret: whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
        "webhooks.static[0].url: this is required",
        Understand("https://", hook!("name: main")),
    ),
    (
        "webhooks:\n  static:\n    - §tenant§: acme\n      url: https://hooks.example.com/a",
        "webhooks.static[0].secret: this is required",
        Understand("whsec_", hook!("name: main")),
    ),
    (
        "webhooks:\n  static:\n    - tenant: acme\n      url: §ftp://hooks.example.com/a§\n      \
         secret: whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
        "webhooks.static[0].url: ",
        Write("write it like ", "\n"),
    ),
    (
        "webhooks:\n  static:\n    - tenant: acme\n      url: §https://user:hidden@hooks.example.com/a§\n      \
         secret: whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
        "webhooks.static[0].url: ",
        Write("write it like ", "\n"),
    ),
    (
        "webhooks:\n  static:\n    - tenant: acme\n      url: §https://hooks.example.com/a#part§\n      \
         secret: whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
        "webhooks.static[0].url: ",
        Write("write it like ", "\n"),
    ),
    (
        "webhooks:\n  static:\n    - tenant: acme\n      url: https://hooks.example.com/a\n      secret: §hunter2§",
        "webhooks.static[0].secret: ",
        Understand("`offtake webhook secret` prints a fresh one", hook!("name: main")),
    ),
    (
        "webhooks:\n  static:\n    - tenant: acme\n      url: https://hooks.example.com/a\n      secret: §whsec_c2hvcnQ=§",
        "webhooks.static[0].secret: ",
        Understand("`offtake webhook secret` prints a fresh one", hook!("name: main")),
    ),
    (
        "webhooks:\n  static:\n    - tenant: acme\n      url: https://hooks.example.com/a\n      secret: §[]§",
        "webhooks.static[0].secret: ",
        Understand("`offtake webhook secret` prints a fresh one", hook!("name: main")),
    ),
    (
        hook!("name: §\"a\\e[2J\"§"),
        "webhooks.static[0].name: a webhook's name has no character that a terminal",
        Understand("choose a short name", hook!("name: a")),
    ),
    (
        hook!("mappings: [§userz§]"),
        "webhook acme/main: there is no mapping named userz",
        Understand("the mappings are teams, users", hook!("mappings: [users]")),
    ),
    (
        hook!("events: [§created§]"),
        "`created` is no kind of event",
        Understand("write upserted, deleted or both", hook!("events: [upserted]")),
    ),
    (
        hook!("events: §[]§"),
        "webhooks.static[0].events: this is empty",
        Understand("write upserted, deleted or both", hook!("events: [upserted, deleted]")),
    ),
    (
        hook!("headers: §{ Host: a.example.com }§"),
        "webhooks.static[0].headers: the header Host is set by Offtake or by the protocol",
        Understand("write `Name: value` pairs", hook!("headers: { Authorization: Bearer a }")),
    ),
    (
        hook!("headers: §{ \"two words\": a }§"),
        "webhooks.static[0].headers: ",
        Understand("write `Name: value` pairs", hook!("headers: { two-words: a }")),
    ),
    (
        hook!("backfill: §maybe§"),
        "webhooks.static[0].backfill: this is `true` or `false`",
        Understand("write one of the two", hook!("backfill: true")),
    ),
    (
        hook!("payload: §thin§"),
        "webhooks.static[0].payload: ",
        Understand("key", hook!("payload: key")),
    ),
    (
        hook!("batch: { events: §5000§ }"),
        "webhooks.static[0].batch.events: `5000` cannot be used here",
        Write("a whole number from ", " to "),
    ),
    (
        hook!("batch: { wait: §1h§ }"),
        "webhooks.static[0].batch.wait: `1h` cannot be used here",
        Write("such as ", " or "),
    ),
    (
        hook!("concurrency: §0§"),
        "webhooks.static[0].concurrency: `0` cannot be used here",
        Write("a whole number from ", " to "),
    ),
    (
        hook!("timeout: §1m§"),
        "webhooks.static[0].timeout: `1m` cannot be used here",
        Write("such as ", ";"),
    ),
    (
        hook!("on_event_error: §ignore§"),
        "webhooks.static[0].on_event_error: ",
        Understand("halt", hook!("on_event_error: halt")),
    ),
    (hook!("ca_file: §ca.pem§"), "webhooks.static[0].ca_file: ", Make("ca.pem")),
    (
        hook!(
            "name: main\n    - tenant: §acme§\n      url: https://hooks.example.com/b\n      \
               secret: whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
        ),
        "webhooks.static[1].tenant: acme has two webhooks named main",
        Understand(
            "give one of them another `name`",
            hook!(
                "name: main\n    - tenant: acme\n      name: other\n      url: https://hooks.example.com/b\n      \
                   secret: whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
            ),
        ),
    ),
];

const OF_ALL: [(&str, &str, Follow); 12] = [
    (
        "webhooks: { §statics§: [] }",
        "webhooks.statics: there is no such key",
        Write("did you mean `", "`"),
    ),
    (
        "webhooks: { refresh: §2d§ }",
        "webhooks.refresh: `2d` cannot be used here",
        Write("such as ", " or "),
    ),
    (
        "webhooks: { workers: §0§ }",
        "webhooks.workers: `0` cannot be used here",
        Write("the default is ", "\n"),
    ),
    (
        "webhooks: { connections: §none§ }",
        "webhooks.connections: `none` cannot be used here",
        Write("the default is ", "\n"),
    ),
    (
        "webhooks: { per_tenant: §100000§ }",
        "webhooks.per_tenant: `100000` cannot be used here",
        Write("the default is ", "\n"),
    ),
    (
        "webhooks: { retry: { initial: §0s§ } }",
        "webhooks.retry.initial: `0s` cannot be used here",
        Write("such as ", " or "),
    ),
    (
        "webhooks: { retry: { initial: 5s, max: §1s§ } }",
        "webhooks.retry.max: this is shorter than `initial`",
        Understand("make it at least as long", "webhooks: { retry: { initial: 5s, max: 5s } }"),
    ),
    (
        "webhooks: { retry: { events: [5s, §soon§] } }",
        "webhooks.retry.events[1]: this cannot be used here",
        Write("such as ", "\n"),
    ),
    (
        "webhooks: { retry: { events: §[1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s]§ } }",
        "webhooks.retry.events: these are 21 pauses",
        Understand("write at most 20", "webhooks: { retry: { events: [1s] } }"),
    ),
    (
        "webhooks: { disable_after: §0s§ }",
        "webhooks.disable_after: `0s` cannot be used here",
        Write("such as ", " or "),
    ),
    (
        "webhooks: { attempts: { log: §none§ } }",
        "webhooks.attempts.log: ",
        Understand("failures", "webhooks: { attempts: { log: failures } }"),
    ),
    (
        "webhooks: { attempts: { keep: §1h§ } }",
        "webhooks.attempts.keep: `1h` cannot be used here",
        Write("such as ", ";"),
    ),
];

#[test]
fn a_mistake_in_a_webhook_is_mended_by_what_its_message_says() {
    for (wrong, says, follow) in OF_ONE.iter().chain(&OF_ALL) {
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
