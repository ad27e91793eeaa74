//! `spark twitch decode`: says of captured EventSub payloads whether they are understood.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::adapters::clock::SystemClock;
use crate::adapters::twitch::eventsub::decode::{Decoded, decode as decode_event};
use crate::adapters::twitch::eventsub::envelope::{Envelope, Message, Proof};
use crate::ports::clock::Clock;

/// Largest file of captures read, in bytes.
const FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;

pub(crate) const DECODE_HELP: &str = "\
Each line holds {file, type, version, outcome, reason}; type, version and reason may be null.
  type     the subscription's type; of welcome, keepalive and reconnect the message's type
  outcome  typed    understood, frames about the connection included
           unknown  a valid envelope whose message or event is not understood: it would be stored and counted
           invalid  no envelope: neither a WebSocket frame nor a webhook body
Exit code 1 if a file could not be read; the others are decoded all the same.";

/// One line of the answer.
#[derive(Debug, Serialize)]
struct Verdict<'a> {
    file: &'a str,
    #[serde(rename = "type")]
    kind: Option<String>,
    version: Option<String>,
    outcome: &'static str,
    reason: Option<String>,
}

/// Decodes every payload of every file and writes one JSON line each to `out`.
pub(crate) fn decode(files: &[PathBuf], out: &mut impl Write) -> Result<ExitCode> {
    let mut exit = ExitCode::SUCCESS;
    for path in files {
        match read(path) {
            Ok(bytes) => {
                let name = path.to_string_lossy();
                for payload in payloads(&bytes) {
                    serde_json::to_writer(&mut *out, &verdict(&name, payload))?;
                    writeln!(out)?;
                }
            }
            Err(error) => {
                eprintln!("spark: {error:#}");
                exit = ExitCode::FAILURE;
            }
        }
    }
    out.flush()?;
    Ok(exit)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let doing = || format!("cannot read `{}`", path.display());
    let mut bytes = Vec::new();
    let file = File::open(path).with_context(doing)?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).with_context(doing)?;
    ensure!(
        bytes.len() as u64 <= FILE_BYTES_MAX,
        "cannot read `{}`: larger than {FILE_BYTES_MAX} bytes, split it",
        path.display()
    );
    Ok(bytes)
}

/// The payloads of a file: a JSON text, the items of an array, or JSON lines. What is no JSON is a payload too.
fn payloads(bytes: &[u8]) -> Vec<&[u8]> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii();
    if let Ok(items) = serde_json::from_slice::<Vec<&RawValue>>(bytes) {
        return items.into_iter().map(|item| item.get().as_bytes()).collect();
    }
    let is_json = |text: &[u8]| serde_json::from_slice::<&RawValue>(text).is_ok();
    if is_json(bytes) {
        return vec![bytes];
    }
    let lines = || bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let lines = || lines().filter(|line| !line.is_empty());
    // A torn line must not take the others along; the lines of one broken text are no payloads.
    let is_line =
        |line: Option<&[u8]>| line.is_some_and(|line| line.ends_with(b"}") && is_json(line));
    if is_line(lines().next()) || is_line(lines().next_back()) {
        return lines().collect();
    }
    vec![bytes]
}

fn verdict<'a>(file: &'a str, payload: &[u8]) -> Verdict<'a> {
    let line = |kind, version, outcome, reason| Verdict { file, kind, version, outcome, reason };
    let envelope = match Envelope::read(payload) {
        Ok(envelope) => envelope,
        Err(invalid) => return line(None, None, "invalid", Some(invalid.reason)),
    };
    let message_type = Some(envelope.message_type);
    match envelope.message {
        Message::Unknown { reason } => line(message_type, None, "unknown", Some(reason)),
        Message::Welcome(_)
        | Message::Keepalive
        | Message::Reconnect { .. }
        | Message::Challenge { proves: Proof::ConduitShard { .. }, .. } => {
            line(message_type, None, "typed", None)
        }
        Message::Revocation(of) | Message::Challenge { proves: Proof::Subscription(of), .. } => {
            line(Some(of.kind), Some(of.version), "typed", None)
        }
        Message::Notification(notification) => {
            let message_id = envelope.message_id.unwrap_or_default();
            let sent_at = envelope.sent_at.unwrap_or_else(|| SystemClock.now());
            let decoded = decode_event(&notification, &message_id, sent_at);
            let of = notification.subscription;
            match decoded {
                Decoded::Typed(_) => line(Some(of.kind), Some(of.version), "typed", None),
                Decoded::Unknown { kind, version, reason } => {
                    line(Some(kind), Some(version), "unknown", Some(reason))
                }
            }
        }
    }
}
