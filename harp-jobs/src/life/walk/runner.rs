//! What runs a life, as far as it matters for what can happen next: the attempt's one
//! future, the ledger's one receipt, and those who may want something.

use super::*;

/// What the attempt is busy with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Busy {
    Nothing,
    Ready,
    Commit,
    Listen,
    Tell,
    Prove,
}

/// What the ledger was asked for last, and has not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Asked {
    Nothing,
    Start,
    Note,
    Close,
    Settle,
}

/// A runner and its surroundings.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Runner {
    busy: Busy,
    asked: Asked,
    /// Whether a start is on record.
    is_started: bool,
    /// Each of these comes once at most.
    may_cancel: bool,
    may_leave: bool,
    may_interrupt: bool,
    may_fail: bool,
    /// The end of the attempt as it was asked for.
    end: Option<String>,
    shown_ends: u8,
    shown_hosts: u8,
    is_over: bool,
}

impl Runner {
    pub(super) fn of(start: &Start) -> Runner {
        Runner {
            busy: Busy::Nothing,
            asked: Asked::Nothing,
            is_started: *start != Start::ToRecord,
            may_cancel: true,
            may_leave: true,
            may_interrupt: true,
            may_fail: true,
            end: None,
            shown_ends: 0,
            shown_hosts: 0,
            is_over: false,
        }
    }

    /// Whether something will come by itself.
    pub(super) fn is_waiting(&self) -> bool {
        self.asked != Asked::Nothing || !matches!(self.busy, Busy::Nothing | Busy::Tell)
    }

    /// Whether nothing is under way.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// What can come next, and when, if that matters.
    pub(super) fn events(&self, life: &Life) -> Vec<(Event, Option<Moment>)> {
        let mut names: Vec<&str> = match self.busy {
            Busy::Nothing | Busy::Tell => vec![],
            Busy::Ready => vec!["LinkReady", "LinkFailed"],
            Busy::Commit => vec!["Committed", "First", "NotCommitted"],
            Busy::Listen => vec![
                "Sign", "Note", "Unrun", "Apart", "Back", "NeverRan", "HostEnd", "Reading", "Cut",
                "Unkept",
            ],
            Busy::Prove => vec!["Proved"],
        };
        match self.asked {
            Asked::Nothing => {}
            Asked::Start if self.is_started => names.push("Started"),
            Asked::Start => names.extend(["Started", "Taken"]),
            // Its answer is the transport's alone.
            Asked::Note => {}
            Asked::Close => names.extend(["Closed", "Unkept"]),
            Asked::Settle => names.push("Settled"),
        }
        if self.asked != Asked::Nothing {
            names.push("Refused");
        }
        for (may, name) in [
            (self.may_cancel, "Cancel"),
            (self.may_leave, "Leave"),
            (self.may_interrupt, "Interrupt"),
            (self.may_fail, "Fault"),
        ] {
            if may {
                names.push(name);
            }
        }
        names.extend(["Fenced", "Shut"]);
        let mut events: Vec<_> = super::events()
            .into_iter()
            .filter(|event| names.contains(&name_of(event).as_str()))
            .filter(|event| self.is_answer(event))
            .map(|event| (event, None))
            .collect();
        if let Standing::Starting {
            link: Link::Ready(since) | Link::Failed(_, since),
            ..
        } = life.standing()
            && self.asked == Asked::Start
        {
            events.push((Event::Started, Some(*since + terms(false, false).connect)));
        }
        if let Some(due) = life.due() {
            events.push((Event::Due, Some(due)));
            events.push((Event::Due, Some(due + LATE)));
            if self.busy == Busy::Listen {
                let flood = super::events().into_iter().rfind(is_flood);
                events.extend(flood.map(|flood| (flood, Some(due + LATE + LATE))));
            }
        }
        events
    }

    /// The ledger answers with another attempt if that was asked for, or with an end that
    /// had come before.
    fn is_answer(&self, event: &Event) -> bool {
        match event {
            Event::Closed(Closed { end: None, .. }) => self
                .end
                .as_ref()
                .is_some_and(|end| end.starts_with("Again")),
            _ => true,
        }
    }

    /// What came is not waited for any more.
    pub(super) fn heard(&mut self, event: &Event) {
        match event {
            Event::LinkReady { .. }
            | Event::LinkFailed(_)
            | Event::Committed
            | Event::First { .. }
            | Event::NotCommitted { .. }
            | Event::NeverRan { .. }
            | Event::HostEnd { .. }
            | Event::Proved(_) => self.busy = Busy::Nothing,
            Event::Started => (self.asked, self.is_started) = (Asked::Nothing, true),
            Event::Taken(_)
            | Event::Closed(_)
            | Event::Settled
            | Event::Fenced
            | Event::Shut
            | Event::Refused(_) => self.asked = Asked::Nothing,
            Event::Cancel => self.may_cancel = false,
            Event::Leave => self.may_leave = false,
            Event::Interrupt => self.may_interrupt = false,
            Event::Fault => (self.may_fail, self.busy) = (false, Busy::Nothing),
            _ => {}
        }
    }

    pub(super) fn carry_out(&mut self, orders: &Orders, life: &Life) {
        assert!(!self.is_over, "orders after the end: {orders:?}");
        for order in orders.iter() {
            match order {
                Order::Begin => self.begin(Busy::Ready),
                Order::Start(_) => self.asked = Asked::Start,
                Order::Commit => {
                    assert!(self.is_started && self.asked != Asked::Start, "{life:?}");
                    self.begin(Busy::Commit);
                }
                Order::Note(_) => self.asked = Asked::Note,
                Order::Listen => self.begin(Busy::Listen),
                Order::Tell => self.busy = Busy::Tell,
                Order::Close { then, .. } => {
                    // The end counts what has been heard.
                    if self.busy == Busy::Listen {
                        self.busy = Busy::Nothing;
                    }
                    let end = format!("{then:?}");
                    let asked = self.end.get_or_insert_with(|| end.clone());
                    assert_eq!(*asked, end, "two ends");
                    self.asked = Asked::Close;
                }
                Order::Prove => self.busy = Busy::Prove,
                Order::Settle => self.asked = Asked::Settle,
                Order::Drop | Order::Detach => self.busy = Busy::Nothing,
                Order::ShowEnd(_) => self.shown_ends += 1,
                Order::ShowHost(_) => self.shown_hosts += 1,
            }
        }
        assert!(self.shown_ends <= 1 && self.shown_hosts <= 1, "{self:?}");
        if life.is_done() {
            (self.busy, self.asked) = (Busy::Nothing, Asked::Nothing);
            self.is_over = true;
        }
    }

    /// One future of the attempt at a time; a request that is going out is not dropped.
    fn begin(&mut self, busy: Busy) {
        // Whoever tells is listened to afterwards.
        if (self.busy, busy) == (Busy::Tell, Busy::Listen) {
            self.busy = Busy::Nothing;
        }
        assert_eq!(self.busy, Busy::Nothing, "{busy:?} beside it");
        self.busy = busy;
    }
}

fn is_flood(event: &Event) -> bool {
    matches!(event, Event::Sign(sign) if sign.bytes > parting::MOST)
}
