//! Footage made by the ffmpeg command line: each picture carries its number, each second flashes and beeps.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test file uses its own part"
)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub const WIDTH: usize = 320;
pub const HEIGHT: usize = 192;
const BITS: usize = 16;
const CELL: usize = WIDTH / BITS;

/// Paints number `n` as sixteen dark or bright cells, a flash on each whole second, and something that moves.
fn paint(n: usize, fps: usize) -> Vec<u8> {
    let mut picture = vec![128_u8; WIDTH * HEIGHT * 3 / 2];
    for y in 0..HEIGHT {
        for x in 0..WIDTH {
            picture[y * WIDTH + x] = if y < 32 {
                if n >> (x / CELL) & 1 == 1 { 220 } else { 30 }
            } else if y < 64 {
                if n.is_multiple_of(fps) { 235 } else { 16 }
            } else {
                60 + ((x * 3 + y + n * 5) % 97) as u8
            };
        }
    }
    picture
}

/// Sound with a beep of 100 ms on each whole second over a low noise.
pub const BEEPS: &str =
    "aevalsrc='0.4*sin(2*PI*1000*t)*lt(mod(t,1),0.1)+0.01*(random(0)-0.5)':s=48000:c=stereo";

/// Encodes `frames` numbered pictures with `encoder` arguments into `file`; `sound` is a lavfi source or empty.
pub fn make(file: &Path, frames: usize, fps: usize, sound: &str, encoder: &str) {
    let seconds = format!("{}", frames as f64 / fps as f64);
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "yuv420p"]);
    command.args(["-s", &format!("{WIDTH}x{HEIGHT}"), "-r", &fps.to_string(), "-i", "-"]);
    if !sound.is_empty() {
        command.args(["-f", "lavfi", "-t", &seconds, "-i", sound]);
    }
    command.args(encoder.split_whitespace()).arg(file).stdin(Stdio::piped());
    let mut child = command.spawn().expect("the ffmpeg command line is installed");
    let mut stdin = child.stdin.take().unwrap();
    for n in 0..frames {
        stdin.write_all(&paint(n, fps)).unwrap();
    }
    drop(stdin);
    assert!(child.wait().unwrap().success(), "ffmpeg could not make {}", file.display());
}

/// Runs the ffmpeg command line.
pub fn ffmpeg(args: &[&str]) -> Vec<u8> {
    let output =
        Command::new("ffmpeg").args(["-v", "error", "-y", "-nostdin"]).args(args).output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && words.is_empty(), "ffmpeg {args:?}: {words}");
    output.stdout
}

/// The numbers of all pictures of `file`, as the command line decodes them, without a word of complaint.
pub fn numbers(file: &Path) -> Vec<usize> {
    let grey = ffmpeg(&[
        "-i",
        file.to_str().unwrap(),
        "-vsync",
        "passthrough",
        "-map",
        "0:v:0",
        "-f",
        "rawvideo",
        "-pix_fmt",
        "gray",
        "-",
    ]);
    grey.chunks_exact(WIDTH * HEIGHT)
        .map(|picture| {
            (0..BITS)
                .filter(|bit| {
                    let row = &picture[16 * WIDTH..17 * WIDTH];
                    row[bit * CELL + CELL / 2] > 125
                })
                .map(|bit| 1 << bit)
                .sum()
        })
        .collect()
}

/// Left and right samples of `file` at 48 kHz, as the command line decodes them.
pub fn samples(file: &Path) -> Vec<[f32; 2]> {
    let raw = ffmpeg(&[
        "-i",
        file.to_str().unwrap(),
        "-map",
        "0:a:0",
        "-f",
        "f32le",
        "-ar",
        "48000",
        "-ac",
        "2",
        "-",
    ]);
    raw.chunks_exact(8)
        .map(|pair| {
            let number = |at: usize| f32::from_le_bytes(pair[at..at + 4].try_into().unwrap());
            [number(0), number(4)]
        })
        .collect()
}

