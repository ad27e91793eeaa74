//! How long work that is ready waits until somebody begins it: the wait between a request's arrival and its handler's start. A
//! probe comes from outside the runtime twenty times a second, as a request does, and says when its turn came.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::domain::resources::{Reading, Resource, Scope};
use crate::use_cases::resources::Resources;

/// Pause between two probes.
const EVERY: Duration = Duration::from_millis(50);
/// Probes of a second: the mean is over so many.
const PROBES: usize = 20;
/// A wait of which the line is 20 ms: beyond, a server is overloaded (reliability sheet, section 1).
const WAIT_FULL: Duration = Duration::from_millis(25);
/// A probe that has not come back for so long counts as this, and is let go.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// A probe on its way.
struct Probe {
    sent: Instant,
    back: Receiver<Duration>,
}

/// Measures on a thread of its own until `stop`: a runtime that stands still is measured too.
pub fn start(
    runtime: Handle,
    resources: Resources,
    stop: CancellationToken,
) -> std::io::Result<JoinHandle<()>> {
    let thread = std::thread::Builder::new().name("queue-meter".to_owned());
    thread.spawn(move || {
        let mut probes: VecDeque<Probe> = VecDeque::new();
        let mut waits: VecDeque<Duration> = VecDeque::new();
        while !stop.is_cancelled() {
            std::thread::sleep(EVERY);
            let sent = Instant::now();
            let (answer, back) = channel();
            runtime.spawn(async move {
                // Nobody listens any more: the probe was let go.
                let _ = answer.send(sent.elapsed());
            });
            probes.push_back(Probe { sent, back });
            probes.retain(|probe| match probe.back.try_recv() {
                Ok(wait) => {
                    waits.push_back(wait);
                    false
                }
                Err(_) if probe.sent.elapsed() > WAIT_MAX => {
                    waits.push_back(WAIT_MAX);
                    false
                }
                Err(_) => true,
            });
            while waits.len() > PROBES {
                waits.pop_front();
            }
            // Probes that have waited for a while tell of it before they are back.
            let late = probes.iter().map(|it| it.sent.elapsed()).filter(|wait| *wait > WAIT_FULL);
            let all: Vec<Duration> = waits.iter().copied().chain(late).collect();
            if all.is_empty() {
                continue;
            }
            let mean = all.iter().sum::<Duration>() / all.len() as u32;
            resources.tell(Ok(Reading {
                resource: Resource::QueueWait,
                scope: Scope::Process,
                used: mean.as_secs_f64(),
                capacity: WAIT_FULL.as_secs_f64(),
            }));
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::resources::Sample;
    use crate::domain::resources::trigger::{Triggers, usual};
    use crate::ports::host::Meters;

    struct Dark;
    impl Meters for Dark {
        fn read(&self) -> Sample {
            Sample::default()
        }
    }

    fn wait(resources: &Resources) -> Option<f64> {
        resources.look();
        resources.standing().sample.tightest(Resource::QueueWait).map(Reading::ratio)
    }

    #[test]
    fn a_runtime_that_stands_still_is_seen_and_one_that_rests_waits_for_nothing() {
        let triggers = Triggers::try_new(usual()).expect("the usual triggers");
        let resources = Resources::new(Arc::new(Dark), triggers);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .build()
            .expect("a runtime");
        let stop = CancellationToken::new();
        let meter =
            start(runtime.handle().clone(), resources.clone(), stop.clone()).expect("a thread");
        let until = |what: &str, holds: &dyn Fn(f64) -> bool| {
            let begun = Instant::now();
            while !wait(&resources).is_some_and(holds) {
                assert!(
                    begun.elapsed() < Duration::from_secs(20),
                    "{what}: {:?}",
                    wait(&resources)
                );
                std::thread::sleep(Duration::from_millis(20));
            }
        };
        until("it rests", &|share| share < 0.8);
        runtime.spawn(async { std::thread::sleep(Duration::from_secs(2)) });
        until("it stands still", &|share| share > 1.0);
        until("it rests again", &|share| share < 0.8);
        stop.cancel();
        meter.join().expect("it ends");
    }
}
