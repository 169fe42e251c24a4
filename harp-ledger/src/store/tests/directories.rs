use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::store::OpenError;

fn refused(directory: &Path) -> OpenError {
    Store::open(directory, OPTIONS).unwrap_err()
}

fn damaged(directory: &Path) -> String {
    match refused(directory) {
        OpenError::Damaged { why, .. } => why,
        other => panic!("{other}"),
    }
}

/// What a crash would leave behind at this moment.
pub(super) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    // What is noted beside the engine's files is on disk later than what it is about.
    let about = Path::new("store.json");
    if from.join(about).exists() {
        fs::copy(from.join(about), to.join(about)).unwrap();
    }
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry
            .file_name()
            .to_string_lossy()
            .starts_with("store.json")
        {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn shorten(directory: &Path, part: impl Fn(u64) -> u64) {
    let file = fs::File::options()
        .write(true)
        .open(directory.join("db"))
        .unwrap();
    file.set_len(part(file.metadata().unwrap().len())).unwrap();
}

/// A store with a few jobs, closed in order.
async fn filled(directory: &Path) {
    let store = open(directory);
    for number in 0..20 {
        let call = call(text(20_000));
        store
            .submit(id(number), &call, &queued(number))
            .await
            .unwrap();
    }
    store.close().await;
}

#[tokio::test]
async fn what_was_acknowledged_is_in_the_files() {
    let parent = tempfile::tempdir().unwrap();
    let store = open(&parent.path().join("store"));
    let mut copies = Vec::new();
    for number in 0..5 {
        let job = id(number);
        let call = call(text(10_000));
        store.submit(job, &call, &queued(number)).await.unwrap();
        let appended = store.append(job, vec![segment(0, &[text(50), text(9000)])]);
        appended.await.unwrap().await.unwrap();
        if number % 2 == 0 {
            store
                .finish(job, &returned(text(5000), 2), PlaceAfter::Free)
                .await
                .unwrap();
        }
        let to = parent.path().join(format!("copy{number}"));
        copy(&parent.path().join("store"), &to);
        copies.push(to);
    }
    for (last, copy) in copies.iter().enumerate() {
        let store = open(copy);
        for number in 0..=last as u64 {
            let record = store.job(id(number)).await.unwrap().unwrap();
            assert_eq!(record.call.arguments, text(10_000));
            let all = [(0, text(50)), (1, text(9000))];
            assert_eq!(packets(&store, id(number), 0).await, all);
            let end = (number % 2 == 0).then(|| returned(text(5000), 2));
            assert_eq!(store.outcome(id(number)).await.unwrap(), end);
        }
        let live: Vec<_> = store.live().await.unwrap();
        let live: Vec<_> = live.iter().map(|(_, live)| live.sequence).collect();
        let odd: Vec<_> = (0..=last as u64).filter(|number| number % 2 == 1).collect();
        assert_eq!(live, odd);
        store.close().await;
    }
    store.close().await;
}

#[tokio::test]
async fn only_one_has_it_open() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    assert!(matches!(refused(directory.path()), OpenError::InUse { .. }));
    store.close().await;
    open(directory.path()).close().await;
}

#[tokio::test]
async fn others_cannot_read_it() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("var/store");
    filled(&directory).await;
    open(&directory).close().await;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    for entry in fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        let expected = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode(&path), expected, "{}", path.display());
    }
}

#[tokio::test]
async fn an_unfinished_snapshot_is_no_hindrance() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path()).await;
    let leftover = directory.path().join("snap.00000000000FFFFF.generating");
    fs::write(&leftover, b"half a snap").unwrap();
    let store = open(directory.path());
    assert!(!leftover.exists());
    assert_eq!(store.live().await.unwrap().len(), 20);
    store.close().await;
}

#[tokio::test]
async fn a_file_cut_short_is_told() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path()).await;
    shorten(directory.path(), |length| length / 2);
    assert!(damaged(directory.path()).contains("was closed with"));
}

