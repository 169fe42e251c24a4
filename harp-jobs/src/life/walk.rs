//! A walk over every pair of a life and what its runner, its attempt, its ledger and its
//! callers may say next. Each step is held against the table, and the whole against what
//! must be true of any life.

mod cell;
mod runner;

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use harp_values::standstill::LATE;
use harp_values::{Failure, Outcome};

use super::table::TABLE;
use super::*;
use crate::failures::SetBy;
use crate::record::EndRecord;
use crate::transport::Proved;
use runner::Runner;

pub(super) fn failure(name: &str) -> Failure {
    Failure::new(name, "m")
}

fn terms(retry: bool, unrun: bool) -> Terms {
    let on = vec!["error".to_owned(), "exception".to_owned()];
    Terms {
        connect: Duration::from_secs(10),
        silence: Duration::from_secs(20),
        silence_set_by: SetBy::Call,
        longest: Duration::from_secs(60),
        longest_set_by: SetBy::Dispatcher("max_exec_time"),
        last_words: Duration::from_secs(5),
        already: Duration::ZERO,
        retry: retry.then_some(Retry {
            pause: Duration::from_secs(5),
            on: Some(on),
            until: None,
        }),
        unrun: unrun.then(|| Token("u".into())),
    }
}

fn token() -> Token {
    Token("t".into())
}

fn starts() -> [Start; 4] {
    let token = token();
    [
        Start::ToRecord,
        Start::Recorded {
            at: 1,
            token: token.clone(),
        },
        Start::Attach {
            at: 1,
            token: token.clone(),
        },
        Start::Settle { token },
    ]
}

/// One of each event, and both of those that come in two kinds.
fn events() -> Vec<Event> {
    let end = std::sync::Arc::new(EndRecord {
        started: None,
        ended: 1,
        outcome: Outcome::Cancelled,
        packets: 0,
        remarks: Default::default(),
    });
    let mut events = vec![
        Event::LinkFailed(failure("link")),
        Event::Started,
        Event::Taken(std::sync::Arc::clone(&end)),
        Event::Committed,
        Event::Apart,
        Event::Back,
        Event::Note(token()),
        Event::Unrun(token()),
        Event::Cut(failure("cut")),
        Event::Cancel,
        Event::Due,
        Event::Leave,
        Event::Interrupt,
        Event::Settled,
        Event::Fenced,
        Event::Shut,
        Event::Refused(failure("refused")),
        Event::Fault,
        Event::Unkept(Lost::Refused("unkept".into())),
        Event::Unkept(Lost::Fenced),
    ];
    for (bytes, talks) in [(0, false), (10, true), (2 * parting::MOST, true)] {
        let at = Moment::START;
        events.push(Event::Sign(Sign { at, bytes, talks }));
    }
    for is_so in [false, true] {
        events.push(Event::LinkReady { keeps: is_so });
        for event in [
            |token, keeps| Event::First { token, keeps },
            |token, keeps| Event::NeverRan { token, keeps },
        ] {
            events.push(event(token(), is_so));
        }
        events.push(Event::NotCommitted {
            failure: failure("send"),
            certain: is_so,
        });
        events.push(Event::Reading(is_so));
        events.push(Event::HostEnd {
            outcome: Outcome::Exception(failure("host")),
            left: is_so,
        });
        for end in [Some(std::sync::Arc::clone(&end)), None] {
            events.push(Event::Closed(Closed { end, debt: is_so }));
        }
    }
    for host in [Proof::Confirmed, Proof::Unconfirmed] {
        events.push(Event::Proved(Proved::free(host)));
    }
    events.push(Event::Proved(Proved {
        host: Proof::Unconfirmed,
        keep: Duration::from_secs(60),
    }));
    events
}

pub(super) fn name_of(event: &Event) -> String {
    let text = format!("{event:?}");
    let end = text.find(|c: char| !c.is_alphanumeric());
    text[..end.unwrap_or(text.len())].to_owned()
}

fn kind_of(standing: &Standing) -> String {
    let text = format!("{standing:?}");
    let end = text.find(|c: char| !c.is_alphanumeric());
    text[..end.unwrap_or(text.len())].to_owned()
}

/// A life without its moments: what happens to it depends on nothing else.
fn shape(life: &Life) -> String {
    let standing = match life.standing() {
        Standing::Starting { link, record } => format!(
            "{} {:?}",
            match link {
                Link::Opening => "opening",
                Link::Ready(_) => "ready",
                Link::Failed(..) => "failed",
            },
            match record {
                StartRecord::Asked { before } => Some(*before),
                StartRecord::Made(_) => None,
            }
        ),
        Standing::Committing { wish, .. } => format!("{wish:?}"),
        Standing::Running { read, reach, .. } => format!("{read} {reach:?}"),
        Standing::Parting { outcome, .. } => format!("{outcome:?}"),
        Standing::Settling { debt, host, until } => {
            format!("{debt} {host:?} {}", until.is_some())
        }
        other => format!("{other:?}"),
    };
    let kind = kind_of(life.standing());
    let Life {
        keeps,
        talks,
        leaving,
        put_off,
        ..
    } = life;
    // How often is what its own test counts.
    let put_off = put_off.times > 0;
    format!("{kind} {standing} {keeps} {talks} {leaving} {put_off}")
}

struct Step {
    life: Life,
    now: Moment,
    runner: Runner,
}

