//! Sessions end by themselves, by logout, and from another device.

use std::time::Duration;

use reqwest::StatusCode;
use spark::domain::accounts::Role;
use spark::ports::people::People;

use crate::house::{Browser, House, header};

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);

async fn is_in(house: &House, browser: &Browser) -> bool {
    let response = house.get("/compte").header("cookie", browser.cookie()).send().await.unwrap();
    response.status() == StatusCode::OK
}

#[tokio::test]
async fn an_idle_session_ends_sooner_for_an_administrator() {
    let house = House::open().await;
    let (admin, editor) = (house.sign_in(Role::Admin).await, house.sign_in(Role::Editor).await);
    house.clock.advance(29 * MINUTE);
    assert!(is_in(&house, &admin).await);
    house.clock.advance(29 * MINUTE);
    assert!(is_in(&house, &admin).await, "each use begins the wait anew");
    house.clock.advance(30 * MINUTE);
    assert!(!is_in(&house, &admin).await);
    house.clock.advance(10 * HOUR);
    assert!(is_in(&house, &editor).await);
    house.clock.advance(12 * HOUR);
    assert!(!is_in(&house, &editor).await);
    assert_eq!(house.people.sessions_of(editor.person).await.unwrap(), [], "and is forgotten");
}

#[tokio::test]
async fn no_session_outlives_its_absolute_limit() {
    let house = House::open().await;
    let (admin, editor) = (house.sign_in(Role::Admin).await, house.sign_in(Role::Editor).await);
    for _ in 0..47 {
        house.clock.advance(15 * MINUTE);
        assert!(is_in(&house, &admin).await);
        assert!(is_in(&house, &editor).await);
    }
    house.clock.advance(15 * MINUTE);
    assert!(!is_in(&house, &admin).await, "12 h");
    for _ in 0..14 {
        assert!(is_in(&house, &editor).await);
        house.clock.advance(11 * HOUR);
    }
    house.clock.advance(2 * HOUR);
    assert!(!is_in(&house, &editor).await, "7 d");
}

#[tokio::test]
async fn a_logout_ends_the_session_and_not_only_the_cookie() {
    let house = House::open().await;
    let ana = house.sign_in(Role::Editor).await;
    let response = house
        .post("/deconnexion")
        .header("cookie", ana.cookie())
        .form(&[("csrf", &ana.csrf)])
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    assert!(header(&response, "set-cookie").contains("Max-Age=0"));
    assert!(!is_in(&house, &ana).await);
    // By GET, nothing happens: a picture's address must not log anybody out.
    let leo = house.sign_in(Role::Editor).await;
    let response = house.get("/deconnexion").header("cookie", leo.cookie()).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert!(is_in(&house, &leo).await);
}

#[tokio::test]
async fn the_other_sessions_end_on_request() {
    let house = House::open().await;
    let here = house.sign_in(Role::Editor).await;
    let there = house.open_session(here.person).await;
    let somebody = house.sign_in(Role::Editor).await;
    let response = house
        .post("/compte/sessions")
        .header("cookie", here.cookie())
        .form(&[("csrf", &here.csrf)])
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    assert!(is_in(&house, &here).await);
    assert!(!is_in(&house, &there).await);
    assert!(is_in(&house, &somebody).await);
}

#[tokio::test]
async fn a_new_role_holds_from_the_next_request_on() {
    let house = House::open().await;
    let (admin, leo) = (house.sign_in(Role::Admin).await, house.sign_in(Role::Admin).await);
    let team = |browser: &Browser| house.get("/equipe").header("cookie", browser.cookie()).send();
    assert_eq!(team(&leo).await.unwrap().status(), StatusCode::OK);
    let accounts = &house.app.accounts;
    accounts.change_role(admin.person, leo.person, Role::Sponsor).await.unwrap();
    assert_eq!(team(&leo).await.unwrap().status(), StatusCode::FORBIDDEN);
}
