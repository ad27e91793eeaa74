//! A frame of « Direct »: what a page lacks, in words it can show as they are.

use std::fmt::Write;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::domain::audience::channel::ChannelId;
use crate::ports::audience_source::{Health, State as Listens};
use crate::read_models::{Deed, Line, LiveBoard};
use crate::web::App;
use crate::web::pages::french::{clock, counted, length, number, timecode};
use crate::web::pages::moments::words::{kind, reasons_in_line};

/// Chat lines in a reader's own frame at most; the rest is told as a number.
const LINES_PER_FRAME: usize = 20;
/// Chat lines of a page at its start.
const LINES_AT_FIRST: usize = 60;
/// Things that happened on a page.
const DEEDS_SHOWN: usize = 8;
/// Steps of the pulse drawn: half an hour.
const PULSE_SHOWN: usize = 180;

/// Everything that moves.
#[derive(Debug, Serialize)]
pub(super) struct Frame {
    /// Told up to here.
    pub(super) seq: i64,
    /// Replaces what stands, instead of adding to it.
    pub(super) whole: bool,
    pub(super) figures: Figures,
    pub(super) lines: Vec<Line>,
    /// Lines that were left out.
    more: usize,
    pub(super) deeds: Vec<Deed>,
    /// Ids of lines that have to go.
    gone: Vec<String>,
}

/// The figures, in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Figures {
    pub(super) is_on_air: bool,
    pub(super) since: String,
    pub(super) viewers: String,
    pub(super) per_minute: String,
    pub(super) messages: String,
    pub(super) title: String,
    /// Curves, as paths in a box of 1000 × 100.
    pub(super) pulse: String,
    pub(super) watched: String,
    pub(super) listening: String,
    pub(super) listening_class: &'static str,
    pub(super) gaps: String,
    /// The latest moment: where and what, why; and who asks for a clip.
    pub(super) moment: String,
    pub(super) moment_why: String,
    pub(super) votes: String,
}

/// Everything a frame is made of, at one moment.
pub(super) struct View<'a> {
    pub(super) board: &'a LiveBoard,
    health: Option<&'a Health>,
    now: DateTime<Utc>,
}

/// Looks at a channel as it stands.
pub(super) fn look<T>(app: &App, channel: &ChannelId, read: impl FnOnce(&View<'_>) -> T) -> T {
    let health = app.boards.health(channel);
    let now = app.clock.now();
    app.boards.look(channel, |board| read(&View { board, health: health.as_ref(), now }))
}

impl View<'_> {
    /// What one reader lacks who has seen everything up to `seen`, of what was told up to `to`. Everything for who has seen
    /// nothing, or more than the board reaches back to.
    pub(super) fn after(&self, seen: Option<i64>, to: i64) -> Frame {
        let Some(seen) = seen.filter(|seen| self.board.reaches_back_to(*seen)) else {
            return self.whole(to);
        };
        // A page may be fresher than what was told to everybody.
        let to = to.max(seen);
        let count = self.lines(seen, to).count();
        self.part(seen, to, LINES_PER_FRAME.min(count), count)
    }

    /// What everybody lacks who was told all up to `seen`, when so many messages had been said. `take` is asked how many
    /// of the new lines may be shown.
    pub(super) fn next(
        &self,
        seen: i64,
        messages: u64,
        take: impl FnOnce(usize) -> usize,
    ) -> Frame {
        let board = self.board;
        if !board.goes_on_from(seen) {
            return self.whole(board.seq);
        }
        let count = if board.reaches_back_to(seen) {
            self.lines(seen, board.seq).count()
        } else {
            // More was said at once than a board keeps.
            board.messages.saturating_sub(messages) as usize
        };
        self.part(seen, board.seq, take(count), count)
    }

    fn lines(&self, seen: i64, to: i64) -> impl Iterator<Item = &Line> {
        self.board.lines.iter().filter(move |line| line.seq > seen && line.seq <= to)
    }

    /// The newest `shown` of `count` lines, and all the rest.
    fn part(&self, seen: i64, to: i64, shown: usize, count: usize) -> Frame {
        Frame {
            seq: to,
            whole: false,
            figures: Figures::of(self),
            lines: self.newest(seen, to, shown),
            more: count - shown,
            deeds: self.deeds(seen, to),
            gone: self.board.gone_after(seen).map(str::to_owned).collect(),
        }
    }

    fn whole(&self, to: i64) -> Frame {
        Frame {
            seq: to,
            whole: true,
            figures: Figures::of(self),
            lines: self.newest(-1, to, LINES_AT_FIRST),
            more: 0,
            deeds: self.deeds(-1, to),
            gone: Vec::new(),
        }
    }

    fn newest(&self, seen: i64, to: i64, shown: usize) -> Vec<Line> {
        let early = self.lines(seen, to).count().saturating_sub(shown);
        self.lines(seen, to).skip(early).cloned().collect()
    }

    fn deeds(&self, seen: i64, to: i64) -> Vec<Deed> {
        let deeds = || self.board.deeds.iter().filter(|deed| deed.seq > seen && deed.seq <= to);
        deeds().skip(deeds().count().saturating_sub(DEEDS_SHOWN)).cloned().collect()
    }
}

