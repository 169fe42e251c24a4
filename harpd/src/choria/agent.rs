//! Running an agent's program, for a call or to ask whether it wants to be active (Choria
//! external agents, sections 2 to 4).

use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use harp_exec::{Program, Stream};
use harp_proto::{Failure, Json, error_type};
use harp_service::signals;
use harp_time::Limit;
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tracing::Level;

use super::ChoriaSettings;
use super::ddl::Action;
use super::reply::AgentReply;
use super::validation::checked_data;
use super::workdir::{CallFiles, Workdir};
use crate::answer::one_at_a_time;
use crate::exit::Exit;
use crate::invocation::{Identity, Invocation};
use crate::launch::{Process, launch};
use crate::line_log::LineLog;
use crate::program::{CannotStart, check_executable, loading_error};
use crate::reaper::Reaper;
use crate::stash::Stash;

/// How long an activation check may take, with everything.
const ACTIVATION_TIME: Duration = Duration::from_secs(2);
const ACTIVATION: &str = "io.choria.mcorpc.external.v1.activation_request";
const ACTIVATION_SCHEMA: &str =
    "https://choria.io/schemas/mcorpc/external/v1/activation_request.json";
const RPC: &str = "io.choria.mcorpc.external.v1.rpc_request";
const RPC_SCHEMA: &str = "https://choria.io/schemas/mcorpc/external/v1/rpc_request.json";

/// An agent, as far as all its actions share it.
#[derive(Debug)]
pub struct Agent {
    /// Its name.
    pub name: String,
    /// Its program.
    pub program: PathBuf,
    /// How long a call may run, in seconds.
    pub timeout: u64,
    /// The table `[choria]`.
    pub settings: Arc<ChoriaSettings>,
    /// Directory of its files.
    pub workdir: Arc<Workdir>,
}

/// Runs one action of an agent.
#[derive(Debug)]
pub struct AgentRunner {
    /// The agent.
    pub agent: Arc<Agent>,
    /// The action's name.
    pub name: String,
    /// The action as the description has it.
    pub action: Arc<Action>,
}

/// The request of a call (section 4).
#[derive(Serialize)]
struct RpcRequest<'a> {
    #[serde(rename = "$schema")]
    schema: &'static str,
    protocol: &'static str,
    agent: &'a str,
    action: &'a str,
    requestid: String,
    senderid: String,
    callerid: String,
    collective: &'a str,
    ttl: u64,
    msgtime: u64,
    data: &'a RawValue,
}

/// The question whether an agent wants to be active (section 4).
#[derive(Serialize)]
struct ActivationRequest<'a> {
    #[serde(rename = "$schema")]
    schema: &'static str,
    protocol: &'static str,
    agent: &'a str,
}

#[derive(Deserialize)]
struct ActivationReply {
    activate: bool,
}

impl Agent {
    /// Looks whether the program could be started now. Blocks.
    fn check(&self) -> Result<PathBuf, CannotStart> {
        let settings = &self.settings;
        let account = settings.account.as_ref().map_err(Clone::clone)?;
        check_executable(&self.program)?;
        settings.care.check(&self.program, account)?;
        Ok(self.program.clone())
    }

    /// Asks the agent whether it wants to be active: 2 s at most, then it is ended.
    ///
    /// # Errors
    ///
    /// Why it could not be asked or gave no answer.
    pub async fn activation(
        self: &Arc<Agent>,
        reaper: &Reaper,
        kill_grace: Duration,
    ) -> Result<bool, String> {
        let agent = Arc::clone(self);
        let checking = tokio::task::spawn_blocking(move || agent.check());
        let checked = checking.await.map_err(|error| error.to_string())?;
        checked.map_err(|why| why.to_string())?;
        let request = serde_json::to_vec(&ActivationRequest {
            schema: ACTIVATION_SCHEMA,
            protocol: ACTIVATION,
            agent: &self.name,
        });
        let request = request.map_err(|error| error.to_string())?;
        let files = self.files(request, Facts::Empty).await;
        let files = files.map_err(|failure| failure.message)?;
        let process = self.launch(&files, ACTIVATION, reaper).await;
        let mut process = process.map_err(|failure| failure.message)?;
        let exit = {
            let name = format!("{} (activation)", self.name);
            let said = listen(process.stdout, LineLog::new(&name, Level::INFO));
            let complained = listen(process.stderr, LineLog::new(&name, Level::WARN));
            let mut limit = Limit::after(ACTIVATION_TIME);
            tokio::select! {
                exit = process.session.leader_exit() => Some(exit),
                () = limit.passed() => None,
                never = said => match never {},
                never = complained => match never {},
            }
        };
        // An agent that has used up the time gets none to clean up.
        let grace = exit.map_or(Duration::ZERO, |_| kill_grace);
        process.session.end(grace).await;
        match exit {
            Some(Exit::Code(0)) => {}
            Some(Exit::Code(code)) => return Err(format!("exit status {code}")),
            Some(Exit::Signal(number)) => return Err(signals::name(number)),
            None => return Err(format!("no answer within {} s", ACTIVATION_TIME.as_secs())),
        }
        let reply = files
            .read_reply(1 << 20)
            .map_err(|error| error.to_string())?;
        let reply: ActivationReply =
            serde_json::from_slice(&reply).map_err(|error| format!("its answer: {error}"))?;
        Ok(reply.activate)
    }

