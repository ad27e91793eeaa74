//! The sound of the evening: voices, a music bed, and at each event a hit and the crowd after it.
//! Every layer is a function of the sample's number, so any piece can be asked for.

use std::f32::consts::TAU;

use super::SAMPLE_RATE;
use super::plot::{DARK_UNTIL_S, Event, Happening, Plot};
use super::voice::{Voices, harmonics, pan_of};
use crate::rehearsal::chance::{noise, share};

const BEAT_S: f32 = 0.6;
/// The band plays this long, then lets people talk.
const PLAYS_S: f32 = 34.0;
const CYCLE_S: f32 = 57.0;
/// Roots in Hz of the chords, two bars each: A minor, F, C, G.
const ROOTS: [f32; 4] = [110.0, 87.31, 130.81, 98.0];
/// Minor or major third, as a ratio to the root.
const THIRDS: [f32; 4] = [1.2, 1.25, 1.25, 1.25];
const SCALE: [f32; 6] = [440.0, 523.25, 587.33, 659.26, 783.99, 880.0];
/// Room tone: about -62 dBFS.
const ROOM: f32 = 0.0012;
/// No sample goes past this (-1.4 dBFS).
const CEILING: f32 = 0.85;

pub(super) fn fill(seed: u64, plot: &Plot, voices: &Voices, first: u64, out: &mut [f32]) {
    out.fill(0.0);
    voices.add(first, out);
    let rate = SAMPLE_RATE as f32;
    for (index, frame) in out.chunks_exact_mut(2).enumerate() {
        let sample = first + index as u64;
        frame[0] += noise(seed ^ 0x1, sample) * ROOM;
        frame[1] += noise(seed ^ 0x2, sample) * ROOM;
    }
    let count = out.len() as u64 / 2;
    let block_from = first as f64 / f64::from(SAMPLE_RATE);
    let block_to = (first + count) as f64 / f64::from(SAMPLE_RATE);
    for (index, frame) in out.chunks_exact_mut(2).enumerate() {
        let sample = first + index as u64;
        let t = (sample as f64 / f64::from(SAMPLE_RATE)) as f32;
        let level = band_level(plot, t);
        if level > 0.0 {
            let (left, right) = music(seed, sample, level);
            frame[0] += left;
            frame[1] += right;
        }
    }
    for event in &plot.events {
        // The crowd is heard until four seconds after the picture has moved on.
        if f64::from(event.from) > block_to || f64::from(event.to() + 4.0) < block_from {
            continue;
        }
        let start = (f64::from(event.from) * f64::from(SAMPLE_RATE)) as u64;
        for (index, frame) in out.chunks_exact_mut(2).enumerate() {
            let sample = first + index as u64;
            if sample >= start {
                let since = (sample - start) as f32 / rate;
                let (left, right) = happening(seed, *event, sample, since);
                frame[0] += left;
                frame[1] += right;
            }
        }
    }
    for value in out.iter_mut() {
        // A limiter: linear while quiet, never past the ceiling.
        *value = (*value / CEILING).tanh() * CEILING;
    }
}

/// How loud the band plays, 0 to 1: in turns, and never without current.
fn band_level(plot: &Plot, t: f32) -> f32 {
    if plot.is_dark(t) {
        return 0.0;
    }
    if let Some(since) = plot.since(Happening::Guitar, t)
        && since < 10.0
    {
        return 1.0;
    }
    let into = t % CYCLE_S;
    (into / 1.5).min(1.0) * ((PLAYS_S - into) / 2.0).clamp(0.0, 1.0)
}

/// Chord, beat and shares of the beat at a sample.
struct Bar {
    chord: usize,
    beat: u64,
    into_beat: f32,
}

fn bar_at(t: f64) -> Bar {
    let beats = t / f64::from(BEAT_S);
    Bar {
        chord: (beats / 8.0) as usize % 4,
        beat: beats as u64,
        into_beat: (beats.fract() as f32) * BEAT_S,
    }
}

