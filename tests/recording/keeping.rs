//! What stays of what cameras sent, and what goes: by age, by room, never what is kept. And the index in the database, which
//! says what lies there.

use std::fs;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use spark::adapters::local_dvr::LocalDvr;
use spark::adapters::memory::{MemoryClock, MemoryDvr, MemoryFootageIndex, MemoryRecorder};
use spark::adapters::postgres::PostgresFootageIndex;
use spark::adapters::rtmp::RtmpPublisher;
use spark::domain::live::keeping::{Keeping, KeptSpan};
use spark::ports::dvr::{Dvr, Stretch};
use spark::ports::footage_index::FootageIndex;
use spark::ports::recorder::CameraBook;
use spark::use_cases::live::index::{Indexer, Learnt};
use spark::use_cases::live::record::Recorder;
use spark::use_cases::live::relay::Relays;

use crate::dvr::{BEGINS_NS, SECOND_NS, System, parts, record, systems};
use crate::{camera, recording};

/// A recording of three files, begun at [`BEGINS_NS`].
const SECONDS: i64 = 130;

struct House {
    recorder: Recorder,
    dvr: MemoryDvr,
    book: MemoryRecorder,
    clock: MemoryClock,
}

fn open(dvr: &MemoryDvr, book: &MemoryRecorder, clock: &MemoryClock) -> Recorder {
    let clock = Arc::new(clock.clone());
    let relays =
        Relays::open(Arc::new(RtmpPublisher), Arc::new(book.clone()), clock.clone()).unwrap();
    Recorder::open(Arc::new(dvr.clone()), Arc::new(book.clone()), clock, relays).unwrap()
}

/// A recorder with a recording of three files, some hours after it.
async fn house(hours: i64) -> House {
    let (dvr, book) = (MemoryDvr::default(), MemoryRecorder::default());
    let clock = MemoryClock::at(at(0) + TimeDelta::hours(hours));
    let recorder = open(&dvr, &book, &clock);
    record(&dvr, 1, &parts(SECONDS)).await;
    House { recorder, dvr, book, clock }
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_nanos(BEGINS_NS + seconds * SECOND_NS)
}

fn keeping(days: Option<u16>, spans: &[(i64, i64)]) -> Vec<Keeping> {
    let span = |(from, to): &(i64, i64)| KeptSpan {
        from: at(*from),
        to: at(*to),
        title: "Concert".to_owned(),
    };
    vec![Keeping { camera: camera(1), days, spans: spans.iter().map(span).collect() }]
}

impl House {
    /// The files that are left after room was made.
    async fn left(&self) -> Vec<u32> {
        self.recorder.make_room().await.unwrap();
        Dvr::stretches(&self.dvr).await.unwrap().iter().map(|it| it.file).collect()
    }

    /// Fills the disk beyond its line by so many bytes.
    fn fill(&self, beyond: u64) {
        self.dvr.set_disk(1_000_000_000, 200_000_000 - beyond);
        let space = self.dvr.space();
        assert_eq!(space.total_bytes - space.free_bytes, 800_000_000 + beyond, "it is full");
    }
}

#[tokio::test]
async fn nothing_goes_while_there_is_room_or_nobody_said_what_stays() {
    let house = house(1_000).await;
    assert_eq!(house.left().await, [1, 2, 3], "nobody said anything");
    house.fill(1);
    assert_eq!(house.left().await, [1, 2, 3], "not even on a full disk");
    assert!(house.recorder.state().let_go.is_cramped);
    house.dvr.set_disk(1_000_000_000, 200_000_000);
    house.recorder.keep(&keeping(None, &[])).unwrap();
    assert_eq!(house.left().await, [1, 2, 3], "there is room");
    assert!(!house.recorder.state().let_go.is_cramped);
}

#[tokio::test]
async fn the_oldest_makes_room_and_no_more_than_is_needed() {
    let house = house(1_000).await;
    house.recorder.keep(&keeping(None, &[])).unwrap();
    house.fill(1);
    assert_eq!(house.left().await, [2, 3]);
    let told = house.recorder.state().let_go;
    assert!(told.files == 1 && told.bytes > 1 && !told.is_cramped, "{told:?}");
    assert_eq!(house.left().await, [2, 3], "one file was enough");
}

