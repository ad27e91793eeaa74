//! The life of one line: session after session, with a pause that grows and no last attempt. What may have been
//! missed in between is told as a notice.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::adapters::twitch::eventsub::house::House;
use crate::adapters::twitch::eventsub::socket::Line;
use crate::adapters::twitch::eventsub::socket::session::{End, Session};
use crate::ports::audience_source::State;

/// First pause before another connection; it doubles up to the longest, each cut by chance to half at least.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// A session that lasted this long was a good one: the next pause is the first again.
const GOOD_SESSION: Duration = Duration::from_mins(1);

/// Keeps one line listened to until `stop`.
pub(in crate::adapters::twitch::eventsub) async fn live(
    house: Arc<House>,
    line: Arc<dyn Line>,
    stop: CancellationToken,
) {
    let mut pause = PAUSE_FIRST;
    // Since when events may have been missed.
    let mut deaf_since = line.deaf_since().await;
    let mut reason = "spark was not running".to_owned();
    loop {
        line.note(&mut |health| health.state = State::Connecting);
        let began = Instant::now();
        let session = Session::new(&house, &line);
        let ended = session.last(deaf_since, &reason, &stop).await;
        if matches!(ended.end, End::Stopped) {
            return;
        }
        deaf_since = ended.deaf_since;
        reason = ended.end.to_string();
        if matches!(ended.end, End::Revoked) {
            line.over().await;
            // Allowed anew, it gets a new life.
            stop.cancelled().await;
            return;
        }
        if began.elapsed() > GOOD_SESSION {
            pause = PAUSE_FIRST;
        }
        let chance = f64::from(house.clock.new_secret()[0]) / 256.0;
        let wait = pause.mul_f64(0.5 + chance / 2.0);
        ended.end.log(&*line, wait);
        line.note(&mut |health| {
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
