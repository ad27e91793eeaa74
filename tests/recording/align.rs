//! Cameras that heard the same, late and with clocks of their own: measured by their sound, and cut at one word. The films are
//! FFmpeg's own, the arrival is pretended, everything else is real.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use spark::adapters::ffmpeg::{EngineSettings, FfmpegEngine};
use spark::adapters::local_dvr::{LocalDvr, LocalFootage};
use spark::adapters::memory::{MemoryClock, MemoryDatabase, MemoryMediaStore, MemoryRecorder};
use spark::domain::clips::{ClipFile, ClipSource, ClipState};
use spark::domain::ids::{CameraId, RecordingId};
use spark::domain::job::{Job, Lane};
use spark::domain::live::camera::{CameraEvent, CameraName, KeyHash};
use spark::domain::live::part::{Parts, Unit};
use spark::domain::live::sync::Mismatch;
use spark::domain::live::track::{Codec, Form, Kind, Track};
use spark::ports::clock::Clock;
use spark::ports::dvr::{Dvr, Start};
use spark::ports::job_queue::JobQueue;
use spark::ports::ledger::{Commit, Ledger};
use spark::ports::media_store::MediaStore;
use spark::ports::shelves::find_card;
use spark::read_models::{CameraCard, ClipCard};
use spark::use_cases::clips::Clips;
use spark::use_cases::clips::align::{Alignments, NotAligned, Standing};
use spark::use_cases::clips::footage::CameraFootage;
use spark::use_cases::reactions::Reactions;
use spark::use_cases::{Work, WorkError};
use tokio_util::sync::CancellationToken;

use crate::process::{ffmpeg, kept};
use crate::{camera, recording};

const RATE: usize = 48_000;
const S: i64 = 1_000_000_000;
const BEGINS_NS: i64 = 1_795_219_185 * S;
/// How long the cameras record, in seconds; those that heard nothing of it, at the end.
const LONG_S: i64 = 300;
const SHORT_S: i64 = 80;
/// The second camera is so late, and its clock so fast: 48 000 samples of the room are 48 004 of its own.
const LATE_S: f64 = 0.73;
const DRIFT_PPM: f64 = 4.0 / 47_996.0 * 1e6;
/// Its line takes so much longer, in seconds.
const LINE_S: f64 = 0.18;
const FRAME_S: f64 = 1.0 / 30.0;

/// Something like speech, as samples of 16 bits.
fn speech(seed: u64, seconds: i64) -> Vec<i16> {
    let mut state = seed;
    let mut low = 0.0_f64;
    let mut loudness = 0.0;
    (0..seconds as usize * RATE)
        .map(|n| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(seed * 2 + 1);
            let white = (state >> 33) as f64 / f64::from(1_u32 << 30) - 1.0;
            low += 0.3 * (white - low);
            if n % (RATE / 6) == 0 {
                loudness = ((state >> 20) % 100) as f64 / 100.0;
            }
            (low * loudness * 9_000.0 + white * 40.0) as i16
        })
        .collect()
}

fn wav(path: &Path, samples: &[i16]) {
    let bytes = samples.len() as u32 * 2;
    let mut out = b"RIFF".to_vec();
    out.extend((36 + bytes).to_le_bytes());
    out.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    out.extend((RATE as u32).to_le_bytes());
    out.extend((RATE as u32 * 2).to_le_bytes());
    out.extend(b"\x02\0\x10\0data");
    out.extend(bytes.to_le_bytes());
    out.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
    fs::write(path, out).unwrap();
}

