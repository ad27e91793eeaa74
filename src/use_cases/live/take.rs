//! One encoder's stay: its packets become parts, its parts go to the disk in their order, and what it does is told.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::domain::ids::{CameraId, RecordingId};
use crate::domain::live::feed::Meter;
use crate::domain::live::part::{Leap, Part, Parts, Unit};
use crate::domain::live::track::{Form, Kind, TICKS_PER_S, Track};
use crate::ports::clock::Clock;
use crate::ports::dvr::{Dvr, DvrError, Start};
use crate::ports::ingest::{About, Encoder, Leave, LineGauge, Packet, Sent};
use crate::ports::recorder::{FeedState, Halt};

/// Parts of a camera that may wait for the disk; half a minute of a usual feed.
const PARTS_WAIT_MAX: usize = 30;
/// A recording begins without the track that did not come by then.
const TRACK_WAITED_FOR: Duration = Duration::from_secs(1);
/// Without a picture by then, sound is recorded alone.
const PICTURE_WAITED_FOR: Duration = Duration::from_secs(3);
/// How long a feed waits for the disk before what it sends is lost.
const DISK_WAITED_FOR: Duration = Duration::from_secs(3);
/// Recordings of one camera that wait for the disk; while there are so many, none is begun.
const WRITERS_MAX: usize = 2;
/// After a write failed, the next recording is begun no sooner.
const AGAIN_AFTER: Duration = Duration::from_secs(2);
/// How often our clock is compared with the wall's, and what is called a step.
const CLOCK_LOOK: Duration = Duration::from_secs(1);
const CLOCK_STEP: TimeDelta = TimeDelta::milliseconds(100);

/// What is told of an encoder's stay.
pub(super) struct Feed {
    protocol: &'static str,
    peer: String,
    gauge: Option<Arc<dyn LineGauge>>,
    since: DateTime<Utc>,
    began: Instant,
    told: Mutex<Told>,
    leaves: Mutex<Option<Leave>>,
    away: CancellationToken,
}

#[derive(Default)]
struct Told {
    about: About,
    tracks: Vec<Track>,
    meter: Meter,
    recording: Option<RecordingId>,
    recorded_until: Option<DateTime<Utc>>,
    dropped: u64,
    halted: Option<Halt>,
}

impl Feed {
    pub(super) fn new(encoder: &dyn Encoder, now: DateTime<Utc>) -> Self {
        Self {
            protocol: encoder.protocol(),
            peer: encoder.peer().to_string(),
            gauge: encoder.gauge(),
            since: now,
            began: Instant::now(),
            told: Mutex::default(),
            leaves: Mutex::default(),
            away: CancellationToken::new(),
        }
    }

    /// Sends the encoder away; the first reason counts.
    pub(super) fn send_away(&self, why: Leave) {
        self.leaves.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
        self.away.cancel();
    }

    /// Waits until it is sent away.
    pub(super) async fn sent_away(&self) -> Leave {
        self.away.cancelled().await;
        let leaves = self.leaves.lock().unwrap_or_else(PoisonError::into_inner);
        leaves.clone().unwrap_or(Leave::Stopping)
    }

