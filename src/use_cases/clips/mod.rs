//! Clips: request, cut, judge, rename; and their reels. What cameras sent is played and cut while they record.

pub mod align;
mod cameras;
pub mod footage;
pub mod glance;
mod pieces;
mod playlist;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::domain::clips::clip::{AlignedOn, ClipEvent};
use crate::domain::clips::footage::Inspection;
use crate::domain::clips::reel_plan::{Layout, ReelPlan, Watermark};
use crate::domain::clips::{
    Clip, ClipError, ClipFile, ClipSource, ClipTitle, Reel, ReelState, Span,
};
use crate::domain::event::Event;
use crate::domain::ids::{ClipId, LiveId, PersonId};
use crate::domain::media::MediaObject;
use crate::ports::PortError;
use crate::ports::clock::Clock;
use crate::ports::ledger::{Commit, CommitError, Expectation, Ledger};
use crate::ports::media_engine::{
    CutMethod, CutOrder, CutReport, JobWatch, MediaEngine, PosterOrder, ReelOrder,
};
use crate::ports::media_store::MediaStore;
use crate::ports::shelves::{Shelves, cards_of, find_card};
use crate::read_models::{ClipCard, LiveCard};
use crate::use_cases::clips::footage::CameraFootage;
use crate::use_cases::{Work, WorkError, read_inspection};

/// Widest still of a clip, in pixels.
const POSTER_WIDTH_MAX: u32 = 640;
/// Where in a clip its still is taken: just after the lead-in, where things happen.
const POSTER_SHARE: f64 = 0.3;
/// Times a decision is taken again when somebody else decides at the same moment.
const DECISIONS_MAX: usize = 5;

/// Clips of lives.
#[derive(Clone)]
pub struct Clips {
    pub ledger: Arc<dyn Ledger>,
    pub shelves: Arc<dyn Shelves>,
    pub store: Arc<dyn MediaStore>,
    pub engine: Arc<dyn MediaEngine>,
    pub footage: CameraFootage,
    pub clock: Arc<dyn Clock>,
    /// Folder of the charter's fonts, for titles.
    pub fonts_dir: PathBuf,
    /// Words laid into a reel's corner; none when empty.
    pub watermark: String,
}

