//! Opens the systems outside and hands them to the use cases.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use sqlx::PgPool;
use sqlx::postgres::PgConnectOptions;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::adapters::chat_files::ChatFiles;
use crate::adapters::clock::SystemClock;
use crate::adapters::ffmpeg::{EngineSettings, FfmpegEngine, RunningRenders};
use crate::adapters::host::LinuxHost;
use crate::adapters::local_dvr::LocalFootage;
use crate::adapters::local_spool::LocalSpool;
use crate::adapters::local_store::LocalStore;
use crate::adapters::postgres::cluster::{Binaries, Cluster};
use crate::adapters::postgres::{
    PostgresAudienceLog, PostgresFootageIndex, PostgresJobQueue, PostgresLedger, PostgresListeners,
    PostgresMachine, PostgresPeople, PostgresShelves, PostgresVault, PostgresViewerSamples,
};
use crate::adapters::recorder::LocalRecorder;
use crate::adapters::twitch::eventsub::EventsubSource;
use crate::adapters::twitch::{HelixLimits, TwitchHelix, TwitchIdentity};
use crate::boot::config::{Config, Listen, Switch, search_path};
use crate::boot::fonts::lay_out_fonts;
use crate::boot::listen;
use crate::boot::resources::Watch;
use crate::domain::resources::trigger::Triggers;
use crate::ports::audience_source::{Listening, Mailbox};
use crate::ports::clock::Clock;
use crate::ports::host::{CpuClock, Tenants};
use crate::ports::ledger::Ledger;
use crate::ports::listeners::Listeners;
use crate::ports::media_store::MediaStore;
use crate::ports::renders::{Admission, OpenDoor};
use crate::ports::shelves::Shelves;
use crate::use_cases::accounts::{Accounts, Passwords};
use crate::use_cases::alerts::Alerts;
use crate::use_cases::audience::Audience;
use crate::use_cases::audience::boards::Boards;
use crate::use_cases::audience::channels::Channels;
use crate::use_cases::audience::elsewhere::ListeningElsewhere;
use crate::use_cases::audience::gaps::Gaps;
use crate::use_cases::audience::viewers::Viewers;
use crate::use_cases::clips::Clips;
use crate::use_cases::clips::align::Alignments;
use crate::use_cases::clips::footage::CameraFootage;
use crate::use_cases::clips::glance::Glances;
use crate::use_cases::health::Health;
use crate::use_cases::jobs::Jobs;
use crate::use_cases::live::Lives;
use crate::use_cases::live::cameras::Cameras;
use crate::use_cases::live::index::Indexer;
use crate::use_cases::moments::Moments;
use crate::use_cases::reactions::Reactions;
use crate::use_cases::resources::Resources;
use crate::use_cases::villa::Weeks;
use crate::web::{EngineSkills, Parts, Settings};
use crate::workers::alert_keeper::Watched;

/// The database a process works on: a private cluster, or somebody else's server.
pub(crate) struct Database {
    pub options: PgConnectOptions,
    cluster: Option<Arc<Cluster>>,
}

impl Database {
    /// Starts (or takes up) the private cluster, unless the settings name a server.
    pub(crate) async fn open(config: &Config) -> Result<Self> {
        if let Some(url) = &config.database.url {
            let options = url
                .parse()
                .context("the database URL cannot be read; write postgres://user@host/database")?;
            return Ok(Self { options, cluster: None });
        }
        std::fs::create_dir_all(&config.data.folder).with_context(|| {
            format!("cannot make the data folder `{}`", config.data.folder.display())
        })?;
        let cluster = Cluster::open(&config.data.folder, &search_path()).await?;
        Ok(Self { options: cluster.connect_options(), cluster: Some(Arc::new(cluster)) })
    }

    /// Opens the database and brings it up to date. One that cannot be is closed again.
    pub(crate) async fn open_current(config: &Config) -> Result<(Self, PgPool)> {
        let database = Self::open(config).await?;
        match crate::adapters::postgres::connect(database.options.clone()).await {
            Ok(pool) => Ok((database, pool)),
            Err(error) => {
                database.close().await?;
                Err(error.into())
            }
        }
    }

    /// The programs of this database's PostgreSQL: the cluster's own, or the newest there are.
    pub(crate) fn binaries(&self) -> Result<Binaries> {
        match &self.cluster {
            Some(cluster) => Ok(cluster.binaries().clone()),
            None => Ok(Binaries::find(&search_path())?),
        }
    }

    /// The private cluster, if there is one.
    pub(crate) fn cluster(&self) -> Option<Arc<Cluster>> {
        self.cluster.clone()
    }

