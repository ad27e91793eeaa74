//! Looks whether what is read is a transport stream at all, before libav does.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Bytes of a packet, and the one it begins with (ISO/IEC 13818-1, 2.4.3.2).
const PACKET_BYTES: usize = 188;
const SYNC: u8 = 0x47;
/// Packets that lie as they must before what was astray is forgiven.
const FORGIVEN_AFTER: usize = 5;
/// Bytes astray that end it: what is lost on the way costs whole packets, not their order.
const ASTRAY_BYTES_MAX: usize = 64 * 1024;

/// How reading went.
#[derive(Debug, Clone, Default)]
pub(super) struct Course(Arc<Marks>);

#[derive(Debug, Default)]
struct Marks {
    astray: AtomicBool,
    ended: AtomicBool,
}

impl Course {
    /// It was no transport stream.
    pub(super) fn is_astray(&self) -> bool {
        self.0.astray.load(Ordering::Relaxed)
    }

    /// It came to its end.
    pub(super) fn is_ended(&self) -> bool {
        self.0.ended.load(Ordering::Relaxed)
    }
}

/// A reader that stops at what is no transport stream.
pub(super) struct Guard<R> {
    from: R,
    course: Course,
    /// Bytes until the next packet begins.
    left: usize,
    in_order: usize,
    astray: usize,
}

impl<R: Read> Guard<R> {
    pub(super) fn new(from: R) -> (Self, Course) {
        let course = Course::default();
        (Self { from, course: course.clone(), left: 0, in_order: 0, astray: 0 }, course)
    }

    /// Whether what came can be one.
    fn look(&mut self, mut bytes: &[u8]) -> bool {
        while let Some(first) = bytes.get(self.left) {
            bytes = &bytes[self.left..];
            if *first == SYNC {
                self.left = PACKET_BYTES;
                self.in_order += 1;
                if self.in_order >= FORGIVEN_AFTER {
                    self.astray = 0;
                }
                continue;
            }
            (self.left, self.in_order) = (0, 0);
            let astray = bytes.iter().position(|byte| *byte == SYNC).unwrap_or(bytes.len());
            bytes = &bytes[astray..];
            self.astray += astray;
            if self.astray > ASTRAY_BYTES_MAX {
                return false;
            }
        }
        self.left -= bytes.len();
        true
    }
}

impl<R: Read> Read for Guard<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buf)?;
        if read == 0 {
            self.course.0.ended.store(true, Ordering::Relaxed);
        }
        if !self.look(&buf[..read]) {
            self.course.0.astray.store(true, Ordering::Relaxed);
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads(bytes: &[u8], piece: usize) -> bool {
        let (mut guard, course) = Guard::new(bytes);
        let mut buf = vec![0; piece];
        while let Ok(1..) = guard.read(&mut buf) {}
        assert_ne!(course.is_astray(), course.is_ended());
        !course.is_astray()
    }

    #[test]
    fn a_transport_stream_passes_and_anything_else_does_not() {
        let packet = |n: usize| [&[SYNC][..], &[n as u8; 187]].concat();
        let good: Vec<u8> = (0..2_000).flat_map(packet).collect();
        let noise: Vec<u8> =
            (0..400_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        for piece in [1_316, 1_000, 32_768] {
            assert!(reads(&good, piece));
            assert!(reads(&[&good[..50_000], &good[50_100..]].concat(), piece), "one tear");
            assert!(!reads(&noise, piece));
            assert!(!reads(&[&good[..], &noise].concat(), piece));
            assert!(!reads(&vec![0; 70_000], piece));
        }
    }
}
