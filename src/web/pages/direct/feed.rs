//! One feed for each channel that somebody watches: a ticker makes each frame once, and every reader who is in step gets
//! the same bytes. A reader who is not (just come, come back, left behind) gets a frame of its own and is in step again.
//!
//! Nobody waits for anybody: a slow reader is left behind, and catches up in one frame. The ticker lives as long as its
//! readers, and ends with the house.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::domain::audience::channel::ChannelId;
use crate::domain::resources::trigger::Action;
use crate::web::App;
use crate::web::pages::direct::allowance::Allowance;
use crate::web::pages::direct::frame::{Figures, look};

/// Frames at most ten times a second: everything between two is merged.
const FRAME_EVERY: Duration = Duration::from_millis(100);
/// The same while the machine is near its ceiling.
const FRAME_EVERY_NEAR_CEILING: Duration = Duration::from_secs(1);
/// Figures move on although nothing is said.
const FRAME_AT_LEAST: Duration = Duration::from_secs(2);
/// Frames that wait for a reader; one that is further behind gets what it lacks in a single one.
const FRAMES_WAITING_MAX: usize = 16;

/// The feeds of all channels that somebody watches.
#[derive(Debug, Default)]
pub(in crate::web) struct Feeds {
    open: Mutex<BTreeMap<String, Weak<Feed>>>,
    tally: Tally,
}

/// What feeds do, counted.
#[derive(Debug, Clone, Default)]
pub(in crate::web) struct Tally {
    /// Tickers at work.
    pub(in crate::web) tickers: Gauge,
    /// Frames made once for everybody in step.
    pub(in crate::web) shared: Counter,
    /// Frames made for one reader.
    pub(in crate::web) own: Counter,
}

impl Feeds {
    pub(in crate::web) const fn tally(&self) -> &Tally {
        &self.tally
    }

    /// A reader who has seen everything up to `seen`; `None` once the house closes.
    pub(super) fn join(&self, app: &App, channel: &ChannelId, seen: Option<i64>) -> Option<Reader> {
        let feed = {
            let mut open = lock(&self.open);
            open.retain(|_, feed| feed.strong_count() > 0);
            open.get(channel.as_str()).and_then(Weak::upgrade).unwrap_or_else(|| {
                let feed = Arc::new(Feed::open(app, channel, self.tally.clone()));
                open.insert(channel.as_str().to_owned(), Arc::downgrade(&feed));
                feed
            })
        };
        let (frames, told) = feed.join()?;
        let (app, channel) = (app.clone(), channel.clone());
        Some(Reader { app, channel, feed, frames, seen, owed: Some(told) })
    }
}

/// A channel's feed; its ticker ends when the last reader lets go of it.
#[derive(Debug)]
struct Feed {
    told: Arc<Mutex<Told>>,
    /// The ticker holds the sender itself: with the ticker, the readers' streams end.
    frames: broadcast::WeakSender<Shared>,
    _ticker: DropGuard,
}

/// What everybody in step has been told.
#[derive(Debug)]
struct Told {
    seq: i64,
    messages: u64,
    allowance: Allowance,
}

/// A frame for everybody in step.
#[derive(Debug, Clone)]
struct Shared {
    /// For who has seen everything up to here; `None` fits everybody.
    from: Option<i64>,
    to: i64,
    bytes: Bytes,
}

impl Feed {
    fn open(app: &App, channel: &ChannelId, tally: Tally) -> Self {
        // From here on no change is missed.
        let changes = app.boards.changes();
        let told = look(app, channel, |view| Told {
            seq: view.board.seq,
            messages: view.board.messages,
            allowance: Allowance::new(Instant::now()),
        });
        let told = Arc::new(Mutex::new(told));
        let frames = broadcast::Sender::new(FRAMES_WAITING_MAX);
        let stop = CancellationToken::new();
        let feed = Self {
            told: told.clone(),
            frames: frames.downgrade(),
            _ticker: stop.clone().drop_guard(),
        };
        let (app, channel) = (app.clone(), channel.clone());
        let ticker = Ticker { app, channel, told, frames, tally };
        tokio::spawn(async move { stop.run_until_cancelled(ticker.run(changes)).await });
        feed
    }

