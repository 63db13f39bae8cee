//! One name, one meaning: the table in the README, what a running natpulse exports, what the dashboards
//! draw and the alerts watch agree on every metric, its type and its labels.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::selector::{Selector, groupings, selectors};
use super::{Dashboard, rules, text};
use crate::harness::{Natpulse, http_get, ws_connect};

/// Labels that Prometheus adds, and the one that is part of a histogram.
const ADDED: [&str; 3] = ["job", "instance", "le"];

/// What is said of a metric.
#[derive(Debug, PartialEq, Eq)]
struct Metric {
    kind: String,
    labels: BTreeSet<String>,
}

/// The table of the README.
fn table() -> BTreeMap<String, Metric> {
    let readme = text("README.md");
    let (_, section) = readme.split_once("\n## Metrics\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        assert!(!cells[3].is_empty(), "{row}: no meaning");
        let labels = cells[2].split(',').map(str::trim).filter(|label| !label.is_empty()).map(str::to_owned);
        (
            cells[0].trim_end_matches('`').to_owned(),
            Metric { kind: cells[1].into(), labels: labels.collect() },
        )
    })
    .collect()
}

/// Every expression, with where it stands.
fn expressions() -> Vec<(String, String)> {
    let mut all = Vec::new();
    for dashboard in Dashboard::all() {
        let of = |target: &super::Target<'_>| (target.panel.to_owned(), target.expr().to_owned());
        all.extend(dashboard.targets().iter().map(of));
        let variables = dashboard.variables().iter();
        let queries = variables.filter(|variable| variable["type"] == "query");
        all.extend(queries.map(|v| (super::str(&v["name"]).to_owned(), super::str(&v["query"]).to_owned())));
    }
    all.extend(rules::alerts().into_iter().map(|alert| (alert.name, alert.expr)));
    all
}

/// Every use of a metric, with the expression it stands in.
fn uses() -> Vec<(String, Selector)> {
    let of = |(place, expr): (String, String)| {
        selectors(&expr).into_iter().map(move |selector| (format!("{place}: {expr}"), selector))
    };
    expressions().into_iter().flat_map(of).collect()
}

#[test]
fn every_metric_of_the_readme_is_drawn_or_watched_and_no_other() {
    let used: BTreeSet<_> = uses().iter().map(|(_, selector)| selector.family().to_owned()).collect();
    let known: BTreeSet<_> = table().into_keys().collect();
    assert_eq!(used, known);
}

#[test]
fn metrics_are_asked_for_what_they_have() {
    let (table, readme) = (table(), text("README.md"));
    for (place, selector) in uses() {
        let metric = &table[selector.family()];
        assert_eq!(metric.kind == "histogram", selector.family() != selector.metric, "{place}");
        let is_counter = metric.kind != "gauge";
        assert_eq!(is_counter, selector.range.is_some(), "{place}: counters have rates, gauges have values");
        for (label, _, values) in &selector.matchers {
            let is_known = metric.labels.contains(label) || ADDED.contains(&&label[..]);
            assert!(is_known, "{place}: {} has no {label}", selector.metric);
            let mut words = values.split('|').filter(|value| !value.starts_with('$'));
            assert!(words.all(|word| readme.contains(&format!("`{word}`"))), "{place}: {label} {values}");
        }
    }
    for (place, expr) in expressions() {
        let labels: HashSet<_> =
            selectors(&expr).iter().flat_map(|s| table[s.family()].labels.clone()).collect();
        for label in groupings(&expr) {
            assert!(labels.contains(label) || ADDED.contains(&label), "{place}: by {label}");
        }
    }
}

#[test]
fn a_metric_of_a_bridge_is_drawn_for_the_bridges_that_are_chosen() {
    let table = table();
    for dashboard in Dashboard::all() {
        let has_bridges = dashboard.variable("bridge").is_some();
        assert_eq!(has_bridges, dashboard.name != "process");
        for target in dashboard.targets() {
            for selector in selectors(target.expr()) {
                let is_of_a_bridge = table[selector.family()].labels.contains("bridge");
                assert_eq!(is_of_a_bridge, selector.has("bridge", "=~", "$bridge"), "{}", target.expr());
                assert!(has_bridges || !is_of_a_bridge, "{}", target.expr());
            }
        }
    }
}

/// The labels of a series as `/metrics` writes it.
fn labels(series: &str) -> BTreeSet<String> {
    let inside = series.split_once('{').map_or("", |(_, rest)| rest);
    let pairs = inside.split("\",").filter_map(|pair| pair.split_once('='));
    pairs.map(|(label, _)| label.to_owned()).filter(|label| label != "le").collect()
}

#[tokio::test]
async fn a_running_natpulse_exports_what_the_readme_lists() {
    let natpulse =
        Natpulse::start("[[bridge]]\nname = \"demo\"\nlisten = \"ws://127.0.0.1:0/\"\nbackend = { url = \"echo:\", health_check = {} }\n")
            .await;
    // Somebody is there, so that there is a network to speak of.
    let (socket, _) = ws_connect(&natpulse.url("demo"), None).await;
    let page = http_get(natpulse.admin(), "/metrics").await;
    assert_eq!(page.status, 200, "{}", page.body);

    let mut exported = BTreeMap::new();
    let mut family = String::new();
    for line in page.body.lines() {
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            family = name.to_owned();
            exported.insert(family.clone(), Metric { kind: kind.to_owned(), labels: BTreeSet::new() });
        } else if !line.starts_with('#') {
            assert!(line.starts_with(&family), "{line} stands under {family}");
            let series = line.rsplit_once(' ').unwrap().0;
            exported.get_mut(&family).unwrap().labels.extend(labels(series));
        }
    }
    let listed = table();
    let names: BTreeSet<_> = exported.keys().chain(listed.keys()).collect();
    let told = names.into_iter().map(|name| (name, exported.get(name), listed.get(name)));
    let told: Vec<_> = told.filter(|(_, exported, listed)| exported != listed).collect();
    assert!(told.is_empty(), "name, as it is exported, as it is listed: {told:#?}");
    drop(socket);
    natpulse.stop().await;
}
