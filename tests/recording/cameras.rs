//! Pretend cameras at the real doors: what they send is what is recorded, and their misbehaviour costs nobody else anything.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use spark::adapters::clock::SystemClock;
use spark::adapters::ffmpeg::demux::FfmpegDemuxer;
use spark::adapters::memory::{MemoryDvr, MemoryRecorder};
use spark::adapters::rtmp::{RtmpIngest, RtmpPublisher};
use spark::adapters::srt::{SrtIngest, SrtSettings};
use spark::domain::live::camera::{Camera, CameraName};
use spark::ports::ingest::{Ingest, Leave};
use spark::ports::vault::Secret;
use spark::rehearsal::cameras::{
    CameraError, Counted, Fault, Film, Manners, Over, PretendCamera, TransportStream,
};
use spark::use_cases::live::cameras::StreamKey;
use spark::use_cases::live::record::Recorder;
use spark::use_cases::live::relay::Relays;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::camera;
use crate::process::{ffmpeg, kept, until};
use crate::recorder::{KEYS, Studio, decodes, media, packets};

/// Five times as fast as a clock.
const FIVE_TIMES_PPM: f64 = 4_000_000.0;
const PASSPHRASE: &str = "la phrase de la villa";
/// Where a transport stream's clock starts over, in milliseconds.
const WRAP_MS: u64 = (1 << 33) / 90;

struct House {
    recorder: Recorder,
    dvr: MemoryDvr,
    rtmp: String,
    srt: String,
    keys: Vec<StreamKey>,
    stop: CancellationToken,
    cameras: JoinSet<()>,
}

/// With both doors open.
async fn house(cameras: u128) -> House {
    let (dvr, book, clock) =
        (MemoryDvr::default(), MemoryRecorder::default(), Arc::new(SystemClock));
    let relays =
        Relays::open(Arc::new(RtmpPublisher), Arc::new(book.clone()), clock.clone()).unwrap();
    let recorder =
        Recorder::open(Arc::new(dvr.clone()), Arc::new(book), clock.clone(), relays).unwrap();
    let keys: Vec<StreamKey> = (0..cameras).map(|_| StreamKey::draw(&*clock)).collect();
    let known = keys.iter().zip(1..).map(|(key, n)| Camera {
        id: camera(n),
        name: CameraName::try_new(&format!("C{n}")).unwrap(),
        key: key.hash(),
    });
    recorder.know(&known.collect::<Vec<_>>()).unwrap();
    let address = ([127, 0, 0, 1], 0).into();
    let rtmp = RtmpIngest::listen(address, recorder.gate()).await.unwrap();
    let demuxer = FfmpegDemuxer::new(env!("CARGO_BIN_EXE_spark").into()).unwrap();
    let settings = SrtSettings {
        address,
        passphrase: Some(Secret::new(PASSPHRASE)),
        latency: Duration::from_millis(200),
    };
    let srt = SrtIngest::listen(&settings, recorder.gate(), Arc::new(demuxer)).unwrap();
    let addresses =
        [format!("rtmp://{}/live", rtmp.local_addr()), format!("srt://{}", srt.local_addr())];
    let stop = CancellationToken::new();
    let doors: [Arc<dyn Ingest>; 2] = [Arc::new(rtmp), Arc::new(srt)];
    for door in doors {
        tokio::spawn(spark::workers::recorder::run(recorder.clone(), door, stop.clone()));
    }
    let [rtmp, srt] = addresses;
    House { recorder, dvr, rtmp, srt, keys, stop, cameras: JoinSet::new() }
}

impl House {
    /// The n-th camera, from 1, as it would be at one of the doors.
    fn camera(&self, n: usize, over: Over, film: &Film, manners: &Manners) -> PretendCamera {
        let url = if over == Over::Rtmp { &self.rtmp } else { &self.srt };
        let manners = Manners {
            url: url.clone(),
            key: self.keys[n - 1].as_str().to_owned(),
            ..manners.clone()
        };
        PretendCamera::new(film.clone(), manners)
    }

    /// It publishes from now on.
    fn publish(
        &mut self,
        n: usize,
        over: Over,
        film: &Film,
        manners: &Manners,
    ) -> watch::Receiver<Counted> {
        let camera = self.camera(n, over, film, manners);
        let counted = camera.counted();
        self.cameras.spawn(async move { camera.run().await.unwrap() });
        counted
    }

