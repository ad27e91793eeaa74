//! From an order to import to reels, and what follows what exactly once: in memory by twins of everything, and in
//! PostgreSQL with followers that race and die.

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use spark::adapters::memory::{
    EngineVerb, MemoryChatReader, MemoryClock, MemoryDatabase, MemoryDvr, MemoryMediaEngine,
    MemoryMediaStore, MemorySpool, MemoryVault,
};
use spark::adapters::twitch::{HelixLimits, TwitchHelix, TwitchIdentity, TwitchSettings};
use spark::domain::clips::footage::{AudioTrack, Inspection, KeyFrameIndex, Ratio, VideoTrack};
use spark::domain::clips::loudness::LoudnessSeries;
use spark::domain::clips::{
    CLIPS_PROPOSED, ClipEvent, ClipSource, ClipState, REELS_PROPOSED, ReelState,
};
use spark::domain::event::Event;
use spark::domain::ids::{CameraId, LiveId, MomentId, RecordingId};
use spark::domain::job::{ImportOrder, JOB_ATTEMPTS_MAX, Job, JobState, Lane};
use spark::domain::live::LiveEvent;
use spark::domain::live::camera::{CameraEvent, CameraName, KeyHash};
use spark::domain::live::part::{Part, Run, Sample};
use spark::domain::live::track::TICKS_PER_S;
use spark::domain::media::MediaObject;
use spark::domain::moments::bounds::Span;
use spark::domain::moments::delay::Delay;
use spark::domain::moments::event::MomentEvent;
use spark::domain::moments::moment::{Moment, MomentKind};
use spark::ports::chat_reader::{ChatLine, ChatLog};
use spark::ports::clock::Clock;
use spark::ports::dvr::{Dvr, Start};
use spark::ports::job_queue::JobQueue;
use spark::ports::ledger::{Commit, Ledger};
use spark::ports::media_engine::MediaError;
use spark::ports::media_store::MediaStore;
use spark::read_models::ClipCard;
use spark::use_cases::audience::Audience;
use spark::use_cases::audience::channels::Channels;
use spark::use_cases::audience::gaps::Gaps;
use spark::use_cases::clips::Clips;
use spark::use_cases::jobs::Jobs;
use spark::use_cases::live::{Lives, Received};
use spark::use_cases::moments::Moments;
use spark::use_cases::reactions::Reactions;
use spark::use_cases::{Work, WorkError};
use support::databases::{Database, System};
use support::samples;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

kept_by_memory_and_postgres!(racing_followers_react_to_each_event_once);

fn detected(rank: u32) -> Event {
    let at = f64::from(rank) * 60.0 + 10.0;
    let found = Moment {
        peak_s: at,
        onset_s: at,
        event_s: at,
        span: Span { start_s: at, end_s: at + 45.0 },
        score: 3.0,
        kind: MomentKind::Highlight,
        mood: None,
        reasons: Vec::new(),
        delay: Delay::default(),
    };
    let moment = MomentId::at(samples::live(1), i64::from(rank) * 60_000);
    MomentEvent::Detected { moment, live: samples::live(1), rank, found }.into()
}

/// A reaction that is doubled would double the clips requested, and one that is lost would leave a moment without.
async fn assert_each_moment_became_one_clip(db: &Database, moments: usize) {
    let events = db.ledger.events_after(0).await.unwrap();
    let requested: Vec<_> = events
        .iter()
        .filter_map(|recorded| match &recorded.event {
            Event::Clip(ClipEvent::Requested { clip, .. }) => Some(*clip),
            _ => None,
        })
        .collect();
    assert_eq!(requested.len(), moments);
    assert_eq!(requested.iter().collect::<BTreeSet<_>>().len(), moments);
    let cuts = db.queue.list().await.unwrap();
    let cuts: Vec<_> = cuts.iter().filter(|view| view.job.lane() == Lane::Cut).collect();
    assert_eq!(cuts.len(), moments);
}

fn follower(db: &Database) -> Reactions {
    Reactions { ledger: db.ledger.clone() }
}

