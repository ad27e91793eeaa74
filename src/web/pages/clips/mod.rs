//! « Clips » of a live or of a whole week: a queue to judge, the picture, the reel in a phone.

mod actions;
mod framing;
mod shown;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::Html;
use futures::future::try_join_all;
use serde::Deserialize;

use crate::domain::accounts::Permission;
use crate::domain::clips::ClipState;
use crate::domain::clips::clip::TITLE_CHARS_MAX;
use crate::domain::ids::{ClipId, LiveId, WeekId};
use crate::read_models::{ClipCard, LiveCard, WeekCard};
use crate::web::pages::clips::shown::{detail, is_under_way, strip};
use crate::web::pages::french::{When, length};
use crate::web::pages::shell::{Paging, Place, Shell, escaped, matches};
use crate::web::{App, Problem, User, page};

pub(super) use actions::{approve, reject, rename, request, request_reel};

/// Clips shown in one queue.
const CLIPS_PER_PAGE: usize = 40;
/// From this many clips on, a search is offered.
const SEARCH_FROM: usize = 12;

/// What stands in the address.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    etat: Option<String>,
    pub(super) clip: Option<ClipId>,
    q: Option<String>,
    page: Option<usize>,
    dit: Option<String>,
}

/// A clip by hand, as it is typed.
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct ClipForm {
    pub(super) debut: String,
    pub(super) fin: String,
    pub(super) titre: String,
    /// The moment's page it was asked from.
    pub(super) moment: Option<String>,
}

/// Something typed that was refused.
pub(super) enum Refused {
    Clip(ClipForm, String),
    Title(String, String),
}

/// A shelf of the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shelf {
    ToJudge,
    Approved,
    Rejected,
}

impl Shelf {
    const ALL: [Self; 3] = [Self::ToJudge, Self::Approved, Self::Rejected];

    const fn word(self) -> &'static str {
        match self {
            Self::ToJudge => "a-valider",
            Self::Approved => "valides",
            Self::Rejected => "ecartes",
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::ToJudge => "À valider",
            Self::Approved => "Validés",
            Self::Rejected => "Écartés",
        }
    }

    fn of(state: &ClipState) -> Self {
        match state {
            ClipState::Requested | ClipState::Failed { .. } | ClipState::Cut { .. } => {
                Self::ToJudge
            }
            ClipState::Approved { .. } => Self::Approved,
            ClipState::Rejected { .. } => Self::Rejected,
        }
    }
}

/// A tab over the queue.
pub(super) struct Tab {
    href: String,
    name: &'static str,
    count: usize,
    is_here: bool,
}

/// A clip in the queue.
pub(super) struct Strip {
    id: ClipId,
    href: String,
    title: String,
    poster: Option<String>,
    length: String,
    at: String,
    live: Option<String>,
    state: Option<(&'static str, &'static str, &'static str)>,
    has_reel: bool,
    is_here: bool,
}

/// The reel beside the picture.
pub(super) enum ReelBox {
    /// Nothing is cut yet.
    TooEarly,
    None,
    UnderWay,
    Failed(String),
    Ready {
        file: String,
        poster: String,
        figures: String,
        download: String,
    },
}

/// The clip that is looked at.
pub(super) struct Detail {
    id: ClipId,
    title: String,
    shelf: Shelf,
    file: Option<String>,
    poster: Option<String>,
    is_failed: bool,
    reason: Option<String>,
    reencoded: Option<String>,
    facts: String,
    live_title: String,
    moment: Option<String>,
    download: Option<String>,
    reel: ReelBox,
    is_under_way: bool,
    here: String,
    /// Where a verdict leads: the next clip of the shelf.
    after: String,
    previous: Option<String>,
    next: Option<String>,
}

impl Detail {
    fn is_approved(&self) -> bool {
        self.shelf == Shelf::Approved
    }
    fn is_rejected(&self) -> bool {
        self.shelf == Shelf::Rejected
    }
    fn has_reel(&self) -> bool {
        matches!(self.reel, ReelBox::Ready { .. })
    }
}

/// Whose clips: a live's, or a whole week's.
pub(super) enum Scope {
    Live { live: Box<LiveCard>, week: Option<WeekCard> },
    Week { week: WeekCard, lives: Vec<LiveCard> },
}

impl Scope {
    fn base(&self) -> String {
        match self {
            Self::Live { live, .. } => format!("/directs/{}/clips", live.id),
            Self::Week { week, .. } => format!("/semaines/{}/clips", week.id),
        }
    }

