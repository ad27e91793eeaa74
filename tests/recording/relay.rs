//! Relays against our own RTMP door standing in for a platform, and against a line with faults between the two.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use spark::adapters::clock::SystemClock;
use spark::adapters::memory::MemoryRecorder;
use spark::adapters::recorder::LocalBook;
use spark::adapters::rtmp::{RtmpIngest, RtmpPublisher};
use spark::domain::ids::CameraId;
use spark::domain::live::track::{Codec, Form, Kind, TICKS_PER_S, Track};
use spark::ports::ingest::{Gate, Ingest, Leave, Packet, Sent};
use spark::ports::relay::{RelayBook, RelayOrder, RelayState, Standing};
use spark::ports::vault::Secret;
use spark::use_cases::live::relay::Relays;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::process::until;
use crate::{camera, sound};

const KEY: &str = "live_the-secret-of-the-channel";
/// Bytes of a key frame and of another one: about 8 Mbit/s.
const KEY_BYTES: usize = 200_000;
const BYTES: usize = 28_000;

struct OneKey;

impl Gate for OneKey {
    fn camera(&self, key: &str) -> Option<CameraId> {
        (key == KEY).then(|| camera(9))
    }
}

/// What came over one connection, and how it ended.
#[derive(Default)]
struct Session {
    tracks: Vec<Track>,
    packets: Vec<Packet>,
    ended: Option<Leave>,
}

impl Session {
    fn pictures(&self) -> Vec<&Packet> {
        self.packets.iter().filter(|it| it.kind == Kind::Picture).collect()
    }

    fn is_in_order(&self) {
        for kind in [Kind::Picture, Kind::Sound] {
            let of: Vec<i64> =
                self.packets.iter().filter(|it| it.kind == kind).map(|it| it.dts).collect();
            assert!(of.is_sorted(), "{kind:?}: {of:?}");
        }
    }
}

/// A platform that takes everything.
struct Platform {
    address: SocketAddr,
    sessions: Arc<Mutex<Vec<Session>>>,
    _taking: AbortOnDropHandle<()>,
}

impl Platform {
    async fn open() -> Self {
        let door = RtmpIngest::listen(([127, 0, 0, 1], 0).into(), Arc::new(OneKey)).await.unwrap();
        let (address, sessions) = (door.local_addr(), Arc::<Mutex<Vec<Session>>>::default());
        let all = sessions.clone();
        let taking = tokio::spawn(async move {
            loop {
                let mut encoder = door.accept().await.unwrap();
                let number = {
                    let mut all = all.lock().unwrap();
                    all.push(Session::default());
                    all.len() - 1
                };
                let all = all.clone();
                tokio::spawn(async move {
                    loop {
                        let next = encoder.next().await;
                        let session = &mut all.lock().unwrap()[number];
                        match next {
                            Ok(Sent::Track(track)) => session.tracks.push(track),
                            Ok(Sent::Packet(packet)) => session.packets.push(packet),
                            Ok(Sent::About(_)) => {}
                            Err(why) => {
                                session.ended = Some(why);
                                return;
                            }
                        }
                    }
                });
            }
        });
        Self { address, sessions, _taking: AbortOnDropHandle::new(taking) }
    }

    fn look<T>(&self, look: impl FnOnce(&[Session]) -> T) -> T {
        look(&self.sessions.lock().unwrap())
    }
}

const PASS: u8 = 0;
const STALL: u8 = 1;
const WEDGE: u8 = 2;
const SLOW: u8 = 3;
const RESET: u8 = 4;

/// A line that can do wrong: each connection lives under the mode that is set, until it is set to another one.
struct Proxy {
    address: SocketAddr,
    mode: Arc<AtomicU8>,
    /// Bytes from the relay that were swallowed or held up.
    harmed: Arc<AtomicU64>,
    _accepting: AbortOnDropHandle<()>,
}

impl Proxy {
    async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (mode, harmed) = (Arc::new(AtomicU8::new(PASS)), Arc::new(AtomicU64::new(0)));
        let (of_all, count) = (mode.clone(), harmed.clone());
        let accepting = tokio::spawn(async move {
            loop {
                let (near, _) = listener.accept().await.unwrap();
                let far = TcpStream::connect(target).await.unwrap();
                tokio::spawn(pipe(near, far, of_all.clone(), count.clone()));
            }
        });
        Self { address, mode, harmed, _accepting: AbortOnDropHandle::new(accepting) }
    }

    fn set(&self, mode: u8) {
        self.mode.store(mode, SeqCst);
    }
}

