//! Much of everything: readers that take next to nothing, many packets, many jobs, many
//! connections (acceptance 6, 8, 9 and 13). With `HARP_LARGE` in the environment the amounts are
//! those of the contract; without it they are such that the tests are done soon.

use std::io::{BufRead, BufReader, Read};
use std::thread;
use std::time::{Duration, Instant};

use harp_tests::{Cluster, HttpAnswer, HttpClient, HttpRequest, HttpStream, until};
use serde_json::json;

use super::{OPEN, address, api, call, get, open, result, submit};

/// An amount: as in the contract, or a small one.
fn amount(large: usize, small: usize) -> usize {
    match std::env::var_os("HARP_LARGE") {
        Some(_) => large,
        None => small,
    }
}

/// Resident memory of the dispatcher, in bytes.
pub(super) fn memory(cluster: &Cluster) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", cluster.dispatcher_id()));
    let status = status.unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.unwrap().trim().trim_end_matches(" kB");
    kilobytes.parse::<u64>().unwrap() * 1024
}

pub(super) const MIB: u64 = 1024 * 1024;

/// A reader of a job's events as browsers are: it knows what it has, and where its connection is
/// cut, it goes on from there on another.
struct Reader<'c> {
    cluster: &'c Cluster,
    path: String,
    stream: BufReader<HttpStream>,
    /// What has come of a line.
    line: Vec<u8>,
    /// The packet of an event that is not whole yet.
    coming: Option<u64>,
    /// The packet that has to come next.
    next: u64,
    has_ended: bool,
    cuts: u64,
}

