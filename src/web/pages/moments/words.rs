//! A moment in words: why it was picked, what kind it is, how the delay of the chat is known.

use crate::domain::moments::delay::{Delay, DelayOrigin};
use crate::domain::moments::lexicon::Mood;
use crate::domain::moments::moment::{Moment, MomentKind};
use crate::domain::moments::reasons::{Reason, ReasonKind};
use crate::web::pages::french::{counted, number, percent, rough};

/// Reasons told in one line.
const REASONS_IN_LINE: usize = 2;
/// A share below this adds nothing that a person would notice.
const SHARE_TOLD_MIN: f64 = 0.05;

/// A reason in words, without a capital.
pub(in crate::web::pages) fn reason(reason: &Reason, mood: Option<Mood>) -> String {
    let times = rough(reason.measure);
    match reason.kind {
        ReasonKind::Chatters => format!("{times} × plus de monde que d'habitude"),
        ReasonKind::Reactions => format!("{times} × plus {}", reactions(mood)),
        ReasonKind::Shouts => format!("{times} × plus de messages en capitales"),
        ReasonKind::Repetition => {
            format!("le chat se répète (concentration {})", percent(reason.measure))
        }
        ReasonKind::Support => {
            format!("raid, cadeaux ou hype train : {times} × ce que dit le chat seul")
        }
        ReasonKind::Loudness => {
            let direction = if reason.measure < 0.0 { "plus bas" } else { "plus fort" };
            format!("le son est {} LU {direction} que d'habitude", number(reason.measure.abs(), 1))
        }
        ReasonKind::Votes => {
            let people = reason.measure.round().max(0.0) as u64;
            let asked = if people < 2 { "a demandé" } else { "ont demandé" };
            format!("{} {asked} un clip", counted(people, "personne", "personnes"))
        }
    }
}

const fn reactions(mood: Option<Mood>) -> &'static str {
    match mood {
        Some(Mood::Laughter) => "de rires",
        Some(Mood::Awe) => "d'exclamations",
        Some(Mood::Shock) => "de stupeur",
        None => "de réactions",
    }
}

/// The strongest reasons in one line.
pub(in crate::web::pages) fn reasons_in_line(moment: &Moment) -> String {
    let told: Vec<String> = moment
        .reasons
        .iter()
        .filter(|reason| reason.share > SHARE_TOLD_MIN)
        .take(REASONS_IN_LINE)
        .map(|told| reason(told, moment.mood))
        .collect();
    if told.is_empty() { "un peu de tout".to_owned() } else { told.join(", ") }
}

/// What a moment is, in a word or two.
pub(in crate::web::pages) const fn kind(moment: &Moment) -> &'static str {
    match (moment.kind, moment.mood) {
        (MomentKind::Support, _) => "Soutien",
        (MomentKind::Highlight, Some(Mood::Laughter)) => "Fou rire",
        (MomentKind::Highlight, Some(Mood::Awe)) => "Exploit",
        (MomentKind::Highlight, Some(Mood::Shock)) => "Stupeur",
        (MomentKind::Highlight, None) => "Temps fort",
    }
}

/// A working title for a clip of the moment, until somebody finds a better one.
pub(in crate::web::pages) const fn working_title(moment: &Moment) -> &'static str {
    match moment.mood {
        Some(Mood::Awe) => "Le chat n'en revient pas",
        Some(Mood::Laughter) => "Fou rire général",
        Some(Mood::Shock) => "Personne ne l'a vu venir",
        None => "Le moment du direct",
    }
}

/// How far the chat runs behind the picture, and how that is known.
pub(in crate::web::pages) fn delay(delay: &Delay) -> String {
    let seconds = format!("{} s", number(delay.seconds, 1));
    match delay.origin {
        DelayOrigin::Calibrated => format!(
            "Le chat suit l'image de {seconds} : mesuré sur le son de ce direct, sûr à {}.",
            percent(delay.confidence)
        ),
        DelayOrigin::Set => {
            format!("Le chat suit l'image de {seconds} : réglé par quelqu'un de l'équipe.")
        }
        DelayOrigin::Default => format!(
            "Le chat suit l'image de {seconds} : valeur courante, faute de pouvoir la mesurer ici."
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(kind: ReasonKind, measure: f64, expected: &str) {
        let said = reason(&Reason { kind, share: 1.0, measure }, Some(Mood::Laughter));
        assert_eq!(said.replace(['\u{a0}', '\u{202f}'], " "), expected);
    }

    #[test]
    fn reasons_are_told_with_their_figure() {
        check(ReasonKind::Chatters, 3.06, "3,1 × plus de monde que d'habitude");
        check(ReasonKind::Reactions, 12.0, "12 × plus de rires");
        check(ReasonKind::Repetition, 0.42, "le chat se répète (concentration 42 %)");
        check(ReasonKind::Votes, 1.0, "1 personne a demandé un clip");
        check(ReasonKind::Votes, 4.0, "4 personnes ont demandé un clip");
        check(ReasonKind::Loudness, 6.24, "le son est 6,2 LU plus fort que d'habitude");
    }

    #[test]
    fn a_delay_always_says_how_it_is_known() {
        let known = |origin| delay(&Delay { seconds: 9.4, origin, confidence: 0.8 });
        assert!(known(DelayOrigin::Calibrated).contains("mesuré"));
        assert!(known(DelayOrigin::Set).contains("réglé"));
        assert!(known(DelayOrigin::Default).contains("faute de pouvoir"));
    }
}
