//! How wide words are in the charter's type: enough of TrueType to set a title (OpenType 1.9, `cmap`, `hmtx`).

use std::path::Path;

/// Largest font file read, bytes.
const FONT_BYTES_MAX: u64 = 8 << 20;
/// Width of a character no table knows, in ems: a wide one, so that a guess errs on the safe side.
const UNKNOWN_EMS: f64 = 0.72;
/// Height of a line over the em when no font is at hand.
const UNKNOWN_LINE_EMS: f64 = 1.2;

/// Widths of one font file; guesses when there is none.
#[derive(Debug, Default)]
pub(super) struct TypeMetrics {
    font: Option<Font>,
}

#[derive(Debug)]
struct Font {
    bytes: Vec<u8>,
    units_per_em: f64,
    /// Ascent and descent as Windows counts them, which is what libass scales a font size to.
    line_units: f64,
    characters: usize,
    widths: usize,
    width_count: usize,
}

impl TypeMetrics {
    /// Reads `file`; without it, or when it is no TrueType font, every width is a guess.
    pub(super) fn read(file: Option<&Path>) -> Self {
        let small =
            |file: &&Path| std::fs::metadata(file).is_ok_and(|meta| meta.len() <= FONT_BYTES_MAX);
        let bytes = file.filter(small).and_then(|file| std::fs::read(file).ok());
        Self { font: bytes.and_then(Font::parse) }
    }

    /// Pixels `text` takes on one line at libass's font size `size`, kerning left out.
    pub(super) fn width(&self, text: &str, size: f64) -> f64 {
        let Some(font) = &self.font else {
            return text.chars().count() as f64 * UNKNOWN_EMS * size / UNKNOWN_LINE_EMS;
        };
        let em = size * font.units_per_em / font.line_units;
        text.chars()
            .map(|c| font.advance(c).map_or(UNKNOWN_EMS, |units| units / font.units_per_em))
            .sum::<f64>()
            * em
    }
}

impl Font {
    fn parse(bytes: Vec<u8>) -> Option<Self> {
        let table = |name: &[u8; 4]| {
            let count = usize::from(u16_at(&bytes, 4)?);
            let entry = (0..count)
                .map(|index| 12 + index * 16)
                .find(|at| bytes.get(*at..at + 4) == Some(&name[..]))?;
            Some(u32_at(&bytes, entry + 8)? as usize)
        };
        let units_per_em = f64::from(u16_at(&bytes, table(b"head")? + 18)?);
        let os2 = table(b"OS/2")?;
        let line_units =
            f64::from(u16_at(&bytes, os2 + 74)?) + f64::from(u16_at(&bytes, os2 + 76)?);
        let width_count = usize::from(u16_at(&bytes, table(b"hhea")? + 34)?);
        let cmap = table(b"cmap")?;
        let maps = usize::from(u16_at(&bytes, cmap + 2)?);
        let characters = (0..maps)
            .filter_map(|index| Some(cmap + u32_at(&bytes, cmap + 4 + index * 8 + 4)? as usize))
            .find(|at| u16_at(&bytes, *at) == Some(4))?;
        let widths = table(b"hmtx")?;
        let sound = units_per_em > 0.0 && line_units > 0.0 && width_count > 0;
        sound.then_some(Self { bytes, units_per_em, line_units, characters, widths, width_count })
    }

    /// Advance of a character in font units; none when the font lacks it.
    fn advance(&self, c: char) -> Option<f64> {
        let glyph = usize::from(self.glyph(u16::try_from(u32::from(c)).ok()?)?);
        let entry = self.widths + glyph.min(self.width_count - 1) * 4;
        u16_at(&self.bytes, entry).map(f64::from)
    }

