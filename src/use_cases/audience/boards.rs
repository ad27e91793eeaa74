//! The boards of « Direct »: one a channel, kept up with the log by a follower of this process and read by every page.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::Duration;
use tokio::sync::watch;
use uuid::Uuid;

use crate::domain::audience::channel::{ChannelId, ViewerSample};
use crate::domain::audience::notice::Erasure;
use crate::domain::ids::LiveId;
use crate::domain::moments::params::Params;
use crate::ports::PortError;
use crate::ports::audience_log::{AudienceLog, Logged};
use crate::ports::audience_source::{Health, Listening};
use crate::ports::clock::Clock;
use crate::ports::ledger::Ledger;
use crate::ports::shelves::{Shelves, cards_of, find_card};
use crate::ports::viewer_samples::ViewerSamples;
use crate::read_models::{BroadcastCard, LiveBoard, MomentCard, WeekCard};
use crate::use_cases::audience::mark::Mark;
use crate::use_cases::audience::moments::{Found, Watch, tell};

/// How far back viewers are shown, in hours.
const VIEWERS_HOURS: i64 = 12;
/// Two readings of a live that peak this close, in seconds, found the same moment.
const SAME_MOMENT_S: f64 = 15.0;
/// Moments that wait for the database at most; the oldest are left out, and found again at the next start.
const UNTOLD_MAX: usize = 1_000;

/// The boards of all channels. Clones share them.
#[derive(Clone)]
pub struct Boards {
    pub log: Arc<dyn AudienceLog>,
    pub ledger: Arc<dyn Ledger>,
    pub shelves: Arc<dyn Shelves>,
    pub samples: Arc<dyn ViewerSamples>,
    pub listening: Arc<dyn Listening>,
    pub clock: Arc<dyn Clock>,
    state: Arc<State>,
}

struct State {
    boards: Mutex<BTreeMap<String, LiveBoard>>,
    watch: Mutex<Watch>,
    /// Moments that are found and not written down yet.
    untold: Mutex<VecDeque<Found>>,
    /// Erasures that were applied; what they take is not folded in any more.
    erased: Mutex<Vec<Erasure>>,
    /// The newest number folded in.
    seq: Mutex<i64>,
    /// Tells of it; gone when the house closes.
    folded: Mutex<Option<watch::Sender<i64>>>,
}

impl Boards {
    /// `moments` says how the moments of lives on air are found, and how many.
    pub fn new(
        log: Arc<dyn AudienceLog>,
        ledger: Arc<dyn Ledger>,
        shelves: Arc<dyn Shelves>,
        samples: Arc<dyn ViewerSamples>,
        listening: Arc<dyn Listening>,
        clock: Arc<dyn Clock>,
        moments: Params,
    ) -> Self {
        let folded = Mutex::new(Some(watch::Sender::new(0)));
        let state = Arc::new(State {
            boards: Mutex::default(),
            watch: Mutex::new(Watch::new(moments)),
            untold: Mutex::default(),
            erased: Mutex::default(),
            seq: Mutex::new(0),
            folded,
        });
        Self { log, ledger, shelves, samples, listening, clock, state }
    }

    fn boards(&self) -> MutexGuard<'_, BTreeMap<String, LiveBoard>> {
        self.state.boards.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watch(&self) -> MutexGuard<'_, Watch> {
        self.state.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn untold(&self) -> MutexGuard<'_, VecDeque<Found>> {
        self.state.untold.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Folds the lives that are on air from their beginning, and then follows the log from its present end.
    pub async fn take_up(&self) -> Result<(), PortError> {
        self.look_for_erasures().await?;
        let head = self.log.head().await?;
        let weeks: Vec<WeekCard> = cards_of(&*self.shelves, Uuid::nil()).await?;
        for week in weeks.iter().filter(|week| !week.audience_aged) {
            let broadcasts: Vec<BroadcastCard> =
                cards_of(&*self.shelves, week.id.as_uuid()).await?;
            for card in broadcasts.into_iter().filter(|card| card.ended_at.is_none()) {
                self.fold_live(&card, head).await?;
            }
        }
        self.folded_to(head);
        Ok(())
    }

    async fn fold_live(&self, card: &BroadcastCard, head: i64) -> Result<(), PortError> {
        self.watch().follow(card);
        let mut from = 0;
        loop {
            let batch = self.log.of_live(card.id, from).await?;
            let Some(last) = batch.last() else { break };
            from = last.seq;
            for logged in batch.iter().filter(|logged| logged.seq <= head) {
                self.fold(logged);
            }
            if from >= head {
                break;
            }
        }
        // What stands is not told again, although the second reading may place it a little elsewhere.
        let told: Vec<MomentCard> = cards_of(&*self.shelves, card.id.as_uuid()).await?;
        let stands = |found: &Found| {
            found.live == card.id
                && told
                    .iter()
                    .any(|card| (card.found.peak_s - found.moment.peak_s).abs() < SAME_MOMENT_S)
        };
        self.untold().retain(|found| !stands(found));
        let now = self.clock.now();
        let since = card.started_at.max(now - Duration::hours(VIEWERS_HOURS));
        let Ok(channel) = ChannelId::try_new(card.channel.clone()) else { return Ok(()) };
        let samples = self.samples.between(&channel, since, now).await?;
        self.saw(&samples);
        if let Some(board) = self.boards().get_mut(&card.channel) {
            board.started_at.get_or_insert(card.started_at);
        }
        Ok(())
    }

