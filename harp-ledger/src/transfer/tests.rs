mod arbitrary;

use std::io::Write as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use harp_jobs::record::QueueRecord;
use harp_values::Failure;

use super::*;
use crate::store::{PlaceAfter, StoreOptions};

fn open(directory: &Path) -> Store {
    Store::open(directory, StoreOptions::default()).unwrap()
}

fn json(text: &str) -> Json {
    text.parse().unwrap()
}

fn queue() -> QueueRecord {
    QueueRecord {
        name: json(r#"{"b":1.0,"a":"x"}"#).as_str().parse().unwrap(),
        concurrency: 2,
    }
}

/// Jobs of all kinds, whose texts are as odd as they may be.
async fn fill(store: &Store) -> Vec<JobId> {
    let mut jobs = Vec::new();
    for number in 0..6_u64 {
        let job = JobId::submitted_at(1000 + number);
        let arguments = json(r#"[1e5,{"b":1,"a":2,"b":[]},"\u0041\ud800"]"#);
        let call = CallRecord {
            info: json(&format!("\"{}\"", "x".repeat(9000))),
            timeout: Some(7),
            queue: Some(queue()),
            client: Some("ci".into()),
            key: (number == 0).then(|| "k".into()),
            ..CallRecord::new("web\"01", "deploy", arguments, 1000 + number)
        };
        let live = LiveRecord {
            sequence: 10 - number,
            queue: Some(queue()),
            start_by: Some(9),
            submitted: 1000 + number,
            ..LiveRecord::UNKNOWN
        };
        store.submit_once(job, &call, &live, None).await.unwrap();
        jobs.push(job);
        if number >= 4 {
            continue;
        }
        store.start(job, 2000).await.unwrap();
        let mut segments = SegmentBuilder::new(0);
        segments.push(3000, json("1.50").as_bytes());
        segments.push(2999, json(&format!("\"{}\"", "y".repeat(9000))).as_bytes());
        let first = segments.finish();
        segments.push(4000, json(r#"{"z":[],"a":null}"#).as_bytes());
        let appended = store.append(job, vec![first, segments.finish()]).await;
        appended.unwrap().await.unwrap();
        let (outcome, place) = match number {
            0 => (Outcome::Returned(json("[1.0]")), PlaceAfter::Free),
            1 => (Outcome::Cancelled, PlaceAfter::Kept),
            2 => (Outcome::Error(Failure::new("x", "y")), PlaceAfter::Free),
            _ => continue,
        };
        let end = EndRecord {
            started: Some(2000),
            ended: 5000,
            outcome,
            packets: 3,
            remarks: Default::default(),
        };
        store.finish(job, &end, place).await.unwrap();
    }
    jobs
}

/// All that a store says of jobs, but for sequence numbers.
async fn everything(store: &Store, jobs: &[JobId]) -> String {
    let mut all = String::new();
    for job in jobs {
        let mut record = store.job(*job).await.unwrap().unwrap();
        if let harp_jobs::record::Stage::Queued { sequence } = &mut record.stage {
            *sequence = 0;
        }
        let end = store.outcome(*job).await.unwrap();
        all += &format!("{record:?} {end:?}\n");
        for segment in store.segments(*job, 0, usize::MAX).await.unwrap() {
            for packet in segment.iter_from(0) {
                all += &format!("{packet:?}\n");
            }
        }
    }
    let mut live = store.live().await.unwrap();
    for (_, state) in &mut live {
        state.sequence = 0;
    }
    all += &format!("{live:?} {:?}", store.kept_places().await.unwrap());
    all
}

async fn exported(store: &Store) -> (Vec<u8>, Moved) {
    let mut problem = |what| panic!("{what}");
    export(store, Vec::new(), &mut problem).await.unwrap()
}

#[tokio::test]
async fn everything_comes_back_and_only_once() {
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(old.path());
    let jobs = fill(&store).await;
    let (file, moved) = exported(&store).await;
    assert_eq!((moved.jobs, moved.others), (6, 0));

    let copy = open(new.path());
    let moved = import(&copy, &file[..]).await.unwrap();
    assert_eq!((moved.jobs, moved.others), (6, 0));
    assert_eq!(
        everything(&copy, &jobs).await,
        everything(&store, &jobs).await
    );
    assert_eq!(copy.contents().ended, store.contents().ended);
    let again = import(&copy, &file[..]).await.unwrap();
    assert_eq!((again.jobs, again.others), (0, 6));
    assert_eq!(
        everything(&copy, &jobs).await,
        everything(&store, &jobs).await
    );
    // The key still stands for its job.
    let call = store.job(jobs[0]).await.unwrap().unwrap().call;
    let live = LiveRecord::UNKNOWN;
    let other = JobId::submitted_at(9000);
    let submitted = copy.submit_once(other, &call, &live, None).await.unwrap();
    assert_eq!(submitted, crate::store::Submitted::Before(jobs[0]));
    copy.close().await;
    store.close().await;
    let mut report = |problem| panic!("{problem:?}");
    let options = StoreOptions::default();
    Store::check(new.path(), options, false, &mut report).unwrap();
}

#[tokio::test]
async fn live_jobs_wait_behind_those_that_are_there() {
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (store, target) = (open(old.path()), open(new.path()));
    let jobs = fill(&store).await;
    let (file, _) = exported(&store).await;
    let call = store.job(jobs[5]).await.unwrap().unwrap().call;
    let waiting = LiveRecord {
        sequence: 7,
        ..LiveRecord::UNKNOWN
    };
    let first = JobId::submitted_at(9000);
    target.submit(first, &call, &waiting).await.unwrap();
    import(&target, &file[..]).await.unwrap();
    let live = target.live().await.unwrap();
    let order: Vec<_> = live.iter().map(|(id, live)| (*id, live.sequence)).collect();
    // Those of the file were in the order of their own numbers.
    let expected = [(first, 7), (jobs[5], 8), (jobs[4], 9), (jobs[3], 10)];
    assert_eq!(order, expected);
    target.close().await;
    store.close().await;
}

#[tokio::test]
async fn what_is_cut_short_or_altered_is_seen() {
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(old.path());
    let jobs = fill(&store).await;
    let (file, _) = exported(&store).await;
    let mut text = Vec::new();
    MultiGzDecoder::new(&file[..])
        .read_to_end(&mut text)
        .unwrap();
    let text = String::from_utf8(text).unwrap();
    let zipped = |text: &str| {
        let mut out = GzEncoder::new(Vec::new(), Compression::fast());
        out.write_all(text.as_bytes()).unwrap();
        out.finish().unwrap()
    };
    let target = open(new.path());
    for length in [0, 1, 30, file.len() / 2, file.len() - 9, file.len() - 1] {
        let error = import(&target, &file[..length]).await.unwrap_err();
        let known = matches!(error, TransferError::CutShort | TransferError::NoExport);
        assert!(known, "{length}: {error}");
    }
    let lines: Vec<&str> = text.lines().collect();
    let short = zipped(&(lines[..lines.len() - 1].join("\n") + "\n"));
    let error = import(&target, &short[..]).await.unwrap_err();
    assert!(matches!(error, TransferError::CutShort), "{error}");
    let altered = zipped(&text.replacen("deploy", "depIoy", 1));
    let error = import(&target, &altered[..]).await.unwrap_err();
    assert!(
        matches!(error, TransferError::Wrong { line: 2, .. }),
        "{error}"
    );
    let error = import(&target, &b"{\"some\": \"other file\"}\n"[..])
        .await
        .unwrap_err();
    assert!(matches!(error, TransferError::NoExport), "{error}");
    let newer = {
        let mut out = GzEncoder::new(Vec::new(), Compression::fast());
        let header = Item::Export {
            version: 2,
            created: 0,
        };
        format::write(&mut out, &header).unwrap();
        out.finish().unwrap()
    };
    let error = import(&target, &newer[..]).await.unwrap_err();
    assert!(matches!(error, TransferError::Newer(2)), "{error}");
    // The whole one mends what those have left undone.
    import(&target, &file[..]).await.unwrap();
    assert_eq!(
        everything(&target, &jobs).await,
        everything(&store, &jobs).await
    );
    target.close().await;
    store.close().await;
}

#[tokio::test]
async fn services_go_along_and_stay_where_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = (directory.path().join("from"), directory.path().join("to"));
    let kind = PaperKind::Service;
    let edit = |name, over, text: &'static str| PaperEdit {
        id: PaperId { kind, name },
        over,
        text: Some(text.into()),
    };
    let store = open(&from);
    for (name, text) in [(7, r#"{"name":"a"}"#), (1 << 100, r#"{"name":"b"}"#)] {
        store.edit_paper(edit(name, 0, text)).await.unwrap();
    }
    let (exported, _) = export(&store, Vec::new(), &mut |problem| panic!("{problem}"))
        .await
        .unwrap();
    store.close().await;
    let store = open(&to);
    store
        .edit_paper(edit(7, 0, r#"{"name":"other"}"#))
        .await
        .unwrap();
    for _ in 0..2 {
        import(&store, &exported[..]).await.unwrap();
        let papers = store.papers(kind).await.unwrap();
        let texts: Vec<_> = papers.iter().map(|paper| &paper.text[..]).collect();
        assert_eq!(texts, [&br#"{"name":"other"}"#[..], br#"{"name":"b"}"#]);
    }
    store.close().await;
}

#[tokio::test]
async fn a_line_without_an_end_is_given_up() {
    let endless = || std::io::repeat(b'x');
    let mut none = Items::new(BufReader::new(endless()));
    assert!(matches!(none.next(), Err(TransferError::NoExport)));
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let (file, _) = exported(&store).await;
    store.close().await;
    let mut text = String::new();
    MultiGzDecoder::new(&file[..])
        .read_to_string(&mut text)
        .unwrap();
    let header = &text[..=text.find('\n').unwrap()];
    let mut items = Items::new(BufReader::new(header.as_bytes().chain(endless())));
    items.longest = 100_000;
    assert!(matches!(items.next(), Ok(Some(Item::Export { .. }))));
    let error = items.next().unwrap_err().to_string();
    assert!(
        error.contains("line 2 of the export: it has more than 100000 bytes"),
        "{error}"
    );
}
