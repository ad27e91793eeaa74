//! What the cameras sent, played and cut while it is being recorded: playlists, parts, and a span of a camera as one file.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use chrono::{DateTime, TimeDelta, Utc};
use tokio::io::AsyncWriteExt;

use crate::domain::clips::Span;
use crate::domain::clips::footage::{KeyFrame, KeyFrameIndex};
use crate::domain::ids::{CameraId, RecordingId};
use crate::domain::live::sync::{Alignment, LAG_S_MAX};
use crate::domain::live::track::TICKS_PER_S;
use crate::ports::PortError;
use crate::ports::clock::Clock;
use crate::ports::dvr::{Footage, PartPlace};
use crate::read_models::CameraCard;
use crate::use_cases::clips::pieces::{Piece, span_of};
use crate::use_cases::clips::playlist::Playlist;

/// A decoder begins at most so long before what it shall show: encoders with a longer distance between key frames are told so.
const KEY_FRAME_NS_MAX: i64 = 20_000_000_000;
/// A part that an address names without its time came no longer ago than this.
const RECENT_NS: i64 = 120_000_000_000;
/// How often it is looked whether a part came, and how long it is waited for one at most.
const LOOK_EVERY: Duration = Duration::from_millis(100);
const PART_WAITED_FOR: Duration = Duration::from_secs(5);
/// A stretch that ended so long ago has all its parts.
const OVER_AFTER_NS: i64 = 5_000_000_000;
/// Parts read in one answer at most: a segment of a minute.
const PARTS_READ_MAX: u32 = 60;
/// The latency of arrival is the least that was seen within this stretch before a span: the network only ever adds to it.
/// Longer than key frames are apart.
const LATENCY_NS: i64 = 30_000_000_000;

/// Cameras run apart by no more than can be found.
const LAG_NS_MAX: i64 = LAG_S_MAX as i64 * 1_000_000_000;

/// What the cameras sent.
#[derive(Clone)]
pub struct CameraFootage {
    pub footage: Arc<dyn Footage>,
    pub clock: Arc<dyn Clock>,
}

/// Parts of one recording, by their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartSpan {
    pub recording: RecordingId,
    pub first: u32,
    pub last: u32,
    /// When the first arrived, UTC nanoseconds; parts of the last minutes are found without.
    pub utc_ns: Option<i64>,
}

/// A span of a camera as one file.
#[derive(Debug, Clone, PartialEq)]
pub struct Joined {
    /// Where in the file the span lies, in seconds since its first part.
    pub start_s: f64,
    pub end_s: f64,
    /// What the file's own clock says at that part.
    pub origin_s: f64,
    pub key_frames: KeyFrameIndex,
    /// The camera broke off: this is there of what was asked for, counted from its beginning.
    pub piece: Option<Span>,
}

/// Why a span of a camera cannot be had. French, for people.
#[derive(Debug, thiserror::Error)]
pub enum FootageError {
    #[error("La caméra n'enregistrait pas à {}.", clock_of(*.at_ns))]
    Nothing { at_ns: i64 },
    #[error("La caméra s'est interrompue à {} : coupez avant ou après.", clock_of(*.at_ns))]
    Broken { at_ns: i64 },
    /// It broke off in the midst, and no piece is long enough.
    #[error(
        "La caméra s'est interrompue : il n'y a que {} s d'une traite sur {} s. Coupez avant ou après.",
        seconds_of(*.there_ms),
        seconds_of(*.asked_ms)
    )]
    Torn { there_ms: i64, asked_ms: i64 },
    /// It is being recorded: a later try finds it.
    #[error("La fin du passage n'est pas encore enregistrée.")]
    NotYet,
    #[error(transparent)]
    Port(#[from] PortError),
}

fn clock_of(utc_ns: i64) -> String {
    DateTime::<Utc>::from_timestamp_nanos(utc_ns).format("%H:%M:%S UTC").to_string()
}

fn seconds_of(ms: i64) -> String {
    format!("{:.1}", ms as f64 / 1_000.0).replace('.', ",")
}

impl CameraFootage {
    /// A camera from an instant on, to `to` or for as long as it records. `None` when there is nothing.
    pub async fn playlist(
        &self,
        camera: CameraId,
        from: DateTime<Utc>,
        to: Option<DateTime<Utc>>,
    ) -> Result<Option<Playlist>, PortError> {
        let (from, to) = (ns(from), to.map(ns));
        let is_over = to.is_some_and(|to| to < self.now_ns() - OVER_AFTER_NS);
        let until = to.unwrap_or(i64::MAX);
        let parts = self.footage.parts(camera, from - KEY_FRAME_NS_MAX, until).await?;
        Ok(Playlist::of(parts, from, to.is_some(), is_over))
    }

