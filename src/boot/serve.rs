//! The whole product in one process: pages, followers, jobs.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::adapters::host::{HostRoot, sweep_orphans};
use crate::adapters::postgres::cluster::Cluster;
use crate::boot::config::{Config, Run};
use crate::boot::recorder_child::RecorderChild;
use crate::boot::wire::House;
use crate::web::{App, ServerLimits};

/// Longest a stop may take before what is still in flight is left to the lease's end.
pub(crate) const STOP_MAX: Duration = Duration::from_secs(20);

/// Runs until Ctrl-C or a TERM signal.
pub(crate) async fn serve(config: Config) -> Result<()> {
    // Heard from here on: a stop that comes while we start is a graceful one too.
    let stop = StopSignal::listen()?;
    let server = Server::start(&config).await?;
    println!("SPARK: {}", server.url);
    if let Some(link) = &server.first_link {
        println!(
            "First start. This link makes the first administrator, once, within a week:\n  {link}"
        );
    }
    stop.arrived().await;
    tracing::info!("stopping");
    server.stop().await
}

/// A running server.
pub(crate) struct Server {
    pub house: House,
    pub url: String,
    /// The one-time link for the first administrator, while there is nobody.
    pub first_link: Option<String>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
    /// The recorder under this server; it is stopped last.
    recorder: Option<(CancellationToken, JoinHandle<()>)>,
    _lock: File,
}

impl Server {
    /// Opens the house and starts everything in it.
    pub(crate) async fn start(config: &Config) -> Result<Self> {
        let lock = lock_folder(config, "serve")?;
        let listener = TcpListener::bind(config.web.listen).await.with_context(|| {
            format!(
                "cannot listen on {}: take another port with --listen 127.0.0.1:PORT",
                config.web.listen
            )
        })?;
        raise_open_files();
        sweep_orphans(&HostRoot::default());
        let mut house = House::open(config, None).await?;
        house.local_store.clear_leftovers()?;
        let url = match &config.web.public_url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => format!("http://{}", listener.local_addr()?),
        };
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(crate::workers::follower::run(house.reactions.clone(), stop.clone()));
        house.keep_below_ceiling(config, &mut tasks, &stop)?;
        house.keep_history(&mut tasks, &stop)?;
        house.keep_alert(config, &mut tasks, &stop);
        tasks.spawn(crate::workers::job_runner::run(
            house.jobs.clone(),
            house.resources.clone(),
            worker_name(),
            stop.clone(),
        ));
        tasks.spawn(crate::workers::sweeper::run(
            house.weeks.clone(),
            house.audience.clone(),
            house.clock.clone(),
            stop.clone(),
        ));
        tasks.spawn(crate::workers::token_keeper::run(
            house.channels.clone(),
            house.clock.clone(),
            stop.clone(),
        ));
        tasks.spawn(crate::workers::stream_poller::run(
            house.viewers.clone(),
            house.audience.clone(),
            house.boards.clone(),
            stop.clone(),
        ));
        crate::boot::listen::spawn(&mut house, &mut tasks, &stop);
        if let Some(elsewhere) = house.elsewhere.clone() {
            tasks.spawn(crate::workers::listening_watcher::run(elsewhere, stop.clone()));
            let (log, stop) = (house.audience_log.clone(), stop.clone());
            tasks.spawn(async move { log.hear_others(stop).await });
        }
        tasks.spawn(crate::workers::recorder_keeper::run(
            house.cameras.clone(),
            house.store.clone(),
            config.record.hours_a_day,
            stop.clone(),
        ));
        tasks.spawn(crate::workers::aligner::run(house.jobs.alignments.clone(), stop.clone()));
        tasks.spawn(crate::workers::board_keeper::run(house.boards.clone(), stop.clone()));
        let (store, old_stop) = (house.local_store.clone(), stop.clone());
        tasks.spawn(async move {
            while old_stop.run_until_cancelled(tokio::time::sleep(OLD_EVERY)).await.is_some() {
                if let Err(error) = store.clear_old() {
                    tracing::warn!(%error, "could not look for old files");
                }
            }
        });
        if let Some(cluster) = house.database.cluster() {
            tasks.spawn(keep_running(cluster, stop.clone()));
        }
        let (router, _) = crate::web::router(&App::new(house.web_parts(config)?));
        let (web_stop, mut limits) = (stop.clone(), ServerLimits::default());
        limits.connections = connections_max(limits.connections);
        tasks.spawn(async move {
            if let Err(error) = crate::web::serve(listener, router, limits, web_stop).await {
                tracing::error!(%error, "the pages stopped");
            }
        });
        let first_link = house.accounts.first_link().await?;
        let first_link = first_link.map(|token| format!("{url}/bienvenue/{}", token.as_str()));
        tracing::info!(url, "ready");
        let recorder = match config.record.run {
            Run::Here => {
                let (end, child) = (CancellationToken::new(), RecorderChild::new(config)?);
                Some((end.clone(), tokio::spawn(child.keep(end))))
            }
            Run::Elsewhere => None,
        };
        Ok(Self { house, url, first_link, stop, tasks, recorder, _lock: lock })
    }

    /// Stops: no new work, what is in flight is handed back, then the database is closed, and the recorder last.
    pub(crate) async fn stop(mut self) -> Result<()> {
        self.stop.cancel();
        self.house.boards.close();
        let ended = tokio::time::timeout(STOP_MAX, async {
            while self.tasks.join_next().await.is_some() {}
        })
        .await;
        if ended.is_err() {
            tracing::warn!("some work did not stop in time; its lease runs out by itself");
            self.tasks.abort_all();
            while self.tasks.join_next().await.is_some() {}
        }
        let closed = self.house.close().await;
        if let Some((end, recorder)) = self.recorder {
            end.cancel();
            recorder.await.context("the recorder's keeper ended badly")?;
        }
        closed
    }
}