async fn racing_followers_react_to_each_event_once(db: Database) {
    let mut racing = tokio::task::JoinSet::<()>::new();
    for _ in 0..4 {
        let follower = follower(&db.of_another_process().await);
        racing.spawn(async move {
            loop {
                follower.step().await.expect("a step");
                tokio::task::yield_now().await;
            }
        });
    }
    for rank in 0..CLIPS_PROPOSED {
        db.write(vec![detected(rank)]).await;
    }
    let last = follower(&db);
    while !last.caught_up().await.unwrap() {
        tokio::task::yield_now().await;
    }
    racing.abort_all();
    while racing.join_next().await.is_some() {}
    while last.step().await.unwrap() > 0 {}
    assert_each_moment_became_one_clip(&db, CLIPS_PROPOSED as usize).await;
}

/// Both have read the same batch before either commits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_followers_that_read_the_same_batch_one_reacts() {
    let db = Database::in_postgres().await;
    let System::Postgres(pool) = db.system.clone() else { unreachable!("it is PostgreSQL") };
    db.write((0..CLIPS_PROPOSED).map(detected).collect()).await;
    let mut stopper = pool.begin().await.unwrap();
    sqlx::query("lock table event_log in exclusive mode").execute(&mut *stopper).await.unwrap();
    let mut steps = Vec::new();
    for _ in 0..2 {
        let follower = follower(&db.of_another_process().await);
        steps.push(tokio::spawn(async move { follower.step().await }));
    }
    support::until_waiting(&pool, "relation").await;
    support::until_waiting(&pool, "advisory").await;
    stopper.commit().await.unwrap();
    for step in steps {
        assert_eq!(step.await.unwrap().unwrap(), CLIPS_PROPOSED as usize);
    }
    while follower(&db).step().await.unwrap() > 0 {}
    assert_each_moment_became_one_clip(&db, CLIPS_PROPOSED as usize).await;
}

/// It has read its batch and begun to write when its process dies.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_dies_between_reading_and_committing_loses_and_doubles_nothing() {
    let db = Database::in_postgres().await;
    let System::Postgres(pool) = db.system.clone() else { unreachable!("it is PostgreSQL") };
    db.write((0..CLIPS_PROPOSED).map(detected).collect()).await;
    let mut stopper = pool.begin().await.unwrap();
    sqlx::query("lock table jobs, event_log in exclusive mode")
        .execute(&mut *stopper)
        .await
        .unwrap();
    let dying_process = db.of_another_process().await;
    let dying = tokio::spawn({
        let follower = follower(&dying_process);
        async move { follower.step().await }
    });
    support::until_waiting(&pool, "relation").await;
    dying.abort();
    assert!(dying.await.unwrap_err().is_cancelled(), "it died in the middle");
    stopper.commit().await.unwrap();
    assert_eq!(db.ledger.cursor("reactions").await.unwrap(), 0, "nothing of it is there");

    while follower(&db).step().await.unwrap() > 0 {}
    assert_each_moment_became_one_clip(&db, CLIPS_PROPOSED as usize).await;
}

/// Nothing is linked, and nobody answers where Twitch should be.
fn no_channels(clock: Arc<dyn Clock>) -> Channels {
    let settings = TwitchSettings::at("http://127.0.0.1:9");
    let identity = TwitchIdentity::try_new(settings.clone(), clock.clone()).unwrap();
    let helix = TwitchHelix::try_new(settings, HelixLimits::default(), clock.clone()).unwrap();
    Channels::new(Arc::new(MemoryVault::default()), Arc::new(identity), Arc::new(helix), clock)
}

/// A house of twins.
struct House {
    clock: MemoryClock,
    database: MemoryDatabase,
    store: MemoryMediaStore,
    engine: MemoryMediaEngine,
    dvr: MemoryDvr,
    jobs: Jobs,
    reactions: Reactions,
}

const STREAM_S: i64 = 2_400;
/// Seconds at which the crowd goes wild.
const BURSTS: [i64; 7] = [300, 620, 900, 1_210, 1_500, 1_830, 2_130];

