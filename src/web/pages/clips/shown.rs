//! What is shown of a clip: its strip in the queue, and all of it beside its picture.

use chrono::TimeDelta;

use crate::domain::clips::{Clip, ClipSource, ClipState, ReelState};
use crate::domain::media::MediaObject;
use crate::read_models::ClipCard;
use crate::web::pages::clips::{Detail, ReelBox, Scope, Shelf, Strip};
use crate::web::pages::french::{bytes, clock, count, length, number, timecode};
use crate::web::pages::shell::escaped;

pub(super) fn is_under_way(card: &ClipCard) -> bool {
    match card.clip.state {
        ClipState::Requested => true,
        ClipState::Failed { .. } => false,
        _ => matches!(card.clip.reel, ReelState::Requested { .. }),
    }
}

/// Where a clip begins: in its recording, or by the clock of the villa.
fn instant(clip: &Clip) -> String {
    match &clip.source {
        ClipSource::Recording => timecode(clip.span.from_ms),
        ClipSource::Camera { begins_at, .. } => {
            clock(*begins_at + TimeDelta::milliseconds(clip.piece().from_ms))
        }
    }
}

/// What a clip lacks because its camera broke off.
fn missing(clip: &Clip) -> Option<String> {
    let missing_ms = clip.span.ms() - clip.length_ms();
    let is_short = clip.state.file().is_some_and(|cut| cut.piece.is_some());
    is_short.then(|| {
        let seconds = number(missing_ms as f64 / 1_000.0, 1);
        format!("raccourci : la caméra s'est interrompue, il manque {seconds} s")
    })
}

/// What a clip is cut from.
fn origin(clip: &Clip, scope: &Scope) -> String {
    match &clip.source {
        ClipSource::Recording => scope.title_of(clip.live),
        ClipSource::Camera { name, .. } => format!("caméra {name}"),
    }
}

fn link(object: &MediaObject) -> String {
    format!("/media/{}", object.key)
}

pub(super) fn strip(card: &ClipCard, href: String, is_here: bool, scope: &Scope) -> Strip {
    let clip = &card.clip;
    let live = match scope {
        Scope::Live { .. } => None,
        Scope::Week { .. } => Some(origin(clip, scope)),
    };
    Strip {
        id: clip.id,
        href,
        title: clip.title.as_str().to_owned(),
        poster: clip.state.file().map(|cut| link(&cut.poster)),
        length: length(clip.length_ms()),
        at: instant(clip),
        live,
        state: match &clip.state {
            ClipState::Requested => Some(("découpe en cours", "loader-circle", "live")),
            ClipState::Failed { .. } => Some(("échoué", "circle-x", "bad")),
            _ => None,
        },
        has_reel: matches!(clip.reel, ReelState::Rendered { .. }),
        is_here,
    }
}

pub(super) fn detail(
    card: &ClipCard,
    scope: &Scope,
    here: String,
    after: String,
    previous: Option<String>,
    next: Option<String>,
) -> Detail {
    let clip = &card.clip;
    let cut = clip.state.file();
    let reel = match (&clip.reel, cut) {
        (_, None) => ReelBox::TooEarly,
        (ReelState::None, _) => ReelBox::None,
        (ReelState::Requested { .. }, _) => ReelBox::UnderWay,
        (ReelState::Failed { reason, .. }, _) => ReelBox::Failed(reason.clone()),
        (ReelState::Rendered { reel }, _) => {
            let mut figures = vec![bytes(reel.file.bytes)];
            figures.extend(reel.loudness_lufs.map(|lufs| format!("{} LUFS", number(lufs, 1))));
            figures.extend(reel.true_peak_dbtp.map(|peak| format!("{} dBTP", number(peak, 1))));
            ReelBox::Ready {
                file: link(&reel.file),
                poster: link(&reel.poster),
                figures: figures.join(" · "),
                download: saved_as(&reel.file, clip.title.as_str(), "reel"),
            }
        }
    };
    let mut facts = vec![instant(clip), length(clip.length_ms())];
    facts.extend(cut.map(|cut| bytes(cut.file.bytes)));
    facts.extend(cut.and_then(|cut| cut.aligned.as_ref()).map(|on| {
        format!("calé sur {}, ± {} ms", on.name, count(on.within_ms.ceil().max(1.0) as u64))
    }));
    facts.extend(missing(clip));
    Detail {
        id: clip.id,
        title: clip.title.as_str().to_owned(),
        shelf: Shelf::of(&clip.state),
        file: cut.map(|cut| link(&cut.file)),
        poster: cut.map(|cut| link(&cut.poster)),
        is_failed: matches!(clip.state, ClipState::Failed { .. }),
        reason: match &clip.state {
            ClipState::Failed { reason } => Some(reason.clone()),
            _ => None,
        },
        reencoded: cut.and_then(|cut| cut.reencoded_because.clone()),
        facts: facts.join(" · "),
        live_title: origin(clip, scope),
        moment: clip.moment.map(|moment| format!("/directs/{}/moments?moment={moment}", clip.live)),
        download: cut.map(|cut| saved_as(&cut.file, clip.title.as_str(), "clip")),
        reel,
        is_under_way: is_under_way(card),
        here,
        after,
        previous,
        next,
    }
}

/// The address that saves a file under the clip's title.
fn saved_as(object: &MediaObject, title: &str, kind: &str) -> String {
    let plain: String =
        title.chars().filter(|c| !c.is_control() && !"/\\:*?\"<>|".contains(*c)).collect();
    let name = format!("{} ({kind}).{}", plain.trim(), object.key.extension());
    format!("{}?telecharger={}", link(object), escaped(&name))
}
