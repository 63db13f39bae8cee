//! The dashboards, the alerts, and what starts them beside natpulse, read as the programs read them that
//! they are for. None of these files is compiled, so a slip in one shows only when somebody needs it.

mod deploy;
mod layout;
mod linter;
mod names;
mod rules;
mod selector;
mod types;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::tools::{program, test_tool};

/// The three dashboards, by the names of their files.
const NAMES: [&str; 3] = ["overview", "keepalive", "process"];

#[derive(Clone)]
struct Dashboard {
    name: &'static str,
    json: Value,
}

/// One query of a panel.
struct Target<'a> {
    panel: &'a str,
    json: &'a Value,
}

impl Dashboard {
    fn read(name: &'static str) -> Dashboard {
        let json = serde_json::from_str(&text(&format!("dashboards/{name}.json"))).unwrap();
        Dashboard { name, json }
    }

    fn all() -> Vec<Dashboard> {
        NAMES.map(Dashboard::read).into()
    }

    /// Everything on the grid, the headings of rows included.
    fn tiles(&self) -> &[Value] {
        array(&self.json["panels"])
    }

    /// What shows something.
    fn panels(&self) -> impl Iterator<Item = &Value> {
        self.tiles().iter().filter(|tile| tile["type"] != "row")
    }

    fn targets(&self) -> Vec<Target<'_>> {
        let panels = self.panels();
        panels
            .flat_map(|panel| {
                let targets = array(&panel["targets"]).iter();
                targets.map(|json| Target { panel: title(panel), json })
            })
            .collect()
    }

    fn variables(&self) -> &[Value] {
        array(&self.json["templating"]["list"])
    }

    fn variable(&self, name: &str) -> Option<&Value> {
        self.variables().iter().find(|variable| variable["name"] == name)
    }
}

impl Target<'_> {
    fn expr(&self) -> &str {
        str(&self.json["expr"])
    }
}

/// The elements of an array; none if it is no array.
fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The text of a string; empty if it is no string.
fn str(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn title(panel: &Value) -> &str {
    str(&panel["title"])
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file of the repository.
fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A YAML file of the repository. Read by Python, as the YAML crates for Rust are no longer maintained.
fn yaml(path: &str) -> Value {
    let mut python = Command::new(test_tool("venv/bin/python"));
    python.args([
        "-c",
        "import json, sys, yaml; json.dump(yaml.safe_load(open(sys.argv[1])), sys.stdout)",
        path,
    ]);
    serde_json::from_str(&printed(&mut python)).unwrap()
}

/// What promtool does with these arguments, in the root of the repository.
fn promtool<const N: usize>(args: [&str; N]) -> Command {
    let mut command = Command::new(program("promtool"));
    command.args(args);
    command
}

/// How a program ends that is run in the root of the repository, and everything it says.
fn run(command: &mut Command) -> (Output, String) {
    let output = command.current_dir(root()).output();
    let output = output.unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    let said = [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat();
    (output, said)
}

/// What a program prints that must succeed.
fn printed(command: &mut Command) -> String {
    let (output, said) = run(command);
    assert!(output.status.success(), "{command:?}: {}\n{said}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// Every file below a directory of the repository.
fn files(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}
