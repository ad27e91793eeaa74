//! Media files, whole or by range (RFC 9110 §14), to who may see them or holds a signed link.

use std::io::SeekFrom;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    ETAG, IF_NONE_MATCH, IF_RANGE, RANGE, REFERRER_POLICY,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use crate::domain::accounts::Permission;
use crate::domain::audience::channel::ChannelId;
use crate::domain::media::MediaKey;
use crate::ports::PortError;
use crate::web::{App, Problem};

/// Bytes in memory per response.
const CHUNK_BYTES: usize = 64 * 1024;
/// Longest name of a saved file, in characters.
const NAME_CHARS_MAX: usize = 120;
/// What RFC 8187 leaves as it is in a file name.
const NAME_ESCAPES: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    /// Save under this name instead of showing.
    telecharger: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Signature {
    expire: i64,
    sig: String,
}

impl App {
    /// A path that lets anybody read one file for a while, without a session. Append `&telecharger=nom.mp4` to save it.
    pub fn sign_link(&self, key: &MediaKey, ttl: TimeDelta) -> String {
        let expire = (self.clock.now() + ttl).timestamp();
        let signature =
            URL_SAFE_NO_PAD.encode(sign(&self.link_key, key, expire).finalize().into_bytes());
        format!("/media/{key}?expire={expire}&sig={signature}")
    }
}

impl App {
    /// The key to mark a channel without a session: the same until the house draws another `link.key`.
    pub fn mark_key(&self, channel: &ChannelId) -> String {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.link_key).expect("HMAC takes any length");
        mac.update(b"spark mark key\n");
        mac.update(channel.as_str().as_bytes());
        URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
    }
}

fn sign(secret: &[u8; 32], key: &MediaKey, expire: i64) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes a key of any length");
    mac.update(b"spark media link\n");
    mac.update(key.as_str().as_bytes());
    mac.update(b"\n");
    mac.update(&expire.to_be_bytes());
    mac
}

/// Whether an address carries a signature of ours that still holds.
pub(super) fn is_linked(app: &App, uri: &Uri) -> bool {
    let Ok(Query(Signature { expire, sig })) = Query::try_from_uri(uri) else { return false };
    let Some(key) = key_of(uri) else { return false };
    let Ok(signature) = URL_SAFE_NO_PAD.decode(sig) else { return false };
    // `verify_slice` takes the same time wherever the difference is.
    sign(&app.link_key, &key, expire).verify_slice(&signature).is_ok()
        && app.clock.now().timestamp() < expire
}

fn key_of(uri: &Uri) -> Option<MediaKey> {
    MediaKey::try_new(uri.path().strip_prefix("/media/")?).ok()
}

/// What it takes to read a file without a link; `None` when nobody may: chats and inspections are not for browsers.
pub(super) fn permission(uri: &Uri) -> Option<Permission> {
    let key = key_of(uri)?;
    let saves = Query::<Asked>::try_from_uri(uri).is_ok_and(|asked| asked.telecharger.is_some());
    match key.as_str().split('/').next()? {
        "recordings" | "clips" | "reels" if saves => Some(Permission::DownloadMedia),
        "recordings" => Some(Permission::SeeMoments),
        "clips" | "reels" | "posters" => Some(Permission::SeeClips),
        _ => None,
    }
}

pub(super) async fn show(
    State(app): State<App>,
    Path(key): Path<String>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let key = MediaKey::try_new(key).map_err(|_| Problem::not_found())?;
    let path = app.store.local_path(&key).await?.ok_or_else(Problem::not_found)?;
    let fault = |e| PortError::passing(format!("read media `{key}`"), e);
    let mut file = tokio::fs::File::open(&path).await.map_err(fault)?;
    let length = file.metadata().await.map_err(fault)?.len();
    let etag = HeaderValue::try_from(format!("\"{}\"", stem(&key)))
        .map_err(|e| PortError::lasting("write an ETag", e))?;
    if headers.get(IF_NONE_MATCH).is_some_and(|known| known == etag) {
        let unchanged = [(ETAG, etag), (CACHE_CONTROL, HeaderValue::from_static(KEPT))];
        return Ok((StatusCode::NOT_MODIFIED, unchanged).into_response());
    }
    // A range of another version is no use: then the whole file goes out. We give no dates, so a date never fits.
    let fits = headers.get(IF_RANGE).is_none_or(|version| version == etag);
    let range = headers.get(RANGE).filter(|_| fits).and_then(|range| range.to_str().ok());
    let asked_range = range.map_or(Asks::Whole, |range| Asks::of(range, length));
    let (status, from, bytes) = match asked_range {
        Asks::Whole => (StatusCode::OK, 0, length),
        Asks::Part { from, to } => (StatusCode::PARTIAL_CONTENT, from, to - from + 1),
        Asks::Beyond => {
            let mut response = Problem::range().into_response();
            response.headers_mut().insert(CONTENT_RANGE, value(format!("bytes */{length}")));
            return Ok(response);
        }
    };
    file.seek(SeekFrom::Start(from)).await.map_err(fault)?;
    let body = Body::from_stream(ReaderStream::with_capacity(file.take(bytes), CHUNK_BYTES));
    let mut response = (status, body).into_response();
    let out = response.headers_mut();
    out.insert(CONTENT_TYPE, HeaderValue::from_static(kind_of(key.extension())));
    out.insert(CONTENT_LENGTH, HeaderValue::from(bytes));
    out.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    out.insert(ETAG, etag);
    out.insert(CACHE_CONTROL, HeaderValue::from_static(KEPT));
    out.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if status == StatusCode::PARTIAL_CONTENT {
        let last = from + bytes - 1;
        out.insert(CONTENT_RANGE, value(format!("bytes {from}-{last}/{length}")));
    }
    if let Some(name) = asked.telecharger {
        out.insert(CONTENT_DISPOSITION, disposition(&name, &key));
    }
    Ok(response)
}

