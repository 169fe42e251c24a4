//! The lines of an export.
//!
//! An export is a gzip file of JSON lines. Each is an object with the CRC-32 of a record,
//! eight hexadecimal digits, and the record itself, whose text the CRC is of:
//!
//! ```json
//! {"crc":"0f3a9c52","record":{"export":{"version":1,"created":1700000000000}}}
//! ```
//!
//! Items come in this order: `export`, any number of services, then for each job its `call`, any number of
//! `packets`, and `end` or `live`, and at last `complete`, without which the export is cut
//! short. Text of users is there byte for byte. A reader passes over keys that it does not
//! know; what changes the meaning of the others raises `version`.

use std::io::{BufRead, Read, Write};

use flate2::Crc;
use harp_jobs::record::{CallRecord, LiveRecord, Remarks};
use harp_values::{JobId, Json};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::TransferError;

/// The version of the format that is written.
pub const VERSION: u32 = 1;

/// One record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Item {
    /// The first one.
    Export {
        /// Of the format.
        version: u32,
        /// In milliseconds since 1970, like all times.
        created: u64,
    },
    /// A service, whose jobs workers fetch.
    Service {
        /// Its id, 32 hexadecimal digits.
        id: String,
        /// What is on record of it.
        definition: Json,
    },
    /// A job's call: a job begins.
    Call {
        /// Which job.
        job: JobId,
        /// Its call.
        call: CallRecord,
    },
    /// Packets of that job: time of receipt and data of each, in order, none missing.
    Packets {
        /// Which job.
        job: JobId,
        /// Number of the first.
        first: u64,
        /// Time of receipt, in milliseconds since 1970, and data.
        packets: Vec<(u64, Json)>,
    },
    /// The job has not ended, and this is where it stands.
    Live {
        /// Which job.
        job: JobId,
        /// Where.
        state: LiveRecord,
    },
    /// The job has ended.
    End {
        /// Which job.
        job: JobId,
        /// When it started, if it did.
        #[serde(default)]
        started: Option<u64>,
        /// When it ended.
        ended: u64,
        /// How many packets it has.
        packets: u64,
        /// The end result as the client protocol has it.
        outcome: Json,
        /// What else is known of the end.
        #[serde(default, skip_serializing_if = "Remarks::is_empty")]
        remarks: Remarks,
        /// Where it stood, if its place in its queue was still kept.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        place: Option<LiveRecord>,
    },
    /// The last one.
    Complete {
        /// How many jobs there were.
        jobs: u64,
    },
}

#[derive(Serialize)]
struct LineOut<'a> {
    crc: String,
    record: &'a RawValue,
}

#[derive(Deserialize)]
struct LineIn<'a> {
    crc: &'a str,
    #[serde(borrow)]
    record: &'a RawValue,
}

/// Writes a record's line.
///
/// # Errors
///
/// [`TransferError::Io`].
pub fn write(out: &mut impl Write, record: &Item) -> Result<(), TransferError> {
    let record = serde_json::value::to_raw_value(record).map_err(std::io::Error::from)?;
    let line = LineOut {
        crc: crc(record.get()),
        record: &record,
    };
    serde_json::to_writer(&mut *out, &line).map_err(std::io::Error::from)?;
    out.write_all(b"\n")?;
    Ok(())
}

/// Reads records, one a line.
#[derive(Debug)]
pub struct Items<R> {
    input: R,
    /// Lines read so far.
    pub line: u64,
    /// Most bytes of a line.
    pub(super) longest: u64,
}

/// Most bytes of the first line, by which an export is known.
const FIRST_LINE: u64 = 64 * 1024;

/// Most bytes of a line: the longest text that a dispatcher can be configured to take, and what
/// stands around it.
const LONGEST_LINE: u64 = (1 << 30) + (1 << 20);

impl<R: BufRead> Items<R> {
    /// Reads from here.
    pub fn new(input: R) -> Items<R> {
        Items {
            input,
            line: 0,
            longest: LONGEST_LINE,
        }
    }

    /// The next one, `None` at the end of the file.
    ///
    /// # Errors
    ///
    /// [`TransferError`], if the line is none of an export's, or is cut short.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Item>, TransferError> {
        let mut text = Vec::new();
        let most = match self.line {
            0 => FIRST_LINE,
            _ => self.longest,
        };
        match (&mut self.input)
            .take(most + 1)
            .read_until(b'\n', &mut text)
        {
            Ok(0) => return Ok(None),
            Ok(_) if text.len() as u64 > most => {
                self.line += 1;
                return Err(match self.line {
                    1 => TransferError::NoExport,
                    _ => self.wrong(format_args!("it has more than {most} bytes")),
                });
            }
            Ok(_) => self.line += 1,
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                return Err(TransferError::CutShort);
            }
            Err(error) if self.line == 0 && error.kind() == std::io::ErrorKind::InvalidInput => {
                return Err(TransferError::NoExport);
            }
            Err(error) => return Err(error.into()),
        }
        if text.last() != Some(&b'\n') {
            return Err(TransferError::CutShort);
        }
        let line: LineIn<'_> = match serde_json::from_slice(&text) {
            Ok(line) => line,
            Err(_) if self.line == 1 => return Err(TransferError::NoExport),
            Err(error) => return Err(self.wrong(error)),
        };
        if crc(line.record.get()) != line.crc {
            return Err(self.wrong("its checksum does not fit"));
        }
        let record = serde_json::from_str(line.record.get());
        record.map(Some).map_err(|error| self.wrong(error))
    }

    /// The present line is wrong.
    pub(super) fn wrong(&self, why: impl ToString) -> TransferError {
        TransferError::Wrong {
            line: self.line,
            why: why.to_string(),
        }
    }
}

/// The checksum of a record's text, as it stands in its line.
#[must_use]
pub fn crc(text: &str) -> String {
    let mut crc = Crc::new();
    crc.update(text.as_bytes());
    format!("{:08x}", crc.sum())
}