impl House {
    fn build() -> Self {
        let clock = MemoryClock::default();
        let database = MemoryDatabase::new(clock.clone());
        let store = MemoryMediaStore::open().unwrap();
        let engine = MemoryMediaEngine::finding(inspection(), vec![250.0, 640.5, 1_190.25]);
        let dvr = MemoryDvr::default();
        let chats = MemoryChatReader::finding(chat());
        let ledger: Arc<dyn Ledger> = Arc::new(database.clone());
        let shelves = Arc::new(database.clone());
        let media: Arc<dyn MediaStore> = Arc::new(store.clone());
        let engine_port = Arc::new(engine.clone());
        let clock_port = Arc::new(clock.clone());
        let lives = Lives {
            ledger: ledger.clone(),
            shelves: shelves.clone(),
            store: media.clone(),
            engine: engine_port.clone(),
            chats: Arc::new(chats),
            clock: clock_port.clone(),
        };
        let moments = Moments {
            ledger: ledger.clone(),
            shelves: shelves.clone(),
            store: media.clone(),
            engine: engine_port.clone(),
        };
        let clips = Clips {
            ledger: ledger.clone(),
            shelves: shelves.clone(),
            store: media,
            engine: engine_port,
            footage: spark::use_cases::clips::footage::CameraFootage {
                footage: Arc::new(dvr.clone()),
                clock: clock_port.clone(),
            },
            clock: clock_port.clone(),
            fonts_dir: "fonts".into(),
            watermark: "SPARK".into(),
        };
        let queue: Arc<dyn JobQueue> = Arc::new(database.clone());
        let spool = Arc::new(MemorySpool::default());
        let log = Arc::new(database.clone());
        let audience = Audience::new(log, ledger.clone(), shelves, spool, clock_port.clone());
        let gaps = Gaps { audience, channels: no_channels(clock_port) };
        let desk = Arc::new(spark::adapters::memory::MemoryRecorder::default());
        let alignments = spark::use_cases::clips::align::Alignments { clips: clips.clone(), desk };
        let jobs = Jobs { queue, lives, moments, clips, gaps, alignments };
        Self { clock, database, store, engine, dvr, jobs, reactions: Reactions { ledger } }
    }

    async fn receive(&self, bytes: &[u8], extension: &str) -> MediaObject {
        let mut incoming = self.store.incoming(bytes.len() as u64).await.unwrap();
        incoming.write(bytes).await.unwrap();
        incoming.finish("recordings", extension).await.unwrap()
    }

    async fn order(&self) -> Received {
        let order = ImportOrder {
            week: samples::week(1),
            title: "Soirée".into(),
            video: self.receive(b"a film", "mp4").await,
            chat: self.receive(b"a chat", "json").await,
            started_at: Some(samples::started_at()),
            by: None,
        };
        self.jobs.order_import(order).await.unwrap()
    }

    /// Follows and works, as the doors would, until nothing is left to do. Says how often a try failed.
    async fn run_until_idle(&self) -> usize {
        let mut failed = 0;
        loop {
            while self.reactions.step().await.unwrap() > 0 {}
            let mut worked = false;
            for lane in Lane::ALL {
                let Some(claimed) = self.database.claim(lane, "test").await.unwrap() else {
                    continue;
                };
                worked = true;
                let work = Work::on(claimed.ticket, CancellationToken::new());
                match self.jobs.carry_out(&claimed.job, &work).await {
                    Ok(()) => {}
                    Err(WorkError::Passing(reason)) => {
                        failed += 1;
                        self.database.fail(claimed.ticket, &reason, true).await.unwrap();
                        self.clock.advance(Duration::from_mins(5));
                    }
                    Err(error) => panic!("{:?}: {error}", claimed.job),
                }
            }
            if !worked {
                return failed;
            }
        }
    }

    async fn clips_of(&self, live: LiveId) -> Vec<ClipCard> {
        self.jobs.clips.of_live(live).await.unwrap()
    }

