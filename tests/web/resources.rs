//! « Ressources » and what it says; and who is refused at the door when the machine is near its ceiling.

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use reqwest::multipart::{Form, Part};
use spark::domain::accounts::Role;
use spark::domain::resources::governor::Verdict;
use spark::domain::resources::{Blind, Reading, Resource, Sample, Scope};
use spark::ports::clock::Clock;
use spark::ports::host::{ProcessMemory, Tenant, TenantRole};

use crate::house::{Browser, House, header};

async fn read(house: &House, browser: &Browser, path: &str) -> (StatusCode, String) {
    let response = house.get(path).header("cookie", browser.cookie()).send().await.unwrap();
    let status = response.status();
    (status, response.text().await.unwrap().replace("&#39;", "'"))
}

fn reading(resource: Resource, scope: Scope, used: f64, capacity: f64) -> Reading {
    Reading { resource, scope, used, capacity }
}

/// Lets the house look at a machine like this.
fn look(house: &House, readings: Vec<Reading>, blind: Vec<Blind>) {
    let at = house.clock.now();
    house.machine.set_sample(Sample { at, readings, blind, ..Sample::default() });
    house.app.resources.look();
}

fn verdict(live: f64, total: f64) -> Verdict {
    Verdict { duty: 0.4, scope: Scope::Host, live, total }
}

#[tokio::test]
async fn each_resource_stands_against_its_line_in_its_tightest_scope() {
    let house = House::open().await;
    let admin = house.sign_in(Role::Admin).await;
    let giga = 1e9;
    house.app.resources.govern(Some(verdict(0.2, 0.61)));
    look(
        &house,
        vec![
            reading(Resource::Cpu, Scope::Host, 0.4, 2.0),
            reading(Resource::Memory, Scope::Host, 2.0 * giga, 8.0 * giga),
            reading(Resource::Memory, Scope::Cgroup, 1.8 * giga, 2.4 * giga),
            reading(Resource::Disk, Scope::Plan, 41.0 * giga, 50.0 * giga),
        ],
        vec![Blind {
            resource: Resource::Inodes,
            scope: Scope::Host,
            why: "the disk does not answer".into(),
        }],
    );
    let memory = ProcessMemory { resident: 90_000_000, anonymous: 31_000_000 };
    let tenant = Tenant { role: TenantRole::Record, pid: 7, cores: Some(0.03), memory, threads: 5 };
    house.machine.set_tenants(vec![tenant]);
    let (status, page) = read(&house, &admin, "/ressources").await;
    assert_eq!(status, StatusCode::OK, "{page}");
    for words in [
        "61\u{a0}%",
        "75\u{a0}%",
        "conteneur",
        "82\u{a0}%",
        "forfait",
        "Une ressource a atteint 80",
        "the disk does not answer",
        "Fichiers du disque (machine)",
        "Le disque est plein à 82\u{a0}% (seuil 80\u{a0}%)",
        "Les nouveaux rendus attendent · Les imports sont remis à plus tard.",
        "Enregistreur",
        "0,03",
    ] {
        assert!(page.contains(words), "`{words}` is missing in {page}");
    }
    assert!(!page.contains("<h2>Fichiers du disque</h2>"), "what nobody sees has no gauge");
    let artist = house.sign_in(Role::Artist).await;
    assert_eq!(read(&house, &artist, "/ressources").await.0, StatusCode::FORBIDDEN);
    house.stop().await;
}

#[tokio::test]
async fn the_past_is_drawn_and_tells_when_a_disk_will_be_full() {
    let house = House::open().await;
    for minute in 0..30 {
        house.clock.advance(Duration::from_mins(1));
        look(
            &house,
            vec![reading(Resource::Disk, Scope::Host, 50.0 + minute as f64, 100.0)],
            vec![],
        );
    }
    let admin = house.sign_in(Role::Admin).await;
    let (_, page) = read(&house, &admin, "/ressources").await;
    assert_eq!(page.matches("<polygon").count(), 1, "one stretch: {page}");
    // One part in a hundred a minute: at 79 now.
    assert!(page.contains("À 80 % dans 1\u{a0}min"), "{page}");
    let (_, week) = read(&house, &admin, "/ressources?duree=semaine").await;
    assert!(week.contains("<polygon"), "{week}");
    let (status, _) = read(&house, &admin, "/ressources?duree=siecle").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    house.stop().await;
}

