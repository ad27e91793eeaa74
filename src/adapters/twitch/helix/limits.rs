//! What keeps us from asking too much: points a caller has left, as Twitch's headers say, and a breaker an endpoint.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::header::HeaderMap;
use tokio::time::Instant;

use crate::ports::platform::Caller;

/// How hard Helix is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HelixLimits {
    /// Longest an answer may take.
    pub answer_max: Duration,
    /// Longest a call waits for points; Twitch fills its bucket within a minute.
    pub points_wait_max: Duration,
    /// Faults in a row after which an endpoint is left alone.
    pub breaker_faults: u32,
    /// How long it is left alone; then one call tries it.
    pub breaker_pause: Duration,
}

impl Default for HelixLimits {
    fn default() -> Self {
        Self {
            answer_max: crate::adapters::twitch::http::ANSWER_MAX,
            points_wait_max: Duration::from_secs(65),
            breaker_faults: 5,
            breaker_pause: Duration::from_secs(30),
        }
    }
}

/// Points by caller. Only what headers said is known; nothing is presumed.
#[derive(Debug, Default)]
pub(super) struct Points(Mutex<HashMap<Caller, Bucket>>);

#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: u32,
    full_at: DateTime<Utc>,
}

/// What one answer said of points.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SaidPoints {
    pub left: Option<u32>,
    pub full_at: Option<DateTime<Utc>>,
}

impl SaidPoints {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let number = |name| headers.get(name)?.to_str().ok()?.trim().parse::<i64>().ok();
        Self {
            left: number("ratelimit-remaining").map(|left| u32::try_from(left).unwrap_or(0)),
            full_at: number("ratelimit-reset").and_then(|at| DateTime::from_timestamp(at, 0)),
        }
    }
}

impl Points {
    /// Takes a point, or says until when there is none. A caller nothing is known of may ask.
    pub(super) fn take(&self, caller: &Caller, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let mut buckets = self.buckets();
        let bucket = buckets.get_mut(caller)?;
        if bucket.full_at <= now {
            buckets.remove(caller);
            return None;
        }
        if bucket.left == 0 {
            return Some(bucket.full_at);
        }
        bucket.left -= 1;
        None
    }

    /// Learns from an answer.
    pub(super) fn learn(&self, caller: &Caller, said: SaidPoints) {
        if let SaidPoints { left: Some(left), full_at: Some(full_at) } = said {
            self.buckets().insert(caller.clone(), Bucket { left, full_at });
        }
    }

    fn buckets(&self) -> MutexGuard<'_, HashMap<Caller, Bucket>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A breaker an endpoint: so many faults in a row open it, one success closes it.
#[derive(Debug, Default)]
pub(super) struct Breakers(Mutex<HashMap<&'static str, Breaker>>);

#[derive(Debug, Default)]
struct Breaker {
    faults: u32,
    open_until: Option<Instant>,
}

impl Breakers {
    /// Lets a call through, or says how long the endpoint is still left alone. After the pause one call tries, the
    /// others wait for another pause.
    pub(super) fn admit(
        &self,
        endpoint: &'static str,
        limits: HelixLimits,
    ) -> Result<(), Duration> {
        let mut breakers = self.breakers();
        let breaker = breakers.entry(endpoint).or_default();
        let Some(until) = breaker.open_until else { return Ok(()) };
        let now = Instant::now();
        if now < until {
            return Err(until - now);
        }
        breaker.open_until = Some(now + limits.breaker_pause);
        Ok(())
    }

    /// The endpoint answered, if only to refuse.
    pub(super) fn answered(&self, endpoint: &'static str) {
        self.breakers().remove(endpoint);
    }

    /// The endpoint failed or did not answer. Says whether that opened the breaker.
    pub(super) fn failed(&self, endpoint: &'static str, limits: HelixLimits) -> bool {
        let mut breakers = self.breakers();
        let breaker = breakers.entry(endpoint).or_default();
        breaker.faults += 1;
        if breaker.faults < limits.breaker_faults {
            return false;
        }
        let opened = breaker.open_until.is_none();
        breaker.open_until = Some(Instant::now() + limits.breaker_pause);
        opened
    }

    fn breakers(&self) -> MutexGuard<'_, HashMap<&'static str, Breaker>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
