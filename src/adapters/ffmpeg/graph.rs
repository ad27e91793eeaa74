//! A filter graph with one picture input and one picture output, built on the first decoded picture.

use std::path::Path;

use ffmpeg_next::{filter, frame};

use crate::adapters::ffmpeg::ffi;
use crate::adapters::ffmpeg::inspect::pixel_name;
use crate::adapters::ffmpeg::job::stage_threads;
use crate::adapters::ffmpeg::open::{failed, wants_more};
use crate::ports::media_engine::MediaError;

/// Ticks per second on a graph's input: fine enough for every rate in use.
pub(super) const GRAPH_HZ: i32 = 90_000;

/// Pictures in, pictures out.
pub(super) struct PictureGraph {
    graph: filter::Graph,
    shape: Shape,
}

/// What a graph is built for; a picture of another shape needs another graph.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Shape {
    width: u32,
    height: u32,
    format: ffmpeg_next::format::Pixel,
}

impl Shape {
    fn of(picture: &frame::Video) -> Self {
        Self { width: picture.width(), height: picture.height(), format: picture.format() }
    }
}

impl PictureGraph {
    /// Builds `spec` for pictures like `first`. `spec` is ours: it never holds words of people.
    pub(super) fn try_new(first: &frame::Video, spec: &str) -> Result<Self, MediaError> {
        let building = failed("préparation de l'image");
        let missing = |what: &str| MediaError::Missing { what: format!("filtre {what}") };
        let mut graph = filter::Graph::new();
        ffi::set_graph_threads(&mut graph, stage_threads() as i32);
        let shape = Shape::of(first);
        let aspect = first.aspect_ratio();
        let (num, den) = (aspect.numerator(), aspect.denominator());
        let (num, den) = if num > 0 && den > 0 { (num, den) } else { (1, 1) };
        let args = format!(
            "video_size={}x{}:pix_fmt={}:time_base=1/{GRAPH_HZ}:pixel_aspect={num}/{den}",
            shape.width,
            shape.height,
            pixel_name(shape.format),
        );
        let source = filter::find("buffer").ok_or_else(|| missing("buffer"))?;
        let sink = filter::find("buffersink").ok_or_else(|| missing("buffersink"))?;
        graph.add(&source, "in", &args).map_err(&building)?;
        graph.add(&sink, "out", "").map_err(&building)?;
        graph
            .output("in", 0)
            .and_then(|parser| parser.input("out", 0))
            .and_then(|parser| parser.parse(spec))
            .and_then(|()| graph.validate())
            .map_err(&building)?;
        Ok(Self { graph, shape })
    }

    /// True when `picture` has the size and format the graph was built for.
    pub(super) fn fits(&self, picture: &frame::Video) -> bool {
        self.shape == Shape::of(picture)
    }

    /// Puts a picture in, stamped in [`GRAPH_HZ`] ticks.
    pub(super) fn push(&mut self, picture: &frame::Video) -> Result<(), MediaError> {
        let mut source = self.graph.get("in").expect("added in try_new");
        source.source().add(picture).map_err(failed("préparation de l'image"))
    }

    /// Says that no more pictures come and that the last one is shown until `end_s`.
    pub(super) fn finish(&mut self, end_s: f64) -> Result<(), MediaError> {
        let mut source = self.graph.get("in").expect("added in try_new");
        let end = (end_s * f64::from(GRAPH_HZ)).round() as i64;
        source.source().close(end).map_err(failed("préparation de l'image"))
    }

    /// Takes the next picture out, if there is one.
    pub(super) fn pull(&mut self, picture: &mut frame::Video) -> Result<bool, MediaError> {
        let mut sink = self.graph.get("out").expect("added in try_new");
        match sink.sink().frame(picture) {
            Ok(()) => Ok(true),
            Err(error) if wants_more(error) => Ok(false),
            Err(error) => Err(failed("préparation de l'image")(error)),
        }
    }
}

/// The filters that turn a picture upright, by the clockwise turn a player would apply.
pub(super) fn upright(rotation_degrees: u32) -> &'static str {
    match rotation_degrees {
        90 => "transpose=clock,",
        180 => "hflip,vflip,",
        270 => "transpose=cclock,",
        _ => "",
    }
}

/// Writes a path so that the filter parser reads it as one value: first the option's level, then the graph's
/// (ffmpeg-filters(1), "Notes on filtergraph escaping"). Only names this house generated come here, but the
/// folders they lie in may be called anything.
pub(super) fn escaped(path: &Path) -> Result<String, MediaError> {
    let text = path.to_str().ok_or_else(|| MediaError::BadOrder {
        detail: "Le nom d'un dossier de travail n'est pas de l'UTF-8.".to_owned(),
    })?;
    let escape = |text: &str, special: &[char]| -> String {
        text.chars()
            .flat_map(|c| special.contains(&c).then_some('\\').into_iter().chain([c]))
            .collect()
    };
    Ok(escape(&escape(text, &['\\', '\'', ':']), &['\\', '\'', '[', ']', ',', ';']))
}
