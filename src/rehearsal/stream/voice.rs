//! Voices that babble: syllables of vowel-like sound, and laughter. A syllable is a sum of
//! harmonics weighted by two formants, so it can be computed from any sample on.

use std::f32::consts::TAU;

use super::SAMPLE_RATE;
use super::plot::{DARK_UNTIL_S, Happening, Mood, Plot};
use crate::rehearsal::chance::{Dice, noise};

const HARMONICS: usize = 22;
/// First and second formant in Hz of a, é, i, o, ou (French, adult speakers, rounded).
const VOWELS: [(f32, f32); 5] =
    [(720.0, 1350.0), (400.0, 2050.0), (290.0, 2250.0), (430.0, 900.0), (310.0, 780.0)];
/// Pitch in Hz and place (-1 left to 1 right) of the residents.
const SPEAKERS: [(f32, f32); 3] = [(205.0, -0.35), (118.0, 0.05), (232.0, 0.4)];
const LAUGHERS: u8 = 6;
/// Loudest syllable of ordinary talk.
const TALK_LOUD: f32 = 0.125;

struct Syllable {
    start: u64,
    length: u32,
    pitch: f32,
    /// Change of pitch over the syllable, as a share.
    glide: f32,
    loud: f32,
    pan: f32,
    /// Share of breath in the voice.
    breath: f32,
    partials: [f32; HARMONICS],
}

impl Syllable {
    fn end(&self) -> u64 {
        self.start + u64::from(self.length)
    }

    /// Loudness over the syllable, 0 to 1, at a share of its length.
    fn shape(part: f32) -> f32 {
        let attack = (part / 0.16).min(1.0);
        let release = ((1.0 - part) / 0.45).clamp(0.0, 1.0);
        attack * (2.0 - attack) * release * (2.0 - release)
    }
}

/// Everything that is said and laughed in the stream.
pub(super) struct Voices {
    /// By start; `Syllable::length` is bounded, so a window of them covers any instant.
    all: Vec<Syllable>,
    /// Start, end and loudness of the residents' syllables, by start.
    said: [Vec<(f32, f32, f32)>; 3],
}

const LONGEST: u64 = SAMPLE_RATE as u64;

impl Voices {
    pub(super) fn new(seed: u64, plot: &Plot, seconds: f32) -> Self {
        let mut voices = Self { all: Vec::new(), said: [const { Vec::new() }; 3] };
        voices.talk(&mut Dice::new(seed ^ 0x766f_6963), plot, seconds);
        for event in &plot.events {
            let mut dice = Dice::new(seed ^ u64::from(event.from.to_bits()));
            voices.react(&mut dice, event.climax(), event.kind);
        }
        voices.all.sort_by_key(|syllable| syllable.start);
        for said in &mut voices.said {
            said.sort_by(|a, b| a.0.total_cmp(&b.0));
        }
        voices
    }

    /// Phrases in turn, with pauses: the quiet instants cuts are made at.
    fn talk(&mut self, dice: &mut Dice, plot: &Plot, seconds: f32) {
        let mut t = 0.8;
        let mut speaker = 0;
        while t < seconds - 1.0 {
            let phrase_end = t + dice.between(1.6, 4.2);
            let mood = dice.between(0.85, 1.2);
            while t < phrase_end {
                let length = dice.between(0.11, 0.24);
                let silent =
                    plot.is_dark(t) || plot.since(Happening::Guitar, t).is_some_and(|s| s < 10.0);
                if !silent {
                    let fall = 1.0 - 0.18 * ((t - phrase_end + 4.0) / 4.0).clamp(0.0, 1.0);
                    let pitch = SPEAKERS[speaker].0 * mood * fall * dice.between(0.93, 1.1);
                    let loud = dice.between(0.55, 1.0) * TALK_LOUD;
                    self.say(dice, speaker, t, length, pitch, loud);
                }
                t += length * dice.between(0.92, 1.15);
                if dice.happens(0.12) {
                    t += dice.between(0.08, 0.2);
                }
            }
            t += dice.between(0.45, 1.1);
            if dice.happens(0.65) {
                speaker = (speaker + 1 + dice.below(2)) % 3;
            }
        }
    }

    fn react(&mut self, dice: &mut Dice, climax: f32, kind: Happening) {
        let from = if kind == Happening::PowerCut { climax + DARK_UNTIL_S } else { climax };
        // A shout of the three.
        for (speaker, (own_pitch, _)) in SPEAKERS.into_iter().enumerate() {
            let at = from + 0.12 + dice.between(0.0, 0.3);
            let pitch = own_pitch * dice.between(1.5, 1.8);
            let length = dice.between(0.6, 0.95);
            self.say(dice, speaker, at, length, pitch, 0.3);
        }
        let laughs =
            kind.moods().iter().any(|(mood, share)| *mood == Mood::Laughter && *share >= 40);
        if !laughs {
            return;
        }
        for who in 0..LAUGHERS {
            let base = dice.between(150.0, 330.0);
            let pan = dice.between(-0.8, 0.8);
            let mut t = from + 0.5 + dice.between(0.0, 0.7);
            let end = from + dice.between(3.6, 5.6);
            let tempo = dice.between(0.17, 0.22);
            let mut count = 0_u8;
            while t < end {
                let fade = 1.0 - (t - from) / 7.0;
                let pitch = base * (1.25 - 0.045 * f32::from(count % 7));
                let loud = 0.14 * fade * if who < 3 { 1.0 } else { 0.7 };
                let mut syllable =
                    syllable(dice, t, tempo * 0.8, pitch, loud, pan, (680.0, 1400.0));
                syllable.breath = 0.45;
                self.all.push(syllable);
                t += tempo;
                count += 1;
                if count.is_multiple_of(7) {
                    t += dice.between(0.15, 0.35);
                }
            }
        }
    }

