//! The alerts, as Prometheus' own checker and test runner judge them, and their runbook.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use super::{Dashboard, array, printed, promtool, run, str, text, yaml};
use crate::tools::TempDir;

const ALERTS: &str = "dashboards/alerts.yml";
const TESTS: &str = "dashboards/alerts_test.yml";

/// A rule of `alerts.yml`.
pub struct Alert {
    pub name: String,
    pub expr: String,
    json: Value,
}

pub fn alerts() -> Vec<Alert> {
    let file = yaml(ALERTS);
    let rules = array(&file["groups"]).iter().flat_map(|group| array(&group["rules"]));
    let alert = |json: &Value| Alert {
        name: str(&json["alert"]).to_owned(),
        expr: str(&json["expr"]).to_owned(),
        json: json.clone(),
    };
    rules.map(alert).collect()
}

/// An expression as Grafana would send it.
fn filled(expr: &str) -> String {
    let variables = [
        ("$__rate_interval", "1m"),
        ("$__range", "3h"),
        ("$job", ".+"),
        ("$instance", ".+"),
        ("$bridge", ".+"),
    ];
    variables.iter().fold(expr.to_owned(), |expr, (variable, value)| expr.replace(variable, value))
}

/// `target-promql-rule` of Grafana's dashboard-linter, and the half of `template-label-promql-rule` that is
/// about PromQL.
#[test]
fn every_query_of_the_dashboards_is_promql() {
    let mut exprs = Vec::new();
    for dashboard in Dashboard::all() {
        exprs.extend(dashboard.targets().iter().map(|target| target.expr().to_owned()));
        let queries = dashboard.variables().iter().map(|variable| str(&variable["query"]));
        let picked = queries.filter_map(|query| query.strip_prefix("label_values(")?.rsplit_once(", "));
        exprs.extend(picked.map(|(of, _)| of.to_owned()));
    }
    let rule = |expr: &String| serde_json::json!({ "record": "panel", "expr": filled(expr) });
    // Prometheus minds two rules that record the same, so each has a group.
    let group = |(number, expr): (usize, &String)| serde_json::json!({ "name": number.to_string(), "rules": [rule(expr)] });
    let groups: Vec<_> = exprs.iter().enumerate().map(group).collect();
    let dir = TempDir::new();
    let file = dir.path().join("panels.json");
    fs::write(&file, serde_json::json!({ "groups": groups }).to_string()).unwrap();
    let said = printed(&mut promtool(["check", "rules", "--lint=none", file.to_str().unwrap()]));
    assert!(said.contains(&format!("{} rules found", exprs.len())), "{said}");
}

#[test]
fn promtool_finds_nothing_wrong_with_the_alerts() {
    printed(&mut promtool(["check", "rules", "--lint=all", "--lint-fatal", ALERTS]));
    printed(&mut promtool(["test", "rules", TESTS]));
}

#[test]
fn every_single_expectation_of_the_alerts_tests_can_fail() {
    let tests = text(TESTS);
    let falsified =
        tests.replace("severity: ", "severity: not-").replace("exp_alerts: []", "exp_alerts: [{}]");
    let dir = TempDir::new();
    fs::copy(super::root().join(ALERTS), dir.path().join("alerts.yml")).unwrap();
    let file = dir.path().join("alerts_test.yml");
    fs::write(&file, &falsified).unwrap();

    let (output, said) = run(&mut promtool(["test", "rules", file.to_str().unwrap()]));
    assert!(!output.status.success(), "{said}");
    let expectations = tests.matches("alertname: ").count();
    assert_eq!(said.matches("alertname: ").count(), expectations, "{said}");
}

#[test]
fn every_alert_is_tested_to_fire_and_not_to() {
    let file = yaml(TESTS);
    let tests = array(&file["tests"]).iter().flat_map(|test| array(&test["alert_rule_test"]));
    let (silent, fires): (Vec<_>, Vec<_>) = tests.partition(|test| array(&test["exp_alerts"]).is_empty());
    let names = |tests: Vec<&Value>| -> BTreeSet<String> {
        tests.iter().map(|t| str(&t["alertname"]).to_owned()).collect()
    };
    let known: BTreeSet<String> = alerts().into_iter().map(|alert| alert.name).collect();
    assert_eq!(names(fires), known);
    assert_eq!(names(silent), known);
}

#[test]
fn every_alert_says_how_bad_it_is_and_what_to_do() {
    let runbook = text("docs/runbook.md");
    let sections: BTreeSet<_> = runbook.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let alerts = alerts();
    for Alert { name, json, .. } in &alerts {
        let says = |key: &str| str(&json["annotations"][key]).to_owned();
        assert!(["critical", "warning"].contains(&str(&json["labels"]["severity"])), "{name}");
        assert!(!says("summary").is_empty() && says("description").ends_with('.'), "{name}");
        assert_eq!(says("runbook_url"), format!("docs/runbook.md#{}", name.to_lowercase()));
    }
    assert_eq!(sections, alerts.iter().map(|alert| &alert.name[..]).collect::<BTreeSet<_>>());
    for section in runbook.split("\n## ").skip(1) {
        let parts = ["\n**Means.** ", "\n**Look at.** ", "\n**Do.** "];
        assert!(parts.iter().all(|part| section.contains(part)), "{}", section.lines().next().unwrap());
    }
}
