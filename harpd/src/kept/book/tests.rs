//! The book against what it promises, over any order of what callers and the clock do.

use std::collections::HashMap;

use harp_proto::JobId;
use proptest::prelude::*;

use super::*;

const MAX_KEEP: Duration = Duration::from_secs(100);

fn id(number: u8) -> CallId {
    let job: JobId = format!("8ec71d6b-28d1-4ce2-aa23-0000000000{number:02x}")
        .parse()
        .unwrap();
    CallId::first(job)
}

fn at(seconds: u64) -> Uptime {
    Uptime::after(Duration::from_secs(seconds))
}

fn asked(call: u8, connection: u64, epoch: u64, since: u64, newest: u64) -> Asked {
    Asked {
        call: id(call),
        user: "u".into(),
        connection,
        newest: at(newest),
        epoch,
        since,
    }
}

fn book() -> Book<u32> {
    Book::new("this".to_owned(), vec!["before".to_owned()])
}

fn request(book: &mut Book<u32>, now: u64, asked: &Asked, keep: u64) -> Answer<u32> {
    book.request(
        at(now),
        asked,
        Some("this"),
        Duration::from_secs(keep),
        || 1,
    )
}

fn denial(answer: Answer<u32>) -> Denial {
    match answer {
        Answer::Refused(denial) => denial,
        other => panic!("{other:?}"),
    }
}

#[test]
fn another_life_runs_nothing() {
    let mut book = book();
    for boot in [None, Some("before")] {
        let answer = book.request(at(1), &asked(1, 1, 1, 0, 1), boot, MAX_KEEP, || 1);
        let boot = "this".to_owned();
        let wrong = Denial::WrongBoot {
            boot,
            takes_traceparent: true,
        };
        assert_eq!(denial(answer), wrong);
    }
    assert_eq!(book.calls().count(), 0);
}

#[test]
fn a_request_runs_once_whoever_sends_it_again() {
    let mut book = book();
    let first = asked(1, 1, 5, 0, 1);
    assert_eq!(request(&mut book, 1, &first, 10), Answer::New(1));
    let known = Answer::Known {
        call: 1,
        ended: false,
        over: false,
    };
    let again = asked(1, 2, 6, 0, 2);
    assert_eq!(request(&mut book, 2, &again, 10), known);
    let stale = request(&mut book, 3, &first, 10);
    assert_eq!(denial(stale), Denial::StaleEpoch);
    let mut another = asked(1, 3, 9, 0, 3);
    another.user = "v".into();
    for answer in [
        request(&mut book, 3, &another, 10),
        book.attach(at(3), &another),
    ] {
        let nothing = Denial::NoSuchCall {
            boot: None,
            earlier: Vec::new(),
            remembers: Some(0),
        };
        assert_eq!(denial(answer), nothing);
    }
    book.ended(at(4), id(1));
    // Only the caller that has it can say so.
    assert_eq!(book.acknowledge(at(5), id(1), 1, 0, at(5), true), None);
    let done = book.acknowledge(at(5), id(1), 2, 0, at(5), true);
    assert_eq!(done, Some(Change::Forgotten(1)));
    let late = request(&mut book, 90, &asked(1, 4, 7, 0, 90), 10);
    let nothing_to_give = Denial::NoSuchCall {
        boot: Some("this".to_owned()),
        earlier: vec!["before".to_owned()],
        remembers: Some(0),
    };
    assert_eq!(denial(late), nothing_to_give);
    // And an attach is told since when nothing was forgotten.
    let remembers = |book: &mut Book<u32>, now| match book.attach(at(now), &asked(1, 5, 8, 0, now))
    {
        Answer::Refused(Denial::NoSuchCall { remembers, .. }) => remembers,
        other => panic!("{other:?}"),
    };
    assert_eq!(remembers(&mut book, 100), Some(0));
    book.tick(at(104), MAX_KEEP);
    assert_eq!(remembers(&mut book, 110), Some(109));
}

#[test]
fn what_was_overtaken_never_runs() {
    let mut book = book();
    let answer = book.attach(at(1), &asked(1, 1, 5, 0, 1));
    let unknown = Denial::NoSuchCall {
        boot: Some("this".to_owned()),
        earlier: vec!["before".to_owned()],
        remembers: None,
    };
    assert_eq!(denial(answer), unknown);
    let overtaken = request(&mut book, 2, &asked(1, 2, 4, 0, 2), 10);
    assert_eq!(denial(overtaken), Denial::StaleEpoch);
    // What another user asks for in vain is of no matter.
    let mut another = asked(2, 3, 99, 0, 2);
    another.user = "v".into();
    book.attach(at(2), &another);
    assert_eq!(
        request(&mut book, 2, &asked(2, 4, 1, 0, 2), 10),
        Answer::New(1)
    );
    // Nor does one that comes after its own lease.
    let late = request(&mut book, 30, &asked(3, 5, 1, 0, 20), 10);
    assert_eq!(late, Answer::TooOld);
    // A newer one does.
    assert_eq!(
        request(&mut book, 31, &asked(1, 6, 6, 0, 31), 10),
        Answer::New(1)
    );
}

