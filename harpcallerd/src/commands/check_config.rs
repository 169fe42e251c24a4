//! `check-config`: the file, those that it names, and if asked the hosts.

mod validity;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use futures_util::{StreamExt, stream};
use harp_host::tls::Trust;
use harp_host::{Connection, Limits};
use harp_service::{descriptors, settings, terminal};
use harpcallerd::config::{self, Config};
use harpcallerd::hosts::{self, Host};
use harpcallerd::listener::ListenerSettings;
use harpcallerd::named_files::{self, Unusable};
use tokio::time::Instant;

use super::Done;
use super::printing::say;

/// Hosts that are connected to at once.
const AT_ONCE: usize = 64;

pub(crate) fn run(file: &Path, with_hosts: bool) -> Done {
    let (config, warnings) = Config::read(file)?;
    let mut warnings: Vec<_> = warnings.iter().map(ToString::to_string).collect();
    warnings.extend(config::exposed(file, &config).map_err(anyhow::Error::msg)?);
    warnings.extend(config::too_many_descriptors(
        &config,
        descriptors::highest(),
    ));
    let in_the_clear = config.listeners.iter();
    warnings.extend(in_the_clear.filter_map(ListenerSettings::in_the_clear));
    let Unusable {
        problems,
        warnings: of_files,
    } = named_files::unusable(&config);
    warnings.extend(of_files);
    for warning in &warnings {
        say(format_args!("warning: {warning}"))?;
    }
    if !problems.is_empty() {
        bail!("{}", problems.join("\n"));
    }
    say(format_args!(
        "{}: {}",
        file.display(),
        settings::verdict(warnings.len())
    ))?;
    if !with_hosts {
        return Ok(ExitCode::SUCCESS);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(check_hosts(&config))
}

/// Connects to each host as a call would, up to the end of the TLS handshake.
async fn check_hosts(config: &Config) -> Done {
    let trust = Trust::new(config.trust.clone())?;
    if trust.accepts_anything() {
        say("warning: neither ca_file nor known_certs_file is set: \
             any host's certificate is accepted")?;
    }
    for listener in &config.listeners {
        if let Some(tls) = &listener.tls {
            say(validity::of_file(&tls.certificate))?;
        }
    }
    let registry = hosts::ask_script(&config.registry, &[]).await?;
    let mut hosts: Vec<_> = registry.into_iter().collect();
    hosts.sort_unstable_by(|one, other| one.0.cmp(&other.0));
    for (name, host) in &hosts {
        if let Host::Autotrainer(device) = host
            && harp_device::is_exposed(&device.entry)
        {
            say(terminal::one_line(&format!(
                "warning: {name}: devices know no encryption and no authentication; whoever is \
                 on the way to {} can read and change what is said",
                device.entry.address
            )))?;
        }
    }
    let time = config.execution.connect_timeout;
    let all = hosts.len();
    let checks = hosts
        .into_iter()
        .map(|(name, host)| check(name, host, &trust, time));
    // In the order of their names, whichever answers first.
    let mut outcomes = stream::iter(checks).buffered(AT_ONCE);
    let mut failed = 0;
    while let Some(outcome) = outcomes.next().await {
        match outcome {
            Ok(told) => say(terminal::one_line(&told))?,
            Err(complaint) => {
                say(terminal::one_line(&complaint))?;
                failed += 1;
            }
        }
    }
    say(format_args!(
        "{} of {all} hosts can be reached and are trusted",
        all - failed
    ))?;
    Ok(match failed {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// What is to be said of a host that can be called, or why it cannot.
async fn check(name: String, host: Host, trust: &Trust, time: Duration) -> Result<String, String> {
    let by = Instant::now() + time;
    let harpd = match host {
        Host::Harpd(harpd) => harpd,
        Host::Autotrainer(device) => {
            return match harp_device::probe(&device.entry, time).await {
                Ok(()) => Ok(format!("{name}: it answers, and has no certificate")),
                Err(why) => Err(format!("{name}: {why}")),
            };
        }
    };
    match Connection::open(&harpd.endpoint, trust, Limits::default(), by).await {
        Ok(connection) => Ok(validity::line(&name, connection.certificate_ends())),
        Err(error) => Err(format!("{name}: {error}")),
    }
}