    /// Everything that is told from now on, and what was told before; `None` once the house closes.
    fn join(&self) -> Option<(broadcast::Receiver<Shared>, i64)> {
        let told = lock(&self.told);
        Some((self.frames.upgrade()?.subscribe(), told.seq))
    }
}

struct Ticker {
    app: App,
    channel: ChannelId,
    told: Arc<Mutex<Told>>,
    frames: broadcast::Sender<Shared>,
    tally: Tally,
}

impl Ticker {
    /// Runs until the house closes.
    async fn run(self, mut changes: watch::Receiver<i64>) {
        let _counted = Counted::one(&self.tally.tickers);
        let (mut shown, mut sent) = (None, tokio::time::Instant::now());
        loop {
            let is_tight = self.app.resources.is_on(Action::MergeFanOut);
            let pause = if is_tight { FRAME_EVERY_NEAR_CEILING } else { FRAME_EVERY };
            tokio::time::sleep(pause).await;
            let due = sent + FRAME_AT_LEAST;
            if let Ok(Err(_closed)) = tokio::time::timeout_at(due, changes.changed()).await {
                return;
            }
            let now = tokio::time::Instant::now();
            if let Some(figures) = self.tell(shown.as_ref().filter(|_| now < due)) {
                (shown, sent) = (Some(figures), now);
            }
        }
    }

    /// Makes the next frame and hands it to everybody; not if it says nothing but the figures that are shown already.
    fn tell(&self, shown: Option<&Figures>) -> Option<Figures> {
        // Held until the frame is handed out: who joins does so before it or after it.
        let mut told = lock(&self.told);
        let Told { seq, messages, allowance } = &mut *told;
        let (frame, said) = look(&self.app, &self.channel, |view| {
            let take = |wanted| allowance.take(wanted, Instant::now());
            (view.next(*seq, *messages, take), view.board.messages)
        });
        if frame.is_quiet() && shown == Some(&frame.figures) {
            return None;
        }
        let from = (!frame.whole).then_some(*seq);
        (*seq, *messages) = (frame.seq, said);
        self.tally.shared.inc();
        // Nobody listens while the last reader leaves.
        let _ = self.frames.send(Shared { from, to: frame.seq, bytes: frame.encoded() });
        Some(frame.figures)
    }
}

/// A reader of a channel.
pub(super) struct Reader {
    app: App,
    channel: ChannelId,
    feed: Arc<Feed>,
    frames: broadcast::Receiver<Shared>,
    seen: Option<i64>,
    /// A frame of its own is due, up to here.
    owed: Option<i64>,
}

impl Reader {
    /// The next frame; `None` once the house closes.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(to) = self.owed.take() {
                return Some(self.own(to));
            }
            match self.frames.recv().await {
                Ok(shared) if shared.from.is_none() || shared.from == self.seen => {
                    self.seen = Some(shared.to);
                    return Some(shared.bytes);
                }
                // The page was fresher than the feed, and has it already.
                Ok(shared) if Some(shared.to) <= self.seen => {}
                Ok(shared) => self.owed = Some(shared.to),
                Err(RecvError::Lagged(_)) => {
                    let (frames, told) = self.feed.join()?;
                    (self.frames, self.owed) = (frames, Some(told));
                }
                Err(RecvError::Closed) => return None,
            }
        }
    }

    fn own(&mut self, to: i64) -> Bytes {
        let frame = look(&self.app, &self.channel, |view| view.after(self.seen, to));
        self.seen = Some(frame.seq);
        self.app.feeds().tally.own.inc();
        frame.encoded()
    }
}

/// Counts one as long as it lives.
struct Counted(Gauge);

impl Counted {
    fn one(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
