//! Renders give way: stopped for a moment they render the same pictures, they end with their server even while they stand
//! still, and no more of them start than there is memory for.

mod footage;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use footage::{BEEPS, Folder, ffmpeg, make};
use spark::adapters::ffmpeg::{EngineSettings, FfmpegEngine, RunningRenders};
use spark::domain::clips::reel_plan::{Layout, ReelPlan};
use spark::domain::resources::governor::Verdict;
use spark::domain::resources::trigger::{Triggers, usual};
use spark::domain::resources::{Reading, Resource, Sample, Scope};
use spark::ports::host::Meters;
use spark::ports::media_engine::{JobWatch, MediaEngine, MediaError, ReelOrder};
use spark::ports::renders::{Admission, OpenDoor, Renders};
use spark::use_cases::resources::Resources;

/// These tests look for their renders among the children of this process: one at a time.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

fn settings() -> EngineSettings {
    EngineSettings::new(env!("CARGO_BIN_EXE_spark").into())
}

fn source(folder: &Folder, seconds: usize) -> std::path::PathBuf {
    let source = folder.file("source.mp4");
    make(&source, seconds * 30, 30, BEEPS, "-c:v libx264 -preset ultrafast -g 60 -c:a aac");
    source
}

fn reel(source: &Path, seconds: f64, output: std::path::PathBuf) -> ReelOrder {
    let plan = ReelPlan {
        source: source.to_owned(),
        start_s: 0.0,
        end_s: seconds,
        layout: Layout::BlurredBackground,
        title: None,
        watermark: None,
        fonts_dir: None,
    };
    ReelOrder { plan, output }
}

/// A checksum of every picture and sound of a file.
fn pictures(file: &Path) -> String {
    let file = file.to_str().expect("a path");
    String::from_utf8(ffmpeg(&["-v", "error", "-i", file, "-f", "framemd5", "-"])).expect("a list")
}

/// Children of this process that are renderers, with the letter of their state.
fn renderers() -> Vec<(u32, char)> {
    let me = std::process::id();
    let processes = std::fs::read_dir("/proc").expect("/proc").flatten();
    processes
        .filter_map(|entry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let rest = stat.rsplit_once(')')?.1.trim_start().to_owned();
            let parent: u32 = rest.split_whitespace().nth(1)?.parse().ok()?;
            let command = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            let is_render =
                parent == me && command.split(|b| *b == 0).any(|part| part == b"render");
            is_render.then(|| (pid, rest.chars().next().expect("a letter")))
        })
        .collect()
}

