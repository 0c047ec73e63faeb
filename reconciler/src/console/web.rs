//! The way of a request to its page: who is asking, what it may take, and the headers of its answer.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, HeaderMap, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, Method};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use time::OffsetDateTime;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::access::{Access, Visitor};
use super::listener::Peer;
use super::lists::LISTS;
use super::problem::Problem;
use super::reader::Reader;
use super::settings::Limits;
use super::{assets, ledger, list, login, object, overview, providers, quarantine, search, story};
use crate::metrics;
use crate::story::segment::Archive;

/// What every page needs.
pub(super) struct Console {
    pub(super) access: Access,
    pub(super) reader: Reader,
    pub(super) limits: Limits,
    pub(super) archive: Archive,
}

/// Nothing from elsewhere, nothing inline, in no frame. <https://www.w3.org/TR/CSP3/>
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; \
    form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
/// Headers of every answer. A referrer within the console is kept: without it, browsers hide the
/// origin of a form. <https://fetch.spec.whatwg.org/#append-a-request-origin-header>
const HEADERS: [(&str, &str); 6] = [
    ("content-security-policy", POLICY),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
];
/// Bytes of a form.
const MAX_BODY: usize = 16 * 1024;

pub(super) fn router(console: Arc<Console>) -> Router {
    let mut pages = Router::new()
        .route("/", get(overview::page))
        .route("/search", get(search::page))
        .route("/story/{id}", get(story::page))
        .route("/object", get(object::page).post(object::reveal))
        .route("/quarantine/record", get(quarantine::page).post(quarantine::reveal))
        .route("/providers", get(providers::page))
        .route("/ledger", get(ledger::page));
    for chosen in &LISTS {
        let page = move |console, visitor, asked| list::page(chosen, console, visitor, asked);
        pages = pages.route(chosen.path, get(page));
    }
    let places = Arc::new(Semaphore::new(console.limits.requests as usize));
    let limits = console.limits;
    pages
        .layer(middleware::from_fn(move |request, next| {
            limit(places.clone(), limits, request, next)
        }))
        .layer(middleware::from_fn_with_state(console.clone(), let_in))
        .route("/login", get(login::page).post(login::enter))
        .route("/logout", post(login::leave))
        .route("/static/{file}", get(assets::get))
        .route("/livez", get(async || "ok\n"))
        .fallback(async || Problem::NotFound("there is no such page".to_owned()))
        .layer(axum::extract::DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn_with_state(console.clone(), own_posts))
        .layer(middleware::from_fn(finish))
        .with_state(console)
}

/// Counts the answer and gives it its headers.
async fn finish(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let class = match response.status().as_u16() {
        ..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        _ => "5xx",
    };
    metrics::CONSOLE_REQUESTS.with([class]).increment(1);
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Refuses what another site's page makes a browser send.
async fn own_posts(State(console): State<Arc<Console>>, request: Request, next: Next) -> Response {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    if is_read || console.access.is_own(request.headers()) {
        return next.run(request).await;
    }
    Problem::Forbidden("this form was not sent from the console's own pages").into_response()
}

/// Lets in whom the rules of access know; the others go to the login page, if there is one.
async fn let_in(
    State(console): State<Arc<Console>>,
    Extension(Peer(peer)): Extension<Peer>,
    mut request: Request,
    next: Next,
) -> Response {
    let Some(visitor) = visitor(&console.access, request.headers(), peer.ip()) else {
        if console.access.has_tokens() && !request.headers().contains_key(AUTHORIZATION) {
            return Redirect::to(&login::address(request.uri())).into_response();
        }
        let mut response = Problem::Unauthorized.into_response();
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        return response;
    };
    request.extensions_mut().insert(visitor);
    next.run(request).await
}

pub(super) fn visitor(access: &Access, headers: &HeaderMap, peer: IpAddr) -> Option<Visitor> {
    access.visitor(headers, peer, OffsetDateTime::now_utc().unix_timestamp())
}

/// Waits for a place, and then for the page, but not for ever.
async fn limit(places: Arc<Semaphore>, limits: Limits, request: Request, next: Next) -> Response {
    let Ok(Ok(_place)) = timeout(limits.request, places.acquire()).await else {
        return Problem::Unavailable.into_response();
    };
    let answer = timeout(limits.request, next.run(request)).await;
    answer.unwrap_or_else(|_| Problem::TooSlow.into_response())
}
