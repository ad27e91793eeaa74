//! The supervisor: one child in role `render` per job, watched, limited, and ended when it must.

mod answers;
mod running;
mod watchdog;

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rustix::process::{Pid, Signal};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};
use tokio::time::MissedTickBehavior;

use crate::adapters::ffmpeg::encode::temporary_of;
use crate::adapters::ffmpeg::engine::answers::{Lines, explain, last_lines};
use crate::adapters::ffmpeg::engine::watchdog::Watchdog;
use crate::adapters::ffmpeg::job::{Envelope, Job, Line, Misbehaviour, Outcome};
use crate::adapters::ffmpeg::nursery::Nursery;
use crate::adapters::ffmpeg::role::RENDER_ROLE;
use crate::domain::clips::footage::Inspection;
use crate::domain::clips::reel_plan::{REEL_HEIGHT, REEL_WIDTH};
use crate::domain::resources::admission::{Kind, Profile, Refusal};
use crate::ports::media_engine::{
    CheckOrder, CutOrder, CutReport, Glance, GlanceOrder, InspectOrder, JobWatch, MediaEngine,
    MediaError, MediaProgress, PosterOrder, ReelFinding, ReelOrder, ReelReport, SceneCutsOrder,
    SoundOrder,
};
use crate::ports::renders::{Admission, OpenDoor, PARENT_MARK, Pass};

pub use crate::adapters::ffmpeg::engine::running::RunningRenders;

/// How often a child's state is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Time between a polite and a final signal.
const GRACE: Duration = Duration::from_secs(2);
/// CPU time a child may use without a word of progress.
const SILENT_CPU_MAX: Duration = Duration::from_mins(1);
/// Running time (stopped time not counted) a child may pass without a word of progress, waiting included.
const SILENT_RUNNING_MAX: Duration = Duration::from_mins(2);

/// How renderers are started and how long one may stay silent.
#[derive(Debug, Clone)]
pub struct EngineSettings {
    /// The program whose argument `render` makes a renderer: this very binary.
    pub program: PathBuf,
    /// CPU time without progress after which a renderer counts as stuck.
    pub silent_cpu_max: Duration,
    /// Running time without progress after which a renderer counts as stuck.
    pub silent_running_max: Duration,
}

impl EngineSettings {
    /// The usual limits for `program`.
    pub fn new(program: PathBuf) -> Self {
        Self { program, silent_cpu_max: SILENT_CPU_MAX, silent_running_max: SILENT_RUNNING_MAX }
    }
}

/// Media work done by children of this process.
pub struct FfmpegEngine {
    settings: EngineSettings,
    nursery: Nursery,
    admission: Arc<dyn Admission>,
    running: RunningRenders,
}

impl FfmpegEngine {
    /// An engine that starts everything at once.
    pub fn new(settings: EngineSettings) -> std::io::Result<Self> {
        Self::admitted(settings, Arc::new(OpenDoor))
    }

    /// An engine whose renders ask before they start. Interactive cuts, stills and glances do not.
    pub fn admitted(
        settings: EngineSettings,
        admission: Arc<dyn Admission>,
    ) -> std::io::Result<Self> {
        let nursery = Nursery::open("render-nursery")?;
        Ok(Self { settings, nursery, admission, running: RunningRenders::default() })
    }

    /// The renders that run now, for who slows them.
    pub fn running(&self) -> RunningRenders {
        self.running.clone()
    }

    /// Starts a renderer that goes wrong on purpose, to prove that the server survives it.
    pub async fn drill(&self, how: Misbehaviour, watch: &JobWatch) -> Result<(), MediaError> {
        self.run(Job::Misbehave { how }, watch).await.map(|_| ())
    }

