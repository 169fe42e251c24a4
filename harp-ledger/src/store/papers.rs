//! Papers in the store: each is kept in parts, the first of which has the revision and the
//! length of the whole. All parts of a paper are written in one batch, with the removal of
//! those of the paper before that are left over.

use std::ops::ControlFlow;

use bytes::BytesMut;
use harp_jobs::ledger::{Paper, PaperId, PaperKind};

use super::entries::Entries;
use super::error::StoreError;
use super::layout::{Key, PIECE};
use super::varint;

/// First byte of the keys.
const TABLE: u8 = b'a';

/// Bytes of a key: table, kind, name, part.
const KEY: usize = 1 + 1 + 16 + 4;

/// The key of a part of a paper.
pub(super) fn key(id: PaperId, part: u32) -> Key {
    head(id).with(&part.to_be_bytes())
}

fn head(id: PaperId) -> Key {
    let key = Key::new(TABLE).with(&[id.kind as u8]);
    key.with(&id.name.to_be_bytes())
}

/// The name and the number of the part that a key is of.
fn part_of(key: &[u8]) -> Option<(u128, u32)> {
    if key.len() != KEY {
        return None;
    }
    let name: [u8; 16] = key[2..18].try_into().ok()?;
    let part: [u8; 4] = key[18..].try_into().ok()?;
    Some((u128::from_be_bytes(name), u32::from_be_bytes(part)))
}

/// True if a key is one of a paper.
pub(super) fn is_key(key: &[u8]) -> bool {
    key.first() == Some(&TABLE) && part_of(key).is_some()
}

/// The parts of a paper, in their order.
pub(super) fn parts(paper: &Paper) -> Vec<Vec<u8>> {
    let (first, rest) = paper.text.split_at(paper.text.len().min(PIECE));
    let mut head = Vec::with_capacity(first.len() + 2 * varint::MAX_LEN);
    varint::put(&mut head, paper.revision);
    varint::put(&mut head, paper.text.len() as u64);
    head.extend_from_slice(first);
    let rest = rest.chunks(PIECE).map(<[u8]>::to_vec);
    std::iter::once(head).chain(rest).collect()
}

/// A paper, and of how many parts it is; `None` if there is none.
///
/// # Errors
///
/// If what is there is damaged, or cannot be read.
pub(super) fn read(entries: &dyn Entries, id: PaperId) -> Result<Option<(Paper, u32)>, StoreError> {
    let Some(first) = entries.get(&key(id, 0))? else {
        return Ok(None);
    };
    let damaged = || StoreError::Unreadable(format!("a paper is damaged: {:032x}", id.name));
    let mut rest = &first[..];
    let revision = varint::take(&mut rest).ok_or_else(damaged)?;
    let length = varint::take(&mut rest).ok_or_else(damaged)?;
    let length = usize::try_from(length).map_err(|_| damaged())?;
    if length > Paper::LONGEST {
        return Err(damaged());
    }
    let mut text = BytesMut::with_capacity(length);
    text.extend_from_slice(rest);
    let mut count = 1;
    while text.len() < length {
        let part = entries.get(&key(id, count))?.ok_or_else(damaged)?;
        text.extend_from_slice(&part);
        count += 1;
    }
    if text.len() != length {
        return Err(damaged());
    }
    let text = text.freeze();
    Ok(Some((Paper { id, revision, text }, count)))
}

/// All papers of a kind by their names. One that is damaged is told to the log and passed
/// over.
pub(super) fn all(entries: &dyn Entries, kind: PaperKind) -> Result<Vec<Paper>, StoreError> {
    let least = PaperId { kind, name: 0 };
    let name = u128::MAX;
    let last = key(PaperId { kind, name }, u32::MAX);
    let mut names = Vec::new();
    entries.scan(&key(least, 0), &last, &mut |key, _| {
        names.extend(part_of(key).filter(|(_, part)| *part == 0));
        ControlFlow::Continue(())
    })?;
    let mut papers = Vec::new();
    for (name, _) in names {
        match read(entries, PaperId { kind, name }) {
            Ok(paper) => papers.extend(paper.map(|(paper, _)| paper)),
            Err(StoreError::Unreadable(why)) => tracing::error!("{why}"),
            Err(error) => return Err(error),
        }
    }
    Ok(papers)
}

/// Why a part cannot be of any paper that is there, if so: for a check of the store.
pub(super) fn problem(entries: &dyn Entries, key: &[u8]) -> Result<Option<String>, StoreError> {
    let kind = PaperKind::ALL
        .into_iter()
        .find(|kind| key.get(1) == Some(&(*kind as u8)));
    let (Some(kind), Some((name, part))) = (kind, part_of(key)) else {
        return Ok(Some(
            "a paper of a kind that this release does not know".into(),
        ));
    };
    match read(entries, PaperId { kind, name }) {
        Ok(Some((_, parts))) if part < parts => Ok(None),
        Ok(_) => Ok(Some("a part of a paper that is not there".into())),
        Err(StoreError::Unreadable(why)) => Ok(Some(why)),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_apart() {
        let kind = PaperKind::Service;
        let id = PaperId {
            kind,
            name: 1 << 100,
        };
        assert_eq!(part_of(&key(id, 3)), Some((1 << 100, 3)));
        assert!(is_key(&key(id, 3)) && !is_key(b"a") && !is_key(b"v"));
    }
}
