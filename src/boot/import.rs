//! `spark import`: the same door as an upload, with progress on the terminal.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::boot::cli::ImportArgs;
use crate::boot::config::Config;
use crate::boot::serve::{wait_for_stop, worker_name};
use crate::boot::wire::House;
use crate::domain::clips::{ClipState, ReelState};
use crate::domain::ids::{JobId, LiveId, WeekId};
use crate::domain::job::{ImportOrder, JobState};
use crate::domain::media::MediaObject;
use crate::domain::villa::WeekName;
use crate::ports::chat_reader::ChatReader;
use crate::use_cases::live::{Received, copy_into_store};

/// How often progress is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// Brings a past stream in and waits until its clips and reels are there.
pub(crate) async fn import(config: &Config, args: ImportArgs) -> Result<()> {
    let house = House::open(config, None).await?;
    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    tasks.spawn(crate::workers::follower::run(house.reactions.clone(), stop.clone()));
    house.keep_below_ceiling(config, &mut tasks, &stop)?;
    tasks.spawn(crate::workers::job_runner::run(
        house.jobs.clone(),
        house.resources.clone(),
        worker_name(),
        stop.clone(),
    ));
    let outcome = tokio::select! {
        outcome = bring_in(&house, &args, &stop) => outcome,
        stopped = wait_for_stop() => stopped.and_then(|()| {
            bail!("Interrompu : rien n'est perdu, la même commande (ou `spark serve`) reprend là où elle en était.")
        }),
    };
    stop.cancel();
    while tasks.join_next().await.is_some() {}
    house.close().await?;
    outcome
}

/// Copies, orders, and follows the jobs to the end. Used by the rehearsal too.
pub(crate) async fn bring_in(
    house: &House,
    args: &ImportArgs,
    stop: &CancellationToken,
) -> Result<()> {
    let name = WeekName::try_new(&args.week)?;
    for (what, file) in [("La vidéo", &args.video), ("Le chat", &args.chat)] {
        if !file.is_file() {
            bail!(
                "{what} « {} » n'est pas un fichier qui se laisse lire : vérifiez le chemin et les droits.",
                file.display()
            );
        }
    }
    // The chat is small and says the most often wrong thing: read it before a large video is copied.
    let chat_file = args.chat.clone();
    let chats = house.lives.chats.clone();
    let chat = tokio::task::spawn_blocking(move || ChatReader::read(&*chats, &chat_file)).await??;
    println!("Chat : {} messages ({})", chat.lines.len(), chat.format);
    let today = house.clock.now();
    let starts_on = args.started_at.or(chat.started_at).unwrap_or(today).date_naive();
    let week = house.weeks.open(name, starts_on, None).await?;
    let title = args.title.clone().or(chat.title).unwrap_or_else(|| stem(&args.video));
    let video = copy(house, &args.video, "vidéo", "recordings", stop).await?;
    let chat = match copy(house, &args.chat, "chat", "chats", stop).await {
        Ok(chat) => chat,
        Err(error) => {
            house.jobs.let_go_of(&[&video]).await?;
            return Err(error);
        }
    };
    let order = ImportOrder { week, title, video, chat, started_at: args.started_at, by: None };
    let live = LiveId::of_files(week, &order.video.sha256, &order.chat.sha256);
    match house.jobs.order_import(order).await? {
        Received::AlreadyHere(_) => {
            println!(
                "Cette vidéo et ce chat sont déjà dans « {} » : rien n'a été ajouté.",
                args.week
            );
        }
        Received::Ordered(job) => follow_import(house, job).await?,
    }
    follow_reels(house, week, live).await
}

fn stem(file: &Path) -> String {
    file.file_stem().map_or_else(|| "Direct".to_owned(), |stem| stem.to_string_lossy().into_owned())
}

async fn copy(
    house: &House,
    file: &Path,
    what: &str,
    folder: &str,
    stop: &CancellationToken,
) -> Result<MediaObject> {
    let bytes = tokio::fs::metadata(file)
        .await
        .with_context(|| format!("Le fichier « {} » ne peut pas être lu.", file.display()))?
        .len();
    let extension = extension_of(file);
    let bar = ProgressBar::new(bytes);
    bar.set_style(ProgressStyle::with_template(
        "{msg:22} {bar:30} {percent:>3} %  {bytes}/{total_bytes}  {bytes_per_sec}  reste {eta}",
    )?);
    bar.set_message(format!("Copie ({what})"));
    let mut begun = false;
    let object = copy_into_store(&*house.store, file, folder, &extension, stop, |more| {
        if !std::mem::replace(&mut begun, true) && more > 0 {
            println!("La copie ({what}) reprend après {more} octets déjà là.");
            bar.reset_eta();
        }
        bar.inc(more);
    })
    .await?;
    bar.finish();
    Ok(object)
}

