//! `deploy/systemd/`, as systemd reads it.

use super::*;

const SERVICES: [&str; 2] = ["natpulse.service", "natpulse@.service"];

fn unit(name: &str) -> String {
    text(&format!("deploy/systemd/{name}"))
}

/// The settings of a unit, in their order.
fn settings(name: &str) -> Vec<(String, String)> {
    let text = unit(name);
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let pairs = lines.filter_map(|line| line.split_once('='));
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn setting(name: &str, key: &str) -> String {
    let settings = settings(name);
    let mut found = settings.iter().filter(|(known, _)| known == key);
    found.next().unwrap_or_else(|| panic!("{name}: no {key}")).1.clone()
}

#[test]
fn services_are_exposed_by_two_points_of_ten_at_most() {
    for name in SERVICES {
        let mut analyze = Command::new(program("systemd-analyze"));
        analyze.args(["security", "--offline=true", "--no-pager"]);
        let (_, said) = said(analyze.arg(root().join("deploy/systemd").join(name)));
        let overall = said.lines().find(|line| line.contains("Overall exposure level")).expect(&said);
        let words: Vec<_> = overall.split(": ").collect();
        let exposure: f64 = words[1].split(' ').next().unwrap().parse().unwrap();
        println!("{name}: exposure {exposure}");
        assert!(exposure <= 2.0, "{said}");
    }
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    let dir = TempDir::new();
    for name in SERVICES.into_iter().chain(["natpulse.socket"]) {
        // Where the program is once it is installed.
        let here = unit(name).replace("/usr/bin/natpulse", env!("CARGO_BIN_EXE_natpulse"));
        fs::write(dir.path().join(name), here).unwrap();
    }
    let mut analyze = Command::new(program("systemd-analyze"));
    analyze.args(["verify", "--man=no"]);
    for name in ["natpulse.service", "natpulse@9465.service", "natpulse.socket"] {
        analyze.arg(dir.path().join(name));
    }
    assert_eq!(printed(&mut analyze), "");
}

#[test]
fn the_template_is_the_service_but_for_its_port_and_sockets() {
    let [service, mut template] = SERVICES.map(settings);
    let own = |(key, _): &(String, String)| ["Sockets", "Environment"].contains(&key.as_str());
    assert_eq!(template.extract_if(.., |setting| own(setting)).count(), 2);
    let described = |settings: &[(String, String)]| settings.iter().position(|(key, _)| key == "Description");
    let place = described(&template).unwrap();
    template[place].1 = setting("natpulse.service", "Description");
    assert_eq!(template, service);
}

#[test]
fn the_sockets_are_what_the_default_configuration_listens_on() {
    let config = text("config.toml");
    let listen = config.lines().find_map(|line| line.strip_prefix("listen = \"ws://")).unwrap();
    assert_eq!(listen.trim_end_matches("/\""), setting("natpulse.socket", "ListenStream"));
}

#[test]
fn a_drain_by_default_is_over_before_systemd_loses_patience() {
    let seconds = |value: &str| value.trim_end_matches('s').parse::<u32>().unwrap();
    let config = text("config.toml");
    let default = |key: &str| {
        let line = config.lines().find_map(|line| line.strip_prefix(&format!("# {key} = \""))).unwrap();
        seconds(line.trim_end_matches('"'))
    };
    let stop = seconds(&setting("natpulse.service", "TimeoutStopSec"));
    assert!(stop > default("drain_window") + default("drain_delay") + 5, "{stop}");
}
