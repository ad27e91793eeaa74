//! Hours in which only what is urgent may wake somebody, by the clock on the villa's wall.

use std::str::FromStr;

use chrono::{DateTime, NaiveTime, Utc};
use chrono_tz::Europe::Paris;
use serde::Deserialize;

/// From an hour to an hour, over midnight when the first is later. Written `22:00-08:00`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct QuietHours {
    pub from: NaiveTime,
    pub to: NaiveTime,
}

/// Why hours cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` are no quiet hours: write them as 22:00-08:00, two different times of a day")]
pub struct QuietHoursError(String);

impl QuietHours {
    /// Whether the clock in Paris shows one of these hours; the last minute is out.
    pub fn hold(self, now: DateTime<Utc>) -> bool {
        let time = now.with_timezone(&Paris).time();
        if self.from < self.to {
            self.from <= time && time < self.to
        } else {
            self.from <= time || time < self.to
        }
    }
}

impl FromStr for QuietHours {
    type Err = QuietHoursError;

    fn from_str(text: &str) -> Result<Self, QuietHoursError> {
        let refused = || QuietHoursError(text.to_owned());
        let (from, to) = text.split_once('-').ok_or_else(refused)?;
        let time =
            |part: &str| NaiveTime::parse_from_str(part.trim(), "%H:%M").map_err(|_| refused());
        let (from, to) = (time(from)?, time(to)?);
        if from == to {
            return Err(refused());
        }
        Ok(Self { from, to })
    }
}

impl TryFrom<String> for QuietHours {
    type Error = QuietHoursError;

    fn try_from(text: String) -> Result<Self, QuietHoursError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(hours: &str, now: &str) -> bool {
        let hours: QuietHours = hours.parse().expect("hours");
        hours.hold(now.parse().expect("a time"))
    }

    #[test]
    fn a_night_goes_over_midnight_by_the_clock_of_paris() {
        for (now, quiet) in [
            ("2026-11-23T20:59:59Z", false),
            ("2026-11-23T21:00:00Z", true),
            ("2026-11-24T03:00:00Z", true),
            ("2026-11-24T06:59:59Z", true),
            ("2026-11-24T07:00:00Z", false),
            // In summer the clock is two hours ahead.
            ("2026-07-01T20:00:00Z", true),
            ("2026-07-02T06:00:00Z", false),
        ] {
            assert_eq!(holds("22:00-08:00", now), quiet, "{now}");
        }
        assert!(holds("12:00-14:00", "2026-11-23T12:30:00Z"));
        assert!(!holds("12:00-14:00", "2026-11-23T13:00:00Z"));
    }

    #[test]
    fn hours_that_are_none_are_refused() {
        for hours in ["", "22:00", "22-8", "25:00-08:00", "08:00-08:00", "night-day"] {
            assert!(hours.parse::<QuietHours>().is_err(), "{hours}");
        }
    }
}
