//! The RTMP door over real sockets: what it lets in, what it keeps out, and that neither is held up by the other.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use spark::adapters::rtmp::RtmpIngest;
use spark::adapters::rtmp::amf::{self, Value};
use spark::adapters::rtmp::chunks::{Message, Writer};
use spark::domain::ids::CameraId;
use spark::domain::live::track::{Codec, Kind, TICKS_PER_S};
use spark::ports::ingest::{Encoder, Gate, Ingest, Leave, Packet, Sent};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::camera;
use crate::process::until;

const KEY: &str = "sesame";

struct OneKey;

impl Gate for OneKey {
    fn camera(&self, key: &str) -> Option<CameraId> {
        (key == KEY).then(|| camera(1))
    }
}

async fn open() -> Arc<RtmpIngest> {
    let door = RtmpIngest::listen(([127, 0, 0, 1], 0).into(), Arc::new(OneKey)).await.unwrap();
    Arc::new(door)
}

fn refused(door: &RtmpIngest, reason: &str) -> u64 {
    door.refused().into_iter().find(|(it, _)| *it == reason).map_or(0, |(_, count)| count)
}

/// A publisher that can do everything wrong.
struct Publisher {
    stream: TcpStream,
    writer: Writer,
}

impl Publisher {
    async fn greet(address: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(&[&[3_u8][..], &[7; 1_536]].concat()).await.unwrap();
        let mut answer = vec![0; 1 + 2 * 1_536];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!((answer[0], &answer[1_537..]), (3, &[7; 1_536][..]));
        stream.write_all(&[0; 1_536]).await.unwrap();
        Self { stream, writer: Writer::default() }
    }

    fn wire(&self, id: u8, kind: u8, timestamp: u32, payload: Vec<u8>) -> BytesMut {
        let mut out = BytesMut::new();
        let message = Message { kind, stream: 1, timestamp, payload: payload.into() };
        self.writer.write(&mut out, id, &message);
        out
    }

    async fn send(&mut self, id: u8, kind: u8, timestamp: u32, payload: Vec<u8>) {
        let wire = self.wire(id, kind, timestamp, payload);
        // The other side may be gone: what it made of it is what is looked at.
        let _ = self.stream.write_all(&wire).await;
    }

    async fn command(&mut self, values: &[Value]) {
        self.send(3, 20, 0, amf::encode(values).to_vec()).await;
    }

    /// Shows a key; the answer's code.
    async fn publish(&mut self, key: &str) -> String {
        let app = Value::Object(vec![("app".to_owned(), Value::text("live"))]);
        self.command(&[Value::text("connect"), Value::Number(1.0), app]).await;
        self.command(&[Value::text("createStream"), Value::Number(2.0), Value::Null]).await;
        let name = [Value::text("publish"), Value::Number(3.0), Value::Null, Value::text(key)];
        self.command(&[&name[..], &[Value::text("live")]].concat()).await;
        let mut heard = Vec::new();
        loop {
            let mut bytes = [0; 4_096];
            let read = self.stream.read(&mut bytes).await.unwrap_or(0);
            heard.extend_from_slice(&bytes[..read]);
            let text = String::from_utf8_lossy(&heard);
            for code in ["NetStream.Publish.Start", "NetStream.Publish.BadName"] {
                if text.contains(code) {
                    return code.to_owned();
                }
            }
            if read == 0 {
                return "gone".to_owned();
            }
        }
    }

    /// One that was let in, and what the recorder meets.
    async fn let_in(door: &RtmpIngest) -> (Self, Box<dyn Encoder>) {
        let mut publisher = Self::greet(door.local_addr()).await;
        assert_eq!(publisher.publish(KEY).await, "NetStream.Publish.Start");
        (publisher, door.accept().await.unwrap())
    }

    async fn parameters(&mut self) {
        self.send(6, 9, 0, b"\x90av01\x81\x05\x0c\x00".to_vec()).await;
        self.send(4, 8, 0, vec![0xaf, 0, 0x11, 0x90]).await;
    }

