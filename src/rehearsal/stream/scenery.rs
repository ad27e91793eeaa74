//! What does not move, painted once: the terrace of a villa at night, its screen and its pool.

use super::canvas::{Area, Brush, Canvas, Ink, STAGE, Yuv420};
use crate::rehearsal::chance::{Dice, noise, share};

/// The host's camera, a picture in the picture (3:2, as a split reel shows it).
pub(super) const FACE_CAM: Area = Area::new(24.0, 472.0, 336.0, 224.0);
/// What a split reel shows under the face: the stage, without the host's camera (9:10).
pub(super) const STAGE_VIEW: Area = Area::new(368.0, 100.0, 544.0, 604.0);
/// The screen behind the residents.
pub(super) const SCREEN: Area = Area::new(478.0, 136.0, 324.0, 164.0);
pub(super) const TABLE: Area = Area::new(456.0, 520.0, 368.0, 16.0);
/// The edge of the pool nearest to the stage.
pub(super) const POOL_TOP: f32 = 628.0;
pub(super) const POOL_BOTTOM: f32 = 712.0;
pub(super) const LAMPS: [f32; 4] = [436.0, 566.0, 714.0, 844.0];
pub(super) const LAMP_Y: f32 = 92.0;

/// The unmoving picture, copied under every frame.
pub(super) struct Scenery {
    planes: [Vec<u8>; 3],
    widths: [usize; 3],
}

impl Scenery {
    pub(super) fn paint(seed: u64, width: usize, height: usize) -> Self {
        let widths = [width, width / 2, width / 2];
        let mut planes = [
            vec![16; width * height],
            vec![128; width / 2 * (height / 2)],
            vec![128; width / 2 * (height / 2)],
        ];
        let [y, u, v] = &mut planes;
        let mut picture = Yuv420 { planes: [y, u, v], strides: widths };
        let mut canvas = Canvas { picture: &mut picture, size: (width, height) };
        sky(&mut canvas, seed);
        walls(&mut canvas);
        floor(&mut canvas);
        screen(&mut canvas);
        pool(&mut canvas);
        face_cam(&mut canvas);
        Self { planes, widths }
    }

    pub(super) fn copy_to(&self, picture: &mut Yuv420) {
        for (index, plane) in self.planes.iter().enumerate() {
            let stride = picture.strides[index];
            let lines = plane.chunks_exact(self.widths[index]);
            for (line, out) in lines.zip(picture.planes[index].chunks_mut(stride)) {
                out[..line.len()].copy_from_slice(line);
            }
        }
    }
}

const SKY: [(f32, Ink); 5] = [
    (0.0, Ink::rgb(0x0a_0d2e)),
    (190.0, Ink::rgb(0x1f_1b57)),
    (320.0, Ink::rgb(0x5a_2f7a)),
    (410.0, Ink::rgb(0xc8_5a86)),
    (470.0, Ink::rgb(0xf2_a07a)),
];

fn sky(canvas: &mut Canvas, seed: u64) {
    let (width, height) = canvas.size;
    for plane in 0..3 {
        let half = usize::from(plane > 0);
        let (across, lines) = (width >> half, height >> half);
        let stride = canvas.picture.strides[plane];
        for line in 0..lines {
            let y = (line as f32 + 0.5) / lines as f32 * STAGE.1;
            let above = SKY.iter().rposition(|stop| stop.0 <= y).unwrap_or(0).min(SKY.len() - 2);
            let (from, to) = (SKY[above], SKY[above + 1]);
            let part = ((y - from.0) / (to.0 - from.0)).clamp(0.0, 1.0);
            let (a, b) = (f32::from(from.1.0[plane]), f32::from(to.1.0[plane]));
            for column in 0..across {
                // Dither: the sky would band without it.
                let grain = noise(seed ^ 0x7, (line * across + column) as u64) * 0.5;
                let value = a + (b - a) * part + grain + 0.5;
                canvas.picture.planes[plane][line * stride + column] = value as u8;
            }
        }
    }
    let mut dice = Dice::new(seed ^ 0x57a2);
    for _ in 0..150 {
        let place = (dice.between(0.0, STAGE.0), dice.between(0.0, 300.0));
        let size = dice.between(0.6, 1.7);
        let bright = dice.between(0.35, 0.95) * (1.0 - place.1 / 400.0);
        canvas.ellipse(place, (size, size), Brush::plain(0xff_f6e0).alpha(bright));
    }
    canvas.glow((1062.0, 196.0), 120.0, Ink::rgb(0xff_e9b8), 0.35);
    canvas.ellipse((1062.0, 196.0), (34.0, 34.0), Brush::gradient(0xff_f7dc, 0xff_dfa0));
    for (x, y, r) in [(1052.0, 186.0, 6.0), (1072.0, 202.0, 8.0), (1060.0, 214.0, 4.0)] {
        canvas.ellipse((x, y), (r, r), Brush::plain(0xe8_c890).alpha(0.55));
    }
    for (x, rx, ry, hex) in [
        (120.0, 360.0, 90.0, 0x4a_2a66),
        (980.0, 420.0, 110.0, 0x3d_2460),
        (560.0, 380.0, 64.0, 0x2c_1b4e),
        (1240.0, 300.0, 70.0, 0x24_1745),
    ] {
        canvas.ellipse((x, 475.0), (rx, ry), Brush::plain(hex));
    }
    for (x, tall) in
        [(150.0, 150.0), (186.0, 110.0), (342.0, 130.0), (954.0, 140.0), (1120.0, 120.0)]
    {
        canvas.ellipse((x, 470.0 - tall / 2.0), (11.0, tall / 2.0), Brush::plain(0x14_1233));
    }
    // A village on the far hill.
    for index in 0..26 {
        let x = 60.0 + share(seed ^ 0x5b, index) * 1160.0;
        let y = 440.0 + share(seed ^ 0x5c, index) * 24.0;
        canvas.ellipse((x, y), (1.6, 1.6), Brush::plain(0xff_d27a).alpha(0.85));
    }
}

