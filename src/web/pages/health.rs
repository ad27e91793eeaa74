//! « Santé »: does everything that the house stands on hold, in words and figures.

use askama::Template;
use axum::extract::State;
use axum::response::Html;

use crate::domain::job::Lane;
use crate::ports::job_queue::LaneDepth;
use crate::ports::media_store::FREE_BYTES_KEPT;
use crate::use_cases::health::Vitals;
use crate::web::pages::french::{When, bytes, count, counted, number, percent};
use crate::web::pages::shell::{Place, Shell};
use crate::web::{App, EngineSkills, Problem, User, page};

/// The share of a disk that is not to be passed.
const DISK_SHARE_MAX: f64 = 0.8;
/// From this share on the disk is bad news.
const DISK_SHARE_BAD: f64 = 0.95;
/// A database that takes longer than this to answer is slow, in milliseconds.
const DATABASE_SLOW_MS: f64 = 200.0;
/// Jobs waiting from which the queue is long.
const QUEUE_LONG: i64 = 20;

/// A state with its word and sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    Good,
    Warn,
    Bad,
}

impl Mark {
    const fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Warn => "warn",
            Self::Bad => "bad",
        }
    }

    const fn icon(self) -> &'static str {
        match self {
            Self::Good => "circle-check",
            Self::Warn => "triangle-alert",
            Self::Bad => "circle-x",
        }
    }
}

/// One thing that the house stands on.
pub(super) struct Vital {
    name: &'static str,
    icon: &'static str,
    state: Mark,
    word: &'static str,
    figure: String,
    unit: String,
    words: String,
}

pub(super) struct LaneRow {
    name: &'static str,
    waiting: String,
    running: String,
    failed: String,
}

#[derive(Template)]
#[template(path = "pages/health.html")]
pub(super) struct HealthPage {
    pub(super) shell: Shell,
    verdict: &'static str,
    asked_at: When,
    vitals: Vec<Vital>,
    /// « 42.00% » of the disk that is full, and its state.
    disk: Option<(String, Mark)>,
    lanes: Vec<LaneRow>,
}

/// `GET /sante`
pub(super) async fn show(State(app): State<App>, user: User) -> Result<Html<String>, Problem> {
    let vitals = app.health.vitals().await;
    let now = When::at(app.clock.now());
    page(&health_page(&user, &vitals, &app.settings.engine, now))
}

/// The page, from what is known.
pub(super) fn health_page(
    user: &User,
    vitals: &Vitals,
    engine: &EngineSkills,
    asked_at: When,
) -> HealthPage {
    let shown = vec![database(vitals), disk(vitals), ffmpeg(engine), memory(vitals), queue(vitals)];
    let worst = |state| shown.iter().any(|vital| vital.state == state);
    let verdict = if worst(Mark::Bad) {
        "Quelque chose ne va pas : regardez ce qui est marqué."
    } else if worst(Mark::Warn) {
        "Tout fonctionne, avec un point à surveiller."
    } else {
        "Tout va bien."
    };
    HealthPage {
        shell: Shell::new(user, Place::Health),
        verdict,
        asked_at,
        vitals: shown,
        disk: vitals.disk.as_ref().ok().map(|space| {
            let (share, state) = fullness(*space);
            (format!("{:.2}%", share * 100.0), state)
        }),
        lanes: vitals
            .lanes
            .as_ref()
            .map_or_else(|_| Vec::new(), |lanes| lanes.iter().map(lane_row).collect()),
    }
}

fn unknown(name: &'static str, icon: &'static str, fault: &str) -> Vital {
    Vital {
        name,
        icon,
        state: Mark::Bad,
        word: "ne répond pas",
        figure: "–".to_owned(),
        unit: String::new(),
        words: fault.to_owned(),
    }
}

fn database(vitals: &Vitals) -> Vital {
    let (name, icon) = ("Base de données", "database");
    match &vitals.database {
        Err(fault) => unknown(name, icon, fault),
        Ok(took) => {
            let ms = took.as_secs_f64() * 1_000.0;
            let is_slow = ms > DATABASE_SLOW_MS;
            Vital {
                name,
                icon,
                state: if is_slow { Mark::Warn } else { Mark::Good },
                word: if is_slow { "lente" } else { "répond" },
                figure: number(ms, usize::from(ms < 10.0)),
                unit: "ms".to_owned(),
                words: "Le temps d'une petite question et de sa réponse.".to_owned(),
            }
        }
    }
}

fn fullness((free, size): (u64, u64)) -> (f64, Mark) {
    let share = if size == 0 { 0.0 } else { 1.0 - free as f64 / size as f64 };
    let state = if share >= DISK_SHARE_BAD || free <= FREE_BYTES_KEPT {
        Mark::Bad
    } else if share >= DISK_SHARE_MAX {
        Mark::Warn
    } else {
        Mark::Good
    };
    (share, state)
}

