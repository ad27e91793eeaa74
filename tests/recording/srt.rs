//! SRT with the real `ffmpeg` as its callers: what they send arrives whole, and whoever is wrong costs nobody but himself.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use spark::adapters::ffmpeg::demux::FfmpegDemuxer;
use spark::adapters::srt::{SrtError, SrtIngest, SrtSettings};
use spark::domain::ids::CameraId;
use spark::domain::live::track::{Codec, Form, Kind, TICKS_PER_S, Track};
use spark::ports::PortError;
use spark::ports::demux::{Demuxed, Demuxer};
use spark::ports::ingest::{Encoder, Gate, Ingest, Leave, Packet, Sent};
use spark::ports::recorder::RecorderState;
use spark::ports::vault::Secret;

use crate::camera;
use crate::process::{children_of, kept, signal, until};
use crate::recorder::{KEYS, Studio, decodes, footage, media, packets};

pub(crate) const KEY: &str = "sesame";
pub(crate) const PASSPHRASE: &str = "la phrase de la villa";
/// 33 bits of a transport stream's clock, in seconds.
const WRAP_S: f64 = 95_443.717_688_888_9;

struct OneKey;

impl Gate for OneKey {
    fn camera(&self, key: &str) -> Option<CameraId> {
        (key == KEY).then(|| camera(1))
    }
}

pub(crate) fn settings(passphrase: Option<&str>) -> SrtSettings {
    SrtSettings {
        address: ([127, 0, 0, 1], 0).into(),
        passphrase: passphrase.map(Secret::new),
        latency: Duration::from_millis(200),
    }
}

pub(crate) fn open(settings: &SrtSettings) -> Result<SrtIngest, SrtError> {
    let demuxer = FfmpegDemuxer::new(env!("CARGO_BIN_EXE_spark").into()).unwrap();
    SrtIngest::listen(settings, Arc::new(OneKey), Arc::new(demuxer))
}

fn refused(door: &SrtIngest, reason: &str) -> u64 {
    door.refused().into_iter().find(|(it, _)| *it == reason).map_or(0, |(_, count)| count)
}

