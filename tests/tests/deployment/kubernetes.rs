//! `deploy/kubernetes`: its overlays, as kustomize builds them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use offtake::command_line::Command as OfOfftake;
use offtake_tests::samples::TEAMS;
use offtake_tests::{PATIENCE, World, until};
use serde_json::Value;

use crate::{command, configuration, read, root, texts, yaml};
use offtake_tests::tools::{on_path, python, succeed};

const FOLDER: &str = "deploy/kubernetes";

const OVERLAYS: [&str; 2] = ["production", "trial"];

/// The versions that the manifests are checked against: one of the oldest that clouds still run, and
/// newer ones.
const VERSIONS: [&str; 3] = ["1.31", "1.34", "1.37"];

/// The overlay's objects. None: kustomize is not there, and the test says so.
fn build(overlay: &str) -> Option<Vec<Value>> {
    let mut kubectl = on_path("kubectl")?;
    kubectl.arg("kustomize").arg(root().join(FOLDER).join("overlays").join(overlay));
    Some(yaml(&succeed(&mut kubectl).0))
}

fn of_kind<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    let found = objects.iter().find(|object| object["kind"] == kind);
    found.unwrap_or_else(|| panic!("no {kind}"))
}

/// The objects of the base alone, which need no tool to be read.
fn base(file: &str) -> Vec<Value> {
    yaml(&read(&format!("{FOLDER}/base/{file}.yaml")))
}

fn pod(deployment: &Value) -> &Value {
    &deployment["spec"]["template"]["spec"]
}

/// The daemon's container.
fn container(deployment: &Value) -> &Value {
    let containers = pod(deployment)["containers"].as_array().unwrap();
    assert_eq!(containers.len(), 1);
    &containers[0]
}

/// The variables of a container, those of Secrets with a value as long as tokens must be.
fn variables(container: &Value) -> BTreeMap<String, String> {
    let variable = |one: &Value| {
        let name = one["name"].as_str().unwrap().to_owned();
        let secret = &one["valueFrom"]["secretKeyRef"];
        let value = match (one["value"].as_str(), secret["key"].as_str()) {
            (Some(value), None) => value.to_owned(),
            (None, Some("url")) => "postgres://offtake@source.example/app".to_owned(),
            (None, Some(key)) => format!("{key}-token-of-some-length"),
            other => panic!("{name}: {other:?}"),
        };
        (name, value)
    };
    container["env"].as_array().unwrap().iter().map(variable).collect()
}

#[test]
fn the_manifests_fit_three_versions_of_kubernetes() {
    let folder = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for overlay in OVERLAYS {
        let Some(objects) = build(overlay) else { return };
        // The operator's own kind is in no version's schema.
        let known = objects.iter().filter(|object| object["kind"] != "ServiceMonitor");
        let text: Vec<String> =
            known.map(|object| serde_yaml::to_string(object).unwrap()).collect();
        let file = folder.path().join(overlay).with_extension("yaml");
        std::fs::write(&file, text.join("---\n")).unwrap();
        files.push(file);
    }
    let validate = |version: &str, files: &[PathBuf]| {
        let mut validate = python("kubernetes_validate")?;
        validate.args(["--strict", "--kubernetes-version", version]).args(files);
        Some(validate)
    };
    for version in VERSIONS {
        let Some(mut validate) = validate(version, &files) else { return };
        let (told, complained) = succeed(&mut validate);
        let passed = (told + &complained).matches(" passed for resource ").count();
        assert!(passed > 15, "only {passed} objects were looked at");
    }
    // The check can fail.
    let broken = std::fs::read_to_string(&files[0]).unwrap();
    std::fs::write(&files[0], broken.replace("containerPort", "containersPort")).unwrap();
    let mut validate = validate(VERSIONS[0], &files[..1]).unwrap();
    assert!(!validate.output().unwrap().status.success());
}

#[test]
fn the_overlays_have_every_kind_and_what_they_name() {
    for overlay in OVERLAYS {
        let Some(objects) = build(overlay) else { return };
        let kinds: Vec<&str> = objects.iter().map(|o| o["kind"].as_str().unwrap()).collect();
        let wanted = ["Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy", "ConfigMap"];
        assert!(wanted.iter().all(|kind| kinds.contains(kind)), "{overlay}: {kinds:?}");
        let production = overlay == "production";
        for kind in ["ServiceMonitor", "HorizontalPodAutoscaler"] {
            assert_eq!(kinds.contains(&kind), production, "{overlay}: {kind}");
        }
        let deployment = of_kind(&objects, "Deployment");
        // Every ConfigMap that a volume names is made.
        let made: Vec<&Value> = objects
            .iter()
            .filter(|o| o["kind"] == "ConfigMap")
            .map(|o| &o["metadata"]["name"])
            .collect();
        let volumes = pod(deployment)["volumes"].as_array().unwrap();
        assert_eq!(volumes.len(), 2);
        assert!(
            volumes.iter().all(|volume| made.contains(&&volume["configMap"]["name"])),
            "{made:?}"
        );
        // Every selector finds the pods and only them.
        let labels = &deployment["spec"]["template"]["metadata"]["labels"];
        let selectors =
            objects.iter().filter(|o| o["kind"] != "ServiceMonitor").flat_map(|object| {
                let spec = &object["spec"];
                let service = (object["kind"] == "Service").then_some(&spec["selector"]);
                [
                    service,
                    spec["selector"].get("matchLabels"),
                    spec["podSelector"].get("matchLabels"),
                ]
            });
        let mut selecting = 0;
        for (label, value) in selectors.flatten().flat_map(|s| s.as_object().unwrap()) {
            assert_eq!(labels[label], *value, "{overlay}: {label}");
            selecting += 1;
        }
        assert!(selecting >= 5, "only {selecting} selectors were found");
        let image = container(deployment)["image"].as_str().unwrap();
        assert!(image.contains(':') && image.contains("offtake"), "{image}");
    }
}

