//! Alerts as people meet them: a line on every page for those who look after the house, and « Alertes ».

use std::time::Duration;

use reqwest::StatusCode;
use spark::domain::accounts::Role;
use spark::domain::alerts::{Condition, Topic};
use spark::domain::resources::Resource;

use crate::house::{Browser, House, header};

const CPU: Topic = Topic::Ceiling(Resource::Cpu);
const TITLE: &str = "Le processeur a atteint 80\u{a0}%";

async fn read(house: &House, browser: &Browser, path: &str) -> (StatusCode, String) {
    let response = house.get(path).header("cookie", browser.cookie()).send().await.unwrap();
    let status = response.status();
    (status, response.text().await.unwrap().replace("&#39;", "'"))
}

/// Does what a button of a page does; where it leads.
async fn press(
    house: &House,
    browser: &Browser,
    path: &str,
    more: &[(&str, &str)],
) -> (StatusCode, String) {
    let mut fields = vec![("csrf", browser.csrf.as_str())];
    fields.extend(more);
    let response =
        house.post(path).header("cookie", browser.cookie()).form(&fields).send().await.unwrap();
    (response.status(), header(&response, "location").to_owned())
}

/// Lets seconds pass in which this is wrong.
async fn pass(house: &House, seconds: u32, wrong: &[Topic]) {
    for _ in 0..seconds {
        let wrong = wrong.iter().map(|topic| Condition::new(*topic, Some(0.93))).collect();
        house.app.alerts.report("test", wrong);
        house.app.alerts.turn().await;
        house.clock.advance(Duration::from_secs(1));
    }
}

#[tokio::test]
async fn every_page_says_what_is_wrong_to_those_who_look_after_the_house() {
    let house = House::open().await;
    let (coordinator, streamer) =
        (house.sign_in(Role::Coordinator).await, house.sign_in(Role::Streamer).await);
    let (_, before) = read(&house, &coordinator, "/semaines").await;
    assert!(!before.contains(TITLE));
    pass(&house, 60, &[CPU, Topic::Latency]).await;
    pass(&house, 1, &[CPU, Topic::Latency]).await;
    for path in
        ["/semaines", "/direct", "/regie", "/compte", "/sante", "/ressources", "/alertes/bandeau"]
    {
        let (status, page) = read(&house, &coordinator, path).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        assert!(page.contains(TITLE) && page.contains("et 1 de plus"), "{path}: {page}");
        assert!(page.contains("href=\"/alertes\""), "{path}");
    }
    let (_, page) = read(&house, &streamer, "/direct").await;
    assert!(!page.contains(TITLE), "a streamer's console stays calm");
    assert_eq!(read(&house, &streamer, "/alertes").await.0, StatusCode::FORBIDDEN);
    house.stop().await;
}

#[tokio::test]
async fn somebody_takes_an_alert_and_it_leaves_the_other_pages() {
    let house = House::open().await;
    let (ana, other) = (house.sign_in(Role::Coordinator).await, house.sign_in(Role::Admin).await);
    pass(&house, 1, &[CPU]).await;
    let (_, page) = read(&house, &ana, "/alertes").await;
    for words in
        [TITLE, "Au plus fort\u{a0}: 93\u{a0}%", "1\u{a0}alerte attend quelqu'un", "Je m'en occupe"]
    {
        assert!(page.contains(words), "`{words}` is missing in {page}");
    }
    let id = house.app.alerts.open()[0].id;
    let path = format!("/alertes/{id}/prendre");
    let forged = house.post(&path).header("cookie", ana.cookie()).send().await.unwrap();
    assert_eq!(forged.status(), StatusCode::FORBIDDEN, "without a form token");
    assert_eq!(press(&house, &ana, &path, &[]).await.1, "/alertes?dit=alerte-prise");
    assert_eq!(press(&house, &other, &path, &[]).await.1, "/alertes?dit=alerte-finie");
    let (_, page) = read(&house, &other, "/alertes").await;
    assert!(page.contains("Ana s'en occupe") && !page.contains("Je m'en occupe"), "{page}");
    let (_, page) = read(&house, &other, "/semaines").await;
    assert!(!page.contains(TITLE), "it waits for nobody: {page}");
    pass(&house, 100, &[]).await;
    let (_, page) = read(&house, &other, "/alertes").await;
    for words in [
        "Rien ne va mal.",
        "1\u{a0}incident. Retour à la normale en",
        "Cela a duré",
        "Ana s'en est occupé",
    ] {
        assert!(page.contains(words), "`{words}` is missing in {page}");
    }
    house.stop().await;
}

#[tokio::test]
async fn a_browser_that_is_woken_reads_what_happened_last() {
    let house = House::open().await;
    let admin = house.sign_in(Role::Admin).await;
    let latest = async |house: &House| {
        let (_, text) = read(house, &admin, "/alertes/derniere.json").await;
        serde_json::from_str::<serde_json::Value>(&text).unwrap()
    };
    assert_eq!(latest(&house).await["title"], "Tout va bien");
    pass(&house, 2, &[CPU]).await;
    let opening = latest(&house).await;
    assert_eq!(opening["title"], TITLE);
    pass(&house, 200, &[]).await;
    let ending = latest(&house).await;
    assert_eq!(ending["title"], format!("Terminé\u{a0}: l{}", &TITLE[1..]));
    assert_eq!(ending["about"], opening["about"], "it takes the place of the first");
    let script = house.get("/reveil.js").send().await.unwrap();
    assert_eq!(header(&script, "service-worker-allowed"), "/");
    assert!(header(&script, "content-type").starts_with("text/javascript"));
    assert!(script.text().await.unwrap().contains("/alertes/derniere.json"));
    house.stop().await;
}

#[tokio::test]
async fn a_browser_asks_to_be_woken_and_no_more() {
    let house = House::open().await;
    let admin = house.sign_in(Role::Admin).await;
    let endpoint = "https://fcm.googleapis.com/fcm/send/abc";
    let (status, _) = press(&house, &admin, "/alertes/appareils", &[("endpoint", endpoint)]).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let long = format!("https://{}", "a".repeat(2_000));
    for wrong in ["", "abc", long.as_str()] {
        let (status, _) = press(&house, &admin, "/alertes/appareils", &[("endpoint", wrong)]).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{wrong}");
    }
    let forgotten =
        press(&house, &admin, "/alertes/appareils/oublier", &[("endpoint", endpoint)]).await;
    assert_eq!(forgotten.0, StatusCode::NO_CONTENT);
    assert_eq!(press(&house, &admin, "/alertes/essai", &[]).await.1, "/alertes?dit=essai-parti");
    house.stop().await;
}

#[tokio::test]
async fn what_the_house_refuses_is_no_fault_and_what_breaks_is() {
    let house = House::open().await;
    let admin = house.sign_in(Role::Admin).await;
    for _ in 0..20 {
        assert_eq!(read(&house, &admin, "/nichts").await.0, StatusCode::NOT_FOUND);
    }
    pass(&house, 1, &[]).await;
    assert!(house.app.alerts.open().is_empty(), "{:?}", house.app.alerts.open());
    house.stop().await;
}
