//! `spark doctor`: what spark needs on this machine, what is there, and what to do about what is missing.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::adapters::clock::SystemClock;
use crate::adapters::postgres::cluster::{Binaries, Cluster};
use crate::boot::config::{Config, search_path};
use crate::boot::fonts::font_names;
use crate::boot::resources::{Watch, told_disagreements};
use crate::boot::wire::media_folder;
use crate::domain::resources::plan::disagreements;
use crate::ports::clock::Clock;
use crate::ports::media_store::FREE_BYTES_KEPT;

/// Free space below which a recording of an evening does not fit, in bytes.
const FREE_BYTES_WISHED: u64 = 20 * 1024 * 1024 * 1024;

/// Time over which CPU is measured.
const CPU_WINDOW: Duration = Duration::from_millis(300);

/// One line of the report.
enum Finding {
    Good(String),
    /// Works, with a caution.
    Fair(String),
    /// Missing; the second says what to do.
    Bad(String, String),
}

/// Prints the report; an error when something is missing.
pub(crate) async fn doctor(config: &Config) -> Result<()> {
    let findings = [
        ("FFmpeg", ffmpeg()),
        ("SRT", Finding::Good(format!("libsrt {}", crate::adapters::srt::version()))),
        ("PostgreSQL", postgres(config).await),
        ("Disk", disk(config)),
        ("Memory", memory()),
        ("Plan", plan(config).await),
        ("Fonts", fonts()),
        ("Port", port(config)),
    ];
    let mut missing = 0;
    for (what, finding) in &findings {
        match finding {
            Finding::Good(text) => println!("  ok       {what:<11} {text}"),
            Finding::Fair(text) => println!("  caution  {what:<11} {text}"),
            Finding::Bad(text, remedy) => {
                missing += 1;
                println!("  MISSING  {what:<11} {text}\n           {:<11} → {remedy}", "");
            }
        }
    }
    println!("\nData folder: {}", config.data.folder.display());
    if missing > 0 {
        bail!("{missing} things are missing; the arrows above say what to do")
    }
    println!("Everything spark needs is here.");
    Ok(())
}

fn ffmpeg() -> Finding {
    let (version, missing) = crate::adapters::ffmpeg::capabilities();
    if missing.is_empty() {
        Finding::Good(format!("libavcodec {version}, with every codec and filter that reels need"))
    } else {
        Finding::Bad(
            format!("libavcodec {version} lacks {}", missing.join(", ")),
            "install a full FFmpeg, on Debian: apt-get install ffmpeg libavfilter-extra".to_owned(),
        )
    }
}

async fn postgres(config: &Config) -> Finding {
    if let Some(url) = &config.database.url {
        let Ok(options) = url.parse::<sqlx::postgres::PgConnectOptions>() else {
            return Finding::Bad(
                "the database URL cannot be read".into(),
                "write postgres://user@host/database".into(),
            );
        };
        return match crate::adapters::postgres::open_pool(options).await {
            Ok(_) => Finding::Good("the configured server answers".into()),
            Err(error) => Finding::Bad(
                format!("{:#}", anyhow::Error::from(error)),
                "check DATABASE_URL".into(),
            ),
        };
    }
    let binaries = match Binaries::find(&search_path()) {
        Ok(binaries) => binaries,
        Err(error) => {
            return Finding::Bad(
                error.to_string(),
                "on Debian: apt-get install postgresql (see deploy/dev/setup)".into(),
            );
        }
    };
    match Cluster::status(&config.data.folder, &search_path()) {
        Ok(status) => Finding::Good(format!(
            "PostgreSQL {}, private cluster: {:?}",
            binaries.major(),
            status.state
        )),
        Err(error) => {
            Finding::Bad(format!("{:#}", anyhow::Error::from(error)), "see the message".into())
        }
    }
}

fn disk(config: &Config) -> Finding {
    let folder = media_folder(config);
    let Some(standing) = folder.ancestors().find(|folder| folder.exists()) else {
        return Finding::Bad(
            "no folder of the data path exists".into(),
            "choose another --data".into(),
        );
    };
    match rustix::fs::statvfs(standing) {
        Err(error) => Finding::Bad(
            format!("cannot measure `{}`: {error}", standing.display()),
            "choose another --data".into(),
        ),
        Ok(stat) => {
            let free = stat.f_bavail * stat.f_frsize;
            let text = format!("{:.1} GB free for media", free as f64 / 1e9);
            if free < FREE_BYTES_KEPT {
                Finding::Bad(text, "free some space: imports are refused".into())
            } else if free < FREE_BYTES_WISHED {
                Finding::Fair(format!("{text}; an evening of 6 Mbit/s takes 20 GB"))
            } else {
                Finding::Good(text)
            }
        }
    }
}

fn memory() -> Finding {
    let Ok(mut system) = sysinfo::System::new() else {
        return Finding::Fair("the kernel tells nothing about memory".into());
    };
    system.refresh_memory();
    let gigabytes = system.available_memory() as f64 / 1e9;
    let text = format!("{gigabytes:.1} GB available");
    if gigabytes < 1.0 {
        Finding::Fair(format!("{text}; a render takes about 0.5 GB"))
    } else {
        Finding::Good(text)
    }
}

/// What the hosting plan promises against what the machine has. The time over which CPU is measured is waited for.
async fn plan(config: &Config) -> Finding {
    let Some(plan) = config.resources.plan.plan() else {
        return Finding::Good(
            "none: what the machine itself says counts (plan under [resources])".into(),
        );
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let watch = Watch::open(config, &clock);
    tokio::time::sleep(CPU_WINDOW).await;
    let found = disagreements(plan, &watch.meters.read());
    if found.is_empty() {
        return Finding::Good(format!("{}, as this machine is", plan.name));
    }
    let told = told_disagreements(&found).join("; ");
    Finding::Fair(format!("{} is not this machine; the smaller of both counts: {told}", plan.name))
}

fn fonts() -> Finding {
    let names = font_names();
    if names.is_empty() {
        Finding::Bad(
            "this binary carries no fonts".into(),
            "build it from a whole checkout (media/fonts)".into(),
        )
    } else {
        Finding::Good(format!("{} carried in the binary", names.join(", ")))
    }
}

fn port(config: &Config) -> Finding {
    match TcpListener::bind(config.web.listen) {
        Ok(_) => Finding::Good(format!("{} is free", config.web.listen)),
        Err(error) => Finding::Fair(format!(
            "{} cannot be used now ({error}); fine if that is spark itself, else --listen another",
            config.web.listen
        )),
    }
}
