//! The pretend chat in the shape of a TwitchDownloader export (JSON, format 1.4).

use std::io::{self, Write};

use serde::Serialize;

use super::Script;
use super::chat::PretendMessage;
use super::plot::Plot;

/// When the pretend stream began; the wire format wants a date.
const STARTED_AT_S: u64 = 1_795_205_400;
const CHANNEL_ID: u64 = 700_100_200;
const VIDEO_ID: &str = "2600000001";

/// Ids of the platform's global emotes that the pretend chat uses.
const EMOTES: [(&str, &str); 10] = [
    ("LUL", "425618"),
    ("Kappa", "25"),
    ("PogChamp", "305954156"),
    ("NotLikeThis", "58765"),
    ("BibleThump", "86"),
    ("Kreygasm", "41"),
    ("WutFace", "28087"),
    ("HeyGuys", "30259"),
    ("VoHiYo", "81274"),
    ("<3", "9"),
];

#[derive(Serialize)]
struct Comment<'a> {
    _id: &'a str,
    created_at: String,
    channel_id: String,
    content_type: &'static str,
    content_id: &'static str,
    content_offset_seconds: f64,
    commenter: Commenter<'a>,
    message: Message<'a>,
}

#[derive(Serialize)]
struct Commenter<'a> {
    display_name: &'a str,
    _id: &'a str,
    name: &'a str,
    bio: Option<&'a str>,
    created_at: &'static str,
    updated_at: &'static str,
    logo: &'static str,
}

#[derive(Serialize)]
struct Message<'a> {
    body: &'a str,
    bits_spent: u32,
    fragments: Vec<Fragment<'a>>,
    user_badges: Vec<Badge<'a>>,
    user_color: &'a str,
    emoticons: Vec<Emoticon>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_notice_params: Option<Notice>,
}

#[derive(Serialize)]
struct Fragment<'a> {
    text: &'a str,
    emoticon: Option<FragmentEmote>,
}

#[derive(Serialize)]
struct FragmentEmote {
    emoticon_id: &'static str,
}

#[derive(Serialize)]
struct Badge<'a> {
    _id: &'a str,
    version: &'a str,
}

#[derive(Serialize)]
struct Emoticon {
    _id: &'static str,
    begin: usize,
    end: usize,
}

#[derive(Serialize)]
struct Notice {
    #[serde(rename = "msg-id")]
    msg_id: &'static str,
}

#[derive(Serialize)]
struct Chapter {
    id: String,
    #[serde(rename = "startMilliseconds")]
    start_ms: u64,
    #[serde(rename = "lengthMilliseconds")]
    length_ms: u64,
    _type: &'static str,
    description: &'static str,
    #[serde(rename = "gameId")]
    game_id: &'static str,
    #[serde(rename = "gameDisplayName")]
    game_display_name: &'static str,
}

pub(super) fn twitch_downloader(
    script: &Script,
    plot: &Plot,
    chat: &[PretendMessage],
    out: impl Write,
) -> io::Result<()> {
    let mut out = io::BufWriter::new(out);
    let started = rfc3339(STARTED_AT_S * 1000);
    let head = serde_json::json!({
        "Version": {"Major": 1, "Minor": 4, "Patch": 0},
        "CreatedAt": rfc3339((STARTED_AT_S + u64::from(script.seconds) + 3600) * 1000),
        "UpdatedAt": "0001-01-01T00:00:00",
    });
    let streamer =
        serde_json::json!({"name": "VillaNovembre", "login": "villanovembre", "id": CHANNEL_ID});
    let chapter = Chapter {
        id: VIDEO_ID.to_owned(),
        start_ms: 0,
        length_ms: u64::from(script.seconds) * 1000,
        _type: "GAME_CHANGE",
        description: "Just Chatting",
        game_id: "509658",
        game_display_name: "Just Chatting",
    };
    let video = serde_json::json!({
        "title": format!("Soirée à la villa : {} surprises", plot.events.len()),
        "description": null,
        "id": VIDEO_ID,
        "created_at": started,
        "start": 0,
        "end": script.seconds,
        "length": script.seconds,
        "viewCount": 1234,
        "game": "Just Chatting",
        "chapters": [chapter],
    });
    write!(out, "{{\"FileInfo\":{head},\"streamer\":{streamer},\"video\":{video},\"comments\":[")?;
    for (index, message) in chat.iter().enumerate() {
        if index > 0 {
            out.write_all(b",")?;
        }
        serde_json::to_writer(&mut out, &comment(message))?;
    }
    out.write_all(
        b"],\"embeddedData\":{\"thirdParty\":[],\"firstParty\":[],\"twitchBadges\":[],\"twitchBits\":[]}}",
    )?;
    out.flush()
}

fn comment(message: &PretendMessage) -> Comment<'_> {
    let (fragments, emoticons) = fragments_of(&message.text);
    let at_ms = STARTED_AT_S * 1000 + u64::try_from(message.offset_ms).unwrap_or(0);
    Comment {
        _id: &message.message_id,
        created_at: rfc3339(at_ms),
        channel_id: CHANNEL_ID.to_string(),
        content_type: "video",
        content_id: VIDEO_ID,
        content_offset_seconds: message.offset_ms as f64 / 1000.0,
        commenter: Commenter {
            display_name: &message.viewer.display_name,
            _id: &message.viewer.id,
            name: &message.viewer.login,
            bio: None,
            created_at: "2019-03-01T12:00:00Z",
            updated_at: "2026-03-01T12:00:00Z",
            logo: "",
        },
        message: Message {
            body: &message.text,
            bits_spent: message.bits,
            fragments,
            user_badges: message
                .viewer
                .badges
                .iter()
                .map(|&(badge, version)| Badge { _id: badge, version })
                .collect(),
            user_color: message.viewer.color,
            emoticons,
            user_notice_params: message.notice.map(|msg_id| Notice { msg_id }),
        },
    }
}

/// Splits a text at the platform's emotes; positions count UTF-16 units, as the export does.
fn fragments_of(text: &str) -> (Vec<Fragment<'_>>, Vec<Emoticon>) {
    let mut fragments = Vec::new();
    let mut emoticons = Vec::new();
    let mut plain_from = 0;
    let mut at = 0;
    for word in text.split_inclusive(' ') {
        let name = word.trim_end();
        if let Some(&(_, id)) = EMOTES.iter().find(|(known, _)| *known == name) {
            if plain_from < at {
                fragments.push(Fragment { text: &text[plain_from..at], emoticon: None });
            }
            let end = at + name.len();
            fragments.push(Fragment {
                text: &text[at..end],
                emoticon: Some(FragmentEmote { emoticon_id: id }),
            });
            let begin = text[..at].encode_utf16().count();
            emoticons.push(Emoticon { _id: id, begin, end: begin + name.len() - 1 });
            plain_from = end;
        }
        at += word.len();
    }
    if plain_from < text.len() {
        fragments.push(Fragment { text: &text[plain_from..], emoticon: None });
    }
    (fragments, emoticons)
}

/// UTC with milliseconds (civil date from days after Howard Hinnant, « chrono-Compatible Low-Level
/// Date Algorithms »).
fn rfc3339(ms: u64) -> String {
    let (seconds, ms) = (ms / 1000, ms % 1000);
    let days = seconds / 86_400 + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}
