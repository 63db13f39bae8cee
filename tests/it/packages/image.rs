//! The image, as far as it can be checked without a container engine. What its context holds is in `dashboards/deploy`.

use super::*;

#[test]
fn hadolint_finds_nothing_wrong_with_the_dockerfile() {
    let mut hadolint = Command::new(test_tool("venv/bin/hadolint"));
    assert_eq!(printed(hadolint.args(["--failure-threshold=style", "deploy/Dockerfile"])), "");
}

#[test]
fn the_image_runs_nothing_but_natpulse_as_nobody() {
    let dockerfile = text("deploy/Dockerfile");
    let image = dockerfile.split("\nFROM ").last().unwrap();
    assert!(image.starts_with("gcr.io/distroless/static-debian"), "{image}");
    assert!(!image.contains("\nRUN ") && image.contains("\nUSER 65532:65532\n"), "{image}");
    let version = env!("CARGO_PKG_VERSION");
    assert!(image.contains(&format!("\nARG VERSION={version}\n")), "{image}");
    // What follows ENTRYPOINT, CMD and HEALTHCHECK are natpulse's own words.
    let exec = |word: &str| {
        let line = image.lines().find_map(|line| line.strip_prefix(word)).expect(word);
        serde_json::from_str::<Vec<String>>(&line[line.find('[').expect(line)..]).expect(line)
    };
    assert_eq!(exec("ENTRYPOINT"), ["/usr/local/bin/natpulse"]);
    assert_eq!(exec("CMD"), ["run", "-c", "/etc/natpulse/config.toml"]);
    let health = exec("HEALTHCHECK");
    assert_eq!(health[0], "/usr/local/bin/natpulse");
    assert!(said(natpulse().args(&health[1..]).arg("--help")).0, "{health:?}");
}
