//! Draws smooth convex shapes straight into YUV 4:2:0 planes, in the units of a 1280×720 picture.

/// A picture to draw into: planes Y, U, V (BT.709, limited range) with their strides in bytes.
/// Chroma planes have half the width and height.
#[derive(Debug)]
pub struct Yuv420<'a> {
    pub planes: [&'a mut [u8]; 3],
    pub strides: [usize; 3],
}

/// Lines of the picture all coordinates are thought in.
pub(super) const STAGE: (f32, f32) = (1280.0, 720.0);

/// A colour as it is written into the planes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ink(pub(super) [u8; 3]);

impl Ink {
    /// From 0xRRGGBB (BT.709, limited range).
    pub(super) const fn rgb(hex: u32) -> Self {
        let [_, red, green, blue] = hex.to_be_bytes();
        let (r, g, b) = (red as i32, green as i32, blue as i32);
        Self([
            (16 + ((47 * r + 157 * g + 16 * b + 128) >> 8)) as u8,
            (128 + ((-26 * r - 86 * g + 112 * b + 128) >> 8)) as u8,
            (128 + ((112 * r - 102 * g - 10 * b + 128) >> 8)) as u8,
        ])
    }

    pub(super) fn towards(self, other: Self, share: f32) -> Self {
        let share = (share.clamp(0.0, 1.0) * 256.0) as i32;
        let mut mixed = self.0;
        for (mine, theirs) in mixed.iter_mut().zip(other.0) {
            *mine =
                (i32::from(*mine) + (((i32::from(theirs) - i32::from(*mine)) * share) >> 8)) as u8;
        }
        Self(mixed)
    }
}

/// Colour and opacity from the top of a shape to its bottom.
#[derive(Debug, Clone, Copy)]
pub(super) struct Brush {
    top: Ink,
    bottom: Ink,
    alpha: (f32, f32),
}

impl Brush {
    pub(super) const fn plain(hex: u32) -> Self {
        let ink = Ink::rgb(hex);
        Self { top: ink, bottom: ink, alpha: (1.0, 1.0) }
    }

    pub(super) const fn gradient(top: u32, bottom: u32) -> Self {
        Self { top: Ink::rgb(top), bottom: Ink::rgb(bottom), alpha: (1.0, 1.0) }
    }

    pub(super) const fn ink(ink: Ink) -> Self {
        Self { top: ink, bottom: ink, alpha: (1.0, 1.0) }
    }

    pub(super) const fn fade(self, top: f32, bottom: f32) -> Self {
        Self { alpha: (top, bottom), ..self }
    }

    pub(super) const fn alpha(self, alpha: f32) -> Self {
        self.fade(alpha, alpha)
    }
}

/// The planes, their size and what a unit is worth in them.
pub(super) struct Canvas<'a, 'b> {
    pub(super) picture: &'a mut Yuv420<'b>,
    pub(super) size: (usize, usize),
}

impl Canvas<'_, '_> {
    /// Width, height and units per sample of a plane.
    fn plane_size(&self, plane: usize) -> (usize, usize, f32, f32) {
        let (w, h) = self.size;
        let (w, h) = if plane == 0 { (w, h) } else { (w / 2, h / 2) };
        (w, h, STAGE.0 / w as f32, STAGE.1 / h as f32)
    }

    /// Fills the shape whose extent on line `y` is `row(y)`, between `top` and `bottom`.
    pub(super) fn shape(
        &mut self,
        top: f32,
        bottom: f32,
        brush: Brush,
        row: impl Fn(f32) -> Option<(f32, f32)>,
    ) {
        if bottom <= top || (brush.alpha.0 <= 0.0 && brush.alpha.1 <= 0.0) {
            return;
        }
        for plane in 0..3 {
            let (w, h, unit_x, unit_y) = self.plane_size(plane);
            let stride = self.picture.strides[plane];
            let first = (top / unit_y).floor().max(0.0) as usize;
            let last = ((bottom / unit_y).ceil().max(0.0) as usize).min(h);
            for line in first..last {
                let middle = (line as f32 + 0.5) * unit_y;
                let down = ((middle - top) / (bottom - top)).clamp(0.0, 1.0);
                let alpha = brush.alpha.0 + (brush.alpha.1 - brush.alpha.0) * down;
                let alpha = (alpha.clamp(0.0, 1.0) * 256.0) as i32;
                let ink = if brush.top == brush.bottom {
                    brush.top.0[plane]
                } else {
                    brush.top.towards(brush.bottom, down).0[plane]
                };
                let mut spans = [(0.0_f32, 0.0_f32); SUBLINES];
                let mut any = false;
                for (part, span) in spans.iter_mut().enumerate() {
                    let y = (line as f32 + (part as f32 + 0.5) / SUBLINES as f32) * unit_y;
                    if y < top || y > bottom {
                        continue;
                    }
                    if let Some((left, right)) = row(y) {
                        *span = ((left / unit_x).max(0.0), (right / unit_x).min(w as f32));
                        any |= span.1 > span.0;
                    }
                }
                if any {
                    let pixels = &mut self.picture.planes[plane][line * stride..line * stride + w];
                    fill_line(pixels, &spans, i32::from(ink), alpha);
                }
            }
        }
    }

