//! The pages of Twitch channels: what they say, where they lead, what they refuse.

use chrono::TimeDelta;
use reqwest::StatusCode;
use spark::domain::accounts::Role;
use spark::domain::audience::channel::{Channel, ChannelId, Feature, Trouble};
use spark::ports::clock::Clock;
use spark::ports::vault::{Secret, Tokens, Vault};

use crate::house::{Browser, House, header};

async fn link(house: &House, scopes: &[&str]) -> ChannelId {
    let channel = Channel {
        id: ChannelId::try_new("41").unwrap(),
        login: "ana".into(),
        name: "Ana 🎈".into(),
        scopes: scopes.iter().map(ToString::to_string).collect(),
        linked_at: house.clock.now(),
        validated_at: house.clock.now(),
        trouble: None,
    };
    let tokens = Tokens {
        access: Secret::new("access-secret"),
        refresh: None,
        expires_at: house.clock.now() + TimeDelta::hours(4),
    };
    house.vault.link(&channel, &tokens).await.unwrap();
    channel.id
}

async fn read(house: &House, browser: &Browser, path: &str) -> (StatusCode, String) {
    let response = house.get(path).header("cookie", browser.cookie()).send().await.unwrap();
    (response.status(), response.text().await.unwrap())
}

async fn submit(house: &House, browser: &Browser, path: &str, form: &str) -> reqwest::Response {
    house
        .post(path)
        .header("cookie", browser.cookie())
        .header("content-type", "application/x-www-form-urlencoded")
        .body(format!("csrf={}&{form}", browser.csrf))
        .send()
        .await
        .unwrap()
}

fn necessary() -> Vec<&'static str> {
    let all = Feature::ALL.into_iter().filter(|feature| feature.is_necessary());
    all.flat_map(|feature| feature.scopes().iter().copied()).collect()
}

#[tokio::test]
async fn the_list_says_how_each_channel_is() {
    let house = House::open().await;
    let coordinator = house.sign_in(Role::Coordinator).await;
    let (status, empty) = read(&house, &coordinator, "/chaines").await;
    assert_eq!(status, StatusCode::OK);
    assert!(empty.contains("Aucune chaîne reliée"), "{empty}");
    let id = link(&house, &necessary()).await;
    assert!(read(&house, &coordinator, "/chaines").await.1.contains("Tout marche"));
    link(&house, &["user:read:chat"]).await;
    let (_, lacking) = read(&house, &coordinator, "/chaines").await;
    assert!(
        lacking.contains("Ana 🎈") && lacking.contains(&escaped("fonctions à l'arrêt")),
        "{lacking}"
    );
    house.vault.end(&id, Trouble::Revoked).await.unwrap();
    let (_, ended) = read(&house, &coordinator, "/chaines").await;
    assert!(ended.contains("À relier de nouveau") && ended.contains("retiré"), "{ended}");
}

#[tokio::test]
async fn a_channel_says_what_each_missing_permission_costs() {
    let house = House::open().await;
    let admin = house.sign_in(Role::Admin).await;
    let id = link(&house, &["user:read:chat"]).await;
    let (status, page) = read(&house, &admin, &format!("/chaines/{id}")).await;
    assert_eq!(status, StatusCode::OK);
    for feature in Feature::ALL.into_iter().filter(|feature| *feature != Feature::Chat) {
        assert!(page.contains(&escaped(feature.cost())), "{feature:?} has no cost\n{page}");
    }
    assert!(!page.contains(&escaped(Feature::Chat.cost())), "{page}");
    assert!(!page.contains("access-secret"));
    assert_eq!(read(&house, &admin, "/chaines/999").await.0, StatusCode::NOT_FOUND);
}

fn escaped(text: &str) -> String {
    text.replace('\'', "&#39;")
}

#[tokio::test]
async fn linking_leads_to_twitch_with_what_stands_and_what_is_wanted() {
    let house = House::open().await;
    let admin = house.sign_in(Role::Admin).await;
    let id = link(&house, &["channel:manage:raids"]).await;
    let form = format!("chaine={id}&avec=messages");
    let response = submit(&house, &admin, "/chaines/relier", &form).await;
    assert_eq!(response.status(), StatusCode::OK);
    let page = response.text().await.unwrap().replace("&#38;", "&");
    let (_, url) = page.split_once("href=\"http://127.0.0.1:9/").expect("a link to Twitch");
    let url = url.split('"').next().unwrap();
    assert!(url.starts_with("oauth2/authorize?"), "{url}");
    for part in [
        "channel%3Amanage%3Araids",
        "user%3Awrite%3Achat",
        "code_challenge_method=S256",
        "%2Fchaines%2Fretour",
        "state=",
    ] {
        assert!(url.contains(part), "no {part} in {url}");
    }
    assert!(!url.contains("announcements"), "{url}");
}

#[tokio::test]
async fn a_return_with_a_state_of_somebody_else_or_none_links_nothing() {
    let house = House::open().await;
    let (ana, leo) = (house.sign_in(Role::Admin).await, house.sign_in(Role::Admin).await);
    let page = submit(&house, &ana, "/chaines/relier", "").await.text().await.unwrap();
    let state = page.split("state=").nth(1).unwrap().split('&').next().unwrap().to_owned();
    let back = format!("/chaines/retour?state={state}&code=abc");
    assert_eq!(read(&house, &leo, &back).await.0, StatusCode::GONE);
    assert_eq!(read(&house, &ana, &back).await.0, StatusCode::GONE, "a spent state served");
    assert_eq!(read(&house, &ana, "/chaines/retour").await.0, StatusCode::GONE);
    assert_eq!(house.vault.channels().await.unwrap(), []);
}

#[tokio::test]
async fn a_twitch_that_does_not_answer_is_said_and_nothing_is_lost() {
    let house = House::open().await;
    let admin = house.sign_in(Role::Admin).await;
    link(&house, &["user:read:chat"]).await;
    let response = submit(&house, &admin, "/chaines/code", "avec=raids").await;
    assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let page = response.text().await.unwrap();
    assert!(page.contains("Twitch ne répond pas") && page.contains("Ana 🎈"), "{page}");
}

#[tokio::test]
async fn unlinking_removes_the_channel_though_twitch_is_away() {
    let house = House::open().await;
    let admin = house.sign_in(Role::Admin).await;
    let id = link(&house, &[]).await;
    let response = submit(&house, &admin, &format!("/chaines/{id}/delier"), "").await;
    assert_eq!(header(&response, "location"), "/chaines?dit=chaine-deliee");
    assert_eq!(house.vault.channels().await.unwrap(), []);
}
