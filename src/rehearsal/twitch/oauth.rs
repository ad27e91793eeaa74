//! `oauth2/`: every flow, with a person at the browser who says yes at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::Router;
use axum::extract::State as Shared;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::asked::Asked;
use super::refusal::Refusal;
use super::stage::{Stage, State};
use super::tokens::{CODE_LIVES, Code, DEVICE_LIVES, Device, Scopes, TokenPair, token};

/// Seconds between two polls of a device.
const POLL_EVERY_S: u64 = 5;
const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// The paths below `/oauth2` and `/auth`.
pub(super) fn routes() -> Router<Arc<Stage>> {
    Router::new()
        .route("/authorize", get(authorize).post(mint))
        .route("/token", post(exchange))
        .route("/device", post(device))
        .route("/activate", get(activate))
        .route("/validate", get(validate))
        .route("/revoke", post(revoke))
}

/// `GET authorize`: grants at once and goes back, as `login` (or `user_id`), else the first channel. `deny=1` refuses.
async fn authorize(Shared(stage): Shared<Arc<Stage>>, asked: Asked) -> Result<Response, Refusal> {
    let client_id = asked.need("client_id")?;
    let redirect_uri = asked.need("redirect_uri")?;
    let mut url = reqwest::Url::parse(redirect_uri)
        .map_err(|_| Refusal::bad("Parameter redirect_uri does not match registered URI"))?;
    stage.known_client(client_id)?;
    if asked.one("response_type") != Some("code") {
        return Err(Refusal::bad("response_type must be code"));
    }
    let mut answer: Vec<(&str, String)> = Vec::new();
    if asked.one("deny").is_some() {
        answer.push(("error", "access_denied".into()));
        answer.push(("error_description", "The user denied you access".into()));
    } else {
        let mut state = stage.state();
        let user = state.at_the_browser(&asked)?;
        let scope = asked.one("scope").unwrap_or_default();
        let pkce = asked.one("code_challenge").map(|challenge| {
            (challenge.to_owned(), asked.one("code_challenge_method") != Some("S256"))
        });
        let code = token();
        state.tokens.codes.insert(
            code.clone(),
            Code {
                client_id: client_id.to_owned(),
                user,
                scopes: scopes_of(scope),
                redirect_uri: redirect_uri.to_owned(),
                pkce,
                issued: Instant::now(),
            },
        );
        answer.push(("code", code));
        answer.push(("scope", scope.to_owned()));
    }
    if let Some(text) = asked.one("state") {
        answer.push(("state", text.to_owned()));
    }
    url.query_pairs_mut().extend_pairs(answer);
    Ok(Redirect::to(url.as_str()).into_response())
}

/// `POST authorize`, as the official mock has it: a user token without a browser.
async fn mint(
    Shared(stage): Shared<Arc<Stage>>,
    asked: Asked,
    body: String,
) -> Result<Json<Value>, Refusal> {
    let asked = with_form(asked, &body);
    let client_id = asked.need("client_id")?;
    stage.check_secret(client_id, asked.one("client_secret"))?;
    let mut state = stage.state();
    let user = state.at_the_browser(&asked)?;
    let scopes = scopes_of(asked.one("scope").unwrap_or_default());
    Ok(shown(&state.grant(client_id, &user, &scopes, false)))
}

