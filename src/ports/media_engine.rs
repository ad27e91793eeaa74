//! What the house asks of whoever reads, cuts and renders media. Times are seconds from the start of the file.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::domain::clips::footage::{Inspection, KeyFrameIndex};
use crate::domain::clips::reel_plan::ReelPlan;

/// Reads, cuts and renders local media files. Each call is one job that may take minutes; it ends early with
/// [`MediaError::Cancelled`] when its watch is cancelled. Outputs appear whole by rename or not at all.
#[async_trait]
pub trait MediaEngine: Send + Sync {
    /// Reads the whole file once: tracks, key frames, loudness. Refuses what could not be cut later.
    async fn inspect(
        &self,
        order: InspectOrder,
        watch: &JobWatch,
    ) -> Result<Inspection, MediaError>;

    /// Finds the cuts of the picture inside the given ranges, in order of time.
    async fn scene_cuts(
        &self,
        order: SceneCutsOrder,
        watch: &JobWatch,
    ) -> Result<Vec<f64>, MediaError>;

    /// Cuts a clip exactly to the frame, copying what can be copied.
    async fn cut(&self, order: CutOrder, watch: &JobWatch) -> Result<CutReport, MediaError>;

    /// Renders a vertical reel.
    async fn render_reel(
        &self,
        order: ReelOrder,
        watch: &JobWatch,
    ) -> Result<ReelReport, MediaError>;

    /// Writes what is heard in a span: one channel, 8 000 samples a second, each an `f32` in little-endian order; what is not
    /// there is silence.
    async fn sound(&self, order: SoundOrder, watch: &JobWatch) -> Result<(), MediaError>;

    /// Writes one picture of the file as a JPEG.
    async fn poster(&self, order: PosterOrder, watch: &JobWatch) -> Result<(), MediaError>;

    /// Looks at a few seconds of a camera: writes its first picture as a JPEG, and says how loud it is.
    async fn glance(&self, order: GlanceOrder, watch: &JobWatch) -> Result<Glance, MediaError>;

    /// Measures a finished reel against what platforms ask; empty means nothing to say against it.
    async fn check(
        &self,
        order: CheckOrder,
        watch: &JobWatch,
    ) -> Result<Vec<ReelFinding>, MediaError>;
}

/// How a caller follows one job and ends it early. Cheap to clone.
#[derive(Clone)]
pub struct JobWatch {
    /// Called from any thread, at most about ten times a second, with a share that never falls.
    pub on_progress: Arc<dyn Fn(MediaProgress) + Send + Sync>,
    pub cancel: CancellationToken,
}

impl JobWatch {
    /// Follows nothing and never cancels.
    pub fn unwatched() -> Self {
        Self { on_progress: Arc::new(|_| {}), cancel: CancellationToken::new() }
    }
}

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MediaProgress {
    /// Share done, 0 to 1.
    pub share: f64,
}

/// Order to read a file once from start to end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InspectOrder {
    pub source: PathBuf,
}

/// Order to find picture cuts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SceneCutsOrder {
    pub source: PathBuf,
    /// `[from, to]` in seconds; only these are decoded.
    pub ranges: Vec<(f64, f64)>,
}

/// Order to cut one clip.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CutOrder {
    pub source: PathBuf,
    /// Key frames from the inspection. May be empty: the container's own index is used, which is slower for
    /// containers that have none (MPEG-TS, FLV).
    pub key_frames: KeyFrameIndex,
    /// What the file's own clock says at time 0, in seconds; without it, times count from the file's first sample.
    #[serde(default)]
    pub origin_s: Option<f64>,
    /// Rounded to the nearest frame, which is the clip's first.
    pub start_s: f64,
    /// Rounded to the nearest frame, which is the first one not in the clip.
    pub end_s: f64,
    /// An `.mp4`, replaced if it exists.
    pub output: PathBuf,
}

/// Order to render one reel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReelOrder {
    pub plan: ReelPlan,
    /// An `.mp4`, replaced if it exists.
    pub output: PathBuf,
}

