//! What was measured, as a table for people and as JSON.

use std::fmt::Write as _;
use std::process::Command;

use serde_json::{Value, json};

/// One measured value, beside that of its reference if it has one.
#[derive(Debug, Clone)]
pub(crate) struct Figure {
    /// What was measured.
    pub(crate) name: &'static str,
    /// Its unit.
    pub(crate) unit: &'static str,
    /// How much.
    pub(crate) value: f64,
    /// What the reference reached, in the same run.
    pub(crate) reference: Option<f64>,
    /// What it should be.
    pub(crate) wanted: Wanted,
}

/// What a figure should be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wanted {
    /// This much, or less.
    AtMost(f64),
    /// This part of the reference, or more.
    Share(f64),
    /// This part of the reference, or more, and this much.
    ShareAndAtLeast(f64, f64),
    /// No more than this above the reference.
    Above(f64),
}

/// All figures of a run.
#[derive(Debug)]
pub(crate) struct Report {
    quick: bool,
    repeat: usize,
    figures: Vec<(Figure, Vec<Measured>)>,
}

impl Report {
    /// A report without figures.
    pub(crate) fn new(quick: bool, repeat: usize) -> Report {
        Report {
            quick,
            repeat,
            figures: Vec::new(),
        }
    }

    /// Adds what one measurement of a group gave.
    pub(crate) fn add(&mut self, figures: Vec<Figure>) {
        for figure in figures {
            let measured = (figure.value, figure.reference);
            match self
                .figures
                .iter_mut()
                .find(|(known, _)| known.name == figure.name)
            {
                Some((_, all)) => all.push(measured),
                None => self.figures.push((figure, vec![measured])),
            }
        }
    }

    /// A table in Markdown: medians, and the spread of each.
    pub(crate) fn table(&self) -> String {
        let mut out = format!("{}\n\n", self.heading());
        out += "| figure | value (min to max) | reference | wanted | got | |\n";
        out += "| --- | ---: | ---: | --- | ---: | --- |\n";
        for (figure, all) in &self.figures {
            let row = Row::of(figure, all);
            let reference = row.reference.map_or(String::new(), number);
            let judgement = match (self.quick, row.reached) {
                (true, _) => "not judged",
                (false, true) => "reached",
                (false, false) => "MISSED",
            };
            // Writing to a string cannot fail.
            let _ = writeln!(
                out,
                "| {} | {} {} ({} to {}) | {reference} | {} | {} | {judgement} |",
                figure.name,
                number(row.value),
                figure.unit,
                number(row.least),
                number(row.most),
                figure.wanted.text(figure.unit),
                row.got,
            );
        }
        out
    }

    /// The report as JSON, with every single measurement.
    pub(crate) fn json(&self) -> String {
        let figures: Vec<Value> = self
            .figures
            .iter()
            .map(|(figure, all)| {
                let row = Row::of(figure, all);
                json!({
                    "figure": figure.name,
                    "unit": figure.unit,
                    "median": row.value,
                    "reference_median": row.reference,
                    "wanted": figure.wanted.text(figure.unit),
                    "got": row.got,
                    "reached": if self.quick { Value::Null } else { json!(row.reached) },
                    "measurements": all,
                })
            })
            .collect();
        let run = json!({
            "run": self.heading(),
            "quick": self.quick,
            "repeat": self.repeat,
            "figures": figures,
        });
        format!("{run:#}\n")
    }

    fn heading(&self) -> String {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let kind = if self.quick { "quick form, " } else { "" };
        format!(
            "HarpCaller {}, {kind}each measured {} times, on {cores} cores ({}), Linux {}, {}",
            env!("CARGO_PKG_VERSION"),
            self.repeat,
            processor(),
            rustix::system::uname().release().to_string_lossy(),
            first_line(Command::new("rustc").arg("--version")),
        )
    }
}

/// A value and that of its reference.
type Measured = (f64, Option<f64>);

/// One line of the table.
struct Row {
    value: f64,
    least: f64,
    most: f64,
    reference: Option<f64>,
    got: String,
    reached: bool,
}

impl Row {
    fn of(figure: &Figure, all: &[Measured]) -> Row {
        let value = median(all.iter().map(|measured| measured.0));
        let references: Vec<f64> = all.iter().filter_map(|measured| measured.1).collect();
        let reference = (!references.is_empty()).then(|| median(references.into_iter()));
        // The reference of the same round, since the machine changes between rounds.
        let share = median(
            all.iter()
                .map(|(value, reference)| value / reference.unwrap_or(f64::NAN)),
        );
        let above = median(
            all.iter()
                .map(|(value, reference)| value - reference.unwrap_or(f64::NAN)),
        );
        let (got, reached) = match figure.wanted {
            Wanted::AtMost(wanted) => (number(value), value <= wanted),
            Wanted::Share(wanted) => (format!("{share:.2}"), share >= wanted),
            Wanted::ShareAndAtLeast(wanted, floor) => {
                (format!("{share:.2}"), share >= wanted && value >= floor)
            }
            Wanted::Above(wanted) => (format!("{above:+.2}"), above <= wanted),
        };
        Row {
            value,
            least: all
                .iter()
                .map(|measured| measured.0)
                .fold(f64::INFINITY, f64::min),
            most: all.iter().map(|measured| measured.0).fold(0.0, f64::max),
            reference,
            got,
            reached,
        }
    }
}

impl Wanted {
    fn text(self, unit: &str) -> String {
        match self {
            Wanted::AtMost(wanted) => format!("at most {} {unit}", number(wanted)),
            Wanted::Share(share) => format!("{share} of the reference"),
            Wanted::ShareAndAtLeast(share, floor) => {
                format!("{share} of the reference and {} {unit}", number(floor))
            }
            Wanted::Above(wanted) => format!("reference + {} {unit}", number(wanted)),
        }
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Three digits that mean something, or all of a large number.
fn number(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    name.map_or("unknown processor", |(_, name)| name)
        .to_owned()
}

fn first_line(command: &mut Command) -> String {
    let output = command
        .output()
        .map(|output| output.stdout)
        .unwrap_or_default();
    let text = String::from_utf8_lossy(&output);
    text.lines().next().unwrap_or("unknown compiler").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(wanted: Wanted, measured: &[(f64, Option<f64>)]) -> String {
        let mut report = Report::new(false, measured.len());
        for (value, reference) in measured {
            report.add(vec![Figure {
                name: "calls",
                unit: "/s",
                value: *value,
                reference: *reference,
                wanted,
            }]);
        }
        report.table()
    }

    #[test]
    fn a_share_is_that_of_the_same_round() {
        let table = report(
            Wanted::Share(0.5),
            &[(10.0, Some(20.0)), (40.0, Some(50.0)), (6.0, Some(10.0))],
        );
        assert!(table.contains("| 0.60 | reached |"), "{table}");
        assert!(table.contains("10.0 /s (6.00 to 40.0)"), "{table}");
    }

    #[test]
    fn what_is_missed_is_said() {
        let table = report(Wanted::AtMost(2.0), &[(3.0, None)]);
        assert!(table.contains("MISSED"), "{table}");
        let table = report(Wanted::Above(1.0), &[(3.0, Some(2.5))]);
        assert!(table.contains("| +0.50 | reached |"), "{table}");
        let table = report(Wanted::ShareAndAtLeast(0.5, 100.0), &[(60.0, Some(70.0))]);
        assert!(table.contains("MISSED"), "{table}");
    }
}
