//! Synthetic chat and sound for the tests: seeded, so that every run hears the same.

use crate::domain::moments::detector::Detector;
use crate::domain::moments::moment::Moment;
use crate::domain::moments::params::Params;
use crate::domain::moments::signal::{AudienceEvent, ChatterId, Heard, Message, Signal, Vote};

/// A small deterministic generator (xorshift64*).
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 16) % limit
    }

    /// From 0 to 1.
    pub(crate) fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Loudness over its usual (LU) with speech and a burst of 2 to 6 seconds every minute or so; and
/// the seconds at which the bursts begin.
pub(crate) fn loudness_with_bursts(dice: &mut Dice, seconds: usize) -> (Vec<f64>, Vec<usize>) {
    let mut loudness: Vec<f64> = (0..seconds).map(|_| 5.0 * dice.share() * dice.share()).collect();
    let mut bursts = Vec::new();
    let mut at = 40 + dice.below(40) as usize;
    while at + 60 < seconds {
        let length = 2 + dice.below(5) as usize;
        for lu in &mut loudness[at..at + length] {
            *lu = 8.0 + 6.0 * dice.share();
        }
        bursts.push(at);
        at += 25 + dice.below(90) as usize;
    }
    (loudness, bursts)
}

/// Reactions of each second: talk, and to most bursts an answer `lag_s` later that fades.
pub(crate) fn reactions_to(
    dice: &mut Dice,
    bursts: &[usize],
    lag_s: u32,
    seconds: usize,
) -> Vec<f64> {
    let mut reactions: Vec<f64> = (0..seconds).map(|_| 2.0 * dice.share()).collect();
    for &burst in bursts {
        if dice.share() < 0.3 {
            continue;
        }
        for after in 0..15 {
            if let Some(reaction) = reactions.get_mut(burst + lag_s as usize + after) {
                *reaction += 10.0 * (-(after as f64) / 4.0).exp() * (0.5 + dice.share());
            }
        }
    }
    reactions.iter().map(|reaction| reaction.ln_1p()).collect()
}

/// A rehearsed stream: what is put in, in any order, is heard in order of time.
#[derive(Default)]
pub(crate) struct Stream {
    cues: Vec<(u64, Cue)>,
}

#[derive(Debug, Clone)]
pub(crate) enum Cue {
    Says { chatter: u64, text: String, is_trusted: bool },
    Audience(AudienceEvent),
    Vote(Vote),
    Loudness(f32),
    Nothing,
}

impl Cue {
    pub(crate) fn signal(&self, at_ms: u64) -> Signal<'_> {
        let heard = match self {
            Self::Says { chatter, text, is_trusted } => Heard::Message(Message {
                chatter: ChatterId(*chatter),
                text,
                is_trusted: *is_trusted,
            }),
            Self::Audience(event) => Heard::Audience(*event),
            Self::Vote(vote) => Heard::Vote(*vote),
            Self::Loudness(lufs) => Heard::Loudness { lufs: *lufs },
            Self::Nothing => Heard::Nothing,
        };
        Signal { at_ms, heard }
    }
}

const TALK: [&str; 12] = [
    "salut tout le monde",
    "il est où le lien de la playlist",
    "ça va mieux le son ce soir",
    "je reviens dans dix minutes",
    "trop hâte de voir la suite",
    "vous mangez quoi à la villa",
    "la caméra deux est floue je crois",
    "oui moi aussi",
    "c'est qui à gauche",
    "bonne soirée la team",
    "il pleut chez vous aussi",
    "on voit bien la piscine",
];
const LAUGHS: [&str; 6] = ["mdrrr", "LUL", "PTDR", "hahaha", "KEKW", "jpp 😂"];

impl Stream {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Anything, at a time.
    pub(crate) fn cue(mut self, at_s: f64, cue: Cue) -> Self {
        self.cues.push(((at_s * 1_000.0) as u64, cue));
        self
    }

    pub(crate) fn says(self, at_s: f64, chatter: u64, text: &str) -> Self {
        self.cue(at_s, Cue::Says { chatter, text: text.to_owned(), is_trusted: false })
    }

    /// Ordinary talk of 200 regulars.
    pub(crate) fn talk(mut self, from_s: u64, to_s: u64, per_minute: u64) -> Self {
        let mut dice = Dice::new(from_s + 1);
        for _ in 0..(to_s - from_s) * per_minute / 60 {
            let at_s = from_s as f64 + dice.share() * (to_s - from_s) as f64;
            let text = TALK[dice.below(TALK.len() as u64) as usize];
            self = self.says(at_s, dice.below(200), text);
        }
        self
    }

    /// So many people laugh within ten seconds, one message each.
    pub(crate) fn laughter(self, at_s: u64, people: u64) -> Self {
        self.crowd(at_s, 10.0, people, 10_000, &LAUGHS)
    }

    /// So many people paste one sentence within ten seconds.
    pub(crate) fn wall(self, at_s: u64, people: u64) -> Self {
        let pasted = "LUL CE STREAMER NE SAIT MÊME PAS que la pasta ne se cuit pas LUL PogChamp \
                      copiez ce message dans le chat pour le lui dire LUL";
        self.crowd(at_s, 10.0, people, 20_000, &[pasted])
    }

    /// A raid and its viewers, who all say hello within twenty seconds.
    pub(crate) fn raid(self, at_s: u64, viewers: u64) -> Self {
        let event = AudienceEvent::Raid { viewers: viewers as u32 };
        self.cue(at_s as f64, Cue::Audience(event)).crowd(
            at_s,
            20.0,
            viewers,
            30_000,
            &["RAID", "raid de la villa !", "HELLO", "coucou le raid", "PogChamp RAID"],
        )
    }

    /// Different people, each with one of the texts, within `length_s`.
    pub(crate) fn crowd(
        mut self,
        at_s: u64,
        length_s: f64,
        people: u64,
        first_id: u64,
        texts: &[&str],
    ) -> Self {
        let mut dice = Dice::new(at_s + people);
        for person in 0..people {
            let at_s = at_s as f64 + dice.share() * length_s;
            let text = texts[dice.below(texts.len() as u64) as usize];
            self = self.says(at_s, first_id + person, text);
        }
        self
    }

    /// One loudness sample a second: speech around −23 LUFS and `burst_s` seconds of cheering at
    /// each of `bursts`.
    pub(crate) fn sound(mut self, to_s: u64, bursts: &[u64], burst_s: u64) -> Self {
        let mut dice = Dice::new(to_s);
        for second in 0..to_s {
            let is_loud = bursts.iter().any(|&burst| (burst..burst + burst_s).contains(&second));
            let lufs = if is_loud { -11.0 } else { -25.0 + 3.0 * dice.share() as f32 };
            self = self.cue(second as f64, Cue::Loudness(lufs));
        }
        self
    }

    /// In order of time; of equal times, in the order they were put in.
    pub(crate) fn cues(mut self) -> Vec<(u64, Cue)> {
        self.cues.sort_by_key(|(at_ms, _)| *at_ms);
        self.cues
    }

    pub(crate) fn heard_by(self, params: Params) -> Vec<Moment> {
        hear_all(Detector::new(params), &self.cues()).0
    }
}

/// What a detector answers to all cues, and the detector.
pub(crate) fn hear_all(mut detector: Detector, cues: &[(u64, Cue)]) -> (Vec<Moment>, Detector) {
    let mut moments = detector.hear(Cue::Nothing.signal(0));
    for (at_ms, cue) in cues {
        moments.extend(detector.hear(cue.signal(*at_ms)));
    }
    moments.extend(detector.finish());
    (moments, detector)
}