#[tokio::test]
async fn a_governor_that_says_nothing_is_no_machine_at_rest() {
    let house = House::open().await;
    let admin = house.sign_in(Role::Admin).await;
    look(&house, vec![], vec![]);
    let (_, page) = read(&house, &admin, "/ressources").await;
    assert!(page.contains("SPARK ne voit pas cette machine"), "{page}");
    house.stop().await;
}

#[tokio::test]
async fn imports_wait_while_the_disk_is_near_full_and_the_live_does_not() {
    let house = House::open().await;
    let (admin, week) = (house.sign_in(Role::Admin).await, house.open_week().await);
    let full = |share: f64| vec![reading(Resource::Disk, Scope::Host, share * 100.0, 100.0)];
    look(&house, full(0.81), vec![]);
    let send = || {
        let form = Form::new()
            .part("video", Part::bytes(b"video".to_vec()).file_name("soir.mp4"))
            .part("chat", Part::bytes(b"chat".to_vec()).file_name("soir.json"));
        house
            .post(&format!("/semaines/{week}/imports?csrf={}", admin.csrf))
            .header("cookie", admin.cookie())
            .header("accept", "text/html")
            .multipart(form)
            .send()
    };
    let refused = send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    let wait: u32 = header(&refused, "retry-after").parse().unwrap();
    assert!((2..=10).contains(&wait), "{wait}");
    let page = refused.text().await.unwrap();
    assert!(page.contains("garde ses forces pour le direct"), "{page}");
    for path in ["/", "/direct", "/regie", "/ressources", "/semaines", "/connexion", "/healthz"] {
        let (status, _) = read(&house, &admin, path).await;
        assert_ne!(status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
    }
    // Below the clearing level for as long as it is held.
    let begun = Instant::now();
    while send().await.unwrap().status() == StatusCode::SERVICE_UNAVAILABLE {
        assert!(begun.elapsed() < Duration::from_secs(20), "it never takes imports again");
        look(&house, full(0.5), vec![]);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(begun.elapsed() > Duration::from_secs(3), "it gave in at once");
    house.stop().await;
}

#[tokio::test]
async fn pages_that_can_wait_are_refused_when_requests_queue() {
    let house = House::open().await;
    let admin = house.sign_in(Role::Admin).await;
    let begun = Instant::now();
    while read(&house, &admin, "/semaines").await.0 != StatusCode::SERVICE_UNAVAILABLE {
        assert!(begun.elapsed() < Duration::from_secs(20), "nothing gave way");
        look(&house, vec![reading(Resource::QueueWait, Scope::Process, 0.03, 0.025)], vec![]);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(begun.elapsed() > Duration::from_secs(2), "a moment is no reason");
    for path in ["/direct", "/regie", "/connexion", "/ressources"] {
        let (status, _) = read(&house, &admin, path).await;
        assert_ne!(status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
    }
    let mark = house
        .post("/regie/repere")
        .header("cookie", admin.cookie())
        .header("content-type", "application/x-www-form-urlencoded")
        .body(format!("csrf={}", admin.csrf))
        .send()
        .await
        .unwrap();
    assert_ne!(mark.status(), StatusCode::SERVICE_UNAVAILABLE);
    let asked = house.get("/semaines").header("cookie", admin.cookie());
    let json = asked.header("accept", "application/json").send().await.unwrap();
    assert_eq!(json.status(), StatusCode::SERVICE_UNAVAILABLE);
    let problem: serde_json::Value = json.json().await.unwrap();
    assert_eq!(problem["type"], "urn:spark:problem:shed");
    house.stop().await;
}

#[tokio::test]
async fn measures_tell_shares_who_is_blind_and_what_gives_way() {
    let house = House::open().await;
    house.app.resources.govern(Some(verdict(0.6, 0.7)));
    look(
        &house,
        vec![reading(Resource::Memory, Scope::Cgroup, 3.0, 4.0)],
        vec![Blind { resource: Resource::Disk, scope: Scope::Host, why: "gone".into() }],
    );
    let text = house.get("/metrics").send().await.unwrap().text().await.unwrap();
    for row in [
        "spark_resource_ratio{resource=\"memory\",scope=\"cgroup\"} 0.75",
        "spark_resource_blind{resource=\"disk\",scope=\"host\"} 1",
        "spark_live_cpu_ratio 0.6",
        "spark_renders_duty_ratio 0.4",
        "spark_giving_way{action=\"hold_renders\"} 1",
        "spark_giving_way{action=\"shed_sheddable\"} 0",
    ] {
        assert!(text.contains(row), "`{row}` is missing in {text}");
    }
    house.stop().await;
}
