//! What a child says: typed lines on stdout, words on stderr, and the way it ended.

use std::collections::VecDeque;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

use crate::adapters::ffmpeg::job::{Line, MEMORY_BYTES_MAX};
use crate::ports::media_engine::MediaError;

/// Last lines of stderr kept to explain a death.
const LAST_LINES: usize = 8;
/// Longest line kept of a child's stderr, in characters.
const LINE_CHARS_MAX: usize = 400;
/// Longest line accepted on a child's stdout: an inspection of a day is about 12 MB.
const RESULT_BYTES_MAX: u64 = 128 << 20;

/// A child's stdout as typed lines; what is no such line is dropped with a warning.
pub(super) struct Lines<R> {
    reader: BufReader<tokio::io::Take<R>>,
    line: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(super) fn new(stdout: R) -> Self {
        Self {
            reader: BufReader::new(tokio::io::AsyncReadExt::take(stdout, RESULT_BYTES_MAX)),
            line: Vec::new(),
        }
    }

    /// The next line; none at the end. Losing the future loses no bytes.
    pub(super) async fn next(&mut self) -> Option<Line> {
        loop {
            match self.reader.read_until(b'\n', &mut self.line).await {
                Ok(0) | Err(_) if self.line.is_empty() => return None,
                Err(_) => return None,
                Ok(_) => {}
            }
            let parsed = serde_json::from_slice(&self.line);
            self.line.clear();
            match parsed {
                Ok(line) => return Some(line),
                Err(error) => tracing::warn!(%error, "a renderer wrote a line that is no message"),
            }
        }
    }
}

/// Reads stderr to its end and keeps the last lines.
pub(super) async fn last_lines(stderr: impl AsyncRead + Unpin) -> Vec<String> {
    let mut kept = VecDeque::with_capacity(LAST_LINES);
    let mut reader = BufReader::new(stderr);
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut limited = tokio::io::AsyncReadExt::take(&mut reader, 64 << 10);
        match limited.read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return kept.into(),
            Ok(_) => {
                let text = String::from_utf8_lossy(&line);
                let text: String = text.trim_end().chars().take(LINE_CHARS_MAX).collect();
                if !text.is_empty() {
                    if kept.len() == LAST_LINES {
                        kept.pop_front();
                    }
                    kept.push_back(text);
                }
            }
        }
    }
}

/// Says in words how a child without a result ended.
pub(super) fn explain(status: Option<ExitStatus>, words: &[String]) -> MediaError {
    let last_words = words.last().cloned().unwrap_or_default();
    let starved = words.iter().any(|line| {
        line.contains("memory allocation of")
            || line.contains("Cannot allocate memory")
            || line.contains("out of memory")
    });
    if starved {
        return MediaError::OutOfMemory { limit_mb: MEMORY_BYTES_MAX >> 20 };
    }
    let how = match status {
        None => "sans laisser de trace".to_owned(),
        Some(status) => match (status.signal(), status.code()) {
            (Some(signal), _) => format!("signal {}", signal_name(signal)),
            (None, Some(0)) => "sans donner de résultat".to_owned(),
            (None, code) => format!("code {}", code.unwrap_or(-1)),
        },
    };
    MediaError::Crashed { how, last_words }
}

fn signal_name(signal: i32) -> String {
    let name = match signal {
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL, sans doute faute de mémoire sur la machine",
        11 => "SIGSEGV",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ, fichier trop gros",
        31 => "SIGSYS",
        other => return other.to_string(),
    };
    name.to_owned()
}