#[tokio::test]
async fn what_is_kept_and_what_is_of_today_stays_on_a_full_disk() {
    let house = house(1_000).await;
    // Within the first file, which ends with the key frame after midnight.
    house.recorder.keep(&keeping(Some(2), &[(3, 5)])).unwrap();
    house.fill(150_000_000);
    assert_eq!(house.left().await, [1], "age takes the others");
    assert!(house.recorder.state().let_go.is_cramped, "and room is still wanted");
    house.recorder.keep(&keeping(Some(2), &[])).unwrap();
    assert_eq!(house.left().await, [] as [u32; 0], "let go, it follows the rules");

    let young = self::house(11).await;
    young.recorder.keep(&keeping(Some(2), &[])).unwrap();
    young.fill(150_000_000);
    assert_eq!(young.left().await, [1, 2, 3], "a day's work is not given up");
    young.clock.advance(std::time::Duration::from_hours(2));
    assert_eq!(young.left().await, [] as [u32; 0]);
}

#[tokio::test]
async fn a_recorder_remembers_what_stays_and_obeys_over_a_book_that_is_stuck() {
    let house = house(1_000).await;
    house.recorder.keep(&keeping(Some(2), &[(3, 5)])).unwrap();
    let again = open(&house.dvr, &house.book, &house.clock);
    again.make_room().await.unwrap();
    assert_eq!(Dvr::stretches(&house.dvr).await.unwrap().len(), 1);
    assert_eq!(house.book.read_keeping().unwrap().len(), 1);
}

#[tokio::test]
async fn files_are_told_by_their_names_and_go_one_by_one() {
    for System { dvr, footage, folder } in systems() {
        let written = record(&*dvr, 1, &parts(SECONDS)).await;
        let all = dvr.stretches().await.unwrap();
        assert_eq!(all, footage.stretches().await.unwrap());
        assert_eq!(all.iter().map(|it| it.file).collect::<Vec<_>>(), [1, 2, 3]);
        for part in &written {
            let of = &all[part.file as usize - 1];
            let ends = part.utc_ns + part.ticks * 100_000 / 9;
            // Names tell whole seconds.
            assert!(of.from_utc_ns <= part.utc_ns && ends <= of.to_utc_ns, "{part:?} in {of:?}");
            let (parts, _) = footage.index_of(of).await.unwrap();
            assert!(parts.contains(part));
        }
        let freed = dvr.remove(&all[0]).await.unwrap();
        assert!(freed > 10_000, "{freed}");
        assert_eq!(dvr.remove(&all[0]).await.unwrap(), 0, "it is gone already");
        assert_eq!(dvr.stretches().await.unwrap(), all[1..]);
        let left = footage.parts(camera(1), 0, i64::MAX).await.unwrap();
        let kept: Vec<_> = written.iter().filter(|part| part.file != 1).copied().collect();
        assert!(left == kept, "the others are as they were");
        assert!(footage.read(&left[0]).await.is_ok());
        assert_eq!(footage.index_of(&all[0]).await.unwrap(), (Vec::new(), false));
        // The day before midnight was empty then, and went.
        let days = fs::read_dir(folder.path().join(camera(1).to_string()));
        assert!(days.is_err() || days.unwrap().count() == 1);
    }
}

async fn indexes() -> Vec<Arc<dyn FootageIndex>> {
    let pool = crate::support::fresh_database().await;
    vec![Arc::new(MemoryFootageIndex::default()), Arc::new(PostgresFootageIndex::new(pool))]
}

/// Everything the index says, as the folder would.
async fn indexed(indexer: &Indexer, all: &[Stretch]) -> usize {
    let mut equal = 0;
    for stretch in all {
        let there = indexer.footage.index_of(stretch).await.unwrap();
        let told = indexer.index.file(stretch.recording, stretch.file).await.unwrap();
        equal += usize::from(told.is_some_and(|told| (told.parts, told.is_closed) == there));
    }
    equal
}

