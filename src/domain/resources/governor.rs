//! How much of the time renders may run, so that the whole machine stays below its ceiling: what live work takes is left to
//! it, renders get the rest.
//!
//! Feed-forward with a budget of five seconds, measured beside other limiters in the sheet on reliability: limits on the
//! renders alone (quotas, priorities, thread counts) let the machine pass 92 % when live work rises.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::domain::resources::Scope;

/// How often the governor looks, and the length of one turn of running and resting.
pub const TURN: Duration = Duration::from_millis(100);
/// The share of the machine that live work and renders together are steered to.
const TARGET: f64 = 0.72;
/// The mean share over [`SPAN_S`] that is never planned to be passed.
const GUARD: f64 = 0.77;
/// Seconds over which the ceiling holds.
const SPAN_S: f64 = 5.0;
/// Seconds over which the present load is told.
const PRESENT_S: f64 = 1.0;
/// How fast the estimate of live load follows a rise, and a fall.
const RISING: f64 = 0.55;
const FALLING: f64 = 0.12;
/// How fast the estimate of what renders would take without a break follows.
const LEARNING: f64 = 0.3;
/// Below this duty a turn says nothing about what renders would take.
const DUTY_TELLING: f64 = 0.05;
/// What renders are thought to take before anybody saw them: everything.
const FULL_FIRST: f64 = 1.0;
/// The duty before the first look.
const DUTY_FIRST: f64 = 0.5;

/// What was seen of one scope since the look before.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Seen {
    pub scope: Scope,
    /// CPU time of everybody, renders too.
    pub busy: Duration,
    /// Cores of the scope, more than none.
    pub cores: f64,
}

/// What the governor says after a look.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verdict {
    /// The share of the next turn in which renders may run, 0 to 1.
    pub duty: f64,
    /// The scope that allows the least.
    pub scope: Scope,
    /// Load of all but the renders, smoothed, in the scope where it weighs most: 0 to 1.
    pub live: f64,
    /// Load of everybody over the last second, in the scope where it weighs most: 0 to 1.
    pub total: f64,
}

/// Steers the renders of one process.
#[derive(Debug, Clone)]
pub struct Governor {
    scopes: BTreeMap<Scope, Budget>,
    duty: f64,
}

/// What is known of one scope. Quantities are shares of its cores.
#[derive(Debug, Clone)]
struct Budget {
    live: f64,
    full: f64,
    /// Of each look: its length in seconds, and busy seconds of the whole scope in it.
    past: VecDeque<(f64, f64)>,
}

impl Default for Governor {
    fn default() -> Self {
        Self { scopes: BTreeMap::new(), duty: DUTY_FIRST }
    }
}

impl Governor {
    /// Takes one look in and says what renders may do next. `renders` is the CPU time they took since the look before, none
    /// when there are none. None when nothing was seen: a governor that is blind lets no render run.
    pub fn look(
        &mut self,
        elapsed: Duration,
        seen: &[Seen],
        renders: Option<Duration>,
    ) -> Option<Verdict> {
        let elapsed_s = elapsed.as_secs_f64();
        if elapsed_s <= 0.0 {
            return None;
        }
        let given = self.duty;
        self.scopes.retain(|scope, _| seen.iter().any(|seen| seen.scope == *scope));
        let mut verdict: Option<Verdict> = None;
        for seen in seen.iter().filter(|seen| seen.cores > 0.0) {
            let share = |time: Duration| time.as_secs_f64() / elapsed_s / seen.cores;
            let budget = self.scopes.entry(seen.scope).or_insert_with(Budget::new);
            budget.take(elapsed_s, share(seen.busy), renders.map(share), given);
            let own = Verdict {
                duty: budget.duty(),
                scope: seen.scope,
                live: budget.live,
                total: budget.present(),
            };
            verdict = Some(verdict.map_or(own, |other| Verdict {
                live: own.live.max(other.live),
                total: own.total.max(other.total),
                ..if own.duty < other.duty { own } else { other }
            }));
        }
        self.duty = verdict.map_or(0.0, |verdict| verdict.duty);
        verdict
    }

    /// The renders did not run as the last verdict said, but for this share of the turn.
    pub fn given(&mut self, duty: f64) {
        self.duty = duty;
    }
}

impl Budget {
    fn new() -> Self {
        Self { live: 0.0, full: FULL_FIRST, past: VecDeque::new() }
    }

    fn take(&mut self, elapsed_s: f64, busy: f64, renders: Option<f64>, given: f64) {
        let live = (busy - renders.unwrap_or(0.0)).max(0.0);
        let pace = if live > self.live { RISING } else { FALLING };
        self.live = if self.past.is_empty() { live } else { self.live + pace * (live - self.live) };
        match renders {
            Some(taken) if given > DUTY_TELLING => {
                self.full += LEARNING * (taken / given - self.full);
            }
            Some(_) => {}
            // The next ones may be of another kind.
            None => self.full = FULL_FIRST,
        }
        self.past.push_back((elapsed_s, busy * elapsed_s));
        while self.span() - self.past.front().map_or(0.0, |(length, _)| *length) >= SPAN_S {
            self.past.pop_front();
        }
    }

    fn span(&self) -> f64 {
        self.past.iter().map(|(length, _)| length).sum()
    }

