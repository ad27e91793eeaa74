//! Token buckets for logins, in memory and bounded.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

/// Logins that one address may try for one account in a minute.
const TRIES_PER_ACCOUNT: f64 = 5.0;
/// Logins that one address may try in a minute, whatever the account.
const TRIES_PER_ADDRESS: f64 = 30.0;
/// The time a bucket takes to fill up again.
const REFILL: TimeDelta = TimeDelta::minutes(1);
/// Buckets kept; beyond, full ones are forgotten, then the fullest.
const BUCKETS_MAX: usize = 10_000;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Address(IpAddr),
    Account(IpAddr, String),
}

impl Key {
    const fn size(&self) -> f64 {
        match self {
            Self::Address(_) => TRIES_PER_ADDRESS,
            Self::Account(..) => TRIES_PER_ACCOUNT,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: DateTime<Utc>,
}

/// Counts tries.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    buckets: Mutex<HashMap<Key, Bucket>>,
}

impl Throttle {
    /// Takes one try for this address and account, or says in how many seconds there is one.
    pub(super) fn take(
        &self,
        address: IpAddr,
        account: &str,
        now: DateTime<Utc>,
    ) -> Result<(), u32> {
        let address = network(address);
        let account = account.trim().to_lowercase().chars().take(254).collect();
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= BUCKETS_MAX {
            forget(&mut buckets, now);
        }
        take_one(&mut buckets, Key::Address(address), now)?;
        take_one(&mut buckets, Key::Account(address, account), now)
    }
}

fn take_one(buckets: &mut HashMap<Key, Bucket>, key: Key, now: DateTime<Utc>) -> Result<(), u32> {
    let size = key.size();
    let bucket = buckets.entry(key).or_insert(Bucket { tokens: size, at: now });
    *bucket = Bucket { tokens: filled(*bucket, size, now), at: now };
    if bucket.tokens < 1.0 {
        let seconds = (1.0 - bucket.tokens) * REFILL.num_seconds() as f64 / size;
        return Err(seconds.ceil().max(1.0) as u32);
    }
    bucket.tokens -= 1.0;
    Ok(())
}

fn filled(bucket: Bucket, size: f64, now: DateTime<Utc>) -> f64 {
    let passed_ms = (now - bucket.at).num_milliseconds().max(0) as f64;
    (bucket.tokens + size * passed_ms / REFILL.num_milliseconds() as f64).min(size)
}

/// Makes room: what has filled up again carries no memory. If all are in use, the fuller half goes.
fn forget(buckets: &mut HashMap<Key, Bucket>, now: DateTime<Utc>) {
    buckets.retain(|key, bucket| filled(*bucket, key.size(), now) < key.size());
    if buckets.len() < BUCKETS_MAX {
        return;
    }
    let mut levels: Vec<f64> = buckets.values().map(|bucket| bucket.tokens).collect();
    levels.sort_by(f64::total_cmp);
    let middle = levels[levels.len() / 2];
    buckets.retain(|_, bucket| bucket.tokens < middle);
    buckets.shrink_to(BUCKETS_MAX);
}

/// One IPv6 household has a /64 to itself.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let network = u128::from(address) & (u128::MAX << 64);
            IpAddr::V6(network.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn five_tries_a_minute_and_no_more() {
        let (throttle, start) = (Throttle::default(), DateTime::UNIX_EPOCH);
        for _ in 0..5 {
            assert_eq!(throttle.take(HERE, "ana@villa.fr", start), Ok(()));
        }
        assert_eq!(throttle.take(HERE, " ANA@villa.fr", start), Err(12));
        assert_eq!(
            throttle.take(HERE, "leo@villa.fr", start),
            Ok(()),
            "another account waits for nobody"
        );
        let later = start + TimeDelta::seconds(12);
        assert_eq!(throttle.take(HERE, "ana@villa.fr", later), Ok(()));
        assert!(throttle.take(HERE, "ana@villa.fr", later).is_err());
    }

    #[test]
    fn a_storm_of_accounts_stays_within_bounds() {
        let (throttle, start) = (Throttle::default(), DateTime::UNIX_EPOCH);
        for n in 0..30_000_u32 {
            let address = IpAddr::V4(n.into());
            let _ = throttle.take(address, &format!("{n}@villa.fr"), start);
        }
        assert!(throttle.buckets.lock().unwrap().len() <= BUCKETS_MAX + 1);
    }

    #[test]
    fn one_network_is_one_client() {
        let at = |text: &str| network(text.parse().unwrap());
        assert_eq!(at("2001:db8:1:2::1"), at("2001:db8:1:2:ffff::9"));
        assert_ne!(at("2001:db8:1:2::1"), at("2001:db8:1:3::1"));
        assert_eq!(at("::ffff:10.0.0.1"), at("10.0.0.1"));
    }
}