/// Order to write down the sound of a span.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SoundOrder {
    pub source: PathBuf,
    /// What the file's own clock says at time 0, in seconds.
    pub origin_s: f64,
    /// May lie before the file's first sample.
    pub start_s: f64,
    pub end_s: f64,
    /// Replaced if it exists.
    pub output: PathBuf,
}

/// Order to take one still.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PosterOrder {
    pub source: PathBuf,
    /// The picture shown at this instant; the last one when past the end.
    pub at_s: f64,
    /// Width in pixels at most, the shape is kept.
    pub width_max: u32,
    /// A `.jpg`, replaced if it exists.
    pub output: PathBuf,
}

/// Order to look at a few seconds of a camera.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GlanceOrder {
    /// At most [`GLANCE_S_MAX`] seconds of it are heard.
    pub source: PathBuf,
    /// Width in pixels at most, the shape is kept.
    pub width_max: u32,
    /// A `.jpg`, replaced if it exists; none is written of sound alone.
    pub output: PathBuf,
}

/// Seconds of a camera that are heard at a glance.
pub const GLANCE_S_MAX: f64 = 4.0;

/// What a few seconds of a camera are like.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Glance {
    pub has_picture: bool,
    /// None without sound.
    pub level: Option<Level>,
}

/// How loud something is, in decibels below full scale; digital silence is [`LEVEL_DB_MIN`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Level {
    /// The highest sample.
    pub peak_db: f32,
    /// The mean of all, as a square root of squares.
    pub mean_db: f32,
}

/// What silence is told as, in dBFS.
pub const LEVEL_DB_MIN: f32 = -96.0;

/// Order to measure a finished reel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckOrder {
    pub reel: PathBuf,
    /// The length it should have, in seconds; compared to ± 1 frame.
    pub duration_s: f64,
}

/// How a clip came to be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CutReport {
    pub method: CutMethod,
    /// Length of the picture in seconds: `frames`, and those the source lacks, over the frame rate.
    pub duration_s: f64,
    pub frames: u64,
    pub frames_copied: u64,
    pub frames_encoded: u64,
    pub size_bytes: u64,
    /// Wall time inside the renderer, milliseconds.
    pub elapsed_ms: u64,
}

/// The way a clip was cut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum CutMethod {
    /// Whole groups of pictures are the source's own bytes; only the edges were encoded.
    SmartCut,
    /// Every picture was encoded again.
    Reencoded { reason: ReencodeReason },
}

/// Why a clip could not be copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ReencodeReason {
    #[error("la vidéo est en {codec}, seul le H.264 se copie")]
    Codec { codec: String },
    #[error("les groupes d'images sont ouverts")]
    OpenGop,
    #[error("la cadence d'images varie")]
    VariableFrameRate,
    #[error("le format de pixels est {format}, seul yuv420p se copie")]
    PixelFormat { format: String },
    #[error("la vidéo est entrelacée")]
    Interlaced,
    #[error("l'image est tournée de {degrees}°")]
    Rotated { degrees: u32 },
    #[error("les réglages de l'encodeur changent en cours de route")]
    SettingsChange,
    #[error("le passage tient dans un seul groupe d'images")]
    SingleGroup,
    #[error("le flux ne suit pas la norme : {detail}")]
    Irregular { detail: String },
}

/// How a reel came out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReelReport {
    pub duration_s: f64,
    pub frames: u64,
    pub size_bytes: u64,
    /// Integrated loudness of the source's span, LUFS; none when silent or without sound.
    pub source_lufs: Option<f64>,
    /// Integrated loudness of the reel after encoding, LUFS; none when silent.
    pub lufs: Option<f64>,
    /// True peak of the reel after encoding, dBTP; none when silent.
    pub true_peak_dbtp: Option<f64>,
    /// Wall time inside the renderer, milliseconds.
    pub elapsed_ms: u64,
}