/// A key names its content: what a browser has never grows old. But it is not for caches that others read.
const KEPT: &str = "private, max-age=31536000, immutable";

fn value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("digits and plain words fit a header")
}

fn stem(key: &MediaKey) -> &str {
    let name = key.as_str().rsplit('/').next().unwrap_or("");
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}

/// What a `Range` header asks of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asks {
    Whole,
    /// Both ends inclusive.
    Part {
        from: u64,
        to: u64,
    },
    Beyond,
}

impl Asks {
    /// One range is served; several at once, another unit or nonsense get the whole file, as RFC 9110 §14.2 allows.
    fn of(header: &str, length: u64) -> Self {
        let Some((first, last)) = header
            .trim()
            .strip_prefix("bytes=")
            .filter(|spec| !spec.contains(','))
            .and_then(|spec| spec.trim().split_once('-'))
        else {
            return Self::Whole;
        };
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            // More digits than fit are beyond any file.
            digits.then(|| text.parse::<u64>().unwrap_or(u64::MAX))
        };
        match (number(first), number(last)) {
            (Some(from), Some(to)) if from > to => Self::Whole,
            (Some(from), _) if from >= length && (last.is_empty() || number(last).is_some()) => {
                Self::Beyond
            }
            (Some(from), Some(to)) => Self::Part { from, to: to.min(length - 1) },
            (Some(from), None) if last.is_empty() => Self::Part { from, to: length - 1 },
            (None, Some(0)) if first.is_empty() => Self::Beyond,
            (None, Some(_)) if first.is_empty() && length == 0 => Self::Beyond,
            (None, Some(tail)) if first.is_empty() => {
                Self::Part { from: length.saturating_sub(tail), to: length - 1 }
            }
            _ => Self::Whole,
        }
    }
}

fn kind_of(extension: &str) -> &'static str {
    match extension {
        "mp4" | "m4v" => "video/mp4",
        "mov" => "video/quicktime",
        "webm" => "video/webm",
        "mkv" => "video/x-matroska",
        "ts" => "video/mp2t",
        "flv" => "video/x-flv",
        "jpg" | "jpeg" => "image/jpeg",
        "png" => "image/png",
        "webp" => "image/webp",
        // Nothing that a browser would run.
        _ => "application/octet-stream",
    }
}

/// `Content-Disposition` with a name that no file system minds, in ASCII and in full (RFC 6266).
fn disposition(name: &str, key: &MediaKey) -> HeaderValue {
    let clean: String = name
        .chars()
        .filter(|c| !c.is_control() && !"/\\:*?\"<>|".contains(*c))
        .take(NAME_CHARS_MAX)
        .collect();
    let clean = clean.trim().trim_start_matches('.');
    let clean =
        if clean.is_empty() { format!("spark.{}", key.extension()) } else { clean.to_owned() };
    let ascii: String = clean.chars().map(|c| if c.is_ascii() { c } else { '_' }).collect();
    let full = utf8_percent_encode(&clean, NAME_ESCAPES);
    value(format!("attachment; filename=\"{ascii}\"; filename*=UTF-8''{full}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(header: &str, length: u64, expected: Asks) {
        assert_eq!(Asks::of(header, length), expected, "{header}");
    }

    #[test]
    fn a_range_is_read_as_the_standard_says() {
        let part = |from, to| Asks::Part { from, to };
        check("bytes=0-9", 100, part(0, 9));
        check("bytes=90-", 100, part(90, 99));
        check("bytes=90-500", 100, part(90, 99));
        check("bytes=-10", 100, part(90, 99));
        check("bytes=-500", 100, part(0, 99));
        check("bytes=100-", 100, Asks::Beyond);
        check("bytes=99999999999999999999999-", 100, Asks::Beyond);
        check("bytes=-0", 100, Asks::Beyond);
        check("bytes=0-", 0, Asks::Beyond);
        check("bytes=-5", 0, Asks::Beyond);
        for nonsense in [
            "bytes=9-0",
            "bytes=a-b",
            "bytes=+1-2",
            "items=0-9",
            "bytes=0-1,5-9",
            "bytes=-",
            "bytes",
        ] {
            check(nonsense, 100, Asks::Whole);
        }
    }

    #[test]
    fn a_saved_name_is_harmless() {
        let key = MediaKey::try_new("reels/ab.mp4").unwrap();
        assert_eq!(
            disposition("Été \"de\" folie/..\r\n.mp4", &key),
            "attachment; filename=\"_t_ de folie...mp4\"; filename*=UTF-8''%C3%89t%C3%A9%20de%20folie...mp4"
        );
        assert_eq!(
            disposition("///", &key),
            "attachment; filename=\"spark.mp4\"; filename*=UTF-8''spark.mp4"
        );
    }
}
