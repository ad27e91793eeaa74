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
        let line = match standing {
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
        lines.push_str(&line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::ids::{CameraId, RecordingId};
    use crate::domain::live::camera::{CameraName, KeyHash};
    use crate::domain::live::sync::{Alignment, Line, Point};
    use crate::read_models::CameraCard;
    use crate::use_cases::clips::align::NotAligned;

    #[test]
    fn a_table_says_how_far_each_camera_is_or_why_not() {
        let camera = |name: &str| CameraCard {
            id: CameraId::from_uuid(Uuid::nil()),
            name: CameraName::try_new(name).unwrap(),
            key: KeyHash::new([0; 32]),
            key_drawn_at: chrono::DateTime::UNIX_EPOCH,
            added_at: chrono::DateTime::UNIX_EPOCH,
            retired_at: None,
            days: None,
            kept: Vec::new(),
            aligned: Vec::new(),
        };
        let line = Line { at_ns: 0, offset_ns: 0, ppm: 83.33, residual_ms: 0.007, windows: 5 };
        let recording = RecordingId::from_uuid(Uuid::nil());
        let alignment = Alignment {
            recording,
            reference: CameraId::from_uuid(Uuid::nil()),
            reference_recording: recording,
            behind_ns: 901_741_704,
            line,
            points: vec![Point { at_ns: 0, offset_ns: 0, ppm: 0.0, z: 230.0 }],
        };
        let found = [
            Found { camera: camera("Salon"), standing: Standing::Reference },
            Found { camera: camera("Cuisine"), standing: Standing::Aligned(Box::new(alignment)) },
            Found { camera: camera("Été"), standing: Standing::Not(NotAligned::NoSound) },
        ];
        let expected = "\
camera    offset ms  drift ppm  residual ms  windows  confidence
Salon    reference
Cuisine      +901.7      +83.3         0.01        5         230
Été      not aligned: it sends no sound
";
        assert_eq!(table(&found), expected);
    }
}
