//! Bits of parameter sets: what a picture is like (ITU-T H.264 7.3.2.1.1, H.265 7.3.2.2), how fast sound runs
//! (ISO/IEC 14496-3 1.6.2.1).

/// What a sequence parameter set says of its pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Pixels, cropped.
    pub width: u32,
    pub height: u32,
    /// `chroma_format_idc`: 1 is 4:2:0.
    pub chroma: u8,
    /// Bits a sample beyond eight.
    pub luma_depth: u8,
    pub chroma_depth: u8,
}

/// Reads bits, the highest first. What is not there is `None`.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Bits<'a> {
    const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn bit(&mut self) -> Option<u32> {
        let byte = *self.bytes.get(self.at / 8)?;
        let bit = byte >> (7 - self.at % 8) & 1;
        self.at += 1;
        Some(u32::from(bit))
    }

    fn read(&mut self, bits: u32) -> Option<u32> {
        (0..bits).try_fold(0_u32, |value, _| Some(value << 1 | self.bit()?))
    }

    fn skip(&mut self, bits: usize) {
        self.at += bits;
    }

    /// An unsigned Exp-Golomb number.
    fn golomb(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while self.bit()? == 0 {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        let rest = self.read(zeros)?;
        Some((1_u32 << zeros) - 1 + rest)
    }

    fn signed(&mut self) -> Option<i32> {
        let coded = i64::from(self.golomb()?);
        let value = if coded % 2 == 0 { -(coded / 2) } else { coded / 2 + 1 };
        i32::try_from(value).ok()
    }
}

/// A unit without the bytes that keep start codes out of it.
pub fn unescaped(unit: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(unit.len());
    let mut zeros = 0;
    for byte in unit {
        if *byte == 3 && zeros >= 2 {
            zeros = 0;
            continue;
        }
        zeros = if *byte == 0 { zeros + 1 } else { 0 };
        out.push(*byte);
    }
    out
}

/// Width and height of the first parameter set of an `avcC`, cropped.
pub fn avc_size(config: &[u8]) -> Option<(u32, u32)> {
    let length = usize::from(u16::from_be_bytes([*config.get(6)?, *config.get(7)?]));
    let shape = avc_shape(config.get(8..8 + length)?)?;
    Some((shape.width, shape.height))
}

/// What a sequence parameter set of H.264 says.
pub fn avc_shape(unit: &[u8]) -> Option<Shape> {
    let unit = unescaped(unit);
    let profile = *unit.get(1)?;
    let mut bits = Bits::new(unit.get(4..)?);
    bits.golomb()?;
    let (mut chroma, mut depths) = (1, (0, 0));
    if matches!(profile, 44 | 83 | 86 | 100 | 110 | 118 | 122 | 128 | 134 | 135 | 138 | 139 | 244) {
        chroma = bits.golomb()?;
        if chroma == 3 {
            bits.skip(1);
        }
        depths = (bits.golomb()?, bits.golomb()?);
        bits.skip(1);
        if bits.bit()? == 1 {
            for list in 0..if chroma == 3 { 12 } else { 8 } {
                if bits.bit()? == 1 {
                    scaling_list(&mut bits, if list < 6 { 16 } else { 64 })?;
                }
            }
        }
    }
    bits.golomb()?;
    match bits.golomb()? {
        0 => {
            bits.golomb()?;
        }
        1 => {
            bits.skip(1);
            bits.signed()?;
            bits.signed()?;
            let cycle = bits.golomb()?;
            if cycle > 255 {
                return None;
            }
            for _ in 0..cycle {
                bits.signed()?;
            }
        }
        _ => {}
    }
    bits.golomb()?;
    bits.skip(1);
    let width = bits.golomb()?.checked_add(1)?.checked_mul(16)?;
    let map = bits.golomb()?.checked_add(1)?;
    let frames_only = bits.bit()?;
    if frames_only == 0 {
        bits.skip(1);
    }
    let height = map.checked_mul(16)?.checked_mul(2 - frames_only)?;
    bits.skip(1);
    let (mut across, mut down) = (0, 0);
    if bits.bit()? == 1 {
        let (left, right) = (bits.golomb()?, bits.golomb()?);
        let (top, bottom) = (bits.golomb()?, bits.golomb()?);
        let (x, y) = match chroma {
            1 => (2, 2),
            2 => (2, 1),
            _ => (1, 1),
        };
        across = left.checked_add(right)?.checked_mul(x)?;
        down = top.checked_add(bottom)?.checked_mul(y * (2 - frames_only))?;
    }
    shape(width.checked_sub(across)?, height.checked_sub(down)?, chroma, depths)
}

fn shape(width: u32, height: u32, chroma: u32, depths: (u32, u32)) -> Option<Shape> {
    let (width, height) = sized(width, height)?;
    let small = |value: u32, most| u8::try_from(value).ok().filter(|value| *value <= most);
    let (luma_depth, chroma_depth) = (small(depths.0, 8)?, small(depths.1, 8)?);
    Some(Shape { width, height, chroma: small(chroma, 3)?, luma_depth, chroma_depth })
}

