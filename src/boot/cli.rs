//! The command line: what spark can be asked to do.

use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use chrono::{DateTime, Utc};
use clap::{Args, Parser, Subcommand};

use crate::boot::config::{self, Config};
use crate::rehearsal::cameras::{Fault, Over};

/// SPARK: from a stream to moments, clips and reels, on one machine.
#[derive(Debug, Parser)]
#[command(name = "spark", version, about, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    role: Role,
    #[command(flatten)]
    settings: Settings,
}

const AFTER_HELP: &str = "\
First steps:
  spark doctor                      what this machine has, and what is missing
  spark serve                       start everything; open the link it prints
  spark import --week \"Villa Novembre 2026\" --video vod.mp4 --chat chat.json
                                    bring a past stream in: clips and reels follow

Settings come from spark.toml, then the environment (SPARK_WEB_LISTEN, DATABASE_URL, …), then flags.";

/// Settings that every role takes.
#[derive(Debug, Args)]
struct Settings {
    /// Settings file [default: ./spark.toml, if there is one]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Data folder: private database, media, secrets [default: /var/lib/spark for root, ~/.local/share/spark else]
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Run the whole product: pages, jobs, private database
    Serve(ServeArgs),
    /// Listen to Twitch in a process of its own, beside `spark serve` (with `listen = "elsewhere"` under [twitch])
    Listen {
        /// Its name among the listeners of this data folder; the same after a restart
        #[arg(long, default_value = "listener")]
        name: String,
    },
    /// Record what the cameras send, in a process of its own: nothing else can stop it
    Record,
    /// Bring a past stream in: its video and its chat
    Import(ImportArgs),
    /// Bring the database up to date, and say what it holds
    Migrate,
    /// Fold the read models anew from the event log, and compare
    Rebuild,
    /// Erase everything one viewer left: chat, notices, what waits on the spool
    Erase {
        /// The viewer, by the number Twitch knows them by
        viewer: String,
    },
    /// Write the database and the list of media to one file
    Backup {
        /// The file to write
        file: PathBuf,
    },
    /// Bring a backup back
    Restore {
        /// The file to read
        file: PathBuf,
        /// Replace what is there; without it, only an empty database is restored into
        #[arg(long)]
        replace: bool,
    },
    /// Look at this machine: what spark needs, what is there, what to do
    Doctor,
    /// Show how full the machine is against the 80 % line, and who takes what; needs no running server
    Resources(ResourcesArgs),
    /// Play a whole rehearsal: make a pretend stream, import it, show its reels, and go live on a pretend Twitch
    Rehearse(RehearseArgs),
    /// Cameras: index what they recorded, measure by their sound how far they are apart
    Cameras {
        #[command(subcommand)]
        what: Cameras,
    },
    /// Twitch: look at what it sends, link channels, rotate the keys of their tokens
    Twitch {
        #[command(subcommand)]
        what: Twitch,
    },
    /// Measure: speed, memory, precision
    Bench {
        #[command(subcommand)]
        what: Bench,
    },
    /// One media job from stdin to stdout; started by spark itself
    #[command(hide = true)]
    Render,
    /// One transport stream from stdin, taken apart to stdout; started by spark itself
    #[command(hide = true)]
    Demux {
        /// The process that started it
        parent: i32,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Address and port of the pages [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Option<SocketAddr>,
}

#[derive(Debug, Args)]
pub(crate) struct ResourcesArgs {
    /// Look again every second, until Ctrl-C
    #[arg(long)]
    pub watch: bool,
    /// One JSON line a look
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// Name of the villa week; it is opened if it does not exist
    #[arg(long)]
    pub week: String,
    /// The video: anything FFmpeg reads
    #[arg(long, value_name = "FILE")]
    pub video: PathBuf,
    /// The chat: TwitchDownloader JSON, Twitch's comment list (also gzipped), or a table `seconds, user, text`
    #[arg(long, value_name = "FILE")]
    pub chat: PathBuf,
    /// When the stream began, such as 2026-11-07T20:00:00+01:00 [default: what the chat says]
    #[arg(long, value_name = "RFC3339")]
    pub started_at: Option<DateTime<Utc>>,
    /// A title [default: what the chat says, or the video's name]
    #[arg(long)]
    pub title: Option<String>,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct RehearseArgs {
    #[command(subcommand)]
    pub only: Option<RehearseOnly>,
    /// Stop after the reels are there and play, with exit code 0
    #[arg(long)]
    pub once: bool,
    /// Length of the pretend stream, in minutes (3 to 30)
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(3..=30))]
    pub minutes: u32,
    /// Address and port of the pages
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Only write the stream's video and chat into this folder
    #[arg(long, value_name = "DIR")]
    pub only_write: Option<PathBuf>,
}

/// Parts of a rehearsal that can be had alone.
#[derive(Debug, Subcommand)]
pub(crate) enum RehearseOnly {
    /// Serve the pretend Twitch until Ctrl-C: EventSub, OAuth and Helix on one loopback port
    Twitch(PretendTwitchArgs),
    /// Publish a film from pretend cameras over RTMP and SRT, until Ctrl-C
    Cameras(PretendCamerasArgs),
}

#[derive(Debug, Args)]
pub(crate) struct PretendCamerasArgs {
    /// What they speak, in turns: rtmp, srt, or both as rtmp,srt; to a server on this machine
    #[arg(long, value_delimiter = ',', default_value = "rtmp", value_parser = over)]
    pub over: Vec<Over>,
    /// Where they publish instead, such as rtmp://host:1935/live or srt://host:9000; given several times, in turns
    #[arg(long, value_name = "URL", conflicts_with = "over")]
    pub to: Vec<String>,
    /// A file with the passphrase that encrypts lines over SRT
    #[arg(long, value_name = "FILE")]
    pub passphrase: Option<PathBuf>,
    /// A file with the stream keys, one a line: a camera each, six at most
    #[arg(long, value_name = "FILE")]
    pub keys: PathBuf,
    /// What they send: an FLV with H.264 and AAC [default: half a minute of the pretend evening]
    #[arg(long, value_name = "FILE")]
    pub film: Option<PathBuf>,
    /// How far the clock of each camera runs ahead of the one before, in millionths
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true, value_name = "PPM")]
    pub drift_ppm: f64,
    /// Cut each line every so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(5..=86_400))]
    pub cut_every: Option<u64>,
    /// How long a line stays cut, in seconds
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub cut_for: u64,
    /// The last camera misbehaves, ten seconds after it came
    #[arg(long, value_parser = fault)]
    pub fault: Option<Fault>,
}

