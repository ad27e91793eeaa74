//! A media engine that writes small files instead of films: it remembers every order, fails when told to, and can be
//! held in the middle of a job.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::watch;

use crate::domain::clips::footage::Inspection;
use crate::ports::media_engine::{
    CheckOrder, CutMethod, CutOrder, CutReport, Glance, GlanceOrder, InspectOrder, JobWatch, Level,
    MediaEngine, MediaError, MediaProgress, PosterOrder, ReelFinding, ReelOrder, ReelReport,
    SceneCutsOrder, SoundOrder,
};

/// Frame rate of the pretended films.
const FRAMES_PER_S: f64 = 30.0;

/// What the engine can be asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EngineVerb {
    Inspect,
    SceneCuts,
    Cut,
    RenderReel,
    Sound,
    Poster,
    Glance,
    Check,
}

/// An order it was given.
#[derive(Debug, Clone, PartialEq)]
pub enum EngineCall {
    Inspect(InspectOrder),
    SceneCuts(SceneCutsOrder),
    Cut(CutOrder),
    RenderReel(ReelOrder),
    Sound(SoundOrder),
    Poster(PosterOrder),
    Glance(GlanceOrder),
    Check(CheckOrder),
}

impl EngineCall {
    /// What was asked.
    pub const fn verb(&self) -> EngineVerb {
        match self {
            Self::Inspect(_) => EngineVerb::Inspect,
            Self::SceneCuts(_) => EngineVerb::SceneCuts,
            Self::Cut(_) => EngineVerb::Cut,
            Self::RenderReel(_) => EngineVerb::RenderReel,
            Self::Sound(_) => EngineVerb::Sound,
            Self::Poster(_) => EngineVerb::Poster,
            Self::Glance(_) => EngineVerb::Glance,
            Self::Check(_) => EngineVerb::Check,
        }
    }
}

/// The scripted engine. Clones share script and memory.
#[derive(Debug, Clone)]
pub struct MemoryMediaEngine {
    script: Arc<Mutex<Script>>,
    /// The verb that is held, if any.
    held: watch::Sender<Option<EngineVerb>>,
}

#[derive(Debug)]
struct Script {
    inspection: Inspection,
    scene_cuts: Vec<f64>,
    faults: BTreeMap<EngineVerb, VecDeque<MediaError>>,
    calls: Vec<EngineCall>,
}

impl MemoryMediaEngine {
    /// Finds this in every file, and picture cuts at these seconds.
    pub fn finding(inspection: Inspection, scene_cuts: Vec<f64>) -> Self {
        let script = Script { inspection, scene_cuts, faults: BTreeMap::new(), calls: Vec::new() };
        Self { script: Arc::new(Mutex::new(script)), held: watch::Sender::new(None) }
    }

    /// The next call of this kind fails with this; several faults are served in order.
    pub fn fail_next(&self, verb: EngineVerb, fault: MediaError) {
        self.script().faults.entry(verb).or_default().push_back(fault);
    }

    /// Calls of this kind stop half way until [`Self::release`], or until they are cancelled.
    pub fn hold(&self, verb: EngineVerb) {
        self.held.send_replace(Some(verb));
    }

    /// Lets held calls go on.
    pub fn release(&self) {
        self.held.send_replace(None);
    }

    /// All orders so far, oldest first.
    pub fn calls(&self) -> Vec<EngineCall> {
        self.script().calls.clone()
    }

    /// How many orders of a kind there were.
    pub fn count(&self, verb: EngineVerb) -> usize {
        self.script().calls.iter().filter(|call| call.verb() == verb).count()
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn take(&self, call: EngineCall, watch: &JobWatch) -> Result<(), MediaError> {
        let verb = call.verb();
        let fault = {
            let mut script = self.script();
            script.calls.push(call);
            script.faults.get_mut(&verb).and_then(VecDeque::pop_front)
        };
        (watch.on_progress)(MediaProgress { share: 0.5 });
        let mut held = self.held.subscribe();
        tokio::select! {
            biased;
            () = watch.cancel.cancelled() => return Err(MediaError::Cancelled),
            _ = held.wait_for(|held| *held != Some(verb)) => {}
        }
        if let Some(fault) = fault {
            return Err(fault);
        }
        (watch.on_progress)(MediaProgress { share: 1.0 });
        Ok(())
    }
}

#[async_trait]
impl MediaEngine for MemoryMediaEngine {
    async fn inspect(
        &self,
        order: InspectOrder,
        watch: &JobWatch,
    ) -> Result<Inspection, MediaError> {
        self.take(EngineCall::Inspect(order), watch).await?;
        Ok(self.script().inspection.clone())
    }