    /// Looks a character up in a `cmap` table of format 4.
    fn glyph(&self, code: u16) -> Option<u16> {
        let number = |at: usize| u16_at(&self.bytes, at);
        let doubled = usize::from(number(self.characters + 6)?);
        let ends = self.characters + 14;
        let (starts, deltas, offsets) =
            (ends + doubled + 2, ends + 2 * doubled + 2, ends + 3 * doubled + 2);
        let segment =
            (0..doubled).step_by(2).find(|at| number(ends + at).is_some_and(|end| end >= code))?;
        let start = number(starts + segment)?;
        if code < start {
            return None;
        }
        let delta = number(deltas + segment)?;
        let offset = number(offsets + segment)?;
        let glyph = if offset == 0 {
            code.wrapping_add(delta)
        } else {
            let listed =
                number(offsets + segment + usize::from(offset) + 2 * usize::from(code - start))?;
            if listed == 0 { 0 } else { listed.wrapping_add(delta) }
        };
        (glyph != 0).then_some(glyph)
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// Breaks `text` into lines of at most `width_max` at the largest of `sizes` that needs at most `lines_max` lines,
/// then evens the lines out. Words too long for a line are broken. At the smallest size what does not fit ends
/// with an ellipsis.
pub(super) fn set_lines(
    metrics: &TypeMetrics,
    text: &str,
    sizes: &[u32],
    width_max: f64,
    lines_max: usize,
) -> (u32, Vec<String>) {
    let smallest = sizes.last().copied().unwrap_or(48);
    for size in sizes.iter().copied() {
        let width = |line: &str| metrics.width(line, f64::from(size));
        let whole_words = text.split(' ').all(|word| width(word) <= width_max);
        if !whole_words && size != smallest {
            continue;
        }
        let lines = fill(text, width_max, &width);
        if lines.len() <= lines_max {
            return (size, even_out(text, lines, width_max, &width));
        }
        if size == smallest {
            let mut lines: Vec<String> = lines.into_iter().take(lines_max).collect();
            if let Some(last) = lines.last_mut() {
                while width(&format!("{last}…")) > width_max && last.pop().is_some() {}
                last.push('…');
            }
            return (size, lines);
        }
    }
    (smallest, Vec::new())
}

/// Puts as many words on each line as fit.
fn fill(text: &str, width_max: f64, width: &dyn Fn(&str) -> f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        if let Some(last) = lines.last_mut() {
            let longer = format!("{last} {word}");
            if width(&longer) <= width_max {
                *last = longer;
                continue;
            }
        }
        let mut piece = String::new();
        for c in word.chars() {
            if !piece.is_empty() && width(&format!("{piece}{c}")) > width_max {
                lines.push(std::mem::take(&mut piece));
            }
            piece.push(c);
        }
        lines.push(piece);
    }
    lines
}

/// The narrowest measure that needs no more lines: « un mot » alone on the last line looks like a mistake.
fn even_out(
    text: &str,
    lines: Vec<String>,
    width_max: f64,
    width: &dyn Fn(&str) -> f64,
) -> Vec<String> {
    const STEPS: usize = 40;
    let longest_word = text.split(' ').map(width).fold(0.0, f64::max).min(width_max);
    let mut best = lines;
    for step in 1..STEPS {
        let narrower = width_max * (1.0 - step as f64 / STEPS as f64);
        if narrower < longest_word {
            break;
        }
        let tried = fill(text, narrower, width);
        if tried.len() > best.len() {
            break;
        }
        best = tried;
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_even_and_short_enough() {
        let metrics = TypeMetrics::default();
        let text = "Il rate son saut et retombe sur le boss";
        let (size, lines) = set_lines(&metrics, text, &[96, 64], 780.0, 3);
        assert!(
            lines.len() <= 3
                && lines.iter().all(|line| metrics.width(line, f64::from(size)) <= 780.0),
            "{lines:?}"
        );
        assert_eq!(lines.join(" "), text);
    }

    #[test]
    fn a_word_without_end_is_broken_and_shortened() {
        let metrics = TypeMetrics::default();
        let (size, lines) = set_lines(&metrics, &"mot".repeat(100), &[96, 64], 780.0, 3);
        assert_eq!((size, lines.len()), (64, 3));
        assert!(lines[2].ends_with('…'));
        assert!(lines.iter().all(|line| metrics.width(line, 64.0) <= 780.0));
    }
}
