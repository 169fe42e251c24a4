//! Image of a store whose engine cannot be trusted: its values, found in
//! the engine's file by themselves.
//!
//! The log is read from its oldest message to its newest, and every value remembered by
//! its key; a page as a whole says too what is there no more. So the newest value counts,
//! and what was removed is not found again. In the holes between messages that can be read
//! values are found by their frames. When such a one was written is known by its mark: no
//! later than the first message that has this mark or a higher one.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io;
use std::ops::{Bound, ControlFlow, Range};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use bytes::Bytes;
use memchr::memmem;

use super::engine_log::{self, Content, Kind, Message};
use super::entries::Entries;
use super::frame::{self, Header};
use super::layout;
use super::sled::{EngineError, Value, unframed};

/// The values of a store, by their keys.
pub(super) struct Image {
    file: File,
    entries: BTreeMap<Vec<u8>, Position>,
    /// Keys of values that were found damaged, and nowhere whole.
    broken: BTreeSet<Vec<u8>>,
}

/// Position of a value.
#[derive(Debug, Clone)]
enum Position {
    /// In the file: where its frame begins, and its length with that.
    File { at: u64, len: usize, mark: u64 },
    /// Changed since, by a repair.
    Here(Vec<u8>),
}

/// A value that stands in a hole.
struct Loose {
    header: Header,
    at: u64,
}

impl Image {
    /// Reads the whole file. It takes memory for each key, not for values.
    pub(super) fn read(data_file: &Path) -> io::Result<Image> {
        let file = File::open(data_file)?;
        let length = file.metadata()?.len();
        let (mut messages, mut loose, mut broken) = (Vec::new(), Vec::new(), BTreeSet::new());
        for index in 0..engine_log::count(length) {
            let segment = engine_log::segment(&file, index, length)?;
            for gap in segment.gaps {
                look_into(&file, gap, &mut loose, &mut broken)?;
            }
            let kinds = [Kind::Page, Kind::Change];
            let about = segment.messages.into_iter();
            messages.extend(about.filter(|message| kinds.contains(&message.kind)));
        }
        messages.sort_by_key(|message| message.lsn);
        let mut replay = Replay::default();
        // The older ones first, each once what was written with it is known.
        loose.sort_by_key(|loose| loose.header.mark);
        let mut loose = loose.into_iter().peekable();
        let mut content = Vec::new();
        for message in &messages {
            content.resize(message.len, 0);
            file.read_exact_at(&mut content, message.at)?;
            replay.message(message, &content);
            while let Some(found) = loose.next_if(|loose| loose.header.mark <= replay.mark) {
                replay.loose(&found);
            }
        }
        loose.for_each(|found| replay.loose(&found));
        let Replay {
            entries, removed, ..
        } = replay;
        broken.retain(|key| !entries.contains_key(key) && !removed.contains(key));
        Ok(Image {
            file,
            entries,
            broken,
        })
    }

    /// Keys of values that were found damaged, and nowhere whole.
    pub(super) fn broken(&self) -> impl Iterator<Item = &[u8]> {
        self.broken.iter().map(|key| &key[..])
    }

    /// Changes an entry, or removes it.
    pub(super) fn change(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        match value {
            Some(value) => self.entries.insert(key, Position::Here(value)),
            None => self.entries.remove(&key),
        };
    }

    /// All entries: keys and values without frames.
    pub(super) fn all(&self) -> impl Iterator<Item = Result<(&[u8], Bytes), EngineError>> {
        self.entries
            .iter()
            .map(|(key, place)| Ok((&key[..], unframed(key, &self.framed(place)?)?)))
    }

    fn framed(&self, place: &Position) -> Result<Vec<u8>, EngineError> {
        match place {
            Position::Here(value) => Ok(value.clone()),
            Position::File { at, len, .. } => {
                let mut bytes = vec![0; *len];
                let read = self.file.read_exact_at(&mut bytes, *at);
                read.map_err(EngineError::Io)?;
                Ok(bytes)
            }
        }
    }
}

impl Entries for Image {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        let place = self.entries.get(key);
        place
            .map(|place| unframed(key, &self.framed(place)?))
            .transpose()
    }

    fn contains(&self, key: &[u8]) -> Result<bool, EngineError> {
        Ok(self.entries.contains_key(key))
    }

    fn last(&self, from: &[u8], to: &[u8]) -> Result<Option<(Bytes, Bytes)>, EngineError> {
        let range = (Bound::Included(from), Bound::Included(to));
        let last = self.entries.range::<[u8], _>(range).next_back();
        last.map(|(key, place)| {
            let value = unframed(key, &self.framed(place)?)?;
            Ok((Bytes::copy_from_slice(key), value))
        })
        .transpose()
    }

    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], &Value) -> ControlFlow<()>,
    ) -> Result<(), EngineError> {
        let range = (Bound::Included(from), Bound::Excluded(to));
        for (key, place) in self.entries.range::<[u8], _>(range) {
            let value = Value::new(key, &self.framed(place)?);
            if visit(key, &value).is_break() {
                break;
            }
        }
        Ok(())
    }
}