fn disk(vitals: &Vitals) -> Vital {
    let (name, icon) = ("Disque", "hard-drive");
    match &vitals.disk {
        Err(fault) => unknown(name, icon, fault),
        Ok((free, size)) => {
            let (share, state) = fullness((*free, *size));
            Vital {
                name,
                icon,
                state,
                word: match state {
                    Mark::Good => "de la place",
                    Mark::Warn => "au-delà de 80 %",
                    Mark::Bad => "presque plein",
                },
                figure: percent(share),
                unit: "occupés".to_owned(),
                words: format!("{} libres sur {}.", bytes(*free), bytes(*size)),
            }
        }
    }
}

fn queue(vitals: &Vitals) -> Vital {
    let (name, icon) = ("File des travaux", "list-todo");
    match &vitals.lanes {
        Err(fault) => unknown(name, icon, fault),
        Ok(lanes) => {
            let sum = |part: fn(&LaneDepth) -> i64| lanes.iter().map(part).sum::<i64>();
            let (waiting, running, failed) =
                (sum(|l| l.waiting), sum(|l| l.running), sum(|l| l.failed));
            let (state, word) = match () {
                () if failed > 0 => (Mark::Warn, "des échecs à regarder"),
                () if waiting > QUEUE_LONG => (Mark::Warn, "longue"),
                () if waiting + running == 0 => (Mark::Good, "au repos"),
                () => (Mark::Good, "avance"),
            };
            Vital {
                name,
                icon,
                state,
                word,
                figure: count((waiting + running) as u64),
                unit: if waiting + running < 2 { "travail".into() } else { "travaux".into() },
                words: format!(
                    "{} en cours, {} en attente, {}.",
                    count(running as u64),
                    count(waiting as u64),
                    counted(failed as u64, "échec", "échecs")
                ),
            }
        }
    }
}

fn ffmpeg(engine: &EngineSkills) -> Vital {
    let is_whole = engine.missing.is_empty();
    Vital {
        name: "FFmpeg",
        icon: "film",
        state: if is_whole { Mark::Good } else { Mark::Bad },
        word: if is_whole { "complet" } else { "incomplet" },
        figure: if engine.version.is_empty() { "–".into() } else { engine.version.clone() },
        unit: "libavcodec".to_owned(),
        words: if is_whole {
            "Tous les codecs et filtres qu'il faut aux reels.".to_owned()
        } else {
            format!(
                "Il manque {}. Installez un FFmpeg complet, puis redémarrez SPARK.",
                engine.missing.join(", ")
            )
        },
    }
}

fn memory(vitals: &Vitals) -> Vital {
    let (name, icon) = ("Mémoire de SPARK", "memory-stick");
    match &vitals.memory {
        Err(fault) => unknown(name, icon, fault),
        Ok(memory) => {
            let said = bytes(memory.anonymous);
            let (figure, unit) = said.split_once('\u{a0}').unwrap_or((&said, ""));
            Vital {
                name,
                icon,
                state: Mark::Good,
                word: "normale",
                figure: figure.to_owned(),
                unit: unit.to_owned(),
                words: format!(
                    "Demandés par SPARK lui-même ; {} avec les fichiers partagés.",
                    bytes(memory.resident)
                ),
            }
        }
    }
}

fn lane_row(depth: &LaneDepth) -> LaneRow {
    LaneRow {
        name: match depth.lane {
            Lane::Import => "Imports",
            Lane::Detect => "Moments",
            Lane::Cut => "Découpes",
            Lane::Render => "Reels",
            Lane::Fill => "Rattrapages",
            Lane::Extract => "Extraits",
            Lane::Align => "Calages",
        },
        waiting: count(depth.waiting.max(0) as u64),
        running: count(depth.running.max(0) as u64),
        failed: count(depth.failed.max(0) as u64),
    }
}

impl HealthPage {
    const DISK_LINE: &'static str = "80%";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_disk_is_worth_a_word_from_eighty_percent_on() {
        let giga = 1_000_000_000;
        assert_eq!(fullness((21 * giga, 100 * giga)).1, Mark::Good);
        assert_eq!(fullness((20 * giga, 100 * giga)).1, Mark::Warn);
        assert_eq!(fullness((4 * giga, 100 * giga)).1, Mark::Bad);
        assert_eq!(fullness((FREE_BYTES_KEPT, 1_000 * giga)).1, Mark::Bad);
        assert_eq!(fullness((0, 0)).1, Mark::Bad, "no room is no room");
    }
}
