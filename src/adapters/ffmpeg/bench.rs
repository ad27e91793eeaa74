//! Benchmarks against the `ffmpeg` command line, which is the yardstick here and no part of the product.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::adapters::ffmpeg::FfmpegEngine;
use crate::adapters::ffmpeg::open::open;
use crate::adapters::ffmpeg::reel;
use crate::domain::clips::reel_plan::{REEL_FPS, ReelPlan};
use crate::ports::media_engine::{
    CutOrder, InspectOrder, JobWatch, MediaEngine, MediaError, ReelOrder,
};

/// Rounds of each comparison, ours and the yardstick in turn.
pub const ROUNDS: usize = 5;
/// Priority both sides run at.
const NICENESS: &str = "19";

/// Wall times of ours and of the yardstick, seconds, sorted.
#[derive(Debug, Clone, Serialize)]
pub struct Pairs {
    pub ours_s: Vec<f64>,
    pub yardstick_s: Vec<f64>,
    /// Median of the ratios of neighbouring runs, ours over the yardstick.
    pub ratio: f64,
}

impl Pairs {
    fn of(runs: &[(f64, f64)]) -> Self {
        let sorted = |values: Vec<f64>| {
            let mut values = values;
            values.sort_by(f64::total_cmp);
            values
        };
        let ratios = sorted(runs.iter().map(|(ours, theirs)| ours / theirs).collect());
        Self {
            ours_s: sorted(runs.iter().map(|run| run.0).collect()),
            yardstick_s: sorted(runs.iter().map(|run| run.1).collect()),
            ratio: ratios.get(ratios.len() / 2).copied().unwrap_or(f64::NAN),
        }
    }

    /// Median wall time of ours, seconds.
    pub fn ours_median_s(&self) -> f64 {
        self.ours_s.get(self.ours_s.len() / 2).copied().unwrap_or(f64::NAN)
    }

    /// Median wall time of the yardstick, seconds.
    pub fn yardstick_median_s(&self) -> f64 {
        self.yardstick_s.get(self.yardstick_s.len() / 2).copied().unwrap_or(f64::NAN)
    }
}

/// Ten minutes of 1080p30 at about 6 Mbit/s, two-second groups, made in `folder` by the command line. It is there
/// at once when it was made before.
pub fn ten_minutes(folder: &Path) -> Result<PathBuf, MediaError> {
    let (part, whole) = (folder.join("bench-part.mp4"), folder.join("bench-ten-minutes.mp4"));
    if whole.is_file() {
        return Ok(whole);
    }
    let mut encode = Command::new("ffmpeg");
    encode.args(["-v", "error", "-y", "-nostdin", "-f", "lavfi", "-i"]);
    encode.arg("testsrc2=s=1920x1080:r=30,noise=alls=12:allf=t");
    encode.args([
        "-f",
        "lavfi",
        "-i",
        "anoisesrc=c=pink:a=0.3",
        "-t",
        "40",
        "-c:v",
        "libx264",
        "-preset",
        "veryfast",
    ]);
    encode.args([
        "-b:v",
        "6M",
        "-maxrate",
        "6.5M",
        "-bufsize",
        "12M",
        "-bf",
        "2",
        "-g",
        "60",
        "-sc_threshold",
        "0",
    ]);
    encode.args(["-pix_fmt", "yuv420p", "-c:a", "aac", "-b:a", "160k"]).arg(&part);
    run(encode)?;
    let mut repeat = Command::new("ffmpeg");
    repeat.args(["-v", "error", "-y", "-nostdin", "-stream_loop", "14", "-i"]).arg(&part);
    repeat.args(["-c", "copy"]).arg(&whole);
    run(repeat)?;
    Ok(whole)
}

