//! Sliding counts over the last 15 and 30 seconds of chat, O(1) amortised per message and token.

use std::collections::{HashMap, VecDeque};

use crate::domain::moments::lexicon::Mood;
use crate::domain::moments::reading::Reading;
use crate::domain::moments::signal::ChatterId;

/// Seconds of the window that reacts.
pub(crate) const SHORT_WINDOW_S: u64 = 15;
/// Seconds of the window that measures how many take part.
pub(crate) const LONG_WINDOW_S: u64 = 30;
/// More messages in one second are not counted: memory has a limit, the logarithm hides the rest.
pub(crate) const MESSAGES_PER_SECOND_MAX: u32 = 500;

/// The messages of the last [`LONG_WINDOW_S`] seconds and the counts over them.
#[derive(Debug, Default)]
pub(crate) struct Windows {
    /// Oldest first; the last `in_short` of them are inside the short window.
    messages: VecDeque<Counted>,
    in_short: usize,
    /// Tokens of the messages inside the short window, oldest first.
    tokens: VecDeque<u64>,
    /// Messages and reactions of the second that runs.
    this_second: (u32, u32),
    short: ShortCounts,
    short_chatters: HashMap<ChatterId, u32>,
    long_chatters: HashMap<ChatterId, u32>,
    token_counts: HashMap<u64, u32>,
    /// Σ n_w² over the short window's tokens.
    squares: u64,
}

/// Counts over the short window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ShortCounts {
    pub(crate) messages: u32,
    pub(crate) awe: u32,
    pub(crate) laughter: u32,
    pub(crate) shock: u32,
    pub(crate) shouts: u32,
}

impl ShortCounts {
    pub(crate) fn hype(&self) -> u32 {
        self.awe + self.laughter + self.shock
    }

    fn each(&mut self, reading: Reading, change: fn(&mut u32)) {
        change(&mut self.messages);
        match reading.mood {
            Some(Mood::Awe) => change(&mut self.awe),
            Some(Mood::Laughter) => change(&mut self.laughter),
            Some(Mood::Shock) => change(&mut self.shock),
            None => {}
        }
        if reading.is_shout {
            change(&mut self.shouts);
        }
    }
}

#[derive(Debug)]
struct Counted {
    second: u64,
    chatter: ChatterId,
    tokens: usize,
    reading: Reading,
}

impl Windows {
    /// Counts a message of `second` (never before the last one); says whether it was counted: a
    /// chatter has `per_chatter_max` messages in the short window, and a second has its limit too.
    pub(crate) fn add(
        &mut self,
        second: u64,
        chatter: ChatterId,
        reading: Reading,
        tokens: &[u64],
        per_chatter_max: u32,
    ) -> bool {
        let of_chatter = self.short_chatters.get(&chatter).copied().unwrap_or(0);
        if of_chatter >= per_chatter_max || self.this_second.0 >= MESSAGES_PER_SECOND_MAX {
            return false;
        }
        self.this_second.0 += 1;
        self.this_second.1 += u32::from(reading.mood.is_some());
        self.in_short += 1;
        self.short.each(reading, |count| *count += 1);
        *self.short_chatters.entry(chatter).or_default() += 1;
        *self.long_chatters.entry(chatter).or_default() += 1;
        for &token in tokens {
            let count = self.token_counts.entry(token).or_default();
            self.squares += u64::from(*count) * 2 + 1;
            *count += 1;
            self.tokens.push_back(token);
        }
        self.messages.push_back(Counted { second, chatter, tokens: tokens.len(), reading });
        true
    }

    /// Ends `second`: what lies outside the windows that end with it is forgotten.
    pub(crate) fn end_second(&mut self, second: u64) {
        self.this_second = (0, 0);
        while self.in_short > 0 {
            let at = self.messages.len() - self.in_short;
            let message = &self.messages[at];
            if message.second + SHORT_WINDOW_S > second {
                break;
            }
            self.in_short -= 1;
            self.short.each(message.reading, |count| *count -= 1);
            let (chatter, tokens) = (message.chatter, message.tokens);
            leave(&mut self.short_chatters, chatter);
            for token in self.tokens.drain(..tokens) {
                let before = leave(&mut self.token_counts, token);
                self.squares -= u64::from(before) * 2 - 1;
            }
        }
        while let Some(message) = self.messages.front() {
            if message.second + LONG_WINDOW_S > second {
                break;
            }
            leave(&mut self.long_chatters, message.chatter);
            self.messages.pop_front();
        }
    }

    /// Messages and reactions counted in the second that runs.
    pub(crate) fn this_second(&self) -> (u32, u32) {
        self.this_second
    }

    pub(crate) fn short(&self) -> ShortCounts {
        self.short
    }

    pub(crate) fn short_chatters(&self) -> u32 {
        self.short_chatters.len() as u32
    }

    pub(crate) fn long_chatters(&self) -> u32 {
        self.long_chatters.len() as u32
    }

    /// Token concentration Σ n_w² ÷ N²: about 1 when all write one same word, beyond when all
    /// paste one same sentence; 0 under three messages.
    pub(crate) fn repetition(&self) -> f64 {
        let messages = f64::from(self.short.messages);
        if messages < 3.0 { 0.0 } else { self.squares as f64 / (messages * messages) }
    }

    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.messages.len()
            + self.tokens.len()
            + self.short_chatters.len()
            + self.long_chatters.len()
            + self.token_counts.len()
    }
}

/// Takes one away and says how many there were.
fn leave<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, u32>, key: K) -> u32 {
    let std::collections::hash_map::Entry::Occupied(mut entry) = counts.entry(key) else {
        return 0;
    };
    let before = *entry.get();
    if before <= 1 {
        entry.remove();
    } else {
        *entry.get_mut() -= 1;
    }
    before
}
