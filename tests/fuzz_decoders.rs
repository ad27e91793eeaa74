//! Feeds the decoders of what comes from outside with broken input, a few seconds each; `SPARK_FUZZ_SECONDS` sets how
//! many. An input that panics or hangs is kept under `target/fuzz` and named.

#[path = "support/eventsub.rs"]
mod eventsub;

use std::io::Write as _;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use bytes::{Bytes, BytesMut};
use chrono::DateTime;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;
use spark::adapters::chat_files::{ChatFileLimits, read_chat};
use spark::adapters::ffmpeg::demux::adts::first_frame;
use spark::adapters::ffmpeg::demux::demux;
use spark::adapters::ffmpeg::demux::frames::{
    Frame, decode as decode_frame, encode as encode_frame,
};
use spark::adapters::ffmpeg::demux::pictures::Pictures;
use spark::adapters::rtmp::amf::{self, Value as Amf};
use spark::adapters::rtmp::chunks::{Message as RtmpMessage, Reader, Writer};
use spark::adapters::rtmp::flv;
use spark::adapters::srt::knock;
use spark::adapters::twitch::eventsub::decode::{Decoded, decode};
use spark::adapters::twitch::eventsub::envelope::{
    ENVELOPE_BYTES_MAX, Envelope, Message, Notification,
};

use spark::domain::live::track::{Codec, Form, Kind, Track};
use spark::ports::ingest::{Leave, PACKET_BYTES_MAX, Packet};

/// How long each decoder is fed if nobody says.
const SECONDS: u64 = 2;
/// Longest time one input may take.
const INPUT_TIME_MAX: Duration = Duration::from_secs(10);
/// Mutations of one input at most.
const MUTATIONS_MAX: usize = 6;

#[test]
fn no_frame_breaks_the_envelope() {
    let mut seeds: Vec<Vec<u8>> = [
        r#"{"metadata":{"message_id":"1","message_type":"session_welcome","message_timestamp":"2026-11-20T20:00:00Z"},"payload":{"session":{"id":"s","status":"connected","keepalive_timeout_seconds":10,"reconnect_url":null}}}"#,
        r#"{"metadata":{"message_id":"2","message_type":"session_keepalive","message_timestamp":"2026-11-20T20:00:00Z"},"payload":{}}"#,
        r#"{"metadata":{"message_id":"3","message_type":"session_reconnect","message_timestamp":"2026-11-20T20:00:00Z"},"payload":{"session":{"id":"s","reconnect_url":"wss://cell.example/ws?challenge=x&id=y"}}}"#,
        r#"{"metadata":{"message_id":"4","message_type":"revocation","message_timestamp":"2026-11-20T20:00:00Z"},"payload":{"subscription":{"id":"x","status":"user_removed","type":"channel.follow","version":"2","condition":{"broadcaster_user_id":101}}}}"#,
    ]
    .into_iter()
    .map(|text| text.as_bytes().to_vec())
    .collect();
    seeds.extend(
        eventsub::samples().iter().map(|it| eventsub::frame(it.kind, it.version, &it.event).into()),
    );
    fuzz("envelope", &seeds, |input| {
        let read = Envelope::read(input);
        // Whatever else is in it: an object whose metadata is an object is an envelope.
        if let Ok(Value::Object(whole)) = serde_json::from_slice(input)
            && whole.get("metadata").is_some_and(Value::is_object)
        {
            assert!(read.is_ok() || input.len() > ENVELOPE_BYTES_MAX, "{read:?}");
        }
        if let Ok(Envelope { message: Message::Notification(notification), .. }) = &read {
            check_decoded(notification);
        }
    });
}