fn scaling_list(bits: &mut Bits<'_>, size: u32) -> Option<()> {
    let (mut last, mut next) = (8_i64, 8_i64);
    for _ in 0..size {
        if next != 0 {
            next = (last + i64::from(bits.signed()?) + 256) % 256;
        }
        if next != 0 {
            last = next;
        }
    }
    Some(())
}

/// Width and height of the first sequence parameter set of an `hvcC`, cropped.
pub fn hevc_size(config: &[u8]) -> Option<(u32, u32)> {
    let arrays = *config.get(22)?;
    let mut at = 23;
    for _ in 0..arrays {
        let kind = config.get(at)? & 0x3f;
        let units = u16::from_be_bytes([*config.get(at + 1)?, *config.get(at + 2)?]);
        at += 3;
        for _ in 0..units {
            let length = usize::from(u16::from_be_bytes([*config.get(at)?, *config.get(at + 1)?]));
            let unit = config.get(at + 2..at + 2 + length)?;
            if kind == 33 {
                return hevc_shape(unit).map(|shape| (shape.width, shape.height));
            }
            at += 2 + length;
        }
    }
    None
}

/// What a sequence parameter set of HEVC says.
pub fn hevc_shape(unit: &[u8]) -> Option<Shape> {
    let unit = unescaped(unit);
    let mut bits = Bits::new(unit.get(2..)?);
    bits.skip(4);
    let sub_layers = bits.read(3)? as usize;
    bits.skip(1 + 88 + 8);
    if sub_layers > 0 {
        let mut told = Vec::with_capacity(sub_layers);
        for layer in 0..8 {
            let (profile, level) = (bits.bit()?, bits.bit()?);
            if layer < sub_layers {
                told.push(88 * profile as usize + 8 * level as usize);
            }
        }
        for layer in told {
            bits.skip(layer);
        }
    }
    bits.golomb()?;
    let chroma = bits.golomb()?;
    if chroma == 3 {
        bits.skip(1);
    }
    let (width, height) = (bits.golomb()?, bits.golomb()?);
    let (mut across, mut down) = (0, 0);
    if bits.bit()? == 1 {
        let (left, right) = (bits.golomb()?, bits.golomb()?);
        let (top, bottom) = (bits.golomb()?, bits.golomb()?);
        let (x, y) = match chroma {
            1 => (2, 2),
            2 => (2, 1),
            _ => (1, 1),
        };
        across = left.checked_add(right)?.checked_mul(x)?;
        down = top.checked_add(bottom)?.checked_mul(y)?;
    }
    let depths = (bits.golomb()?, bits.golomb()?);
    shape(width.checked_sub(across)?, height.checked_sub(down)?, chroma, depths)
}

/// A size that a file of ours can tell.
pub fn sized(width: u32, height: u32) -> Option<(u32, u32)> {
    let fits = |side| (16..=16_384).contains(&side);
    (fits(width) && fits(height)).then_some((width, height))
}

/// Samples a second and channels of an AudioSpecificConfig. Of HE-AAC, those of its core, which its frames count.
pub fn aac(config: &[u8]) -> Option<(u32, u8)> {
    const RATES: [u32; 13] = [
        96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025,
        8_000, 7_350,
    ];
    let mut bits = Bits::new(config);
    if bits.read(5)? == 31 {
        bits.skip(6);
    }
    let rate = match bits.read(4)? {
        15 => bits.read(24)?,
        index => *RATES.get(index as usize)?,
    };
    let channels = match bits.read(4)? {
        7 => 8,
        // Told elsewhere: stereo is what everybody sends.
        0 => 2,
        channels @ 1..=6 => channels as u8,
        _ => return None,
    };
    (4_000..=192_000).contains(&rate).then_some((rate, channels))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aac_tells_its_rate_and_channels() {
        assert_eq!(aac(&[0x11, 0x90]), Some((48_000, 2)));
        assert_eq!(aac(&[0x12, 0x10]), Some((44_100, 2)));
        assert_eq!(aac(&[0x2b, 0x11, 0x88, 0x00]), Some((24_000, 2)));
        assert_eq!(aac(&[]), None);
    }

    #[test]
    fn a_picture_tells_its_size() {
        // x264, 1920x1080, High: the last 8 of 1,088 lines are cropped.
        let mut config = vec![1, 0x64, 0, 0x28, 0xff, 0xe1, 0, 25];
        config.extend([
            0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x44, 0x00,
            0x00, 0x03, 0x00, 0x04, 0x00, 0x00, 0x03, 0x00, 0xf0, 0x3c, 0x60,
        ]);
        assert_eq!(avc_size(&config), Some((1_920, 1_080)));
        for cut in 0..config.len() {
            let _ = avc_size(&config[..cut]);
            let _ = hevc_size(&config[..cut]);
        }
    }
}
