//! The table `[cluster]`, and the database that it names.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use harp_service::Table;

/// Where jobs are kept if not in a directory of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterSettings {
    /// File with the address of the database, which holds its password.
    pub url_file: PathBuf,
    /// The name of this dispatcher among those of the database.
    pub node: String,
    /// In how many members of the database a change is before it is acknowledged.
    pub copies: u32,
    /// The authorities that the database's certificate is judged by; without it there is no
    /// TLS.
    pub ca_file: Option<PathBuf>,
}

impl ClusterSettings {
    /// Takes the table out of the configuration; `None` without it.
    pub(crate) fn take(table: &Table<'_>) -> Option<ClusterSettings> {
        let cluster = table.table("cluster")?;
        // Where jobs are, how safe, and whom they are given to: a key that nobody looks at
        // must not be taken for one that holds.
        cluster.guard(&["engine", "url_file", "node", "copies", "ca_file"]);
        let engine = cluster.one_of("engine", &["postgres"]);
        cluster.required("engine", engine);
        let url_file = cluster.path("url_file");
        let url_file = cluster.required("url_file", url_file).unwrap_or_default();
        let node = cluster.string("node").unwrap_or_else(host_name);
        let is_name = |node: &str| {
            let fits = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
            (1..=64).contains(&node.len()) && node.chars().all(fits)
        };
        if !is_name(&node) {
            let name = "must be 1 to 64 letters, digits, \"-\", \"_\" and \".\"";
            cluster.problem("node", name);
        }
        let copies = cluster.integer("copies", 1..=9).unwrap_or(2);
        if !cfg!(feature = "cluster") {
            cluster.problem("engine", "this harpcallerd was built without cluster");
        }
        Some(ClusterSettings {
            url_file,
            node,
            copies: u32::try_from(copies).unwrap_or(2),
            ca_file: cluster.path("ca_file"),
        })
    }

    /// The address of the database. Blocks.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, others may read it, or it is not UTF-8.
    pub fn url(&self) -> Result<String, String> {
        let file = self.url_file.display();
        let about = |error: std::io::Error| format!("cluster.url_file: {file}: {error}");
        let mode = std::fs::metadata(&self.url_file)
            .map_err(about)?
            .permissions()
            .mode();
        if mode & 0o077 != 0 {
            return Err(format!(
                "cluster.url_file: {file} may be read by others (mode {:o}): chmod 600 {file}",
                mode & 0o777
            ));
        }
        let url = harp_files::regular::read(&self.url_file).map_err(about)?;
        String::from_utf8(url).map_err(|_| format!("cluster.url_file: {file} is not UTF-8"))
    }
}

fn host_name() -> String {
    let name = rustix::system::uname();
    name.nodename().to_string_lossy().into_owned()
}

/// A dispatcher of the database, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Whether its term goes on.
    pub is_alive: bool,
    /// Counts its terms.
    pub epoch: u64,
    /// How long it has not been seen to give a sign of life.
    pub beat_age: Duration,
    /// How many jobs it runs.
    pub running: u64,
    /// The release that it runs.
    pub version: String,
}

#[cfg(feature = "cluster")]
impl From<harp_postgres::Node> for Node {
    fn from(node: harp_postgres::Node) -> Node {
        Node {
            name: node.name,
            is_alive: node.is_alive,
            epoch: node.epoch,
            beat_age: node.beat_age,
            running: node.running,
            version: node.version,
        }
    }
}

#[cfg(feature = "cluster")]
mod database {
    use std::sync::Arc;
    use std::time::Duration;

    use anyhow::{Context as _, anyhow};
    use harp_jobs::world::World;
    use harp_postgres::{Options, Postgres, Server};
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    use rustls::{ClientConfig, RootCertStore};

    use super::ClusterSettings;

    /// How often a node says that it is there.
    const BEAT: Duration = Duration::from_millis(500);

    /// The database of a configuration, which is not connected to yet. Blocks.
    ///
    /// # Errors
    ///
    /// What is wrong with its address or its certificates.
    pub fn server(settings: &ClusterSettings, world: Arc<dyn World>) -> anyhow::Result<Server> {
        let url = settings.url().map_err(anyhow::Error::msg)?;
        let tls = settings.ca_file.as_ref().map(|file| {
            let read = || -> anyhow::Result<ClientConfig> {
                let mut authorities = RootCertStore::empty();
                for item in harp_files::pem::certificates(&harp_files::regular::read(file)?)? {
                    let certificate = CertificateDer::from_pem_slice(item.text.as_bytes());
                    authorities.add(certificate.map_err(|error| item.refused(error))?)?;
                }
                Ok(ClientConfig::builder()
                    .with_root_certificates(authorities)
                    .with_no_client_auth())
            };
            read().with_context(|| format!("cluster.ca_file: {}", file.display()))
        });
        let server = Server::new(&url, tls.transpose()?, world);
        server.map_err(|why| {
            let file = settings.url_file.display();
            anyhow!("cluster.url_file: the address in {file} cannot be used: {why}")
        })
    }

    /// Opens the ledger of this node.
    ///
    /// # Errors
    ///
    /// If the database cannot be used, or another dispatcher has this node's name.
    pub async fn open(
        settings: &ClusterSettings,
        world: Arc<dyn World>,
    ) -> anyhow::Result<Postgres> {
        let (its, its_world) = (settings.clone(), Arc::clone(&world));
        let server = tokio::task::spawn_blocking(move || server(&its, its_world)).await??;
        let options = Options {
            node: settings.node.clone(),
            copies: settings.copies,
            beat: BEAT,
        };
        Ok(Postgres::open(server, options, world).await?)
    }
}

#[cfg(feature = "cluster")]
pub use database::{open, server};
