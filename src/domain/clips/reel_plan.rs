//! The decision behind a vertical reel: which span, framed how, with which words. Rendering obeys it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Width of every reel, in pixels.
pub const REEL_WIDTH: u32 = 1080;
/// Height of every reel, in pixels.
pub const REEL_HEIGHT: u32 = 1920;
/// Frames per second of every reel, constant.
pub const REEL_FPS: u32 = 30;
/// Samples per second of a reel's sound.
pub const REEL_SAMPLE_RATE_HZ: u32 = 48_000;
/// Loudness every reel is brought to, LUFS (ITU-R BS.1770).
pub const REEL_LUFS: f64 = -14.0;
/// How far a reel may be from [`REEL_LUFS`], in LU.
pub const REEL_LUFS_TOLERANCE: f64 = 0.5;
/// Highest true peak of a reel, dBTP.
pub const REEL_TRUE_PEAK_DBTP_MAX: f64 = -1.0;
/// Longest reel, seconds: what YouTube Shorts takes.
pub const REEL_SECONDS_MAX: f64 = 180.0;
/// Shortest reel, seconds.
pub const REEL_SECONDS_MIN: f64 = 0.5;
/// Longest title, in characters.
pub const TITLE_CHARS_MAX: usize = 120;

/// A rectangle of the source picture as shares of its width and height, each within 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Region {
    pub x: f64,
    pub y: f64,
    pub width: f64,
    pub height: f64,
}

impl Region {
    /// The whole picture.
    pub const FULL: Self = Self { x: 0.0, y: 0.0, width: 1.0, height: 1.0 };

    /// True when it has an area and lies inside the picture.
    pub fn is_inside(&self) -> bool {
        const SLACK: f64 = 1e-6;
        let numbers = [self.x, self.y, self.width, self.height];
        numbers.iter().all(|value| value.is_finite() && *value >= 0.0)
            && self.width >= 0.02
            && self.height >= 0.02
            && self.x + self.width <= 1.0 + SLACK
            && self.y + self.height <= 1.0 + SLACK
    }
}

/// How the source fills the upright picture.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Layout {
    /// A 9:16 window cut out of the picture, its centre at this share of the width (0.5 is the middle).
    Crop { centre_x: f64 },
    /// The whole picture, above a blurred, darkened copy of itself.
    BlurredBackground,
    /// The face camera above, the content below; `face_share` of the height goes to the face (0.25 to 0.5).
    Split { face: Region, content: Region, face_share: f64 },
}

/// A mark laid into a corner for the whole reel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Watermark {
    /// Words, such as a channel's name.
    Text { text: String },
    /// A PNG with transparency, scaled to fit 220×120 pixels.
    Image { file: PathBuf },
}

/// Everything rendering needs to know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReelPlan {
    /// A local media file, a clip or a whole recording.
    pub source: PathBuf,
    /// Seconds from the start of `source`.
    pub start_s: f64,
    /// Seconds from the start of `source`; past its end means its end.
    pub end_s: f64,
    pub layout: Layout,
    /// The hook, shown for the whole reel; people's words, any characters.
    pub title: Option<String>,
    pub watermark: Option<Watermark>,
    /// Folder with the charter's fonts (Bricolage Grotesque, Inter); the system's are used for what is missing.
    pub fonts_dir: Option<PathBuf>,
}

/// Why a plan cannot be rendered as it is.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PlanError {
    #[error("Le reel doit durer entre 0,5 et 180 secondes ; celui-ci en dure {seconds:.1}.")]
    Length { seconds: f64 },
    #[error("Le début du reel doit être un instant de la vidéo.")]
    Start,
    #[error(
        "Le cadre « {name} » sort de l'image : ses côtés se donnent en parts de l'image, de 0 à 1."
    )]
    Region { name: &'static str },
    #[error("Le titre dépasse {TITLE_CHARS_MAX} caractères : raccourcissez-le.")]
    TitleTooLong,
}

impl ReelPlan {
    /// Checks what can be known without opening the source.
    pub fn check(&self) -> Result<(), PlanError> {
        if !self.start_s.is_finite() || self.start_s < 0.0 {
            return Err(PlanError::Start);
        }
        let seconds = self.end_s - self.start_s;
        if !(REEL_SECONDS_MIN..=REEL_SECONDS_MAX).contains(&seconds) {
            return Err(PlanError::Length { seconds });
        }
        match self.layout {
            Layout::Crop { centre_x } if !(0.0..=1.0).contains(&centre_x) => {
                return Err(PlanError::Region { name: "recadrage" });
            }
            Layout::Split { face, content, face_share } => {
                if !face.is_inside() {
                    return Err(PlanError::Region { name: "visage" });
                }
                if !content.is_inside() {
                    return Err(PlanError::Region { name: "contenu" });
                }
                if !(0.25..=0.5).contains(&face_share) {
                    return Err(PlanError::Region { name: "partage" });
                }
            }
            Layout::Crop { .. } | Layout::BlurredBackground => {}
        }
        if self.title.as_ref().is_some_and(|title| title.chars().count() > TITLE_CHARS_MAX) {
            return Err(PlanError::TitleTooLong);
        }
        Ok(())
    }
}