/// Stops and lets go, again and again, as the governor does, until dropped. Counts the stops that were seen to hold.
struct Stutter {
    end: Arc<AtomicBool>,
    stops: Arc<AtomicUsize>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Stutter {
    fn on(renders: RunningRenders) -> Self {
        let (end, stops) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (ended, stopped) = (end.clone(), stops.clone());
        let thread = std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                renders.go();
                std::thread::sleep(Duration::from_millis(40));
                renders.halt();
                std::thread::sleep(Duration::from_millis(60));
                if !renders.is_empty() && renderers().iter().any(|(_, state)| *state == 'T') {
                    stopped.fetch_add(1, Ordering::Relaxed);
                }
            }
            renders.go();
        });
        Self { end, stops, thread: Some(thread) }
    }

    fn end(mut self) -> usize {
        self.end.store(true, Ordering::Relaxed);
        self.thread.take().expect("a thread").join().expect("it ends");
        self.stops.load(Ordering::Relaxed)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_render_that_is_stopped_again_and_again_renders_the_same_pictures() {
    let _alone = ALONE.lock().await;
    let folder = Folder::new();
    let source = source(&folder, 4);
    let engine = FfmpegEngine::new(settings()).expect("a thread starts");
    let whole = engine
        .render_reel(reel(&source, 4.0, folder.file("whole.mp4")), &JobWatch::unwatched())
        .await
        .expect("a reel");
    let stutter = Stutter::on(engine.running());
    let stuttered = engine
        .render_reel(reel(&source, 4.0, folder.file("stuttered.mp4")), &JobWatch::unwatched())
        .await;
    let stops = stutter.end();
    let stuttered = stuttered.expect("a reel");
    assert!(stops >= 5, "it was stopped {stops} times only: nothing was proven");
    assert_eq!((whole.frames, whole.lufs), (stuttered.frames, stuttered.lufs));
    let (whole, stuttered) = (folder.file("whole.mp4"), folder.file("stuttered.mp4"));
    assert!(pictures(&whole) == pictures(&stuttered), "the pictures differ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_render_is_called_off_even_while_it_stands_still() {
    let _alone = ALONE.lock().await;
    let folder = Folder::new();
    let source = source(&folder, 20);
    let engine = Arc::new(FfmpegEngine::new(settings()).expect("a thread starts"));
    let (renders, watch) = (engine.running(), JobWatch::unwatched());
    let cancel = watch.cancel.clone();
    let order = reel(&source, 20.0, folder.file("reel.mp4"));
    let rendering = tokio::spawn(async move { engine.render_reel(order, &watch).await });
    until("a render", || !renders.is_empty()).await;
    renders.halt();
    until("it stands still", || renderers().iter().any(|(_, state)| *state == 'T')).await;
    cancel.cancel();
    let asked = Instant::now();
    let ended = tokio::time::timeout(Duration::from_secs(20), rendering).await.expect("it ends");
    assert_eq!(ended.expect("no panic").unwrap_err(), MediaError::Cancelled);
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    assert!(renderers().is_empty(), "{:?}", renderers());
    assert!(!folder.file("reel.mp4").exists());
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let asked = Instant::now();
    while !is_so() {
        assert!(asked.elapsed() < Duration::from_mins(1), "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Where the server of the next test finds what to render.
const FOLDER_OF_SERVER: &str = "SPARK_TEST_FOLDER";

#[test]
fn a_render_that_stands_still_does_not_outlive_its_server() {
    let folder = Folder::new();
    source(&folder, 20);
    // This very test program, as a server that starts a render, stops it, and says its number.
    let mut server = Command::new(std::env::current_exe().expect("this program"))
        .args(["--ignored", "--exact", "--nocapture", "server_of_a_render_that_stands_still"])
        .env(FOLDER_OF_SERVER, folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a server");
    let mut lines = BufReader::new(server.stdout.take().expect("a pipe")).lines();
    let render: u32 = lines
        .find_map(|line| line.expect("a line").split_once("RENDER ")?.1.trim().parse().ok())
        .expect("the server says which render stands still");
    assert_eq!(state_of(render), Some('T'), "it stands still");
    server.kill().expect("a server");
    server.wait().expect("an end");
    let killed = Instant::now();
    while state_of(render).is_some_and(|state| state != 'Z') {
        assert!(killed.elapsed() < Duration::from_secs(10), "it is still there");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn state_of(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the other half of a_render_that_stands_still_does_not_outlive_its_server"]
async fn server_of_a_render_that_stands_still() {
    let Some(folder) = std::env::var_os(FOLDER_OF_SERVER).map(std::path::PathBuf::from) else {
        return;
    };
    let engine = Arc::new(FfmpegEngine::new(settings()).expect("a thread starts"));
    let renders = engine.running();
    let order = reel(&folder.join("source.mp4"), 20.0, folder.join("reel.mp4"));
    tokio::spawn(async move { engine.render_reel(order, &JobWatch::unwatched()).await });
    until("a render", || !renders.is_empty()).await;
    renders.halt();
    until("it stands still", || renderers().iter().any(|(_, state)| *state == 'T')).await;
    println!("RENDER {}", renderers()[0].0);
    std::future::pending::<()>().await;
}

/// A machine of so many bytes whose used memory is what the renders of this process hold.
struct SmallMachine {
    capacity: u64,
    most: AtomicU64,
}

impl SmallMachine {
    fn used() -> u64 {
        let held = |pid: u32| -> Option<u64> {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
            Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
        };
        renderers().iter().filter_map(|(pid, _)| held(*pid)).sum()
    }
}

impl Meters for SmallMachine {
    fn read(&self) -> Sample {
        let used = Self::used();
        self.most.fetch_max(used, Ordering::Relaxed);
        let (resource, scope) = (Resource::Memory, Scope::Cgroup);
        let capacity = self.capacity as f64;
        let reading = Reading { resource, scope, used: used as f64, capacity };
        Sample { readings: vec![reading], ..Sample::default() }
    }
}

/// Renders `count` reels of `source` at once under an admission, and says the most memory they held together.
async fn render_many(
    folder: &Folder,
    (source, seconds, count): (&Path, f64, usize),
    capacity: u64,
    is_admitted: bool,
) -> u64 {
    let machine = Arc::new(SmallMachine { capacity, most: AtomicU64::new(0) });
    let resources = Resources::new(machine.clone(), Triggers::try_new(usual()).expect("triggers"));
    let idle = Verdict { duty: 1.0, scope: Scope::Host, live: 0.0, total: 0.0 };
    let admission: Arc<dyn Admission> =
        if is_admitted { Arc::new(resources.clone()) } else { Arc::new(OpenDoor) };
    let engine = Arc::new(FfmpegEngine::admitted(settings(), admission).expect("a thread starts"));
    let end = Arc::new(AtomicBool::new(false));
    let looking = {
        let end = end.clone();
        std::thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                resources.govern(Some(idle));
                resources.look();
                std::thread::sleep(Duration::from_millis(100));
            }
        })
    };
    let rendering: Vec<_> = (0..count)
        .map(|n| {
            let order = reel(source, seconds, folder.file(&format!("reel-{is_admitted}-{n}.mp4")));
            let engine = engine.clone();
            tokio::spawn(async move { engine.render_reel(order, &JobWatch::unwatched()).await })
        })
        .collect();
    for one in rendering {
        one.await.expect("no panic").expect("a reel");
    }
    end.store(true, Ordering::Relaxed);
    looking.join().expect("it ends");
    machine.most.load(Ordering::Relaxed)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_renders_start_than_there_is_memory_for() {
    let _alone = ALONE.lock().await;
    let folder = Folder::new();
    let (source, capacity) = (source(&folder, 3), 700 << 20);
    let ceiling = (0.8 * capacity as f64) as u64;
    let queue = (source.as_path(), 3.0, 4);
    let admitted = render_many(&folder, queue, capacity, true).await;
    assert!(admitted <= ceiling, "{} MB of {} MB", admitted >> 20, capacity >> 20);
    let free = render_many(&folder, queue, capacity, false).await;
    assert!(free > ceiling, "without admission {} MB only: nothing was proven", free >> 20);
    let all: BTreeSet<String> =
        (0..4).map(|n| pictures(&folder.file(&format!("reel-true-{n}.mp4")))).collect();
    assert_eq!(all.len(), 1, "all are the same reel");
}

/// Ten renders of 4K pictures in four gigabytes. Minutes on two cores: `SPARK_DRILLS=long` runs it, as `make soak` does.
#[tokio::test(flavor = "multi_thread")]
async fn ten_large_renders_stay_below_the_line_of_four_gigabytes() {
    if std::env::var_os("SPARK_DRILLS").is_none_or(|word| word != "long") {
        return;
    }
    let _alone = ALONE.lock().await;
    let folder = Folder::new();
    let (source, capacity) = (folder.file("source.mp4"), 4 << 30);
    let encoder = "-vf scale=3840:2160 -c:v libx264 -preset ultrafast -g 60 -c:a aac";
    make(&source, 90, 30, BEEPS, encoder);
    let ceiling = (0.8 * capacity as f64) as u64;
    let queue = (source.as_path(), 3.0, 10);
    let begun = Instant::now();
    let admitted = render_many(&folder, queue, capacity, true).await;
    println!(
        "| ten 4K renders in 4 GB | {} MB at most (line {} MB), done after {:.0} s |",
        admitted >> 20,
        ceiling >> 20,
        begun.elapsed().as_secs_f64()
    );
    assert!(admitted <= ceiling, "{} MB of {} MB", admitted >> 20, capacity >> 20);
    let free = render_many(&folder, queue, capacity, false).await;
    println!("| the same without admission | {} MB at most |", free >> 20);
    assert!(free > ceiling, "without admission {} MB only: nothing was proven", free >> 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_render_that_never_fits_is_refused_in_words() {
    let _alone = ALONE.lock().await;
    let folder = Folder::new();
    let machine = Arc::new(SmallMachine { capacity: 200 << 20, most: AtomicU64::new(0) });
    let resources = Resources::new(machine, Triggers::try_new(usual()).expect("triggers"));
    let engine = FfmpegEngine::admitted(settings(), Arc::new(resources)).expect("a thread starts");
    let order = reel(&source(&folder, 2), 2.0, folder.file("reel.mp4"));
    let refused = engine.render_reel(order, &JobWatch::unwatched()).await.unwrap_err();
    assert!(matches!(refused, MediaError::NoRoom { .. }), "{refused:?}");
    assert!(refused.to_string().contains("mémoire"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_room_can_be_called_off() {
    let _alone = ALONE.lock().await;
    let folder = Folder::new();
    let machine = Arc::new(SmallMachine { capacity: 8 << 30, most: AtomicU64::new(0) });
    let resources = Resources::new(machine, Triggers::try_new(usual()).expect("triggers"));
    // A live that fills the machine holds renders.
    resources.govern(Some(Verdict { duty: 0.0, scope: Scope::Host, live: 0.7, total: 0.7 }));
    let engine = FfmpegEngine::admitted(settings(), Arc::new(resources)).expect("a thread starts");
    let watch = JobWatch::unwatched();
    let cancel = watch.cancel.clone();
    let order = reel(&source(&folder, 2), 2.0, folder.file("reel.mp4"));
    let rendering = tokio::spawn(async move { engine.render_reel(order, &watch).await });
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!rendering.is_finished() && renderers().is_empty(), "it waits");
    cancel.cancel();
    assert_eq!(rendering.await.expect("no panic").unwrap_err(), MediaError::Cancelled);
}
