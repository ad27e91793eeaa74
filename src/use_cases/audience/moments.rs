//! Moments of lives on air: a detector for each live hears its audience as it comes.

use std::collections::{BTreeMap, VecDeque};

use chrono::{DateTime, Duration, Utc};

use crate::domain::audience::happening::{Happening, Phase, What};
use crate::domain::audience::notice::Notice;
use crate::domain::event::Event;
use crate::domain::ids::{LiveId, MomentId};
use crate::domain::moments::detector::Detector;
use crate::domain::moments::event::MomentEvent;
use crate::domain::moments::moment::Moment;
use crate::domain::moments::params::Params;
use crate::domain::moments::signal::{
    AudienceEvent, ChatterId, Heard, Message, Signal, Vote, VoteKind,
};
use crate::domain::moments::votes::is_vote;
use crate::ports::PortError;
use crate::ports::ledger::{Commit, CommitError, Expectation, Ledger};
use crate::read_models::BroadcastCard;
use crate::use_cases::audience::store::placed_at;

/// A second is over this long after it was, in seconds: what was said in it is on its way that long at most, as a rule.
/// What comes later still counts, in the second that runs then.
const TICK_BEHIND_S: i64 = 3;
/// Chat reacts for this long after the end of a stream, in seconds; then its last moments are told.
const TALK_AFTER_S: i64 = 60;
/// Scores closer than this are the same: a vote moves one by 0.4, writing it down by a last digit.
const SAME_SCORE: f64 = 1e-6;
/// Our own team, where a vote wants a person.
const TEAM: &str = "spark";

/// A moment somebody should see now.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Found {
    pub(super) channel: String,
    pub(super) live: LiveId,
    pub(super) moment: Moment,
}

/// The detectors of the lives on air.
#[derive(Debug)]
pub(super) struct Watch {
    params: Params,
    lives: BTreeMap<LiveId, Watched>,
}

#[derive(Debug)]
struct Watched {
    channel: String,
    started_at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
    detector: Detector,
    /// Marks the detector has not reached yet: milliseconds from the start, the earliest first.
    marks: VecDeque<u64>,
}

impl Watch {
    pub(super) fn new(params: Params) -> Self {
        Self { params, lives: BTreeMap::new() }
    }

    pub(super) fn follows(&self, live: LiveId) -> bool {
        self.lives.contains_key(&live)
    }

    /// Follows a live from here on; an earlier one of the same channel is over.
    pub(super) fn follow(&mut self, card: &BroadcastCard) {
        self.lives
            .retain(|_, other| other.channel != card.channel || other.started_at > card.started_at);
        let mut marks: Vec<u64> =
            card.marks.iter().filter_map(|&mark| u64::try_from(mark).ok()).collect();
        marks.sort_unstable();
        let watched = Watched {
            channel: card.channel.clone(),
            started_at: card.started_at,
            ended_at: card.ended_at,
            detector: Detector::new(self.params.clone()),
            marks: marks.into(),
        };
        self.lives.insert(card.id, watched);
    }

    /// Hears a notice of a live.
    pub(super) fn hear(&mut self, live: LiveId, notice: &Notice) -> Vec<Found> {
        // What is found out later makes no moment now.
        let Some(happening) = notice.happening().filter(|_| !notice.is_backfilled()) else {
            return Vec::new();
        };
        let Some(watched) = self.lives.get_mut(&live) else { return Vec::new() };
        let at_ms = watched.offset_ms(placed_at(happening, notice));
        let mut found = watched.hear_marks(at_ms);
        for heard in heard(happening) {
            found.extend(watched.detector.hear(Signal { at_ms, heard }));
        }
        if matches!(happening.what, What::StreamOffline { .. }) {
            watched.ended_at = Some(happening.at);
        }
        watched.told(live, found)
    }

    /// Somebody of ours marked an instant.
    pub(super) fn mark(&mut self, live: LiveId, offset_ms: i64) {
        if let (Some(watched), Ok(mark)) = (self.lives.get_mut(&live), u64::try_from(offset_ms)) {
            let place = watched.marks.partition_point(|&other| other <= mark);
            watched.marks.insert(place, mark);
        }
    }

