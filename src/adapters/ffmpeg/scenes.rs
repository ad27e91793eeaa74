//! Picture cuts inside given ranges: only those are decoded, on a small copy.

use ffmpeg_next::frame;

use crate::adapters::ffmpeg::graph::{GRAPH_HZ, PictureGraph};
use crate::adapters::ffmpeg::job::Progress;
use crate::adapters::ffmpeg::open::open;
use crate::adapters::ffmpeg::span::read_pictures;
use crate::ports::media_engine::{MediaError, SceneCutsOrder};

/// Change of picture that counts as a cut, in `scdet`'s percent (its default; 8 to 14 is its advice).
const THRESHOLD: f64 = 10.0;
/// Width of the copy that is compared, pixels.
const WIDTH: u32 = 320;
/// Ranges in one order.
const RANGES_MAX: usize = 1000;

/// Seconds of the first picture after each cut.
pub(super) fn scene_cuts(
    order: &SceneCutsOrder,
    progress: &mut Progress,
) -> Result<Vec<f64>, MediaError> {
    let bad =
        |range: &(f64, f64)| !(range.0.is_finite() && range.1.is_finite() && range.0 <= range.1);
    if order.ranges.len() > RANGES_MAX || order.ranges.iter().any(bad) {
        let detail = format!(
            "Les plages à examiner sont mal données (au plus {RANGES_MAX}, début avant fin)."
        );
        return Err(MediaError::BadOrder { detail });
    }
    let mut source = open(&order.source)?;
    let video = source.video()?;
    let spec =
        format!("scale={WIDTH}:-2:flags=fast_bilinear,format=yuv420p,scdet=threshold={THRESHOLD}");
    let total_s: f64 = order.ranges.iter().map(|(from, to)| to - from).sum();
    let mut done_s = 0.0;
    let mut cuts = Vec::new();
    for (from_s, to_s) in order.ranges.iter().copied() {
        let mut graph: Option<PictureGraph> = None;
        let mut small = frame::Video::empty();
        read_pictures(&mut source, &video, (from_s.max(0.0), to_s), &mut |picture, time_s| {
            progress.at((done_s + time_s) / total_s.max(0.1));
            let graph = match &mut graph {
                Some(graph) if graph.fits(picture) => graph,
                other => other.insert(PictureGraph::try_new(picture, &spec)?),
            };
            picture.set_pts(Some((time_s * f64::from(GRAPH_HZ)).round() as i64));
            graph.push(picture)?;
            while graph.pull(&mut small)? {
                if small.metadata().get("lavfi.scd.time").is_some() {
                    let offset_s = small.pts().unwrap_or(0) as f64 / f64::from(GRAPH_HZ);
                    cuts.push(from_s.max(0.0) + offset_s);
                }
            }
            Ok(true)
        })?;
        done_s += to_s - from_s;
    }
    cuts.sort_by(f64::total_cmp);
    cuts.dedup_by(|a, b| (*a - *b).abs() < 1e-3);
    Ok(cuts)
}