    /// Pictures of the n-th camera in each of its recordings.
    fn pictures(&self, n: u128) -> Vec<usize> {
        let all = self.dvr.recordings();
        let of = |recording| {
            let parts = self.dvr.parts_of(recording);
            parts.iter().map(|part| part.picture.samples.len()).sum()
        };
        let is_of = |recording| self.dvr.starts_of(camera(n)).contains(&recording);
        all.into_iter().map(|(it, _)| it).filter(|it| is_of(*it)).map(of).collect()
    }

    fn left(&self, n: u128) -> Option<Leave> {
        let state = self.recorder.state();
        let seat = state.cameras.into_iter().find(|it| it.camera == camera(n))?;
        seat.left.map(|left| left.why)
    }

    /// Every camera said goodbye or was sent away, and everything that came is recorded.
    async fn end(&mut self) {
        while let Some(ended) = self.cameras.join_next().await {
            ended.unwrap();
        }
        let recorder = self.recorder.clone();
        until("every camera left", || async {
            recorder.state().cameras.iter().all(|it| it.feed.is_none()).then_some(())
        })
        .await;
        self.stop.cancel();
    }
}

fn manners() -> Manners {
    Manners {
        url: String::new(),
        key: String::new(),
        passphrase: Some(PASSPHRASE.to_owned()),
        drift_ppm: FIVE_TIMES_PPM,
        cut: None,
        lasts: None,
        fault: None,
    }
}

fn film_file() -> PathBuf {
    let words = "-f lavfi -i testsrc2=size=320x180:rate=30 -f lavfi -i sine=frequency=440:sample_rate=48000 -t 4 -c:v libx264 \
                 -preset ultrafast -bf 2 -g 30 -c:a aac -f flv";
    let words: Vec<&str> = words.split_whitespace().collect();
    kept("pretend-camera.flv", |path| ffmpeg(&words, path))
}

