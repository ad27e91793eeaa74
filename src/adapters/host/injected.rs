//! Meters that say what a file says, so that a test or a drill drives any level.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::adapters::host::root::Seen;
use crate::domain::resources::{Blind, Reading, Resource, Sample, Scope};
use crate::ports::PortError;
use crate::ports::host::{CpuClock, CpuTime, Meters};

/// Meters whose shares a JSON file overrules, such as `{"cpu": 0.9, "disk": 0.81}`, read anew at each look. What it does not
/// name is read as it is. A file that cannot be read makes every resource blind: nothing is known of what it meant.
pub struct InjectedMeters {
    inner: Arc<dyn Meters>,
    file: PathBuf,
}

impl InjectedMeters {
    /// Overrules these meters by this file.
    pub fn new(inner: Arc<dyn Meters>, file: PathBuf) -> Self {
        Self { inner, file }
    }
}

impl Meters for InjectedMeters {
    fn read(&self) -> Sample {
        let mut sample = self.inner.read();
        let shares = match shares(&self.file) {
            Ok(shares) => shares,
            Err(why) => {
                let blind = Resource::ALL.into_iter().map(|resource| Blind {
                    resource,
                    scope: Scope::Host,
                    why: why.clone(),
                });
                let blind = blind.collect();
                return Sample { at: sample.at, readings: Vec::new(), blind, uncapped: Vec::new() };
            }
        };
        for (resource, share) in shares {
            // In the measure of what is there, so that it reads like the truth.
            let standing = sample.tightest(resource).copied();
            let (scope, capacity) =
                standing.map_or((Scope::Host, 1.0), |it| (it.scope, it.capacity));
            sample.readings.retain(|it| it.resource != resource);
            sample.blind.retain(|it| it.resource != resource);
            sample.uncapped.retain(|it| it.resource != resource);
            sample.readings.push(Reading { resource, scope, used: share * capacity, capacity });
        }
        sample
    }
}

/// The same for the governor's clock: a host kept as busy as the file's `cpu` says.
pub struct InjectedCpuClock {
    inner: Arc<dyn CpuClock>,
    file: PathBuf,
    state: Mutex<Busy>,
}

/// What the pretended host was busy so far.
struct Busy {
    at: Instant,
    sum: Duration,
}

impl InjectedCpuClock {
    /// Overrules this clock by this file.
    pub fn new(inner: Arc<dyn CpuClock>, file: PathBuf) -> Self {
        let state = Mutex::new(Busy { at: Instant::now(), sum: Duration::ZERO });
        Self { inner, file, state }
    }
}

impl CpuClock for InjectedCpuClock {
    fn cpu(&self) -> Result<Vec<CpuTime>, PortError> {
        let share = shares(&self.file).map_err(PortError::plain)?.get(&Resource::Cpu).copied();
        let rows = self.inner.cpu()?;
        let Some(share) = share else { return Ok(rows) };
        let cores = rows.first().map_or(1.0, |host| host.cores);
        let mut busy = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let passed = now - busy.at;
        *busy = Busy { at: now, sum: busy.sum + passed.mul_f64(share * cores) };
        Ok(vec![CpuTime { scope: Scope::Host, busy: busy.sum, cores }])
    }
}

fn shares(file: &Path) -> Seen<BTreeMap<Resource, f64>> {
    let told = |error: &dyn std::fmt::Display| {
        format!("the injected shares in `{}` cannot be read: {error}", file.display())
    };
    let text = std::fs::read_to_string(file).map_err(|error| told(&error))?;
    let shares: BTreeMap<Resource, f64> =
        serde_json::from_str(&text).map_err(|error| told(&error))?;
    match shares.values().find(|share| !(0.0..=SHARE_MAX).contains(*share)) {
        Some(share) => Err(told(&format!("{share} is no share"))),
        None => Ok(shares),
    }
}

/// The largest share that is believed.
const SHARE_MAX: f64 = 100.0;

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    struct Idle;

    impl Meters for Idle {
        fn read(&self) -> Sample {
            let reading =
                |resource, capacity| Reading { resource, scope: Scope::Host, used: 0.0, capacity };
            Sample {
                at: DateTime::UNIX_EPOCH,
                readings: vec![reading(Resource::Cpu, 2.0), reading(Resource::Memory, 1000.0)],
                blind: Vec::new(),
                uncapped: Vec::new(),
            }
        }
    }

    impl CpuClock for Idle {
        fn cpu(&self) -> Result<Vec<CpuTime>, PortError> {
            Ok(vec![CpuTime { scope: Scope::Host, busy: Duration::ZERO, cores: 2.0 }])
        }
    }

    #[test]
    fn the_file_is_read_anew_at_each_look() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("shares.json");
        let meters = InjectedMeters::new(Arc::new(Idle), file.clone());
        let share = |resource| meters.read().tightest(resource).map(Reading::ratio);
        std::fs::write(&file, r#"{"cpu": 0.9, "queue_wait": 1.5}"#).unwrap();
        assert_eq!((share(Resource::Cpu), share(Resource::QueueWait)), (Some(0.9), Some(1.5)));
        assert_eq!(share(Resource::Memory), Some(0.0), "what it does not name stays");
        std::fs::write(&file, "{}").unwrap();
        assert_eq!((share(Resource::Cpu), share(Resource::QueueWait)), (Some(0.0), None));
    }

    #[test]
    fn a_garbled_file_makes_everything_blind() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("shares.json");
        let meters = InjectedMeters::new(Arc::new(Idle), file.clone());
        let clock = InjectedCpuClock::new(Arc::new(Idle), file.clone());
        for garbage in [
            None,
            Some("{"),
            Some(r#"{"cup": 0.5}"#),
            Some(r#"{"cpu": -1}"#),
            Some(r#"{"cpu": 1e9}"#),
        ] {
            if let Some(garbage) = garbage {
                std::fs::write(&file, garbage).unwrap();
            }
            let sample = meters.read();
            assert_eq!((sample.readings.len(), sample.blind.len()), (0, Resource::ALL.len()));
            assert!(clock.cpu().is_err(), "{garbage:?}");
        }
    }

    #[test]
    fn the_clock_runs_as_fast_as_the_file_says() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("shares.json");
        std::fs::write(&file, r#"{"cpu": 0.5}"#).unwrap();
        let clock = InjectedCpuClock::new(Arc::new(Idle), file.clone());
        let (begun, before) = (Instant::now(), clock.cpu().unwrap()[0].busy);
        std::thread::sleep(Duration::from_millis(50));
        let busy = clock.cpu().unwrap()[0].busy.saturating_sub(before);
        assert!(busy >= Duration::from_millis(50) && busy <= begun.elapsed(), "{busy:?}");
        std::fs::write(&file, "{}").unwrap();
        assert_eq!(clock.cpu().unwrap()[0].busy, Duration::ZERO, "the true clock again");
    }
}
