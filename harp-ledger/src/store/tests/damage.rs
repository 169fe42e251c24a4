//! Stores whose files are damaged: nothing of it is silent, nobody's bytes are changed by
//! looking, and what is intact comes back.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::{Duration, Instant};

use super::directories::copy;
use super::*;
use crate::store::frame;
use crate::store::{Checked, Keep, OpenError, Problem};

/// Jobs of [`filled`].
pub(super) const JOBS: u64 = 40;

/// Every tenth waits, the one behind it runs, the others have returned with two packets.
fn has_ended(number: u64) -> bool {
    number % 10 > 1
}

async fn add(store: &Store, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let job = id(number);
        let arguments = text(100 + 300 * (number as usize % 7));
        store
            .submit(job, &call(arguments), &queued(number))
            .await
            .unwrap();
        if number % 10 == 0 {
            continue;
        }
        store.start(job, 5).await.unwrap();
        let packets = segment(0, &[text(80), text(50 + number as usize)]);
        store
            .append(job, vec![packets])
            .await
            .unwrap()
            .await
            .unwrap();
        if has_ended(number) {
            let end = returned(text(20 + number as usize), 2);
            store.finish(job, &end, PlaceAfter::Free).await.unwrap();
        }
    }
}

/// A store that was written to by two daemons, one after the other, and closed in order.
pub(super) async fn filled(directory: &Path) {
    for half in [0..JOBS / 2, JOBS / 2..JOBS] {
        let store = open(directory);
        add(&store, half).await;
        store.close().await;
    }
}

/// Names and contents of all files.
pub(super) fn bytes(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(directory).unwrap().map(Result::unwrap);
    let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
    files
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect()
}

pub(super) fn check(directory: &Path) -> (Checked, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut report = |problem| problems.push(problem);
    let checked = Store::check(directory, OPTIONS, false, &mut report).unwrap();
    (checked, problems)
}

fn salvage(directory: &Path, target: &Path) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut report = |problem| problems.push(problem);
    Store::salvage(directory, target, OPTIONS, &mut report).unwrap();
    problems
}

/// How many jobs are as they were. Those of which something is gone must be among `told`,
/// and none may be shown as something else.
pub(super) async fn as_they_were(store: &Store, told: &BTreeSet<JobId>) -> u64 {
    let live: BTreeMap<_, _> = store.live().await.unwrap().into_iter().collect();
    let mut whole = 0;
    for number in 0..JOBS {
        let job = id(number);
        let end = store.outcome(job).await;
        let has_call = matches!(store.job(job).await, Ok(Some(_)));
        let is_whole = has_call
            && match (has_ended(number), &end) {
                (true, Ok(Some(end))) => {
                    *end == returned(text(20 + number as usize), 2)
                        && packets(store, job, 0).await.len() == 2
                }
                (false, Ok(None)) => live
                    .get(&job)
                    .is_some_and(|live| live.started.is_some() == (number % 10 == 1)),
                _ => false,
            };
        whole += u64::from(is_whole);
        assert!(
            is_whole || told.contains(&job),
            "job {number} in silence: {end:?}"
        );
        assert!(
            !has_ended(number) || !live.contains_key(&job),
            "job {number} lives again"
        );
    }
    whole
}

fn jobs(problems: &[Problem]) -> BTreeSet<JobId> {
    problems.iter().filter_map(|problem| problem.job).collect()
}

/// Where the file is damaged, and what is written there.
struct Damage {
    at: u64,
    bytes: Vec<u8>,
}

fn damaged(original: &Path, to: &Path, damage: &Damage) {
    copy(original, to);
    let path = to.join("db");
    let mut db = fs::read(&path).unwrap();
    let at = damage.at as usize;
    for (byte, damage) in db[at..].iter_mut().zip(&damage.bytes) {
        *byte = *damage;
    }
    fs::write(path, db).unwrap();
}

/// What comes of a damaged store, in every way: it is opened and all is there, or refused
/// and untouched; a look changes nothing; what is salvaged is what was.
async fn judge(parent: &Path, directory: &Path, name: &str) -> u64 {
    let before = bytes(directory);
    let (checked, problems) = check(directory);
    assert_eq!(bytes(directory), before, "{name}: a check changes nothing");
    let target = parent.join(format!("salvaged-{name}"));
    let told = salvage(directory, &target);
    assert_eq!(bytes(directory), before, "{name}: nor does a salvage");
    let salvaged = open(&target);
    let mut about = jobs(&told);
    if told.iter().any(|problem| problem.job.is_none()) {
        // Jobs of which nothing is left cannot be told by name.
        about.extend((0..JOBS).map(id));
    }
    let whole = as_they_were(&salvaged, &about).await;
    salvaged.close().await;
    match Store::open(directory, OPTIONS) {
        Ok(store) => {
            let told = jobs(&problems);
            as_they_were(&store, &told).await;
            store.close().await;
        }
        Err(OpenError::Damaged { why, .. }) => {
            assert!(checked.problems > 0, "{name}: {why}");
            assert_eq!(
                bytes(directory),
                before,
                "{name}: a refused start changes nothing"
            );
            let mut ignored = |_| {};
            let repaired = Store::check(directory, OPTIONS, true, &mut ignored);
            if let Err(OpenError::Damaged { .. }) = repaired {
                assert_eq!(
                    bytes(directory),
                    before,
                    "{name}: nor does a refused repair"
                );
            }
        }
        Err(error) => panic!("{name}: {error}"),
    }
    whole
}

