//! What a person sees of the dashboards, and what Grafana needs to load them.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::{Dashboard, NAMES, array, str, text, title};

/// Columns of Grafana's grid.
const COLUMNS: u64 = 24;

/// Left, top, right and bottom of a tile.
fn edges(tile: &Value) -> [u64; 4] {
    let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| tile["gridPos"][key].as_u64().unwrap());
    [x, y, x + w, y + h]
}

/// The names in “quotation marks”.
fn quoted(text: &str) -> Vec<String> {
    let behind = text.split('“').skip(1).filter_map(|rest| rest.split('”').next());
    behind.map(|name| name.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// The panels that a text names: their titles begin with a capital, what logs say does not.
fn named_panels(text: &str) -> Vec<String> {
    let is_title = |name: &String| name.starts_with(char::is_uppercase);
    quoted(text).into_iter().filter(is_title).collect()
}

#[test]
fn grafana_can_import_and_provision_each_dashboard() {
    for Dashboard { name, json } in Dashboard::all() {
        // An id is that of one Grafana's database; the uid is the same everywhere.
        assert_eq!(json.get("id"), None, "{name}");
        assert_eq!((&json["uid"], &json["schemaVersion"]), (&json!(format!("natpulse-{name}")), &json!(42)));
        assert_eq!(json["tags"], json!(["natpulse"]), "{name}");
        assert!(!str(&json["title"]).is_empty() && !str(&json["description"]).is_empty(), "{name}");
    }
}

#[test]
fn each_dashboard_leads_to_the_others_and_keeps_what_was_chosen() {
    for Dashboard { name, json } in Dashboard::all() {
        let links = array(&json["links"]);
        let urls: Vec<_> = links.iter().map(|link| str(&link["url"]).to_owned()).collect();
        let others = NAMES.into_iter().filter(|other| *other != name);
        assert_eq!(urls, others.map(|other| format!("/d/natpulse-{other}")).collect::<Vec<_>>(), "{name}");
        let keeps = |link: &Value| link["keepTime"] == true && link["includeVars"] == true;
        assert!(links.iter().all(keeps), "{name}");
    }
}

#[test]
fn tiles_lie_on_the_grid_without_overlaps_or_holes() {
    for dashboard in Dashboard::all() {
        let mut taken = HashSet::new();
        let mut bottom = 0;
        for tile in dashboard.tiles() {
            let [left, top, right, down] = edges(tile);
            assert!(right <= COLUMNS, "{}: {} is too wide", dashboard.name, title(tile));
            for (x, y) in (left..right).flat_map(|x| (top..down).map(move |y| (x, y))) {
                assert!(taken.insert((x, y)), "{}: {} overlaps", dashboard.name, title(tile));
            }
            bottom = bottom.max(down);
        }
        let rows = (0..bottom).filter(|y| (0..COLUMNS).any(|x| taken.contains(&(x, *y))));
        assert_eq!(rows.count() as u64, bottom, "{}: a gap between rows", dashboard.name);
    }
}

#[test]
fn panels_are_told_apart_by_number_and_by_title() {
    for dashboard in Dashboard::all() {
        let ids: HashSet<_> = dashboard.tiles().iter().map(|tile| tile["id"].as_u64().unwrap()).collect();
        assert_eq!(ids.len(), dashboard.tiles().len(), "{}", dashboard.name);
        let titles: HashSet<_> = dashboard.panels().map(title).collect();
        assert_eq!(titles.len(), dashboard.panels().count(), "{}", dashboard.name);
        for panel in dashboard.panels() {
            let refs: HashSet<_> = array(&panel["targets"]).iter().map(|t| str(&t["refId"])).collect();
            assert_eq!(refs.len(), array(&panel["targets"]).len(), "{}", title(panel));
        }
    }
}

#[test]
fn a_panel_that_a_description_or_the_runbook_names_exists() {
    let dashboards = Dashboard::all();
    let titles: HashSet<_> = dashboards.iter().flat_map(Dashboard::panels).map(title).collect();
    let descriptions = dashboards.iter().flat_map(Dashboard::panels).map(|panel| str(&panel["description"]));
    let runbook = text("docs/runbook.md");
    let mut named = 0;
    for panel in descriptions.chain([&runbook[..]]).flat_map(named_panels) {
        assert!(titles.contains(&panel[..]), "no panel “{panel}”");
        named += 1;
    }
    assert!(named > 20, "only {named} panels are named");
}