/// Something about a reel that a platform would refuse or a viewer would notice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ReelFinding {
    #[error("le fichier n'est pas un MP4 lisible : {detail}")]
    NotMp4 { detail: String },
    #[error("l'index (moov) suit les données : la lecture ne démarre pas tout de suite")]
    IndexAtEnd,
    #[error("le fichier porte une liste de montage (elst)")]
    EditList,
    #[error("la durée est {found_s:.3} s au lieu de {wanted_s:.3} s")]
    Duration { wanted_s: f64, found_s: f64 },
    #[error("l'image est {width}×{height} au lieu de 1080×1920")]
    Size { width: u32, height: u32 },
    #[error("les pixels ne sont pas carrés ({num}:{den})")]
    PixelShape { num: i32, den: i32 },
    #[error("la cadence est {num}/{den} au lieu de 30/1")]
    FrameRate { num: i32, den: i32 },
    #[error("le codec est {found} au lieu de {wanted}")]
    Codec { wanted: String, found: String },
    #[error("le volume est à {lufs:.1} LUFS au lieu de −14 ± 0,5")]
    Loudness { lufs: f64 },
    #[error("les crêtes montent à {dbtp:.1} dBTP, au-dessus de −1")]
    TruePeak { dbtp: f64 },
}

/// Why a job failed, in words for the person who asked for it. Display is French, without technical chain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum MediaError {
    #[error("Ce fichier n'existe pas ou ne peut pas être ouvert ({detail}).")]
    CannotOpen { detail: String },
    #[error(
        "Ce fichier n'est pas une vidéo que SPARK sait lire. Donnez un MP4, MKV, MOV, FLV, TS ou WebM."
    )]
    NotMedia,
    #[error("Ce fichier n'a pas de piste vidéo.")]
    NoVideoTrack,
    #[error("Ce fichier n'a pas de piste son.")]
    NoAudioTrack,
    #[error(
        "Ce fichier est incomplet : il annonce {} mais s'arrête à {}. Copiez-le ou téléchargez-le de nouveau.",
        clock(*announced_s),
        clock(*present_s)
    )]
    Truncated { announced_s: f64, present_s: f64 },
    #[error(
        "Ce fichier est incomplet : son index manque. L'enregistrement ou la copie a été interrompu."
    )]
    IndexMissing,
    #[error("Ce fichier est illisible à partir de {} ({detail}).", clock(*at_s))]
    UnreadableAt { at_s: f64, detail: String },
    #[error("Le passage demandé ({} à {}) est hors de la vidéo, qui dure {}.", clock(*start_s), clock(*end_s), clock(*duration_s))]
    OutOfRange { start_s: f64, end_s: f64, duration_s: f64 },
    #[error("{detail}")]
    BadOrder { detail: String },
    #[error("Cette machine n'a pas ce qu'il faut dans FFmpeg : {what}. Lancez « spark doctor ».")]
    Missing { what: String },
    #[error("Le disque est plein : libérez de la place puis relancez.")]
    DiskFull,
    #[error("Le travail a été annulé.")]
    Cancelled,
    #[error("Le moteur de rendu s'est arrêté net ({how}). {last_words}")]
    Crashed { how: String, last_words: String },
    #[error("Le moteur de rendu ne répondait plus ({what}) ; il a été arrêté.")]
    Stalled { what: String },
    #[error("Ce travail demande plus de mémoire que permis ({limit_mb} Mo).")]
    OutOfMemory { limit_mb: u64 },
    #[error(
        "Ce travail demande {need_mb} Mo de mémoire ; les rendus n'en ont que {room_mb} sur cette machine. Donnez une vidéo plus petite, ou une machine plus grande."
    )]
    NoRoom { need_mb: u64, room_mb: u64 },
    #[error("Le traitement a échoué pendant : {step} ({detail}).")]
    Failed { step: String, detail: String },
}

impl MediaError {
    /// True when the same job may succeed if tried again later: the cause lies with the machine, not the file.
    pub fn may_pass_later(&self) -> bool {
        matches!(
            self,
            Self::CannotOpen { .. }
                | Self::Missing { .. }
                | Self::DiskFull
                | Self::Crashed { .. }
                | Self::Stalled { .. }
                | Self::OutOfMemory { .. }
        )
    }
}

/// `h:mm:ss` or `m:ss`, as players write it.
fn clock(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}
