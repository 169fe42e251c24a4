//! What users of the crate rely on, as far as the compiler can hold it: names, arguments,
//! results, and what is `Send`. A line here that no longer compiles is a breaking change,
//! for which the version's first number that is not zero goes up. New lines are welcome.

use std::future::Future;
use std::time::{Duration, SystemTime};

use futures_util::Stream;
use harp_client::{
    CallLimits, Cancellation, DirectCall, Error, ErrorKind, Evidence, Failure, HarpCaller,
    HarpCallerBuilder, HarpServer, HarpServerBuilder, JobId, JobStatus, Json, Outcome, Packet,
    Packets, Password, RemoteCall, RemoteProcedure, RemoteServer, Tls, blocking, tls::Fingerprint,
};

/// A future with this output that may move between threads.
fn gives<T>(_: impl Future<Output = Result<T, Error>> + Send) {}

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
    shared::<Password>();
    shared::<blocking::HarpCaller>();
    shared::<blocking::RemoteServer>();
    shared::<blocking::RemoteProcedure>();
    shared::<blocking::RemoteCall>();
    shared::<blocking::HarpServer>();

    fn error<T: std::error::Error + Send + Sync + 'static>() {}
    error::<Error>();
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
    let _: fn(&str) -> Result<HarpCaller, Error> = HarpCaller::new;
    let _: fn(&str) -> HarpCallerBuilder = HarpCaller::builder;
    let _: fn(HarpCallerBuilder, Duration) -> HarpCallerBuilder =
        HarpCallerBuilder::connect_timeout;
    let _: fn(HarpCallerBuilder, Duration) -> HarpCallerBuilder =
        HarpCallerBuilder::request_timeout;
    let _: fn(HarpCallerBuilder, Duration) -> HarpCallerBuilder = HarpCallerBuilder::reconnect_for;
    let _: fn(HarpCallerBuilder, usize) -> HarpCallerBuilder = HarpCallerBuilder::pool_size;
    let _: fn(HarpCallerBuilder, usize) -> HarpCallerBuilder = HarpCallerBuilder::max_reply_size;
    let _: fn(HarpCallerBuilder, Tls) -> HarpCallerBuilder = HarpCallerBuilder::tls;
    let _: fn(HarpCallerBuilder) -> HarpCallerBuilder = HarpCallerBuilder::token_without_tls;
    let _: fn(HarpCallerBuilder) -> Result<HarpCaller, Error> = HarpCallerBuilder::build;
    let _: fn(HarpCallerBuilder) -> Result<blocking::HarpCaller, Error> =
        HarpCallerBuilder::build_blocking;
    let _ = |builder: HarpCallerBuilder| builder.client_name("me").token("secret");
    let _ = |builder: HarpCallerBuilder| -> HarpCallerBuilder {
        builder.on_lost(|_: &Error, _: Duration| ())
    };
    let _: fn(&HarpCaller) = HarpCaller::close_idle;
    let _: fn(Fingerprint) -> Tls = Tls::fingerprint;
    let _: fn() -> Tls = Tls::accept_any_certificate;
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
        .tell_limits();
    let _: (&str, String) = (server.host(), server.to_string());
    gives::<RemoteCall>(server.call("p", ()));
    let procedure: RemoteProcedure = server.procedure("p");
    let _: (&str, &str) = (procedure.host(), procedure.procedure());
    gives::<RemoteCall>(procedure.call(()));
    gives::<Json>(rpc.request(&()));
    let job: RemoteCall = rpc.job(JobId::NONE);
    let _: (JobId, bool) = (job.id(), job.existing());
    let _: Option<CallLimits> = job.limits();
    gives::<Option<Outcome>>(job.result());
    gives::<Outcome>(job.wait());
    gives::<u8>(job.get());
    gives::<bool>(job.cancel());
    gives::<Cancellation>(job.cancel_confirmed());
    gives::<JobStatus>(job.status());
    let mut packets: Packets = job.follow().since(0).recent(0).timestamps();
    gives::<()>(packets.open());
    let _: (Option<&Outcome>, Option<u64>) = (packets.outcome(), packets.position());
    drop(job.stream());
    let _ = |packet: Packet| -> (u64, Json, Option<u64>) {
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
    gives::<DirectCall>(server.call("p", ()));
    let _: fn(HarpServerBuilder) -> Result<blocking::HarpServer, Error> =
        HarpServerBuilder::build_blocking;
    let _ = |call: DirectCall| {
        let _: (bool, Option<&Outcome>) = (call.streams(), call.outcome());
        gives::<u8>(call.get());
    };
}

#[test]
fn ends_and_errors() {
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
        error.is_retryable()
    };
    let _ = [
        ErrorKind::InvalidInput,
        ErrorKind::Communication,
        ErrorKind::Protocol,
        ErrorKind::Unsupported,
        ErrorKind::Refused,
        ErrorKind::Exception,
        ErrorKind::Remote,
        ErrorKind::Cancelled,
        ErrorKind::UnexpectedResult,
    ];
}
