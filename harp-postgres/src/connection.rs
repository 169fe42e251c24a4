//! One connection to the database.
//!
//! No transaction is left open by a client: each statement calls one function. No statement is
//! ever cancelled, since a commit that waits for its standby would then be seen without being
//! safe: what takes too long is given up by closing the connection, and asked again.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use harp_jobs::world::{Phase, World};
use rustls::ClientConfig;
use tokio::sync::oneshot;
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Client, Config, NoTls, Row, Socket, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::columns::Columns;
use crate::fault::{Fault, with_causes};
use crate::told::Told;

/// How long a statement may take, and connecting, before the connection is given up.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long one may take at a start, which can have many jobs to look at.
const START: Duration = Duration::from_secs(60);

/// What a connection is begun with. A lock that is not had in this time was certainly not taken.
const SETTINGS: &str = "set synchronous_commit = on; set lock_timeout = '2s'; \
                        set statement_timeout = 0; set client_min_messages = warning; \
                        set idle_in_transaction_session_timeout = '5s'";

/// A database as it is reached.
#[derive(Clone)]
pub struct Server {
    config: Config,
    tls: Option<MakeRustlsConnect>,
    world: Arc<dyn World>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the password.
        write!(f, "PostgreSQL at {:?}", self.config.get_hosts())
    }
}

impl Server {
    /// The database of an address, `postgresql://...` or `host=...`. Without `tls` it is
    /// reached without TLS.
    ///
    /// # Errors
    ///
    /// If it is no address, or asks for TLS where there is none, in a sentence without the
    /// address, which may hold a password.
    pub fn new(
        url: &str,
        tls: Option<ClientConfig>,
        world: Arc<dyn World>,
    ) -> Result<Server, String> {
        let mut config: Config = url
            .trim()
            .parse()
            .map_err(|error: tokio_postgres::Error| with_causes(&error))?;
        if tls.is_none() && config.get_ssl_mode() == SslMode::Require {
            return Err("it asks for TLS, and there are no certificates to judge by".to_owned());
        }
        config
            .application_name("harpcallerd")
            .target_session_attrs(tokio_postgres::config::TargetSessionAttrs::ReadWrite)
            .connect_timeout(PATIENCE)
            .tcp_user_timeout(Duration::from_secs(3))
            .keepalives_idle(Duration::from_secs(1))
            .keepalives_interval(Duration::from_secs(1))
            .keepalives_retries(3);
        let tls = tls.map(MakeRustlsConnect::new);
        Ok(Server { config, tls, world })
    }

    /// Opens a connection. Dropping the future gives it up.
    ///
    /// # Errors
    ///
    /// [`Fault::Away`].
    pub(crate) async fn connect(&self) -> Result<Connection, Fault> {
        let opening = async {
            let connection = match &self.tls {
                Some(tls) => self.open(tls.clone()).await?,
                None => self.open(NoTls).await?,
            };
            connection.batch(SETTINGS).await?;
            connection.is_in_use.store(true, Ordering::SeqCst);
            Ok(connection)
        };
        in_time(&self.world, PATIENCE, opening).await
    }

    async fn open<T>(&self, tls: T) -> Result<Connection, Fault>
    where
        T: MakeTlsConnect<Socket> + Send,
        T::Stream: Send + 'static,
        T::TlsConnect: Send,
        <T::TlsConnect as tokio_postgres::tls::TlsConnect<Socket>>::Future: Send,
    {
        let (client, mut connection) = self.config.connect(tls).await?;
        let (is_wanted, unwanted) = oneshot::channel::<()>();
        let is_in_use = Arc::new(AtomicBool::new(false));
        let its_is_in_use = Arc::clone(&is_in_use);
        let driving = async move {
            let serving = async {
                // A warning may say that a commit was seen before it was safe: what has
                // become of the statement is not known then, and so the connection ends.
                // What a server has to say at the beginning is about itself.
                while let Some(Ok(message)) = poll_fn(|now| connection.poll_message(now)).await {
                    if let AsyncMessage::Notice(notice) = message {
                        tracing::warn!("PostgreSQL: {notice}");
                        if its_is_in_use.load(Ordering::SeqCst) {
                            break;
                        }
                    }
                }
            };
            tokio::select! {
                biased;
                _ = unwanted => {}
                () = serving => {}
            }
        };
        self.world
            .spawn("PostgreSQL", Phase::News, Box::pin(driving));
        Ok(Connection {
            client,
            round: None,
            _is_wanted: is_wanted,
            is_in_use,
            patience: PATIENCE,
            world: Arc::clone(&self.world),
        })
    }
}

async fn in_time<T>(
    world: &Arc<dyn World>,
    patience: Duration,
    work: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    tokio::select! {
        biased;
        done = work => done,
        () = world.sleep(world.now() + patience) => {
            Err(Fault::Away("it does not answer".into()))
        }
    }
}

/// An open connection. Dropping it closes the connection.
pub(crate) struct Connection {
    client: Client,
    /// The one statement of rounds, once it is prepared.
    round: Option<Statement>,
    _is_wanted: oneshot::Sender<()>,
    is_in_use: Arc<AtomicBool>,
    patience: Duration,
    world: Arc<dyn World>,
}

impl Connection {
    /// The connection for a start, whose statements may take their time.
    pub(crate) fn for_start(mut self) -> Connection {
        self.patience = START;
        self
    }

    /// Whether it is known to be of no use any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Runs statements that have no answer.
    pub(crate) async fn batch(&self, statements: &str) -> Result<(), Fault> {
        let work = async { Ok(self.client.batch_execute(statements).await?) };
        in_time(&self.world, self.patience, work).await
    }

    /// The rows of one statement.
    pub(crate) async fn rows(
        &self,
        statement: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Fault> {
        let work = async { Ok(self.client.query(statement, parameters).await?) };
        in_time(&self.world, self.patience, work).await
    }

    /// Makes a round.
    pub(crate) async fn round(
        &mut self,
        node: i32,
        epoch: i64,
        gives: bool,
        columns: &Columns,
    ) -> Result<Vec<Told>, Fault> {
        let work = async {
            let statement = match &self.round {
                Some(statement) => statement.clone(),
                None => self.client.prepare(Columns::STATEMENT).await?,
            };
            self.round = Some(statement.clone());
            let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![&node, &epoch, &gives];
            parameters.extend(columns.parameters());
            Ok(self.client.query(&statement, &parameters).await?)
        };
        let rows = in_time(&self.world, self.patience, work).await?;
        rows.iter().map(Told::read).collect()
    }
}