#[test]
fn no_body_breaks_the_webhook() {
    let mut seeds: Vec<Vec<u8>> = [
        r#"{"challenge":"abc","subscription":{"id":"x","status":"webhook_callback_verification_pending","type":"channel.follow","version":"2","condition":{}}}"#,
        r#"{"challenge":"abc","conduit_shard":{"conduit_id":"k","shard":"0"}}"#,
        r#"{"subscription":{"id":"x","status":"authorization_revoked","type":"channel.follow","version":"2","condition":{}}}"#,
        r#"{"subscription":{"type":"drop.entitlement.grant","version":"1"},"events":[{"id":"1","data":{}}]}"#,
    ]
    .into_iter()
    .map(|text| text.as_bytes().to_vec())
    .collect();
    seeds.extend(
        eventsub::samples()
            .iter()
            .map(|it| eventsub::webhook(it.kind, it.version, &it.event).into()),
    );
    fuzz("webhook", &seeds, |input| match Envelope::read(input) {
        Ok(Envelope { message: Message::Notification(notification), .. }) => {
            check_decoded(&notification);
        }
        Ok(_) => {}
        Err(invalid) => assert!(!invalid.reason.is_empty()),
    });
}

/// The mutations stay within the event, so that every input reaches a reader.
#[test]
fn no_event_breaks_its_reader() {
    let samples = eventsub::samples();
    let seeds: Vec<Vec<u8>> = samples.iter().map(|it| it.event.clone().into_bytes()).collect();
    let mut turn = 0;
    fuzz("event", &seeds, |input| {
        let Ok(event) = std::str::from_utf8(input) else { return };
        // Every reader meets every event in turn, its own and the others'.
        turn = (turn + 1) % samples.len();
        let body = eventsub::webhook(samples[turn].kind, samples[turn].version, event);
        if let Ok(Envelope { message: Message::Notification(notification), .. }) =
            Envelope::read(body.as_bytes())
        {
            check_decoded(&notification);
        }
    });
}

#[test]
fn no_encoder_breaks_the_rtmp_reader() {
    let object = |fields: &[(&str, f64)]| {
        let fields = fields.iter().map(|(name, it)| ((*name).to_owned(), Amf::Number(*it)));
        Amf::Object(fields.collect())
    };
    let app = Amf::Object(vec![("app".to_owned(), Amf::text("live"))]);
    let size = object(&[("width", 1_280.0), ("height", 720.0), ("framerate", 30.0)]);
    let said = [
        (20, amf::encode(&[Amf::text("connect"), Amf::Number(1.0), app])),
        (20, amf::encode(&[Amf::text("publish"), Amf::Number(5.0), Amf::Null, Amf::text("key")])),
        (18, amf::encode(&[Amf::text("@setDataFrame"), Amf::text("onMetaData"), size])),
        (1, Bytes::from_static(&[0, 0, 16, 0])),
        (9, Bytes::from_static(b"\x17\x00\x00\x00\x00\x01\x64\x00\x28\xff\xe1\x00\x19\x67\x64\x00\x28\xac\xd9\x40\x78\x02\x27\xe5\xc0\x44\x00\x00\x03\x00\x04\x00\x00\x03\x00\xf0\x3c\x60\xc6\x58")),
        (9, Bytes::from_static(b"\x90hvc1\x01\x01\x60\x00\x00\x00\x90\x00\x00\x00\x00\x00\x5d\xf0\x00\xfc\xfd\xf8\xf8\x00\x00\x0f\x01\xa1\x00\x01\x00\x04\x42\x01\x01\x01")),
        (9, Bytes::from_static(b"\x91av01\xaa\xbb")),
        (8, Bytes::from_static(b"\xaf\x00\x11\x90")),
        (8, Bytes::from_static(b"\x90OpusOpusHead\x01\x02\x38\x01\x80\xbb\x00\x00\x00\x00\x00")),
        (8, Bytes::from(vec![0xaf, 1, 7, 7, 7])),
    ];
    let mut seeds = Vec::new();
    let mut whole = BytesMut::new();
    for (n, (kind, payload)) in said.iter().enumerate() {
        let message = RtmpMessage {
            kind: *kind,
            stream: 1,
            timestamp: 0x00ff_fff0 + n as u32 * 9,
            payload: payload.clone(),
        };
        Writer::default().write(&mut whole, 3 + n as u8 % 4, &message);
        seeds.push(whole.to_vec());
    }
    let (mut heard, mut turn) = (0_u64, 0);
    fuzz("rtmp", &seeds, |input| {
        let mut reader = Reader::new(100_000);
        let mut buf = BytesMut::new();
        turn = turn % 97 + 1;
        'input: for piece in input.chunks(turn) {
            buf.extend_from_slice(piece);
            loop {
                let message = match reader.read(&mut buf) {
                    Ok(Some(message)) => message,
                    Ok(None) => break,
                    Err(_) => break 'input,
                };
                heard += 1;
                assert!(message.payload.len() <= 100_000);
                match message.kind {
                    1 if message.payload.len() == 4 => {
                        let size = u32::from_be_bytes(message.payload[..].try_into().unwrap());
                        if reader.set_chunk_bytes(size).is_err() {
                            break 'input;
                        }
                    }
                    2 => reader.abort(u32::from(message.payload.first().copied().unwrap_or(0))),
                    8 => drop(flv::sound(message.payload)),
                    9 => drop(flv::picture(message.payload, None)),
                    _ => {
                        let values = amf::decode(message.payload).unwrap_or_default();
                        for value in &values {
                            drop(flv::about(value));
                        }
                    }
                }
            }
        }
    });
    assert!(heard > 1_000, "{heard} messages were read: nothing was tried");
}

