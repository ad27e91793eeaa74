//! `spark rehearse`: a pretend villa stream, brought in through the same door as everybody's, its reels shown.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use tokio_util::sync::CancellationToken;

use crate::boot::cli::{ImportArgs, RehearseArgs, RehearseOnly};
use crate::boot::config::{Config, SrtAt};
use crate::boot::pretend_cameras::{self, PretendCameras};
use crate::boot::rehearse_live::PretendLive;
use crate::boot::serve::{Server, wait_for_stop};
use crate::domain::clips::ReelState;
use crate::domain::ids::WeekId;
use crate::domain::villa::WeekName;
use crate::ports::media_engine::{CheckOrder, JobWatch, MediaEngine};
use crate::ports::vault::Secret;
use crate::rehearsal::cameras::Film;
use crate::rehearsal::stream::{PretendStream, Script};

/// The week a rehearsal is filed under.
const WEEK: &str = "Répétition";
/// The seed of the pretend stream: the same evening every time.
const SEED: u64 = 20_261_107;

/// Makes a stream, imports it, shows its reels.
pub(crate) async fn rehearse(mut config: Config, args: RehearseArgs) -> Result<()> {
    match args.only {
        Some(RehearseOnly::Twitch(args)) => return crate::boot::pretend_twitch::serve(args).await,
        Some(RehearseOnly::Cameras(args)) => {
            let folder = config.data.folder.join("rehearsal/stream");
            return crate::boot::pretend_cameras::serve(&folder, args).await;
        }
        None => {}
    }
    if let Some(folder) = args.only_write {
        write_stream(&folder, args.minutes).await?;
        return Ok(());
    }
    // A rehearsal never touches the real evenings.
    config.data.folder.push("rehearsal");
    println!("1/5  A pretend stream of {} minutes", args.minutes);
    let (video, chat) = write_stream(&config.data.folder.join("stream"), args.minutes).await?;
    // Somebody may look at another evening on that port: a rehearsal takes a free one.
    if std::net::TcpListener::bind(config.web.listen).is_err() {
        config.web.listen.set_port(0);
    }
    // So does the recorder: a real one may have the usual one.
    if std::net::TcpListener::bind(config.record.rtmp).is_err() {
        config.record.rtmp.set_port(0);
    }
    if let SrtAt::Address(address) = &mut config.record.srt
        && std::net::UdpSocket::bind(*address).is_err()
    {
        address.set_port(0);
    }
    let film = pretend_cameras::film_of(&video, &config.data.folder.join("stream")).await?;
    let live = PretendLive::prepare(&mut config).await?;
    let server = Server::start(&config).await?;
    println!("2/5  Import: moments, clips, reels");
    let import = ImportArgs {
        week: WEEK.to_owned(),
        video,
        chat,
        started_at: None,
        title: Some("La soirée de répétition".to_owned()),
    };
    let stop = CancellationToken::new();
    let brought_in = tokio::select! {
        outcome = crate::boot::import::bring_in(&server.house, &import, &stop) => outcome,
        stopped = wait_for_stop() => stopped.and_then(|()| bail!("interrupted: run it again, it goes on where it was")),
    };
    let shown = match brought_in {
        Ok(()) => {
            let passphrase = config.record.srt_passphrase.as_ref();
            show(&server, &live, film, passphrase, args.once).await
        }
        Err(error) => Err(error),
    };
    if let (Ok(_), false) = (&shown, args.once) {
        wait_for_stop().await?;
    }
    server.stop().await?;
    live.stop().await;
    shown.map(drop)
}

/// Checks every reel, goes live, sends from cameras, and says where to look.
async fn show(
    server: &Server,
    live: &PretendLive,
    film: Film,
    passphrase: Option<&Secret>,
    once: bool,
) -> Result<PretendCameras> {
    let week = WeekId::named(&WeekName::try_new(WEEK)?.folded());
    let mut reels = 0;
    for live in server.house.lives.of_week(week).await? {
        for card in server.house.jobs.clips.of_live(live.id).await? {
            let ReelState::Rendered { reel } = &card.clip.reel else { continue };
            let file = server
                .house
                .store
                .local_path(&reel.file.key)
                .await?
                .with_context(|| format!("the reel {} is not on disk", reel.file.key))?;
            let order =
                CheckOrder { reel: file, duration_s: card.clip.length_ms() as f64 / 1_000.0 };
            let engine: &dyn MediaEngine = &*server.house.lives.engine;
            let findings = engine.check(order, &JobWatch::unwatched()).await?;
            if !findings.is_empty() {
                let words: Vec<String> = findings.iter().map(ToString::to_string).collect();
                bail!(
                    "the reel {} is not as platforms want it: {}",
                    reel.file.key,
                    words.join("; ")
                );
            }
            reels += 1;
        }
    }
    if reels == 0 {
        bail!("no reel was made");
    }
    println!("3/5  {reels} reels, checked: 1080×1920, 30 fps, −14 LUFS, they play");
    let (channel, messages) = live.go_live(server, once).await?;
    println!("4/5  An evening on a pretend Twitch: on air, {messages} messages heard so far");
    let cameras = PretendCameras::begin(server, film, passphrase).await?;
    println!("5/5  Two pretend cameras, over {}: recorded", cameras.over());
    println!("\n  {}/semaines/{week}", server.url);
    println!("  {}/direct/{channel}", server.url);
    println!("  {}/regie", server.url);
    if let Some(link) = &server.first_link {
        println!("  First come in with this one-time link: {link}");
    }
    if !once {
        println!("\nCtrl-C stops it.");
    }
    Ok(cameras)
}

/// Writes the stream's video and chat into a folder, unless they are there.
pub(super) async fn write_stream(folder: &Path, minutes: u32) -> Result<(PathBuf, PathBuf)> {
    let video = folder.join(format!("soiree-{minutes}min.mp4"));
    let chat = folder.join(format!("soiree-{minutes}min-chat.json"));
    if video.exists() && chat.exists() {
        println!("     it is there from last time: {}", video.display());
        return Ok((video, chat));
    }
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make `{}`", folder.display()))?;
    let fonts = crate::boot::fonts::lay_out_fonts(folder)?;
    let bar = ProgressBar::new(1_000);
    bar.set_style(ProgressStyle::with_template(
        "     {bar:30} {percent:>3} %  {elapsed} gone, left {eta}",
    )?);
    let (to_video, to_chat, shown) = (video.clone(), chat.clone(), bar.clone());
    tokio::task::spawn_blocking(move || {
        let stream =
            PretendStream::new(Script { seed: SEED, seconds: minutes * 60, ..Script::default() });
        crate::boot::pretend::record(&stream, &to_video, &fonts, &|share| {
            shown.set_position((share * 1_000.0) as u64);
        })?;
        let temporary = to_chat.with_extension("part");
        let mut file = std::io::BufWriter::new(std::fs::File::create(&temporary)?);
        stream.write_twitch_downloader(&mut file)?;
        file.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
        std::fs::rename(&temporary, &to_chat)?;
        anyhow::Ok(())
    })
    .await??;
    bar.finish();
    Ok((video, chat))
}
