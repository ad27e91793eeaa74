//! Things that fly: confetti, drops, streamers.

use std::f32::consts::PI;

use super::canvas::{Area, Brush, Canvas};
use crate::rehearsal::chance::share;

pub(super) const PARTY: [u32; 5] = [0xff_4a6a, 0xff_c94a, 0x3a_d8d0, 0x8a_6af0, 0x5a_d86a];

const PIECES: u64 = 240;

/// Pieces of paper shot up from `origins`, which then sink turning.
pub(super) fn confetti(
    canvas: &mut Canvas,
    seed: u64,
    since: f32,
    colours: [u32; 5],
    origins: &[(f32, f32)],
) {
    for index in 0..PIECES {
        let chance = |what: u64| share(seed ^ (what << 32), index);
        let (x0, y0) = origins[index as usize % origins.len()];
        let age = since - chance(1) * 0.35;
        if age <= 0.0 {
            continue;
        }
        let inward = (640.0 - x0).signum();
        let speed = 420.0 + 900.0 * chance(2);
        let angle = PI / 2.0 - inward * (0.62 * chance(3) - 0.08);
        // Air slows paper down fast: a shot that fades, then a slow fall.
        let shot = (1.0 - (-age * 1.9).exp()) / 1.9;
        let fall = 92.0 * (age - shot).max(0.0) * (0.8 + 0.5 * chance(4));
        let flutter = (age * (3.0 + 3.0 * chance(5)) + chance(6) * 6.0).sin() * 12.0 * age.min(1.0);
        let at =
            (x0 + angle.cos() * speed * shot + flutter, y0 - angle.sin() * speed * shot + fall);
        if at.1 > 716.0 {
            continue;
        }
        let spin = age * (4.0 + 7.0 * chance(7)) + chance(8) * 6.0;
        let size = 5.0 + 5.0 * chance(9);
        let (wide, tall) = (size * spin.cos().abs().max(0.2), size * 0.6);
        let (sin, cos) = (spin * 0.6).sin_cos();
        let corner = |dx: f32, dy: f32| (at.0 + dx * cos - dy * sin, at.1 + dx * sin + dy * cos);
        let fade = ((6.8 - since) / 1.2).clamp(0.0, 1.0);
        canvas.polygon(
            &[corner(-wide, -tall), corner(wide, -tall), corner(wide, tall), corner(-wide, tall)],
            Brush::plain(colours[(index % 5) as usize]).alpha(fade),
        );
    }
}

/// The two cannons at the sides of the stage.
pub(super) fn cannons(canvas: &mut Canvas, since: f32) {
    let away = ((since - 5.8) / 1.0).clamp(0.0, 1.0) * 120.0;
    for side in [-1.0_f32, 1.0] {
        let base = (640.0 + side * 210.0, 620.0 + away);
        let recoil = (-since * 9.0).exp() * 12.0;
        let mouth = (base.0 - side * 16.0, base.1 - 58.0 + recoil);
        canvas.stroke(base, mouth, 34.0, Brush::plain(0xd9_3b86));
        canvas.stroke(
            (base.0 - side * 6.0, base.1 - 22.0 + recoil),
            (base.0 - side * 8.0, base.1 - 30.0 + recoil),
            35.0,
            Brush::plain(0xff_c94a),
        );
        canvas.round_rect(
            Area::new(base.0 - 28.0, base.1 - 8.0, 56.0, 16.0),
            8.0,
            Brush::plain(0x3d_1f55),
        );
        if since < 0.5 {
            let smoke = since / 0.5;
            for puff in 0..5_u8 {
                let puff = f32::from(puff);
                let at =
                    (mouth.0 - side * puff * 10.0 * smoke, mouth.1 - 26.0 - puff * 22.0 * smoke);
                let size = 15.0 + 20.0 * smoke;
                canvas.ellipse(
                    at,
                    (size, size),
                    Brush::plain(0xff_f6e8).alpha(0.7 * (1.0 - smoke)),
                );
            }
        }
    }
}

/// Water thrown up around `at`.
pub(super) fn splash(canvas: &mut Canvas, seed: u64, since: f32, at: (f32, f32)) {
    if since > 2.2 {
        return;
    }
    let column = (since * 3.2).min(PI).sin().max(0.0);
    for (offset, share) in [(-64.0_f32, 0.55), (-30.0, 0.85), (0.0, 1.0), (32.0, 0.8), (66.0, 0.5)]
    {
        let tall = 250.0 * column * share;
        let lean = offset * 0.9 * since.min(1.0);
        canvas.polygon(
            &[
                (at.0 + offset - 24.0, at.1 + 8.0),
                (at.0 + offset + 24.0, at.1 + 8.0),
                (at.0 + offset + lean + 4.0, at.1 - tall),
                (at.0 + offset + lean - 4.0, at.1 - tall),
            ],
            Brush::gradient(0xff_ffff, 0x9a_ecf4).fade(0.75, 0.9),
        );
    }
    for index in 0..150 {
        let chance = |what: u64| share(seed ^ (what << 32), index);
        let speed = 200.0 + 460.0 * chance(1);
        let angle = PI * (0.18 + 0.64 * chance(2));
        let drop = (
            at.0 + angle.cos() * speed * since,
            at.1 - angle.sin() * speed * since + 380.0 * since * since,
        );
        if drop.1 > at.1 + 20.0 {
            continue;
        }
        let size = 2.0 + 5.0 * chance(3);
        let hex = if index % 3 == 0 { 0xff_ffff } else { 0x9a_ecf8 };
        canvas.ellipse(drop, (size, size * 1.2), Brush::plain(hex).alpha(0.9));
    }
}