    /// The same, once it holds this segment or this part of it; as it is after a while.
    pub async fn playlist_with(
        &self,
        camera: CameraId,
        from: DateTime<Utc>,
        to: Option<DateTime<Utc>>,
        segment: usize,
        part: Option<usize>,
    ) -> Result<Option<Playlist>, PortError> {
        let give_up = tokio::time::Instant::now() + PART_WAITED_FOR;
        let mut playlist = self.playlist(camera, from, to).await?;
        while let Some(last) = playlist.as_ref().and_then(|it| it.last()).copied()
            && !playlist.as_ref().is_some_and(|it| it.holds(segment, part))
            && tokio::time::Instant::now() < give_up
        {
            tokio::time::sleep(LOOK_EVERY).await;
            if !self.footage.parts(camera, last.utc_ns + 1, i64::MAX).await?.is_empty() {
                playlist = self.playlist(camera, from, to).await?;
            }
        }
        Ok(playlist)
    }

    /// When the first part of a camera came, as long as there is one.
    pub async fn first(&self, camera: CameraId) -> Result<Option<DateTime<Utc>>, PortError> {
        let first = self.footage.first(camera).await?;
        Ok(first.map(|part| DateTime::from_timestamp_nanos(part.utc_ns)))
    }

    /// From when on a camera recorded without a break until an instant, looked at from `from` on; `None` when it did not.
    pub async fn begins_within(
        &self,
        camera: CameraId,
        from: DateTime<Utc>,
        at: DateTime<Utc>,
    ) -> Result<Option<DateTime<Utc>>, PortError> {
        let (from_ns, at_ns) = (ns(from), ns(at));
        let parts = self.footage.parts(camera, from_ns - KEY_FRAME_NS_MAX, at_ns).await?;
        let Some(last) = parts.last() else { return Ok(None) };
        // The part that holds the instant is in the making.
        if at_ns - (last.utc_ns + in_ns(last.ticks)) > OVER_AFTER_NS {
            return Ok(None);
        }
        let begins = parts.iter().find(|part| part.recording == last.recording && part.is_key);
        Ok(begins.map(|first| DateTime::from_timestamp_nanos(first.utc_ns).max(from)))
    }

    /// What a decoder needs before the parts of a recording that has a part at this instant.
    pub async fn init(
        &self,
        camera: CameraId,
        recording: RecordingId,
        utc_ns: i64,
    ) -> Result<Option<Bytes>, PortError> {
        let parts = self.footage.parts(camera, utc_ns, utc_ns.saturating_add(1)).await?;
        match parts.iter().find(|part| part.recording == recording) {
            Some(part) => self.footage.init(part).await.map(Some),
            None => Ok(None),
        }
    }

