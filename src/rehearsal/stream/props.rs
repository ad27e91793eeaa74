//! Things on the stage: the laid table and its glasses, the guitar, the match on the screen.

use std::f32::consts::{PI, TAU};

use super::canvas::{Area, Brush, Canvas, Ink};
use super::overlay;
use super::plot::Happening;
use super::scenery::{SCREEN, TABLE};
use super::show::Moment;
use crate::rehearsal::chance::share;

/// A shot, the net, and the score that changes.
pub(super) fn football(canvas: &mut Canvas, t: f32, since: f32) {
    let pitch = SCREEN.inset(6.0);
    canvas.rect(pitch, Brush::gradient(0x2f_8a4a, 0x1f_6a3a));
    for stripe in 0..4_u8 {
        let x = pitch.left + 78.0 * f32::from(stripe);
        canvas
            .rect(Area::new(x, pitch.top, 39.0, pitch.height), Brush::plain(0x3a_a05a).alpha(0.5));
    }
    if since < 1.5 {
        let white = Brush::plain(0xff_ffff);
        let goal = Area::new(SCREEN.left + 196.0, SCREEN.top + 34.0, 104.0, 84.0);
        for line in 0..7_u8 {
            let x = goal.left + goal.width / 6.0 * f32::from(line);
            canvas.rect(Area::new(x, goal.top, 1.4, goal.height), white.alpha(0.5));
            let y = goal.top + goal.height / 6.0 * f32::from(line);
            canvas.rect(Area::new(goal.left, y, goal.width, 1.4), white.alpha(0.5));
        }
        canvas.stroke((goal.left, goal.bottom()), (goal.left, goal.top), 5.0, white);
        canvas.stroke((goal.right(), goal.bottom()), (goal.right(), goal.top), 5.0, white);
        canvas.stroke((goal.left, goal.top), (goal.right(), goal.top), 5.0, white);
        let part = (since / 1.2).min(1.0);
        let ball = (
            SCREEN.left + 40.0 + part * 220.0,
            SCREEN.top + 138.0 - part * 78.0 - (part * PI).sin() * 34.0,
        );
        canvas.ellipse(ball, (14.0 - 5.0 * part, 14.0 - 5.0 * part), white);
        canvas.ellipse(ball, (5.0 - 2.0 * part, 5.0 - 2.0 * part), Brush::plain(0x1a_1a24));
    } else {
        let on = (t * 5.0).fract() < 0.6;
        let hex = if on { 0xff_f4a0 } else { 0xff_ffff };
        let size = (52.0, 96.0);
        overlay::segments(
            canvas,
            (SCREEN.left + 56.0, SCREEN.top + 34.0),
            size,
            1,
            Brush::plain(hex),
        );
        canvas
            .rect(Area::new(SCREEN.left + 148.0, SCREEN.top + 76.0, 32.0, 12.0), Brush::plain(hex));
        overlay::segments(
            canvas,
            (SCREEN.left + 214.0, SCREEN.top + 34.0),
            size,
            0,
            Brush::plain(hex),
        );
    }
}

pub(super) fn guitar(canvas: &mut Canvas, (x, y): (f32, f32), t: f32) {
    let strum = (t * 18.0).sin() * 12.0;
    let neck = ((x - 26.0, y + 64.0), (x + 104.0, y + 8.0));
    canvas.stroke(neck.0, neck.1, 11.0, Brush::plain(0x5a_3420));
    canvas.stroke(neck.1, (x + 120.0, y + 1.0), 16.0, Brush::plain(0x2a_1818));
    canvas.ellipse((x - 34.0, y + 70.0), (40.0, 33.0), Brush::gradient(0xff_5a4a, 0xb0_1a3a));
    canvas.ellipse((x + 4.0, y + 54.0), (27.0, 23.0), Brush::gradient(0xff_6a50, 0xc0_2a3a));
    canvas.ellipse((x - 8.0, y + 60.0), (11.0, 10.0), Brush::plain(0x2a_1018));
    canvas.stroke((x - 44.0, y + 73.0), (x + 100.0, y + 10.0), 1.6, Brush::plain(0xff_f4d0));
    let skin = Brush::plain(0xf0_c09a);
    canvas.stroke((x - 42.0, y + 26.0), (x - 18.0, y + 62.0 + strum), 15.0, skin);
    canvas.ellipse((x - 14.0, y + 64.0 + strum), (11.0, 11.0), skin);
    canvas.ellipse((x + 70.0 + (t * 5.0).sin() * 16.0, y + 24.0), (11.0, 11.0), skin);
    // Notes fly off.
    for index in 0..5_u8 {
        let life = (t * 0.55 + f32::from(index) * 0.2).fract();
        let side = if index % 2 == 0 { 1.0 } else { -1.0 };
        let at =
            (x + side * (60.0 + life * 110.0), y - 20.0 - life * 150.0 + (life * 9.0).sin() * 12.0);
        let brush = Brush::plain(0xff_e9a0).alpha((life * PI).sin());
        canvas.ellipse(at, (9.0, 7.0), brush);
        canvas.stroke((at.0 + 7.5, at.1), (at.0 + 7.5, at.1 - 30.0), 3.0, brush);
        canvas.stroke((at.0 + 7.5, at.1 - 30.0), (at.0 + 17.0, at.1 - 22.0), 4.5, brush);
    }
}

const GLASS_X: f32 = 694.0;

