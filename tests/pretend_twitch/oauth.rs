//! Every flow of OAuth, from the page that says yes to the revoked token.

use serde_json::Value;
use spark::rehearsal::twitch::{Act, ForcedAnswer, PretendTwitch, Rotation};

use crate::listener::{CHANNEL, Caller, NOUR, twitch};

const BACK: &str = "http://127.0.0.1:9/back";

struct Client {
    http: reqwest::Client,
    base: String,
}

impl Client {
    fn of(twitch: &PretendTwitch) -> Self {
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
        Self { http: http.build().unwrap(), base: twitch.oauth_url() }
    }

    /// Asks for consent; what comes back to the client.
    async fn consent(&self, more: &[(&str, &str)]) -> Vec<(String, String)> {
        let query = [
            ("response_type", "code"),
            ("client_id", "pretendclient"),
            ("redirect_uri", BACK),
            ("scope", "user:read:chat bits:read"),
            ("state", "mine"),
        ];
        let request = self.http.get(format!("{}authorize", self.base)).query(&query).query(more);
        let answer = request.send().await.unwrap();
        assert!(answer.status().is_redirection(), "{}", answer.status());
        let to = reqwest::Url::parse(answer.headers()["location"].to_str().unwrap()).unwrap();
        assert!(to.as_str().starts_with(BACK));
        to.query_pairs().into_owned().collect()
    }

    async fn post(&self, path: &str, form: &[(&str, &str)]) -> (u16, Value) {
        let form: Vec<_> = [("client_id", "pretendclient")].iter().chain(form).copied().collect();
        let request = self.http.post(format!("{}{path}", self.base)).form(&form);
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or(Value::Null))
    }

    async fn exchange(&self, code: &str, more: &[(&str, &str)]) -> (u16, Value) {
        let form = [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", BACK)];
        self.post("token", &[&form, more].concat()).await
    }

    async fn refresh(&self, token: &str) -> (u16, Value) {
        let form = [("grant_type", "refresh_token"), ("refresh_token", token), SECRET];
        self.post("token", &form).await
    }

    async fn validate(&self, token: &str) -> (u16, Value) {
        let request = self.http.get(format!("{}validate", self.base));
        let answer =
            request.header("Authorization", format!("OAuth {token}")).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap())
    }
}

const SECRET: (&str, &str) = ("client_secret", "pretendsecret");

fn named<'a>(pairs: &'a [(String, String)], name: &str) -> &'a str {
    pairs.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
}

fn text<'a>(body: &'a Value, name: &str) -> &'a str {
    body[name].as_str().unwrap_or_default()
}

#[tokio::test]
async fn a_code_is_exchanged_once_for_a_token_that_validates() {
    let twitch = twitch().await;
    let client = Client::of(&twitch);
    let back = client.consent(&[("login", CHANNEL)]).await;
    assert_eq!(named(&back, "state"), "mine");
    let code = named(&back, "code");
    let (status, tokens) = client.exchange(code, &[SECRET]).await;
    assert_eq!(status, 200, "{tokens}");
    assert_eq!(tokens["scope"], serde_json::json!(["bits:read", "user:read:chat"]));
    let (status, told) = client.validate(text(&tokens, "access_token")).await;
    assert_eq!((status, text(&told, "login"), text(&told, "user_id")), (200, CHANNEL, NOUR));
    assert!(told["expires_in"].as_u64().unwrap() > 14_000);
    assert_eq!(client.exchange(code, &[SECRET]).await.0, 400, "a code works once");
    let (status, _) = client.post("revoke", &[("token", text(&tokens, "access_token"))]).await;
    assert_eq!(status, 200);
    assert_eq!(client.validate(text(&tokens, "access_token")).await.0, 401);
}

#[tokio::test]
async fn a_refusal_and_a_wrong_secret_are_told() {
    let twitch = twitch().await;
    let client = Client::of(&twitch);
    let back = client.consent(&[("deny", "1")]).await;
    assert_eq!((named(&back, "error"), named(&back, "state")), ("access_denied", "mine"));
    let back = client.consent(&[]).await;
    let wrong = client.exchange(named(&back, "code"), &[("client_secret", "guess")]).await;
    assert_eq!(wrong.0, 403);
}

