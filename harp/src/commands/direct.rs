//! `harp direct`

mod password;

use harp_client::{HarpServer, HarpServerBuilder};
use harp_proto::{HOST_PORT, host_and_port};

use super::Target;
use crate::command_line::{Direct, OnInterrupt, Trust};
use crate::event::Subject;
use crate::exit::Exit;
use crate::fan_out;
use crate::problem::Problem;
use crate::screen::Screen;
use crate::settings::{self, Settings, variable};
use crate::watch::{Source, Watched};

pub(super) async fn run(
    mut direct: Direct,
    settings: &Settings,
    screen: Screen,
) -> Result<Exit, Problem> {
    let target = Target::new(
        "direct",
        std::mem::take(&mut direct.first),
        direct.second.take(),
        std::mem::take(&mut direct.arguments),
        &direct.words,
        &direct.hosts,
    )?;
    let addresses = target.hosts.iter().map(|host| address(host));
    let addresses: Vec<(String, u16)> = addresses.collect::<Result<_, _>>()?;
    let user = direct
        .user
        .clone()
        .or_else(|| variable("HARP_USER"))
        .or_else(|| settings.direct.user.clone())
        .ok_or_else(|| {
            Problem::usage("no user: name one with --user, HARP_USER or the key direct.user")
        })?;
    let trust = chosen_trust(&direct.trust, &settings.direct)?;
    let password = password::find(
        direct.password_file.as_deref(),
        settings.direct.password_file.as_deref(),
        &user,
        &screen,
    )?;
    let servers = addresses.iter().map(|(address, port)| {
        let builder = HarpServer::builder(address, &user, password.clone()).port(*port);
        let server = with_trust(builder, &trust).build();
        server.map_err(|error| Problem::from(&error))
    });
    let servers: Vec<HarpServer> = servers.collect::<Result<_, _>>()?;
    let screen = if direct.hosts.hosts.is_empty() {
        screen
    } else {
        screen.for_hosts(&target.hosts, false)
    };
    let parallel = direct.hosts.parallel.or(settings.parallel);
    let start = async |name: &str| {
        let mut named = target.hosts.iter().zip(&servers);
        let (_, server) = named
            .find(|(host, _)| *host == name)
            .ok_or_else(|| Problem::usage(format!("{name}: not one of the hosts")))?;
        match server.call(&target.procedure, &target.arguments).await {
            Ok(call) => Ok(Watched {
                subject: Subject::host(name),
                source: Source::Direct(Box::new(call), 0),
                origin: String::new(),
            }),
            Err(error) => Err(Problem::of_host(&error)),
        }
    };
    fan_out::call(
        &screen,
        &target.hosts,
        parallel.unwrap_or(fan_out::PARALLEL),
        // There is nothing that a direct call could be detached from.
        OnInterrupt::Cancel,
        start,
    )
    .await
}

/// `HOST`, `HOST:PORT`, `[IPV6]:PORT` or an IPv6 address.
fn address(text: &str) -> Result<(String, u16), Problem> {
    match host_and_port(text, HOST_PORT) {
        Some((host, port)) => Ok((host.to_owned(), port)),
        None => Err(Problem::usage(format!(
            "host {text:?}: expected HOST, HOST:PORT or [IPV6]:PORT, as in \
             web01.example.net:{HOST_PORT}"
        ))),
    }
}

/// Trust as the options, or else the configuration, describe it.
fn chosen_trust(options: &Trust, settings: &settings::Direct) -> Result<Trust, Problem> {
    let mut trust = options.clone();
    let chosen = |trust: &Trust| {
        trust.insecure
            || trust.fingerprint.is_some()
            || trust.ca_file.is_some()
            || trust.known_certs.is_some()
    };
    if !chosen(&trust) {
        trust.ca_file.clone_from(&settings.ca_file);
        trust.known_certs.clone_from(&settings.known_certs_file);
    }
    if chosen(&trust) {
        Ok(trust)
    } else {
        Err(Problem::usage(
            "nothing says which certificate the host may have: give --ca-file FILE, \
             --known-certs FILE, --fingerprint SHA256, or the keys direct.ca_file or \
             direct.known_certs_file; --insecure accepts any",
        ))
    }
}

fn with_trust(mut builder: HarpServerBuilder, trust: &Trust) -> HarpServerBuilder {
    if let Some(file) = &trust.ca_file {
        builder = builder.ca_file(file);
    }
    if let Some(file) = &trust.known_certs {
        builder = builder.known_certs_file(file);
    }
    if let Some(fingerprint) = trust.fingerprint {
        builder = builder.fingerprint(fingerprint);
    }
    if let Some(name) = &trust.tls_name {
        builder = builder.tls_name(name);
    }
    if trust.insecure {
        builder = builder.accept_any_certificate();
    }
    builder
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_of_an_address() {
        for (text, host, port) in [
            ("web01", "web01", 4306),
            ("web01:1", "web01", 1),
            ("192.0.2.1:4307", "192.0.2.1", 4307),
            ("2001:db8::1", "2001:db8::1", 4306),
            ("[2001:db8::1]", "2001:db8::1", 4306),
            ("[2001:db8::1]:1", "2001:db8::1", 1),
        ] {
            assert_eq!(address(text).unwrap(), (host.to_owned(), port), "{text}");
        }
        for text in [
            "", ":1", "web01:", "web01:0", "web01:x", "[::1", "[x]:1", "[::1]1", "a b",
        ] {
            let problem = address(text).unwrap_err();
            assert!(problem.message.contains("[IPV6]:PORT"), "{problem:?}");
        }
    }
}