    async fn the_live(&self) -> LiveId {
        let lives = self.jobs.lives.of_week(samples::week(1)).await.unwrap();
        assert_eq!(lives.len(), 1);
        lives[0].id
    }
}

fn inspection() -> Inspection {
    let loud =
        |tenth: usize| BURSTS.iter().any(|at| (at * 10..at * 10 + 40).contains(&(tenth as i64)));
    let lufs = (0..STREAM_S as usize * 10).map(|tenth| if loud(tenth) { -12.0 } else { -24.0 });
    Inspection {
        container: "matroska,webm".into(),
        duration_s: STREAM_S as f64,
        size_bytes: 6,
        video: VideoTrack {
            codec: "h264".into(),
            width: 1920,
            height: 1080,
            frame_rate: Ratio::new(30, 1),
            variable_rate: false,
            pixel_format: "yuv420p".into(),
            pixel_aspect: Ratio::new(1, 1),
            rotation_degrees: 0,
            open_gop: false,
            frames: STREAM_S as u64 * 30,
        },
        audio: AudioTrack { codec: "aac".into(), sample_rate_hz: 48_000, channels: 2 },
        key_frames: KeyFrameIndex::default(),
        loudness: LoudnessSeries { lufs: lufs.collect() },
    }
}

/// Talk of forty people, and crowds of eighty that answer each burst six seconds later.
fn chat() -> ChatLog {
    let line = |second: i64, viewer: i64, text: &str| ChatLine {
        offset_ms: second * 1_000,
        message_id: None,
        user_id: Some(format!("viewer{viewer}")),
        login: Some(format!("viewer{viewer}")),
        display_name: None,
        text: text.to_owned(),
        trusted: false,
        bits: 0,
    };
    let mut lines: Vec<ChatLine> = (0..STREAM_S)
        .map(|second| line(second, second * 7 % 40, &format!("on en parle depuis {second}")))
        .collect();
    for (index, at) in BURSTS.into_iter().enumerate() {
        for viewer in 0..60 + 5 * index as i64 {
            lines.push(line(at + 6 + viewer / 10, 100 + viewer, "PogChamp OMG"));
        }
    }
    lines.sort_by_key(|line| line.offset_ms);
    ChatLog { lines, format: "script", started_at: None, title: None }
}

#[tokio::test]
async fn an_import_ends_with_clips_and_the_best_of_them_as_reels() {
    let house = House::build();
    assert!(matches!(house.order().await, Received::Ordered(_)));
    assert_eq!(house.run_until_idle().await, 0);

    let live = house.the_live().await;
    let moments = house.jobs.moments.of_live(live).await.unwrap();
    assert!(moments.len() >= CLIPS_PROPOSED as usize, "{} moments", moments.len());
    let clips = house.clips_of(live).await;
    assert_eq!(clips.len(), CLIPS_PROPOSED as usize);
    for card in &clips {
        assert!(matches!(card.clip.state, ClipState::Cut { .. }), "{:?}", card.clip.state);
    }
    let reels = clips.iter().filter(|card| matches!(card.clip.reel, ReelState::Rendered { .. }));
    assert_eq!(reels.count(), REELS_PROPOSED as usize);
    assert_eq!(house.engine.count(EngineVerb::Inspect), 1);
    assert_eq!(house.engine.count(EngineVerb::Cut), CLIPS_PROPOSED as usize);
    assert_eq!(house.engine.count(EngineVerb::RenderReel), REELS_PROPOSED as usize);
    let jobs = house.database.list().await.unwrap();
    assert!(jobs.iter().all(|view| view.state == JobState::Done), "{jobs:?}");
    for object in house.database.media() {
        assert!(house.store.local_path(&object.key).await.unwrap().is_some(), "{}", object.key);
    }

    let before = house.database.events_after(0).await.unwrap().len();
    assert_eq!(house.order().await, Received::AlreadyHere(live), "the same pair again");
    assert_eq!(house.run_until_idle().await, 0);
    assert_eq!(house.database.events_after(0).await.unwrap().len(), before);
}

