//! First start, welcome links, logins.

use std::time::Duration;

use futures::future::join_all;
use reqwest::{Response, StatusCode};
use spark::domain::accounts::Role;
use spark::ports::people::People;
use spark::use_cases::accounts::Passwords;

use crate::house::{House, header};

const PASSWORD: &str = "une belle semaine";

/// The session reference in a response's cookie; checks what browsers are told about it.
#[track_caller]
fn reference(response: &Response) -> String {
    let cookie = header(response, "set-cookie");
    let (pair, flags) = cookie.split_once("; ").unwrap_or_else(|| panic!("no cookie: {cookie}"));
    assert_eq!(flags, "Path=/; Secure; HttpOnly; SameSite=Lax");
    let reference = pair.strip_prefix("__Host-spark=").expect("the house's cookie");
    assert!(reference.len() >= 43, "256 bits in base64url: {reference}");
    reference.to_owned()
}

async fn join(house: &House, token: &str, email: &str, password: &str) -> Response {
    house
        .post(&format!("/bienvenue/{token}"))
        .form(&[("name", "Ana"), ("email", email), ("password", password)])
        .send()
        .await
        .unwrap()
}

async fn login(house: &House, email: &str, password: &str, cookie: &str) -> Response {
    house
        .post("/connexion")
        .header("cookie", cookie)
        .form(&[("email", email), ("password", password), ("retour", "/compte")])
        .send()
        .await
        .unwrap()
}

async fn is_in(house: &House, reference: &str) -> bool {
    let cookie = format!("__Host-spark={reference}");
    let response = house.get("/compte").header("cookie", cookie).send().await.unwrap();
    response.status() == StatusCode::OK
}

