//! Replays recorded chats through the moment detector and measures its picks against hand labels.
//!
//! The metric is Video Precision@K (start): a pick t is good when `start − 10 s <= t <= end` for
//! some labelled highlight (Jiang et al., LIGHTOR, ICDE 2020).

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use flate2::read::MultiGzDecoder;
use serde::Deserialize;

use crate::domain::moments::delay::{DELAY_DEFAULT_S, Delay, DelayOrigin};
use crate::domain::moments::detector::Detector;
use crate::domain::moments::moment::Moment;
use crate::domain::moments::params::Params;
use crate::domain::moments::rank::{REEL_SPACING_S, rank};
use crate::domain::moments::signal::{ChatterId, Heard, Message, Signal};

/// Picks of a video that are written and judged.
pub const PICKS: usize = 10;
/// A pick may come this much before its highlight.
const EARLY_S: f64 = 10.0;
/// A line longer than this is refused: no chat message is.
const LINE_BYTES_MAX: u64 = 1_000_000;
/// Seconds of a chat's clock that are believed: two weeks.
const CHAT_S_MAX: f64 = 1_209_600.0;
const BOOTSTRAP_ROUNDS: usize = 2_000;

/// Mean P@1..10 and P@5 on the full public sets: 50 LoL and 50 Dota 2 test videos.
const PUBLISHED: [(&str, Option<f64>, Option<f64>); 5] = [
    ("random instants", Some(0.19), Some(0.13)),
    ("Chat-LSTM, 123 training videos", Some(0.530), Some(0.370)),
    ("LIGHTOR, as published", Some(0.598), Some(0.661)),
    ("message count in 15 s", Some(0.743), Some(0.633)),
    ("perfect ranking", Some(0.993), Some(0.986)),
];

#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    #[error("cannot read the folder `{}`: give one that holds `*.tsv.gz` chats", dir.display())]
    Folder { dir: PathBuf, source: std::io::Error },
    #[error(
        "no chat in `{}`: the benchmark wants `<video>.tsv.gz` files (seconds, user, message)",
        dir.display()
    )]
    NoChat { dir: PathBuf },
    #[error("cannot read the chat `{}`: is it a whole gzip file?", file.display())]
    Chat { file: PathBuf, source: std::io::Error },
    #[error(
        "line {line} of `{}` is not `seconds TAB user TAB message` in time order: {problem}",
        file.display()
    )]
    Line { file: PathBuf, line: usize, problem: &'static str },
    #[error("cannot read the labels `{}`", file.display())]
    LabelsFile { file: PathBuf, source: std::io::Error },
    #[error(
        "the labels `{}` are not `{{\"<video>\": {{\"highlights\": [[start, end], …]}}}}`",
        file.display()
    )]
    Labels { file: PathBuf, source: serde_json::Error },
    #[error("the delay is {0} s: give seconds from 0 to 120")]
    Delay(f64),
    #[error("cannot write the picks to `{}`", file.display())]
    Out { file: PathBuf, source: std::io::Error },
}

/// What the benchmark measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// Seconds of each video, best first.
    pub picks: BTreeMap<String, Vec<f64>>,
    /// `None` when no video has labels.
    pub precision: Option<Precision>,
    pub delay: Delay,
    pub messages: usize,
    /// Time spent in the detector, without reading files.
    pub elapsed: Duration,
}

/// Video Precision@K over the labelled videos.
#[derive(Debug, Clone, PartialEq)]
pub struct Precision {
    pub videos: usize,
    /// P@1 to P@10.
    pub at: [f64; PICKS],
    pub mean: f64,
    /// 95 % bootstrap interval of the mean, over videos.
    pub interval: (f64, f64),
}

/// Measures the detector on the chats of `dir`, prints the table and writes the picks to `out`.
/// Without a delay (seconds) the detector's default is used: these chats have no sound to
/// calibrate by.
pub fn run(dir: &Path, delay: Option<f64>, out: Option<&Path>) -> Result<Measured, BenchError> {
    let measured = measure(dir, delay)?;
    if let Some(file) = out {
        write_picks(file, &measured.picks)?;
    }
    println!("{measured}");
    Ok(measured)
}

