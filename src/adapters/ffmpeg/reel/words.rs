//! The words on a reel, as an ASS script libass draws: people's words become text there and nothing else.

use std::fmt::Write as _;
use std::path::PathBuf;

use crate::adapters::ffmpeg::graph::escaped;
use crate::adapters::ffmpeg::open::url_of;
use crate::adapters::ffmpeg::reel::type_metrics::{TypeMetrics, set_lines};
use crate::domain::clips::reel_plan::{Layout, REEL_HEIGHT, REEL_WIDTH, ReelPlan, Watermark};
use crate::domain::clips::safe_zone::SAFE_AREA;
use crate::ports::media_engine::MediaError;

/// The charter's type for titles, and what its static file calls itself.
const TITLE_FONT: &str = "Bricolage Grotesque ExtraBold";
/// The charter's type for text.
const TEXT_FONT: &str = "Inter SemiBold";
/// The title font's file in the fonts folder, read for its widths.
const TITLE_FILE: &str = "BricolageGrotesque-ExtraBold.ttf";
/// The watermark font's file in the fonts folder.
const TEXT_FILE: &str = "Inter-SemiBold.ttf";
/// Sizes a title is tried at, largest first, in libass's pixels (line height).
const TITLE_SIZES: [u32; 5] = [104, 92, 80, 70, 60];
/// Most lines of a title.
const TITLE_LINES_MAX: usize = 3;
/// Room around the words of a title inside their label, pixels.
const LABEL_PAD_X: f64 = 30.0;
const LABEL_PAD_Y: f64 = 4.0;
/// Roundness of a label's corners, pixels.
const LABEL_RADIUS: f64 = 22.0;
/// The charter's ink and paper as ASS writes colours (blue, green, red).
const INK: &str = "&H0F1214&";
const PAPER: &str = "&HF5F9FB&";
/// Watermark: size of words, largest size of a picture, pixels.
const WATERMARK_SIZE: u32 = 34;
const WATERMARK_BOX: (u32, u32) = (220, 120);

/// The script of one reel, on disk while it is rendered.
pub(in crate::adapters::ffmpeg) struct Words {
    script: Option<PathBuf>,
    fonts_dir: Option<PathBuf>,
    image: Option<PathBuf>,
}

impl Drop for Words {
    fn drop(&mut self) {
        if let Some(script) = &self.script {
            // A script left in the temporary folder is swept by the system.
            let _ = std::fs::remove_file(script);
        }
    }
}

impl Words {
    /// Writes the script of `plan`, if it has any words.
    pub(super) fn write(plan: &ReelPlan) -> Result<Self, MediaError> {
        let title = plan.title.as_deref().map(one_line).filter(|title| !title.is_empty());
        let mark = match &plan.watermark {
            Some(Watermark::Text { text }) => Some(one_line(text)).filter(|text| !text.is_empty()),
            _ => None,
        };
        let font = |file: &str| {
            plan.fonts_dir.as_ref().map(|dir| dir.join(file)).filter(|file| file.is_file())
        };
        let image = match &plan.watermark {
            Some(Watermark::Image { file }) => Some(file.clone()),
            _ => None,
        };
        let script = if title.is_some() || mark.is_some() {
            let path = std::env::temp_dir().join(format!("spark-words-{}.ass", std::process::id()));
            let mut text = head();
            if let Some(title) = &title {
                say_title(
                    &mut text,
                    plan.layout,
                    title,
                    &TypeMetrics::read(font(TITLE_FILE).as_deref()),
                );
            }
            if let Some(mark) = &mark {
                say_mark(&mut text, mark, &TypeMetrics::read(font(TEXT_FILE).as_deref()));
            }
            std::fs::write(&path, text).map_err(|error| MediaError::Failed {
                step: "écriture du titre".to_owned(),
                detail: error.to_string(),
            })?;
            Some(path)
        } else {
            None
        };
        Ok(Self { script, fonts_dir: plan.fonts_dir.clone().filter(|dir| dir.is_dir()), image })
    }

    /// The filters that draw the words and the mark, each behind a comma.
    pub(super) fn filters(&self) -> Result<String, MediaError> {
        let mut filters = String::new();
        if let Some(image) = &self.image {
            let (width, height) = WATERMARK_BOX;
            let path = PathBuf::from(url_of(image)?);
            write!(
                filters,
                "[picture];movie=filename={}:format_name=png_pipe,\
                 scale={width}:{height}:force_original_aspect_ratio=decrease,format=yuva420p[mark];\
                 [picture][mark]overlay={}:{}-h:format=yuv420",
                escaped(&path)?,
                SAFE_AREA.left,
                SAFE_AREA.bottom,
            )
            .expect("writing to a String cannot fail");
        }
        if let Some(script) = &self.script {
            write!(filters, ",ass=filename={}", escaped(script)?)
                .expect("writing to a String cannot fail");
            if let Some(dir) = &self.fonts_dir {
                write!(filters, ":fontsdir={}", escaped(dir)?)
                    .expect("writing to a String cannot fail");
            }
        }
        Ok(filters)
    }
}