/// `ffmpeg` with these words, sending to a door with this query.
fn ffmpeg(words: &str, address: &dyn std::fmt::Display, query: &str) -> Child {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-nostdin"]).args(words.split_whitespace());
    // Lingering, it waits until the other side has what it sent.
    ffmpeg.arg(format!("srt://{address}?linger=3&{query}"));
    ffmpeg.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// A film's first seconds, four times as fast as they happen.
pub(crate) fn film(
    path: &Path,
    seconds: u32,
    address: &dyn std::fmt::Display,
    query: &str,
) -> Child {
    let path = path.to_str().unwrap();
    ffmpeg(&format!("-readrate 4 -i {path} -t {seconds} -c copy -f mpegts"), address, query)
}

/// Waits for a program without holding up what closes its line.
pub(crate) async fn ended(child: &mut Child) -> ExitStatus {
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) struct Heard {
    tracks: Vec<Track>,
    /// How many were told before the first packet.
    first_tracks: usize,
    packets: Vec<Packet>,
    left: Leave,
}

impl Heard {
    pub(crate) fn of(&self, kind: Kind) -> Vec<&Packet> {
        self.packets.iter().filter(|it| it.kind == kind).collect()
    }
}

/// Everything until it leaves.
pub(crate) async fn hear(mut encoder: Box<dyn Encoder>) -> Heard {
    let (mut tracks, mut packets, mut first_tracks) = (Vec::new(), Vec::new(), 0);
    let left = loop {
        match encoder.next().await {
            Ok(Sent::Track(track)) => {
                tracks.push(track);
                first_tracks += usize::from(packets.is_empty());
            }
            Ok(Sent::Packet(packet)) => packets.push(packet),
            Ok(Sent::About(_)) => {}
            Err(left) => break left,
        }
    };
    assert_eq!(encoder.next().await, Err(left.clone()), "and nothing more");
    encoder.dismiss(&left.to_string()).await;
    Heard { tracks, first_tracks, packets, left }
}

/// How many packets a film's first seconds have, pictures and sound.
pub(crate) fn expected(path: &Path, seconds: u32, container: &str) -> (usize, usize) {
    let folder = tempfile::tempdir().unwrap();
    let cut = folder.path().join("cut").with_extension(container);
    let seconds = seconds.to_string();
    crate::process::ffmpeg(&["-i", path.to_str().unwrap(), "-t", &seconds, "-c", "copy"], &cut);
    packets(&cut)
}

#[tokio::test]
async fn srt_brings_every_packet_over_the_wrap_of_its_clock() {
    const SECONDS: u32 = 12;
    let door = open(&settings(None)).unwrap();
    let source = footage();
    let words = format!(
        "-readrate 4 -i {} -t {SECONDS} -c copy -output_ts_offset {} -f mpegts",
        source.display(),
        WRAP_S - 6.0
    );
    let query = format!("streamid=#!::r={KEY},m=publish,u=lea");
    let begun = Instant::now();
    let mut sends = ffmpeg(&words, &door.local_addr(), &query);
    let encoder = door.accept().await.unwrap();
    assert_eq!((encoder.camera(), encoder.protocol()), (camera(1), "srt"));
    let heard = hear(encoder).await;
    assert!(ended(&mut sends).await.success());
    assert_eq!(heard.left, Leave::Gone);
    let (pictures, sound) = (heard.of(Kind::Picture), heard.of(Kind::Sound));
    assert_eq!((pictures.len(), sound.len()), expected(&source, SECONDS, "flv"));
    assert!(pictures[0].arrived.duration_since(begun) < Duration::from_secs(3), "it begins soon");

    let forms: Vec<Form> = heard.tracks.iter().map(|it| it.form).collect();
    assert!(forms.contains(&Form::Picture { width: 640, height: 360 }), "{forms:?}");
    assert!(forms.contains(&Form::Sound { rate: 48_000, channels: 1 }), "{forms:?}");
    assert_eq!(forms.len(), 2, "each told once");
    assert_eq!(heard.first_tracks, 2, "before any packet");
    // 30 frames a second, with B-frames, on a line that goes on over the wrap.
    let keys = pictures.iter().filter(|it| it.is_key).count();
    assert!(pictures[0].is_key && keys == pictures.len().div_ceil(60), "{keys} key frames");
    assert!(pictures.iter().any(|it| it.pts > it.dts));
    let steps: Vec<i64> = pictures.windows(2).map(|two| two[1].dts - two[0].dts).collect();
    // FLV tells whole milliseconds.
    assert!(steps.iter().all(|step| (2_880..=3_150).contains(step)), "{steps:?}");
    let last = pictures[pictures.len() - 1].dts;
    assert!(pictures[0].dts < 1 << 33 && last > 1 << 33, "the clock did wrap");
    let steps: Vec<i64> = sound.windows(2).map(|two| two[1].dts - two[0].dts).collect();
    assert!(steps.iter().all(|step| (1_830..=2_010).contains(step)), "{steps:?}");
    assert!((sound[0].dts - pictures[0].dts).abs() < TICKS_PER_S, "both on one clock");
    assert!(sound.iter().all(|it| it.samples == 1_024 && it.is_key));
    // Each picture is whole units with lengths before them.
    for picture in &pictures {
        let mut rest = &picture.data[..];
        while let Some((length, behind)) = rest.split_first_chunk::<4>() {
            rest = &behind[u32::from_be_bytes(*length) as usize..];
        }
        assert!(rest.is_empty());
    }
}

#[tokio::test]
async fn srt_takes_hevc_and_refuses_by_name_what_no_file_can_hold() {
    let door = open(&settings(None)).unwrap();
    let hevc = kept("camera-hevc.ts", |path| {
        let words = "-f lavfi -i testsrc2=size=320x180:rate=30 -f lavfi -i sine=frequency=440:sample_rate=44100 \
                     -t 8 -c:v libx265 -preset ultrafast -x265-params log-level=none:keyint=30 -c:a aac -ac 2 -f mpegts";
        crate::process::ffmpeg(&words.split_whitespace().collect::<Vec<_>>(), path);
    });
    let mut sends = film(&hevc, 8, &door.local_addr(), &format!("streamid=live/{KEY}"));
    let heard = hear(door.accept().await.unwrap()).await;
    assert!(ended(&mut sends).await.success());
    let counted = (heard.of(Kind::Picture).len(), heard.of(Kind::Sound).len());
    assert_eq!(counted, expected(&hevc, 8, "ts"));
    let picture = heard.tracks.iter().find(|it| it.codec == Codec::Hevc).expect("HEVC");
    assert_eq!(picture.form, Form::Picture { width: 320, height: 180 });
    assert_eq!((picture.config[0], picture.config[21] & 3, picture.config[22]), (1, 3, 3));
    let told = |codec| heard.tracks.iter().find(|it| it.codec == codec).map(|it| it.form);
    assert_eq!(told(Codec::Aac), Some(Form::Sound { rate: 44_100, channels: 2 }));

    let words = "-re -f lavfi -i testsrc2=size=320x180:rate=30 -f lavfi -i sine=frequency=440 \
                 -t 20 -c:v libx264 -preset ultrafast -g 30 -c:a mp2 -f mpegts";
    let mut sends = ffmpeg(words, &door.local_addr(), &format!("streamid={KEY}"));
    let heard = hear(door.accept().await.unwrap()).await;
    assert!(
        matches!(&heard.left, Leave::Unfit { reason } if reason.starts_with("MP2 sound")),
        "{}",
        heard.left
    );
    assert!(!ended(&mut sends).await.success(), "its line is closed");
}

#[tokio::test]
async fn srt_sends_away_noise_and_silence_each_with_its_reason() {
    let door = open(&settings(None)).unwrap();
    let address = door.local_addr();
    let query = format!("streamid={KEY}");
    // Pictures without any container: bytes that mean nothing.
    let words = "-re -f lavfi -i testsrc2=size=320x180:rate=30 -t 60 -f rawvideo";
    let mut noise = ffmpeg(words, &address, &query);
    let heard = hear(door.accept().await.unwrap()).await;
    assert!(matches!(heard.left, Leave::Malformed { .. }), "{}", heard.left);
    assert!(heard.packets.is_empty());
    assert!(!ended(&mut noise).await.success(), "its line is closed");
    // A transport stream that stops coming, on a line that stays.
    let whole = kept("camera.ts", |path| {
        let source = footage();
        let words = ["-i", source.to_str().unwrap(), "-t", "20", "-c", "copy", "-f", "mpegts"];
        crate::process::ffmpeg(&words, path);
    });
    let whole = fs::read(whole).unwrap();
    let words = "-f mpegts -i pipe:0 -c copy -flush_packets 1 -f mpegts";
    let mut stops = ffmpeg(words, &address, &query);
    let mut pipe = stops.stdin.take().unwrap();
    pipe.write_all(&whole).unwrap();
    let heard = hear(door.accept().await.unwrap()).await;
    assert_eq!(heard.left, Leave::Silent { seconds: 10 });
    assert!(heard.packets.len() > 100 && stops.try_wait().unwrap().is_none(), "it was there");
    let _ = stops.kill();
    let _ = stops.wait();
    // One that says nothing at all any more: its machine is gone.
    let mut gone = film(&footage(), 60, &address, &query);
    let mut encoder = door.accept().await.unwrap();
    encoder.next().await.unwrap();
    assert!(signal(gone.id() as i32, "STOP"));
    assert_eq!(hear(encoder).await.left, Leave::Gone);
    let _ = gone.kill();
    let _ = gone.wait();
}

#[tokio::test]
async fn srt_refuses_wrong_keys_while_a_good_caller_loses_nothing() {
    const SECONDS: u32 = 16;
    let door = open(&settings(Some(PASSPHRASE))).unwrap();
    let address = door.local_addr();
    let locked = format!("passphrase={PASSPHRASE}");
    let source = footage();
    let mut good = film(&source, SECONDS, &address, &format!("streamid={KEY}&{locked}"));
    let hearing = tokio::spawn(hear(door.accept().await.unwrap()));
    let wrong = [
        format!("streamid=another&{locked}"),
        format!("streamid=#!::r={KEY},m=request&{locked}"),
        format!("streamid=#!::u=lea&{locked}"),
        format!("streamid={KEY}&passphrase=another phrase"),
        format!("streamid={KEY}"),
    ];
    let mut callers: Vec<Child> =
        wrong.iter().map(|query| film(&source, 2, &address, query)).collect();
    for (caller, query) in callers.iter_mut().zip(&wrong) {
        assert!(!ended(caller).await.success(), "{query}");
    }
    until("all are counted", || async {
        (refused(&door, "key") == 4 && refused(&door, "malformed") == 1).then_some(())
    })
    .await;
    assert!(!hearing.is_finished(), "the good one was there meanwhile");
    let heard = hearing.await.unwrap();
    assert!(ended(&mut good).await.success());
    let counted = (heard.of(Kind::Picture).len(), heard.of(Kind::Sound).len());
    assert_eq!(counted, expected(&source, SECONDS, "flv"));
}

/// Takes nothing apart for five seconds, then everything at once.
struct Stuck;

struct StuckPieces(BoxStream<'static, Bytes>, u64);

#[async_trait]
impl Demuxer for Stuck {
    async fn demux(
        &self,
        pieces: BoxStream<'static, Bytes>,
    ) -> Result<Box<dyn Demuxed>, PortError> {
        Ok(Box::new(StuckPieces(pieces, 0)))
    }
}

#[async_trait]
impl Demuxed for StuckPieces {
    async fn next(&mut self) -> Result<Option<Sent>, Leave> {
        tokio::time::sleep(Duration::from_secs(5)).await;
        while let Some(piece) = self.0.next().await {
            self.1 += piece.len() as u64;
        }
        assert!((24 << 20..26 << 20).contains(&self.1), "{} bytes waited", self.1);
        Ok(None)
    }

    async fn stop(self: Box<Self>) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn srt_keeps_so_much_of_a_caller_and_no_more() {
    let door = SrtIngest::listen(&settings(None), Arc::new(OneKey), Arc::new(Stuck)).unwrap();
    let words = "-re -f lavfi -i testsrc2=size=640x360:rate=30 -t 60 -f rawvideo";
    let mut sends = ffmpeg(words, &door.local_addr(), &format!("streamid={KEY}"));
    let heard = hear(door.accept().await.unwrap()).await;
    assert!(matches!(heard.left, Leave::TooMuch { .. }), "{}", heard.left);
    assert!(!ended(&mut sends).await.success(), "its line is closed");
}

#[tokio::test]
async fn srt_says_at_its_start_what_is_wrong_with_its_settings() {
    for phrase in ["too short", &"x".repeat(80)] {
        let error = open(&settings(Some(phrase))).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("10 to 79"), "{error}");
    }
    let slow = SrtSettings { latency: Duration::from_mins(1), ..settings(None) };
    assert!(matches!(open(&slow), Err(SrtError::Latency { ms: 60_000 })));
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let error = open(&SrtSettings { address, ..settings(None) }).map(|_| ()).unwrap_err();
    assert!(matches!(error, SrtError::Listen { .. }), "{error}");
}

/// Where the recorder listens for SRT.
fn door_of(state: &RecorderState) -> String {
    let door = state.doors.iter().find(|door| door.protocol == "srt").expect("an SRT door");
    door.address.to_string()
}

fn demuxers(recorder: u32) -> Vec<i32> {
    children_of(recorder as i32, b"\0demux\0")
}

#[tokio::test]
async fn srt_is_recorded_packet_by_packet_with_a_passphrase() {
    const SECONDS: u32 = 20;
    let studio = Studio::open().await;
    let server = studio.serve_with(&[("SPARK_RECORD_SRT_PASSPHRASE", PASSPHRASE)]);
    let state = studio.ready().await;
    studio.add_cameras().await;
    let (address, source) = (door_of(&state), footage());
    let terms = state.doors.iter().find_map(|door| door.srt).unwrap();
    assert!(terms.needs_passphrase && terms.latency_ms == 200);
    // The second one's clock wraps on the way.
    let begin = |key: &&str, offset_s: f64| {
        let words = format!(
            "-readrate 4 -i {} -t {SECONDS} -c copy -output_ts_offset {offset_s} -f mpegts",
            source.display()
        );
        ffmpeg(&words, &address, &format!("streamid={key}&passphrase={PASSPHRASE}"))
    };
    let mut both = [begin(&KEYS[0], 0.0), begin(&KEYS[1], WRAP_S - 10.0)];
    for caller in &mut both {
        assert!(ended(caller).await.success());
    }
    until("both have left", || async {
        let state = studio.state().await?;
        let is_gone = |left: &Leave| *left == Leave::Gone;
        let has_left = |it: &spark::ports::recorder::CameraState| {
            it.feed.is_none() && it.left.as_ref().is_some_and(|left| is_gone(&left.why))
        };
        state.cameras.iter().all(has_left).then_some(())
    })
    .await;
    let expected = expected(&source, SECONDS, "flv");
    for n in 0..2 {
        let files = media(&studio.dvr().join(camera(n).to_string()));
        let counted: Vec<(usize, usize)> = files.iter().map(|file| packets(file)).collect();
        let sum = counted.iter().fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1));
        assert_eq!(sum, expected);
        for file in &files {
            decodes(file);
        }
    }
    until("no demuxer is left", || async { demuxers(state.pid).is_empty().then_some(()) }).await;
    let log = fs::read_to_string(studio.home.data.join("recorder/record.log")).unwrap();
    assert!(log.contains("an SRT line closed") && log.contains("retransmitted"), "{log}");
    assert!(!log.contains(PASSPHRASE));
    server.signal("TERM");
    server.ended().well();
}