    async fn picture(&mut self, timestamp: u32, is_key: bool, body: &[u8]) {
        let first = if is_key { 0x91 } else { 0xa1 };
        let mut tag = vec![first];
        tag.put_slice(b"av01");
        tag.put_slice(body);
        self.send(6, 9, timestamp, tag).await;
    }
}

async fn packet(encoder: &mut dyn Encoder) -> Packet {
    loop {
        if let Sent::Packet(packet) = encoder.next().await.unwrap() {
            return packet;
        }
    }
}

async fn metadata(publisher: &mut Publisher) {
    let size = Value::Object(vec![
        ("width".to_owned(), Value::Number(1_280.0)),
        ("height".to_owned(), Value::Number(720.0)),
        ("encoder".to_owned(), Value::text("Caméra")),
    ]);
    let values = [Value::text("@setDataFrame"), Value::text("onMetaData"), size];
    publisher.send(4, 18, 0, amf::encode(&values).to_vec()).await;
}

#[tokio::test]
async fn what_is_sent_arrives_as_it_was() {
    let door = open().await;
    let (mut publisher, mut encoder) = Publisher::let_in(&door).await;
    metadata(&mut publisher).await;
    publisher.parameters().await;
    publisher.parameters().await;
    publisher.picture(40, true, &vec![9; 70_000]).await;
    publisher.send(4, 8, 42, vec![0xaf, 1, 0xde, 0xad]).await;
    let Sent::About(about) = encoder.next().await.unwrap() else { panic!("no metadata") };
    assert_eq!(about.software.as_deref(), Some("Caméra"));
    for codec in [Codec::Av1, Codec::Aac] {
        let Sent::Track(track) = encoder.next().await.unwrap() else { panic!("no {codec:?}") };
        assert_eq!(track.codec, codec, "each told once");
    }
    let picture = packet(&mut *encoder).await;
    assert_eq!((picture.kind, picture.dts, picture.is_key), (Kind::Picture, 40 * 90, true));
    assert_eq!(picture.data, Bytes::from(vec![9; 70_000]));
    let sound = packet(&mut *encoder).await;
    assert_eq!((sound.samples, &sound.data[..]), (1_024, &[0xde, 0xad][..]));
    publisher.command(&[Value::text("FCUnpublish"), Value::Number(5.0), Value::Null]).await;
    assert_eq!(encoder.next().await, Err(Leave::Ended));
    encoder.dismiss("bye").await;
}

#[tokio::test]
async fn times_go_on_over_three_bytes_and_over_four() {
    let door = open().await;
    let (mut publisher, mut encoder) = Publisher::let_in(&door).await;
    metadata(&mut publisher).await;
    publisher.parameters().await;
    let base = u64::from(u32::MAX) - 80;
    for ms in [0x00ff_fff0_u64, 0x00ff_ffff, 0x0100_0010] {
        publisher.picture(ms as u32, true, &[1; 300]).await;
        assert_eq!(packet(&mut *encoder).await.dts, ms as i64 * 90);
    }
    let mut last = None;
    for ms in (0..200).step_by(40) {
        publisher.picture((base + ms) as u32, true, &[1; 300]).await;
        let dts = packet(&mut *encoder).await.dts;
        if let Some(last) = last.replace(dts) {
            assert_eq!(dts - last, 40 * TICKS_PER_S / 1_000, "{ms} ms around the wrap");
        }
    }
}