/// `POST token`: all grant types.
async fn exchange(
    Shared(stage): Shared<Arc<Stage>>,
    asked: Asked,
    body: String,
) -> Result<Response, Refusal> {
    let asked = with_form(asked, &body);
    let (delay, forced) = {
        let mut state = stage.state();
        let delay = state.faults.token_delay_ms;
        state.counters.add("token_slow", u64::from(delay > 0));
        let forced = state.faults.force("POST", "oauth2/token");
        if let Some(forced) = &forced {
            state.counters.one(&format!("answer_{}", forced.status));
        }
        (delay, forced)
    };
    if delay > 0 {
        tokio::time::sleep(Duration::from_millis(delay)).await;
    }
    let Some(forced) = forced else { return Ok(shown(&stage.pair_for(&asked)?).into_response()) };
    if forced.after_doing_it {
        stage.pair_for(&asked)?;
    }
    let status = StatusCode::from_u16(forced.status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    Err(Refusal::new(status, "an answer forced by the rehearsal"))
}

impl Stage {
    fn known_client(&self, client_id: &str) -> Result<(), Refusal> {
        let refusal = || Refusal::bad("invalid client");
        (client_id == self.settings.client_id).then_some(()).ok_or_else(refusal)
    }

    fn check_secret(&self, client_id: &str, secret: Option<&str>) -> Result<(), Refusal> {
        self.known_client(client_id)?;
        match secret {
            Some(secret) if secret == self.settings.client_secret => Ok(()),
            Some(_) => Err(Refusal::forbidden("invalid client secret")),
            None => Err(Refusal::bad("missing client secret")),
        }
    }

    fn pair_for(&self, asked: &Asked) -> Result<TokenPair, Refusal> {
        let client_id = asked.need("client_id")?;
        self.known_client(client_id)?;
        match asked.need("grant_type")? {
            "client_credentials" => {
                self.check_secret(client_id, asked.one("client_secret"))?;
                Ok(self.state().tokens.issue_app(client_id))
            }
            "authorization_code" => self.pair_for_code(client_id, asked),
            "refresh_token" => {
                if asked.one("client_secret").is_some() {
                    self.check_secret(client_id, asked.one("client_secret"))?;
                }
                let mut state = self.state();
                let rotation = state.faults.refresh_rotation;
                let renewed = state.tokens.renew(client_id, asked.need("refresh_token")?, rotation);
                let (pair, is_rotated) =
                    renewed.ok_or_else(|| Refusal::bad("Invalid refresh token"))?;
                state.counters.add("refresh_rotated", u64::from(is_rotated));
                state.counters.one("refreshed");
                Ok(pair)
            }
            DEVICE_GRANT => {
                let mut state = self.state();
                let code = asked.need("device_code")?;
                let device = state.tokens.devices.get(code).cloned();
                let device = device.filter(|device| {
                    device.client_id == client_id && device.issued.elapsed() < DEVICE_LIVES
                });
                let device = device.ok_or_else(|| Refusal::bad("invalid device code"))?;
                let Some(user) = device.user else {
                    return Err(Refusal::bad("authorization_pending"));
                };
                state.tokens.devices.remove(code);
                let is_public = asked.one("client_secret").is_none();
                Ok(state.grant(client_id, &user, &device.scopes, is_public))
            }
            _ => Err(Refusal::bad("invalid grant type")),
        }
    }

    fn pair_for_code(&self, client_id: &str, asked: &Asked) -> Result<TokenPair, Refusal> {
        let mut state = self.state();
        let invalid = || Refusal::bad("Invalid authorization code");
        // A code works once, whatever comes of it.
        let code = state.tokens.codes.remove(asked.need("code")?).ok_or_else(invalid)?;
        if code.client_id != client_id || code.issued.elapsed() > CODE_LIVES {
            return Err(invalid());
        }
        if asked.one("redirect_uri") != Some(code.redirect_uri.as_str()) {
            return Err(Refusal::bad("Parameter redirect_uri does not match registered URI"));
        }
        if let Some((challenge, is_plain)) = &code.pkce {
            let verifier = asked.need("code_verifier")?;
            let hashed = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()));
            if *challenge != if *is_plain { verifier.to_owned() } else { hashed } {
                return Err(Refusal::bad("invalid code verifier"));
            }
        }
        let secret = asked.one("client_secret");
        if secret.is_some() || code.pkce.is_none() {
            drop(state);
            self.check_secret(client_id, secret)?;
            state = self.state();
        }
        Ok(state.grant(client_id, &code.user, &code.scopes, secret.is_none()))
    }
}

impl State {
    /// Whoever sits at the browser.
    fn at_the_browser(&mut self, asked: &Asked) -> Result<String, Refusal> {
        let named = asked.one("login").or_else(|| asked.one("user_id"));
        let channel = match named {
            Some(named) => self.channel(named),
            None => self.channels.first_mut(),
        };
        let refusal = || Refusal::bad("nobody of that name has a channel in this rehearsal");
        Ok(channel.ok_or_else(refusal)?.who.id.clone())
    }