    async fn run(&self, job: Job, watch: &JobWatch) -> Result<Outcome, MediaError> {
        if watch.cancel.is_cancelled() {
            return Err(MediaError::Cancelled);
        }
        let temporary = job.output().map(|output| temporary_of(output));
        let seat = self.seat(&job, watch).await?;
        let result = self.supervise(job, watch, seat.as_ref()).await;
        if result.is_err()
            && let Some(temporary) = temporary
            && let Err(error) = tokio::fs::remove_file(&temporary).await
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(file = %temporary.display(), %error, "a failed render left a temporary file behind");
        }
        result
    }

    /// Waits until there is room for a job that can wait; none for one that cannot.
    async fn seat(&self, job: &Job, watch: &JobWatch) -> Result<Option<Seat>, MediaError> {
        if !job.is_sheddable() {
            return Ok(None);
        }
        let profile = self.profile(job, watch).await?;
        let admitted = tokio::select! {
            () = watch.cancel.cancelled() => return Err(MediaError::Cancelled),
            admitted = self.admission.admit(profile) => admitted,
        };
        let pass = admitted.map_err(|Refusal::NeverFits { need_mb, room_mb }| {
            MediaError::NoRoom { need_mb, room_mb }
        })?;
        Ok(Some(Seat { profile, pass }))
    }

    async fn profile(&self, job: &Job, watch: &JobWatch) -> Result<Profile, MediaError> {
        let (kind, output_px) = match job {
            Job::RenderReel(_) => (Kind::Render, u64::from(REEL_WIDTH) * u64::from(REEL_HEIGHT)),
            _ => (Kind::Read, 0),
        };
        let source_px = match job.decodes() {
            None => 0,
            Some(source) => {
                let measure = Job::Measure { source: source.clone() };
                // A look at a header is no progress of the job.
                let silent = JobWatch { cancel: watch.cancel.clone(), ..JobWatch::unwatched() };
                match self.supervise(measure, &silent, None).await {
                    Ok(Outcome::Measured { px }) => px,
                    Err(error @ (MediaError::Cancelled | MediaError::Crashed { .. })) => {
                        return Err(error);
                    }
                    // The job itself will meet the same fault and say it with its own words.
                    _ => 0,
                }
            }
        };
        Ok(Profile { kind, source_px, output_px })
    }

    async fn supervise(
        &self,
        job: Job,
        watch: &JobWatch,
        seat: Option<&Seat>,
    ) -> Result<Outcome, MediaError> {
        let running_max = job.running_time_max();
        let parent_pid = rustix::process::getpid().as_raw_nonzero().get();
        let order = serde_json::to_vec(&Envelope { parent_pid, job })
            .map_err(|error| cannot_start(&error))?;
        let mut child = self.start().await?;
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let Some(pid) = pid else { return Err(cannot_start(&"sans numéro de processus")) };
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(mut stdin), Some(stdout), Some(stderr)) = pipes else {
            return Err(cannot_start(&"sans tuyaux"));
        };
        // Dropping this future at any point ends the child with its group.
        let mut group = Group { pid, alive: true };
        let feeding = tokio::spawn(async move {
            // A child that died before reading says why in its exit status.
            let _ = stdin.write_all(&order).await;
            let _ = stdin.shutdown().await;
        });
        let words = tokio::spawn(last_lines(stderr));
        let mut lines = Box::pin(Lines::new(stdout));
        let mut watchdog = Watchdog::new(pid, &self.settings, running_max);
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut result, mut tether) = (None, None);
        let verdict = loop {
            tokio::select! {
                line = lines.next() => match line {
                    Some(Line::Progress { share }) => {
                        // Its first word comes from behind its fence: from there on it may be stopped.
                        if seat.is_some() && tether.is_none() {
                            tether = Some(self.running.take_in(pid));
                        }
                        watchdog.heard();
                        (watch.on_progress)(MediaProgress { share });
                    }
                    Some(Line::Done { outcome }) => result = Some(Ok(outcome)),
                    Some(Line::Failed { error }) => result = Some(Err(error)),
                    None => break None,
                },
                () = watch.cancel.cancelled() => break Some(MediaError::Cancelled),
                _ = look.tick() => {
                    if let Some(error) = watchdog.look() { break Some(error) }
                    if let Some(seat) = seat {
                        seat.pass.holds(watchdog.holds());
                    }
                }
            }
        };
        drop(tether);
        if let Some(seat) = seat.filter(|_| verdict.is_none()) {
            self.admission.ended(seat.profile, watchdog.peak());
        }
        let status = match verdict {
            None => group.wait(&mut child, GRACE).await,
            Some(_) => group.end(&mut child).await,
        };
        feeding.abort();
        let words = words.await.unwrap_or_default();
        if let Some(error) = verdict {
            return Err(error);
        }
        match (result, status) {
            (Some(result), _) => result,
            (None, status) => Err(explain(status.ok(), &words)),
        }
    }

    async fn start(&self) -> Result<Child, MediaError> {
        let mut command = Command::new(&self.settings.program);
        command
            .arg(RENDER_ROLE)
            .env_clear()
            .env("LANG", "C.UTF-8")
            .env(PARENT_MARK, std::process::id().to_string())
            // One arena per thread would cost 64 MB of address space each.
            .env("MALLOC_ARENA_MAX", "2")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        // libass finds the system's fonts and their cache through these.
        for name in ["HOME", "XDG_CACHE_HOME", "FONTCONFIG_FILE", "FONTCONFIG_PATH"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        self.nursery.start(command).await.map_err(|error| cannot_start(&error))
    }
}