fn music(seed: u64, sample: u64, level: f32) -> (f32, f32) {
    let exact = sample as f64 / f64::from(SAMPLE_RATE);
    let turns = |hertz: f32| (exact * f64::from(hertz)).fract() as f32;
    let bar = bar_at(exact);
    let root = ROOTS[bar.chord];
    let third = THIRDS[bar.chord];
    // The pad fades at each change of chord, or it would click.
    let into_chord = (exact / f64::from(BEAT_S * 8.0)).fract() as f32;
    let swell = (into_chord * 24.0).min(1.0) * ((1.0 - into_chord) * 24.0).min(1.0);
    let pad_left = harmonics(turns(root * 2.0), &[0.5, 0.2])
        + harmonics(turns(root * 2.0 * third), &[0.4, 0.1]);
    let pad_right =
        harmonics(turns(root * 2.006), &[0.5, 0.2]) + harmonics(turns(root * 3.0), &[0.4, 0.1]);
    let bass = harmonics(turns(root / 2.0 * 1.0), &[0.6, 0.5, 0.2])
        * (-bar.into_beat * 4.0).exp()
        * (bar.into_beat * 200.0).min(1.0);
    // A kick: a sine that falls from 150 to 50 Hz.
    let kick = (TAU * (50.0 * bar.into_beat + 2.5 * (1.0 - (-bar.into_beat * 40.0).exp()))).sin()
        * (-bar.into_beat * 13.0).exp();
    let half = bar.into_beat % (BEAT_S / 2.0);
    let hat = noise(seed ^ 0x68, sample) * (-half * 55.0).exp() * 0.22;
    let snare = if bar.beat % 2 == 1 {
        noise(seed ^ 0x73, sample / 3) * (-bar.into_beat * 16.0).exp() * 0.45
    } else {
        0.0
    };
    let eighth = bar.beat * 2 + u64::from(bar.into_beat >= BEAT_S / 2.0);
    let note = SCALE[(share(seed ^ 0x6e, eighth % 32) * 5.99) as usize];
    let pluck = if share(seed ^ 0x70, eighth % 32) < 0.62 {
        harmonics(turns(note), &[0.5, 0.22, 0.12]) * (-half * 7.0).exp() * (half * 300.0).min(1.0)
    } else {
        0.0
    };
    let gain = 0.046 * level;
    let middle = bass * 0.8 + kick * 1.1 + hat + snare;
    let (left, right) = pan_of(0.25);
    (
        gain * (middle + pad_left * swell * 0.7 + pluck * left),
        gain * (middle + pad_right * swell * 0.7 + pluck * right),
    )
}

/// The sixteen bars of the equaliser, 0 to 1, low to high.
pub(super) fn bands(seed: u64, plot: &Plot, t: f32) -> [f32; 16] {
    let level = band_level(plot, t);
    let bar = bar_at(f64::from(t));
    let half = bar.into_beat % (BEAT_S / 2.0);
    let eighth = bar.beat * 2 + u64::from(bar.into_beat >= BEAT_S / 2.0);
    let note = (share(seed ^ 0x6e, eighth % 32) * 5.99) as usize;
    let solo = plot.since(Happening::Guitar, t).is_some_and(|since| since < 10.0);
    std::array::from_fn(|index| {
        let low = (-bar.into_beat * 5.0).exp() * (1.0 - index as f32 / 6.0).max(0.0);
        let high = (-half * 9.0).exp() * (index as f32 / 15.0 - 0.6).max(0.0) * 1.6;
        let tune =
            (-half * 4.0).exp() * (-((index as f32 - 5.0 - note as f32 * 1.1) / 1.6).powi(2)).exp();
        let step = (t * 15.0) as u64;
        let grain = share(seed ^ 0x62, step * 16 + index as u64) * 0.22;
        let sum = 0.12 + low + high + 0.8 * tune + grain + if solo { 0.35 } else { 0.0 };
        // While the band rests, a slow wave runs over the screen.
        let rest = 0.2 + 0.13 * (t * 1.6 + index as f32 * 0.55).sin();
        (sum * level + rest * (1.0 - level)).clamp(0.0, 1.0)
    })
}

/// The hit of an event, what goes on during it, and the crowd.
fn happening(seed: u64, event: Event, sample: u64, since: f32) -> (f32, f32) {
    let kind = event.kind;
    let after = since - kind.climax();
    let white = noise(seed ^ 0x77, sample);
    // Noise held for several samples is darker noise.
    let dull = noise(seed ^ 0x78, sample / 12);
    let strike = |decay: f32| if after >= 0.0 { (-after * decay).exp() } else { 0.0 };
    let thump = if after >= 0.0 {
        (TAU * (48.0 * after + 3.0 * (1.0 - (-after * 30.0).exp()))).sin() * (-after * 7.0).exp()
    } else {
        0.0
    };
    let exact = sample as f64 / f64::from(SAMPLE_RATE);
    let turns = |hertz: f32| (exact * f64::from(hertz)).fract() as f32;
    let tone = |hertz: f32| (TAU * turns(hertz)).sin();
    let mono = match kind {
        Happening::Confetti => {
            1.1 * thump + 0.9 * white * strike(14.0) + 0.12 * white * strike(1.6)
        }
        Happening::Cat => {
            let meow = if (0.0..0.9).contains(&after) {
                let bend = (after / 0.9 * std::f32::consts::PI).sin();
                let cycle = (520.0 * after + 150.0 * after * after * (1.5 - after)).fract();
                harmonics(cycle, &[0.5, 0.9, 0.6, 0.35, 0.2, 0.1]) * bend * 0.75
            } else {
                0.0
            };
            meow + 0.25 * thump
        }
        Happening::Glass => {
            let ring = [2093.0, 2637.0, 3322.0, 4186.0, 5274.0].into_iter().map(tone).sum::<f32>();
            0.34 * ring * strike(6.0) + 0.95 * white * strike(26.0) + 0.4 * thump
        }
        Happening::PowerCut => {
            let back = since - DARK_UNTIL_S;
            let on = if back >= 0.0 { (-back * 9.0).exp() } else { 0.0 };
            let down = if (0.0..1.2).contains(&after) {
                (TAU * (180.0 * after - 70.0 * after * after)).sin() * (1.0 - after / 1.2)
            } else {
                0.0
            };
            1.1 * thump + 0.4 * down + 0.8 * on * (white * 0.6 + tone(98.0))
        }
        Happening::Guitar => solo(seed, since, exact),
        Happening::Plunge => 1.2 * thump + 1.1 * dull * strike(2.6) + 0.45 * white * strike(4.0),
        Happening::Guest => {
            let chord = [261.63, 329.63, 392.0, 523.25];
            let steps: f32 = (0..4_u8)
                .map(|step| {
                    let into = since - 0.55 - f32::from(step) * 0.26;
                    if into < 0.0 {
                        return 0.0;
                    }
                    let length = if step == 3 { 1.6 } else { 0.3 };
                    let shape = (into * 60.0).min(1.0) * (1.0 - into / length).max(0.0);
                    let brass = [0.5, 0.45, 0.35, 0.25, 0.18, 0.1];
                    harmonics(turns(chord[step as usize] * 1.5), &brass) * shape
                })
                .sum();
            0.55 * steps + 0.7 * thump + 0.25 * white * strike(9.0)
        }
        Happening::Goal => {
            let horn = if (0.0..2.2).contains(&after) {
                let shape = (after * 25.0).min(1.0) * ((2.2 - after) * 3.0).min(1.0);
                (harmonics(turns(233.0), &[0.3, 0.3, 0.25, 0.2, 0.15])
                    + harmonics(turns(277.0), &[0.3, 0.3, 0.25, 0.2, 0.15]))
                    * shape
            } else {
                0.0
            };
            0.42 * horn + 1.0 * thump + 0.5 * white * strike(10.0)
        }
    };
    let (left, right) = crowd(seed, kind, sample, since);
    (mono + left, mono + right)
}

