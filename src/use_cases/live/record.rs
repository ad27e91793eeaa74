//! Recording: what an encoder sends becomes parts on the disk. Nothing here waits for a database, a page or the network; a
//! disk that lags is waited for in bounded memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use chrono::{DateTime, Utc};
use subtle::ConstantTimeEq;
use tokio_util::sync::CancellationToken;

use crate::domain::ids::CameraId;
use crate::domain::live::camera::Camera;
use crate::domain::live::keeping::Keeping;
use crate::ports::PortError;
use crate::ports::clock::Clock;
use crate::ports::dvr::Dvr;
use crate::ports::ingest::{Encoder, Gate, Ingest, Leave};
use crate::ports::recorder::{
    CameraBook, CameraState, Door, FeedState, Left, LetGo, RecorderState,
};
use crate::use_cases::live::cameras::hash_of;
use crate::use_cases::live::relay::Relays;
use crate::use_cases::live::take::{Feed, Take};

/// The recorder; clones share it.
#[derive(Clone)]
pub struct Recorder(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) dvr: Arc<dyn Dvr>,
    pub(super) book: Arc<dyn CameraBook>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) keeping: Mutex<Vec<Keeping>>,
    pub(super) let_go: Mutex<LetGo>,
    started_at: DateTime<Utc>,
    known: RwLock<Vec<Camera>>,
    doors: Mutex<Vec<(Door, Arc<dyn Ingest>)>>,
    seats: Mutex<BTreeMap<CameraId, Seat>>,
    relays: Relays,
    end: CancellationToken,
}

/// Where a camera's encoder sits.
#[derive(Default)]
struct Seat {
    feed: Option<Arc<Feed>>,
    left: Option<Left>,
}

impl Recorder {
    /// Opens with the cameras it was told of last.
    pub fn open(
        dvr: Arc<dyn Dvr>,
        book: Arc<dyn CameraBook>,
        clock: Arc<dyn Clock>,
        relays: Relays,
    ) -> Result<Self, PortError> {
        let known = RwLock::new(book.read()?);
        let keeping = Mutex::new(book.read_keeping()?);
        Ok(Self(Arc::new(Inner {
            dvr,
            keeping,
            let_go: Mutex::default(),
            book,
            started_at: clock.now(),
            clock,
            known,
            doors: Mutex::default(),
            seats: Mutex::default(),
            relays,
            end: CancellationToken::new(),
        })))
    }

    /// What doors ask.
    pub fn gate(&self) -> Arc<dyn Gate> {
        Arc::new(self.clone())
    }

    /// A door is open.
    pub fn opens(&self, door: Door, ingest: Arc<dyn Ingest>) {
        self.0.doors().push((door, ingest));
    }

    /// All cameras there are. Who sends with a key that opens nothing any more is sent away at once, even when the book
    /// cannot be written.
    pub fn know(&self, cameras: &[Camera]) -> Result<(), PortError> {
        let before = std::mem::replace(
            &mut *self.0.known.write().unwrap_or_else(PoisonError::into_inner),
            cameras.to_vec(),
        );
        if before == cameras {
            return Ok(());
        }
        let key_of =
            |all: &[Camera], id| all.iter().find(|it: &&Camera| it.id == id).map(|it| it.key);
        let mut seats = self.0.seats();
        for (camera, seat) in seats.iter() {
            if key_of(&before, *camera) != key_of(cameras, *camera)
                && let Some(feed) = &seat.feed
            {
                feed.send_away(Leave::KeyDrawn);
            }
        }
        seats.retain(|camera, seat| {
            seat.feed.is_some() || cameras.iter().any(|known| known.id == *camera)
        });
        drop(seats);
        self.0.book.write(cameras)
    }

    /// Records what an encoder sends until it leaves. Of two with one key, the newest stays.
    pub async fn take(&self, mut encoder: Box<dyn Encoder>) {
        let inner = &self.0;
        let camera = encoder.camera();
        let feed = Arc::new(Feed::new(&*encoder, inner.clock.now()));
        inner.relays.begins(camera);
        if let Some(before) = inner.seats().entry(camera).or_default().feed.replace(feed.clone()) {
            before.send_away(Leave::Replaced);
        }
        if inner.end.is_cancelled() {
            feed.send_away(Leave::Stopping);
        }
        tracing::info!(%camera, peer = %encoder.peer(), protocol = encoder.protocol(), "an encoder came");
        let mut take = Take::new(camera, feed.clone(), inner.dvr.clone(), inner.clock.clone());
        let why = loop {
            let sent = tokio::select! {
                biased;
                why = feed.sent_away() => break why,
                sent = encoder.next() => sent,
            };
            match sent {
                Ok(sent) => {
                    inner.relays.offer(camera, &sent);
                    take.hear(sent).await;
                }
                Err(why) => break why,
            }
        };
        take.finish().await;
        tracing::info!(%camera, %why, "an encoder left");
        {
            let mut seats = inner.seats();
            let seat = seats.entry(camera).or_default();
            // Whoever took the seat meanwhile keeps it.
            if seat.feed.as_ref().is_some_and(|sits| Arc::ptr_eq(sits, &feed)) {
                seat.feed = None;
                seat.left = Some(Left { at: inner.clock.now(), why: why.clone() });
            }
        }
        encoder.dismiss(&why.to_string()).await;
    }

    /// Sends everybody away, now and from now on.
    pub fn end(&self) {
        self.0.end.cancel();
        for seat in self.0.seats().values() {
            if let Some(feed) = &seat.feed {
                feed.send_away(Leave::Stopping);
            }
        }
    }

    /// What is relayed.
    pub fn relays(&self) -> &Relays {
        &self.0.relays
    }

    /// How it stands.
    pub fn state(&self) -> RecorderState {
        let inner = &self.0;
        let known = self.known();
        let seats = inner.seats();
        let cameras = known.iter().map(|camera| {
            let seat = seats.get(&camera.id);
            let feed: Option<FeedState> = seat.and_then(|it| it.feed.as_ref()).map(|it| it.state());
            CameraState { camera: camera.id, feed, left: seat.and_then(|it| it.left.clone()) }
        });
        let cameras = cameras.collect();
        drop(seats);
        let doors = inner.doors();
        let mut refused = BTreeMap::<&str, u64>::new();
        for (reason, count) in doors.iter().flat_map(|(_, ingest)| ingest.refused()) {
            *refused.entry(reason).or_default() += count;
        }
        let space = inner.dvr.space();
        RecorderState {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: inner.started_at,
            now: inner.clock.now(),
            doors: doors.iter().map(|(door, _)| door.clone()).collect(),
            cameras,
            refused: refused.into_iter().map(|(reason, n)| (reason.to_owned(), n)).collect(),
            free_bytes: space.free_bytes,
            total_bytes: space.total_bytes,
            is_full: space.is_full,
            let_go: *inner.let_go.lock().unwrap_or_else(PoisonError::into_inner),
            relays: inner.relays.states(),
        }
    }

    fn known(&self) -> Vec<Camera> {
        self.0.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Inner {
    fn seats(&self) -> MutexGuard<'_, BTreeMap<CameraId, Seat>> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn doors(&self) -> MutexGuard<'_, Vec<(Door, Arc<dyn Ingest>)>> {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gate for Recorder {
    fn camera(&self, key: &str) -> Option<CameraId> {
        let hash = hash_of(key);
        let mut found = None;
        // All are compared, whichever fits.
        for camera in self.known() {
            if bool::from(camera.key.as_bytes().ct_eq(hash.as_bytes())) {
                found = Some(camera.id);
            }
        }
        found
    }
}