/// Middle, half width, spring line of the three arches.
const ARCHES: [(f32, f32, f32); 3] =
    [(206.0, 138.0, 232.0), (640.0, 214.0, 262.0), (1074.0, 138.0, 232.0)];
const WALL_BOTTOM: f32 = 474.0;

fn walls(canvas: &mut Canvas) {
    let edges = |y: f32, (cx, half, spring): (f32, f32, f32)| {
        let open = if y >= spring {
            half
        } else {
            let dy = (spring - y) / half;
            if dy >= 1.0 {
                return None;
            }
            half * (1.0 - dy * dy).sqrt()
        };
        Some((cx - open, cx + open))
    };
    // The wall is what lies between the arches: one piece from each opening to the next.
    let wall = Brush::gradient(0x2b_2144, 0x6a_4152);
    for piece in 0..4 {
        canvas.shape(0.0, WALL_BOTTOM, wall, |y| {
            let left = match piece {
                0 => 0.0,
                _ => edges(y, ARCHES[piece - 1]).map_or(ARCHES[piece - 1].0, |e| e.1),
            };
            let right = match piece {
                3 => STAGE.0,
                _ => edges(y, ARCHES[piece]).map_or(ARCHES[piece].0, |e| e.0),
            };
            Some((left, right))
        });
    }
    let trim = Brush::gradient(0xe8_b98a, 0xc9_8a6c);
    for (cx, half, spring) in ARCHES {
        let outer = half + 9.0;
        for side in [-1.0_f32, 1.0] {
            let x = if side < 0.0 { cx - outer } else { cx + half };
            canvas.rect(Area::new(x, spring, 9.0, WALL_BOTTOM - spring), trim);
            canvas.shape(spring - outer, spring, Brush::plain(0xe8_b98a), |y| {
                let dy = spring - y;
                let out = (outer * outer - dy * dy).max(0.0).sqrt();
                let inner = (half * half - dy * dy).max(0.0).sqrt();
                Some(if side < 0.0 { (cx - out, cx - inner) } else { (cx + inner, cx + out) })
            });
        }
    }
    // Wall lamps between the arches, and bougainvillea.
    for x in [386.0, 894.0] {
        canvas.glow((x, 300.0), 110.0, Ink::rgb(0xff_b45a), 0.55);
        canvas.round_rect(
            Area::new(x - 9.0, 286.0, 18.0, 30.0),
            8.0,
            Brush::gradient(0xff_f0c0, 0xff_c060),
        );
    }
    let mut dice = Dice::new(11);
    for side in [30.0_f32, 1250.0] {
        for _ in 0..90 {
            let place = (side + dice.between(-44.0, 44.0), dice.between(-6.0, 190.0));
            let size = dice.between(3.0, 8.0);
            let hex = dice.pick(&[0x2f_6b4f, 0x3b_8057, 0xd9_3b86, 0xe8_5ba0, 0xf2_86bd]);
            canvas.ellipse(place, (size, size * 0.8), Brush::plain(hex).alpha(0.9));
        }
    }
}

fn floor(canvas: &mut Canvas) {
    let area = Area::new(0.0, WALL_BOTTOM, STAGE.0, STAGE.1 - WALL_BOTTOM);
    canvas.rect(area, Brush::gradient(0x5d_3440, 0xa0_5b48));
    let mortar = Brush::plain(0x3f_2436).alpha(0.45);
    for index in -14..=14 {
        let x = 640.0 + index as f32 * 62.0;
        let below = 640.0 + index as f32 * 150.0;
        canvas.polygon(
            &[
                (x - 0.7, WALL_BOTTOM),
                (x + 0.7, WALL_BOTTOM),
                (below + 2.0, 720.0),
                (below - 2.0, 720.0),
            ],
            mortar,
        );
    }
    for (line, thick) in [(488.0, 1.2), (508.0, 1.5), (534.0, 1.8), (570.0, 2.2), (618.0, 2.8)] {
        canvas.rect(Area::new(0.0, line, STAGE.0, thick), mortar);
    }
    canvas.rect(Area::new(0.0, WALL_BOTTOM, STAGE.0, 7.0), Brush::plain(0x2a_1a30).fade(0.7, 0.0));
    // The round carpet of the stage.
    canvas.ellipse((640.0, 572.0), (246.0, 36.0), Brush::plain(0x7d_2f57));
    canvas.ellipse((640.0, 572.0), (230.0, 31.0), Brush::plain(0xf0_b35b));
    canvas.ellipse((640.0, 572.0), (221.0, 28.5), Brush::plain(0x8f_3563));
}

