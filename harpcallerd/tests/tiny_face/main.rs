//! A face of a few lines over a pipe in memory: whatever a face needs is at the front door,
//! and what must not be left to faces is done behind it.
//!
//! It speaks words between spaces: `call HOST PROCEDURE`, `end JOB`, `packets JOB`,
//! `cancel JOB`, `token TOKEN`. It uses nothing of the other faces.

#[path = "../set_up/inside.rs"]
mod inside;
#[path = "../set_up/limits.rs"]
mod limits;

use std::path::Path;
use std::sync::Arc;

use harp_jobs::access::{AccessRules, Operation, Patterns, Rule};
use harp_jobs::call::NewCall;
use harp_jobs::client::{Client, Peer, Via};
use harp_jobs::limits::DeskLimits;
use harp_jobs::refusal::Refusal;
use harp_jobs::world::World;
use harp_ledger::store::{Store, StoreOptions};
use harp_proto::{Json, Outcome, Password};
use harp_service::tasks::Tasks;
use harpcallerd::any_ledger::Opened;
use harpcallerd::audit_log::{self, AuditSettings};
use harpcallerd::desk::Desk;
use harpcallerd::desk::packets::{Batches, Next, Span, Start, Until};
use harpcallerd::desk::read::Wait;
use harpcallerd::dispatcher::Dispatcher;
use harpcallerd::hosts::Hosts;
use harpcallerd::identity::tokens::{NewToken, TokensFile};
use harpcallerd::limits::ClientLimits;
use harpcallerd::world::Runtime;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, Lines, split};
use tokio::sync::watch;

use inside::Senders;
use limits::unlimited;

/// The face.
async fn serve(pipe: DuplexStream, mut client: Client, desk: Arc<Desk>) {
    let (input, mut output) = split(pipe);
    let mut lines = BufReader::new(input).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let words: Vec<_> = line.split(' ').collect();
        let answer = match answer(&words, &mut client, &desk).await {
            Ok(answer) => answer,
            Err(refusal) => format!("refused: {refusal:?}"),
        };
        if output
            .write_all(format!("{answer}\n").as_bytes())
            .await
            .is_err()
        {
            return;
        }
    }
}

async fn answer(words: &[&str], by: &mut Client, desk: &Arc<Desk>) -> Result<String, Refusal> {
    let job = |id: &str| id.parse().map_err(|_| Refusal::NoSuchJob);
    match words {
        ["token", token] => {
            let token = Password::new((*token).to_owned());
            desk.greet(by, Some(&token), None).await?;
            Ok(by.name().to_owned())
        }
        ["call", host, procedure] => {
            let call = call(host, procedure);
            Ok(desk.submit(by, call).await?.job.to_string())
        }
        ["end", id] => {
            let end = desk.end(by, job(id)?, Wait::UntilEnd).await?;
            let name = end.as_ref().map_or("stopping", |end| end.outcome.name());
            Ok(name.to_owned())
        }
        ["cancel", id] => Ok(desk
            .cancel(by, job(id)?, false)
            .await?
            .cancelled
            .to_string()),
        ["packets", id] => {
            let span = Span {
                start: Start::At(0),
                until: Until::Now { limit: None },
            };
            let mut packets = desk.packets(by, job(id)?, span).await?;
            let mut texts = Vec::new();
            while let Next::Some(piece) = packets.next().await? {
                let segments = match piece.batches {
                    Batches::Read(segments) => segments,
                    Batches::Held(held) => held
                        .iter()
                        .flat_map(|batch| batch.segments())
                        .cloned()
                        .collect(),
                };
                for segment in &segments {
                    let packets = segment.iter_from(piece.first);
                    let packets = packets.take_while(|(number, ..)| *number < piece.end);
                    texts.extend(
                        packets.map(|(_, _, data)| String::from_utf8_lossy(data).into_owned()),
                    );
                }
            }
            Ok(texts.join(" "))
        }
        _ => Ok("what?".to_owned()),
    }
}

fn call(host: &str, procedure: &str) -> NewCall {
    NewCall {
        host: host.to_owned(),
        procedure: procedure.to_owned(),
        arguments: Json::encode(&[0; 0]).unwrap(),
        timeout: None,
        max_exec_time: None,
        queue: None,
        info: Json::NULL,
        key: None,
        unless_since: None,
        start_by: None,
        trace: None,
    }
}

/// A dispatcher without hosts, and what its front door goes by.
struct House {
    desk: Arc<Desk>,
    dispatcher: Arc<Dispatcher>,
    access: watch::Sender<Arc<AccessRules>>,
    limits: watch::Sender<ClientLimits>,
    _senders: Senders,
    _auditing: Tasks,
}

impl House {
    async fn new(directory: &Path) -> House {
        let store = Store::open(&directory.join("jobs"), StoreOptions::default()).unwrap();
        let limits = watch::Sender::new(ClientLimits::default());
        let access = watch::Sender::new(Arc::new(AccessRules::default()));
        let tokens = TokensFile::read(&directory.join("tokens")).unwrap();
        let settings = AuditSettings {
            file: directory.join("audit"),
            arguments: false,
        };
        let auditing = Tasks::of_phase("the audit log");
        let world = Arc::new(Runtime::start());
        let its_world: Arc<dyn World> = Arc::clone(&world) as Arc<dyn World>;
        let kept = Opened::over(store, &its_world, true).await.unwrap();
        let its_ledger = Arc::new(kept.ledger.clone());
        let audit = audit_log::start(&settings, its_ledger, its_world, &auditing).unwrap();
        let hosts = Hosts::default();
        let inside = inside::open(world, kept, hosts, unlimited(), audit).await;
        let desk = Desk {
            limits: limits.subscribe(),
            tokens: watch::Sender::new(Some(Arc::new(tokens))).subscribe(),
            access: access.subscribe(),
            ..inside.desk
        };
        House {
            desk: Arc::new(desk),
            dispatcher: inside.dispatcher,
            _senders: inside.senders,
            _auditing: auditing,
            access,
            limits,
        }
    }

