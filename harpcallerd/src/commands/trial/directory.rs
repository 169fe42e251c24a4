//! The directory of `try`: certificates, a token, a user, procedures, and a configuration for
//! each daemon. What is there already is left as it is.

use std::fs::{self, DirBuilder};
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use harp_proto::Password;
use harp_service::private_file;
use harpcallerd::config::Config;
use harpcallerd::identity::tokens::NewToken;
use harpcallerd::listener::settings::{ListenerPlace, Speaks};
use rcgen::{CertificateParams, KeyPair};
use serde_json::json;

/// Longest path of a Unix socket, in bytes.
const SOCKET_PATH: usize = 107;

/// The procedures of the host as scripts. Their tables are in the configuration.
const PROCEDURES: [(&str, &str); 3] = [
    ("deploy", include_str!("deploy.sh")),
    ("migrate", include_str!("migrate.sh")),
    ("backup", include_str!("backup.sh")),
];

/// Says that a directory is one of these, before it is whole.
const MARK: &str = "README";

/// Everything that both daemons need.
#[derive(Debug)]
pub(super) struct Directory {
    /// Absolute.
    path: PathBuf,
    page: String,
    is_new: bool,
}

impl Directory {
    /// The directory as it is, or a new one. `harpd` is the program that makes its user.
    ///
    /// # Errors
    ///
    /// If it has other things in it, cannot be written, or its configuration is wrong.
    pub(super) fn open(path: &Path, harpd: &Path) -> anyhow::Result<Directory> {
        let is_new = !path.join("harpcaller.toml").exists();
        if is_new {
            let has_files = fs::read_dir(path).is_ok_and(|mut files| files.next().is_some());
            if has_files && !path.join(MARK).exists() {
                bail!(
                    "{} has other files in it: name a directory that is empty or not there",
                    path.display()
                );
            }
            let mut builder = DirBuilder::new();
            let made = builder.recursive(true).mode(0o700).create(path);
            made.with_context(|| format!("cannot make {}", path.display()))?;
        }
        let path = fs::canonicalize(path);
        let path = path.context("cannot find the directory that was made")?;
        let longest = "/harpcallerd.ready".len();
        if path.as_os_str().len() + longest > SOCKET_PATH {
            bail!(
                "{} is too long: the path of a Unix socket in it may have {SOCKET_PATH} bytes",
                path.display()
            );
        }
        if is_new {
            make(&path, harpd).with_context(|| format!("cannot fill {}", path.display()))?;
        }
        let page = page(&path)?;
        Ok(Directory { path, page, is_new })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// True if it was made just now.
    pub(super) fn is_new(&self) -> bool {
        self.is_new
    }

    /// The address of the page.
    pub(super) fn page(&self) -> String {
        self.page.clone()
    }

    /// The dispatcher's administrative socket.
    pub(super) fn control(&self) -> PathBuf {
        self.path.join("control")
    }

    /// The dispatcher's socket for clients of this user.
    pub(super) fn socket(&self) -> PathBuf {
        self.path.join("socket")
    }

    pub(super) fn dispatcher_config(&self) -> PathBuf {
        self.path.join("harpcaller.toml")
    }

    pub(super) fn harpd_config(&self) -> PathBuf {
        self.path.join("harpd.toml")
    }

    pub(super) fn log(&self, daemon: &str) -> PathBuf {
        self.path.join(format!("{daemon}.log"))
    }

    pub(super) fn token_file(&self) -> PathBuf {
        self.path.join("token")
    }

    /// The token for the page and for HTTP.
    ///
    /// # Errors
    ///
    /// If its file cannot be read.
    pub(super) fn token(&self) -> anyhow::Result<String> {
        let file = self.token_file();
        let token = fs::read_to_string(&file);
        let token = token.with_context(|| format!("cannot read {}", file.display()))?;
        Ok(token.trim().to_owned())
    }
}

/// The address of the page, as the configuration has it by now.
fn page(path: &Path) -> anyhow::Result<String> {
    let (config, _) = Config::read(&path.join("harpcaller.toml"))?;
    let page = config.listeners.iter().find_map(|listener| {
        let (Speaks::Http(http), ListenerPlace::Address(address)) =
            (&listener.speaks, &listener.place)
        else {
            return None;
        };
        let scheme = if listener.tls.is_some() {
            "https"
        } else {
            "http"
        };
        http.serve.page.then(|| format!("{scheme}://{address}/"))
    });
    page.context("harpcaller.toml has no [[listen_http]] with an address that serves the page")
}

/// Fills a new directory. The dispatcher's configuration comes last: with it, it is whole.
fn make(path: &Path, harpd: &Path) -> anyhow::Result<()> {
    let file = |name: &str| path.join(name);
    private_file::write(&file(MARK), include_bytes!("README"))?;

    let key = KeyPair::generate().context("cannot make a key")?;
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let certificate = CertificateParams::new(names).and_then(|params| params.self_signed(&key));
    let certificate = certificate.context("cannot make a certificate")?;
    private_file::write(&file("host.cert.pem"), certificate.pem().as_bytes())?;
    private_file::write(&file("host.key.pem"), key.serialize_pem().as_bytes())?;

    let token = NewToken::make("try", None)?;
    let text = format!("{}\n", token.token.reveal());
    private_file::write(&file("token"), text.as_bytes())?;
    private_file::write(&file("tokens"), format!("{}\n", token.line).as_bytes())?;

    for (name, script) in PROCEDURES {
        let procedure = file(name);
        private_file::write(&procedure, script.as_bytes())?;
        fs::set_permissions(&procedure, fs::Permissions::from_mode(0o700))?;
    }

    let host_port = free_port(harp_proto::HOST_PORT)?;
    private_file::write(
        &file("harpd.toml"),
        filled(include_str!("harpd.toml"), path, host_port).as_bytes(),
    )?;
    let password = NewToken::make("try", None)?.token;
    add_user(harpd, &file("harpd.toml"), &password)?;
    let entry = json!({
        "hostname": "demo", "address": "127.0.0.1", "port": host_port,
        "credentials": {"user": "dispatcher", "password": password.reveal()},
    });
    // On one line, and its keys in their order, which is that of the page's fields.
    let procedures = include_str!("procedures.json").lines().map(str::trim);
    let procedures: String = procedures.collect();
    let entry = entry.to_string();
    let open = entry.strip_suffix('}').unwrap_or(&entry);
    let entry = format!("{open},\"procedures\":{procedures}}}");
    let hosts = include_str!("hosts.sh").replace("ENTRY", &entry);
    private_file::write(&file("hosts"), hosts.as_bytes())?;
    fs::set_permissions(file("hosts"), fs::Permissions::from_mode(0o700))?;

    let http_port = free_port(3580)?;
    let text = filled(include_str!("harpcaller.toml"), path, http_port);
    private_file::write(&file("harpcaller.toml"), text.as_bytes())?;
    Ok(())
}

/// A configuration with its directory and port. The directory stands within TOML strings.
fn filled(text: &str, directory: &Path, port: u16) -> String {
    let quoted = json!(directory.to_string_lossy()).to_string();
    let directory = &quoted[1..quoted.len() - 1];
    text.replace("DIRECTORY", directory)
        .replace("PORT", &port.to_string())
}

/// This port of loopback, or another one if it is taken.
fn free_port(wanted: u16) -> anyhow::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, wanted))
        .or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .context("no port of 127.0.0.1 can be had")?;
    Ok(listener.local_addr()?.port())
}

/// Has harpd make the user that the dispatcher is.
fn add_user(harpd: &Path, config: &Path, password: &Password) -> anyhow::Result<()> {
    let mut child = Command::new(harpd)
        .arg("--config")
        .arg(config)
        .args(["add-user", "dispatcher"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run harpd")?;
    if let Some(mut input) = child.stdin.take() {
        // What it says if it does not read is below.
        let _ = writeln!(input, "{}", password.reveal());
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
