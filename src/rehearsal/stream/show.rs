//! One frame: who stands where, what the lights do, and the events themselves.

use std::f32::consts::{PI, TAU};

use super::canvas::{Area, Brush, Canvas, Ink};
use super::chance::{scramble, share};
use super::overlay;
use super::plot::{DARK_UNTIL_S, Happening, Plot};
use super::residents::{self, Face, GUEST, INES, MALO, NOUR, Pose};
use super::scenery::{LAMP_Y, LAMPS, POOL_BOTTOM, POOL_TOP, SCREEN, TABLE, pool_corners};
use super::sparks;

/// Everything a frame is drawn from; all shares are 0 to 1.
pub(super) struct Moment<'a> {
    pub(super) seed: u64,
    /// Seconds from the start of the stream.
    pub(super) t: f32,
    pub(super) plot: &'a Plot,
    /// How far each of the three residents' mouths are open.
    pub(super) mouths: [f32; 3],
    /// The bars of the equaliser.
    pub(super) bands: [f32; 16],
    /// How busy the chat is at a time.
    pub(super) chat: &'a dyn Fn(f32) -> f32,
}

const PLACES: [f32; 3] = [524.0, 640.0, 756.0];
const SHOULDERS: f32 = 408.0;

pub(super) fn draw(canvas: &mut Canvas, now: &Moment) {
    let t = now.t;
    let event = now.plot.at(t);
    let since = |kind| match event {
        Some((found, since)) if found == kind => Some(since),
        _ => None,
    };
    let dark = now.plot.is_dark(t);
    if !dark {
        light_cones(canvas, now, since(Happening::Guitar));
        screen(canvas, now, since(Happening::Goal));
    }
    let plunge = since(Happening::Plunge);
    residents_behind(canvas, now, plunge.is_some());
    table(canvas, now);
    if let Some(since) = since(Happening::Cat) {
        cat_walk(canvas, since);
    }
    if let Some(since) = since(Happening::Guest) {
        guest(canvas, now, since);
    }
    water(canvas, t);
    if let Some(since) = plunge {
        self::plunge(canvas, now, since);
    }
    match event {
        Some((Happening::Confetti, since)) => {
            sparks::confetti(
                canvas,
                now.seed,
                since,
                sparks::PARTY,
                &[(446.0, 600.0), (834.0, 600.0)],
            );
            sparks::cannons(canvas, since);
        }
        Some((Happening::Goal, since)) if since > 1.2 => {
            let colours = [0x2f_b86a, 0xff_ffff, 0xff_d84a, 0x2f_b86a, 0xff_ffff];
            sparks::confetti(
                canvas,
                now.seed ^ 3,
                since - 1.2,
                colours,
                &[(470.0, 330.0), (810.0, 330.0)],
            );
        }
        _ => {}
    }
    let thrill = thrill(now, 0.35);
    let face = Face {
        mouth: now.mouths[0].max(thrill * (0.55 + 0.3 * (t * 7.0).sin())),
        blink: blink(now.seed, 9, t),
        brow: thrill,
        gaze: 0.55 + 0.45 * (t * 0.37).sin(),
    };
    overlay::face_cam(canvas, NOUR, t, face, thrill);
    if dark {
        canvas.dim(0.16);
        dark_eyes(canvas, t);
    }
    match event {
        Some((Happening::PowerCut, since)) => {
            if since < 0.3 {
                canvas.dim(if (since * 30.0) as u32 % 3 == 0 { 1.0 } else { 0.45 });
            } else if (DARK_UNTIL_S..DARK_UNTIL_S + 0.5).contains(&since) {
                flash(canvas, 0.7 * (1.0 - (since - DARK_UNTIL_S) / 0.5));
            }
        }
        Some((Happening::Glass, since)) if (0.66..1.1).contains(&since) => {
            flash(canvas, 0.75 * (1.0 - (since - 0.66) / 0.44));
        }
        Some((Happening::Goal, since)) if (1.2..1.6).contains(&since) => {
            flash(canvas, 0.5 * (1.0 - (since - 1.2) / 0.4));
        }
        Some((Happening::Confetti, since)) if since < 0.3 => {
            flash(canvas, 0.5 * (1.0 - since / 0.3))
        }
        _ => {}
    }
    overlay::hearts(canvas, now.seed, t, now.chat);
    overlay::clock(canvas, t);
}

fn flash(canvas: &mut Canvas, strength: f32) {
    let whole = Area::new(0.0, 0.0, 1280.0, 720.0);
    canvas.rect(whole, Brush::plain(0xff_fbf0).alpha(strength));
}

