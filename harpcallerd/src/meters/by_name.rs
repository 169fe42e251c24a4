//! Ends of jobs by their hosts and procedures, where the configuration wants that
//! (`metrics_labels`).

use std::collections::BTreeMap;
use std::time::Duration;

use harp_service::Table;
use harp_time::Histogram;

use super::OTHER;

/// Names that are told apart; ends of all others are counted together.
const MOST: usize = 1000;

/// What ends are told apart by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Labels {
    /// By the host.
    pub host: bool,
    /// By the procedure.
    pub procedure: bool,
}

/// Host and procedure, each empty where nothing is told apart by it.
pub type Names = (String, String);

/// Ends by names.
#[derive(Debug, Clone, Default)]
pub struct ByName {
    labels: Labels,
    /// How many have ended in each way.
    pub ended: BTreeMap<(Names, &'static str), u64>,
    /// How long those took that had started.
    pub execution: BTreeMap<(Names, &'static str), Histogram>,
    known: usize,
}

impl Labels {
    /// Takes the key out of the configuration.
    pub(crate) fn take(table: &Table<'_>) -> Labels {
        let mut labels = Labels::default();
        for name in table.strings("metrics_labels").unwrap_or_default() {
            match name.as_str() {
                "host" => labels.host = true,
                "procedure" => labels.procedure = true,
                _ => {
                    let problem = format!("must be of \"host\" and \"procedure\", not {name:?}");
                    table.problem("metrics_labels", problem);
                }
            }
        }
        labels
    }

    /// True if anything is told apart.
    #[must_use]
    pub fn are_wanted(self) -> bool {
        self.host || self.procedure
    }
}

impl ByName {
    /// Counts an end; `execution` is `None` if the job had not started. Other labels than
    /// before begin anew.
    pub(super) fn note(
        &mut self,
        labels: Labels,
        (host, procedure): (&str, &str),
        way: &'static str,
        execution: Option<Duration>,
    ) {
        if self.labels != labels {
            *self = ByName {
                labels,
                ..ByName::default()
            };
        }
        let name = |is_wanted: bool, name: &str| {
            if is_wanted {
                name.to_owned()
            } else {
                String::new()
            }
        };
        let mut names = (name(labels.host, host), name(labels.procedure, procedure));
        let first = (names.clone(), "");
        let is_known = self
            .ended
            .range(first..)
            .next()
            .is_some_and(|((there, _), _)| *there == names);
        if !is_known {
            if self.known < MOST {
                self.known += 1;
            } else {
                names = (name(labels.host, OTHER), name(labels.procedure, OTHER));
            }
        }
        *self.ended.entry((names.clone(), way)).or_default() += 1;
        if let Some(took) = execution {
            let execution = self.execution.entry((names, way));
            let execution = execution.or_insert_with(|| Histogram::new(Histogram::LONG));
            execution.note(took);
        }
    }

    /// What ends are told apart by.
    #[must_use]
    pub fn labels(&self) -> Labels {
        self.labels
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_names_are_told_apart_and_the_rest_is_other() {
        let labels = Labels {
            host: true,
            procedure: false,
        };
        let mut ends = ByName::default();
        for number in 0..3000 {
            let host = format!("host{number}");
            let took = (number % 2 == 0).then_some(Duration::from_secs(1));
            ends.note(labels, (&host, "p"), "returned", took);
            ends.note(labels, (&host, "p"), "error", None);
        }
        let names: std::collections::BTreeSet<_> =
            ends.ended.keys().map(|(names, _)| names.clone()).collect();
        assert_eq!(names.len(), MOST + 1);
        let other = (OTHER.to_owned(), String::new());
        assert_eq!(ends.ended[&(other.clone(), "error")], 2000);
        assert_eq!(ends.execution[&(other, "returned")].count(), 1000);
        assert!(names.iter().all(|(_, procedure)| procedure.is_empty()));
        ends.note(Labels::default(), ("host1", "p"), "error", None);
        assert_eq!(ends.ended.len(), 1, "begun anew");
    }
}
