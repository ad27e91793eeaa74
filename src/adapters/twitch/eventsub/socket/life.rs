//! The life of one channel's socket: session after session, with a pause that grows and no last attempt. What may have been
//! missed in between is told as a notice.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use crate::adapters::twitch::eventsub::socket::House;
use crate::adapters::twitch::eventsub::socket::session::{End, IN_FLIGHT, Session};
use crate::domain::audience::channel::ChannelId;
use crate::domain::audience::happening::{Happening, What};
use crate::domain::audience::notice::{Notice, Reading};
use crate::ports::audience_source::State;

/// First pause before another connection; it doubles up to the longest, each cut by chance to half at least.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// A session that lasted this long was a good one: the next pause is the first again.
const GOOD_SESSION: Duration = Duration::from_mins(1);

/// Keeps one channel listened to until `stop`.
pub(super) async fn live(house: Arc<House>, channel: ChannelId, stop: CancellationToken) {
    let mut pause = PAUSE_FIRST;
    // Since when events may have been missed.
    let mut deaf_since = house.bearers.heard_until(&channel).await.map(|heard| heard - IN_FLIGHT);
    let mut reason = "spark was not running".to_owned();
    loop {
        house.note(&channel, |health| health.state = State::Connecting);
        let began = Instant::now();
        let session = Session::new(&house, &channel);
        let lasted = stop.run_until_cancelled(session.last(deaf_since, &reason)).await;
        let Some(ended) = lasted else { return };
        deaf_since = ended.deaf_since;
        reason = ended.end.to_string();
        if matches!(ended.end, End::Revoked) {
            tracing::warn!(%channel, "the channel's permission ended: no more is heard of it");
            house.note(&channel, |health| health.state = State::Revoked);
            house.bearers.revoked(&channel).await;
            // Linked anew, the channel gets a new life.
            stop.cancelled().await;
            return;
        }
        if began.elapsed() > GOOD_SESSION {
            pause = PAUSE_FIRST;
        }
        let chance = f64::from(house.clock.new_secret()[0]) / 256.0;
        let wait = pause.mul_f64(0.5 + chance / 2.0);
        ended.end.log(&channel, wait);
        house.note(&channel, |health| {
            health.state = State::Waiting;
            health.reconnects += 1;
            health.last_end = Some(reason.clone());
        });
        if stop.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
            return;
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// What says that something may have been missed.
pub(super) fn missed(
    channel: &ChannelId,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    reason: &str,
) -> Notice {
    let message_id =
        format!("missed:{channel}:{}:{}", from.timestamp_millis(), to.timestamp_millis());
    let what = What::Missed { from, to, reason: reason.to_owned() };
    let happening = Happening {
        message_id: message_id.clone(),
        at: to,
        channel: channel.to_string(),
        business_id: None,
        what,
    };
    Notice {
        message_id,
        heard_at: to,
        channel: channel.to_string(),
        kind: "spark.missed".to_owned(),
        version: "1".to_owned(),
        raw: serde_json::json!({ "from": from, "to": to, "reason": reason }).to_string(),
        reading: Reading::Understood(Box::new(happening)),
    }
}
