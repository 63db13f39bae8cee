//! `deploy/kubernetes/`, as far as it can be checked without a cluster: against the schemas of Kubernetes and of the
//! Prometheus operator, against the restricted profile, and against what natpulse says of the configurations in it.

use std::collections::BTreeSet;
use std::time::Duration;

use super::*;

/// What the Prometheus operator adds to Kubernetes.
const OPERATOR: &str = "monitoring.coreos.com/v1";

fn str(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Panics unless Kubernetes, the operator and natpulse would take all of this.
pub(super) fn would_be_taken(manifests: &str) {
    let documents = yaml(manifests);
    is_valid(manifests, &documents);
    let configs: Vec<_> = documents.iter().filter_map(|it| it["data"]["config.toml"].as_str()).collect();
    for pod in documents.iter().map(|it| &it["spec"]["template"]["spec"]).filter(|pod| pod.is_object()) {
        is_restricted(pod);
        assert_eq!(configs.len(), 1);
        agree(pod, &effective(configs[0]));
    }
}

fn is_valid(manifests: &str, documents: &[Value]) {
    let dir = TempDir::new();
    let [all, json] = ["all.yaml", "all.json"].map(|name| dir.path().join(name));
    fs::write(&all, manifests).unwrap();
    let mut validate = Command::new(test_tool("venv/bin/kubernetes-validate"));
    let (is_good, said) = said(validate.args(["--strict", "--no-warn"]).arg(&all));
    let monitors = documents.iter().filter(|it| it["apiVersion"] == OPERATOR).count();
    let passed = said.lines().filter(|line| line.contains(" passed for resource ")).count();
    assert!(is_good && passed == documents.len() - monitors, "{said}");

    fs::write(&json, serde_json::to_string(documents).unwrap()).unwrap();
    let mut node = Command::new(program("node"));
    node.arg(crate::tools::script("packages/monitors.mjs"));
    node.arg(
        test_tool("node/node_modules/@kubernetes-models/prometheus-operator").join(OPERATOR).join("index.js"),
    );
    assert_eq!(printed(node.arg(&json)).trim(), monitors.to_string());
}

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    array(&pod["initContainers"]).iter().chain(array(&pod["containers"]))
}

/// The restricted profile of Kubernetes' Pod Security Standards, and a file system that nobody writes to.
fn is_restricted(pod: &Value) {
    let context = &pod["securityContext"];
    assert_eq!(context["runAsNonRoot"], true);
    assert_eq!(context["seccompProfile"]["type"], "RuntimeDefault");
    for container in containers(pod) {
        let context = &container["securityContext"];
        assert_eq!(context["allowPrivilegeEscalation"], false, "{container}");
        assert_eq!(context["readOnlyRootFilesystem"], true, "{container}");
        assert_eq!(context["capabilities"], serde_json::json!({ "drop": ["ALL"] }), "{container}");
        assert!(container["resources"]["limits"]["memory"].is_string(), "{container}");
    }
    let is_allowed =
        |volume: &&Value| ["configMap", "secret", "emptyDir"].iter().any(|kind| volume.get(kind).is_some());
    assert_eq!(array(&pod["volumes"]).iter().filter(is_allowed).count(), array(&pod["volumes"]).len());
}

/// What natpulse makes of a configuration: all of it, with every default.
fn effective(config: &str) -> toml::Table {
    let dir = TempDir::new();
    let [file, token] = ["config.toml", "token"].map(|name| dir.path().join(name));
    // Where the token is mounted there is nothing here.
    fs::write(&token, "of sixteen characters").unwrap();
    fs::write(&file, config.replace("/etc/natpulse-admin/token", token.to_str().unwrap())).unwrap();
    printed(natpulse().args(["check", "-c"]).arg(&file)).parse().unwrap()
}

fn duration(config: &toml::Table, key: &str) -> Duration {
    natpulse::config::duration(config["server"][key].as_str().unwrap()).unwrap()
}