impl House {
    /// A camera that sent a picture a second from an instant on, for so long.
    async fn camera(&self, n: u128, name: &str, from: DateTime<Utc>, seconds: u32) {
        let camera = CameraId::from_uuid(Uuid::from_u128(n));
        let added = CameraEvent::Added {
            camera,
            name: CameraName::try_new(name).unwrap(),
            key: KeyHash::new([n as u8; 32]),
            by: None,
        };
        self.happen(added.into()).await;
        let recording = RecordingId::from_uuid(Uuid::from_u128(n));
        let from_ns = from.timestamp_nanos_opt().unwrap();
        let start = Start { camera, recording, tracks: Vec::new(), utc_ns: from_ns };
        let mut going = self.dvr.begin(start).await.unwrap();
        for second in 0..seconds {
            let dts = i64::from(second) * TICKS_PER_S;
            let data = Bytes::from_static(b"picture");
            let sample = Sample {
                duration: TICKS_PER_S as u32,
                offset: 0,
                is_key: true,
                bytes: data.len(),
                data,
            };
            let part = Part {
                number: second + 1,
                file: 1,
                dts,
                ticks: TICKS_PER_S,
                utc_ns: from_ns + i64::from(second) * 1_000_000_000,
                is_key: true,
                picture: Run { start: dts, samples: vec![sample] },
                sound: Run { start: 0, samples: Vec::new() },
            };
            going.append(part).await.unwrap();
        }
    }

    async fn happen(&self, event: Event) {
        let commit = Commit { events: vec![event], ..Commit::default() };
        self.database.commit(commit).await.unwrap();
    }
}

#[tokio::test]
async fn a_mark_of_a_live_becomes_a_clip_of_each_camera_that_recorded() {
    let house = House::build();
    let began = house.clock.now();
    house.camera(1, "Salon", began, 300).await;
    // One came in the midst of the passage, one had gone long before.
    house.camera(2, "Cuisine", began + TimeDelta::seconds(190), 110).await;
    house.camera(3, "Jardin", began, 60).await;
    let live = samples::live(1);
    let happened = LiveEvent::Began {
        live,
        week: samples::week(1),
        channel: "141981764".into(),
        title: "Soirée".into(),
        started_at: began,
    };
    house.happen(happened.into()).await;
    house.clock.advance(Duration::from_mins(6));
    let mark = LiveEvent::Marked { live, offset_ms: 200_000, by: None };
    house.happen(mark.into()).await;
    assert_eq!(house.run_until_idle().await, 0);

    let clips = house.clips_of(LiveId::of_cameras(samples::week(1))).await;
    let mut told: Vec<(String, i64, i64)> = clips
        .iter()
        .map(|ClipCard { clip, .. }| {
            let ClipSource::Camera { name, begins_at, .. } = &clip.source else {
                panic!("{:?}", clip.source)
            };
            assert!(matches!(clip.state, ClipState::Cut { .. }), "{:?}", clip.state);
            (name.clone(), (*begins_at - began).num_seconds(), clip.span.ms())
        })
        .collect();
    told.sort();
    // From 30 s before to 5 s after; the second one from its own beginning on.
    let expected = [("Cuisine".to_owned(), 190, 15_000), ("Salon".to_owned(), 170, 35_000)];
    assert_eq!(told, expected);
    assert_eq!(house.engine.count(EngineVerb::Cut), 2);
    // The same mark read again asks for nothing more.
    let before = house.database.list().await.unwrap().len();
    assert_eq!(house.run_until_idle().await, 0);
    assert_eq!(house.database.list().await.unwrap().len(), before);
}