/// Walks everything from every start; the pairs that were met, and the lives.
fn walk((retry, unrun): (bool, bool)) -> (usize, Vec<Step>, HashSet<(String, String)>) {
    let millisecond = Duration::from_millis(1);
    let mut met: HashMap<(String, Runner), usize> = HashMap::new();
    let mut steps: Vec<Step> = Vec::new();
    let mut behind: Vec<Vec<usize>> = Vec::new();
    let mut pairs = HashSet::new();
    let mut todo: VecDeque<(Option<usize>, Life, Moment, Runner)> = VecDeque::new();
    for start in starts() {
        let (life, orders) = Life::new(&start, terms(retry, unrun), Moment::START);
        let mut runner = Runner::of(&start);
        runner.carry_out(&orders, &life);
        todo.push_back((None, life, Moment::START, runner));
    }
    while let Some((from, life, now, runner)) = todo.pop_front() {
        let index = steps.len();
        match met.entry((shape(&life), runner.clone())) {
            Entry::Occupied(known) => {
                behind[*known.get()].extend(from);
                continue;
            }
            Entry::Vacant(new) => _ = new.insert(index),
        }
        behind.push(from.into_iter().collect());
        if !life.is_done() {
            assert!(
                runner.is_waiting() || life.due().is_some(),
                "waits for nothing: {life:?} {runner:?}"
            );
            for (event, later) in runner.events(&life) {
                let now = later.unwrap_or(now) + millisecond;
                let event = coming(&event, now);
                let mut next = life.clone();
                let orders = next.on(event.clone(), now).unwrap_or_else(|unexpected| {
                    panic!("{unexpected}: {life:?} {runner:?}");
                });
                pairs.insert((kind_of(life.standing()), name_of(&event)));
                let mut then = runner.clone();
                then.heard(&event);
                then.carry_out(&orders, &next);
                todo.push_back((Some(index), next, now, then));
            }
        }
        steps.push(Step { life, now, runner });
    }
    all_come_to_an_end(&steps, &behind);
    (met.len(), steps, pairs)
}

/// From everywhere there is a way to the end.
fn all_come_to_an_end(steps: &[Step], behind: &[Vec<usize>]) {
    let is_done = |index: &usize| steps[*index].life.is_done();
    let mut todo: Vec<usize> = (0..steps.len()).filter(is_done).collect();
    let mut ends: HashSet<usize> = todo.iter().copied().collect();
    while let Some(index) = todo.pop() {
        for from in &behind[index] {
            if ends.insert(*from) {
                todo.push(*from);
            }
        }
    }
    for (index, step) in steps.iter().enumerate() {
        assert!(ends.contains(&index), "no way to an end: {:?}", step.life);
    }
}

#[test]
fn every_pair_does_as_the_table_says() {
    let cells = cell::parse(TABLE);
    let mut pairs = HashSet::new();
    let mut count = 0;
    for terms in [(false, false), (true, false), (false, true)] {
        let (met, steps, seen) = walk(terms);
        count += met;
        pairs.extend(seen);
        let mut tried = HashSet::new();
        for step in &steps {
            // Whatever could come, and whatever could not, in each life once.
            if tried.insert((shape(&step.life), is_old(&step.life, step.now))) {
                for event in events() {
                    for now in moments(&step.life, &event, step.now) {
                        cell::compare(&cells, &step.life, &coming(&event, now), now);
                    }
                }
            }
            check_the_timer(&step.life);
            assert!(
                !step.life.is_done() || step.runner.is_over(),
                "{:?}",
                step.runner
            );
        }
    }
    assert!(count > 5000, "{count} pairs of life and runner");
    // What the table gives an answer to does come.
    for (standing, event) in cell::answered(&cells) {
        assert!(
            pairs.contains(&(standing.clone(), event.clone())),
            "{event} never came in {standing}"
        );
    }
}

/// Whether the connection was there too long ago.
fn is_old(life: &Life, now: Moment) -> bool {
    match life.standing() {
        Standing::Starting {
            link: Link::Ready(since) | Link::Failed(_, since),
            ..
        } => now.since(*since) >= life.terms.connect,
        _ => false,
    }
}

/// A sign of life comes when it is heard.
fn coming(event: &Event, now: Moment) -> Event {
    match event {
        Event::Sign(sign) => Event::Sign(Sign { at: now, ..*sign }),
        other => other.clone(),
    }
}

/// When an event is tried: what is due, then and late.
fn moments(life: &Life, event: &Event, now: Moment) -> Vec<Moment> {
    match (event, life.due()) {
        (Event::Due, Some(due)) => vec![due, due + LATE],
        (Event::Sign(_), Some(due)) => vec![now, due, due + LATE],
        _ => vec![now],
    }
}

/// `due` rings where something can be due, and nowhere else.
fn check_the_timer(life: &Life) {
    let mut later = life.clone();
    match life.due() {
        Some(due) => {
            assert!(later.on(Event::Due, due).is_ok(), "{life:?}");
            assert_ne!(later.due(), Some(due), "it would ring again: {later:?}");
        }
        None if life.is_done() => {}
        None => assert!(later.on(Event::Due, Moment::NEVER).is_err(), "{life:?}"),
    }
}

#[test]
fn the_table_is_shown() {
    let text = include_str!("../../../ARCHITECTURE.md");
    assert!(text.contains(TABLE), "ARCHITECTURE.md shows another table");
}
