//! The cells of the table, read and compared.

use std::collections::HashMap;

use harp_values::standstill::PUT_OFF_TIMES;

use super::*;

/// A cell: its cases in order.
pub(super) type Cell = Vec<Case>;

/// By standing and event.
pub(super) type Cells = HashMap<(String, String), Cell>;

/// What happens if the conditions hold.
#[derive(Debug, Clone)]
pub(super) struct Case {
    conditions: Vec<String>,
    /// `-`, `=`, or where the job stands afterwards.
    next: String,
    orders: Vec<String>,
}

pub(super) fn parse(table: &str) -> Cells {
    let mut lines = table.lines().map(|line| {
        let line = line.trim_matches('|').split('|');
        line.map(|cell| cell.trim().to_owned()).collect::<Vec<_>>()
    });
    let head = lines.next().expect("a head");
    let mut cells = HashMap::new();
    for row in lines.skip(1) {
        assert_eq!(row.len(), head.len(), "{row:?}");
        for (standing, cell) in head.iter().zip(&row).skip(1) {
            let key = (standing.clone(), row[0].clone());
            cells.insert(key, cell.split("; ").map(case).collect());
        }
    }
    cells
}

fn case(text: &str) -> Case {
    let (conditions, rest) = match text.split_once(": ") {
        Some((conditions, rest)) => (conditions.split(" & ").map(str::to_owned).collect(), rest),
        None => (Vec::new(), text),
    };
    let mut rest = rest.split(", ").map(str::to_owned);
    Case {
        conditions,
        next: rest.next().expect("a standing"),
        orders: rest.collect(),
    }
}

/// The pairs of standing and event that the table gives an answer to.
pub(super) fn answered(cells: &Cells) -> Vec<(String, String)> {
    let is_answered = |cell: &&Cell| cell.iter().any(|case| case.next != "-");
    let keys = cells.iter().filter(|(_, cell)| is_answered(cell));
    keys.map(|(key, _)| key.clone()).collect()
}

/// Holds one step of the code against its cell.
pub(super) fn compare(cells: &Cells, life: &Life, event: &Event, now: Moment) {
    let mut next = life.clone();
    let got = next.on(event.clone(), now);
    if life.is_done() {
        assert_eq!(got, Ok(Orders::none()), "{event:?} in Done");
        assert!(next.is_done());
        return;
    }
    let key = (kind_of(life.standing()), name_of(event));
    let cell = cells
        .get(&key)
        .unwrap_or_else(|| panic!("no cell for {key:?}"));
    let holds = |condition: &String| holds(condition, life, event, now);
    let case = cell.iter().find(|case| case.conditions.iter().all(holds));
    let case = case.unwrap_or_else(|| panic!("no case for {key:?}: {life:?}"));
    let context = format!("{event:?} in {life:?}, by {case:?}");
    if case.next == "-" {
        assert!(got.is_err(), "{context}");
        assert_eq!(next.standing(), life.standing(), "{context}");
        return;
    }
    let orders = got.unwrap_or_else(|unexpected| panic!("{unexpected}: {context}"));
    compare_standing(&case.next, life, &next, &context);
    let orders: Vec<&Order> = orders.iter().collect();
    assert_eq!(orders.len(), case.orders.len(), "{orders:?}: {context}");
    for (order, text) in orders.into_iter().zip(&case.orders) {
        compare_order(order, text, life, event, &context);
    }
}

fn compare_standing(text: &str, before: &Life, after: &Life, context: &str) {
    if text == "=" {
        assert_eq!(before.standing(), after.standing(), "{context}");
        return;
    }
    let (kind, host) = with_argument(text);
    assert_eq!(kind_of(after.standing()), kind, "{context}");
    if let Standing::Ending { host: known, .. } = after.standing() {
        let known = known.map_or("left".to_owned(), word_of);
        assert_eq!(Some(known.as_str()), host, "{context}");
    }
}

fn compare_order(order: &Order, text: &str, life: &Life, event: &Event, context: &str) {
    let (kind, argument) = with_argument(text);
    let debug = format!("{order:?}");
    assert!(debug.starts_with(kind), "{debug} for {text}: {context}");
    match order {
        Order::Close { then, .. } => {
            let (outcome, is_again) = match then {
                Then::End(outcome) => (outcome, false),
                Then::Again { outcome, .. } => (outcome, true),
            };
            let expected = argument.expect("what it is closed with");
            assert_eq!(*outcome, meant(expected, life, event), "{context}");
            let tried_again = life.terms.retry.is_some() && *outcome != Outcome::Cancelled;
            // A fault of this program says nothing of the call: it is not made again.
            let is_ours = *outcome == internal() && life.standing_is_beyond_start();
            if expected != "same" {
                assert_eq!(is_again, tried_again && !is_ours, "{context}");
            }
        }
        Order::ShowHost(proof) => {
            if let Some(expected) = argument {
                assert_eq!(word_of(*proof), expected, "{context}");
            }
        }
        _ => assert_eq!(argument, None, "{context}"),
    }
}

impl Life {
    fn standing_is_beyond_start(&self) -> bool {
        !matches!(self.standing, Standing::Starting { .. })
    }
}

fn with_argument(text: &str) -> (&str, Option<&str>) {
    match text.split_once('(') {
        Some((name, argument)) => (name, Some(argument.trim_end_matches(')'))),
        None => (text, None),
    }
}

fn word_of(proof: Proof) -> String {
    format!("{proof:?}").to_lowercase()
}

fn internal() -> Outcome {
    Outcome::Error(failures::internal())
}

