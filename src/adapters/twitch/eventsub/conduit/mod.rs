//! EventSub by conduit: subscriptions in the application's name that outlive every socket, delivered over shards, each a
//! socket of one of the processes that listen.
//!
//! ```text
//!   watch ──► who listens ──► which shards are ours ──► a line each (`shard`), as any socket
//!        └──► the longest listening keeps the subscriptions standing (`standing`)
//! ```
//! Twitch's own list of shards is the truth: a shard that somebody else attached is let go of without a gap, one that is
//! not enabled is attached anew.

mod shard;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::adapters::twitch::eventsub::house::{House, LOOK_EVERY, Place};
use crate::adapters::twitch::eventsub::socket::{LINGER, live};
use crate::adapters::twitch::eventsub::standing::{Standing, ask_app, keep_standing};
use crate::domain::audience::channel::ChannelId;
use crate::ports::audience_source::{Health, State};
use crate::ports::platform::{Conduit, DeliveryVia, PlatformError, Shard};

use self::shard::ShardLine;

/// How often the conduit and its subscriptions are looked at although nothing says that they changed.
const STANDING_EVERY: Duration = Duration::from_secs(30);

/// A shard of ours and what ends its life.
struct Held {
    line: Arc<ShardLine>,
    end: CancellationToken,
}