#[test]
fn no_child_breaks_the_reader_of_its_frames() {
    let arrived = Instant::now();
    let packet = |kind, samples, bytes: usize| {
        let data = Bytes::from(vec![5; bytes]);
        Packet { kind, dts: 90_000, pts: 93_000, samples, is_key: false, data, arrived }
    };
    let size = Form::Picture { width: 1_280, height: 720 };
    let rate = Form::Sound { rate: 48_000, channels: 2 };
    let said = [
        Frame::Track(Track { codec: Codec::H264, config: vec![1; 40], form: size }),
        Frame::Track(Track { codec: Codec::Aac, config: vec![0x11, 0x90], form: rate }),
        Frame::Packet(packet(Kind::Picture, 0, 900)),
        Frame::Packet(packet(Kind::Sound, 1_024, 200)),
        Frame::Leave(Leave::Unfit { reason: "MP2 sound".to_owned() }),
    ];
    let mut seeds = Vec::new();
    let mut whole = Vec::new();
    for frame in &said {
        encode_frame(frame, &mut whole);
        seeds.push(whole.clone());
    }
    let (mut heard, mut turn) = (0_u64, 0);
    fuzz("frames", &seeds, |input| {
        let mut buf = BytesMut::new();
        turn = turn % 97 + 1;
        'input: for piece in input.chunks(turn) {
            buf.extend_from_slice(piece);
            loop {
                let frame = match decode_frame(&mut buf, arrived) {
                    Ok(Some(frame)) => frame,
                    Ok(None) => break,
                    Err(_) => break 'input,
                };
                heard += 1;
                if let Frame::Packet(packet) = &frame {
                    assert!(!packet.data.is_empty() && packet.data.len() <= PACKET_BYTES_MAX);
                    assert_eq!(packet.kind == Kind::Picture, packet.samples == 0);
                }
                // What was read is written and read again the same.
                let mut again = Vec::new();
                encode_frame(&frame, &mut again);
                let read = decode_frame(&mut again.as_slice().into(), arrived);
                assert_eq!(read, Ok(Some(frame)));
            }
        }
    });
    assert!(heard > 1_000, "{heard} frames were read: nothing was tried");
}

