//! The page's own files, for anybody: what they show, the API tells.

use axum::body::Body;
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{Method, Request, Response, StatusCode};
use harp_page::{CONTENT_SECURITY_POLICY, File, Page};

use super::problem::Problem;
use super::reply;
use super::reply::Answer;

/// What a browser may not give to the page, which asks for none of it.
const NO_POWERS: &str = "camera=(), display-capture=(), geolocation=(), microphone=(), \
                         payment=(), serial=(), usb=()";

/// The answer, if it is a file of the page that is asked for.
pub(super) fn answer(page: &Page, request: &Request<Body>) -> Option<Result<Answer, Problem>> {
    let file = page.file(request.uri().path())?;
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let allow = HeaderValue::from_static("GET, HEAD");
        return Some(Err(Problem::method_not_allowed().allowing(Some(allow))));
    }
    let known = request.headers().get(header::IF_NONE_MATCH);
    let is_known = known.is_some_and(|known| is_among(known, file.etag));
    let mut answer = if is_known {
        reply::empty(StatusCode::NOT_MODIFIED)
    } else {
        Response::new(Body::from(file.bytes.to_vec()))
    };
    add_headers(&mut answer, &file);
    Some(Ok(answer))
}

/// True if one of the tags that a browser has is this one. A proxy that compresses makes weak
/// ones of them.
fn is_among(known: &HeaderValue, etag: &str) -> bool {
    let known = known.to_str().unwrap_or_default().split(',');
    known
        .map(|tag| tag.trim().trim_start_matches("W/"))
        .any(|tag| tag == etag || tag == "*")
}

fn add_headers(answer: &mut Answer, file: &File<'_>) {
    let kept = if file.is_immutable {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    let headers = answer.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, file.media_type),
        (header::CACHE_CONTROL, kept),
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (HeaderName::from_static("permissions-policy"), NO_POWERS),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Ok(etag) = HeaderValue::from_str(file.etag) {
        headers.insert(header::ETAG, etag);
    }
}
