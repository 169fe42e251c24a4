//! What every request passes before its route, and what every answer has.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::body::Body;
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{HeaderMap, Method, Request, StatusCode, Uri};
use harp_page::Page;
use harp_values::Traceparent;
use tokio::time::Instant;
use tower_service::Service;
use tracing::debug;

use super::connected::{Connected, HEAD};
use super::host::Site;
use super::problem::Problem;
use super::proxy::Forwarded;
use super::reply::Answer;
use super::sessions::Sessions;
use super::settings::Door;
use super::shared::{Asked, Shared};
use super::topchef;
use super::topchef::path::TopchefPath;
use super::{compress, cross_site, page, reply, route, routes, who};
use crate::desk::Desk;
use crate::limits::ClientMemory;
use crate::meters::requests::{Protocol, Status};
use crate::traces::span::Value;

/// Where a session begins.
const LOGIN: &str = "/api/v1/session";

/// The HTTP face. One for all listeners.
#[derive(Debug)]
pub struct Face {
    shared: Arc<Shared>,
    routes: Router,
    /// What browsers show.
    page: Page,
    requests: AtomicU64,
}

impl Face {
    /// The face over a desk. `memory` is what large requests share; what is kept of logins is
    /// in `directory`; without one it goes with the process. Blocks.
    ///
    /// # Errors
    ///
    /// What the system says, with the path in the message.
    pub fn open(
        desk: Arc<Desk>,
        memory: Arc<ClientMemory>,
        directory: Option<&Path>,
    ) -> io::Result<Face> {
        let shared = Arc::new(Shared {
            desk,
            memory,
            sessions: Arc::new(Sessions::open(directory)?),
            streams: Default::default(),
            guesses: Default::default(),
            offers: Default::default(),
            boot: harp_time::clock::now(),
        });
        Ok(Face {
            routes: routes::all(Arc::clone(&shared)),
            shared,
            page: Page::new(),
            requests: AtomicU64::new(0),
        })
    }

    /// Answers a request.
    pub(super) async fn answer(&self, connected: &Connected, request: Request<Body>) -> Answer {
        let begun = Instant::now();
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let id = format!("{:x}-{number:x}", self.shared.boot);
        let door = Arc::clone(&connected.door.borrow());
        let traces = &self.shared.desk.traces;
        let parent = request.headers().get("traceparent");
        let parent = parent.and_then(|parent| parent.to_str().ok());
        let span = traces.request(parent);
        let trace = match &span {
            // Whoever brings a trace finds it with its job as it was.
            _ if parent.is_some_and(|parent| parent.parse::<Traceparent>().is_ok()) => {
                parent.map(str::to_owned)
            }
            Some(span) => Some(span.traceparent()),
            None => None,
        };
        // What of the request is needed for the answer's head.
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let path = uri.path();
        let allowed = cross_site::allowed_origin(request.headers(), &door.settings);
        let takes_gzip = compress::takes_gzip(request.headers());
        let at = TopchefPath::of(&door.settings.serve, path);
        let through = self.through(connected, &door, at.as_ref(), request, trace);
        let mut answer = match through.await {
            Ok(answer) => answer,
            Err(problem) if at.is_some() => topchef::problem(problem, at.as_ref()),
            Err(problem) => axum::response::IntoResponse::into_response(problem),
        };
        answer = dress(answer, path, at.is_some(), &id);
        debug!(
            peer = %connected.client.peer, %method, path, status = answer.status().as_u16(),
            request = id, milliseconds = begun.elapsed().as_millis(), "request answered"
        );
        let asked_for = (Protocol::Http, route::of(path));
        let status = Status::Number(answer.status().as_u16());
        let meters = &self.shared.desk.meters;
        meters.answered(asked_for, status, begun.elapsed());
        if let Some(span) = span
            && !routes::health::is_of(path)
        {
            let route = route::template(path);
            let status = answer.status();
            let attributes = vec![
                ("http.request.method", method.as_str().into()),
                ("http.route", route.as_str().into()),
                (
                    "http.response.status_code",
                    Value::Number(i64::from(status.as_u16())),
                ),
            ];
            let name = format!("{method} {route}");
            traces.answered(span, name, attributes, status.is_server_error());
        }
        let is_question = method == Method::OPTIONS;
        cross_site::tell(answer.headers_mut(), allowed, &door.settings, is_question);
        compress::if_asked(takes_gzip, answer)
    }

