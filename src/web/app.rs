//! The state every handler sees, and the router with everything on it.

use std::ops::Deref;
use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use tokio::sync::Semaphore;

use crate::domain::accounts::Permission;
use crate::domain::resources::plan::Plan;
use crate::ports::audience_source::Mailbox;
use crate::ports::clock::Clock;
use crate::ports::host::Tenants;
use crate::ports::media_store::MediaStore;
use crate::use_cases::accounts::Accounts;
use crate::use_cases::alerts::Alerts;
use crate::use_cases::audience::Audience;
use crate::use_cases::audience::boards::Boards;
use crate::use_cases::audience::channels::Channels;
use crate::use_cases::clips::Clips;
use crate::use_cases::clips::footage::CameraFootage;
use crate::use_cases::clips::glance::Glances;
use crate::use_cases::health::Health;
use crate::use_cases::jobs::Jobs;
use crate::use_cases::live::Lives;
use crate::use_cases::live::cameras::Cameras;
use crate::use_cases::moments::Moments;
use crate::use_cases::resources::Resources;
use crate::use_cases::villa::Weeks;
use crate::web::guard::FORM_BYTES_MAX;
use crate::web::metrics::Metrics;
use crate::web::pages::Feeds;
use crate::web::throttle::Throttle;
use crate::web::{
    Access, Declared, Problem, Routes, assets, headers, mailbox, media, metrics, pages, probes,
    problem, upload,
};

/// Longest message the platform posts, in bytes.
const ENVELOPE_BYTES_MAX: usize = 1024 * 1024;
/// Uploads taken at once, by everybody together.
const UPLOADS_AT_ONCE: usize = 4;

/// What a person may set about the web.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Where people find us, such as `https://spark.example`; none when we are found by whatever address was typed.
    pub base_url: Option<String>,
    /// Lets a program read `/metrics` from elsewhere.
    pub measures_token: Option<String>,
    /// A proxy of ours stands before us and names the client last in `X-Forwarded-For`.
    pub behind_proxy: bool,
    /// Largest upload, in bytes.
    pub upload_bytes_max: u64,
    /// What the media engine of this machine can do, for « Santé ».
    pub engine: EngineSkills,
    /// How many hours of a villa day the cameras send.
    pub hours_a_day: u8,
    /// The hosting plan in the settings, if there is one.
    pub plan: Option<Plan>,
}

/// The media engine as it was found at the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineSkills {
    /// Version of libavcodec; empty when nobody looked.
    pub version: String,
    /// Encoders, decoders and filters that reels need and it lacks.
    pub missing: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            base_url: None,
            measures_token: None,
            behind_proxy: false,
            // Twelve hours at 8 Mbit/s are 43 GB.
            upload_bytes_max: 64 * 1024 * 1024 * 1024,
            engine: EngineSkills::default(),
            hours_a_day: 8,
            plan: None,
        }
    }
}

/// What the web is made of.
#[derive(Clone)]
pub struct Parts {
    pub weeks: Weeks,
    pub lives: Lives,
    pub moments: Moments,
    pub clips: Clips,
    pub jobs: Jobs,
    pub accounts: Accounts,
    pub health: Health,
    pub channels: Channels,
    pub audience: Audience,
    pub boards: Boards,
    pub cameras: Cameras,
    pub footage: CameraFootage,
    pub glances: Glances,
    pub resources: Resources,
    pub alerts: Alerts,
    pub tenants: Arc<dyn Tenants>,
    /// Takes what Twitch posts; none unless events come by webhook.
    pub mailbox: Option<Arc<dyn Mailbox>>,
    pub store: Arc<dyn MediaStore>,
    pub clock: Arc<dyn Clock>,
    /// Signs media links; the same on every server of a house, or links break on the way.
    pub link_key: [u8; 32],
    pub settings: Settings,
}

/// The state; cheap to clone.
#[derive(Clone)]
pub struct App(Arc<House>);

struct House {
    parts: Parts,
    metrics: Metrics,
    feeds: Feeds,
    throttle: Throttle,
    uploads: Arc<Semaphore>,
}

impl App {
    pub fn new(parts: Parts) -> Self {
        if let Some(base) = parts.settings.base_url.as_deref().filter(|base| is_open(base)) {
            tracing::warn!(
                "`{base}` is plain http on a machine that is not this one: browsers refuse the session cookie there, \
                 nobody can sign in. Put TLS before it and set an https address"
            );
        }
        let feeds = Feeds::default();
        Self(Arc::new(House {
            parts,
            metrics: Metrics::new(feeds.tally()),
            feeds,
            throttle: Throttle::default(),
            uploads: Arc::new(Semaphore::new(UPLOADS_AT_ONCE)),
        }))
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    pub(super) fn feeds(&self) -> &Feeds {
        &self.0.feeds
    }

    pub(super) fn throttle(&self) -> &Throttle {
        &self.0.throttle
    }

    pub(super) fn uploads(&self) -> &Arc<Semaphore> {
        &self.0.uploads
    }
}

impl Deref for App {
    type Target = Parts;
    fn deref(&self) -> &Parts {
        &self.0.parts
    }
}

/// Plain http to somewhere that browsers do not trust by itself, as they do this very machine.
fn is_open(base: &str) -> bool {
    let Some(rest) = base.strip_prefix("http://") else { return false };
    let host = rest.split('/').next().unwrap_or("");
    let name = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or(""),
        None => host.split(':').next().unwrap_or(""),
    };
    let is_here = name == "localhost"
        || name.ends_with(".localhost")
        || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    !is_here
}

/// Everything we answer, and the list of it. What is not on the list is not there.
pub fn router(app: &App) -> (Router, Vec<Declared>) {
    let routes = Routes::new(app.clone())
        .get("/static/{*file}", Access::Public, assets::show)
        .get("/media/{*key}", Access::Media, media::show)
        .upload("/semaines/{id}/imports", Access::Needs(Permission::ImportStream), upload::receive)
        .signed_post(mailbox::PATH, ENVELOPE_BYTES_MAX, mailbox::receive)
        .get("/healthz", Access::Public, probes::alive)
        .get("/readyz", Access::Public, probes::ready)
        .get("/sante.json", Access::Needs(Permission::SeeHealth), probes::vitals)
        .get("/metrics", Access::MeasuresOr(Permission::SeeHealth), metrics::show);
    let (routes, declared) = pages::declare(routes).finish();
    let router = routes
        .fallback(|| async { Problem::not_found() })
        .layer(axum::extract::DefaultBodyLimit::max(FORM_BYTES_MAX))
        .layer(headers::compression())
        .layer(axum::middleware::from_fn(problem::render))
        .layer(from_fn_with_state(app.clone(), metrics::observe))
        .layer(from_fn_with_state(app.clone(), headers::secure))
        .with_state(app.clone());
    (router, declared)
}

#[cfg(test)]
mod tests {
    use super::is_open;

    #[test]
    fn only_plain_http_to_elsewhere_is_warned_about() {
        for fine in [
            "https://spark.example",
            "http://127.0.0.1:8080",
            "http://[::1]:80",
            "http://localhost",
        ] {
            assert!(!is_open(fine), "{fine}");
        }
        assert!(is_open("http://192.168.1.20:8080"));
    }
}
