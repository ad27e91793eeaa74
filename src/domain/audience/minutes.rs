//! Minutes: what is left of a live's audience for its figures, each with the share of it that was heard.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::domain::audience::{Fact, FactKind};

const MINUTE_MS: i64 = 60_000;
/// Minutes of one live at most, two weeks; what a broken clock places beyond is left out.
const MINUTES_MAX: i64 = 14 * 24 * 60;

/// One minute of a live's audience. `coverage` is the share of the minute that was heard, 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AudienceMinute {
    /// Minute of the live, from 0.
    pub minute: i32,
    pub messages: i32,
    pub chatters: i32,
    pub coverage: f32,
    /// How many watched, on the average of the looks in this minute; `None` when no look told.
    pub viewers: Option<i32>,
}

/// What the facts of a live say for its minutes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// In any order; minutes without a message may be left out.
    pub chat: Vec<MinuteChat>,
    /// In any order; they may overlap and reach beyond the live.
    pub gaps: Vec<Gap>,
    /// Where the last fact stands, in milliseconds from the start.
    pub last_ms: i64,
}

/// The chat of one minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MinuteChat {
    pub minute: i32,
    pub messages: i32,
    pub chatters: i32,
}

/// A stretch that was not heard, in milliseconds from the start of the live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    pub from_ms: i64,
    pub to_ms: i64,
}

impl Gap {
    /// The gap that a fact of kind `missed` tells: where it ends, and how long it is.
    pub const fn ending_at(offset_ms: i64, length_ms: i64) -> Self {
        Self { from_ms: offset_ms.saturating_sub(length_ms), to_ms: offset_ms }
    }
}

impl Tally {
    /// Counts facts.
    pub fn of<'a>(facts: impl IntoIterator<Item = &'a Fact>) -> Self {
        let mut tally = Self::default();
        let mut chat: BTreeMap<i32, (i32, BTreeSet<_>)> = BTreeMap::new();
        for fact in facts {
            tally.last_ms = tally.last_ms.max(fact.offset_ms);
            match fact.kind {
                FactKind::Chat => {
                    let Ok(minute) = i32::try_from(fact.offset_ms / MINUTE_MS) else { continue };
                    let (messages, chatters) = chat.entry(minute).or_default();
                    *messages += 1;
                    chatters.insert(fact.viewer);
                }
                FactKind::Missed => tally.gaps.push(Gap::ending_at(fact.offset_ms, fact.amount)),
                _ => {}
            }
        }
        let count = |(minute, (messages, chatters)): (i32, (i32, BTreeSet<_>))| MinuteChat {
            minute,
            messages,
            chatters: chatters.len() as i32,
        };
        tally.chat = chat.into_iter().map(count).collect();
        tally
    }
}

/// Folds a live of `duration_ms` into minutes. Every minute has a row, a silent one too; what was said after the minute
/// of the end has none. `looks` at how many watched: (milliseconds from the start, viewers).
pub fn minutes_of(tally: &Tally, duration_ms: i64, looks: &[(i64, u32)]) -> Vec<AudienceMinute> {
    let duration_ms = duration_ms.clamp(0, MINUTES_MAX * MINUTE_MS);
    let count = (duration_ms + MINUTE_MS - 1) / MINUTE_MS;
    let chat: BTreeMap<i32, MinuteChat> =
        tally.chat.iter().map(|chat| (chat.minute, *chat)).collect();
    let unheard_ms = unheard_ms(&tally.gaps, duration_ms);
    let viewers = mean_viewers(looks);
    (0..count)
        .map(|number| {
            let minute = number as i32;
            let said = chat.get(&minute);
            let within_ms = (duration_ms - number * MINUTE_MS).min(MINUTE_MS);
            let heard_ms = within_ms - unheard_ms.get(&number).copied().unwrap_or(0);
            AudienceMinute {
                minute,
                messages: said.map_or(0, |chat| chat.messages),
                chatters: said.map_or(0, |chat| chat.chatters),
                coverage: heard_ms as f32 / MINUTE_MS as f32,
                viewers: viewers.get(&number).copied(),
            }
        })
        .collect()
}

/// How many milliseconds of each minute lie in a gap; where gaps overlap, once.
fn unheard_ms(gaps: &[Gap], duration_ms: i64) -> BTreeMap<i64, i64> {
    let mut gaps: Vec<(i64, i64)> = gaps
        .iter()
        .map(|gap| (gap.from_ms.clamp(0, duration_ms), gap.to_ms.clamp(0, duration_ms)))
        .collect();
    gaps.sort_unstable();
    let mut unheard = BTreeMap::new();
    let mut counted_to = 0;
    for (from, to) in gaps {
        let mut at = from.max(counted_to);
        while at < to {
            let minute = at / MINUTE_MS;
            let until = to.min((minute + 1) * MINUTE_MS);
            *unheard.entry(minute).or_insert(0) += until - at;
            at = until;
        }
        counted_to = counted_to.max(to);
    }
    unheard
}

