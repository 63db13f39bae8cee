//! `[heartbeat]`, and `heartbeat = ...` on an end, whose keys go before those.

use std::sync::Arc;
use std::time::Duration;

use super::reader::Reader;
use super::source::{Node, Value};
use super::units::{DURATION_RULE, write_duration};
use super::{ConfigError, framing};
use crate::heartbeat::{Policy, Settings, Wechat};
use crate::session::RecordKind;
use crate::wire::{Beat, BeatForm, Framing, FramingError, Kind};

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

/// How an end is kept alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// When to beat.
    pub settings: Settings,
    /// What a beat is, where the end's protocol has one of its own.
    pub beat: Option<LegacyBeat>,
}

/// A heartbeat of an end's own protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegacyBeat {
    /// What is sent, as beat and as answer.
    pub send: Vec<u8>,
    /// What is expected, as answer and as beat.
    pub expect: Vec<u8>,
    /// How they stand in a byte stream.
    pub form: BeatForm,
    /// Whether we answer the peer's own beats.
    pub answer: bool,
    /// The same, made for the end's framing.
    pub beat: Arc<Beat>,
}

/// What carries the messages of an end.
#[derive(Clone, Copy)]
pub(super) enum Carrier<'a> {
    /// A byte stream.
    Framed(&'a Framing),
    /// A WebSocket, on which a record becomes this.
    WebSocket(RecordKind),
}

/// Reads the settings for all ends; what is not written is as in `base`.
pub(super) fn read(
    path: &str,
    node: Option<Node>,
    base: &Settings,
    errors: &mut Vec<ConfigError>,
) -> Settings {
    read_with(path, node, base, errors, |_| ()).0
}

/// Reads the settings of one end.
pub(super) fn read_end(
    path: &str,
    node: Option<Node>,
    base: &Settings,
    carrier: Carrier<'_>,
    errors: &mut Vec<ConfigError>,
) -> Heartbeat {
    let (before, written) = (errors.len(), node.clone());
    let (settings, words) = read_with(path, node, base, errors, read_words);
    let words = words.flatten().filter(|_| errors.len() == before);
    let (Some(words), Some(node)) = (words, written) else {
        return Heartbeat { settings, beat: None };
    };
    let made = match carrier {
        _ if settings.policy == Policy::Off => {
            let rule = "left out where the policy is off: there are no beats";
            Err(FramingError { key: "send", rule: rule.into() })
        }
        Carrier::Framed(framing) => Beat::on_framing(framing, words.form, &words.send, &words.expect),
        Carrier::WebSocket(message) => {
            let may_be_text = message != RecordKind::Fixed(Kind::Binary);
            let is_text = may_be_text && std::str::from_utf8(&words.send).is_ok();
            let kind = if is_text { Kind::Text } else { Kind::Binary };
            Beat::on_websocket(kind, &words.send, &words.expect)
        }
    };
    let beat = match made {
        Ok(beat) => {
            let Words { send, expect, form, answer } = words;
            Some(LegacyBeat { send, expect, form, answer, beat: Arc::new(beat) })
        }
        Err(error) => {
            let culprit = node.get(error.key).unwrap_or(&node);
            let (origin, value) = (culprit.origin.clone(), Some(culprit.to_string()));
            errors.push(ConfigError {
                origin,
                key: format!("{path}.{}", error.key),
                value,
                rule: error.rule,
            });
            None
        }
    };
    Heartbeat { settings, beat }
}

/// A legacy heartbeat as it is written.
struct Words {
    send: Vec<u8>,
    expect: Vec<u8>,
    form: BeatForm,
    answer: bool,
}

const FORMS: [(&str, BeatForm); 2] = [("record", BeatForm::Record), ("bare", BeatForm::Bare)];
const BEAT_RULE: &str = "what a beat is: text, or bytes as \"hex:abcd0000\"";

fn read_words(reader: &mut Reader<'_>) -> Option<Words> {
    let mut bytes = |key| reader.parsed(key, BEAT_RULE, |value| framing::bytes(value.as_str()?));
    let (send, expect) = (bytes("send"), bytes("expect"));
    let form = reader.word("form", &FORMS);
    let answer = reader.boolean("answer");
    if send.is_none() && (expect.is_some() || form.is_some() || answer.is_some()) {
        reader.missing("send", BEAT_RULE);
    }
    let send = send?;
    let expect = expect.unwrap_or_else(|| send.clone());
    Some(Words { send, expect, form: form.unwrap_or(BeatForm::Record), answer: answer.unwrap_or(false) })
}

/// Reads the settings, and with `rest` what else there may be.
fn read_with<T>(
    path: &str,
    node: Option<Node>,
    base: &Settings,
    errors: &mut Vec<ConfigError>,
    rest: impl FnOnce(&mut Reader<'_>) -> T,
) -> (Settings, Option<T>) {
    let Some(node) = node else {
        return (base.clone(), None);
    };
    let node = match &node.value {
        Value::String(_) => Node::table(vec![("policy", node)]),
        Value::Table(_) | Value::Integer(_) | Value::Boolean(_) | Value::Array(_) | Value::Other(_) => node,
    };
    let before = errors.len();
    let mut reader = Reader::new(path, node.clone(), errors);
    let settings = read_keys(&mut reader, base);
    let rest = rest(&mut reader);
    reader.finish();
    // What was made of wrong values would only be blamed for them again.
    if errors.len() == before
        && let Some((key, rule)) = contradiction(&settings)
    {
        let culprit = node.get(key).unwrap_or(&node);
        let (origin, value) = (culprit.origin.clone(), Some(culprit.to_string()));
        errors.push(ConfigError { origin, key: format!("{path}.{key}"), value, rule });
    }
    (settings, Some(rest))
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

/// An end's heartbeat as TOML that reads back as the same.
pub(super) fn write(Heartbeat { settings, beat }: &Heartbeat) -> String {
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
    if let Some(LegacyBeat { send, expect, form, answer, .. }) = beat {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let form = FORMS.iter().find(|(_, known)| known == form).map_or("", |(word, _)| word);
        keys.push(format!("send = \"hex:{}\", expect = \"hex:{}\"", hex(send), hex(expect)));
        keys.push(format!("form = \"{form}\", answer = {answer}"));
    }
    format!("{{ {} }}", keys.join(", "))
}
