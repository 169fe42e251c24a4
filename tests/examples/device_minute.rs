//! A device that publishes a thousand events a second: whether each is recorded, once and in
//! order, and how late a follower has it. Figures are in `TESTING.md`.
//!
//! ```sh
//! cargo run -p harp-tests --example device_minute -- --seconds 60
//! ```
//!
//! With `--event-port` and `--command-port` it is a device of the published package, started by
//! hand: `tests/tests/system/devices/device.py EVENT_PORT COMMAND_PORT 1` in an environment that
//! has auto-trainer-api. Ends with 1 if an event is missing.

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use harp_tests::{Caller, Cluster, EVENT, FakeDevice, number_options, packet, until};
use serde_json::{Value, json};

struct Options {
    seconds: u64,
    rate: u64,
    event_port: Option<u64>,
    command_port: Option<u64>,
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(message) => {
            eprintln!(
                "{message}\nusage: device_minute [--seconds N] [--rate N] [--event-port N --command-port N]"
            );
            return ExitCode::from(2);
        }
    };
    let count = options.seconds * options.rate;
    let Followed { numbers, late } = match (options.event_port, options.command_port) {
        (Some(events), Some(commands)) => packaged(&options, events, commands),
        _ => scripted(&options),
    };
    println!("{} of {count} events followed, none twice", numbers.len());
    for (name, part) in [("half", 2), ("of 100 one", 100), ("of 1,000 one", 1000)] {
        let at = late.len() - 1 - late.len() / part;
        println!("{name} later than {} ms", late[at]);
    }
    println!("the latest: {} ms", late[late.len() - 1]);
    if numbers.into_iter().eq(0..count) {
        ExitCode::SUCCESS
    } else {
        eprintln!("events are missing, or not in order");
        ExitCode::FAILURE
    }
}

fn options() -> Result<Options, String> {
    let mut options = Options {
        seconds: 60,
        rate: 1000,
        event_port: None,
        command_port: None,
    };
    for (name, number) in number_options()? {
        match name.as_str() {
            "--seconds" => options.seconds = number.max(1),
            "--rate" => options.rate = number.max(1),
            "--event-port" => options.event_port = Some(number),
            "--command-port" => options.command_port = Some(number),
            _ => return Err(format!("unknown option {name}")),
        }
    }
    Ok(options)
}

/// What a follower has had.
struct Followed {
    /// The events' numbers, in their order.
    numbers: Vec<u64>,
    /// How late each was, in milliseconds, in order of that.
    late: Vec<u64>,
}

fn now() -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("a time after 1970").as_secs_f64()
}

/// Follows a job for as many events, or to its end.
fn follow(caller: Caller, job: &str, count: u64) -> Followed {
    let mut follower = caller.follow(job, "\"since\": 0");
    let (mut numbers, mut late) = (Vec::new(), Vec::new());
    while (numbers.len() as u64) < count {
        let line = follower.raw_line();
        let Some((_, data)) = packet(&line) else {
            println!("the job has ended: {line}");
            break;
        };
        let event: Value = serde_json::from_str(data).expect("a packet is JSON");
        let (Some(number), Some(when)) =
            (event["context"]["number"].as_u64(), event["when"].as_f64())
        else {
            println!("{event}");
            continue;
        };
        numbers.push(number);
        late.push(((now() - when) * 1000.0).max(0.0) as u64);
    }
    late.sort_unstable();
    Followed { numbers, late }
}

/// A device of this program's, whose `events` are followed.
fn scripted(options: &Options) -> Followed {
    let device = FakeDevice::start();
    let cluster = Cluster::builder()
        .hosts(0)
        .entry(device.entry("rig1"))
        .start();
    let caller = cluster.caller();
    let job = caller.call("rig1", "events", "[]");
    until("it streams", || {
        device.event(1, 1);
        let page = caller.read(&job, "\"since\": 0");
        (!page.packets.is_empty()).then_some(())
    });
    let (count, rate) = (options.seconds * options.rate, options.rate);
    let followed = thread::scope(|scope| {
        let following = scope.spawn(|| follow(caller, &job, count));
        let begun = Instant::now();
        for number in 0..count {
            let due = Duration::from_secs_f64(number as f64 / rate as f64);
            thread::sleep(due.saturating_sub(begun.elapsed()));
            let event = json!({
                "kind": 1101, "when": now(), "index": 2 + number, "context": {"number": number},
            });
            device.publish(EVENT, &event.to_string());
        }
        println!("published in {:.1} s", begun.elapsed().as_secs_f64());
        following.join().expect("a follower")
    });
    tell_memory(&cluster);
    followed
}

/// A device of the package, which publishes events and then its result.
fn packaged(options: &Options, events: u64, commands: u64) -> Followed {
    let entry = json!({
        "hostname": "rig1", "kind": "autotrainer", "address": "127.0.0.1",
        "event_port": events, "command_port": commands,
    });
    let cluster = Cluster::builder().hosts(0).entry(entry).start();
    let caller = cluster.caller();
    let count = options.seconds * options.rate;
    let arguments = json!({"count": count, "pause": 1_000_000_000 / options.rate});
    let job = caller.call("rig1", "custom:1", &arguments.to_string());
    let followed = follow(caller, &job, count);
    println!("the device's result: {}", caller.result(&job));
    tell_memory(&cluster);
    followed
}

fn tell_memory(cluster: &Cluster) {
    let status = std::fs::read_to_string(format!("/proc/{}/status", cluster.dispatcher_id()));
    let status = status.unwrap_or_default();
    let peak = status.lines().find(|line| line.starts_with("VmHWM"));
    println!("the dispatcher's memory, {}", peak.unwrap_or("unknown"));
}
