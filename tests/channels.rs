//! Linking channels and keeping their tokens, over real HTTP to a small stand-in for Twitch's identity service, on a real
//! PostgreSQL: what is lost, late, cancelled or repeated costs no refresh token.

mod support;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Form, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use chrono::TimeDelta;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use spark::adapters::clock::SystemClock;
use spark::adapters::memory::{MemoryClock, MemoryVault};
use spark::adapters::postgres::{PostgresVault, PostgresViewerSamples};
use spark::adapters::twitch::{HelixLimits, TwitchHelix, TwitchIdentity, TwitchSettings};
use spark::domain::audience::channel::{ChannelId, Feature, Scopes, Seen, Trouble};
use spark::ports::clock::Clock;
use spark::ports::platform::Caller;
use spark::ports::vault::{Secret, Tokens, Vault};
use spark::ports::viewer_samples::ViewerSamples;
use spark::use_cases::audience::channels::{Browser, Channels, ChannelsError, DeviceState};
use spark::use_cases::audience::viewers::Viewers;
use sqlx::PgPool;
use tokio::sync::Notify;

const RETURN_URL: &str = "http://127.0.0.1:8080/chaines/retour";
const BROWSER: Browser = Browser { session_hash: [7; 32], session_secret: [8; 32] };

/// How the stand-in meets one renewal.
enum Refresh {
    Granted,
    /// The refresh token is replaced, but the answer never arrives.
    ReplyLost,
    /// Answers once told to.
    Held(Arc<Notify>),
    Fails,
    BadSecret,
}

/// A stand-in for Twitch that remembers what it was asked.
#[derive(Default)]
struct Stage {
    refreshes: AtomicUsize,
    app_tokens: AtomicUsize,
    device_polls: AtomicUsize,
    streams_asked: AtomicUsize,
    /// What meets the next renewals; granted when empty.
    script: Mutex<VecDeque<Refresh>>,
    /// Access tokens that are taken.
    live: Mutex<Vec<String>>,
    /// Refresh tokens that are taken.
    refreshable: Mutex<Vec<String>>,
    revoked: Mutex<Vec<String>>,
    challenge: Mutex<String>,
    streams_down: Mutex<bool>,
    asked: Notify,
}

impl Stage {
    fn grant(&self, word: &str) -> Value {
        self.live.lock().unwrap().push(format!("access-{word}"));
        self.refreshable.lock().unwrap().push(format!("refresh-{word}"));
        json!({"access_token": format!("access-{word}"), "refresh_token": format!("refresh-{word}"),
               "expires_in": 14_000, "scope": ["user:read:chat"], "token_type": "bearer"})
    }

    fn takes(&self, headers: &HeaderMap) -> bool {
        let said = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or("");
        let token = said.rsplit(' ').next().unwrap_or("");
        self.live.lock().unwrap().iter().any(|live| live == token)
    }
}

type Asked = Form<std::collections::HashMap<String, String>>;

async fn token(State(stage): State<Arc<Stage>>, Form(form): Asked) -> Response {
    let field = |name: &str| form.get(name).map_or("", String::as_str).to_owned();
    assert_eq!(field("client_id"), "client");
    match field("grant_type").as_str() {
        "authorization_code" => {
            let verifier = Sha256::digest(field("code_verifier"));
            let challenge =
                base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, verifier);
            if challenge != *stage.challenge.lock().unwrap() || field("redirect_uri") != RETURN_URL
            {
                return refusal(400, "Invalid authorization code");
            }
            Json(stage.grant("linked")).into_response()
        }
        "client_credentials" => {
            let n = stage.app_tokens.fetch_add(1, Ordering::SeqCst);
            stage.live.lock().unwrap().push(format!("app-{n}"));
            Json(json!({"access_token": format!("app-{n}"), "expires_in": 5_000_000}))
                .into_response()
        }
        "refresh_token" => {
            let n = stage.refreshes.fetch_add(1, Ordering::SeqCst);
            stage.asked.notify_waiters();
            let meets = stage.script.lock().unwrap().pop_front().unwrap_or(Refresh::Granted);
            if !stage.refreshable.lock().unwrap().contains(&field("refresh_token")) {
                return refusal(400, "Invalid refresh token");
            }
            match meets {
                Refresh::Granted => Json(stage.grant(&format!("new{n}"))).into_response(),
                Refresh::ReplyLost => refusal(500, "the reply is lost"),
                Refresh::Held(go) => {
                    go.notified().await;
                    Json(stage.grant(&format!("new{n}"))).into_response()
                }
                Refresh::Fails => refusal(503, "try later"),
                Refresh::BadSecret => refusal(403, "invalid client secret"),
            }
        }
        _ => {
            let n = stage.device_polls.fetch_add(1, Ordering::SeqCst);
            match n {
                0 => refusal(400, "authorization_pending"),
                _ => Json(stage.grant("device")).into_response(),
            }
        }
    }
}

