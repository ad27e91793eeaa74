//! The words on a reel, as an ASS script libass draws: people's words become text there and nothing else.

use std::fmt::Write as _;
use std::path::PathBuf;

use crate::adapters::ffmpeg::graph::escaped;
use crate::adapters::ffmpeg::open::url_of;
use crate::domain::clips::reel_plan::{Layout, REEL_HEIGHT, REEL_WIDTH, ReelPlan, Watermark};
use crate::domain::clips::safe_zone::SAFE_AREA;
use crate::ports::media_engine::MediaError;

/// The charter's type for titles, and what its static file calls itself.
const TITLE_FONT: &str = "Bricolage Grotesque ExtraBold";
/// The charter's type for text.
const TEXT_FONT: &str = "Inter SemiBold";
/// Size of a title of one or two lines, and of a longer one, pixels.
const TITLE_SIZE: u32 = 92;
const TITLE_SIZE_LONG: u32 = 72;
/// Characters from which a title counts as long.
const TITLE_LONG_CHARS: usize = 42;
/// Watermark: size of words, largest size of a picture, pixels.
const WATERMARK_SIZE: u32 = 34;
const WATERMARK_BOX: (u32, u32) = (220, 120);

/// The script of one reel, on disk while it is rendered.
pub(super) struct Words {
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
        let title = plan.title.as_deref().map(plain).filter(|title| !title.is_empty());
        let mark = match &plan.watermark {
            Some(Watermark::Text { text }) => Some(plain(text)).filter(|text| !text.is_empty()),
            _ => None,
        };
        let image = match &plan.watermark {
            Some(Watermark::Image { file }) => Some(file.clone()),
            _ => None,
        };
        let script = if title.is_some() || mark.is_some() {
            let path = std::env::temp_dir().join(format!("spark-words-{}.ass", std::process::id()));
            let text = script(plan.layout, title.as_deref(), mark.as_deref());
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

/// People's words as ASS text: one line, no override block, no escape, no control character.
fn plain(text: &str) -> String {
    /// Has no width and no line break; behind a backslash it keeps the next letter from meaning anything.
    const WORD_JOINER: char = '\u{2060}';
    let mut safe = String::with_capacity(text.len() + 8);
    for word in
        text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty())
    {
        if !safe.is_empty() {
            safe.push(' ');
        }
        for c in word.chars() {
            match c {
                '{' => safe.push_str("\\{"),
                '}' => safe.push_str("\\}"),
                '\\' => safe.extend(['\\', WORD_JOINER]),
                other => safe.push(other),
            }
        }
    }
    safe
}

/// The whole script. Coordinates are pixels of the reel.
fn script(layout: Layout, title: Option<&str>, mark: Option<&str>) -> String {
    // Centred on the picture and as wide as the nearer edge of the safe area allows.
    let side = SAFE_AREA.left.max(REEL_WIDTH - SAFE_AREA.right);
    let mut text = format!(
        "[Script Info]\nScriptType: v4.00+\nPlayResX: {REEL_WIDTH}\nPlayResY: {REEL_HEIGHT}\nWrapStyle: 0\n\
         ScaledBorderAndShadow: yes\nYCbCr Matrix: TV.709\n\n[V4+ Styles]\n\
         Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, \
         Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, \
         MarginR, MarginV, Encoding\n\
         Style: Title,{TITLE_FONT},{size},&H00FFFFFF,&H00FFFFFF,&H000F1214,&H80000000,0,0,0,0,100,100,-1,0,1,9,0,\
         8,{side},{side},0,1\n\
         Style: Mark,{TEXT_FONT},{WATERMARK_SIZE},&H26FFFFFF,&H26FFFFFF,&H660F1214,&H80000000,0,0,0,0,100,100,0,0,1,\
         3,0,1,{side},{side},0,1\n\n[Events]\n\
         Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n",
        size = title_size(title),
    );
    let mut say = |layer: u32, style: &str, words: &str| {
        writeln!(text, "Dialogue: {layer},0:00:00.00,9:00:00.00,{style},,0,0,0,,{words}")
            .expect("writing to a String cannot fail");
    };
    if let Some(title) = title {
        let centre = REEL_WIDTH / 2;
        let (align, y) = match layout {
            Layout::Split { face_share, .. } => (
                5,
                ((f64::from(REEL_HEIGHT) * face_share) as u32)
                    .clamp(SAFE_AREA.top + 150, SAFE_AREA.bottom - 150),
            ),
            Layout::Crop { .. } | Layout::BlurredBackground => (8, SAFE_AREA.top + 30),
        };
        say(1, "Title", &format!("{{\\an{align}\\pos({centre},{y})}}{title}"));
    }
    if let Some(mark) = mark {
        say(
            2,
            "Mark",
            &format!("{{\\an1\\pos({},{})}}{mark}", SAFE_AREA.left + 8, SAFE_AREA.bottom - 8),
        );
    }
    text
}

fn title_size(title: Option<&str>) -> u32 {
    if title.is_some_and(|title| title.chars().count() > TITLE_LONG_CHARS) {
        TITLE_SIZE_LONG
    } else {
        TITLE_SIZE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peoples_words_cannot_give_orders() {
        assert_eq!(plain("a{\\b1}b"), "a\\{\\\u{2060}b1\\}b");
        assert_eq!(plain("un\ndeux\r\n[Events]\0trois"), "un deux [Events] trois");
        assert_eq!(plain("\\N\\h"), "\\\u{2060}N\\\u{2060}h");
    }
}
