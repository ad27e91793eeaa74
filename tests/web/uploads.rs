//! A past stream comes in by a form: whole, or not at all.

use std::path::Path;
use std::sync::Arc;

use reqwest::StatusCode;
use reqwest::multipart::{Form, Part};
use spark::adapters::local_store::LocalStore;
use spark::adapters::memory::MemoryMediaStore;
use spark::domain::accounts::Role;
use spark::domain::ids::WeekId;
use spark::domain::job::Job;
use spark::web::{ServerLimits, Settings};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::house::{Browser, House, header, rest_of, until};

fn file(bytes: &[u8], name: &str) -> Part {
    Part::bytes(bytes.to_vec()).file_name(name.to_owned())
}

fn both() -> Form {
    Form::new().part("video", file(b"video", "soir.mp4")).part("chat", file(b"chat", "soir.json"))
}

async fn send(house: &House, browser: &Browser, week: WeekId, form: Form) -> reqwest::Response {
    house
        .post(&format!("/semaines/{week}/imports?csrf={}", browser.csrf))
        .header("cookie", browser.cookie())
        .header("accept", "application/json")
        .multipart(form)
        .send()
        .await
        .unwrap()
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push(entry.path().display().to_string());
        }
    }
    found
}

#[tokio::test]
async fn both_files_become_an_order_to_import() {
    let house = House::open().await;
    let (editor, week) = (house.sign_in(Role::Editor).await, house.open_week().await);
    let form =
        both().text("title", " Soirée raclette ").text("started_at", "2026-11-21T20:30:00+01:00");
    let response = send(&house, &editor, week, form).await;
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    let answer: serde_json::Value = response.json().await.unwrap();
    let jobs = house.app.jobs.list().await.unwrap();
    assert_eq!(answer["job"], jobs[0].id.to_string());
    let Job::ImportStream(order) = &jobs[0].job else { panic!("{:?}", jobs[0].job) };
    assert_eq!((order.week, order.title.as_str()), (week, "Soirée raclette"));
    assert_eq!(order.started_at.unwrap().to_rfc3339(), "2026-11-21T19:30:00+00:00");
    assert_eq!(order.by, Some(editor.person));
    assert!(order.video.key.as_str().starts_with("recordings/"), "{}", order.video.key);
    assert_eq!(order.video.key.extension(), "mp4");
    let stored = std::fs::read(house.folder.path().join(order.chat.key.as_str())).unwrap();
    assert_eq!(stored, b"chat");
    // The same pair again is the same job, for a browser too.
    let again = house
        .post(&format!("/semaines/{week}/imports?csrf={}", editor.csrf))
        .header("cookie", editor.cookie())
        .multipart(both())
        .send()
        .await
        .unwrap();
    assert_eq!(again.status(), StatusCode::SEE_OTHER);
    assert_eq!(header(&again, "location"), "/travaux");
    assert_eq!(house.app.jobs.list().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_form_that_cannot_be_says_what_to_do_and_leaves_nothing() {
    let house = House::open().await;
    let (editor, week) = (house.sign_in(Role::Editor).await, house.open_week().await);
    let video = || Form::new().part("video", file(b"video", "soir.mp4"));
    let cases = [
        (video(), "le fichier du chat"),
        (video().part("chat", file(b"", "")), "le fichier du chat"),
        (Form::new().part("chat", file(b"chat", "c.json")), "la vidéo"),
        (video().part("chat", file(b"", "vide.json")), "vide"),
        (both().text("title", "a".repeat(121)), "titre"),
        (both().text("started_at", "hier soir"), "2026-11-21T20:30:00+01:00"),
        (both().text("title", "a".repeat(5_000)), "trop long"),
    ];
    for (form, expected) in cases {
        let response = send(&house, &editor, week, form).await;
        assert!(response.status().is_client_error(), "{expected}: {}", response.status());
        let problem: serde_json::Value = response.json().await.unwrap();
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(expected), "{detail:?} does not speak of {expected:?}");
    }
    let nowhere = WeekId::named("nirgends");
    assert_eq!(send(&house, &editor, nowhere, both()).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(house.app.jobs.list().await.unwrap(), []);
    assert_eq!(files(house.folder.path()), Vec::<String>::new());
}

#[tokio::test]
async fn more_than_is_taken_is_refused() {
    let settings = Settings { upload_bytes_max: 1_000, ..Settings::default() };
    let house = House::with(ServerLimits::default(), settings).await;
    let (editor, week) = (house.sign_in(Role::Editor).await, house.open_week().await);
    let long = vec![0; 2_000];
    let announced = both().part("video", file(&long, "long.mp4"));
    let response = send(&house, &editor, week, announced).await;
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    // Without a length, what comes is counted.
    let chunks = futures::stream::iter(
        long.chunks(100).map(|c| Ok::<_, std::io::Error>(c.to_vec())).collect::<Vec<_>>(),
    );
    let part = Part::stream(reqwest::Body::wrap_stream(chunks)).file_name("long.mp4");
    let response = send(&house, &editor, week, Form::new().part("video", part)).await;
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(files(house.folder.path()), Vec::<String>::new());
}

#[tokio::test]
async fn a_full_disk_is_a_clear_problem() {
    let folder = tempfile::tempdir().unwrap();
    let local = LocalStore::open(folder.path()).unwrap();
    let full = MemoryMediaStore::open().unwrap();
    full.set_free(1_000);
    let (limits, settings) = (ServerLimits::default(), Settings::default());
    let house = House::on(limits, settings, folder, local, Arc::new(full.clone())).await;
    let (editor, week) = (house.sign_in(Role::Editor).await, house.open_week().await);
    let response = send(&house, &editor, week, both()).await;
    assert_eq!(response.status(), StatusCode::INSUFFICIENT_STORAGE);
    let problem: serde_json::Value = response.json().await.unwrap();
    assert!(problem["detail"].as_str().unwrap().contains("Libérez de la place"), "{problem}");
    assert_eq!(full.keys(), []);
}

/// The first half of an upload, on a connection of its own.
async fn begin(house: &House, browser: &Browser, week: WeekId) -> TcpStream {
    let mut stream = TcpStream::connect(house.address).await.unwrap();
    let head = format!(
        "POST /semaines/{week}/imports?csrf={} HTTP/1.1\r\nhost: {}\r\norigin: http://{}\r\ncookie: {}\r\n\
         accept: application/json\r\ncontent-type: multipart/form-data; boundary=b\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{FIRST_HALF}",
        browser.csrf,
        house.address,
        house.address,
        browser.cookie(),
        FIRST_HALF.len() + SECOND_HALF.len(),
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let work = house.folder.path().join(".work");
    until("the upload has begun", || !files(&work).is_empty()).await;
    stream
}

const FIRST_HALF: &str =
    "--b\r\ncontent-disposition: form-data; name=\"video\"; filename=\"v.mp4\"\r\n\r\nhalf of it, ";
const SECOND_HALF: &str = "and the rest\r\n--b\r\ncontent-disposition: form-data; name=\"chat\"; \
                           filename=\"c.json\"\r\n\r\nchat\r\n--b--\r\n";

#[tokio::test]
async fn an_upload_broken_off_leaves_nothing() {
    let house = House::open().await;
    let (editor, week) = (house.sign_in(Role::Editor).await, house.open_week().await);
    let stream = begin(&house, &editor, week).await;
    drop(stream);
    let app = house.app.clone();
    let folder = house.stop().await;
    assert_eq!(files(folder.path()), Vec::<String>::new());
    assert_eq!(app.jobs.list().await.unwrap(), []);
}

#[tokio::test]
async fn a_stop_lets_an_upload_finish() {
    let house = House::open().await;
    let (editor, week) = (house.sign_in(Role::Editor).await, house.open_week().await);
    let mut stream = begin(&house, &editor, week).await;
    house.begin_stop();
    until("the server takes nobody new", || std::net::TcpStream::connect(house.address).is_err())
        .await;
    stream.write_all(SECOND_HALF.as_bytes()).await.unwrap();
    let answer = rest_of(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    let app = house.app.clone();
    house.stopped().await;
    assert_eq!(app.jobs.list().await.unwrap().len(), 1);
}

#[tokio::test]
async fn who_may_not_import_is_told_before_the_files_travel() {
    let house = House::open().await;
    let (artist, week) = (house.sign_in(Role::Artist).await, house.open_week().await);
    let mut stream = TcpStream::connect(house.address).await.unwrap();
    let head = format!(
        "POST /semaines/{week}/imports?csrf={} HTTP/1.1\r\nhost: {}\r\norigin: http://{}\r\ncookie: {}\r\n\
         content-type: multipart/form-data; boundary=b\r\ncontent-length: 40000000000\r\n\r\n",
        artist.csrf,
        house.address,
        house.address,
        artist.cookie(),
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = rest_of(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
}