/// What a camera sends: the sound through FFmpeg's filters, with noise of its own, and some picture.
pub(crate) fn film(name: &str, seed: u64, seconds: i64, filters: &str, noise: u32) -> PathBuf {
    kept(&format!("aligned-{name}.flv"), |path| {
        let sound = path.with_extension("wav");
        wav(&sound, &speech(seed, seconds));
        let mix = format!(
            "[0:a]{filters}[room];anoisesrc=amplitude=0.02:seed={noise}:sample_rate=48000[hiss];\
             [room][hiss]amix=inputs=2:duration=first:normalize=0[heard]"
        );
        let length = seconds.to_string();
        let words = [
            "-i",
            sound.to_str().unwrap(),
            "-f",
            "lavfi",
            "-i",
            "testsrc2=size=160x90:rate=30",
            "-filter_complex",
            &mix,
            "-map",
            "1:v",
            "-map",
            "[heard]",
            "-t",
            &length,
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
            "-bf",
            "2",
            "-g",
            "60",
            "-c:a",
            "aac",
            "-b:a",
            "96k",
            "-ac",
            "2",
            "-f",
            "flv",
        ];
        ffmpeg(&words, path);
        fs::remove_file(sound).unwrap();
    })
}

/// Tracks and packets of an FLV, with their times in ticks.
fn packets(film: &Path) -> (Vec<Track>, Vec<Unit<Bytes>>) {
    let file = Bytes::from(fs::read(film).unwrap());
    let (mut at, mut configs, mut units) = (13, [Vec::new(), Vec::new()], Vec::new());
    while at + 11 < file.len() {
        let number = |from: usize| {
            i64::from(file[from]) << 16 | i64::from(file[from + 1]) << 8 | i64::from(file[from + 2])
        };
        let (kind, size) = (file[at], number(at + 1) as usize);
        let dts = (number(at + 4) | i64::from(file[at + 7]) << 24) * 90;
        let body = file.slice(at + 11..at + 11 + size);
        at += 11 + size + 4;
        match (kind, body.get(1)) {
            (9, Some(0)) if configs[0].is_empty() => configs[0] = body[5..].to_vec(),
            (8, Some(0)) => configs[1] = body[2..].to_vec(),
            (9, Some(1)) => {
                let shift = i32::from_be_bytes([body[2], body[3], body[4], 0]) >> 8;
                units.push(Unit {
                    kind: Kind::Picture,
                    dts,
                    pts: dts + i64::from(shift) * 90,
                    is_key: body[0] >> 4 == 1,
                    samples: 0,
                    bytes: body.len() - 5,
                    data: body.slice(5..),
                    utc_ns: 0,
                });
            }
            (8, Some(1)) => units.push(Unit {
                kind: Kind::Sound,
                dts,
                pts: dts,
                is_key: true,
                samples: 1_024,
                bytes: body.len() - 2,
                data: body.slice(2..),
                utc_ns: 0,
            }),
            _ => {}
        }
    }
    let [picture, sound] = configs;
    let form = Form::Picture { width: 160, height: 90 };
    let picture = Track { codec: Codec::H264, config: picture, form };
    let form = Form::Sound { rate: RATE as u32, channels: 2 };
    (vec![picture, Track { codec: Codec::Aac, config: sound, form }], units)
}

/// Records a film as if it came over a network: packets arrive as they were made by a clock that is `ppm` fast, `late` seconds
/// after, and up to a quarter of a second later than that.
async fn record(dvr: &LocalDvr, n: u128, film: &Path, begins_ns: i64, ppm: f64, late: f64) {
    record_as(dvr, (camera(n), recording(n)), film, begins_ns, ppm, late).await;
}

/// The same as one of several recordings of a camera.
pub(crate) async fn record_as(
    dvr: &LocalDvr,
    (camera, recording): (CameraId, RecordingId),
    film: &Path,
    begins_ns: i64,
    ppm: f64,
    late: f64,
) {
    let (tracks, units) = packets(film);
    let start = Start { camera, recording, tracks, utc_ns: begins_ns };
    let mut going = dvr.begin(start).await.unwrap();
    let mut parts = Parts::new(RATE as u32);
    let (mut chance, mut before) = (recording.as_uuid().as_u128() as u64, 0);
    for mut unit in units {
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
        let jitter = ((chance >> 40) as f64 / f64::from(1 << 24)).powi(4) * 0.25;
        let made = unit.dts as f64 / 90_000.0 / (1.0 + ppm * 1e-6);
        let arrives = begins_ns + ((made + late + jitter) * S as f64) as i64;
        // One connection keeps the order.
        before = arrives.max(before);
        unit.utc_ns = before;
        if let Some(part) = parts.push(unit).unwrap() {
            going.append(part).await.unwrap();
        }
    }
    if let Some(part) = parts.finish() {
        going.append(part).await.unwrap();
    }
    going.finish().await.unwrap();
}

