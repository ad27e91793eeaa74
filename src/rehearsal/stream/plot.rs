//! What happens in the pretend stream, and when.

use crate::rehearsal::chance::Dice;

/// The first event leaves the detector's baseline some time to settle.
const FIRST_EVENT_S: f32 = 20.0;
/// After the last one the chat, which lags, still has time to react.
const AFTER_LAST_S: f32 = 26.0;
const SPACING_S: f32 = 26.0;
/// Streams longer than one round of the catalogue breathe more.
const ROUND_S: f32 = 240.0;
const LATER_SPACING_S: f32 = 45.0;

/// Something worth a clip that happens in the picture and in the sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Happening {
    Confetti,
    Cat,
    Glass,
    PowerCut,
    Guitar,
    Plunge,
    Guest,
    Goal,
}

/// How a chat answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    Laughter,
    Awe,
    Sad,
    Surprise,
    Tender,
}

impl Happening {
    pub(super) const ALL: [Self; 8] = [
        Self::Confetti,
        Self::Cat,
        Self::Glass,
        Self::PowerCut,
        Self::Guitar,
        Self::Plunge,
        Self::Guest,
        Self::Goal,
    ];

    /// The title shown in the picture.
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Confetti => "Canon à confettis",
            Self::Cat => "Le chat traverse la table",
            Self::Glass => "Le verre tombe",
            Self::PowerCut => "Coupure de courant",
            Self::Guitar => "Solo de guitare",
            Self::Plunge => "Plongeon tout habillée",
            Self::Guest => "Invité surprise",
            Self::Goal => "But à la dernière minute",
        }
    }

    /// How long it is seen, in seconds.
    pub(super) const fn seconds(self) -> f32 {
        match self {
            Self::Glass => 6.0,
            Self::Confetti | Self::PowerCut => 7.0,
            Self::Cat | Self::Plunge | Self::Goal => 8.0,
            Self::Guest => 9.0,
            Self::Guitar => 10.0,
        }
    }

    /// Seconds from the start to what people react to.
    pub(super) const fn climax(self) -> f32 {
        match self {
            Self::Confetti | Self::PowerCut => 0.3,
            Self::Glass => 0.7,
            Self::Goal => 1.2,
            Self::Plunge => 1.3,
            Self::Guest => 1.6,
            Self::Guitar => 2.0,
            Self::Cat => 2.6,
        }
    }

    /// How many write, 1 for a burst of ordinary size.
    pub(super) const fn strength(self) -> f32 {
        match self {
            Self::Confetti => 0.7,
            Self::PowerCut => 0.8,
            Self::Cat | Self::Guest => 0.9,
            Self::Glass => 1.1,
            Self::Goal => 1.2,
            Self::Guitar => 1.25,
            Self::Plunge => 1.35,
        }
    }

    /// Moods with their shares in percent.
    pub(super) const fn moods(self) -> &'static [(Mood, u32)] {
        match self {
            Self::Confetti => &[(Mood::Awe, 75), (Mood::Surprise, 25)],
            Self::Cat => &[(Mood::Tender, 55), (Mood::Laughter, 45)],
            Self::Glass => &[(Mood::Laughter, 60), (Mood::Sad, 25), (Mood::Surprise, 15)],
            Self::PowerCut => &[(Mood::Surprise, 65), (Mood::Laughter, 20), (Mood::Sad, 15)],
            Self::Guitar => &[(Mood::Awe, 95), (Mood::Surprise, 5)],
            Self::Plunge => &[(Mood::Laughter, 75), (Mood::Surprise, 25)],
            Self::Guest => &[(Mood::Surprise, 60), (Mood::Awe, 40)],
            Self::Goal => &[(Mood::Awe, 80), (Mood::Laughter, 20)],
        }
    }
}

/// One happening at its time, in seconds of the stream.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Event {
    pub(super) kind: Happening,
    pub(super) from: f32,
}

impl Event {
    pub(super) fn to(self) -> f32 {
        self.from + self.kind.seconds()
    }

    pub(super) fn climax(self) -> f32 {
        self.from + self.kind.climax()
    }
}

/// Things that fill the chat without anything to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Distraction {
    Raid,
    Wall,
    GiftBomb,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plot {
    pub(super) events: Vec<Event>,
    pub(super) distractions: Vec<(Distraction, f32)>,
}

impl Plot {
    /// Spreads the catalogue over the stream; a second round comes in an order of its own.
    pub(super) fn new(seed: u64, seconds: f32) -> Self {
        let mut dice = Dice::new(seed ^ 0x706c_6f74);
        let first = FIRST_EVENT_S.min(seconds * 0.25);
        let room = (seconds - first - AFTER_LAST_S).max(0.0);
        let spacing = if seconds <= ROUND_S { SPACING_S } else { LATER_SPACING_S };
        let count = (room / spacing) as usize + 1;
        let step = if count > 1 { room / (count - 1) as f32 } else { 0.0 };
        let mut round = Happening::ALL.to_vec();
        let mut events = Vec::with_capacity(count);
        for index in 0..count {
            if index > 0 && index % round.len() == 0 {
                for slot in (1..round.len()).rev() {
                    round.swap(slot, dice.below(slot + 1));
                }
            }
            let sway = if index == 0 || index + 1 == count { 0.0 } else { dice.between(-0.8, 0.8) };
            let from = first + step * index as f32 + sway;
            events.push(Event { kind: round[index % round.len()], from });
        }
        // Between one reaction (it ends some 20 s after its event) and the next (it starts 9 s after).
        let distractions =
            [(Distraction::Raid, 2), (Distraction::Wall, 3), (Distraction::GiftBomb, 4)]
                .into_iter()
                .filter(|(_, after)| after + 1 < events.len())
                .map(|(kind, after)| (kind, events[after].from + 22.5))
                .collect();
        Self { events, distractions }
    }

    /// The event seen at `t` and the seconds since it began.
    pub(super) fn at(&self, t: f32) -> Option<(Happening, f32)> {
        let event = self.events.iter().rev().find(|event| event.from <= t)?;
        (t < event.to()).then_some((event.kind, t - event.from))
    }

    /// Seconds since the last climax of `kind`.
    pub(super) fn since(&self, kind: Happening, t: f32) -> Option<f32> {
        let event = self.events.iter().rev().find(|e| e.kind == kind && e.from <= t)?;
        Some(t - event.from)
    }

    /// Whether the lights (and with them the loudspeakers) are off.
    pub(super) fn is_dark(&self, t: f32) -> bool {
        matches!(self.at(t), Some((Happening::PowerCut, since)) if (0.3..DARK_UNTIL_S).contains(&since))
    }
}

/// The lights come back this long after a power cut began, in seconds.
pub(super) const DARK_UNTIL_S: f32 = 3.6;
