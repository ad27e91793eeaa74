//! What follows what, written once: an exhaustive match on [`Event`]. Pure; committed with the reader's cursor.

use std::sync::Arc;

use crate::domain::clips::clip::{ClipEvent, ClipSource, ClipTitle, Span};
use crate::domain::clips::{CLIPS_PROPOSED, REELS_PROPOSED};
use crate::domain::event::Event;
use crate::domain::ids::ClipId;
use crate::domain::job::Job;
use crate::domain::live::LiveEvent;
use crate::domain::moments::event::MomentEvent;
use crate::domain::moments::lexicon::Mood;
use crate::domain::moments::moment::{Moment, MomentKind};
use crate::ports::PortError;
use crate::ports::ledger::{Commit, CommitError, CursorMove, Ledger};

/// The follower's name in the table of cursors.
const FOLLOWER: &str = "reactions";

/// What an event brings about.
#[derive(Debug, Default, PartialEq)]
pub struct Effects {
    pub events: Vec<Event>,
    pub jobs: Vec<Job>,
}

impl Effects {
    fn none() -> Self {
        Self::default()
    }

    fn event(event: impl Into<Event>) -> Self {
        Self { events: vec![event.into()], jobs: Vec::new() }
    }

    fn job(job: Job) -> Self {
        Self { events: Vec::new(), jobs: vec![job] }
    }
}

/// What follows an event.
pub fn react(event: &Event) -> Effects {
    match event {
        Event::Live(LiveEvent::Imported { live, .. }) => {
            Effects::job(Job::DetectMoments { live: *live })
        }
        Event::Moment(MomentEvent::Detected { moment, live, rank, found }) => {
            propose(*moment, *live, *rank, found).map_or_else(Effects::none, Effects::event)
        }
        Event::Clip(ClipEvent::Requested { clip, source: ClipSource::Recording, .. }) => {
            Effects::job(Job::CutClip { clip: *clip })
        }
        Event::Clip(ClipEvent::Requested { clip, source: ClipSource::Camera { .. }, .. }) => {
            Effects::job(Job::CutCamera { clip: *clip })
        }
        Event::Live(LiveEvent::Marked { live, offset_ms, .. }) => {
            Effects::job(Job::ClipMark { live: *live, offset_ms: *offset_ms })
        }
        Event::Clip(
            ClipEvent::Cut { clip, reel_follows: true, .. } | ClipEvent::ReelRequested { clip, .. },
        ) => Effects::job(Job::RenderReel { clip: *clip }),
        // A live on air has no recording to cut from yet.
        Event::Moment(MomentEvent::Told { .. })
        | Event::Clip(
            ClipEvent::Cut { reel_follows: false, .. }
            | ClipEvent::CutFailed { .. }
            | ClipEvent::Approved { .. }
            | ClipEvent::Rejected { .. }
            | ClipEvent::Renamed { .. }
            | ClipEvent::ReelRendered { .. }
            | ClipEvent::ReelFailed { .. },
        )
        | Event::Live(
            LiveEvent::Analysed { .. } | LiveEvent::Began { .. } | LiveEvent::Ended { .. },
        )
        | Event::Camera(_)
        | Event::Villa(_)
        | Event::Account(_) => Effects::none(),
    }
}

/// The best moments become clips to approve, the very best reels as well. People who came or gave are no clip.
fn propose(
    moment: crate::domain::ids::MomentId,
    live: crate::domain::ids::LiveId,
    rank: u32,
    found: &Moment,
) -> Option<ClipEvent> {
    if rank >= CLIPS_PROPOSED || found.kind == MomentKind::Support {
        return None;
    }
    let from_ms = (found.span.start_s * 1_000.0).round() as i64;
    let to_ms = (found.span.end_s * 1_000.0).round() as i64;
    // The detector keeps spans inside the stream; one that is too short to be a clip is none.
    let span = Span::try_new(from_ms, to_ms, to_ms).ok()?;
    let title = ClipTitle::try_new(suggested_title(found)).ok()?;
    let reel = rank < REELS_PROPOSED;
    Some(ClipEvent::Requested {
        clip: ClipId::of_moment(moment),
        live,
        source: ClipSource::Recording,
        moment: Some(moment),
        span,
        title,
        reel,
        by: None,
    })
}

/// A working title in the words of the crowd's mood, until an editor finds a better one.
fn suggested_title(found: &Moment) -> &'static str {
    match found.mood {
        Some(Mood::Awe) => "Le chat n'en revient pas",
        Some(Mood::Laughter) => "Fou rire général",
        Some(Mood::Shock) => "Personne ne l'a vu venir",
        None => "Le moment du direct",
    }
}

/// The follower that reacts.
#[derive(Clone)]
pub struct Reactions {
    pub ledger: Arc<dyn Ledger>,
}

impl Reactions {
    /// Whether everything written so far was reacted to.
    pub async fn caught_up(&self) -> Result<bool, PortError> {
        let at = self.ledger.cursor(FOLLOWER).await?;
        Ok(self.ledger.events_after(at).await?.is_empty())
    }

    /// Reacts to the next batch of events; says how many it read. Two at once do no harm: the cursor moves once.
    pub async fn step(&self) -> Result<usize, PortError> {
        let from = self.ledger.cursor(FOLLOWER).await?;
        let batch = self.ledger.events_after(from).await?;
        let Some(last) = batch.last() else { return Ok(0) };
        let to = last.seq;
        let mut effects = Effects::none();
        for recorded in &batch {
            let mut more = react(&recorded.event);
            effects.events.append(&mut more.events);
            effects.jobs.append(&mut more.jobs);
        }
        let commit = Commit {
            events: effects.events,
            jobs: effects.jobs,
            cursor: Some(CursorMove { follower: FOLLOWER, from, to }),
            ..Commit::default()
        };
        match self.ledger.commit(commit).await {
            // In a conflict another process was faster with the same batch: what it committed is what we would have.
            Ok(_) | Err(CommitError::Conflict) => Ok(batch.len()),
            Err(CommitError::Port(error)) => Err(error),
            Err(CommitError::LeaseLost) => Err(PortError::plain("a reaction holds no lease")),
        }
    }
}