/// A lead guitar: saw-like notes of the scale, bent and overdriven.
fn solo(seed: u64, since: f32, exact: f64) -> f32 {
    if since > 9.6 {
        return 0.0;
    }
    let step = if since < 6.0 { 0.3 } else { 0.15 };
    let index = (since / step) as u64;
    let into = since % step;
    let note =
        SCALE[(share(seed ^ 0x6775, index) * 5.99) as usize] * if since > 6.0 { 1.0 } else { 0.75 };
    let vibrato = (TAU * 5.5 * since).sin() * 0.12 * (into / step);
    let cycle = ((exact * f64::from(note)).fract() as f32 + vibrato).fract();
    let raw = harmonics(cycle, &[1.0, 0.5, 0.34, 0.25, 0.2, 0.16, 0.14, 0.12, 0.1, 0.08]);
    let shape = (into * 160.0).min(1.0) * ((step - into) * 90.0).min(1.0);
    let swell = (since / 2.0).min(1.0).powi(2) * ((9.6 - since) * 2.0).min(1.0);
    let hit = since - 2.0;
    let accent = if hit >= 0.0 { 0.6 * (-hit * 3.0).exp() } else { 0.0 };
    (raw * 2.4).tanh() * shape * swell * (0.3 + accent)
}

/// Applause and a roar, after the climax.
fn crowd(seed: u64, kind: Happening, sample: u64, since: f32) -> (f32, f32) {
    let from = match kind {
        Happening::PowerCut => DARK_UNTIL_S + 0.3,
        Happening::Guitar => 8.8,
        _ => kind.climax() + 0.5,
    };
    let (claps, roar) = match kind {
        Happening::Goal => (0.22, 0.26),
        Happening::Confetti | Happening::Guitar => (0.24, 0.14),
        Happening::Guest => (0.2, 0.12),
        Happening::PowerCut => (0.16, 0.12),
        Happening::Plunge => (0.1, 0.1),
        Happening::Cat | Happening::Glass => (0.0, 0.05),
    };
    let into = since - from;
    if into < 0.0 {
        return (0.0, 0.0);
    }
    let shape = (into * 3.0).min(1.0) * (1.0 - into / 5.5).max(0.0);
    if shape <= 0.0 {
        return (0.0, 0.0);
    }
    let mut sides = [0.0_f32; 2];
    if claps > 0.0 {
        for hands in 0..10_u64 {
            // Each pair of hands claps a little faster or slower than the next.
            let period = 8_200 + hands * 370;
            let round = sample / period;
            let slip = (share(seed ^ hands, round) * 2_400.0) as u64;
            let Some(age) = (sample % period).checked_sub(slip) else { continue };
            if age < 1_800 {
                let clap = noise(seed ^ 0x636c ^ hands, sample) * (-(age as f32) / 260.0).exp();
                sides[(hands % 2) as usize] += clap * claps;
                sides[(1 - hands % 2) as usize] += clap * claps * 0.4;
            }
        }
    }
    let sway = 0.8 + 0.2 * (TAU * 0.7 * into).sin();
    let murmur =
        (noise(seed ^ 0x726f, sample / 20) + noise(seed ^ 0x7270, sample / 7) * 0.5) * roar * sway;
    ((sides[0] + murmur) * shape, (sides[1] + murmur * 0.9) * shape)
}
