//! A DVR in memory. Full or slow on request.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};

use crate::domain::ids::{CameraId, RecordingId};
use crate::domain::live::part::Part;
use crate::domain::live::track::{TICKS_PER_S, Track};
use crate::ports::PortError;
use crate::ports::dvr::{
    Dvr, DvrError, Footage, PARTS_LISTED_MAX, PartPlace, Recording, Space, Start, Stretch,
};

/// The twin of a folder; clones share it.
#[derive(Debug, Clone, Default)]
pub struct MemoryDvr(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    starts: Vec<Start>,
    parts: Vec<(PartPlace, Part<Bytes>)>,
    is_full: bool,
    /// Total and free bytes before anything lay there.
    disk: Option<(u64, u64)>,
    takes: Duration,
}

impl MemoryDvr {
    /// Lets it take nothing more, or again.
    pub fn set_full(&self, is_full: bool) {
        self.state().is_full = is_full;
    }

    /// Gives it a disk of so many bytes, so many of them free now; what it takes and lets go counts from here.
    pub fn set_disk(&self, total_bytes: u64, free_bytes: u64) {
        let mut state = self.state();
        let held = held(&state);
        state.disk = Some((total_bytes, free_bytes + held));
    }

    /// Lets every part take so long.
    pub fn set_slow(&self, takes: Duration) {
        self.state().takes = takes;
    }

    /// The recordings that were begun, with their tracks, in their order.
    pub fn recordings(&self) -> Vec<(RecordingId, Vec<Track>)> {
        let state = self.state();
        state.starts.iter().map(|start| (start.recording, start.tracks.clone())).collect()
    }

    /// The recordings of a camera.
    pub fn starts_of(&self, camera: CameraId) -> Vec<RecordingId> {
        let state = self.state();
        let of = state.starts.iter().filter(|start| start.camera == camera);
        of.map(|start| start.recording).collect()
    }

    /// The parts of a recording, in their order.
    pub fn parts_of(&self, recording: RecordingId) -> Vec<Part<Bytes>> {
        let state = self.state();
        let of = state.parts.iter().filter(|(place, _)| place.recording == recording);
        of.map(|(_, part)| part.clone()).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Dvr for MemoryDvr {
    async fn begin(&self, start: Start) -> Result<Box<dyn Recording>, DvrError> {
        Ok(Box::new(MemoryRecording { dvr: self.clone(), start, has_begun: false, ends: 0 }))
    }

    fn space(&self) -> Space {
        let state = self.state();
        let (total_bytes, free_bytes) = state.disk.unwrap_or((1 << 41, 1 << 40));
        let free_bytes = free_bytes.saturating_sub(held(&state));
        Space { free_bytes, total_bytes, is_full: state.is_full }
    }

    async fn stretches(&self) -> Result<Vec<Stretch>, PortError> {
        Footage::stretches(self).await
    }

    async fn remove(&self, stretch: &Stretch) -> Result<u64, PortError> {
        let mut state = self.state();
        let before = held(&state);
        state.parts.retain(|(place, _)| !is_of(place, stretch));
        Ok(before - held(&state))
    }
}

fn is_of(place: &PartPlace, stretch: &Stretch) -> bool {
    place.recording == stretch.recording && place.file == stretch.file
}

fn held(state: &State) -> u64 {
    state.parts.iter().map(|(place, _)| u64::from(place.bytes)).sum()
}

struct MemoryRecording {
    dvr: MemoryDvr,
    start: Start,
    has_begun: bool,
    ends: u64,
}

#[async_trait]
impl Recording for MemoryRecording {
    async fn append(&mut self, part: Part<Bytes>) -> Result<PartPlace, DvrError> {
        let takes = self.dvr.state().takes;
        if !takes.is_zero() {
            tokio::time::sleep(takes).await;
        }
        let mut state = self.dvr.state();
        if state.is_full {
            return Err(DvrError::Full);
        }
        if !self.has_begun {
            state.starts.push(self.start.clone());
            self.has_begun = true;
        }
        let samples = part.picture.samples.iter().chain(&part.sound.samples);
        let place = PartPlace {
            camera: self.start.camera,
            recording: self.start.recording,
            file: part.file,
            number: part.number,
            offset: self.ends,
            bytes: samples.map(|sample| sample.bytes as u32).sum(),
            dts: part.dts,
            ticks: part.ticks,
            utc_ns: part.utc_ns,
            is_key: part.is_key,
        };
        self.ends += u64::from(place.bytes);
        state.parts.push((place, part));
        Ok(place)
    }

    async fn finish(self: Box<Self>) -> Result<(), DvrError> {
        Ok(())
    }
}

#[async_trait]
impl Footage for MemoryDvr {
    async fn parts(
        &self,
        camera: CameraId,
        from_utc_ns: i64,
        to_utc_ns: i64,
    ) -> Result<Vec<PartPlace>, PortError> {
        let state = self.state();
        let places = state.parts.iter().map(|(place, _)| *place);
        let is_within = |place: &PartPlace| {
            place.camera == camera && (from_utc_ns..to_utc_ns).contains(&place.utc_ns)
        };
        let mut places: Vec<PartPlace> = places.filter(is_within).collect();
        places.sort_by_key(|part| (part.utc_ns, part.recording, part.number));
        places.truncate(PARTS_LISTED_MAX);
        Ok(places)
    }

    async fn stretches(&self) -> Result<Vec<Stretch>, PortError> {
        let mut all = Vec::<Stretch>::new();
        for (place, _) in &self.state().parts {
            let to_utc_ns = place.utc_ns + place.ticks * 1_000_000_000 / TICKS_PER_S;
            match all.iter_mut().find(|it| is_of(place, it)) {
                Some(stretch) => stretch.to_utc_ns = to_utc_ns,
                None => all.push(Stretch {
                    camera: place.camera,
                    recording: place.recording,
                    file: place.file,
                    from_utc_ns: place.utc_ns,
                    to_utc_ns,
                }),
            }
        }
        all.sort_by_key(|it| (it.from_utc_ns, it.camera, it.file));
        Ok(all)
    }

    async fn index_of(&self, stretch: &Stretch) -> Result<(Vec<PartPlace>, bool), PortError> {
        let state = self.state();
        let places = state.parts.iter().map(|(place, _)| *place);
        Ok((places.filter(|place| is_of(place, stretch)).collect(), false))
    }

    async fn first(&self, camera: CameraId) -> Result<Option<PartPlace>, PortError> {
        let state = self.state();
        let of = state.parts.iter().map(|(place, _)| *place).filter(|it| it.camera == camera);
        Ok(of.min_by_key(|place| place.utc_ns))
    }

    async fn init(&self, of: &PartPlace) -> Result<Bytes, PortError> {
        let state = self.state();
        let start = state.starts.iter().find(|start| start.recording == of.recording);
        let start = start.ok_or_else(|| PortError::plain("read the head of no recording"))?;
        Ok(start.tracks.iter().flat_map(|track| track.config.clone()).collect::<Vec<u8>>().into())
    }

    async fn read(&self, part: &PartPlace) -> Result<Bytes, PortError> {
        let state = self.state();
        let found = state.parts.iter().find(|(place, _)| place == part);
        let (_, part) = found.ok_or_else(|| PortError::plain("read a part that is not there"))?;
        let mut bytes = BytesMut::new();
        for sample in part.picture.samples.iter().chain(&part.sound.samples) {
            bytes.extend_from_slice(&sample.data);
        }
        Ok(bytes.freeze())
    }
}
