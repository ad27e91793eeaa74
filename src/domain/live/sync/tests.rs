//! Pretended rooms: one sound, heard by two cameras with noise, distance and clocks of their own.

use super::*;

const MS: f64 = RATE_HZ as f64 / 1_000.0;

/// White noise, the same for the same place and seed.
fn noise(seed: u64, n: i64) -> f32 {
    let mut x =
        (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ seed.wrapping_mul(0xd1b5_4a32_d192_ed03);
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((x ^ x >> 31) >> 40) as f32 / (1 << 23) as f32 - 1.0
}

/// Something like speech: noise that is low rather than high, in syllables and pauses.
fn speech(seed: u64, n: i64) -> f32 {
    let low: f32 = (0..6).map(|back| noise(seed, n - back) * (1.0 - back as f32 / 6.0)).sum();
    let t = n as f32 / RATE_HZ as f32;
    let syllables = (t * 4.1 * std::f32::consts::TAU).sin().max(0.0);
    let pauses = if noise(seed ^ 7, n.div_euclid(RATE_HZ as i64 * 2)) > -0.6 { 1.0 } else { 0.05 };
    low * syllables * pauses
}

/// A sound at a place between samples: sinc, windowed.
fn at(sound: impl Fn(i64) -> f32, place: f64) -> f32 {
    let whole = place.floor();
    let part = place - whole;
    (-11..=12)
        .map(|k| {
            let x = part - f64::from(k);
            let pi = std::f64::consts::PI;
            let sinc = if x.abs() < 1e-9 { 1.0 } else { (pi * x).sin() / (pi * x) };
            let hann = 0.5 + 0.5 * (pi * x / 12.5).cos();
            sound(whole as i64 + i64::from(k)) * (sinc * hann) as f32
        })
        .sum()
}

/// A microphone: what it hears from sample `from` on, when its clock is `late` samples behind at `pivot` and gains `ppm`.
struct Microphone {
    late: f64,
    ppm: f64,
    pivot: f64,
    noise: f32,
    seed: u64,
}

impl Microphone {
    fn near(noise: f32) -> Self {
        Self { late: 0.0, ppm: 0.0, pivot: 0.0, noise, seed: 91 }
    }

    fn hears(&self, sound: impl Fn(i64) -> f32 + Copy, from: i64, count: usize) -> Vec<f32> {
        let count = from..from + count as i64;
        count
            .map(|n| {
                let place = n as f64 - self.late - (n as f64 - self.pivot) * self.ppm * 1e-6;
                at(sound, place) + self.noise * noise(self.seed, n)
            })
            .collect()
    }
}

fn rms(of: &[f32]) -> f32 {
    (of.iter().map(|it| it * it).sum::<f32>() / of.len() as f32).sqrt()
}

const WINDOW: usize = WINDOW_S * RATE_HZ;

fn lag_at(
    one: &Microphone,
    other: &Microphone,
    sound: impl Fn(i64) -> f32 + Copy,
    from: i64,
    margin_s: usize,
) -> Result<Lag, Mismatch> {
    let margin = margin_s * RATE_HZ;
    let window = one.hears(sound, from, WINDOW);
    let stretch = other.hears(sound, from - margin as i64, WINDOW + 2 * margin);
    find_lag(&window, &stretch, margin_s)
}

#[test]
fn a_lag_is_found_ten_decibels_below_the_noise() {
    let voice = |n| speech(1, n);
    let level = rms(&(0..WINDOW as i64).map(voice).collect::<Vec<_>>());
    // White noise of this amplitude has 1/√3 of it as its level.
    let loud = level * 3f32.sqrt() * 10f32.powf(0.5);
    let one = Microphone::near(loud);
    let other =
        Microphone { late: 730.25 * MS, ppm: 60.0, pivot: 15_000.0 * MS, noise: loud, seed: 17 };
    let noise: Vec<f32> = (0..WINDOW as i64).map(|n| loud * noise(91, n)).collect();
    let ratio = 20.0 * (level / rms(&noise)).log10();
    assert!((ratio + 10.0).abs() < 0.3, "{ratio} dB");
    for margin_s in [NEAR_S, LAG_S_MAX] {
        let lag = lag_at(&one, &other, voice, 0, margin_s).unwrap();
        assert!((lag.samples / MS - 730.25).abs() < 0.3, "{lag:?}");
        assert!((lag.ppm - 60.0).abs() <= 16.0, "{lag:?}");
        assert!(lag.z > 20.0, "{lag:?}");
    }
}

#[test]
fn an_hour_of_drift_is_a_line() {
    let voice = |n| speech(2, n);
    let one = Microphone::near(0.3);
    let other = Microphone { late: -212.6 * MS, ppm: 60.0, pivot: 0.0, noise: 0.3, seed: 5 };
    let mut points = Vec::new();
    for minute in [0_i64, 12, 24, 36, 48, 59] {
        let from = minute * 60 * RATE_HZ as i64;
        let lag = lag_at(&one, &other, voice, from, NEAR_S).unwrap();
        let ns = |samples: f64| (samples * 1e9 / RATE_HZ as f64).round() as i64;
        let at_ns = ns(from as f64 + WINDOW as f64 / 2.0);
        points.push(Point { at_ns, offset_ns: ns(lag.samples), ppm: lag.ppm, z: lag.z });
    }
    let apart = (points[5].offset_ns - points[0].offset_ns) as f64 / 1e6;
    assert!((apart - 0.06 * 59.0 * 60.0).abs() < 0.5, "the clocks really part: {apart} ms");
    // One window was taken in by something else.
    points[2].offset_ns += 400_000_000;
    let line = Line::through(&points).unwrap();
    assert!((line.ppm - 60.0).abs() < 0.5, "{line:?}");
    assert!(line.residual_ms < 0.5, "{line:?}");
    assert_eq!(line.windows, 5);
    let half = 1_800_000_000_000;
    let expected = half as f64 + (-212.6 + 0.06 * 1_800.0) * 1e6;
    assert!((line.other_ns(half) as f64 - expected).abs() < 0.5e6, "{line:?}");
}

#[test]
fn silence_and_unrelated_sounds_are_refused() {
    let voice = |n| speech(3, n);
    let window: Vec<f32> = (0..WINDOW as i64).map(voice).collect();
    for margin_s in [NEAR_S, LAG_S_MAX] {
        let count = (WINDOW + 2 * margin_s * RATE_HZ) as i64;
        let quiet = vec![0.0; count as usize];
        assert_eq!(find_lag(&window, &quiet, margin_s), Err(Mismatch::Silence));
        for seed in 4..7 {
            let other: Vec<f32> = (0..count).map(|n| speech(seed, n)).collect();
            let found = find_lag(&window, &other, margin_s);
            assert!(matches!(found, Err(Mismatch::Weak { z }) if z < 10.5), "{found:?}");
        }
    }
    let quiet = vec![0.0; WINDOW];
    assert_eq!(find_lag(&quiet, &vec![0.1; WINDOW + 2 * RATE_HZ], 1), Err(Mismatch::Silence));
}

#[test]
fn a_clap_is_enough() {
    let clap = |n: i64| {
        let since = n - 12 * RATE_HZ as i64;
        let fades = (-since.max(0) as f32 / 120.0).exp();
        if since >= 0 { noise(8, n) * fades } else { 0.0 }
    };
    let one = Microphone::near(0.002);
    let other = Microphone { late: 1_904.0 * MS, ppm: 0.0, pivot: 0.0, noise: 0.002, seed: 3 };
    let lag = lag_at(&one, &other, clap, 0, LAG_S_MAX).unwrap();
    assert!((lag.samples / MS - 1_904.0).abs() < 0.3, "{lag:?}");
}

#[test]
fn what_repeats_itself_is_refused() {
    // The same half second over and over.
    let loop_of = |n: i64| speech(9, n.rem_euclid(RATE_HZ as i64 / 2) + 600);
    let other = Microphone { late: 40.0 * MS, ppm: 0.0, pivot: 0.0, noise: 0.01, seed: 3 };
    let found = lag_at(&Microphone::near(0.01), &other, loop_of, 0, LAG_S_MAX);
    assert_eq!(found, Err(Mismatch::Repeats));
}

fn points(offsets_ms: &[f64]) -> Vec<Point> {
    let point = |(n, ms): (usize, &f64)| Point {
        at_ns: n as i64 * 60_000_000_000,
        offset_ns: (ms * 1e6) as i64,
        ppm: 1.0,
        z: 50.0,
    };
    offsets_ms.iter().enumerate().map(point).collect()
}

#[test]
fn a_step_is_believed_when_two_windows_bear_it_out() {
    let before = [500.0, 500.1, 499.9, 500.0];
    let one = Line::through(&points(&[&before[..], &[543.0]].concat())).unwrap();
    assert!((one.offset_ns - 500_000_000).abs() < 1_000_000, "{one:?}");
    let two = Line::through(&points(&[&before[..], &[543.0, 543.1]].concat())).unwrap();
    assert!((two.other_ns(300_000_000_000) - 300_543_000_000).abs() < 1_000_000, "{two:?}");
    let alone = Line::through(&points(&[120.0])).unwrap();
    assert_eq!((alone.offset_ns, alone.windows), (120_000_000, 1));
    assert_eq!(Line::through(&[]), None);
}

#[test]
fn points_are_gathered_in_order_and_without_end() {
    let known = points(&[1.0; 30]);
    let mut again = known[29];
    (again.z, again.offset_ns) = (90.0, 2_000_000);
    let all = gathered(&known, &[again]);
    assert_eq!(all.len(), POINTS_MAX);
    assert_eq!((all[POINTS_MAX - 1], all[0].at_ns), (again, known[6].at_ns));
}
