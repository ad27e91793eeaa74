//! The governor's thread: ten times a second it looks at the CPU, lets the renders run for their share of the turn, and stops
//! them for the rest of it. A thread of its own, so that no busy runtime makes it late.

use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle, sleep};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::domain::resources::governor::{Governor, Seen, TURN};
use crate::ports::host::{CpuClock, CpuTime};
use crate::ports::renders::Renders;
use crate::use_cases::resources::Resources;

/// From this duty on renders are not stopped at all.
const DUTY_WHOLE: f64 = 0.98;
/// A shorter run than this is none: starting and stopping would take it.
const RUN_MIN: Duration = Duration::from_millis(2);

/// Starts the thread. When `stop` is told it lets the renders run and ends.
pub fn start(
    clock: Arc<dyn CpuClock>,
    renders: Arc<dyn Renders>,
    resources: Resources,
    stop: CancellationToken,
) -> io::Result<JoinHandle<()>> {
    Builder::new().name("governor".to_owned()).spawn(move || {
        let mut watch =
            Watch { clock, renders, resources, before: None, governor: Governor::default() };
        while !stop.is_cancelled() {
            watch.turn();
        }
        watch.renders.go();
    })
}

struct Watch {
    clock: Arc<dyn CpuClock>,
    renders: Arc<dyn Renders>,
    resources: Resources,
    before: Option<(Instant, Vec<CpuTime>)>,
    governor: Governor,
}

impl Watch {
    fn turn(&mut self) {
        let began = Instant::now();
        let duty = self.duty(began);
        let run = TURN.mul_f64(duty);
        if duty >= DUTY_WHOLE {
            self.renders.go();
        } else if run < RUN_MIN {
            self.renders.halt();
        } else {
            self.renders.go();
            sleep(run.saturating_sub(began.elapsed()));
            self.renders.halt();
        }
        sleep(TURN.saturating_sub(began.elapsed()));
    }

    /// Looks, and says for what share of this turn renders may run.
    fn duty(&mut self, now: Instant) -> f64 {
        let renders = self.renders.spent();
        let times = match self.clock.cpu() {
            Ok(times) => times,
            Err(error) => {
                tracing::debug!(error = %error.chain(), "cannot see the CPU: renders stand still");
                Vec::new()
            }
        };
        let Some((then, before)) = self.before.replace((now, times.clone())) else { return 0.0 };
        let seen: Vec<Seen> = times.iter().filter_map(|time| since(time, &before)).collect();
        let verdict = self.governor.look(now - then, &seen, renders);
        let is_stopped = self.resources.govern(verdict);
        let duty = verdict.map_or(0.0, |verdict| if is_stopped { 0.0 } else { verdict.duty });
        self.governor.given(duty);
        duty
    }
}

/// What a scope took since the look before; none of one that was not there.
fn since(time: &CpuTime, before: &[CpuTime]) -> Option<Seen> {
    let then = before.iter().find(|then| then.scope == time.scope)?;
    let busy = time.busy.saturating_sub(then.busy);
    Some(Seen { scope: time.scope, busy, cores: time.cores })
}
