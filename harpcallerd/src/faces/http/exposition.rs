//! Metrics as text: OpenMetrics 1.0, or the older format of Prometheus (0.0.4).

use std::fmt::{Display, Write as _};

/// The two forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus text 0.0.4.
    Prometheus,
}

/// Kinds of families.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Only grows; its samples end in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by upper bounds, their sum and number.
    Histogram,
}

/// Families and their samples, one after the other.
#[derive(Debug)]
pub(super) struct Exposition {
    form: Form,
    text: String,
    /// The family that samples belong to.
    name: String,
}

impl Form {
    /// The form that a request takes.
    pub(super) fn taken(accept: Option<&str>) -> Form {
        if accept.is_some_and(|accept| accept.contains("application/openmetrics-text")) {
            Form::OpenMetrics
        } else {
            Form::Prometheus
        }
    }

    /// Its media type.
    pub(super) fn media_type(self) -> &'static str {
        match self {
            Form::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Form::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

impl Exposition {
    /// Nothing yet.
    pub(super) fn new(form: Form) -> Exposition {
        Exposition {
            form,
            text: String::new(),
            name: String::new(),
        }
    }

    /// Begins a family; `name` is without `_total`.
    pub(super) fn family(&mut self, name: &str, kind: Kind, help: &str) {
        name.clone_into(&mut self.name);
        let (word, suffix) = match (kind, self.form) {
            (Kind::Counter, Form::OpenMetrics) => ("counter", ""),
            (Kind::Counter, Form::Prometheus) => ("counter", "_total"),
            (Kind::Gauge, _) => ("gauge", ""),
            (Kind::Histogram, _) => ("histogram", ""),
        };
        // Into memory, where writing cannot fail; so below.
        let _ = writeln!(self.text, "# HELP {name}{suffix} {help}");
        let _ = writeln!(self.text, "# TYPE {name}{suffix} {word}");
        if self.form == Form::OpenMetrics && name.ends_with("_seconds") {
            let _ = writeln!(self.text, "# UNIT {name} seconds");
        }
    }

    /// A sample of the family. `suffix` is `_total`, `_bucket`, `_sum`, `_count` or nothing.
    pub(super) fn sample(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Display) {
        let _ = write!(self.text, "{}{suffix}", self.name);
        for (index, (name, value)) in labels.iter().enumerate() {
            let before = if index == 0 { '{' } else { ',' };
            let value = value
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n");
            let _ = write!(self.text, "{before}{name}=\"{value}\"");
        }
        let after = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.text, "{after} {value}");
    }

    /// A counter without labels.
    pub(super) fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.family(name, Kind::Counter, help);
        self.sample("_total", &[], value);
    }

    /// A gauge without labels.
    pub(super) fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, Kind::Gauge, help);
        self.sample("", &[], value);
    }

    /// All of it.
    pub(super) fn finish(mut self) -> String {
        if self.form == Form::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_name_counters_as_they_want_it() {
        let of = |form| {
            let mut exposition = Exposition::new(form);
            exposition.counter("a", "Help.", 1);
            exposition.gauge("b_seconds", "Help.", 1.5);
            exposition.sample("", &[("x", "\"\\\n"), ("y", "")], 2);
            exposition.finish()
        };
        assert_eq!(
            of(Form::Prometheus),
            "# HELP a_total Help.\n# TYPE a_total counter\na_total 1\n\
             # HELP b_seconds Help.\n# TYPE b_seconds gauge\nb_seconds 1.5\n\
             b_seconds{x=\"\\\"\\\\\\n\",y=\"\"} 2\n"
        );
        assert_eq!(
            of(Form::OpenMetrics),
            "# HELP a Help.\n# TYPE a counter\na_total 1\n\
             # HELP b_seconds Help.\n# TYPE b_seconds gauge\n# UNIT b_seconds seconds\nb_seconds 1.5\n\
             b_seconds{x=\"\\\"\\\\\\n\",y=\"\"} 2\n# EOF\n"
        );
    }
}
