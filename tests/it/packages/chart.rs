//! The Helm chart, as Helm renders it.

use super::kubernetes::would_be_taken;
use super::*;

const CHART: &str = "deploy/helm/natpulse";

fn helm() -> Command {
    let mut helm = Command::new(test_tool("helm"));
    // Its own caches and settings are nobody's business here.
    helm.env("HOME", "/nonexistent");
    helm
}

/// What the chart becomes with these values; or what Helm says instead.
fn rendered(values: &str) -> Result<String, String> {
    let dir = TempDir::new();
    let file = dir.path().join("values.yaml");
    fs::write(&file, values).unwrap();
    match said(helm().args(["template", "demo", CHART, "--namespace", "chat", "--values"]).arg(&file)) {
        (true, manifests) => Ok(manifests),
        (false, said) => Err(said),
    }
}

#[test]
fn helm_finds_nothing_wrong_with_the_chart() {
    let (is_good, said) = said(helm().args(["lint", "--strict", CHART]));
    assert!(is_good && !said.contains("[WARNING]"), "{said}");
    let chart = &yaml(&text("deploy/helm/natpulse/Chart.yaml"))[0];
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn what_it_renders_would_be_taken() {
    let defaults = rendered("{}").unwrap();
    would_be_taken(&defaults);
    assert_eq!(yaml(&defaults).len(), 6);

    let all = r#"
replicas: 3
fullnameOverride: im
image: { repository: registry.example/natpulse, tag: "0.1.0-2", pullPolicy: Always }
imagePullSecrets: [{ name: pull }]
config: |
  [server]
  drain_delay = "10s"
  drain_window = "5m"
  [admin]
  listen = "0.0.0.0:9000"
  token_file = "/etc/natpulse-admin/token"
  [[bridge]]
  name = "im"
  listen = "ws://0.0.0.0:8080/im"
  backend = { url = "tcp://im.default.svc:9000", framing = "u32be" }
  [[bridge]]
  name = "legacy"
  listen = { url = "tcp://0.0.0.0:9001", framing = "u32be" }
  backend = "ws://im.default.svc/im"
ports:
  - { name: ws, containerPort: 8080, servicePort: 80 }
  - { name: legacy, containerPort: 9001, servicePort: 9001 }
admin: { port: 9000, existingSecret: natpulse-admin }
service: { type: LoadBalancer, annotations: { example.com/idle-timeout: "3600" } }
terminationGracePeriodSeconds: 330
networkPolicy:
  egress: [{ to: [{ podSelector: { matchLabels: { app: im } } }] }]
podMonitor: { enabled: true, interval: 30s, labels: { release: prometheus } }
extraVolumes: [{ name: tls, secret: { secretName: im-tls } }]
extraVolumeMounts: [{ name: tls, mountPath: /etc/natpulse-tls, readOnly: true }]
env: [{ name: NATPULSE__LOG__LEVEL, value: debug }]
podAnnotations: { example.com/note: "yes" }
podLabels: { team: chat }
nodeSelector: { kubernetes.io/os: linux }
tolerations: [{ key: edge, operator: Exists }]
affinity: { nodeAffinity: {} }
priorityClassName: high
"#;
    let manifests = rendered(all).unwrap();
    would_be_taken(&manifests);
    for part in [
        "kind: PodMonitor",
        "image: \"registry.example/natpulse:0.1.0-2\"",
        "secretName: natpulse-admin",
        "- Egress",
    ] {
        assert!(manifests.contains(part), "{part}: {manifests}");
    }

    let fewer = "podDisruptionBudget: { enabled: false }\nnetworkPolicy: { enabled: false }\nserviceMonitor: { enabled: true }";
    let manifests = rendered(fewer).unwrap();
    would_be_taken(&manifests);
    let kinds = yaml(&manifests).iter().map(|it| it["kind"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(kinds, ["ConfigMap", "Service", "Service", "Deployment", "ServiceMonitor"]);
}

#[test]
fn a_changed_configuration_replaces_the_pods() {
    let checksum = |values: &str| {
        let manifests = rendered(values).unwrap();
        manifests.lines().find(|line| line.contains("checksum/config")).unwrap().to_owned()
    };
    let [default, again] = ["{}", "replicas: 5"].map(checksum);
    assert_eq!(default, again);
    assert_ne!(default, checksum("config: '[log]'"));
}

#[test]
fn values_that_are_none_are_refused_with_their_name() {
    for (values, name) in [
        ("replica: 3", "replica"),
        ("replicas: many", "replicas"),
        ("image: { repository: '' }", "repository"),
        ("ports: []", "ports"),
        ("ports: [{ name: Admin, containerPort: 1, servicePort: 1 }]", "name"),
        ("ports: [{ name: ws, containerPort: 70000, servicePort: 1 }]", "containerPort"),
        ("service: { type: Ingress }", "type"),
        ("podMonitor: { enabled: true, interval: soon }", "interval"),
        ("podMonitor: { enabled: true }\nserviceMonitor: { enabled: true }", "serviceMonitor"),
    ] {
        let said = rendered(values).expect_err(values);
        assert!(said.contains(name), "{values}: {said}");
    }
}
