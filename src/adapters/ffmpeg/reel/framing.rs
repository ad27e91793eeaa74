//! From a layout to filters: which part of the source goes where in the upright picture.

use std::fmt::Write as _;

use ffmpeg_next::{color, frame};

use crate::adapters::ffmpeg::graph::upright;
use crate::adapters::ffmpeg::open::Track;
use crate::adapters::ffmpeg::reel::words::Words;
use crate::domain::clips::reel_plan::{
    Layout, REEL_FPS, REEL_HEIGHT, REEL_WIDTH, ReelPlan, Region,
};
use crate::ports::media_engine::MediaError;

/// Lines from which an untagged picture is taken for high definition (BT.709).
const HD_LINES: u32 = 720;
/// Width of the small copy that is blurred for the background; blurring it full size would cost ten times more.
const BLUR_WIDTH: u32 = REEL_WIDTH / 8;
/// Blur of that small copy, pixels.
const BLUR_SIGMA: u32 = 5;
/// How much light the background keeps.
const BACKGROUND_LIGHT: f64 = 0.55;
/// Height of the dark line between face and content, pixels.
const SEAM: u32 = 8;
/// Colour of that line: the charter's ink.
const INK: &str = "0x14120F";

/// A rectangle in whole, even pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Window {
    x: u32,
    y: u32,
    width: u32,
    height: u32,
}

impl Window {
    /// The largest rectangle of the shape `width`:`height` inside `region` of a picture, centred on the share
    /// `centre` of what is left over.
    fn covering(
        region: Region,
        picture: (f64, f64),
        shape: (f64, f64),
        centre: (f64, f64),
    ) -> Self {
        let (left, top) = (region.x * picture.0, region.y * picture.1);
        let (room_w, room_h) = (region.width * picture.0, region.height * picture.1);
        let scale = (room_w / shape.0).min(room_h / shape.1);
        let (width, height) = (shape.0 * scale, shape.1 * scale);
        let place = |start: f64, room: f64, size: f64, centre: f64| {
            start + (centre * room - size / 2.0).clamp(0.0, (room - size).max(0.0))
        };
        let even = |value: f64| (value / 2.0).round().max(0.0) as u32 * 2;
        let (x, y) = (
            even(place(left, room_w, width, centre.0)),
            even(place(top, room_h, height, centre.1)),
        );
        // Rounding may step over the far edge by a pixel.
        let within = |start: u32, size: f64, all: f64| {
            even(size).max(2).min((all as u32 / 2 * 2).saturating_sub(start))
        };
        Self { x, y, width: within(x, width, picture.0), height: within(y, height, picture.1) }
    }

    fn filter(&self) -> String {
        format!("crop={}:{}:{}:{}", self.width, self.height, self.x, self.y)
    }
}

/// The whole graph for pictures like `first`: constant rate, upright, square pixels, framed, with its words.
pub(super) fn filters(
    plan: &ReelPlan,
    track: &Track,
    first: &frame::Video,
    words: &Words,
) -> Result<String, MediaError> {
    let turned = matches!(track.rotation_degrees, 90 | 270);
    let aspect = first.aspect_ratio();
    let (num, den) = (aspect.numerator(), aspect.denominator());
    let stretch = if num > 0 && den > 0 { f64::from(num) / f64::from(den) } else { 1.0 };
    let even = |value: f64| ((value / 2.0).round().max(1.0) as u32) * 2;
    let (mut width, mut height) =
        (even(f64::from(first.width()) * stretch), even(f64::from(first.height())));
    let mut head = format!("fps=fps={REEL_FPS}:start_time=0,");
    if (width, height) != (first.width(), first.height()) {
        write!(head, "scale={width}:{height}:flags=bicubic,setsar=1,")
            .expect("writing to a String cannot fail");
    }
    head += upright(track.rotation_degrees);
    if turned {
        (width, height) = (height, width);
    }
    let picture = (f64::from(width), f64::from(height));
    let colours = colours(first);
    let body = match plan.layout {
        Layout::Crop { centre_x } => {
            let window = Window::covering(Region::FULL, picture, reel_shape(), (centre_x, 0.5));
            format!(
                "{head}{},scale={REEL_WIDTH}:{REEL_HEIGHT}:flags=bicubic{colours}",
                window.filter()
            )
        }
        Layout::BlurredBackground => blurred(&head, picture, &colours),
        Layout::Split { face, content, face_share } => {
            split(&head, picture, &colours, face, content, face_share)
        }
    };
    Ok(format!("{body},setsar=1,format=yuv420p{}", words.filters()?))
}