#[tokio::test]
async fn the_database_knows_what_lies_there_as_it_grows_and_goes() {
    for index in indexes().await {
        let system = systems().remove(0);
        let indexer = Indexer { footage: system.footage.clone(), index };
        assert_eq!(indexer.keep_up().await.unwrap(), Learnt::default());
        let all_parts = parts(SECONDS);
        let mut growing = system.dvr.begin(crate::dvr::start(7)).await.unwrap();
        for part in &all_parts[..40] {
            growing.append(part.clone()).await.unwrap();
        }
        let learnt = indexer.keep_up().await.unwrap();
        assert_eq!((learnt.files, learnt.parts, learnt.differing), (2, 40, 2));
        for part in &all_parts[40..] {
            growing.append(part.clone()).await.unwrap();
        }
        growing.finish().await.unwrap();
        record(&*system.dvr, 8, &all_parts[..20]).await;
        indexer.keep_up().await.unwrap();
        let all = system.dvr.stretches().await.unwrap();
        assert_eq!((all.len(), indexed(&indexer, &all).await), (5, 5));
        let idle = indexer.keep_up().await.unwrap();
        assert_eq!(
            (idle.files, idle.differing, idle.gone),
            (5, 0, 0),
            "closed files are not read again"
        );

        let held = indexer.index.held().await.unwrap();
        assert_eq!((held.len(), held[0].camera, held[0].files), (1, camera(1), 5));
        assert_eq!(held[0].from_utc_ns, BEGINS_NS);
        assert!((held[0].lasts_ns - 150 * SECOND_NS).abs() < SECOND_NS, "{}", held[0].lasts_ns);
        let on_disk: u64 =
            files_of(&system).iter().map(|path| fs::metadata(path).unwrap().len()).sum();
        assert_eq!(held[0].bytes, on_disk);

        system.dvr.remove(&all[0]).await.unwrap();
        let learnt = indexer.keep_up().await.unwrap();
        assert_eq!((learnt.files, learnt.gone), (4, 1));
        assert!(indexer.index.file(all[0].recording, all[0].file).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn an_index_that_lies_is_made_anew_from_the_files() {
    for index in indexes().await {
        let system = systems().remove(0);
        record(&*system.dvr, 7, &parts(SECONDS)).await;
        let indexer = Indexer { footage: system.footage.clone(), index };
        indexer.keep_up().await.unwrap();
        // It knows a file that never was, misses one, and is wrong about another.
        let mut lie = indexer.index.file(recording(7), 1).await.unwrap().unwrap();
        lie.parts.pop();
        let invented = spark::ports::footage_index::IndexedFile { file: 9, ..lie.clone() };
        indexer.index.put(&[lie, invented]).await.unwrap();
        indexer.index.forget(&[(recording(7), 2)]).await.unwrap();
        let all = system.dvr.stretches().await.unwrap();
        assert_eq!(indexed(&indexer, &all).await, 1, "it lies");
        // The indexes beside the files are gone too.
        for file in files_of(&system) {
            fs::remove_file(file.with_extension("idx")).unwrap();
        }
        assert_eq!(LocalDvr::reindex(system.folder.path()).unwrap().differing, 3);
        let learnt = indexer.rebuild().await.unwrap();
        assert_eq!(learnt, Learnt { files: 3, parts: SECONDS as usize, differing: 2, gone: 1 });
        assert_eq!(indexed(&indexer, &all).await, 3);
        assert_eq!(indexer.rebuild().await.unwrap().differing, 0);
    }
}

fn files_of(system: &System) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for day in fs::read_dir(system.folder.path().join(camera(1).to_string())).unwrap() {
        let all = fs::read_dir(day.unwrap().path()).unwrap().map(|it| it.unwrap().path());
        files.extend(all.filter(|path| path.extension().is_some_and(|it| it == "mp4")));
    }
    files
}