/// Sound of a file from an instant on, at 8 000 samples a second, as FFmpeg's own program decodes it.
fn sound(file: &Path, from_s: f64, seconds: f64) -> Vec<f64> {
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-i", file.to_str().unwrap(), "-map", "0:a"])
        .args([
            "-af",
            &format!(
                "aresample=48000:async=1:first_pts=0,atrim=start={from_s},asetpts=PTS-STARTPTS"
            ),
        ])
        .args(["-t", &seconds.to_string(), "-ac", "1", "-ar", "8000", "-f", "f32le", "-"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let four = output.stdout.chunks_exact(4);
    four.map(|it| f64::from(f32::from_le_bytes(it.try_into().unwrap()))).collect()
}

/// How much later, in seconds, one file has the sound that the other has at an instant: two seconds of it, moved by up to
/// `reach` to and fro, sample by sample.
fn lag(one: &Path, other: &Path, at_s: f64, reach_s: f64) -> f64 {
    let (wanted, there) =
        (sound(one, at_s, 2.0), sound(other, at_s - reach_s, 2.0 + 2.0 * reach_s));
    let alike = |shift: usize| {
        let there = &there[shift..shift + wanted.len()];
        let power = there.iter().map(|it| it * it).sum::<f64>().sqrt();
        wanted.iter().zip(there).map(|(a, b)| a * b).sum::<f64>() / power
    };
    assert!(wanted.len() == 16_000 && there.len() > wanted.len(), "the files are long enough");
    let shifts = there.len() - wanted.len();
    let best = (0..shifts).max_by(|a, b| alike(*a).total_cmp(&alike(*b))).unwrap();
    best as f64 / 8_000.0 - reach_s
}

pub(crate) struct House {
    database: MemoryDatabase,
    clock: MemoryClock,
    store: MemoryMediaStore,
    pub(crate) alignments: Alignments,
    reactions: Reactions,
    _folder: tempfile::TempDir,
    pub(crate) dvr: LocalDvr,
}

impl House {
    pub(crate) fn build() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dvr = LocalDvr::open(folder.path(), 1 << 20).unwrap();
        let now = DateTime::<Utc>::from_timestamp_nanos(BEGINS_NS + LONG_S * S);
        let clock = MemoryClock::at(now);
        let database = MemoryDatabase::new(clock.clone());
        let store = MemoryMediaStore::open().unwrap();
        let ledger: Arc<dyn Ledger> = Arc::new(database.clone());
        let program = PathBuf::from(env!("CARGO_BIN_EXE_spark"));
        let port: Arc<dyn Clock> = Arc::new(clock.clone());
        let clips = Clips {
            ledger: ledger.clone(),
            shelves: Arc::new(database.clone()),
            store: Arc::new(store.clone()),
            engine: Arc::new(FfmpegEngine::new(EngineSettings::new(program)).unwrap()),
            footage: CameraFootage {
                footage: Arc::new(LocalFootage::at(folder.path())),
                clock: port.clone(),
            },
            clock: port,
            fonts_dir: PathBuf::new(),
            watermark: String::new(),
        };
        let alignments = Alignments { clips, desk: Arc::new(MemoryRecorder::default()) };
        let reactions = Reactions { ledger };
        Self { database, clock, store, alignments, reactions, _folder: folder, dvr }
    }

    pub(crate) async fn add(&self, n: u128, name: &str) {
        let name = CameraName::try_new(name).unwrap();
        let key = KeyHash::new([n as u8; 32]);
        let event = CameraEvent::Added { camera: camera(n), name, key, by: None };
        self.database
            .commit(Commit { events: vec![event.into()], ..Commit::default() })
            .await
            .unwrap();
    }

    pub(crate) async fn card(&self, n: u128) -> CameraCard {
        find_card(&self.database, camera(n).as_uuid()).await.unwrap().unwrap()
    }

    /// Marks an instant and cuts what follows; the clips' files by their cameras' numbers.
    async fn mark(&self, at_s: i64) -> Vec<(ClipCard, ClipFile, PathBuf)> {
        let at = DateTime::<Utc>::from_timestamp_nanos(BEGINS_NS + at_s * S);
        let clips = &self.alignments.clips;
        assert_eq!(clips.mark_cameras(at, None).await.unwrap(), 2);
        let mut cut: Vec<_> = self.cut().await.into_iter().map(Result::unwrap).collect();
        cut.sort_by_key(|(card, ..)| match &card.clip.source {
            ClipSource::Camera { camera, .. } => *camera,
            ClipSource::Recording => panic!("of a camera"),
        });
        assert_eq!(cut.len(), 2);
        cut
    }

    /// Cuts every clip that was asked for: its card, its file, and where that lies.
    pub(crate) async fn cut(&self) -> Vec<Result<(ClipCard, ClipFile, PathBuf), WorkError>> {
        while self.reactions.step().await.unwrap() > 0 {}
        let (clips, mut all) = (&self.alignments.clips, Vec::new());
        while let Some(claimed) = self.database.claim(Lane::Extract, "test").await.unwrap() {
            let work = Work::on(claimed.ticket, CancellationToken::new());
            let Job::CutCamera { clip } = claimed.job else { panic!("{:?}", claimed.job) };
            if let Err(error) = clips.cut_camera(clip, &work).await {
                all.push(Err(error));
                continue;
            }
            let card = clips.find(clip).await.unwrap().unwrap();
            let ClipState::Cut { cut: file } = card.clip.state.clone() else {
                panic!("{:?}", card.clip.state)
            };
            let path = self.store.local_path(&file.file.key).await.unwrap().unwrap();
            all.push(Ok((card, file, path)));
        }
        all
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cameras_are_measured_by_their_sound_and_cut_at_one_word() {
    let filters = "asetrate=47996,aresample=48000,adelay=730:all=1";
    let salon = film("salon", 1, LONG_S, "anull", 5);
    let kitchen = film("kitchen", 1, LONG_S, filters, 6);
    // What is wrong with the second one is really in it.
    let lags = [20.0, 260.0].map(|at| lag(&salon, &kitchen, at, 1.0));
    let expected = |at: f64| LATE_S + at * DRIFT_PPM * 1e-6;
    assert!((lags[0] - expected(20.0)).abs() < 0.001, "{lags:?}");
    assert!((lags[1] - expected(260.0)).abs() < 0.001, "{lags:?}");
    assert!(lags[1] - lags[0] > 0.018, "its clock runs away: {lags:?}");

    let house = House::build();
    for (n, name) in [(1, "Salon"), (2, "Cuisine")] {
        house.add(n, name).await;
    }
    record(&house.dvr, 1, &salon, BEGINS_NS, 0.0, 0.02).await;
    record(&house.dvr, 2, &kitchen, BEGINS_NS, DRIFT_PPM, 0.02 + LINE_S).await;
    let parts = house.alignments.clips.footage.footage.parts(camera(2), 0, i64::MAX).await.unwrap();
    let took = parts.iter().map(|part| part.utc_ns - part.dts * 100_000 / 9);
    let spread = took.clone().max().unwrap() - took.min().unwrap();
    assert!(spread > 100_000_000, "its line trembles: {spread} ns");

    // Before anything is known, the clips of a mark are apart by what the cameras are.
    let before = house.mark(200).await;
    let apart = lag(&before[0].2, &before[1].2, 15.0, 1.5);
    assert!(apart > 0.8, "{apart} s");
    assert_eq!(before[1].1.aligned, None);

    house.alignments.order().await.unwrap();
    house.alignments.order().await.unwrap();
    let claimed = house.database.claim(Lane::Align, "test").await.unwrap().unwrap();
    assert_eq!(claimed.job, Job::AlignCameras);
    let work = Work::on(claimed.ticket, CancellationToken::new());
    house.alignments.carry_out(&work).await.unwrap();
    assert_eq!(
        house.database.claim(Lane::Align, "test").await.unwrap(),
        None,
        "asked twice, done once"
    );
    assert_eq!(house.card(1).await.aligned, []);
    let card = house.card(2).await;
    let found = &card.beside(recording(1), recording(2)).unwrap().alignment;
    assert_eq!(found.reference, camera(1));
    let at_ns = 150 * S;
    let offset_s = (found.line.other_ns(at_ns) - at_ns) as f64 / S as f64;
    eprintln!("{:?} z {} behind {} ms", found.line, found.z(), found.behind_ns as f64 / 1e6);
    assert!((offset_s - expected(150.0)).abs() < 0.005, "{offset_s} s");
    assert!((found.line.ppm - DRIFT_PPM).abs() < 15.0, "{:?}", found.line);
    assert!(found.line.residual_ms < 5.0 && found.line.windows >= 4, "{:?}", found.line);
    let behind_s = found.behind_ns as f64 / S as f64;
    let late_s = expected(280.0) + LINE_S - 280.0 * DRIFT_PPM * 1e-6;
    assert!(
        (behind_s - late_s).abs() < 0.05,
        "{behind_s} s of {late_s} s by the clock on the wall"
    );

    // Now one instant has the same sound in both clips.
    for at_s in [210, 290] {
        let clips = house.mark(at_s).await;
        for from_s in [2.0, 16.0, 28.0] {
            let apart = lag(&clips[0].2, &clips[1].2, from_s, 1.5);
            eprintln!("mark at {at_s} s, {from_s} s in: {:.1} ms apart", apart * 1e3);
            assert!(apart.abs() <= FRAME_S, "{apart} s");
        }
        let aligned = clips[1].1.aligned.as_ref().unwrap();
        assert_eq!(aligned.name, "Salon");
        assert!(aligned.within_ms < 5.0, "{aligned:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_that_heard_something_else_is_refused_with_the_reason() {
    let house = House::build();
    for (n, name) in [(1, "Salon"), (2, "Jardin"), (3, "Muette"), (4, "Éteinte")] {
        house.add(n, name).await;
    }
    let begins = BEGINS_NS + (LONG_S - SHORT_S) * S;
    record(&house.dvr, 1, &film("short", 1, SHORT_S, "anull", 5), begins, 0.0, 0.02).await;
    record(&house.dvr, 2, &film("garden", 2, SHORT_S, "anull", 6), begins, 0.0, 0.02).await;
    let silent = film("silent", 3, SHORT_S, "anull", 7);
    let mute = kept("aligned-mute.flv", |path| {
        let words = [
            "-i",
            silent.to_str().unwrap(),
            "-af",
            "volume=0",
            "-c:v",
            "copy",
            "-c:a",
            "aac",
            "-f",
            "flv",
        ];
        ffmpeg(&words, path);
    });
    record(&house.dvr, 3, &mute, begins, 0.0, 0.02).await;
    let to = house.clock.now();
    let found = house.alignments.align(to - chrono::TimeDelta::hours(1), to).await.unwrap();
    let standings: Vec<&Standing> = found.iter().map(|it| &it.standing).collect();
    assert_eq!(standings[0], &Standing::Reference);
    assert!(
        matches!(standings[1], Standing::Not(NotAligned::Mismatch(Mismatch::Weak { .. }))),
        "{:?}",
        standings[1]
    );
    assert_eq!(standings[2], &Standing::Not(NotAligned::Mismatch(Mismatch::Silence)));
    assert_eq!(standings[3], &Standing::Not(NotAligned::Nothing));
    for n in 1..=4 {
        assert_eq!(house.card(n).await.aligned, []);
    }
}
