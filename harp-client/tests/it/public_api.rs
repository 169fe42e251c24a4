//! What users of the crate rely on, as far as the compiler can hold it: names, arguments,
//! results, and what is `Send`. A line here that no longer compiles is a breaking change,
//! for which the version's first number that is not zero goes up. New lines are welcome.

use std::future::{Future, IntoFuture};
use std::time::{Duration, SystemTime};

use futures_util::Stream;
use harp_client::{
    CallLimits, Cancellation, DirectCall, Error, ErrorKind, Events, Evidence, Failure, HarpCaller,
    HarpCallerBuilder, HarpServer, HarpServerBuilder, JobEvent, JobId, JobSnapshot, JobState,
    JobStatus, Jobs, Json, JsonError, ListedJob, NotAJobId, NotReturned, Outcome, OutcomeKind,
    Packet, Packets, Password, Pending, RemoteCall, RemoteProcedure, RemoteServer, Repeat,
    ServerInfo, Stats, Tls, blocking, error_type, tls::Fingerprint,
};

/// A future with this output that may move between threads.
fn gives<T>(_: impl Future<Output = Result<T, Error>> + Send) {}

/// A future with this output that owns what it needs, so that it can be spawned.
fn owns<T>(future: Pending<T>) {
    fn spawned<F: Future + Send + Unpin + 'static>(_: F) {}
    fn held<T>(future: Pending<T>) {
        gives::<T>(future);
    }
    let _ = (spawned::<Pending<u8>>, held::<T>);
    drop(future);
}

fn shared<T: Clone + Send + Sync + std::fmt::Debug + 'static>() {}

#[test]
fn types_are_what_they_were() {
    shared::<HarpCaller>();
    shared::<RemoteServer>();
    shared::<RemoteProcedure>();
    shared::<RemoteCall>();
    shared::<HarpServer>();
    shared::<HarpCallerBuilder>();
    shared::<HarpServerBuilder>();
    shared::<Tls>();
    shared::<Json>();
    shared::<Outcome>();
    shared::<JobStatus>();
    shared::<Error>();
    shared::<Packet>();
    shared::<JobEvent>();
    shared::<Repeat>();
    shared::<Password>();
    shared::<blocking::HarpCaller>();
    shared::<blocking::RemoteServer>();
    shared::<blocking::RemoteProcedure>();
    shared::<blocking::RemoteCall>();
    shared::<blocking::HarpServer>();

    fn error<T: std::error::Error + Send + Sync + 'static>() {}
    error::<Error>();
    error::<Failure>();
    error::<NotReturned>();
    error::<JsonError>();
    error::<NotAJobId>();
    fn shown<T: serde::Serialize>() {}
    shown::<JobStatus>();
    shown::<JobSnapshot>();
    shown::<Outcome>();
    shown::<Packet>();
    shown::<JobEvent>();
    shown::<Failure>();
    shown::<CallLimits>();
    shown::<Cancellation>();
    shown::<Error>();
    fn word<T: Copy + std::fmt::Display + serde::Serialize>() {}
    word::<ErrorKind>();
    word::<OutcomeKind>();
    word::<JobState>();
    word::<Cancellation>();
    fn between_threads<T: Send + Sync>() {}
    between_threads::<Packets>();
    between_threads::<Events>();
    fn converted(json: &Json, value: serde_json::Value) -> Option<(Json, serde_json::Value)> {
        Some((
            Json::try_from(value).ok()?,
            serde_json::Value::try_from(json).ok()?,
        ))
    }
    let _ = converted;
    fn key<T: Copy + std::hash::Hash + Ord + std::str::FromStr + std::fmt::Display>() {}
    key::<JobId>();
    fn stored<T: serde::Serialize + serde::de::DeserializeOwned>() {}
    stored::<JobId>();
    stored::<Json>();
    fn stream<T>(_: &impl Stream<Item = Result<T, Error>>) {}
    fn packets(packets: Packets, call: DirectCall) {
        stream::<Packet>(&packets);
        stream::<Json>(&call);
    }
    let _ = packets;
    fn iterator<T>(_: &impl Iterator<Item = Result<T, Error>>) {}
    fn iterators(packets: blocking::Packets, call: blocking::DirectCall) {
        iterator::<Packet>(&packets);
        iterator::<Json>(&call);
    }
    let _ = iterators;
}