async fn pipe(near: TcpStream, far: TcpStream, mode: Arc<AtomicU8>, harmed: Arc<AtomicU64>) {
    let (mut near_read, mut near_write) = near.into_split();
    let (mut far_read, mut far_write) = far.into_split();
    let cut = CancellationToken::new();
    let back = {
        let (mode, cut) = (mode.clone(), cut.clone());
        async move {
            let mut buf = vec![0; 64 * 1024];
            while let Ok(read @ 1..) = far_read.read(&mut buf).await {
                if mode.load(SeqCst) != WEDGE && near_write.write_all(&buf[..read]).await.is_err() {
                    break;
                }
            }
            cut.cancel();
        }
    };
    let forth = async {
        let mut buf = vec![0; 64 * 1024];
        loop {
            match mode.load(SeqCst) {
                STALL => {
                    harmed.fetch_add(1, SeqCst);
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
                RESET => {
                    harmed.fetch_add(1, SeqCst);
                    return;
                }
                _ => {}
            }
            let Ok(Ok(read)) =
                tokio::time::timeout(Duration::from_millis(50), near_read.read(&mut buf)).await
            else {
                continue;
            };
            if read == 0 {
                return;
            }
            match mode.load(SeqCst) {
                WEDGE => drop(harmed.fetch_add(read as u64, SeqCst)),
                SLOW => {
                    for piece in buf[..read].chunks(1_024) {
                        if mode.load(SeqCst) == SLOW {
                            harmed.fetch_add(piece.len() as u64, SeqCst);
                            tokio::time::sleep(Duration::from_secs(1)).await;
                        }
                        if far_write.write_all(piece).await.is_err() {
                            return;
                        }
                    }
                }
                _ => {
                    if far_write.write_all(&buf[..read]).await.is_err() {
                        return;
                    }
                }
            }
        }
    };
    tokio::select! {
        () = forth => {}
        () = back => {}
        () = cut.cancelled() => {}
    }
}

fn picture() -> Track {
    let form = Form::Picture { width: 1_280, height: 720 };
    Track { codec: Codec::Av1, config: vec![0x81, 5, 0x0c, 0], form }
}

/// A camera at 30 pictures a second, a key frame in each, and sound; it counts on from where it was, unless it begins anew.
struct Camera {
    relays: Relays,
    sent: Mutex<Vec<Packet>>,
}

impl Camera {
    fn on(relays: &Relays) -> Self {
        for track in [picture(), sound()] {
            relays.offer(camera(1), &Sent::Track(track));
        }
        Self { relays: relays.clone(), sent: Mutex::default() }
    }

    /// Sends in real time, from this picture on, until `is_enough`.
    async fn runs(&self, from: i64, is_enough: impl Fn() -> bool) -> i64 {
        let begun = tokio::time::Instant::now();
        let mut n = from;
        while !is_enough() {
            let due = Duration::from_micros((n - from) as u64 * 33_333);
            tokio::time::sleep_until(begun + due).await;
            let is_key = n % 30 == 0;
            let bytes = if is_key { KEY_BYTES } else { BYTES };
            self.sends(Kind::Picture, n, is_key, bytes);
            // As many frames of sound as fit.
            let frames = |n: i64| n * 48_000 / 30 / 1_024;
            for frame in frames(n)..frames(n + 1) {
                self.sends(Kind::Sound, frame, true, 300);
            }
            n += 1;
            assert!(begun.elapsed() < Duration::from_mins(1), "never enough");
        }
        n
    }

    fn sends(&self, kind: Kind, n: i64, is_key: bool, bytes: usize) {
        let ms = match kind {
            Kind::Picture => n * 1_000 / 30,
            Kind::Sound => n * 1_024 * 1_000 / 48_000,
        };
        let dts = ms * TICKS_PER_S / 1_000;
        let mut data = vec![kind as u8; bytes];
        data[..8].copy_from_slice(&n.to_be_bytes());
        let samples = if kind == Kind::Sound { 1_024 } else { 0 };
        let data = Bytes::from(data);
        let arrived = Instant::now();
        let packet = Packet { kind, dts, pts: dts, samples, is_key, data, arrived };
        self.relays.offer(camera(1), &Sent::Packet(packet.clone()));
        self.sent.lock().unwrap().push(packet);
    }
}

fn order(address: SocketAddr) -> RelayOrder {
    RelayOrder {
        camera: camera(1),
        name: "Twitch".into(),
        url: format!("rtmp://{address}/app"),
        key: Some(Secret::new(KEY)),
        is_test: false,
    }
}

fn relays() -> Relays {
    let book = Arc::new(MemoryRecorder::default());
    Relays::open(Arc::new(RtmpPublisher), book, Arc::new(SystemClock)).unwrap()
}

fn state(relays: &Relays) -> RelayState {
    relays.states().remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_camera_sends_arrives_whole_and_ends_with_a_goodbye() {
    let platform = Platform::open().await;
    let relays = relays();
    relays.set(vec![order(platform.address)]).unwrap();
    let camera = Camera::on(&relays);
    assert_eq!(state(&relays).standing, Standing::Idle);
    let arrived = || platform.look(|all| all.first().map_or(0, |it| it.pictures().len()));
    camera.runs(0, || arrived() >= 120).await;
    assert_eq!(state(&relays).standing, Standing::OnAir);
    // The last ones are on their way.
    let sent = camera.sent.lock().unwrap().clone();
    let last = sent.last().unwrap().data.clone();
    until("everything has arrived", || async {
        let is_there = |all: &[Session]| all[0].packets.last().is_some_and(|it| it.data == last);
        platform.look(is_there).then_some(())
    })
    .await;
    platform.look(|all| {
        let [session] = all else { panic!("{} sessions", all.len()) };
        assert_eq!(session.tracks, [picture(), sound()]);
        let first = sent.iter().position(|it| it.data == session.packets[0].data).unwrap();
        assert!(session.packets[0].is_key && session.packets[0].kind == Kind::Picture);
        let whole = &sent[first..];
        assert_eq!(session.packets.len(), whole.len());
        let shift = session.packets[0].dts - whole[0].dts;
        for (came, went) in session.packets.iter().zip(whole) {
            assert!(came.data == went.data && came.is_key == went.is_key && came.kind == went.kind);
            let off = (came.dts - went.dts - shift).abs();
            assert!(off <= TICKS_PER_S / 1_000, "{off} ticks: a millisecond is what RTMP tells");
        }
        session.is_in_order();
    });
    relays.set(Vec::new()).unwrap();
    until("the platform hears the goodbye", || async { platform.look(|all| all[0].ended.clone()) })
        .await;
    assert_eq!(platform.look(|all| all[0].ended.clone()), Some(Leave::Ended));
    assert!(relays.states().is_empty());
}

/// A line that breaks, or that stays green and takes nothing: it is left within seconds, and the next connection begins with a
/// key frame, later than everything before.
async fn recovers_from(mode: u8, within: Duration) {
    let platform = Platform::open().await;
    let proxy = Proxy::to(platform.address).await;
    let relays = relays();
    relays.set(vec![order(proxy.address)]).unwrap();
    let camera = Camera::on(&relays);
    let pictures =
        |session: usize| platform.look(|all| all.get(session).map_or(0, |it| it.pictures().len()));
    let next = camera.runs(0, || pictures(0) >= 60).await;
    proxy.set(mode);
    let harmed_at = Instant::now();
    let next = camera.runs(next, || state(&relays).reconnects == 1).await;
    let noticed = harmed_at.elapsed();
    proxy.set(PASS);
    assert!(proxy.harmed.load(SeqCst) > 0, "the fault took place");
    assert!(noticed < within, "noticed after {noticed:?}");
    camera.runs(next, || pictures(1) >= 60).await;
    assert_eq!(state(&relays).standing, Standing::OnAir);
    platform.look(|all| {
        let [before, after] = all else { panic!("{} sessions", all.len()) };
        assert!(after.packets[0].is_key && after.packets[0].kind == Kind::Picture);
        assert!(before.packets.last().unwrap().dts < after.packets[0].dts, "time goes on");
        before.is_in_order();
        after.is_in_order();
    });
    relays.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_line_is_replaced_at_once() {
    recovers_from(RESET, Duration::from_secs(3)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_takes_nothing_is_left() {
    recovers_from(STALL, Duration::from_secs(25)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_takes_everything_and_delivers_nothing_is_left() {
    recovers_from(WEDGE, Duration::from_secs(25)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_of_a_kilobyte_a_second_is_left() {
    recovers_from(SLOW, Duration::from_secs(30)).await;
}

/// The camera goes and comes back with another encoder: one broadcast, whose picture stands still in between.
#[tokio::test(flavor = "multi_thread")]
async fn a_camera_that_is_away_leaves_its_picture_standing_and_comes_back_without_a_break() {
    let platform = Platform::open().await;
    let relays = relays();
    relays.set(vec![order(platform.address)]).unwrap();
    let camera = Camera::on(&relays);
    let pictures = || platform.look(|all| all.first().map_or(0, |it| it.pictures().len()));
    camera.runs(0, || pictures() >= 60).await;
    let before = camera.sent.lock().unwrap().len();
    until("the picture stands still", || async {
        (state(&relays).standing == Standing::Still).then_some(())
    })
    .await;
    let stood = pictures();
    until("it is sent again and again", || async { (pictures() >= stood + 3).then_some(()) }).await;
    // Another encoder: its time begins anew.
    let back = pictures();
    camera.runs(0, || pictures() >= back + 45).await;
    assert_eq!(state(&relays).standing, Standing::OnAir);
    platform.look(|all| {
        let [session] = all else { panic!("{} sessions", all.len()) };
        session.is_in_order();
        let key = camera.sent.lock().unwrap()[..before]
            .iter()
            .rfind(|it| it.kind == Kind::Picture && it.is_key)
            .unwrap()
            .data
            .clone();
        let still = session.pictures().iter().filter(|it| it.data == key).count();
        assert!(still >= 4, "{still} times");
        let silent = session.packets.iter().filter(|it| it.data.len() == 9).count();
        assert!(silent > 2 * 46, "{silent} frames of silence in three seconds and more");
        let times: Vec<i64> = session.pictures().iter().map(|it| it.dts).collect();
        let longest = times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
        assert!(longest < 7 * TICKS_PER_S, "{longest} ticks without a picture");
    });
    relays.end().await;
}

#[tokio::test]
async fn a_key_is_kept_by_the_recorder_alone_and_shown_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let book = Arc::new(LocalBook::in_folder(folder.path()));
    let open =
        || Relays::open(Arc::new(RtmpPublisher), book.clone(), Arc::new(SystemClock)).unwrap();
    let relays = open();
    let ordered = order(([127, 0, 0, 1], 9).into());
    relays.set(vec![ordered.clone()]).unwrap();
    let shown = serde_json::to_string(&relays.states()).unwrap() + &format!("{ordered:?}");
    assert!(!shown.contains("secret"), "{shown}");
    let mode = std::fs::metadata(folder.path().join("relays.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // Changed without its key, it keeps the one it had; and over a restart.
    relays.set(vec![RelayOrder { key: None, is_test: true, ..ordered.clone() }]).unwrap();
    relays.end().await;
    let kept = RelayBook::read(&*book).unwrap();
    assert_eq!((kept[0].key.clone(), kept[0].is_test), (ordered.key.clone(), true));
    let again = open();
    assert_eq!(again.states().len(), 1);
    // Another address does not get the key of this one.
    let moved = RelayOrder { key: None, url: "rtmp://127.0.0.1:10/app".into(), ..ordered.clone() };
    assert!(again.set(vec![moved]).unwrap_err().to_string().contains("clé"));
    let twice = again.set(vec![ordered.clone(), ordered.clone()]);
    assert!(twice.unwrap_err().to_string().contains("Twitch"));
    // What cannot be carried out changes nothing.
    let odd = RelayOrder { url: "http://twitch.example".into(), ..ordered };
    assert!(again.set(vec![odd]).unwrap_err().to_string().contains("rtmp://"));
    assert_eq!(again.states().len(), 1);
    again.end().await;
}