#[tokio::test]
async fn no_flipped_bit_is_silent_or_takes_others_along() {
    let parent = tempfile::tempdir().unwrap();
    let original = parent.path().join("store");
    filled(&original).await;
    let db = fs::read(original.join("db")).unwrap();
    let used = db.iter().rposition(|byte| *byte != 0).unwrap() as u64;
    // Head, middle and tail.
    let spread = (0..12).map(|n| used * (2 * n + 1) / 24);
    let places = [0, 7, 24, 30].into_iter().chain(spread);
    for at in places.chain([used - 40, used - 2]) {
        let directory = parent.path().join(format!("at-{at}"));
        let flipped = vec![db[at as usize] ^ 0x10];
        damaged(&original, &directory, &Damage { at, bytes: flipped });
        let whole = judge(parent.path(), &directory, &at.to_string()).await;
        assert!(whole >= JOBS - 9, "{whole} jobs are left of a flip at {at}");
    }
}

#[tokio::test]
async fn blocks_and_cuts_lose_no_more_than_what_stood_there() {
    let parent = tempfile::tempdir().unwrap();
    let original = parent.path().join("store");
    filled(&original).await;
    let db = fs::read(original.join("db")).unwrap();
    let used = db.iter().rposition(|byte| *byte != 0).unwrap() as u64;
    for at in [0, used / 3, used / 2, used - 4000] {
        for bytes in [vec![0; 512], vec![0; 4096], vec![0xa5; 4096]] {
            let name = format!("{at}-{}-{}", bytes.len(), bytes[0]);
            let directory = parent.path().join(&name);
            damaged(&original, &directory, &Damage { at, bytes });
            judge(parent.path(), &directory, &name).await;
        }
    }
    for cut in [used / 2, used - 300] {
        let name = format!("cut-{cut}");
        let directory = parent.path().join(&name);
        copy(&original, &directory);
        fs::write(directory.join("db"), &db[..cut as usize]).unwrap();
        judge(parent.path(), &directory, &name).await;
    }
}

