//! What recording costs, beside FFmpeg's own program that copies the same feed into segments in the same run; that nothing is
//! missing; and how evenly parts reach the disk, renders beside them or not.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use futures::StreamExt;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::bench::processes::{cpu_s, memory};
use crate::domain::clips::reel_plan::ReelPlan;
use crate::domain::ids::CameraId;
use crate::ports::clock::Clock;
use crate::ports::dvr::Footage;
use crate::ports::media_engine::{CutOrder, JobWatch, MediaEngine, ReelOrder};
use crate::ports::recorder::RecorderDesk;
use crate::rehearsal::cameras::{Counted, Film, Manners, PretendCamera};
use crate::use_cases::clips::footage::CameraFootage;
use crate::use_cases::live::cameras::StreamKey;

/// Most of a core that one camera may cost, as a share.
pub const CPU_SHARE_MAX: f64 = 0.03;
/// Most anonymous memory of the recorder, in MB: its own, and of each camera.
pub const MEMORY_MB_MAX: (f64, f64) = (25.0, 5.0);
/// How far the time between two parts may be off a second, 99 in 100, in milliseconds.
pub const CADENCE_MS_MAX: f64 = 100.0;
/// Longest from asking for 30 s of a camera to the exact file, 95 in 100; and of all cameras at once, with one more for each.
pub const CUT_S_MAX: f64 = 2.0;
pub const CUT_ALL_S_MAX: (f64, f64) = (1.0, 1.0);
/// Cuts that are measured, their length, how far apart they begin, and how many are made at once.
const CUTS: usize = 20;
const CUT_LASTS: TimeDelta = TimeDelta::seconds(30);
const CUT_STEP: TimeDelta = TimeDelta::milliseconds(733);
const CUTS_AT_ONCE: usize = 2;
/// How long the recorder may take to answer, and what is sent to reach the disk.
const ANSWER_MAX: Duration = Duration::from_secs(20);
const SETTLE_MAX: Duration = Duration::from_secs(15);
/// How often parts are looked for, and memory is read.
const LOOK_EVERY: Duration = Duration::from_millis(10);
const MEMORY_EVERY: Duration = Duration::from_secs(1);
/// What happens in the first seconds is the start and not the pace.
const WARM_UP: Duration = Duration::from_secs(5);

/// What is measured.
#[derive(Debug, Clone)]
pub struct Plan {
    pub seconds: u64,
    pub cameras: usize,
    /// Rendered again and again meanwhile, each by itself.
    pub renders: Vec<ReelPlan>,
}

/// What is measured with.
pub struct Studio {
    /// This very program, and a folder of its own for what is made.
    pub program: PathBuf,
    pub folder: PathBuf,
    pub film: Film,
    pub clock: Arc<dyn Clock>,
    pub engine: Arc<dyn MediaEngine>,
    /// The desk and the footage of a recorder whose data folder is `folder`.
    pub desk: Arc<dyn RecorderDesk>,
    pub footage: Arc<dyn Footage>,
}

/// What was measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    pub seconds: f64,
    pub cameras: usize,
    /// Packets of pictures and of sound: sent, and on the disk.
    pub sent: (u64, u64),
    pub recorded: (u64, u64),
    /// Share of a core, of each camera.
    pub cpu_share: f64,
    pub yardstick_cpu_share: f64,
    /// Most anonymous memory, in MB: the recorder's, and one yardstick's.
    pub memory_mb: f64,
    pub yardstick_memory_mb: f64,
    /// How far the time between two parts was off a second, in milliseconds: half, 99 in 100, most.
    pub cadence_ms: (f64, f64, f64),
    /// Reels rendered meanwhile.
    pub reels: usize,
    /// Seconds that exact cuts of 30 s took afterwards: half, 95 in 100, and of all cameras at once; none of a short recording.
    pub cuts_s: Option<(f64, f64, f64)>,
}

/// Why nothing could be measured.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    #[error("cannot start or reach what is measured")]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Port(#[from] crate::ports::PortError),
    #[error("the recorder did not answer in time")]
    NoAnswer,
    #[error("a camera could not publish: {0}")]
    Camera(String),
}

/// A process that ends with us.
struct Owned(Child);

