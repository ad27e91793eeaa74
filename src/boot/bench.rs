//! `spark bench`: runs a measurement and prints its figures beside the bars.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};

use crate::adapters::clock::SystemClock;
use crate::adapters::local_dvr::LocalFootage;
use crate::adapters::postgres::PostgresAudienceLog;
use crate::adapters::recorder::LocalRecorder;
use crate::bench::audience::{Evening, Plan};
use crate::bench::idle::{IDLE_MB_MAX, READY_S_MAX};
use crate::boot::cli::{AudienceArgs, Bench, CeilingArgs, ReconnectArgs, RecordBenchArgs};
use crate::boot::config::Config;
use crate::boot::serve::raise_open_files;
use crate::boot::wire::{Database, House};
use crate::domain::clips::reel_plan::{Layout, ReelPlan};
use crate::domain::resources::CEILING;
use crate::ports::audience_log::AudienceLog;
use crate::rehearsal::cameras::Film;

/// Longest a browser that comes back may wait for its page, in seconds (reliability sheet, fault 19).
const ACCEPTED_S_MAX: f64 = 10.0;

/// Runs a measurement. None needs the house itself: each looks at spark from outside, or at pure code.
pub(crate) fn bench(what: &Bench) -> Result<()> {
    match what {
        Bench::Moments { dir, delay, out } => {
            crate::bench::moments::run(dir, *delay, out.as_deref())?;
        }
        Bench::Media => media()?,
        Bench::Audience(args) => audience(args)?,
        Bench::Reconnect(args) => reconnect(args)?,
        Bench::Record(args) => record(args)?,
        Bench::Ceiling(args) => ceiling(args)?,
        Bench::Sampler => crate::bench::ceiling::sample()?,
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
    let runtime = runtime()?;
    runtime.block_on(async {
        let mut evening = Evening::begin(&program, &folder.0, &twurple, plan, &[]).await?;
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

/// All live pages come back at once to a server of its own.
fn reconnect(args: &ReconnectArgs) -> Result<()> {
    raise_open_files();
    let (program, folder) = (program()?, Scratch::make()?);
    let plan = Plan { seconds: 0, clients: args.clients.into(), rate: 0 };
    let storm = runtime()?.block_on(async {
        let mut evening = Evening::begin(&program, &folder.0, Path::new(""), plan, &[]).await?;
        let storm = evening.storm(&program).await;
        evening.end().await?;
        anyhow::Ok(storm?)
    })?;
    println!("live pages cut and back:             {}", storm.clients);
    println!(
        "back after the cut:                  {:.1} s half, {:.1} s p99, {:.1} s all",
        storm.half_s, storm.most_s, storm.all_s
    );
    println!(
        "longest from a try to its page:      {:.2} s (bar: {ACCEPTED_S_MAX} s)",
        storm.accepted_s
    );
    println!("refused in words, failed:            {}, {}", storm.refused, storm.failed);
    println!(
        "busiest 5 s of the machine:          {:.1} % with the browsers on it, {:.1} % the server alone (bar: {:.0} %)",
        storm.host * 100.0,
        storm.server * 100.0,
        CEILING * 100.0
    );
    let is_held = storm.accepted_s <= ACCEPTED_S_MAX && storm.server <= CEILING;
    anyhow::ensure!(is_held, "a bar was missed");
    Ok(())
}

/// Everything at once on a server of its own, with the governor of the renders and without.
fn ceiling(args: &CeilingArgs) -> Result<()> {
    use crate::bench::ceiling::Plan as Hour;
    let (folder, runtime) = (Scratch::make()?, runtime()?);
    let film = film(&folder.0)?.1;
    let talk = |minutes: u64| Plan {
        seconds: minutes * 60,
        clients: args.clients.into(),
        rate: args.rate,
    };
    let run = |name: &str, enforce: &str, minutes: u64| {
        let (data, talk, film) = (folder.0.join(name), talk(minutes), film.clone());
        let hour = Hour { seconds: minutes * 60, cameras: args.cameras.into() };
        let enforce = enforce.to_owned();
        runtime.block_on(async move {
            std::fs::create_dir_all(&data)?;
            let further = [
                ("SPARK_RECORD_RTMP", "127.0.0.1:0".to_owned()),
                ("SPARK_RECORD_SRT", "off".to_owned()),
                ("SPARK_RESOURCES_ENFORCE", enforce),
            ];
            let program = program()?;
            let mut evening =
                Evening::begin(&program, &data, Path::new(""), talk, &further).await?;
            let mut config = Config::default();
            config.data.folder.clone_from(&data);
            // The use cases of the measured house, at work in the server's own database.
            let house = House::open(&config, Some("bench")).await?;
            let measured = {
                let house = crate::bench::ceiling::House {
                    dvr: config.dvr_folder(),
                    cameras: house.cameras.clone(),
                    jobs: house.jobs.clone(),
                    footage: house.footage.footage.clone(),
                    clock: house.clock.clone(),
                };
                crate::bench::ceiling::measure(&program, &mut evening, &house, &film, &hour).await
            };
            let log: Arc<dyn AudienceLog> = Arc::new(house.audience_log.clone());
            let books = evening.compare(&log).await;
            drop(log);
            house.close().await?;
            evening.end().await?;
            anyhow::Ok((measured?, books?))
        })
    };
    let (held, books) = run("governed", "on", args.minutes)?;
    for line in held.told() {
        println!("with the governor, {} min: {line}", args.minutes);
    }
    println!(
        "{} messages sent, {} lost, {} twice (bar: none)",
        books.sent, books.lost, books.doubled
    );
    if args.free_minutes > 0 {
        let (free, _) = run("free", "off", args.free_minutes)?;
        for line in free.told() {
            println!("without it, {} min: {line}", args.free_minutes);
        }
        anyhow::ensure!(!free.is_below(), "without the governor nothing broke: nothing was proven");
    }
    anyhow::ensure!(held.is_held() && books.lost == 0 && books.doubled == 0, "a bar was missed");
    Ok(())
}

/// A recorder of its own, fed by pretend cameras, beside FFmpeg's own program.
fn record(args: &RecordBenchArgs) -> Result<()> {
    use crate::adapters::ffmpeg::{EngineSettings, FfmpegEngine};
    use crate::bench::record::{Plan, Studio, measure};
    let folder = Scratch::make()?;
    let (source, film) = film(&folder.0)?;
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
    let runtime = runtime()?;
    runtime.block_on(async {
        let studio = Studio {
            program: program()?,
            folder: config.data.folder.clone(),
            film,
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

/// Ten minutes of 1080p30 at 6 Mbit/s, and its beginning as cameras send it.
fn film(folder: &Path) -> Result<(PathBuf, Film)> {
    use crate::adapters::ffmpeg::{bench, remux};
    let (source, film) = (bench::ten_minutes(folder)?, folder.join("film.flv"));
    remux(&source, &film, "flv", FILM_S)?;
    Ok((source, Film::of_flv(std::fs::read(&film)?)?))
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

/// Cuts against `ffmpeg -c copy`, reels against the `ffmpeg` program with the same graph, each in one run.
fn media() -> Result<()> {
    use crate::adapters::ffmpeg::{EngineSettings, FfmpegEngine, bench};
    let folder = Scratch::make()?;
    let fonts_dir = crate::boot::fonts::lay_out_fonts(&folder.0)?;
    let runtime = runtime()?;
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
