//! `spark cameras align`: how far the cameras are apart, by their sound.

use anyhow::{Result, bail};

use crate::boot::cli::AlignArgs;
use crate::boot::config::Config;
use crate::boot::wire::House;
use crate::use_cases::clips::align::{Found, LOOK_BACK, Standing};

/// Measures, keeps what was found, and prints it.
pub(crate) async fn align(config: &Config, span: &AlignArgs) -> Result<()> {
    let house = House::open(config, None).await?;
    let to = span.to.unwrap_or_else(|| house.clock.now());
    let from = span.from.unwrap_or(to - LOOK_BACK);
    let found = if from < to {
        house.jobs.alignments.align(from, to).await.map_err(anyhow::Error::from)
    } else {
        Err(anyhow::anyhow!("--from comes after --to: there is nothing to listen to"))
    };
    house.close().await?;
    let found = found?;
    if found.is_empty() {
        bail!("there is no camera: add one on the page /regie first");
    }
    print!("{}", table(&found));
    Ok(())
}

fn table(found: &[Found]) -> String {
    let names = found.iter().map(|it| it.camera.name.as_str().chars().count());
    let wide = names.max().unwrap_or(0).max("camera".len());
    let mut lines = format!(
        "{:<wide$}  {:>10}  {:>9}  {:>11}  {:>7}  {:>10}\n",
        "camera", "offset ms", "drift ppm", "residual ms", "windows", "confidence"
    );
    for Found { camera, standing } in found {
        let name = camera.name.as_str();
        lines += &match standing {
            Standing::Reference => format!("{name:<wide$}  reference\n"),
            Standing::Not(reason) => format!("{name:<wide$}  not aligned: {reason}\n"),
            Standing::Aligned(it) => format!(
                "{name:<wide$}  {:>+10.1}  {:>+9.1}  {:>11.2}  {:>7}  {:>10.0}\n",
                it.behind_ns as f64 / 1e6,
                it.line.ppm,
                it.line.residual_ms,
                it.line.windows,
                it.z(),
            ),
        };
    }
    lines
}
