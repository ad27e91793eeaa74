//! The encoder of a smart cut's edges.

use ffmpeg_next::color;

use crate::adapters::ffmpeg::cut::{Span, Stop};
use crate::adapters::ffmpeg::encode::{Colour, H264Encoder, H264Settings};
use crate::adapters::ffmpeg::ffi::{self, PictureHeader};
use crate::adapters::ffmpeg::h264::ParameterSets;
use crate::adapters::ffmpeg::open::Track;
use crate::adapters::ffmpeg::span::picture_decoder;
use crate::ports::media_engine::{MediaError, ReencodeReason};

/// The encoder of the edges, whose parameter sets stand beside the source's own.
pub(super) struct Edges {
    header: PictureHeader,
    span: Span,
    colour: Colour,
    params: String,
    /// The sets each edge is decoded with.
    pub(super) sets: ParameterSets,
}

impl Edges {
    pub(super) fn try_new(
        video: &Track,
        header: &PictureHeader,
        span: &Span,
        sets: &ParameterSets,
    ) -> Result<Self, Stop> {
        let id = sets.free_id().ok_or_else(|| {
            Stop::Reencode(ReencodeReason::Irregular {
                detail: "trop de jeux de paramètres".to_owned(),
            })
        })?;
        let decoder = picture_decoder(video)?;
        let colour = Colour {
            space: decoder.color_space(),
            range: match decoder.color_range() {
                color::Range::Unspecified => color::Range::MPEG,
                told => told,
            },
            primaries: decoder.color_primaries(),
            transfer: decoder.color_transfer_characteristic(),
        };
        // Sets with a number of their own, once in the header and never in the stream: strict players ignore those.
        let params = format!("sps-id={id}:repeat-headers=0:scenecut=0");
        let mut edges = Self {
            header: *header,
            span: *span,
            colour,
            params,
            sets: ParameterSets { framing: sets.framing, sps: Vec::new(), pps: Vec::new() },
        };
        let encoder = edges.encoder()?;
        edges.sets =
            ParameterSets::parse(&ffi::extradata(&encoder.parameters())).ok_or_else(|| {
                Stop::Failed(MediaError::Missing {
                    what: "en-têtes de l'encodeur libx264".to_owned(),
                })
            })?;
        Ok(edges)
    }

    /// A fresh encoder; each one writes the same parameter sets.
    pub(super) fn encoder(&self) -> Result<H264Encoder, MediaError> {
        H264Encoder::try_new(&H264Settings {
            width: self.header.width,
            height: self.header.height,
            frame_rate: self.span.rate,
            pixel_aspect: self.header.pixel_aspect,
            colour: self.colour,
            gop_frames: 600,
            b_frames: 0,
            options: &[("preset", "ultrafast"), ("crf", "14"), ("x264-params", &self.params)],
        })
    }
}