    async fn scene_cuts(
        &self,
        order: SceneCutsOrder,
        watch: &JobWatch,
    ) -> Result<Vec<f64>, MediaError> {
        let ranges = order.ranges.clone();
        self.take(EngineCall::SceneCuts(order), watch).await?;
        let inside = |at: &f64| ranges.iter().any(|(from, to)| (*from..=*to).contains(at));
        Ok(self.script().scene_cuts.iter().copied().filter(inside).collect())
    }

    async fn cut(&self, order: CutOrder, watch: &JobWatch) -> Result<CutReport, MediaError> {
        let (output, from, to) = (order.output.clone(), order.start_s, order.end_s);
        let text = format!("clip {from}..{to} of {}", order.source.display());
        self.take(EngineCall::Cut(order), watch).await?;
        let size_bytes = write(&output, &text)?;
        let frames = ((to - from) * FRAMES_PER_S).round() as u64;
        Ok(CutReport {
            method: CutMethod::SmartCut,
            duration_s: frames as f64 / FRAMES_PER_S,
            frames,
            frames_copied: frames,
            frames_encoded: 0,
            size_bytes,
            elapsed_ms: 1,
        })
    }

    async fn render_reel(
        &self,
        order: ReelOrder,
        watch: &JobWatch,
    ) -> Result<ReelReport, MediaError> {
        let (output, from, to) = (order.output.clone(), order.plan.start_s, order.plan.end_s);
        let text = format!("reel {from}..{to} of {}", order.plan.source.display());
        self.take(EngineCall::RenderReel(order), watch).await?;
        let size_bytes = write(&output, &text)?;
        let frames = ((to - from) * FRAMES_PER_S).round() as u64;
        Ok(ReelReport {
            duration_s: frames as f64 / FRAMES_PER_S,
            frames,
            size_bytes,
            source_lufs: Some(-20.0),
            lufs: Some(-14.0),
            true_peak_dbtp: Some(-1.5),
            elapsed_ms: 1,
        })
    }

    async fn sound(&self, order: SoundOrder, watch: &JobWatch) -> Result<(), MediaError> {
        let output = order.output.clone();
        let samples = ((order.end_s - order.start_s).max(0.0) * 8_000.0).round() as usize;
        self.take(EngineCall::Sound(order), watch).await?;
        // Nothing is heard in a pretended film.
        std::fs::write(&output, vec![0; samples * 4]).map_err(|e| MediaError::Failed {
            step: "write a pretended sound".into(),
            detail: e.to_string(),
        })
    }

    async fn poster(&self, order: PosterOrder, watch: &JobWatch) -> Result<(), MediaError> {
        let output = order.output.clone();
        let text = format!("still at {} of {}", order.at_s, order.source.display());
        self.take(EngineCall::Poster(order), watch).await?;
        write(&output, &text).map(|_| ())
    }

    async fn glance(&self, order: GlanceOrder, watch: &JobWatch) -> Result<Glance, MediaError> {
        let output = order.output.clone();
        let text = format!("a glance at {}", order.source.display());
        self.take(EngineCall::Glance(order), watch).await?;
        write(&output, &text)?;
        let level = Level { peak_db: -6.0, mean_db: -18.0 };
        Ok(Glance { has_picture: true, level: Some(level) })
    }

    async fn check(
        &self,
        order: CheckOrder,
        watch: &JobWatch,
    ) -> Result<Vec<ReelFinding>, MediaError> {
        self.take(EngineCall::Check(order), watch).await?;
        Ok(Vec::new())
    }
}

fn write(output: &Path, text: &str) -> Result<u64, MediaError> {
    std::fs::write(output, text).map_err(|e| MediaError::Failed {
        step: "write a pretended film".into(),
        detail: e.to_string(),
    })?;
    Ok(text.len() as u64)
}
