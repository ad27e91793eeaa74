//! Small whole things to test with, told apart by a number.

use chrono::{DateTime, Duration, NaiveDate, TimeZone, Utc};
use spark::domain::audience::{AudienceMinute, ChatMessage, Fact, FactKind, Pseudonym};
use spark::domain::clips::{ClipEvent, ClipTitle, Span};
use spark::domain::event::Event;
use spark::domain::ids::{CameraId, ClipId, LiveId, PersonId, RecordingId, WeekId};
use spark::domain::job::Job;
use spark::domain::live::camera::{CameraEvent, CameraName, KeyHash};
use spark::domain::live::sync::{Alignment, Line, Point};
use spark::domain::live::{LiveEvent, Recording};
use spark::domain::media::{MediaKey, MediaObject};
use spark::domain::villa::{VillaEvent, WeekName};
use spark::ports::ledger::AudienceBatch;
use uuid::Uuid;

pub(crate) fn started_at() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 3, 20, 0, 0).unwrap()
}

pub(crate) fn week(n: u128) -> WeekId {
    WeekId::from_uuid(Uuid::from_u128(0x1000 + n))
}

pub(crate) fn live(n: u128) -> LiveId {
    LiveId::from_uuid(Uuid::from_u128(0x2000 + n))
}

pub(crate) fn clip(n: u128) -> ClipId {
    ClipId::from_uuid(Uuid::from_u128(0x3_0000 + n))
}

pub(crate) fn person(n: u128) -> PersonId {
    PersonId::from_uuid(Uuid::from_u128(0x4000 + n))
}

pub(crate) fn camera(n: u128) -> CameraId {
    CameraId::from_uuid(Uuid::from_u128(0x5000 + n))
}

pub(crate) fn recording(n: u128) -> RecordingId {
    RecordingId::from_uuid(Uuid::from_u128(0x6000 + n))
}

pub(crate) fn camera_added(n: u128) -> Event {
    let name = CameraName::try_new(&format!("Caméra {n}")).unwrap();
    CameraEvent::Added { camera: camera(n), name, key: KeyHash::new([n as u8; 32]), by: None }
        .into()
}

/// A camera's n-th recording, measured beside one of the first camera.
pub(crate) fn camera_aligned(of: u128, n: u128) -> Event {
    let at_ns = n as i64 * 60_000_000_000;
    let point = Point { at_ns, offset_ns: -730_123_457, ppm: 56.0, z: 229.0 };
    let line = Line { at_ns, offset_ns: -730_123_457, ppm: 83.329, residual_ms: 0.007, windows: 5 };
    let alignment = Alignment {
        recording: recording(n),
        reference: camera(1),
        reference_recording: recording(100),
        behind_ns: 901_741_704,
        line,
        points: vec![point],
    };
    CameraEvent::Aligned { camera: camera(of), alignment }.into()
}

pub(crate) fn week_opened(n: u128) -> Event {
    let name = WeekName::try_new(&format!("Villa {n}")).unwrap();
    let starts_on = NaiveDate::from_ymd_opt(2026, 11, 2).unwrap();
    VillaEvent::Opened { week: week(n), name, starts_on, by: Some(person(1)) }.into()
}

pub(crate) fn media(n: u128, folder: &str, extension: &str) -> MediaObject {
    let sha256 = format!("{n:064x}");
    let key = MediaKey::try_new(format!("{folder}/{sha256}.{extension}")).unwrap();
    MediaObject { key, bytes: 1_000, sha256 }
}

pub(crate) fn imported(n: u128) -> Event {
    LiveEvent::Imported {
        live: live(n),
        week: week(1),
        title: format!("Soirée {n}"),
        started_at: started_at(),
        recording: Recording {
            file: media(n, "recordings", "mp4"),
            inspection: media(n, "inspections", "json").key,
            duration_ms: 600_000,
            width: 1920,
            height: 1080,
            fps: (30, 1),
            video_codec: "h264".into(),
            audio_codec: "aac".into(),
        },
        chat_sha256: format!("{n:064x}"),
        messages: 3,
        chatters: 2,
        by: None,
    }
    .into()
}

pub(crate) fn clip_requested(n: u128) -> Event {
    ClipEvent::Requested {
        clip: clip(n),
        live: live(1),
        source: spark::domain::clips::ClipSource::Recording,
        moment: None,
        span: Span::try_new(10_000, 55_000, 600_000).unwrap(),
        title: ClipTitle::try_new("Le moment").unwrap(),
        reel: false,
        by: Some(person(1)),
    }
    .into()
}

pub(crate) fn clip_renamed(n: u128, title: &str) -> Event {
    let title = ClipTitle::try_new(title).unwrap();
    ClipEvent::Renamed { clip: clip(n), title, by: person(1) }.into()
}

pub(crate) fn cut_clip(n: u128) -> Job {
    Job::CutClip { clip: clip(n) }
}

pub(crate) fn message(n: i64, viewer: &str) -> ChatMessage {
    ChatMessage {
        message_id: format!("m{n}"),
        at: started_at() + Duration::seconds(n),
        offset_ms: n * 1_000,
        viewer_id: viewer.to_owned(),
        viewer_name: viewer.to_uppercase(),
        text: "oh là là 🔥 l'apostrophe".to_owned(),
        trusted: n % 2 == 0,
        bits: 100,
    }
}

pub(crate) fn audience(n: u128, messages: Vec<ChatMessage>) -> AudienceBatch {
    let facts = messages
        .iter()
        .map(|message| Fact {
            live: live(n),
            at: message.at,
            offset_ms: message.offset_ms,
            kind: FactKind::Chat,
            viewer: Pseudonym([7; 16]),
            amount: 4,
        })
        .collect();
    let minutes = vec![AudienceMinute {
        minute: 0,
        messages: 3,
        chatters: 2,
        coverage: 0.5,
        viewers: Some(40),
    }];
    AudienceBatch { week: week(1), live: live(n), messages, facts, minutes }
}