impl Drop for Owned {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Records for a while and compares.
pub async fn measure(studio: &Studio, plan: &Plan) -> Result<Report, RecordError> {
    let recorder = Owned(
        Command::new(&studio.program)
            .args(["record", "--data"])
            .arg(&studio.folder)
            .env_clear()
            .env("SPARK_RECORD_RTMP", "127.0.0.1:0")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?,
    );
    let (pid, url) = (recorder.0.id(), door(&*studio.desk).await?);
    let keys: Vec<(CameraId, StreamKey)> = (0..plan.cameras)
        .map(|_| (CameraId::from_uuid(studio.clock.new_id()), StreamKey::draw(&*studio.clock)))
        .collect();
    studio.desk.know(&crate::use_cases::live::cameras::rehearsed(&keys)).await?;
    let yardsticks = yardsticks(&studio.folder, plan.cameras)?;

    let lasts = Duration::from_secs(plan.seconds);
    let (mut cameras, mut counts) = (JoinSet::new(), Vec::new());
    let mut publish = |url: String, key: &str| {
        let manners = Manners {
            url,
            key: key.to_owned(),
            passphrase: None,
            drift_ppm: 0.0,
            cut: None,
            lasts: Some(lasts),
            fault: None,
        };
        let camera = PretendCamera::new(studio.film.clone(), manners);
        let counted = camera.counted();
        cameras.spawn(async move { camera.run().await });
        counted
    };
    for ((_, key), yardstick) in keys.iter().zip(&yardsticks) {
        counts.push(publish(url.clone(), key.as_str()));
        // Its own count says nothing of ours.
        publish(yardstick.url.clone(), "x");
    }
    let renders = render(studio, &plan.renders);
    let now_ns = studio.clock.now().timestamp_nanos_opt().unwrap_or_default();
    let watched: Vec<CameraId> = keys.iter().map(|(camera, _)| *camera).collect();
    let pace = tokio::spawn(pace(studio.footage.clone(), watched, now_ns, lasts));

    tokio::time::sleep(WARM_UP).await;
    let began = Instant::now();
    let before = (cpu_s(pid)?, spent(&yardsticks)?);
    let (mut memory_mb, mut yardstick_memory_mb) = (0.0_f64, 0.0_f64);
    while began.elapsed() + WARM_UP < lasts {
        memory_mb = memory_mb.max(memory(pid)?.anonymous_mb);
        for yardstick in &yardsticks {
            let held = memory(yardstick.child.0.id())?.anonymous_mb;
            yardstick_memory_mb = yardstick_memory_mb.max(held);
        }
        tokio::time::sleep(MEMORY_EVERY).await;
    }
    let seconds = began.elapsed().as_secs_f64();
    let share = |spent: f64| spent / seconds / plan.cameras.max(1) as f64;
    let (cpu_share, yardstick_cpu_share) =
        (share(cpu_s(pid)? - before.0), share(spent(&yardsticks)? - before.1));
    while let Some(ended) = cameras.join_next().await {
        let ended = ended.map_err(|error| RecordError::Camera(error.to_string()))?;
        ended.map_err(|error| RecordError::Camera(error.to_string()))?;
    }
    let reels = renders.end().await;
    settled(&*studio.desk).await?;
    let cadence_ms = pace.await.map_err(|error| RecordError::Camera(error.to_string()))??;
    let watched: Vec<CameraId> = keys.iter().map(|(camera, _)| *camera).collect();
    let is_long = lasts > WARM_UP + 2 * CUT_LASTS.to_std().unwrap_or_default();
    let cuts_s = if is_long { Some(cuts(studio, &watched, now_ns).await?) } else { None };
    Ok(Report {
        seconds,
        cameras: plan.cameras,
        sent: sent(&counts),
        recorded: on_disk(&studio.folder.join("dvr"))?,
        cpu_share,
        yardstick_cpu_share,
        memory_mb,
        yardstick_memory_mb,
        cadence_ms,
        reels,
        cuts_s,
    })
}

impl Report {
    /// Whether every bar holds.
    pub fn is_held(&self) -> bool {
        self.sent == self.recorded
            && self.cpu_share <= CPU_SHARE_MAX
            && self.memory_mb <= self.memory_bar()
            && self.cadence_ms.1 <= CADENCE_MS_MAX
            && self.cuts_s.is_none_or(|(_, most, all)| most <= CUT_S_MAX && all <= self.cuts_bar())
    }

    fn cuts_bar(&self) -> f64 {
        CUT_ALL_S_MAX.0 + CUT_ALL_S_MAX.1 * self.cameras as f64
    }

    fn memory_bar(&self) -> f64 {
        MEMORY_MB_MAX.0 + MEMORY_MB_MAX.1 * self.cameras as f64
    }

