//! The rules of Grafana's dashboard-linter (github.com/grafana/dashboard-linter, docs/index.md) that are about
//! Prometheus, each under its name there. `target-promql-rule` is promtool's to judge, in `rules.rs`.

use serde_json::{Value, json};

use super::selector::{Selector, selectors};
use super::{Dashboard, array, str, title};

/// A rule, and what in a dashboard breaks it.
type Rule = (&'static str, fn(&Dashboard) -> Vec<String>);

const RULES: [Rule; 13] = [
    ("template-datasource-rule", template_datasource),
    ("template-job-rule", |dashboard| template(dashboard, "job", "Job")),
    ("template-instance-rule", |dashboard| template(dashboard, "instance", "Instance")),
    ("template-label-promql-rule", template_label_promql),
    ("template-on-time-change-reload-rule", template_on_time_change_reload),
    ("template-uneditable-rule", template_uneditable),
    ("panel-datasource-rule", panel_datasource),
    ("panel-title-description-rule", panel_title_description),
    ("panel-units-rule", panel_units),
    ("panel-no-targets-rule", panel_no_targets),
    ("target-rate-interval-rule", target_rate_interval),
    ("target-job-rule", |dashboard| target_matcher(dashboard, "job", "$job")),
    ("target-instance-rule", |dashboard| target_matcher(dashboard, "instance", "$instance")),
];

/// Beside them, a rule that has no page of its own there.
const COUNTERS: Rule = ("target-counter-agg-rule", target_counter_agg);

/// The units in use, all of them identifiers of Grafana's value formats.
const UNITS: [&str; 8] = ["short", "percentunit", "bytes", "Bps", "cps", "s", "bool_yes_no", "dateTimeAsIso"];

const DATASOURCE: &str = "${datasource}";

fn rules() -> impl Iterator<Item = Rule> {
    RULES.into_iter().chain([COUNTERS])
}

fn template_datasource(dashboard: &Dashboard) -> Vec<String> {
    let of_type: Vec<_> = dashboard.variables().iter().filter(|v| v["type"] == "datasource").collect();
    let is_right = |v: &Value| {
        (&v["name"], &v["label"], &v["query"])
            == (&json!("datasource"), &json!("Data source"), &json!("prometheus"))
    };
    match of_type[..] {
        [variable] if is_right(variable) => vec![],
        _ => vec!["there must be one data source variable, for Prometheus, named datasource".into()],
    }
}

fn template(dashboard: &Dashboard, name: &str, label: &str) -> Vec<String> {
    let Some(variable) = dashboard.variable(name) else { return vec![format!("no variable {name}")] };
    let mut wanted =
        json!({ "type": "query", "label": label, "multi": true, "includeAll": true, "allValue": ".+" });
    wanted["datasource"] = json!({ "type": "prometheus", "uid": DATASOURCE });
    let wanted = wanted.as_object().unwrap();
    let differs = wanted.iter().filter(|(key, value)| &variable[key] != *value);
    differs.map(|(key, value)| format!("{name}: {key} must be {value}")).collect()
}

/// The variables that ask Prometheus for their values.
fn queries(dashboard: &Dashboard) -> impl Iterator<Item = &Value> {
    dashboard.variables().iter().filter(|variable| variable["type"] == "query")
}

fn template_label_promql(dashboard: &Dashboard) -> Vec<String> {
    let is_right = |query: &str| {
        let arguments = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
        arguments.and_then(|arguments| arguments.rsplit_once(", ")).is_some_and(|(of, label)| {
            selectors(of).len() == 1 && label.chars().all(|c| c.is_ascii_lowercase() || c == '_')
        })
    };
    let wrong = queries(dashboard).filter(|variable| !is_right(str(&variable["query"])));
    wrong.map(|variable| format!("{} asks {}", variable["name"], variable["query"])).collect()
}

fn template_on_time_change_reload(dashboard: &Dashboard) -> Vec<String> {
    let stale = queries(dashboard).filter(|variable| variable["refresh"] != 2);
    stale.map(|variable| format!("{} is not refreshed when the time changes", variable["name"])).collect()
}

fn template_uneditable(dashboard: &Dashboard) -> Vec<String> {
    if dashboard.json["editable"] == false { vec![] } else { vec!["it can be edited".into()] }
}

/// The titles of the panels for which this does not hold.
fn panels_where_not(dashboard: &Dashboard, holds: impl Fn(&Value) -> bool) -> Vec<String> {
    dashboard.panels().filter(|panel| !holds(panel)).map(|panel| title(panel).to_owned()).collect()
}

fn panel_datasource(dashboard: &Dashboard) -> Vec<String> {
    panels_where_not(dashboard, |panel| {
        let targets = array(&panel["targets"]).iter();
        targets.chain([panel]).all(|part| part["datasource"]["uid"] == DATASOURCE)
    })
}

fn panel_title_description(dashboard: &Dashboard) -> Vec<String> {
    panels_where_not(dashboard, |panel| !title(panel).is_empty() && !str(&panel["description"]).is_empty())
}

fn panel_units(dashboard: &Dashboard) -> Vec<String> {
    panels_where_not(dashboard, |panel| {
        // A heatmap has its unit on the axis.
        let unit = match str(&panel["type"]) {
            "heatmap" => &panel["options"]["yAxis"]["unit"],
            _ => &panel["fieldConfig"]["defaults"]["unit"],
        };
        UNITS.contains(&str(unit))
    })
}

fn panel_no_targets(dashboard: &Dashboard) -> Vec<String> {
    panels_where_not(dashboard, |panel| !array(&panel["targets"]).is_empty())
}

/// The queries that use a metric for which this does not hold.
fn targets_where_not(dashboard: &Dashboard, holds: impl Fn(&Selector) -> bool) -> Vec<String> {
    let targets = dashboard.targets();
    let broken = targets.iter().filter(|target| !selectors(target.expr()).iter().all(&holds));
    broken.map(|target| format!("{}: {}", target.panel, target.expr())).collect()
}

/// Stricter than there: `increase` as well, which may also cover all of the time shown.
fn target_rate_interval(dashboard: &Dashboard) -> Vec<String> {
    targets_where_not(dashboard, |selector| match (selector.range.as_deref(), &selector.function[..]) {
        (None | Some("$__rate_interval"), _) | (Some("$__range"), "increase") => true,
        (Some(_), _) => false,
    })
}

fn target_matcher(dashboard: &Dashboard, label: &str, variable: &str) -> Vec<String> {
    targets_where_not(dashboard, |selector| selector.has(label, "=~", variable))
}

fn target_counter_agg(dashboard: &Dashboard) -> Vec<String> {
    targets_where_not(dashboard, |selector| {
        !selector.metric.ends_with("_total")
            || ["rate", "irate", "increase"].contains(&&selector.function[..])
    })
}

#[test]
fn the_dashboards_keep_every_rule_of_the_dashboard_linter() {
    for dashboard in Dashboard::all() {
        for (rule, check) in rules() {
            assert_eq!(check(&dashboard), [""; 0], "{}: {rule}", dashboard.name);
        }
    }
}

#[test]
fn every_rule_notices_a_dashboard_that_breaks_it() {
    let breaks: [(&str, &str, Value); 15] = [
        ("template-datasource-rule", "/templating/list/0/name", json!("ds")),
        ("template-job-rule", "/templating/list/1/multi", json!(false)),
        ("template-instance-rule", "/templating/list/2/allValue", json!(".*")),
        (
            "template-label-promql-rule",
            "/templating/list/1/query",
            json!("label_value(natpulse_build_info, job)"),
        ),
        ("template-on-time-change-reload-rule", "/templating/list/2/refresh", json!(1)),
        ("template-uneditable-rule", "/editable", json!(true)),
        ("panel-datasource-rule", "/panels/1/datasource/uid", json!("prometheus")),
        ("panel-datasource-rule", "/panels/1/targets/0/datasource/uid", json!("prometheus")),
        ("panel-title-description-rule", "/panels/1/description", json!("")),
        ("panel-units-rule", "/panels/1/fieldConfig/defaults/unit", json!("furlong")),
        ("panel-no-targets-rule", "/panels/1/targets", json!([])),
        ("target-rate-interval-rule", "/panels/1/targets/0/expr", query("rate(natpulse_x{LABELS}[5m])")),
        ("target-job-rule", "/panels/1/targets/0/expr", json!("natpulse_x{instance=~\"$instance\"}")),
        ("target-instance-rule", "/panels/1/targets/0/expr", json!("natpulse_x{job=~\"$job\"}")),
        ("target-counter-agg-rule", "/panels/1/targets/0/expr", query("sum(natpulse_x_total{LABELS})")),
    ];
    for (rule, _) in rules() {
        assert!(breaks.iter().any(|(broken, ..)| *broken == rule), "{rule} is never broken here");
    }
    for (broken, place, value) in breaks {
        let mut dashboard = Dashboard::read("overview");
        *dashboard.json.pointer_mut(place).expect(place) = value;
        let noticed: Vec<_> = rules().filter(|(_, check)| !check(&dashboard).is_empty()).collect();
        let noticed: Vec<_> = noticed.iter().map(|(rule, _)| *rule).collect();
        assert_eq!(noticed, [broken], "{place}");
    }
}

fn query(expr: &str) -> Value {
    json!(expr.replace("LABELS", r#"job=~"$job", instance=~"$instance""#))
}