#[tokio::test]
async fn what_is_no_rtmp_or_too_much_of_it_is_sent_away_and_counted() {
    let door = open().await;
    let address = door.local_addr();
    // Another protocol; a bomb of objects; a message longer than there may be without a key; chunk streams without end.
    let mut http = TcpStream::connect(address).await.unwrap();
    http.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut bomb = Publisher::greet(address).await;
    let nested: Vec<u8> = std::iter::repeat_n([3, 0, 1, b'a'], 5_000).flatten().collect();
    bomb.send(3, 20, 0, nested).await;
    let mut long = Publisher::greet(address).await;
    long.stream.write_all(&[0x03, 0, 0, 0, 0x7f, 0xff, 0xff, 20, 0, 0, 0, 0]).await.unwrap();
    let mut many = Publisher::greet(address).await;
    let streams: Vec<u8> =
        (0..200).flat_map(|id| [0, id, 0, 0, 0, 0, 0, 9, 20, 0, 0, 0, 0, 1]).collect();
    let _ = many.stream.write_all(&streams).await;
    until("all four are refused", || async { (refused(&door, "malformed") == 4).then_some(()) })
        .await;
    for stream in [&mut http, &mut bomb.stream, &mut long.stream, &mut many.stream] {
        let mut rest = Vec::new();
        // Closed, or reset: nobody is left there.
        let _ = stream.read_to_end(&mut rest).await;
    }
    // Who says nothing at all.
    let _silent = TcpStream::connect(address).await.unwrap();
    until("the silent one is refused", || async { (refused(&door, "slow") == 1).then_some(()) })
        .await;
    // With a key, too.
    let (mut broken, mut encoder) = Publisher::let_in(&door).await;
    broken.send(2, 1, 0, vec![0; 4]).await;
    let left = encoder.next().await.unwrap_err();
    assert!(matches!(left, Leave::Malformed { .. }), "{left}");
    let (mut stalls, mut encoder) = Publisher::let_in(&door).await;
    stalls.stream.write_all(&[0x06, 0, 0, 0, 0x7f, 0xff, 0xff, 9, 1, 0, 0, 0, 7]).await.unwrap();
    assert_eq!(encoder.next().await, Err(Leave::Silent { seconds: 10 }), "stopped mid-chunk");
}

#[tokio::test]
async fn a_format_that_no_file_can_hold_is_refused_by_name() {
    let door = open().await;
    let (mut publisher, mut encoder) = Publisher::let_in(&door).await;
    publisher.send(4, 8, 0, vec![0x2f, 1, 2, 3]).await;
    let left = encoder.next().await.unwrap_err();
    assert!(matches!(&left, Leave::Unfit { reason } if reason.starts_with("MP3")), "{left}");
    encoder.dismiss(&left.to_string()).await;
    let mut heard = Vec::new();
    publisher.stream.read_to_end(&mut heard).await.unwrap();
    assert!(String::from_utf8_lossy(&heard).contains("NetStream.Publish.Rejected"));
}

#[tokio::test]
async fn a_thousand_with_a_bad_key_do_not_disturb_a_good_one() {
    let door = open().await;
    let (mut publisher, mut encoder) = Publisher::let_in(&door).await;
    metadata(&mut publisher).await;
    publisher.parameters().await;
    let address = door.local_addr();
    let crowd = tokio::spawn(async move {
        let mut answers = Vec::new();
        for _ in 0..20 {
            let batch = (0..50).map(|n| async move {
                let mut bad = Publisher::greet(address).await;
                bad.publish(&format!("wrong{n}")).await
            });
            answers.extend(futures::future::join_all(batch).await);
        }
        answers
    });
    let (mut sent, mut came) = (0_u32, 0_u32);
    while !crowd.is_finished() || sent < 100 {
        publisher.picture(sent * 33, sent % 60 == 0, &vec![3; 20_000]).await;
        sent += 1;
        let packet =
            tokio::time::timeout(Duration::from_secs(5), packet(&mut *encoder)).await.unwrap();
        assert_eq!(packet.dts, i64::from(came) * 33 * 90);
        came += 1;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let answers = crowd.await.unwrap();
    assert_eq!(answers.len(), 1_000);
    assert!(answers.iter().all(|code| code == "NetStream.Publish.BadName"), "{answers:?}");
    assert_eq!((sent, refused(&door, "key")), (came, 1_000));
}