pub(super) fn table(canvas: &mut Canvas, now: &Moment) {
    let cloth = Area::new(TABLE.left + 8.0, TABLE.bottom(), TABLE.width - 16.0, 48.0);
    canvas.rect(cloth, Brush::gradient(0x5a_2a66, 0x3d_1f55));
    for index in 0..11_u8 {
        let x = cloth.left + 16.0 + f32::from(index) * 32.0;
        canvas.ellipse((x, cloth.bottom()), (16.0, 11.0), Brush::plain(0x3d_1f55));
        canvas.ellipse((x, cloth.top + 22.0), (5.0, 5.0), Brush::plain(0xff_c94a).alpha(0.75));
    }
    canvas.round_rect(TABLE, 7.0, Brush::gradient(0xf0_d2a8, 0xb0_8058));
    let top = TABLE.top;
    // A bowl of lemons, a bottle, two glasses.
    for (x, y) in [(490.0, -21.0), (508.0, -23.0), (499.0, -31.0)] {
        canvas.ellipse((x, top + y), (11.0, 9.0), Brush::gradient(0xff_e85a, 0xe0_b030));
    }
    canvas.slice(
        (499.0, top - 20.0),
        (32.0, 20.0),
        (top - 20.0, top),
        Brush::gradient(0x4a_a0c8, 0x2a_6a98),
    );
    canvas.round_rect(
        Area::new(786.0, top - 56.0, 20.0, 56.0),
        7.0,
        Brush::gradient(0x3a_9a6a, 0x1a_5a44),
    );
    canvas.round_rect(Area::new(792.0, top - 76.0, 8.0, 26.0), 3.0, Brush::plain(0x2a_7a58));
    canvas.rect(Area::new(786.0, top - 36.0, 20.0, 16.0), Brush::plain(0xff_f0d0));
    upright_glass(canvas, 574.0, top);
    match now.plot.since(Happening::Glass, now.t) {
        Some(since) if since < 16.0 => broken_glass(canvas, now.seed, since),
        _ => upright_glass(canvas, GLASS_X, top),
    }
}

fn upright_glass(canvas: &mut Canvas, x: f32, top: f32) {
    canvas.polygon(
        &[(x - 13.0, top - 44.0), (x + 13.0, top - 44.0), (x + 9.0, top), (x - 9.0, top)],
        Brush::plain(0xff_ffff).alpha(0.4),
    );
    canvas.polygon(
        &[
            (x - 11.5, top - 30.0),
            (x + 11.5, top - 30.0),
            (x + 8.5, top - 2.0),
            (x - 8.5, top - 2.0),
        ],
        Brush::gradient(0xff_5a6a, 0xd0_2a4a),
    );
    canvas.rect(Area::new(x - 8.0, top - 40.0, 3.0, 34.0), Brush::plain(0xff_ffff).alpha(0.6));
}

fn broken_glass(canvas: &mut Canvas, seed: u64, since: f32) {
    let floor = 604.0;
    let x = GLASS_X + 6.0;
    if since < 0.7 {
        // It tips, then falls in front of the cloth.
        let fall = (since - 0.2).max(0.0) / 0.5;
        let turn = since * 5.0;
        let at = (x + since * 26.0, TABLE.top - 22.0 + fall * fall * (floor - TABLE.top));
        let (sin, cos) = turn.sin_cos();
        let corner = |dx: f32, dy: f32| (at.0 + dx * cos - dy * sin, at.1 + dx * sin + dy * cos);
        canvas.polygon(
            &[corner(-13.0, -22.0), corner(13.0, -22.0), corner(9.0, 22.0), corner(-9.0, 22.0)],
            Brush::plain(0xff_d8e0).alpha(0.85),
        );
        canvas.polygon(
            &[corner(-11.0, -6.0), corner(11.0, -6.0), corner(8.0, 20.0), corner(-8.0, 20.0)],
            Brush::plain(0xe8_3a5a),
        );
        return;
    }
    let after = since - 0.7;
    let fade = ((15.3 - after) / 2.0).clamp(0.0, 1.0);
    let spread = 1.0 - (-after * 5.0).exp();
    let puddle = Brush::plain(0xd0_2a4a).alpha(0.85 * fade);
    canvas.ellipse((x + 14.0, floor), (58.0 * spread, 11.0 * spread), puddle);
    canvas.ellipse((x - 26.0, floor + 5.0), (26.0 * spread, 6.0 * spread), puddle);
    if after < 0.9 {
        let ring = after / 0.9;
        canvas.glow(
            (x + 10.0, floor - 10.0),
            60.0 + 130.0 * ring,
            Ink::rgb(0xff_ffe8),
            0.9 * (1.0 - ring),
        );
    }
    for index in 0..26 {
        let angle = share(seed ^ 0x61, index) * PI;
        let speed = 90.0 + 260.0 * share(seed ^ 0x62, index);
        let flight = after.min(0.35 + 0.35 * share(seed ^ 0x63, index));
        let at = (
            x + 10.0 + angle.cos() * speed * flight,
            (floor - angle.sin() * speed * flight + 620.0 * flight * flight).min(floor + 4.0),
        );
        let size = 3.0 + 5.0 * share(seed ^ 0x64, index);
        let turn = share(seed ^ 0x65, index) * TAU + flight * 12.0;
        let corner = |turn: f32, size: f32| (at.0 + turn.cos() * size, at.1 + turn.sin() * size);
        canvas.polygon(
            &[corner(turn, size), corner(turn + 2.3, size * 0.6), corner(turn + 3.9, size)],
            Brush::plain(if index % 3 == 0 { 0xff_ffff } else { 0xbf_e8ff }).alpha(fade),
        );
    }
}
