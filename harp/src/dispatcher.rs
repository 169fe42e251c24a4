//! The dispatcher that a command speaks to: which, and how.

use harp_client::{Error, ErrorKind, HarpCaller, Password, Repeat, Tls};

use crate::command_line::{DispatcherOptions, Security};
use crate::problem::Problem;
use crate::screen::Screen;
use crate::secret;
use crate::settings::{Settings, variable};

/// Address of the dispatcher unless another is given.
const DEFAULT: &str = "127.0.0.1:3502";

/// Of a call with a key: enough for a restart of the dispatcher, and short enough for somebody
/// who has mistyped an address.
const REPEAT: Repeat = Repeat::times(6);

/// A dispatcher, and where its address came from.
#[derive(Debug, Clone)]
pub(crate) struct Dispatcher {
    pub(crate) rpc: HarpCaller,
    /// As in "the address came ...".
    pub(crate) origin: String,
}

impl Dispatcher {
    /// The dispatcher that the options name, or else the environment, or else the
    /// configuration. Nothing is connected yet.
    ///
    /// # Errors
    ///
    /// If an address or a file cannot be used.
    pub(crate) fn new(
        options: &DispatcherOptions,
        settings: &Settings,
        screen: &Screen,
    ) -> Result<Dispatcher, Problem> {
        let (address, origin) = address(options, settings);
        let name = concat!("harp/", env!("CARGO_PKG_VERSION"));
        let mut builder = HarpCaller::builder(&address)
            .client_name(name)
            .repeat(REPEAT);
        if let Some(limit) = settings.connect_timeout {
            builder = builder.connect_timeout(limit);
        }
        if let Some(limit) = settings.request_timeout {
            builder = builder.request_timeout(limit);
        }
        if let Some(limit) = settings.reconnect_for {
            builder = builder.reconnect_for(limit);
        }
        let tls = if options.no_tls {
            None
        } else {
            tls(&options.security, settings)?
        };
        if let Some(tls) = tls {
            builder = builder.tls(tls);
        }
        if let Some(token) = token(&options.security, settings, screen)? {
            builder = builder.token(token);
        }
        match builder.build() {
            Ok(rpc) => Ok(Dispatcher { rpc, origin }),
            Err(error) => {
                let mut advice = format!("The dispatcher's address {address} came {origin}.");
                let told = error.to_string();
                if error.kind() == ErrorKind::InvalidInput && told.starts_with("token:") {
                    advice += " --ca-file FILE has TLS spoken.";
                } else if error.kind() == ErrorKind::InvalidInput && told.starts_with("tls: unix:")
                {
                    advice += " --no-tls leaves out what the configuration says of TLS.";
                }
                Err(Problem::from(&error).with_advice(advice))
            }
        }
    }

    /// Makes a problem of an error of this dispatcher.
    pub(crate) fn problem(&self, error: &Error) -> Problem {
        Problem::of_dispatcher(error, &self.origin)
    }
}

/// The token that the options or else the configuration name.
pub(crate) fn token(
    options: &Security,
    settings: &Settings,
    screen: &Screen,
) -> Result<Option<Password>, Problem> {
    let (option, file) = match (&options.token_file, &settings.token_file) {
        (Some(file), _) => ("--token-file", file),
        (None, Some(file)) => ("token_file", file),
        (None, None) => return Ok(None),
    };
    secret::read(option, file, screen).map(Some)
}

/// TLS as the options want it, or else the configuration; `None` for plain TCP.
pub(crate) fn tls(options: &Security, settings: &Settings) -> Result<Option<Tls>, Problem> {
    let chosen = if options.insecure {
        Some(Tls::accept_any_certificate())
    } else if let Some(fingerprint) = options.fingerprint {
        Some(Tls::fingerprint(fingerprint))
    } else if let Some(file) = &options.ca_file {
        Some(Tls::ca_file(file))
    } else if let Some(fingerprint) = settings.fingerprint {
        Some(Tls::fingerprint(fingerprint))
    } else {
        settings.ca_file.as_ref().map(Tls::ca_file)
    };
    let name = options.tls_name.as_ref().or(settings.tls_name.as_ref());
    let shown = options
        .client_certificate
        .clone()
        .zip(options.client_key.clone());
    let shown = shown.or_else(|| settings.client_certificate.clone());
    let Some(mut tls) = chosen else {
        if name.is_some() || shown.is_some() {
            return Err(Problem::usage(
                "a --tls-name or a client certificate is of no use without TLS; say which \
                 certificate the dispatcher has: --ca-file FILE or --fingerprint SHA256",
            ));
        }
        return Ok(None);
    };
    if let Some(name) = name {
        tls = tls.server_name(name);
    }
    if let Some((certificate, key)) = shown {
        tls = tls.client_certificate(certificate, key);
    }
    Ok(Some(tls))
}

fn address(options: &DispatcherOptions, settings: &Settings) -> (String, String) {
    if let Some(address) = &options.dispatcher {
        return (address.clone(), "from --dispatcher".to_owned());
    }
    if let Some(address) = variable("HARPCALLER") {
        return (address, "from HARPCALLER".to_owned());
    }
    if let (Some(address), Some(file)) = (&settings.dispatcher, &settings.file) {
        return (address.clone(), format!("from {}", file.display()));
    }
    let origin = "by default, as neither --dispatcher nor HARPCALLER nor a configuration names one";
    (DEFAULT.to_owned(), origin.to_owned())
}