/// The extension of a file name as a media key takes it.
pub(crate) fn extension_of(file: &Path) -> String {
    let extension: String = file
        .extension()
        .map(|extension| extension.to_string_lossy().to_lowercase())
        .unwrap_or_default()
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .take(8)
        .collect();
    if extension.is_empty() { "bin".to_owned() } else { extension }
}

async fn follow_import(house: &House, job: JobId) -> Result<()> {
    let bar = ProgressBar::new(1_000);
    bar.set_style(ProgressStyle::with_template(
        "{msg:22} {bar:30} {percent:>3} %  {elapsed} passées, reste {eta}",
    )?);
    loop {
        let Some(view) = house.jobs.find(job).await? else {
            bail!("Le travail d'import a disparu de la file.")
        };
        bar.set_position((view.progress * 1_000.0) as u64);
        bar.set_message(view.note.clone());
        match view.state {
            JobState::Done => {
                bar.finish_with_message("Importé");
                return Ok(());
            }
            JobState::Failed => {
                bar.abandon();
                bail!("{}", view.error.unwrap_or_else(|| "L'import a échoué.".to_owned()))
            }
            JobState::Cancelled => {
                bar.abandon();
                bail!("L'import a été annulé.")
            }
            JobState::Waiting | JobState::Running => tokio::time::sleep(LOOK).await,
        }
    }
}

/// Waits until every clip and reel that was proposed is there or was given up.
async fn follow_reels(house: &House, week: WeekId, live: LiveId) -> Result<()> {
    let bar = ProgressBar::new_spinner();
    bar.set_style(ProgressStyle::with_template("{spinner} {msg}")?);
    loop {
        bar.tick();
        // The order of these looks matters, for work goes on between them. When all events were reacted to first and no
        // job is left then, a card that is read last is final; and clips are read after all events that ask for them.
        let no_order_outstanding = house.reactions.caught_up().await?;
        let running = house.jobs.list().await?;
        let card = house.lives.find(live).await?;
        let under_way: Vec<String> = running
            .iter()
            .filter(|view| !view.state.is_over())
            .map(|view| match view.state {
                JobState::Running => format!("{} {:.0} %", view.job.kind(), view.progress * 100.0),
                _ => format!("{} waits", view.job.kind()),
            })
            .collect();
        bar.set_message(under_way.join(", "));
        let caught_up = house.reactions.caught_up().await?;
        let clips = house.jobs.clips.of_live(live).await?;
        let settled = |state: &ClipState, reel: &ReelState| {
            !matches!(state, ClipState::Requested)
                && (matches!(state, ClipState::Failed { .. })
                    || !matches!(reel, ReelState::Requested { .. }))
        };
        let analysed = card.as_ref().is_some_and(|card| card.analysis.is_some());
        if analysed
            && caught_up
            && clips.iter().all(|card| settled(&card.clip.state, &card.clip.reel))
        {
            bar.finish_and_clear();
            break;
        }
        if under_way.is_empty() && no_order_outstanding && !analysed {
            bar.finish_and_clear();
            bail!(
                "Le direct est enregistré, mais ses moments n'ont pas été trouvés : voyez les travaux échoués sous « Travaux »."
            );
        }
        tokio::time::sleep(LOOK).await;
    }
    let clips = house.jobs.clips.of_live(live).await?;
    let moments = house.jobs.moments.of_live(live).await?;
    println!("{} moments, {} clips à valider :", moments.len(), clips.len());
    for card in &clips {
        let clip = &card.clip;
        let at = clip.span.from_ms / 1_000;
        let reel = match &clip.reel {
            ReelState::Rendered { reel } => {
                house.store.local_path(&reel.file.key).await?.map(|p| p.display().to_string())
            }
            ReelState::Failed { reason, .. } => Some(format!("échec : {reason}")),
            ReelState::None | ReelState::Requested { .. } => None,
        };
        println!(
            "  {:>2}:{:02}:{:02}  {:>4.1} s  {}{}",
            at / 3600,
            at / 60 % 60,
            at % 60,
            clip.length_ms() as f64 / 1_000.0,
            clip.title.as_str(),
            reel.map(|reel| format!("\n            reel: {reel}")).unwrap_or_default(),
        );
    }
    tracing::debug!(%week, "import followed to its end");
    Ok(())
}