fn fault(word: &str) -> Result<Fault, String> {
    let found = Fault::ALL.into_iter().find(|(name, _)| *name == word);
    found
        .map(|(_, fault)| fault)
        .ok_or_else(|| format!("it is one of {}", Fault::ALL.map(|(name, _)| name).join(", ")))
}

fn over(word: &str) -> Result<Over, String> {
    let found = Over::ALL.into_iter().find(|(name, _)| *name == word);
    found
        .map(|(_, over)| over)
        .ok_or_else(|| format!("it is one of {}", Over::ALL.map(|(name, _)| name).join(", ")))
}

#[derive(Debug, Args)]
pub(crate) struct PretendTwitchArgs {
    /// Where it listens, on loopback; port 0 takes a free one
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8090")]
    pub listen: SocketAddr,
    /// A past chat log to play on the first channel: lines of seconds, user and text with tabs between
    /// [default: an evening of the house's own on every channel]
    #[arg(long, value_name = "FILE", conflicts_with = "script")]
    pub chat: Option<PathBuf>,
    /// A script to play instead: JSON lines such as {"at": 12.5, "do": "raid", "channel": "villanour", "from": "Ami", "viewers": 40}
    #[arg(long, value_name = "FILE")]
    pub script: Option<PathBuf>,
    /// How many times as fast as it was
    #[arg(long, default_value_t = 1.0)]
    pub speed: f64,
    /// How many creators have a channel
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub channels: u16,
    /// Length of the house's own evening, in minutes
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=240))]
    pub minutes: u32,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Cameras {
    /// Make the index in the database anew from the recordings, and say what was different
    Index,
    /// Measure how far the cameras are apart and how fast their clocks drift, and keep it: clips of a mark begin at one word
    Align(AlignArgs),
}

