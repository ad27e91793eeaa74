//! « Moments » of a live: the pulse of its chat with the moments on it, why each was picked, the player at that instant.

pub(super) mod pulse;
pub(super) mod words;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::Html;
use serde::Deserialize;

use crate::domain::ids::{ClipId, LiveId, MomentId};
use crate::domain::moments::event::MOMENTS_KEPT_MAX;
use crate::read_models::{ClipCard, LiveCard, MomentCard, WeekCard};
use crate::use_cases::live::pulse_step_ms;
use crate::web::pages::clips::ClipForm;
use crate::web::pages::french::{When, count, counted, exact_timecode, length, number, timecode};
use crate::web::pages::moments::pulse::Pulse;
use crate::web::pages::shell::{Place, Shell};
use crate::web::{App, Problem, User, page};

/// Seconds of lead-in before a moment's event when its player jumps there.
const LEAD_IN_S: f64 = 4.0;
/// Moments told apart as the best: those that become clips by themselves.
const BEST: u32 = crate::domain::clips::CLIPS_PROPOSED;
/// Pins drawn with their rank; the others are dots.
const PINS_MAX: u32 = 15;

/// What stands in the address.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    pub(super) moment: Option<MomentId>,
    pub(super) ordre: Option<String>,
    pub(super) dit: Option<String>,
}

/// A moment in the list and on the curve.
pub(super) struct Pick {
    id: MomentId,
    rank: u32,
    at: String,
    /// Seconds, for the player.
    jump_s: String,
    kind: &'static str,
    why: String,
    is_here: bool,
    /// On the curve.
    x: String,
    is_best: bool,
    has_pin: bool,
    href: String,
}

/// A reason with its share.
pub(super) struct ReasonRow {
    words: String,
    share: String,
    /// « 42.00% » of the bar.
    width: String,
    is_against: bool,
}

/// The moment that is looked at.
pub(super) struct Detail {
    rank: u32,
    kind: &'static str,
    at: String,
    length: String,
    score: String,
    reasons: Vec<ReasonRow>,
    delay: String,
    /// On the curve.
    x: String,
    width: String,
    /// The clip that was proposed for it.
    clip: Option<ClipId>,
    previous: Option<String>,
    next: Option<String>,
}

#[derive(Template)]
#[template(path = "pages/moments.html")]
pub(super) struct MomentsPage {
    pub(super) shell: Shell,
    pub(super) week: Option<WeekCard>,
    pub(super) live: LiveCard,
    pub(super) started: When,
    pub(super) facts: [String; 3],
    pub(super) pulse: Pulse,
    pub(super) picks: Vec<Pick>,
    pub(super) is_by_time: bool,
    pub(super) detail: Option<Detail>,
    /// Where the player starts, in seconds.
    pub(super) jump_s: String,
    pub(super) clips: usize,
    pub(super) typed: ClipForm,
    pub(super) wrong: Option<String>,
}

impl MomentsPage {
    fn is_read(&self) -> bool {
        self.live.analysis.is_some()
    }
}

/// What a page of moments is made from.
pub(super) struct Known {
    pub(super) week: Option<WeekCard>,
    pub(super) live: LiveCard,
    pub(super) pulse: Pulse,
    pub(super) moments: Vec<MomentCard>,
    pub(super) clips: Vec<ClipCard>,
}

/// `GET /directs/{id}/moments`
pub(super) async fn show(
    State(app): State<App>,
    user: User,
    Path(live): Path<LiveId>,
    Query(asked): Query<Asked>,
) -> Result<Html<String>, Problem> {
    let known = know(&app, live).await?;
    page(&moments_page(&user, known, &asked, None))
}

/// Reads what the page shows.
pub(super) async fn know(app: &App, live: LiveId) -> Result<Known, Problem> {
    let live = app.lives.find(live).await?.ok_or_else(Problem::not_found)?;
    let (week, pulse, moments, clips) = tokio::try_join!(
        app.weeks.find(live.week),
        app.lives.pulse(&live),
        app.moments.of_live(live.id),
        app.clips.of_live(live.id),
    )?;
    let step_ms = pulse_step_ms(live.recording.duration_ms);
    let pulse = Pulse::of_steps(&pulse, step_ms, live.recording.duration_ms);
    Ok(Known { week, live, pulse, moments, clips })
}