#[tokio::test]
async fn srt_loses_one_caller_with_its_demuxer_and_none_to_a_dead_twin() {
    let studio = Studio::open().await;
    let server = studio.serve();
    let state = studio.ready().await;
    studio.add_cameras().await;
    let (address, recorder) = (door_of(&state), state.pid);
    let begin = |key: &str| {
        let words = format!("-readrate 1 -i {} -c copy -f mpegts", footage().display());
        ffmpeg(&words, &address, &format!("streamid={key}"))
    };
    let peer = |n: usize| {
        let studio = &studio;
        async move {
            let feed = studio.state().await?.cameras[n].feed.clone()?;
            feed.recorded_until.map(|_| feed.peer)
        }
    };
    let mut first = begin(KEYS[0]);
    until("the first is recorded", || peer(0)).await;
    let of_first = demuxers(recorder);
    assert_eq!(of_first.len(), 1);
    let mut good = begin(KEYS[1]);
    let good_peer = until("the other is recorded", || peer(1)).await;

    // Its demuxer dies: that caller is sent away with a reason, and nobody else notices.
    assert!(signal(of_first[0], "KILL"), "it was there to be killed");
    let left = until("it has left", || async {
        let state = studio.state().await?;
        let camera = &state.cameras[0];
        camera.left.clone().filter(|_| camera.feed.is_none())
    })
    .await;
    assert!(matches!(&left.why, Leave::Malformed { reason } if reason.contains("signal 9")));
    assert!(!ended(&mut first).await.success(), "its line is closed");

    // A caller that hangs, and the next with its key: the newest stays, at once.
    let mut dead = begin(KEYS[0]);
    let before = until("it is recorded again", || peer(0)).await;
    assert!(signal(dead.id() as i32, "STOP"), "it was there to hang");
    let taken_over = Instant::now();
    let mut second = begin(KEYS[0]);
    let who = || async {
        let feed = studio.state().await?.cameras[0].feed.clone()?;
        (feed.peer != before).then_some(())
    };
    until("the second sits there", who).await;
    assert!(taken_over.elapsed() < Duration::from_secs(4), "{:?}", taken_over.elapsed());
    until("the second is recorded", || peer(0)).await;
    until("one demuxer each", || async { (demuxers(recorder).len() == 2).then_some(()) }).await;
    assert_eq!(peer(1).await, Some(good_peer), "the other went on all the while");
    let mut numbers: Vec<u32> = studio.parts(1).await.iter().map(|part| part.number).collect();
    numbers.dedup();
    assert_eq!(numbers, (1..=numbers.len() as u32).collect::<Vec<_>>(), "in one recording");

    // A recorder that is killed leaves no demuxer behind.
    let all = demuxers(recorder);
    assert_eq!(all.len(), 2);
    for child in [&mut dead, &mut second, &mut good] {
        let _ = child.kill();
        let _ = child.wait();
    }
    assert!(signal(recorder as i32, "KILL"));
    until("they are gone with it", || async {
        all.iter().all(|pid| !crate::process::is_alive(*pid)).then_some(())
    })
    .await;
    server.signal("TERM");
    server.ended().well();
}
