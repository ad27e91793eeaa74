//! Who gets in where: every declared route, every role, and nobody.

use reqwest::{Method, Response, StatusCode};
use spark::domain::accounts::Role;
use spark::domain::job::Lane;
use spark::web::{Access, Declared};

use crate::house::{Browser, House, header};

/// A path that fits a declared one; whatever it names is not there.
fn example(declared: &Declared) -> String {
    let id = "00000000-0000-4000-8000-000000000000";
    let parts = declared.path.split('/').map(|part| match part {
        "{*file}" => "nichts.css",
        "{*key}" => "clips/nichts.mp4",
        "{token}" => "nichts",
        part if part.starts_with('{') => id,
        part => part,
    });
    parts.collect::<Vec<_>>().join("/")
}

/// Asks as a program behind a proxy would, so that being on this machine opens nothing.
async fn ask(house: &House, declared: &Declared, browser: Option<&Browser>) -> Response {
    let mut request = house
        .ask(declared.method.clone(), &example(declared))
        .header("x-forwarded-for", "203.0.113.9")
        .header("accept", "application/json");
    if declared.method == Method::POST {
        request = request.header("origin", format!("http://{}", house.address));
    }
    if let Some(browser) = browser {
        request = request.header("cookie", browser.cookie()).header("x-csrf-token", &browser.csrf);
    }
    request.send().await.unwrap()
}

#[tokio::test]
async fn every_route_lets_in_whom_it_declares_and_nobody_else() {
    let house = House::open().await;
    assert!(house.declared.len() >= 19, "{:?}", house.declared);
    for declared in &house.declared {
        let anonymous = ask(&house, declared, None).await.status();
        if declared.access == Access::Signed {
            // Nobody to check a signature here: it is not there. With one, see `mailbox`.
            assert_eq!(anonymous, StatusCode::NOT_FOUND, "{declared:?}");
            continue;
        }
        if declared.access == Access::Public {
            assert_ne!(anonymous, StatusCode::UNAUTHORIZED, "{declared:?}");
            assert_ne!(anonymous, StatusCode::FORBIDDEN, "{declared:?}");
        } else {
            assert_eq!(anonymous, StatusCode::UNAUTHORIZED, "{declared:?} without a session");
        }
        for role in Role::ALL {
            // A session of its own: one of the routes ends it.
            let browser = house.sign_in(role).await;
            let status = ask(&house, declared, Some(&browser)).await.status();
            let refused = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&status);
            assert_eq!(
                refused,
                !declared.access.admits(role),
                "{declared:?} as {role:?}: {status}"
            );
            assert!(!status.is_server_error(), "{declared:?} as {role:?}: {status}");
        }
    }
}

#[tokio::test]
async fn a_reader_without_a_session_is_led_to_the_login_and_back() {
    let house = House::open().await;
    for declared in &house.declared {
        if declared.method != Method::GET || declared.access == Access::Public {
            continue;
        }
        let path = example(declared);
        let response = house
            .get(&format!("{path}?a=b"))
            .header("accept", "text/html")
            .header("x-forwarded-for", "203.0.113.9")
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), StatusCode::SEE_OTHER, "{declared:?}");
        let back = path.replace('/', "%2F").replace('.', "%2E").replace('-', "%2D");
        let login = format!("/connexion?retour={back}%3Fa%3Db");
        assert_eq!(header(&response, "location"), login, "{declared:?}");
    }
}