#[test]
fn no_caller_breaks_what_reads_its_pictures_its_sound_and_its_name() {
    const H264: &[u8] = b"\0\0\0\x01\x09\xf0\0\0\0\x01\x67\x64\x00\x28\xac\xd9\x40\x78\x02\x27\xe5\xc0\x44\x00\x00\x03\x00\x04\x00\x00\x03\x00\xf0\x3c\x60\0\0\x01\x68\xeb\xe3\0\0\x01\x65\x88\x84\0\x10";
    const HEVC: &[u8] = b"\0\0\0\x01\x40\x01\x0c\x01\xff\xff\x01\x60\x00\x00\x03\x00\x90\x00\x00\x03\x00\x00\x03\x00\x5d\x95\x98\x09\0\0\x01\x42\x01\x01\x01\x60\x00\x00\x03\x00\x90\x00\x00\x03\x00\x00\x03\x00\x5d\xa0\x02\x80\x80\x2d\x16\x59\x59\xa4\x93\x2b\xc0\x40\0\0\x01\x44\x01\xc1\x72\xb4\x62\x40\0\0\x01\x26\x01\xaf";
    const AAC: &[u8] = &[0xff, 0xf1, 0x4c, 0x80, 0x01, 0x3f, 0xfc, 7, 8];
    let seeds: Vec<Vec<u8>> = [H264, HEVC, AAC, &AAC.repeat(5), b"#!::r=key,m=publish,u=lea"]
        .into_iter()
        .map(<[u8]>::to_vec)
        .collect();
    let mut tracks = 0_u64;
    fuzz("transport", &seeds, |input| {
        for codec in [Codec::H264, Codec::Hevc] {
            let mut pictures = Pictures::new(codec);
            for _ in 0..2 {
                let Ok(taken) = pictures.take(input) else { break };
                if let Some(track) = taken.track {
                    tracks += 1;
                    assert!(matches!(track.form, Form::Picture { width: 16..=16_384, .. }));
                }
                let data = taken.data.unwrap_or_default();
                let mut rest = &data[..];
                while let Some((length, behind)) = rest.split_first_chunk::<4>() {
                    rest = &behind[u32::from_be_bytes(*length) as usize..];
                }
                assert!(rest.is_empty(), "whole units");
            }
        }
        let mut rest = input;
        while let Ok((frame, behind)) = first_frame(rest) {
            assert!(!frame.data.is_empty() && behind.len() + frame.data.len() < rest.len());
            rest = behind;
        }
        if let Ok(key) = knock::key(input) {
            assert!(key.len() <= 512 && !key.contains(['/', '?']));
        }
    });
    assert!(tracks > 1_000, "{tracks} parameters were read: nothing was tried");
}

/// In this process, for the sake of speed: an input that kills it is the last one kept.
#[test]
fn no_transport_stream_breaks_the_demuxer() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("../fuzz");
    std::fs::create_dir_all(&folder).expect("a folder for what is tried");
    let words = "-v error -nostdin -y -f lavfi -i testsrc2=size=160x90:rate=10 -f lavfi -i sine=frequency=440 -t 2 \
                 -c:v libx264 -preset ultrafast -bf 1 -g 10 -b:v 40k -c:a aac -b:a 32k -f mpegts";
    let seed = folder.join("seed.ts");
    let mut ffmpeg = std::process::Command::new("ffmpeg");
    let made = ffmpeg.args(words.split_whitespace()).arg(&seed).status();
    assert!(made.expect("ffmpeg is not installed: `make test` installs it").success());
    let seeds = vec![std::fs::read(&seed).expect("a stream")];
    let current = folder.join("transport-stream-now");
    let mut packets = 0_u64;
    fuzz("transport-stream", &seeds, |input| {
        std::fs::write(&current, input).expect("keep what is tried");
        let mut said = Vec::new();
        demux(std::io::Cursor::new(input.to_vec()), &mut said);
        let mut buf = BytesMut::from(&said[..]);
        while let Some(frame) = decode_frame(&mut buf, Instant::now()).expect("our own frames") {
            packets += u64::from(matches!(frame, Frame::Packet(_)));
        }
        assert!(buf.is_empty(), "whole frames");
    });
    assert!(packets > 1_000, "{packets} packets were read: nothing was tried");
}

