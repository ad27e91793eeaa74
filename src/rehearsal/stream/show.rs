//! One frame: who stands where, what the lights do, and the events themselves.

use std::f32::consts::PI;

use super::canvas::{Area, Brush, Canvas, Ink};
use super::overlay;
use super::plot::{DARK_UNTIL_S, Happening, Plot};
use super::props;
use super::residents::{self, Face, INES, MALO, NOUR, Pose};
use super::scenery::{LAMP_Y, LAMPS, POOL_BOTTOM, POOL_TOP, SCREEN, pool_corners};
use super::sparks;
use super::stunts;
use crate::rehearsal::chance::share;

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
    props::table(canvas, now);
    if let Some(since) = since(Happening::Cat) {
        stunts::cat_walk(canvas, since);
    }
    if let Some(since) = since(Happening::Guest) {
        stunts::guest(canvas, now, since);
    }
    water(canvas, t);
    if let Some(since) = plunge {
        stunts::plunge(canvas, now, since);
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
                now.seed ^ 0x3,
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
                canvas.dim(if ((since * 30.0) as u32).is_multiple_of(3) { 1.0 } else { 0.45 });
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
            flash(canvas, 0.5 * (1.0 - since / 0.3));
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
pub(super) fn thrill(now: &Moment, delay: f32) -> f32 {
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
        props::football(canvas, now.t, since);
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
                pose.face.gaze = ((stunts::cat_x(since) - pose.at.0) / 160.0).clamp(-1.0, 1.0);
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
            props::guitar(canvas, pose.at, t);
        }
    }
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