fn refusal(status: u16, message: &str) -> Response {
    let body = Json(json!({"status": status, "message": message}));
    (StatusCode::from_u16(status).unwrap(), body).into_response()
}

async fn validate(State(stage): State<Arc<Stage>>, headers: HeaderMap) -> Response {
    if !stage.takes(&headers) {
        return refusal(401, "invalid access token");
    }
    let who = json!({"client_id": "client", "login": "ana", "user_id": "41",
                     "scopes": ["user:read:chat", "bits:read"], "expires_in": 13_000});
    Json(who).into_response()
}

async fn device() -> Json<Value> {
    Json(json!({"device_code": "device-secret", "expires_in": 1800, "interval": 0,
                "user_code": "ABCDEFGH", "verification_uri": "https://www.twitch.tv/activate"}))
}

async fn revoke(State(stage): State<Arc<Stage>>, Form(form): Asked) -> StatusCode {
    stage.revoked.lock().unwrap().push(form["token"].clone());
    StatusCode::OK
}

async fn users(State(stage): State<Arc<Stage>>, headers: HeaderMap) -> Response {
    if !stage.takes(&headers) {
        return refusal(401, "Invalid OAuth token");
    }
    Json(json!({"data": [{"id": "41", "login": "ana", "display_name": "Ana 🎈"}]})).into_response()
}

async fn streams(
    State(stage): State<Arc<Stage>>,
    headers: HeaderMap,
    Query(asked): Query<Vec<(String, String)>>,
) -> Response {
    stage.streams_asked.fetch_add(1, Ordering::SeqCst);
    if *stage.streams_down.lock().unwrap() {
        return refusal(503, "Service Unavailable");
    }
    if !stage.takes(&headers) {
        return refusal(401, "Invalid OAuth token");
    }
    assert!(asked.iter().any(|(name, value)| name == "user_id" && value == "41"), "{asked:?}");
    Json(json!({"data": [{"id": "9", "user_id": "41", "type": "live", "viewer_count": 412,
        "title": "Villa, jour 3", "game_name": "Art", "started_at": "2026-11-03T18:00:00Z"}],
        "pagination": {}}))
    .into_response()
}

/// The house's side: a process with its channels.
struct Set {
    stage: Arc<Stage>,
    base: String,
    vault: Arc<dyn Vault>,
    channels: Channels,
    pool: Option<PgPool>,
    folder: tempfile::TempDir,
}

