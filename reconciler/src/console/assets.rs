//! What pages are made of beside HTML: compiled in, and named by their content, so that a browser may
//! keep them for ever.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use sha2::{Digest as _, Sha256};

/// One file.
pub(super) struct Asset {
    /// Where it is.
    pub(super) path: String,
    kind: &'static str,
    body: &'static [u8],
}

pub(super) static STYLE: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new("console", "css", "text/css", include_bytes!("../../static/console.css"))
});
pub(super) static SCRIPT: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new("console", "js", "text/javascript", include_bytes!("../../static/console.js"))
});
pub(super) static ICON: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new("console", "svg", "image/svg+xml", include_bytes!("../../static/console.svg"))
});

impl Asset {
    fn new(name: &str, extension: &str, kind: &'static str, body: &'static [u8]) -> Self {
        let hash = hex::encode(&Sha256::digest(body)[..6]);
        Self { path: format!("/static/{name}-{hash}.{extension}"), kind, body }
    }
}

/// `GET /static/FILE`.
pub(super) async fn get(Path(file): Path<String>) -> Response {
    let path = format!("/static/{file}");
    let Some(asset) = [&*STYLE, &*SCRIPT, &*ICON].into_iter().find(|asset| asset.path == path)
    else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let headers =
        [(CONTENT_TYPE, asset.kind), (CACHE_CONTROL, "public, max-age=31536000, immutable")];
    (headers, asset.body).into_response()
}
