//! Explicit wishes for a clip: `!clip`, the creator's marker, a viewer's clip.

use std::collections::VecDeque;

use crate::domain::moments::signal::ChatterId;

/// What the votes may add to a score at most.
pub const VOTES_SHARE_MAX: f64 = 2.0;
/// Distinct viewers that weigh as much as the creator.
pub const VOTERS_FULL: u32 = 5;
/// Distinct viewers whose votes make a moment where chat showed none.
const VOTERS_ALONE_MIN: u32 = 3;
/// One vote of a voter in this many seconds.
const VOTE_PER_VOTER_S: u64 = 60;
/// Votes older than this are decided.
const VOTES_S: u64 = 180;
const VOTES_MAX: usize = 512;
/// A vote belongs to a burst from this long before its first second to [`AFTER_S`] after it.
const BEFORE_S: u64 = 10;
const AFTER_S: u64 = 30;

/// The votes of the last minutes, by the chat second they speak of.
#[derive(Debug, Default)]
pub(crate) struct Votes {
    votes: VecDeque<Placed>,
}

#[derive(Debug)]
struct Placed {
    heard: u64,
    place: u64,
    by: ChatterId,
    is_trusted: bool,
}

/// What the votes say about one burst.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Tally {
    pub(crate) voters: u32,
    pub(crate) is_trusted: bool,
}

impl Tally {
    pub(crate) fn share(self) -> f64 {
        if self.is_trusted {
            VOTES_SHARE_MAX
        } else {
            VOTES_SHARE_MAX * f64::from(self.voters.min(VOTERS_FULL)) / f64::from(VOTERS_FULL)
        }
    }

    /// Whether these votes make a moment without any burst.
    pub(crate) fn stands_alone(self) -> bool {
        self.is_trusted || self.voters >= VOTERS_ALONE_MIN
    }
}

impl Votes {
    /// Takes a vote heard now for chat second `place`; false when the voter has voted already.
    pub(crate) fn add(&mut self, now: u64, place: u64, by: ChatterId, is_trusted: bool) -> bool {
        while self.votes.front().is_some_and(|vote| vote.heard + VOTES_S < now)
            || self.votes.len() >= VOTES_MAX
        {
            self.votes.pop_front();
        }
        let again =
            |vote: &Placed| vote.by == by && now < vote.heard.saturating_add(VOTE_PER_VOTER_S);
        if self.votes.iter().any(again) {
            return false;
        }
        self.votes.push_back(Placed { heard: now, place, by, is_trusted });
        true
    }

    /// The votes for the burst that begins at `second`.
    pub(crate) fn tally(&self, second: u64) -> Tally {
        let mut tally = Tally::default();
        let from = second.saturating_sub(BEFORE_S);
        for (index, vote) in self.votes.iter().enumerate() {
            if !(from..second + AFTER_S).contains(&vote.place) {
                continue;
            }
            let is_new = !self.votes.iter().take(index).any(|earlier| {
                earlier.by == vote.by && (from..second + AFTER_S).contains(&earlier.place)
            });
            tally.voters += u32::from(is_new);
            tally.is_trusted |= vote.is_trusted;
        }
        tally
    }

    /// Whether a vote speaks of exactly this second.
    pub(crate) fn any_at(&self, second: u64) -> bool {
        self.votes.iter().any(|vote| vote.place == second)
    }

    /// The last second a vote speaks of.
    pub(crate) fn latest(&self) -> Option<u64> {
        self.votes.iter().map(|vote| vote.place).max()
    }

    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.votes.len()
    }
}

/// Whether a chat message asks for a clip: its first word is `!clip`, in any case.
pub fn is_vote(text: &str) -> bool {
    text.split_whitespace().next().is_some_and(|word| word.eq_ignore_ascii_case("!clip"))
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these numbers are equal by construction")]
mod tests {
    use crate::domain::moments::signal::ChatterId;
    use crate::domain::moments::votes::{VOTES_SHARE_MAX, Votes, is_vote};

    #[test]
    fn only_a_message_that_begins_with_the_command_is_a_vote() {
        for vote in ["!clip", "  !CLIP ça", "!Clip maintenant"] {
            assert!(is_vote(vote), "{vote:?}");
        }
        for other in ["", "!clips", "fais un !clip", "clip"] {
            assert!(!is_vote(other), "{other:?}");
        }
    }

    #[test]
    fn one_voter_counts_once_a_minute() {
        let mut votes = Votes::default();
        assert!(votes.add(100, 100, ChatterId(1), false));
        assert!(!votes.add(130, 130, ChatterId(1), false));
        assert!(votes.add(130, 130, ChatterId(2), false));
        assert_eq!(votes.tally(105).voters, 2);
    }

    #[test]
    fn viewers_together_weigh_what_the_creator_weighs_and_no_more() {
        let mut votes = Votes::default();
        for viewer in 0..100 {
            votes.add(100, 100, ChatterId(viewer), false);
        }
        assert_eq!(votes.tally(100).share(), VOTES_SHARE_MAX);
        let mut votes = Votes::default();
        votes.add(100, 100, ChatterId(1), true);
        assert_eq!(votes.tally(100).share(), VOTES_SHARE_MAX);
    }
}