#[tokio::test]
async fn crashing_renderers_cost_tries_and_no_clip() {
    let house = House::build();
    let crash = || MediaError::Crashed { how: "signal 9".into(), last_words: String::new() };
    for verb in [
        EngineVerb::Inspect,
        EngineVerb::SceneCuts,
        EngineVerb::Cut,
        EngineVerb::Cut,
        EngineVerb::RenderReel,
    ] {
        house.engine.fail_next(verb, crash());
    }
    house.order().await;
    assert_eq!(house.run_until_idle().await, 5, "every fault took place");
    let clips = house.clips_of(house.the_live().await).await;
    assert_eq!(clips.len(), CLIPS_PROPOSED as usize);
    let reels = clips.iter().filter(|card| matches!(card.clip.reel, ReelState::Rendered { .. }));
    assert_eq!(reels.count(), REELS_PROPOSED as usize);
    let jobs = house.database.list().await.unwrap();
    let orders: BTreeSet<_> = jobs.iter().map(|view| view.job.dedupe_key()).collect();
    assert_eq!(orders.len(), jobs.len(), "no job was ordered twice");
    assert!(jobs.iter().any(|view| matches!(view.job, Job::RenderReel { .. })));
}

/// The queue's worker that gave up may die before it says so: `settle` does, and another round starts from there.
#[tokio::test]
async fn reels_that_were_given_up_say_so_and_are_rendered_when_people_ask_again() {
    let house = House::build();
    house.order().await;
    let crash = || MediaError::Crashed { how: "signal 9".into(), last_words: String::new() };
    let tries = JOB_ATTEMPTS_MAX as usize * REELS_PROPOSED as usize;
    for _ in 0..tries {
        house.engine.fail_next(EngineVerb::RenderReel, crash());
    }
    assert_eq!(house.run_until_idle().await, tries, "every fault took place");
    let live = house.the_live().await;
    let reels = async |of: fn(&ReelState) -> bool| {
        house.clips_of(live).await.iter().filter(|card| of(&card.clip.reel)).count()
    };
    let all = REELS_PROPOSED as usize;
    let waits = |reel: &ReelState| matches!(reel, ReelState::Requested { .. });
    assert_eq!(reels(waits).await, all, "nobody said anything yet");

    house.jobs.settle().await.unwrap();
    house.jobs.settle().await.unwrap();
    assert_eq!(reels(|reel| matches!(reel, ReelState::Failed { .. })).await, all);

    let listed = house.database.list().await.unwrap();
    for rested in listed.iter().filter(|view| view.state == JobState::Failed) {
        assert!(house.jobs.retry(rested.id).await.unwrap());
    }
    assert_eq!(house.run_until_idle().await, 0);
    assert_eq!(reels(|reel| matches!(reel, ReelState::Rendered { .. })).await, all);
}

#[tokio::test]
async fn a_cut_that_people_stop_before_it_began_says_so_on_its_clip() {
    let house = House::build();
    house.order().await;
    // As far as the orders to cut, and no further.
    while house
        .jobs
        .queue
        .depths()
        .await
        .unwrap()
        .iter()
        .all(|d| d.lane != Lane::Cut || d.waiting == 0)
    {
        while house.reactions.step().await.unwrap() > 0 {}
        for lane in [Lane::Import, Lane::Detect] {
            if let Some(claimed) = house.database.claim(lane, "test").await.unwrap() {
                let work = Work::on(claimed.ticket, CancellationToken::new());
                house.jobs.carry_out(&claimed.job, &work).await.unwrap();
            }
        }
    }
    let waiting = house.database.list().await.unwrap();
    let waiting = waiting.iter().find(|view| matches!(view.job, Job::CutClip { .. })).unwrap();
    let Job::CutClip { clip } = waiting.job else { unreachable!("found as one") };

    assert!(house.jobs.cancel(waiting.id).await.unwrap());
    let card = house.jobs.clips.find(clip).await.unwrap().unwrap();
    assert!(matches!(card.clip.state, ClipState::Failed { .. }), "{:?}", card.clip.state);

    assert!(house.jobs.retry(waiting.id).await.unwrap());
    house.run_until_idle().await;
    let card = house.jobs.clips.find(clip).await.unwrap().unwrap();
    assert!(matches!(card.clip.state, ClipState::Cut { .. }), "{:?}", card.clip.state);
}
