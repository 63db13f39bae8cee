//! `[heartbeat]`, and `heartbeat = ...` on an end, whose keys go before those.

use std::time::Duration;

use super::ConfigError;
use super::reader::Reader;
use super::source::{Node, Value};
use super::units::{DURATION_RULE, write_duration};
use crate::heartbeat::{Policy, Settings, Wechat};

#[derive(Clone, Copy)]
enum Word {
    Off,
    Fixed,
    Wechat,
    Smart,
}

const POLICIES: [(&str, Word); 4] =
    [("off", Word::Off), ("fixed", Word::Fixed), ("wechat", Word::Wechat), ("smart", Word::Smart)];

/// Replies that take longer than this are late on any path; ones that must come sooner need a network of one's own.
const REPLY_TIMEOUT_MIN: Duration = Duration::from_millis(100);

/// Reads the settings; what is not written is as in `base`.
pub(super) fn read(
    path: &str,
    node: Option<Node>,
    base: &Settings,
    errors: &mut Vec<ConfigError>,
) -> Settings {
    let Some(node) = node else {
        return base.clone();
    };
    let node = match &node.value {
        Value::String(_) => Node::table(vec![("policy", node)]),
        Value::Table(_) | Value::Integer(_) | Value::Boolean(_) | Value::Array(_) | Value::Other(_) => node,
    };
    let before = errors.len();
    let mut reader = Reader::new(path, node.clone(), errors);
    let settings = read_keys(&mut reader, base);
    reader.finish();
    // What was made of wrong values would only be blamed for them again.
    if errors.len() == before
        && let Some((key, rule)) = contradiction(&settings)
    {
        let culprit = node.get(key).unwrap_or(&node);
        let (origin, value) = (culprit.origin.clone(), Some(culprit.to_string()));
        errors.push(ConfigError { origin, key: format!("{path}.{key}"), value, rule });
    }
    settings
}

fn read_keys(reader: &mut Reader<'_>, base: &Settings) -> Settings {
    let mut settings = base.clone();
    let word = reader.word("policy", &POLICIES);
    let every = reader.duration("every");
    let (min, max) = (reader.duration("min"), reader.duration("max"));
    settings.margin_permille = reader
        .parsed("margin", MARGIN_RULE, |value| permille(value.as_str()?))
        .unwrap_or(base.margin_permille);
    settings.margin_min = reader.duration("margin_min").unwrap_or(base.margin_min);
    settings.reply_timeout = reader.duration("reply_timeout").unwrap_or(base.reply_timeout);
    settings.explore = reader.boolean("explore").unwrap_or(base.explore);
    settings.probes = reader.integer("probes", 0..=64).map_or(base.probes, |probes| probes as u8);
    settings.policy = match word {
        Some(Word::Off) => Policy::Off,
        Some(Word::Fixed) => Policy::Fixed { every: Duration::ZERO },
        Some(Word::Wechat) => Policy::Wechat(Wechat::default()),
        Some(Word::Smart) => Policy::Smart,
        None => base.policy.clone(),
    };
    match &mut settings.policy {
        Policy::Fixed { every: fixed } => match every {
            Some(every) => *fixed = every,
            None if *fixed == Duration::ZERO => {
                reader.missing("every", DURATION_RULE);
            }
            None => {}
        },
        Policy::Wechat(wechat) => {
            wechat.min = min.unwrap_or(wechat.min);
            wechat.max = max.unwrap_or(wechat.max);
            wechat.step_up = reader.duration("step_up").unwrap_or(wechat.step_up);
            wechat.step_down = reader.duration("step_down").unwrap_or(wechat.step_down);
            let mut count = |key, default| {
                reader.integer(key, 1..=i64::from(u8::MAX)).map_or(default, |count| count as u8)
            };
            wechat.good = count("good", wechat.good);
            wechat.bad = count("bad", wechat.bad);
            wechat.establish = count("establish", wechat.establish);
            wechat.again = reader.duration("again").unwrap_or(wechat.again);
        }
        Policy::Smart | Policy::Off => {}
    }
    (settings.min, settings.max) = match &settings.policy {
        Policy::Wechat(wechat) => (wechat.min, wechat.max),
        Policy::Off | Policy::Fixed { .. } | Policy::Smart => {
            (min.unwrap_or(base.min), max.unwrap_or(base.max))
        }
    };
    settings
}

/// The first rule that the settings break among themselves, and the key to blame.
fn contradiction(settings: &Settings) -> Option<(&'static str, String)> {
    if settings.min > settings.max {
        return Some(("min", format!("at most max, which is {}", write_duration(settings.max))));
    }
    if settings.reply_timeout < REPLY_TIMEOUT_MIN {
        return Some(("reply_timeout", format!("at least {}", write_duration(REPLY_TIMEOUT_MIN))));
    }
    let shortest = settings.shortest()?;
    // A beat that is sent before the last one was given up would be taken for its answer's absence.
    (settings.reply_timeout >= shortest).then(|| {
        let shortest = write_duration(shortest);
        ("reply_timeout", format!("shorter than the shortest interval between beats, which is {shortest}"))
    })
}

const MARGIN_RULE: &str = "a percentage from \"0%\" to \"50%\", with at most one decimal";

/// A percentage in thousandths.
fn permille(text: &str) -> Option<u16> {
    let number = text.strip_suffix('%')?.trim_end();
    let (whole, tenth) = number.split_once('.').unwrap_or((number, "0"));
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let permille = (is_digits(whole) && is_digits(tenth) && tenth.len() == 1)
        .then(|| Some(whole.parse::<u16>().ok()?.checked_mul(10)? + tenth.parse::<u16>().ok()?))??;
    (permille <= 500).then_some(permille)
}

/// The settings as TOML that reads back as the same.
pub(super) fn write(settings: &Settings) -> String {
    let duration = |key: &str, value: Duration| format!("{key} = \"{}\"", write_duration(value));
    let mut keys = match &settings.policy {
        Policy::Off => vec!["policy = \"off\"".to_owned()],
        Policy::Fixed { every } => vec!["policy = \"fixed\"".to_owned(), duration("every", *every)],
        Policy::Smart => vec!["policy = \"smart\"".to_owned()],
        Policy::Wechat(wechat) => vec![
            "policy = \"wechat\"".to_owned(),
            duration("step_up", wechat.step_up),
            duration("step_down", wechat.step_down),
            format!("good = {}, bad = {}, establish = {}", wechat.good, wechat.bad, wechat.establish),
            duration("again", wechat.again),
        ],
    };
    keys.extend([duration("min", settings.min), duration("max", settings.max)]);
    let (whole, tenth) = (settings.margin_permille / 10, settings.margin_permille % 10);
    let tenth = if tenth == 0 { String::new() } else { format!(".{tenth}") };
    keys.push(format!("margin = \"{whole}{tenth}%\""));
    keys.push(duration("margin_min", settings.margin_min));
    keys.push(duration("reply_timeout", settings.reply_timeout));
    keys.push(format!("explore = {}, probes = {}", settings.explore, settings.probes));
    format!("{{ {} }}", keys.join(", "))
}
