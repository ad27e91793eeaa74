//! How the house serves its visitors: whether requests are answered, how fast, and whether offers are taken.
//!
//! Levels after the reliability sheet: availability below 99.9 % over an hour, more than 5 in 100 requests above 100 ms over a
//! minute (that is p95 > 100 ms) with 50 requests at least, conversion below 20 % with 30 offers at least.

use std::collections::VecDeque;
use std::time::Duration;

use crate::domain::alerts::{Condition, Topic};

/// The share of requests that must be answered without a fault of ours.
pub const AVAILABILITY_MIN: f64 = 0.999;
/// Over so long, in seconds.
const AVAILABILITY_OVER_S: u64 = 3_600;
/// Fewer faults than this are no trend: one fault among a hundred requests at night wakes nobody.
const FAULTS_MIN: u64 = 3;
/// A request that takes longer is slow.
pub const SLOW: Duration = Duration::from_millis(100);
/// The share of slow requests above which p95 is slow.
const SLOW_SHARE_MAX: f64 = 0.05;
/// Over so long, in seconds, of so many requests at least.
const SLOW_OVER_S: u64 = 60;
const SLOW_OF_MIN: u64 = 50;
/// The share of offers that should be taken, and how many offers say something.
pub const CONVERSION_MIN: f64 = 0.20;
pub const OFFERS_MIN: u64 = 30;

/// Requests of a second.
#[derive(Debug, Clone, Copy, Default)]
struct Second {
    at: u64,
    answered: u64,
    faults: u64,
    slow: u64,
    /// Of those whose time says something.
    timed: u64,
}

/// The requests of the last hour, second by second. Holds 3,600 rows at most.
#[derive(Debug, Clone, Default)]
pub struct Requests(VecDeque<Second>);

impl Requests {
    /// Notes a request. `now_s` is of a clock that never steps; `took` is none where the time is the client's or the work's own.
    pub fn note(&mut self, now_s: u64, is_fault: bool, took: Option<Duration>) {
        if self.0.back().is_none_or(|last| last.at < now_s) {
            self.0.push_back(Second { at: now_s, ..Second::default() });
            while self.0.front().is_some_and(|first| first.at + AVAILABILITY_OVER_S <= now_s) {
                self.0.pop_front();
            }
        }
        let Some(second) = self.0.back_mut() else { return };
        second.answered += 1;
        second.faults += u64::from(is_fault);
        if let Some(took) = took {
            second.timed += 1;
            second.slow += u64::from(took > SLOW);
        }
    }

    /// What is wrong at `now_s`.
    pub fn judge(&self, now_s: u64) -> Vec<Condition> {
        let over = |span: u64| self.0.iter().filter(move |second| second.at + span > now_s);
        let (mut answered, mut faults) = (0, 0);
        for second in over(AVAILABILITY_OVER_S) {
            answered += second.answered;
            faults += second.faults;
        }
        let (mut timed, mut slow) = (0, 0);
        for second in over(SLOW_OVER_S) {
            timed += second.timed;
            slow += second.slow;
        }
        let mut wrong = Vec::new();
        let fault_share = share(faults, answered);
        if faults >= FAULTS_MIN && fault_share > 1.0 - AVAILABILITY_MIN {
            wrong.push(Condition::new(Topic::Availability, Some(fault_share)));
        }
        let slow_share = share(slow, timed);
        if timed >= SLOW_OF_MIN && slow_share > SLOW_SHARE_MAX {
            wrong.push(Condition::new(Topic::Latency, Some(slow_share)));
        }
        wrong
    }
}

/// What is wrong with offers of which so many were taken; nothing is said of too few.
pub fn conversion(offers: u64, taken: u64) -> Option<Condition> {
    let share = share(taken, offers);
    (offers >= OFFERS_MIN && share < CONVERSION_MIN)
        .then(|| Condition::new(Topic::Conversion, Some(share)))
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Option<Duration> = Some(Duration::from_millis(8));
    const LATE: Option<Duration> = Some(Duration::from_millis(101));

    fn topics(requests: &Requests, now: u64) -> Vec<Topic> {
        requests.judge(now).into_iter().map(|it| it.topic).collect()
    }

    #[test]
    fn slow_requests_are_an_alert_with_enough_of_them() {
        let mut requests = Requests::default();
        for n in 0..49 {
            requests.note(n / 10, false, LATE);
        }
        assert_eq!(topics(&requests, 5), [], "49 say nothing");
        requests.note(5, false, LATE);
        assert_eq!(topics(&requests, 5), [Topic::Latency]);
        assert_eq!(topics(&requests, 64), [], "a minute later they are past");
        let mut requests = Requests::default();
        for n in 0..100 {
            requests.note(n / 10, false, if n < 5 { LATE } else { QUICK });
        }
        assert_eq!(topics(&requests, 10), [], "five in a hundred: p95 is on the line");
        requests.note(10, false, LATE);
        assert_eq!(topics(&requests, 10), [Topic::Latency]);
    }

    #[test]
    fn a_request_whose_time_is_its_own_is_never_slow() {
        let mut requests = Requests::default();
        (0..100).for_each(|_| requests.note(0, false, None));
        assert_eq!(topics(&requests, 0), []);
    }

    #[test]
    fn faults_are_an_alert_beyond_one_in_a_thousand_and_never_two_alone() {
        let mut requests = Requests::default();
        (0..2).for_each(|_| requests.note(0, true, QUICK));
        assert_eq!(topics(&requests, 0), []);
        requests.note(1, true, QUICK);
        assert_eq!(topics(&requests, 1), [Topic::Availability]);
        (0..3_000).for_each(|n| requests.note(2 + n / 100, false, QUICK));
        assert_eq!(topics(&requests, 40), [], "three in 3,003 are within");
        assert_eq!(requests.judge(3_602), [], "an hour later all is past");
    }

    #[test]
    fn an_hour_is_all_that_is_held() {
        let mut requests = Requests::default();
        (0..20_000).for_each(|second| requests.note(second, false, QUICK));
        assert!(requests.0.len() as u64 <= AVAILABILITY_OVER_S, "{}", requests.0.len());
    }

    #[test]
    fn conversion_speaks_of_thirty_offers_at_least() {
        assert_eq!(conversion(29, 0), None);
        assert_eq!(conversion(30, 6), None, "20 % are enough");
        assert_eq!(conversion(30, 5).expect("too few").topic, Topic::Conversion);
    }
}