#[tokio::test]
async fn what_is_not_declared_is_not_there() {
    let house = House::open().await;
    let admin = house.sign_in(Role::Admin).await;
    for path in ["/nichts", "/static/../Cargo.toml", "/.env", "/admin"] {
        let response = house.get(path).header("cookie", admin.cookie()).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
        assert!(header(&response, "content-type").starts_with("text/html"), "{path}");
        assert!(response.text().await.unwrap().contains("Introuvable"), "{path}");
    }
    let response = house.ask(Method::DELETE, "/healthz").send().await.unwrap();
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn a_program_reads_problems_as_json() {
    let house = House::open().await;
    let response =
        house.get("/compte?x=1").header("accept", "application/json").send().await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(header(&response, "content-type"), "application/problem+json");
    let problem: serde_json::Value = response.json().await.unwrap();
    assert_eq!(problem["type"], "urn:spark:problem:unauthenticated");
    assert_eq!(problem["status"], 401);
    assert_eq!(problem["instance"], "/compte");
    assert!(problem["title"].is_string() && problem["detail"].is_string(), "{problem}");
}

#[tokio::test]
async fn every_response_carries_the_policies() {
    let house = House::open().await;
    let editor = house.sign_in(Role::Editor).await;
    for path in ["/connexion", "/nichts", "/compte", "/healthz", "/equipe"] {
        let response = house.get(path).header("cookie", editor.cookie()).send().await.unwrap();
        let policy = header(&response, "content-security-policy");
        assert!(policy.starts_with("default-src 'self';"), "{path}: {policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{path}: {policy}");
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(header(&response, "x-content-type-options"), "nosniff", "{path}");
        assert_eq!(header(&response, "referrer-policy"), "same-origin", "{path}");
        assert_eq!(header(&response, "cache-control"), "no-store", "{path}");
    }
}

#[tokio::test]
async fn measures_are_read_on_this_machine_by_token_or_by_role() {
    let settings = spark::web::Settings {
        measures_token: Some("mesure".into()),
        ..spark::web::Settings::default()
    };
    let house = House::with(spark::web::ServerLimits::default(), settings).await;
    let local = house.get("/metrics").send().await.unwrap();
    assert_eq!(local.status(), StatusCode::OK);
    house.get("/healthz").send().await.unwrap();
    let text = house.get("/metrics").send().await.unwrap().text().await.unwrap();
    for line in [
        r#"spark_http_requests_total{method="GET",route="/healthz",status="200"} 1"#,
        r#"spark_jobs{lane="render",state="waiting"} 0"#,
        "spark_process_anonymous_bytes ",
        "spark_http_request_duration_seconds_bucket",
        "spark_build_info{version=",
    ] {
        assert!(text.contains(line), "no {line} in\n{text}");
    }
    let proxied = |token: &'static str| {
        house
            .get("/metrics")
            .header("x-forwarded-for", "203.0.113.9")
            .header("authorization", token)
            .send()
    };
    assert_eq!(proxied("Bearer mesure").await.unwrap().status(), StatusCode::OK);
    assert_eq!(proxied("Bearer mesura").await.unwrap().status(), StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn the_house_says_how_it_is() {
    let house = House::open().await;
    assert_eq!(house.get("/healthz").send().await.unwrap().status(), StatusCode::OK);
    assert_eq!(house.get("/readyz").send().await.unwrap().status(), StatusCode::OK);
    let admin = house.sign_in(Role::Admin).await;
    let vitals: serde_json::Value = house
        .get("/sante.json")
        .header("cookie", admin.cookie())
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(vitals["faults"], serde_json::json!([]));
    assert!(vitals["disk_free_bytes"].as_u64() > Some(0), "{vitals}");
    assert_eq!(vitals["lanes"].as_array().map(Vec::len), Some(Lane::ALL.len()));
}

#[tokio::test]
async fn a_static_file_keeps_for_good_under_its_hashed_name_only() {
    let house = House::open().await;
    let address = spark::web::asset("charter.css");
    let response = house.get(&address).header("accept-encoding", "gzip").send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(header(&response, "content-type"), "text/css; charset=utf-8");
    assert_eq!(header(&response, "cache-control"), "public, max-age=31536000, immutable");
    assert_eq!(header(&response, "content-encoding"), "gzip");
    let etag = header(&response, "etag").to_owned();
    let again = house
        .get(&address)
        .header("accept-encoding", "gzip")
        .header("if-none-match", &etag)
        .send()
        .await
        .unwrap();
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    let plain = house.get("/static/charter.css").send().await.unwrap();
    assert_eq!(header(&plain, "cache-control"), "no-cache");
    assert_eq!(header(&plain, "content-encoding"), "");
    let stale = house.get("/static/charter.0123456789abcdef.css").send().await.unwrap();
    assert_eq!(header(&stale, "cache-control"), "no-cache");
    let missing = house.get("/static/nichts.css").send().await.unwrap();
    assert_eq!(missing.status(), StatusCode::NOT_FOUND);
}