/// Cuts 30 s out of `source`, from inside one group to inside another, against `ffmpeg -c copy` of the same span.
pub async fn cut_against_copy(
    engine: &FfmpegEngine,
    source: &Path,
    folder: &Path,
) -> Result<Pairs, MediaError> {
    let watch = JobWatch::unwatched();
    let inspection = engine.inspect(InspectOrder { source: source.to_owned() }, &watch).await?;
    let mut runs = Vec::with_capacity(ROUNDS);
    for round in 0..ROUNDS {
        let start_s = inspection.duration_s / 2.0 + 1.1 + 0.3 * round as f64;
        let order = CutOrder {
            source: source.to_owned(),
            key_frames: inspection.key_frames.clone(),
            origin_s: None,
            start_s,
            end_s: start_s + 30.0,
            output: folder.join("bench-cut.mp4"),
        };
        let began = Instant::now();
        engine.cut(order, &watch).await?;
        let ours = began.elapsed();
        let mut copy = Command::new("nice");
        copy.args([
            "-n",
            NICENESS,
            "ffmpeg",
            "-v",
            "error",
            "-y",
            "-nostdin",
            "-ss",
            &start_s.to_string(),
            "-i",
        ]);
        copy.arg(source).args(["-t", "30", "-c", "copy"]).arg(folder.join("bench-copy.mp4"));
        runs.push((ours.as_secs_f64(), run(copy)?.as_secs_f64()));
    }
    Ok(Pairs::of(&runs))
}

/// Renders `plan` against the command line with the same filters and encoder settings.
pub async fn reel_against_cli(
    engine: &FfmpegEngine,
    plan: &ReelPlan,
    folder: &Path,
) -> Result<Pairs, MediaError> {
    let watch = JobWatch::unwatched();
    let mut source = open(&plan.source)?;
    let (filters, _script) = reel::graph_of(plan, &mut source)?;
    drop(source);
    let mut runs = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let order = ReelOrder { plan: plan.clone(), output: folder.join("bench-reel.mp4") };
        let began = Instant::now();
        engine.render_reel(order, &watch).await?;
        let ours = began.elapsed();
        let theirs = cli_reel(plan, &filters, &folder.join("bench-reel-cli.mp4"))?;
        runs.push((ours.as_secs_f64(), theirs.as_secs_f64()));
    }
    Ok(Pairs::of(&runs))
}

/// One reel by the command line: a loudness measurement, then one pass with its gain and a limiter.
fn cli_reel(plan: &ReelPlan, filters: &str, output: &Path) -> Result<Duration, MediaError> {
    let (start, length) = (plan.start_s.to_string(), (plan.end_s - plan.start_s).to_string());
    let began = Instant::now();
    let mut measure = Command::new("nice");
    measure.args([
        "-n", NICENESS, "ffmpeg", "-v", "error", "-nostdin", "-ss", &start, "-t", &length, "-i",
    ]);
    measure.arg(&plan.source).args(["-vn", "-af", "ebur128=peak=true", "-f", "null", "-"]);
    run(measure)?;
    let mut render = Command::new("nice");
    render.args([
        "-n",
        NICENESS,
        "ffmpeg",
        "-v",
        "error",
        "-y",
        "-nostdin",
        "-threads",
        "2",
        "-filter_threads",
        "2",
    ]);
    render
        .args(["-filter_complex_threads", "2", "-ss", &start, "-t", &length, "-i"])
        .arg(&plan.source);
    render.args([
        "-filter_complex",
        &format!("[0:v]{filters}[v]"),
        "-map",
        "[v]",
        "-map",
        "0:a",
        "-c:v",
        "libx264",
    ]);
    for (key, value) in reel::ENCODER_OPTIONS {
        render.args([&format!("-{key}:v"), value]);
    }
    render.args([
        "-threads",
        "2",
        "-bf",
        "2",
        "-g",
        &REEL_FPS.to_string(),
        "-af",
        "volume=6dB,alimiter=limit=0.8",
    ]);
    render
        .args([
            "-c:a",
            "aac",
            "-b:a",
            "192k",
            "-ar",
            "48000",
            "-ac",
            "2",
            "-movflags",
            "+faststart",
        ])
        .arg(output);
    run(render)?;
    Ok(began.elapsed())
}

/// Runs a yardstick to its end and says how long it took.
fn run(mut command: Command) -> Result<Duration, MediaError> {
    let failed = |detail: String| MediaError::Failed {
        step: "mesure de comparaison avec ffmpeg".to_owned(),
        detail,
    };
    let began = Instant::now();
    let output =
        command.stdin(Stdio::null()).output().map_err(|error| failed(error.to_string()))?;
    let elapsed = began.elapsed();
    if output.status.success() {
        return Ok(elapsed);
    }
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(failed(words.lines().last().unwrap_or_default().to_owned()))
}
