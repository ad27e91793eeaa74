//! What a slow, greedy or silent client can draw out: nothing much.

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use spark::domain::accounts::Role;
use spark::web::{ServerLimits, Settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::house::{House, rest_of};

/// Limits short enough to wait for.
fn short() -> ServerLimits {
    ServerLimits {
        first_byte: Duration::from_millis(100),
        head: Duration::from_millis(300),
        write_stall: Duration::from_millis(300),
        stop: Duration::from_millis(300),
        ..ServerLimits::default()
    }
}

async fn house(limits: ServerLimits) -> House {
    House::with(limits, Settings::default()).await
}

#[tokio::test]
async fn a_client_that_does_not_come_to_the_point_is_let_go() {
    let house = house(short()).await;
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    for beginning in ["", "P", "GET / HT", "GET /healthz HTTP/1.1\r\nhost: x\r\n", preface] {
        let begun = Instant::now();
        let mut stream = TcpStream::connect(house.address).await.unwrap();
        stream.write_all(beginning.as_bytes()).await.unwrap();
        rest_of(&mut stream).await;
        assert!(begun.elapsed() < Duration::from_secs(3), "{beginning:?}: {:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn a_second_head_is_timed_like_the_first() {
    let house = house(short()).await;
    for second in ["", "GET /hea"] {
        let begun = Instant::now();
        let mut stream = TcpStream::connect(house.address).await.unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut first = [0; 12];
        stream.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");
        stream.write_all(second.as_bytes()).await.unwrap();
        rest_of(&mut stream).await;
        assert!(begun.elapsed() < Duration::from_secs(3), "{second:?}: {:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn a_client_that_trickles_its_first_head_is_let_go_all_the_same() {
    let house = house(short()).await;
    let mut stream = TcpStream::connect(house.address).await.unwrap();
    let begun = Instant::now();
    // Each line comes well within any limit between two bytes.
    let mut lines = tokio::time::interval(Duration::from_millis(20));
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n").await.unwrap();
    while stream.write_all(b"x-a: b\r\n").await.is_ok() {
        lines.tick().await;
        assert!(begun.elapsed() < Duration::from_secs(3), "still being listened to");
    }
}

#[tokio::test]
async fn a_client_that_stops_reading_is_let_go() {
    let house = house(short()).await;
    let film = house.store(&vec![1; 64 << 20], "clips", "mp4").await;
    let editor = house.sign_in(Role::Editor).await;
    let mut stream = TcpStream::connect(house.address).await.unwrap();
    let request = format!(
        "GET /media/{} HTTP/1.1\r\nhost: x\r\ncookie: {}\r\n\r\n",
        film.key,
        editor.cookie()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    // Readable again only when the server has closed: nothing is read meanwhile.
    let begun = Instant::now();
    loop {
        let closed = stream.ready(tokio::io::Interest::ERROR | tokio::io::Interest::WRITABLE).await;
        if closed.is_err() || closed.is_ok_and(|ready| ready.is_write_closed() || ready.is_error())
        {
            break;
        }
        if stream.write_all(b"x").await.is_err() {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "still being fed");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn one_address_does_not_take_all_the_seats() {
    let limits = ServerLimits { connections_per_address: 2, ..ServerLimits::default() };
    let house = house(limits).await;
    let mut seated = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(house.address).await.unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        stream.read_exact(&mut [0; 12]).await.unwrap();
        seated.push(stream);
    }
    let mut third = TcpStream::connect(house.address).await.unwrap();
    let _ = third.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!(rest_of(&mut third).await, "");
    seated.clear();
    let begun = Instant::now();
    loop {
        // The server notices by and by that seats are free.
        if house.get("/healthz").send().await.is_ok() {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "no seat became free");
    }
}

#[tokio::test]
async fn a_stop_does_not_wait_for_ever() {
    let house = house(ServerLimits { write_stall: Duration::from_mins(1), ..short() }).await;
    let film = house.store(&vec![1; 64 << 20], "clips", "mp4").await;
    let editor = house.sign_in(Role::Editor).await;
    let request = house.get(&format!("/media/{}", film.key)).header("cookie", editor.cookie());
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    // Its body is never read.
    let begun = Instant::now();
    house.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    drop(response);
}
