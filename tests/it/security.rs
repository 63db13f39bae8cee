//! SECURITY.md says what everybody is told: its tables and the code agree.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use natpulse::close::{CloseReason, Party};

fn text(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

/// The rows of the table below a heading of SECURITY.md, cell by cell.
fn table(heading: &str) -> Vec<Vec<String>> {
    let page = text("SECURITY.md");
    let (_, section) = page.split_once(&format!("\n### {heading}\n")).expect(heading);
    let rows = section.lines().skip_while(|line| !line.starts_with('|'));
    let rows = rows.take_while(|line| line.starts_with('|')).skip(2);
    rows.map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect())
        .collect()
}

/// Fails with what is on one side only, and with what is to be done about it.
fn assert_same(heading: &str, page: &BTreeSet<String>, code: &BTreeSet<String>, file: &str) {
    let missing: Vec<_> = code.difference(page).collect();
    assert!(
        missing.is_empty(),
        "add to SECURITY.md, “{heading}”, a row for each of {missing:#?}, as in {file}"
    );
    let gone: Vec<_> = page.difference(code).collect();
    assert!(gone.is_empty(), "{file} has no {gone:#?}: mend or remove the row in SECURITY.md, “{heading}”");
}

/// What stands between `start` and `end` in a source.
fn part<'a>(source: &'a str, start: &str, end: &str) -> &'a str {
    let (_, rest) = source.split_once(start).unwrap_or_else(|| panic!("no {start:?}: teach this test"));
    rest.split_once(end).unwrap_or_else(|| panic!("no {end:?}: teach this test")).0
}

#[test]
fn every_close_reason_has_its_row() {
    let heading = "Close codes";
    let page = table(heading).iter().map(|row| row.join(" ").trim().to_owned()).collect();
    let row = |reason: &CloseReason| {
        let [client, backend] = [Party::Client, Party::Backend].map(|party| reason.code_for(party));
        format!("{} {client} {backend}", reason.label())
    };
    assert_same(heading, &page, &CloseReason::ALL.iter().map(row).collect(), "src/close.rs");
}

/// The number of a status that the source calls `BAD_REQUEST`.
fn status(name: &str) -> u16 {
    let is_called = |status: &u16| {
        let reason = hyper::StatusCode::from_u16(*status).unwrap().canonical_reason().unwrap_or_default();
        reason.to_uppercase().replace([' ', '-'], "_") == name
    };
    (400..600).find(is_called).unwrap_or_else(|| panic!("no status is called {name}"))
}

#[test]
fn every_answer_has_its_row() {
    let heading = "HTTP answers";
    let page: BTreeSet<_> = table(heading).iter().map(|row| format!("{} {}", row[0], row[1])).collect();
    let source = text("src/link/upgrade.rs");
    let answers = part(&source, "let (status, text) = match self {", "\n        };");
    // One arm each, which the compiler asks for: a status, and its text or the name of what brings it.
    let mut code: BTreeSet<_> = answers
        .split("StatusCode::")
        .skip(1)
        .map(|arm| {
            let (name, rest) = arm.split_once(',').expect("a status and its text");
            let said =
                rest.trim().strip_prefix('"').and_then(|rest| rest.split_once("\\n\"")).map(|(said, _)| said);
            format!("{} {}", status(name), said.unwrap_or("what is wrong with the request"))
        })
        .collect();
    assert_eq!(
        code.len(),
        answers.matches("Refusal::").count(),
        "an arm that was not understood: teach this test"
    );
    // Those that come from below: hyper's own, and the one for whoever is too slow.
    assert!(source.contains("HTTP/1.1 408 Request Timeout"));
    code.extend(["408 ".to_owned(), "431 ".to_owned()]);
    assert_same(heading, &page, &code, "Refusal::response in src/link/upgrade.rs");
}

#[test]
fn every_result_of_a_handshake_is_there() {
    let source = text("src/metrics/labels.rs");
    let labels = part(&source, "fn label(self) -> &'static str {", "\n    }");
    let page = text("SECURITY.md");
    let section = part(&page, "\n### HTTP answers\n", "\n### ");
    for label in labels.split('"').skip(1).step_by(2) {
        let is_there = section.contains(&format!("`{label}`"));
        assert!(
            is_there,
            "say in SECURITY.md, “HTTP answers”, which answer is counted as `{label}`, or that none is"
        );
    }
}
