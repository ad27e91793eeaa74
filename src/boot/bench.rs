//! `spark bench`: runs a measurement and prints its figures beside the bars.

use anyhow::{Context, Result};

use crate::bench::idle::{IDLE_MB_MAX, READY_S_MAX};
use crate::boot::cli::Bench;

/// Runs a measurement. None needs the house itself: each looks at spark from outside, or at pure code.
pub(crate) fn bench(what: &Bench) -> Result<()> {
    match what {
        Bench::Moments { dir, delay, out } => {
            crate::bench::moments::run(dir, *delay, out.as_deref())?;
        }
        Bench::Media => anyhow::bail!("not wired yet"),
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