    fn fold(&self, logged: &Logged) {
        // Its row is about to go: who reads faster than it is deleted must not show it.
        if self.erased().iter().any(|erasure| erasure.takes(&logged.notice)) {
            return;
        }
        self.boards().entry(logged.notice.channel.clone()).or_default().apply(
            logged.seq,
            logged.live,
            &logged.notice,
        );
        if let Some(live) = logged.live {
            let found = self.watch().hear(live, &logged.notice);
            self.found(found);
        }
    }

    fn found(&self, found: Vec<Found>) {
        for found in found {
            if let Some(board) = self.boards().get_mut(&found.channel) {
                board.found(found.live, &found.moment);
            }
            let mut untold = self.untold();
            if untold.len() == UNTOLD_MAX {
                untold.pop_front();
            }
            untold.push_back(found);
        }
    }

    /// Lets time go on for the moments, and writes down those that were found. Once a second is often enough.
    pub async fn tick(&self) -> Result<(), PortError> {
        let found = self.watch().tick(self.clock.now());
        if !found.is_empty() {
            self.found(found);
            self.folded_to(self.seq());
        }
        loop {
            let Some(next) = self.untold().front().cloned() else { return Ok(()) };
            tell(&*self.ledger, &next).await?;
            self.untold().retain(|found| *found != next);
        }
    }

    /// A mark is a moment at once, and shows how far the chat runs behind.
    pub fn marked(&self, mark: Mark) {
        self.watch().mark(mark.live, mark.offset_ms);
    }

    /// Folds the next batch of the log; says how many notices it read.
    pub async fn step(&self) -> Result<usize, PortError> {
        let from = self.seq();
        let batch = self.log.after(from).await?;
        let Some(last) = batch.last() else { return Ok(0) };
        let lives: BTreeSet<LiveId> = batch.iter().filter_map(|logged| logged.live).collect();
        for live in lives {
            let is_followed = self.watch().follows(live);
            if !is_followed
                && let Some(card) =
                    find_card::<BroadcastCard>(&*self.shelves, live.as_uuid()).await?
                && card.ended_at.is_none()
            {
                self.watch().follow(&card);
            }
        }
        for logged in &batch {
            self.fold(logged);
        }
        self.folded_to(last.seq);
        Ok(batch.len())
    }

    /// What was seen of viewers.
    pub fn saw(&self, samples: &[ViewerSample]) {
        for sample in samples {
            if let Some(board) = self.boards().get_mut(sample.channel.as_str()) {
                board.sample(sample);
            }
        }
        self.folded_to(self.seq());
    }

    /// Looks at a channel's board; an empty one stands for a channel of which nothing was heard.
    pub fn look<T>(&self, channel: &ChannelId, read: impl FnOnce(&LiveBoard) -> T) -> T {
        match self.boards().get(channel.as_str()) {
            Some(board) => read(board),
            None => read(&LiveBoard::default()),
        }
    }

    /// Applies the erasures that were not applied yet, whichever process they were asked of.
    pub async fn look_for_erasures(&self) -> Result<(), PortError> {
        let erasures = self.log.erasures().await?;
        let is_new = |erasure: &&Erasure| !self.erased().contains(erasure);
        let fresh: Vec<Erasure> = erasures.iter().filter(is_new).cloned().collect();
        *self.erased() = erasures;
        if fresh.is_empty() {
            return Ok(());
        }
        for board in self.boards().values_mut() {
            for Erasure { viewer_id, at } in &fresh {
                board.forget_viewer(viewer_id, *at);
            }
        }
        self.folded_to(self.seq());
        Ok(())
    }

    fn erased(&self) -> MutexGuard<'_, Vec<Erasure>> {
        self.state.erased.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How listening to a channel does.
    pub fn health(&self, channel: &ChannelId) -> Option<Health> {
        self.listening.health(channel)
    }

    /// Resolves whenever a board has changed since the receiver last looked; fails once the house closes.
    pub fn changes(&self) -> watch::Receiver<i64> {
        let folded = self.state.folded.lock().unwrap_or_else(PoisonError::into_inner);
        folded.as_ref().map_or_else(|| watch::channel(0).1, watch::Sender::subscribe)
    }

    /// Ends what follows the boards: the house closes.
    pub fn close(&self) {
        self.state.folded.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn seq(&self) -> i64 {
        *self.state.seq.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn folded_to(&self, seq: i64) {
        *self.state.seq.lock().unwrap_or_else(PoisonError::into_inner) = seq;
        let folded = self.state.folded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(folded) = folded.as_ref() {
            folded.send_replace(seq);
        }
    }
}