#[derive(Debug, Args)]
pub(crate) struct AlignArgs {
    /// The earliest that is listened to, such as 2026-11-07T20:00:00+01:00 [default: two hours before the end]
    #[arg(long, value_name = "RFC3339")]
    pub from: Option<DateTime<Utc>>,
    /// The latest [default: now]
    #[arg(long, value_name = "RFC3339")]
    pub to: Option<DateTime<Utc>>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Twitch {
    /// Say of each EventSub payload whether it is understood, one JSON line a payload
    #[command(after_help = crate::boot::twitch::DECODE_HELP)]
    Decode {
        /// Files of WebSocket frames or bare webhook bodies: one, a JSON array of them, or JSON lines
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Link a channel from this terminal: shows a code to type at Twitch, and waits
    Link {
        /// Ask for an optional permission besides: messages, announcements, raids, conduits
        #[arg(long = "with", value_name = "FEATURE")]
        with: Vec<String>,
    },
    /// Make a new key for the token vault and seal every token with it; a running server goes on
    RotateKeys,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// How good the moments are, on a folder of chats (*.tsv.gz) with labels.json
    Moments {
        /// The folder
        dir: PathBuf,
        /// How far the chat runs behind the picture, in seconds
        #[arg(long)]
        delay: Option<f64>,
        /// Where to write the picks, best first
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// How fast cuts and renders are, against FFmpeg's own program in the same run
    Media,
    /// What recording costs beside `ffmpeg -c copy`, that nothing is missing, and how evenly parts reach the disk
    Record(RecordBenchArgs),
    /// Whether the machine stays below 80 % while everything happens at once, with the governor of the renders and without
    Ceiling(CeilingArgs),
    /// How long spark takes to start and how much memory it holds when idle
    Idle,
    /// Says ten times a second how busy the machine is; started by another measurement
    #[command(hide = true)]
    Sampler,
    /// What a server goes through when all live pages lose their line at once and come back as they were told to
    Reconnect(ReconnectArgs),
    /// How many messages a second go from Twitch's sockets to the live pages, how late, and at what cost
    Audience(AudienceArgs),
}

#[derive(Debug, Args)]
pub(crate) struct RecordBenchArgs {
    /// How long is recorded
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(15..=86_400))]
    pub seconds: u64,
    /// How many cameras of 1080p30 at 6 Mbit/s
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=6))]
    pub cameras: u8,
    /// Reels rendered at the same time
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=4))]
    pub renders: u8,
}

#[derive(Debug, Args)]
pub(crate) struct CeilingArgs {
    /// How long it is held with the governor
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub minutes: u64,
    /// How long it runs without
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(0..=60))]
    pub free_minutes: u64,
    /// How many cameras of 1080p30 at 6 Mbit/s record
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=6))]
    pub cameras: u8,
    /// Live pages that are open
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(0..=4_000))]
    pub clients: u16,
    /// Messages a second, on 12 channels together
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(12..=10_000))]
    pub rate: u64,
}

#[derive(Debug, Args)]
pub(crate) struct ReconnectArgs {
    /// Live pages that are open
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u16).range(1..=7_000))]
    pub clients: u16,
}

#[derive(Debug, Args)]
pub(crate) struct AudienceArgs {
    /// How long the channels talk while all pages are open
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub seconds: u64,
    /// Live pages that are open
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u16).range(1..=4_000))]
    pub clients: u16,
    /// Messages a second, on 12 channels together
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u64).range(12..=10_000))]
    pub rate: u64,
    /// Folder in which the twurple client is installed [default: clients/node beside the folder of this program, where
    /// `make test` puts it]
    #[arg(long, value_name = "DIR")]
    pub twurple: Option<PathBuf>,
}