#[tokio::test]
async fn the_first_administrator_comes_in_by_a_link_and_later_by_password() {
    let house = House::open().await;
    let forgotten = house.app.accounts.first_link().await.unwrap().unwrap();
    let token = house.app.accounts.first_link().await.unwrap().unwrap();
    let stale = house.get(&format!("/bienvenue/{}", forgotten.as_str())).send().await.unwrap();
    assert_eq!(stale.status(), StatusCode::GONE);
    let path = format!("/bienvenue/{}", token.as_str());
    for _ in 0..2 {
        // Looking does not spend it: mail programs look too.
        let page = house.get(&path).send().await.unwrap();
        assert_eq!(page.status(), StatusCode::OK);
        // Under `no-referrer` browsers send a form without its origin, which the guard refuses.
        assert_eq!(header(&page, "referrer-policy"), "same-origin");
        assert_eq!(header(&page, "x-robots-tag"), "noindex");
    }
    let short = join(&house, token.as_str(), "ana@villa.fr", "court").await;
    assert_eq!(short.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let page = short.text().await.unwrap();
    assert!(
        page.contains("10 à 128 caractères") && page.contains("value=\"ana@villa.fr\""),
        "{page}"
    );
    let joined = join(&house, token.as_str(), "Ana@Villa.fr", PASSWORD).await;
    assert_eq!(joined.status(), StatusCode::SEE_OTHER);
    let first = reference(&joined);
    assert!(is_in(&house, &first).await);
    assert!(house.app.accounts.first_link().await.unwrap().is_none());
    let back = login(&house, "ana@villa.fr", PASSWORD, "").await;
    assert_eq!(back.status(), StatusCode::SEE_OTHER);
    assert_eq!(header(&back, "location"), "/compte");
    assert_ne!(reference(&back), first);
}

#[tokio::test]
async fn a_link_works_once_however_many_click() {
    let house = House::open().await;
    let token = house.app.accounts.first_link().await.unwrap().unwrap();
    let emails: Vec<String> = (0..6).map(|n| format!("ana{n}@villa.fr")).collect();
    let rush = emails.iter().map(|email| join(&house, token.as_str(), email, PASSWORD));
    let mut statuses: Vec<StatusCode> = join_all(rush).await.iter().map(Response::status).collect();
    statuses.sort();
    assert_eq!(statuses[0], StatusCode::SEE_OTHER);
    assert!(statuses[1..].iter().all(|status| *status == StatusCode::GONE), "{statuses:?}");
    assert_eq!(house.people.list().await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_invitation_ends_after_a_week() {
    let house = House::open().await;
    let admin = house.sign_in(Role::Admin).await;
    let accounts = &house.app.accounts;
    let (_, token) = accounts.invite(admin.person, None, Role::Editor).await.unwrap();
    house.clock.advance(Duration::from_hours(168));
    let late = join(&house, token.as_str(), "leo@villa.fr", PASSWORD).await;
    assert_eq!(late.status(), StatusCode::GONE);
}

#[tokio::test]
async fn a_login_never_takes_over_a_reference_that_was_there_before() {
    let house = House::open().await;
    let hash = Passwords::default().hash(PASSWORD.into()).await.unwrap();
    let ana = house.admit(Role::Editor, &hash).await;
    // What an attacker put there: their own session, or words of their choice.
    let mallory = house.sign_in(Role::Artist).await;
    for planted in [mallory.reference.clone(), "A".repeat(43), "planted".to_owned()] {
        let cookie = format!("__Host-spark={planted}");
        let response = login(&house, &format!("{ana}@villa.fr"), PASSWORD, &cookie).await;
        assert_eq!(response.status(), StatusCode::SEE_OTHER);
        assert_ne!(reference(&response), planted);
        assert!(!is_in(&house, &planted).await, "{planted} leads somewhere");
    }
}

#[tokio::test]
async fn an_unknown_address_and_a_wrong_password_look_the_same() {
    let house = House::open().await;
    let hash = Passwords::default().hash(PASSWORD.into()).await.unwrap();
    let ana = house.admit(Role::Editor, &hash).await;
    let mut pages = Vec::new();
    for email in [format!("{ana}@villa.fr"), "nobody@villa.fr".to_owned(), "nonsense".to_owned()] {
        let response = login(&house, &email, "pas la bonne", "").await;
        assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY);
        assert!(response.headers().get("set-cookie").is_none());
        pages.push(response.text().await.unwrap().replace(&email, ""));
    }
    assert_eq!(pages[0], pages[1]);
    assert_eq!(pages[0], pages[2]);
    assert!(pages[0].contains("inexact"), "{}", pages[0]);
}

#[tokio::test]
async fn the_sixth_try_in_a_minute_waits() {
    let house = House::open().await;
    for _ in 0..5 {
        let response = login(&house, "ana@villa.fr", "pas la bonne", "").await;
        assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY);
    }
    let sixth = login(&house, "ana@villa.fr", "pas la bonne", "").await;
    assert_eq!(sixth.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(header(&sixth, "retry-after"), "12");
    let other = login(&house, "leo@villa.fr", "pas la bonne", "").await;
    assert_eq!(other.status(), StatusCode::UNPROCESSABLE_ENTITY);
    house.clock.advance(Duration::from_secs(12));
    let patient = login(&house, "ana@villa.fr", "pas la bonne", "").await;
    assert_eq!(patient.status(), StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn a_login_leads_back_to_this_site_only() {
    let house = House::open().await;
    let hash = Passwords::default().hash(PASSWORD.into()).await.unwrap();
    let ana = house.admit(Role::Editor, &hash).await;
    for (back, expected) in [("/semaines?a=b", "/semaines?a=b"), ("//ailleurs.example", "/")] {
        let response = house
            .post("/connexion")
            .form(&[
                ("email", format!("{ana}@villa.fr").as_str()),
                ("password", PASSWORD),
                ("retour", back),
            ])
            .send()
            .await
            .unwrap();
        assert_eq!(header(&response, "location"), expected);
    }
}

#[tokio::test]
async fn the_team_is_led_from_its_page() {
    let house = House::open().await;
    let admin = house.sign_in(Role::Admin).await;
    let send = |path: String, fields: Vec<(&'static str, String)>| {
        let mut form = fields;
        form.push(("csrf", admin.csrf.clone()));
        house.post(&path).header("cookie", admin.cookie()).form(&form).send()
    };
    let invited =
        send("/equipe".into(), vec![("email", "leo@villa.fr".into()), ("role", "editor".into())])
            .await
            .unwrap();
    assert_eq!(invited.status(), StatusCode::OK);
    let page = invited.text().await.unwrap();
    let (_, rest) = page.split_once("/bienvenue/").expect("a link to pass on");
    let token: String =
        rest.chars().take_while(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).collect();
    let joined = join(&house, &token, "ignored@villa.fr", PASSWORD).await;
    let leo = reference(&joined);
    let person = house
        .people
        .list()
        .await
        .unwrap()
        .into_iter()
        .find(|person| person.role == Role::Editor)
        .expect("the editor");
    assert_eq!(
        person.email.as_ref().map(spark::domain::accounts::EmailAddress::as_str),
        Some("leo@villa.fr")
    );
    let taken =
        send("/equipe".into(), vec![("email", "leo@villa.fr".into()), ("role", "artist".into())]);
    assert_eq!(taken.await.unwrap().status(), StatusCode::UNPROCESSABLE_ENTITY);
    let path = format!("/equipe/{}/role", admin.person);
    let alone = send(path, vec![("role", "editor".into())]).await.unwrap();
    assert_eq!(alone.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert!(alone.text().await.unwrap().contains("dernier administrateur"));
    let closed = send(format!("/equipe/{}/fermeture", person.id), vec![]).await.unwrap();
    assert_eq!(closed.status(), StatusCode::SEE_OTHER);
    assert!(!is_in(&house, &leo).await);
}