    fn title_of(&self, id: LiveId) -> String {
        match self {
            Self::Live { live, .. } => live.title.clone(),
            Self::Week { lives, .. } => lives
                .iter()
                .find(|live| live.id == id)
                .map_or_else(String::new, |live| live.title.clone()),
        }
    }
}

#[derive(Template)]
#[template(path = "pages/clips.html")]
pub(super) struct ClipsPage {
    pub(super) shell: Shell,
    pub(super) week: Option<WeekCard>,
    pub(super) live: Option<LiveCard>,
    pub(super) started: Option<When>,
    pub(super) facts: Vec<String>,
    pub(super) tabs: Vec<Tab>,
    pub(super) shelf: Shelf,
    pub(super) base: String,
    pub(super) strips: Vec<Strip>,
    pub(super) paging: Paging,
    pub(super) total: usize,
    pub(super) moments: usize,
    pub(super) search: String,
    pub(super) detail: Option<Detail>,
    pub(super) framings: [(&'static str, &'static str); 8],
    pub(super) typed: ClipForm,
    pub(super) typed_title: Option<String>,
    pub(super) wrong: Option<String>,
    pub(super) wrong_title: Option<String>,
    pub(super) is_under_way: bool,
}

impl ClipsPage {
    const TITLE_CHARS_MAX: usize = TITLE_CHARS_MAX;

    fn offers_search(&self) -> bool {
        self.total >= SEARCH_FROM || !self.search.is_empty()
    }

    fn name(&self) -> &str {
        match (&self.live, &self.week) {
            (Some(live), _) => &live.title,
            (None, Some(week)) => &week.name,
            (None, None) => "",
        }
    }

    fn asks_by_hand(&self) -> bool {
        self.live.is_some() && self.shell.user.may(Permission::RequestClip)
    }

