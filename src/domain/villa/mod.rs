//! Villa weeks: what a week is, and what happens to it.

use chrono::{DateTime, Datelike, Duration, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use crate::domain::ids::{PersonId, WeekId};

/// Longest name of a week, in characters.
pub const WEEK_NAME_CHARS_MAX: usize = 80;

/// Days after which a week's report is frozen and its raw audience messages are dropped.
pub const AUDIENCE_KEPT_DAYS: i64 = 15;

/// Length of a villa week, in days.
pub const WEEK_DAYS: i64 = 7;

/// When a week's raw audience is dropped: 15 days after its last day, or after its last import where that came later.
pub fn audience_ages_at(starts_on: NaiveDate, last_change: DateTime<Utc>) -> DateTime<Utc> {
    let ends = starts_on.and_time(chrono::NaiveTime::MIN).and_utc() + Duration::days(WEEK_DAYS);
    ends.max(last_change) + Duration::days(AUDIENCE_KEPT_DAYS)
}

/// The months in French.
pub const MONTHS: [&str; 12] = [
    "janvier",
    "février",
    "mars",
    "avril",
    "mai",
    "juin",
    "juillet",
    "août",
    "septembre",
    "octobre",
    "novembre",
    "décembre",
];

/// The week that holds a day when nobody opened one: its name and its Monday.
pub fn week_of(day: NaiveDate) -> (WeekName, NaiveDate) {
    let monday = day - Duration::days(i64::from(day.weekday().num_days_from_monday()));
    let ordinal = if monday.day() == 1 { "er" } else { "" };
    let month = MONTHS[monday.month0() as usize];
    let name = format!("Semaine du {}{ordinal} {month} {}", monday.day(), monday.year());
    (WeekName(name), monday)
}

/// The name of a week as people write it: trimmed, one line, 1 to 80 characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WeekName(String);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WeekNameError {
    #[error("Donnez un nom à la semaine, par exemple « Villa Novembre 2026 ».")]
    Empty,
    #[error("Le nom d'une semaine compte 80 caractères au plus ; celui-ci en a {chars}.")]
    TooLong { chars: usize },
    #[error("Le nom d'une semaine tient sur une ligne, sans caractère de contrôle.")]
    Control,
}

impl WeekName {
    /// Trims and checks a name.
    pub fn try_new(raw: &str) -> Result<Self, WeekNameError> {
        let name = raw.trim();
        let chars = name.chars().count();
        match chars {
            0 => Err(WeekNameError::Empty),
            n if n > WEEK_NAME_CHARS_MAX => Err(WeekNameError::TooLong { chars: n }),
            _ if name.chars().any(char::is_control) => Err(WeekNameError::Control),
            _ => Ok(Self(name.to_owned())),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What two spellings of the same week share: lower case, single spaces.
    pub fn folded(&self) -> String {
        self.0.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
    }
}

impl TryFrom<String> for WeekName {
    type Error = WeekNameError;
    fn try_from(raw: String) -> Result<Self, Self::Error> {
        Self::try_new(&raw)
    }
}

impl From<WeekName> for String {
    fn from(name: WeekName) -> Self {
        name.0
    }
}

/// What happened to a villa week.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum VillaEvent {
    /// A week was opened; `starts_on` is its first day in the villa's local time.
    Opened { week: WeekId, name: WeekName, starts_on: NaiveDate, by: Option<PersonId> },
    /// The week's raw messages were dropped and its pseudonym key destroyed.
    AudienceAged { week: WeekId },
}

impl VillaEvent {
    /// The week this is about.
    pub const fn week(&self) -> WeekId {
        match self {
            Self::Opened { week, .. } | Self::AudienceAged { week } => *week,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_week_name_is_one_short_line() {
        assert_eq!(
            WeekName::try_new("  Villa Novembre 2026 ").map(String::from),
            Ok("Villa Novembre 2026".into())
        );
        assert_eq!(WeekName::try_new(" "), Err(WeekNameError::Empty));
        assert_eq!(WeekName::try_new(&"é".repeat(81)), Err(WeekNameError::TooLong { chars: 81 }));
        assert_eq!(WeekName::try_new("a\nb"), Err(WeekNameError::Control));
    }

    #[test]
    fn a_week_keeps_its_chat_fifteen_days_after_its_end_or_its_last_import() {
        let day = |text: &str| text.parse::<DateTime<Utc>>().expect("an instant");
        let starts_on = NaiveDate::from_ymd_opt(2026, 11, 2).expect("a day");
        assert_eq!(
            audience_ages_at(starts_on, day("2026-11-03T20:00:00Z")),
            day("2026-11-24T00:00:00Z")
        );
        assert_eq!(
            audience_ages_at(starts_on, day("2026-12-01T08:00:00Z")),
            day("2026-12-16T08:00:00Z")
        );
    }

    #[test]
    fn a_day_without_a_week_belongs_to_that_of_its_monday() {
        let of = |y, m, d| {
            let (name, monday) = week_of(NaiveDate::from_ymd_opt(y, m, d).expect("a day"));
            (name.as_str().to_owned(), monday.to_string())
        };
        assert_eq!(of(2026, 11, 22), ("Semaine du 16 novembre 2026".into(), "2026-11-16".into()));
        assert_eq!(of(2026, 6, 1), ("Semaine du 1er juin 2026".into(), "2026-06-01".into()));
    }

    #[test]
    fn spelling_does_not_make_a_second_week() {
        let fold = |raw| WeekName::try_new(raw).expect("a name").folded();
        assert_eq!(fold("Villa  NOVEMBRE 2026"), fold("villa novembre 2026"));
    }
}