/// The restricted standard, and what the unit of systemd has too.
#[test]
fn the_pods_are_restricted() {
    let deployment = &base("deployment")[0];
    let pod = pod(deployment);
    let of_pod = &pod["securityContext"];
    assert_eq!(of_pod["runAsNonRoot"], true);
    assert_eq!(of_pod["seccompProfile"]["type"], "RuntimeDefault");
    assert_eq!(pod["automountServiceAccountToken"], false);
    let init = &yaml(&read(&format!("{FOLDER}/components/init/initcontainer.yaml")))[0];
    let init = &init["spec"]["template"]["spec"]["initContainers"][0];
    for container in [container(deployment), init] {
        let context = &container["securityContext"];
        assert_eq!(context["allowPrivilegeEscalation"], false);
        assert_eq!(context["readOnlyRootFilesystem"], true);
        assert_eq!(texts(&context["capabilities"]["drop"]), ["ALL"]);
        assert!(container["resources"]["limits"]["memory"].is_string());
    }
    // Both read the same.
    assert_eq!(container(deployment)["env"], init["env"]);
    assert_eq!(container(deployment)["volumeMounts"], init["volumeMounts"]);
    assert!(matches!(command(&texts(&init["args"])), OfOfftake::Init(_)));
    let user = read("deploy/Dockerfile");
    let user = user.lines().find_map(|line| line.strip_prefix("USER ")).unwrap();
    assert_eq!(format!("{}:{}", of_pod["runAsUser"], of_pod["runAsGroup"]), user);
}

#[tokio::test]
async fn the_manifests_say_what_the_binary_does() {
    let deployment = &base("deployment")[0];
    let container = container(deployment);
    assert!(matches!(command(&texts(&container["args"])), OfOfftake::Run(_)));
    let variables = variables(container);
    let found = configuration(&format!("{FOLDER}/base/offtake.yaml"), &variables);
    // The files are where the variables and the configuration say.
    let mounts = container["volumeMounts"].as_array().unwrap();
    let mounted = |name: &str| {
        let mount = mounts.iter().find(|mount| mount["name"] == name);
        mount.unwrap()["mountPath"].as_str().unwrap().to_owned()
    };
    let file = format!("{}/offtake.yaml", mounted("configuration"));
    assert_eq!(variables["OFFTAKE_CONFIG"], file);
    assert_eq!(found.mappings.to_str().unwrap(), mounted("mappings"));
    // Ports, by name.
    let ports = container["ports"].as_array().unwrap();
    let port = |name: &str| {
        let port = ports.iter().find(|port| port["name"] == name).unwrap();
        port["containerPort"].as_u64().unwrap()
    };
    assert_eq!(port("http"), u64::from(found.http.listen.port()));
    assert_eq!(port("probes"), u64::from(found.http.probes.unwrap().port()));
    for service in base("service") {
        for of_service in service["spec"]["ports"].as_array().unwrap() {
            port(of_service["targetPort"].as_str().unwrap());
        }
    }
    let policy = &base("networkpolicy")[0];
    for rule in policy["spec"]["ingress"].as_array().unwrap() {
        port(rule["ports"][0]["port"].as_str().unwrap());
    }
    let grace = pod(deployment)["terminationGracePeriodSeconds"].as_u64().unwrap();
    assert!(grace > offtake::daemon::GRACE.as_secs() + 5);

    // Probes and metrics are asked for at the real daemon.
    let world = World::with_tenants(["acme"]).mappings(&[("teams", TEAMS)]).await;
    let daemon = world.daemon().await;
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        let get = &container[probe]["httpGet"];
        assert_eq!(get["port"], "probes");
        let (code, body) = daemon.get(get["path"].as_str().unwrap()).await;
        assert_eq!(code, 200, "{probe}: {body}");
    }
    let monitor = &yaml(&read(&format!("{FOLDER}/components/monitoring/servicemonitor.yaml")))[0];
    let endpoint = &monitor["spec"]["endpoints"][0];
    assert_eq!(endpoint["port"], "probes");
    let scaler =
        &yaml(&read(&format!("{FOLDER}/components/autoscaling/horizontalpodautoscaler.yaml")))[0];
    let metric = scaler["spec"]["metrics"][0]["external"]["metric"]["name"].as_str().unwrap();
    // A scrape does not wait long for a reading of the source.
    until(&format!("{metric} is among the metrics"), PATIENCE, async || {
        let (code, metrics) = daemon.get(endpoint["path"].as_str().unwrap()).await;
        assert_eq!(code, 200, "{metrics}");
        let there = metrics.contains(&format!("# TYPE {metric} gauge\n"));
        if there { Ok(()) } else { Err(metrics) }
    })
    .await;
    daemon.stop().await;
}

/// The example is the sample's, so that it stays one that works.
#[test]
fn the_mapping_of_the_manifests_is_the_sample_s() {
    let of_manifests = read(&format!("{FOLDER}/base/mappings/users.yaml"));
    assert_eq!(of_manifests, read("mappings/users.yaml"));
}

/// A program that answers `kubectl kustomize` otherwise than kustomize does would hide a mistake.
#[test]
fn kustomize_refuses_a_folder_that_is_no_overlay() {
    let Some(_) = on_path("kubectl") else { return };
    let empty = tempfile::tempdir().unwrap();
    let output = Command::new("kubectl").arg("kustomize").arg(empty.path()).output().unwrap();
    assert!(!output.status.success());
}