    /// Time went on, whether or not anything was said.
    pub(super) fn tick(&mut self, now: DateTime<Utc>) -> Vec<Found> {
        let mut found = Vec::new();
        let mut over = Vec::new();
        let now = now - Duration::seconds(TICK_BEHIND_S);
        for (&live, watched) in &mut self.lives {
            let is_over = |ended| now > ended + Duration::seconds(TALK_AFTER_S);
            let at_ms = watched.offset_ms(now);
            let mut moments = watched.hear_marks(at_ms);
            if watched.ended_at.is_some_and(is_over) {
                moments.extend(watched.detector.finish());
                over.push(live);
            } else if watched.detector.has_begun() {
                moments.extend(watched.detector.hear(Signal { at_ms, heard: Heard::Nothing }));
            }
            found.extend(watched.told(live, moments));
        }
        for live in over {
            self.lives.remove(&live);
        }
        found
    }
}

impl Watched {
    fn offset_ms(&self, at: DateTime<Utc>) -> u64 {
        u64::try_from((at - self.started_at).num_milliseconds()).unwrap_or(0)
    }

    fn hear_marks(&mut self, up_to_ms: u64) -> Vec<Moment> {
        let mut found = Vec::new();
        while let Some(at_ms) = self.marks.pop_front_if(|mark| *mark <= up_to_ms) {
            let by = ChatterId::of_login(TEAM);
            let vote = Vote { by, is_trusted: true, kind: VoteKind::Marker };
            found.extend(self.detector.hear(Signal { at_ms, heard: Heard::Vote(vote) }));
        }
        found
    }

    fn told(&self, live: LiveId, moments: Vec<Moment>) -> Vec<Found> {
        let channel = &self.channel;
        moments.into_iter().map(|moment| Found { channel: channel.clone(), live, moment }).collect()
    }
}

/// What a detector hears of it.
fn heard(happening: &Happening) -> Vec<Heard<'_>> {
    let many = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
    let event = match &happening.what {
        What::Chat(chat) => {
            let by = ChatterId::of_login(&chat.viewer.name);
            let is_trusted = chat.trusted;
            let said = if is_vote(&chat.text) {
                Heard::Vote(Vote { by, is_trusted, kind: VoteKind::Command })
            } else {
                Heard::Message(Message { chatter: by, text: &chat.text, is_trusted })
            };
            let cheer = AudienceEvent::Cheer { bits: many(chat.bits) };
            let cheered = (chat.bits > 0).then_some(Heard::Audience(cheer));
            return std::iter::once(said).chain(cheered).collect();
        }
        What::Subscribed { is_gift: false, .. } | What::Resubscribed { .. } => AudienceEvent::Sub,
        What::SubsGifted { total, .. } => AudienceEvent::GiftBomb { count: many(*total) },
        What::RaidIn { viewers, .. } => AudienceEvent::Raid { viewers: many(*viewers) },
        What::HypeTrain { phase: Phase::Begin, .. } => AudienceEvent::HypeTrainBegan,
        What::HypeTrain { phase: Phase::Progress, .. } => AudienceEvent::HypeTrainProgressed,
        What::HypeTrain { phase: Phase::End, .. } => AudienceEvent::HypeTrainEnded,
        What::Poll { phase: Phase::End, .. } => AudienceEvent::PollEnded,
        What::Prediction { phase: Phase::End, .. } => AudienceEvent::PredictionEnded,
        What::ChannelUpdated { .. } => AudienceEvent::TitleChanged,
        _ => return Vec::new(),
    };
    vec![Heard::Audience(event)]
}

/// Writes a moment down, unless it stands: several processes may find it, and each finds it again after a restart.
pub(super) async fn tell(ledger: &dyn Ledger, found: &Found) -> Result<(), PortError> {
    let moment = MomentId::at(found.live, (found.moment.peak_s * 1_000.0) as i64);
    let subject = moment.as_uuid();
    let history = ledger.history(subject).await?;
    let stands = |event: &Event| {
        matches!(event, Event::Moment(MomentEvent::Told { found: before, .. })
            if (before.score - found.moment.score).abs() < SAME_SCORE)
    };
    if history.iter().any(|before| stands(&before.event)) {
        return Ok(());
    }
    let told = MomentEvent::Told { moment, live: found.live, found: found.moment.clone() };
    let commit = Commit {
        events: vec![told.into()],
        expect: Some(Expectation { subject, events: history.len() }),
        ..Commit::default()
    };
    match ledger.commit(commit).await {
        Ok(_) | Err(CommitError::Conflict | CommitError::LeaseLost) => Ok(()),
        Err(CommitError::Port(error)) => Err(error),
    }
}