/// Four seconds with pictures out of order, as encoders send them.
fn film() -> Film {
    Film::of_flv(std::fs::read(film_file()).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cameras_send_again_and_again_over_both_protocols_is_recorded_without_a_break() {
    let mut house = house(2).await;
    let film = film();
    let manners = Manners { lasts: Some(Duration::from_secs(12)), ..manners() };
    let counted: Vec<_> = [(1, Over::Rtmp), (2, Over::Srt)]
        .map(|(n, over)| house.publish(n, over, &film, &manners))
        .into();
    house.end().await;
    for (n, counted) in (1..).zip(&counted) {
        let sent = *counted.borrow();
        assert_eq!((sent.lines, house.pictures(n).len()), (1, 1), "one line, one recording");
        assert_eq!((sent.pictures, house.pictures(n)), (360, vec![360]), "three laps of the film");
    }
    assert_eq!((house.left(1), house.left(2)), (Some(Leave::Ended), Some(Leave::Gone)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_that_is_cut_comes_back_as_another_recording() {
    let mut house = house(2).await;
    let cut = Some((Duration::from_secs(5), Duration::from_millis(300)));
    let manners = Manners { cut, ..manners() };
    let counted: Vec<_> = [(1, Over::Rtmp), (2, Over::Srt)]
        .map(|(n, over)| house.publish(n, over, &film(), &manners))
        .into();
    until("each came three times", || async {
        counted.iter().all(|it| it.borrow().lines >= 3).then_some(())
    })
    .await;
    house.cameras.shutdown().await;
    house.end().await;
    for n in 1..=2 {
        assert!(house.pictures(n).len() >= 2, "{n}: {:?}", house.pictures(n));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_misbehaviour_ends_as_it_must_and_costs_the_good_cameras_nothing() {
    let all: Vec<(Over, &str, Fault)> = Over::ALL
        .into_iter()
        .flat_map(|(_, over)| Fault::ALL.map(|(name, fault)| (over, name, fault)))
        .filter(|(over, _, fault)| fault.is_of(*over))
        .collect();
    assert_eq!(all.len(), 7 + 5);
    let mut house = house(all.len() as u128 + 2).await;
    let film = film();
    // Silence is noticed after ten seconds, two after the beginning; the others go on for longer.
    let manners = Manners { lasts: Some(Duration::from_secs(75)), ..manners() };
    let good = [(all.len() + 1, Over::Rtmp), (all.len() + 2, Over::Srt)]
        .map(|(n, over)| (n as u128, house.publish(n, over, &film, &manners)));
    let faulty: Vec<_> = (1..)
        .zip(all)
        .map(|(n, (over, name, fault))| {
            let manners = Manners { fault: Some(fault), ..manners.clone() };
            let counted = house.publish(n, over, &film, &manners);
            (n as u128, over, name, fault, counted)
        })
        .collect();
    until("every fault happened and was answered", || async {
        let is_answered =
            |(n, _, _, fault, counted): &(u128, _, _, Fault, watch::Receiver<Counted>)| {
                counted.borrow().faults > 0 && (fault.goes_on() || house.left(*n).is_some())
            };
        faulty.iter().all(is_answered).then_some(())
    })
    .await;
    for (n, over, name, fault, _) in &faulty {
        let why = house.left(*n);
        let is_as_must_be = match (fault, over) {
            (Fault::LiesShort, _) => matches!(
                why,
                Some(Leave::Malformed { .. } | Leave::TooMuch { .. } | Leave::Silent { .. })
            ),
            (Fault::Noise, _) => matches!(why, Some(Leave::Malformed { .. })),
            (fault, Over::Rtmp) if fault.goes_on() => matches!(why, None | Some(Leave::Ended)),
            (fault, Over::Srt) if fault.goes_on() => matches!(why, None | Some(Leave::Gone)),
            _ => matches!(why, Some(Leave::Silent { .. })),
        };
        assert!(is_as_must_be, "{over:?}, {name}: {why:?}");
    }
    house.end().await;
    for (n, over, name, fault, counted) in &faulty {
        let (sent, recorded) = (*counted.borrow(), house.pictures(*n));
        match fault {
            Fault::Jumps => assert!(recorded.len() >= 3, "{over:?}, {name}: {recorded:?}"),
            fault if fault.goes_on() => {
                assert_eq!(recorded, [sent.pictures as usize], "{over:?}, {name}: {sent:?}");
            }
            _ => {
                // Everything before the fault is there; of what lied, what it claimed to be; of a transport stream, what its
                // reader could know to be whole: a picture ends where the next begins.
                let lied = u64::from(*fault == Fault::LiesShort);
                let open = u64::from(*over == Over::Srt);
                let there = recorded.iter().sum::<usize>() as u64;
                assert!(
                    recorded.len() == 1
                        && (sent.pictures - open..=sent.pictures + lied).contains(&there),
                    "{over:?}, {name}: {recorded:?} of {sent:?}"
                );
            }
        }
    }
    for (n, counted) in &good {
        let (sent, recorded) = (*counted.borrow(), house.pictures(*n));
        assert_eq!((sent.lines, recorded), (1, vec![sent.pictures as usize]), "{n}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_not_let_in_says_why_and_does_not_come_again() {
    let mut house = house(1).await;
    let film = film();
    let run = |camera: PretendCamera| async move { camera.run().await.unwrap_err() };
    let known = house.keys[0].clone();
    for over in [Over::Rtmp, Over::Srt] {
        house.keys[0] = StreamKey::draw(&SystemClock);
        let error = run(house.camera(1, over, &film, &manners())).await;
        assert!(matches!(error, CameraError::Refused(_)), "{over:?}: {error}");
        house.keys[0] = known.clone();
        // A fault of the other protocol is told before anything is sent.
        let fault = if over == Over::Rtmp { Fault::Noise } else { Fault::Wraps24 };
        let manners = Manners { fault: Some(fault), ..manners() };
        let error = run(house.camera(1, over, &film, &manners)).await;
        assert!(matches!(error, CameraError::Fault { .. }), "{over:?}: {error}");
    }
    for passphrase in [None, Some("another phrase".to_owned())] {
        let manners = Manners { passphrase, ..manners() };
        let error = run(house.camera(1, Over::Srt, &film, &manners)).await;
        assert!(error.to_string().contains("passphrase"), "{error}");
    }
    assert_eq!((house.left(1), house.pictures(1)), (None, vec![]));
    house.end().await;
}

/// What FFmpeg makes of a file's first stream of a kind, decoded: a hash of so many frames.
fn decoded(path: &std::path::Path, stream: &str, frames: u32) -> String {
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-i", path.to_str().unwrap(), "-map", stream])
        .args([&format!("-frames:{}", &stream[2..]), &frames.to_string(), "-f", "md5", "-"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{}: {said}", path.display());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn debians_ffmpeg_finds_in_the_transport_stream_what_is_in_the_film() {
    let (film, folder) = (film(), tempfile::tempdir().unwrap());
    for (name, starts_at_ms) in [("usual.ts", 0), ("wraps.ts", WRAP_MS - 5_000)] {
        let mut stream = TransportStream::of(&film).unwrap();
        let (mut bytes, mut pictures, mut sounds) = (Vec::new(), 0, 0);
        for lap in 0..3 {
            for tag in film.tags() {
                let ms = lap * u64::from(film.lasts_ms()) + u64::from(tag.ms);
                stream.put(tag, starts_at_ms + ms, &mut bytes);
                if tag.kind == 9 { pictures += 1 } else { sounds += 1 }
            }
        }
        let path = folder.path().join(name);
        std::fs::write(&path, &bytes).unwrap();
        assert!(pictures == 270 && sounds > 400, "three seconds, three times");
        assert_eq!(packets(&path), (pictures, sounds), "{name}");
        decodes(&path);
        for (kind, frames) in [("0:v", 80), ("0:a", 100)] {
            let (there, here) = (decoded(&film_file(), kind, frames), decoded(&path, kind, frames));
            assert_eq!(there, here, "{name}, {kind}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_cameras_over_both_protocols_are_on_the_disk_by_their_own_count() {
    let studio = Studio::open().await;
    let server = studio.serve_with(&[("SPARK_RECORD_SRT_PASSPHRASE", PASSPHRASE)]);
    let state = studio.ready().await;
    studio.add_cameras().await;
    let door = |protocol: &str| {
        let door = state.doors.iter().find(|door| door.protocol == protocol);
        door.expect("a door").address
    };
    let addresses = [format!("rtmp://{}/live", door("rtmp")), format!("srt://{}", door("srt"))];
    let mut cameras = JoinSet::new();
    for (n, url) in addresses.iter().enumerate() {
        let (url, key) = (url.clone(), KEYS[n].to_owned());
        let manners = Manners { url, key, lasts: Some(Duration::from_secs(60)), ..manners() };
        let camera = PretendCamera::new(film(), manners);
        cameras.spawn(async move {
            camera.run().await.unwrap();
            (n, *camera.counted().borrow())
        });
    }
    let sent = cameras.join_all().await;
    until("both have left", || async {
        let cameras = studio.state().await?.cameras;
        cameras.iter().all(|it| it.feed.is_none() && it.left.is_some()).then_some(())
    })
    .await;
    for (n, sent) in sent {
        let files = media(&studio.dvr().join(camera(n as u128).to_string()));
        let counted: Vec<(usize, usize)> = files.iter().map(|file| packets(file)).collect();
        let sum = counted.iter().fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1));
        assert_eq!((sent.lines, sent.pictures), (1, 1_800));
        assert_eq!(sum, (sent.pictures as usize, sent.sounds as usize), "{}", addresses[n]);
        files.iter().for_each(|file| decodes(file));
    }

    // The same from the command line.
    let (keys, phrase) =
        (studio.home.write("keys", KEYS.join("\n")), studio.home.write("phrase", PASSPHRASE));
    let film = film_file();
    let words: Vec<&str> = ["rehearse", "cameras", "--to", &addresses[0], "--to", &addresses[1]]
        .into_iter()
        .chain(["--keys", keys.to_str().unwrap(), "--film", film.to_str().unwrap()])
        .chain(["--passphrase", phrase.to_str().unwrap()])
        .collect();
    let publishing = studio.home.start(&words);
    until("both are recorded again", || async {
        let feeds: Vec<_> =
            studio.state().await?.cameras.into_iter().filter_map(|it| it.feed).collect();
        let mut over: Vec<&str> = feeds.iter().map(|feed| &*feed.protocol).collect();
        over.sort_unstable();
        let is_recorded = feeds.iter().all(|feed| feed.recorded_until.is_some());
        (over == ["rtmp", "srt"] && is_recorded).then_some(())
    })
    .await;
    publishing.signal("TERM");
    publishing.ended().well();
    server.signal("TERM");
    server.ended().well();
}
