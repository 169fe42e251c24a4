//! A request of a TopChef client: its verb, its body, and which worker it is of.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::Method;
use axum::http::header::HeaderMap;
use harp_jobs::client::Peer;
use harp_proto::{JobId, Json};
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::path::TopchefPath;
use super::reply::Fault;
use crate::faces::http::body::Sent;
use crate::faces::http::host::Site;
use crate::faces::http::shared::{Asked, Shared};
use crate::faces::http::who;

/// A request, without its body.
#[derive(Debug)]
pub(super) struct Asking<'a> {
    pub(super) shared: &'a Shared,
    pub(super) asked: &'a Asked,
    pub(super) path: &'a TopchefPath,
    /// The worker that asks.
    pub(super) worker: String,
    /// It has given itself a name.
    pub(super) is_named: bool,
}

/// The keys of a body; of repeated ones the last counts.
pub(super) type Keys = BTreeMap<String, Json>;

/// The verb that is meant.
pub(super) fn verb(method: &Method, headers: &HeaderMap) -> Method {
    let said = headers.get("x-http-method-override");
    let said = said.and_then(|said| said.to_str().ok()).unwrap_or_default();
    let known = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::DELETE,
        Method::PUT,
        Method::PATCH,
        Method::OPTIONS,
    ];
    let meant = known
        .into_iter()
        .find(|known| known.as_str().eq_ignore_ascii_case(said));
    meant.unwrap_or_else(|| method.clone())
}

impl<'a> Asking<'a> {
    pub(super) fn new(
        shared: &'a Shared,
        asked: &'a Asked,
        path: &'a TopchefPath,
        headers: &HeaderMap,
    ) -> Asking<'a> {
        let name = path.worker.clone().or_else(|| who::basic_user(headers));
        let name = name.filter(|name| !name.is_empty());
        Asking {
            shared,
            asked,
            path,
            is_named: name.is_some(),
            worker: name.unwrap_or_else(|| match asked.client.peer {
                Peer::Network(address) => address.ip().to_canonical().to_string(),
                peer @ Peer::Local { .. } => peer.to_string(),
            }),
        }
    }

    /// The worker, as its offers are known by.
    pub(super) fn key(&self) -> (String, String) {
        (self.asked.client.name().to_owned(), self.worker.clone())
    }

    /// What stands before the face's own paths, whatever a proxy has put before that.
    pub(super) fn base(&self) -> String {
        format!("{}{}", self.asked.prefix, self.path.base)
    }

    /// What stands before paths in absolute addresses.
    pub(super) fn root(&self) -> String {
        let Site { is_tls, host, port } = &*self.asked.site;
        let scheme = if *is_tls { "https" } else { "http" };
        let host = if host.contains(':') {
            format!("[{host}]")
        } else {
            host.clone()
        };
        format!("{scheme}://{host}:{port}{}", self.base())
    }

    /// The address that was asked for.
    pub(super) fn address(&self) -> String {
        let path: String = self
            .path
            .parts
            .iter()
            .map(|part| format!("/{part}"))
            .collect();
        format!("{}{path}", self.root())
    }

    /// Reads a body that is an object.
    pub(super) async fn keys(&self, sent: Sent) -> Result<Keys, Fault> {
        let whole = sent.any(self.shared, self.asked).await?;
        let (whole, is_json) = whole;
        if !is_json {
            return Err(Fault::not_json());
        }
        let keys: BTreeMap<String, Box<RawValue>> =
            serde_json::from_slice(&whole.text).map_err(|_| Fault::not_json())?;
        let keys = keys.into_iter().map(|(key, value)| {
            // Its depth is bounded there.
            let value = value.get().parse().map_err(|_| Fault::not_json())?;
            Ok((key, value))
        });
        keys.collect()
    }
}

/// When a request that waits so many seconds is answered at the latest.
pub(super) fn until(seconds: u64) -> Instant {
    Instant::now() + Duration::from_secs(seconds)
}

/// The job of a part of a path, with hyphens or without.
pub(super) fn job(part: &str) -> Result<JobId, Fault> {
    let id = uuid::Uuid::try_parse(part).map_err(|_| Fault::not_uuid(part))?;
    Ok(JobId::from_bytes(id.into_bytes()))
}

/// Takes what has to be there out of the keys of a body.
#[derive(Debug, Default)]
pub(super) struct Wrong(Vec<(&'static str, &'static str)>);

impl Wrong {
    pub(super) fn add(&mut self, key: &'static str, why: &'static str) {
        self.0.push((key, why));
    }

    /// A text that has to be there.
    pub(super) fn text(&mut self, keys: &Keys, key: &'static str) -> String {
        let text = self.optional_text(keys, key);
        if text.is_none() && !keys.contains_key(key) {
            self.add(key, "Missing data for required field.");
        }
        text.unwrap_or_default()
    }

    /// A text that may be missing.
    pub(super) fn optional_text(&mut self, keys: &Keys, key: &'static str) -> Option<String> {
        let value = keys.get(key)?;
        let text = value.decode().ok();
        if text.is_none() {
            self.add(key, "Not a valid string.");
        }
        text
    }

    /// An object that has to be there.
    pub(super) fn object(&mut self, keys: &Keys, key: &'static str) -> Json {
        let object = self.optional_object(keys, key);
        if object.is_none() && !keys.contains_key(key) {
            self.add(key, "Missing data for required field.");
        }
        object.unwrap_or(Json::NULL)
    }

    /// An object that may be missing.
    pub(super) fn optional_object(&mut self, keys: &Keys, key: &'static str) -> Option<Json> {
        let value = keys.get(key)?;
        if !value.as_str().trim_start().starts_with('{') {
            self.add(key, "Not a valid mapping type.");
            return None;
        }
        Some(value.clone())
    }

    /// # Errors
    ///
    /// If anything is wrong.
    pub(super) fn none(&self) -> Result<(), Fault> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Fault::keys(&self.0))
        }
    }
}