    /// The files of one run.
    async fn files(&self, request: Vec<u8>, facts: Facts) -> Result<CallFiles, Failure> {
        let workdir = Arc::clone(&self.workdir);
        let made = tokio::task::spawn_blocking(move || {
            let facts = facts.read()?;
            workdir.call_files(&request, &facts)
        });
        let cannot = |error: &dyn std::fmt::Display| {
            let message = format!("cannot make the files of an agent's call: {error}");
            Failure::new(error_type::SYSTEM_ERROR, message)
        };
        made.await
            .map_err(|error| cannot(&error))?
            .map_err(|error| cannot(&error))
    }

    async fn launch(
        &self,
        files: &CallFiles,
        protocol: &str,
        reaper: &Reaper,
    ) -> Result<Process, Failure> {
        let settings = &self.settings;
        let account = settings.account.clone();
        let account = account.map_err(|why| loading_error(&CannotStart::Account(why)))?;
        let config = settings.config_dir.join("plugin.d").join(&self.name);
        let words: [&OsStr; 4] = [
            self.program.as_ref(),
            files.request.as_ref(),
            files.reply.as_ref(),
            // Of an activation check too.
            RPC.as_ref(),
        ];
        // These six and no other.
        let environment: [(&str, &OsStr); 6] = [
            ("CHORIA_EXTERNAL_REQUEST", files.request.as_ref()),
            ("CHORIA_EXTERNAL_REPLY", files.reply.as_ref()),
            ("CHORIA_EXTERNAL_PROTOCOL", protocol.as_ref()),
            ("CHORIA_EXTERNAL_CONFIG", config.as_ref()),
            ("CHORIA_EXTERNAL_FACTS", files.facts.as_ref()),
            ("PATH", settings.path.as_ref()),
        ];
        let program = Program {
            file: self.program.clone(),
            words: words.into_iter().map(OsString::from).collect(),
            environment: environment
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
            directory: std::env::temp_dir(),
            ids: account,
            keeps_capabilities: false,
            limits: settings.limits.clone(),
            stdin: Stream::Null,
            stdout: Stream::Pipe,
            keeps_orphans: true,
        };
        launch(program, Stash::default(), reaper).await
    }
}

impl AgentRunner {
    /// Looks whether the agent could be started now. Blocks.
    ///
    /// # Errors
    ///
    /// Why not.
    pub fn check(&self) -> Result<PathBuf, CannotStart> {
        self.agent.check()
    }

    /// Makes of a call's arguments the data of a request.
    ///
    /// # Errors
    ///
    /// `invalid_argument_list` that names the input which is wrong.
    pub fn prepare(&self, arguments: &Json) -> Result<Invocation, Failure> {
        let data = one_at_a_time(|| checked_data(&self.action, arguments))?;
        Invocation::of_input(&[data.as_bytes()])
    }

    /// Starts the agent.
    ///
    /// # Errors
    ///
    /// Those of [`launch`], or `system_error` if its files cannot be made.
    pub async fn start(
        &self,
        invocation: Invocation,
        identity: Identity<'_>,
        reaper: &Reaper,
    ) -> Result<Process, Failure> {
        let agent = &self.agent;
        let request = self.request(invocation, identity);
        let request = request.map_err(|error| {
            Failure::new(
                error_type::SYSTEM_ERROR,
                format!("cannot make a request: {error}"),
            )
        })?;
        let facts = match &agent.settings.facts {
            Some(file) => Facts::Of(file.clone()),
            None => Facts::None,
        };
        let files = Arc::new(agent.files(request, facts).await?);
        let mut process = agent.launch(&files, RPC, reaper).await?;
        let name = format!("{}#{}", agent.name, self.name);
        process.stderr_log = Some(LineLog::new(&name, Level::WARN));
        process.reply = Some(AgentReply {
            log: LineLog::new(&name, Level::INFO),
            name,
            action: Arc::clone(&self.action),
            files,
            max_output: agent.settings.max_output,
        });
        Ok(process)
    }

    fn request(&self, invocation: Invocation, identity: Identity<'_>) -> io::Result<Vec<u8>> {
        let data = invocation.input.read_all()?;
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let request = RpcRequest {
            schema: RPC_SCHEMA,
            protocol: RPC,
            agent: &self.agent.name,
            action: &self.name,
            requestid: request_id()?,
            senderid: identity.peer.ip().to_string(),
            callerid: format!("harp={}", identity.user),
            collective: &self.agent.settings.collective,
            ttl: self.agent.timeout,
            msgtime: since_epoch.map_or(0, |time| time.as_secs()),
            data: serde_json::from_slice(&data)?,
        };
        Ok(serde_json::to_vec(&request)?)
    }
}

/// Facts about the host for agents.
enum Facts {
    /// An empty file, as always during an activation check.
    Empty,
    /// No facts are configured.
    None,
    /// Reads what the file has now.
    Of(PathBuf),
}

impl Facts {
    fn read(self) -> io::Result<Vec<u8>> {
        match self {
            Facts::Empty => Ok(Vec::new()),
            Facts::None => Ok(b"{}".to_vec()),
            Facts::Of(file) => harp_files::regular::read(&file)
                .map_err(|error| io::Error::other(format!("facts {}: {error}", file.display()))),
        }
    }
}

/// 32 hexadecimal digits.
fn request_id() -> io::Result<String> {
    let mut random = [0; 16];
    SystemRandom::new()
        .fill(&mut random)
        .map_err(|_| io::Error::other("no random numbers"))?;
    Ok(format!("{:032x}", u128::from_be_bytes(random)))
}

/// Goes on until it is dropped, though there be nothing more to hear.
async fn listen(mut pipe: pipe::Receiver, mut log: LineLog) -> Infallible {
    let mut chunk = [0; 1024];
    while let Ok(count @ 1..) = pipe.read(&mut chunk).await {
        log.push(&chunk[..count]);
    }
    std::future::pending().await
}