#[test]
fn the_dispatchers_side() {
    let _ = |address: String| -> Result<HarpCaller, Error> { HarpCaller::new(&address) };
    let _ = |address: &str| -> HarpCallerBuilder { HarpCaller::builder(address) };
    let _: fn(HarpCallerBuilder, Duration) -> HarpCallerBuilder =
        HarpCallerBuilder::connect_timeout;
    let _: fn(HarpCallerBuilder, Duration) -> HarpCallerBuilder =
        HarpCallerBuilder::request_timeout;
    let _: fn(HarpCallerBuilder, Duration) -> HarpCallerBuilder = HarpCallerBuilder::reconnect_for;
    let _: fn(HarpCallerBuilder, Repeat) -> HarpCallerBuilder = HarpCallerBuilder::repeat;
    let _: fn(HarpCallerBuilder, usize) -> HarpCallerBuilder = HarpCallerBuilder::pool_size;
    let _: fn(HarpCallerBuilder, usize) -> HarpCallerBuilder = HarpCallerBuilder::max_reply_size;
    let _: fn(HarpCallerBuilder, Tls) -> HarpCallerBuilder = HarpCallerBuilder::tls;
    let _: fn(HarpCallerBuilder) -> HarpCallerBuilder = HarpCallerBuilder::token_without_tls;
    let _: fn(HarpCallerBuilder) -> Result<HarpCaller, Error> = HarpCallerBuilder::build;
    let _: fn(HarpCallerBuilder) -> Result<blocking::HarpCaller, Error> =
        HarpCallerBuilder::build_blocking;
    let _ = |builder: HarpCallerBuilder| {
        builder
            .client_name("me")
            .token("secret")
            .token_file("token")
    };
    let _ = |builder: HarpCallerBuilder| -> HarpCallerBuilder {
        builder.on_lost(|_: &Error, _: Duration| ())
    };
    let _: fn(&HarpCaller) = HarpCaller::close_idle;
    let _: fn(&HarpCaller) -> Pending<ServerInfo> = HarpCaller::ping;
    let _: fn(&HarpCaller) -> Stats = HarpCaller::stats;
    let _: fn(&HarpCaller) -> Jobs = HarpCaller::jobs;
    let _ = |rpc: HarpCaller| -> Pending<Option<RemoteCall>> { rpc.job_of_key("k") };
    let _ = |builder: HarpCallerBuilder, server: RemoteServer| {
        (builder.traceparent(|| None), server.traceparent(""))
    };
    let _ = async |jobs: Jobs| -> Result<Option<ListedJob>, Error> {
        let jobs = jobs.host("h").procedure("p").key("k").filter("q", "x");
        let jobs = jobs.state(JobState::Ended).outcome(OutcomeKind::Error);
        jobs.limit(1).next().await
    };
    let _ = |rpc: blocking::HarpCaller| -> Option<Result<ListedJob, Error>> {
        let _: Result<Option<blocking::RemoteCall>, Error> = rpc.job_of_key("k");
        rpc.jobs(|jobs| jobs.limit(1)).next()
    };
    let _ = |job: ListedJob| (job.id, job.state, job.outcome, job.submit_time());
    let _: fn() -> Result<HarpCallerBuilder, Error> = HarpCaller::from_env;
    let _: fn(Fingerprint) -> Tls = Tls::fingerprint;
    let _: fn() -> Tls = Tls::accept_any_certificate;
    let _: fn() -> Tls = Tls::system;
    let _: fn(HarpCaller, Duration) -> HarpCaller = HarpCaller::request_timeout;
    let _: fn(RemoteCall, Duration) -> RemoteCall = RemoteCall::request_timeout;
    let _ = || {
        let tls = Tls::ca_file("ca.pem").server_name("name");
        let tls = tls.client_certificate("cert.pem", "key.pem");
        [tls, Tls::ca_pem("").client_certificate_pem("", "")]
    };

    let rpc = HarpCaller::new("127.0.0.1:1").unwrap();
    let server: RemoteServer = rpc
        .host("h")
        .queue(serde_json::json!({}))
        .concurrency(1)
        .timeout(Duration::from_secs(1))
        .max_exec_time(Duration::from_secs(1))
        .info(())
        .key("k")
        .unless_since(Duration::from_secs(1))
        .start_by(Duration::from_secs(1))
        .request_timeout(Duration::from_secs(1))
        .repeat(Repeat::times(1).pauses(Duration::ZERO, Duration::ZERO))
        .tell_limits();
    let _: (&str, String) = (server.host(), server.to_string());
    owns::<RemoteCall>(server.call("p", ()));
    let procedure: RemoteProcedure = server.procedure("p");
    let _: (&str, &str) = (procedure.host(), procedure.procedure());
    owns::<RemoteCall>(procedure.call(()));
    owns::<Json>(rpc.request(&()));
    let job: RemoteCall = rpc.job(JobId::NONE);
    let _: (JobId, bool) = (job.id(), job.existing());
    let _: Option<CallLimits> = job.limits();
    owns::<Option<Outcome>>(job.result());
    owns::<Outcome>(job.wait());
    owns::<u8>(job.get());
    owns::<Option<u8>>(job.try_get());
    gives::<Outcome>(job.clone().into_future());
    owns::<bool>(job.cancel());
    owns::<Cancellation>(job.cancel_confirmed());
    owns::<JobStatus>(job.status());
    owns::<JobSnapshot>(job.snapshot());
    let mut packets: Packets = job.follow().since(0).recent(0).timestamps();
    gives::<()>(packets.open());
    let _: (Option<&Outcome>, Option<u64>) = (packets.outcome(), packets.position());
    drop(job.stream().after(0).events());
    let _ = |packet: Packet| -> (u64, Json, Option<SystemTime>) {
        let _: Result<u8, Error> = packet.decode();
        let Packet { number, data, time } = packet;
        (number, data, time)
    };
    let _ = |status: JobStatus| -> (String, String, Json, Json, SystemTime) {
        let _: (Option<SystemTime>, Option<SystemTime>) = (status.start_time, status.end_time);
        let _ = status
            .evidence
            .map(|Evidence { stdout, stderr }| -> [String; 2] { [stdout, stderr] });
        (
            status.host,
            status.procedure,
            status.arguments,
            status.info,
            status.submit_time,
        )
    };
}

