//! One picture of a file as a JPEG.

use ffmpeg_next::codec::{self, Context};
use ffmpeg_next::format::Pixel;
use ffmpeg_next::{Dictionary, Packet, encoder, frame};

use crate::adapters::ffmpeg::encode::{publish, temporary_of};
use crate::adapters::ffmpeg::graph::{PictureGraph, upright};
use crate::adapters::ffmpeg::open::{failed, open};
use crate::adapters::ffmpeg::span::read_pictures;
use crate::ports::media_engine::{MediaError, PosterOrder};

/// Quality on FFmpeg's scale for JPEG, 2 (best) to 31.
const QUALITY: &str = "4";
/// Widest and narrowest poster, pixels.
const WIDTH_MAX: u32 = 4096;
const WIDTH_MIN: u32 = 16;
/// How far before the end the last picture is looked for, seconds.
const NEAR_END_S: f64 = 0.5;

/// Writes the picture on screen at `order.at_s`.
pub(super) fn poster(order: &PosterOrder) -> Result<(), MediaError> {
    if !order.at_s.is_finite()
        || order.at_s < 0.0
        || !(WIDTH_MIN..=WIDTH_MAX).contains(&order.width_max)
    {
        let detail = format!(
            "Une vignette se prend à un instant de la vidéo, large de {WIDTH_MIN} à {WIDTH_MAX} pixels."
        );
        return Err(MediaError::BadOrder { detail });
    }
    let mut source = open(&order.source)?;
    let video = source.video()?;
    let duration_s = source.input.duration() as f64 / 1e6;
    let past_end = duration_s > 0.0 && order.at_s > duration_s - NEAR_END_S;
    let at_s =
        if past_end { (duration_s - NEAR_END_S).max(0.0).min(order.at_s) } else { order.at_s };
    let mut found: Option<frame::Video> = None;
    read_pictures(&mut source, &video, (at_s, f64::INFINITY), &mut |picture, time_s| {
        let wanted = at_s + time_s <= order.at_s + 1e-6;
        if found.is_none() || wanted {
            found = Some(std::mem::replace(picture, frame::Video::empty()));
        }
        Ok(past_end && wanted)
    })?;
    let mut picture = found.ok_or(MediaError::OutOfRange {
        start_s: order.at_s,
        end_s: order.at_s,
        duration_s,
    })?;
    picture.set_pts(Some(0));
    // The picture's shape is that of the player: square pixels.
    let spec = format!(
        "{}scale=w=trunc(iw*sar/2)*2:h=trunc(ih/2)*2,setsar=1,scale=w=min({}\\,iw):h=-2:flags=bicubic:out_range=pc,\
         format=yuvj420p",
        upright(video.rotation_degrees),
        order.width_max,
    );
    let mut graph = PictureGraph::try_new(&picture, &spec)?;
    graph.push(&picture)?;
    graph.finish(1.0)?;
    let mut still = frame::Video::empty();
    if !graph.pull(&mut still)? {
        return Err(MediaError::Failed {
            step: "vignette".to_owned(),
            detail: "aucune image".to_owned(),
        });
    }
    let jpeg = jpeg(&mut still)?;
    let temporary = temporary_of(&order.output);
    std::fs::write(&temporary, &jpeg).map_err(|error| match error.kind() {
        std::io::ErrorKind::StorageFull => MediaError::DiskFull,
        _ => MediaError::Failed { step: "vignette".to_owned(), detail: error.to_string() },
    })?;
    publish(&temporary, &order.output).map(|_| ())
}

/// One picture as the bytes of a JPEG file.
fn jpeg(picture: &mut frame::Video) -> Result<Vec<u8>, MediaError> {
    let encoding = failed("vignette");
    let codec = encoder::find(codec::Id::MJPEG)
        .ok_or_else(|| MediaError::Missing { what: "encodeur mjpeg".to_owned() })?;
    let mut settings = Context::new_with_codec(codec).encoder().video().map_err(&encoding)?;
    settings.set_width(picture.width());
    settings.set_height(picture.height());
    settings.set_format(Pixel::YUVJ420P);
    settings.set_time_base((1, 25));
    settings.set_color_range(ffmpeg_next::color::Range::JPEG);
    let mut options = Dictionary::new();
    options.set("qmin", QUALITY);
    options.set("qmax", QUALITY);
    let mut encoder = settings.open_as_with(codec, options).map_err(&encoding)?;
    picture.set_kind(ffmpeg_next::picture::Type::None);
    encoder.send_frame(picture).map_err(&encoding)?;
    encoder.send_eof().map_err(&encoding)?;
    let mut packet = Packet::empty();
    encoder.receive_packet(&mut packet).map_err(&encoding)?;
    Ok(packet.data().unwrap_or_default().to_vec())
}
