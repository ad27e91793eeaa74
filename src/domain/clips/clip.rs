//! A clip's life: requested, cut, approved or rejected; and its reel's: asked for, rendered.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::domain::clips::reel_plan::Layout;
use crate::domain::ids::{CameraId, ClipId, LiveId, MomentId, PersonId};
use crate::domain::media::MediaObject;

/// Shortest clip, in milliseconds.
pub const CLIP_MS_MIN: i64 = 1_000;
/// Longest clip, in milliseconds: what YouTube Shorts takes.
pub const CLIP_MS_MAX: i64 = 180_000;
/// Longest title, in characters.
pub const TITLE_CHARS_MAX: usize = 80;

/// A span of a live in milliseconds of its video, `from_ms` inclusive, `to_ms` exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    pub from_ms: i64,
    pub to_ms: i64,
}

/// Why a span is none: French, for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpanError {
    #[error("Un clip commence avant de finir : de {} à {}, il n'y a rien.", clock(*from_ms), clock(*to_ms))]
    Backwards { from_ms: i64, to_ms: i64 },
    #[error("Un clip dure de 1 à 180 secondes ; celui-ci en dure {:.1}.", *ms as f64 / 1_000.0)]
    Length { ms: i64 },
    #[error("Le clip finit à {}, après la fin de la vidéo ({}).", clock(*to_ms), clock(*video_ms))]
    Outside { to_ms: i64, video_ms: i64 },
}

/// `h:mm:ss.s` or `m:ss.s` of milliseconds, as people write an instant.
fn clock(ms: i64) -> String {
    let (sign, ms) = (if ms < 0 { "−" } else { "" }, ms.unsigned_abs());
    let (hours, minutes, tenths) = (ms / 3_600_000, ms / 60_000 % 60, ms / 100 % 600);
    let rest = format!("{:02},{}", tenths / 10, tenths % 10);
    if hours > 0 {
        format!("{sign}{hours}:{minutes:02}:{rest}")
    } else {
        format!("{sign}{minutes}:{rest}")
    }
}

impl Span {
    /// Checks a span against the video it is cut from.
    pub fn try_new(from_ms: i64, to_ms: i64, video_ms: i64) -> Result<Self, SpanError> {
        if from_ms < 0 || to_ms <= from_ms {
            return Err(SpanError::Backwards { from_ms, to_ms });
        }
        if to_ms > video_ms {
            return Err(SpanError::Outside { to_ms, video_ms });
        }
        let ms = to_ms - from_ms;
        if !(CLIP_MS_MIN..=CLIP_MS_MAX).contains(&ms) {
            return Err(SpanError::Length { ms });
        }
        Ok(Self { from_ms, to_ms })
    }

    /// Length in milliseconds.
    pub const fn ms(self) -> i64 {
        self.to_ms - self.from_ms
    }
}

/// A clip's title: one trimmed line of at most 80 characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClipTitle(String);

impl ClipTitle {
    /// Trims and checks a title.
    pub fn try_new(raw: &str) -> Result<Self, ClipError> {
        let title = raw.trim();
        let chars = title.chars().count();
        if chars == 0 || chars > TITLE_CHARS_MAX || title.chars().any(char::is_control) {
            return Err(ClipError::Title { chars });
        }
        Ok(Self(title.to_owned()))
    }

    /// The title as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A cut clip's file, and how it was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClipFile {
    pub file: MediaObject,
    /// A still of the clip, JPEG.
    pub poster: MediaObject,
    /// Everything was encoded again; the reason in words, or `None` when the middle was copied.
    pub reencoded_because: Option<String>,
    /// It begins where the clip of another camera does, by the sound of both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aligned: Option<AlignedOn>,
    /// The camera broke off: what there is of the clip's span, counted as the span is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub piece: Option<Span>,
}

/// Which camera a clip is aligned on, and how well.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlignedOn {
    pub name: String,
    pub within_ms: f64,
}

/// A rendered reel: its file, still and loudness (LUFS, dBTP).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reel {
    pub file: MediaObject,
    pub poster: MediaObject,
    pub layout: Layout,
    /// `None` when the clip is silent.
    pub loudness_lufs: Option<f64>,
    /// `None` when the clip is silent.
    pub true_peak_dbtp: Option<f64>,
}

/// What a clip is cut from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "from", rename_all = "snake_case")]
pub enum ClipSource {
    /// The recording of its live; the span counts from its start.
    #[default]
    Recording,
    /// What a camera sent; the span counts from `begins_at`, by the wall clock: its own, or that of the camera it `follows`, where
    /// the same sound may have arrived earlier or later.
    Camera {
        camera: CameraId,
        name: String,
        begins_at: DateTime<Utc>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        follows: Option<CameraId>,
    },
}

