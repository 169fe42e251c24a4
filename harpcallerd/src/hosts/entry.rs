//! An entry of the registry, by its kind. Each kind has keys of its own; a line without
//! `kind` is one of a harpd.

use std::sync::Arc;

use harp_host::Endpoint;
use harp_host::tls::Fingerprint;
use harp_proto::Password;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::procedures::Procedures;

/// A host that can be called, by its kind: what runs there.
#[derive(Debug, Clone)]
pub enum Host {
    /// A harpd.
    Harpd(Arc<Harpd>),
    /// A device that runs auto-trainer.
    Autotrainer(Arc<Device>),
}

/// A host that runs a harpd.
#[derive(Debug)]
pub struct Harpd {
    /// Where it is and how its certificate is judged.
    pub endpoint: Endpoint,
    /// The user to authenticate as.
    pub user: String,
    /// The user's password.
    pub password: Password,
    /// Whether it may keep calls that outlive their connections.
    pub keep: bool,
    /// What the registry says of its procedures.
    pub procedures: Procedures,
}

/// A host that is a device of auto-trainer.
#[derive(Debug)]
pub struct Device {
    /// Where it is, and how it is called.
    pub entry: harp_device::Entry,
    /// What the registry says of its procedures.
    pub procedures: Procedures,
}

impl Host {
    /// The kind, as the registry names it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Host::Harpd(_) => "harpd",
            Host::Autotrainer(_) => "autotrainer",
        }
    }

    /// Where it is, as the registry says.
    #[must_use]
    pub fn address(&self) -> &str {
        match self {
            Host::Harpd(harpd) => &harpd.endpoint.address,
            Host::Autotrainer(device) => &device.entry.address,
        }
    }

    /// What the registry says of its procedures.
    #[must_use]
    pub fn procedures(&self) -> &Procedures {
        match self {
            Host::Harpd(harpd) => &harpd.procedures,
            Host::Autotrainer(device) => &device.procedures,
        }
    }

    /// The port at which it takes calls.
    #[must_use]
    pub fn port(&self) -> u16 {
        match self {
            Host::Harpd(harpd) => harpd.endpoint.port,
            Host::Autotrainer(device) => device.entry.command_port,
        }
    }
}

/// The keys of every line.
#[derive(Deserialize)]
struct Any<'a> {
    hostname: String,
    #[serde(default)]
    kind: Option<String>,
    #[serde(borrow, default)]
    procedures: Option<&'a RawValue>,
}

/// What a line says.
pub(super) struct Entry {
    /// The host's name.
    pub(super) name: String,
    /// The host.
    pub(super) host: Host,
    /// What is wrong with its `procedures`, which are passed over then.
    pub(super) undescribed: Option<String>,
}

/// The keys of a harpd. Keys that are not named here are passed over.
#[derive(Deserialize)]
struct HarpdLine<'a> {
    address: String,
    port: u16,
    #[serde(borrow)]
    credentials: &'a RawValue,
    #[serde(default)]
    tls_name: Option<String>,
    #[serde(default)]
    fingerprint: Option<Fingerprint>,
    #[serde(default)]
    keep: Option<bool>,
}

/// The keys of a device.
#[derive(Deserialize)]
struct DeviceLine {
    address: String,
    #[serde(default = "event_port")]
    event_port: u16,
    #[serde(default = "command_port")]
    command_port: u16,
    #[serde(default = "yes")]
    strict: bool,
    #[serde(default)]
    record: bool,
}

fn event_port() -> u16 {
    harp_device::Entry::EVENT_PORT
}

fn command_port() -> u16 {
    harp_device::Entry::COMMAND_PORT
}

fn yes() -> bool {
    true
}

#[derive(Deserialize)]
struct Credentials {
    user: String,
    password: Password,
}

/// Reads a line.
///
/// # Errors
///
/// What is wrong with it, without any value of it: a value can be a password.
pub(super) fn read(line: &[u8]) -> Result<Entry, String> {
    let any: Any<'_> = object(line).map_err(fault)?;
    let described = any.procedures.map(|text| object(text.get().as_bytes()));
    let (procedures, undescribed) = match described.transpose() {
        Ok(procedures) => (procedures.unwrap_or_default(), None),
        Err(error) => (Procedures::default(), Some(fault(error))),
    };
    let host = match any.kind.as_deref() {
        None | Some("harpd") => harpd(line, procedures).map_err(fault)?,
        Some("autotrainer") => device(line, procedures).map_err(fault)?,
        Some(_) => return Err("its kind is none that this dispatcher knows".to_owned()),
    };
    Ok(Entry {
        name: any.hostname,
        host,
        undescribed,
    })
}

fn harpd(line: &[u8], procedures: Procedures) -> serde_json::Result<Host> {
    let line: HarpdLine<'_> = object(line)?;
    let credentials: Credentials = object(line.credentials.get().as_bytes())?;
    Ok(Host::Harpd(Arc::new(Harpd {
        endpoint: Endpoint {
            address: line.address,
            port: line.port,
            tls_name: line.tls_name,
            fingerprint: line.fingerprint,
        },
        user: credentials.user,
        password: credentials.password,
        keep: line.keep.unwrap_or(true),
        procedures,
    })))
}

fn device(line: &[u8], procedures: Procedures) -> serde_json::Result<Host> {
    let line: DeviceLine = object(line)?;
    let entry = harp_device::Entry {
        address: line.address,
        event_port: line.event_port,
        command_port: line.command_port,
        strict: line.strict,
        record: line.record,
    };
    Ok(Host::Autotrainer(Arc::new(Device { entry, procedures })))
}

/// Reads an object; a derived reader would take an array of the values as well.
fn object<'a, T: Deserialize<'a>>(text: &'a [u8]) -> serde_json::Result<T> {
    if !text.trim_ascii_start().starts_with(b"{") {
        // Tells "no JSON" from "no object".
        serde_json::from_slice::<IgnoredAny>(text)?;
        return Err(serde::de::Error::custom("not an object"));
    }
    serde_json::from_slice(text)
}

#[allow(clippy::needless_pass_by_value, reason = "the form of map_err")]
fn fault(error: serde_json::Error) -> String {
    let what = match error.classify() {
        serde_json::error::Category::Data => "a key is missing, or its value is of a wrong kind",
        _ => "not JSON",
    };
    format!("{what} (column {})", error.column())
}
