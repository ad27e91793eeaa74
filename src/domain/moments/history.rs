//! What is remembered of the last minutes, one row a second.

use std::collections::VecDeque;

use crate::domain::moments::windows::ShortCounts;

/// Seconds that are remembered: enough for the clip a viewer makes after the fact.
pub(crate) const HISTORY_S: usize = 240;
/// The usual rate of messages is remembered for five minutes.
const USUAL_RATE_S: f64 = 300.0;
/// Under ten messages a minute chat is thin.
const THIN_PER_MINUTE: f64 = 10.0;

/// What is known of a second: first its own rate and loudness, then, as they end, the windows
/// that begin with it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Row {
    pub(crate) rate: u32,
    pub(crate) usual_rate: f64,
    pub(crate) excess_lu: Option<f64>,
    pub(crate) counts: ShortCounts,
    pub(crate) chatters: u32,
    pub(crate) over_long_chatters: f64,
    pub(crate) over_short_chatters: f64,
    pub(crate) over_reactions: f64,
    pub(crate) over_shouts: f64,
    pub(crate) repetition: f64,
}

impl Row {
    pub(crate) fn is_thin(&self) -> bool {
        self.usual_rate * 60.0 < THIN_PER_MINUTE
    }
}

/// The rows of the last [`HISTORY_S`] seconds.
#[derive(Debug, Default)]
pub(crate) struct History {
    rows: VecDeque<Row>,
    oldest: u64,
    usual_rate: f64,
}

impl History {
    pub(crate) fn starting_at(second: u64) -> Self {
        Self { rows: VecDeque::with_capacity(HISTORY_S + 1), oldest: second, usual_rate: 0.0 }
    }

    /// Adds the next second.
    pub(crate) fn push(&mut self, rate: u32, excess_lu: Option<f64>) {
        self.rows.push_back(Row { rate, usual_rate: self.usual_rate, excess_lu, ..Row::default() });
        self.usual_rate += (f64::from(rate) - self.usual_rate) / USUAL_RATE_S;
        if self.rows.len() > HISTORY_S {
            self.rows.pop_front();
            self.oldest += 1;
        }
    }

    pub(crate) fn row(&self, second: u64) -> Option<&Row> {
        self.rows.get(second.checked_sub(self.oldest)? as usize)
    }

    pub(crate) fn row_mut(&mut self, second: u64) -> Option<&mut Row> {
        self.rows.get_mut(second.checked_sub(self.oldest)? as usize)
    }

    /// The row of `second`, its short-window terms averaged with those of `reach` seconds on both
    /// sides: one second is a noisy witness.
    pub(crate) fn steady_row(&self, second: u64, reach: u64) -> Option<Row> {
        let mut steady = *self.row(second)?;
        let near = second.saturating_sub(reach)..=second + reach;
        let rows: Vec<&Row> = near.filter_map(|second| self.row(second)).collect();
        let mean = |term: fn(&Row) -> f64| {
            rows.iter().map(|row| term(row)).sum::<f64>() / rows.len() as f64
        };
        steady.over_reactions = mean(|row| row.over_reactions);
        steady.over_shouts = mean(|row| row.over_shouts);
        steady.repetition = mean(|row| row.repetition);
        Some(steady)
    }

    /// The messages of each second, and the first of these seconds.
    pub(crate) fn rates(&self) -> (u64, Vec<f64>) {
        (self.oldest, self.rows.iter().map(|row| f64::from(row.rate)).collect())
    }

    pub(crate) fn excess_at(&self, second: i64) -> Option<f64> {
        self.row(u64::try_from(second).ok()?)?.excess_lu
    }

    /// The mean excess of the loudest three seconds of `from..to`, in LU.
    pub(crate) fn loudest(&self, from: i64, to: i64) -> f64 {
        let mut loudest = [0.0_f64; 3];
        for second in from..to {
            let mut excess = self.excess_at(second).unwrap_or(0.0);
            for place in &mut loudest {
                if excess > *place {
                    std::mem::swap(place, &mut excess);
                }
            }
        }
        loudest.iter().sum::<f64>() / 3.0
    }
}
