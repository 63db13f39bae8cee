//! Any text as a config file, with lines behind a NUL as environment variables.

#![no_main]

use libfuzzer_sys::fuzz_target;
use natpulse::config::Config;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let (text, variables) = text.split_once('\0').unwrap_or((text, ""));
    let variables = variables.lines().filter_map(|line| line.split_once('='));
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    match Config::parse("fuzz.toml", text, variables) {
        Ok(config) => {
            let written = config.to_string();
            let again = Config::parse("written.toml", &written, std::iter::empty());
            assert_eq!(again.as_ref(), Ok(&config), "{written}");
        }
        Err(errors) => {
            assert!(!errors.is_empty(), "refused without a reason");
            assert!(errors.iter().all(|error| !error.to_string().is_empty()));
        }
    }
});