async fn stage() -> (Arc<Stage>, String) {
    let stage = Arc::new(Stage::default());
    let router = Router::new()
        .route("/oauth2/token", post(token))
        .route("/oauth2/validate", get(validate))
        .route("/oauth2/device", post(device))
        .route("/oauth2/revoke", post(revoke))
        .route("/helix/users", get(users))
        .route("/helix/streams", get(streams))
        .with_state(stage.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (stage, base)
}

fn channels_at(base: &str, vault: Arc<dyn Vault>, clock: Arc<dyn Clock>) -> Channels {
    let settings = TwitchSettings {
        client_id: Some("client".into()),
        client_secret: Some(Secret::new("shh")),
        ..TwitchSettings::at(base)
    };
    let identity = TwitchIdentity::try_new(settings.clone(), clock.clone()).unwrap();
    let helix = TwitchHelix::try_new(settings, HelixLimits::default(), clock.clone()).unwrap();
    Channels::new(vault, Arc::new(identity), Arc::new(helix), clock)
}

impl Set {
    async fn in_postgres() -> Self {
        let (folder, pool) = (tempfile::tempdir().unwrap(), support::fresh_database().await);
        let vault = postgres_vault(&pool, &folder);
        Self::with(vault, Some(pool), folder).await
    }

    async fn in_memory() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::with(Arc::new(MemoryVault::default()), None, folder).await
    }

    async fn with(vault: Arc<dyn Vault>, pool: Option<PgPool>, folder: tempfile::TempDir) -> Self {
        let (stage, base) = stage().await;
        let channels = channels_at(&base, vault.clone(), Arc::new(SystemClock));
        Self { stage, base, vault, channels, pool, folder }
    }

    /// What another process on the same database would have.
    async fn another_process(&self) -> Channels {
        let pool = support::another_pool(self.pool.as_ref().unwrap()).await;
        channels_at(&self.base, postgres_vault(&pool, &self.folder), Arc::new(SystemClock))
    }

    /// Links channel 41 as a browser would; its access token is `access-linked`.
    async fn link(&self) -> ChannelId {
        let (state, _) = self.begin().await;
        let linked = self.channels.finish_linking(BROWSER, &state, "code").await.unwrap();
        assert_eq!((linked.name.as_str(), linked.login.as_str()), ("Ana 🎈", "ana"));
        linked.id
    }

    /// Begins to link; the state, and the permissions asked for.
    async fn begin(&self) -> (String, String) {
        let url = self.channels.begin_linking(BROWSER, RETURN_URL, &[], &Scopes::new()).await;
        let url = reqwest::Url::parse(&url.unwrap()).unwrap();
        let field = |wanted: &str| {
            url.query_pairs().find(|(name, _)| name == wanted).unwrap().1.into_owned()
        };
        assert_eq!(field("redirect_uri"), RETURN_URL);
        *self.stage.challenge.lock().unwrap() = field("code_challenge");
        (field("state"), field("scope"))
    }

    fn will(&self, meets: impl IntoIterator<Item = Refresh>) {
        self.stage.script.lock().unwrap().extend(meets);
    }

    /// The platform takes the token no longer, as after four hours.
    fn expire(&self, token: &str) {
        self.stage.live.lock().unwrap().retain(|live| live != token);
    }

    fn refreshes(&self) -> usize {
        self.stage.refreshes.load(Ordering::SeqCst)
    }
}

fn postgres_vault(pool: &PgPool, folder: &tempfile::TempDir) -> Arc<dyn Vault> {
    let keys = folder.path().join("vault.keys");
    Arc::new(PostgresVault::new(pool.clone(), keys, Arc::new(SystemClock)))
}

fn stale() -> Secret {
    Secret::new("access-linked")
}

#[tokio::test]
async fn a_browser_links_a_channel_with_the_least_permissions() {
    let set = Set::in_postgres().await;
    let (state, scopes) = set.begin().await;
    assert!(scopes.contains("user:read:chat") && !scopes.contains("user:write:chat"), "{scopes}");
    let channel = set.channels.finish_linking(BROWSER, &state, "code").await.unwrap();
    let kept = set.channels.find(&channel.id).await.unwrap().unwrap();
    assert_eq!((kept.name, kept.scopes), (channel.name.clone(), channel.scopes.clone()));
    assert!(channel.missing().contains(&Feature::Follows) && channel.allows(Feature::Bits));
    assert_eq!(set.channels.token(&channel.id).await.unwrap(), stale());
}