    /// Issues a pair, and tells of the grant when it is the user's first.
    pub(super) fn grant(
        &mut self,
        client_id: &str,
        user: &str,
        scopes: &Scopes,
        is_public: bool,
    ) -> TokenPair {
        let (pair, is_new) = self.tokens.issue_user(client_id, user, scopes, is_public);
        if is_new {
            let who = self.person(user);
            let event = json!({"client_id": client_id, "user_id": who.id, "user_login": who.login, "user_name": who.name});
            self.emit("user.authorization.grant", "1", user, &event);
        }
        pair
    }
}

/// `POST device`.
async fn device(
    Shared(stage): Shared<Arc<Stage>>,
    asked: Asked,
    body: String,
) -> Result<Json<Value>, Refusal> {
    let asked = with_form(asked, &body);
    let client_id = asked.need("client_id")?;
    stage.known_client(client_id)?;
    let scopes = asked.one("scopes").or_else(|| asked.one("scope")).unwrap_or_default();
    let (device_code, user_code) = (token(), token()[..8].to_uppercase());
    stage.state().tokens.devices.insert(
        device_code.clone(),
        Device {
            client_id: client_id.to_owned(),
            user_code: user_code.clone(),
            scopes: scopes_of(scopes),
            user: None,
            issued: Instant::now(),
        },
    );
    Ok(Json(json!({
        "device_code": device_code,
        "user_code": user_code,
        "verification_uri": format!("http://{}/oauth2/activate?device-code={user_code}", stage.address),
        "interval": POLL_EVERY_S,
        "expires_in": DEVICE_LIVES.as_secs(),
    })))
}

/// `GET activate?device-code=`: the person with the phone says yes.
async fn activate(
    Shared(stage): Shared<Arc<Stage>>,
    asked: Asked,
) -> Result<&'static str, Refusal> {
    let user_code = asked.need("device-code")?;
    let mut state = stage.state();
    let user = state.at_the_browser(&asked)?;
    let waiting = state.tokens.devices.values_mut().find(|device| device.user_code == user_code);
    waiting.ok_or_else(|| Refusal::missing("no device waits with this code"))?.user = Some(user);
    Ok("The device is allowed.\n")
}

/// `GET validate`.
async fn validate(
    Shared(stage): Shared<Arc<Stage>>,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    let invalid = || Refusal::unauthorized("invalid access token");
    let told = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = told
        .and_then(|text| text.strip_prefix("OAuth ").or_else(|| text.strip_prefix("Bearer ")))
        .ok_or_else(invalid)?;
    let state = stage.state();
    let access = state.tokens.valid(token).ok_or_else(invalid)?;
    let left = access.expires.saturating_duration_since(Instant::now()).as_secs();
    let mut shown =
        json!({"client_id": access.client_id, "scopes": access.scopes, "expires_in": left});
    if let Some(user) = &access.user {
        let who = state.person(user);
        shown["login"] = who.login.into();
        shown["user_id"] = who.id.into();
    }
    Ok(Json(shown))
}

/// `POST revoke`.
async fn revoke(
    Shared(stage): Shared<Arc<Stage>>,
    asked: Asked,
    body: String,
) -> Result<StatusCode, Refusal> {
    let asked = with_form(asked, &body);
    let client_id = asked.need("client_id")?;
    stage.known_client(client_id)?;
    if !stage.state().tokens.revoke(client_id, asked.need("token")?) {
        return Err(Refusal::bad("Invalid token"));
    }
    Ok(StatusCode::OK)
}

/// Names come in the query or in a form.
fn with_form(mut asked: Asked, body: &str) -> Asked {
    asked.0.extend(Asked::read(body).0);
    asked
}

pub(super) fn scopes_of(text: &str) -> Scopes {
    text.split([' ', '+']).filter(|scope| !scope.is_empty()).map(str::to_owned).collect()
}

fn shown(pair: &TokenPair) -> Json<Value> {
    let mut shown = json!({"access_token": pair.access, "expires_in": pair.expires_in_s, "token_type": "bearer"});
    if !pair.refresh.is_empty() {
        shown["refresh_token"] = pair.refresh.as_str().into();
        shown["scope"] = json!(pair.scopes);
    }
    Json(shown)
}
