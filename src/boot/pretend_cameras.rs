//! `spark rehearse cameras`, and the cameras of a whole rehearsal: a film published as encoders do.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::task::JoinSet;

use crate::adapters::ffmpeg::remux;
use crate::boot::cli::PretendCamerasArgs;
use crate::boot::rehearse::write_stream;
use crate::boot::rehearse_live::within;
use crate::boot::serve::{Server, wait_for_stop};
use crate::ports::recorder::Door;
use crate::ports::vault::Secret;
use crate::rehearsal::cameras::{Film, Manners, PretendCamera};

/// Pretend cameras at most.
const CAMERAS_MAX: usize = 6;
/// Length of the film they send again and again, in seconds.
const FILM_S: f64 = 30.0;
/// Minutes of the pretend evening it is taken from, the fewest there can be.
const EVENING_MIN: u32 = 3;
/// The cameras of a whole rehearsal, and how far the second one's clock runs ahead, in millionths.
const NAMES: [&str; 2] = ["Programme", "Salon"];
const DRIFT_PPM: f64 = 40.0;
/// How often a terminal is told what was sent.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Publishes until Ctrl-C, or until no camera is left.
pub(crate) async fn serve(folder: &Path, args: PretendCamerasArgs) -> Result<()> {
    let keys = std::fs::read_to_string(&args.keys)
        .with_context(|| format!("cannot read `{}`", args.keys.display()))?;
    let keys: Vec<&str> = keys.lines().map(str::trim).filter(|key| !key.is_empty()).collect();
    ensure!(
        (1..=CAMERAS_MAX).contains(&keys.len()),
        "`{}` holds {} keys: write one a line, {CAMERAS_MAX} at most",
        args.keys.display(),
        keys.len()
    );
    let film = if let Some(file) = &args.film {
        read(file)?
    } else {
        let (video, _) = write_stream(folder, EVENING_MIN).await?;
        film_of(&video, folder).await?
    };
    let usual = args.over.iter().map(|over| over.usual_address().to_owned());
    let addresses = if args.to.is_empty() { usual.collect() } else { args.to };
    let passphrase = args.passphrase.as_deref().map(read_passphrase).transpose()?;
    let mut cameras = JoinSet::new();
    let mut counts = Vec::new();
    for ((n, key), url) in keys.iter().enumerate().zip(addresses.iter().cycle()) {
        let cut = args
            .cut_every
            .map(|every| (Duration::from_secs(every), Duration::from_secs(args.cut_for)));
        let camera = PretendCamera::new(
            film.clone(),
            Manners {
                url: url.clone(),
                key: (*key).to_owned(),
                passphrase: passphrase.clone(),
                drift_ppm: args.drift_ppm * n as f64,
                cut,
                lasts: None,
                fault: args.fault.filter(|_| n + 1 == keys.len()),
            },
        );
        counts.push(camera.counted());
        cameras.spawn(async move { (n, camera.run().await) });
    }
    println!("{} cameras publish to {}. Ctrl-C stops them.", keys.len(), addresses.join(", "));
    let mut tell = tokio::time::interval(TELL_EVERY);
    tell.tick().await;
    loop {
        tokio::select! {
            stopped = wait_for_stop() => return stopped,
            _ = tell.tick() => {
                for (n, count) in counts.iter().enumerate() {
                    let sent = *count.borrow();
                    println!(
                        "camera {}: {} pictures, {} sounds, {:.1} MB, {} lines",
                        n + 1, sent.pictures, sent.sounds, sent.bytes as f64 / 1e6, sent.lines
                    );
                }
            }
            ended = cameras.join_next() => match ended {
                Some(Ok((n, Ok(())))) => println!("camera {}: done", n + 1),
                Some(Ok((n, Err(error)))) => println!("camera {}: {error}", n + 1),
                Some(Err(error)) => return Err(error.into()),
                None => return Ok(()),
            }
        }
    }
}

fn read_passphrase(file: &Path) -> Result<String> {
    let read = std::fs::read_to_string(file);
    let text = read.with_context(|| format!("cannot read `{}`", file.display()))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// The first seconds of a rehearsal's stream, as a camera sends them.
pub(crate) async fn film_of(video: &Path, folder: &Path) -> Result<Film> {
    let (video, film) = (video.to_owned(), folder.join("camera.flv"));
    let made = film.clone();
    tokio::task::spawn_blocking(move || remux(&video, &made, "flv", FILM_S))
        .await?
        .context("cannot make a film for the cameras")?;
    read(&film)
}

fn read(file: &Path) -> Result<Film> {
    let bytes = std::fs::read(file).with_context(|| format!("cannot read `{}`", file.display()))?;
    Film::of_flv(bytes).with_context(|| format!("`{}` cannot be published", file.display()))
}

/// Cameras that publish for as long as this is held.
pub(crate) struct PretendCameras {
    _cameras: JoinSet<()>,
    over: Vec<String>,
}

impl PretendCameras {
    /// Adds the cameras of a rehearsal, or draws other keys for those of the last one, and waits until all are recorded. They
    /// take the recorder's doors in turns.
    pub(crate) async fn begin(
        server: &Server,
        film: Film,
        passphrase: Option<&Secret>,
    ) -> Result<Self> {
        let house = &server.house.cameras;
        let doors = within("the recorder does not answer", || async {
            let doors = house.state().await.map(|state| state.doors).unwrap_or_default();
            Ok((!doors.is_empty()).then_some(doors))
        })
        .await?;
        let (mut cameras, mut over) = (JoinSet::new(), Vec::new());
        for ((n, name), door) in NAMES.into_iter().enumerate().zip(doors.iter().cycle()) {
            let known = house.list().await?.into_iter().find(|card| card.name.as_str() == name);
            let key = match known {
                Some(card) => house.draw_key(card.id, None).await?,
                None => house.add(name, None).await?.1,
            };
            over.push(door.protocol.to_uppercase());
            let manners = Manners {
                url: address(door),
                key: key.as_str().to_owned(),
                passphrase: passphrase.map(|it| it.expose().to_owned()).filter(|it| !it.is_empty()),
                drift_ppm: DRIFT_PPM * n as f64,
                cut: None,
                lasts: None,
                fault: None,
            };
            let camera = PretendCamera::new(film.clone(), manners);
            cameras.spawn(async move {
                // Until its key is known it is refused.
                while camera.run().await.is_err() {
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
            });
        }
        within("the cameras are not recorded", || async {
            let state = house.state().await?;
            let feeds = state.cameras.iter().filter_map(|camera| camera.feed.as_ref());
            let recorded = feeds.filter(|feed| feed.recorded_until.is_some()).count();
            Ok((recorded >= NAMES.len()).then_some(()))
        })
        .await?;
        Ok(Self { _cameras: cameras, over })
    }

    /// What they speak, for people.
    pub(crate) fn over(&self) -> String {
        self.over.join(" and ")
    }
}

fn address(door: &Door) -> String {
    match door.srt {
        Some(_) => format!("srt://{}", door.address),
        None => format!("rtmp://{}/live", door.address),
    }
}