    /// The bytes of parts that follow each other. The next part to come is waited for a while; `None` when they are not there.
    pub async fn read(&self, camera: CameraId, span: PartSpan) -> Result<Option<Bytes>, PortError> {
        let count = span.last.saturating_sub(span.first).saturating_add(1);
        if span.first > span.last || count > PARTS_READ_MAX {
            return Ok(None);
        }
        let give_up = tokio::time::Instant::now() + PART_WAITED_FOR;
        let from = span.utc_ns.unwrap_or_else(|| self.now_ns() - RECENT_NS);
        loop {
            let mut parts = self.footage.parts(camera, from, i64::MAX).await?;
            parts.retain(|part| part.recording == span.recording);
            let is_coming = parts.last().is_some_and(|last| last.number + 1 == span.last);
            parts.retain(|part| (span.first..=span.last).contains(&part.number));
            if parts.len() as u32 == count {
                let mut bytes = BytesMut::new();
                for part in &parts {
                    bytes.extend_from_slice(&self.footage.read(part).await?);
                }
                return Ok(Some(bytes.freeze()));
            }
            if !is_coming || tokio::time::Instant::now() >= give_up {
                return Ok(None);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Writes a span of a camera into one file, from the key frame before it on; nothing is decoded. Of a span in which the
    /// camera broke off, the longest piece is written.
    pub async fn join(
        &self,
        camera: CameraId,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        output: &Path,
    ) -> Result<Joined, FootageError> {
        let (from, to) = (ns(from), ns(to));
        let all = self.footage.parts(camera, from - LATENCY_NS, to + KEY_FRAME_NS_MAX).await?;
        let (parts, start, end, piece) = chosen(&all, from, to, self.now_ns())?;
        self.joined(parts, start, end, piece, output).await
    }

    /// The same, where `from` and `to` are those of another camera, beside which this one was measured: what both heard at one
    /// time. Says by which measure; none when the recordings of then were not measured, but only how late this camera usually is.
    pub async fn join_beside(
        &self,
        camera: &CameraCard,
        reference: CameraId,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        output: &Path,
    ) -> Result<(Joined, Option<Alignment>), FootageError> {
        let (from_ns, to_ns) = (ns(from), ns(to));
        let led = self.footage.parts(reference, from_ns - LATENCY_NS, to_ns).await?;
        if let Ok(led) = Stretch::at(&led, from_ns, to_ns) {
            let at_ns = from_ns - led.began_ns;
            let (before, after) = (LATENCY_NS + LAG_NS_MAX, KEY_FRAME_NS_MAX + LAG_NS_MAX);
            let all = self.footage.parts(camera.id, from_ns - before, to_ns + after).await?;
            for known in camera.aligned.iter().rev().map(|known| &known.alignment) {
                if known.reference_recording != led.recording() {
                    continue;
                }
                let start = known.line.other_ns(at_ns);
                let (start, end) = (in_ticks(start), in_ticks(start + to_ns - from_ns));
                let Some(run) = Stretch::of(&all, known.recording) else { continue };
                if !run.holds(start) {
                    continue;
                }
                let (parts, end, piece) = match run.covering(start, end, self.now_ns(), &all) {
                    Ok(parts) => (parts, end, None),
                    Err(FootageError::Broken { .. }) => {
                        let there = run.end() - start;
                        // Too little of this recording: what came after may be longer.
                        let Ok(piece) = span_of(0, in_ns(there), to_ns - from_ns) else { continue };
                        let parts = run.covering(start, run.end(), self.now_ns(), &all)?;
                        (parts, run.end(), Some(piece))
                    }
                    Err(error) => return Err(error),
                };
                let start = start.max(parts[0].dts);
                let joined = self.joined(parts, start, end, piece, output).await?;
                return Ok((joined, Some(known.clone())));
            }
        }
        let known = camera.aligned.iter().rev().find(|it| it.alignment.reference == reference);
        let behind = known.map_or(0, |known| known.alignment.behind_ns);
        let behind = TimeDelta::nanoseconds(behind);
        Ok((self.join(camera.id, from + behind, to + behind, output).await?, None))
    }

    async fn joined(
        &self,
        parts: &[PartPlace],
        start: i64,
        end: i64,
        piece: Option<Span>,
        output: &Path,
    ) -> Result<Joined, FootageError> {
        self.write(parts, output).await?;
        let seconds = |ticks: i64| (ticks - parts[0].dts) as f64 / TICKS_PER_S as f64;
        let keys = parts.iter().filter(|part| part.is_key);
        let keys = keys.map(|part| KeyFrame { time_s: seconds(part.dts), position: None });
        Ok(Joined {
            start_s: seconds(start).max(0.0),
            end_s: seconds(end),
            origin_s: parts[0].dts as f64 / TICKS_PER_S as f64,
            key_frames: KeyFrameIndex(keys.collect()),
            piece,
        })
    }

    /// Writes the last seconds of a camera into one file, from a key frame on; nothing of one that sent nothing since an instant.
    pub async fn join_last(
        &self,
        camera: CameraId,
        since: DateTime<Utc>,
        output: &Path,
    ) -> Result<(), FootageError> {
        let parts = self.footage.parts(camera, ns(since), i64::MAX).await?;
        let key = parts.iter().rposition(|part| part.is_key);
        let nothing = FootageError::Nothing { at_ns: self.now_ns() };
        let parts = &parts[key.ok_or(nothing)?..];
        self.write(parts, output).await?;
        Ok(())
    }

    /// Writes parts of one recording into a file.
    pub(super) async fn write(&self, parts: &[PartPlace], output: &Path) -> Result<(), PortError> {
        let written = async {
            let mut file = tokio::fs::File::create(output).await?;
            for (n, part) in parts.iter().enumerate() {
                if n == 0 {
                    let init = self.footage.init(part).await.map_err(std::io::Error::other)?;
                    file.write_all(&init).await?;
                }
                let bytes = self.footage.read(part).await.map_err(std::io::Error::other)?;
                file.write_all(&bytes).await?;
            }
            file.flush().await
        };
        written.await.map_err(|e| PortError::passing("join what a camera sent", e))
    }

    fn now_ns(&self) -> i64 {
        ns(self.clock.now())
    }
}

fn ns(at: DateTime<Utc>) -> i64 {
    at.timestamp_nanos_opt().unwrap_or(i64::MAX)
}

/// Parts that hold a span, where it lies in their recording's own time, and what of it they hold when that is not all.
type Chosen<'a> = (&'a [PartPlace], i64, i64, Option<Span>);

/// The parts that hold a span, from a key frame on; those of its longest piece when the camera broke off.
fn chosen(all: &[PartPlace], from: i64, to: i64, now: i64) -> Result<Chosen<'_>, FootageError> {
    let broken = match whole(all, from, to, now) {
        Ok((parts, start, end)) => return Ok((parts, start, end, None)),
        Err(broken @ (FootageError::Nothing { .. } | FootageError::Broken { .. })) => broken,
        Err(error) => return Err(error),
    };
    let Some(piece) = Piece::longest(all, from, to) else { return Err(broken) };
    let ends = all.last().map_or(0, |part| part.utc_ns + in_ns(part.ticks));
    if ends < to && now - ends < OVER_AFTER_NS {
        return Err(FootageError::NotYet);
    }
    let span = piece.span(to - from)?;
    Ok((piece.parts, piece.start, piece.end, Some(span)))
}

/// The same of a span without a break.
fn whole(
    all: &[PartPlace],
    from: i64,
    to: i64,
    now: i64,
) -> Result<(&[PartPlace], i64, i64), FootageError> {
    let run = Stretch::at(all, from, to)?;
    let (start, end) = (in_ticks(from - run.began_ns), in_ticks(to - run.began_ns));
    let parts = run.covering(start, end, now, all)?;
    Ok((parts, start.max(parts[0].dts), end))
}

/// Parts of one recording.
pub(super) struct Stretch<'a> {
    pub(super) parts: &'a [PartPlace],
    /// When the recording began by what these parts tell, UTC nanoseconds. The arrival of one may be late by whatever the network
    /// did; of many, the earliest against their own time tells when they were sent.
    pub(super) began_ns: i64,
}

