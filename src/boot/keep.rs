//! Keeping the database: bring it up to date, rebuild what is folded from it, back it up, bring it back.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};

use crate::adapters::clock::SystemClock;
use crate::adapters::local_dvr::LocalFootage;
use crate::adapters::postgres::backup::{self, Manifest, MediaItem, Over};
use crate::adapters::postgres::{
    MIGRATIONS, PostgresAudienceLog, PostgresFootageIndex, PostgresLedger, PostgresShelves,
};
use crate::boot::config::Config;
use crate::boot::wire::Database;
use crate::ports::clock::Clock;
use crate::ports::ledger::Ledger;
use crate::ports::shelves::Shelves;
use crate::use_cases::live::index::{Indexer, Learnt};

/// Brings the database up to date.
pub(crate) async fn migrate(config: &Config) -> Result<()> {
    let (database, pool) = Database::open_current(config).await?;
    let applied = MIGRATIONS.iter().count();
    println!("The database is up to date: {applied} migrations.");
    pool.close().await;
    database.close().await
}

/// Folds the read models anew and compares them with those that stood.
pub(crate) async fn rebuild(config: &Config) -> Result<()> {
    let (database, pool) = Database::open_current(config).await?;
    let rebuilt = PostgresShelves::new(pool.clone()).rebuild().await;
    pool.close().await;
    database.close().await?;
    let mut differing = 0;
    for (model, found) in rebuilt? {
        println!("{:<10} {:>6} cards, {} differed", model.as_str(), found.cards, found.differing);
        differing += found.differing;
    }
    if differing > 0 {
        println!("{differing} cards were not what the event log says; they are now.");
    }
    Ok(())
}

/// Makes the index of footage anew from what lies in the DVR.
pub(crate) async fn index(config: &Config) -> Result<()> {
    let (database, pool) = Database::open_current(config).await?;
    let indexer = Indexer {
        footage: Arc::new(LocalFootage::at(&config.dvr_folder())),
        index: Arc::new(PostgresFootageIndex::new(pool.clone())),
    };
    let learnt = indexer.rebuild().await;
    pool.close().await;
    database.close().await?;
    let Learnt { files, parts, differing, gone } = learnt?;
    println!(
        "{files} files with {parts} parts: {differing} were unknown or different, {gone} known ones are gone."
    );
    Ok(())
}

/// Erases everything a viewer left; figures keep a pseudonym that means nothing outside its week.
pub(crate) async fn erase(config: &Config, viewer: &str) -> Result<()> {
    let is_number = !viewer.is_empty() && viewer.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number {
        bail!(
            "`{viewer}` is no viewer's number: it stands beside their name in what Twitch sends, such as 141981764"
        );
    }
    let (database, pool) = Database::open_current(config).await?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let ledger: Arc<dyn Ledger> = Arc::new(PostgresLedger::new(pool.clone()));
    let shelves: Arc<dyn Shelves> = Arc::new(PostgresShelves::new(pool.clone()));
    let log = PostgresAudienceLog::new(pool.clone());
    let audience = crate::boot::wire::audience(config, "spool", &log, &clock, &ledger, &shelves)?;
    let erased = audience.erase_viewer(viewer).await;
    pool.close().await;
    database.close().await?;
    println!("Erased {} rows of viewer {viewer}.", erased?);
    Ok(())
}

/// Writes the database and the list of media to one file.
pub(crate) async fn backup(config: &Config, file: &Path) -> Result<()> {
    // The database stays as it is: a backup before an upgrade must not be the upgrade.
    let database = Database::open(config).await?;
    let written = write_backup(&database, file).await;
    database.close().await?;
    let manifest = written?;
    println!(
        "Wrote {}: the database, and a list of {} media files.",
        file.display(),
        manifest.media.len()
    );
    println!(
        "The media themselves lie in {}; copy that folder as well.",
        crate::boot::wire::media_folder(config).display()
    );
    Ok(())
}

async fn write_backup(database: &Database, file: &Path) -> Result<Manifest> {
    let pool = crate::adapters::postgres::open_pool(database.options.clone()).await?;
    let listed = crate::adapters::postgres::media_list(&pool).await;
    pool.close().await;
    let media: Vec<MediaItem> = listed
        .context("the database has no list of media: is it a spark's?")?
        .into_iter()
        .map(|object| MediaItem {
            key: object.key.to_string(),
            size_bytes: object.bytes,
            sha256: object.sha256,
        })
        .collect();
    let binaries = database.binaries()?;
    let options = &database.options;
    Ok(backup::backup(options, &binaries, media, SystemClock.now(), file).await?)
}

/// Brings a backup back, and says which media are missing.
pub(crate) async fn restore(config: &Config, file: &Path, replace: bool) -> Result<()> {
    let database = Database::open(config).await?;
    let binaries = database.binaries()?;
    let over = if replace { Over::Anything } else { Over::Empty };
    let restored = backup::restore(&database.options, &binaries, &MIGRATIONS, over, file).await;
    let manifest = match restored {
        Ok(manifest) => manifest,
        Err(error) => {
            database.close().await?;
            return Err(error.into());
        }
    };
    let current = crate::adapters::postgres::connect(database.options.clone()).await;
    if let Ok(pool) = &current {
        pool.close().await;
    }
    database.close().await?;
    current?;
    let folder = crate::boot::wire::media_folder(config);
    let missing: Vec<&MediaItem> =
        manifest.media.iter().filter(|item| !folder.join(&item.key).exists()).collect();
    println!("Restored the database of {}.", manifest.made_at.to_rfc3339());
    for item in &missing {
        println!("missing: {} ({} bytes, sha256 {})", item.key, item.size_bytes, item.sha256);
    }
    if !missing.is_empty() {
        bail!(
            "{} of {} media files are missing: copy them into {}",
            missing.len(),
            manifest.media.len(),
            folder.display()
        );
    }
    Ok(())
}