/// How thrilled the residents are: from `delay` after a climax to the end of its event.
fn thrill(now: &Moment, delay: f32) -> f32 {
    let Some((kind, since)) = now.plot.at(now.t) else { return 0.0 };
    let from = match kind {
        // In the dark nobody cheers: they do when the light is back.
        Happening::PowerCut => DARK_UNTIL_S,
        _ => kind.climax(),
    } + delay;
    let rise = ((since - from) / 0.4).clamp(0.0, 1.0);
    let fall = ((kind.seconds() - since) / 1.2).clamp(0.0, 1.0);
    rise * fall
}

fn blink(seed: u64, who: u64, t: f32) -> f32 {
    let slot = (t / 3.1 + who as f32 * 0.37).floor();
    let at = share(seed ^ who, slot as u64) * 2.6;
    let since = (t / 3.1 + who as f32 * 0.37).fract() * 3.1 - at;
    if (0.0..0.16).contains(&since) { 1.0 } else { 0.0 }
}

fn light_cones(canvas: &mut Canvas, now: &Moment, solo: Option<f32>) {
    let t = now.t;
    let beat = now.bands[0];
    let hues = [0xff_7ab0, 0xff_d27a, 0x7a_d8ff, 0xb0_8aff];
    for (index, x) in LAMPS.into_iter().enumerate() {
        let turn = (t * 0.5 + index as f32 * 1.3).sin();
        let ink = Ink::rgb(hues[index]);
        let foot = 640.0 + (x - 640.0) * 0.75 + turn * 60.0;
        let strength = 0.1 + 0.09 * beat;
        let cone =
            [(x - 9.0, LAMP_Y), (x + 9.0, LAMP_Y), (foot + 66.0, 560.0), (foot - 66.0, 560.0)];
        canvas.polygon(&cone, Brush::ink(ink).fade(strength * 2.0, strength * 0.4));
        canvas.ellipse((x, LAMP_Y + 1.0), (14.0, 5.0), Brush::plain(0xff_fbe8));
        canvas.glow((x, LAMP_Y + 4.0), 40.0, ink, 0.6);
    }
    let Some(since) = solo else { return };
    let strength = (since * 2.0).min(1.0) * ((10.0 - since) / 1.0).clamp(0.0, 1.0);
    for index in 0..8_u8 {
        let index = f32::from(index);
        let angle = PI / 2.0 + (index - 3.5) * 0.24 + (t * 2.2 + index * 0.9).sin() * 0.16;
        let hue = hues[index as usize % 4];
        let (sin, cos) = angle.sin_cos();
        let origin = (640.0, 440.0);
        let far = (origin.0 + cos * 620.0, origin.1 - sin * 620.0);
        let width = 26.0 + 14.0 * beat;
        let beam = [
            (origin.0 - 3.0, origin.1),
            (origin.0 + 3.0, origin.1),
            (far.0 + width, far.1),
            (far.0 - width, far.1),
        ];
        canvas.polygon(&beam, Brush::plain(hue).fade(0.2 * strength, 0.62 * strength));
    }
    canvas.glow((640.0, 430.0), 170.0, Ink::rgb(0xff_e0a0), 0.6 * strength);
}

fn screen(canvas: &mut Canvas, now: &Moment, goal: Option<f32>) {
    if let Some(since) = goal {
        football(canvas, now.t, since);
        return;
    }
    let low = SCREEN.bottom() - 12.0;
    for (index, level) in now.bands.into_iter().enumerate() {
        let x = SCREEN.left + 14.0 + index as f32 * 18.6;
        let along = index as f32 / 15.0;
        let hue = Ink::rgb(0xff_4a8a)
            .towards(Ink::rgb(0xff_c94a), along * 2.0)
            .towards(Ink::rgb(0x3a_d8d0), along * 2.0 - 1.0);
        let lit = (level.clamp(0.04, 1.0) * 14.0).ceil() as u32;
        for step in 0..lit {
            let y = low - step as f32 * 10.0;
            let glow = if step + 1 == lit { 1.0 } else { 0.8 };
            canvas.rect(Area::new(x, y - 7.5, 14.0, 7.5), Brush::ink(hue).alpha(glow));
        }
    }
}