/// Reads the command line and does what it asks.
pub fn run() -> Result<ExitCode> {
    let cli = Cli::parse();
    // A renderer reads no settings and starts no runtime: it does one job and ends.
    if let Role::Render = cli.role {
        return Ok(crate::adapters::ffmpeg::render_role());
    }
    if let Role::Demux { parent } = cli.role {
        return Ok(crate::adapters::ffmpeg::demux::demux_role(parent));
    }
    if let Role::Bench { what } = &cli.role {
        crate::boot::bench::bench(what)?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Role::Twitch { what: Twitch::Decode { files } } = &cli.role {
        return crate::boot::twitch::decode(files, &mut std::io::stdout().lock());
    }
    let config = read_settings(&cli)?;
    let by_default = match cli.role {
        Role::Import(_)
        | Role::Rehearse(_)
        | Role::Resources(_)
        | Role::Cameras { .. }
        | Role::Twitch { .. } => "warn",
        _ => "info",
    };
    crate::boot::logs::start(&config.logs, by_default);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .enable_all()
        .build()?;
    runtime.block_on(async move {
        match cli.role {
            Role::Serve(_) => crate::boot::serve::serve(config).await,
            Role::Listen { name } => crate::boot::listen::listen(config, &name).await,
            Role::Record => crate::boot::record::record(&config).await,
            Role::Cameras { what: Cameras::Index } => crate::boot::keep::index(&config).await,
            Role::Import(args) => crate::boot::import::import(&config, args).await,
            Role::Migrate => crate::boot::keep::migrate(&config).await,
            Role::Rebuild => crate::boot::keep::rebuild(&config).await,
            Role::Erase { viewer } => crate::boot::keep::erase(&config, &viewer).await,
            Role::Backup { file } => crate::boot::keep::backup(&config, &file).await,
            Role::Restore { file, replace } => {
                crate::boot::keep::restore(&config, &file, replace).await
            }
            Role::Doctor => crate::boot::doctor::doctor(&config).await,
            Role::Resources(args) => crate::boot::resources::resources(&config, &args).await,
            Role::Rehearse(args) => crate::boot::rehearse::rehearse(config, args).await,
            Role::Cameras { what: Cameras::Align(span) } => {
                crate::boot::align::align(&config, &span).await
            }
            Role::Twitch { what: Twitch::Link { with } } => {
                crate::boot::channels::link(&config, &with).await
            }
            Role::Twitch { what: Twitch::RotateKeys } => {
                crate::boot::channels::rotate_keys(&config).await
            }
            Role::Twitch { what: Twitch::Decode { .. } }
            | Role::Bench { .. }
            | Role::Render
            | Role::Demux { .. } => Ok(()),
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Threads for blocking work at most: hashing, parsing, passwords.
const BLOCKING_THREADS_MAX: usize = 16;

/// Root must not leave files in somebody else's data folder: that person's server could not touch them.
fn refuse_foreign_folder(config: &Config) -> Result<()> {
    let folder = &config.data.folder;
    let Ok(standing) = std::fs::metadata(folder) else { return Ok(()) };
    if rustix::process::geteuid().is_root() && standing.uid() != 0 {
        anyhow::bail!(
            "the data folder `{}` belongs to another account: run spark as that one, `sudo -u \\#{} spark …`",
            folder.display(),
            standing.uid()
        );
    }
    Ok(())
}

fn read_settings(cli: &Cli) -> Result<Config> {
    let mut flags: Vec<(&str, &str, String)> = Vec::new();
    if let Some(folder) = &cli.settings.data {
        flags.push(("data", "folder", folder.display().to_string()));
    }
    let listen = match &cli.role {
        Role::Serve(args) => args.listen,
        Role::Rehearse(args) if args.only.is_none() => Some(args.listen),
        _ => None,
    };
    if let Some(listen) = listen {
        flags.push(("web", "listen", listen.to_string()));
    }
    // What is not text is none of our variables.
    let texts = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let mut config = config::load(cli.settings.config.as_deref(), texts, &flags)?;
    // The private cluster and the renderers run elsewhere: paths must not hang on the present folder.
    config.data.folder = std::path::absolute(&config.data.folder)?;
    refuse_foreign_folder(&config)?;
    Ok(config)
}
