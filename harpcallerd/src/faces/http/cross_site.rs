//! Requests that a page of another site has made a browser send.

use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{HeaderMap, Method};

use super::host::Site;
use super::problem::Problem;
use super::settings::HttpSettings;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Headers that a page of an origin in `cors_origins` may send.
const MAY_SEND: &str = "Authorization, Content-Type, Idempotency-Key, If-None-Match, \
                        Last-Event-ID, traceparent";

/// Headers that it may read.
const MAY_READ: &str = "ETag, Location, Retry-After, X-Request-Id";

/// How long a browser may remember that, in seconds.
const REMEMBERED: u32 = 600;

/// Lets no page of another site change anything.
///
/// # Errors
///
/// A problem for a request that another site's page has made.
pub(super) fn judge(
    method: &Method,
    headers: &HeaderMap,
    site: &Site,
    settings: &HttpSettings,
) -> Result<(), Problem> {
    if [Method::GET, Method::HEAD, Method::OPTIONS].contains(method)
        || allowed_origin(headers, settings).is_some()
    {
        return Ok(());
    }
    let is_own = match headers.get(SEC_FETCH_SITE) {
        Some(said) => said == "same-origin" || said == "none",
        None => is_own_origin(headers, site),
    };
    if is_own {
        Ok(())
    } else {
        Err(Problem::cross_origin())
    }
}

/// True unless a browser says that the page which asks is another site's.
pub(super) fn is_own_origin(headers: &HeaderMap, site: &Site) -> bool {
    let said = headers.get_all(header::ORIGIN);
    said.iter()
        .all(|origin| origin.to_str().is_ok_and(|origin| site.is_origin(origin)))
}

/// The origin that asks, if pages of it may.
pub(super) fn allowed_origin(headers: &HeaderMap, settings: &HttpSettings) -> Option<HeaderValue> {
    let mut said = headers.get_all(header::ORIGIN).iter();
    let (Some(origin), None) = (said.next(), said.next()) else {
        return None;
    };
    let text = origin.to_str().ok()?;
    let is_allowed = settings.cors_origins.iter().any(|allowed| allowed.is(text));
    is_allowed.then(|| origin.clone())
}

/// Adds what a browser has to be told so that a page of another origin gets the answer, or
/// does not. `is_question` is for an answer to `OPTIONS`.
pub(super) fn tell(
    answer: &mut HeaderMap,
    allowed: Option<HeaderValue>,
    settings: &HttpSettings,
    is_question: bool,
) {
    if !settings.cors_origins.is_empty() {
        answer.append(header::VARY, HeaderValue::from_static("Origin"));
    }
    let Some(origin) = allowed else {
        let own = HeaderValue::from_static("same-origin");
        answer.insert(HeaderName::from_static("cross-origin-resource-policy"), own);
        return;
    };
    answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    let may_read = HeaderValue::from_static(MAY_READ);
    answer.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, may_read);
    if is_question {
        let methods = HeaderValue::from_static("GET, HEAD, POST, PATCH, DELETE");
        answer.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
        let may_send = HeaderValue::from_static(MAY_SEND);
        answer.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, may_send);
        let remembered = HeaderValue::from(REMEMBERED);
        answer.insert(header::ACCESS_CONTROL_MAX_AGE, remembered);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(method: Method, said: &[(&'static str, &str)]) -> bool {
        let settings = HttpSettings {
            cors_origins: vec!["https://app.example.net".parse().unwrap()],
            ..HttpSettings::default()
        };
        let site = Site::parse("localhost:3580", false).unwrap();
        let mut headers = HeaderMap::new();
        for (name, value) in said {
            headers.append(*name, value.parse().unwrap());
        }
        judge(&method, &headers, &site, &settings).is_ok()
    }

    #[test]
    fn only_own_pages_and_programs_change_anything() {
        for good in [
            &[][..],
            &[("sec-fetch-site", "same-origin")],
            &[("sec-fetch-site", "none")],
            &[("origin", "http://localhost:3580")],
            &[
                ("origin", "https://app.example.net"),
                ("sec-fetch-site", "cross-site"),
            ],
        ] {
            assert!(judged(Method::POST, good), "{good:?}");
        }
        for bad in [
            &[("sec-fetch-site", "cross-site")][..],
            &[("sec-fetch-site", "same-site")],
            &[
                ("sec-fetch-site", "cross-site"),
                ("origin", "http://localhost:3580"),
            ],
            &[("origin", "http://evil.example")],
            &[("origin", "http://localhost:3581")],
            &[("origin", "null")],
        ] {
            assert!(!judged(Method::POST, bad), "{bad:?}");
            assert!(judged(Method::GET, bad), "{bad:?}");
        }
    }
}