/// The outcome that a word of the table means.
fn meant(word: &str, life: &Life, event: &Event) -> Outcome {
    let limit = |limit: Limit| {
        Outcome::Error(match limit {
            Limit::Silence => failures::silence(life.terms.silence, life.terms.silence_set_by),
            Limit::Execution => failures::too_long(life.terms.longest, life.terms.longest_set_by),
        })
    };
    let missing_result = Outcome::Error(failures::missing_result());
    match (word, event, life.standing()) {
        ("f", Event::HostEnd { outcome, .. }, _) => outcome.clone(),
        (
            "f",
            Event::LinkFailed(failure)
            | Event::NotCommitted { failure, .. }
            | Event::Cut(failure)
            | Event::Refused(failure),
            _,
        ) => Outcome::Error(failure.clone()),
        (
            "link",
            _,
            Standing::Starting {
                link: Link::Failed(failure, _),
                ..
            },
        ) => Outcome::Error(failure.clone()),
        ("storage", Event::Unkept(Lost::Refused(why)), _) => Outcome::Error(failures::storage(why)),
        ("cancelled", ..) => Outcome::Cancelled,
        ("internal", ..) => internal(),
        ("missing_result", ..) => missing_result,
        // Whoever sends is not silent.
        ("limit", Event::Sign(_), _) => limit(Limit::Execution),
        ("limit", _, standing) => limit(match standing {
            // The shorter one; while the host is not listened to, the other.
            Standing::Running { read: false, .. }
            | Standing::Running {
                reach: Reach::Apart,
                ..
            } => Limit::Execution,
            _ => Limit::Silence,
        }),
        (
            "wish",
            _,
            Standing::Committing {
                wish: Some(wish), ..
            },
        ) => match wish {
            Wish::Cancel => Outcome::Cancelled,
            Wish::Limit(reached) => limit(*reached),
            Wish::Interrupt | Wish::Leave => missing_result,
        },
        ("same", _, Standing::Parting { outcome, .. }) => outcome.clone(),
        ("same", _, Standing::Ending { then, .. }) => match then {
            Then::End(outcome) | Then::Again { outcome, .. } => outcome.clone(),
        },
        _ => panic!("what is {word} in {life:?}?"),
    }
}

fn holds(condition: &str, life: &Life, event: &Event, now: Moment) -> bool {
    if let Some(condition) = condition.strip_prefix("not ") {
        return !holds(condition, life, event, now);
    }
    let standing = life.standing();
    match condition {
        "opening" => matches!(
            standing,
            Standing::Starting {
                link: Link::Opening,
                ..
            }
        ),
        "ready" => matches!(
            standing,
            Standing::Starting {
                link: Link::Ready(_),
                ..
            }
        ),
        "old" => is_old(life, now),
        "asked" => matches!(
            standing,
            Standing::Starting {
                record: StartRecord::Asked { .. },
                ..
            }
        ),
        "recorded" => !matches!(
            standing,
            Standing::Starting {
                record: StartRecord::Asked { before: false },
                ..
            }
        ),
        "unrun" => life.terms.unrun.is_some(),
        "keeps" => match event {
            Event::LinkReady { keeps } => *keeps,
            _ => life.keeps,
        },
        "leaving" => life.leaving,
        "leave" => matches!(
            standing,
            Standing::Committing {
                wish: Some(Wish::Leave),
                ..
            }
        ),
        "wished" => matches!(standing, Standing::Committing { wish: Some(_), .. }),
        "talks" => {
            let reach = matches!(
                standing,
                Standing::Running {
                    reach: Reach::Together,
                    ..
                }
            );
            let talks = match event {
                Event::Sign(sign) => sign.talks,
                _ => life.talks,
            };
            reach && talks
        }
        "flood" => match (event, standing) {
            (Event::Sign(sign), Standing::Running { run, reach, .. }) => {
                let is_over = run.end_by.max(life.put_off.until) <= now;
                sign.bytes > parting::MOST && *reach != Reach::Attaching && is_over
            }
            (Event::Sign(sign), _) => sign.bytes > parting::MOST,
            _ => false,
        },
        "late" => {
            let end = match standing {
                Standing::Running { run, .. } if matches!(event, Event::Sign(_)) => {
                    Some(run.end_by)
                }
                _ => life.first_end(),
            };
            end.is_some_and(|end| {
                let PutOff { until, times } = life.put_off;
                let times = if end > until { 0 } else { times };
                now.since(end.max(until)) >= LATE && times < PUT_OFF_TIMES
            })
        }
        "refused" => matches!(event, Event::Unkept(Lost::Refused(_))),
        "certain" => matches!(event, Event::NotCommitted { certain: true, .. }),
        "waiting" => matches!(
            standing,
            Standing::Running {
                reach: Reach::Unrun,
                ..
            }
        ),
        "attaching" => matches!(
            standing,
            Standing::Running {
                reach: Reach::Attaching,
                ..
            }
        ),
        "left" => match (event, standing) {
            (Event::HostEnd { left, .. }, _) => *left,
            (_, Standing::Ending { host, .. }) => host.is_none(),
            _ => false,
        },
        "again" => matches!(event, Event::Closed(Closed { end: None, .. })),
        "kept" => matches!(standing, Standing::Settling { until: Some(_), .. }),
        "keep" => matches!(event, Event::Proved(proved) if !proved.keep.is_zero()),
        "debt" => matches!(standing, Standing::Settling { debt: true, .. }),
        "proved" => matches!(standing, Standing::Settling { host: Some(_), .. }),
        other => panic!("what is {other}?"),
    }
}
