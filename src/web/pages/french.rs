//! Numbers, dates and lengths as people in France write them, in the villa's local time.

use askama::filters::HtmlSafe;
use chrono::{DateTime, Datelike, NaiveDate, TimeDelta, Timelike, Utc};
use chrono_tz::Europe::Paris;

use crate::domain::villa::MONTHS;

/// Groups thousands; the narrow space that French typography asks for, which never breaks.
const THIN: char = '\u{202f}';
/// Between a number and its unit: never breaks.
const HARD: char = '\u{a0}';

const DAYS: [&str; 7] = ["lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi", "dimanche"];

/// A number with this many decimals: « 1 234,5 ».
pub(super) fn number(value: f64, decimals: usize) -> String {
    let plain = format!("{:.decimals$}", value.abs());
    let (whole, fraction) = plain.split_once('.').unwrap_or((&plain, ""));
    let mut said = String::new();
    if value < 0.0 && plain.chars().any(|c| c.is_ascii_digit() && c != '0') {
        said.push('−');
    }
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) {
            said.push(THIN);
        }
        said.push(digit);
    }
    if !fraction.is_empty() {
        said.push(',');
        said.push_str(fraction);
    }
    said
}

/// A whole number: « 12 345 ».
pub(super) fn count(value: u64) -> String {
    number(value as f64, 0)
}

/// A number that needs no decimal from 10 up: « 3,1 », « 24 ».
pub(super) fn rough(value: f64) -> String {
    number(value, usize::from(value.abs() < 9.95))
}

/// A counted noun: « 1 clip », « 12 clips ». French counts from 2 up in the plural.
pub(super) fn counted(value: u64, one: &str, many: &str) -> String {
    format!("{}{HARD}{}", count(value), if value < 2 { one } else { many })
}

/// A share from 0 to 1: « 80 % ».
pub(super) fn percent(share: f64) -> String {
    percent_with(share, 0)
}

/// The same with this many decimals: « 0,3 % ».
pub(super) fn percent_with(share: f64, decimals: usize) -> String {
    format!("{}{HARD}%", number(share * 100.0, decimals))
}

/// An amount of bytes: « 1,4 Go ».
pub(super) fn bytes(amount: u64) -> String {
    const UNITS: [&str; 5] = ["o", "Ko", "Mo", "Go", "To"];
    let mut value = amount as f64;
    let mut unit = 0;
    while value >= 1_000.0 && unit + 1 < UNITS.len() {
        value /= 1_000.0;
        unit += 1;
    }
    let said = if unit == 0 { number(value, 0) } else { rough(value) };
    format!("{said}{HARD}{}", UNITS[unit])
}

/// A place in a video, in milliseconds: « 1:02:03 », « 2:03 ».
pub(super) fn timecode(ms: i64) -> String {
    let s = ms.max(0) / 1_000;
    let (h, m, s) = (s / 3_600, s / 60 % 60, s % 60);
    if h > 0 { format!("{h}:{m:02}:{s:02}") } else { format!("{m}:{s:02}") }
}

/// A place in a video that can be read back by [`parse_timecode`] without loss under a tenth of a second.
pub(super) fn exact_timecode(ms: i64) -> String {
    let ms = (ms.max(0) + 50) / 100 * 100;
    match ms % 1_000 / 100 {
        0 => timecode(ms),
        tenth => format!("{},{tenth}", timecode(ms)),
    }
}

/// Reads « 1:02:03 », « 2:03,5 » or « 123 » (seconds) as milliseconds.
pub(super) fn parse_timecode(raw: &str) -> Option<i64> {
    let raw = raw.trim().replace(',', ".");
    let parts: Vec<&str> = raw.split(':').collect();
    let (seconds, above) = parts.split_last()?;
    if above.len() > 2
        || seconds.is_empty()
        || !seconds.chars().all(|c| c.is_ascii_digit() || c == '.')
    {
        return None;
    }
    let mut total: f64 = seconds.parse().ok()?;
    if !above.is_empty() && total >= 60.0 {
        return None;
    }
    for (place, part) in above.iter().rev().enumerate() {
        if part.is_empty() || part.len() > 3 || !part.chars().all(|c| c.is_ascii_digit()) {
            return None;
        }
        let value: f64 = part.parse().ok()?;
        if place == 0 && above.len() == 2 && value >= 60.0 {
            return None;
        }
        total += value * [60.0, 3_600.0][place];
    }
    // A week of video is more than anybody streams in one piece.
    (total < 604_800.0).then_some((total * 1_000.0).round() as i64)
}

/// A length in milliseconds: « 45 s », « 3 min 05 s », « 2 h 05 min ».
pub(super) fn length(ms: i64) -> String {
    let s = (ms.max(0) + 500) / 1_000;
    match s {
        0..60 => format!("{s}{HARD}s"),
        60..3_600 if s % 60 == 0 => format!("{}{HARD}min", s / 60),
        60..3_600 => format!("{}{HARD}min{HARD}{:02}{HARD}s", s / 60, s % 60),
        _ => format!("{}{HARD}h{HARD}{:02}{HARD}min", s / 3_600, s / 60 % 60),
    }
}

/// A day: « lundi 9 novembre 2026 ».
pub(super) fn day(date: NaiveDate) -> String {
    let first = if date.day() == 1 { "er" } else { "" };
    format!(
        "{}{HARD}{}{first} {}{HARD}{}",
        DAYS[date.weekday().num_days_from_monday() as usize],
        date.day(),
        MONTHS[date.month0() as usize],
        date.year()
    )
}