/// Whether the pod and the configuration of the natpulse in it are of one mind.
fn agree(pod: &Value, config: &toml::Table) {
    let natpulse = containers(pod).find(|container| container["name"] == "natpulse").unwrap();
    let port = |address: &str| address.rsplit_once(':').unwrap().1.split('/').next().unwrap().to_owned();
    let mut listened: BTreeSet<_> =
        config["bridge"].as_array().unwrap().iter().map(listen).map(port).collect();
    listened.insert(port(config["admin"]["listen"].as_str().unwrap()));
    let ports = array(&natpulse["ports"]).iter();
    assert_eq!(ports.map(|port| port["containerPort"].to_string()).collect::<BTreeSet<_>>(), listened);

    let probes = ["startupProbe", "readinessProbe", "livenessProbe"];
    let paths =
        probes.map(|probe| (str(&natpulse[probe]["httpGet"]["path"]), &natpulse[probe]["httpGet"]["port"]));
    assert_eq!(paths.map(|(path, _)| path), ["/readyz", "/readyz", "/healthz"]);
    assert!(paths.iter().all(|(_, port)| *port == "admin"));

    let drains = duration(config, "drain_delay") + duration(config, "drain_window");
    let seconds = |value: &Value| Duration::from_secs(value.as_u64().unwrap());
    let patience = seconds(&pod["terminationGracePeriodSeconds"]);
    assert!(patience >= drains + Duration::from_secs(5), "{patience:?}, {drains:?}");

    if natpulse["restartPolicy"] == "Always" {
        let hook: Vec<_> =
            array(&natpulse["lifecycle"]["preStop"]["exec"]["command"]).iter().map(str).collect();
        assert_eq!(hook[..2], ["/usr/local/bin/natpulse", "drain"]);
        assert!(said(super::natpulse().args(&hook[1..]).arg("--help")).0, "{hook:?}");
        // The others stay until it has drained.
        for other in array(&pod["containers"]) {
            let stays = seconds(&other["lifecycle"]["preStop"]["sleep"]["seconds"]);
            assert!(drains < stays && stays < patience, "{other}");
        }
    }
}

fn listen(bridge: &toml::Value) -> &str {
    let listen = &bridge["listen"];
    listen.as_str().or_else(|| listen["url"].as_str()).unwrap()
}

#[test]
fn the_manifests_would_be_taken() {
    let manifests = files(&root().join("deploy/kubernetes"), "yaml");
    assert_eq!(manifests.len(), 3);
    for manifest in manifests {
        println!("{}", manifest.display());
        would_be_taken(&fs::read_to_string(&manifest).unwrap());
    }
}

#[test]
fn the_image_is_the_version_that_it_is_shipped_with() {
    for name in ["sidecar", "standalone"] {
        let manifest = text(&format!("deploy/kubernetes/{name}.yaml"));
        assert!(manifest.contains(concat!("image: natpulse:", env!("CARGO_PKG_VERSION"), "\n")), "{name}");
    }
}

#[test]
fn monitors_look_for_ports_that_there_are() {
    let monitors = yaml(&text("deploy/kubernetes/monitoring.yaml"));
    let sidecar = yaml(&text("deploy/kubernetes/sidecar.yaml"));
    let standalone = yaml(&text("deploy/kubernetes/standalone.yaml"));
    let has = |labels: &Value, wanted: &Value| {
        wanted.as_object().unwrap().iter().all(|(key, value)| labels.get(key) == Some(value))
    };
    let pod = &monitors[0]["spec"];
    let template = &sidecar.iter().find(|it| it["kind"] == "Deployment").unwrap()["spec"]["template"];
    assert!(has(&template["metadata"]["labels"], &pod["selector"]["matchLabels"]));
    let mut ports = containers(&template["spec"]).flat_map(|container| array(&container["ports"]));
    assert!(ports.any(|port| port["name"] == pod["podMetricsEndpoints"][0]["port"]));

    let service = &monitors[1]["spec"];
    let found = standalone.iter().filter(|it| {
        it["kind"] == "Service" && has(&it["metadata"]["labels"], &service["selector"]["matchLabels"])
    });
    let found: Vec<_> = found.collect();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["spec"]["ports"][0]["name"], service["endpoints"][0]["port"]);
}
