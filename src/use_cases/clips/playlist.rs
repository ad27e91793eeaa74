//! A camera's playlist: HLS with partial segments (RFC 8216bis, « low-latency HLS ») over the parts of the DVR, from one
//! instant on. It begins at a fixed part, so that whoever reads it again finds every number where it was.

use std::fmt::Write;
use std::ops::Range;

use chrono::{DateTime, SecondsFormat, Utc};

use crate::domain::live::track::TICKS_PER_S;
use crate::ports::dvr::PartPlace;

/// A segment is closed by the first key frame after so many ticks.
const SEGMENT_TICKS_MIN: i64 = 2 * TICKS_PER_S - TICKS_PER_S / 10;
/// Closed segments that are listed with their parts, for players that come close to the present.
const SEGMENTS_IN_PARTS: usize = 3;
/// What players may count on a part to last at most, in seconds, unless one lasts longer.
const PART_S_USUAL: f64 = 1.1;

/// A stretch of a camera as HLS.
#[derive(Debug, Clone, PartialEq)]
pub struct Playlist {
    parts: Vec<PartPlace>,
    /// Each begins at a key part and belongs to one recording; the last one may be in the making.
    segments: Vec<Range<usize>>,
    /// Nothing is added any more.
    is_over: bool,
    /// Where in it the player begins, in seconds; at the present without.
    begins_s: Option<f64>,
}

impl Playlist {
    /// Of parts in their order of time, which begin a while before `from_utc_ns`; nothing before the last key part that is no
    /// later than that. `is_stretch`: the player begins there, and not at the present. `is_over`: no part will be added. `None` when
    /// there is nothing to play.
    pub fn of(
        mut parts: Vec<PartPlace>,
        from_utc_ns: i64,
        is_stretch: bool,
        is_over: bool,
    ) -> Option<Self> {
        let is_before = |part: &PartPlace| part.is_key && part.utc_ns <= from_utc_ns;
        let first =
            parts.iter().rposition(is_before).or_else(|| parts.iter().position(|it| it.is_key))?;
        parts.drain(..first);
        let mut segments: Vec<Range<usize>> = Vec::new();
        let mut ticks = 0;
        for (at, part) in parts.iter().enumerate() {
            let is_new_recording = at > 0 && parts[at - 1].recording != part.recording;
            let begins_segment = is_new_recording || (part.is_key && ticks >= SEGMENT_TICKS_MIN);
            match segments.last_mut() {
                Some(last) if !begins_segment => {
                    last.end = at + 1;
                    ticks += part.ticks;
                }
                _ => {
                    segments.push(at..at + 1);
                    ticks = part.ticks;
                }
            }
        }
        let begins_s = is_stretch.then(|| (from_utc_ns - parts[0].utc_ns).max(0) as f64 / 1e9);
        Some(Self { parts, segments, is_over, begins_s })
    }

    /// Whether it holds a segment whole, or one of its parts; numbers as players count them, from 0.
    pub fn holds(&self, segment: usize, part: Option<usize>) -> bool {
        let is_closed = segment + 1 < self.segments.len();
        let has_part = |part| self.segments.get(segment).is_some_and(|it| part < it.len());
        self.is_over || is_closed || part.is_some_and(has_part)
    }

    /// The last part there is.
    pub fn last(&self) -> Option<&PartPlace> {
        self.parts.last()
    }

    /// The text, with addresses below `flux/`: `<recording>/<first>-<last>.m4s` and `<recording>/init.mp4`.
    pub fn text(&self) -> String {
        let seconds = |ticks: i64| ticks as f64 / TICKS_PER_S as f64;
        let of = |range: &Range<usize>| &self.parts[range.clone()];
        let lasts = |range: &Range<usize>| seconds(of(range).iter().map(|part| part.ticks).sum());
        let longest = self.segments.iter().map(lasts).fold(2.0, f64::max);
        let longest_part =
            self.parts.iter().map(|part| seconds(part.ticks)).fold(PART_S_USUAL, f64::max);
        let mut out = String::from("#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-INDEPENDENT-SEGMENTS\n");
        let target = longest.round();
        // Writing to a string cannot fail.
        let _ = writeln!(out, "#EXT-X-TARGETDURATION:{target}\n#EXT-X-MEDIA-SEQUENCE:0");
        if self.is_over {
            out.push_str("#EXT-X-PLAYLIST-TYPE:VOD\n");
        } else {
            let _ = writeln!(
                out,
                "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK={:.3}\n\
                 #EXT-X-PART-INF:PART-TARGET={longest_part:.3}",
                3.0 * longest_part
            );
        }
        if let Some(begins_s) = self.begins_s {
            let _ = writeln!(out, "#EXT-X-START:TIME-OFFSET={begins_s:.3},PRECISE=YES");
        }
        let in_parts = self.segments.len().saturating_sub(SEGMENTS_IN_PARTS + 1);
        let mut recording = None;
        for (number, range) in self.segments.iter().enumerate() {
            let parts = of(range);
            let (first, last) = (&parts[0], &parts[parts.len() - 1]);
            if recording != Some(first.recording) {
                if recording.is_some() {
                    out.push_str("#EXT-X-DISCONTINUITY\n");
                }
                recording = Some(first.recording);
                let _ = writeln!(
                    out,
                    "#EXT-X-MAP:URI=\"flux/{}/init.mp4?t={}\"",
                    first.recording, first.utc_ns
                );
            }
            let at = DateTime::<Utc>::from_timestamp_nanos(first.utc_ns);
            let at = at.to_rfc3339_opts(SecondsFormat::Millis, true);
            let _ = writeln!(out, "#EXT-X-PROGRAM-DATE-TIME:{at}");
            if !self.is_over && number >= in_parts {
                for part in parts {
                    let independent = if part.is_key { ",INDEPENDENT=YES" } else { "" };
                    let _ = writeln!(
                        out,
                        "#EXT-X-PART:DURATION={:.5},URI=\"{}\"{independent}",
                        seconds(part.ticks),
                        part_address(part, part.number)
                    );
                }
            }
            if self.is_over || number + 1 < self.segments.len() {
                let _ = writeln!(
                    out,
                    "#EXTINF:{:.5},\nflux/{}/{}-{}.m4s?t={}",
                    lasts(range),
                    first.recording,
                    first.number,
                    last.number,
                    first.utc_ns
                );
            }
        }
        match self.parts.last() {
            _ if self.is_over => out.push_str("#EXT-X-ENDLIST\n"),
            Some(last) => {
                let next = part_address(last, last.number + 1);
                let _ = writeln!(out, "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"{next}\"");
            }
            None => {}
        }
        out
    }
}