/// A shot, the net, and the score that changes.
fn football(canvas: &mut Canvas, t: f32, since: f32) {
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

fn residents_behind(canvas: &mut Canvas, now: &Moment, third_is_away: bool) {
    let t = now.t;
    let event = now.plot.at(t);
    for (index, look) in [NOUR, MALO, INES].into_iter().enumerate() {
        if index == 2 && third_is_away {
            continue;
        }
        let phase = index as f32 * 2.1;
        let who = index as u64;
        let thrill = thrill(now, 0.1 * index as f32);
        let mut pose = Pose {
            at: (
                PLACES[index] + (t * 0.6 + phase).sin() * 4.0,
                SHOULDERS + (t * 1.7 + phase).sin() * 2.0 - 3.0 * now.bands[0],
            ),
            joy: thrill,
            sway: (t * 8.0 + phase).sin(),
            face: Face {
                mouth: now.mouths[index].max(thrill * (0.6 + 0.4 * (t * 6.0 + phase).sin())),
                blink: blink(now.seed, who, t),
                brow: thrill.max(now.mouths[index] * 0.3),
                gaze: (t * 0.43 + phase).sin() * 0.8,
            },
        };
        match event {
            Some((Happening::Goal | Happening::Confetti, _)) => {
                pose.at.1 -= thrill * 20.0 * (t * 7.0 + phase).sin().abs();
            }
            Some((Happening::Cat, since)) => {
                pose.joy *= 0.0;
                pose.face.gaze = ((cat_x(since) - pose.at.0) / 160.0).clamp(-1.0, 1.0);
            }
            Some((Happening::Glass, _)) => pose.joy *= 0.72,
            Some((Happening::Plunge, _)) => pose.joy *= 0.9,
            Some((Happening::Guitar, since)) => {
                pose.joy *= if index == 1 { 0.0 } else { 0.8 };
                if index == 1 {
                    pose.at.1 -= 8.0 * (since * 5.2).sin().abs();
                }
            }
            _ => {}
        }
        residents::bust(canvas, look, pose);
        if index == 1 && matches!(event, Some((Happening::Guitar, _))) {
            guitar(canvas, pose.at, t);
        }
    }
}

fn guitar(canvas: &mut Canvas, (x, y): (f32, f32), t: f32) {
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

fn table(canvas: &mut Canvas, now: &Moment) {
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

/// It walks in, stops in the middle to look at the camera, walks on.
fn cat_x(since: f32) -> f32 {
    let (from, middle, to) = (400.0, 640.0, 900.0);
    if since < 2.6 {
        from + (middle - from) * since / 2.6
    } else if since < 4.8 {
        middle
    } else {
        middle + (to - middle) * (since - 4.8) / 3.2
    }
}

fn cat_walk(canvas: &mut Canvas, since: f32) {
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

fn guest(canvas: &mut Canvas, now: &Moment, since: f32) {
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
        let twinkle = ((t * 2.2 + share(now.seed ^ 71, index) * 9.0).sin()).max(0.0);
        let at = (
            x + (share(now.seed ^ 72, index) - 0.5) * 210.0,
            y - 120.0 + share(now.seed ^ 73, index) * 230.0,
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

fn water(canvas: &mut Canvas, t: f32) {
    let corners = pool_corners();
    for index in 0..14_u64 {
        let down = share(3, index);
        let y = POOL_TOP + 8.0 + down * (POOL_BOTTOM - POOL_TOP - 14.0);
        let widen = (y - POOL_TOP) / (POOL_BOTTOM - POOL_TOP);
        let left = corners[0].0 + (corners[3].0 - corners[0].0) * widen + 30.0;
        let right = corners[1].0 + (corners[2].0 - corners[1].0) * widen - 30.0;
        let along = (share(4, index) + t * (0.012 + 0.02 * share(5, index))).fract();
        let shine = (along * PI).sin() * (0.25 + 0.2 * (t * 1.3 + index as f32).sin());
        let width = 26.0 + 40.0 * share(6, index);
        let x = left + (right - left - width) * along;
        canvas.ellipse(
            (x + width / 2.0, y),
            (width / 2.0, 2.0 + down),
            Brush::plain(0xc8_fbff).alpha(shine),
        );
    }
}

fn plunge(canvas: &mut Canvas, now: &Moment, since: f32) {
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

fn dark_eyes(canvas: &mut Canvas, t: f32) {
    for (index, x) in PLACES.into_iter().enumerate() {
        let phase = index as f32 * 2.1;
        let x = x + (t * 0.6 + phase).sin() * 4.0;
        let y = SHOULDERS - 48.0 + (t * 1.7 + phase).sin() * 2.0;
        let blink = if (t * 0.9 + phase).fract() < 0.1 { 0.15 } else { 1.0 };
        for side in [-12.0_f32, 12.0] {
            canvas.ellipse((x + side, y), (8.5, 9.0 * blink), Brush::plain(0xff_ffff));
            let look = (t * 2.4 + phase).sin() * 3.0;
            canvas.ellipse((x + side + look, y), (3.6, 4.4 * blink), Brush::plain(0x10_0c1a));
        }
    }
    let host = overlay::face_at(t, 0.0);
    for side in [-23.0_f32, 23.0] {
        let at = (host.0 + side, host.1 - 4.0);
        canvas.ellipse(at, (14.0, 15.0), Brush::plain(0xff_ffff));
        canvas.ellipse((at.0 + (t * 2.0).sin() * 5.0, at.1), (6.5, 8.0), Brush::plain(0x10_0c1a));
    }
    canvas.glow((1062.0, 196.0), 90.0, Ink::rgb(0xff_e9b8), 0.45);
    canvas.ellipse((1062.0, 196.0), (34.0, 34.0), Brush::gradient(0xff_f7dc, 0xff_dfa0));
}
