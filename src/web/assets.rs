//! Files of the pages, carried in the binary: style sheets, scripts, fonts, icons. Each has its content's hash in its
//! address, so that browsers keep it for good and never see an old one.

use std::collections::HashMap;
use std::fmt::Write;
use std::io::Write as _;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use axum::body::{Body, Bytes};
use axum::extract::Path;
use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use rust_embed::{Embed, EmbeddedFile};
use sha2::{Digest, Sha256};

use crate::web::Problem;

/// Hex digits of the hash that stand in an address: 64 bits.
const HASH_DIGITS: usize = 16;
const FOR_GOOD: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// Under its plain name a file may change with the next release.
const ASK_AGAIN: HeaderValue = HeaderValue::from_static("no-cache");

/// Development builds read the folder as it is now; release builds carry it.
#[derive(Embed)]
#[folder = "templates/static"]
struct Files;

/// A file as it is sent.
struct Asset {
    hash: String,
    bytes: Bytes,
    /// Only where it is smaller.
    gzip: Option<Bytes>,
    kind: &'static str,
}

/// The address of a file of `templates/static`, such as `/static/charter.5d41402abc4b2a76.css`. A file that is not there
/// keeps its plain address, which answers 404.
pub fn asset(name: &str) -> String {
    match find(name) {
        Some(asset) => address(name, &asset.hash),
        None => format!("/static/{name}"),
    }
}

fn address(name: &str, hash: &str) -> String {
    match name.rsplit_once('.') {
        Some((stem, extension)) => format!("/static/{stem}.{hash}.{extension}"),
        None => format!("/static/{name}.{hash}"),
    }
}

/// Splits `charter.5d41402abc4b2a76.css` into `charter.css` and the hash.
fn plain_name(file: &str) -> Option<(String, &str)> {
    let (rest, extension) = file.rsplit_once('.')?;
    let (stem, hash) = rest.rsplit_once('.')?;
    let is_hash = hash.len() == HASH_DIGITS && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hash.then(|| (format!("{stem}.{extension}"), hash))
}

pub(super) async fn show(
    Path(file): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let hashed = plain_name(&file).and_then(|(name, hash)| {
        // An address of an earlier release finds the present file under the present rules.
        find(&name).map(|asset| {
            let cache = if asset.hash == hash { FOR_GOOD } else { ASK_AGAIN };
            (asset, cache)
        })
    });
    let (asset, cache) = hashed
        .or_else(|| find(&file).map(|asset| (asset, ASK_AGAIN)))
        .ok_or_else(Problem::not_found)?;
    let packed = asset.gzip.clone().filter(|_| takes_gzip(&headers));
    let suffix = if packed.is_some() { "-gz" } else { "" };
    let etag = HeaderValue::try_from(format!("\"{}{suffix}\"", asset.hash))
        .expect("hex digits in quotes fit a header");
    let known = headers.get(IF_NONE_MATCH).is_some_and(|known| {
        known.as_bytes().windows(etag.len()).any(|part| part == etag.as_bytes())
    });
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let mut response =
            Body::from(packed.clone().unwrap_or_else(|| asset.bytes.clone())).into_response();
        if packed.is_some() {
            response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(asset.kind));
        response
    };
    let out = response.headers_mut();
    out.insert(ETAG, etag);
    out.insert(CACHE_CONTROL, cache);
    out.insert(VARY, HeaderValue::from_static("accept-encoding"));
    Ok(response)
}

fn takes_gzip(headers: &HeaderMap) -> bool {
    headers.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).is_some_and(|value| {
        value.split(',').any(|coding| {
            let mut parts = coding.split(';').map(str::trim);
            parts.next() == Some("gzip") && !parts.any(|part| part == "q=0")
        })
    })
}

/// The text of a file of `templates/static`; none when it is not there.
pub(super) fn text(name: &str) -> Option<String> {
    Files::get(name).map(|file| String::from_utf8_lossy(&file.data).into_owned())
}

/// Prepared files by name, with the hash of what they were made from.
type Prepared = HashMap<String, ([u8; 32], Arc<Asset>)>;
static PREPARED: LazyLock<Mutex<Prepared>> = LazyLock::new(Mutex::default);

fn find(name: &str) -> Option<Arc<Asset>> {
    let file = Files::get(name)?;
    let source = source_hash(name, &file);
    {
        let prepared = PREPARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, asset)) = prepared.get(name).filter(|(known, _)| *known == source) {
            return Some(asset.clone());
        }
    }
    let asset = Arc::new(prepare(name, file));
    PREPARED
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(name.to_owned(), (source, asset.clone()));
    Some(asset)
}

/// A sheet that names other files changes with them.
fn source_hash(name: &str, file: &EmbeddedFile) -> [u8; 32] {
    let own = file.metadata.sha256_hash();
    if !names_others(name) {
        return own;
    }
    let mut all = Sha256::new();
    all.update(own);
    for other in Files::iter().filter(|other| !names_others(other)) {
        if let Some(other) = Files::get(&other) {
            all.update(other.metadata.sha256_hash());
        }
    }
    all.finalize().into()
}

fn names_others(name: &str) -> bool {
    std::path::Path::new(name).extension().is_some_and(|extension| {
        extension.eq_ignore_ascii_case("css") || extension.eq_ignore_ascii_case("js")
    })
}

fn prepare(name: &str, file: EmbeddedFile) -> Asset {
    let bytes = match std::str::from_utf8(&file.data) {
        Ok(text) if names_others(name) => Bytes::from(with_addresses(text)),
        _ => Bytes::from(file.data.into_owned()),
    };
    let hash = Sha256::digest(&bytes).iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    let kind = kind_of(name);
    let gzip = (kind.starts_with("text/") || kind.contains("json") || kind.contains("svg"))
        .then(|| pack(&bytes))
        .flatten()
        .filter(|packed| packed.len() < bytes.len());
    Asset { hash: hash[..HASH_DIGITS].to_owned(), bytes, gzip, kind }
}

/// Puts the hashed addresses of fonts and pictures in place of their plain ones.
fn with_addresses(text: &str) -> String {
    Files::iter().filter(|other| !names_others(other)).fold(text.to_owned(), |text, other| {
        let plain = format!("/static/{other}");
        if text.contains(&plain) { text.replace(&plain, &asset(&other)) } else { text }
    })
}

fn pack(bytes: &[u8]) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).ok()?;
    encoder.finish().ok().map(Bytes::from)
}

fn kind_of(name: &str) -> &'static str {
    match name.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "webp" => "image/webp",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "json" | "webmanifest" => "application/json",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_the_file_and_its_content() {
        let address = asset("charter.css");
        let (name, hash) = plain_name(address.strip_prefix("/static/").unwrap()).unwrap();
        assert_eq!(name, "charter.css");
        assert_eq!(find("charter.css").unwrap().hash, hash);
        assert_eq!(plain_name("charter.css"), None);
        assert_eq!(plain_name("a.min.js"), None);
    }

    #[test]
    fn a_file_outside_the_folder_is_not_found() {
        for name in ["../layout.html", "../../Cargo.toml", "/etc/passwd", ""] {
            assert!(find(name).is_none(), "{name:?} was served");
        }
    }
}