fn reel_shape() -> (f64, f64) {
    (f64::from(REEL_WIDTH), f64::from(REEL_HEIGHT))
}

/// What the scaler must be told to end in BT.709, limited range.
fn colours(first: &frame::Video) -> String {
    let is_hd = match first.color_space() {
        color::Space::BT709 => true,
        color::Space::Unspecified => first.height() >= HD_LINES,
        _ => false,
    };
    let range =
        if first.color_range() == color::Range::JPEG { ":in_range=pc:out_range=tv" } else { "" };
    if is_hd {
        range.to_owned()
    } else {
        format!(":in_color_matrix=bt601:out_color_matrix=bt709{range}")
    }
}

fn blurred(head: &str, picture: (f64, f64), colours: &str) -> String {
    let window = Window::covering(Region::FULL, picture, reel_shape(), (0.5, 0.5));
    let scale = (f64::from(REEL_WIDTH) / picture.0).min(f64::from(REEL_HEIGHT) / picture.1);
    let even = |value: f64| ((value / 2.0).round().max(1.0) as u32) * 2;
    let (width, height) =
        (even(picture.0 * scale).min(REEL_WIDTH), even(picture.1 * scale).min(REEL_HEIGHT));
    let (x, y) = ((REEL_WIDTH - width) / 2, (REEL_HEIGHT - height) / 4 * 2);
    format!(
        "{head}split[back][front];\
         [back]{crop},scale={BLUR_WIDTH}:{blur_height}:flags=area{colours},gblur=sigma={BLUR_SIGMA},\
         lutyuv=y=16+(val-16)*{BACKGROUND_LIGHT},scale={REEL_WIDTH}:{REEL_HEIGHT}:flags=bicubic,setsar=1[blur];\
         [front]scale={width}:{height}:flags=bicubic{colours},setsar=1[sharp];\
         [blur][sharp]overlay={x}:{y}:format=yuv420:shortest=1",
        crop = window.filter(),
        blur_height = BLUR_WIDTH * 16 / 9,
    )
}

fn split(
    head: &str,
    picture: (f64, f64),
    colours: &str,
    face: Region,
    content: Region,
    face_share: f64,
) -> String {
    let above = (f64::from(REEL_HEIGHT) * face_share / 2.0).round() as u32 * 2;
    let below = REEL_HEIGHT - above;
    let middle = (0.5, 0.5);
    let face = Window::covering(face, picture, (f64::from(REEL_WIDTH), f64::from(above)), middle);
    let content =
        Window::covering(content, picture, (f64::from(REEL_WIDTH), f64::from(below)), middle);
    format!(
        "{head}split[one][two];\
         [one]{},scale={REEL_WIDTH}:{above}:flags=bicubic{colours},setsar=1[face];\
         [two]{},scale={REEL_WIDTH}:{below}:flags=bicubic{colours},setsar=1[content];\
         [face][content]vstack=shortest=1,drawbox=x=0:y={}:w={REEL_WIDTH}:h={SEAM}:color={INK}:t=fill",
        face.filter(),
        content.filter(),
        above - SEAM / 2,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crop_of_a_wide_picture_keeps_its_height_and_stays_inside() {
        let at =
            |centre| Window::covering(Region::FULL, (1920.0, 1080.0), reel_shape(), (centre, 0.5));
        assert_eq!(at(0.5), Window { x: 656, y: 0, width: 608, height: 1080 });
        assert_eq!(at(0.0).x, 0);
        let right = at(1.0);
        assert_eq!(right.x + right.width, 1920);
    }

    #[test]
    fn a_crop_of_an_upright_picture_keeps_all_of_it() {
        let whole = Window::covering(Region::FULL, (1080.0, 1920.0), reel_shape(), (0.5, 0.5));
        assert_eq!(whole, Window { x: 0, y: 0, width: 1080, height: 1920 });
    }

    #[test]
    fn a_face_rectangle_is_cut_to_the_shape_it_must_fill() {
        let face = Region { x: 0.75, y: 0.7, width: 0.25, height: 0.3 };
        let window = Window::covering(face, (1920.0, 1080.0), (1080.0, 640.0), (0.5, 0.5));
        assert!(
            window.x >= 1440 && window.x + window.width <= 1920 && window.y + window.height <= 1080
        );
        let shape = f64::from(window.width) / f64::from(window.height);
        assert!((shape - 1080.0 / 640.0).abs() < 0.02, "{shape}");
    }
}
