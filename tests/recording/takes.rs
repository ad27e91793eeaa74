//! The recorder over twins: who sits, what becomes of what is sent, what a bad disk costs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use spark::adapters::clock::SystemClock;
use spark::adapters::memory::{MemoryCamera, MemoryDvr, MemoryEncoder, MemoryRecorder};
use spark::adapters::rtmp::RtmpPublisher;
use spark::domain::ids::RecordingId;
use spark::domain::live::camera::{Camera, CameraName, KeyHash};
use spark::domain::live::track::{Kind, TICKS_PER_S, Track};
use spark::ports::ingest::{Leave, Packet, Sent};
use spark::ports::recorder::{CameraBook, Halt};
use spark::use_cases::live::record::Recorder;
use spark::use_cases::live::relay::Relays;
use tokio::task::JoinHandle;

use crate::process::until;
use crate::{camera, data, dts, picture, sound};

struct House {
    recorder: Recorder,
    dvr: MemoryDvr,
    book: MemoryRecorder,
}

fn known(n: u128, key: u8) -> Camera {
    let name = CameraName::try_new(&format!("C{n}")).unwrap();
    Camera { id: camera(n), name, key: KeyHash::new([key; 32]) }
}

fn house() -> House {
    let (dvr, book) = (MemoryDvr::default(), MemoryRecorder::default());
    let clock = Arc::new(SystemClock);
    let relays =
        Relays::open(Arc::new(RtmpPublisher), Arc::new(book.clone()), clock.clone()).unwrap();
    let recorder =
        Recorder::open(Arc::new(dvr.clone()), Arc::new(book.clone()), clock, relays).unwrap();
    recorder.know(&[known(1, 1), known(2, 2)]).unwrap();
    House { recorder, dvr, book }
}

impl House {
    fn comes(&self, n: u128) -> (MemoryCamera, JoinHandle<()>) {
        let (encoder, end) = MemoryEncoder::of(camera(n));
        let recorder = self.recorder.clone();
        (end, tokio::spawn(async move { recorder.take(Box::new(encoder)).await }))
    }

    fn recordings(&self) -> Vec<(RecordingId, Vec<Track>)> {
        self.dvr.recordings()
    }

    /// The numbers of the pictures of a recording.
    fn pictures(&self, recording: RecordingId) -> Vec<i64> {
        let parts = self.dvr.parts_of(recording);
        let samples = parts.iter().flat_map(|part| &part.picture.samples);
        samples.map(|it| i64::from_be_bytes(it.data[1..9].try_into().unwrap())).collect()
    }
}

async fn tracks(end: &MemoryCamera, width: u32) {
    end.sends.send(Ok(Sent::Track(picture(width)))).await.unwrap();
    end.sends.send(Ok(Sent::Track(sound()))).await.unwrap();
}

fn packet(kind: Kind, n: i64, shift: i64) -> Sent {
    let at = dts(kind, n) + shift;
    Sent::Packet(Packet {
        kind,
        dts: at,
        pts: at,
        samples: if kind == Kind::Sound { 1_024 } else { 0 },
        is_key: kind == Kind::Sound || n % 60 == 0,
        data: data(kind, n),
        arrived: Instant::now(),
    })
}

/// Sends pictures `from..to` with the sound between them, times shifted by `shift` ticks.
async fn send(end: &MemoryCamera, from: i64, to: i64, shift: i64) {
    let mut heard = dts(Kind::Picture, from) * 48_000 / TICKS_PER_S / 1_024;
    for n in from..to {
        end.sends.send(Ok(packet(Kind::Picture, n, shift))).await.unwrap();
        while dts(Kind::Sound, heard) < dts(Kind::Picture, n + 1) {
            end.sends.send(Ok(packet(Kind::Sound, heard, shift))).await.unwrap();
            heard += 1;
        }
    }
}

#[tokio::test]
async fn everything_an_encoder_sends_is_recorded_to_its_last_frame() {
    let house = house();
    let (end, stay) = house.comes(1);
    tracks(&end, 1_280).await;
    send(&end, 0, 300, 0).await;
    end.sends.send(Err(Leave::Ended)).await.unwrap();
    stay.await.unwrap();
    let recordings = house.recordings();
    assert_eq!((recordings.len(), &recordings[0].1[..]), (1, &[picture(1_280), sound()][..]));
    assert_eq!(house.pictures(recordings[0].0), (0..300).collect::<Vec<_>>());
    let state = house.recorder.state();
    assert_eq!(state.cameras[0].left.as_ref().map(|left| &left.why), Some(&Leave::Ended));
    assert!(state.cameras[0].feed.is_none());
}

#[tokio::test]
async fn recording_begins_with_a_key_frame_and_waits_for_the_sound() {
    let house = house();
    let (end, stay) = house.comes(1);
    end.sends.send(Ok(Sent::Track(picture(1_280)))).await.unwrap();
    send(&end, 30, 70, 0).await;
    end.sends.send(Ok(Sent::Track(sound()))).await.unwrap();
    send(&end, 70, 200, 0).await;
    drop(end);
    stay.await.unwrap();
    let recordings = house.recordings();
    assert_eq!(recordings.len(), 1, "no recording without the sound that was on its way");
    assert_eq!(house.pictures(recordings[0].0), (120..200).collect::<Vec<_>>());
}

