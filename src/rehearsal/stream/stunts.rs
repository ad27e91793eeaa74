//! Who crosses the stage: the cat, the guest, and the one who jumps into the pool.

use super::canvas::{Brush, Canvas};
use super::residents::{self, Face, GUEST, INES, Pose};
use super::scenery::{POOL_BOTTOM, TABLE};
use super::show::{Moment, thrill};
use super::sparks;
use crate::rehearsal::chance::{scramble, share};

/// It walks in, stops in the middle to look at the camera, walks on.
pub(super) fn cat_x(since: f32) -> f32 {
    let (from, middle, to) = (400.0, 640.0, 900.0);
    if since < 2.6 {
        from + (middle - from) * since / 2.6
    } else if since < 4.8 {
        middle
    } else {
        middle + (to - middle) * (since - 4.8) / 3.2
    }
}

pub(super) fn cat_walk(canvas: &mut Canvas, since: f32) {
    let stare = ((since - 2.6) / 0.3).clamp(0.0, 1.0) * ((4.8 - since) / 0.3).clamp(0.0, 1.0);
    let x = cat_x(since);
    // It jumps onto the table, and off it.
    let drop = ((470.0 - x) / 70.0).clamp(0.0, 1.0) + ((x - 815.0) / 70.0).clamp(0.0, 1.0);
    residents::cat(canvas, (x, TABLE.top + 2.0 + drop * drop * 84.0), since * 5.0, stare);
    if stare > 0.5 {
        for index in 0..3_u8 {
            let life = ((since - 2.8) * 0.7 + f32::from(index) * 0.33).fract();
            let at = (x + 70.0 + f32::from(index) * 16.0, TABLE.top - 90.0 - life * 70.0);
            let brush = Brush::plain(0xff_5a8a).alpha(1.0 - life);
            canvas.ellipse((at.0 - 5.0, at.1), (6.0, 6.0), brush);
            canvas.ellipse((at.0 + 5.0, at.1), (6.0, 6.0), brush);
            canvas.polygon(
                &[(at.0 - 10.5, at.1 + 2.0), (at.0 + 10.5, at.1 + 2.0), (at.0, at.1 + 14.0)],
                brush,
            );
        }
    }
}

pub(super) fn guest(canvas: &mut Canvas, now: &Moment, since: f32) {
    let t = now.t;
    let into = 1.0 - (1.0 - (since / 1.6).min(1.0)).powi(3);
    let out = ((since - 7.8) / 1.2).clamp(0.0, 1.0);
    let x = 1180.0 - 540.0 * into + 640.0 * out * out;
    let y = 470.0 + (t * 6.0).sin() * 3.0;
    canvas.polygon(
        &[(x - 16.0, 78.0), (x + 16.0, 78.0), (x + 96.0, 610.0), (x - 96.0, 610.0)],
        Brush::plain(0xff_f2c0).fade(0.5, 0.16),
    );
    canvas.ellipse((x, 606.0), (92.0, 14.0), Brush::plain(0xff_f2c0).alpha(0.45));
    let thrill = thrill(now, 0.0);
    for side in [-1.0_f32, 1.0] {
        canvas.stroke(
            (x + side * 18.0, y + 120.0),
            (x + side * 18.0, 600.0),
            24.0,
            Brush::plain(0x3a_1a70),
        );
        canvas.stroke(
            (x + side * 18.0, 602.0),
            (x + side * 28.0, 603.0),
            12.0,
            Brush::plain(0x16_1224),
        );
    }
    let face = Face { mouth: 0.5 + 0.4 * (t * 6.0).sin(), blink: 0.0, brow: 0.8, gaze: 0.0 };
    let pose = Pose { at: (x, y), joy: 0.35 + 0.65 * thrill, sway: (t * 7.0).sin(), face };
    residents::bust(canvas, GUEST, pose);
    for index in 0..22_u64 {
        let twinkle = ((t * 2.2 + share(now.seed ^ 0x47, index) * 9.0).sin()).max(0.0);
        let at = (
            x + (share(now.seed ^ 0x48, index) - 0.5) * 210.0,
            y - 120.0 + share(now.seed ^ 0x49, index) * 230.0,
        );
        star(canvas, at, 9.0 * twinkle, 0xff_e98a);
    }
}

fn star(canvas: &mut Canvas, (x, y): (f32, f32), size: f32, hex: u32) {
    let thin = size * 0.22;
    let brush = Brush::plain(hex);
    canvas.polygon(&[(x - size, y), (x, y - thin), (x + size, y), (x, y + thin)], brush);
    canvas.polygon(&[(x - thin, y), (x, y - size), (x + thin, y), (x, y + size)], brush);
}

pub(super) fn plunge(canvas: &mut Canvas, now: &Moment, since: f32) {
    const JUMP_S: f32 = 0.5;
    const SPLASH_S: f32 = 1.3;
    let t = now.t;
    let shout = Face { mouth: 0.9, blink: 0.0, brow: 1.0, gaze: -0.5 };
    if since < JUMP_S {
        let x = 830.0 - 40.0 * since / JUMP_S;
        residents::runner(canvas, INES, (x, 470.0), since * 22.0, shout);
    } else if since < SPLASH_S {
        let part = (since - JUMP_S) / (SPLASH_S - JUMP_S);
        let at = (790.0 - 150.0 * part, 470.0 - 330.0 * part + 480.0 * part * part);
        residents::runner(canvas, INES, at, 1.4 + part * 3.0, shout);
    } else {
        let after = since - SPLASH_S;
        if after > 1.2 {
            // She comes up and waves.
            let up = ((after - 1.2) / 0.5).min(1.0);
            let y = 668.0 - 26.0 * up + (t * 3.0).sin() * 2.5;
            let hand = (690.0 + (t * 9.0).sin() * 12.0, y - 52.0 * up);
            canvas.stroke((672.0, y + 14.0), hand, 13.0, Brush::plain(0xd9_9a70));
            canvas.ellipse(hand, (9.0, 9.0), Brush::plain(0xd9_9a70));
            let face = Face { mouth: now.mouths[2].max(0.6), blink: 0.0, brow: 0.8, gaze: 0.0 };
            residents::head(canvas, INES, (640.0, y), 0.85, face);
            canvas.slice(
                (640.0, 700.0),
                (66.0, 32.0),
                (684.0, POOL_BOTTOM),
                Brush::plain(0x18_8ab0),
            );
        }
        for ring in 0..3_u8 {
            let grow = after * 70.0 - f32::from(ring) * 24.0;
            if grow > 0.0 {
                let alpha = 0.5 * (1.0 - after / 3.2).max(0.0);
                let size = (30.0 + grow, 6.0 + grow * 0.16);
                canvas.ellipse(
                    (640.0, 672.0),
                    (size.0.min(236.0), size.1.min(36.0)),
                    Brush::plain(0xd8_fbff).alpha(alpha * 0.4),
                );
            }
        }
        sparks::splash(canvas, scramble(now.seed), after, (640.0, 668.0));
    }
}
