//! Moments: read a live to its end and say where the best of it is.

use std::sync::Arc;

use crate::domain::audience::ChatMessage;
use crate::domain::clips::footage::Inspection;
use crate::domain::clips::loudness::SERIES_HZ;
use crate::domain::event::Event;
use crate::domain::ids::{LiveId, MomentId};
use crate::domain::live::LiveEvent;
use crate::domain::moments::bounds::{quiet_instants, suggest_span};
use crate::domain::moments::delay::{Delay, DelayOrigin};
use crate::domain::moments::event::{MOMENTS_KEPT_MAX, MomentEvent};
use crate::domain::moments::lexicon::Lexicon;
use crate::domain::moments::moment::{Moment, MomentKind};
use crate::domain::moments::params::Params;
use crate::domain::moments::rank::{rank, suggestion_spacing_s};
use crate::domain::moments::recorded::find_moments;
use crate::domain::moments::signal::{
    AudienceEvent, ChatterId, Heard, Message, Signal, Vote, VoteKind,
};
use crate::domain::moments::votes::is_vote;
use crate::ports::PortError;
use crate::ports::ledger::{Commit, CommitError, Expectation, Ledger};
use crate::ports::media_engine::{MediaEngine, SceneCutsOrder};
use crate::ports::media_store::MediaStore;
use crate::ports::shelves::{Shelves, cards_of, find_card};
use crate::read_models::{LiveCard, MomentCard};
use crate::use_cases::{Work, WorkError, read_inspection};

/// The picture's cuts are looked for around the edges of this many of the best moments: decoding is what costs.
const MOMENTS_TRIMMED_MAX: usize = 12;
/// How far around a suggested edge cuts are looked for, in seconds.
const CUT_REACH_S: f64 = 9.0;

/// Moments of lives.
#[derive(Clone)]
pub struct Moments {
    pub ledger: Arc<dyn Ledger>,
    pub shelves: Arc<dyn Shelves>,
    pub store: Arc<dyn MediaStore>,
    pub engine: Arc<dyn MediaEngine>,
}

impl Moments {
    /// A live's moments, the best first.
    pub async fn of_live(&self, live: LiveId) -> Result<Vec<MomentCard>, PortError> {
        let mut moments: Vec<MomentCard> = cards_of(&*self.shelves, live.as_uuid()).await?;
        moments.sort_by_key(|moment| moment.rank);
        Ok(moments)
    }

    /// One moment.
    pub async fn find(&self, moment: MomentId) -> Result<Option<MomentCard>, PortError> {
        find_card(&*self.shelves, moment.as_uuid()).await
    }

