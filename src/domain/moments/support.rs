//! Times when chatters come for another reason than the picture: raids, gifts, hype trains.

use std::collections::VecDeque;

use crate::domain::moments::signal::AudienceEvent;

/// Seconds an event keeps bringing chatters.
const SUPPORT_S: u64 = 75;
/// Bursts that begin this long before the event is told may be its first chatters.
const LEAD_S: u64 = 15;
/// This many subs or gifts within [`WAVE_S`] seconds are a wave; one alone changes nothing.
const WAVE_SUBS_MIN: usize = 5;
const WAVE_S: u64 = 15;
const SPANS_MAX: usize = 64;

/// The support spans of the last minutes.
#[derive(Debug, Default)]
pub(crate) struct Support {
    /// First and last second, oldest first.
    spans: VecDeque<(u64, u64)>,
    subs: VecDeque<u64>,
}

impl Support {
    pub(crate) fn hear(&mut self, second: u64, event: AudienceEvent) {
        let opens = match event {
            AudienceEvent::Raid { .. }
            | AudienceEvent::HypeTrainBegan
            | AudienceEvent::HypeTrainProgressed
            | AudienceEvent::HypeTrainEnded
            | AudienceEvent::PollEnded
            | AudienceEvent::PredictionEnded
            | AudienceEvent::TitleChanged => true,
            AudienceEvent::GiftBomb { count } => {
                count as usize >= WAVE_SUBS_MIN || self.joins_wave(second, count as usize)
            }
            AudienceEvent::Sub => self.joins_wave(second, 1),
            AudienceEvent::Cheer { .. } => false,
        };
        if opens {
            self.open(second);
        }
    }

    /// Whether the burst window that begins at `second` lies in a support span.
    pub(crate) fn covers(&self, second: u64) -> bool {
        self.spans.iter().any(|&(from, to)| (from..to).contains(&second))
    }

    fn joins_wave(&mut self, second: u64, subs: usize) -> bool {
        self.subs.extend(std::iter::repeat_n(second, subs));
        while self.subs.len() > WAVE_SUBS_MIN
            || self.subs.front().is_some_and(|&first| first + WAVE_S < second)
        {
            self.subs.pop_front();
        }
        self.subs.len() == WAVE_SUBS_MIN
    }

    fn open(&mut self, second: u64) {
        let (from, to) = (second.saturating_sub(LEAD_S), second + SUPPORT_S);
        match self.spans.back_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => self.spans.push_back((from, to)),
        }
        if self.spans.len() > SPANS_MAX {
            self.spans.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::domain::moments::signal::AudienceEvent;
    use crate::domain::moments::support::Support;

    #[test]
    fn a_raid_covers_the_minute_after_it() {
        let mut support = Support::default();
        support.hear(100, AudienceEvent::Raid { viewers: 40 });
        assert!(support.covers(90) && support.covers(160));
        assert!(!support.covers(80) && !support.covers(180));
    }

    #[test]
    fn one_sub_or_cheer_changes_nothing_and_a_wave_does() {
        let mut support = Support::default();
        support.hear(100, AudienceEvent::Cheer { bits: 10_000 });
        for second in [100, 130, 160, 190, 220] {
            support.hear(second, AudienceEvent::Sub);
        }
        assert!(!support.covers(221));
        for _ in 0..5 {
            support.hear(300, AudienceEvent::Sub);
        }
        assert!(support.covers(301));
    }
}