fn screen(canvas: &mut Canvas) {
    canvas.rect(Area::new(404.0, 72.0, 472.0, 7.0), Brush::gradient(0x55_4f70, 0x2a_2740));
    for x in LAMPS {
        canvas.polygon(
            &[(x - 9.0, 78.0), (x + 9.0, 78.0), (x + 15.0, LAMP_Y), (x - 15.0, LAMP_Y)],
            Brush::gradient(0x3b_3654, 0x1b_1930),
        );
    }
    for x in [SCREEN.left + 18.0, SCREEN.right() - 24.0] {
        canvas.rect(Area::new(x, 79.0, 6.0, 60.0), Brush::plain(0x2a_2740));
        canvas.rect(Area::new(x, SCREEN.bottom(), 6.0, 190.0), Brush::plain(0x1d_1a30));
    }
    canvas.round_rect(SCREEN.inset(-8.0), 12.0, Brush::gradient(0x3d_3960, 0x1c_1a33));
    canvas.round_rect(SCREEN, 6.0, Brush::gradient(0x10_0d26, 0x17_1235));
    for x in [388.0, 892.0] {
        let speaker = Area::new(x - 27.0, 398.0, 54.0, 108.0);
        canvas.round_rect(speaker, 6.0, Brush::gradient(0x2c_2940, 0x14_1222));
        canvas.ellipse((x, 424.0), (12.0, 12.0), Brush::plain(0x4b_4668));
        canvas.ellipse((x, 470.0), (21.0, 21.0), Brush::plain(0x4b_4668));
        canvas.ellipse((x, 470.0), (9.0, 9.0), Brush::plain(0x1b_182c));
    }
}

fn pool(canvas: &mut Canvas) {
    canvas.polygon(
        &[(392.0, 612.0), (888.0, 612.0), (926.0, 720.0), (366.0, 720.0)],
        Brush::gradient(0xe9_d9c0, 0xbf_a68c),
    );
    canvas.polygon(&pool_corners(), Brush::gradient(0x2f_c4cf, 0x0f_6d9b));
    canvas.polygon(
        &[(406.0, POOL_TOP), (874.0, POOL_TOP), (877.0, 640.0), (403.0, 640.0)],
        Brush::plain(0x0a_4f78).fade(0.5, 0.0),
    );
}

pub(super) const fn pool_corners() -> [(f32, f32); 4] {
    [(406.0, POOL_TOP), (874.0, POOL_TOP), (900.0, POOL_BOTTOM), (384.0, POOL_BOTTOM)]
}

fn face_cam(canvas: &mut Canvas) {
    canvas.round_rect(FACE_CAM.inset(-6.0), 18.0, Brush::plain(0x0d_0a1c).alpha(0.35));
    canvas.round_rect(FACE_CAM.inset(-3.0), 15.0, Brush::gradient(0xff_b45a, 0xd9_3b86));
    canvas.round_rect(FACE_CAM, 12.0, Brush::gradient(0x2d_2458, 0x4d_2f62));
    // A room with a shelf, a plant and a lamp.
    canvas.glow((88.0, 530.0), 80.0, Ink::rgb(0xff_a860), 0.7);
    canvas.rect(Area::new(252.0, 540.0, 96.0, 5.0), Brush::plain(0x8a_5a4a));
    for (x, w, h, hex) in [
        (258.0, 9.0, 34.0, 0xd9_5b5b),
        (269.0, 11.0, 28.0, 0xf0_b35b),
        (282.0, 8.0, 36.0, 0x4a_9aa8),
        (292.0, 10.0, 30.0, 0xe8_85b0),
    ] {
        canvas.rect(Area::new(x, 540.0 - h, w, h), Brush::plain(hex));
    }
    canvas.round_rect(Area::new(318.0, 522.0, 18.0, 18.0), 4.0, Brush::plain(0xc9_7a5a));
    for (x, y) in [(318.0, 512.0), (327.0, 504.0), (336.0, 512.0)] {
        canvas.ellipse((x, y), (6.0, 13.0), Brush::plain(0x4f_a06a));
    }
    canvas.polygon(
        &[(74.0, 520.0), (102.0, 520.0), (110.0, 544.0), (66.0, 544.0)],
        Brush::gradient(0xff_f0c0, 0xff_c878),
    );
    canvas.rect(Area::new(86.0, 544.0, 4.0, 40.0), Brush::plain(0x8a_5a4a));
}
