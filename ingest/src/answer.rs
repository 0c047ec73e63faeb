//! The answers: each row of the HTTP contract, its status, body and metric label.

use bytes::Bytes;
use domain::signature::Refusal;
use http_body_util::Full;
use hyper::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};

/// When a sender that was answered 503 may come back, in seconds.
const RETRY_AFTER_S: HeaderValue = HeaderValue::from_static("5");

/// What a request is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Durable in Kafka.
    Accepted,
    /// Will never verify.
    Refused(Refusal),
    /// Longer than the limit, ours or Kafka's.
    TooLarge,
    /// The body did not arrive in time.
    BodyTimedOut,
    /// The body broke off.
    BodyIncomplete,
    /// A limit on what is in flight is reached.
    Overloaded,
    /// Kafka did not acknowledge, or nothing was sent to it yet.
    Unavailable,
    /// No such path or endpoint.
    NotFound,
    /// Not a POST.
    MethodNotAllowed,
}

impl Answer {
    /// The metric label of each kind of answer, at its [`index`](Self::index).
    pub(crate) const OUTCOMES: [&'static str; 9] = [
        "accepted",
        "refused",
        "too_large",
        "body_timed_out",
        "body_incomplete",
        "overloaded",
        "unavailable",
        "not_found",
        "method_not_allowed",
    ];

    /// Place of its kind in [`OUTCOMES`](Self::OUTCOMES).
    pub(crate) const fn index(self) -> usize {
        match self {
            Self::Accepted => 0,
            Self::Refused(_) => 1,
            Self::TooLarge => 2,
            Self::BodyTimedOut => 3,
            Self::BodyIncomplete => 4,
            Self::Overloaded => 5,
            Self::Unavailable => 6,
            Self::NotFound => 7,
            Self::MethodNotAllowed => 8,
        }
    }

    /// The metric label, a closed set.
    pub(crate) const fn outcome(self) -> &'static str {
        Self::OUTCOMES[self.index()]
    }

    pub(crate) const fn status(self) -> StatusCode {
        match self {
            Self::Accepted => StatusCode::OK,
            Self::Refused(_) | Self::BodyIncomplete => StatusCode::BAD_REQUEST,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyTimedOut => StatusCode::REQUEST_TIMEOUT,
            Self::Overloaded | Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        }
    }

    /// The response. `close` asks the sender to leave, which HTTP/1 alone can say.
    pub(crate) fn response(self, close: bool) -> Response<Full<Bytes>> {
        let text = match self {
            Self::Accepted => "",
            Self::Refused(refusal) => refusal.code(),
            other => other.outcome(),
        };
        let mut response = Response::new(Full::from(text));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        if !text.is_empty() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        }
        match self {
            Self::Overloaded | Self::Unavailable => {
                headers.insert(RETRY_AFTER, RETRY_AFTER_S);
            }
            Self::MethodNotAllowed => {
                headers.insert(ALLOW, HeaderValue::from_static("POST"));
            }
            _ => {}
        }
        if close {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}