    /// Gives the private cluster back; its last user stops it.
    pub(crate) async fn close(self) -> Result<()> {
        // Whoever looked after the cluster has ended by now; a hold that is left is given back when it ends.
        if let Some(cluster) = self.cluster.and_then(Arc::into_inner) {
            cluster.close().await?;
        }
        Ok(())
    }
}

/// The house, wired.
pub(crate) struct House {
    pub database: Database,
    pub pool: PgPool,
    pub clock: Arc<dyn Clock>,
    pub store: Arc<dyn MediaStore>,
    pub local_store: LocalStore,
    pub weeks: Weeks,
    pub lives: Lives,
    pub jobs: Jobs,
    pub reactions: Reactions,
    pub accounts: Accounts,
    pub health: Health,
    pub channels: Channels,
    pub viewers: Viewers,
    pub audience: Audience,
    pub audience_log: PostgresAudienceLog,
    pub boards: Boards,
    pub cameras: Cameras,
    pub footage: CameraFootage,
    pub glances: Glances,
    pub resources: Resources,
    pub alerts: Alerts,
    /// What happens on the linked channels; taken by the listener. None when other processes listen.
    pub source: Option<EventsubSource>,
    pub elsewhere: Option<Arc<ListeningElsewhere>>,
    cpu_clock: Arc<dyn CpuClock>,
    renders: RunningRenders,
    tenants: Arc<dyn Tenants>,
    mailbox: Option<Arc<dyn Mailbox>>,
}

impl House {
    /// Opens the database and the media, and wires the use cases. `listener` names a process that only listens.
    pub(crate) async fn open(config: &Config, listener: Option<&str>) -> Result<Self> {
        let local_store = LocalStore::open(&media_folder(config))?;
        let (database, pool) = Database::open_current(config).await?;
        let fonts_dir = lay_out_fonts(&config.data.folder)?;
        let store: Arc<dyn MediaStore> = Arc::new(local_store.clone());
        let logs = PostgresLedger::new(pool.clone());
        let ledger: Arc<dyn Ledger> = Arc::new(logs.clone());
        let shelves: Arc<dyn Shelves> = Arc::new(PostgresShelves::new(pool.clone()));
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let program = std::env::current_exe().context("cannot find spark's own program")?;
        let watch = Watch::open(config, &clock);
        let triggers = Triggers::try_new(config.resources.triggers())
            .context("the triggers under [resources] cannot be used")?;
        let resources = Resources::new(watch.meters, triggers);
        let admission: Arc<dyn Admission> = match config.resources.enforce {
            Switch::On => Arc::new(resources.clone()),
            Switch::Off => Arc::new(OpenDoor),
        };
        let engine = Arc::new(
            FfmpegEngine::admitted(EngineSettings::new(program), admission)
                .context("cannot start the media engine")?,
        );
        let renders = engine.running();
        let lives = Lives {
            ledger: ledger.clone(),
            shelves: shelves.clone(),
            store: store.clone(),
            engine: engine.clone(),
            chats: Arc::new(ChatFiles),
            clock: clock.clone(),
        };
        let moments = Moments {
            ledger: ledger.clone(),
            shelves: shelves.clone(),
            store: store.clone(),
            engine: engine.clone(),
        };
        let footage = CameraFootage {
            footage: Arc::new(LocalFootage::at(&config.dvr_folder())),
            clock: clock.clone(),
        };
        let clips = Clips {
            ledger: ledger.clone(),
            shelves: shelves.clone(),
            store: store.clone(),
            engine: engine.clone(),
            footage: footage.clone(),
            clock: clock.clone(),
            fonts_dir,
            watermark: config.reels.watermark.clone(),
        };
        let glances = Glances::new(footage.clone(), engine, store.clone());
        let queue = Arc::new(PostgresJobQueue::new(pool.clone()));
        let people = Arc::new(PostgresPeople::new(logs));
        let accounts = Accounts { people, clock: clock.clone(), passwords: Passwords::default() };
        let health = Health {
            ledger: ledger.clone(),
            queue: queue.clone(),
            store: store.clone(),
            host: Arc::new(LinuxHost),
        };
        let channels = channels(config, &pool, &clock)?;
        let spool = listener.map_or_else(|| "spool".to_owned(), |name| format!("spool-{name}"));
        let audience_log = PostgresAudienceLog::new(pool.clone());
        let audience = audience(config, &spool, &audience_log, &clock, &ledger, &shelves)?;
        let samples = Arc::new(PostgresViewerSamples::new(pool.clone()));
        let listeners: Arc<dyn Listeners> = Arc::new(PostgresListeners::new(pool.clone()));
        let listens = listener.is_some() || config.twitch.listen == Listen::Here;
        let (source, elsewhere, listening) = if listens {
            let deliveries = Arc::new(helix(config, &clock)?);
            let name = listen::name_of(config, listener.unwrap_or("serve"));
            let key = link_key(&config.data.folder, &*clock)?;
            let connection =
                listen::connection(config, name, &channels, &audience, deliveries, listeners);
            let source = EventsubSource::new(connection, listen::transport(config, &key)?);
            let health: Arc<dyn Listening> = Arc::new(source.health());
            (Some(source), None, health)
        } else {
            let elsewhere = Arc::new(ListeningElsewhere::new(listeners));
            let health: Arc<dyn Listening> = elsewhere.clone();
            (None, Some(elsewhere), health)
        };
        let mailbox = source.as_ref().and_then(EventsubSource::door);
        let boards = Boards::new(
            audience.log.clone(),
            ledger.clone(),
            shelves.clone(),
            samples.clone(),
            listening,
            clock.clone(),
            config.moments.live(),
        );
        let alerts = crate::boot::alerts::alerts(config, &pool, &clock)?;
        let weeks =
            Weeks { ledger: ledger.clone(), shelves: shelves.clone(), samples: samples.clone() };
        let desk = Arc::new(LocalRecorder::at(&config.recorder_socket())?);
        let alignments = Alignments { clips: clips.clone(), desk: desk.clone() };
        let cameras = Cameras {
            ledger: ledger.clone(),
            shelves: shelves.clone(),
            desk,
            indexer: Indexer {
                footage: footage.footage.clone(),
                index: Arc::new(PostgresFootageIndex::new(pool.clone())),
            },
            clock: clock.clone(),
        };
        let gaps = Gaps { audience: audience.clone(), channels: channels.clone() };
        let viewers = Viewers { channels: channels.clone(), samples, clock: clock.clone() };
        Ok(Self {
            audience,
            audience_log,
            boards,
            cameras,
            footage,
            glances,
            resources,
            alerts,
            source,
            elsewhere,
            renders,
            cpu_clock: watch.cpu_clock,
            tenants: watch.tenants,
            mailbox: mailbox.map(|door| Arc::new(door) as Arc<dyn Mailbox>),
            channels,
            viewers,
            accounts,
            health,
            weeks,
            jobs: Jobs { queue, lives: lives.clone(), moments, clips, gaps, alignments },
            reactions: Reactions { ledger },
            database,
            pool,
            clock,
            store,
            local_store,
            lives,
        })
    }