#[tokio::test]
async fn a_public_client_proves_itself_with_its_verifier() {
    let twitch = twitch().await;
    let client = Client::of(&twitch);
    // The pair of RFC 7636, appendix B.
    let verifier = ("code_verifier", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    let challenge = [
        ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
        ("code_challenge_method", "S256"),
    ];
    let back = client.consent(&challenge).await;
    let wrong = client.exchange(named(&back, "code"), &[("code_verifier", "guess")]).await;
    assert_eq!(wrong.0, 400);
    let back = client.consent(&challenge).await;
    let (status, tokens) = client.exchange(named(&back, "code"), &[verifier]).await;
    assert_eq!(status, 200, "{tokens}");
    // A public client's refresh token works once.
    let refresh = text(&tokens, "refresh_token");
    assert_eq!(client.refresh(refresh).await.0, 200);
    assert_eq!(client.refresh(refresh).await.0, 400);
}

#[tokio::test]
async fn a_device_waits_until_it_is_allowed() {
    let twitch = twitch().await;
    let client = Client::of(&twitch);
    let (status, device) = client.post("device", &[("scopes", "user:read:chat")]).await;
    assert_eq!((status, &device["interval"]), (200, &serde_json::json!(5)));
    let grant = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
        ("device_code", text(&device, "device_code")),
    ];
    let (status, waits) = client.post("token", &grant).await;
    assert_eq!((status, text(&waits, "message")), (400, "authorization_pending"));
    let page = client.http.get(text(&device, "verification_uri")).send().await.unwrap();
    assert_eq!(page.status().as_u16(), 200);
    let (status, tokens) = client.post("token", &grant).await;
    assert_eq!(status, 200, "{tokens}");
    assert_eq!(client.post("token", &grant).await.0, 400);
}

#[tokio::test]
async fn refresh_tokens_rotate_as_asked_and_a_lost_reply_loses_nothing() {
    let twitch = twitch().await;
    let client = Client::of(&twitch);
    let first = twitch.user_token(CHANNEL, &[]).unwrap().refresh;
    assert_eq!(text(&client.refresh(&first).await.1, "refresh_token"), first);

    twitch.faults(|faults| {
        faults.refresh_rotation = Rotation::New;
        faults.answers.push(ForcedAnswer {
            method: None,
            path: "oauth2/token".into(),
            status: 503,
            remaining: None,
            times: 1,
            after_doing_it: true,
        });
    });
    assert_eq!(client.refresh(&first).await.0, 503);
    let (status, pair) = client.refresh(&first).await;
    assert_eq!(status, 200, "the reply was lost, the old token still works");
    let second = text(&pair, "refresh_token").to_owned();
    assert_ne!(second, first);
    let third = text(&client.refresh(&second).await.1, "refresh_token").to_owned();
    assert_eq!(client.refresh(&first).await.0, 400, "its successor was used");

    twitch.faults(|faults| faults.refresh_rotation = Rotation::Once);
    assert_eq!(client.refresh(&third).await.0, 200);
    assert_eq!(client.refresh(&third).await.0, 400);
    assert_eq!((twitch.counter("refresh_rotated"), twitch.counter("answer_503")), (4, 1));
}

#[tokio::test]
async fn tokens_run_out_when_told_and_the_endpoint_may_be_slow() {
    let twitch = twitch().await;
    let nour = Caller::user(&twitch, CHANNEL);
    assert_eq!(nour.get("users").await.body["data"][0]["id"], NOUR);
    twitch.act(Act::ExpireTokens { user: CHANNEL.into() }).unwrap();
    assert_eq!(nour.get("users").await.status, 401);
    assert_eq!(twitch.counter("tokens_expired"), 1);
    twitch.faults(|faults| faults.token_delay_ms = 120);
    let begun = std::time::Instant::now();
    let client = Client::of(&twitch);
    let (status, app) = client.post("token", &[("grant_type", "client_credentials"), SECRET]).await;
    assert_eq!(status, 200);
    assert!(begun.elapsed().as_millis() >= 120);
    assert!(app["refresh_token"].is_null());
    assert_eq!(twitch.counter("token_slow"), 1);
}