/// An instant in the villa's local time, as text and for machines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct When {
    said: String,
    exact: String,
    machine: String,
}

impl When {
    /// Told by its distance from now: « il y a 3 min », and by its day when it is more than a day ago.
    pub(super) fn ago(at: DateTime<Utc>, now: DateTime<Utc>) -> Self {
        let since = now - at;
        let said = if since < TimeDelta::minutes(-1) {
            let left = -since;
            if left < TimeDelta::hours(1) {
                format!("dans {}{HARD}min", left.num_minutes())
            } else {
                moment_of(at)
            }
        } else if since < TimeDelta::minutes(1) {
            "à l'instant".to_owned()
        } else if since < TimeDelta::hours(1) {
            format!("il y a {}{HARD}min", since.num_minutes())
        } else if since < TimeDelta::days(1) {
            format!("il y a {}{HARD}h", since.num_hours())
        } else {
            moment_of(at)
        };
        Self { said, ..Self::at(at) }
    }

    /// Told by its day and time: « samedi 14 novembre 2026 à 20 h 30 ».
    pub(super) fn at(at: DateTime<Utc>) -> Self {
        let exact = moment_of(at);
        Self { said: exact.clone(), exact, machine: at.format("%Y-%m-%dT%H:%M:%SZ").to_string() }
    }
}

fn moment_of(at: DateTime<Utc>) -> String {
    let local = at.with_timezone(&Paris);
    format!("{} à {}{HARD}h{HARD}{:02}", day(local.date_naive()), local.hour(), local.minute())
}

/// The time of day in the villa: « 21 h 03 ».
pub(super) fn clock(at: DateTime<Utc>) -> String {
    at.with_timezone(&Paris).format("%-H\u{a0}h\u{a0}%M").to_string()
}

/// The day it is in the villa.
pub(super) fn today(now: DateTime<Utc>) -> NaiveDate {
    now.with_timezone(&Paris).date_naive()
}

impl std::fmt::Display for When {
    /// A `<time>` element; nothing in it comes from people.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            r#"<time datetime="{}" title="{}">{}</time>"#,
            self.machine, self.exact, self.said
        )
    }
}

impl HtmlSafe for When {}
impl askama::FastWritable for When {
    fn write_into(
        &self,
        dest: &mut dyn std::fmt::Write,
        _: &dyn askama::Values,
    ) -> askama::Result<()> {
        Ok(write!(dest, "{self}")?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spaces(said: &str) -> String {
        said.replace([THIN, HARD], " ")
    }

    #[test]
    fn numbers_are_written_the_french_way() {
        assert_eq!(spaces(&number(1_234.5, 1)), "1 234,5");
        assert_eq!(spaces(&number(-0.04, 1)), "0,0");
        assert_eq!(spaces(&number(-1_000_000.0, 0)), "−1 000 000");
        assert_eq!(spaces(&percent(0.8)), "80 %");
        assert_eq!(spaces(&bytes(1_400_000_000)), "1,4 Go");
        assert_eq!(spaces(&bytes(12)), "12 o");
        assert_eq!(spaces(&counted(1, "clip", "clips")), "1 clip");
        assert_eq!(spaces(&counted(0, "clip", "clips")), "0 clip");
    }

    #[test]
    fn lengths_and_places_read_like_clocks() {
        assert_eq!(timecode(3_723_000), "1:02:03");
        assert_eq!(timecode(63_900), "1:03");
        assert_eq!(spaces(&length(45_200)), "45 s");
        assert_eq!(spaces(&length(185_000)), "3 min 05 s");
        assert_eq!(spaces(&length(7_500_000)), "2 h 05 min");
    }

    #[test]
    fn a_typed_place_is_read_back() {
        for (raw, ms) in [
            ("12:05", Some(725_000)),
            (" 1:02:03 ", Some(3_723_000)),
            ("90", Some(90_000)),
            ("2:03,5", Some(123_500)),
            ("125:30", Some(7_530_000)),
            ("", None),
            ("12:", None),
            ("12:75", None),
            ("1:75:00", None),
            ("deux minutes", None),
            ("-3", None),
            ("1:2:3:4", None),
            ("1e9", None),
            ("999999999", None),
        ] {
            assert_eq!(parse_timecode(raw), ms, "{raw:?}");
        }
        for ms in [0, 59_900, 725_000, 3_723_400] {
            assert_eq!(parse_timecode(&exact_timecode(ms)), Some(ms));
        }
    }

    #[test]
    fn instants_are_told_from_now_and_carry_the_exact_time() {
        let now = "2026-11-22T11:05:00Z".parse().expect("an instant");
        let said = |minutes| When::ago(now - TimeDelta::minutes(minutes), now);
        assert_eq!(spaces(&said(3).said), "il y a 3 min");
        assert_eq!(said(0).said, "à l'instant");
        assert_eq!(spaces(&said(200).said), "il y a 3 h");
        assert_eq!(spaces(&said(0).exact), "dimanche 22 novembre 2026 à 12 h 05");
        assert_eq!(spaces(&said(3_000).said), "vendredi 20 novembre 2026 à 10 h 05");
        assert!(said(3).to_string().contains(r#"datetime="2026-11-22T11:02:00Z""#));
    }
}
