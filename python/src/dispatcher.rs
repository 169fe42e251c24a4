//! A dispatcher: its options, submitting calls, requests of one's own.

use std::path::PathBuf;
use std::time::Duration;

use harp_client::{HarpCaller, HarpCallerBuilder, JobId, Tls};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::given::{fingerprint, json, seconds};
use crate::job::Job;
use crate::operation::Operation;
use crate::owned::Owned;
use crate::words::Words;
use crate::work::Answer;
use crate::{failure, runtime};

/// A dispatcher's client.
#[pyclass(frozen, module = "harp._harp")]
pub(crate) struct Dispatcher {
    caller: Owned<HarpCaller>,
    words: Words,
}

/// Options of a client, as `harp._options` has checked them.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct Options {
    ca_file: Option<PathBuf>,
    fingerprint: Option<String>,
    accept_any_certificate: bool,
    server_name: Option<String>,
    client_certificate: Option<PathBuf>,
    client_key: Option<PathBuf>,
    token: Option<String>,
    token_without_tls: bool,
    client_name: Option<String>,
    connect_timeout: f64,
    request_timeout: f64,
    reconnect_for: f64,
    pool_size: usize,
    max_reply_size: usize,
}

/// Options of a call, as `harp._options` has checked them: seconds and JSON texts.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct CallOptions {
    queue: Option<String>,
    concurrency: Option<u64>,
    timeout: Option<u64>,
    max_exec_time: Option<u64>,
    info: Option<String>,
    key: Option<String>,
    unless_since: Option<u64>,
    start_by: Option<u64>,
}

#[pymethods]
impl Dispatcher {
    #[new]
    fn new(py: Python<'_>, address: &str, options: Options) -> PyResult<Dispatcher> {
        let words = Words::default();
        let told = words.clone();
        let builder =
            HarpCaller::builder(address).on_lost(move |error, wait| told.lost(error, wait));
        let caller = options
            .applied(builder)?
            .build()
            .map_err(|error| failure::exception(py, &error))?;
        Ok(Dispatcher {
            caller: Owned::new(caller),
            words,
        })
    }

    /// Submits a call; its arguments are JSON text.
    fn submit(
        &self,
        host: String,
        procedure: String,
        arguments: &str,
        options: CallOptions,
    ) -> PyResult<Operation> {
        let arguments = json("arguments", arguments)?;
        let server = options.applied(self.caller.host(host))?;
        let words = self.words.clone();
        Ok(Operation::new(&self.words, async move {
            let call = server.call(&procedure, arguments).await?;
            Ok(Answer::new(Job::new(call, words)))
        }))
    }

    /// The job of an id.
    fn job(&self, id: &str) -> PyResult<Job> {
        let id: JobId = id
            .parse()
            .map_err(|error| PyValueError::new_err(format!("job_id {id:?}: {error}")))?;
        Ok(Job::new(self.caller.job(id), self.words.clone()))
    }

    /// Sends a request of one's own, JSON text.
    fn request(&self, request: &str) -> PyResult<Operation> {
        let request = json("request", request)?;
        let caller = self.caller.clone();
        Ok(Operation::new(&self.words, async move {
            let reply = caller.request(&request).await?;
            Ok(Answer::new(reply.to_string()))
        }))
    }

    /// Closes the connections that carry no request.
    fn close_idle(&self) {
        // Those of a parent are not the child's to close.
        if !runtime::is_forked() {
            self.caller.close_idle();
        }
    }
}

impl Options {
    fn applied(self, builder: HarpCallerBuilder) -> PyResult<HarpCallerBuilder> {
        let tls = match (self.ca_file, self.fingerprint) {
            (Some(file), _) => Some(Tls::ca_file(file)),
            (None, Some(text)) => Some(Tls::fingerprint(fingerprint(&text)?)),
            (None, None) => self
                .accept_any_certificate
                .then(Tls::accept_any_certificate),
        };
        let mut builder = builder
            .connect_timeout(seconds(self.connect_timeout))
            .request_timeout(seconds(self.request_timeout))
            .reconnect_for(seconds(self.reconnect_for))
            .pool_size(self.pool_size)
            .max_reply_size(self.max_reply_size);
        if let Some(mut tls) = tls {
            if let Some(name) = self.server_name {
                tls = tls.server_name(name);
            }
            if let (Some(certificate), Some(key)) = (self.client_certificate, self.client_key) {
                tls = tls.client_certificate(certificate, key);
            }
            builder = builder.tls(tls);
        }
        if let Some(token) = self.token {
            builder = builder.token(token);
        }
        if self.token_without_tls {
            builder = builder.token_without_tls();
        }
        if let Some(name) = self.client_name {
            builder = builder.client_name(name);
        }
        Ok(builder)
    }
}

impl CallOptions {
    fn applied(self, server: harp_client::RemoteServer) -> PyResult<harp_client::RemoteServer> {
        let mut server = server;
        if let Some(queue) = self.queue {
            server = server.queue(json("queue", &queue)?);
        }
        if let Some(jobs) = self.concurrency {
            server = server.concurrency(jobs);
        }
        if let Some(limit) = self.timeout {
            server = server.timeout(Duration::from_secs(limit));
        }
        if let Some(limit) = self.max_exec_time {
            server = server.max_exec_time(Duration::from_secs(limit));
        }
        if let Some(info) = self.info {
            server = server.info(json("info", &info)?);
        }
        if let Some(key) = self.key {
            server = server.key(key);
        }
        if let Some(age) = self.unless_since {
            server = server.unless_since(Duration::from_secs(age));
        }
        if let Some(limit) = self.start_by {
            server = server.start_by(Duration::from_secs(limit));
        }
        Ok(server)
    }
}
