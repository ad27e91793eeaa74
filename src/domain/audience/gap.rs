//! A gap in listening: a stretch in which events may have been missed.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::domain::audience::channel::ChannelId;
use crate::domain::audience::happening::What;
use crate::domain::audience::notice::Notice;

/// A gap that was told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToldGap {
    pub channel: ChannelId,
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
}

impl ToldGap {
    /// The gap a notice tells of; `None` when it tells something else.
    pub fn of(notice: &Notice) -> Option<Self> {
        let What::Missed { from, to, .. } = notice.happening()?.what else { return None };
        let channel = ChannelId::try_new(notice.channel.clone()).ok()?;
        (from < to).then_some(Self { channel, from, to })
    }

    /// What tells this gap from every other.
    pub fn key(&self) -> String {
        let Self { channel, from, to } = self;
        format!("{channel}:{}:{}", from.timestamp_millis(), to.timestamp_millis())
    }

    /// Whether something happened in it. The platform's lists know no fractions of a second: its first second counts whole.
    pub fn holds(&self, at: DateTime<Utc>) -> bool {
        at.timestamp() >= self.from.timestamp() && at <= self.to
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_holds_what_the_platform_dates_by_whole_seconds() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().expect("an instant");
        let channel = ChannelId::try_new("1001").expect("a number");
        let (from, to) = (at("2026-11-18T19:00:05.7Z"), at("2026-11-18T19:01:00.2Z"));
        let gap = ToldGap { channel, from, to };
        assert!(gap.holds(at("2026-11-18T19:00:05Z")) && gap.holds(at("2026-11-18T19:01:00Z")));
        assert!(!gap.holds(at("2026-11-18T19:00:04Z")) && !gap.holds(at("2026-11-18T19:01:01Z")));
    }
}