#[tokio::test]
async fn a_state_serves_once_and_only_the_browser_it_was_made_for() {
    let set = Set::in_postgres().await;
    let (state, _) = set.begin().await;
    let other = Browser { session_hash: [9; 32], ..BROWSER };
    let stolen = set.channels.finish_linking(other, &state, "code").await;
    assert!(matches!(stolen, Err(ChannelsError::LinkSpent)), "{stolen:?}");
    let spent = set.channels.finish_linking(BROWSER, &state, "code").await;
    assert!(matches!(spent, Err(ChannelsError::LinkSpent)), "{spent:?}");
    let invented = set.channels.finish_linking(BROWSER, "invented", "code").await;
    assert!(matches!(invented, Err(ChannelsError::LinkSpent)), "{invented:?}");
    let (state, _) = set.begin().await;
    set.channels.finish_linking(BROWSER, &state, "code").await.unwrap();
    let again = set.channels.finish_linking(BROWSER, &state, "code").await;
    assert!(matches!(again, Err(ChannelsError::LinkSpent)), "{again:?}");
    // The state came back to the right session, but whoever has it lacks the session's secret.
    let (state, _) = set.begin().await;
    let other = Browser { session_secret: [1; 32], ..BROWSER };
    let unproved = set.channels.finish_linking(other, &state, "code").await;
    assert!(matches!(unproved, Err(ChannelsError::Platform(_))), "{unproved:?}");
}

#[tokio::test]
async fn a_code_typed_elsewhere_links_a_machine_without_a_browser() {
    let set = Set::in_memory().await;
    let link = set.channels.begin_code(&[]).await.unwrap();
    assert_eq!(link.user_code, "ABCDEFGH");
    let state = loop {
        match set.channels.find_code(link.id).unwrap().state {
            DeviceState::Waiting => tokio::time::sleep(Duration::from_millis(20)).await,
            state => break state,
        }
    };
    assert_eq!(state, DeviceState::Linked(ChannelId::try_new("41").unwrap()));
    assert!(set.stage.device_polls.load(Ordering::SeqCst) > 1, "a code was never pending");
}

#[tokio::test]
async fn callers_at_once_in_two_processes_share_one_renewal() {
    let set = Set::in_postgres().await;
    let channel = set.link().await;
    set.expire("access-linked");
    let go = Arc::new(Notify::new());
    set.will([Refresh::Held(go.clone())]);
    let elsewhere = set.another_process().await;
    let asked = set.stage.asked.notified();
    let mut asking = tokio::task::JoinSet::new();
    for channels in [&set.channels, &set.channels, &set.channels, &elsewhere, &elsewhere] {
        let (channels, channel) = (channels.clone(), channel.clone());
        asking.spawn(async move { channels.renewed(&channel, &stale()).await });
    }
    asked.await;
    // The other process waits at the row the first one holds.
    let waits = "select exists (select from pg_stat_activity
                         where datname = current_database() and wait_event_type = 'Lock')";
    let pool = set.pool.as_ref().unwrap();
    while !sqlx::query_scalar::<_, bool>(waits).fetch_one(pool).await.unwrap() {
        tokio::task::yield_now().await;
    }
    go.notify_one();
    let renewed = asking.join_all().await;
    assert_eq!(renewed.len(), 5);
    for token in renewed {
        assert_eq!(token.unwrap(), Secret::new("access-new0"));
    }
    assert_eq!(set.refreshes(), 1);
    assert_eq!(elsewhere.token(&channel).await.unwrap(), Secret::new("access-new0"));
    // Who comes late with the old token gets the one that is there.
    assert_eq!(set.channels.renewed(&channel, &stale()).await.unwrap(), Secret::new("access-new0"));
    assert_eq!(set.refreshes(), 1);
}