    fn connect(&self, may_be_stranger: bool) -> Pipe {
        let (ours, theirs) = tokio::io::duplex(64);
        let peer = Peer::Local { uid: 1, pid: None };
        let client = Client::unknown(peer, Via::Listener, may_be_stranger);
        tokio::spawn(serve(theirs, client, Arc::clone(&self.desk)));
        let (input, output) = split(ours);
        Pipe {
            lines: BufReader::new(input).lines(),
            output,
        }
    }
}

/// The client's end.
struct Pipe {
    lines: Lines<BufReader<tokio::io::ReadHalf<DuplexStream>>>,
    output: tokio::io::WriteHalf<DuplexStream>,
}

impl Pipe {
    async fn ask(&mut self, line: &str) -> String {
        self.output
            .write_all(format!("{line}\n").as_bytes())
            .await
            .unwrap();
        self.lines.next_line().await.unwrap().unwrap()
    }
}

#[tokio::test]
async fn a_face_of_its_own_has_all_verbs_limits_rules_and_the_audit() {
    let directory = tempfile::tempdir().unwrap();
    let shop = NewToken::make("shop", None).unwrap();
    let tokens = directory.path().join("tokens");
    std::fs::write(&tokens, &shop.line).unwrap();
    let house = House::new(directory.path()).await;

    let mut anybody = house.connect(true);
    let job = anybody.ask("call nowhere p").await;
    assert_eq!(anybody.ask(&format!("end {job}")).await, "unknown_host");
    assert_eq!(anybody.ask(&format!("packets {job}")).await, "");
    assert_eq!(anybody.ask(&format!("cancel {job}")).await, "false");
    assert_eq!(anybody.ask("end 0").await, "refused: NoSuchJob");

    // A client that has to authenticate first.
    let mut stranger = house.connect(false);
    assert_eq!(stranger.ask("call nowhere p").await, "refused: Stranger");
    assert_eq!(
        stranger.ask(&format!("end {job}")).await,
        "refused: Stranger"
    );
    assert_eq!(stranger.ask("token wrong").await, "refused: UnknownToken");
    let token = format!("token {}", shop.token.reveal());
    assert_eq!(stranger.ask(&token).await, "token:shop");
    let own = stranger.ask("call nowhere p").await;
    // One whose token is deleted is nobody from then on.
    std::fs::write(&tokens, "").unwrap();
    assert_eq!(stranger.ask(&format!("end {own}")).await, "refused: Lapsed");
    assert_eq!(stranger.ask("call nowhere p").await, "refused: Lapsed");

    // Limits and rules are those of the moment.
    let small = ClientLimits {
        desk: DeskLimits {
            max_request_size: 5,
            ..DeskLimits::default()
        },
        ..ClientLimits::default()
    };
    house.limits.send_replace(small);
    let told = anybody.ask("call nowhere p").await;
    assert_eq!(told, "refused: TooLarge { limit: 5 }");
    house.limits.send_replace(ClientLimits::default());
    let rules = AccessRules::new(vec![Rule {
        client: Patterns::everything(),
        host: Patterns::new(&["x".to_owned()]),
        procedure: Patterns::everything(),
        queue: Patterns::everything(),
        operations: Operation::ALL.to_vec(),
        own_jobs: false,
    }]);
    house.access.send_replace(Arc::new(rules));
    assert_eq!(anybody.ask("call nowhere p").await, "refused: Forbidden");
    assert_eq!(
        anybody.ask(&format!("end {job}")).await,
        "refused: Forbidden"
    );

    house.desk.audit.finish().await;
    let audit = std::fs::read_to_string(directory.path().join("audit")).unwrap();
    let count = |event: &str| audit.matches(&format!("\"event\":\"{event}\"")).count();
    assert_eq!((count("accepted"), count("refused")), (2, 8), "{audit}");
    house.dispatcher.shut().await;
}

/// Nobody waits for a call or a cancel any more, and still all of it is done and noted.
#[tokio::test]
async fn a_verb_that_is_dropped_is_done_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("tokens"), "").unwrap();
    let house = House::new(directory.path()).await;
    let peer = Peer::Local { uid: 1, pid: None };
    let client = Client::unknown(peer, Via::Listener, true);
    {
        let submit = house.desk.submit(&client, call("nowhere", "dropped"));
        let mut submit = std::pin::pin!(submit);
        let polled = futures_util::poll!(&mut submit);
        assert!(polled.is_pending());
    }
    let path = directory.path().join("audit");
    let noted = || std::fs::read_to_string(&path).unwrap_or_default();
    while !(noted().contains("\"accepted\"") && noted().contains("\"ended\"")) {
        house.desk.audit.finish().await;
        tokio::task::yield_now().await;
    }
    let line: serde_json::Value = serde_json::from_str(noted().lines().next().unwrap()).unwrap();
    let job = line["job"].as_str().unwrap().parse().unwrap();
    let end = house.desk.end(&client, job, Wait::Not).await.unwrap();
    let outcome = end.map(|end| end.outcome.clone());
    assert!(matches!(outcome, Some(Outcome::Error(_))), "{outcome:?}");
    house.dispatcher.shut().await;
}
