//! Pretend cameras at the real door: what they send is what is recorded, and their misbehaviour costs nobody else anything.

use std::sync::Arc;
use std::time::Duration;

use spark::adapters::clock::SystemClock;
use spark::adapters::memory::{MemoryDvr, MemoryRecorder};
use spark::adapters::rtmp::{RtmpIngest, RtmpPublisher};
use spark::domain::live::camera::{Camera, CameraName};
use spark::ports::ingest::{Ingest, Leave};
use spark::rehearsal::cameras::{Counted, Fault, Film, Manners, PretendCamera};
use spark::use_cases::live::cameras::StreamKey;
use spark::use_cases::live::record::Recorder;
use spark::use_cases::live::relay::Relays;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::camera;
use crate::process::{ffmpeg, kept, until};

/// Five times as fast as a clock.
const FIVE_TIMES_PPM: f64 = 4_000_000.0;

struct House {
    recorder: Recorder,
    dvr: MemoryDvr,
    url: String,
    keys: Vec<StreamKey>,
    stop: CancellationToken,
    cameras: JoinSet<()>,
}

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
    let door = RtmpIngest::listen(([127, 0, 0, 1], 0).into(), recorder.gate()).await.unwrap();
    let url = format!("rtmp://{}/live", door.local_addr());
    let (stop, door) = (CancellationToken::new(), Arc::new(door) as Arc<dyn Ingest>);
    tokio::spawn(spark::workers::recorder::run(recorder.clone(), door, stop.clone()));
    House { recorder, dvr, url, keys, stop, cameras: JoinSet::new() }
}

impl House {
    /// The n-th camera, from 1, publishes from now on.
    fn publish(&mut self, n: usize, film: &Film, manners: &Manners) -> watch::Receiver<Counted> {
        let manners = Manners {
            url: self.url.clone(),
            key: self.keys[n - 1].as_str().to_owned(),
            ..manners.clone()
        };
        let camera = PretendCamera::new(film.clone(), manners);
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
        drift_ppm: FIVE_TIMES_PPM,
        cut: None,
        lasts: None,
        fault: None,
    }
}

/// Four seconds with pictures out of order, as encoders send them.
fn film() -> Film {
    let words = "-f lavfi -i testsrc2=size=320x180:rate=30 -f lavfi -i sine=frequency=440:sample_rate=48000 -t 4 -c:v libx264 \
                 -preset ultrafast -bf 2 -g 30 -c:a aac -f flv";
    let words: Vec<&str> = words.split_whitespace().collect();
    let path = kept("pretend-camera.flv", |path| ffmpeg(&words, path));
    Film::of_flv(std::fs::read(path).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_two_cameras_send_again_and_again_is_recorded_without_a_break() {
    let mut house = house(2).await;
    let film = film();
    let manners = Manners { lasts: Some(Duration::from_secs(12)), ..manners() };
    let counted: Vec<_> = (1..=2).map(|n| house.publish(n, &film, &manners)).collect();
    house.end().await;
    for (n, counted) in (1..).zip(&counted) {
        let sent = *counted.borrow();
        assert_eq!((sent.lines, house.pictures(n).len()), (1, 1), "one line, one recording");
        assert_eq!((sent.pictures, house.pictures(n)), (360, vec![360]), "three laps of the film");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_that_is_cut_comes_back_as_another_recording() {
    let mut house = house(1).await;
    let cut = Some((Duration::from_secs(5), Duration::from_millis(300)));
    let counted = house.publish(1, &film(), &Manners { cut, ..manners() });
    until("it came three times", || async { (counted.borrow().lines >= 3).then_some(()) }).await;
    house.cameras.shutdown().await;
    house.end().await;
    assert!(house.pictures(1).len() >= 2, "{:?}", house.pictures(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_misbehaviour_ends_as_it_must_and_costs_the_good_camera_nothing() {
    let mut house = house(8).await;
    let film = film();
    // Silence is noticed after ten seconds, two after the beginning; the others go on for longer.
    let manners = Manners { lasts: Some(Duration::from_secs(75)), ..manners() };
    let good = house.publish(8, &film, &manners);
    let faulty: Vec<_> = (1..)
        .zip(Fault::ALL)
        .map(|(n, (name, fault))| {
            let counted =
                house.publish(n, &film, &Manners { fault: Some(fault), ..manners.clone() });
            (n as u128, name, fault, counted)
        })
        .collect();
    let goes_on = |fault: Fault| matches!(fault, Fault::Jumps | Fault::Wraps24 | Fault::Wraps32);
    let is_answered = |(n, _, fault, counted): &(u128, &str, Fault, watch::Receiver<Counted>)| {
        counted.borrow().faults > 0 && (goes_on(*fault) || house.left(*n).is_some())
    };
    until("every fault happened and was answered", || async {
        faulty.iter().all(is_answered).then_some(())
    })
    .await;
    for (n, name, fault, _) in &faulty {
        let why = house.left(*n);
        match fault {
            Fault::StopsMidChunk | Fault::FallsSilent | Fault::LiesLong => {
                assert!(matches!(why, Some(Leave::Silent { .. })), "{name}: {why:?}");
            }
            Fault::LiesShort => assert!(
                matches!(
                    why,
                    Some(Leave::Malformed { .. } | Leave::TooMuch { .. } | Leave::Silent { .. })
                ),
                "{name}: {why:?}"
            ),
            Fault::Jumps | Fault::Wraps24 | Fault::Wraps32 => {
                assert!(matches!(why, None | Some(Leave::Ended)), "{name}: {why:?}");
            }
        }
    }
    house.end().await;
    for (n, name, fault, counted) in &faulty {
        let (sent, recorded) = (*counted.borrow(), house.pictures(*n));
        match fault {
            Fault::Jumps => assert!(recorded.len() >= 3, "{name}: {recorded:?}"),
            Fault::Wraps24 | Fault::Wraps32 => {
                assert_eq!(recorded, [sent.pictures as usize], "{name}: {sent:?}");
            }
            _ => {
                // Everything before the fault is there; of what lied, what it claimed to be.
                let lied = u64::from(*fault == Fault::LiesShort);
                let there = recorded.iter().sum::<usize>() as u64;
                assert!(
                    recorded.len() == 1 && (sent.pictures..=sent.pictures + lied).contains(&there),
                    "{name}: {recorded:?} of {sent:?}"
                );
            }
        }
    }
    let (sent, recorded) = (*good.borrow(), house.pictures(8));
    assert_eq!((sent.lines, recorded), (1, vec![sent.pictures as usize]));
}