impl<'a> Stretch<'a> {
    /// The one that holds an instant; what arrived after `to` says nothing.
    fn at(all: &'a [PartPlace], from: i64, to: i64) -> Result<Self, FootageError> {
        let at_start = all.iter().rev().find(|part| part.utc_ns <= from);
        // A part that came early still holds what follows it closely.
        let first = at_start
            .filter(|part| from - part.utc_ns < 2 * in_ns(part.ticks))
            .ok_or(FootageError::Nothing { at_ns: from })?;
        let run = Self::of(all, first.recording).ok_or(FootageError::Nothing { at_ns: from })?;
        let began_ns = began(run.parts.iter().filter(|part| part.utc_ns <= to));
        Ok(Self { began_ns: began_ns.unwrap_or(run.began_ns), ..run })
    }

    /// Those of a recording; `None` without any.
    pub(super) fn of(all: &'a [PartPlace], recording: RecordingId) -> Option<Self> {
        let begins = all.iter().position(|part| part.recording == recording)?;
        let count = all[begins..].iter().take_while(|part| part.recording == recording).count();
        let parts = &all[begins..begins + count];
        Some(Self { parts, began_ns: began(parts.iter())? })
    }

    pub(super) fn recording(&self) -> RecordingId {
        self.parts[0].recording
    }

    /// The tick at which it ends.
    fn end(&self) -> i64 {
        self.parts.last().map_or(0, |last| last.dts + last.ticks)
    }

    /// Whether one of its parts, or the next one to come, holds this tick.
    fn holds(&self, at: i64) -> bool {
        let last = &self.parts[self.parts.len() - 1];
        (self.parts[0].dts..last.dts + 2 * last.ticks).contains(&at)
    }