/// Measures without printing.
pub fn measure(dir: &Path, delay: Option<f64>) -> Result<Measured, BenchError> {
    let delay = match delay {
        Some(seconds) if !(0.0..=120.0).contains(&seconds) => {
            return Err(BenchError::Delay(seconds));
        }
        Some(seconds) => Delay::set(seconds),
        None => Delay::default(),
    };
    let labels = load_labels(dir)?;
    let params = Params { delay, ..Params::default() };
    let (mut picks, mut judged) = (BTreeMap::new(), Vec::new());
    let (mut messages, mut elapsed) = (0, Duration::ZERO);
    for (video, file) in find_chats(dir)? {
        let chat = load_chat(&file)?;
        messages += chat.len();
        let start = Instant::now();
        let moments = replay(&chat, params.clone());
        elapsed += start.elapsed();
        let dots: Vec<f64> =
            rank(&moments, REEL_SPACING_S, PICKS).iter().map(|moment| moment.event_s).collect();
        if let Some(label) = labels.get(&video) {
            judged.push(precision_at(&dots, &label.highlights));
        }
        picks.insert(video, dots);
    }
    Ok(Measured { picks, precision: Precision::of(&judged), delay, messages, elapsed })
}

/// One line of a recorded chat.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    pub at_ms: u64,
    pub chatter: ChatterId,
    pub text: String,
}

/// The moments of a recorded chat, through the same door as a live one.
pub fn replay(chat: &[Line], params: Params) -> Vec<Moment> {
    let mut detector = Detector::new(params);
    let mut moments = detector.hear(Signal { at_ms: 0, heard: Heard::Nothing });
    for line in chat {
        let message = Message { chatter: line.chatter, text: &line.text, is_trusted: false };
        moments.extend(detector.hear(Signal { at_ms: line.at_ms, heard: Heard::Message(message) }));
    }
    moments.extend(detector.finish());
    moments
}

/// The chats of a folder by video, sorted.
pub fn find_chats(dir: &Path) -> Result<BTreeMap<String, PathBuf>, BenchError> {
    let folder = |source| BenchError::Folder { dir: dir.to_owned(), source };
    let mut chats = BTreeMap::new();
    for entry in fs::read_dir(dir).map_err(folder)? {
        let path = entry.map_err(folder)?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        if let Some(video) = name.as_deref().and_then(|name| name.strip_suffix(".tsv.gz")) {
            chats.insert(video.to_owned(), path);
        }
    }
    if chats.is_empty() {
        return Err(BenchError::NoChat { dir: dir.to_owned() });
    }
    Ok(chats)
}

/// A chat in time order; empty messages are kept, the detector drops them.
pub fn load_chat(file: &Path) -> Result<Vec<Line>, BenchError> {
    let unreadable = |source| BenchError::Chat { file: file.to_owned(), source };
    let mut chat = BufReader::new(MultiGzDecoder::new(File::open(file).map_err(unreadable)?));
    let (mut lines, mut raw) = (Vec::new(), Vec::new());
    loop {
        raw.clear();
        let read = chat.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut raw);
        if read.map_err(unreadable)? == 0 {
            return Ok(lines);
        }
        let wrong =
            |problem| BenchError::Line { file: file.to_owned(), line: lines.len() + 1, problem };
        let line = parse_line(&raw).map_err(wrong)?;
        lines.push(line);
    }
}

fn parse_line(raw: &[u8]) -> Result<Line, &'static str> {
    if raw.len() as u64 == LINE_BYTES_MAX {
        return Err("it is longer than a megabyte");
    }
    let text = std::str::from_utf8(raw).map_err(|_| "it is not UTF-8")?;
    let mut fields = text.trim_end_matches(['\n', '\r']).splitn(3, '\t');
    let (Some(seconds), Some(user)) = (fields.next(), fields.next()) else {
        return Err("a field is missing");
    };
    let seconds: f64 = seconds.parse().map_err(|_| "the time is not a number")?;
    if !(-CHAT_S_MAX..=CHAT_S_MAX).contains(&seconds) {
        return Err("the time is not a time of a stream");
    }
    Ok(Line {
        at_ms: (seconds.max(0.0) * 1_000.0).round() as u64,
        chatter: ChatterId::of_login(user),
        text: fields.next().unwrap_or_default().to_owned(),
    })
}

#[derive(Debug, Deserialize)]
struct Label {
    highlights: Vec<(f64, f64)>,
}

