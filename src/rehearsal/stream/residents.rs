//! The people of the villa and its cat.

use super::canvas::{Area, Brush, Canvas, Ink};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hair {
    Round,
    Cap,
    Long,
    TopHat,
}

/// What somebody looks like.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    skin: u32,
    shade: u32,
    hair: u32,
    accent: u32,
    shirt: (u32, u32),
    style: Hair,
}

pub(super) const NOUR: Look = Look {
    skin: 0x9a_5f3f,
    shade: 0x7a_452d,
    hair: 0x24_1720,
    accent: 0xff_c94a,
    shirt: (0xf5_b83d, 0xc9_7a24),
    style: Hair::Round,
};
pub(super) const MALO: Look = Look {
    skin: 0xf0_c09a,
    shade: 0xd0_9570,
    hair: 0x8a_4a22,
    accent: 0xe0_4a4a,
    shirt: (0x2f_a8a0, 0x1a_6a78),
    style: Hair::Cap,
};
pub(super) const INES: Look = Look {
    skin: 0xd9_9a70,
    shade: 0xb5_7550,
    hair: 0x3a_1c28,
    accent: 0xff_8fb0,
    shirt: (0xf2_6a6a, 0xb8_3a58),
    style: Hair::Long,
};
pub(super) const GUEST: Look = Look {
    skin: 0xe8_b088,
    shade: 0xc4_8a62,
    hair: 0x16_1224,
    accent: 0xff_d84a,
    shirt: (0x8a_4ae0, 0x4a_228a),
    style: Hair::TopHat,
};

/// What a face does; shares from 0 to 1.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Face {
    pub(super) mouth: f32,
    pub(super) blink: f32,
    pub(super) brow: f32,
    /// Where the eyes look, -1 left to 1 right.
    pub(super) gaze: f32,
}

/// Where somebody stands and what the arms do.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pose {
    /// Middle of the shoulders.
    pub(super) at: (f32, f32),
    /// 0 hands on the table, 1 arms in the air.
    pub(super) joy: f32,
    /// Waving of raised arms, -1 to 1.
    pub(super) sway: f32,
    pub(super) face: Face,
}

/// Draws somebody from the head to the waist (behind the table nothing else is seen).
pub(super) fn bust(canvas: &mut Canvas, look: Look, pose: Pose) {
    let (x, y) = pose.at;
    if look.style == Hair::Long {
        let hair = Brush::gradient(look.hair, look.hair);
        canvas.round_rect(Area::new(x - 35.0, y - 88.0, 70.0, 108.0), 32.0, hair);
    }
    canvas.round_rect(
        Area::new(x - 43.0, y - 8.0, 86.0, 142.0),
        30.0,
        Brush::gradient(look.shirt.0, look.shirt.1),
    );
    match look.style {
        Hair::TopHat => {
            canvas.polygon(
                &[(x - 13.0, y - 6.0), (x + 13.0, y - 6.0), (x, y + 44.0)],
                Brush::plain(0xff_f4e0),
            );
            for side in [-1.0, 1.0] {
                canvas.polygon(
                    &[(x, y + 6.0), (x + side * 13.0, y - 1.0), (x + side * 13.0, y + 13.0)],
                    Brush::plain(look.accent),
                );
            }
        }
        Hair::Cap => {
            canvas.rect(Area::new(x - 43.0, y + 34.0, 86.0, 9.0), Brush::plain(0xf4_ead8));
            canvas.rect(Area::new(x - 43.0, y + 54.0, 86.0, 9.0), Brush::plain(0xf4_ead8));
        }
        _ => canvas.ellipse((x, y - 6.0), (19.0, 10.0), Brush::plain(look.shade)),
    }
    canvas.rect(Area::new(x - 11.0, y - 22.0, 22.0, 20.0), Brush::plain(look.shade));
    for side in [-1.0_f32, 1.0] {
        let up = pose.joy;
        let shoulder = (x + side * 36.0, y + 12.0);
        let elbow = (x + side * (54.0 + 8.0 * up), y + 62.0 - 62.0 * up);
        let hand = (x + side * (40.0 + 16.0 * up) + pose.sway * 9.0 * up, y + 108.0 - 178.0 * up);
        let sleeve = Brush::ink(Ink::rgb(look.shirt.0).towards(Ink::rgb(look.shirt.1), 0.5));
        canvas.stroke(shoulder, elbow, 21.0, sleeve);
        canvas.stroke(elbow, hand, 15.0, Brush::plain(look.skin));
        canvas.ellipse(hand, (10.5, 10.5), Brush::plain(look.skin));
    }
    head(canvas, look, (x, y - 46.0), 1.0, pose.face);
}

