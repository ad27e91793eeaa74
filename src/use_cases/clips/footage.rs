//! What the cameras sent, played and cut while it is being recorded: playlists, parts, and a span of a camera as one file.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use tokio::io::AsyncWriteExt;

use crate::domain::clips::footage::{KeyFrame, KeyFrameIndex};
use crate::domain::ids::{CameraId, RecordingId};
use crate::domain::live::track::TICKS_PER_S;
use crate::ports::PortError;
use crate::ports::clock::Clock;
use crate::ports::dvr::{Footage, PartPlace};
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
    /// Where in the file the span lies, in seconds.
    pub start_s: f64,
    pub end_s: f64,
    pub key_frames: KeyFrameIndex,
}

/// Why a span of a camera cannot be had. French, for people.
#[derive(Debug, thiserror::Error)]
pub enum FootageError {
    #[error("La caméra n'enregistrait pas à {}.", clock_of(*.at_ns))]
    Nothing { at_ns: i64 },
    #[error("La caméra s'est interrompue à {} : coupez avant ou après.", clock_of(*.at_ns))]
    Broken { at_ns: i64 },
    /// It is being recorded: a later try finds it.
    #[error("La fin du passage n'est pas encore enregistrée.")]
    NotYet,
    #[error(transparent)]
    Port(#[from] PortError),
}

fn clock_of(utc_ns: i64) -> String {
    DateTime::<Utc>::from_timestamp_nanos(utc_ns).format("%H:%M:%S UTC").to_string()
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

    /// Writes a span of a camera into one file, from the key frame before it on; nothing is decoded.
    pub async fn join(
        &self,
        camera: CameraId,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        output: &Path,
    ) -> Result<Joined, FootageError> {
        let (from, to) = (ns(from), ns(to));
        let all = self.footage.parts(camera, from - LATENCY_NS, to + KEY_FRAME_NS_MAX).await?;
        let (parts, start, end) = chosen(&all, from, to, self.now_ns())?;
        self.write(parts, output).await?;
        let seconds = |ticks: i64| (ticks - parts[0].dts) as f64 / TICKS_PER_S as f64;
        let keys = parts.iter().filter(|part| part.is_key);
        let keys = keys.map(|part| KeyFrame { time_s: seconds(part.dts), position: None });
        Ok(Joined {
            start_s: seconds(start).max(0.0),
            end_s: seconds(end),
            key_frames: KeyFrameIndex(keys.collect()),
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

    /// A recording's head and parts of it as one file.
    async fn write(&self, parts: &[PartPlace], output: &Path) -> Result<(), PortError> {
        let written = async {
            let mut file = tokio::fs::File::create(output).await?;
            file.write_all(&self.footage.init(&parts[0]).await.map_err(std::io::Error::other)?)
                .await?;
            for part in parts {
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

/// The parts that hold a span, from a key frame on, and where it lies in the recording's own time. The time of arrival of one
/// part may be late by whatever the network did; of many, the earliest against their own time tells when they were sent.
fn chosen(
    all: &[PartPlace],
    from: i64,
    to: i64,
    now: i64,
) -> Result<(&[PartPlace], i64, i64), FootageError> {
    let at_start = all.iter().rev().find(|part| part.utc_ns <= from);
    // A part that came early still holds what follows it closely.
    let first = at_start
        .filter(|part| from - part.utc_ns < 2 * in_ns(part.ticks))
        .ok_or(FootageError::Nothing { at_ns: from })?;
    let begins = all.iter().position(|part| part.recording == first.recording).unwrap_or(0);
    let run = all[begins..].iter().take_while(|part| part.recording == first.recording);
    let run = &all[begins..begins + run.count()];
    let latency = run
        .iter()
        .filter(|part| part.utc_ns <= to)
        .map(|part| part.utc_ns - in_ns(part.dts))
        .min()
        .unwrap_or_default();
    let (start, end) = (in_ticks(from - latency), in_ticks(to - latency));
    let key = run
        .iter()
        .rposition(|part| part.is_key && part.dts <= start)
        .or_else(|| run.iter().position(|part| part.is_key))
        .ok_or(FootageError::Nothing { at_ns: from })?;
    let Some(last) = run.iter().position(|part| part.dts + part.ticks >= end) else {
        let ends = run.last().map_or(from, |part| part.utc_ns + in_ns(part.ticks));
        let may_grow = begins + run.len() == all.len() && now - ends < OVER_AFTER_NS;
        return Err(if may_grow {
            FootageError::NotYet
        } else {
            FootageError::Broken { at_ns: ends }
        });
    };
    Ok((&run[key..=last.max(key)], start.max(run[key].dts), end))
}

const fn in_ns(ticks: i64) -> i64 {
    ticks * (1_000_000_000 / TICKS_PER_S) + ticks * (1_000_000_000 % TICKS_PER_S) / TICKS_PER_S
}

fn in_ticks(ns: i64) -> i64 {
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
        let (chosen, start, end) = chosen(&all, from, to, 2_000 * S).unwrap();
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
        assert!(
            matches!(ask(1_050, 1_070, 1_100), Err(FootageError::Broken { at_ns }) if at_ns == 1_060 * S)
        );
        assert_eq!(ask(1_050, 1_060, 1_060).unwrap(), 10);
        assert!(matches!(ask(1_200, 1_210, 1_300), Err(FootageError::Nothing { .. })));
    }
}
