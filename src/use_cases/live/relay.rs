//! Relays: what a camera sends goes on to platforms as it comes, each target on its own. A line that is too slow loses whole
//! groups of pictures; a camera that is away leaves its last picture standing, without sound; nothing here makes the
//! recorder wait.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::domain::ids::CameraId;
use crate::domain::live::relay::{Backoff, RelayClock};
use crate::domain::live::track::{Codec, Form, Kind, TICKS_PER_S, Track};
use crate::ports::PortError;
use crate::ports::clock::Clock;
use crate::ports::ingest::{Packet, Sent};
use crate::ports::relay::{
    Publication, PublishError, Publisher, RELAYS_MAX, RelayBook, RelayOrder, RelayState, Standing,
};

/// Packets of a camera that wait for its relays at most, about six seconds: who is further behind goes on with the next
/// key frame.
const BEHIND_MAX: usize = 512;
/// Without a packet for so long, the camera's last picture stands still; for so long at most, then the broadcast ends.
const STILL_AFTER: Duration = Duration::from_secs(5);
const STILL_MAX: Duration = Duration::from_mins(15);
/// How often the still picture is sent, and how often silence is.
const STILL_EVERY: i64 = TICKS_PER_S;
const SILENCE_EVERY: Duration = Duration::from_millis(200);
/// A connection that lasted this long was a good one: the next pause is the first again.
const GOOD_FOR: Duration = Duration::from_mins(1);
/// The rate that is told is that of so long.
const RATE_OVER: Duration = Duration::from_secs(5);
/// Samples of an AAC frame, and frames of silence (AAC-LC) for one and for two channels.
const AAC_SAMPLES: i64 = 1_024;
const SILENCE_MONO: &[u8] = &[0x00, 0xc8, 0x00, 0x80, 0x23, 0x80];
const SILENCE_STEREO: &[u8] = &[0x21, 0x00, 0x49, 0x90, 0x02, 0x19, 0x00, 0x23, 0x80];

/// Why an order is not taken. For people.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    #[error("« {name} » : {source}")]
    Publish { name: String, source: PublishError },
    #[error("{RELAYS_MAX} diffusions au plus.")]
    TooMany,
    #[error(transparent)]
    Port(#[from] PortError),
}

/// All relays; clones share them.
#[derive(Clone)]
pub struct Relays(Arc<Inner>);

struct Inner {
    publisher: Arc<dyn Publisher>,
    book: Arc<dyn RelayBook>,
    clock: Arc<dyn Clock>,
    buses: Mutex<BTreeMap<CameraId, Arc<Bus>>>,
    going: Mutex<Vec<Going>>,
}

/// What a camera sends, for whoever relays it.
struct Bus {
    packets: broadcast::Sender<Sent>,
    tracks: Mutex<Vec<Track>>,
}

struct Going {
    order: RelayOrder,
    told: Arc<Told>,
    end: CancellationToken,
    task: JoinHandle<()>,
}

/// What is told of a relay.
struct Told {
    standing: Mutex<(Standing, DateTime<Utc>)>,
    sent_bytes: AtomicU64,
    kbits: AtomicU64,
    dropped: AtomicU64,
    reconnects: AtomicU64,
}

