//! Files that can be made anew: whatever stands in their place is put aside, told, and in
//! nobody's way.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::damage::{JOBS, as_they_were, bytes, check, filled};
use super::directories::copy;
use super::*;

#[tokio::test]
async fn what_the_engine_can_make_anew_is_put_aside() {
    let parent = tempfile::tempdir().unwrap();
    let original = parent.path().join("store");
    filled(&original).await;
    let names: Vec<_> = bytes(&original).into_keys().collect();
    let snapshot = names.iter().find(|name| name.starts_with("snap.")).unwrap();
    let flip = |mut bytes: Vec<u8>| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        bytes
    };
    let mut number = 0;
    for name in [
        snapshot.as_str(),
        "conf",
        "store.json",
        "snap.00000000FFFFFFFF",
    ] {
        let old = fs::read(original.join(name)).unwrap_or(b"newer".to_vec());
        for content in [
            b"".to_vec(),
            b"noise".to_vec(),
            vec![0; old.len()],
            flip(old),
        ] {
            number += 1;
            let directory = parent.path().join(number.to_string());
            copy(&original, &directory);
            fs::write(directory.join(name), &content).unwrap();
            let before = bytes(&directory);
            let (checked, problems) = check(&directory);
            assert_eq!(
                (checked.jobs, checked.repairable),
                (JOBS, 1),
                "{problems:?}"
            );
            assert!(problems[0].what.contains(name), "{problems:?}");
            assert_eq!(bytes(&directory), before);
            let store = open(&directory);
            assert_eq!(as_they_were(&store, &BTreeSet::new()).await, JOBS);
            store.close().await;
            assert_eq!(
                fs::read(directory.join(format!("damaged.{name}"))).unwrap(),
                content
            );
            assert_eq!(check(&directory).1, []);
        }
    }
}

/// Something that stands where a file is made.
#[derive(Debug, Clone, Copy)]
enum Shape {
    Directory,
    NamedPipe,
    LinkToNothing,
    LinkToItself,
    Endless,
}

impl Shape {
    fn make(self, at: &Path) {
        let _ = fs::remove_file(at);
        match self {
            Shape::Directory => {
                fs::create_dir(at).unwrap();
                fs::write(at.join("file"), "x").unwrap();
            }
            Shape::NamedPipe => {
                let mode = Mode::RUSR | Mode::WUSR;
                mknodat(CWD, at, FileType::Fifo, mode, 0).unwrap();
            }
            Shape::LinkToNothing => symlink("nothing", at).unwrap(),
            Shape::LinkToItself => symlink(at, at).unwrap(),
            Shape::Endless => fs::File::create(at).unwrap().set_len(1 << 40).unwrap(),
        }
    }
}

#[tokio::test]
async fn whatever_stands_where_such_a_file_is_made_is_put_aside() {
    let parent = tempfile::tempdir().unwrap();
    let original = parent.path().join("store");
    filled(&original).await;
    let names: Vec<_> = bytes(&original).into_keys().collect();
    let snapshot = names.iter().find(|name| name.starts_with("snap.")).unwrap();
    let unfinished = format!("{snapshot}.generating");
    let mut number = 0;
    for name in [
        snapshot.as_str(),
        "conf",
        "store.json",
        "snap.00000000FFFFFFFF",
        "store.json.new",
        "lock",
        &unfinished,
    ] {
        for shape in [
            Shape::Directory,
            Shape::NamedPipe,
            Shape::LinkToNothing,
            Shape::LinkToItself,
            Shape::Endless,
        ] {
            number += 1;
            let directory = parent.path().join(number.to_string());
            copy(&original, &directory);
            let at = directory.join(name);
            shape.make(&at);
            let (checked, problems) = check(&directory);
            assert_eq!(checked.jobs, JOBS, "{name}, {shape:?}: {problems:?}");
            let store = open(&directory);
            assert_eq!(as_they_were(&store, &BTreeSet::new()).await, JOBS);
            store.close().await;
            // Made anew, or gone.
            let found = at.symlink_metadata();
            assert!(found.is_ok_and(|it| it.is_file()) || !at.exists(), "{name}");
            assert_eq!(check(&directory).1, [], "{name}, {shape:?}");
        }
    }
}