    pub(super) fn ellipse(&mut self, (cx, cy): (f32, f32), (rx, ry): (f32, f32), brush: Brush) {
        self.shape(cy - ry, cy + ry, brush, |y| {
            let dy = (y - cy) / ry;
            let half = rx * (1.0 - dy * dy).max(0.0).sqrt();
            Some((cx - half, cx + half))
        });
    }

    /// The part of an ellipse between two lines.
    pub(super) fn slice(
        &mut self,
        (cx, cy): (f32, f32),
        (rx, ry): (f32, f32),
        (top, bottom): (f32, f32),
        brush: Brush,
    ) {
        self.shape(top.max(cy - ry), bottom.min(cy + ry), brush, |y| {
            let dy = (y - cy) / ry;
            let half = rx * (1.0 - dy * dy).max(0.0).sqrt();
            Some((cx - half, cx + half))
        });
    }

    pub(super) fn rect(&mut self, area: Area, brush: Brush) {
        self.shape(area.top, area.bottom(), brush, |_| Some((area.left, area.right())));
    }

    pub(super) fn round_rect(&mut self, area: Area, radius: f32, brush: Brush) {
        let radius = radius.min(area.width / 2.0).min(area.height / 2.0);
        self.shape(area.top, area.bottom(), brush, |y| {
            let into = (area.top + radius - y).max(y - (area.bottom() - radius)).max(0.0);
            let inset = radius - (radius * radius - into * into).max(0.0).sqrt();
            Some((area.left + inset, area.right() - inset))
        });
    }

    /// A convex polygon.
    pub(super) fn polygon(&mut self, corners: &[(f32, f32)], brush: Brush) {
        let top = corners.iter().map(|c| c.1).fold(f32::INFINITY, f32::min);
        let bottom = corners.iter().map(|c| c.1).fold(f32::NEG_INFINITY, f32::max);
        self.shape(top, bottom, brush, |y| {
            let mut left = f32::INFINITY;
            let mut right = f32::NEG_INFINITY;
            let mut before = corners[corners.len() - 1];
            for &corner in corners {
                if (before.1 <= y) != (corner.1 <= y) {
                    let x =
                        before.0 + (y - before.1) / (corner.1 - before.1) * (corner.0 - before.0);
                    left = left.min(x);
                    right = right.max(x);
                }
                before = corner;
            }
            (left < right).then_some((left, right))
        });
    }

    /// A line with round ends.
    pub(super) fn stroke(&mut self, a: (f32, f32), b: (f32, f32), width: f32, brush: Brush) {
        let (dx, dy) = (b.0 - a.0, b.1 - a.1);
        let length = dx.hypot(dy).max(1e-3);
        let (nx, ny) = (-dy / length * width / 2.0, dx / length * width / 2.0);
        self.polygon(
            &[
                (a.0 + nx, a.1 + ny),
                (b.0 + nx, b.1 + ny),
                (b.0 - nx, b.1 - ny),
                (a.0 - nx, a.1 - ny),
            ],
            brush,
        );
        self.ellipse(a, (width / 2.0, width / 2.0), brush);
        self.ellipse(b, (width / 2.0, width / 2.0), brush);
    }