#[tokio::test]
async fn a_mark_covers_each_write_soon_and_always_at_a_stop() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("store");
    let store = open(&directory);
    let about = || fs::read_to_string(directory.join("store.json")).unwrap();
    for number in 0..5 {
        let call = call(text(10));
        // So that this one finds a mark that was raised just now.
        store
            .submit(id(2 * number), &call, &queued(0))
            .await
            .unwrap();
        store
            .submit(id(2 * number + 1), &call, &queued(0))
            .await
            .unwrap();
        let (before, written) = (about(), Instant::now());
        while about() == before {
            assert!(
                written.elapsed() < Duration::from_secs(5),
                "it stays without a mark"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    store
        .submit(id(100), &call(text(10)), &queued(0))
        .await
        .unwrap();
    store
        .submit(id(101), &call(text(10)), &queued(0))
        .await
        .unwrap();
    store.close().await;
    // Whatever is cut off now is missed.
    let bytes = fs::read(directory.join("db")).unwrap();
    let last = frame::wrap(b"m", 0, b"")[..4].to_vec();
    let at = bytes.windows(4).rposition(|window| window == last).unwrap();
    let noise = vec![0x33; 4];
    let copied = parent.path().join("copy");
    let at = at as u64;
    damaged(&directory, &copied, &Damage { at, bytes: noise });
    let refusal = Store::open(&copied, OPTIONS).unwrap_err();
    assert!(
        refusal
            .to_string()
            .contains("what was written last is gone"),
        "{refusal}"
    );
}

#[tokio::test]
async fn what_was_pruned_does_not_come_back() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("store");
    let store = open(&directory);
    add(&store, 0..JOBS).await;
    let keep = Keep {
        jobs: Some(5),
        ..Keep::default()
    };
    while store.prune(keep).await.unwrap().more {}
    store.close().await;
    let target = parent.path().join("new");
    assert_eq!(salvage(&directory, &target), []);
    let store = open(&target);
    assert_eq!(store.contents().ended, 5);
    assert_eq!(store.live().await.unwrap().len(), 8);
    for number in 0..JOBS {
        let is_kept = !has_ended(number) || number >= JOBS - 5;
        let job = store.job(id(number)).await.unwrap();
        assert_eq!(job.is_some(), is_kept, "job {number}");
    }
    store.close().await;
}

#[tokio::test]
async fn a_value_of_every_table_is_told_when_it_is_damaged() {
    let parent = tempfile::tempdir().unwrap();
    let original = parent.path().join("store");
    let store = open(&original);
    let mut with_key = call(text(9000));
    with_key.key = Some("nightly".into());
    let submitted = store.submit_once(id(1), &with_key, &queued(1), None).await;
    submitted.unwrap();
    store.start(id(1), 5).await.unwrap();
    let appended = store.append(id(1), vec![segment(0, &[text(9000)])]).await;
    appended.unwrap().await.unwrap();
    let end = returned(text(9000), 1);
    store.finish(id(1), &end, PlaceAfter::Kept).await.unwrap();
    store
        .submit(id(2), &call(text(10)), &queued(2))
        .await
        .unwrap();
    store.close().await;

    let mut tables = BTreeSet::new();
    let keys: Vec<_> = {
        let engine = ::sled::open(&original).unwrap();
        engine.iter().keys().map(Result::unwrap).collect()
    };
    for key in keys.iter().filter(|key| key[0] != b'v') {
        tables.insert(key[0]);
        for at in [4, 20] {
            let directory = parent.path().join(format!("{key:02x?}-{at}"));
            copy(&original, &directory);
            let engine = ::sled::open(&directory).unwrap();
            let mut value = engine.get(key).unwrap().unwrap().to_vec();
            let at = at.min(value.len() - 1);
            value[at] ^= 1;
            engine.insert(key, value).unwrap();
            engine.flush().unwrap();
            drop(engine);
            // The engine has changed the length of its file.
            let about = directory.join("store.json");
            fs::write(&about, br#"{"layout":2,"mark":1}"#).unwrap();
            if key[0] == b'm' {
                let refusal = Store::open(&directory, OPTIONS).unwrap_err();
                assert!(matches!(refusal, OpenError::Damaged { .. }), "{refusal}");
                continue;
            }
            let (checked, problems) = check(&directory);
            assert!(checked.problems > 0, "{key:02x?}");
            if matches!(key[0], b'n') {
                continue;
            }
            assert!(!problems.is_empty());
            let store = open(&directory);
            let (job, live) = (id(1), store.live().await.unwrap());
            match key[0] {
                b'l' => assert_eq!(store.damaged_live().await.unwrap(), [id(2)]),
                _ => assert_eq!(live.len(), 1),
            }
            match key[0] {
                b'e' | b'E' => assert!(store.outcome(job).await.is_err()),
                b'c' | b'C' if key[1..17] == job.as_bytes()[..] => {
                    assert!(store.job(job).await.is_err());
                }
                b'p' | b'P' => assert!(store.segments(job, 0, 1).await.is_err()),
                _ => assert_eq!(store.outcome(job).await.unwrap(), Some(end.clone())),
            }
            store.close().await;
        }
    }
    assert_eq!(
        String::from_utf8(tables.into_iter().collect()).unwrap(),
        "CEPbcehklmnopq"
    );
}

/// Damage behind the engine's snapshot is met by the engine alone, when it comes to it.
#[tokio::test]
async fn a_start_that_is_refused_once_the_engine_is_open_has_changed_nothing() {
    const SEGMENT: usize = 512 * 1024;
    let parent = tempfile::tempdir().unwrap();
    let original = parent.path().join("store");
    for part in 0..4 {
        let store = open(&original);
        add(&store, part * JOBS..(part + 1) * JOBS).await;
        // Several segments of the engine's file.
        for number in 0..100 {
            let job = id(10_000 + part * 1000 + number);
            let call = call(text(3000));
            store.submit(job, &call, &queued(number)).await.unwrap();
            store.start(job, 5).await.unwrap();
            let end = returned(text(20), 0);
            store.finish(job, &end, PlaceAfter::Free).await.unwrap();
        }
        store.close().await;
    }
    // So that a snapshot knows all of it.
    open(&original).close().await;
    let db = fs::read(original.join("db")).unwrap();
    let used = db.iter().rposition(|byte| *byte != 0).unwrap();
    assert!(used > 3 * SEGMENT, "{used}");
    let mut refused = 0;
    for at in (30..used / SEGMENT * SEGMENT).step_by(16 * 1024) {
        let directory = parent.path().join("damaged");
        let _ = fs::remove_dir_all(&directory);
        let at = at as u64;
        let noise = vec![0x5a; 4096];
        damaged(&original, &directory, &Damage { at, bytes: noise });
        let before = bytes(&directory);
        match Store::open(&directory, OPTIONS) {
            Ok(store) => store.close().await,
            Err(OpenError::Damaged { why, .. }) => {
                let after = bytes(&directory);
                let names = before.keys().chain(after.keys());
                let is_changed = |name: &&String| before.get(*name) != after.get(*name);
                let changed: BTreeSet<_> = names.filter(is_changed).collect();
                assert!(changed.is_empty(), "{at}: {why}: {changed:?}");
                // By the engine, not by the look before it.
                refused += u64::from(!why.contains("of its file db"));
            }
            Err(error) => panic!("{at}: {error}"),
        }
    }
    assert!(refused > 0, "nothing that a start needs was damaged");
}
