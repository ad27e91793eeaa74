//! `spark record`: takes what cameras send and writes it down. It needs no database, no pages and no network of ours.

use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::net::UnixListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::adapters::clock::SystemClock;
use crate::adapters::ffmpeg::demux::FfmpegDemuxer;
use crate::adapters::local_dvr::LocalDvr;
use crate::adapters::recorder::{LocalBook, SOCKET_BYTES_MAX};
use crate::adapters::rtmp::{RtmpIngest, RtmpPublisher};
use crate::adapters::srt::{SrtIngest, SrtSettings};
use crate::boot::config::{Config, RecordConfig, SrtAt};
use crate::boot::recorder_child::LOCK;
use crate::boot::serve::{STOP_MAX, StopSignal, lock_folder};
use crate::ports::recorder::{Door, SrtTerms};
use crate::use_cases::live::record::Recorder;
use crate::use_cases::live::relay::Relays;

/// Room kept back for the hour when the disk is full: two minutes of six cameras.
const RESERVE_BYTES: u64 = 512 << 20;

/// Records until Ctrl-C, a TERM signal, or its desk says so.
pub(crate) async fn record(config: &Config) -> Result<()> {
    let signal = StopSignal::listen()?;
    let _lock = lock_folder(config, LOCK)?;
    let folder = config.recorder_folder();
    private_folder(&folder)?;
    let desk = open_desk(&config.recorder_socket())?;
    let dvr = Arc::new(LocalDvr::open(&config.dvr_folder(), RESERVE_BYTES)?);
    let (book, clock) = (Arc::new(LocalBook::in_folder(&folder)), Arc::new(SystemClock));
    let relays = Relays::open(Arc::new(RtmpPublisher), book.clone(), clock.clone())?;
    let recorder = Recorder::open(dvr, book, clock, relays)?;
    let rtmp =
        RtmpIngest::listen(config.record.rtmp, recorder.gate()).await.with_context(|| {
            format!(
                "cannot take encoders on {}: take another port with rtmp under [record]",
                config.record.rtmp
            )
        })?;
    let srt = open_srt(config, &recorder)?;
    let address = rtmp.local_addr();
    let rtmp = Arc::new(rtmp);
    recorder.opens(Door::rtmp(address), rtmp.clone());
    let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
    tasks.spawn(crate::workers::recorder::run(recorder.clone(), rtmp, stop.clone()));
    if let Some((door, srt)) = srt {
        tracing::info!(address = %door.address, "encoders publish to srt://{}", door.address);
        recorder.opens(door, srt.clone());
        tasks.spawn(crate::workers::recorder::run(recorder.clone(), srt, stop.clone()));
    }
    tasks.spawn(crate::workers::recorder::make_room(recorder.clone(), stop.clone()));
    let answers = crate::web::serve_desk(desk, recorder, stop.clone());
    tasks.spawn(async move {
        if let Err(error) = answers.await {
            tracing::error!(%error, "the recorder's desk is closed");
        }
    });
    tracing::info!(%address, "recording; encoders publish to rtmp://{address}/live");
    tokio::select! {
        () = signal.arrived() => {}
        () = stop.cancelled() => {}
    }
    tracing::info!("stopping");
    stop.cancel();
    let ended = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(STOP_MAX, ended).await.is_err() {
        tracing::warn!("recording did not stop in time; what is on the disk stays whole");
        tasks.shutdown().await;
    }
    Ok(())
}

/// The second door, unless it is off.
fn open_srt(config: &Config, recorder: &Recorder) -> Result<Option<(Door, Arc<SrtIngest>)>> {
    let RecordConfig { srt, srt_passphrase, srt_latency_ms, .. } = &config.record;
    let SrtAt::Address(address) = *srt else { return Ok(None) };
    let program = std::env::current_exe().context("cannot find spark's own program")?;
    let demuxer = FfmpegDemuxer::new(program).context("cannot start a thread")?;
    let settings = SrtSettings {
        address,
        passphrase: srt_passphrase.clone().filter(|it| !it.expose().is_empty()),
        latency: Duration::from_millis(u64::from(*srt_latency_ms)),
    };
    let ingest = SrtIngest::listen(&settings, recorder.gate(), Arc::new(demuxer)).context(
        "cannot take encoders over SRT: look at srt, srt_passphrase and srt_latency_ms under [record]",
    )?;
    let terms =
        SrtTerms { latency_ms: *srt_latency_ms, needs_passphrase: settings.passphrase.is_some() };
    Ok(Some((Door::srt(ingest.local_addr(), terms), Arc::new(ingest))))
}

/// A folder for this account alone.
fn private_folder(folder: &Path) -> Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .with_context(|| format!("cannot make the folder `{}`", folder.display()))
}

/// Binds the socket; a dead one that lies there is nobody's, for the lock is ours.
fn open_desk(path: &Path) -> Result<UnixListener> {
    let bytes = path.as_os_str().len();
    ensure!(
        bytes <= SOCKET_BYTES_MAX,
        "`{}` is too long for a socket ({bytes} bytes of {SOCKET_BYTES_MAX}): name a shorter one with socket under [record]",
        path.display()
    );
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot clear `{}`", path.display()));
        }
        _ => {}
    }
    UnixListener::bind(path).with_context(|| format!("cannot open the desk `{}`", path.display()))
}
