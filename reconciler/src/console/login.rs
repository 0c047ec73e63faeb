//! The page that takes a token and gives a session for it.

use std::sync::Arc;

use askama::Template;
use axum::Form;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::http::Uri;
use axum::http::header::SET_COOKIE;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use time::OffsetDateTime;

use super::page::html;
use super::problem::Problem;
use super::web::Console;

#[derive(Template)]
#[template(path = "login.html")]
struct Page {
    next: String,
    is_refused: bool,
}

/// Where to go after the login.
#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    next: String,
}

/// What the form holds.
#[derive(Deserialize)]
pub(super) struct Filled {
    token: String,
    #[serde(default)]
    next: String,
}

/// The login page that leads back to `uri`.
pub(super) fn address(uri: &Uri) -> String {
    let next = uri.path_and_query().map_or("/", |it| it.as_str());
    if next == "/" {
        return "/login".to_owned();
    }
    let query = serde_urlencoded::to_string([("next", next)]).unwrap_or_default();
    format!("/login?{query}")
}

/// `GET /login`.
pub(super) async fn page(Query(asked): Query<Asked>) -> Result<Response, Problem> {
    Ok(html(&Page { next: asked.next, is_refused: false })?.into_response())
}

/// `POST /login`.
pub(super) async fn enter(
    State(console): State<Arc<Console>>,
    Form(filled): Form<Filled>,
) -> Result<Response, Problem> {
    let now = OffsetDateTime::now_utc().unix_timestamp();
    let Some(cookie) = console.access.login(&filled.token, now) else {
        let page = html(&Page { next: filled.next, is_refused: true })?;
        return Ok((StatusCode::UNAUTHORIZED, page).into_response());
    };
    let next = if is_ours(&filled.next) { &*filled.next } else { "/" };
    Ok(([(SET_COOKIE, cookie)], Redirect::to(next)).into_response())
}

/// `POST /logout`.
pub(super) async fn leave(State(console): State<Arc<Console>>) -> Response {
    let gone = console.access.logout().map(|cookie| [(SET_COOKIE, cookie)]);
    (gone, Redirect::to("/login")).into_response()
}

/// Whether an address stays here: a path of ours, in no browser's reading another host.
fn is_ours(next: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b'\\';
    next.starts_with('/') && !next.starts_with("//") && next.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_leads_to_our_pages_only() {
        for ours in ["/", "/payments?status=paid", "/story/pi_1"] {
            assert!(is_ours(ours), "{ours}");
        }
        for other in ["", "//evil.test", "/\\evil.test", "https://evil.test", "/\n/evil", "evil"] {
            assert!(!is_ours(other), "{other}");
        }
    }

    #[test]
    fn the_way_back_is_kept() {
        assert_eq!(address(&Uri::from_static("/")), "/login");
        let uri = Uri::from_static("/payments?status=paid&from=2025-01-01");
        assert_eq!(address(&uri), "/login?next=%2Fpayments%3Fstatus%3Dpaid%26from%3D2025-01-01");
    }
}
