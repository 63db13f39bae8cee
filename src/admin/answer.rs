//! Answers, and what all of them have in common.

use std::convert::Infallible;

use http_body_util::channel::{Channel, Sender};
use http_body_util::{Either, Full};
use hyper::body::Bytes;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, REFERRER_POLICY,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Response, StatusCode};
use serde::Serialize;

use super::access::Refusal;

/// What is sent: all of it at once, or what comes when it comes.
pub(super) type Body = Either<Full<Bytes>, Channel<Bytes, Infallible>>;
pub(super) type Answer = Response<Body>;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");

/// Nothing in here may be kept by anyone in between, nor taken for something else than it is.
fn answer(status: StatusCode, content_type: HeaderValue, body: Body) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    answer
}

fn whole(body: impl Into<Bytes>) -> Body {
    Either::Left(Full::new(body.into()))
}

/// A line of text.
pub(super) fn text(status: StatusCode, body: &'static str) -> Answer {
    answer(status, TEXT, whole(body))
}

/// Everything that was counted, in the words of Prometheus.
pub(super) fn metrics(body: Vec<u8>, content_type: &str) -> Answer {
    answer(StatusCode::OK, HeaderValue::from_str(content_type).unwrap_or(TEXT), whole(body))
}

/// JSON that has been written already.
pub(super) fn json(body: impl Into<Bytes>) -> Answer {
    answer(StatusCode::OK, JSON, whole(body))
}

/// Under way, and how far.
pub(super) fn accepted(body: impl Into<Bytes>) -> Answer {
    answer(StatusCode::ACCEPTED, JSON, whole(body))
}

/// Done, and nothing more to say.
pub(super) fn done() -> Answer {
    let mut answer = answer(StatusCode::NO_CONTENT, JSON, whole(Bytes::new()));
    answer.headers_mut().remove(CONTENT_TYPE);
    answer
}

/// What is wrong.
pub(super) fn error(status: StatusCode, error: &str) -> Answer {
    #[derive(Serialize)]
    struct Error<'a> {
        error: &'a str,
    }
    answer(status, JSON, whole(written(&Error { error })))
}

/// A method that there is not.
pub(super) fn not_allowed(allow: &'static str) -> Answer {
    let mut answer = error(StatusCode::METHOD_NOT_ALLOWED, &format!("there is {allow} here"));
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    answer
}

/// A request that is refused.
pub(super) fn refused(refusal: Refusal) -> Answer {
    match refusal {
        Refusal::Forbidden(why) => error(StatusCode::FORBIDDEN, why),
        Refusal::Token => {
            let why =
                "this takes the token in admin.token_file, as a Bearer token or as the password of any user";
            let mut answer = error(StatusCode::UNAUTHORIZED, why);
            let headers = answer.headers_mut();
            headers.append(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"natpulse\""));
            let basic = HeaderValue::from_static("Basic realm=\"natpulse\", charset=\"UTF-8\"");
            headers.append(WWW_AUTHENTICATE, basic);
            answer
        }
    }
}

/// The status page, in which `{{page}}` is what only our page is told, and `{{nonce}}` what its own scripts and styles
/// are known by.
pub(super) fn page(html: &str, page: &str) -> Answer {
    let nonce = format!("{:032x}", rand::random::<u128>());
    let body = html.replace("{{page}}", page).replace("{{nonce}}", &nonce);
    let mut answer = answer(StatusCode::OK, HTML, whole(body));
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src data:; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        answer.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    }
    answer
}

/// Server-sent events, and where to put them; a second one waits until the first has gone.
pub(super) fn events() -> (Sender<Bytes>, Answer) {
    let (sender, body) = Channel::new(1);
    (sender, answer(StatusCode::OK, EVENTS, Either::Right(body)))
}

/// As JSON.
pub(super) fn written(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("our own types have string keys and finite numbers")
}
