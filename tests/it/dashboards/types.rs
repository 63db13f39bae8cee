//! The dashboards as a user of a typed language would write them: their JSON is a value of the types that
//! Grafana publishes, down to the options of each kind of panel.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use serde_json::Value;

use super::{Dashboard, printed, run, str};
use crate::tools::{TempDir, program, test_tool};

/// Types are written for code, which names the members of enumerations and leaves nothing out; JSON has
/// their values, and not those of every option.
const PLAIN: &str = "
type Plain<T> = T extends string ? `${T}` : T extends readonly (infer Item)[] ? Plain<Item>[]
    : T extends object ? { [Key in keyof T]: Plain<T[Key]> } : T;
type Some<T> = T extends readonly unknown[] ? T
    : T extends object ? { [Key in keyof T]?: Some<T[Key]> } : T;
";

/// The kinds of panels that are in use.
const KINDS: [&str; 3] = ["heatmap", "stat", "timeseries"];

/// A program that is well typed if the dashboard is.
fn program_of(dashboard: &Value, dir: &str) -> String {
    let mut source = format!("import type {{ Dashboard }} from \"{dir}/index\";\n");
    for kind in KINDS {
        let file = format!("{dir}/raw/composable/{kind}/panelcfg/x/types.gen");
        writeln!(source, "import type * as {kind} from \"{file}\";").unwrap();
    }
    source += PLAIN;
    writeln!(source, "export const dashboard: Plain<Dashboard> = {dashboard:#};").unwrap();
    let mut declare = |number: usize, of: &str, kind: String, value: &Value| {
        writeln!(source, "export const {of}{number}: Plain<Some<{kind}>> = {value:#};").unwrap();
    };
    for (number, panel) in super::array(&dashboard["panels"]).iter().enumerate() {
        let kind = str(&panel["type"]);
        if kind == "row" {
            continue;
        }
        assert!(KINDS.contains(&kind), "{kind}: a kind of panel that is not checked");
        declare(number, "options", format!("{kind}.Options"), &panel["options"]);
        let custom = &panel["fieldConfig"]["defaults"]["custom"];
        if custom.is_object() {
            declare(number, "custom", format!("{kind}.FieldConfig"), custom);
        }
    }
    source
}

/// The compiler, about to check these dashboards.
fn compiler(dashboards: &[Dashboard], dir: &TempDir) -> Command {
    let modules = test_tool("node/node_modules");
    let types = modules.join("@grafana/schema/dist/types");
    let mut compiler = Command::new(program("node"));
    compiler.arg(modules.join("typescript/bin/tsc"));
    compiler.args(["--noEmit", "--strict", "--skipLibCheck", "--module", "esnext"]);
    compiler.args(["--target", "esnext", "--moduleResolution", "bundler"]);
    for dashboard in dashboards {
        let file = dir.path().join(format!("{}.ts", dashboard.name));
        fs::write(&file, program_of(&dashboard.json, types.to_str().unwrap())).unwrap();
        compiler.arg(file);
    }
    compiler
}

#[test]
fn the_dashboards_are_of_the_types_that_grafana_publishes() {
    printed(&mut compiler(&Dashboard::all(), &TempDir::new()));
}

#[test]
fn a_dashboard_with_a_slip_is_not_of_those_types() {
    let slips = [
        ("/panels/1/options/colorMode", "colour"),
        ("/panels/8/fieldConfig/defaults/custom/drawStyle", "lines"),
        ("/templating/list/1/type", "queries"),
        ("/fiscalYearStartMonth", "May"),
    ];
    let mut dashboard = Dashboard::read("overview");
    for (place, value) in slips {
        let (parent, key) = place.rsplit_once('/').unwrap();
        let parent =
            if parent.is_empty() { Some(&mut dashboard.json) } else { dashboard.json.pointer_mut(parent) };
        parent.expect(place)[key] = value.into();
    }
    let (output, said) = run(&mut compiler(&[dashboard], &TempDir::new()));
    assert!(!output.status.success(), "{said}");
    assert_eq!(said.matches("error TS").count(), slips.len(), "{said}");
}