impl Frame {
    /// Whether nothing but figures is in it.
    pub(super) fn is_quiet(&self) -> bool {
        let Self { whole, lines, more, deeds, gone, .. } = self;
        !whole && lines.is_empty() && *more == 0 && deeds.is_empty() && gone.is_empty()
    }

    /// As it is sent: one server-sent event.
    pub(super) fn encoded(&self) -> Bytes {
        // Texts, numbers and lists of them: nothing in it can fail to be JSON, and JSON has no bare line ends.
        let json = serde_json::to_string(self).unwrap_or_default();
        format!("id: {}\ndata: {json}\n\n", self.seq).into()
    }
}

impl Figures {
    fn of(view: &View<'_>) -> Self {
        let View { board, health, now } = *view;
        let is_on_air = board.started_at.is_some() && board.ended_at.is_none();
        let since = board.started_at.map(|at| board.ended_at.unwrap_or(now) - at);
        let viewers: Vec<Option<f64>> =
            board.viewers.iter().map(|(_, count)| count.map(f64::from)).collect();
        let pulse = board.pulse(now, PULSE_SHOWN);
        let pulse: Vec<Option<f64>> = pulse.into_iter().map(|n| Some(f64::from(n))).collect();
        let (listening, listening_class) = listening(health, now);
        Self {
            is_on_air,
            since: since.map_or_else(|| "—".to_owned(), |it| length(it.num_milliseconds().max(0))),
            viewers: board.watching().map_or_else(|| "—".to_owned(), |n| number(f64::from(n), 0)),
            per_minute: number(f64::from(board.per_minute(now)), 0),
            messages: number(board.messages as f64, 0),
            title: board.title.clone(),
            pulse: curve(&pulse),
            watched: curve(&viewers),
            listening,
            listening_class,
            gaps: gaps(board),
            moment: board.moment.as_ref().map_or_else(
                || "Aucun encore".to_owned(),
                |found| format!("{} à {}", kind(found), timecode((found.event_s * 1e3) as i64)),
            ),
            moment_why: board.moment.as_ref().map_or_else(
                || {
                    "Le premier se montre quand le chat s'emballe, après une minute d'écoute."
                        .into()
                },
                reasons_in_line,
            ),
            votes: votes(board.voters(now)),
        }
    }
}

/// A curve in a box of 1000 × 100, zero at the bottom; a gap where a value is missing.
fn curve(values: &[Option<f64>]) -> String {
    let highest = values.iter().flatten().copied().fold(1.0_f64, f64::max);
    let step = 1_000.0 / (values.len().max(2) - 1) as f64;
    let mut path = String::new();
    let mut is_drawing = false;
    for (index, value) in values.iter().enumerate() {
        let Some(value) = value else {
            is_drawing = false;
            continue;
        };
        let letter = if is_drawing { 'L' } else { 'M' };
        let (x, y) = (index as f64 * step, 100.0 - value / highest * 96.0);
        let _ = write!(path, "{letter}{x:.0} {y:.1}");
        is_drawing = true;
    }
    path
}

/// Listening, in words, with the class of its state.
fn listening(health: Option<&Health>, now: DateTime<Utc>) -> (String, &'static str) {
    let Some(health) = health else {
        return ("Cette chaîne n'est pas écoutée : reliez-la sous « Chaînes ».".to_owned(), "warn");
    };
    let last = health.last_event_at.map_or_else(String::new, |at| {
        format!(" · dernier événement il y a {}", length((now - at).num_milliseconds().max(0)))
    });
    let count = format!("{} abonnements sur {}", health.confirmed, health.wanted);
    match health.state {
        Listens::Listening if health.confirmed > 0 && health.confirmed == health.wanted => {
            (format!("Twitch nous parle · {count}{last}"), "good")
        }
        Listens::Listening if health.confirmed > 0 => {
            (format!("Twitch nous parle, pas de tout · {count}{last}"), "warn")
        }
        Listens::Listening | Listens::Connecting => ("Connexion à Twitch…".to_owned(), "warn"),
        Listens::Waiting => {
            ("Twitch ne répond plus : nouvelle tentative dans un instant.".to_owned(), "bad")
        }
        Listens::Revoked => {
            ("La chaîne a retiré son autorisation : reliez-la de nouveau.".to_owned(), "bad")
        }
    }
}

/// Who asks for a clip, in words; empty when nobody does.
fn votes(people: usize) -> String {
    match people {
        0 => String::new(),
        1 => "1 personne demande un clip".to_owned(),
        _ => format!("{} demandent un clip", counted(people as u64, "personne", "personnes")),
    }
}

/// What was not heard, in words; empty when nothing is missing.
fn gaps(board: &LiveBoard) -> String {
    let Some((from, to)) = board.gaps.back() else { return String::new() };
    let count = counted(board.gaps.len() as u64, "trou dans l'écoute", "trous dans l'écoute");
    format!("{count}, le dernier de {} à {}", clock(*from), clock(*to))
}