    fn say(&mut self, dice: &mut Dice, speaker: usize, t: f32, length: f32, pitch: f32, loud: f32) {
        let vowel = dice.pick(&VOWELS);
        let pan = SPEAKERS[speaker].1;
        self.all.push(syllable(dice, t, length, pitch, loud, pan, vowel));
        self.said[speaker].push((t, t + length, (loud / TALK_LOUD).min(1.3)));
    }

    /// How far each resident's mouth is open at `t`, 0 to 1.
    pub(super) fn mouths(&self, t: f32) -> [f32; 3] {
        std::array::from_fn(|speaker| {
            let said = &self.said[speaker];
            let next = said.partition_point(|syllable| syllable.0 <= t);
            said[next.saturating_sub(4)..next]
                .iter()
                .filter(|(_, end, _)| t < *end)
                .map(|&(start, end, loud)| Syllable::shape((t - start) / (end - start)) * loud)
                .fold(0.0, f32::max)
                .min(1.0)
        })
    }

    /// Adds the voices to stereo samples.
    pub(super) fn add(&self, first: u64, out: &mut [f32]) {
        let count = (out.len() / 2) as u64;
        let from = self.all.partition_point(|s| s.start + LONGEST < first);
        let to = self.all.partition_point(|s| s.start < first + count);
        for syllable in &self.all[from..to] {
            let begin = syllable.start.max(first);
            let end = syllable.end().min(first + count);
            let (left, right) = pan_of(syllable.pan);
            for sample in begin..end {
                let into = (sample - syllable.start) as f32;
                let part = into / syllable.length as f32;
                let seconds = into / SAMPLE_RATE as f32;
                let turns = syllable.pitch * seconds * (1.0 + syllable.glide * part / 2.0);
                let voiced = harmonics(turns.fract(), &syllable.partials);
                let rasp = noise(syllable.start, sample) * syllable.breath;
                let value = Syllable::shape(part) * syllable.loud * (voiced + rasp * 0.5);
                let at = ((sample - first) * 2) as usize;
                out[at] += value * left;
                out[at + 1] += value * right;
            }
        }
    }
}

fn syllable(
    dice: &mut Dice,
    t: f32,
    length: f32,
    pitch: f32,
    loud: f32,
    pan: f32,
    (f1, f2): (f32, f32),
) -> Syllable {
    let mut partials = [0.0; HARMONICS];
    let mut power = 0.0;
    for (index, partial) in partials.iter_mut().enumerate() {
        let hertz = pitch * (index + 1) as f32;
        let bell = |middle: f32, wide: f32| (-((hertz - middle) / wide).powi(2)).exp();
        let tilt = (200.0 / hertz.max(200.0)).powf(0.6);
        *partial =
            bell(f1, 170.0) + 0.6 * bell(f2, 260.0) + 0.25 * bell(2900.0, 500.0) + 0.18 * tilt;
        power += *partial * *partial;
    }
    let level = 1.6 / f32::max(power, 1e-3).sqrt();
    for partial in &mut partials {
        *partial *= level;
    }
    Syllable {
        start: (f64::from(t.max(0.0)) * f64::from(SAMPLE_RATE)) as u64,
        length: ((length * SAMPLE_RATE as f32) as u32).clamp(1, LONGEST as u32),
        pitch,
        glide: dice.between(-0.12, 0.08),
        loud,
        pan,
        breath: 0.05,
        partials,
    }
}

/// Σ aₕ·sin(2πh·turns): each harmonic from the two before it (Chebyshev).
pub(super) fn harmonics(turns: f32, partials: &[f32]) -> f32 {
    let (sin, cos) = (TAU * turns).sin_cos();
    let (mut before, mut now, double) = (0.0, sin, 2.0 * cos);
    let mut sum = 0.0;
    for partial in partials {
        sum += partial * now;
        (before, now) = (now, double * now - before);
    }
    sum
}

/// Equal-power weights of left and right.
pub(super) fn pan_of(pan: f32) -> (f32, f32) {
    let angle = (pan.clamp(-1.0, 1.0) + 1.0) * std::f32::consts::FRAC_PI_4;
    let (right, left) = angle.sin_cos();
    (left * std::f32::consts::SQRT_2, right * std::f32::consts::SQRT_2)
}
