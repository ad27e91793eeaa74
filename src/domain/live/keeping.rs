//! What stays of what cameras sent, and what may go: by age, by room, never what somebody keeps.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::domain::ids::CameraId;

/// Days a camera's recordings can be kept for; without a number they stay until room is needed.
pub const DAYS_KEPT_MAX: u16 = 365;
/// Spans of one camera that people keep, at most.
pub const SPANS_KEPT_MAX: usize = 200;
/// Longest span that is kept at once.
pub const SPAN_KEPT_MAX: TimeDelta = TimeDelta::hours(24);
/// What is younger never goes, however little room there is: a day's work is not given up for space.
pub const YOUNG: TimeDelta = TimeDelta::hours(12);
/// The share of a disk that recordings may fill it to.
pub const DISK_SHARE_MAX: f64 = 0.8;

/// A span of a camera that stays until it is let go, whatever the rules say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptSpan {
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
    /// What it is kept for.
    pub title: String,
}

impl KeptSpan {
    fn touches(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> bool {
        self.from < to && from < self.to
    }
}

/// What stays of one camera.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keeping {
    pub camera: CameraId,
    /// Older recordings go; without it, only for want of room.
    pub days: Option<u16>,
    pub spans: Vec<KeptSpan>,
}

/// What becomes of a stretch that was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Stays,
    /// It goes where room is needed, the oldest first.
    GoesForRoom,
    Goes,
}

impl Keeping {
    /// What becomes of a stretch of this camera.
    pub fn fate(&self, from: DateTime<Utc>, to: DateTime<Utc>, now: DateTime<Utc>) -> Fate {
        let age = now - to;
        if age < YOUNG || self.spans.iter().any(|span| span.touches(from, to)) {
            return Fate::Stays;
        }
        match self.days {
            Some(days) if age > TimeDelta::days(i64::from(days)) => Fate::Goes,
            _ => Fate::GoesForRoom,
        }
    }
}

/// Bytes to be freed until a disk is below its line.
pub fn bytes_over(total_bytes: u64, free_bytes: u64) -> u64 {
    let used = total_bytes.saturating_sub(free_bytes);
    used.saturating_sub((total_bytes as f64 * DISK_SHARE_MAX) as u64)
}

/// A recording that goes on past its planned hours is taken to go on for as long as this.
const GOES_ON: TimeDelta = TimeDelta::hours(1);

/// Bytes that a recording under way will still need: what it sends for the rest of its planned hours, an hour at least.
pub fn reserved_bytes(since: DateTime<Utc>, now: DateTime<Utc>, hours: u8, kbits: u32) -> u64 {
    let left = (TimeDelta::hours(i64::from(hours)) - (now - since)).max(GOES_ON);
    left.num_seconds() as u64 * u64::from(kbits) * 125
}

/// Bytes of a week of cameras: so many hours of each of seven days, or of the days that are kept where that is fewer.
pub fn week_bytes(kept_days: &[Option<u16>], hours_a_day: f64, kbits: u32) -> u64 {
    let days: u32 = kept_days.iter().map(|days| u32::from(days.unwrap_or(7).min(7))).sum();
    (f64::from(days) * hours_a_day * 3_600.0 * f64::from(kbits) * 125.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hours: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + hours * 3_600, 0).unwrap()
    }

    #[test]
    fn a_recording_keeps_room_for_the_rest_of_its_evening() {
        let hour = 3_600 * 6_000 * 125;
        assert_eq!(reserved_bytes(at(0), at(0), 8, 6_000), 8 * hour);
        assert_eq!(reserved_bytes(at(0), at(6), 8, 6_000), 2 * hour);
        assert_eq!(reserved_bytes(at(0), at(20), 8, 6_000), hour, "it goes on longer than planned");
        assert_eq!(reserved_bytes(at(1), at(0), 8, 6_000), 9 * hour, "a clock that stepped back");
    }

    #[test]
    fn age_room_and_what_is_kept_decide_what_goes() {
        let span = KeptSpan { from: at(1), to: at(2), title: "Concert".to_owned() };
        let camera = CameraId::from_uuid(uuid::Uuid::nil());
        let keeping = Keeping { camera, days: Some(2), spans: vec![span] };
        let fate = |hour: i64, now: i64| keeping.fate(at(hour), at(hour + 1), at(now));
        assert_eq!(fate(5, 6 + 11), Fate::Stays, "of today");
        assert_eq!(fate(5, 6 + 13), Fate::GoesForRoom);
        assert_eq!(fate(5, 6 + 49), Fate::Goes, "older than two days");
        assert_eq!(fate(1, 1_000), Fate::Stays, "somebody keeps it");
        assert_eq!((fate(0, 1_000), fate(2, 1_000)), (Fate::Goes, Fate::Goes), "it ends there");
        let forever = Keeping { days: None, ..keeping };
        assert_eq!(forever.fate(at(5), at(6), at(10_000)), Fate::GoesForRoom);
    }

    #[test]
    fn a_disk_is_filled_to_its_line_and_a_week_is_reckoned() {
        assert_eq!(bytes_over(1_000, 200), 0);
        assert_eq!(bytes_over(1_000, 150), 50);
        // Two cameras of 6.2 Mbit/s, eight hours a day: 312 GB.
        assert_eq!(week_bytes(&[None, None], 8.0, 6_200) / 1_000_000_000, 312);
        assert_eq!(week_bytes(&[None, Some(2)], 8.0, 6_200) / 1_000_000_000, 200);
    }
}
