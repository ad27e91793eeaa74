//! The detector: hears signals in the order they come and answers with moments.
//!
//! A window is named by its first second. The score of a second is complete 30 seconds later, so
//! a moment is told `delay + 30 s` after its event.

use std::collections::VecDeque;

use crate::domain::moments::baseline::Baseline;
use crate::domain::moments::bounds::suggest_span;
use crate::domain::moments::delay::{Delay, DelayEstimator, DelayOrigin, MARK_REACTION_S};
use crate::domain::moments::lexicon::{Lexicon, Mood};
use crate::domain::moments::loudness::Loudness;
use crate::domain::moments::moment::{Moment, MomentKind};
use crate::domain::moments::onset;
use crate::domain::moments::params::Params;
use crate::domain::moments::reading;
use crate::domain::moments::reasons::{Reason, ReasonKind, score};
use crate::domain::moments::signal::{Heard, Message, Signal, Vote, VoteKind};
use crate::domain::moments::support::Support;
use crate::domain::moments::votes::{Tally, Votes};
use crate::domain::moments::windows::{LONG_WINDOW_S, SHORT_WINDOW_S, ShortCounts, Windows};

/// Seconds that are remembered: enough for the clip a viewer makes after the fact.
const HISTORY_S: usize = 240;
/// A message this late still counts, in the second that runs; a later one is dropped.
const LATE_S_MAX: u64 = 10;
/// A time this far off is a broken clock, until a second signal says the same.
const LEAP_S_MAX: u64 = 3_600;
/// Signals within this many seconds of each other say the same.
const LEAP_AGREES_S: u64 = 60;
/// A vote waits this long for a burst to carry it.
const VOTE_WAITS_S: u64 = 10;
/// Bursts within this distance before a vote carry it.
const VOTE_REACH_S: u64 = 30;
/// The usual rate of messages is remembered for five minutes.
const USUAL_RATE_S: f64 = 300.0;
/// Loudness from this long before the event to this long after it belongs to it.
const LOUD_BEFORE_S: i64 = 5;
const LOUD_AFTER_S: i64 = 15;
/// Ordinary speech is this much over the median; the sound « fires » from [`LOUD_LU`].
const SPEECH_LU: f64 = 3.0;
const LOUD_LU: f64 = 6.0;
/// The most of a score that may come from sound: a quarter, so a third of the rest.
const LOUDNESS_OF_CHAT_MAX: f64 = 1.0 / 3.0;
/// Under ten messages a minute chat is thin: sound weighs double, fewer people are enough.
const THIN_PER_MINUTE: f64 = 10.0;
const THIN_CHATTERS_MIN: u32 = 2;
/// A second whose sound jumps within this distance of the estimated event is the event.
const LOUD_ONSET_REACH_S: i64 = 6;
/// The delay in use follows its estimate by this much a second.
const DELAY_STEP_S: f64 = 0.1;

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
    /// One row a second, oldest first; the first one's second is `oldest`.
    rows: VecDeque<Row>,
    oldest: u64,
    usual_rate: f64,
    loudness: Loudness,
    support: Support,
    votes: Votes,
    told: VecDeque<u64>,
    estimator: DelayEstimator,
    delay: Delay,
    tokens: Vec<u64>,
}

#[derive(Debug, Default)]
struct Usual {
    long_chatters: Baseline,
    short_chatters: Baseline,
    reactions: Baseline,
    brief: Baseline,
    shouts: Baseline,
}

/// What is known of a second: first its own rate and loudness, then, as they end, the windows
/// that begin with it.
#[derive(Debug, Clone, Copy, Default)]
struct Row {
    rate: u32,
    usual_rate: f64,
    excess_lu: Option<f64>,
    counts: ShortCounts,
    chatters: u32,
    over_long_chatters: f64,
    over_short_chatters: f64,
    over_reactions: f64,
    over_brief: f64,
    over_shouts: f64,
    repetition: f64,
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
            rows: VecDeque::with_capacity(HISTORY_S + 1),
            oldest: 0,
            usual_rate: 0.0,
            loudness: Loudness::default(),
            support: Support::default(),
            votes: Votes::default(),
            told: VecDeque::new(),
            estimator: DelayEstimator::default(),
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
        self.estimator.estimate()
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