    /// Watches the machine, and has the renders of this process governed, until `stop`. Gives what must end before the house
    /// closes.
    pub(crate) fn keep_below_ceiling(
        &self,
        config: &Config,
        tasks: &mut JoinSet<()>,
        stop: &CancellationToken,
    ) -> Result<()> {
        tasks.spawn(crate::workers::resource_keeper::run(self.resources.clone(), stop.clone()));
        if config.resources.enforce == Switch::Off {
            tracing::warn!("the ceiling is not enforced: renders take what they can get");
            return Ok(());
        }
        let renders = Arc::new(self.renders.clone());
        let (clock, resources) = (self.cpu_clock.clone(), self.resources.clone());
        let governor = crate::workers::governor::start(clock, renders, resources, stop.clone())
            .context("cannot start the governor of the renders")?;
        tasks.spawn(async move {
            // It ends within a turn of `stop`.
            let _ = tokio::task::spawn_blocking(move || governor.join()).await;
        });
        Ok(())
    }

    /// Keeps the past of the machine and reads what is not the machine's own, until `stop`. Gives what must end before the house
    /// closes.
    pub(crate) fn keep_history(
        &self,
        tasks: &mut JoinSet<()>,
        stop: &CancellationToken,
    ) -> Result<()> {
        let kept = Arc::new(PostgresMachine::new(self.pool.clone()));
        let (resources, clock) = (self.resources.clone(), self.clock.clone());
        tasks.spawn(crate::workers::resource_history::run(
            resources.clone(),
            kept,
            clock,
            stop.clone(),
        ));
        let runtime = tokio::runtime::Handle::current();
        let meter = crate::workers::queue_meter::start(runtime, resources, stop.clone())
            .context("cannot start to measure how long requests wait")?;
        tasks.spawn(async move {
            // It ends within a probe of `stop`.
            let _ = tokio::task::spawn_blocking(move || meter.join()).await;
        });
        Ok(())
    }

    /// Has people told of what is wrong, until `stop`.
    pub(crate) fn keep_alert(
        &self,
        config: &Config,
        tasks: &mut JoinSet<()>,
        stop: &CancellationToken,
    ) {
        let watched = Watched {
            resources: self.resources.clone(),
            plan: config.resources.plan.plan().cloned(),
            is_governed: config.resources.enforce == Switch::On,
            clock: self.clock.clone(),
        };
        let (alerts, stop) = (self.alerts.clone(), stop.clone());
        tasks.spawn(crate::workers::alert_keeper::run(alerts, watched, stop));
    }