fn load_labels(dir: &Path) -> Result<BTreeMap<String, Label>, BenchError> {
    let file = dir.join("labels.json");
    match fs::read(&file) {
        Ok(json) => {
            serde_json::from_slice(&json).map_err(|source| BenchError::Labels { file, source })
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(source) => Err(BenchError::LabelsFile { file, source }),
    }
}

fn write_picks(file: &Path, picks: &BTreeMap<String, Vec<f64>>) -> Result<(), BenchError> {
    let failed = |source| BenchError::Out { file: file.to_owned(), source };
    let mut out = File::create(file).map_err(failed)?;
    serde_json::to_writer_pretty(&mut out, picks).map_err(|error| failed(error.into()))?;
    out.write_all(b"\n").map_err(failed)
}

/// P@1 to P@10 of one video; a missing pick is a bad one.
pub fn precision_at(picks: &[f64], highlights: &[(f64, f64)]) -> [f64; PICKS] {
    let is_good =
        |pick: f64| highlights.iter().any(|&(start, end)| (start - EARLY_S..=end).contains(&pick));
    let mut good = 0;
    std::array::from_fn(|index| {
        good += usize::from(picks.get(index).is_some_and(|&pick| is_good(pick)));
        good as f64 / (index + 1) as f64
    })
}

impl Precision {
    /// The mean over videos, with its bootstrap interval; `None` for no video.
    pub fn of(videos: &[[f64; PICKS]]) -> Option<Self> {
        if videos.is_empty() {
            return None;
        }
        let count = videos.len() as f64;
        let at = std::array::from_fn(|k| videos.iter().map(|video| video[k]).sum::<f64>() / count);
        let means: Vec<f64> =
            videos.iter().map(|video| video.iter().sum::<f64>() / PICKS as f64).collect();
        // A fixed seed: the same data always print the same interval.
        let mut state = 0x5eed_u64;
        let mut draw = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            means[(state >> 33) as usize % means.len()]
        };
        let mut rounds: Vec<f64> = (0..BOOTSTRAP_ROUNDS)
            .map(|_| (0..means.len()).map(|_| draw()).sum::<f64>() / count)
            .collect();
        rounds.sort_by(f64::total_cmp);
        let interval =
            (rounds[BOOTSTRAP_ROUNDS / 40], rounds[BOOTSTRAP_ROUNDS - 1 - BOOTSTRAP_ROUNDS / 40]);
        Some(Self { videos: videos.len(), at, mean: means.iter().sum::<f64>() / count, interval })
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.elapsed.as_secs_f64();
        writeln!(
            f,
            "{} videos, {} messages in {seconds:.2} s on one core ({:.0} messages/s)",
            self.picks.len(),
            self.messages,
            self.messages as f64 / seconds.max(1e-9),
        )?;
        match self.delay.origin {
            DelayOrigin::Default => {
                writeln!(f, "delay {DELAY_DEFAULT_S} s (the default; set one with --delay)")?;
            }
            _ => writeln!(f, "delay {} s (set)", self.delay.seconds)?,
        }
        let Some(precision) = &self.precision else {
            return writeln!(f, "no labels: picks only");
        };
        writeln!(f, "\nVideo Precision@K (start), {} labelled videos", precision.videos)?;
        for k in 1..=PICKS {
            write!(f, "{:>6}", format!("P@{k}"))?;
        }
        writeln!(f, "{:>7}  95 % interval", "mean")?;
        for value in precision.at {
            write!(f, "{value:>6.3}")?;
        }
        let (low, high) = precision.interval;
        writeln!(f, "{:>7.3}  {low:.3}–{high:.3}", precision.mean)?;
        writeln!(f, "\nPublished baselines, mean P@1..10 on the full sets (50 + 50 test videos)")?;
        writeln!(f, "{:<34}{:>8}{:>8}", "", "LoL", "Dota 2")?;
        for (name, lol, dota) in PUBLISHED {
            let cell =
                |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.3}"));
            writeln!(f, "{name:<34}{:>8}{:>8}", cell(lol), cell(dota))?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these numbers are equal by construction")]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::path::Path;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use crate::bench::moments::{BenchError, Precision, measure, precision_at, run};

    fn write_chat(dir: &Path, video: &str, chat: &str) {
        let file = fs::File::create(dir.join(format!("{video}.tsv.gz"))).unwrap();
        let mut gzip = GzEncoder::new(file, Compression::fast());
        gzip.write_all(chat.as_bytes()).unwrap();
        gzip.finish().unwrap();
    }

    /// Twenty minutes of talk and a laughter at 700 s, 8 s after what it laughs at.
    fn chat() -> String {
        let mut lines: Vec<(u32, u32, &str)> = (0..1_200).map(|s| (s, s % 50, "bonsoir")).collect();
        lines.extend((0..60).map(|viewer| (700 + viewer / 10, 100 + viewer, "mdrrr")));
        lines.sort_by_key(|line| line.0);
        let lines: Vec<String> =
            lines.iter().map(|(s, user, text)| format!("{s}.250\tu{user}\t{text}")).collect();
        lines.join("\n") + "\n"
    }

    #[test]
    fn the_metric_counts_as_its_definition_says() {
        let at = precision_at(&[95.0, 300.0], &[(100.0, 120.0)]);
        assert_eq!(at[..3], [1.0, 0.5, 1.0 / 3.0]);
        assert_eq!(precision_at(&[89.9], &[(100.0, 120.0)])[0], 0.0);
        assert_eq!(precision_at(&[120.0], &[(100.0, 120.0)])[0], 1.0);
        assert_eq!(precision_at(&[2_440.0], &[(2_465.0, 2_430.0)])[0], 0.0);
        let two = Precision::of(&[[1.0; 10], [0.0; 10]]).unwrap();
        assert_eq!((two.videos, two.mean, two.at[4], two.interval), (2, 0.5, 0.5, (0.0, 1.0)));
        assert_eq!(Precision::of(&[]), None);
    }

    #[test]
    fn a_folder_is_replayed_and_its_picks_are_written_best_first() {
        let dir = tempfile::tempdir().unwrap();
        write_chat(dir.path(), "one", &chat());
        write_chat(dir.path(), "unlabelled", &chat());
        fs::write(dir.path().join("baseline_dots.json"), "not even json").unwrap();
        let labels = r#"{"one": {"duration_s": 1200, "highlights": [[690, 700]]}}"#;
        fs::write(dir.path().join("labels.json"), labels).unwrap();
        let out = dir.path().join("picks.json");

        let measured = run(dir.path(), Some(8.0), Some(&out)).unwrap();

        let precision = measured.precision.as_ref().unwrap();
        assert_eq!((precision.videos, precision.at[0]), (1, 1.0));
        assert_eq!(measured.messages, 2 * 1_260);
        let picks: serde_json::Value = serde_json::from_slice(&fs::read(out).unwrap()).unwrap();
        assert_eq!(picks["one"], picks["unlabelled"]);
        assert!((picks["one"][0].as_f64().unwrap() - 690.0).abs() < 10.0);
        assert!(measured.to_string().contains("P@10"));
    }

    #[test]
    fn without_labels_there_are_still_picks() {
        let dir = tempfile::tempdir().unwrap();
        write_chat(dir.path(), "one", &chat());
        let measured = measure(dir.path(), None).unwrap();
        assert_eq!(measured.precision, None);
        assert!(!measured.picks["one"].is_empty());
    }

    #[test]
    fn what_is_wrong_with_a_folder_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let failure = || measure(dir.path(), None).unwrap_err();

        assert!(matches!(measure(&at("nowhere"), None), Err(BenchError::Folder { .. })));
        assert!(matches!(failure(), BenchError::NoChat { .. }));
        assert!(matches!(measure(dir.path(), Some(-1.0)), Err(BenchError::Delay(_))));
        assert!(matches!(measure(dir.path(), Some(f64::NAN)), Err(BenchError::Delay(_))));

        fs::write(at("one.tsv.gz"), "plain text").unwrap();
        assert!(matches!(failure(), BenchError::Chat { .. }));
        write_chat(dir.path(), "one", "1.0\tu1\tsalut\nsoon\tu2\tsalut\n");
        assert!(failure().to_string().contains("line 2"), "{}", failure());
        write_chat(dir.path(), "one", "1.0\n");
        assert!(failure().to_string().contains("a field is missing"));
        write_chat(dir.path(), "one", "1e300\tu1\tsalut\n");
        assert!(matches!(failure(), BenchError::Line { line: 1, .. }));
        write_chat(dir.path(), "one", &"x".repeat(3_000_000));
        assert!(failure().to_string().contains("megabyte"));

        write_chat(dir.path(), "one", &chat());
        let whole = fs::read(at("one.tsv.gz")).unwrap();
        fs::write(at("one.tsv.gz"), &whole[..whole.len() / 2]).unwrap();
        assert!(matches!(failure(), BenchError::Chat { .. }));

        write_chat(dir.path(), "one", &chat());
        fs::write(at("labels.json"), "[1, 2]").unwrap();
        assert!(matches!(failure(), BenchError::Labels { .. }));
        fs::remove_file(at("labels.json")).unwrap();
        let nowhere = at("no/such/picks.json");
        assert!(matches!(run(dir.path(), None, Some(&nowhere)), Err(BenchError::Out { .. })));
    }
}