    /// Ends the stream: answers with what was still open. The detector may hear on.
    pub fn finish(&mut self) -> Vec<Moment> {
        let mut moments = Vec::new();
        if let Some(now) = self.now {
            self.run_to(now + LONG_WINDOW_S + VOTE_WAITS_S, &mut moments);
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
        self.oldest = second;
        self.windows = Windows::default();
        self.rows.clear();
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
        self.follow_estimate();
        self.rows.push_back(Row { rate, usual_rate: self.usual_rate, excess_lu, ..Row::default() });
        self.usual_rate += (f64::from(rate) - self.usual_rate) / USUAL_RATE_S;
        if self.rows.len() > HISTORY_S {
            self.rows.pop_front();
            self.oldest += 1;
        }
        self.windows.end_second(now);
        let tau = self.params.usual_s.max(1);
        let windows = &self.windows;
        let counts = windows.short();
        if let Some(row) =
            row_at(&mut self.rows, self.oldest, (now + 1).checked_sub(SHORT_WINDOW_S))
        {
            row.counts = counts;
            row.repetition = windows.repetition();
            row.over_short_chatters =
                self.usual.short_chatters.excess(windows.short_chatters(), tau);
            row.over_reactions = self.usual.reactions.excess(counts.hype(), tau);
            row.over_brief = self.usual.brief.excess(counts.brief, tau);
            row.over_shouts = self.usual.shouts.excess(counts.shouts, tau);
        }
        if let Some(row) = row_at(&mut self.rows, self.oldest, (now + 1).checked_sub(LONG_WINDOW_S))
        {
            row.chatters = windows.long_chatters();
            row.over_long_chatters = self.usual.long_chatters.excess(row.chatters, tau);
        }
    }

    /// Moves the delay in use towards its estimate, unless it was given.
    fn follow_estimate(&mut self) {
        if self.params.delay.origin != DelayOrigin::Default {
            return;
        }
        let Some(estimate) = self.estimator.estimate() else { return };
        let step = (estimate.seconds - self.delay.seconds).clamp(-DELAY_STEP_S, DELAY_STEP_S);
        self.delay = Delay { seconds: self.delay.seconds + step, ..estimate };
    }

    /// Decides about the second whose windows are all complete, and about votes left alone.
    fn judge(&mut self, second: u64) -> Option<Moment> {
        if let Some(moment) = self.judge_peak(second) {
            return Some(moment);
        }
        let waited = second.checked_sub(VOTE_WAITS_S)?;
        if !self.votes.any_at(waited) || self.is_carried(waited) {
            return None;
        }
        let tally = self.votes.tally(waited);
        if !tally.stands_alone() {
            return None;
        }
        self.tell(waited, tally)
    }

    fn judge_peak(&mut self, second: u64) -> Option<Moment> {
        let row = *self.row(second)?;
        let tally = self.votes.tally(second);
        let is_early = second < self.first + u64::from(self.params.warm_up_s);
        if !self.is_peak(second) || !self.may_raise(second, &row, tally) || is_early {
            return None;
        }
        self.tell(second, tally)
    }

    fn judge_late_vote(&mut self, place: u64) -> Option<Moment> {
        let carrier = self
            .told
            .iter()
            .copied()
            .find(|&told| place < told + VOTE_REACH_S && told <= place + VOTE_WAITS_S);
        let second = carrier.unwrap_or(place);
        let tally = self.votes.tally(second);
        if carrier.is_none() && !tally.stands_alone() {
            return None;
        }
        self.row(second)?;
        self.moment_at(second, tally)
    }

    fn tell(&mut self, second: u64, tally: Tally) -> Option<Moment> {
        let rests = |told: &u64| second < told + u64::from(self.params.refractory_s);
        if self.told.back().is_some_and(rests) {
            return None;
        }
        let moment = self.moment_at(second, tally)?;
        self.told.push_back(second);
        while self.told.front().is_some_and(|&told| told + (HISTORY_S as u64) < second) {
            self.told.pop_front();
        }
        Some(moment)
    }

    fn is_carried(&self, place: u64) -> bool {
        let carries = |&told: &u64| place < told + VOTE_REACH_S && told <= place + VOTE_WAITS_S;
        self.told.iter().any(carries)
    }

    fn row(&self, second: u64) -> Option<&Row> {
        self.rows.get(second.checked_sub(self.oldest)? as usize)
    }

    /// How strongly chat reacts in the 15 seconds that begin here.
    fn strength(&self, row: &Row) -> f64 {
        row.over_short_chatters + self.params.peak_reactions_weight * row.over_reactions
    }

    fn is_peak(&self, second: u64) -> bool {
        let Some(here) = self.row(second).map(|row| self.strength(row)) else { return false };
        let reach = u64::from(self.params.peak_reach_s.clamp(1, SHORT_WINDOW_S as u32));
        (1..=reach).all(|step| {
            let before = second.checked_sub(step).and_then(|second| self.row(second));
            let after = self.row(second + step);
            before.is_none_or(|row| self.strength(row) <= here)
                && after.is_none_or(|row| self.strength(row) < here)
        })
    }

    fn may_raise(&self, second: u64, row: &Row, tally: Tally) -> bool {
        row.chatters >= self.params.chatters_min
            || tally.stands_alone()
            || (is_thin(row)
                && row.chatters >= THIN_CHATTERS_MIN
                && self.loudness_over(second) >= LOUD_LU)
    }

    fn moment_at(&self, second: u64, tally: Tally) -> Option<Moment> {
        let row = self.row(second)?;
        let is_supported = self.support.covers(second);
        let loud_lu = self.loudness_over(second);
        let reasons = self.reasons(row, is_supported, loud_lu, tally);
        let score = score(&reasons);
        if score < self.params.score_min {
            return None;
        }
        let laughs = row.counts.laughter >= 5 && 2 * row.counts.laughter >= row.counts.messages;
        let kind = if is_supported && !laughs && loud_lu < LOUD_LU {
            MomentKind::Support
        } else {
            MomentKind::Highlight
        };
        let event_s = self.event_of(second);
        Some(Moment {
            peak_s: second as f64,
            onset_s: self.onset_of(second),
            event_s,
            span: suggest_span(event_s, &[], &[], f64::INFINITY),
            score,
            kind,
            mood: mood_of(row.counts),
            reasons,
            delay: self.delay,
        })
    }

    fn reasons(&self, row: &Row, is_supported: bool, loud_lu: f64, tally: Tally) -> Vec<Reason> {
        let params = &self.params;
        let over = |kind, weight: f64, over: f64| Reason {
            kind,
            share: weight * over,
            measure: over.exp(),
        };
        let mut reasons = vec![
            over(ReasonKind::Chatters, params.chatters_weight, row.over_long_chatters),
            over(ReasonKind::Reactions, params.reactions_weight, row.over_reactions),
            over(ReasonKind::ShortMessages, params.short_messages_weight, row.over_brief),
            over(ReasonKind::Shouts, params.shouts_weight, row.over_shouts),
            Reason {
                kind: ReasonKind::Repetition,
                share: -params.repetition_weight * row.repetition.min(params.repetition_max),
                measure: row.repetition,
            },
        ];
        let mut chat = score(&reasons);
        if tally.stands_alone() && chat < 0.0 {
            // Who asks for a clip of a silent scene asks all the same.
            reasons.clear();
            chat = 0.0;
        }
        if is_supported && chat > 0.0 {
            reasons.push(Reason { kind: ReasonKind::Support, share: -chat / 2.0, measure: 0.5 });
            chat /= 2.0;
        }
        if loud_lu > SPEECH_LU && chat > 0.0 {
            let weight = if is_thin(row) { 2.0 } else { 1.0 };
            let share = (weight * (loud_lu - SPEECH_LU) / LOUD_LU).min(chat * LOUDNESS_OF_CHAT_MAX);
            reasons.push(Reason { kind: ReasonKind::Loudness, share, measure: loud_lu });
        }
        if tally.voters > 0 {
            let (share, measure) = (tally.share(), f64::from(tally.voters));
            reasons.push(Reason { kind: ReasonKind::Votes, share, measure });
        }
        reasons.retain(|reason| reason.share != 0.0);
        reasons.sort_by(|one, other| other.share.total_cmp(&one.share));
        reasons
    }

    /// The loudest three seconds around the event of `second`, in LU over the usual.
    fn loudness_over(&self, second: u64) -> f64 {
        let event = second as i64 - self.delay.seconds.round() as i64;
        let mut loudest = [0.0_f64; 3];
        for at in event - LOUD_BEFORE_S..event + LOUD_AFTER_S {
            let mut excess = self.excess_at(at).unwrap_or(0.0);
            for place in &mut loudest {
                if excess > *place {
                    std::mem::swap(place, &mut excess);
                }
            }
        }
        loudest.iter().sum::<f64>() / 3.0
    }

    fn excess_at(&self, second: i64) -> Option<f64> {
        self.row(u64::try_from(second).ok()?)?.excess_lu
    }

    /// `second` less the delay; where the sound jumps close by, that second.
    fn event_of(&self, second: u64) -> f64 {
        let event_s = second as f64 - self.delay.seconds;
        let near = event_s.round() as i64;
        let jumps = |at: &i64| {
            let before = self.excess_at(at - 1).unwrap_or(f64::INFINITY);
            before < SPEECH_LU && self.excess_at(*at).unwrap_or(0.0) >= LOUD_LU
        };
        let reach = near - LOUD_ONSET_REACH_S..=near + LOUD_ONSET_REACH_S;
        let jump = reach.filter(jumps).min_by_key(|at| (at.abs_diff(near), *at));
        jump.map_or(event_s, |at| at as f64).max(0.0)
    }

    fn onset_of(&self, second: u64) -> f64 {
        let rates: Vec<f64> = self.rows.iter().map(|row| f64::from(row.rate)).collect();
        let at = (second - self.oldest) as usize;
        let usual = self.rows[at].usual_rate;
        let burst = onset::burst(&rates, at.saturating_sub(5), at + LONG_WINDOW_S as usize, usual);
        burst.map_or(second as f64, |(first, _)| (self.oldest + first as u64) as f64)
    }
}

fn row_at(rows: &mut VecDeque<Row>, oldest: u64, second: Option<u64>) -> Option<&mut Row> {
    rows.get_mut(second?.checked_sub(oldest)? as usize)
}

fn is_thin(row: &Row) -> bool {
    row.usual_rate * 60.0 < THIN_PER_MINUTE
}

fn mood_of(counts: ShortCounts) -> Option<Mood> {
    let moods =
        [(counts.laughter, Mood::Laughter), (counts.awe, Mood::Awe), (counts.shock, Mood::Shock)];
    let mut best: Option<(u32, Mood)> = None;
    for (count, mood) in moods {
        if count > best.map_or(0, |(most, _)| most) {
            best = Some((count, mood));
        }
    }
    best.map(|(_, mood)| mood)
}

/// The first word of a `!command`, without its mark.
fn command(text: &str) -> Option<&str> {
    let word = text.trim_start().strip_prefix('!')?.split_whitespace().next()?;
    word.starts_with(|char: char| char.is_alphabetic()).then_some(word)
}
