//! A renderer that dies, hangs, eats or is called off costs one failed job with a reason.

mod footage;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use footage::{BEEPS, Folder, make};
use spark::adapters::ffmpeg::{EngineSettings, FfmpegEngine, Misbehaviour};
use spark::domain::clips::reel_plan::{Layout, ReelPlan};
use spark::ports::media_engine::{JobWatch, MediaEngine, MediaError, MediaProgress, ReelOrder};

/// These tests look for their child among the children of this process: one at a time.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

fn engine() -> FfmpegEngine {
    FfmpegEngine::new(EngineSettings::new(env!("CARGO_BIN_EXE_spark").into()))
        .expect("a thread starts")
}

/// An engine that waits only so long for a sign of life.
fn impatient(running: Duration) -> FfmpegEngine {
    let mut settings = EngineSettings::new(env!("CARGO_BIN_EXE_spark").into());
    settings.silent_cpu_max = Duration::from_secs(2);
    settings.silent_running_max = running;
    FfmpegEngine::new(settings).expect("a thread starts")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_names_its_signal_and_its_last_words() {
    let _alone = ALONE.lock().await;
    let error = engine().drill(Misbehaviour::Abort, &JobWatch::unwatched()).await.unwrap_err();
    let MediaError::Crashed { how, last_words } = &error else { panic!("{error:?}") };
    assert_eq!(how, "signal SIGABRT");
    assert!(last_words.contains("misbehaving on request"), "{last_words}");
    assert!(error.may_pass_later());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renderer_that_sleeps_or_spins_is_ended() {
    let _alone = ALONE.lock().await;
    for (how, seconds_max) in [(Misbehaviour::Hang, 10), (Misbehaviour::Spin, 60)] {
        let started = Instant::now();
        let error =
            impatient(Duration::from_secs(4)).drill(how, &JobWatch::unwatched()).await.unwrap_err();
        assert!(matches!(error, MediaError::Stalled { .. }), "{how:?}: {error:?}");
        assert!(
            started.elapsed() < Duration::from_secs(seconds_max),
            "{how:?} took {:?}",
            started.elapsed()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renderer_that_devours_memory_hits_its_limit() {
    let _alone = ALONE.lock().await;
    let error = engine().drill(Misbehaviour::Devour, &JobWatch::unwatched()).await.unwrap_err();
    assert!(matches!(error, MediaError::OutOfMemory { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_talkative_renderer_does_not_block_on_its_pipe() {
    let _alone = ALONE.lock().await;
    engine().drill(Misbehaviour::Babble, &JobWatch::unwatched()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renderer_without_an_answer_is_a_failure() {
    let _alone = ALONE.lock().await;
    let error = engine().drill(Misbehaviour::Silence, &JobWatch::unwatched()).await.unwrap_err();
    assert!(matches!(error, MediaError::Crashed { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_program_is_said_so() {
    let _alone = ALONE.lock().await;
    let engine = FfmpegEngine::new(EngineSettings::new("/nowhere/spark".into())).unwrap();
    let error = engine.drill(Misbehaviour::Silence, &JobWatch::unwatched()).await.unwrap_err();
    assert!(
        matches!(&error, MediaError::Crashed { how, .. } if how.contains("démarrer")),
        "{error:?}"
    );
}

/// A reel that takes some seconds, in a folder of its own.
fn long_reel(folder: &Folder) -> ReelOrder {
    let source = folder.file("source.mp4");
    make(&source, 900, 30, BEEPS, "-c:v libx264 -preset ultrafast -g 60 -c:a aac");
    let plan = ReelPlan {
        source,
        start_s: 0.0,
        end_s: 30.0,
        layout: Layout::BlurredBackground,
        title: None,
        watermark: None,
        fonts_dir: None,
    };
    ReelOrder { plan, output: folder.file("reel.mp4") }
}

fn files(folder: &Folder) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_render_stops_at_once_and_leaves_nothing() {
    let _alone = ALONE.lock().await;
    let folder = Folder::new();
    let order = long_reel(&folder);
    let shares = Arc::new(Mutex::new(Vec::new()));
    let mut watch = JobWatch::unwatched();
    let (heard, cancel) = (shares.clone(), watch.cancel.clone());
    watch.on_progress = Arc::new(move |progress: MediaProgress| {
        heard.lock().unwrap().push(progress.share);
        if progress.share > 0.1 {
            cancel.cancel();
        }
    });
    let error = engine().render_reel(order, &watch).await.unwrap_err();
    assert_eq!(error, MediaError::Cancelled);
    assert_eq!(files(&folder), ["source.mp4"]);
    let shares = shares.lock().unwrap();
    assert!(shares.windows(2).all(|pair| pair[0] <= pair[1]), "progress went back: {shares:?}");
    assert!(shares.last().unwrap() < &0.9);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renderer_killed_from_outside_is_reported_and_cleaned_up() {
    let _alone = ALONE.lock().await;
    let folder = Folder::new();
    let order = long_reel(&folder);
    let mut watch = JobWatch::unwatched();
    let me = std::process::id();
    watch.on_progress = Arc::new(move |progress| {
        if progress.share > 0.1 {
            for child in children_of(me) {
                let pid = rustix::process::Pid::from_raw(child).unwrap();
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::SEGV);
            }
        }
    });
    let error = engine().render_reel(order, &watch).await.unwrap_err();
    let MediaError::Crashed { how, .. } = &error else { panic!("{error:?}") };
    assert_eq!(how, "signal SIGSEGV");
    assert_eq!(files(&folder), ["source.mp4"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_renderer_is_not_taken_for_a_stuck_one() {
    let _alone = ALONE.lock().await;
    let folder = Folder::new();
    let mut order = long_reel(&folder);
    order.plan.end_s = 6.0;
    let mut watch = JobWatch::unwatched();
    let me = std::process::id();
    let paused = Arc::new(Mutex::new(false));
    let seen = paused.clone();
    watch.on_progress = Arc::new(move |progress| {
        let mut paused = seen.lock().unwrap();
        if progress.share > 0.1 && !*paused {
            *paused = true;
            let pids: Vec<_> =
                children_of(me).into_iter().filter_map(rustix::process::Pid::from_raw).collect();
            for pid in &pids {
                rustix::process::kill_process(*pid, rustix::process::Signal::STOP).unwrap();
            }
            // Longer than the engine's patience with a running one.
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_secs(23));
                for pid in pids {
                    rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
                }
            });
        }
    });
    let mut settings = EngineSettings::new(env!("CARGO_BIN_EXE_spark").into());
    settings.silent_running_max = Duration::from_secs(20);
    let report = FfmpegEngine::new(settings)
        .expect("a thread starts")
        .render_reel(order, &watch)
        .await
        .unwrap();
    assert!(*paused.lock().unwrap());
    assert_eq!(report.frames, 180);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renderer_is_the_last_to_run_and_the_first_to_go() {
    let _alone = ALONE.lock().await;
    let folder = Folder::new();
    let order = long_reel(&folder);
    let mut watch = JobWatch::unwatched();
    let me = std::process::id();
    let seen = Arc::new(Mutex::new(None));
    let (told, cancel) = (seen.clone(), watch.cancel.clone());
    watch.on_progress = Arc::new(move |_| {
        if let Some(pid) = children_of(me).first() {
            let read = |name: &str| {
                std::fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default()
            };
            let stat = read("stat");
            let fields: Vec<String> =
                stat.rsplit_once(')').unwrap().1.split_whitespace().map(str::to_owned).collect();
            *told.lock().unwrap() = Some((
                fields[16].clone(),
                fields[2].clone(),
                pid.to_string(),
                read("oom_score_adj"),
                read("limits"),
            ));
            cancel.cancel();
        }
    });
    let _ = engine().render_reel(order, &watch).await;
    let seen = seen.lock().unwrap().clone();
    let (nice, group, pid, oom, limits) = seen.expect("the child was seen");
    // As nice as can be, seen from how nice this very process is.
    assert_eq!(nice, own_niceness().saturating_add(19).min(19).to_string());
    assert_eq!(group, pid, "the child leads its own group");
    assert_eq!(oom.trim(), "800");
    assert!(
        limits
            .lines()
            .any(|line| line.starts_with("Max address space") && line.contains("6442450944")),
        "{limits}"
    );
}

fn own_niceness() -> i32 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    stat.rsplit_once(')').unwrap().1.split_whitespace().nth(16).unwrap().parse().unwrap()
}

/// Children of `parent` that are renderers started by this very test thread's process.
fn children_of(parent: u32) -> Vec<i32> {
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let mut fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
            fields.nth(1) == Some(&parent.to_string()) && line.contains("\0render")
        })
        .collect()
}