#[tokio::test]
async fn a_caller_that_goes_away_loses_nothing() {
    let set = Set::in_postgres().await;
    let channel = set.link().await;
    let go = Arc::new(Notify::new());
    set.will([Refresh::Held(go.clone())]);
    let asked = set.stage.asked.notified();
    {
        let (channels, channel) = (set.channels.clone(), channel.clone());
        let caller = tokio::spawn(async move { channels.renewed(&channel, &stale()).await });
        asked.await;
        caller.abort();
        assert!(caller.await.unwrap_err().is_cancelled());
    }
    go.notify_one();
    set.channels.settle().await;
    let stored = set.vault.load(&channel).await.unwrap();
    assert_eq!(stored.access, Secret::new("access-new0"));
    assert_eq!(stored.refresh, Some(Secret::new("refresh-new0")));
    assert_eq!(set.refreshes(), 1);
}

#[tokio::test]
async fn a_lost_reply_is_asked_for_again_with_the_token_that_is_kept() {
    let set = Set::in_postgres().await;
    let channel = set.link().await;
    set.will([Refresh::ReplyLost, Refresh::ReplyLost]);
    let renewed = set.channels.renewed(&channel, &stale()).await.unwrap();
    assert_eq!(renewed, Secret::new("access-new2"));
    assert_eq!(set.refreshes(), 3, "no reply was lost");
    // Three in a row: the caller is told, the refresh token stays, a later renewal succeeds.
    set.will([Refresh::Fails, Refresh::Fails, Refresh::Fails]);
    let failed = set.channels.renewed(&channel, &renewed).await.unwrap_err();
    assert!(failed.may_pass(), "{failed:?}");
    let kept = set.vault.load(&channel).await.unwrap();
    assert_eq!(kept.refresh, Some(Secret::new("refresh-new2")));
    let later = set.channels.renewed(&channel, &renewed).await.unwrap();
    assert_eq!(later, Secret::new("access-new6"));
}

/// The outcome that `renew.rs` documents: the old pair stands; it serves if the platform still takes it, else the
/// channel is marked.
#[tokio::test]
async fn a_process_that_dies_between_reply_and_commit_leaves_the_old_pair() {
    let set = Set::in_postgres().await;
    let channel = set.link().await;
    {
        let renewal = set.vault.begin_renewal(&channel).await.unwrap();
        assert_eq!(renewal.tokens().access, stale());
        // Here the reply came and the process died: the transaction goes with its connection.
        drop(renewal);
    }
    let elsewhere = set.another_process().await;
    let renewed = elsewhere.renewed(&channel, &stale()).await.unwrap();
    assert_eq!(renewed, Secret::new("access-new0"));

    // The other outcome: the platform had spent the old refresh token.
    set.stage.refreshable.lock().unwrap().clear();
    let refused = elsewhere.renewed(&channel, &renewed).await;
    assert!(matches!(refused, Err(ChannelsError::RelinkNeeded(_))), "{refused:?}");
    let marked = set.channels.find(&channel).await.unwrap().unwrap();
    assert_eq!(marked.trouble, Some(Trouble::RefreshRefused));
    assert!(matches!(set.channels.token(&channel).await, Err(ChannelsError::NotLinked(_))));
}

#[tokio::test]
async fn a_wrong_client_secret_costs_no_channel_its_link() {
    let set = Set::in_memory().await;
    let channel = set.link().await;
    set.will([Refresh::BadSecret]);
    let failed = set.channels.renewed(&channel, &stale()).await.unwrap_err();
    assert!(failed.to_string().contains("client_secret"), "{failed}");
    assert_eq!(set.channels.find(&channel).await.unwrap().unwrap().trouble, None);
    assert!(set.channels.renewed(&channel, &stale()).await.is_ok());
}