#[tokio::test]
async fn new_parameters_and_leaps_begin_another_recording() {
    let house = house();
    let (end, stay) = house.comes(1);
    tracks(&end, 1_280).await;
    send(&end, 0, 90, 0).await;
    end.sends.send(Ok(Sent::Track(picture(1_280)))).await.unwrap();
    send(&end, 90, 120, 0).await;
    end.sends.send(Ok(Sent::Track(picture(640)))).await.unwrap();
    send(&end, 120, 180, 0).await;
    send(&end, 180, 240, 3_600 * TICKS_PER_S).await;
    drop(end);
    stay.await.unwrap();
    let recordings = house.recordings();
    let each: Vec<Vec<i64>> = recordings.iter().map(|(id, _)| house.pictures(*id)).collect();
    let range = |from, to| (from..to).collect::<Vec<i64>>();
    assert_eq!(each, [range(0, 120), range(120, 180), range(180, 240)]);
    assert_eq!(recordings[1].1[0], picture(640), "the same told again is no change");
}

#[tokio::test]
async fn of_two_with_one_key_the_newest_stays() {
    let house = house();
    let (dead, first) = house.comes(1);
    tracks(&dead, 1_280).await;
    send(&dead, 0, 60, 0).await;
    // Nothing more comes from it, and nobody has noticed.
    let (end, second) = house.comes(1);
    first.await.unwrap();
    assert_eq!(dead.dismissed.await.unwrap(), Leave::Replaced.to_string());
    tracks(&end, 1_280).await;
    send(&end, 0, 60, 0).await;
    assert!(house.recorder.state().cameras[0].feed.is_some(), "the newest sits there");
    drop(end);
    second.await.unwrap();
    let recordings = house.recordings();
    assert_eq!(recordings.len(), 2);
    assert!(recordings.iter().all(|(id, _)| house.pictures(*id).len() == 60));
}

#[tokio::test]
async fn a_key_that_was_drawn_anew_sends_its_encoder_away_and_no_other() {
    let house = house();
    let (one, first) = house.comes(1);
    let (two, second) = house.comes(2);
    until("both sit", || async {
        let cameras = house.recorder.state().cameras;
        cameras.iter().all(|it| it.feed.is_some()).then_some(())
    })
    .await;
    house.recorder.know(&[known(1, 9), known(2, 2)]).unwrap();
    first.await.unwrap();
    assert_eq!(one.dismissed.await.unwrap(), Leave::KeyDrawn.to_string());
    assert_eq!(house.book.read().unwrap(), [known(1, 9), known(2, 2)]);
    // A book that cannot be written is told, and changes nothing of that.
    house.book.set_stuck(true);
    house.recorder.know(&[known(1, 9)]).unwrap_err();
    second.await.unwrap();
    assert_eq!(two.dismissed.await.unwrap(), Leave::KeyDrawn.to_string());
    assert_eq!(house.recorder.gate().camera("no key"), None);
}

#[tokio::test]
async fn a_full_disk_is_told_and_recording_goes_on_once_there_is_room() {
    let house = house();
    let (end, stay) = house.comes(1);
    tracks(&end, 1_280).await;
    send(&end, 0, 60, 0).await;
    house.dvr.set_full(true);
    send(&end, 60, 240, 0).await;
    let halted = || house.recorder.state().cameras[0].feed.as_ref().and_then(|feed| feed.halted);
    until("it says that nothing is recorded", || async { halted() }).await;
    assert_eq!(halted(), Some(Halt::Full));
    assert!(house.recorder.state().is_full);
    house.dvr.set_full(false);
    let mut n = 240;
    until("it records again", || {
        let from = n;
        n += 60;
        let (house, end) = (&house, &end);
        async move {
            send(end, from, from + 60, 0).await;
            tokio::time::sleep(Duration::from_millis(200)).await;
            (house.recordings().len() == 2).then_some(())
        }
    })
    .await;
    drop(end);
    stay.await.unwrap();
    assert_eq!(halted(), None);
    let second = house.pictures(house.recordings()[1].0);
    assert!(second[0] >= 240 && second[0] % 60 == 0 && second.len() >= 30, "{second:?}");
}

#[tokio::test]
async fn a_disk_that_lags_is_waited_for_in_bounded_memory() {
    let house = house();
    house.dvr.set_slow(Duration::from_millis(20));
    let (end, stay) = house.comes(1);
    tracks(&end, 1_280).await;
    // Two minutes at once: more than may wait. The encoder waits.
    send(&end, 0, 3_600, 0).await;
    drop(end);
    stay.await.unwrap();
    let recordings = house.recordings();
    assert_eq!(recordings.len(), 1);
    let pictures = house.pictures(recordings[0].0);
    assert!(pictures.iter().copied().eq(0..3_600), "{} pictures", pictures.len());
}

#[tokio::test]
async fn a_disk_that_is_stuck_costs_a_gap_and_no_memory_without_end() {
    let house = house();
    house.dvr.set_slow(Duration::from_secs(4));
    let (end, stay) = house.comes(1);
    tracks(&end, 1_280).await;
    send(&end, 0, 3_600, 0).await;
    drop(end);
    tokio::time::sleep(Duration::from_secs(4)).await;
    house.dvr.set_slow(Duration::ZERO);
    stay.await.unwrap();
    let pictures: usize = house.recordings().iter().map(|(id, _)| house.pictures(*id).len()).sum();
    assert!((30 * 30..3_600).contains(&pictures), "{pictures} pictures");
}
