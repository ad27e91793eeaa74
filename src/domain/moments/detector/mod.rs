//! The detector: hears signals in the order they come and answers with moments.
//!
//! A window is named by its first second. The score of a second is complete 30 seconds later, so
//! a moment is told `delay + 30 s` after its event.

mod judge;
#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these numbers are equal by construction")]
mod tests;

use std::collections::VecDeque;

use crate::domain::moments::baseline::Baseline;
use crate::domain::moments::delay::{Delay, DelayEstimator, DelayOrigin, MARK_REACTION_S};
use crate::domain::moments::history::{HISTORY_S, History};
use crate::domain::moments::lexicon::Lexicon;
use crate::domain::moments::loudness::Loudness;
use crate::domain::moments::moment::Moment;
use crate::domain::moments::params::Params;
use crate::domain::moments::reading;
use crate::domain::moments::signal::{Heard, Message, Signal, Vote, VoteKind};
use crate::domain::moments::support::Support;
use crate::domain::moments::votes::Votes;
use crate::domain::moments::windows::{LONG_WINDOW_S, SHORT_WINDOW_S, Windows};

/// A message this late still counts, in the second that runs; a later one is dropped.
const LATE_S_MAX: u64 = 10;
/// A time this far off is a broken clock, until a second signal says the same.
const LEAP_S_MAX: u64 = 3_600;
/// Signals within this many seconds of each other say the same.
const LEAP_AGREES_S: u64 = 60;
/// A vote waits this long for a burst to carry it.
const VOTE_WAITS_S: u64 = 10;
/// Reactions culminate this long after they begin, until moments tell.
const RISE_S: f64 = 5.0;
/// Each moment moves that by so much of the difference.
const RISE_LEARNS: f64 = 1.0 / 8.0;
/// The middle of a sound comes this long after its event.
const SOUND_MIDDLE_S: f64 = 2.0;
/// The delay is estimated this often, and follows its estimate by at most one second each time.
const ESTIMATE_EACH_S: u64 = 10;
const DELAY_STEP_S: f64 = 1.0;

/// Finds moments online. Equal signals give equal moments, bit for bit.
#[derive(Debug)]
pub struct Detector {
    params: Params,
    lexicon: Lexicon,
    /// The second that runs; `None` before the first signal.
    now: Option<u64>,
    first: u64,
    doubted: Option<u64>,
    windows: Windows,
    usual: Usual,
    history: History,
    loudness: Loudness,
    support: Support,
    votes: Votes,
    told: VecDeque<u64>,
    estimator: DelayEstimator,
    rise_s: f64,
    delay: Delay,
    tokens: Vec<u64>,
}

#[derive(Debug, Default)]
struct Usual {
    long_chatters: Baseline,
    short_chatters: Baseline,
    reactions: Baseline,
    shouts: Baseline,
}

impl Detector {
    pub fn new(params: Params) -> Self {
        Self::with_lexicon(params, Lexicon::default())
    }

    /// A detector that reads with the channel's own lexicon.
    pub fn with_lexicon(params: Params, lexicon: Lexicon) -> Self {
        Self {
            delay: params.delay,
            params,
            lexicon,
            now: None,
            first: 0,
            doubted: None,
            windows: Windows::default(),
            usual: Usual::default(),
            history: History::default(),
            loudness: Loudness::default(),
            support: Support::default(),
            votes: Votes::default(),
            told: VecDeque::new(),
            estimator: DelayEstimator::default(),
            rise_s: RISE_S,
            tokens: Vec::new(),
        }
    }

    /// The delay in use: the one given, or what calibration found so far.
    ///
    /// A stream that is over is best heard twice: once for the delay, once with it.
    pub fn delay(&self) -> Delay {
        self.delay
    }

    /// What the sound and the marks heard so far say about the delay, however it was given.
    pub fn estimated_delay(&self) -> Option<Delay> {
        let lag = self.estimator.estimate()?;
        let seconds = (lag.seconds + SOUND_MIDDLE_S - self.rise_s).max(0.0);
        Some(Delay { seconds, ..lag })
    }

    /// Whether anything was heard yet; the first signal starts the clock.
    pub fn has_begun(&self) -> bool {
        self.now.is_some()
    }

    /// Hears one signal; answers with the moments that became certain, oldest first.
    pub fn hear(&mut self, signal: Signal<'_>) -> Vec<Moment> {
        let mut moments = Vec::new();
        let second = signal.at_ms / 1_000;
        let Some(now) = self.reach(second, &mut moments) else { return moments };
        match signal.heard {
            Heard::Message(message) => {
                if second + LATE_S_MAX >= now {
                    self.hear_message(now, message, &mut moments);
                }
            }
            Heard::Audience(event) => self.support.hear(now, event),
            Heard::Vote(vote) => self.hear_vote(now, vote, &mut moments),
            Heard::Loudness { lufs } => self.loudness.add(lufs),
            Heard::Nothing => {}
        }
        moments
    }

    /// Ends the stream: answers with what was still open, as if forty silent seconds had passed.
    pub fn finish(&mut self) -> Vec<Moment> {
        let mut moments = Vec::new();
        if let Some(now) = self.now {
            let last = self.votes.latest().unwrap_or(now).max(now);
            self.run_to(last + LONG_WINDOW_S + VOTE_WAITS_S, &mut moments);
        }
        moments
    }