    /// Load over the last second or so.
    fn present(&self) -> f64 {
        let (mut span, mut busy) = (0.0, 0.0);
        for (length, part) in self.past.iter().rev() {
            if span + length > PRESENT_S * 1.05 {
                break;
            }
            span += length;
            busy += part;
        }
        if span > 0.0 { busy / span } else { 0.0 }
    }

    fn duty(&self) -> f64 {
        let turn = TURN.as_secs_f64();
        let spent: f64 = self.past.iter().map(|(_, busy)| busy).sum();
        // What the next turn may take so that the five seconds up to its end hold, with one turn of everything kept back:
        // live work may step up at any time.
        let guard = (GUARD * (self.span() + turn) - spent - turn) / turn;
        let room = (TARGET - self.live).min(guard - self.live);
        (room / self.full.max(DUTY_TELLING)).clamp(0.0, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CORES: f64 = 2.0;

    /// A machine of two cores on which live work takes `live(turn)` and renders take `full` of what is left while they run.
    /// Gives the busy share of every turn.
    fn play(turns: usize, full: impl Fn(usize) -> f64, live: impl Fn(usize) -> f64) -> Vec<f64> {
        let (mut governor, mut duty, mut busy) = (Governor::default(), DUTY_FIRST, Vec::new());
        for turn in 0..turns {
            let live = live(turn);
            let renders = duty * full(turn).min(1.0 - live);
            busy.push(live + renders);
            let time = |share: f64| Duration::from_secs_f64(share * CORES * TURN.as_secs_f64());
            let seen = [Seen { scope: Scope::Host, busy: time(live + renders), cores: CORES }];
            duty = governor.look(TURN, &seen, Some(time(renders))).expect("a sight").duty;
        }
        busy
    }

    fn worst(busy: &[f64], turns: usize) -> f64 {
        busy.windows(turns)
            .map(|window| window.iter().sum::<f64>() / turns as f64)
            .fold(0.0, f64::max)
    }

    fn mean(busy: &[f64]) -> f64 {
        busy.iter().sum::<f64>() / busy.len() as f64
    }

    #[test]
    fn renders_alone_are_held_at_the_target() {
        let busy = play(600, |_| 1.0, |_| 0.02);
        assert!(worst(&busy[50..], 50) <= 0.77, "{}", worst(&busy, 50));
        assert!(mean(&busy[50..]) > 0.65, "{}", mean(&busy[50..]));
    }

    #[test]
    fn a_step_of_live_work_takes_its_room_from_the_renders() {
        let step = |turn: usize| if turn % 600 >= 500 && turn % 600 < 580 { 0.45 } else { 0.08 };
        let busy = play(3_000, |_| 1.0, step);
        assert!(worst(&busy[50..], 50) <= 0.80, "{}", worst(&busy[50..], 50));
        assert!(worst(&busy[50..], 10) <= 0.85, "{}", worst(&busy[50..], 10));
        assert!(mean(&busy[50..]) > 0.65, "{}", mean(&busy[50..]));
    }

    #[test]
    fn without_a_governor_the_same_load_breaks_the_ceiling() {
        let busy: Vec<f64> = (0..100).map(|_| 1.0).collect();
        assert!(worst(&busy, 50) > 0.80);
    }

    #[test]
    fn renders_that_need_little_are_not_slowed() {
        let busy = play(300, |_| 0.4, |_| 0.1);
        assert!((mean(&busy[100..]) - 0.5).abs() < 0.01, "{}", mean(&busy[100..]));
    }

    #[test]
    fn live_work_near_the_ceiling_leaves_renders_nothing() {
        let (mut governor, time) = (Governor::default(), Duration::from_millis(160));
        let seen = [Seen { scope: Scope::Host, busy: time, cores: CORES }];
        let verdict =
            (0..50).map(|_| governor.look(TURN, &seen, None).expect("a sight")).next_back();
        let verdict = verdict.expect("a verdict");
        assert!(verdict.duty < f64::EPSILON && (verdict.total - 0.8).abs() < 0.01, "{verdict:?}");
    }

    #[test]
    fn the_tightest_scope_rules() {
        let mut governor = Governor::default();
        let (busy, renders) = (Duration::from_millis(50), Duration::from_millis(20));
        let seen = [
            Seen { scope: Scope::Host, busy, cores: 8.0 },
            Seen { scope: Scope::Cgroup, busy, cores: 0.75 },
        ];
        let verdict = (0..20).map(|_| governor.look(TURN, &seen, Some(renders))).next_back();
        let verdict = verdict.flatten().expect("a verdict");
        assert_eq!(verdict.scope, Scope::Cgroup);
        assert!((verdict.live - 0.4).abs() < 0.01, "{verdict:?}");
    }

    #[test]
    fn a_blind_governor_lets_nothing_run() {
        let mut governor = Governor::default();
        assert_eq!(governor.look(TURN, &[], None), None);
        assert!(governor.duty < f64::EPSILON);
    }

    #[test]
    fn a_turn_that_took_long_counts_for_its_length() {
        let mut governor = Governor::default();
        let seen = |busy_s: f64| {
            [Seen { scope: Scope::Host, busy: Duration::from_secs_f64(busy_s), cores: CORES }]
        };
        governor.look(Duration::from_secs(2), &seen(4.0), None).expect("a sight");
        let verdict = governor.look(TURN, &seen(0.0), None).expect("a sight");
        assert!(
            verdict.duty < f64::EPSILON,
            "two seconds of everything use the budget up: {verdict:?}"
        );
    }
}