impl Relays {
    /// Takes up what was ordered last.
    pub fn open(
        publisher: Arc<dyn Publisher>,
        book: Arc<dyn RelayBook>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, PortError> {
        let orders = book.read()?;
        let (buses, going) = (Mutex::default(), Mutex::default());
        let relays = Self(Arc::new(Inner { publisher, book, clock, buses, going }));
        for order in orders {
            relays.begin(order);
        }
        Ok(relays)
    }

    /// All relays there are from now on. One without a key keeps the one it was told before; one that is as it was goes on.
    pub fn set(&self, mut orders: Vec<RelayOrder>) -> Result<(), RelayError> {
        if orders.len() > RELAYS_MAX {
            return Err(RelayError::TooMany);
        }
        let mut going = self.0.going();
        for order in &mut orders {
            let known = going.iter().find(|it| is_same(&it.order, order));
            if let Some(known) = known.filter(|_| order.key.is_none()) {
                order.key.clone_from(&known.order.key);
            }
            self.0
                .publisher
                .check(order)
                .map_err(|source| RelayError::Publish { name: order.name.clone(), source })?;
        }
        self.0.book.write(&orders)?;
        going.retain(|it| {
            let stays = orders.contains(&it.order);
            if !stays {
                it.end.cancel();
            }
            stays
        });
        let fresh: Vec<RelayOrder> =
            orders.into_iter().filter(|order| !going.iter().any(|it| it.order == *order)).collect();
        drop(going);
        for order in fresh {
            self.begin(order);
        }
        Ok(())
    }

    /// How each stands.
    pub fn states(&self) -> Vec<RelayState> {
        self.0.going().iter().map(Going::state).collect()
    }

    /// Something from a camera's encoder. Never waits.
    pub fn offer(&self, camera: CameraId, sent: &Sent) {
        let bus = self.bus(camera);
        if let Sent::Track(track) = sent {
            let mut tracks = hold(&bus.tracks);
            tracks.retain(|known| known.kind() != track.kind());
            tracks.push(track.clone());
        }
        // Nobody relays it.
        let _ = bus.packets.send(sent.clone());
    }

    /// Ends all, with a goodbye to each platform.
    pub async fn end(&self) {
        let going = std::mem::take(&mut *self.0.going());
        for it in &going {
            it.end.cancel();
        }
        for it in going {
            let _ = it.task.await;
        }
    }

    fn begin(&self, order: RelayOrder) {
        let now = self.0.clock.now();
        let told = Arc::new(Told {
            standing: Mutex::new((Standing::Idle, now)),
            sent_bytes: AtomicU64::new(0),
            kbits: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            reconnects: AtomicU64::new(0),
        });
        let end = CancellationToken::new();
        let relay = Relay {
            bus: self.bus(order.camera),
            order: order.clone(),
            publisher: self.0.publisher.clone(),
            clock: self.0.clock.clone(),
            told: told.clone(),
            end: end.clone(),
            began: Instant::now(),
            times: RelayClock::default(),
            last_key: None,
        };
        let task = tokio::spawn(relay.run());
        self.0.going().push(Going { order, told, end, task });
    }

    fn bus(&self, camera: CameraId) -> Arc<Bus> {
        let fresh = || {
            let (packets, _) = broadcast::channel(BEHIND_MAX);
            Arc::new(Bus { packets, tracks: Mutex::default() })
        };
        hold(&self.0.buses).entry(camera).or_insert_with(fresh).clone()
    }
}

impl Inner {
    fn going(&self) -> MutexGuard<'_, Vec<Going>> {
        hold(&self.going)
    }
}

fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_same(one: &RelayOrder, other: &RelayOrder) -> bool {
    (one.camera, &one.name) == (other.camera, &other.name)
}

impl Going {
    fn state(&self) -> RelayState {
        let (standing, since) = hold(&self.told.standing).clone();
        let RelayOrder { camera, name, url, is_test, .. } = self.order.clone();
        RelayState {
            camera,
            name,
            url,
            is_test,
            standing,
            since,
            sent_bytes: self.told.sent_bytes.load(Relaxed),
            kbits: self.told.kbits.load(Relaxed) as u32,
            dropped: self.told.dropped.load(Relaxed),
            reconnects: self.told.reconnects.load(Relaxed),
        }
    }
}

/// One relay at work.
struct Relay {
    bus: Arc<Bus>,
    order: RelayOrder,
    publisher: Arc<dyn Publisher>,
    clock: Arc<dyn Clock>,
    told: Arc<Told>,
    end: CancellationToken,
    began: Instant,
    times: RelayClock,
    /// What stands still while the camera is away, with the parameters it is decoded by.
    last_key: Option<(Vec<Track>, Packet)>,
}

/// Why a connection is over.
enum Over {
    /// The relay is not wanted any more, or its camera is away for good.
    Ended,
    Lost(PublishError),
}

