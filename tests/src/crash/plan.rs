//! What a job is to do, and what follows from that for everybody who watches.

use serde_json::{Value, json};

use super::random::Random;

/// A queue that jobs are submitted to, each queue by one client, one call after the
/// other: so the order of its jobs is known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lane {
    /// Its concurrency; `None` for calls without a queue.
    pub(crate) concurrency: Option<u64>,
    /// Where its jobs are run.
    pub(crate) at: At,
}

/// Where a call is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum At {
    /// At a host that counts, and keeps no calls.
    Counting,
    /// At a real harpd, by a procedure that ends at once.
    Harpd,
    /// At a real harpd, by one that streams: it goes on over crashes of the dispatcher.
    Kept,
}

/// The procedure of [`At::Kept`]: notes its runs, and whether another one runs beside it, and
/// says its packets.
pub(crate) const KEPT: (&str, &str, &str) = (
    "kept",
    "output = 'json-lines'\narguments = 'argv'",
    r#"trace=$1 lane=$2 tag=$3 packets=$4 padding=$5 pause=$6
    other=$(cat "$trace.runs" 2> /dev/null) && kill -0 "$other" 2> /dev/null &&
        echo "beside $tag" >> "$trace"
    echo $$ > "$trace.runs"
    echo "start $tag" >> "$trace"
    text=$(head -c "$padding" /dev/zero | tr '\0' x)
    number=0
    while [ $number -lt "$packets" ]; do
        sleep "$pause"
        printf '{"lane":%s,"tag":%s,"packet":%s,"padding":"%s"}\n' "$lane" "$tag" $number "$text"
        number=$((number + 1))
    done
    echo "end $tag" >> "$trace""#,
);

pub(crate) const LANES: [Lane; 8] = [
    Lane {
        concurrency: Some(1),
        at: At::Counting,
    },
    Lane {
        concurrency: Some(1),
        at: At::Counting,
    },
    Lane {
        concurrency: Some(3),
        at: At::Counting,
    },
    Lane {
        concurrency: None,
        at: At::Counting,
    },
    Lane {
        concurrency: None,
        at: At::Counting,
    },
    Lane {
        concurrency: Some(1),
        at: At::Harpd,
    },
    Lane {
        concurrency: Some(1),
        at: At::Kept,
    },
    Lane {
        concurrency: Some(2),
        at: At::Kept,
    },
];

/// One call.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) lane: usize,
    /// The call's number in its lane, counted up.
    pub(crate) tag: u64,
    /// How many packets the host sends.
    pub(crate) packets: u64,
    /// How much text is in each of them, in bytes.
    pub(crate) padding: u64,
    /// How long the host takes for each packet, in milliseconds.
    pub(crate) pause: u64,
    /// How long the host takes to be done with a call that was given up.
    pub(crate) linger: u64,
    /// Whether it ends with an exception.
    pub(crate) fails: bool,
    pub(crate) key: Option<String>,
    pub(crate) start_by: Option<u64>,
}

impl Plan {
    pub(crate) fn random(lane: usize, tag: u64, random: &mut Random) -> Plan {
        Plan {
            lane,
            tag,
            packets: random.below(12),
            padding: match random.below(10) {
                0 => 20_000,
                1 => 3_000,
                _ => random.below(100),
            },
            pause: random.below(25),
            linger: random.below(500),
            fails: random.one_in(6) && LANES[lane].at == At::Counting,
            key: random.one_in(2).then(|| format!("{lane}-{tag}")),
            start_by: random.one_in(8).then(|| 1 + random.below(2)),
        }
    }

    /// The request's line.
    pub(crate) fn request(&self, trace: &str) -> String {
        let lane = LANES[self.lane];
        let mut request = json!({"harpcaller": 1, "info": self.tag});
        let (host, procedure, arguments) = match lane.at {
            At::Counting => (
                "counting",
                "work",
                json!({
                    "lane": self.lane, "tag": self.tag, "packets": self.packets,
                    "padding": self.padding, "pause": self.pause, "linger": self.linger,
                    "fails": self.fails,
                }),
            ),
            At::Harpd => ("web01", "trace", json!([trace, self.tag.to_string()])),
            At::Kept => {
                // Longer than those of the others, so that crashes come while it runs.
                let pause = format!("0.{:03}", 10 * self.pause);
                let numbers = [self.lane as u64, self.tag, self.packets, self.padding];
                let numbers = numbers.map(|number| number.to_string());
                let [lane, tag, packets, padding] = numbers;
                (
                    "web01",
                    KEPT.0,
                    json!([trace, lane, tag, packets, padding, pause]),
                )
            }
        };
        request["host"] = json!(host);
        request["procedure"] = json!(procedure);
        request["arguments"] = arguments;
        if let Some(concurrency) = lane.concurrency {
            request["queue"] = json!({"name": {"lane": self.lane}, "concurrency": concurrency});
        }
        if let Some(key) = &self.key {
            request["key"] = json!(key);
        }
        if let Some(start_by) = self.start_by {
            request["start_by"] = json!(start_by);
        }
        request.to_string()
    }

    /// What a host has been asked, from the arguments it got.
    pub(crate) fn asked(arguments: &Value) -> Option<Plan> {
        let number = |key: &str| arguments[key].as_u64();
        Some(Plan {
            lane: usize::try_from(number("lane")?).ok()?,
            tag: number("tag")?,
            packets: number("packets")?,
            padding: number("padding")?,
            pause: number("pause")?,
            linger: number("linger")?,
            fails: arguments["fails"].as_bool()?,
            key: None,
            start_by: None,
        })
    }

    /// How many packets a job has that came to its end.
    pub(crate) fn all_packets(&self) -> u64 {
        match LANES[self.lane].at {
            At::Harpd => 0,
            At::Counting | At::Kept => self.packets,
        }
    }

    /// The text of a packet's data.
    pub(crate) fn packet(&self, number: u64) -> String {
        let padding = "x".repeat(usize::try_from(self.padding).unwrap_or_default());
        format!(
            r#"{{"lane":{},"tag":{},"packet":{number},"padding":"{padding}"}}"#,
            self.lane, self.tag
        )
    }

    /// The outcome of a call that nobody disturbs, as text.
    pub(crate) fn outcome(&self) -> String {
        if LANES[self.lane].at != At::Counting {
            return r#"{"result":null}"#.to_owned();
        }
        if self.fails {
            format!(
                r#"{{"exception":{{"type":"work","message":"{}"}}}}"#,
                self.tag
            )
        } else {
            format!(r#"{{"result":{}}}"#, self.tag)
        }
    }
}