/// The page, with a clip's form that was refused, if one was.
pub(super) fn moments_page(
    user: &User,
    known: Known,
    asked: &Asked,
    refused: Option<(ClipForm, String)>,
) -> MomentsPage {
    let Known { week, live, pulse, mut moments, clips } = known;
    moments.truncate(MOMENTS_KEPT_MAX);
    let is_by_time = asked.ordre.as_deref() == Some("temps");
    if is_by_time {
        moments.sort_by(|one, other| one.found.event_s.total_cmp(&other.found.event_s));
    }
    let here = asked
        .moment
        .and_then(|id| moments.iter().position(|card| card.id == id))
        .or(if moments.is_empty() { None } else { Some(0) });
    let order = if is_by_time { "&ordre=temps" } else { "" };
    let href =
        |card: &MomentCard| format!("/directs/{}/moments?moment={}{order}", live.id, card.id);
    let picks = moments
        .iter()
        .enumerate()
        .map(|(place, card)| Pick {
            id: card.id,
            rank: card.rank + 1,
            at: timecode((card.found.event_s * 1_000.0) as i64),
            jump_s: jump(card),
            kind: words::kind(&card.found),
            why: words::reasons_in_line(&card.found),
            is_here: here == Some(place),
            x: pulse.place((card.found.event_s * 1_000.0) as i64),
            is_best: card.rank < BEST,
            has_pin: card.rank < PINS_MAX,
            href: href(card),
        })
        .collect();
    let detail = here.map(|place| {
        let card = &moments[place];
        Detail {
            previous: place.checked_sub(1).map(|before| href(&moments[before])),
            next: moments.get(place + 1).map(href),
            ..detail(card, &pulse, &clips)
        }
    });
    let (typed, wrong) = match (refused, here) {
        (Some((typed, wrong)), _) => (typed, Some(wrong)),
        (None, Some(place)) => (proposal(&moments[place]), None),
        (None, None) => (ClipForm::default(), None),
    };
    MomentsPage {
        shell: Shell::saying(user, Place::Weeks, asked.dit.as_deref()),
        started: When::at(live.started_at),
        facts: [
            length(live.recording.duration_ms),
            counted(live.messages, "message", "messages"),
            format!("{} dans le chat", counted(live.chatters, "personne", "personnes")),
        ],
        jump_s: here.map_or_else(|| "0".to_owned(), |place| jump(&moments[place])),
        week,
        pulse,
        picks,
        is_by_time,
        detail,
        clips: clips.len(),
        typed,
        wrong,
        live,
    }
}

fn jump(card: &MomentCard) -> String {
    let start = (card.found.event_s - LEAD_IN_S).max(card.found.span.start_s);
    format!("{:.1}", start.max(0.0))
}

fn proposal(card: &MomentCard) -> ClipForm {
    ClipForm {
        debut: exact_timecode((card.found.span.start_s * 1_000.0) as i64),
        fin: exact_timecode((card.found.span.end_s * 1_000.0) as i64),
        titre: words::working_title(&card.found).to_owned(),
        moment: Some(card.id.to_string()),
    }
}

fn detail(card: &MomentCard, pulse: &Pulse, clips: &[ClipCard]) -> Detail {
    let found = &card.found;
    let strongest = found.reasons.iter().map(|reason| reason.share.abs()).fold(0.1, f64::max);
    let span_ms = (found.span.length_s() * 1_000.0) as i64;
    let reasons = found
        .reasons
        .iter()
        .map(|reason| ReasonRow {
            words: words::reason(reason, found.mood),
            share: format!(
                "{}{}",
                if reason.share < 0.0 { "" } else { "+" },
                number(reason.share, 1)
            ),
            width: format!("{:.2}%", reason.share.abs() / strongest * 100.0),
            is_against: reason.share < 0.0,
        })
        .collect();
    Detail {
        rank: card.rank + 1,
        kind: words::kind(found),
        at: timecode((found.event_s * 1_000.0) as i64),
        length: length(span_ms),
        score: number(found.score, 1),
        reasons,
        delay: words::delay(&found.delay),
        x: pulse.place((found.span.start_s * 1_000.0) as i64),
        width: pulse.width(span_ms),
        clip: clips.iter().find(|clip| clip.clip.moment == Some(card.id)).map(|clip| clip.clip.id),
        previous: None,
        next: None,
    }
}

impl MomentsPage {
    /// « 14 » moments, as a word for the head of the list.
    fn counted(&self) -> String {
        match self.picks.len() {
            0 => "Moments".to_owned(),
            n => format!("{} {}", count(n as u64), if n < 2 { "moment" } else { "moments" }),
        }
    }
}