/// People's words on one line, without what is not to be seen: control characters and changes of direction.
fn one_line(text: &str) -> String {
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    let words = text.split(|c: char| c.is_whitespace() || c.is_control());
    let seen = words.map(|word| word.chars().filter(|c| !hidden(*c)).collect::<String>());
    seen.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// One line as ASS text: no override block, no escape.
fn plain(line: &str) -> String {
    /// Has no width and no line break; behind a backslash it keeps the next letter from meaning anything.
    const WORD_JOINER: char = '\u{2060}';
    let mut safe = String::with_capacity(line.len() + 8);
    for c in line.chars() {
        match c {
            '{' => safe.push_str("\\{"),
            '}' => safe.push_str("\\}"),
            '\\' => safe.extend(['\\', WORD_JOINER]),
            other => safe.push(other),
        }
    }
    safe
}

/// The script up to its first event. Coordinates are pixels of the reel; no line ever wraps by itself.
fn head() -> String {
    format!(
        "[Script Info]\nScriptType: v4.00+\nPlayResX: {REEL_WIDTH}\nPlayResY: {REEL_HEIGHT}\nWrapStyle: 2\n\
         ScaledBorderAndShadow: yes\nYCbCr Matrix: TV.709\n\n[V4+ Styles]\n\
         Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, \
         Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, \
         MarginR, MarginV, Encoding\n\
         Style: Title,{TITLE_FONT},80,&H000F1214,&H000F1214,&H000F1214,&H00000000,0,0,0,0,100,100,0,0,1,0,0,5,0,0,0,1\n\
         Style: Mark,{TEXT_FONT},{WATERMARK_SIZE},&H1AFFFFFF,&H1AFFFFFF,&H80000000,&H80000000,0,0,0,0,100,100,0,0,1,\
         2,1,1,0,0,0,1\n\n[Events]\n\
         Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n"
    )
}

fn say(script: &mut String, layer: u32, style: &str, words: &str) {
    writeln!(script, "Dialogue: {layer},0:00:00.00,9:00:00.00,{style},,0,0,0,,{words}")
        .expect("writing to a String cannot fail");
}

/// The title: ink on paper labels, one per line, centred on the picture and inside the safe area.
fn say_title(script: &mut String, layout: Layout, title: &str, metrics: &TypeMetrics) {
    // As wide as the nearer edge of the safe area allows on both sides of the middle.
    let side = SAFE_AREA.left.max(REEL_WIDTH - SAFE_AREA.right);
    let width_max = f64::from(REEL_WIDTH - 2 * side) - 2.0 * LABEL_PAD_X;
    let (size, lines) = set_lines(metrics, title, &TITLE_SIZES, width_max, TITLE_LINES_MAX);
    let height = f64::from(size) + 2.0 * LABEL_PAD_Y;
    // Labels overlap a little, so that two lines read as one title.
    let step = height - LABEL_PAD_Y * 2.0;
    let block = step * (lines.len() as f64 - 1.0) + height;
    let (top_min, bottom_max) = (f64::from(SAFE_AREA.top), f64::from(SAFE_AREA.bottom));
    let top = match layout {
        // On the seam, where it hides neither the face nor the content.
        Layout::Split { face_share, .. } => f64::from(REEL_HEIGHT) * face_share - block / 2.0,
        Layout::BlurredBackground => top_min + 60.0,
        Layout::Crop { .. } => top_min + 30.0,
    };
    let top = top.clamp(top_min, bottom_max - block);
    let centre = f64::from(REEL_WIDTH) / 2.0;
    for (index, line) in lines.iter().enumerate() {
        let width = metrics.width(line, f64::from(size)) + 2.0 * LABEL_PAD_X;
        let y = top + step * index as f64;
        let label = rounded(width, height);
        say(
            script,
            1,
            "Title",
            &format!("{{\\an7\\pos({:.1},{y:.1})\\1c{PAPER}\\p1}}{label}", centre - width / 2.0),
        );
        let middle = y + height / 2.0;
        say(
            script,
            2,
            "Title",
            &format!("{{\\an5\\pos({centre:.1},{middle:.1})\\fs{size}\\1c{INK}}}{}", plain(line)),
        );
    }
}

/// The watermark: at the foot of the safe area, on the left.
fn say_mark(script: &mut String, mark: &str, metrics: &TypeMetrics) {
    let width_max = f64::from(SAFE_AREA.right - SAFE_AREA.left) - 16.0;
    let (_, lines) = set_lines(metrics, mark, &[WATERMARK_SIZE], width_max, 1);
    let (x, y) = (SAFE_AREA.left + 8, SAFE_AREA.bottom - 8);
    for line in lines {
        say(script, 3, "Mark", &format!("{{\\an1\\pos({x},{y})}}{}", plain(&line)));
    }
}

/// A rectangle with round corners as an ASS drawing.
fn rounded(width: f64, height: f64) -> String {
    /// Distance of the control points that makes a Bézier curve a quarter of a circle.
    const ARC: f64 = 0.552_3;
    let radius = LABEL_RADIUS.min(width / 2.0).min(height / 2.0);
    let (w, h, r, k) = (width, height, radius, radius * (1.0 - ARC));
    format!(
        "m {r:.1} 0 l {:.1} 0 b {:.1} 0 {w:.1} {k:.1} {w:.1} {r:.1} l {w:.1} {:.1} b {w:.1} {:.1} {:.1} {h:.1} {:.1} {h:.1} \
         l {r:.1} {h:.1} b {k:.1} {h:.1} 0 {:.1} 0 {:.1} l 0 {r:.1} b 0 {k:.1} {k:.1} 0 {r:.1} 0",
        w - r,
        w - k,
        h - r,
        h - k,
        w - k,
        w - r,
        h - k,
        h - r,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peoples_words_cannot_give_orders() {
        assert_eq!(plain("a{\\b1}b"), "a\\{\\\u{2060}b1\\}b");
        assert_eq!(one_line("un\ndeux\r\n[Events]\0trois \u{202e}a"), "un deux [Events] trois a");
        assert_eq!(plain("\\N\\h"), "\\\u{2060}N\\\u{2060}h");
    }
}