    /// What the web is made of.
    pub(crate) fn web_parts(&self, config: &Config) -> Result<Parts> {
        Ok(Parts {
            weeks: self.weeks.clone(),
            lives: self.lives.clone(),
            moments: self.jobs.moments.clone(),
            clips: self.jobs.clips.clone(),
            jobs: self.jobs.clone(),
            accounts: self.accounts.clone(),
            health: self.health.clone(),
            channels: self.channels.clone(),
            audience: self.audience.clone(),
            boards: self.boards.clone(),
            cameras: self.cameras.clone(),
            footage: self.footage.clone(),
            glances: self.glances.clone(),
            resources: self.resources.clone(),
            alerts: self.alerts.clone(),
            tenants: self.tenants.clone(),
            mailbox: self.mailbox.clone(),
            store: self.store.clone(),
            clock: self.clock.clone(),
            link_key: link_key(&config.data.folder, &*self.clock)?,
            settings: Settings {
                base_url: config.web.public_url.clone(),
                measures_token: config.web.measures_token.clone(),
                behind_proxy: config.web.behind_proxy == 1,
                upload_bytes_max: config.web.upload_bytes_max,
                engine: engine_skills(),
                hours_a_day: config.record.hours_a_day,
                plan: config.resources.plan.plan().cloned(),
            },
        })
    }

    /// Closes in the order of need: the pool first, then the cluster.
    pub(crate) async fn close(self) -> Result<()> {
        self.pool.close().await;
        self.database.close().await
    }
}

/// The linked channels of a database.
pub(crate) fn channels(config: &Config, pool: &PgPool, clock: &Arc<dyn Clock>) -> Result<Channels> {
    let twitch = config.twitch.settings();
    let keys = config.twitch.vault_keys.clone();
    let keys = keys.unwrap_or_else(|| config.data.folder.join("vault.keys"));
    let vault = PostgresVault::new(pool.clone(), keys, clock.clone());
    let identity = TwitchIdentity::try_new(twitch, clock.clone())?;
    let helix = Arc::new(helix(config, clock)?);
    Ok(Channels::new(Arc::new(vault), Arc::new(identity), helix, clock.clone()))
}

/// Twitch's web interface.
fn helix(config: &Config, clock: &Arc<dyn Clock>) -> Result<TwitchHelix> {
    Ok(TwitchHelix::try_new(config.twitch.settings(), HelixLimits::default(), clock.clone())?)
}

/// The audience of a database, with its spool in a folder of this name within the data folder.
pub(crate) fn audience(
    config: &Config,
    spool: &str,
    log: &PostgresAudienceLog,
    clock: &Arc<dyn Clock>,
    ledger: &Arc<dyn Ledger>,
    shelves: &Arc<dyn Shelves>,
) -> Result<Audience> {
    let spool = Arc::new(LocalSpool::open(&config.data.folder.join(spool))?);
    Ok(Audience::new(Arc::new(log.clone()), ledger.clone(), shelves.clone(), spool, clock.clone()))
}

/// What the media engine can do, as « Santé » tells it.
fn engine_skills() -> EngineSkills {
    let (version, missing) = crate::adapters::ffmpeg::capabilities();
    EngineSkills { version, missing: missing.iter().map(ToString::to_string).collect() }
}

/// The key that signs media links: drawn once, kept for its owner alone.
fn link_key(data: &Path, clock: &dyn Clock) -> Result<[u8; 32]> {
    let path = data.join("link.key");
    if let Ok(standing) = std::fs::read(&path) {
        return <[u8; 32]>::try_from(standing).map_err(|_| {
            anyhow::anyhow!(
                "`{}` is not a key of 32 bytes: remove it, links will be signed anew",
                path.display()
            )
        });
    }
    let key = clock.new_secret();
    let doing = || format!("cannot write `{}`", path.display());
    // Whole or not at all: half a key would stop every later start. Of two who draw one, the first stays.
    let temporary = data.join(format!(".link.key.{}", std::process::id()));
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .with_context(doing)?;
    file.write_all(&key).and_then(|()| file.sync_all()).with_context(doing)?;
    let linked = std::fs::hard_link(&temporary, &path);
    std::fs::remove_file(&temporary).with_context(doing)?;
    match linked {
        Ok(()) => Ok(key),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => link_key(data, clock),
        Err(error) => Err(error).with_context(doing),
    }
}

/// Where the media of a data folder lie.
pub(crate) fn media_folder(config: &Config) -> PathBuf {
    config.data.folder.join("media")
}
