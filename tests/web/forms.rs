//! Forms come from our own pages, with the token of the very session.

use reqwest::{Method, RequestBuilder, StatusCode};
use spark::domain::accounts::Role;
use spark::ports::people::People;

use crate::house::{Browser, House};

const TARGET: &str = "/compte/sessions";

async fn check(house: &House, browser: &Browser, request: RequestBuilder, expected: StatusCode) {
    // A second session tells whether the request changed something.
    let other = house.open_session(browser.person).await;
    let response = request.header("cookie", browser.cookie()).send().await.unwrap();
    let status = response.status();
    let left = house.people.sessions_of(browser.person).await.unwrap().len();
    assert_eq!(status, expected);
    assert_eq!(left == 1, status == StatusCode::SEE_OTHER, "{status} and {left} sessions left");
    drop(other);
}

#[tokio::test]
async fn a_form_needs_the_token_of_its_own_session() {
    let house = House::open().await;
    let (ana, leo) = (house.sign_in(Role::Editor).await, house.sign_in(Role::Editor).await);
    let refused = StatusCode::FORBIDDEN;
    let form = |token: &str| house.post(TARGET).form(&[("autre", "1"), ("csrf", token)]);
    check(&house, &ana, house.post(TARGET), refused).await;
    check(&house, &ana, house.post(TARGET).form(&[("autre", "1")]), refused).await;
    check(&house, &ana, form(""), refused).await;
    check(&house, &ana, form("AAAA"), refused).await;
    check(&house, &ana, form(&leo.csrf), refused).await;
    check(&house, &ana, house.post(TARGET).json(&serde_json::json!({ "csrf": ana.csrf })), refused)
        .await;
    // In the address it counts for multipart only: addresses end up in logs.
    let address = format!("{TARGET}?csrf={}", ana.csrf);
    check(&house, &ana, house.post(&address), refused).await;
    check(&house, &ana, form(&ana.csrf), StatusCode::SEE_OTHER).await;
    let by_header = house.post(TARGET).header("x-csrf-token", &ana.csrf);
    check(&house, &ana, by_header, StatusCode::SEE_OTHER).await;
    let multipart = house.post(&address).multipart(reqwest::multipart::Form::new().text("a", "b"));
    check(&house, &ana, multipart, StatusCode::SEE_OTHER).await;
}

#[tokio::test]
async fn a_form_from_elsewhere_is_refused_even_with_the_right_token() {
    let house = House::open().await;
    let ana = house.sign_in(Role::Editor).await;
    let refused = StatusCode::FORBIDDEN;
    let from = |origin: &str| {
        house.ask(Method::POST, TARGET).header("origin", origin).form(&[("csrf", &ana.csrf)])
    };
    check(&house, &ana, from("https://ailleurs.example"), refused).await;
    check(&house, &ana, from("null"), refused).await;
    check(&house, &ana, from("http://127.0.0.1:1"), refused).await;
    let silent = house.ask(Method::POST, TARGET).form(&[("csrf", &ana.csrf)]);
    check(&house, &ana, silent, refused).await;
    let cross = house.post(TARGET).header("sec-fetch-site", "cross-site");
    check(&house, &ana, cross.form(&[("csrf", &ana.csrf)]), refused).await;
    let own = format!("http://{}", house.address);
    check(&house, &ana, from(&own), StatusCode::SEE_OTHER).await;
}

#[tokio::test]
async fn a_login_from_elsewhere_is_refused_too() {
    let house = House::open().await;
    let response = house
        .ask(Method::POST, "/connexion")
        .header("origin", "https://ailleurs.example")
        .form(&[("email", "a@villa.fr"), ("password", "une belle semaine")])
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn the_token_on_a_page_works_and_differs_each_time() {
    let house = House::open().await;
    let ana = house.sign_in(Role::Editor).await;
    let mut tokens = Vec::new();
    for _ in 0..2 {
        let page = house.get("/compte").header("cookie", ana.cookie()).send().await.unwrap();
        let page = page.text().await.unwrap();
        let (_, rest) = page.split_once("name=\"csrf\" value=\"").expect("a form token");
        tokens.push(rest.split('"').next().unwrap().to_owned());
    }
    assert_ne!(tokens[0], tokens[1]);
    for token in tokens {
        let form = house.post(TARGET).form(&[("csrf", token)]);
        check(&house, &ana, form, StatusCode::SEE_OTHER).await;
    }
}

#[tokio::test]
async fn an_endless_form_is_cut_short() {
    let house = House::open().await;
    let ana = house.sign_in(Role::Editor).await;
    let long = "a".repeat(100 * 1024);
    let response = house
        .post(TARGET)
        .header("cookie", ana.cookie())
        .form(&[("csrf", ana.csrf.as_str()), ("long", &long)])
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let response = house
        .post("/connexion")
        .form(&[("email", "a@villa.fr"), ("password", &long)])
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
}