    /// Moves the clock to `second` and gives the second that runs; `None` when it is not believed.
    fn reach(&mut self, second: u64, moments: &mut Vec<Moment>) -> Option<u64> {
        let Some(now) = self.now else {
            self.start(second);
            return self.now;
        };
        if second.abs_diff(now) > LEAP_S_MAX {
            let agrees = |doubted: u64| doubted.abs_diff(second) <= LEAP_AGREES_S;
            if !self.doubted.is_some_and(agrees) {
                self.doubted = Some(second);
                return None;
            }
            moments.extend(self.finish());
            self.start(second);
        } else {
            self.run_to(second, moments);
        }
        self.doubted = None;
        self.now
    }

    /// Begins at `second`; what is usual in the channel stays known.
    fn start(&mut self, second: u64) {
        self.now = Some(second);
        self.first = second;
        self.history = History::starting_at(second);
        self.windows = Windows::default();
        self.told.clear();
        self.votes = Votes::default();
        self.support = Support::default();
    }

    fn run_to(&mut self, second: u64, moments: &mut Vec<Moment>) {
        while let Some(now) = self.now
            && now < second
        {
            self.end_second(now);
            self.now = Some(now + 1);
            if let Some(complete) = (now + 1).checked_sub(LONG_WINDOW_S)
                && complete >= self.first
            {
                moments.extend(self.judge(complete));
            }
        }
    }

    fn hear_message(&mut self, now: u64, message: Message<'_>, moments: &mut Vec<Moment>) {
        if self.lexicon.is_bot(message.chatter) {
            return;
        }
        if let Some(command) = command(message.text) {
            if command.eq_ignore_ascii_case("clip") {
                let vote = Vote {
                    by: message.chatter,
                    is_trusted: message.is_trusted,
                    kind: VoteKind::Command,
                };
                self.hear_vote(now, vote, moments);
            }
            return;
        }
        if let Some(reading) = reading::read(message.text, &self.lexicon, &mut self.tokens) {
            let per_chatter_max = self.params.messages_per_chatter_max;
            self.windows.add(now, message.chatter, reading, &self.tokens, per_chatter_max);
        }
    }

    fn hear_vote(&mut self, now: u64, vote: Vote, moments: &mut Vec<Moment>) {
        // Votes speak of a second of the chat's clock, which runs behind the picture's.
        let in_chat = |picture_s: f64| (picture_s + self.delay.seconds).max(0.0) as u64;
        let place = match vote.kind {
            VoteKind::Command => now,
            VoteKind::Marker => in_chat(now as f64 - MARK_REACTION_S),
            VoteKind::Clip(span) => in_chat(f64::midpoint(span.start_s, span.end_s)),
        };
        if place > now + HISTORY_S as u64 || !self.votes.add(now, place, vote.by, vote.is_trusted) {
            return;
        }
        if vote.kind == VoteKind::Marker {
            self.estimator.mark();
        }
        if place + LONG_WINDOW_S + VOTE_WAITS_S <= now {
            moments.extend(self.judge_late_vote(place));
        }
    }

    /// Ends the second `now`: one more row, and what the windows that end here say.
    fn end_second(&mut self, now: u64) {
        let excess_lu = self.loudness.end_second();
        let (rate, reactions) = self.windows.this_second();
        self.estimator.hear(excess_lu.unwrap_or(0.0), f64::from(rate + 2 * reactions).ln_1p());
        if now.is_multiple_of(ESTIMATE_EACH_S) {
            self.follow_estimate();
        }
        self.history.push(rate, excess_lu);
        self.windows.end_second(now);
        let tau = self.params.usual_s.max(1);
        let (windows, usual) = (&self.windows, &mut self.usual);
        let short = (now + 1).checked_sub(SHORT_WINDOW_S);
        if let Some(row) = short.and_then(|second| self.history.row_mut(second)) {
            row.counts = windows.short();
            row.repetition = windows.repetition();
            row.over_short_chatters = usual.short_chatters.excess(windows.short_chatters(), tau);
            row.over_reactions = usual.reactions.excess(row.counts.hype(), tau);
            row.over_shouts = usual.shouts.excess(row.counts.shouts, tau);
        }
        let long = (now + 1).checked_sub(LONG_WINDOW_S);
        if let Some(row) = long.and_then(|second| self.history.row_mut(second)) {
            row.chatters = windows.long_chatters();
            row.over_long_chatters = usual.long_chatters.excess(row.chatters, tau);
        }
    }

    /// Moves the delay in use towards its estimate, unless it was given.
    fn follow_estimate(&mut self) {
        if self.params.delay.origin != DelayOrigin::Default {
            return;
        }
        let Some(estimate) = self.estimated_delay() else { return };
        let step = (estimate.seconds - self.delay.seconds).clamp(-DELAY_STEP_S, DELAY_STEP_S);
        self.delay = Delay { seconds: self.delay.seconds + step, ..estimate };
    }
}

/// The first word of a `!command`, without its mark.
fn command(text: &str) -> Option<&str> {
    let word = text.trim_start().strip_prefix('!')?.split_whitespace().next()?;
    word.starts_with(|char: char| char.is_alphabetic()).then_some(word)
}