#[tokio::test]
async fn new_tokens_wait_in_hand_while_the_database_is_away() {
    let set = Set::in_postgres().await;
    let channel = set.link().await;
    let go = Arc::new(Notify::new());
    set.will([Refresh::Held(go.clone())]);
    let asked = set.stage.asked.notified();
    let (channels, asking) = (set.channels.clone(), channel.clone());
    let caller = tokio::spawn(async move { channels.renewed(&asking, &stale()).await });
    asked.await;
    // The renewal's connection dies while the platform works.
    let killed: Vec<bool> = sqlx::query_scalar(
        "select pg_terminate_backend(pid) from pg_stat_activity
          where datname = current_database() and state = 'idle in transaction'",
    )
    .fetch_all(set.pool.as_ref().unwrap())
    .await
    .unwrap();
    assert_eq!(killed, [true], "the renewal's connection was not cut");
    go.notify_one();
    assert_eq!(caller.await.unwrap().unwrap(), Secret::new("access-new0"));
    let stored = set.vault.load(&channel).await.unwrap();
    assert_eq!(stored.refresh, Some(Secret::new("refresh-new0")));
    assert_eq!(set.refreshes(), 1);
}

#[tokio::test]
async fn a_token_not_taken_is_renewed_and_the_question_asked_once_more() {
    let set = Set::in_memory().await;
    let channel = set.link().await;
    set.expire("access-linked");
    let caller = Caller::Channel(channel.clone());
    let platform = set.channels.platform();
    let asked = AtomicUsize::new(0);
    let users = set
        .channels
        .call(&caller, |bearer| {
            asked.fetch_add(1, Ordering::SeqCst);
            let channel = &channel;
            async move { platform.users(&bearer, std::slice::from_ref(channel)).await }
        })
        .await
        .unwrap();
    assert_eq!(users[0].name, "Ana 🎈");
    assert_eq!((asked.load(Ordering::SeqCst), set.refreshes()), (2, 1));
    // A platform that takes no token at all is asked twice, not for ever.
    let never = set.channels.call(&caller, |_| async {
        asked.fetch_add(1, Ordering::SeqCst);
        Err::<(), _>(spark::ports::platform::PlatformError::Unauthorised)
    });
    assert!(never.await.is_err());
    assert_eq!((asked.load(Ordering::SeqCst), set.refreshes()), (4, 2));
}

#[tokio::test]
async fn a_round_of_validation_heals_what_expired_and_ends_what_was_withdrawn() {
    let set = Set::in_postgres().await;
    let channel = set.link().await;
    let before = set.channels.find(&channel).await.unwrap().unwrap();
    set.expire("access-linked");
    let checked = set.channels.check_all().await.unwrap();
    assert_eq!((checked.hold, checked.ended, checked.unknown), (1, 0, 0));
    assert_eq!(set.refreshes(), 1);
    let after = set.channels.find(&channel).await.unwrap().unwrap();
    assert!(after.validated_at > before.validated_at);

    set.stage.live.lock().unwrap().clear();
    set.stage.refreshable.lock().unwrap().clear();
    let checked = set.channels.check_all().await.unwrap();
    assert_eq!((checked.hold, checked.ended, checked.unknown), (0, 1, 0));
    assert!(matches!(set.channels.token(&channel).await, Err(ChannelsError::NotLinked(_))));
    let rows: i64 = sqlx::query_scalar("select count(*) from channel_tokens")
        .fetch_one(set.pool.as_ref().unwrap())
        .await
        .unwrap();
    assert_eq!(rows, 0, "the tokens of an ended link are kept");
}

#[tokio::test]
async fn a_withdrawn_permission_is_honoured_at_once_and_unlinking_gives_the_token_back() {
    let set = Set::in_memory().await;
    let channel = set.link().await;
    set.channels.revoked(&channel).await.unwrap();
    assert!(matches!(set.channels.token(&channel).await, Err(ChannelsError::NotLinked(_))));
    let found = set.channels.find(&channel).await.unwrap().unwrap();
    assert_eq!(found.trouble, Some(Trouble::Revoked));
    set.link().await;
    set.channels.unlink(&channel).await.unwrap();
    assert_eq!(set.channels.list().await.unwrap(), []);
    assert_eq!(*set.stage.revoked.lock().unwrap(), ["access-linked"]);
}