/// What happened to a clip.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ClipEvent {
    /// Somebody, or a moment, asked for a clip. With `reel`, its reel follows without a click.
    Requested {
        clip: ClipId,
        live: LiveId,
        #[serde(default)]
        source: ClipSource,
        moment: Option<MomentId>,
        span: Span,
        title: ClipTitle,
        reel: bool,
        by: Option<PersonId>,
    },
    /// `reel_follows`: its reel was asked for before.
    Cut {
        clip: ClipId,
        cut: ClipFile,
        reel_follows: bool,
    },
    /// The cut was tried to its last attempt; `reason` is for people.
    CutFailed {
        clip: ClipId,
        reason: String,
    },
    Approved {
        clip: ClipId,
        by: PersonId,
    },
    Rejected {
        clip: ClipId,
        by: PersonId,
    },
    Renamed {
        clip: ClipId,
        title: ClipTitle,
        by: PersonId,
    },
    ReelRequested {
        clip: ClipId,
        layout: Layout,
        by: Option<PersonId>,
    },
    ReelRendered {
        clip: ClipId,
        reel: Reel,
    },
    ReelFailed {
        clip: ClipId,
        reason: String,
    },
}

impl ClipEvent {
    /// The clip this is about.
    pub const fn clip(&self) -> ClipId {
        match self {
            Self::Requested { clip, .. }
            | Self::Cut { clip, .. }
            | Self::CutFailed { clip, .. }
            | Self::Approved { clip, .. }
            | Self::Rejected { clip, .. }
            | Self::Renamed { clip, .. }
            | Self::ReelRequested { clip, .. }
            | Self::ReelRendered { clip, .. }
            | Self::ReelFailed { clip, .. } => *clip,
        }
    }
}

/// Why a clip refuses a change: French, for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClipError {
    #[error("Le clip {0} n'existe pas.")]
    Unknown(ClipId),
    #[error(
        "Le clip {0} n'est pas encore découpé : attendez la fin de son travail, ou voyez sous « Travaux » pourquoi il a échoué."
    )]
    NotCut(ClipId),
    #[error("Un titre tient sur une ligne de 1 à 80 caractères ; celui-ci en a {chars}.")]
    Title { chars: usize },
    #[error("Un reel du clip {0} est déjà en route.")]
    ReelUnderWay(ClipId),
    #[error(transparent)]
    Span(#[from] SpanError),
}

/// Where a clip stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum ClipState {
    Requested,
    Failed { reason: String },
    Cut { cut: ClipFile },
    Approved { cut: ClipFile, by: PersonId },
    Rejected { cut: ClipFile, by: PersonId },
}

impl ClipState {
    /// The file, once there is one.
    pub const fn file(&self) -> Option<&ClipFile> {
        match self {
            Self::Requested | Self::Failed { .. } => None,
            Self::Cut { cut } | Self::Approved { cut, .. } | Self::Rejected { cut, .. } => {
                Some(cut)
            }
        }
    }
}

/// Where a clip's reel stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum ReelState {
    None,
    /// Asked for; rendered once the clip is cut.
    Requested {
        layout: Layout,
    },
    /// Given up; another try renders the same layout.
    Failed {
        layout: Layout,
        reason: String,
    },
    Rendered {
        reel: Reel,
    },
}

/// A clip: what its events add up to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Clip {
    pub id: ClipId,
    pub live: LiveId,
    #[serde(default)]
    pub source: ClipSource,
    pub moment: Option<MomentId>,
    pub span: Span,
    pub title: ClipTitle,
    pub state: ClipState,
    pub reel: ReelState,
}