/// The mean of the looks in each minute that has one, rounded.
fn mean_viewers(looks: &[(i64, u32)]) -> BTreeMap<i64, i32> {
    let mut sums: BTreeMap<i64, (f64, f64)> = BTreeMap::new();
    for &(offset_ms, viewers) in looks {
        let (sum, count) = sums.entry(offset_ms.div_euclid(MINUTE_MS)).or_default();
        *sum += f64::from(viewers);
        *count += 1.0;
    }
    sums.into_iter().map(|(minute, (sum, count))| (minute, (sum / count).round() as i32)).collect()
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::domain::audience::Pseudonym;
    use crate::domain::ids::LiveId;

    fn fact(kind: FactKind, offset_ms: i64, viewer: u8, amount: i64) -> Fact {
        let live = LiveId::from_uuid(uuid::Uuid::nil());
        let viewer = Pseudonym([viewer; 16]);
        Fact { live, at: DateTime::UNIX_EPOCH, offset_ms, kind, viewer, amount }
    }

    fn chat(offset_ms: i64, viewer: u8) -> Fact {
        fact(FactKind::Chat, offset_ms, viewer, 3)
    }

    fn missed(ends_at_ms: i64, length_ms: i64) -> Fact {
        fact(FactKind::Missed, ends_at_ms, 0, length_ms)
    }

    #[track_caller]
    fn check_coverage(facts: &[Fact], duration_ms: i64, expected: &[f32]) {
        let minutes = minutes_of(&Tally::of(facts), duration_ms, &[]);
        let coverage: Vec<f32> = minutes.iter().map(|minute| minute.coverage).collect();
        assert_eq!(coverage.len(), expected.len(), "{coverage:?}");
        for (found, expected) in coverage.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{coverage:?}");
        }
    }

    #[test]
    fn minutes_count_messages_and_distinct_chatters_with_their_coverage() {
        let facts = [chat(0, 1), chat(5, 1), chat(10, 2), chat(61_000, 1), chat(500_000, 9)];
        let minutes = minutes_of(&Tally::of(&facts), 90_000, &[]);
        assert_eq!(minutes.len(), 2);
        assert_eq!((minutes[0].messages, minutes[0].chatters), (3, 2));
        assert_eq!((minutes[1].messages, minutes[1].chatters), (1, 1));
        check_coverage(&facts, 90_000, &[1.0, 0.5]);
        assert_eq!(Tally::of(&facts).last_ms, 500_000);
    }

    #[test]
    fn a_gap_takes_its_share_of_each_minute_it_touches() {
        check_coverage(&[missed(90_000, 45_000)], 180_000, &[0.75, 0.5, 1.0]);
        check_coverage(&[missed(150_000, 150_000)], 180_000, &[0.0, 0.0, 0.5]);
    }

    #[test]
    fn gaps_that_overlap_count_once() {
        let gaps = [missed(30_000, 20_000), missed(40_000, 20_000), missed(35_000, 5_000)];
        check_coverage(&gaps, 60_000, &[0.5]);
        check_coverage(&[missed(40_000, 40_000), missed(30_000, 10_000)], 60_000, &[1.0 / 3.0]);
    }

    #[test]
    fn a_gap_counts_within_the_live_only() {
        check_coverage(&[missed(15_000, 3_600_000)], 60_000, &[0.75]);
        check_coverage(&[missed(86_400_000, 86_400_000 - 75_000)], 90_000, &[1.0, 0.25]);
        check_coverage(&[missed(10_000, -5)], 60_000, &[1.0]);
    }

    #[test]
    fn viewers_are_the_mean_of_the_looks_in_a_minute() {
        let looks = [(1_000, 100), (59_000, 103), (125_000, 7), (-1, 9)];
        let minutes = minutes_of(&Tally::default(), 180_000, &looks);
        let viewers: Vec<Option<i32>> = minutes.iter().map(|minute| minute.viewers).collect();
        assert_eq!(viewers, [Some(102), None, Some(7)]);
    }

    #[test]
    fn a_broken_clock_makes_no_endless_live() {
        assert_eq!(minutes_of(&Tally::default(), i64::MAX, &[]).len() as i64, MINUTES_MAX);
        assert_eq!(minutes_of(&Tally::default(), -1, &[]), []);
    }
}
