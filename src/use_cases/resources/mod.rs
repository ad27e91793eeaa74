//! The 80 % rule at work: looks at the machine, says what gives way, and lets renders in while there is room.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::watch;

use crate::domain::resources::admission::{Answer, Learnt, Profile, Refusal, judge};
use crate::domain::resources::governor::Verdict;
use crate::domain::resources::history::{History, Minute};
use crate::domain::resources::trigger::{Action, Raised, Signal, Triggers};
use crate::domain::resources::{Blind, Reading, Resource, Sample};
use crate::ports::host::Meters;
use crate::ports::renders::{Admission, Pass};

/// How often memory is asked again for a render that waits.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// A verdict of the governor older than this is none: it may be stuck.
pub const VERDICT_LASTS: Duration = Duration::from_secs(3);

/// What somebody else measured, or could not.
struct Told {
    at: Instant,
    seen: Result<Reading, Blind>,
}

/// What others told of is believed for so long.
const TOLD_LASTS: Duration = Duration::from_secs(30);

/// How the machine does and what follows from it.
#[derive(Debug, Clone)]
pub struct Standing {
    pub sample: Sample,
    /// What the governor of the renders said last; none when it does not see, or is gone.
    pub verdict: Option<Verdict>,
    /// The triggers that are raised.
    pub raised: Vec<Raised>,
}

impl Standing {
    /// Whether this gives way now.
    pub fn is_on(&self, action: Action) -> bool {
        self.raised.iter().any(|raised| raised.actions.contains(&action))
    }

    /// Everything that gives way now.
    pub fn actions(&self) -> BTreeSet<Action> {
        self.raised.iter().flat_map(|raised| raised.actions.iter().copied()).collect()
    }
}

/// Watches the machine. Cheap to clone.
#[derive(Clone)]
pub struct Resources(Arc<Inner>);

struct Inner {
    meters: Arc<dyn Meters>,
    triggers: Mutex<Triggers>,
    standing: watch::Sender<Standing>,
    governed_at: Mutex<Option<Instant>>,
    history: Mutex<History>,
    /// What others measured.
    told: Mutex<BTreeMap<Resource, Told>>,
    since: Instant,
    learnt: Mutex<Learnt>,
    passes: Mutex<Vec<Pass>>,
    /// Renders are let in one after the other, first come first served.
    door: tokio::sync::Mutex<()>,
}

impl Resources {
    /// Looks once, so that nobody meets a machine that was never looked at.
    pub fn new(meters: Arc<dyn Meters>, triggers: Triggers) -> Self {
        let first = Standing { sample: meters.read(), verdict: None, raised: Vec::new() };
        let resources = Self(Arc::new(Inner {
            meters,
            triggers: Mutex::new(triggers),
            standing: watch::Sender::new(first),
            governed_at: Mutex::default(),
            history: Mutex::default(),
            told: Mutex::default(),
            since: Instant::now(),
            learnt: Mutex::default(),
            passes: Mutex::default(),
            door: tokio::sync::Mutex::default(),
        }));
        resources.weigh(resources.standing().sample);
        resources
    }

    /// Looks at everything but CPU, which the governor looks at more often. Reads files: not for an async thread.
    pub fn look(&self) {
        self.weigh(self.0.meters.read());
    }

    /// Takes in what somebody else measured, or could not; the next looks have it among their readings.
    pub fn tell(&self, told: Result<Reading, Blind>) {
        let resource = told.as_ref().map_or_else(|blind| blind.resource, |it| it.resource);
        locked(&self.0.told).insert(resource, Told { at: Instant::now(), seen: told });
    }

    /// What was seen over the last week, as this tells it.
    pub fn history<T>(&self, tell: impl FnOnce(&History) -> T) -> T {
        tell(&locked(&self.0.history))
    }

    /// Takes up what an earlier process kept of the past.
    pub fn restore(&self, past: Vec<(Resource, Minute)>) {
        locked(&self.0.history).restore(past);
    }

    /// Notes that these minutes are kept.
    pub fn kept(&self, minutes: &[(Resource, Minute)]) {
        locked(&self.0.history).keep(minutes);
    }

