//! What can go wrong with a request, as a status and a page.

use askama::Template;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};

/// SQLSTATE of a statement that took longer than it may.
const QUERY_CANCELED: &str = "57014";

#[derive(Debug, thiserror::Error)]
pub(super) enum Problem {
    /// There is nothing there.
    #[error("{0}")]
    NotFound(String),
    /// What was asked for cannot be understood.
    #[error("{0}")]
    BadRequest(String),
    /// Whoever asks may not.
    #[error("{0}")]
    Forbidden(&'static str),
    /// A name is needed that nobody gave.
    #[error("this console is for those whom its proxy or a token lets in")]
    Unauthorized,
    /// A limit of time.
    #[error("it took too long; ask for less, such as a day or a status")]
    TooSlow,
    /// Another limit, or no database.
    #[error("the database does not answer, or too much is asked at once; try again in a moment")]
    Unavailable,
    /// Ours.
    #[error("something is wrong here; the log says what")]
    Internal(#[source] anyhow::Error),
}

impl Problem {
    fn status(&self) -> StatusCode {
        match self {
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::TooSlow | Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn of_database(error: &sqlx::Error) -> Option<Self> {
        match error {
            sqlx::Error::Database(error) if error.code().as_deref() == Some(QUERY_CANCELED) => {
                Some(Self::TooSlow)
            }
            sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::Io(_) => {
                Some(Self::Unavailable)
            }
            _ => None,
        }
    }
}

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        Self::of_database(&error).unwrap_or_else(|| Self::Internal(error.into()))
    }
}

impl From<anyhow::Error> for Problem {
    fn from(error: anyhow::Error) -> Self {
        let known = error.chain().find_map(|it| Self::of_database(it.downcast_ref()?));
        known.unwrap_or(Self::Internal(error))
    }
}

impl From<askama::Error> for Problem {
    fn from(error: askama::Error) -> Self {
        Self::Internal(error.into())
    }
}

#[derive(Template)]
#[template(path = "problem.html")]
struct Page<'a> {
    status: &'a str,
    words: String,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status();
        if let Self::Internal(error) = &self {
            tracing::error!(error = format!("{error:#}"), "a page of the console failed");
        }
        let page =
            Page { status: status.canonical_reason().unwrap_or_default(), words: self.to_string() };
        let body = page.render().unwrap_or_else(|_| page.words.clone());
        let mut response = (status, Html(body)).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            let headers = response.headers_mut();
            headers.insert("retry-after", axum::http::HeaderValue::from_static("5"));
        }
        response
    }
}
