//! One relay at work: connection after connection, each from a key frame on.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::domain::live::relay::{Backoff, RelayClock};
use crate::domain::live::track::{Codec, Form, Kind, TICKS_PER_S, Track};
use crate::ports::clock::Clock;
use crate::ports::ingest::{Packet, Sent};
use crate::ports::relay::{Publication, PublishError, Publisher, RelayOrder, Standing};
use crate::use_cases::live::relay::{Bus, Told, hold};

/// Without a packet for so long, the camera's last picture stands still; for so long at most, then the broadcast ends.
const STILL_AFTER: Duration = Duration::from_secs(5);
const STILL_MAX: Duration = Duration::from_mins(15);
/// A camera is heard while something comes within so long.
const HEARD_WITHIN: Duration = Duration::from_secs(1);
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

/// One relay at work.
pub(super) struct Relay {
    pub(super) bus: Arc<Bus>,
    pub(super) order: RelayOrder,
    pub(super) publisher: Arc<dyn Publisher>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) told: Arc<Told>,
    pub(super) end: CancellationToken,
    pub(super) began: Instant,
    pub(super) times: RelayClock,
    /// What stands still while the camera is away, with the parameters it is decoded by.
    pub(super) last_key: Option<(Vec<Track>, Packet)>,
    /// When something of the camera went out last.
    pub(super) sent_at: Instant,
}

/// Why a connection is over.
enum Over {
    /// The relay is not wanted any more, or its camera is away for good.
    Ended,
    Lost(PublishError),
}

impl Relay {
    pub(super) async fn run(mut self) {
        let mut backoff = Backoff::default();
        let end = self.end.clone();
        loop {
            // Until it sends, a platform has nothing to show. After a lost line, the still picture is enough.
            if self.last_key.is_none() {
                let mut packets = self.bus.packets.subscribe();
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
            let seconds = pause.as_secs_f64().ceil() as u32;
            self.stands(Standing::Waiting { reason: error.to_string(), seconds });
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
        let mut ticks = tokio::time::interval(SILENCE_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let next = tokio::select! {
                biased;
                () = end.cancelled() => return Over::Ended,
                _ = ticks.tick() => None,
                next = packets.recv() => Some(next),
            };
            let sent = match next {
                None => {
                    let away = self.sent_at.elapsed();
                    // A camera that is heard is back with its next key frame, unless those are far apart.
                    let is_heard = heard.elapsed() < HEARD_WITHIN && away < 2 * STILL_AFTER;
                    if away < STILL_AFTER || is_heard || self.last_key.is_none() {
                        continue;
                    }
                    if away > STILL_MAX {
                        return Over::Ended;
                    }
                    self.stands(Standing::Still);
                    needs_key = true;
                    match end.run_until_cancelled(self.stand_still(&mut line)).await {
                        Some(Ok(())) => continue,
                        Some(Err(error)) => return Over::Lost(error),
                        None => return Over::Ended,
                    }
                }
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
            match end.run_until_cancelled(self.pass_on(packet, needs_key, &mut line)).await {
                Some(Ok(())) => {}
                Some(Err(error)) => return Over::Lost(error),
                None => return Over::Ended,
            }
            if needs_key {
                needs_key = false;
                self.stands(Standing::OnAir);
            }
        }
    }

    /// Sends a packet of the camera's; a key frame with its parameters, if they are to be told.
    async fn pass_on(
        &mut self,
        packet: Packet,
        tells: bool,
        line: &mut Line<'_>,
    ) -> Result<(), PublishError> {
        let now = self.now();
        let Some(dts) = self.times.place(packet.kind, packet.dts, now) else { return Ok(()) };
        if packet.kind == Kind::Picture && packet.is_key {
            let tracks = hold(&self.bus.tracks).clone();
            if tells {
                line.tell(&tracks, dts).await?;
            }
            self.last_key = Some((tracks, packet.clone()));
        }
        let pts = dts + packet.pts - packet.dts;
        line.send(&Packet { dts, pts, ..packet }).await?;
        self.sent_at = Instant::now();
        Ok(())
    }

    /// The camera is away: its last picture once a second, and silence.
    async fn stand_still(&mut self, line: &mut Line<'_>) -> Result<(), PublishError> {
        let Some((tracks, key)) = self.last_key.clone() else { return Ok(()) };
        let now = self.now();
        line.tell(&tracks, now).await?;
        // A line begins with a picture.
        if line.still_at.is_some() {
            self.be_silent(&tracks, &key, now, line).await?;
        }
        if line.still_at.is_none_or(|at| now - at >= STILL_EVERY) {
            line.still_at = Some(now);
            let dts = self.times.place_still(Kind::Picture, now);
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
        let silence = match channels {
            1 => SILENCE_MONO,
            2 => SILENCE_STEREO,
            // Nobody streams more to a platform.
            _ => return Ok(()),
        };
        let frame = AAC_SAMPLES * TICKS_PER_S / rate.max(1);
        let mut at = line.silent_at.filter(|at| now - at < TICKS_PER_S).unwrap_or(now - frame);
        while at + frame <= now {
            at += frame;
            let dts = self.times.place_still(Kind::Sound, at);
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
    async fn tell(&mut self, tracks: &[Track], dts: i64) -> Result<(), PublishError> {
        for track in tracks {
            if !self.tracks.contains(track) {
                self.publication.track(track, dts).await?;
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