/// Keeps this process's share of the conduit until `stop`.
pub(super) async fn watch(house: Arc<House>, shards: u32, stop: CancellationToken) {
    let mut watch = Watch {
        house: house.clone(),
        shards,
        conduit: None,
        held: BTreeMap::new(),
        made: None,
        found_at: None,
        standing: BTreeMap::new(),
        kept_at: None,
        stop: stop.clone(),
    };
    let speaking = house.speak_up(stop.clone()).await;
    loop {
        if let Err(error) = watch.look().await {
            tracing::warn!("the conduit: {error}");
        }
        tokio::select! {
            () = stop.cancelled() => break,
            // A subscription may have fallen.
            () = house.look.notified() => watch.kept_at = None,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
    house.leave(speaking).await;
}

struct Watch {
    house: Arc<House>,
    /// How many the conduit shall have.
    shards: u32,
    conduit: Option<Conduit>,
    found_at: Option<Instant>,
    /// The conduit this process made, if it made one.
    made: Option<String>,
    held: BTreeMap<u32, Held>,
    /// The subscriptions of each channel at the last comparison.
    standing: BTreeMap<ChannelId, Standing>,
    kept_at: Option<Instant>,
    stop: CancellationToken,
}

impl Watch {
    async fn look(&mut self) -> Result<(), PlatformError> {
        let place = self.house.place();
        let Some(conduit) = self.conduit(place).await? else {
            tracing::info!("the conduit is waited for: who listens longest makes it");
            return Ok(());
        };
        let listed = ask_app(&self.house, |bearer| {
            let (house, id) = (self.house.clone(), conduit.id.clone());
            async move { house.deliveries.shards(&bearer, &id).await }
        })
        .await;
        if matches!(listed, Err(PlatformError::NotFound)) {
            tracing::warn!(
                conduit = conduit.id,
                "the conduit is gone: another one takes its place"
            );
            self.let_go();
            self.house.look.notify_one();
        }
        self.share_out(&conduit, place, &listed?);
        self.house.holds(self.held.keys().copied().collect());
        if place.rank == 0 {
            self.keep_standing(&conduit).await?;
        }
        *self.house.healths() = self.health();
        Ok(())
    }

    /// The application's conduit: the first there is, by its id, so that all who listen settle on the same. Who has listened
    /// longest makes it when there is none, and gives it the size that is set; `None` until then.
    async fn conduit(&mut self, place: Place) -> Result<Option<Conduit>, PlatformError> {
        if self.conduit.is_some() && self.found_at.is_some_and(|at| at.elapsed() < STANDING_EVERY) {
            return Ok(self.conduit.clone());
        }
        let house = &self.house;
        let all = ask_app(house, |bearer| async move { house.deliveries.conduits(&bearer).await });
        let first = all.await?.into_iter().min_by(|a, b| a.id.cmp(&b.id));
        let (has_first, shards) = (first.is_some(), self.shards);
        let mut conduit = match first {
            Some(conduit) => conduit,
            None if place.rank > 0 => return Ok(None),
            None => {
                let made = ask_app(house, |bearer| async move {
                    house.deliveries.create_conduit(&bearer, shards).await
                });
                made.await?
            }
        };
        if !has_first {
            self.made = Some(conduit.id.clone());
        }
        if conduit.shards != shards && place.rank == 0 {
            let id = conduit.id.as_str();
            tracing::info!(
                conduit = id,
                from = conduit.shards,
                to = shards,
                "the conduit is resized"
            );
            conduit = ask_app(house, |bearer| async move {
                house.deliveries.resize_conduit(&bearer, id, shards).await
            })
            .await?;
        }
        // Of two processes that made one each, because neither saw the other yet, one gives way.
        if let Some(spare) = self.made.take_if(|made| *made != conduit.id) {
            tracing::warn!(spare, conduit = conduit.id, "another spark made a conduit as well");
            let id = spare.as_str();
            let gone = ask_app(house, |bearer| async move {
                house.deliveries.delete_conduit(&bearer, id).await
            });
            match gone.await {
                Ok(()) | Err(PlatformError::NotFound) => {}
                Err(error) => {
                    self.made = Some(spare);
                    return Err(error);
                }
            }
        }
        if self.conduit.as_ref().is_some_and(|known| known.id != conduit.id) {
            self.let_go();
        }
        if self.conduit.as_ref() != Some(&conduit) {
            tracing::info!(conduit = conduit.id, shards = conduit.shards, "listening by conduit");
        }
        // One that was just made may have a twin that its list does not show yet: it is looked for at the next look.
        self.found_at = has_first.then(Instant::now);
        self.conduit = Some(conduit);
        Ok(self.conduit.clone())
    }

    /// Leaves the conduit.
    fn let_go(&mut self) {
        (self.conduit, self.found_at, self.kept_at) = (None, None, None);
        for (_, held) in std::mem::take(&mut self.held) {
            held.end.cancel();
        }
    }

    /// Takes the shards that are ours now, and lets go of those that somebody else has taken.
    fn share_out(&mut self, conduit: &Conduit, place: Place, listed: &[Shard]) {
        let at_twitch = |number: u32| listed.iter().find(|shard| shard.id == number.to_string());
        self.held.retain(|number, held| {
            let session = at_twitch(*number).and_then(|shard| shard.session_id.as_deref());
            let is_elsewhere = session.is_some_and(|session| !held.line.is_on(session))
                && at_twitch(*number).is_some_and(|shard| shard.status == "enabled");
            let goes = *number >= conduit.shards
                || (is_elsewhere && !is_ours(*number, place) && held.line.is_attached());
            if goes {
                tracing::info!(shard = number, "the shard is listened to by another spark");
                // What Twitch sent before may be on its way.
                let end = held.end.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(LINGER).await;
                    end.cancel();
                });
            }
            !goes
        });
        for number in (0..conduit.shards).filter(|number| is_ours(*number, place)) {
            let shard = at_twitch(number);
            if let Some(held) = self.held.get(&number) {
                held.line.seen(shard);
                continue;
            }
            let end = self.stop.child_token();
            let line = ShardLine::new(self.house.clone(), conduit.id.clone(), number, shard);
            let line = Arc::new(line);
            tokio::spawn(live(self.house.clone(), line.clone(), end.clone()));
            self.held.insert(number, Held { line, end });
        }
    }

    async fn keep_standing(&mut self, conduit: &Conduit) -> Result<(), PlatformError> {
        let linked = self.house.channels().await.map_err(PlatformError::Passing)?;
        let is_changed = !linked.iter().eq(self.standing.keys());
        if !is_changed && self.kept_at.is_some_and(|at| at.elapsed() < STANDING_EVERY) {
            return Ok(());
        }
        let via = DeliveryVia::Conduit { conduit_id: conduit.id.clone() };
        self.standing = keep_standing(&self.house, &via).await?;
        self.kept_at = Some(Instant::now());
        Ok(())
    }

    /// How listening to each channel does: its subscriptions, and the best of our shards.
    fn health(&self) -> BTreeMap<ChannelId, Health> {
        let shards: Vec<Health> = self.held.values().map(|held| held.line.health()).collect();
        let best = shards
            .iter()
            .max_by_key(|health| (health.state == State::Listening, health.last_frame_at))
            .cloned()
            .unwrap_or_default();
        let reconnects = shards.iter().map(|health| health.reconnects).sum();
        let unknown = shards.iter().map(|health| health.unknown).sum();
        let of_channel = |(channel, standing): (&ChannelId, &Standing)| {
            let mut health = Health { unknown, reconnects, ..best.clone() };
            standing.opened.tell(&mut health);
            (channel.clone(), health)
        };
        self.standing.iter().map(of_channel).collect()
    }
}

/// Shards go round among those who listen.
fn is_ours(shard: u32, place: Place) -> bool {
    usize::try_from(shard).is_ok_and(|shard| shard % place.of == place.rank)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shard_is_somebodys_and_nobody_has_two_more_than_another() {
        for of in 1..5 {
            for shards in 0..9 {
                let shares: Vec<usize> = (0..of)
                    .map(|rank| (0..shards).filter(|it| is_ours(*it, Place { rank, of })).count())
                    .collect();
                assert_eq!(shares.iter().sum::<usize>(), shards as usize, "each once");
                let (least, most) = (shares.iter().min(), shares.iter().max());
                assert!(most.zip(least).is_some_and(|(most, least)| most - least <= 1));
            }
        }
    }
}
