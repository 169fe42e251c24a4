//! Stores as releases have written them, kept as bytes in `fixtures`: what is in them has
//! to be found, byte for byte, by every release to come. `examples/store_fixture.rs` made
//! them and says what is there.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use harp_ledger::store::{Store, StoreOptions, Submitted};
use harp_ledger::transfer;
use harp_values::JobId;

/// The directories of all released layouts.
fn fixtures() -> Vec<PathBuf> {
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let entries = fs::read_dir(all).unwrap();
    let mut fixtures: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    fixtures.sort();
    assert!(fixtures[0].ends_with("layout-1"), "{fixtures:?}");
    fixtures
}

fn unpacked(path: &Path) -> Vec<u8> {
    let mut content = Vec::new();
    let mut packed = GzDecoder::new(File::open(path).unwrap());
    packed.read_to_end(&mut content).unwrap();
    content
}

/// Lays out a fixture's store in a directory.
fn unpack(fixture: &Path, directory: &Path) {
    for entry in fs::read_dir(fixture).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "gz") {
            let file = directory.join(path.file_stem().unwrap());
            fs::write(file, unpacked(&path)).unwrap();
        }
    }
}

fn open(directory: &Path) -> Store {
    Store::open(directory, StoreOptions::default()).unwrap()
}

/// The lines of a fixture's export but the first, which says when it was made.
fn expected(fixture: &Path) -> Vec<String> {
    lines(&unpacked(&fixture.join("jobs.export")))
}

async fn exported(store: &Store) -> Vec<String> {
    let mut problem = |what| panic!("{what}");
    let export = transfer::export(store, Vec::new(), &mut problem).await;
    let mut text = Vec::new();
    let (packed, _) = export.unwrap();
    GzDecoder::new(&packed[..]).read_to_end(&mut text).unwrap();
    lines(&text)
}

fn lines(export: &[u8]) -> Vec<String> {
    let text = str::from_utf8(export).unwrap();
    text.lines().skip(1).map(str::to_owned).collect()
}

#[tokio::test]
async fn everything_is_found_byte_for_byte() {
    for fixture in fixtures() {
        let directory = tempfile::tempdir().unwrap();
        unpack(&fixture, directory.path());
        let mut report = |problem| panic!("{problem:?}");
        let options = StoreOptions::default();
        let checked = Store::check(directory.path(), options, false, &mut report).unwrap();
        assert_eq!((checked.jobs, checked.live, checked.packets), (9, 4, 9));
        // And again, since the first opening may have changed the bytes.
        for _ in 0..2 {
            let store = open(directory.path());
            assert_eq!(exported(&store).await, expected(&fixture));
            assert_eq!(store.contents().ended, 5);
            assert_eq!(store.kept_places().await.unwrap().len(), 1);
            store.close().await;
        }
    }
}

#[tokio::test]
async fn it_can_be_salvaged() {
    for fixture in fixtures() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("old");
        fs::create_dir(&directory).unwrap();
        unpack(&fixture, &directory);
        let mut report = |problem| panic!("{problem:?}");
        let target = parent.path().join("new");
        let options = StoreOptions::default();
        Store::salvage(&directory, &target, options, &mut report).unwrap();
        let store = open(&target);
        assert_eq!(exported(&store).await, expected(&fixture));
        store.close().await;
    }
}

#[tokio::test]
async fn its_export_says_the_same() {
    for fixture in fixtures() {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path());
        let export = File::open(fixture.join("jobs.export")).unwrap();
        let moved = transfer::import(&store, export).await.unwrap();
        assert_eq!((moved.jobs, moved.others), (9, 0));
        assert_eq!(exported(&store).await, expected(&fixture));
        store.close().await;
    }
}

#[tokio::test]
async fn keys_stand_for_their_jobs() {
    for fixture in fixtures() {
        let directory = tempfile::tempdir().unwrap();
        unpack(&fixture, directory.path());
        let store = open(directory.path());
        let live = store.live().await.unwrap()[0].1.clone();
        for (number, key, client) in [(4, "nightly", None), (5, "report", Some("token:shop"))] {
            let job: JobId = format!("018bcfe5-6800-7000-8000-{number:012x}")
                .parse()
                .unwrap();
            let call = store.job(job).await.unwrap().unwrap().call;
            assert_eq!(
                (call.key.as_deref(), call.client.as_deref()),
                (Some(key), client)
            );
            let again = JobId::submitted_at(1_800_000_000_000);
            let submitted = store.submit_once(again, &call, &live, None).await.unwrap();
            assert_eq!(submitted, Submitted::Before(job));
        }
        store.close().await;
    }
}