#[test]
fn no_export_breaks_the_chat_readers() {
    let comment = r##"{"_id":"c1","created_at":"2026-11-20T20:00:00Z","channel_id":"1","content_offset_seconds":12.5,"commenter":{"display_name":"Léa","_id":"42","name":"lea"},"message":{"body":"coucou","bits_spent":100,"fragments":[{"text":"coucou","emoticon":null}],"user_badges":[{"_id":"moderator","version":"1"}],"user_color":"#FF0000"}}"##;
    let graphql = r#"[{"data":{"video":{"id":"9","comments":{"edges":[{"cursor":"x","node":{"id":"c1","commenter":{"id":"42","login":"lea","displayName":"Léa"},"contentOffsetSeconds":12,"createdAt":"2026-11-20T20:00:00Z","message":{"fragments":[{"emote":null,"text":"coucou"}],"userBadges":[],"userColor":null}}}],"pageInfo":{"hasNextPage":false}}}}}]"#;
    let export = format!(
        r#"{{"FileInfo":{{"Version":{{"Major":1}}}},"streamer":{{"name":"villa","id":77}},"video":{{"title":"Soirée","id":"99","created_at":"2026-11-20T20:00:00Z","start":10,"end":250.5,"length":300}},"comments":[{comment},{comment}]}}"#
    );
    let texts = [
        export,
        format!("[{comment}]"),
        format!(r#"{{"comments":[{comment}],"_next":"x"}}"#),
        format!("{comment}\n{comment}\n"),
        graphql.to_owned(),
        "seconds\tuser\ttext\n1.5\tlea\tcoucou\n2\tzoe\t\"avec\ttab\"\n".to_owned(),
        "seconds;user;text\n0:01:02,5;lea;coucou\n".to_owned(),
        "seconds,user,text\n1,lea,\"un \"\"mot\"\"\"\n".to_owned(),
    ];
    let mut seeds: Vec<Vec<u8>> = texts.iter().map(|text| text.clone().into_bytes()).collect();
    for text in &texts {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(text.as_bytes()).unwrap();
        seeds.push(gzip.finish().unwrap());
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("chat");
    fuzz("chat-files", &seeds, |input| {
        std::fs::write(&file, input).unwrap();
        let limits = ChatFileLimits { unpacked_bytes_max: 4 << 20, ..ChatFileLimits::default() };
        let mut lines = 0;
        let read = read_chat(&file, limits, &mut |line| {
            assert!(line.offset_ms >= 0 && !line.text.contains('\0'), "{line:?}");
            lines += 1;
            ControlFlow::Continue(())
        });
        if let Ok(report) = read {
            assert_eq!(report.messages, lines);
        }
    });
}

fn check_decoded(notification: &Notification<'_>) {
    let decoded = decode(notification, "id", DateTime::UNIX_EPOCH);
    assert_eq!(decoded, decode(notification, "id", DateTime::UNIX_EPOCH), "told twice, read twice");
    match decoded {
        Decoded::Typed(Some(happening)) => {
            // A NUL is shown as `\0`, a backslash as two.
            let shown = format!("{happening:?}").replace("\\\\", "");
            assert!(!shown.contains("\\0"), "PostgreSQL takes no NUL: {shown}");
        }
        Decoded::Typed(None) => {}
        Decoded::Unknown { reason, .. } => assert!(!reason.is_empty()),
    }
}

/// Feeds `target` with mutations of `seeds` until the time is over.
fn fuzz(name: &str, seeds: &[Vec<u8>], mut target: impl FnMut(&[u8])) {
    let seconds = std::env::var_os("SPARK_FUZZ_SECONDS")
        .map_or(SECONDS, |text| text.to_string_lossy().parse().expect("SPARK_FUZZ_SECONDS"));
    let (begun, length) = (Instant::now(), Duration::from_secs(seconds));
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let mut chance = Chance(now.as_nanos() as u64 | 1);
    let mut executions = 0_u64;
    for seed in seeds {
        run(name, seed, &mut target);
    }
    while begun.elapsed() < length {
        let mut input = seeds[chance.below(seeds.len())].clone();
        for _ in 0..=chance.below(MUTATIONS_MAX) {
            mutate(&mut input, seeds, &mut chance);
        }
        run(name, &input, &mut target);
        executions += 1;
    }
    println!("| fuzz {name} | {executions} executions in {seconds} s, nothing found |");
    assert!(executions > 100, "only {executions} executions: nothing was fuzzed");
}

fn run(name: &str, input: &[u8], target: &mut impl FnMut(&[u8])) {
    let begun = Instant::now();
    let outcome = catch_unwind(AssertUnwindSafe(|| target(input)));
    let took = begun.elapsed();
    if outcome.is_ok() && took < INPUT_TIME_MAX {
        return;
    }
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("../fuzz");
    std::fs::create_dir_all(&folder).expect("a folder for what was found");
    let kept = folder.join(format!("{name}-{:016x}", fingerprint(input)));
    std::fs::write(&kept, input).expect("keep what was found");
    panic!("{name}: an input panics or hangs ({took:?}), see `{}`", kept.display());
}

fn fingerprint(input: &[u8]) -> u64 {
    input.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Things that break parsers.
const TOKENS: &[&str] = &[
    "null",
    "true",
    "-1",
    "0",
    "1e999",
    "18446744073709551616",
    "9007199254740993",
    "\"\"",
    "\"x\"",
    "{}",
    "[]",
    "[[[[[[[[",
    "{\"a\":",
    "}",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "\"\\ud800\"",
    "\"\\u0000\"",
    "\\udc00\\ud800",
    "\u{0}",
    "\u{feff}",
    "é",
    "💥",
    "\"2026-02-30T99:99:99Z\"",
    "\t",
    "\r\n",
    ";",
    "\"broadcaster_user_id\":null,",
    "\"message\":[],",
    "\"type\":7,",
];

fn mutate(input: &mut Vec<u8>, seeds: &[Vec<u8>], chance: &mut Chance) {
    let at = chance.below(input.len() + 1);
    match chance.below(9) {
        0 => input.truncate(at),
        1 if at < input.len() => input[at] ^= 1 << chance.below(8),
        2 if at < input.len() => input[at] = chance.below(256) as u8,
        3 => {
            let end = (at + chance.below(40)).min(input.len());
            input.drain(at..end);
        }
        4 => {
            let end = (at + chance.below(200)).min(input.len());
            let again = input[at..end].to_vec();
            input.splice(at..at, again);
        }
        5 => {
            let other = &seeds[chance.below(seeds.len())];
            input.truncate(at);
            input.extend_from_slice(&other[chance.below(other.len())..]);
        }
        6 => {
            let token = TOKENS[chance.below(TOKENS.len())];
            input.splice(at..at, token.bytes());
        }
        7 if chance.below(50) == 0 => {
            let deep = b"[".repeat(chance.below(100_000));
            input.splice(at..at, deep);
        }
        _ => {
            // A value of the JSON becomes another one, so that the whole stays JSON.
            if let Ok(mut whole) = serde_json::from_slice::<Value>(input) {
                change(&mut whole, chance);
                *input = whole.to_string().into_bytes();
            }
        }
    }
}

/// Changes one value somewhere in a JSON text.
fn change(value: &mut Value, chance: &mut Chance) {
    match value {
        Value::Object(fields) if !fields.is_empty() && chance.below(8) != 0 => {
            let at = chance.below(fields.len());
            if let Some((_, inner)) = fields.iter_mut().nth(at) {
                change(inner, chance);
            }
        }
        Value::Array(items) if !items.is_empty() && chance.below(8) != 0 => {
            let at = chance.below(items.len());
            change(&mut items[at], chance);
        }
        _ => {
            let token = TOKENS[chance.below(TOKENS.len())];
            *value = serde_json::from_str(token).unwrap_or_else(|_| Value::from(token));
        }
    }
}

/// A source of chance (xorshift).
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit.max(1) as u64) as usize
    }
}
