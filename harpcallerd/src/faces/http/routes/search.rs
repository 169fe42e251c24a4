//! `GET /jobs/JOB/search`: words or an expression in all of a job's output.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use regex::{Regex, RegexBuilder};
use serde::Serialize;
use tokio::time::Instant;

use crate::desk::packets::{Next, Span, Start, Until};
use crate::faces::http::packet;
use crate::faces::http::problem::Problem;
use crate::faces::http::query::Query;
use crate::faces::http::reply;
use crate::faces::http::reply::Answer;
use crate::faces::http::shared::{Asked, JobPath, Shared};
use crate::faces::http::text::without_escapes;

/// Matches of an answer.
const LIMIT: u64 = 100;
const GREATEST_LIMIT: u64 = 1000;

/// Bytes of output that one request looks at.
const BYTES: usize = 64 * 1024 * 1024;

/// How long one request looks.
const TIME: Duration = Duration::from_millis(500);

/// Characters around the first match of a packet that are shown.
const HEAD: usize = 400;

/// Of these, before the match.
const BEFORE: usize = 100;

/// Memory of an expression, in bytes.
const EXPRESSION: usize = 1024 * 1024;

/// Bytes of the text or expression itself.
const QUESTION: usize = 4096;

/// A packet in which something was found.
#[derive(Debug, Serialize)]
struct Match {
    packet: u64,
    head: String,
    /// In characters of `head`, the end not included.
    ranges: Vec<(usize, usize)>,
}

#[derive(Debug, Serialize)]
struct Found {
    matches: Vec<Match>,
    /// Where to go on, if there is more to look at.
    next: Option<u64>,
    /// The number after the last packet looked at.
    through: u64,
    total: u64,
}

/// `GET /jobs/JOB/search`.
pub(super) async fn show(
    State(shared): State<Arc<Shared>>,
    asked: Asked,
    JobPath(job): JobPath,
    mut query: Query,
) -> Result<Answer, Problem> {
    let question = query.text("q")?.unwrap_or_default();
    let since = query.number("since", 0, u64::MAX)?.unwrap_or(0);
    let limit = query.number("limit", 1, GREATEST_LIMIT)?.unwrap_or(LIMIT);
    let with_case = query.boolean("case")?;
    let is_expression = query.boolean("regex")?;
    query.done()?;
    let expression = expression(&question, with_case, is_expression)?;
    let span = Span {
        start: Start::At(since),
        until: Until::Now { limit: None },
    };
    let mut packets = shared.desk.packets(&asked.client, job, span).await?;
    let mut found = Found {
        matches: Vec::new(),
        next: None,
        through: since.min(packets.collected()),
        total: packets.collected(),
    };
    let (mut looked_at, by) = (0, Instant::now() + TIME);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    while let Next::Some(piece) = packets.next().await? {
        let mut is_full = false;
        packet::each(&piece, |number, _, data| {
            is_full = found.matches.len() >= limit
                || looked_at > 0 && (looked_at + data.len() > BYTES || Instant::now() >= by);
            if is_full {
                return false;
            }
            looked_at += data.len();
            found.through = number + 1;
            let text = packet::as_text(data);
            let text = without_escapes(&text);
            found.matches.extend(look(&expression, number, &text));
            true
        });
        if is_full {
            found.next = Some(found.through);
            break;
        }
    }
    Ok(reply::ok(&found))
}

fn expression(question: &str, with_case: bool, is_expression: bool) -> Result<Regex, Problem> {
    if question.is_empty() {
        return Err(Problem::field("q", "missing: what is looked for"));
    }
    if question.len() > QUESTION {
        return Err(Problem::field("q", format!("longer than {QUESTION} bytes")));
    }
    let text = if is_expression {
        question.to_owned()
    } else {
        regex::escape(question)
    };
    let expression = RegexBuilder::new(&text)
        .case_insensitive(!with_case)
        .size_limit(EXPRESSION)
        .dfa_size_limit(EXPRESSION)
        .build();
    expression.map_err(|error| Problem::field("q", error))
}

/// What is found in a text, if anything is.
fn look(expression: &Regex, packet: u64, text: &str) -> Option<Match> {
    let first = expression.find(text)?;
    // Counted from the match, so that a long text costs no more than its search.
    let before = text[..first.start()].char_indices().rev().take(BEFORE);
    let from = before.last().map_or(first.start(), |(at, _)| at);
    let behind = text[from..].char_indices().nth(HEAD);
    let to = behind.map_or(text.len(), |(at, _)| from + at);
    let mut ranges = Vec::new();
    // How many characters of the head there are up to a byte, counted once.
    let (mut at, mut characters) = (from, 0);
    for found in expression
        .find_iter(text)
        .take_while(|found| found.start() < to)
    {
        let end = found.end().min(to);
        characters += text[at..found.start()].chars().count();
        let start = characters;
        characters += text[found.start()..end].chars().count();
        at = end;
        if characters > start {
            ranges.push((start, characters));
        }
    }
    Some(Match {
        packet,
        head: text[from..to].to_owned(),
        ranges,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(question: &str, with_case: bool, is_expression: bool, text: &str) -> Option<Match> {
        let expression = expression(question, with_case, is_expression).unwrap();
        look(&expression, 7, text)
    }

    #[test]
    fn ranges_are_characters_of_the_head() {
        let one = found("ERROR", false, false, "\u{e4}\u{e4} error, Error").unwrap();
        assert_eq!(one.ranges, [(3, 8), (10, 15)]);
        assert!(found("ERROR", true, false, "error").is_none());
        assert!(found("a.c", false, false, "abc").is_none());
        assert_eq!(found("a.c", false, true, "xabc").unwrap().ranges, [(1, 4)]);
        let long = format!("{}needle{}", "\u{e4}".repeat(5000), "x".repeat(5000));
        let one = found("needle", false, false, &long).unwrap();
        assert_eq!(one.head.chars().count(), HEAD);
        assert_eq!(one.ranges, [(BEFORE, BEFORE + 6)]);
    }

    #[test]
    fn what_cannot_be_looked_for_is_told() {
        assert!(expression("(", false, true).is_err());
        assert!(expression("", false, false).is_err());
        assert!(expression("(a{1000}){1000}", false, true).is_err());
        assert!(expression("(", false, false).is_ok());
    }
}
