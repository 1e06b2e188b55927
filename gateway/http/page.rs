//! Serves the live page at `/`, which is compiled into the binary.

use axum::Router;
use axum::http::{HeaderName, header};
use axum::response::IntoResponse;
use axum::routing::get;

/// Allows no content from other origins and no inline code.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

/// Builds the routes of the page and its files.
pub(super) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let file = |kind: &'static str, text: &'static str| get(async move || serve(kind, text));
    Router::new()
        .route(
            "/",
            file("text/html; charset=utf-8", include_str!("../page/index.html")),
        )
        .route(
            "/page.css",
            file("text/css; charset=utf-8", include_str!("../page/page.css")),
        )
        .route(
            "/page.js",
            file("text/javascript; charset=utf-8", include_str!("../page/page.js")),
        )
        .route("/icon.svg", file("image/svg+xml", include_str!("../page/icon.svg")))
}

fn serve(kind: &'static str, text: &'static str) -> impl IntoResponse {
    let headers: [(HeaderName, &str); 5] = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        // A new version of the binary may have a new page.
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, text)
}
