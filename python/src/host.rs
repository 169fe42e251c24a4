//! A host's `harpd`, called without a dispatcher.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use harp_client::{Error, HarpServer};
use pyo3::prelude::*;

use crate::failure;
use crate::given::{fingerprint, json, seconds};
use crate::operation::Operation;
use crate::outcome::ended;
use crate::owned::Owned;
use crate::words::Words;
use crate::work::Answer;

/// A host.
#[pyclass(frozen, module = "harp._harp")]
pub(crate) struct Host(HarpServer);

/// Options of a host, as `harp._options` has checked them.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct Options {
    port: u16,
    ca_file: Option<PathBuf>,
    known_certs_file: Option<PathBuf>,
    fingerprint: Option<String>,
    tls_name: Option<String>,
    ignore_name: bool,
    connect_timeout: f64,
    max_packet_size: usize,
}

#[pymethods]
impl Host {
    #[new]
    fn new(
        py: Python<'_>,
        address: &str,
        user: &str,
        password: &str,
        options: Options,
    ) -> PyResult<Host> {
        let mut builder = HarpServer::builder(address, user, password)
            .port(options.port)
            .connect_timeout(seconds(options.connect_timeout))
            .max_packet_size(options.max_packet_size);
        let mut chosen = false;
        if let Some(file) = options.ca_file {
            builder = builder.ca_file(file);
            chosen = true;
        }
        if let Some(file) = options.known_certs_file {
            builder = builder.known_certs_file(file);
            chosen = true;
        }
        if let Some(text) = options.fingerprint {
            builder = builder.fingerprint(fingerprint(&text)?);
            chosen = true;
        }
        if let Some(name) = options.tls_name {
            builder = builder.tls_name(name);
        }
        if options.ignore_name {
            builder = builder.ignore_name();
        }
        if !chosen {
            builder = builder.accept_any_certificate();
        }
        let host = builder
            .build()
            .map_err(|error| failure::exception(py, &error))?;
        Ok(Host(host))
    }

    /// Calls a procedure; its arguments are JSON text.
    fn call(&self, procedure: String, arguments: &str) -> PyResult<Operation> {
        let arguments = json("arguments", arguments)?;
        let host = self.0.clone();
        Ok(Operation::new(&Words::default(), async move {
            let call = host.call(&procedure, arguments).await?;
            Ok(Answer::new(DirectCall::new(call)))
        }))
    }
}

/// A call that a host has accepted.
#[pyclass(frozen, module = "harp._harp")]
pub(crate) struct DirectCall {
    streams: bool,
    /// `None` once it was closed.
    call: Mutex<Option<Owned<Shared>>>,
}

type Shared = Arc<tokio::sync::Mutex<harp_client::DirectCall>>;

impl DirectCall {
    fn new(call: harp_client::DirectCall) -> DirectCall {
        DirectCall {
            streams: call.streams(),
            call: Mutex::new(Some(Owned::new(Arc::new(tokio::sync::Mutex::new(call))))),
        }
    }

    fn operation<F>(&self, work: impl FnOnce(Shared) -> F + Send + 'static) -> Operation
    where
        F: Future<Output = Result<Answer, Error>> + Send,
    {
        let call = self.call.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = call.as_deref().map(Arc::clone);
        drop(call);
        Operation::new(&Words::default(), async move {
            match shared {
                Some(shared) => work(shared).await,
                None => Ok(Answer::none()),
            }
        })
    }
}

#[pymethods]
impl DirectCall {
    /// True if its procedure streams.
    fn streams(&self) -> bool {
        self.streams
    }

    /// The next packet.
    fn next(&self) -> Operation {
        self.operation(async |call| {
            let value = call.lock().await.next().await.transpose()?;
            Ok(Answer::new(value.map(|value| value.to_string())))
        })
    }

    /// How it ended; packets that are left are passed over.
    fn outcome(&self) -> Operation {
        self.operation(async |call| {
            let mut call = call.lock().await;
            while let Some(packet) = call.next().await {
                packet?;
            }
            Ok(Answer::new(call.outcome().cloned().map(ended)))
        })
    }

    /// Cancels it if it has not ended.
    fn close(&self) {
        let closed = self
            .call
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop(closed);
    }
}