#[test]
fn only_so_many_are_remembered_and_kept() {
    let mut memory = Memory::new(2);
    let user: Arc<str> = "u".into();
    for call in 1..4 {
        let time = u64::from(call);
        memory.remember(id(call), Arc::clone(&user), 1, at(time), at(time + 10));
        memory.tick(at(20), MAX_KEEP);
    }
    assert!(memory.call(id(1)).is_none());
    assert!(memory.call(id(2)).is_some() && memory.call(id(3)).is_some());
    assert_eq!(memory.remembers(at(20)), Some(19));
    for epoch in 1..10 {
        memory.overtake(id(9), &user, epoch, at(20 + epoch));
        memory.tick(at(30), MAX_KEEP);
    }
    assert_eq!(memory.overtaken(id(9), &user), 9);

    let mut book = book();
    let job = |number: usize| -> CallId {
        let text = format!("8ec71d6b-28d1-4ce2-aa23-{number:012x}");
        CallId::first(text.parse().unwrap())
    };
    for number in 0..=MOST_CALLS {
        let mut asked = asked(0, 1, 1, 0, 1);
        asked.call = job(number);
        let answer = request(&mut book, 1, &asked, 10);
        assert_eq!(answer == Answer::Full, number == MOST_CALLS);
    }
}

#[derive(Debug, Clone)]
enum Step {
    Wait(u64),
    /// Somebody looks at the clock.
    Tick,
    Request {
        call: u8,
        epoch: u64,
        age: u64,
    },
    Attach {
        call: u8,
        epoch: u64,
        since: u64,
    },
    Ack {
        call: u8,
        packets: u64,
        age: u64,
        end: bool,
    },
    Cancel {
        call: u8,
    },
    Leave {
        call: u8,
    },
    End {
        call: u8,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let call = 0_u8..3;
    let step = prop_oneof![
        (0_u64..40).prop_map(Step::Wait),
        Just(Step::Tick),
        (call.clone(), 0_u64..6, 0_u64..20).prop_map(|(call, epoch, age)| Step::Request {
            call,
            epoch,
            age
        }),
        (call.clone(), 0_u64..6, 0_u64..4).prop_map(|(call, epoch, since)| Step::Attach {
            call,
            epoch,
            since
        }),
        (call.clone(), 0_u64..4, 0_u64..20, any::<bool>()).prop_map(|(call, packets, age, end)| {
            Step::Ack {
                call,
                packets,
                age,
                end,
            }
        }),
        call.clone().prop_map(|call| Step::Cancel { call }),
        call.clone().prop_map(|call| Step::Leave { call }),
        call.prop_map(|call| Step::End { call }),
    ];
    proptest::collection::vec(step, 0..120)
}

/// What the test knows of a call that was accepted.
#[derive(Debug)]
struct Known {
    accepted: u64,
    ended: Option<u64>,
    /// When its last caller was known to be there, and who has it.
    newest: u64,
    holder: u64,
    epoch: u64,
    acknowledged: u64,
    /// It has been told to end.
    told: bool,
    /// Nothing is kept of it any more.
    done: bool,
}

const KEEP: u64 = 15;

proptest! {
    #[test]
    fn it_keeps_its_promises(steps in steps()) {
        let mut book = book();
        let mut now = 100;
        let mut connection = 0;
        let mut known: HashMap<u8, Known> = HashMap::new();
        let mut overtaken: HashMap<u8, (u64, u64)> = HashMap::new();
        for step in steps {
            connection += 1;
            match step {
                Step::Wait(time) => now += time,
                Step::Request { call, epoch, age } => {
                    let newest = now - age;
                    let asked = asked(call, connection, epoch, 0, newest);
                    match request(&mut book, now, &asked, KEEP) {
                        Answer::New(_) => {
                            prop_assert!(!known.contains_key(&call), "a second run");
                            prop_assert!(now < newest + KEEP, "older than its lease");
                            if let Some((newer, _)) = overtaken.get(&call) {
                                prop_assert!(epoch >= *newer, "it was overtaken");
                            }
                            known.insert(call, Known {
                                accepted: now, ended: None, newest, holder: connection, epoch,
                                acknowledged: 0, told: false, done: false,
                            });
                        }
                        answer => judge(&mut known, call, &asked, false, now, &answer)?,
                    }
                }
                Step::Attach { call, epoch, since } => {
                    let asked = asked(call, connection, epoch, since, now);
                    let answer = book.attach(at(now), &asked);
                    prop_assert!(!matches!(answer, Answer::New(_)));
                    if let Answer::Refused(Denial::NoSuchCall { remembers, .. }) = &answer
                        && *remembers != Some(0)
                    {
                        prop_assert!(!known.contains_key(&call));
                        let before = overtaken.get(&call).map_or(0, |(epoch, _)| *epoch);
                        overtaken.insert(call, (epoch.max(before), now));
                    }
                    judge(&mut known, call, &asked, true, now, &answer)?;
                }
                Step::Ack { call, packets, age, end } => {
                    let Some(of) = known.get_mut(&call) else { continue };
                    let change = book.acknowledge(
                        at(now), id(call), of.holder, packets, at(now - age), end,
                    );
                    let was_over = !of.done && of.is_over(now);
                    prop_assert_eq!(matches!(change, Some(Change::End(_))), was_over);
                    of.told |= was_over;
                    if of.done || of.holder == 0 {
                        continue;
                    }
                    of.newest = of.newest.max(now - age);
                    of.acknowledged = of.acknowledged.max(packets);
                    let done = end && of.ended.is_some();
                    prop_assert_eq!(matches!(change, Some(Change::Forgotten(_))), done);
                    of.done |= done;
                }
                Step::Cancel { call } => {
                    let Some(of) = known.get_mut(&call) else { continue };
                    let told = book.cancel(id(call), of.holder);
                    let expected = of.ended.is_none() && !of.told && !of.done && of.holder != 0;
                    prop_assert_eq!(told, expected);
                    of.told |= told;
                }
                Step::Leave { call } => {
                    if let Some(of) = known.get_mut(&call) {
                        book.left(id(call), of.holder);
                        of.holder = 0;
                    }
                }
                Step::End { call } => {
                    if let Some(of) = known.get_mut(&call)
                        && of.ended.is_none()
                    {
                        book.ended(at(now), id(call));
                        of.ended = Some(now);
                    }
                }
                Step::Tick => tick(&mut book, &mut known, &mut overtaken, now)?,
            }
        }
    }
}

fn tick(
    book: &mut Book<u32>,
    known: &mut HashMap<u8, Known>,
    overtaken: &mut HashMap<u8, (u64, u64)>,
    now: u64,
) -> Result<(), TestCaseError> {
    let changes = book.tick(at(now), MAX_KEEP);
    let mut ends = 0;
    let mut forgotten = 0;
    for of in known.values_mut().filter(|of| !of.done) {
        if of.is_over(now) {
            of.told = true;
            ends += 1;
        }
        if of.ended.is_some() && now >= of.newest + 2 * KEEP {
            of.done = true;
            forgotten += 1;
        }
    }
    let of_kind = |is: fn(&Change<u32>) -> bool| changes.iter().filter(|change| is(change)).count();
    prop_assert_eq!(of_kind(|change| matches!(change, Change::End(_))), ends);
    prop_assert_eq!(
        of_kind(|change| matches!(change, Change::Forgotten(_))),
        forgotten
    );
    // Ids are known for long enough, and what is forgotten is owned up to.
    known.retain(|_, of| !(of.done && now >= of.ended.unwrap_or(of.accepted) + MAX_KEEP.as_secs()));
    overtaken.retain(|_, (_, since)| now < *since + MAX_KEEP.as_secs());
    Ok(())
}

impl Known {
    /// True if its lease is over and it has not been told.
    fn is_over(&self, now: u64) -> bool {
        self.ended.is_none() && !self.told && now >= self.newest + KEEP
    }
}

/// Answers to what is no new call.
fn judge(
    known: &mut HashMap<u8, Known>,
    call: u8,
    asked: &Asked,
    is_attach: bool,
    now: u64,
    answer: &Answer<u32>,
) -> Result<(), TestCaseError> {
    let Some(of) = known.get_mut(&call) else {
        let is_known = matches!(answer, Answer::Known { .. });
        prop_assert!(!is_known);
        return Ok(());
    };
    match answer {
        Answer::Known { ended, over, .. } => {
            prop_assert!(!of.done);
            let least = of.epoch + u64::from(is_attach);
            prop_assert!(asked.epoch >= least, "an older one has taken it");
            prop_assert!(asked.since >= of.acknowledged, "packets are missing");
            prop_assert_eq!(*ended, of.ended.is_some());
            prop_assert_eq!(*over, of.is_over(now));
            of.told |= *over;
            of.epoch = asked.epoch;
            of.holder = asked.connection;
            of.newest = of.newest.max(asked.newest.since_start().as_secs());
        }
        Answer::Refused(Denial::StaleEpoch) => {
            let is_copy = is_attach && !of.done && asked.epoch == of.epoch;
            prop_assert!(asked.epoch < of.epoch || is_copy);
        }
        Answer::Refused(Denial::LostPackets { first }) => {
            prop_assert_eq!(*first, of.acknowledged);
            prop_assert!(asked.since < *first);
        }
        Answer::Refused(Denial::NoSuchCall { remembers, .. }) => {
            prop_assert!(of.done);
            prop_assert_eq!(*remembers, Some(0));
            of.epoch = of.epoch.max(asked.epoch);
        }
        other => prop_assert!(false, "{other:?}"),
    }
    Ok(())
}