fn cannot_start(why: &dyn std::fmt::Display) -> MediaError {
    // The machine is short of processes or memory for a moment: no fault of the file.
    MediaError::Crashed { how: "il n'a pas pu démarrer".to_owned(), last_words: why.to_string() }
}

/// A place among the renders.
struct Seat {
    profile: Profile,
    pass: Pass,
}

/// The child's process group, which is killed when this is dropped before the child was waited for.
struct Group {
    pid: Pid,
    alive: bool,
}

impl Group {
    fn signal(&self, signal: Signal) {
        if self.alive {
            // The child is unreaped while `alive`, so its number cannot belong to another process.
            let _ = rustix::process::kill_process_group(self.pid, signal);
        }
    }

    async fn wait(&mut self, child: &mut Child, at_most: Duration) -> std::io::Result<ExitStatus> {
        match tokio::time::timeout(at_most, child.wait()).await {
            Ok(status) => {
                self.alive = false;
                status
            }
            Err(_) => self.end(child).await,
        }
    }

    /// TERM, CONT (a stopped process takes TERM only then), and KILL when that was not enough.
    async fn end(&mut self, child: &mut Child) -> std::io::Result<ExitStatus> {
        self.signal(Signal::TERM);
        self.signal(Signal::CONT);
        let status = if let Ok(status) = tokio::time::timeout(GRACE, child.wait()).await {
            status
        } else {
            self.signal(Signal::KILL);
            child.wait().await
        };
        self.alive = false;
        status
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// A renderer that answers another question than the one asked.
fn wrong_answer() -> MediaError {
    MediaError::Crashed { how: "réponse d'un autre travail".to_owned(), last_words: String::new() }
}

#[async_trait]
impl MediaEngine for FfmpegEngine {
    async fn inspect(
        &self,
        order: InspectOrder,
        watch: &JobWatch,
    ) -> Result<Inspection, MediaError> {
        match self.run(Job::Inspect(order), watch).await? {
            Outcome::Inspection(inspection) => Ok(inspection),
            _ => Err(wrong_answer()),
        }
    }

    async fn scene_cuts(
        &self,
        order: SceneCutsOrder,
        watch: &JobWatch,
    ) -> Result<Vec<f64>, MediaError> {
        match self.run(Job::SceneCuts(order), watch).await? {
            Outcome::SceneCuts(cuts) => Ok(cuts),
            _ => Err(wrong_answer()),
        }
    }

    async fn cut(&self, mut order: CutOrder, watch: &JobWatch) -> Result<CutReport, MediaError> {
        order.key_frames = order.key_frames.around(order.start_s, order.end_s);
        match self.run(Job::Cut(order), watch).await? {
            Outcome::Cut(report) => Ok(report),
            _ => Err(wrong_answer()),
        }
    }

    async fn render_reel(
        &self,
        order: ReelOrder,
        watch: &JobWatch,
    ) -> Result<ReelReport, MediaError> {
        order.plan.check().map_err(|error| MediaError::BadOrder { detail: error.to_string() })?;
        match self.run(Job::RenderReel(order), watch).await? {
            Outcome::Reel(report) => Ok(report),
            _ => Err(wrong_answer()),
        }
    }

    async fn sound(&self, order: SoundOrder, watch: &JobWatch) -> Result<(), MediaError> {
        match self.run(Job::Sound(order), watch).await? {
            Outcome::Sound => Ok(()),
            _ => Err(wrong_answer()),
        }
    }

    async fn poster(&self, order: PosterOrder, watch: &JobWatch) -> Result<(), MediaError> {
        match self.run(Job::Poster(order), watch).await? {
            Outcome::Poster => Ok(()),
            _ => Err(wrong_answer()),
        }
    }

    async fn glance(&self, order: GlanceOrder, watch: &JobWatch) -> Result<Glance, MediaError> {
        match self.run(Job::Glance(order), watch).await? {
            Outcome::Glance(glance) => Ok(glance),
            _ => Err(wrong_answer()),
        }
    }

    async fn check(
        &self,
        order: CheckOrder,
        watch: &JobWatch,
    ) -> Result<Vec<ReelFinding>, MediaError> {
        match self.run(Job::Check(order), watch).await? {
            Outcome::Findings(findings) => Ok(findings),
            _ => Err(wrong_answer()),
        }
    }
}
