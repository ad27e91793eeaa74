//! Where the platform posts: no browser, no form; the mailbox alone decides, and its answers become statuses.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use reqwest::{Client, StatusCode};
use spark::ports::audience_source::{Mailbox, Received};
use spark::web::{App, Parts, ServerLimits};
use tokio_util::sync::CancellationToken;

use crate::house::House;

/// A message as it came: its headers and its body.
type Came = (BTreeMap<String, String>, Vec<u8>);

/// Answers what it was told to, and keeps what came.
struct Clerk {
    answer: Mutex<Received>,
    came: Mutex<Vec<Came>>,
}

#[async_trait]
impl Mailbox for Clerk {
    async fn receive(&self, headers: &BTreeMap<String, String>, body: &[u8]) -> Received {
        self.came.lock().unwrap().push((headers.clone(), body.to_vec()));
        self.answer.lock().unwrap().clone()
    }
}

#[tokio::test]
async fn the_body_comes_raw_and_the_answer_is_a_status() {
    let house = House::open().await;
    let clerk = Arc::new(Clerk { answer: Mutex::new(Received::Taken), came: Mutex::default() });
    let app = App::new(Parts { mailbox: Some(clerk.clone()), ..(*house.app).clone() });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/twitch/eventsub", listener.local_addr().unwrap());
    let stop = CancellationToken::new();
    let (router, _) = spark::web::router(&app);
    let serving =
        tokio::spawn(spark::web::serve(listener, router, ServerLimits::default(), stop.clone()));
    let client = Client::new();
    // No session, no origin, as another server posts.
    let post = |body: Vec<u8>| {
        client.post(&url).header("Twitch-Eventsub-Message-Id", "M1").body(body).send()
    };
    let raw = "{ \"a\":  \"é\" }\n".as_bytes().to_vec();
    for (answer, status) in [
        (Received::Taken, StatusCode::NO_CONTENT),
        (Received::Refused, StatusCode::FORBIDDEN),
        (Received::Malformed, StatusCode::BAD_REQUEST),
        (Received::Busy, StatusCode::SERVICE_UNAVAILABLE),
    ] {
        *clerk.answer.lock().unwrap() = answer;
        assert_eq!(post(raw.clone()).await.unwrap().status(), status);
    }
    *clerk.answer.lock().unwrap() = Received::Answer("pogchamp".to_owned());
    let proof = post(raw.clone()).await.unwrap();
    assert_eq!(proof.status(), StatusCode::OK);
    assert!(proof.headers()["content-type"].to_str().unwrap().starts_with("text/plain"));
    assert_eq!(proof.text().await.unwrap(), "pogchamp");
    let (headers, body) = clerk.came.lock().unwrap()[0].clone();
    assert_eq!((headers["twitch-eventsub-message-id"].as_str(), body), ("M1", raw));
    // A rehearsal's longest fits, a flood does not; it never reaches the clerk.
    assert_eq!(post(vec![b' '; 1 << 20]).await.unwrap().status(), StatusCode::OK);
    let came = clerk.came.lock().unwrap().len();
    assert_eq!(
        post(vec![b' '; (1 << 20) + 1]).await.unwrap().status(),
        StatusCode::PAYLOAD_TOO_LARGE
    );
    assert_eq!(clerk.came.lock().unwrap().len(), came);
    stop.cancel();
    serving.await.unwrap().unwrap();
}
