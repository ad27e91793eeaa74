//! The child: reads one order on stdin, fences itself in, does the job, writes lines of JSON on stdout.

use std::io::Read;
use std::process::ExitCode;

use rustix::process::{Pid, Resource, Rlimit, Signal};

use crate::adapters::ffmpeg::job::{
    ADDRESS_SPACE_BYTES_MAX, Envelope, Job, Line, MEMORY_BYTES_MAX, Misbehaviour, OPEN_FILES_MAX,
    ORDER_BYTES_MAX, OUTPUT_BYTES_MAX, Outcome, Progress, say,
};
use crate::adapters::ffmpeg::{check, cut, glance, inspect, listen, open, poster, reel, scenes};
use crate::ports::media_engine::MediaError;

/// The argument that makes this binary a renderer.
pub const RENDER_ROLE: &str = "render";

/// Niceness of a reel's render: whatever else runs goes first.
const NICENESS_REEL: i32 = 19;
/// Niceness of what a person waits for, a cut of seconds: behind the live and the pages, before the reels.
const NICENESS_SHORT: i32 = 5;
/// Readiness to be killed when the machine runs out of memory (-1000 to 1000).
const OOM_SCORE: &str = "800";

/// Runs one job as `spark render` does. Exit code 0 means that a result line was written, be it a failure's.
pub fn render_role() -> ExitCode {
    let mut order = String::new();
    let read = std::io::stdin().take(ORDER_BYTES_MAX).read_to_string(&mut order);
    let envelope = read
        .map_err(|error| error.to_string())
        .and_then(|_| serde_json::from_str::<Envelope>(&order).map_err(|error| error.to_string()));
    let envelope = match envelope {
        Ok(envelope) => envelope,
        Err(detail) => {
            say(&Line::Failed {
                error: MediaError::BadOrder { detail: format!("ordre illisible : {detail}") },
            });
            return ExitCode::FAILURE;
        }
    };
    let limits = Limits {
        memory_bytes: MEMORY_BYTES_MAX,
        output_bytes: OUTPUT_BYTES_MAX,
        open_files: OPEN_FILES_MAX,
    };
    if let Err(detail) = fence(envelope.parent_pid, niceness(&envelope.job), &limits) {
        say(&Line::Failed {
            error: MediaError::Failed { step: "démarrage du rendu".to_owned(), detail },
        });
        return ExitCode::FAILURE;
    }
    envelope.job.settle_in();
    let mut say_progress = |share| say(&Line::Progress { share });
    let mut progress = Progress::new(&mut say_progress);
    match run(&envelope.job, &mut progress) {
        Ok(outcome) => {
            say(&Line::Done { outcome });
            ExitCode::SUCCESS
        }
        Err(error) => {
            say(&Line::Failed { error });
            ExitCode::SUCCESS
        }
    }
}

/// Does `job` in this process.
pub(super) fn run(job: &Job, progress: &mut Progress) -> Result<Outcome, MediaError> {
    ffmpeg_next::init().map_err(|error| MediaError::Missing { what: error.to_string() })?;
    ffmpeg_next::log::set_level(ffmpeg_next::log::Level::Error);
    progress.at(0.0);
    match job {
        Job::Inspect(order) => inspect::inspect(order, progress).map(Outcome::Inspection),
        Job::SceneCuts(order) => scenes::scene_cuts(order, progress).map(Outcome::SceneCuts),
        Job::Cut(order) => cut::cut(order, progress).map(Outcome::Cut),
        Job::RenderReel(order) => reel::render(order, progress).map(Outcome::Reel),
        Job::Sound(order) => listen::listen(order, progress).map(|()| Outcome::Sound),
        Job::Poster(order) => poster::poster(order).map(|()| Outcome::Poster),
        Job::Glance(order) => glance::glance(order).map(Outcome::Glance),
        Job::Check(order) => check::check(order, progress).map(Outcome::Findings),
        Job::Measure { source } => open::picture_px(source).map(|px| Outcome::Measured { px }),
        Job::Misbehave { how } => Ok(misbehave(*how)),
    }
}

const fn niceness(job: &Job) -> i32 {
    match job {
        Job::Cut(_) | Job::Poster(_) | Job::Glance(_) | Job::Measure { .. } => NICENESS_SHORT,
        Job::Inspect(_)
        | Job::SceneCuts(_)
        | Job::Sound(_)
        | Job::RenderReel(_)
        | Job::Check(_)
        | Job::Misbehave { .. } => NICENESS_REEL,
    }
}

/// What a child may take.
pub(super) struct Limits {
    pub memory_bytes: u64,
    pub output_bytes: u64,
    pub open_files: u64,
}

/// Low priority, limits, and death with the parent. All of it is inherited by nobody.
pub(super) fn fence(parent_pid: i32, niceness: i32, limits: &Limits) -> Result<(), String> {
    let cannot = |what: &'static str| move |error: rustix::io::Errno| format!("{what} : {error}");
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(cannot("PR_SET_PDEATHSIG"))?;
    // The parent may have died between fork and the line above.
    if rustix::process::getppid().map(Pid::as_raw_nonzero).map(std::num::NonZero::get)
        != Some(parent_pid)
    {
        return Err("le serveur qui a lancé ce rendu n'est plus là".to_owned());
    }
    rustix::process::nice(niceness).map_err(cannot("priorité"))?;
    let limits = [
        (Resource::Data, limits.memory_bytes),
        (Resource::As, ADDRESS_SPACE_BYTES_MAX),
        (Resource::Fsize, limits.output_bytes),
        (Resource::Nofile, limits.open_files),
        (Resource::Core, 0),
    ];
    for (resource, most) in limits {
        let hard = rustix::process::getrlimit(resource).maximum;
        let most = hard.map_or(most, |hard| hard.min(most));
        rustix::process::setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })
            .map_err(cannot("limites"))?;
    }
    // A container may mask /proc: the limits above hold without it.
    let _ = std::fs::write("/proc/self/oom_score_adj", OOM_SCORE);
    Ok(())
}

fn misbehave(how: Misbehaviour) -> Outcome {
    match how {
        Misbehaviour::Abort => {
            eprintln!("misbehaving on request: abort");
            std::process::abort();
        }
        Misbehaviour::Hang => loop {
            std::thread::park();
        },
        Misbehaviour::Spin => {
            let mut turns = 0_u64;
            loop {
                turns = std::hint::black_box(turns.wrapping_add(1));
            }
        }
        Misbehaviour::Devour => {
            let mut eaten = Vec::new();
            loop {
                // Untouched pages: the limit is on what is mapped, and the machine is spared.
                eaten.push(std::hint::black_box(vec![0_u8; 16 << 20]));
            }
        }
        Misbehaviour::Babble => {
            for _ in 0..200_000 {
                eprintln!("misbehaving on request: a line nobody asked for");
            }
            Outcome::Behaved
        }
        Misbehaviour::Silence => std::process::exit(0),
    }
}