/// Draws a head around `at`; at scale 1 it is 60 units wide.
pub(super) fn head(canvas: &mut Canvas, look: Look, at: (f32, f32), scale: f32, face: Face) {
    let (cx, cy) = at;
    let p = |x: f32, y: f32| (cx + x * scale, cy + y * scale);
    let r = |x: f32, y: f32| (x * scale, y * scale);
    let hair = Brush::plain(look.hair);
    match look.style {
        Hair::Round => {
            canvas.ellipse(p(0.0, -14.0), r(48.0, 44.0), hair);
            canvas.ellipse(p(-34.0, 4.0), r(18.0, 22.0), hair);
            canvas.ellipse(p(34.0, 4.0), r(18.0, 22.0), hair);
        }
        Hair::Long => canvas.ellipse(p(0.0, -8.0), r(36.0, 38.0), hair),
        Hair::Cap | Hair::TopHat => {}
    }
    for side in [-1.0, 1.0] {
        canvas.ellipse(p(side * 30.0, 3.0), r(6.0, 8.0), Brush::plain(look.shade));
    }
    let skin = Brush::gradient(look.skin, look.skin);
    canvas.ellipse(p(0.0, 0.0), r(30.0, 35.0), skin);
    match look.style {
        Hair::Round => {
            canvas.slice(p(0.0, -4.0), r(31.0, 33.0), (cy - 40.0 * scale, cy - 22.0 * scale), hair);
            canvas.slice(
                p(0.0, -4.0),
                r(33.0, 33.0),
                (cy - 25.0 * scale, cy - 17.0 * scale),
                Brush::plain(look.accent),
            );
        }
        Hair::Cap => {
            canvas.slice(p(0.0, 4.0), r(30.5, 33.0), (cy + 13.0 * scale, cy + 40.0 * scale), hair);
            let cap = Brush::plain(look.accent);
            canvas.slice(p(0.0, -8.0), r(33.0, 32.0), (cy - 44.0 * scale, cy - 13.0 * scale), cap);
            canvas.stroke(p(-8.0, -14.0), p(-42.0, -11.0), 7.0 * scale, cap);
        }
        Hair::Long => {
            canvas.slice(p(0.0, -4.0), r(32.0, 33.0), (cy - 40.0 * scale, cy - 14.0 * scale), hair);
            canvas.ellipse(p(24.0, -22.0), r(7.0, 7.0), Brush::plain(look.accent));
        }
        Hair::TopHat => {
            let hat = Brush::gradient(0x2a_2244, look.hair);
            canvas.round_rect(
                Area::new(cx - 25.0 * scale, cy - 80.0 * scale, 50.0 * scale, 58.0 * scale),
                5.0 * scale,
                hat,
            );
            canvas.rect(
                Area::new(cx - 25.0 * scale, cy - 38.0 * scale, 50.0 * scale, 10.0 * scale),
                Brush::plain(look.accent),
            );
            canvas.stroke(p(-40.0, -25.0), p(40.0, -25.0), 8.0 * scale, Brush::plain(look.hair));
        }
    }
    for side in [-1.0, 1.0] {
        canvas.ellipse(p(side * 18.0, 10.0), r(6.5, 4.5), Brush::plain(0xff_7a80).alpha(0.3));
        let eye = p(side * 12.0, -2.0);
        let open = (1.0 - face.blink) * (1.0 + 0.35 * face.brow);
        canvas.ellipse(eye, r(6.6, 6.6 * open.max(0.14)), Brush::plain(0xff_faf2));
        let pupil = p(side * 12.0 + face.gaze * 2.4, -2.0);
        canvas.ellipse(pupil, r(3.6, 4.2 * open.clamp(0.2, 1.0)), Brush::plain(0x1c_1426));
        let lift = -13.0 - 5.0 * face.brow;
        canvas.stroke(
            p(side * 6.5, lift),
            p(side * 18.0, lift + 2.0 - 2.0 * face.brow),
            3.2 * scale,
            Brush::plain(look.hair),
        );
    }
    canvas.ellipse(p(face.gaze, 6.0), r(3.6, 4.4), Brush::plain(look.shade));
    if look.style == Hair::TopHat {
        canvas.stroke(p(-2.0, 13.0), p(-16.0, 10.0), 4.0 * scale, Brush::plain(look.hair));
        canvas.stroke(p(2.0, 13.0), p(16.0, 10.0), 4.0 * scale, Brush::plain(look.hair));
    }
    mouth(canvas, (cx, cy + 18.0 * scale), scale, face.mouth);
}

