//! `deploy/`: as far as it can be checked without a container engine, which is the files and what they say
//! of each other.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::{array, files, printed, promtool, root, str, text, yaml};
use crate::tools::program;

const COMPOSE: &str = "deploy/compose.yml";

/// What a service mounts of the repository: the path in it, and the path in the container.
fn mounts(service: &Value) -> Vec<(String, String)> {
    let volumes = array(&service["volumes"]).iter().map(|volume| str(volume).split(':').collect::<Vec<_>>());
    let bound = volumes.filter(|parts| parts[0].starts_with('.'));
    bound.map(|parts| (parts[0].to_owned(), parts[1].to_owned())).collect()
}

/// Where a path in a service's container lies in the repository.
fn behind(service: &Value, path: &str) -> String {
    let mounts = mounts(service);
    let mounted = |(ours, theirs): &(String, String)| {
        let rest = Path::new(path).strip_prefix(theirs).ok()?;
        // Not `join`, which would leave a slash behind a file that is mounted itself.
        Some(root().join("deploy").join(ours).components().chain(rest.components()).collect::<PathBuf>())
    };
    let place = mounts.iter().find_map(mounted).unwrap_or_else(|| panic!("{path} is not mounted"));
    let place = place.canonicalize().unwrap_or_else(|error| panic!("{}: {error}", place.display()));
    place.strip_prefix(root().canonicalize().unwrap()).unwrap().to_str().unwrap().to_owned()
}

/// The host and the port of `http://HOST:PORT`, or of `HOST:PORT`.
fn host_and_port(url: &str) -> (&str, &str) {
    url.trim_start_matches("http://").rsplit_once(':').expect(url)
}

#[test]
fn the_compose_file_is_one() {
    let mut compose = Command::new(program("docker-compose"));
    printed(compose.args(["-f", COMPOSE, "config", "--quiet"]));
}

#[test]
fn every_path_that_the_compose_file_names_exists() {
    let file = yaml(COMPOSE);
    let services = file["services"].as_object().unwrap();
    let mut paths = 0;
    for service in services.values() {
        for (_, theirs) in mounts(service) {
            // Panics where there is nothing.
            behind(service, &theirs);
            paths += 1;
        }
        let named = array(&service["volumes"]).iter().filter(|volume| !str(volume).starts_with('.'));
        for volume in named {
            assert!(file["volumes"].get(str(volume).split(':').next().unwrap()).is_some(), "{volume}");
        }
        let build = &service["build"];
        if build.is_object() {
            let context = root().join("deploy").join(str(&build["context"]));
            assert!(context.join(str(&build["dockerfile"])).is_file(), "{build}");
        } else {
            // A tag that moves would be another program tomorrow.
            let (_, tag) = str(&service["image"]).rsplit_once(':').unwrap();
            assert!(tag.contains('.'), "{tag}");
        }
        for other in array(&service["depends_on"]) {
            assert!(services.contains_key(str(other)), "{other}");
        }
    }
    assert_eq!(paths, 4);
}

#[test]
fn prometheus_loads_its_configuration_and_the_alerts() {
    let service = &yaml(COMPOSE)["services"]["prometheus"];
    let flags = array(&service["command"]).iter().map(str);
    let flags: Vec<_> = flags.filter_map(|flag| flag.strip_prefix("--config.file=")).collect();
    assert_eq!(behind(service, flags[0]), "deploy/prometheus.yml");
    let config = yaml("deploy/prometheus.yml");
    for rules in array(&config["rule_files"]) {
        let theirs = Path::new("/natpulse/deploy").join(str(rules));
        // Not resolved by the file system, which has no such directory here.
        let theirs = theirs.to_str().unwrap().replace("/deploy/..", "");
        assert_eq!(behind(service, &theirs), "dashboards/alerts.yml");
    }
    let said = printed(&mut promtool(["check", "config", "--lint=all", "deploy/prometheus.yml"]));
    assert!(said.contains("1 rule files found"), "{said}");
}

#[test]
fn prometheus_finds_natpulse_and_grafana_finds_prometheus() {
    let file = yaml(COMPOSE);
    let config = yaml("deploy/prometheus.yml");
    let target = str(&config["scrape_configs"][0]["static_configs"][0]["targets"][0]);
    let (host, port) = host_and_port(target);
    let admin = str(&file["services"][host]["environment"]["NATPULSE__ADMIN__LISTEN"]);
    assert_eq!(admin, format!("0.0.0.0:{port}"));

    let sources = yaml("deploy/grafana/provisioning/datasources/prometheus.yml");
    let source = &sources["datasources"][0];
    assert_eq!((str(&source["type"]), source["isDefault"].as_bool()), ("prometheus", Some(true)));
    let (host, port) = host_and_port(str(&source["url"]));
    let published = array(&file["services"][host]["ports"]).iter().map(str);
    assert!(published.clone().all(|mapping| mapping.ends_with(&format!(":{port}"))), "{source}");
    assert_eq!(published.count(), 1);
    // $__rate_interval is derived from it.
    assert_eq!(source["jsonData"]["timeInterval"], config["global"]["scrape_interval"]);
}

#[test]
fn grafana_provisions_exactly_the_dashboards() {
    let grafana = &yaml(COMPOSE)["services"]["grafana"];
    assert_eq!(behind(grafana, "/etc/grafana/provisioning"), "deploy/grafana/provisioning");
    let providers = yaml("deploy/grafana/provisioning/dashboards/natpulse.yml");
    let path = str(&providers["providers"][0]["options"]["path"]).to_owned();
    assert_eq!(behind(grafana, &path), "dashboards");
    let home = str(&grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]).to_owned();
    assert_eq!(behind(grafana, &home), "dashboards/overview.json");

    let is_json = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "json");
    let found: BTreeSet<_> = files(&root().join("dashboards")).into_iter().filter(is_json).collect();
    let known = super::NAMES.map(|name| root().join(format!("dashboards/{name}.json")));
    assert_eq!(found, BTreeSet::from(known));
}

#[test]
fn the_image_is_built_from_what_its_context_holds_and_is_not_run_as_root() {
    let dockerfile = text("deploy/Dockerfile");
    let ignored = text("deploy/Dockerfile.dockerignore");
    let sent: BTreeSet<_> = ignored.lines().filter_map(|line| line.strip_prefix('!')).collect();
    for path in &sent {
        assert!(root().join(path).exists(), "{path}");
    }
    let copied = dockerfile.lines().filter_map(|line| line.strip_prefix("COPY ")?.split(' ').next());
    let copied: Vec<_> = copied.filter(|source| *source != "." && !source.starts_with("--from=")).collect();
    assert!(copied.iter().all(|source| sent.contains(source)), "{copied:?}");
    // The oldest Rust that builds it, as Cargo.toml says.
    let cargo = text("Cargo.toml");
    let version =
        cargo.lines().find_map(|line| line.strip_prefix("rust-version = ")).unwrap().trim_matches('"');
    assert!(dockerfile.contains(&format!("FROM rust:{version}-")), "{version}");
    let user = dockerfile.lines().filter_map(|line| line.strip_prefix("USER ")).next_back();
    assert!(user.is_some_and(|user| !user.starts_with("root") && !user.starts_with("0")), "{user:?}");
}