/// The address of a part of the same recording; it says nothing of the time, so that it can be told before the part is there.
fn part_address(of: &PartPlace, number: u32) -> String {
    format!("flux/{}/{number}-{number}.m4s", of.recording)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::{CameraId, RecordingId};

    const S: i64 = 1_000_000_000;

    fn recording(name: u128) -> RecordingId {
        RecordingId::from_uuid(uuid::Uuid::from_u128(name))
    }

    /// Parts of a second, a key frame in every second one.
    fn parts(name: u128, begins_s: i64, count: u32) -> Vec<PartPlace> {
        let part = |n: u32| PartPlace {
            camera: CameraId::from_uuid(uuid::Uuid::nil()),
            recording: recording(name),
            file: 1,
            number: n + 1,
            offset: 0,
            bytes: 1,
            dts: i64::from(n) * TICKS_PER_S,
            ticks: TICKS_PER_S,
            utc_ns: (begins_s + i64::from(n)) * S,
            is_key: n.is_multiple_of(2),
        };
        (0..count).map(part).collect()
    }

    fn lines<'a>(text: &'a str, tag: &str) -> Vec<&'a str> {
        text.lines().filter(|line| line.starts_with(tag)).collect()
    }

    #[test]
    fn what_grows_keeps_its_numbers_and_hints_at_what_comes() {
        let from = 3 * S;
        let of = |count| Playlist::of(parts(7, 0, count), from, false, false).unwrap();
        let (before, after) = (of(9), of(12));
        let (text, later) = (before.text(), after.text());
        // It begins with the key part before the instant that was asked for: part 3, at 2 s.
        assert!(lines(&text, "flux/")[0].ends_with("/3-4.m4s?t=2000000000"), "{text}");
        let segments = lines(&text, "flux/");
        assert_eq!(segments, lines(&later, "flux/")[..segments.len()]);
        assert_eq!(segments.len(), 3, "{text}");
        assert_eq!(lines(&text, "#EXT-X-PART:").len(), 7, "three segments and the open one");
        assert!(text.contains("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"flux/"));
        assert!(text.trim_end().ends_with("/10-10.m4s\""), "{text}");
        assert!(
            !text.contains("ENDLIST")
                && text.contains("PROGRAM-DATE-TIME:1970-01-01T00:00:02.000Z")
        );
        assert!(!text.contains("EXT-X-START"), "it begins at the present");
        let stretch = Playlist::of(parts(7, 0, 9), from, true, false).unwrap().text();
        assert!(stretch.contains("#EXT-X-START:TIME-OFFSET=1.000,"), "{stretch}");
        assert!(before.holds(2, None) && before.holds(3, Some(0)));
        assert!(!before.holds(3, Some(1)) && !before.holds(3, None));
        assert!(after.holds(3, Some(1)) && after.holds(3, None));
    }

    #[test]
    fn another_recording_is_a_break_and_what_is_over_says_so() {
        let mut all = parts(1, 0, 5);
        all.extend(parts(2, 10, 4));
        let over = Playlist::of(all, 0, true, true).unwrap();
        let text = over.text();
        assert_eq!(lines(&text, "#EXT-X-MAP").len(), 2);
        assert_eq!(lines(&text, "#EXT-X-DISCONTINUITY").len(), 1);
        assert_eq!(lines(&text, "#EXTINF:").len(), 5, "{text}");
        assert!(text.ends_with("#EXT-X-ENDLIST\n") && !text.contains("#EXT-X-PART"));
        let total: f64 = lines(&text, "#EXTINF:")
            .iter()
            .map(|line| line[8..line.len() - 1].parse::<f64>().unwrap())
            .sum();
        assert!((total - 9.0).abs() < 1e-6);
    }

    #[test]
    fn nothing_that_can_be_decoded_is_no_playlist() {
        assert_eq!(Playlist::of(Vec::new(), 0, false, false), None);
        assert_eq!(Playlist::of(parts(1, 0, 2).split_off(1), 0, false, false), None);
    }
}
