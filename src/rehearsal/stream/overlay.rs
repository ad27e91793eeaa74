//! What lies over the stage: the host's camera, the clock, the hearts of the audience.

use super::canvas::{Area, Brush, Canvas};
use super::residents::{self, Face, Look};
use super::scenery::FACE_CAM;
use crate::rehearsal::chance::share;

/// Draws the host in the frame of the face camera.
pub(super) fn face_cam(canvas: &mut Canvas, look: Look, t: f32, face: Face, thrill: f32) {
    let (middle, chin) = face_at(t, thrill);
    canvas.round_rect(
        Area::new(middle - 88.0, chin + 66.0, 176.0, FACE_CAM.bottom() - chin - 66.0),
        42.0,
        Brush::plain(0xd9_9028),
    );
    canvas.round_rect(
        Area::new(middle - 24.0, chin + 46.0, 48.0, 44.0),
        14.0,
        Brush::plain(0x7a_452d),
    );
    residents::head(canvas, look, (middle, chin), 1.9, face);
    // Headset.
    let ear = Brush::plain(0x16_1428);
    for side in [-1.0_f32, 1.0] {
        let x = middle + side * 60.0;
        canvas.round_rect(Area::new(x - 10.0, chin - 16.0, 20.0, 42.0), 9.0, ear);
        canvas.round_rect(Area::new(x - 4.0, chin - 6.0, 8.0, 22.0), 4.0, Brush::plain(0xff_c94a));
    }
    canvas.stroke((middle + 60.0, chin + 22.0), (middle + 30.0, chin + 46.0), 4.0, ear);
    canvas.ellipse((middle + 28.0, chin + 47.0), (7.0, 5.0), ear);
}

/// The middle of the host's face.
pub(super) fn face_at(t: f32, thrill: f32) -> (f32, f32) {
    let bob = (t * 2.1).sin() * 2.0 - thrill * 8.0 * (t * 9.0).sin().abs();
    (FACE_CAM.left + 158.0 + (t * 0.7).sin() * 5.0, FACE_CAM.top + 118.0 + bob)
}

/// The clock counts from the start of the stream, above the stage.
pub(super) fn clock(canvas: &mut Canvas, t: f32) {
    let seconds = t as u32;
    let digits = [
        seconds / 36_000 % 10,
        seconds / 3600 % 10,
        seconds / 600 % 6,
        seconds / 60 % 10,
        seconds / 10 % 6,
        seconds % 10,
    ];
    canvas.round_rect(
        Area::new(536.0, 14.0, 208.0, 42.0),
        21.0,
        Brush::plain(0x0d_0a1c).alpha(0.78),
    );
    let pulse = if t.fract() < 0.5 { 1.0 } else { 0.35 };
    canvas.ellipse((559.0, 35.0), (7.0, 7.0), Brush::plain(0xff_3b50).alpha(pulse));
    let mut x = 578.0;
    for (index, digit) in digits.into_iter().enumerate() {
        if index == 2 || index == 4 {
            for y in [30.0, 41.0] {
                canvas.ellipse((x + 2.0, y), (2.0, 2.0), Brush::plain(0xff_f4e0));
            }
            x += 9.0;
        }
        segments(canvas, (x, 24.0), (14.0, 23.0), digit, Brush::plain(0xff_f4e0));
        x += 21.0;
    }
}

/// One digit in seven segments.
pub(super) fn segments(
    canvas: &mut Canvas,
    (x, y): (f32, f32),
    (w, h): (f32, f32),
    digit: u32,
    brush: Brush,
) {
    // Bits: top, top right, bottom right, bottom, bottom left, top left, middle.
    const LIT: [u8; 10] = [0x3f, 0x06, 0x5b, 0x4f, 0x66, 0x6d, 0x7d, 0x07, 0x7f, 0x6f];
    let lit = LIT[digit as usize % 10];
    let thick = h * 0.14;
    let half = h / 2.0;
    let ends = [
        ((x, y), (x + w, y)),
        ((x + w, y), (x + w, y + half)),
        ((x + w, y + half), (x + w, y + h)),
        ((x, y + h), (x + w, y + h)),
        ((x, y + half), (x, y + h)),
        ((x, y), (x, y + half)),
        ((x, y + half), (x + w, y + half)),
    ];
    for (bit, ((ax, ay), (bx, by))) in ends.into_iter().enumerate() {
        if lit >> bit & 1 == 0 {
            continue;
        }
        // Segments end short of each other, as on a real display.
        let (gap_x, gap_y) = if ay < by { (0.0, thick * 0.55) } else { (thick * 0.55, 0.0) };
        canvas.stroke((ax + gap_x, ay + gap_y), (bx - gap_x, by - gap_y), thick, brush);
    }
}

/// Hearts rise at the right edge: the more of them, the more the chat is writing.
pub(super) fn hearts(canvas: &mut Canvas, seed: u64, t: f32, rate: impl Fn(f32) -> f32) {
    const LIFE_S: f32 = 3.2;
    const SLOTS_PER_S: f32 = 9.0;
    let first = ((t - LIFE_S) * SLOTS_PER_S).ceil().max(0.0) as u64;
    let last = (t * SLOTS_PER_S) as u64;
    for slot in first..=last {
        let born = slot as f32 / SLOTS_PER_S;
        if share(seed ^ 0x6865_6172, slot) > rate(born) {
            continue;
        }
        let age = (t - born) / LIFE_S;
        let lane = share(seed ^ 0x6c61_6e65, slot);
        let x = 1130.0 + lane * 100.0 + (age * 9.0 + lane * 6.0).sin() * 14.0;
        let y = 690.0 - age * 330.0;
        let size = (6.0 + 7.0 * share(seed ^ 0x7369_7a65, slot)) * (age * 8.0).min(1.0);
        let hex = [0xff_4a6a, 0xff_8fb0, 0xff_c94a, 0x8a_6af0][(slot % 4) as usize];
        let brush = Brush::plain(hex).alpha((1.0 - age).clamp(0.0, 1.0).sqrt() * 0.9);
        for side in [-0.5_f32, 0.5] {
            canvas.ellipse((x + side * size, y - size * 0.3), (size * 0.58, size * 0.58), brush);
        }
        canvas.polygon(
            &[(x - size, y - size * 0.12), (x + size, y - size * 0.12), (x, y + size * 1.05)],
            brush,
        );
    }
}
