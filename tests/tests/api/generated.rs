//! schemathesis makes requests of every form that the document describes, and of forms that it
//! does not, and compares each answer with the document.

use offtake_tests::World;
use offtake_tests::tools::{python_packages, said};
use serde_json::Value;

use super::{ADMIN, READER, document, two_tenants};

/// Most requests name what there is; the others anything.
fn configuration(
    port: u16,
    world: &World,
    status_token: &str,
    (export, snapshot): (&str, &str),
) -> String {
    let [acme, globex] = ["acme", "globex"].map(|name| world.id(name));
    let chosen = |dictionary| format!("{{ dictionary = \"{dictionary}\", probability = 0.9 }}");
    format!(
        r#"
base-url = "http://127.0.0.1:{port}"
# Below what all clients together may ask in a second.
rate-limit = "150/s"
continue-on-failure = true
request-timeout = 20

[auth.openapi]
read = {{ bearer = "{READER}" }}
admin = {{ bearer = "{ADMIN}" }}
status = {{ bearer = "{status_token}" }}

[dictionaries]
tenants = {{ values = ["{acme}", "{globex}"] }}
names = {{ values = ["main"] }}
mappings = {{ values = ["users"] }}
exports = {{ values = ["{export}"] }}
snapshots = {{ values = ["{snapshot}"] }}
stores = {{ values = ["disk"] }}
files = {{ values = ["users.csv.gz"] }}

[parameters]
tenant = {tenant}
"path.name" = {name}
"path.id" = {id}
"path.file" = {file}
store = {store}
mapping = {mapping}

[generation]
max-examples = 6
deterministic = true

[checks]
# It shows more wrong tokens than a client may: `what_wants_a_token_is_not_answered_without_it`.
ignored_auth.enabled = false
# A `next` that no page had is 400, a sequence id that the log no longer has 409.
positive_data_acceptance.expected-statuses = ["2xx", 400, 404, 409]
negative_data_rejection.expected-statuses = [400, 401, 403, 404, 405, 406, 409, 413, 414, 415, 421, 422, 428, 429]

[phases.stateful]
enabled = false

# The others ask for the files of these: `a_program_asks_for_an_export_and_curl_fetches_it`.
[[operations]]
include-operation-id = ["delete_export", "delete_snapshot"]
enabled = false

[[operations]]
include-path-regex = "^/api/v1/snapshots/"
parameters = {{ "path.id" = {snapshots} }}

# A link that was not made with the admin token is refused, and after some of them the address.
[[operations]]
include-operation-id = ["export_file", "snapshot_archive"]
checks.positive_data_acceptance.expected-statuses = ["2xx", 400, 403, 404, 409, 416, 429]

# An answer without an end: `the_events_are_the_status_as_described`.
[[operations]]
include-operation-id = "events"
enabled = false
"#,
        tenant = chosen("tenants"),
        name = chosen("names"),
        id = chosen("exports"),
        snapshots = chosen("snapshots"),
        file = chosen("files"),
        store = chosen("stores"),
        mapping = chosen("mappings"),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_to_generated_requests_is_as_described() {
    let packages = python_packages();
    if !packages.join(".installed").is_file() {
        eprintln!("skipped: schemathesis is not installed\n  remedy: scripts/ensure-tools");
        return;
    }
    let (world, _receiver, daemon) = two_tenants().await;
    daemon.allow("http.wrong_tokens");
    let token = world.succeed(&["status-token", "--tenant", world.id("acme")]).await;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let export = ["export", "create", "--tenant", world.id("globex"), "--format", "csv", "--json"];
    let told = world.succeed(&[&export[..], &["--wait"]].concat()).await;
    let told: Value = serde_json::from_str(&told).unwrap();
    let export = told["id"].as_str().unwrap();
    let snapshot = ["snapshot", "create", "--tenant", world.id("globex"), "--json"];
    let snapshot: Value = serde_json::from_str(&world.succeed(&snapshot).await).unwrap();
    let named = (export, snapshot["id"].as_str().unwrap());
    let configuration = configuration(daemon.port(), &world, token.trim(), named);
    std::fs::write(file("schemathesis.toml"), configuration).unwrap();
    let mut document = document(&daemon).await;
    forbid_more(&mut document["components"]["schemas"]);
    std::fs::write(file("openapi.json"), document.to_string()).unwrap();
    let output = tokio::process::Command::new("python3")
        .env("PYTHONPATH", packages)
        .current_dir(folder.path())
        .args(["-c", "from schemathesis.cli import schemathesis; schemathesis()", "--no-color"])
        .args(["run", "openapi.json", "--report", "json", "--report-json-path", "report.json"])
        .output()
        .await
        .unwrap();
    let (told, complained) = said(&output);
    assert!(output.status.success(), "{told}{complained}\n{}", daemon.log_text());
    let report = std::fs::read(file("report.json")).unwrap();
    let report: Value = serde_json::from_slice(&report).unwrap();
    let rates = report["valid_rates"].as_object().unwrap();
    let unheard: Vec<&String> =
        rates.iter().filter(|(_, phases)| accepted(phases) == 0).map(|(route, _)| route).collect();
    // What is named by the configuration cannot be forgotten, no server is a damaged file, and the
    // export is complete.
    let refused = [
        "destinations/{tenant}/{name}/forget",
        "destinations/{tenant}/{name}/recreate",
        "exports/{id}/cancel",
        "exports/{id}/resume",
    ];
    let refused = refused.map(|what| format!("POST /api/v1/{what}"));
    assert_eq!(unheard, refused.iter().collect::<Vec<_>>(), "{told}");
    assert!(rates.len() > 30, "{told}");
    // Whatever was asked, it does its work.
    let (code, told) = daemon.get("/livez").await;
    assert_eq!(code, 200, "{told}");
    daemon.stop().await;
}

/// How many requests had an answer of success.
fn accepted(phases: &Value) -> u64 {
    let phases = phases.as_object().unwrap().values();
    phases.filter_map(|phase| phase["accepted"].as_u64()).sum()
}

/// In the tests, an answer must not have a field that the document does not describe. Clients are
/// not told so: they must bear new fields.
fn forbid_more(schemas: &mut Value) {
    for schema in schemas.as_object_mut().unwrap().values_mut() {
        if schema["properties"].is_object() {
            schema["additionalProperties"] = false.into();
        }
    }
}