impl<'c> Reader<'c> {
    fn open(cluster: &'c Cluster, job: &str) -> Reader<'c> {
        let path = api(&format!("/jobs/{job}/events"));
        Reader {
            cluster,
            stream: BufReader::new(HttpRequest::get(&path).stream(address(cluster))),
            path,
            line: Vec::new(),
            coming: None,
            next: 0,
            has_ended: false,
            cuts: 0,
        }
    }

    /// Takes one byte, and no more.
    fn dawdle(&mut self) {
        let mut byte = [0];
        if self.stream.read_exact(&mut byte).is_ok() {
            self.line.extend(byte);
            self.take_line();
        }
    }

    /// Takes all that is left. Returns how many packets there were in all, each once and in its
    /// order, and how often the connection was cut.
    fn rest(mut self) -> (u64, u64) {
        loop {
            if self
                .stream
                .read_until(b'\n', &mut self.line)
                .is_ok_and(|length| length > 0)
            {
                self.take_line();
            } else if self.has_ended {
                return (self.next, self.cuts);
            } else {
                self.cuts += 1;
                (self.line, self.coming) = (Vec::new(), None);
                let last = self.next.cast_signed() - 1;
                let again = HttpRequest::get(&self.path).header("Last-Event-ID", &last.to_string());
                self.stream = BufReader::new(again.stream(address(self.cluster)));
            }
        }
    }

    fn take_line(&mut self) {
        let Some(line) = self.line.strip_suffix(b"\n") else {
            return;
        };
        let line = std::str::from_utf8(line).unwrap();
        if let Some(packet) = line.strip_prefix("data: {\"packet\":") {
            self.coming = packet.split(',').next().unwrap().parse().ok();
        } else if line == "event: end" {
            self.has_ended = true;
        } else if line.is_empty()
            && let Some(packet) = self.coming.take()
        {
            assert_eq!(packet, self.next);
            self.next += 1;
        }
        self.line.clear();
    }
}

/// How many connections for HTTP there are, this one among them.
fn count_connections(cluster: &Cluster) -> usize {
    let metrics = HttpRequest::get("/metrics").ask(address(cluster)).text();
    let name = "harpcaller_connections{protocol=\"http\"} ";
    let there = metrics.lines().find_map(|line| line.strip_prefix(name));
    there.unwrap().parse().unwrap()
}

#[test]
fn slow_readers_hold_up_nobody_and_miss_nothing() {
    let slow = amount(200, 8);
    let packets = amount(200_000, 100_000) as u64;
    let pause = Duration::from_millis(amount(1000, 50) as u64);
    let cluster = Cluster::builder()
        .tables(&format!("max_streams_per_peer = 1000\n{OPEN}"))
        .start();
    let id = submit(&cluster, call("count", json!([packets.to_string()])));
    result(&cluster, &id);
    let begun = Instant::now();
    assert_eq!(Reader::open(&cluster, &id).rest().0, packets);
    let alone = begun.elapsed();
    let mut readers: Vec<_> = (0..slow).map(|_| Reader::open(&cluster, &id)).collect();
    let before = memory(&cluster);
    let begun = Instant::now();
    thread::scope(|scope| {
        let fast = scope.spawn(|| (Reader::open(&cluster, &id).rest().0, begun.elapsed()));
        while !fast.is_finished() {
            readers.iter_mut().for_each(Reader::dawdle);
            thread::sleep(pause);
        }
        let (read, beside) = fast.join().unwrap();
        assert_eq!(read, packets);
        println!("{packets} packets: {alone:?} alone, {beside:?} beside {slow} slow readers");
    });
    let grown = memory(&cluster).saturating_sub(before) / MIB;
    assert!(grown < 96, "{grown} MiB for {slow} slow readers");
    // Those that come late have made no room for minutes, were closed, and go on.
    let mut cuts = 0;
    for reader in readers {
        let (read, cut) = reader.rest();
        assert_eq!(read, packets);
        cuts += cut;
    }
    println!("{cuts} connections of slow readers were closed");
}

#[test]
fn a_reader_that_takes_nothing_is_closed_and_goes_on() {
    // More than the systems of both ends hold.
    let packets = 200_000;
    let cluster = open().set("write_timeout", "1").start();
    let id = submit(&cluster, call("count", json!([packets.to_string()])));
    result(&cluster, &id);
    let reader = Reader::open(&cluster, &id);
    until("it is closed", || {
        (count_connections(&cluster) == 1).then_some(())
    });
    let (read, cuts) = reader.rest();
    assert_eq!(read, packets);
    assert!(cuts > 0, "it had all of it before");
}

#[test]
fn a_word_of_the_last_packet_is_found_and_all_of_it_comes() {
    let packets = amount(1_000_000, 150_000) as u64;
    let cluster = open().start();
    let id = submit(&cluster, call("count", json!([packets.to_string()])));
    result(&cluster, &id);
    let before = memory(&cluster);
    let (mut next, mut requests) = (0, 0);
    let found = loop {
        let word = packets - 1;
        let page = get(
            &cluster,
            &format!("/jobs/{id}/search?q={word}&since={next}"),
        )
        .json();
        requests += 1;
        if let Some(found) = page["matches"].as_array().and_then(|found| found.first()) {
            break found.clone();
        }
        next = page["next"].as_u64().expect("more to be looked at");
    };
    assert_eq!(found["packet"], packets - 1);
    assert!(requests <= 1 + packets / 1000, "{requests}");
    let mut output =
        HttpRequest::get(&api(&format!("/jobs/{id}/output"))).stream(address(&cluster));
    let (mut lines, mut buffer) = (0, vec![0; 64 * 1024]);
    loop {
        let length = output.read(&mut buffer).unwrap();
        if length == 0 {
            break;
        }
        lines += memchr::memchr_iter(b'\n', &buffer[..length]).count() as u64;
    }
    assert_eq!(lines, packets);
    let grown = memory(&cluster).saturating_sub(before) / MIB;
    assert!(grown < 96, "{grown} MiB");
}

#[test]
fn one_job_among_many_is_found_by_following_next() {
    let jobs = amount(100_000, 2000);
    let cluster = open().start();
    let mut client = HttpClient::connect(address(&cluster));
    let one = client.ask(&HttpRequest::post(
        &api("/jobs"),
        json!({"host": "nowhere", "procedure": "p", "info": {"release": 7}, "arguments": ["x".repeat(1 << 20)]}),
    ));
    assert_eq!(one.status(), 201, "{}", one.text());
    let other = HttpRequest::post(&api("/jobs"), json!({"host": "nowhere", "procedure": "p"}));
    for _ in 0..jobs {
        assert_eq!(client.ask(&other).status(), 201);
    }
    let mut cursor = String::new();
    let mut examined = 0;
    let found = loop {
        let path = api(&format!("/jobs?info.release=7&limit=10{cursor}"));
        let answer: HttpAnswer = client.ask(&HttpRequest::get(&path));
        assert_eq!(answer.status(), 200, "{}", answer.text());
        assert!(answer.body.len() < 8192, "{}", answer.body.len());
        let page = answer.json();
        let looked = page["examined"].as_u64().unwrap();
        assert!(looked <= 20_000, "{looked}");
        examined += looked;
        if let Some(job) = page["jobs"].as_array().and_then(|jobs| jobs.first()) {
            break job.clone();
        }
        cursor = format!(
            "&cursor={}",
            page["next"].as_str().expect("more to be looked at")
        );
    };
    assert_eq!(found["id"], one.json()["id"]);
    assert!(examined > jobs as u64, "{examined}");
    // The live ones need no walk through all of them.
    let page = client
        .ask(&HttpRequest::get(&api("/jobs?state=queued&state=running")))
        .json();
    let live = page["jobs"].as_array().unwrap().len() as u64;
    assert!(page["examined"].as_u64().unwrap() <= live + 100, "{page}");
    assert_eq!(page["complete"], true);
}

#[test]
fn idle_connections_keep_nobody_out() {
    let idle = amount(9000, 300);
    let cluster = Cluster::builder()
        .tables(&format!("max_connections_per_peer = 9900\n{OPEN}"))
        .start();
    let connections: Vec<_> = (0..idle)
        .map(|_| HttpClient::connect(address(&cluster)))
        .collect();
    until("all of them are there", || {
        (count_connections(&cluster) > idle).then_some(())
    });
    let job =
        HttpRequest::post(&api("/jobs?wait=30"), call("echo", json!([1]))).ask(address(&cluster));
    assert_eq!(job.json()["end"], json!({"result": [1]}));
    drop(connections);
    until("they are gone", || {
        (count_connections(&cluster) == 1).then_some(())
    });
}

#[test]
fn live_jobs_are_listed_page_by_page() {
    let cluster = open().start();
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(submit(&cluster, call("silent", json!([]))));
        let ended = submit(&cluster, call("echo", json!([])));
        result(&cluster, &ended);
    }
    for order in ["newest", "oldest"] {
        let (mut cursor, mut found) = (String::new(), Vec::new());
        loop {
            let path = format!("/jobs?state=running&order={order}&limit=2{cursor}");
            let page = get(&cluster, &path).json();
            for job in page["jobs"].as_array().unwrap() {
                found.push(job["id"].as_str().unwrap().to_owned());
            }
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        if order == "newest" {
            found.reverse();
        }
        assert_eq!(found, ids, "{order}");
    }
}