#[tokio::test]
async fn the_application_s_token_is_kept_until_it_is_refused_or_near_its_end() {
    let (stage, base) = stage().await;
    let clock = MemoryClock::at(SystemClock.now());
    let channels = channels_at(&base, Arc::new(MemoryVault::default()), Arc::new(clock.clone()));
    let first = channels.app_token().await.unwrap();
    assert_eq!(channels.app_token().await.unwrap(), first);
    let (a, b) = tokio::join!(channels.app_renewed(&first), channels.app_renewed(&first));
    assert_eq!(a.unwrap(), b.unwrap());
    assert_eq!(stage.app_tokens.load(Ordering::SeqCst), 2);
    clock.advance(Duration::from_secs(5_000_000 - 60));
    channels.app_token().await.unwrap();
    assert_eq!(stage.app_tokens.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_look_that_fails_is_a_row_without_a_number() {
    let set = Set::in_postgres().await;
    let channel = set.link().await;
    let unlive = Tokens { access: stale(), refresh: None, expires_at: SystemClock.now() };
    let mut other = set.channels.find(&channel).await.unwrap().unwrap();
    other.id = ChannelId::try_new("42").unwrap();
    set.vault.link(&other, &unlive).await.unwrap();
    let samples = Arc::new(PostgresViewerSamples::new(set.pool.clone().unwrap()));
    let clock = MemoryClock::default();
    let viewers = Viewers {
        channels: set.channels.clone(),
        samples: samples.clone(),
        clock: Arc::new(clock.clone()),
    };
    let start = clock.now();
    for is_down in [false, true, false] {
        *set.stage.streams_down.lock().unwrap() = is_down;
        assert_eq!(viewers.look().await.unwrap().len(), 2);
        clock.advance(Duration::from_mins(1));
    }
    assert_eq!(set.stage.streams_asked.load(Ordering::SeqCst), 3, "one question a look");
    let end = start + TimeDelta::hours(1);
    let seen: Vec<Seen> = samples
        .between(&channel, start, end)
        .await
        .unwrap()
        .into_iter()
        .map(|sample| sample.seen)
        .collect();
    assert!(matches!(seen[0], Seen::Live { viewers: 412, .. }), "{seen:?}");
    assert_eq!(seen[1], Seen::Failed);
    assert!(matches!(seen[2], Seen::Live { .. }), "{seen:?}");
    let other: Vec<Option<i32>> = sqlx::query_scalar(
        "select viewers from viewer_samples where channel = '42' and viewers is not null",
    )
    .fetch_all(set.pool.as_ref().unwrap())
    .await
    .unwrap();
    assert!(other.is_empty(), "a channel that is not live has viewers: {other:?}");
}

/// A log that can be read back.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_secret_stands_in_the_logs_whatever_goes_wrong() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    // For all threads and tests of this process: what others say may hold no secret either.
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let set = Set::in_postgres().await;
    let channel = set.link().await;
    set.will([Refresh::Fails, Refresh::Fails, Refresh::Fails, Refresh::BadSecret]);
    set.channels.renewed(&channel, &stale()).await.unwrap_err();
    set.channels.renewed(&channel, &stale()).await.unwrap_err();
    let fresh = set.channels.renewed(&channel, &stale()).await.unwrap();
    set.stage.refreshable.lock().unwrap().clear();
    set.channels.renewed(&channel, &fresh).await.unwrap_err();
    set.channels.app_token().await.unwrap();
    set.channels.begin_code(&[]).await.unwrap();
    let said = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    for heard in ["renewed a channel's tokens", "asking again", "must be linked again"] {
        assert!(said.contains(heard), "the log did not hear « {heard} »");
    }
    for secret in ["access-", "refresh-", "shh", "device-secret", "app-0"] {
        let at = said.find(secret);
        assert_eq!(at, None, "{:?}", at.map(|at| &said[at.saturating_sub(200)..at + 20]));
    }
}