fn mouth(canvas: &mut Canvas, at: (f32, f32), scale: f32, open: f32) {
    let tall = (1.5 + 9.5 * open) * scale;
    let wide = (10.5 - 1.5 * open) * scale;
    if open < 0.12 {
        // Closed: a smile, the lower rim of an ellipse.
        let (rx, ry) = (10.0 * scale, 6.0 * scale);
        let inner = (8.6 * scale, 3.6 * scale);
        canvas.shape(at.1, at.1 + ry, Brush::plain(0x6a_2030), |y| {
            let dy = (y - at.1) / ry;
            let half = rx * (1.0 - dy * dy).max(0.0).sqrt();
            let hole = (y - at.1) / inner.1;
            (hole >= 0.55).then_some((at.0 - half, at.0 + half))
        });
        return;
    }
    canvas.ellipse(at, (wide, tall), Brush::plain(0x5a_1424));
    canvas.slice(
        at,
        (wide * 0.85, tall * 0.9),
        (at.1 - tall, at.1 - tall * 0.45),
        Brush::plain(0xff_fdf5),
    );
    canvas.slice(
        at,
        (wide * 0.7, tall * 0.85),
        (at.1 + tall * 0.3, at.1 + tall),
        Brush::plain(0xe8_5a6a),
    );
}

/// Draws somebody whole, in the air or running: `phase` moves the legs.
pub(super) fn runner(canvas: &mut Canvas, look: Look, at: (f32, f32), phase: f32, face: Face) {
    let (x, y) = at;
    let step = phase.sin();
    for side in [-1.0_f32, 1.0] {
        let hip = (x + side * 12.0, y + 64.0);
        let knee = (x + side * 14.0 + 16.0 * step * side, y + 96.0);
        let foot =
            (x + side * 12.0 + 26.0 * step * side, y + 124.0 - 10.0 * (step * side).max(0.0));
        canvas.stroke(hip, knee, 19.0, Brush::plain(0x2a_3a7a));
        canvas.stroke(knee, foot, 15.0, Brush::plain(0x2a_3a7a));
        canvas.stroke(foot, (foot.0 - 9.0, foot.1 + 2.0), 11.0, Brush::plain(0xff_f4e0));
    }
    if look.style == Hair::Long {
        canvas.round_rect(Area::new(x - 30.0, y - 78.0, 62.0, 84.0), 28.0, Brush::plain(look.hair));
    }
    canvas.round_rect(
        Area::new(x - 32.0, y - 6.0, 64.0, 84.0),
        24.0,
        Brush::gradient(look.shirt.0, look.shirt.1),
    );
    for side in [-1.0_f32, 1.0] {
        let shoulder = (x + side * 28.0, y + 8.0);
        let hand = (x + side * 58.0, y - 34.0 + 14.0 * step * side);
        canvas.stroke(shoulder, hand, 15.0, Brush::plain(look.skin));
    }
    head(canvas, look, (x, y - 38.0), 0.9, face);
}

