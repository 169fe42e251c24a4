//! Whether the engine's file is as it was written, found out without the engine, which
//! passes over damage in silence: it takes a damaged message for the end of its segment,
//! and goes on without what came behind.
//!
//! Only what was written since the engine's snapshot is looked at: the engine reads the
//! same at an opening, and tells damage in older parts itself, when it comes to them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use memchr::memmem;

use super::engine_log::{self, Kind, LogSegment, SEGMENT};
use super::frame::{self, Header};
use super::layout;

/// Findings of a survey.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// Bytes of the file that are not what was written, by their places. A hole that a
    /// crash can leave at the end of what was written is none.
    pub(super) damaged: Vec<Range<u64>>,
    /// The highest mark that the engine would find; `None` if there is none in what was
    /// looked at.
    pub(super) mark: Option<u64>,
}

impl Survey {
    /// Names the damage of a store that must have this mark, in a word; `None` if nothing
    /// is.
    pub(super) fn problem(&self, expected: u64) -> Option<String> {
        if let Some(first) = self.damaged.first() {
            let bytes: u64 = self
                .damaged
                .iter()
                .map(|range| range.end - range.start)
                .sum();
            return Some(format!(
                "{} of its file db, {bytes} bytes in all, not what was written, the first at byte {}",
                match self.damaged.len() {
                    1 => "one part is".to_owned(),
                    parts => format!("{parts} parts are"),
                },
                first.start
            ));
        }
        let is_short = self.mark.is_some_and(|mark| mark < expected);
        is_short.then(|| LAST_GONE.to_owned())
    }
}

/// Told of a store whose end is missing.
pub(super) const LAST_GONE: &str = "what was written last is gone, or the file db was put back \
     alone from a backup: put back the whole directory, or have \"harpcallerd check-store \
     --repair\" accept the loss";

/// Looks at the log from this LSN on. `orderly`: the store was closed in order, so nothing
/// can be half written.
pub(super) fn survey(data_file: &Path, from: u64, orderly: bool) -> io::Result<Survey> {
    let file = match File::open(data_file) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Survey::default()),
        Err(error) => return Err(error),
    };
    let length = file.metadata()?.len();
    let headers: Vec<_> = (0..engine_log::count(length))
        .map(|index| engine_log::header(&file, index))
        .collect::<io::Result<_>>()?;
    let known: BTreeSet<u64> = headers.iter().flatten().map(|(lsn, _)| *lsn).collect();
    let last = known.last().copied().unwrap_or(0);
    let stable = headers.iter().flatten().map(|(_, stable)| *stable).max();
    // From here on the engine reads on only as long as nothing is missing.
    let tail = stable.unwrap_or(0) / SEGMENT as u64 * SEGMENT as u64;

    let mut survey = Survey::default();
    let mut tail_marks = BTreeMap::new();
    for (index, header) in (0..).zip(headers) {
        if header.is_some_and(|(lsn, _)| lsn + SEGMENT as u64 <= from.min(tail)) {
            continue;
        }
        let segment = engine_log::segment(&file, index, length)?;
        survey.damaged.extend(damaged(
            &segment,
            from,
            last,
            |lsn| !orderly && lsn >= tail || known.contains(&lsn),
            |lsn| !orderly && lsn >= tail,
        ));
        let Some((lsn, _)) = segment.header else {
            continue;
        };
        let mark = highest_mark(&file, &segment)?;
        if lsn < tail {
            survey.mark = survey.mark.max(mark);
        } else {
            tail_marks.insert(lsn, (mark, segment.broken_after.is_none()));
        }
    }
    for (expected, (lsn, (mark, is_whole))) in (tail..).step_by(SEGMENT).zip(tail_marks) {
        if lsn != expected {
            break;
        }
        survey.mark = survey.mark.max(mark);
        if !is_whole {
            break;
        }
    }
    Ok(survey)
}

/// Finds the damage of a segment. `is_elsewhere`: the segment with this LSN need not be
/// here; `may_be_torn`: a crash can have left it half written.
fn damaged(
    segment: &LogSegment,
    from: u64,
    last: u64,
    is_elsewhere: impl Fn(u64) -> bool,
    may_be_torn: impl Fn(u64) -> bool,
) -> Vec<Range<u64>> {
    let Some((lsn, _)) = segment.header else {
        // The remains of a segment whose header is gone.
        let own = |lsn| lsn / SEGMENT as u64 * SEGMENT as u64;
        let is_lost = segment
            .messages
            .iter()
            .any(|message| message.lsn >= from && !is_elsewhere(own(message.lsn)));
        return if is_lost {
            segment.gaps.clone()
        } else {
            Vec::new()
        };
    };
    if segment.broken_after.is_none() || may_be_torn(lsn) || segment.is_written_over() {
        return Vec::new();
    }
    if lsn < last {
        return segment.gaps.clone();
    }
    // The end of the log is in this one, behind its last message.
    let own = |at: u64| {
        segment
            .messages
            .iter()
            .any(|message| message.at >= at && message.lsn / SEGMENT as u64 == lsn / SEGMENT as u64)
    };
    let gaps = segment.gaps.iter();
    gaps.filter(|gap| own(gap.end)).cloned().collect()
}

/// The highest mark in what the engine reads of a segment.
fn highest_mark(file: &File, segment: &LogSegment) -> io::Result<Option<u64>> {
    let sought = [&frame::MAGIC[..], layout::MARK_KEY].concat();
    let finder = memmem::Finder::new(&sought);
    let read = segment.broken_after.unwrap_or(segment.messages.len());
    let mut highest = None;
    for message in &segment.messages[..read] {
        if !matches!(message.kind, Kind::Page | Kind::Change) {
            continue;
        }
        let mut content = vec![0; message.len];
        file.read_exact_at(&mut content, message.at)?;
        for at in finder.find_iter(&content) {
            let framed = &content[at..];
            let header = Header::read(framed).filter(|header| header.fits(framed));
            highest = highest.max(header.map(|header| header.mark));
        }
    }
    Ok(highest)
}
