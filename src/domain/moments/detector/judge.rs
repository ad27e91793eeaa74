//! Decides which seconds are moments, and says why.

use crate::domain::moments::bounds::suggest_span;
use crate::domain::moments::detector::{Detector, RISE_LEARNS, VOTE_WAITS_S};
use crate::domain::moments::history::{HISTORY_S, Row};
use crate::domain::moments::lexicon::Mood;
use crate::domain::moments::moment::{Moment, MomentKind};
use crate::domain::moments::onset;
use crate::domain::moments::reasons::{Reason, ReasonKind, score};
use crate::domain::moments::votes::Tally;
use crate::domain::moments::windows::{LONG_WINDOW_S, SHORT_WINDOW_S, ShortCounts};

/// Bursts within this distance before a vote carry it.
const VOTE_REACH_S: u64 = 30;
/// The terms of the short window are averaged over this many seconds on both sides.
const STEADY_S: u64 = 2;
/// Loudness from this long before the event to this long after it belongs to it.
const LOUD_BEFORE_S: i64 = 5;
const LOUD_AFTER_S: i64 = 15;
/// Ordinary speech is this much over the median; the sound « fires » from [`LOUD_LU`].
const SPEECH_LU: f64 = 3.0;
const LOUD_LU: f64 = 6.0;
/// A window may open before its burst begins, but not by more than this.
const BEGINS_AFTER_S_MAX: u64 = 8;
/// The most of a score that may come from sound: a quarter, so a third of the rest.
const LOUDNESS_OF_CHAT_MAX: f64 = 1.0 / 3.0;
/// In a thin chat sound weighs double and fewer people are enough.
const THIN_CHATTERS_MIN: u32 = 2;
/// A second whose sound jumps within this distance of the estimated event is the event.
const LOUD_ONSET_REACH_S: i64 = 6;

impl Detector {
    /// Decides about the second whose windows are all complete, and about votes left alone.
    pub(super) fn judge(&mut self, second: u64) -> Option<Moment> {
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
        let row = *self.history.row(second)?;
        let tally = self.votes.tally(second);
        let is_early = second < self.first + u64::from(self.params.warm_up_s);
        if !self.is_peak(second) || !self.may_raise(second, &row, tally) || is_early {
            return None;
        }
        self.tell(second, tally)
    }

    pub(super) fn judge_late_vote(&mut self, place: u64) -> Option<Moment> {
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
        self.history.row(second)?;
        self.moment_at(second, tally)
    }

    fn tell(&mut self, second: u64, tally: Tally) -> Option<Moment> {
        let rests = |told: &u64| second < told + u64::from(self.params.refractory_s);
        if self.told.back().is_some_and(rests) && !tally.is_trusted {
            return None;
        }
        let moment = self.moment_at(second, tally)?;
        let burst = self.burst_of(second, self.history.row(second)?.usual_rate);
        let rise_s = burst.culminates as f64 - burst.begins as f64;
        self.rise_s += RISE_LEARNS * (rise_s - self.rise_s);
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

    /// How strongly chat reacts in the 15 seconds that begin here.
    fn strength(&self, row: &Row) -> f64 {
        row.over_short_chatters + self.params.peak_reactions_weight * row.over_reactions
    }

    fn is_peak(&self, second: u64) -> bool {
        let Some(here) = self.history.row(second).map(|row| self.strength(row)) else {
            return false;
        };
        let reach = u64::from(self.params.peak_reach_s.clamp(1, SHORT_WINDOW_S as u32));
        (1..=reach).all(|step| {
            let before = second.checked_sub(step).and_then(|second| self.history.row(second));
            let after = self.history.row(second + step);
            before.is_none_or(|row| self.strength(row) <= here)
                && after.is_none_or(|row| self.strength(row) < here)
        })
    }

    fn may_raise(&self, second: u64, row: &Row, tally: Tally) -> bool {
        row.chatters >= self.params.chatters_min
            || tally.stands_alone()
            || (row.is_thin()
                && row.chatters >= THIN_CHATTERS_MIN
                && self.loudness_over(second) >= LOUD_LU)
    }

    fn moment_at(&self, second: u64, tally: Tally) -> Option<Moment> {
        let row = &self.history.steady_row(second, STEADY_S)?;
        let is_supported = self.support.covers(second);
        let loud_lu = self.loudness_over(second);
        let reasons = self.reasons(row, is_supported, loud_lu, tally);
        let score = score(&reasons);
        if score < self.params.score_min && !tally.is_trusted {
            return None;
        }
        let laughs = row.counts.laughter >= 5 && 2 * row.counts.laughter >= row.counts.messages;
        let kind = if is_supported && !laughs && loud_lu < LOUD_LU {
            MomentKind::Support
        } else {
            MomentKind::Highlight
        };
        let burst = self.burst_of(second, row.usual_rate);
        let event_s = self.event_of(burst);
        Some(Moment {
            peak_s: second as f64,
            onset_s: burst.onset as f64,
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
            let weight = if row.is_thin() { 2.0 } else { 1.0 };
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
        let event = second.cast_signed() - self.delay.seconds.round() as i64;
        self.history.loudest(event - LOUD_BEFORE_S, event + LOUD_AFTER_S)
    }

    /// Where the burst begins, less the delay; where the sound jumps close by, that second.
    fn event_of(&self, burst: Burst) -> f64 {
        let event_s = burst.begins as f64 - self.delay.seconds;
        let near = event_s.round() as i64;
        let jumps = |at: &i64| {
            let before = self.history.excess_at(at - 1).unwrap_or(f64::INFINITY);
            before < SPEECH_LU && self.history.excess_at(*at).unwrap_or(0.0) >= LOUD_LU
        };
        let reach = near - LOUD_ONSET_REACH_S..=near + LOUD_ONSET_REACH_S;
        let jump = reach.filter(jumps).min_by_key(|at| (at.abs_diff(near), *at));
        jump.map_or(event_s, |at| at as f64).max(0.0)
    }

    fn burst_of(&self, second: u64, usual_rate: f64) -> Burst {
        let (oldest, rates) = self.history.rates();
        let at = (second - oldest) as usize;
        let found =
            onset::burst(&rates, at.saturating_sub(5), at + LONG_WINDOW_S as usize, usual_rate);
        let (onset, culminates) = found.map_or((second, second), |burst| {
            (oldest + burst.first as u64, oldest + burst.peak as u64)
        });
        Burst { onset, begins: onset.clamp(second, second + BEGINS_AFTER_S_MAX), culminates }
    }
}

/// The seconds of a reaction.
#[derive(Debug, Clone, Copy)]
struct Burst {
    /// Where chat began to rise, which may be long before it reacts to this.
    onset: u64,
    /// Where the reaction begins: the onset, inside the window of the peak.
    begins: u64,
    culminates: u64,
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