/// The log as it is read again, up to a message.
#[derive(Default)]
struct Replay {
    entries: BTreeMap<Vec<u8>, Position>,
    /// Keys of which it is known that they were removed.
    removed: BTreeSet<Vec<u8>>,
    /// Prefix that the keys of a page have in common.
    prefixes: HashMap<u64, Vec<u8>>,
    /// The highest mark up to here.
    mark: u64,
}

impl Replay {
    fn message(&mut self, message: &Message, bytes: &[u8]) {
        let place = |value: &[u8]| {
            let offset = value.as_ptr() as usize - bytes.as_ptr() as usize;
            let header = Header::read(value);
            Position::File {
                at: message.at + offset as u64,
                len: value.len(),
                mark: header.map_or(0, |header| header.mark),
            }
        };
        match engine_log::content(message.kind, bytes) {
            None => {}
            Some(Content::Set(rest, value)) => {
                // A framed value says its whole key itself.
                let key = match Header::read(value) {
                    Some(header) => header.key.to_vec(),
                    None => match self.prefixes.get(&message.page) {
                        Some(prefix) => [prefix, rest].concat(),
                        None => return,
                    },
                };
                self.set(key, place(value));
            }
            Some(Content::Remove(rest)) => {
                if let Some(prefix) = self.prefixes.get(&message.page) {
                    self.remove([prefix, rest].concat());
                }
            }
            Some(Content::Page {
                low,
                high,
                prefix,
                entries,
            }) => {
                self.prefixes.insert(message.page, prefix.to_vec());
                let now: BTreeMap<Vec<u8>, &[u8]> = entries
                    .into_iter()
                    .map(|(rest, value)| ([prefix, rest].concat(), value))
                    .collect();
                let above = match high {
                    b"" => Bound::Unbounded,
                    high => Bound::Excluded(high),
                };
                let before = self.entries.range::<[u8], _>((Bound::Included(low), above));
                let gone = before
                    .map(|(key, _)| key)
                    .filter(|key| !now.contains_key(*key));
                for key in gone.cloned().collect::<Vec<_>>() {
                    self.remove(key);
                }
                for (key, value) in now {
                    self.set(key, place(value));
                }
            }
        }
    }

    fn set(&mut self, key: Vec<u8>, place: Position) {
        if key == layout::MARK_KEY
            && let Position::File { mark, .. } = place
        {
            self.mark = self.mark.max(mark);
        }
        self.removed.remove(&key);
        self.entries.insert(key, place);
    }

    fn remove(&mut self, key: Vec<u8>) {
        self.entries.remove(&key);
        self.removed.insert(key);
    }

    /// Takes in a value from a hole, if none of its key is known that is as new. What was
    /// removed stays so: no job comes twice.
    fn loose(&mut self, Loose { header, at }: &Loose) {
        let is_new = match self.entries.get(&header.key[..]) {
            Some(Position::File { mark, .. }) => header.mark > *mark,
            Some(Position::Here(_)) => false,
            None => !self.removed.contains(&header.key[..]),
        };
        if is_new {
            let place = Position::File {
                at: *at,
                len: header.len + header.value_len,
                mark: header.mark,
            };
            self.set(header.key.to_vec(), place);
        }
    }
}

/// Finds values by their frames.
fn look_into(
    file: &File,
    gap: Range<u64>,
    loose: &mut Vec<Loose>,
    broken: &mut BTreeSet<Vec<u8>>,
) -> io::Result<()> {
    let len = usize::try_from(gap.end - gap.start).unwrap_or(0);
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, gap.start)?;
    let mut next = 0;
    for at in memmem::find_iter(&bytes, &frame::MAGIC) {
        // Within the value before.
        if at < next {
            continue;
        }
        let Some(header) = Header::read(&bytes[at..]) else {
            continue;
        };
        if header.fits(&bytes[at..]) {
            next = at + header.len + header.value_len;
            let at = gap.start + at as u64;
            loose.push(Loose { header, at });
        } else {
            broken.insert(header.key.to_vec());
        }
    }
    Ok(())
}
