//! Media by range, by name, and by signed link.

use std::time::Duration;

use chrono::TimeDelta;
use reqwest::{Method, StatusCode};
use spark::domain::accounts::Role;
use spark::domain::media::MediaKey;

use crate::house::{House, header};

#[tokio::test]
async fn a_player_reads_any_part_of_a_file() {
    let house = House::open().await;
    let bytes: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
    let clip = house.store(&bytes, "clips", "mp4").await;
    let editor = house.sign_in(Role::Editor).await;
    let path = format!("/media/{}", clip.key);
    let get = |range: &'static str| {
        house.get(&path).header("cookie", editor.cookie()).header("range", range).send()
    };
    let whole = house.get(&path).header("cookie", editor.cookie()).send().await.unwrap();
    assert_eq!(whole.status(), StatusCode::OK);
    assert_eq!(header(&whole, "content-type"), "video/mp4");
    assert_eq!(header(&whole, "accept-ranges"), "bytes");
    let etag = header(&whole, "etag").to_owned();
    assert_eq!(whole.bytes().await.unwrap(), bytes);
    for (range, from, to) in
        [("bytes=0-0", 0, 1), ("bytes=100000-", 100_000, 200_000), ("bytes=-7", 199_993, 200_000)]
    {
        let part = get(range).await.unwrap();
        assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT, "{range}");
        let expected = format!("bytes {from}-{}/200000", to - 1);
        assert_eq!(header(&part, "content-range"), expected);
        assert_eq!(header(&part, "content-length"), (to - from).to_string());
        assert_eq!(part.bytes().await.unwrap(), bytes[from..to], "{range}");
    }
    let beyond = get("bytes=200000-").await.unwrap();
    assert_eq!(beyond.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(header(&beyond, "content-range"), "bytes */200000");
    for (version, expected) in
        [(etag.as_str(), StatusCode::PARTIAL_CONTENT), ("\"autre\"", StatusCode::OK)]
    {
        let request = house.get(&path).header("cookie", editor.cookie());
        let response = request.header("range", "bytes=0-9").header("if-range", version).send();
        assert_eq!(response.await.unwrap().status(), expected, "{version}");
    }
    let head = house.ask(Method::HEAD, &path).header("cookie", editor.cookie());
    let head = head.header("range", "bytes=0-9").send().await.unwrap();
    assert_eq!(head.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(header(&head, "content-length"), "10");
    let known = house.get(&path).header("cookie", editor.cookie());
    let known = known.header("if-none-match", &etag).send().await.unwrap();
    assert_eq!(known.status(), StatusCode::NOT_MODIFIED);
}

#[tokio::test]
async fn a_file_is_shown_or_saved_by_those_who_may() {
    let house = House::open().await;
    let reel = house.store(b"reel", "reels", "mp4").await;
    let recording = house.store(b"recording", "recordings", "mkv").await;
    let chat = house.store(b"chat", "chats", "json").await;
    let (editor, artist) = (house.sign_in(Role::Editor).await, house.sign_in(Role::Artist).await);
    let status = async |browser: &crate::house::Browser, path: String| {
        let response = house.get(&path).header("cookie", browser.cookie()).send().await.unwrap();
        (response.status(), header(&response, "content-disposition").to_owned())
    };
    let show = format!("/media/{}", reel.key);
    let save = format!("/media/{}?telecharger=%C3%89t%C3%A9.mp4", reel.key);
    assert_eq!(status(&artist, show.clone()).await, (StatusCode::OK, String::new()));
    assert_eq!(status(&artist, save.clone()).await.0, StatusCode::FORBIDDEN);
    let named = "attachment; filename=\"_t_.mp4\"; filename*=UTF-8''%C3%89t%C3%A9.mp4";
    assert_eq!(status(&editor, save).await, (StatusCode::OK, named.to_owned()));
    let recording = format!("/media/{}", recording.key);
    assert_eq!(status(&artist, recording.clone()).await.0, StatusCode::FORBIDDEN);
    assert_eq!(status(&editor, recording).await.0, StatusCode::OK);
    // Raw chat holds what viewers wrote: no page shows the file.
    assert_eq!(status(&editor, format!("/media/{}", chat.key)).await.0, StatusCode::NOT_FOUND);
    for path in ["/media/clips/nichts.mp4", "/media/clips/..%2F..%2Fetc%2Fpasswd", "/media/.work"] {
        assert_eq!(status(&editor, path.to_owned()).await.0, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn a_signed_link_opens_one_file_until_it_expires() {
    let house = House::open().await;
    let reel = house.store(b"reel", "reels", "mp4").await;
    let other = house.store(b"other", "reels", "mp4").await;
    let link = house.app.sign_link(&reel.key, TimeDelta::hours(1));
    let status = async |link: &str| {
        let request = house.get(link).header("accept", "application/json");
        request.send().await.unwrap().status()
    };
    assert_eq!(status(&link).await, StatusCode::OK);
    assert_eq!(status(&format!("{link}&telecharger=reel.mp4")).await, StatusCode::OK);
    let refused = StatusCode::UNAUTHORIZED;
    assert_eq!(status(&link.replace(reel.key.as_str(), other.key.as_str())).await, refused);
    let (head, signature) = link.split_once("sig=").unwrap();
    let first = if signature.starts_with('A') { "B" } else { "A" };
    assert_eq!(status(&format!("{head}sig={first}{}", &signature[1..])).await, refused);
    assert_eq!(status(&format!("{head}sig=")).await, refused);
    let (path, expiry) = head.split_once("expire=").unwrap();
    let later = expiry.trim_end_matches('&').parse::<i64>().unwrap() + 1;
    assert_eq!(status(&format!("{path}expire={later}&sig={signature}")).await, refused);
    house.clock.advance(Duration::from_secs(3599));
    assert_eq!(status(&link).await, StatusCode::OK);
    house.clock.advance(Duration::from_secs(1));
    assert_eq!(status(&link).await, refused);
}

#[tokio::test]
async fn a_link_to_what_is_gone_says_so() {
    let house = House::open().await;
    let key = MediaKey::try_new("reels/gone.mp4").unwrap();
    let link = house.app.sign_link(&key, TimeDelta::hours(1));
    assert_eq!(house.get(&link).send().await.unwrap().status(), StatusCode::NOT_FOUND);
}