/// Starts the private PostgreSQL again when it dies under us; connections come back by themselves.
pub(crate) async fn keep_running(cluster: Arc<Cluster>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(DATABASE_LOOK) => {}
        }
        if let Err(error) = cluster.ensure_running().await {
            tracing::error!(%error, "the private PostgreSQL does not run");
        }
    }
}

/// Lets this process hold as many files and sockets open as it may: the usual limit is a thousand. What it cannot have, it does
/// without.
pub(crate) fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

/// Connections that may be open at once: the usual limit, or half of the files this process may hold.
fn connections_max(usual: usize) -> usize {
    let files = getrlimit(Resource::Nofile).current;
    files.and_then(|files| usize::try_from(files / 2).ok()).map_or(usual, |half| half.min(usual))
}

/// How often files that nobody went on with are looked for.
const OLD_EVERY: Duration = Duration::from_hours(1);

/// How often somebody looks whether the private PostgreSQL runs.
const DATABASE_LOOK: Duration = Duration::from_secs(5);

/// Who we are in the queue.
pub(crate) fn worker_name() -> String {
    format!("{}-{}", rustix::system::uname().nodename().to_string_lossy(), std::process::id())
}

/// One server a data folder, and one listener of a name.
pub(crate) fn lock_folder(config: &Config, role: &str) -> Result<File> {
    let folder = &config.data.folder;
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the data folder `{}`", folder.display()))?;
    let path = folder.join(format!("{role}.lock"));
    let lock = File::create(&path).with_context(|| format!("cannot open `{}`", path.display()))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(std::fs::TryLockError::WouldBlock) => {
            bail!(
                "another spark ({role}) works in the data folder `{}`: stop it, or use another folder with --data DIR",
                folder.display()
            )
        }
        Err(std::fs::TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock `{}`", path.display()))
        }
    }
}

/// Ctrl-C and the TERM signal, heard from the moment this is made.
pub(crate) struct StopSignal {
    term: Signal,
    interrupt: Signal,
}

impl StopSignal {
    /// Starts to listen.
    pub(crate) fn listen() -> Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Resolves on the first signal, at once when it came before.
    pub(crate) async fn arrived(mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Resolves on Ctrl-C or TERM.
pub(crate) async fn wait_for_stop() -> Result<()> {
    StopSignal::listen()?.arrived().await;
    Ok(())
}