    /// Finds the moments of a recorded live and writes them down, best first.
    pub async fn detect(&self, live: LiveId, work: &Work) -> Result<(), WorkError> {
        work.report(0.0, "Lecture du chat");
        let card: LiveCard = find_card(&*self.shelves, live.as_uuid())
            .await?
            .ok_or_else(|| WorkError::Refused(format!("Le direct {live} n'existe plus.")))?;
        let video = self.store.local_path(&card.recording.file.key).await?;
        let inspection = read_inspection(&*self.store, &card.recording.inspection).await?;
        let messages = self.ledger.messages_of(live).await?;
        let (found, delay, inspection) = tokio::task::spawn_blocking(move || {
            let (found, delay) = hear_all(&messages, &inspection);
            (found, delay, inspection)
        })
        .await
        .map_err(|e| WorkError::Passing(format!("the detector stopped: {e}")))?;
        if work.cancel.is_cancelled() {
            return Err(WorkError::Cancelled);
        }
        let mut best: Vec<Moment> = ranked(&found, inspection.duration_s);
        if let Some(source) = video {
            let ranges = edges(&best, inspection.duration_s);
            let watch = work.step(0.3, 0.95, "Recherche des coupes");
            let cuts = self.engine.scene_cuts(SceneCutsOrder { source, ranges }, &watch).await?;
            let quiet = quiet_instants(&inspection.loudness.lufs, 1.0 / SERIES_HZ as f64);
            for moment in &mut best {
                moment.span = suggest_span(moment.event_s, &quiet, &cuts, inspection.duration_s);
            }
        }
        let events = said(live, best, delay);
        let commit = Commit {
            events,
            // Only the import has spoken of this live: a second analysis would propose everything again.
            expect: Some(Expectation { subject: live.as_uuid(), events: 1 }),
            finish: Some(work.ticket),
            ..Commit::default()
        };
        match self.ledger.commit(commit).await {
            Ok(_) => Ok(()),
            Err(CommitError::Conflict) => {
                let done = Commit { finish: Some(work.ticket), ..Commit::default() };
                self.ledger.commit(done).await.map(|_| ()).map_err(WorkError::from)
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Hears a whole recorded stream: once to learn how far the chat runs behind, once more knowing it.
fn hear_all(messages: &[ChatMessage], inspection: &Inspection) -> (Vec<Moment>, Delay) {
    let signals = signals_of(messages, inspection);
    find_moments(signals.iter().copied(), &Params::default(), &Lexicon::default())
}

/// Chat and sound in order of time.
fn signals_of<'m>(messages: &'m [ChatMessage], inspection: &Inspection) -> Vec<Signal<'m>> {
    let mut signals = Vec::with_capacity(messages.len() + inspection.loudness.lufs.len());
    for (index, &lufs) in inspection.loudness.lufs.iter().enumerate() {
        let at_ms = (index as u64 + 1) * 1_000 / SERIES_HZ as u64;
        signals.push(Signal { at_ms, heard: Heard::Loudness { lufs } });
    }
    for message in messages {
        let at_ms = u64::try_from(message.offset_ms).unwrap_or(0);
        // Known bots are known by name; platforms' ids are numbers.
        let by = ChatterId::of_login(&message.viewer_name);
        let heard = if is_vote(&message.text) {
            Heard::Vote(Vote { by, is_trusted: message.trusted, kind: VoteKind::Command })
        } else {
            Heard::Message(Message {
                chatter: by,
                text: &message.text,
                is_trusted: message.trusted,
            })
        };
        signals.push(Signal { at_ms, heard });
        if message.bits > 0 {
            let heard = Heard::Audience(AudienceEvent::Cheer { bits: message.bits });
            signals.push(Signal { at_ms, heard });
        }
    }
    signals.sort_by_key(|signal| signal.at_ms);
    signals
}

/// The best, spaced. A moment heard again (a late vote) replaces its earlier self; support is told after what happened.
fn ranked(found: &[Moment], stream_s: f64) -> Vec<Moment> {
    let spacing_s = suggestion_spacing_s(stream_s);
    let mut last: std::collections::BTreeMap<i64, &Moment> = std::collections::BTreeMap::new();
    for moment in found {
        last.insert((moment.peak_s * 1_000.0) as i64, moment);
    }
    let (highlights, support): (Vec<Moment>, Vec<Moment>) =
        last.into_values().cloned().partition(|moment| moment.kind == MomentKind::Highlight);
    let mut best: Vec<Moment> =
        rank(&highlights, spacing_s, MOMENTS_KEPT_MAX).into_iter().cloned().collect();
    let room = MOMENTS_KEPT_MAX - best.len();
    best.extend(rank(&support, spacing_s, room).into_iter().cloned());
    best
}

fn edges(best: &[Moment], stream_s: f64) -> Vec<(f64, f64)> {
    let around = |edge: f64| ((edge - CUT_REACH_S).max(0.0), (edge + CUT_REACH_S).min(stream_s));
    best.iter()
        .take(MOMENTS_TRIMMED_MAX)
        .flat_map(|moment| [around(moment.span.start_s), around(moment.span.end_s)])
        .filter(|(from, to)| to > from)
        .collect()
}

fn said(live: LiveId, best: Vec<Moment>, delay: Delay) -> Vec<Event> {
    let moments = best.len() as u32;
    let origin = match delay.origin {
        DelayOrigin::Default => "default",
        DelayOrigin::Set => "set",
        DelayOrigin::Calibrated => "calibrated",
    };
    let mut events: Vec<Event> = best
        .into_iter()
        .zip(0..)
        .map(|(found, rank)| {
            let moment = MomentId::at(live, (found.peak_s * 1_000.0) as i64);
            MomentEvent::Detected { moment, live, rank, found }.into()
        })
        .collect();
    events.push(
        LiveEvent::Analysed {
            live,
            moments,
            delay_ms: (delay.seconds * 1_000.0).round() as i64,
            delay_origin: origin.to_owned(),
        }
        .into(),
    );
    events
}