    /// The figures beside their bars.
    pub fn told(&self) -> Vec<String> {
        let (half, most, worst) = self.cadence_ms;
        let mut told = vec![
            format!(
                "{} cameras for {:.0} s, {} reels rendered meanwhile: {} pictures and {} sounds sent, {} and {} on the disk (bar: all)",
                self.cameras,
                self.seconds,
                self.reels,
                self.sent.0,
                self.sent.1,
                self.recorded.0,
                self.recorded.1
            ),
            format!(
                "processor, of one core a camera: {:.1} % (bar: {:.0} %); `ffmpeg -c copy` into segments: {:.1} %; ratio {:.2}",
                self.cpu_share * 100.0,
                CPU_SHARE_MAX * 100.0,
                self.yardstick_cpu_share * 100.0,
                self.cpu_share / self.yardstick_cpu_share
            ),
            format!(
                "RssAnon of the recorder: {:.1} MB (bar: {:.0} MB); of one ffmpeg: {:.1} MB",
                self.memory_mb,
                self.memory_bar(),
                self.yardstick_memory_mb
            ),
            format!(
                "time between parts, off a second: {half:.0} ms (half), {most:.0} ms (99 in 100; bar: {CADENCE_MS_MAX:.0} ms), {worst:.0} ms (most)"
            ),
        ];
        if let Some((half, most, all)) = self.cuts_s {
            told.push(format!(
                "exact cuts of 30 s: {half:.2} s (half), {most:.2} s (95 in 100; bar: {CUT_S_MAX} s); of all cameras at once: {all:.2} s (bar: {} s)",
                self.cuts_bar()
            ));
        }
        told
    }
}

/// Cuts of what was recorded, each by itself, then of all cameras at once.
async fn cuts(
    studio: &Studio,
    cameras: &[CameraId],
    began_ns: i64,
) -> Result<(f64, f64, f64), RecordError> {
    let from = DateTime::<Utc>::from_timestamp_nanos(began_ns)
        + TimeDelta::from_std(WARM_UP).unwrap_or_default();
    let mut took = Vec::new();
    for n in 0..CUTS {
        let camera = cameras[n % cameras.len().max(1)];
        took.push(cut(studio, camera, from + CUT_STEP * n as i32, n).await?);
    }
    took.sort_by(f64::total_cmp);
    let begun = Instant::now();
    let all = cameras.iter().enumerate().map(|(n, camera)| cut(studio, *camera, from, n));
    let all: Vec<Result<f64, RecordError>> =
        futures::stream::iter(all).buffer_unordered(CUTS_AT_ONCE).collect().await;
    all.into_iter().collect::<Result<Vec<_>, _>>()?;
    let all_s = begun.elapsed().as_secs_f64();
    Ok((took[CUTS / 2], took[CUTS * 95 / 100], all_s))
}

/// One exact cut; the seconds it took.
async fn cut(
    studio: &Studio,
    camera: CameraId,
    from: DateTime<Utc>,
    n: usize,
) -> Result<f64, RecordError> {
    let failed = |error: String| RecordError::Camera(error);
    let begun = Instant::now();
    let source = studio.folder.join(format!("cut-{n}-source.mp4"));
    let footage = CameraFootage { footage: studio.footage.clone(), clock: studio.clock.clone() };
    let joined = footage.join(camera, from, from + CUT_LASTS, &source).await;
    let joined = joined.map_err(|error| failed(error.to_string()))?;
    let order = CutOrder {
        source,
        key_frames: joined.key_frames.around(joined.start_s, joined.end_s),
        start_s: joined.start_s,
        end_s: joined.end_s,
        origin_s: Some(joined.origin_s),
        output: studio.folder.join(format!("cut-{n}.mp4")),
    };
    let cut = studio.engine.cut(order, &JobWatch::unwatched()).await;
    cut.map_err(|error| failed(error.to_string()))?;
    Ok(begun.elapsed().as_secs_f64())
}

/// Where the recorder takes encoders, once it does.
pub(super) async fn door(desk: &dyn RecorderDesk) -> Result<String, RecordError> {
    let begun = Instant::now();
    while begun.elapsed() < ANSWER_MAX {
        if let Ok(state) = desk.state().await
            && let Some(door) = state.doors.iter().find(|door| door.protocol == "rtmp")
        {
            return Ok(format!("rtmp://{}/live", door.address));
        }
        tokio::time::sleep(LOOK_EVERY * 10).await;
    }
    Err(RecordError::NoAnswer)
}

/// Waits until every camera left, and with it everything is on the disk.
pub(super) async fn settled(desk: &dyn RecorderDesk) -> Result<(), RecordError> {
    let begun = Instant::now();
    while begun.elapsed() < SETTLE_MAX {
        if desk.state().await?.cameras.iter().all(|camera| camera.feed.is_none()) {
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY * 10).await;
    }
    Err(RecordError::NoAnswer)
}

pub(super) fn sent(counts: &[watch::Receiver<Counted>]) -> (u64, u64) {
    let counts = counts.iter().map(|counted| *counted.borrow());
    counts.fold((0, 0), |sum, it| (sum.0 + it.pictures, sum.1 + it.sounds))
}

/// FFmpeg's own program as a server that copies what comes.
struct Yardstick {
    child: Owned,
    url: String,
}

fn yardsticks(folder: &Path, count: usize) -> std::io::Result<Vec<Yardstick>> {
    (0..count)
        .map(|n| {
            let free = std::net::TcpListener::bind("127.0.0.1:0")?;
            let address = free.local_addr()?;
            drop(free);
            let own = folder.join(format!("yardstick-{n}"));
            std::fs::create_dir_all(&own)?;
            let url = format!("rtmp://{address}/live");
            let child = Command::new("ffmpeg")
                .args(["-v", "error", "-nostdin", "-listen", "1", "-i", &format!("{url}/x")])
                .args(["-c", "copy", "-f", "hls", "-hls_time", "2", "-hls_list_size", "0"])
                .args(["-hls_segment_type", "fmp4", "list.m3u8"])
                .current_dir(own)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                // It complains of every end.
                .stderr(Stdio::null())
                .spawn()?;
            Ok(Yardstick { child: Owned(child), url })
        })
        .collect()
}

fn spent(yardsticks: &[Yardstick]) -> std::io::Result<f64> {
    yardsticks.iter().map(|it| cpu_s(it.child.0.id())).sum()
}

/// Renders that go on until they are ended.
struct Renders {
    stop: watch::Sender<bool>,
    going: JoinSet<usize>,
}

fn render(studio: &Studio, plans: &[ReelPlan]) -> Renders {
    let (stop, mut going) = (watch::Sender::new(false), JoinSet::new());
    for (n, plan) in plans.iter().enumerate() {
        let (engine, plan, stop) = (studio.engine.clone(), plan.clone(), stop.subscribe());
        let output = studio.folder.join(format!("reel-{n}.mp4"));
        going.spawn(async move {
            let mut done = 0;
            while !*stop.borrow() {
                let order = ReelOrder { plan: plan.clone(), output: output.clone() };
                if engine.render_reel(order, &JobWatch::unwatched()).await.is_err() {
                    break;
                }
                done += 1;
            }
            done
        });
    }
    Renders { stop, going }
}

impl Renders {
    async fn end(mut self) -> usize {
        self.stop.send_replace(true);
        let mut done = 0;
        while let Some(reels) = self.going.join_next().await {
            done += reels.unwrap_or(0);
        }
        done
    }
}

/// Looks when parts can be read, and tells how far the time between two was off a second.
pub(super) async fn pace(
    footage: Arc<dyn Footage>,
    cameras: Vec<CameraId>,
    now_ns: i64,
    lasts: Duration,
) -> Result<(f64, f64, f64), RecordError> {
    let begun = Instant::now();
    let mut seen: Vec<Option<(i64, Instant)>> = vec![None; cameras.len()];
    let mut off = Vec::new();
    while begun.elapsed() < lasts {
        for (camera, seen) in cameras.iter().zip(&mut seen) {
            let from = seen.map_or(now_ns, |(at, _)| at + 1);
            let now = Instant::now();
            let Some(part) = footage.parts(*camera, from, i64::MAX).await?.last().copied() else {
                continue;
            };
            if let Some((_, before)) = seen.replace((part.utc_ns, now))
                && begun.elapsed() > WARM_UP
            {
                let apart_ms = (now - before).as_secs_f64() * 1_000.0;
                let lasts_ms = part.ticks as f64 / 90.0;
                off.push((apart_ms - lasts_ms).abs());
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    off.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let place = (off.len() as f64 * share) as usize;
        off.get(place.min(off.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
    };
    Ok((at(0.5), at(0.99), at(1.0)))
}

/// Packets of pictures and of sound in every file, by FFmpeg's own count.
pub(super) fn on_disk(folder: &Path) -> std::io::Result<(u64, u64)> {
    let (mut pictures, mut sounds) = (0, 0);
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            if path.extension().is_none_or(|it| it != "mp4") {
                continue;
            }
            let counted = Command::new("ffprobe")
                .args(["-v", "error", "-count_packets", "-show_entries"])
                .args(["stream=codec_type,nb_read_packets", "-of", "csv=p=0"])
                .arg(&path)
                .output()?;
            for line in String::from_utf8_lossy(&counted.stdout).lines() {
                let (kind, count) = line.split_once(',').unwrap_or((line, "0"));
                let count: u64 = count.trim_end_matches(',').parse().unwrap_or(0);
                if kind == "video" { pictures += count } else { sounds += count }
            }
        }
    }
    Ok((pictures, sounds))
}
