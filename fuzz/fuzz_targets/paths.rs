//! A path to listen on, a path that is asked for, a backend URL with parameters and a pattern, a line each.

#![no_main]

use libfuzzer_sys::fuzz_target;
use natpulse::link::Authority;
use natpulse::targets::{Path, Pattern, Template, percent_decoded};

/// The labels of a pattern against those of a host, the obvious way.
fn fits(wanted: &[&str], given: &[&str]) -> bool {
    match (wanted, given) {
        ([], []) => true,
        (["*", rest @ ..], [_, others @ ..]) => fits(rest, others) || fits(wanted, others),
        ([label, rest @ ..], [other, others @ ..]) => label == other && fits(rest, others),
        _ => false,
    }
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let mut lines = text.split('\n');
    let mut line = || lines.next().unwrap_or_default();
    let (listen, wanted, template, pattern) = (line(), line(), line(), line());
    let parameters = match Path::parse(listen) {
        Ok(path) => {
            assert_eq!(path.parameters().count(), path.shape().matches("{}").count());
            let found = path.fit(wanted).map(|(_, parameters)| parameters).unwrap_or_default();
            found.into_iter().map(|(name, raw)| (name.to_owned(), raw.to_owned())).collect()
        }
        Err(rule) => {
            assert!(!rule.is_empty());
            Vec::new()
        }
    };
    let named: Vec<_> = parameters.iter().map(|(name, raw)| (name.as_str(), raw.as_str())).collect();
    if let Ok(template) = Template::parse(template) {
        assert_eq!(Template::parse(&template.to_string()).as_ref(), Ok(&template));
        if let Some(url) = template.fill(&named) {
            assert!(url.authority().is_some(), "{url}");
        }
    }
    // Whatever is asked for, it stays where it was put.
    let fixed = Template::parse("tcp://x.{name}.internal:5900").expect("a template");
    if let Some(url) = fixed.fill(&[("name", wanted)]) {
        let authority = url.authority().expect("a host");
        let inner = authority.host.strip_prefix("x.").and_then(|host| host.strip_suffix(".internal"));
        assert_eq!(inner.map(str::to_owned), percent_decoded(wanted), "{wanted:?} became {url}");
        assert_eq!((authority.port, url.to_string().matches("//").count()), (5900, 1));
    }
    if let Ok(pattern) = Pattern::parse(pattern) {
        let written = pattern.to_string();
        assert_eq!(Pattern::parse(&written).as_ref(), Ok(&pattern));
        let (host, port) = written.rsplit_once(':').expect("a port");
        let authority = Authority { host: wanted.to_owned(), port: port.parse().unwrap_or(1) };
        let given = wanted.to_ascii_lowercase();
        let (labels, others): (Vec<_>, Vec<_>) = (host.split('.').collect(), given.split('.').collect());
        if labels.len() <= 6 && others.len() <= 12 {
            assert_eq!(pattern.matches(&authority), fits(&labels, &others), "{written} {wanted:?}");
        }
    }
});
