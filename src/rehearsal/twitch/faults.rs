//! The knobs: what the pretend Twitch does wrong on purpose, each with a counter of how often it really happened.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Lasting faults. The default is calm weather.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// Share of notifications sent twice with the same `message_id`, 0 to 1. Counter `duplicate`.
    pub duplicate_rate: f64,
    /// Notifications a socket holds back to shuffle them; 0 and 1 keep the order. Counter `reordered`.
    pub reorder_window: u16,
    /// Milliseconds added to every `message_timestamp`. Counter `skewed`.
    pub clock_skew_ms: i64,
    /// No keepalives any more. Counter `keepalive_silenced`.
    pub keepalive_silent: bool,
    /// Up to so many milliseconds are added to each keepalive's time. Counter `keepalive_late`.
    pub keepalive_jitter_ms: u64,
    /// When a fresh socket gets its welcome.
    pub welcome: Welcome,
    /// When a socket opened by a reconnect URL gets its welcome.
    pub successor_welcome: Welcome,
    /// Milliseconds for which a socket keeps the notifications it had when its successor was welcomed, as if they were long on
    /// their way. Counter `overtaken`.
    pub hand_over_late_ms: u64,
    /// A socket vanishes with its reconnect order: the successor comes to late. Counter `lost_before_successor`.
    pub lost_before_successor: bool,
    /// Subscriptions of a lost socket stay enabled, as if Twitch had not noticed. Counters `orphan`, `orphan_conflict`.
    pub leave_orphans: bool,
    /// What a refresh does to the refresh token. Counter `refresh_rotated`.
    pub refresh_rotation: Rotation,
    /// Milliseconds the token endpoint takes. Counter `token_slow`.
    pub token_delay_ms: u64,
    /// The next so many deliveries of webhooks are first tried with a wrong signature. Counter `bad_signature`.
    pub bad_signatures: u32,
    /// Before the next so many deliveries of webhooks, somebody plays back the like of them, signed, eleven minutes old.
    /// Counter `stale_timestamp`.
    pub stale_timestamps: u32,
    /// Answers given instead of the real ones, first match first.
    pub answers: Vec<ForcedAnswer>,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            duplicate_rate: 0.0,
            reorder_window: 0,
            clock_skew_ms: 0,
            keepalive_silent: false,
            keepalive_jitter_ms: 0,
            welcome: Welcome::AtOnce,
            successor_welcome: Welcome::AtOnce,
            hand_over_late_ms: 0,
            lost_before_successor: false,
            leave_orphans: false,
            refresh_rotation: Rotation::Same,
            token_delay_ms: 0,
            bad_signatures: 0,
            stale_timestamps: 0,
            answers: Vec::new(),
        }
    }
}

/// When a socket is welcomed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Welcome {
    AtOnce,
    /// Notifications come before the welcome: it is sent with the first of them, behind it. Counter `welcome_overtaken`.
    Overtaken,
    /// After so many milliseconds. Counter `welcome_late`.
    LateMs(u64),
    /// Counter `welcome_never`.
    Never,
}

/// What a refresh does to the refresh token of a confidential client; a public client's works once, always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rotation {
    /// It stays.
    Same,
    /// A new one comes; the old one works until the new one is used, so that a lost reply loses nothing.
    New,
    /// A new one comes and the old one dies at once.
    Once,
}

/// An answer given instead of the real one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForcedAnswer {
    /// `GET`, `POST`, …; any when left out.
    #[serde(default)]
    pub method: Option<String>,
    /// The path below `/helix/` begins so, such as `eventsub/subscriptions`; `oauth2/token` for a token.
    pub path: String,
    /// The HTTP status; counter `answer_<status>`.
    pub status: u16,
    /// `Ratelimit-Remaining` of the answer.
    #[serde(default)]
    pub remaining: Option<u32>,
    /// How often.
    pub times: u32,
    /// The request is carried out all the same: its reply is what got lost.
    #[serde(default)]
    pub after_doing_it: bool,
}

/// How often each fault really happened.
#[derive(Debug, Default, Clone)]
pub(super) struct Counters(BTreeMap<String, u64>);

impl Counters {
    pub(super) fn add(&mut self, name: &str, count: u64) {
        if count == 0 {
            return;
        }
        match self.0.get_mut(name) {
            Some(sum) => *sum += count,
            None => {
                self.0.insert(name.to_owned(), count);
            }
        }
    }

    pub(super) fn one(&mut self, name: &str) {
        self.add(name, 1);
    }

    pub(super) fn all(&self) -> BTreeMap<String, u64> {
        self.0.clone()
    }
}

impl Faults {
    /// The answer forced on this request, used up by one.
    pub(super) fn force(&mut self, method: &str, path: &str) -> Option<ForcedAnswer> {
        let path = path.trim_start_matches('/');
        let meant = |answer: &&mut ForcedAnswer| {
            answer.times > 0
                && path.starts_with(answer.path.as_str())
                && answer.method.as_deref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(method))
        };
        let answer = self.answers.iter_mut().find(meant)?;
        answer.times -= 1;
        Some(answer.clone())
    }
}
