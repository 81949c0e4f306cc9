//! The documents about the configuration: the example file and the reference page. Both are made
//! from the schema, which also decides what the program accepts.

use serde_yaml::Value;

use super::SCHEMA;

/// No line of the example is longer.
const COLUMNS_MAX: usize = 100;

/// `offtake.yaml` with every option, its default and what it does: `deploy/offtake.yaml`, `offtake
/// config --example`.
pub fn example() -> String {
    let mut text = String::from(
        "# Configuration of `offtake run`. Every value below is the default; only source.url has none.\n\
         # ${VAR}, ${VAR:-default}, ${VAR:?message}, ${file:/run/secrets/x} and ${credential:name} may\n\
         # stand in any value; $$ is a dollar sign.\n",
    );
    for (key, node) in properties(&schema()) {
        text.push('\n');
        write_setting(&mut text, &key, &node, 0, key == "source");
    }
    text
}

fn write_setting(text: &mut String, key: &str, node: &Value, depth: usize, required: bool) {
    let indent = "  ".repeat(depth);
    for line in wrapped(said(node), COLUMNS_MAX - indent.len() - 2) {
        text.push_str(&format!("{indent}# {line}\n"));
    }
    if !node["properties"].is_null() {
        text.push_str(&format!("{indent}{key}:\n"));
        let needed: Vec<&str> = node["required"]
            .as_sequence()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        for (key, node) in properties(node) {
            write_setting(text, &key, &node, depth + 1, needed.contains(&key.as_str()));
        }
        return;
    }
    if let Some(entry) = node["items"]["examples"].get(0) {
        text.push_str(&format!("{indent}# - {}\n", flow(entry)));
    }
    let example = node["examples"].get(0);
    match (&node["default"], example) {
        (Value::Null, Some(example)) if required => {
            text.push_str(&format!("{indent}{key}: {}\n", flow(example)))
        }
        (Value::Null, Some(example)) => {
            text.push_str(&format!("{indent}# {key}: {}\n", flow(example)))
        }
        (Value::Null, None) => text.push_str(&format!("{indent}# {key}:\n")),
        (default, _) => text.push_str(&format!("{indent}{key}: {}\n", flow(default))),
    }
}

/// The reference page: `docs/configuration.md`.
pub fn reference() -> String {
    let mut text = String::from(
        "# Configuration\n\n\
         <!-- Made from crates/offtake/src/configuration/schema.json by a test; see CONTRIBUTING.md. -->\n\n\
         Offtake reads one file: `offtake.yaml` in the current folder, or the one that `--config` or\n\
         `OFFTAKE_CONFIG` names. [deploy/offtake.yaml](../deploy/offtake.yaml) has every option with its\n\
         default; `offtake config --example` prints it. `offtake config` prints what is in effect, without\n\
         secrets, and `offtake config --schema` a JSON Schema for editors.\n\n\
         Any value may contain variables:\n\n\
         | written | means |\n|---|---|\n\
         | `${VAR}` | the environment variable; unset is an error |\n\
         | `${VAR:-default}` | the same, or `default` when it is unset or empty |\n\
         | `${VAR:?message}` | the same, or the error `message` |\n\
         | `${file:/run/secrets/x}` | the content of a file, without the line end at its end |\n\
         | `${credential:name}` | the same of a credential that systemd gave to the process (`LoadCredential=`); without systemd, of `credentials/name` beside this file |\n\
         | `$$` | a dollar sign |\n\n\
         They are replaced after the YAML is read, so a value cannot change the file's structure.\n\
         Durations have a unit (`500ms`, `30s`, `5m`, `2h`, `7d`), sizes too (`512KiB`, `8MiB`). An unknown\n\
         key is an error that names the nearest known one. All mistakes of the file are told at once, each\n\
         with file, line, column, the line itself without its secrets, and what to write. The exit code is\n\
         then 78.\n\n\
         The daemon applies changes of `destinations`, `webhooks`, `sync`, `audit` and `retention` within a\n\
         second, or at once after SIGHUP or `POST /api/v1/reload`. Other sections need a restart, and the status says so.\n\
         A file with mistakes changes nothing: the daemon goes on with the configuration that it has.\n",
    );
    for (key, node) in properties(&schema()) {
        text.push_str(&format!("\n## {key}\n\n{}\n", said(&node)));
        let mut rows = Vec::new();
        match node["properties"].is_null() {
            true => rows.push(row(&key, &node, false)),
            false => add_rows(&mut rows, &key, &node),
        }
        add_rows(&mut rows, &format!("{key}.NAME"), &node["additionalProperties"]);
        text.push_str("\n| setting | default | meaning |\n|---|---|---|\n");
        rows.iter().for_each(|row| text.push_str(row));
    }
    text
}

fn add_rows(rows: &mut Vec<String>, path: &str, node: &Value) {
    let needed: Vec<&str> =
        node["required"].as_sequence().into_iter().flatten().filter_map(Value::as_str).collect();
    for (key, node) in properties(node) {
        let path = format!("{path}.{key}");
        if !node["properties"].is_null() {
            add_rows(rows, &path, &node);
            continue;
        }
        rows.push(row(&path, &node, needed.contains(&key.as_str())));
        if !node["items"]["properties"].is_null() {
            add_rows(rows, &format!("{path}[]"), &node["items"]);
        }
    }
}

fn row(path: &str, node: &Value, required: bool) -> String {
    let default = match &node["default"] {
        _ if required => "required".to_owned(),
        Value::Null => String::new(),
        default => format!("`{}`", flow(default)),
    };
    let bound = |key: &str| node[key].as_u64();
    let range = match (bound("minimum"), bound("maximum")) {
        (Some(least), Some(most)) => format!(" From {least} to {most}."),
        _ => String::new(),
    };
    format!("| `{path}` | {default} | {}{range} |\n", said(node).replace('|', "\\|"))
}

/// The schema, read as YAML: its keys keep the order of the file, which the JSON reader does not
/// keep.
fn schema() -> Value {
    serde_yaml::from_str(SCHEMA).unwrap_or_default()
}

fn properties(node: &Value) -> Vec<(String, Value)> {
    let entries = node["properties"].as_mapping().into_iter().flatten();
    entries.filter_map(|(key, node)| Some((key.as_str()?.to_owned(), node.clone()))).collect()
}

fn said(node: &Value) -> &str {
    node["description"].as_str().unwrap_or_default()
}

/// A value on one line, as YAML.
fn flow(value: &Value) -> String {
    match value {
        Value::String(text) if text.starts_with("${") => format!("\"{text}\""),
        Value::String(text) => text.clone(),
        Value::Sequence(items) => {
            format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", "))
        }
        Value::Mapping(entries) => {
            let entries =
                entries.iter().map(|(key, value)| format!("{}: {}", flow(key), flow(value)));
            format!("{{ {} }}", entries.collect::<Vec<_>>().join(", "))
        }
        Value::Number(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        _ => String::new(),
    }
}

fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push_str(&format!(" {word}"))
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
