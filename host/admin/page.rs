//! The page for operators: files that the binary carries. They hold no figures, so they need no token; the page
//! asks for everything it shows. It must not know what the page asks for.

use axum::Router;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;

/// Nothing is loaded from elsewhere, nothing is written into the page as code, and no other page may hold it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// A script by the name under which the others import it.
macro_rules! script {
    ($name:literal) => {
        (
            concat!("/page/", $name),
            SCRIPT,
            include_str!(concat!("page/", $name)),
        )
    };
}

/// Path, media type and text of each file.
const FILES: [(&str, &str, &str); 19] = [
    ("/", HTML, include_str!("page/page.html")),
    ("/page/page.css", CSS, include_str!("page/page.css")),
    (
        "/page/icon.svg",
        "image/svg+xml",
        include_str!("page/icon.svg"),
    ),
    script!("page.js"),
    script!("ask.js"),
    script!("chart.js"),
    script!("configuration.js"),
    script!("confirm.js"),
    script!("dom.js"),
    script!("events.js"),
    script!("history.js"),
    script!("lanes.js"),
    script!("letter.js"),
    script!("letters.js"),
    script!("overview.js"),
    script!("partitions.js"),
    script!("pausing.js"),
    script!("plugins.js"),
    script!("redriving.js"),
];

/// Whether a path is one of the page's files.
pub(super) fn is_page(path: &str) -> bool {
    FILES.iter().any(|(file, ..)| *file == path)
}

/// The routes.
pub(super) fn routes() -> Router {
    let serve = |media: &'static str, text: &'static str| {
        get(move || async move {
            let headers = [
                (header::CONTENT_TYPE, media),
                (header::CONTENT_SECURITY_POLICY, POLICY),
                (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
                (header::REFERRER_POLICY, "no-referrer"),
                // Another version of the host has another page.
                (header::CACHE_CONTROL, "no-cache"),
            ];
            (headers, text).into_response()
        })
    };
    FILES
        .into_iter()
        .fold(Router::new(), |router, (path, media, text)| {
            router.route(path, serve(media, text))
        })
}