/// Draws the cat with its paws at `at`, walking to the right; `stare` turns it to the camera.
pub(super) fn cat(canvas: &mut Canvas, at: (f32, f32), walk: f32, stare: f32) {
    let (x, y) = at;
    let fur = Brush::plain(0xf5_9a3c);
    let stripe = Brush::plain(0xc9_6a20);
    let cream = Brush::plain(0xff_e6c4);
    let wave = (walk * 1.1).sin();
    let mut tail = (x - 44.0, y - 38.0);
    for index in 1..=6 {
        let along = index as f32 / 6.0;
        let next = (
            x - 44.0 - 26.0 * along + 10.0 * wave * along,
            y - 38.0 - 46.0 * along * (1.3 - 0.3 * along),
        );
        canvas.stroke(tail, next, 10.0, if index % 2 == 0 { stripe } else { fur });
        tail = next;
    }
    for (index, leg) in [-34.0_f32, -20.0, 20.0, 34.0].into_iter().enumerate() {
        let swing = (walk * 2.0 + index as f32 * 1.9).sin() * 9.0 * (1.0 - stare);
        canvas.stroke((x + leg, y - 24.0), (x + leg + swing, y - 4.0), 11.0, fur);
        canvas.ellipse((x + leg + swing + 2.0, y - 3.0), (8.0, 4.5), cream);
    }
    canvas.ellipse((x, y - 36.0), (52.0, 22.0), fur);
    for offset in [-24.0_f32, -8.0, 8.0] {
        canvas.stroke((x + offset, y - 56.0), (x + offset - 3.0, y - 42.0), 6.0, stripe);
    }
    let head = (x + 50.0 - 6.0 * stare, y - 60.0 + 1.5 * wave);
    for side in [-1.0_f32, 1.0] {
        let ear = head.0 + side * 16.0;
        canvas.polygon(
            &[
                (ear - 10.0, head.1 - 12.0),
                (ear + 10.0, head.1 - 12.0),
                (ear + side * 5.0, head.1 - 36.0),
            ],
            fur,
        );
        canvas.polygon(
            &[
                (ear - 4.0, head.1 - 14.0),
                (ear + 4.0, head.1 - 14.0),
                (ear + side * 3.5, head.1 - 28.0),
            ],
            Brush::plain(0xff_a8a8),
        );
    }
    canvas.ellipse(head, (28.0, 24.0), fur);
    canvas.stroke((head.0, head.1 - 22.0), (head.0, head.1 - 13.0), 5.0, stripe);
    canvas.ellipse((head.0, head.1 + 10.0), (14.0, 9.0), cream);
    for side in [-1.0_f32, 1.0] {
        let eye = (head.0 + side * 11.0, head.1 - 3.0);
        canvas.ellipse(eye, (6.0, 5.0 + 3.0 * stare), Brush::plain(0xd8_f07a));
        canvas.ellipse(eye, (1.8 + 2.4 * stare, 4.6 + 2.4 * stare), Brush::plain(0x18_1420));
        for line in [-3.0_f32, 2.0] {
            canvas.stroke(
                (head.0 + side * 12.0, head.1 + 8.0),
                (head.0 + side * 34.0, head.1 + 7.0 + line),
                1.3,
                Brush::plain(0xff_f4e0).alpha(0.8),
            );
        }
    }
    canvas.ellipse((head.0, head.1 + 5.0), (3.4, 2.4), Brush::plain(0xe8_6a7a));
}
