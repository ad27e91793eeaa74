//! Pictures and the stream they make, for who draws one frame at a time.

use serde::{Deserialize, Serialize};

/// One 8-bit 4:2:0 picture to paint into: three planes, each with its own distance between rows.
#[derive(Debug)]
pub struct Yuv420<'a> {
    /// Pixels, even.
    pub width: usize,
    /// Pixels, even.
    pub height: usize,
    /// Brightness, `height` rows; 16 is black, 235 white.
    pub y: &'a mut [u8],
    /// Blue difference, `height / 2` rows of `width / 2`; 128 is grey.
    pub u: &'a mut [u8],
    /// Red difference, as `u`.
    pub v: &'a mut [u8],
    /// Bytes from one row of `y` to the next.
    pub y_stride: usize,
    /// Bytes from one row of `u` to the next.
    pub u_stride: usize,
    /// Bytes from one row of `v` to the next.
    pub v_stride: usize,
}

/// What a generated stream looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamSpec {
    /// Pixels, even, at most 4096.
    pub width: u32,
    /// Pixels, even, at most 4096.
    pub height: u32,
    /// Whole frames per second, 1 to 120.
    pub fps: u32,
    /// Length in frames.
    pub frames: u64,
    /// Bits per second aimed at for the picture.
    pub video_bit_rate: u32,
}