    async fn through(
        &self,
        connected: &Connected,
        door: &Arc<Door>,
        at: Option<&TopchefPath>,
        mut request: Request<Body>,
        trace: Option<String>,
    ) -> Result<Answer, Problem> {
        if let Some(answer) = routes::health::answer(&self.shared, &request) {
            return answer;
        }
        let settings = &door.settings;
        let headers = request.headers();
        let (site, forwarded) = site_of(connected, door, request.uri(), headers)?;
        let site = Arc::new(site);
        if head_length(&request) > HEAD {
            return Err(Problem::head_too_long(HEAD));
        }
        if request.method() == Method::OPTIONS && at.is_none() {
            let mut answer = reply::empty(StatusCode::NO_CONTENT);
            let methods = HeaderValue::from_static("GET, HEAD, POST, PATCH, DELETE, OPTIONS");
            answer.headers_mut().insert(header::ALLOW, methods);
            return Ok(answer);
        }
        cross_site::judge(request.method(), headers, &site, settings)?;
        if settings.serve.page
            && let Some(answer) = page::answer(&self.page, &request)
        {
            return answer;
        }
        let sender = who::sender(&connected.client, door, forwarded.as_ref());
        let is_login = request.method() == Method::POST && request.uri().path() == LOGIN;
        let known = if is_login {
            // Whoever wants to say who it is may.
            who::nobody(sender)
        } else {
            let page_key = who::page_key(request.uri(), headers)?;
            let shared = &self.shared;
            who::identify(shared, sender, headers, &site, page_key.as_deref()).await?
        };
        if at.is_none() && !is_served(door, request.uri().path()) {
            return Err(Problem::not_found());
        }
        let limits = *self.shared.desk.limits.borrow();
        let whole_by = Instant::now() + limits.request_timeout;
        let asked = Asked {
            client: known.client,
            how: known.how,
            session: known.session.clone(),
            site: Arc::clone(&site),
            prefix: forwarded.map_or_else(String::new, |forwarded| forwarded.prefix),
            whole_by,
            trace,
        };
        if let Some(at) = at {
            let Some(events) = at.events(request.uri()) else {
                return Ok(topchef::answer(&self.shared, &asked, at, request).await);
            };
            *request.uri_mut() = events;
        }
        request.extensions_mut().insert(asked);
        // A router is always ready, and has no errors.
        let mut routes = self.routes.clone();
        match routes.call(request).await {
            Ok(mut answer) => {
                let renewed = known.session.and_then(|proof| proof.renewed());
                if let Some(session) = renewed
                    && !answer.headers().contains_key(header::SET_COOKIE)
                {
                    let value = self.shared.sessions.cookie(&session);
                    let cookie = routes::session::cookie(&site, &value, None)?;
                    answer.headers_mut().insert(header::SET_COOKIE, cookie);
                }
                Ok(answer)
            }
            Err(never) => match never {},
        }
    }
}

/// For which site a request is meant, and by whom it was handed on, if it was.
pub(super) fn site_of(
    connected: &Connected,
    door: &Door,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<(Site, Option<Forwarded>), Problem> {
    let settings = &door.settings;
    let forwarded = Forwarded::by(&connected.client.peer, settings, headers)?;
    let site = Site::of(
        uri,
        headers,
        settings,
        connected.secured.as_ref(),
        forwarded.as_ref(),
    )?;
    Ok((site, forwarded))
}

/// Makes an answer of a problem, if it is one, and adds what all answers have.
pub(super) fn dress(mut answer: Answer, path: &str, is_topchef: bool, id: &str) -> Answer {
    if let Some(problem) = answer.extensions_mut().remove::<Problem>() {
        let allow = answer.headers().get(header::ALLOW).cloned();
        let problem = match allow {
            Some(allow) => problem.allowing(Some(allow)),
            None => problem,
        };
        answer = problem.render(id);
    }
    if answer.status() == StatusCode::UNAUTHORIZED {
        challenge(path, is_topchef, answer.headers_mut());
    }
    add_common(answer.headers_mut(), id);
    answer
}

/// About how many bytes the head of a request had.
fn head_length(request: &Request<Body>) -> usize {
    let headers = request.headers().iter();
    let headers = headers.map(|(name, value)| name.as_str().len() + value.len() + 4);
    let target = request.uri().path_and_query();
    headers.sum::<usize>() + target.map_or(0, |target| target.as_str().len())
}

/// True if the listener serves the face that a path is of.
fn is_served(door: &Door, path: &str) -> bool {
    let serve = &door.settings.serve;
    if serve.root.is_some() {
        return false;
    }
    match path {
        "/metrics" => serve.metrics,
        _ if path == "/api/v1" || path.starts_with("/api/v1/") => serve.api,
        _ => false,
    }
}

/// Says how to authenticate. Browsers are asked nowhere but where programs want it so.
fn challenge(path: &str, is_topchef: bool, headers: &mut HeaderMap) {
    let challenge = match path {
        _ if is_topchef => "Basic realm=\"harpcaller\"",
        "/metrics" => "Basic realm=\"harpcaller\"",
        _ => "Bearer realm=\"harpcaller\"",
    };
    headers.insert(
        header::WWW_AUTHENTICATE,
        HeaderValue::from_static(challenge),
    );
}

fn add_common(headers: &mut HeaderMap, id: &str) {
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(HeaderName::from_static("x-request-id"), id);
    }
}