#[tokio::test]
async fn a_file_cut_short_after_a_crash_is_told() {
    let parent = tempfile::tempdir().unwrap();
    let original = parent.path().join("store");
    let store = open(&original);
    let submit = async |number| {
        let call = call(text(20_000));
        store
            .submit(id(number), &call, &queued(number))
            .await
            .unwrap();
    };
    for number in 0..100 {
        submit(number).await;
    }
    // Until there is a mark behind these.
    let about = || fs::read(original.join("store.json")).unwrap();
    let (before, mut jobs) = (about(), 100);
    while about() == before {
        submit(jobs).await;
        jobs += 1;
    }
    for sixteenth in 0..16 {
        let directory = parent.path().join(format!("copy{sixteenth}"));
        copy(&original, &directory);
        shorten(&directory, |length| length * sixteenth / 16);
        match Store::open(&directory, OPTIONS) {
            Err(OpenError::Damaged { .. }) => {}
            Err(error) => panic!("{error}"),
            // Nothing was cut off but room to grow.
            Ok(store) => {
                assert!(store.live().await.unwrap().len() >= 100);
                for number in 0..100 {
                    assert!(store.job(id(number)).await.unwrap().is_some());
                }
                store.close().await;
            }
        }
    }
    store.close().await;
}

#[tokio::test]
async fn a_loss_can_be_accepted() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path()).await;
    let about = directory.path().join("store.json");
    fs::write(&about, br#"{"layout":1,"mark":1000}"#).unwrap();
    assert!(damaged(directory.path()).contains("check-store --repair"));
    fs::remove_file(&about).unwrap();
    open(directory.path()).close().await;
}

#[tokio::test]
async fn the_remains_of_a_store_are_no_new_one() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path()).await;
    let db = directory.path().join("db");
    fs::write(&db, b"").unwrap();
    assert!(damaged(directory.path()).contains("is empty"));
    fs::remove_file(&db).unwrap();
    assert!(damaged(directory.path()).contains("is missing"));
    assert!(!db.exists());
}

#[tokio::test]
async fn a_file_of_noise_is_told() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path()).await;
    let db = directory.path().join("db");
    let mut bytes = fs::read(&db).unwrap();
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte ^= (index % 251) as u8;
    }
    fs::write(&db, bytes).unwrap();
    damaged(directory.path());
}

#[tokio::test]
async fn a_newer_layout_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path()).await;
    let about = directory.path().join("store.json");
    fs::write(&about, br#"{"layout":4,"new":true}"#).unwrap();
    let refusal = refused(directory.path());
    assert!(matches!(refusal, OpenError::Newer { found: 4, .. }));
    // Neither does it help to take the note away.
    fs::remove_file(&about).unwrap();
    let engine = ::sled::open(directory.path()).unwrap();
    engine.insert("v", "4").unwrap();
    engine.flush().unwrap();
    drop(engine);
    let refusal = refused(directory.path());
    assert!(matches!(refusal, OpenError::Newer { found: 4, .. }));
}

#[tokio::test]
async fn other_people_s_data_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let engine = ::sled::open(directory.path()).unwrap();
    engine.insert("theirs", "1").unwrap();
    engine.flush().unwrap();
    drop(engine);
    assert!(damaged(directory.path()).contains("no job store"));
}

#[tokio::test]
async fn an_interrupted_first_opening_is_no_hindrance() {
    let directory = tempfile::tempdir().unwrap();
    // The engine had made its files, the layout was not written yet.
    drop(::sled::open(directory.path()).unwrap());
    filled(directory.path()).await;
    // The layout was written, the note was not.
    fs::remove_file(directory.path().join("store.json")).unwrap();
    let store = open(directory.path());
    assert_eq!(store.live().await.unwrap().len(), 20);
    store.close().await;
}

#[test]
fn a_directory_of_somebody_else_is_left_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["3f22e0d4.stream", "a", "lost+found"] {
        fs::write(directory.path().join(name), "kept").unwrap();
    }
    match refused(directory.path()) {
        OpenError::Foreign { what, .. } => assert_eq!(what, "3f22e0d4.stream and 1 more"),
        other => panic!("{other}"),
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 3);

    // What may be there before a store is.
    for name in ["3f22e0d4.stream", "a"] {
        fs::remove_file(directory.path().join(name)).unwrap();
    }
    open(directory.path());
}
