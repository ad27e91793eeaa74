//! Relays: what a camera sends goes on to platforms as it comes, each target on its own. A line that is too slow loses whole
//! groups of pictures; a camera that is away leaves its last picture standing, without sound; nothing here makes the
//! recorder wait.

mod line;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use chrono::{DateTime, Utc};
use tokio::sync::broadcast;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::domain::ids::CameraId;
use crate::domain::live::relay::RelayClock;
use crate::domain::live::track::Track;
use crate::ports::PortError;
use crate::ports::clock::Clock;
use crate::ports::ingest::Sent;
use crate::ports::relay::{
    PublishError, Publisher, RELAYS_MAX, RelayBook, RelayOrder, RelayState, Standing,
};

use self::line::Relay;

/// Packets of a camera that wait for its relays at most, about six seconds: who is further behind goes on with the next
/// key frame.
const BEHIND_MAX: usize = 512;

/// Why an order is not taken. For people.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    #[error("« {name} » : {source}")]
    Publish { name: String, source: PublishError },
    #[error("{RELAYS_MAX} diffusions au plus.")]
    TooMany,
    #[error("Deux diffusions d'une caméra portent le nom « {0} ».")]
    Twice(String),
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
    /// Those that say goodbye still.
    leaving: Mutex<Vec<JoinHandle<()>>>,
    /// One change at a time.
    changing: Mutex<()>,
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
        let relays = Self(Arc::new(Inner {
            publisher,
            book,
            clock,
            buses: Mutex::default(),
            going: Mutex::default(),
            leaving: Mutex::default(),
            changing: Mutex::default(),
        }));
        for order in orders {
            relays.begin(order, None);
        }
        Ok(relays)
    }

    /// All relays there are from now on. One without a key keeps the one it was told before, for the same address only; one
    /// that is as it was goes on.
    pub fn set(&self, mut orders: Vec<RelayOrder>) -> Result<(), RelayError> {
        let _changing = hold(&self.0.changing);
        if orders.len() > RELAYS_MAX {
            return Err(RelayError::TooMany);
        }
        for (place, order) in orders.iter().enumerate() {
            if orders[..place].iter().any(|other| is_same(other, order)) {
                return Err(RelayError::Twice(order.name.clone()));
            }
        }
        for order in &mut orders {
            let going = self.0.going();
            let known = going.iter().find(|it| is_same(&it.order, order));
            if let Some(known) = known.filter(|it| order.key.is_none() && it.order.url == order.url)
            {
                order.key.clone_from(&known.order.key);
            }
            let name = || order.name.clone();
            let refused = |source| RelayError::Publish { name: name(), source };
            self.0.publisher.check(order).map_err(refused)?;
        }
        self.0.book.write(&orders)?;
        let (stay, leave): (Vec<Going>, Vec<Going>) = std::mem::take(&mut *self.0.going())
            .into_iter()
            .partition(|it| orders.contains(&it.order));
        *self.0.going() = stay;
        let mut leaving: Vec<(RelayOrder, JoinHandle<()>)> = Vec::new();
        for it in leave {
            it.end.cancel();
            leaving.push((it.order, it.task));
        }
        for order in orders {
            if self.0.going().iter().any(|it| it.order == order) {
                continue;
            }
            // A platform takes a key once: who had it before says goodbye first.
            let before = leaving.iter().position(|(left, _)| is_same(left, &order));
            let before = before.map(|place| leaving.swap_remove(place).1);
            self.begin(order, before);
        }
        let mut gone = hold(&self.0.leaving);
        gone.retain(|task| !task.is_finished());
        gone.extend(leaving.into_iter().map(|(_, task)| task));
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

    /// Another encoder of a camera came: what the one before told holds no longer.
    pub fn begins(&self, camera: CameraId) {
        hold(&self.bus(camera).tracks).clear();
    }

    /// Ends all, with a goodbye to each platform.
    pub async fn end(&self) {
        let going = std::mem::take(&mut *self.0.going());
        for it in &going {
            it.end.cancel();
        }
        let leaving = std::mem::take(&mut *hold(&self.0.leaving));
        for task in going.into_iter().map(|it| it.task).chain(leaving) {
            let _ = task.await;
        }
    }

    fn begin(&self, order: RelayOrder, before: Option<JoinHandle<()>>) {
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
            sent_at: Instant::now(),
        };
        let task = tokio::spawn(async move {
            if let Some(before) = before {
                let _ = before.await;
            }
            relay.run().await;
        });
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