    fn is_first_shelf(&self) -> bool {
        self.shelf == Shelf::ToJudge
    }
}

/// `GET /directs/{id}/clips`
pub(super) async fn of_live(
    State(app): State<App>,
    user: User,
    Path(live): Path<LiveId>,
    Query(asked): Query<Asked>,
) -> Result<Html<String>, Problem> {
    page(&live_page(&app, &user, live, asked, None).await?)
}

/// The page of a live's clips, with a form that was refused, if one was.
pub(super) async fn live_page(
    app: &App,
    user: &User,
    live: LiveId,
    asked: Asked,
    refused: Option<Refused>,
) -> Result<ClipsPage, Problem> {
    let live = app.lives.find(live).await?.ok_or_else(Problem::not_found)?;
    let (week, clips, moments) = tokio::try_join!(
        app.weeks.find(live.week),
        app.clips.of_live(live.id),
        app.moments.of_live(live.id),
    )?;
    let scope = Scope::Live { live: Box::new(live), week };
    Ok(clips_page(user, scope, clips, moments.len(), asked, refused))
}

/// `GET /semaines/{id}/clips`
pub(super) async fn of_week(
    State(app): State<App>,
    user: User,
    Path(week): Path<WeekId>,
    Query(asked): Query<Asked>,
) -> Result<Html<String>, Problem> {
    let week = app.weeks.find(week).await?.ok_or_else(Problem::not_found)?;
    let lives = app.lives.of_week(week.id).await?;
    let ids = lives.iter().map(|live| live.id).chain([LiveId::of_cameras(week.id)]);
    let clips = try_join_all(ids.map(|live| app.clips.of_live(live))).await?;
    let scope = Scope::Week { week, lives };
    page(&clips_page(&user, scope, clips.into_iter().flatten().collect(), 0, asked, None))
}

/// The page, from what is known.
pub(super) fn clips_page(
    user: &User,
    scope: Scope,
    clips: Vec<ClipCard>,
    moments: usize,
    asked: Asked,
    refused: Option<Refused>,
) -> ClipsPage {
    let base = scope.base();
    let search = asked.q.unwrap_or_default().trim().to_owned();
    let total = clips.len();
    let is_under_way = clips.iter().any(is_under_way);
    let asked_shelf = asked.etat.as_deref();
    // A clip in the address leads to the shelf it stands on now.
    let shelf = asked
        .clip
        .filter(|_| asked_shelf.is_none())
        .and_then(|id| clips.iter().find(|card| card.clip.id == id))
        .map(|card| Shelf::of(&card.clip.state))
        .or_else(|| Shelf::ALL.into_iter().find(|shelf| Some(shelf.word()) == asked_shelf))
        .unwrap_or(Shelf::ToJudge);
    let looked_for =
        if search.is_empty() { String::new() } else { format!("&q={}", escaped(&search)) };
    let tabs = Shelf::ALL
        .into_iter()
        .map(|each| Tab {
            href: format!("{base}?etat={}{looked_for}", each.word()),
            name: each.name(),
            count: clips.iter().filter(|card| Shelf::of(&card.clip.state) == each).count(),
            is_here: each == shelf,
        })
        .collect();
    let shown: Vec<ClipCard> = clips
        .into_iter()
        .filter(|card| Shelf::of(&card.clip.state) == shelf)
        .filter(|card| {
            let live = scope.title_of(card.clip.live);
            matches(&format!("{} {live}", card.clip.title.as_str()), &search)
        })
        .collect();
    let stem = format!("{base}?etat={}{looked_for}", shelf.word());
    // The page that holds the clip asked for, unless another page is asked for.
    let asked_page = asked.page.or_else(|| {
        let place = shown.iter().position(|card| Some(card.clip.id) == asked.clip)?;
        Some(place / CLIPS_PER_PAGE + 1)
    });
    let paging = Paging::new(shown.len(), CLIPS_PER_PAGE, asked_page, &stem);
    let shown = paging.cut(shown, CLIPS_PER_PAGE);
    let here = shown
        .iter()
        .position(|card| Some(card.clip.id) == asked.clip)
        .or(if shown.is_empty() { None } else { Some(0) });
    let href = |card: &ClipCard| format!("{stem}&clip={}", card.clip.id);
    let strips = shown
        .iter()
        .enumerate()
        .map(|(place, card)| strip(card, href(card), here == Some(place), &scope))
        .collect();
    let detail = here.map(|place| {
        let previous = place.checked_sub(1).map(|before| href(&shown[before]));
        let next = shown.get(place + 1).map(href);
        let after = next.clone().or_else(|| previous.clone()).unwrap_or_else(|| stem.clone());
        detail(&shown[place], &scope, href(&shown[place]), after, previous, next)
    });
    let (mut typed, mut wrong, mut typed_title, mut wrong_title) =
        (ClipForm::default(), None, None, None);
    match refused {
        Some(Refused::Clip(form, reason)) => (typed, wrong) = (form, Some(reason)),
        Some(Refused::Title(title, reason)) => {
            (typed_title, wrong_title) = (Some(title), Some(reason));
        }
        None => {}
    }
    let shell = Shell::saying(user, Place::Weeks, asked.dit.as_deref());
    let (live, week) = match scope {
        Scope::Live { live, week } => (Some(*live), week),
        Scope::Week { week, .. } => (None, Some(week)),
    };
    ClipsPage {
        shell,
        started: live.as_ref().map(|live| When::at(live.started_at)),
        facts: live.as_ref().map_or_else(Vec::new, |live| vec![length(live.recording.duration_ms)]),
        week,
        live,
        tabs,
        shelf,
        base,
        strips,
        paging,
        total,
        moments,
        search,
        detail,
        framings: framing::CHOICES,
        typed,
        typed_title,
        wrong,
        wrong_title,
        is_under_way,
    }
}