impl Clip {
    /// Folds a clip's history, oldest first; `None` when it does not start with a request.
    pub fn of_history<'a>(history: impl IntoIterator<Item = &'a ClipEvent>) -> Option<Self> {
        let mut events = history.into_iter();
        let mut clip = Self::begun_by(events.next()?)?;
        for event in events {
            clip.apply(event);
        }
        Some(clip)
    }

    /// The clip that a request begins.
    pub fn begun_by(event: &ClipEvent) -> Option<Self> {
        let ClipEvent::Requested { clip, live, source, moment, span, title, reel, .. } = event
        else {
            return None;
        };
        Some(Self {
            id: *clip,
            live: *live,
            source: source.clone(),
            moment: *moment,
            span: *span,
            title: title.clone(),
            state: ClipState::Requested,
            reel: if *reel {
                ReelState::Requested { layout: Layout::BlurredBackground }
            } else {
                ReelState::None
            },
        })
    }

    /// What there is of its span: all of it, unless the camera broke off.
    pub fn piece(&self) -> Span {
        self.state.file().and_then(|cut| cut.piece).unwrap_or(self.span)
    }

    /// Length in milliseconds: of the file once it is cut, of what was asked for before.
    pub fn length_ms(&self) -> i64 {
        self.piece().ms()
    }

    /// Takes one more event of this clip. A late or repeated one changes nothing it should not.
    pub fn apply(&mut self, event: &ClipEvent) {
        match event {
            ClipEvent::Requested { .. } => {}
            ClipEvent::Cut { cut, .. } => self.state = ClipState::Cut { cut: cut.clone() },
            ClipEvent::CutFailed { reason, .. } => {
                self.state = ClipState::Failed { reason: reason.clone() };
            }
            ClipEvent::Approved { by, .. } => {
                if let Some(cut) = self.state.file().cloned() {
                    self.state = ClipState::Approved { cut, by: *by };
                }
            }
            ClipEvent::Rejected { by, .. } => {
                if let Some(cut) = self.state.file().cloned() {
                    self.state = ClipState::Rejected { cut, by: *by };
                }
            }
            ClipEvent::Renamed { title, .. } => self.title = title.clone(),
            ClipEvent::ReelRequested { layout, .. } => {
                self.reel = ReelState::Requested { layout: *layout }
            }
            ClipEvent::ReelRendered { reel, .. } => {
                self.reel = ReelState::Rendered { reel: reel.clone() };
            }
            ClipEvent::ReelFailed { reason, .. } => {
                if let ReelState::Requested { layout } = self.reel {
                    self.reel = ReelState::Failed { layout, reason: reason.clone() };
                }
            }
        }
    }

    /// An editor says yes. `None` when it was approved already.
    pub fn approve(&self, by: PersonId) -> Result<Option<ClipEvent>, ClipError> {
        match &self.state {
            ClipState::Requested | ClipState::Failed { .. } => Err(ClipError::NotCut(self.id)),
            ClipState::Approved { .. } => Ok(None),
            ClipState::Cut { .. } | ClipState::Rejected { .. } => {
                Ok(Some(ClipEvent::Approved { clip: self.id, by }))
            }
        }
    }

    /// An editor says no. `None` when it was rejected already.
    pub fn reject(&self, by: PersonId) -> Result<Option<ClipEvent>, ClipError> {
        match &self.state {
            ClipState::Requested | ClipState::Failed { .. } => Err(ClipError::NotCut(self.id)),
            ClipState::Rejected { .. } => Ok(None),
            ClipState::Cut { .. } | ClipState::Approved { .. } => {
                Ok(Some(ClipEvent::Rejected { clip: self.id, by }))
            }
        }
    }

    /// Gives another title. `None` when it has it already.
    pub fn rename(&self, title: ClipTitle, by: PersonId) -> Option<ClipEvent> {
        (self.title != title).then_some(ClipEvent::Renamed { clip: self.id, title, by })
    }

    /// Asks for a reel, again if there was one (a new title is burnt in).
    pub fn request_reel(
        &self,
        layout: Layout,
        by: Option<PersonId>,
    ) -> Result<ClipEvent, ClipError> {
        if self.state.file().is_none() {
            return Err(ClipError::NotCut(self.id));
        }
        if matches!(self.reel, ReelState::Requested { .. }) {
            return Err(ClipError::ReelUnderWay(self.id));
        }
        Ok(ClipEvent::ReelRequested { clip: self.id, layout, by })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::media::MediaKey;
    use uuid::Uuid;

    fn object(name: &str) -> MediaObject {
        MediaObject {
            key: MediaKey::try_new(name).expect("a key"),
            bytes: 1,
            sha256: "0".repeat(64),
        }
    }

    fn requested(reel: bool) -> Clip {
        let nil = Uuid::nil();
        Clip::begun_by(&ClipEvent::Requested {
            clip: ClipId::from_uuid(nil),
            live: LiveId::from_uuid(nil),
            source: ClipSource::Recording,
            moment: None,
            span: Span::try_new(0, 45_000, 60_000).expect("a span"),
            title: ClipTitle::try_new("Solo de guitare").expect("a title"),
            reel,
            by: None,
        })
        .expect("a request begins a clip")
    }

    fn cut() -> Clip {
        let mut clip = requested(false);
        let file = ClipFile {
            file: object("c.mp4"),
            poster: object("c.jpg"),
            reencoded_because: None,
            aligned: None,
            piece: None,
        };
        clip.apply(&ClipEvent::Cut { clip: clip.id, cut: file, reel_follows: false });
        clip
    }

    #[test]
    fn a_clip_that_is_not_cut_cannot_be_judged() {
        let by = PersonId::from_uuid(Uuid::nil());
        let clip = requested(true);
        assert_eq!(clip.approve(by), Err(ClipError::NotCut(clip.id)));
        assert_eq!(clip.reject(by), Err(ClipError::NotCut(clip.id)));
        assert_eq!(
            clip.request_reel(Layout::BlurredBackground, None),
            Err(ClipError::NotCut(clip.id))
        );
    }

    #[test]
    fn an_editor_may_change_their_mind_and_saying_it_twice_says_it_once() {
        let by = PersonId::from_uuid(Uuid::nil());
        let mut clip = cut();
        let yes = clip.approve(by).expect("cut").expect("new");
        clip.apply(&yes);
        assert_eq!(clip.approve(by), Ok(None));
        let no = clip.reject(by).expect("cut").expect("new");
        clip.apply(&no);
        assert!(matches!(clip.state, ClipState::Rejected { .. }));
    }

    #[test]
    fn a_span_lies_inside_its_video() {
        assert!(matches!(Span::try_new(10, 5, 100), Err(SpanError::Backwards { .. })));
        assert!(matches!(Span::try_new(0, 500, 100_000), Err(SpanError::Length { .. })));
        assert!(matches!(Span::try_new(0, 181_000, 600_000), Err(SpanError::Length { .. })));
        assert!(matches!(Span::try_new(0, 2_000, 1_999), Err(SpanError::Outside { .. })));
    }
}