    /// A soft light around a point.
    pub(super) fn glow(&mut self, (cx, cy): (f32, f32), radius: f32, ink: Ink, strength: f32) {
        for plane in 0..3 {
            let (w, h, unit_x, unit_y) = self.plane_size(plane);
            let stride = self.picture.strides[plane];
            let first = ((cy - radius) / unit_y).max(0.0) as usize;
            let last = (((cy + radius) / unit_y).max(0.0) as usize).min(h);
            let left = ((cx - radius) / unit_x).max(0.0) as usize;
            let right = (((cx + radius) / unit_x).max(0.0) as usize).min(w);
            let target = f32::from(ink.0[plane]);
            for line in first..last {
                let dy = ((line as f32 + 0.5) * unit_y - cy) / radius;
                for column in left..right {
                    let dx = ((column as f32 + 0.5) * unit_x - cx) / radius;
                    let near = 1.0 - dx * dx - dy * dy;
                    if near > 0.0 {
                        let pixel = &mut self.picture.planes[plane][line * stride + column];
                        let now = f32::from(*pixel);
                        *pixel = (now + (target - now) * (near * near * strength) + 0.5) as u8;
                    }
                }
            }
        }
    }

    /// Leaves `share` of the light of the whole picture.
    pub(super) fn dim(&mut self, share: f32) {
        let keep = (share.clamp(0.0, 1.0) * 256.0) as i32;
        for plane in 0..3 {
            let (w, h, ..) = self.plane_size(plane);
            let stride = self.picture.strides[plane];
            let dark = if plane == 0 { 16 } else { 128 };
            // Looked up, not computed: a table of 256 answers serves a million samples.
            let mut table = [0_u8; 256];
            for (value, answer) in (0_i32..).zip(&mut table) {
                *answer = (dark + (((value - dark) * keep) >> 8)) as u8;
            }
            for line in 0..h {
                for pixel in &mut self.picture.planes[plane][line * stride..line * stride + w] {
                    *pixel = table[*pixel as usize];
                }
            }
        }
    }
}

const SUBLINES: usize = 4;

/// Blends one line of samples; the spans are the shape's extent on each sub-line.
fn fill_line(pixels: &mut [u8], spans: &[(f32, f32); SUBLINES], ink: i32, alpha: i32) {
    let mut left = f32::INFINITY;
    let mut right = 0.0_f32;
    let mut inner_left = 0.0_f32;
    let mut inner_right = f32::INFINITY;
    for &(from, to) in spans {
        if to > from {
            left = left.min(from);
            right = right.max(to);
        }
        inner_left = inner_left.max(from);
        inner_right = inner_right.min(to);
    }
    let end = (right.ceil() as usize).min(pixels.len());
    let start = (left as usize).min(end);
    let solid_start = (inner_left.ceil() as usize).clamp(start, end);
    let solid_end = (inner_right as usize).clamp(solid_start, end);
    let blend = |pixel: &mut u8, alpha: i32| {
        let now = i32::from(*pixel);
        *pixel = (now + (((ink - now) * alpha + 128) >> 8)) as u8;
    };
    let edge = |pixels: &mut [u8], from: usize, to: usize| {
        for (column, pixel) in pixels.iter_mut().enumerate().take(to).skip(from) {
            let column = column as f32;
            let covered: f32 = spans
                .iter()
                .map(|&(a, b)| (b.min(column + 1.0) - a.max(column)).clamp(0.0, 1.0))
                .sum();
            blend(pixel, (covered * alpha as f32 / SUBLINES as f32) as i32);
        }
    };
    edge(pixels, start, solid_start);
    if alpha >= 256 {
        pixels[solid_start..solid_end].fill(ink as u8);
    } else {
        for pixel in &mut pixels[solid_start..solid_end] {
            blend(pixel, alpha);
        }
    }
    edge(pixels, solid_end, end);
}

/// A rectangle in the units of a 1280×720 picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Area {
    pub(super) left: f32,
    pub(super) top: f32,
    pub(super) width: f32,
    pub(super) height: f32,
}

impl Area {
    pub(super) const fn new(left: f32, top: f32, width: f32, height: f32) -> Self {
        Self { left, top, width, height }
    }

    pub(super) const fn right(&self) -> f32 {
        self.left + self.width
    }

    pub(super) const fn bottom(&self) -> f32 {
        self.top + self.height
    }

    /// The same rectangle, `by` smaller on each side.
    pub(super) const fn inset(&self, by: f32) -> Self {
        Self::new(self.left + by, self.top + by, self.width - 2.0 * by, self.height - 2.0 * by)
    }
}
