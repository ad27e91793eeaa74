//! Cameras: add one, name it, give it another key, let it go. The recorder is told at once, and told again until it knows.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::domain::ids::{CameraId, PersonId};
use crate::domain::live::camera::{
    CAMERAS_MAX, Camera, CameraError, CameraEvent, CameraName, KeyHash,
};
use crate::domain::live::keeping::reserved_bytes;
use crate::ports::PortError;
use crate::ports::clock::Clock;
use crate::ports::ledger::{Commit, CommitError, Ledger};
use crate::ports::recorder::{RecorderDesk, RecorderState};
use crate::ports::relay::{RelayOrder, RelayState};
use crate::ports::shelves::{Shelves, cards_of, find_card};
use crate::read_models::CameraCard;
use crate::use_cases::live::index::Indexer;

/// Longest name of a relay, in characters.
const RELAY_NAME_CHARS_MAX: usize = 40;

/// A stream key in clear: shown once, kept nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct StreamKey(String);

impl StreamKey {
    /// A key of 256 random bits, in 43 characters that every encoder takes.
    pub fn draw(clock: &dyn Clock) -> Self {
        Self(URL_SAFE_NO_PAD.encode(clock.new_secret()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn hash(&self) -> KeyHash {
        hash_of(&self.0)
    }
}

impl std::fmt::Debug for StreamKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StreamKey")
    }
}

/// What is kept of a key.
pub(super) fn hash_of(key: &str) -> KeyHash {
    KeyHash::new(Sha256::digest(key.as_bytes()).into())
}

/// Why something about a camera did not happen.
#[derive(Debug, thiserror::Error)]
pub enum CamerasError {
    #[error(transparent)]
    Refused(#[from] CameraError),
    /// French, for people.
    #[error("{0}")]
    NoRelay(String),
    #[error(transparent)]
    Port(#[from] PortError),
}

/// The cameras of the villa.
#[derive(Clone)]
pub struct Cameras {
    pub ledger: Arc<dyn Ledger>,
    pub shelves: Arc<dyn Shelves>,
    pub desk: Arc<dyn RecorderDesk>,
    pub indexer: Indexer,
    pub clock: Arc<dyn Clock>,
}

impl Cameras {
    /// All there are, in the order they were added.
    pub async fn list(&self) -> Result<Vec<CameraCard>, PortError> {
        let mut cameras: Vec<CameraCard> = cards_of(&*self.shelves, Uuid::nil()).await?;
        cameras.retain(|camera| camera.retired_at.is_none());
        Ok(cameras)
    }

    /// One that is still there.
    pub async fn find(&self, camera: CameraId) -> Result<CameraCard, CamerasError> {
        let found: Option<CameraCard> = find_card(&*self.shelves, camera.as_uuid()).await?;
        let is_there = |found: &CameraCard| found.retired_at.is_none();
        found.filter(is_there).ok_or(CamerasError::Refused(CameraError::Unknown))
    }

    /// Relays a camera to a platform, under a name of its own; the same name again changes it. Without a key, the one that was
    /// told before stays.
    pub async fn relay(&self, order: RelayOrder) -> Result<(), CamerasError> {
        let name = order.name.trim().to_owned();
        if name.is_empty() || name.chars().count() > RELAY_NAME_CHARS_MAX {
            let text = format!("Un nom tient en 1 à {RELAY_NAME_CHARS_MAX} caractères.");
            return Err(CamerasError::NoRelay(text));
        }
        let mut orders = self.relays().await?;
        let is_same = |it: &RelayOrder| it.camera == order.camera && it.name == name;
        let order = RelayOrder { name: name.clone(), ..order.clone() };
        match orders.iter_mut().find(|it| is_same(it)) {
            Some(known) => *known = order,
            None => orders.push(order),
        }
        self.order_relays(&orders).await
    }

    /// Ends a relay, with a goodbye to its platform.
    pub async fn end_relay(&self, camera: CameraId, name: &str) -> Result<(), CamerasError> {
        let mut orders = self.relays().await?;
        orders.retain(|it| it.camera != camera || it.name != name);
        self.order_relays(&orders).await
    }

    /// Those there are, without their keys: the recorder alone has them.
    async fn relays(&self) -> Result<Vec<RelayOrder>, PortError> {
        let order = |RelayState { camera, name, url, is_test, .. }| RelayOrder {
            camera,
            name,
            url,
            key: None,
            is_test,
        };
        Ok(self.desk.state().await?.relays.into_iter().map(order).collect())
    }

    async fn order_relays(&self, orders: &[RelayOrder]) -> Result<(), CamerasError> {
        match self.desk.relay(orders).await? {
            Some(refused) => Err(CamerasError::NoRelay(refused)),
            None => Ok(()),
        }
    }

    /// Adds one, with its first key.
    pub async fn add(
        &self,
        name: &str,
        by: Option<PersonId>,
    ) -> Result<(CameraId, StreamKey), CamerasError> {
        let name = CameraName::try_new(name)?;
        let there = self.list().await?;
        if there.len() >= CAMERAS_MAX {
            return Err(CameraError::TooMany.into());
        }
        check_is_free(&there, &name)?;
        let camera = CameraId::from_uuid(self.clock.new_id());
        let key = StreamKey::draw(&*self.clock);
        self.happened(CameraEvent::Added { camera, name, key: key.hash(), by }).await?;
        Ok((camera, key))
    }

    /// Gives it another name.
    pub async fn rename(
        &self,
        camera: CameraId,
        name: &str,
        by: Option<PersonId>,
    ) -> Result<(), CamerasError> {
        let name = CameraName::try_new(name)?;
        self.find(camera).await?;
        let mut others = self.list().await?;
        others.retain(|other| other.id != camera);
        check_is_free(&others, &name)?;
        self.happened(CameraEvent::Renamed { camera, name, by }).await
    }

    /// Draws another key; whoever sends with the old one is sent away.
    pub async fn draw_key(
        &self,
        camera: CameraId,
        by: Option<PersonId>,
    ) -> Result<StreamKey, CamerasError> {
        self.find(camera).await?;
        let key = StreamKey::draw(&*self.clock);
        self.happened(CameraEvent::KeyDrawn { camera, key: key.hash(), by }).await?;
        Ok(key)
    }

    /// Lets it go, and its key with it. What it recorded stays.
    pub async fn retire(&self, camera: CameraId, by: Option<PersonId>) -> Result<(), CamerasError> {
        self.find(camera).await?;
        self.happened(CameraEvent::Retired { camera, by }).await
    }

    /// How the recorder stands.
    pub async fn state(&self) -> Result<RecorderState, PortError> {
        self.desk.state().await
    }

    /// Bytes that the recordings under way will still need, each planned for so many hours.
    pub async fn reserved(&self, hours: u8) -> Result<u64, PortError> {
        let (state, now) = (self.state().await?, self.clock.now());
        let feeds = state.cameras.iter().filter_map(|camera| camera.feed.as_ref());
        let on_air = feeds.filter(|feed| feed.recording.is_some());
        Ok(on_air.map(|feed| reserved_bytes(feed.since, now, hours, feed.reading.kbits)).sum())
    }

    /// Tells the recorder all cameras.
    pub async fn tell(&self) -> Result<(), PortError> {
        let known: Vec<Camera> = self.list().await?.iter().filter_map(CameraCard::known).collect();
        self.desk.know(&known).await
    }

    /// Writes down what happened to a camera.
    pub(super) async fn write(&self, event: CameraEvent) -> Result<(), PortError> {
        let commit = Commit { events: vec![event.into()], ..Commit::default() };
        match self.ledger.commit(commit).await {
            Ok(_) => Ok(()),
            Err(CommitError::Port(error)) => Err(error),
            Err(error @ (CommitError::Conflict | CommitError::LeaseLost)) => {
                Err(PortError::lasting("write down what happened to a camera", error))
            }
        }
    }

    async fn happened(&self, event: CameraEvent) -> Result<(), CamerasError> {
        self.write(event).await?;
        // It is decided. A recorder that is not there now is told by its keeper.
        if let Err(error) = self.tell().await {
            tracing::warn!(error = %error.chain(), "the recorder does not know the cameras yet");
        }
        Ok(())
    }
}

/// Cameras that are told to a recorder and written down nowhere, to measure with.
pub fn rehearsed(keys: &[(CameraId, StreamKey)]) -> Vec<Camera> {
    let name = |n: usize| CameraName::try_new(&format!("Caméra {n}"));
    let known = keys.iter().zip(1..).filter_map(|((id, key), n)| {
        Some(Camera { id: *id, name: name(n).ok()?, key: key.hash() })
    });
    known.collect()
}

fn check_is_free(others: &[CameraCard], name: &CameraName) -> Result<(), CameraError> {
    let is_taken = others.iter().any(|other| other.name.folded() == name.folded());
    if is_taken { Err(CameraError::NameTaken) } else { Ok(()) }
}