/// Why a clip use case failed.
#[derive(Debug, thiserror::Error)]
pub enum ClipsError {
    #[error(transparent)]
    Clip(#[from] ClipError),
    #[error("Le direct {0} n'existe pas.")]
    NoLive(LiveId),
    #[error(transparent)]
    Port(#[from] PortError),
}

impl Clips {
    /// A live's clips in the order they were asked for.
    pub async fn of_live(&self, live: LiveId) -> Result<Vec<ClipCard>, PortError> {
        cards_of(&*self.shelves, live.as_uuid()).await
    }

    /// One clip.
    pub async fn find(&self, clip: ClipId) -> Result<Option<ClipCard>, PortError> {
        find_card(&*self.shelves, clip.as_uuid()).await
    }

    /// Asks for a clip by hand; its cut follows.
    pub async fn request(
        &self,
        live: LiveId,
        from_ms: i64,
        to_ms: i64,
        title: ClipTitle,
        by: PersonId,
    ) -> Result<ClipId, ClipsError> {
        let card: LiveCard =
            find_card(&*self.shelves, live.as_uuid()).await?.ok_or(ClipsError::NoLive(live))?;
        let span =
            Span::try_new(from_ms, to_ms, card.recording.duration_ms).map_err(ClipError::from)?;
        let clip = ClipId::from_uuid(self.clock.new_id());
        let event = ClipEvent::Requested {
            clip,
            live,
            source: ClipSource::Recording,
            moment: None,
            span,
            title,
            reel: false,
            by: Some(by),
        };
        self.write(Commit { events: vec![event.into()], ..Commit::default() }).await?;
        Ok(clip)
    }

    /// An editor says yes. Twice is once.
    pub async fn approve(&self, clip: ClipId, by: PersonId) -> Result<(), ClipsError> {
        self.decide(clip, |clip| clip.approve(by)).await
    }

    /// An editor says no. Twice is once.
    pub async fn reject(&self, clip: ClipId, by: PersonId) -> Result<(), ClipsError> {
        self.decide(clip, |clip| clip.reject(by)).await
    }

    /// Gives a clip another title.
    pub async fn rename(
        &self,
        clip: ClipId,
        title: ClipTitle,
        by: PersonId,
    ) -> Result<(), ClipsError> {
        self.decide(clip, |clip| Ok(clip.rename(title.clone(), by))).await
    }

    /// Asks for a reel, or for another one.
    pub async fn request_reel(
        &self,
        clip: ClipId,
        layout: Layout,
        by: PersonId,
    ) -> Result<(), ClipsError> {
        self.decide(clip, |clip| clip.request_reel(layout, Some(by)).map(Some)).await
    }

    /// Cuts a clip out of its live's recording and takes a still of it.
    pub async fn cut(&self, id: ClipId, work: &Work) -> Result<(), WorkError> {
        work.report(0.0, "Préparation");
        let (clip, _) = self.load(id).await?;
        let live: LiveCard = find_card(&*self.shelves, clip.live.as_uuid())
            .await?
            .ok_or_else(|| WorkError::Refused("Le direct de ce clip n'existe plus.".into()))?;
        let source = self.local(&live.recording.file).await?;
        let (start_s, end_s) =
            (clip.span.from_ms as f64 / 1_000.0, clip.span.to_ms as f64 / 1_000.0);
        let key_frames = self.inspection(&live).await?.key_frames.around(start_s, end_s);
        let folder = Workspace(self.store.workspace().await?);
        let output = folder.0.join("clip.mp4");
        let order =
            CutOrder { source, key_frames, origin_s: None, start_s, end_s, output: output.clone() };
        let report = self.engine.cut(order, &work.step(0.05, 0.85, "Découpe")).await?;
        self.keep_cut(id, report, Made::default(), &output, &folder, work).await
    }

    /// Keeps a cut and a still of it.
    async fn keep_cut(
        &self,
        id: ClipId,
        report: CutReport,
        made: Made,
        output: &Path,
        folder: &Workspace,
        work: &Work,
    ) -> Result<(), WorkError> {
        let watch = work.step(0.85, 0.95, "Image du clip");
        let (file, poster) =
            self.keep(output, "clips", report.duration_s * POSTER_SHARE, folder, &watch).await?;
        let reencoded_because = match report.method {
            CutMethod::SmartCut => None,
            CutMethod::Reencoded { reason } => Some(reason.to_string()),
        };
        // The first picture of a recording is shown a little after it was decoded: the file says how long it is.
        let lasts_ms = (report.duration_s * 1_000.0).round() as i64;
        let piece = made.piece.map(|piece| Span { to_ms: piece.from_ms + lasts_ms, ..piece });
        let (clip, length) = self.load(id).await?;
        let cut = ClipEvent::Cut {
            clip: id,
            cut: ClipFile {
                file: file.clone(),
                poster: poster.clone(),
                reencoded_because,
                aligned: made.aligned,
                piece,
            },
            reel_follows: matches!(clip.reel, ReelState::Requested { .. }),
        };
        self.finish(work, cut, length, vec![file, poster]).await
    }

    /// Takes a film into the store, with its still of this instant.
    async fn keep(
        &self,
        film: &Path,
        shelf: &str,
        still_at_s: f64,
        folder: &Workspace,
        watch: &JobWatch,
    ) -> Result<(MediaObject, MediaObject), WorkError> {
        let still = folder.0.join("poster.jpg");
        let order = PosterOrder {
            source: film.to_owned(),
            at_s: still_at_s,
            width_max: POSTER_WIDTH_MAX,
            output: still.clone(),
        };
        self.engine.poster(order, watch).await?;
        let film = self.store.adopt(film, shelf, "mp4").await?;
        Ok((film, self.store.adopt(&still, "posters", "jpg").await?))
    }

    /// Renders a clip's vertical reel.
    pub async fn render(&self, id: ClipId, work: &Work) -> Result<(), WorkError> {
        work.report(0.0, "Préparation");
        let (clip, _) = self.load(id).await?;
        let cut = clip
            .state
            .file()
            .ok_or_else(|| WorkError::Refused("Le clip n'est pas encore découpé.".into()))?;
        // A failed one is here again because people asked for another try.
        let (ReelState::Requested { layout } | ReelState::Failed { layout, .. }) = clip.reel else {
            // Somebody has it already; nothing is left to do.
            let done = Commit { finish: Some(work.ticket), ..Commit::default() };
            return self.ledger.commit(done).await.map(|_| ()).map_err(WorkError::from);
        };
        let source = self.local(&cut.file).await?;
        let folder = Workspace(self.store.workspace().await?);
        let output = folder.0.join("reel.mp4");
        let plan = ReelPlan {
            source,
            start_s: 0.0,
            end_s: clip.length_ms() as f64 / 1_000.0,
            layout,
            title: Some(clip.title.as_str().to_owned()),
            watermark: (!self.watermark.is_empty())
                .then(|| Watermark::Text { text: self.watermark.clone() }),
            fonts_dir: Some(self.fonts_dir.clone()),
        };
        let order = ReelOrder { plan, output: output.clone() };
        let report =
            self.engine.render_reel(order, &work.step(0.02, 0.95, "Rendu du reel")).await?;
        let watch = work.step(0.95, 0.98, "Image du reel");
        let (file, poster) =
            self.keep(&output, "reels", report.duration_s * POSTER_SHARE, &folder, &watch).await?;
        let (_, length) = self.load(id).await?;
        let reel = Reel {
            file: file.clone(),
            poster: poster.clone(),
            layout,
            loudness_lufs: report.lufs,
            true_peak_dbtp: report.true_peak_dbtp,
        };
        self.finish(work, ClipEvent::ReelRendered { clip: id, reel }, length, vec![file, poster])
            .await
    }

    /// Writes down that a cut or a reel was given up, so that the shelf says so.
    pub async fn give_up(&self, event: ClipEvent) -> Result<(), PortError> {
        self.write(Commit { events: vec![event.into()], ..Commit::default() }).await
    }

    async fn decide(
        &self,
        id: ClipId,
        decide: impl Fn(&Clip) -> Result<Option<ClipEvent>, ClipError> + Send + Sync,
    ) -> Result<(), ClipsError> {
        for _ in 0..DECISIONS_MAX {
            let (clip, length) = self.history(id).await?.ok_or(ClipError::Unknown(id))?;
            let Some(event) = decide(&clip)? else { return Ok(()) };
            let commit = Commit {
                events: vec![event.into()],
                expect: Some(Expectation { subject: id.as_uuid(), events: length }),
                ..Commit::default()
            };
            match self.ledger.commit(commit).await {
                Ok(_) => return Ok(()),
                Err(CommitError::Conflict) => {}
                Err(CommitError::Port(error)) => return Err(error.into()),
                Err(CommitError::LeaseLost) => break,
            }
        }
        Err(PortError::plain(format!("clip {id} was decided about {DECISIONS_MAX} times at once"))
            .into())
    }

    async fn history(&self, id: ClipId) -> Result<Option<(Clip, usize)>, PortError> {
        let history = self.ledger.history(id.as_uuid()).await?;
        let events: Vec<ClipEvent> = history
            .into_iter()
            .filter_map(|recorded| match recorded.event {
                Event::Clip(event) => Some(event),
                _ => None,
            })
            .collect();
        Ok(Clip::of_history(&events).map(|clip| (clip, events.len())))
    }

    async fn load(&self, id: ClipId) -> Result<(Clip, usize), WorkError> {
        self.history(id)
            .await?
            .ok_or_else(|| WorkError::Refused(format!("Le clip {id} n'existe pas.")))
    }

    async fn local(&self, object: &MediaObject) -> Result<PathBuf, WorkError> {
        self.store.local_path(&object.key).await?.ok_or_else(|| {
            WorkError::Refused(format!("Le fichier {} manque dans la médiathèque.", object.key))
        })
    }

    async fn inspection(&self, live: &LiveCard) -> Result<Inspection, WorkError> {
        read_inspection(&*self.store, &live.recording.inspection).await
    }

    async fn finish(
        &self,
        work: &Work,
        event: ClipEvent,
        length: usize,
        media: Vec<MediaObject>,
    ) -> Result<(), WorkError> {
        let expect = Some(Expectation { subject: event.clip().as_uuid(), events: length });
        let commit = Commit {
            events: vec![event.into()],
            expect,
            finish: Some(work.ticket),
            media,
            ..Commit::default()
        };
        self.ledger.commit(commit).await.map(|_| ()).map_err(WorkError::from)
    }

    async fn write(&self, commit: Commit) -> Result<(), PortError> {
        match self.ledger.commit(commit).await {
            Ok(_) => Ok(()),
            Err(CommitError::Port(error)) => Err(error),
            Err(other) => Err(PortError::plain(other.to_string())),
        }
    }
}

/// What a cut of a camera is besides its film.
#[derive(Default)]
struct Made {
    aligned: Option<AlignedOn>,
    piece: Option<Span>,
}

/// A folder of work in progress, gone with whoever works in it.
struct Workspace(PathBuf);

impl Drop for Workspace {
    fn drop(&mut self) {
        // One that cannot be removed is no reason to fail the work: the next start does it.
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::debug!(%error, folder = %self.0.display(), "left a workspace for the next start");
        }
    }
}