    fn weigh(&self, mut sample: Sample) {
        let now = self.0.since.elapsed();
        for Told { at, seen } in locked(&self.0.told).values() {
            match seen {
                _ if at.elapsed() > TOLD_LASTS => {}
                Ok(reading) => sample.readings.push(*reading),
                Err(blind) => sample.blind.push(blind.clone()),
            }
        }
        self.remember(&sample);
        let mut triggers = locked(&self.0.triggers);
        for resource in Resource::ALL.into_iter().filter(|resource| *resource != Resource::Cpu) {
            if let Some(reading) = sample.tightest(resource) {
                triggers.hear(now, Signal::of(resource), reading.ratio());
            }
        }
        let raised = triggers.raised();
        drop(triggers);
        let is_governed =
            locked(&self.0.governed_at).is_some_and(|at| at.elapsed() < VERDICT_LASTS);
        self.0.standing.send_modify(|standing| {
            standing.sample = sample;
            standing.raised = raised;
            if !is_governed {
                standing.verdict = None;
            }
        });
    }

    fn remember(&self, sample: &Sample) {
        let mut history = locked(&self.0.history);
        let verdict = self.0.standing.borrow().verdict;
        for resource in Resource::ALL {
            let share = match (resource, verdict) {
                (Resource::Cpu, Some(verdict)) => Some(verdict.total),
                _ => sample.tightest(resource).map(Reading::ratio),
            };
            if let Some(share) = share {
                history.note(sample.at, resource, share);
            }
        }
    }

    /// Takes the governor's look at the CPU in; none when it saw nothing. Says whether renders are to stand still whatever
    /// the verdict.
    pub fn govern(&self, verdict: Option<Verdict>) -> bool {
        let now = self.0.since.elapsed();
        *locked(&self.0.governed_at) = Some(Instant::now());
        let mut triggers = locked(&self.0.triggers);
        if let Some(verdict) = verdict {
            triggers.hear(now, Signal::LiveCpu, verdict.live);
            triggers.hear(now, Signal::Cpu, verdict.total);
        }
        let raised = triggers.raised();
        drop(triggers);
        self.0.standing.send_if_modified(|standing| {
            let before = standing.actions();
            standing.verdict = verdict;
            standing.raised = raised;
            // Ten verdicts a second wake nobody; what gives way does.
            before != standing.actions()
        });
        self.is_on(Action::StopRenders)
    }

    /// Whether this gives way now.
    pub fn is_on(&self, action: Action) -> bool {
        self.0.standing.borrow().is_on(action)
    }

    /// How long ago the governor spoke last; since the beginning when it never did.
    pub fn governed_ago(&self) -> Duration {
        locked(&self.0.governed_at).map_or_else(|| self.0.since.elapsed(), |at| at.elapsed())
    }

    /// How the machine does now.
    pub fn standing(&self) -> Standing {
        self.0.standing.borrow().clone()
    }

    /// Waits until sheddable work may begin.
    pub async fn calm(&self) {
        let mut standing = self.0.standing.subscribe();
        let is_calm = |standing: &Standing| {
            !standing.is_on(Action::HoldRenders) && !standing.is_on(Action::StopRenders)
        };
        // The sender lives in `self`: it cannot be gone.
        let _ = standing.wait_for(is_calm).await;
    }

    fn ask(&self, profile: Profile) -> Result<Option<Pass>, Refusal> {
        let need = locked(&self.0.learnt).expect(profile);
        let mut passes = locked(&self.0.passes);
        passes.retain(Pass::is_shared);
        let outstanding = passes.iter().map(Pass::outstanding).sum();
        let standing = self.0.standing.borrow();
        let readings = standing.sample.readings.iter();
        let memory = readings.filter(|reading| reading.resource == Resource::Memory);
        match judge(memory, outstanding, need) {
            Answer::Start => {
                let pass = Pass::new(need);
                passes.push(pass.clone());
                Ok(Some(pass))
            }
            Answer::Wait => Ok(None),
            Answer::Never(refusal) => Err(refusal),
        }
    }
}

#[async_trait]
impl Admission for Resources {
    async fn admit(&self, profile: Profile) -> Result<Pass, Refusal> {
        let _turn = self.0.door.lock().await;
        loop {
            self.calm().await;
            if let Some(pass) = self.ask(profile)? {
                return Ok(pass);
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    fn ended(&self, profile: Profile, peak_bytes: u64) {
        locked(&self.0.learnt).learn(profile, peak_bytes);
    }
}

fn locked<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}
