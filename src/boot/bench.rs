//! `spark bench`: runs a measurement and prints its figures beside the bars.

use std::sync::Arc;

use anyhow::{Context, Result};

use crate::adapters::clock::SystemClock;
use crate::adapters::local_dvr::LocalFootage;
use crate::adapters::postgres::PostgresAudienceLog;
use crate::adapters::recorder::LocalRecorder;
use crate::bench::audience::{Evening, Plan};
use crate::bench::idle::{IDLE_MB_MAX, READY_S_MAX};
use crate::boot::cli::{AudienceArgs, Bench, RecordBenchArgs};
use crate::boot::config::Config;
use crate::boot::wire::Database;
use crate::domain::clips::reel_plan::{Layout, ReelPlan};
use crate::ports::audience_log::AudienceLog;
use crate::rehearsal::cameras::Film;

/// Runs a measurement. None needs the house itself: each looks at spark from outside, or at pure code.
pub(crate) fn bench(what: &Bench) -> Result<()> {
    match what {
        Bench::Moments { dir, delay, out } => {
            crate::bench::moments::run(dir, *delay, out.as_deref())?;
        }
        Bench::Media => media()?,
        Bench::Audience(args) => audience(args)?,
        Bench::Record(args) => record(args)?,
        Bench::Idle => {
            let folder = Scratch::make()?;
            let measured = crate::bench::idle::measure(&program()?, &folder.0)?;
            let slowest = measured.ready_s.iter().copied().fold(0.0, f64::max);
            println!(
                "start to ready, existing cluster: {:.2?} s (bar: {READY_S_MAX} s)",
                measured.ready_s
            );
            println!(
                "idle, RssAnon without PostgreSQL:  {:.1} MB (bar: {IDLE_MB_MAX} MB)",
                measured.idle_mb
            );
            let held = slowest < READY_S_MAX && measured.idle_mb < IDLE_MB_MAX;
            anyhow::ensure!(held, "a bar was missed");
        }
    }
    Ok(())
}

/// A stream of messages through a server of its own, against the twurple client in the same run.
fn audience(args: &AudienceArgs) -> Result<()> {
    let program = program()?;
    let beside = || program.parent()?.parent().map(|target| target.join("clients/node"));
    let twurple = args.twurple.clone().or_else(beside).unwrap_or_default();
    let plan = Plan { seconds: args.seconds, clients: args.clients.into(), rate: args.rate };
    let folder = Scratch::make()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut evening = Evening::begin(&program, &folder.0, &twurple, plan).await?;
        // The server's own database, taken up beside it.
        let mut config = Config::default();
        config.data.folder.clone_from(&folder.0);
        let (database, pool) = Database::open_current(&config).await?;
        let log: Arc<dyn AudienceLog> = Arc::new(PostgresAudienceLog::new(pool.clone()));
        let postgres = database.cluster().and_then(|cluster| cluster.pid().try_into().ok());
        let measured = async {
            let report = evening.measure(postgres).await?;
            anyhow::Ok((report, evening.compare(&log).await?))
        };
        let measured = measured.await;
        // Given back whatever came of it: the server, its last user, stops it.
        pool.close().await;
        database.close().await?;
        let (report, books) = measured?;
        evening.end().await?;
        for line in report.told(books) {
            println!("{line}");
        }
        anyhow::ensure!(report.is_held(books), "a bar was missed");
        Ok(())
    })
}

/// A recorder of its own, fed by pretend cameras, beside FFmpeg's own program.
fn record(args: &RecordBenchArgs) -> Result<()> {
    use crate::adapters::ffmpeg::{EngineSettings, FfmpegEngine, bench, remux};
    use crate::bench::record::{Plan, Studio, measure};
    let folder = Scratch::make()?;
    let source = bench::ten_minutes(&folder.0)?;
    let film = folder.0.join("film.flv");
    remux(&source, &film, "flv", FILM_S)?;
    let mut config = Config::default();
    config.data.folder = folder.0.join("data");
    std::fs::create_dir_all(&config.data.folder)?;
    let reel = ReelPlan {
        source,
        start_s: 101.3,
        end_s: 111.3,
        layout: Layout::BlurredBackground,
        title: None,
        watermark: None,
        fonts_dir: None,
    };
    let plan = Plan {
        seconds: args.seconds,
        cameras: args.cameras.into(),
        renders: vec![reel; args.renders.into()],
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let studio = Studio {
            program: program()?,
            folder: config.data.folder.clone(),
            film: Film::of_flv(std::fs::read(&film)?)?,
            clock: Arc::new(SystemClock),
            engine: Arc::new(FfmpegEngine::new(EngineSettings::new(program()?))?),
            desk: Arc::new(LocalRecorder::at(&config.recorder_socket())?),
            footage: Arc::new(LocalFootage::at(&config.dvr_folder())),
        };
        let report = measure(&studio, &plan).await?;
        for line in report.told() {
            println!("{line}");
        }
        anyhow::ensure!(report.is_held(), "a bar was missed");
        Ok(())
    })
}

/// Length of the film that pretend cameras send again and again, in seconds.
const FILM_S: f64 = 40.0;

/// Cuts against `ffmpeg -c copy`, reels against the `ffmpeg` program with the same graph, each in one run.
fn media() -> Result<()> {
    use crate::adapters::ffmpeg::{EngineSettings, FfmpegEngine, bench};
    let folder = Scratch::make()?;
    let fonts_dir = crate::boot::wire::lay_out_fonts(&folder.0)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let engine = FfmpegEngine::new(EngineSettings::new(program()?))?;
        let source = bench::ten_minutes(&folder.0)?;
        let cut = bench::cut_against_copy(&engine, &source, &folder.0).await?;
        println!(
            "exact cut of {CUT_S} s out of 600 s: {:.2} s, {:.0} × real time; `ffmpeg -c copy` {:.2} s; ratio {:.1} (bar: 10)",
            cut.ours_median_s(),
            CUT_S / cut.ours_median_s(),
            cut.yardstick_median_s(),
            cut.ratio
        );
        for layout in [Layout::Crop { centre_x: 0.5 }, Layout::BlurredBackground] {
            let plan = ReelPlan {
                source: source.clone(),
                start_s: 101.3,
                end_s: 111.3,
                layout,
                title: Some("Il rate son saut et retombe sur le boss".to_owned()),
                watermark: None,
                fonts_dir: Some(fonts_dir.clone()),
            };
            let reel = bench::reel_against_cli(&engine, &plan, &folder.0).await?;
            println!(
                "reel of 10 s, {layout:?}: {:.1} s, the ffmpeg program {:.1} s; ratio {:.2} (bar: 1.1)",
                reel.ours_median_s(),
                reel.yardstick_median_s(),
                reel.ratio
            );
        }
        Ok(())
    })
}

/// Length of the measured cut, in seconds.
const CUT_S: f64 = 30.0;

fn program() -> Result<std::path::PathBuf> {
    std::env::current_exe().context("cannot find spark's own program")
}

/// A folder of our own under the temporary folder, gone at the end.
struct Scratch(std::path::PathBuf);

impl Scratch {
    fn make() -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("spark-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make `{}`", folder.display()))?;
        Ok(Self(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("spark: could not remove `{}`: {error}", self.0.display());
        }
    }
}