    pub(super) fn state(&self) -> FeedState {
        let now_ms = self.began.elapsed().as_millis() as u64;
        let told = self.told();
        FeedState {
            protocol: self.protocol.to_owned(),
            peer: self.peer.clone(),
            software: told.about.software.clone(),
            since: self.since,
            recording: told.recording,
            tracks: told.tracks.iter().map(|track| (track.codec, track.form)).collect(),
            reading: told.meter.reading(now_ms),
            recorded_until: told.recorded_until,
            dropped: told.dropped,
            halted: told.halted,
            line: self.gauge.as_ref().and_then(|gauge| gauge.read()),
        }
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An encoder's stay.
pub(super) struct Take {
    camera: CameraId,
    feed: Arc<Feed>,
    dvr: Arc<dyn Dvr>,
    clock: Arc<dyn Clock>,
    /// One instant on the clock that never steps and on the wall's: every packet's time is told from it.
    anchor: (Instant, DateTime<Utc>),
    looked: Instant,
    first_packet: Option<Instant>,
    /// No recording begins before.
    not_before: Option<Instant>,
    going: Option<Going>,
    writers: Vec<JoinHandle<()>>,
}

/// A recording that is going on.
struct Going {
    parts: Parts<Bytes>,
    queue: mpsc::Sender<Part<Bytes>>,
    has_picture: bool,
}

impl Take {
    pub(super) fn new(
        camera: CameraId,
        feed: Arc<Feed>,
        dvr: Arc<dyn Dvr>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let anchor = (Instant::now(), clock.now());
        Self {
            camera,
            feed,
            dvr,
            clock,
            anchor,
            looked: anchor.0,
            first_packet: None,
            not_before: None,
            going: None,
            writers: Vec::new(),
        }
    }

    /// One more thing from the encoder.
    pub(super) async fn hear(&mut self, sent: Sent) {
        match sent {
            Sent::About(about) => self.feed.told().about = about,
            Sent::Track(track) => self.change(track).await,
            Sent::Packet(packet) => self.record(packet).await,
        }
    }

    /// Waits until everything is on the disk, or has failed to get there.
    pub(super) async fn finish(mut self) {
        self.end_recording().await;
        for writer in self.writers {
            if let Err(error) = writer.await {
                tracing::error!(%error, camera = %self.camera, "a recording broke");
            }
        }
    }

    /// Parameters that are new begin another recording.
    async fn change(&mut self, track: Track) {
        {
            let mut told = self.feed.told();
            if told.tracks.contains(&track) {
                return;
            }
            told.tracks.retain(|other| other.kind() != track.kind());
            told.tracks.push(track);
            told.tracks.sort_by_key(Track::kind);
        }
        self.end_recording().await;
    }

    async fn record(&mut self, packet: Packet) {
        self.look_at_the_clock(packet.arrived).await;
        let at_ms = packet.arrived.saturating_duration_since(self.feed.began).as_millis() as u64;
        let bytes = packet.data.len();
        self.feed.told().meter.hear(packet.kind, packet.dts, packet.is_key, bytes, at_ms);
        let utc_ns = self.utc_ns(packet.arrived);
        if self.going.is_none() && self.can_begin(&packet) {
            self.begin(utc_ns);
        }
        let Some(going) = &mut self.going else { return };
        let unit = unit(packet, utc_ns);
        match going.parts.push(unit.clone()) {
            Ok(None) => {}
            Ok(Some(part)) => self.hand_on(part).await,
            Err(Leap { ticks }) => {
                let camera = self.camera;
                tracing::warn!(%camera, ticks, "the encoder's times leapt: another recording begins");
                let begins_anew = unit.is_key && (unit.kind == Kind::Picture || !going.has_picture);
                self.end_recording().await;
                if begins_anew {
                    self.begin(utc_ns);
                    // The first packet of a recording ends no part and cannot leap.
                    let _ = self.going.as_mut().map(|going| going.parts.push(unit));
                }
            }
        }
    }

    /// Whether a recording can begin with this packet.
    fn can_begin(&mut self, packet: &Packet) -> bool {
        let first = *self.first_packet.get_or_insert(packet.arrived);
        self.writers.retain(|writer| !writer.is_finished());
        let is_early = self.not_before.is_some_and(|at| packet.arrived < at);
        if is_early || self.writers.len() >= WRITERS_MAX {
            return false;
        }
        let waited = packet.arrived.saturating_duration_since(first);
        let (has_picture, rate) = self.tracks();
        match packet.kind {
            Kind::Picture => {
                packet.is_key && has_picture && (rate.is_some() || waited >= TRACK_WAITED_FOR)
            }
            Kind::Sound => rate.is_some() && !has_picture && waited >= PICTURE_WAITED_FOR,
        }
    }

    /// Whether there is a picture, and the sound's rate.
    fn tracks(&self) -> (bool, Option<u32>) {
        let told = self.feed.told();
        let has_picture = told.tracks.iter().any(|track| track.kind() == Kind::Picture);
        let rate = told.tracks.iter().find_map(|track| match track.form {
            Form::Sound { rate, .. } => Some(rate),
            Form::Picture { .. } => None,
        });
        (has_picture, rate)
    }

    fn begin(&mut self, utc_ns: i64) {
        let (has_picture, rate) = self.tracks();
        let recording = RecordingId::from_uuid(self.clock.new_id());
        let tracks = self.feed.told().tracks.clone();
        let start = Start { camera: self.camera, recording, tracks, utc_ns };
        let (queue, parts) = mpsc::channel(PARTS_WAIT_MAX);
        self.writers.push(tokio::spawn(write(self.feed.clone(), self.dvr.clone(), start, parts)));
        self.feed.told().recording = Some(recording);
        self.going = Some(Going { parts: Parts::new(rate.unwrap_or(1)), queue, has_picture });
    }

    /// Waits for room: who publishes over TCP waits meanwhile and keeps what it could not send.
    async fn hand_on(&mut self, part: Part<Bytes>) {
        let Some(going) = &self.going else { return };
        if going.queue.send_timeout(part, DISK_WAITED_FOR).await.is_err() {
            // The disk is stuck or gave up: what comes until a recording begins anew is a gap.
            self.not_before = Some(Instant::now() + AGAIN_AFTER);
            self.end_recording().await;
        }
    }

    /// What is recorded so far is the whole of it.
    async fn end_recording(&mut self) {
        let Some(going) = self.going.take() else { return };
        {
            let mut told = self.feed.told();
            told.dropped += going.parts.put_right();
            told.recording = None;
        }
        if let Some(last) = going.parts.finish() {
            // A writer that gave up has told why.
            let _ = going.queue.send_timeout(last, DISK_WAITED_FOR).await;
        }
    }

    fn utc_ns(&self, arrived: Instant) -> i64 {
        let (instant, wall) = self.anchor;
        let since = arrived.saturating_duration_since(instant);
        let at = wall + TimeDelta::from_std(since).unwrap_or_default();
        at.timestamp_nanos_opt().unwrap_or_default()
    }

    /// A step of the wall clock begins another recording, on the new time; what is recorded stays where it was.
    async fn look_at_the_clock(&mut self, arrived: Instant) {
        if arrived.saturating_duration_since(self.looked) < CLOCK_LOOK {
            return;
        }
        self.looked = arrived;
        let now = Instant::now();
        let since = now.saturating_duration_since(self.anchor.0);
        let off =
            self.clock.now() - (self.anchor.1 + TimeDelta::from_std(since).unwrap_or_default());
        if off.abs() >= CLOCK_STEP {
            let off_ms = off.num_milliseconds();
            tracing::warn!(camera = %self.camera, off_ms, "the clock stepped: another recording begins");
            self.end_recording().await;
            self.anchor = (now, self.clock.now());
        }
    }
}

fn unit(packet: Packet, utc_ns: i64) -> Unit<Bytes> {
    let Packet { kind, dts, pts, is_key, samples, data, .. } = packet;
    Unit { kind, dts, pts, is_key, samples, bytes: data.len(), data, utc_ns }
}

/// Writes the parts of one recording as they come.
async fn write(
    feed: Arc<Feed>,
    dvr: Arc<dyn Dvr>,
    start: Start,
    mut parts: mpsc::Receiver<Part<Bytes>>,
) {
    let camera = start.camera;
    let written: Result<(), DvrError> = async {
        let mut recording = dvr.begin(start).await?;
        while let Some(part) = parts.recv().await {
            let lasts_ms = part.ticks * 1_000 / TICKS_PER_S;
            let until =
                DateTime::from_timestamp_nanos(part.utc_ns) + TimeDelta::milliseconds(lasts_ms);
            recording.append(part).await?;
            let mut told = feed.told();
            told.recorded_until = Some(until);
            told.halted = None;
        }
        recording.finish().await
    }
    .await;
    if let Err(error) = written {
        let error = match error {
            DvrError::Full => Halt::Full,
            DvrError::Port(error) => {
                tracing::error!(%camera, error = error.chain(), "a recording broke off");
                Halt::Disk
            }
        };
        feed.told().halted = Some(error);
    }
}
