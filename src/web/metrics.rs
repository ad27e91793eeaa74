//! Measures for Prometheus: requests and how long they took, the queue, this process.

use std::sync::atomic::AtomicU64;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::domain::resources::trigger::Action;
use crate::ports::PortError;
use crate::use_cases::resources::Standing;
use crate::web::pages::Tally;
use crate::web::{App, Problem};

/// Upper bounds of the request times, in seconds.
const SECONDS: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// Routes whose time says nothing of the house's: it is the client's line, a decoder's, a password's, or the wait that was asked.
const OWN_TIME: [&str; 7] = [
    "/semaines/{id}/imports",
    "/media/{*key}",
    "/regie/cameras/{id}/vignette",
    "/regie/cameras/{id}/flux.m3u8",
    "/regie/cameras/{id}/flux/{recording}/{file}",
    "/connexion",
    "/bienvenue/{token}",
];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    method: &'static str,
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Routed {
    method: &'static str,
    route: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Queued {
    lane: &'static str,
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Scoped {
    resource: &'static str,
    scope: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Acting {
    action: &'static str,
}

/// Shares, whose usual name in measures is this.
fn ratio() -> Unit {
    Unit::Other("ratio".to_owned())
}

/// What is told of the 80 % rule.
#[derive(Default)]
struct Ceiling {
    shares: Family<Scoped, Gauge<f64, AtomicU64>>,
    blind: Family<Scoped, Gauge>,
    live: Gauge<f64, AtomicU64>,
    duty: Gauge<f64, AtomicU64>,
    giving_way: Family<Acting, Gauge>,
}

impl Ceiling {
    fn register(&self, registry: &mut Registry) {
        let Self { shares, blind, live, duty, giving_way } = self;
        let text = "Share of a resource in use, in a scope";
        registry.register_with_unit("resource", text, ratio(), shares.clone());
        registry.register("resource_blind", "Monitors that do not see", blind.clone());
        let text = "Share of the CPU that everything but renders takes";
        registry.register_with_unit("live_cpu", text, ratio(), live.clone());
        let text = "Share of the time in which renders may run";
        registry.register_with_unit("renders_duty", text, ratio(), duty.clone());
        registry.register("giving_way", "What gives way now", giving_way.clone());
    }

    fn set(&self, standing: &Standing) {
        self.shares.clear();
        for it in &standing.sample.readings {
            let scoped = Scoped { resource: it.resource.as_str(), scope: it.scope.as_str() };
            self.shares.get_or_create(&scoped).set(it.ratio());
        }
        self.blind.clear();
        for it in &standing.sample.blind {
            let scoped = Scoped { resource: it.resource.as_str(), scope: it.scope.as_str() };
            self.blind.get_or_create(&scoped).set(1);
        }
        let (live, duty) = standing.verdict.map_or((f64::NAN, f64::NAN), |it| (it.live, it.duty));
        self.live.set(live);
        self.duty.set(duty);
        for action in Action::ALL {
            let gives_way = i64::from(standing.is_on(action));
            self.giving_way.get_or_create(&Acting { action: action.as_str() }).set(gives_way);
        }
    }
}

/// What is counted.
pub(super) struct Metrics {
    registry: Registry,
    answered: Family<Answered, Counter>,
    seconds: Family<Routed, Histogram, fn() -> Histogram>,
    jobs: Family<Queued, Gauge>,
    resident: Gauge<u64, AtomicU64>,
    anonymous: Gauge<u64, AtomicU64>,
    ceiling: Ceiling,
}

impl Metrics {
    /// `direct` is what the feeds of « Direct » count.
    pub(super) fn new(direct: &Tally) -> Self {
        let mut registry = Registry::with_prefix("spark");
        let answered = Family::default();
        let seconds =
            Family::new_with_constructor((|| Histogram::new(SECONDS)) as fn() -> Histogram);
        let jobs = Family::default();
        let (resident, anonymous) = (Gauge::default(), Gauge::default());
        registry.register("http_requests", "Requests answered", answered.clone());
        registry.register_with_unit(
            "http_request_duration",
            "Time until a response's head was ready",
            Unit::Seconds,
            seconds.clone(),
        );
        registry.register("jobs", "Jobs by lane and state", jobs.clone());
        registry.register_with_unit(
            "process_resident",
            "Resident memory",
            Unit::Bytes,
            resident.clone(),
        );
        registry.register_with_unit(
            "process_anonymous",
            "Resident memory that belongs to no file",
            Unit::Bytes,
            anonymous.clone(),
        );
        let Tally { tickers, shared, own } = direct.clone();
        registry.register("direct_tickers", "Channels whose live page somebody watches", tickers);
        let text = "Frames of live pages made once for everybody in step";
        registry.register("direct_shared_frames", text, shared);
        registry.register("direct_own_frames", "Frames of live pages made for one reader", own);
        let ceiling = Ceiling::default();
        ceiling.register(&mut registry);
        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "What is running", build);
        Self { registry, answered, seconds, jobs, resident, anonymous, ceiling }
    }
}

pub(super) async fn observe(State(app): State<App>, request: Request, next: Next) -> Response {
    let asked = Instant::now();
    let method = match *request.method() {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        _ => "other",
    };
    // Declared routes only: a stranger's paths would fill the memory.
    let route =
        request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let response = next.run(request).await;
    let metrics = app.metrics();
    let routed = Routed { method, route: route.clone() };
    metrics.seconds.get_or_create(&routed).observe(asked.elapsed().as_secs_f64());
    let is_fault = response.extensions().get::<Problem>().is_some_and(Problem::is_fault);
    let took = (!OWN_TIME.contains(&route.as_str())).then(|| asked.elapsed());
    app.alerts.answered(is_fault, took);
    let status = response.status().as_u16();
    metrics.answered.get_or_create(&Answered { method, route, status }).inc();
    response
}

pub(super) async fn show(State(app): State<App>) -> Result<Response, Problem> {
    let metrics = app.metrics();
    let vitals = app.health.vitals().await;
    // What cannot be learnt now is left out rather than shown as it was.
    metrics.jobs.clear();
    for depth in vitals.lanes.iter().flatten() {
        let lane = depth.lane.as_str();
        for (state, jobs) in
            [("waiting", depth.waiting), ("running", depth.running), ("failed", depth.failed)]
        {
            metrics.jobs.get_or_create(&Queued { lane, state }).set(jobs);
        }
    }
    if let Ok(memory) = vitals.memory {
        metrics.resident.set(memory.resident);
        metrics.anonymous.set(memory.anonymous);
    }
    metrics.ceiling.set(&app.resources.standing());
    let mut text = String::new();
    encode(&mut text, &metrics.registry)
        .map_err(|e| PortError::lasting("write the measures", e))?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(CONTENT_TYPE, kind)], text).into_response())
}