/// Seconds at which a beep begins.
pub fn beeps(file: &Path) -> Vec<f64> {
    let samples = samples(file);
    let mut found: Vec<f64> = Vec::new();
    for (index, sample) in samples.iter().enumerate() {
        let at = index as f64 / 48_000.0;
        if sample[0].abs() > 0.15 && found.last().is_none_or(|last| at - last > 0.5) {
            found.push(at);
        }
    }
    found
}

/// One field of ffprobe's answer about a stream (`v:0`, `a:0`).
pub fn probe(file: &Path, stream: &str, field: &str) -> String {
    let output = Command::new("ffprobe")
        .args([
            "-v",
            "error",
            "-select_streams",
            stream,
            "-show_entries",
            &format!("stream={field}"),
        ])
        .args(["-of", "default=nw=1:nk=1"])
        .arg(file)
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Names of all boxes of an MP4 in order, found without the product's own walker.
pub fn boxes(file: &Path) -> Vec<String> {
    fn walk(bytes: &[u8], found: &mut Vec<String>) {
        let mut at = 0;
        while at + 8 <= bytes.len() {
            let size = u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
            let name = String::from_utf8_lossy(&bytes[at + 4..at + 8]).into_owned();
            let end = if size == 0 { bytes.len() } else { at + size };
            assert!(size == 0 || size >= 8 && end <= bytes.len(), "box {name} has size {size}");
            if matches!(&name[..], "moov" | "trak" | "edts" | "mdia" | "minf" | "stbl") {
                found.push(name);
                walk(&bytes[at + 8..end], found);
            } else {
                found.push(name);
            }
            at = end;
        }
    }
    let mut found = Vec::new();
    walk(&std::fs::read(file).unwrap(), &mut found);
    found
}

/// Holds that `file` carries no edit list and has its index first.
#[track_caller]
pub fn assert_delivers(file: &Path) {
    let boxes = boxes(file);
    let place = |name: &str| boxes.iter().position(|found| found == name);
    assert!(place("elst").is_none(), "edit list in {boxes:?}");
    assert!(place("moov") < place("mdat"), "index after the data: {boxes:?}");
}

/// Holds what every delivered reel is, by ffprobe, by a walk over its boxes and by an R128 meter; loudness is asked of
/// those with sound. Returns its length in seconds, by its frames.
#[track_caller]
pub fn assert_is_a_reel(name: &str, reel: &Path, has_sound: bool) -> f64 {
    assert_delivers(reel);
    let video = |field: &str| probe(reel, "v:0", field);
    let told = ["width", "height", "codec_name", "profile", "pix_fmt"].map(video);
    assert_eq!(told, ["1080", "1920", "h264", "High", "yuv420p"], "{name}");
    let told = ["r_frame_rate", "avg_frame_rate", "sample_aspect_ratio"].map(video);
    assert_eq!(told, ["30/1", "30/1", "1:1"], "{name}");
    let told = ["codec_name", "sample_rate", "channels"].map(|field| probe(reel, "a:0", field));
    assert_eq!(told, ["aac", "48000", "2"], "{name}");
    let seconds = video("nb_frames").parse::<f64>().unwrap() / 30.0;
    let decoded = samples(reel);
    let sounds = decoded.len() as f64 / 48_000.0;
    assert!((sounds - seconds).abs() < 0.034, "{name}: {sounds} s of sound to {seconds} s");
    let modes = ebur128::Mode::I | ebur128::Mode::TRUE_PEAK;
    let mut meter = ebur128::EbuR128::new(2, 48_000, modes).unwrap();
    let flat: Vec<f32> = decoded.iter().flatten().copied().collect();
    meter.add_frames_f32(&flat).unwrap();
    if has_sound {
        let lufs = meter.loudness_global().unwrap();
        assert!((lufs + 14.0).abs() <= 0.5, "{name}: {lufs} LUFS");
    }
    let peak = meter.true_peak(0).unwrap().max(meter.true_peak(1).unwrap());
    assert!(20.0 * peak.max(1e-9).log10() <= -1.0, "{name}: true peak {} dB", 20.0 * peak.log10());
    seconds
}

/// A folder that goes away, with names in it.
pub struct Folder(tempfile::TempDir);

impl Folder {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }
}