impl Relay {
    async fn run(mut self) {
        let mut backoff = Backoff::default();
        let end = self.end.clone();
        loop {
            let mut packets = self.bus.packets.subscribe();
            // Until it sends, a platform has nothing to show. After a lost line, the still picture is enough.
            if self.last_key.is_none() {
                self.stands(Standing::Idle);
                let Some(()) = end.run_until_cancelled(key_frame(&mut packets)).await else {
                    return;
                };
            }
            self.stands(Standing::Connecting);
            let opened = end.run_until_cancelled(self.publisher.open(&self.order)).await;
            let Some(opened) = opened else { return };
            let began = Instant::now();
            let over = match opened {
                Ok(mut publication) => {
                    let over = self.publish(&mut *publication).await;
                    if matches!(over, Over::Ended) {
                        publication.finish().await;
                        self.last_key = None;
                    } else {
                        self.told.reconnects.fetch_add(1, Relaxed);
                    }
                    over
                }
                Err(error) => Over::Lost(error),
            };
            self.told.kbits.store(0, Relaxed);
            let Over::Lost(error) = over else {
                if end.is_cancelled() {
                    return;
                }
                continue;
            };
            if began.elapsed() > GOOD_FOR {
                backoff = Backoff::default();
            }
            let pause = backoff.pause(f64::from(self.clock.new_secret()[0]) / 255.0);
            let (camera, name) = (self.order.camera, &self.order.name);
            tracing::warn!(%camera, name, wait = pause.as_secs_f64(), "a relay is interrupted: {error}");
            self.stands(Standing::Waiting { reason: error.to_string() });
            if end.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return;
            }
        }
    }

    /// Sends what comes from now on, from a key frame, until the line or the relay ends.
    async fn publish(&mut self, publication: &mut dyn Publication) -> Over {
        let end = self.end.clone();
        let mut packets = self.bus.packets.subscribe();
        let told = self.told.clone();
        let mut line = Line::new(publication, &told);
        let mut needs_key = true;
        let mut heard = Instant::now();
        loop {
            let is_still = heard.elapsed() >= STILL_AFTER && self.last_key.is_some();
            let next = tokio::select! {
                biased;
                () = end.cancelled() => return Over::Ended,
                next = packets.recv() => Some(next),
                () = tokio::time::sleep(SILENCE_EVERY) => None,
            };
            let sent = match next {
                None if is_still && heard.elapsed() > STILL_MAX => return Over::Ended,
                None if is_still => {
                    self.stands(Standing::Still);
                    needs_key = true;
                    match self.stand_still(&mut line).await {
                        Ok(()) => continue,
                        Err(error) => return Over::Lost(error),
                    }
                }
                None => continue,
                Some(Err(RecvError::Closed)) => return Over::Ended,
                Some(Err(RecvError::Lagged(_))) => {
                    needs_key = true;
                    self.told.dropped.fetch_add(1, Relaxed);
                    continue;
                }
                Some(Ok(sent)) => sent,
            };
            let packet = match sent {
                Sent::Packet(packet) => packet,
                // Told again before the next key frame.
                Sent::Track(_) => {
                    needs_key = true;
                    continue;
                }
                Sent::About(_) => continue,
            };
            heard = Instant::now();
            let is_key = packet.kind == Kind::Picture && packet.is_key;
            if needs_key && !is_key {
                continue;
            }
            let done = async {
                if is_key {
                    let tracks = hold(&self.bus.tracks).clone();
                    if needs_key {
                        line.tell(&tracks).await?;
                    }
                    self.last_key = Some((tracks, packet.clone()));
                }
                let dts = self.times.place(packet.dts, self.now());
                let pts = dts + packet.pts - packet.dts;
                line.send(&Packet { dts, pts, ..packet }).await
            };
            if let Err(error) = done.await {
                return Over::Lost(error);
            }
            if needs_key {
                needs_key = false;
                self.stands(Standing::OnAir);
            }
        }
    }

    /// The camera is away: its last picture once a second, and silence.
    async fn stand_still(&mut self, line: &mut Line<'_>) -> Result<(), PublishError> {
        let Some((tracks, key)) = self.last_key.clone() else { return Ok(()) };
        line.tell(&tracks).await?;
        let now = self.now();
        self.be_silent(&tracks, &key, now, line).await?;
        if line.still_at.is_none_or(|at| now - at >= STILL_EVERY) {
            line.still_at = Some(now);
            let dts = self.times.place_still(now);
            let pts = dts + key.pts - key.dts;
            line.send(&Packet { dts, pts, ..key.clone() }).await?;
        }
        Ok(())
    }

    /// Sends silence up to now, where sound was.
    async fn be_silent(
        &mut self,
        tracks: &[Track],
        key: &Packet,
        now: i64,
        line: &mut Line<'_>,
    ) -> Result<(), PublishError> {
        let sound = tracks.iter().find_map(|track| match (track.codec, track.form) {
            (Codec::Aac, Form::Sound { rate, channels }) => Some((i64::from(rate), channels)),
            _ => None,
        });
        let Some((rate, channels)) = sound else { return Ok(()) };
        let silence = if channels == 1 { SILENCE_MONO } else { SILENCE_STEREO };
        let frame = AAC_SAMPLES * TICKS_PER_S / rate.max(1);
        let mut at = line.silent_at.filter(|at| now - at < TICKS_PER_S).unwrap_or(now - frame);
        while at + frame <= now {
            at += frame;
            let dts = self.times.place_still(at);
            line.send(&Packet {
                kind: Kind::Sound,
                dts,
                pts: dts,
                samples: AAC_SAMPLES as u32,
                is_key: true,
                data: Bytes::from_static(silence),
                arrived: key.arrived,
            })
            .await?;
        }
        line.silent_at = Some(at);
        Ok(())
    }

    fn now(&self) -> i64 {
        self.began.elapsed().as_micros() as i64 * TICKS_PER_S / 1_000_000
    }

    fn stands(&self, standing: Standing) {
        let mut told = hold(&self.told.standing);
        if told.0 != standing {
            *told = (standing, self.clock.now());
        }
    }
}