#[test]
fn the_hosts_side() {
    let builder = HarpServer::builder("127.0.0.1", "u", "p")
        .port(1)
        .connect_timeout(Duration::from_secs(1))
        .max_packet_size(1);
    let _ = |builder: HarpServerBuilder, pin: Fingerprint| {
        let builder = builder.ca_file("ca.pem").known_certs_file("known.pem");
        builder.fingerprint(pin).tls_name("name").ignore_name()
    };
    let server = builder.accept_any_certificate().build().unwrap();
    owns::<DirectCall>(server.call("p", ()));
    let _: fn(HarpServerBuilder) -> Result<blocking::HarpServer, Error> =
        HarpServerBuilder::build_blocking;
    let _ = |call: DirectCall| {
        let _: (bool, Option<&Outcome>) = (call.streams(), call.outcome());
        gives::<u8>(call.get());
    };
}

#[test]
fn ends_and_errors() {
    let _ = |outcome: Outcome| -> Result<u8, Error> { Ok(outcome.into_result()?) };
    let _: fn(&Outcome) -> OutcomeKind = Outcome::kind;
    let _: [&str; 2] = [error_type::TIMEOUT, error_type::UNKNOWN_HOST];
    let _ = |outcome: Outcome| match outcome {
        Outcome::Returned(value) => value.to_string(),
        Outcome::Exception(Failure { message, .. }) | Outcome::Error(Failure { message, .. }) => {
            message
        }
        Outcome::Cancelled => String::new(),
    };
    let _ = |cancellation: Cancellation| match cancellation {
        Cancellation::NotRunning | Cancellation::Confirmed | Cancellation::Unconfirmed => (),
    };
    let _ = |error: Error| -> bool {
        let _: (Option<&str>, Option<&str>) = (error.wire_type(), error.wire_message());
        let _: (Option<&Json>, Option<&Failure>) = (error.data(), error.failure());
        let _: Option<&'static str> = error.phase();
        let _: (bool, &'static str, u16) = (
            error.is_refusal(),
            error.kind().as_str(),
            error.kind().http_status(),
        );
        error.clone().is_retryable()
    };
    let _ = [
        ErrorKind::InvalidInput,
        ErrorKind::Communication,
        ErrorKind::Protocol,
        ErrorKind::Unsupported,
        ErrorKind::NotFound,
        ErrorKind::Forbidden,
        ErrorKind::Unauthorized,
        ErrorKind::Busy,
        ErrorKind::ShuttingDown,
        ErrorKind::TooLarge,
        ErrorKind::KeyTaken,
        ErrorKind::InvalidArguments,
        ErrorKind::Storage,
        ErrorKind::Refused,
        ErrorKind::Exception,
        ErrorKind::Remote,
        ErrorKind::Cancelled,
        ErrorKind::UnexpectedResult,
    ];
}