    /// Its parts from the key frame before a span on, to its end. `all` are those of the camera.
    fn covering(
        &self,
        start: i64,
        end: i64,
        now: i64,
        all: &[PartPlace],
    ) -> Result<&'a [PartPlace], FootageError> {
        let run = self.parts;
        let nothing = FootageError::Nothing { at_ns: self.began_ns + in_ns(start) };
        let key = run
            .iter()
            .rposition(|part| part.is_key && part.dts <= start)
            .or_else(|| run.iter().position(|part| part.is_key))
            .ok_or(nothing)?;
        let Some(last) = run.iter().position(|part| part.dts + part.ticks >= end) else {
            let ends = run.last().map_or(0, |part| part.utc_ns + in_ns(part.ticks));
            let is_newest = all.last().is_some_and(|part| part.recording == self.recording());
            return Err(if is_newest && now - ends < OVER_AFTER_NS {
                FootageError::NotYet
            } else {
                FootageError::Broken { at_ns: ends }
            });
        };
        Ok(&run[key..=last.max(key)])
    }

    /// From when to when it has sound and picture, in nanoseconds since the recording began.
    pub(super) fn lasts(&self) -> (i64, i64) {
        let last = &self.parts[self.parts.len() - 1];
        (in_ns(self.parts[0].dts), in_ns(last.dts + last.ticks))
    }

    /// When the recording began by what arrived around an instant of it: clocks drift, and this one is the network's.
    pub(super) fn began_around(&self, at_ns: i64) -> i64 {
        let near = |part: &&PartPlace| (in_ns(part.dts) - at_ns).abs() <= LATENCY_NS;
        began(self.parts.iter().filter(near)).unwrap_or(self.began_ns)
    }

    /// Its parts that hold anything of a span, in nanoseconds since it began.
    pub(super) fn within(&self, from_ns: i64, to_ns: i64) -> &'a [PartPlace] {
        let (from, to) = (in_ticks(from_ns), in_ticks(to_ns));
        let begins = self.parts.partition_point(|part| part.dts + part.ticks <= from);
        let ends = self.parts.partition_point(|part| part.dts < to);
        &self.parts[begins..ends.max(begins)]
    }
}

pub(super) fn began<'a>(parts: impl Iterator<Item = &'a PartPlace>) -> Option<i64> {
    parts.map(|part| part.utc_ns - in_ns(part.dts)).min()
}

pub(super) const fn in_ns(ticks: i64) -> i64 {
    ticks * (1_000_000_000 / TICKS_PER_S) + ticks * (1_000_000_000 % TICKS_PER_S) / TICKS_PER_S
}

pub(super) fn in_ticks(ns: i64) -> i64 {
    (i128::from(ns) * i128::from(TICKS_PER_S) / 1_000_000_000) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000_000;

    fn parts(late_ns: impl Fn(i64) -> i64) -> Vec<PartPlace> {
        let part = |n: i64| PartPlace {
            camera: CameraId::from_uuid(uuid::Uuid::nil()),
            recording: RecordingId::from_uuid(uuid::Uuid::nil()),
            file: 1,
            number: n as u32 + 1,
            offset: 0,
            bytes: 1,
            dts: n * TICKS_PER_S,
            ticks: TICKS_PER_S,
            utc_ns: 1_000 * S + n * S + late_ns(n),
            is_key: n % 2 == 0,
        };
        (0..60).map(part).collect()
    }

    #[test]
    fn a_late_part_does_not_move_what_it_holds() {
        // Every third part arrives up to 400 ms late.
        let all = parts(|n| if n % 3 == 0 { 400_000_000 } else { 20_000_000 });
        let (from, to) = (1_033 * S + S / 2, 1_043 * S + S / 2);
        let (chosen, start, end, piece) = chosen(&all, from, to, 2_000 * S).unwrap();
        assert_eq!(piece, None);
        assert_eq!((chosen[0].number, chosen.last().unwrap().number), (33, 44));
        assert_eq!((end - start) / TICKS_PER_S, 10);
        let at = start as f64 / TICKS_PER_S as f64;
        assert!((at - 33.48).abs() < 0.001, "{at}: 20 ms is what the network always took");
    }

    #[test]
    fn what_is_not_there_is_told_apart_from_what_is_to_come() {
        let all = parts(|_| 0);
        let ask = |from: i64, to: i64, now: i64| {
            chosen(&all, from * S, to * S, now * S).map(|(parts, ..)| parts.len())
        };
        assert!(matches!(ask(900, 930, 1_100), Err(FootageError::Nothing { .. })));
        assert!(matches!(ask(1_050, 1_070, 1_061), Err(FootageError::NotYet)));
        assert_eq!(ask(1_050, 1_070, 1_100).unwrap(), 10, "it broke off: half of it is there");
        assert!(matches!(ask(1_050, 1_071, 1_100), Err(FootageError::Torn { .. })));
        assert_eq!(ask(1_050, 1_060, 1_060).unwrap(), 10);
        assert!(matches!(ask(1_200, 1_210, 1_300), Err(FootageError::Nothing { .. })));
    }
}