/// A publication, with what was told over it.
struct Line<'a> {
    publication: &'a mut dyn Publication,
    told: &'a Told,
    tracks: Vec<Track>,
    before: u64,
    /// Bytes and instants of the last seconds.
    rate: (Instant, u64),
    still_at: Option<i64>,
    silent_at: Option<i64>,
}

impl<'a> Line<'a> {
    fn new(publication: &'a mut dyn Publication, told: &'a Told) -> Self {
        let before = told.sent_bytes.load(Relaxed);
        Self {
            publication,
            told,
            tracks: Vec::new(),
            before,
            rate: (Instant::now(), 0),
            still_at: None,
            silent_at: None,
        }
    }

    /// Tells those parameters that were not told yet.
    async fn tell(&mut self, tracks: &[Track]) -> Result<(), PublishError> {
        for track in tracks {
            if !self.tracks.contains(track) {
                self.publication.track(track).await?;
                self.tracks.retain(|known| known.kind() != track.kind());
                self.tracks.push(track.clone());
            }
        }
        Ok(())
    }

    async fn send(&mut self, packet: &Packet) -> Result<(), PublishError> {
        self.publication.send(packet).await?;
        let sent = self.publication.sent_bytes();
        self.told.sent_bytes.store(self.before + sent, Relaxed);
        let (since, from) = self.rate;
        if since.elapsed() >= RATE_OVER {
            let ms = since.elapsed().as_millis().max(1) as u64;
            self.told.kbits.store((sent - from) * 8 / ms, Relaxed);
            self.rate = (Instant::now(), sent);
        }
        Ok(())
    }
}

/// Resolves with the next key frame of a camera.
async fn key_frame(packets: &mut broadcast::Receiver<Sent>) {
    loop {
        match packets.recv().await {
            Ok(Sent::Packet(packet)) if packet.kind == Kind::Picture && packet.is_key => return,
            Err(RecvError::Closed) => std::future::pending().await,
            _ => {}
        }
    }
}
