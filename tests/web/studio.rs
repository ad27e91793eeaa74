//! « Régie »: cameras come and go, keys are shown once, what is wrong is told in words.

use chrono::TimeDelta;
use reqwest::StatusCode;
use sha2::{Digest, Sha256};
use spark::domain::accounts::Role;
use spark::domain::ids::{CameraId, RecordingId};
use spark::domain::live::camera::{CAMERAS_MAX, CameraEvent, KeyHash};
use spark::domain::live::feed::{Reading, Trouble};
use spark::domain::live::sync::{Alignment, Line};
use spark::domain::live::track::{Codec, Form};
use spark::ports::clock::Clock;
use spark::ports::ingest::{Leave, LineReading};
use spark::ports::ledger::Commit;
use spark::ports::recorder::{
    CameraState, Door, FeedState, Halt, Left, LetGo, RecorderState, SrtTerms,
};
use uuid::Uuid;

use crate::house::{Browser, House, header};

async fn read(house: &House, browser: &Browser, path: &str) -> (StatusCode, String) {
    let response = house.get(path).header("cookie", browser.cookie()).send().await.unwrap();
    let status = response.status();
    (status, response.text().await.unwrap().replace("&#39;", "'"))
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

/// A recorder that stands well, with nobody sending.
fn at_rest(house: &House) -> RecorderState {
    RecorderState {
        pid: 7,
        version: "1".into(),
        started_at: house.clock.now(),
        now: house.clock.now(),
        doors: vec![
            Door::rtmp(([127, 0, 0, 1], 19_350).into()),
            Door::srt(
                ([127, 0, 0, 1], 9_000).into(),
                SrtTerms { latency_ms: 200, needs_passphrase: true },
            ),
        ],
        cameras: Vec::new(),
        refused: Vec::new(),
        free_bytes: 150 << 30,
        total_bytes: 200 << 30,
        is_full: false,
        let_go: LetGo::default(),
        relays: Vec::new(),
    }
}

fn feed(house: &House, troubles: Vec<Trouble>) -> FeedState {
    FeedState {
        protocol: "rtmp".into(),
        peer: "10.0.0.8:4711".into(),
        software: Some("OBS <b>30</b>".into()),
        since: house.clock.now() - TimeDelta::minutes(12),
        recording: Some(RecordingId::from_uuid(Uuid::from_u128(1))),
        tracks: vec![
            (Codec::H264, Form::Picture { width: 1_920, height: 1_080 }),
            (Codec::Aac, Form::Sound { rate: 48_000, channels: 2 }),
        ],
        reading: Reading { kbits: 6_160, fps: 30.0, key_ms: Some(2_000), troubles },
        recorded_until: Some(house.clock.now()),
        dropped: 0,
        halted: None,
        line: None,
    }
}

/// Adds a camera over its form: its id and its key.
async fn add(house: &House, browser: &Browser, name: &str) -> (CameraId, String) {
    let response = submit(house, browser, "/regie/cameras", &format!("nom={name}")).await;
    assert_eq!(response.status(), StatusCode::CREATED);
    let key = field(&response.text().await.unwrap(), "cle");
    let cameras = house.app.cameras.list().await.unwrap();
    let card = cameras.iter().find(|card| card.name.as_str() == name).expect("the camera");
    (card.id, key)
}

/// What stands in the input of this id.
fn field(page: &str, id: &str) -> String {
    let (_, rest) = page.split_once(&format!("id=\"{id}\"")).expect("the field");
    let (_, rest) = rest.split_once("value=\"").expect("its value");
    rest.split('"').next().unwrap().to_owned()
}

fn hash(key: &str) -> KeyHash {
    KeyHash::new(Sha256::digest(key).into())
}

#[tokio::test]
async fn a_key_is_shown_once_and_the_recorder_knows_its_hash() {
    let house = House::open().await;
    house.recorder.set(Some(at_rest(&house)));
    let admin = house.sign_in(Role::Admin).await;
    let (camera, key) = add(&house, &admin, "Salon").await;
    assert_eq!(key.len(), 43);
    let known = house.recorder.known();
    assert_eq!((known.len(), known[0].id, known[0].key), (1, camera, hash(&key)));

    let path = format!("/regie/cameras/{camera}");
    let (status, page) = read(&house, &admin, &path).await;
    assert_eq!(status, StatusCode::OK);
    assert!(!page.contains(&key), "a key is shown once");
    assert_eq!(field(&page, "serveur"), "rtmp://127.0.0.1:19350/live");
    assert!(page.contains("n'écoute que sur cette machine"));
    assert!(page.contains("phrase secrète de la villa"), "SRT needs one here");
    assert!(
        page.contains("srt = &quot;0.0.0.0:9000&quot;") || page.contains("srt = \"0.0.0.0:9000\"")
    );

    let drawn = submit(&house, &admin, &format!("{path}/cle"), "").await.text().await.unwrap();
    let second = field(&drawn, "cle");
    let srt = field(&drawn, "srt").replace("&#38;", "&").replace("&amp;", "&");
    assert_eq!(srt, format!("srt://127.0.0.1:9000?streamid={second}&latency=200000"));
    assert_ne!(second, key);
    assert_eq!(house.recorder.known()[0].key, hash(&second));

    let gone = submit(&house, &admin, &format!("{path}/retirer"), "").await;
    assert_eq!(header(&gone, "location"), "/regie?dit=camera-retiree");
    assert_eq!(house.recorder.known(), []);
    assert_eq!(read(&house, &admin, &path).await.0, StatusCode::NOT_FOUND);
    let again = submit(&house, &admin, &format!("{path}/cle"), "").await;
    assert_eq!(again.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn names_that_cannot_be_are_told_beside_the_field() {
    let house = House::open().await;
    let admin = house.sign_in(Role::Coordinator).await;
    let (camera, _) = add(&house, &admin, "Salon").await;
    for (form, told) in [("nom=%20", "Donnez un nom"), ("nom=+sAlon", "porte déjà ce nom")] {
        let response = submit(&house, &admin, "/regie/cameras", form).await;
        assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY);
        assert!(response.text().await.unwrap().contains(told), "{form}");
    }
    add(&house, &admin, "Cuisine").await;
    let path = format!("/regie/cameras/{camera}/nom");
    let taken = submit(&house, &admin, &path, "nom=cuisine").await;
    assert_eq!(taken.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let renamed = submit(&house, &admin, &path, "nom=SALON").await;
    assert_eq!(renamed.status(), StatusCode::SEE_OTHER, "its own name in capitals is free");
    for n in 2..CAMERAS_MAX {
        add(&house, &admin, &format!("C{n}")).await;
    }
    let one_more = submit(&house, &admin, "/regie/cameras", "nom=Encore").await;
    assert!(one_more.text().await.unwrap().contains("12 caméras au plus"));
}

#[tokio::test]
async fn a_recorder_that_is_away_is_told_and_hears_of_the_cameras_later() {
    let house = House::open().await;
    let admin = house.sign_in(Role::Admin).await;
    let (camera, _) = add(&house, &admin, "Salon").await;
    let (_, page) = read(&house, &admin, "/regie").await;
    assert!(page.contains("ne répond pas"), "{page}");
    assert_eq!(house.recorder.known(), []);
    house.recorder.set(Some(at_rest(&house)));
    house.app.cameras.tell().await.unwrap();
    assert_eq!(house.recorder.known()[0].id, camera);
    assert!(read(&house, &admin, "/regie").await.1.contains("Rien n'est envoyé"));
}

#[tokio::test]
async fn what_each_camera_sends_and_what_is_wrong_is_told_in_words() {
    let house = House::open().await;
    let admin = house.sign_in(Role::Admin).await;
    let names = ["Salon", "Cuisine", "Jardin", "Cave"];
    let mut ids = Vec::new();
    for name in names {
        ids.push(add(&house, &admin, name).await.0);
    }
    let troubles = vec![Trouble::NoSound, Trouble::KeysFarApart { ms: 8_300 }];
    let halted = FeedState { halted: Some(Halt::Full), ..feed(&house, vec![]) };
    let left = Left { at: house.clock.now() - TimeDelta::minutes(3), why: Leave::Gone };
    let state = |camera, feed, left| CameraState { camera, feed, left };
    house.recorder.set(Some(RecorderState {
        cameras: vec![
            state(ids[0], Some(feed(&house, troubles)), None),
            state(ids[1], Some(halted), None),
            state(ids[2], None, Some(left)),
        ],
        ..at_rest(&house)
    }));
    let streamer = house.sign_in(Role::Streamer).await;
    let (status, page) = read(&house, &streamer, "/regie").await;
    assert_eq!(status, StatusCode::OK);
    for words in [
        "Salon : pas de son",
        "Salon : une image clé toutes les 8,3 s",
        "Cuisine n'est pas enregistrée",
        "Connexion coupée sans au revoir",
        "il y a 3",
        "Rien reçu depuis",
        "1920×1080 H.264",
        "OBS &#60;b&#62;30",
        "Place pour",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
    let place = |words: &str| page.find(words).unwrap();
    assert!(place("Cuisine n'est pas enregistrée") < place("Salon : pas de son"), "worst first");
    assert!(!page.contains("Ajouter une caméra"), "a streamer looks and touches nothing");
}

#[tokio::test]
async fn a_camera_without_a_picture_says_so_and_nothing_is_served_of_it() {
    let house = House::open().await;
    let admin = house.sign_in(Role::Admin).await;
    let (camera, _) = add(&house, &admin, "Salon").await;
    let path = format!("/regie/cameras/{camera}");
    let (status, page) = read(&house, &admin, &format!("{path}/image")).await;
    assert!(status == StatusCode::OK && page.contains("Rien n'est encore enregistré"));
    let recording = Uuid::from_u128(9);
    for missing in [
        "flux.m3u8?depuis=0".to_owned(),
        "flux.m3u8?depuis=9223372036854775807".to_owned(),
        format!("flux/{recording}/init.mp4"),
        format!("flux/{recording}/init.mp4?t=9223372036854775807"),
        format!("flux/{recording}/1-4294967295.m4s?t=-9223372036854775808"),
        format!("flux/{recording}/2-1.m4s"),
        format!("flux/{recording}/..%2Fkey.m4s"),
    ] {
        let (status, _) = read(&house, &admin, &format!("{path}/{missing}")).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{missing}");
    }
    let marked = submit(&house, &admin, "/regie/repere", "").await;
    assert_eq!(header(&marked, "location"), "/regie?dit=repere-vide");
}

#[tokio::test]
async fn a_clip_of_a_camera_is_asked_for_by_the_clock_of_the_villa() {
    let house = House::open().await;
    let editor = house.sign_in(Role::Editor).await;
    let admin = house.sign_in(Role::Admin).await;
    let (camera, _) = add(&house, &admin, "Salon").await;
    let path = format!("/regie/cameras/{camera}/extrait");
    for (form, told) in [
        ("jour=2026-11-18&debut=tantôt&fin=21:04:30&titre=Oh", "heure de la villa"),
        ("jour=hier&debut=21:04:00&fin=21:04:30&titre=Oh", "2026-11-18"),
        ("jour=2026-11-18&debut=21:00:00&fin=21:10:00&titre=Oh", "1 à 180 secondes"),
        ("jour=2026-11-18&debut=21:04:00&fin=21:04:30&titre=+", "1 à 80 caractères"),
        ("jour=2026-03-29&debut=02:30:00&fin=02:30:20&titre=Oh", "n'existe pas"),
    ] {
        let response = submit(&house, &editor, &path, form).await;
        assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY, "{form}");
        let page = response.text().await.unwrap().replace("&#39;", "'");
        assert!(page.contains(told), "{form}: {page}");
    }
    let form = "jour=2026-11-18&debut=23:59:45.5&fin=0:00:10&titre=Minuit";
    let asked = submit(&house, &editor, &path, form).await;
    let there = header(&asked, "location").to_owned();
    assert!(there.starts_with("/semaines/") && there.contains("/clips?clip="), "{there}");
    let (_, page) = read(&house, &editor, &there).await;
    assert!(page.contains("Minuit") && page.contains("caméra Salon"), "{page}");
    assert!(page.contains("23\u{a0}h\u{a0}59"), "{page}");
}

#[tokio::test]
async fn a_relay_is_set_up_changed_and_ended_and_its_key_never_shown() {
    let house = House::open().await;
    let admin = house.sign_in(Role::Admin).await;
    let (camera, _) = add(&house, &admin, "Salon").await;
    house.recorder.set(Some(at_rest(&house)));
    let path = format!("/regie/cameras/{camera}");
    let set = format!("{path}/diffusion");
    let odd = submit(&house, &admin, &set, "nom=Twitch&serveur=http://nulle.part&cle=x").await;
    assert_eq!(odd.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let page = odd.text().await.unwrap();
    assert!(page.contains("adresse impossible") && page.contains("http://nulle.part"), "{page}");
    assert_eq!(house.recorder.relayed(), []);

    let form = "nom=Twitch&serveur=rtmps://live.example/app&cle=live_secret&essai=1";
    let done = submit(&house, &admin, &set, form).await;
    assert_eq!(header(&done, "location"), format!("{path}?dit=diffusion-reglee#diffusion"));
    let told = house.recorder.relayed();
    assert!(told.len() == 1 && told[0].is_test && told[0].camera == camera);
    assert_eq!(told[0].key.as_ref().map(spark::ports::vault::Secret::expose), Some("live_secret"));
    for page in [path.as_str(), "/regie"] {
        let (_, page) = read(&house, &admin, page).await;
        assert!(page.contains("Attend la caméra") && !page.contains("secret"), "{page}");
    }
    // Changed without its key: the recorder keeps the one it has.
    submit(&house, &admin, &set, "nom=Twitch&serveur=rtmps://live.example/app&cle=").await;
    let told = house.recorder.relayed();
    assert!(told.len() == 1 && !told[0].is_test && told[0].key.is_none());
    let ended = submit(&house, &admin, &format!("{set}/arreter"), "nom=Twitch").await;
    assert_eq!(header(&ended, "location"), format!("{path}?dit=diffusion-arretee#diffusion"));
    assert_eq!(house.recorder.relayed(), []);
}

#[tokio::test]
async fn a_span_is_kept_and_let_go_and_days_are_set() {
    let house = House::open().await;
    let admin = house.sign_in(Role::Admin).await;
    let editor = house.sign_in(Role::Editor).await;
    let (camera, _) = add(&house, &admin, "Salon").await;
    house.recorder.set(Some(at_rest(&house)));
    let path = format!("/regie/cameras/{camera}");
    for (form, wrong) in [
        ("jour=2026-11-18&debut=21:00&fin=hier&titre=Concert", "La fin est une heure"),
        ("jour=hier&debut=21:00&fin=21:30&titre=Concert", "Le jour"),
        ("jour=2026-11-18&debut=21:00&fin=21:00&titre=Concert", "commence avant de finir"),
    ] {
        let refused = submit(&house, &editor, &format!("{path}/garder"), form).await;
        assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
        let page = refused.text().await.unwrap();
        assert!(page.contains(wrong), "{page}");
    }
    assert!(house.recorder.keeping().iter().all(|it| it.spans.is_empty()));

    let form = "jour=2026-11-18&debut=23:30&fin=00:15&titre=<b>Concert</b>";
    let kept = submit(&house, &editor, &format!("{path}/garder"), form).await;
    assert_eq!(header(&kept, "location"), format!("{path}/image?dit=passage-garde#gardes"));
    let told = house.recorder.keeping();
    assert_eq!((told.len(), told[0].camera, told[0].spans.len()), (1, camera, 1));
    let span = told[0].spans[0].clone();
    assert_eq!(span.from.to_rfc3339(), "2026-11-18T22:30:00+00:00");
    assert_eq!((span.to - span.from).num_minutes(), 45, "past midnight");
    // Nothing was recorded yet: the page says so, and what is kept is told where it is settled.
    let (_, page) = read(&house, &editor, &format!("{path}/image")).await;
    assert!(!page.contains("<b>Concert"), "{page}");

    let form = format!("de={}&a={}", span.from.timestamp_millis(), span.to.timestamp_millis());
    let freed = submit(&house, &editor, &format!("{path}/liberer"), &form).await;
    assert_eq!(header(&freed, "location"), format!("{path}/image?dit=passage-libere#gardes"));
    assert_eq!(house.recorder.keeping()[0].spans, []);

    for wrong in ["0", "400", "-1", "deux"] {
        let refused =
            submit(&house, &admin, &format!("{path}/conserver"), &format!("jours={wrong}")).await;
        assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
        assert!(refused.text().await.unwrap().contains("de 1 à 365"));
    }
    let set = submit(&house, &admin, &format!("{path}/conserver"), "jours=10").await;
    assert_eq!(header(&set, "location"), format!("{path}?dit=duree-reglee#conserver"));
    assert_eq!(house.recorder.keeping()[0].days, Some(10));
    assert!(read(&house, &admin, &path).await.1.contains("value=\"10\""));
    submit(&house, &admin, &format!("{path}/conserver"), "jours=").await;
    assert_eq!(house.recorder.keeping()[0].days, None);
    // A camera that goes takes nothing of what it recorded with it.
    submit(
        &house,
        &editor,
        &format!("{path}/garder"),
        "jour=2026-11-18&debut=10:00&fin=11:00&titre=",
    )
    .await;
    submit(&house, &admin, &format!("{path}/retirer"), "").await;
    house.clock.advance(std::time::Duration::from_secs(1));
    assert_eq!(house.recorder.keeping()[0].spans.len(), 1);
}

#[tokio::test]
async fn a_week_that_does_not_fit_is_said_before_it_begins() {
    let house = House::open().await;
    let admin = house.sign_in(Role::Admin).await;
    for name in ["Salon", "Cuisine"] {
        add(&house, &admin, name).await;
    }
    // 200 GiB, 150 of them free: 110 until the line; two cameras of eight hours a day send 312 GB in a week.
    house.recorder.set(Some(at_rest(&house)));
    let (_, page) = read(&house, &admin, "/regie").await;
    assert!(!page.contains("ne tient pas"), "no week is near: {page}");
    let starts = (house.clock.now() + TimeDelta::days(3)).date_naive();
    submit(&house, &admin, "/semaines", &format!("nom=Villa&debut={starts}")).await;
    let (_, page) = read(&house, &admin, "/regie").await;
    assert!(page.contains("Villa ne tient pas sur le disque"), "{page}");
    assert!(page.contains("2\u{a0}caméras à 8 h par jour"), "{page}");
    let mut roomy = at_rest(&house);
    (roomy.free_bytes, roomy.total_bytes) = (900 << 30, 1_000 << 30);
    house.recorder.set(Some(roomy));
    let (_, page) = read(&house, &admin, "/regie").await;
    assert!(!page.contains("ne tient pas"), "{page}");
    let mut cramped = at_rest(&house);
    cramped.let_go.is_cramped = true;
    house.recorder.set(Some(cramped));
    let (_, page) = read(&house, &admin, "/regie").await;
    assert!(page.contains("Le disque passe la limite de 80 %"), "{page}");
}

#[tokio::test]
async fn a_camera_says_beside_which_other_it_was_measured() {
    let house = House::open().await;
    let admin = house.sign_in(Role::Admin).await;
    let (lead, _) = add(&house, &admin, "Salon").await;
    let (camera, _) = add(&house, &admin, "Cuisine").await;
    let recording = |n| RecordingId::from_uuid(Uuid::from_u128(n));
    let alignment = Alignment {
        recording: recording(2),
        reference: lead,
        reference_recording: recording(1),
        behind_ns: 730_000_000,
        line: Line { at_ns: 0, offset_ns: 0, ppm: 60.0, residual_ms: 1.2, windows: 5 },
        points: Vec::new(),
    };
    let events = vec![CameraEvent::Aligned { camera, alignment }.into()];
    house.app.cameras.ledger.commit(Commit { events, ..Commit::default() }).await.unwrap();
    let (status, page) = read(&house, &admin, &format!("/regie/cameras/{camera}/image")).await;
    assert_eq!(status, StatusCode::OK);
    assert!(page.contains("Calée sur Salon, ± 2 ms, "), "{page}");
    let (_, page) = read(&house, &admin, &format!("/regie/cameras/{lead}/image")).await;
    assert!(!page.contains("Calée"), "{page}");
}

#[tokio::test]
async fn a_camera_over_srt_says_what_its_line_lost_and_whether_it_came_again() {
    let house = House::open().await;
    let browser = house.sign_in(Role::Admin).await;
    let (camera, _) = add(&house, &browser, "Jardin").await;
    let path = format!("/regie/cameras/{camera}");
    let sends = |line: Option<LineReading>| {
        let feed = FeedState { protocol: "srt".into(), line, ..feed(&house, vec![]) };
        let state = CameraState { camera, feed: Some(feed), left: None };
        house.recorder.set(Some(RecorderState { cameras: vec![state], ..at_rest(&house) }));
    };
    sends(None);
    let (_, page) = read(&house, &browser, &path).await;
    assert!(!page.contains("paquet"), "RTMP does not tell");
    let line =
        LineReading { rtt_ms: 38.2, packets: 20_000, lost: 60, retransmitted: 60, dropped: 0 };
    sends(Some(line));
    let (_, page) = read(&house, &browser, &path).await;
    let words = "0,3\u{a0}% de paquets perdus, tous rattrapés · aller-retour 38 ms";
    assert!(page.contains(words) && !page.contains("Des images ont manqué"), "{page}");
    sends(Some(LineReading { dropped: 7, ..line }));
    let (_, page) = read(&house, &browser, &path).await;
    assert!(page.contains("7\u{a0}disparus pour de bon"), "{page}");
    assert!(page.contains("latency=400000"), "{page}");
}
