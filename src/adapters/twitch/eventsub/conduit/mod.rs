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
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::adapters::twitch::eventsub::house::{House, LOOK_EVERY, Place};
use crate::adapters::twitch::eventsub::notice::missed;
use crate::adapters::twitch::eventsub::socket::{IN_FLIGHT, live};
use crate::adapters::twitch::eventsub::standing::{Standing, ask_app, keep_standing};
use crate::domain::audience::channel::ChannelId;
use crate::ports::audience_source::{Health, State};
use crate::ports::platform::{Conduit, DeliveryVia, PlatformError, Shard};

use self::shard::ShardLine;

/// How often the subscriptions are compared although no channel was linked or unlinked.
const STANDING_EVERY: Duration = Duration::from_mins(1);

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
        standing: BTreeMap::new(),
        kept_at: None,
        stop: stop.clone(),
    };
    house.look_around().await;
    loop {
        if let Err(error) = watch.look().await {
            tracing::warn!("the conduit: {error}");
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = house.look.notified() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
    house.leave().await;
}

struct Watch {
    house: Arc<House>,
    /// How many the conduit shall have.
    shards: u32,
    conduit: Option<Conduit>,
    held: BTreeMap<u32, Held>,
    /// The subscriptions of each channel at the last comparison.
    standing: BTreeMap<ChannelId, Standing>,
    kept_at: Option<Instant>,
    stop: CancellationToken,
}

impl Watch {
    async fn look(&mut self) -> Result<(), PlatformError> {
        let place = self.house.beat(self.held.keys().copied().collect(), self.health()).await;
        let conduit = self.conduit().await?;
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
            (self.conduit, self.kept_at) = (None, None);
            for (_, held) in std::mem::take(&mut self.held) {
                held.end.cancel();
            }
            self.house.look.notify_one();
        }
        self.share_out(&conduit, place, &listed?);
        if place.rank == 0 {
            self.keep_standing(&conduit).await?;
        }
        *self.house.healths() = self.health();
        Ok(())
    }

    /// The application's conduit: the first there is, or a new one of the size that is set.
    async fn conduit(&mut self) -> Result<Conduit, PlatformError> {
        if let Some(conduit) = &self.conduit {
            return Ok(conduit.clone());
        }
        let house = &self.house;
        let mut conduit = match first_conduit(house).await? {
            Some(conduit) => conduit,
            None => make_conduit(house, self.shards).await?,
        };
        if conduit.shards != self.shards {
            let (id, shards) = (conduit.id.as_str(), self.shards);
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
        tracing::info!(conduit = conduit.id, shards = conduit.shards, "listening by conduit");
        self.conduit = Some(conduit.clone());
        Ok(conduit)
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
                held.end.cancel();
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
        let linked = self.house.bearers.channels().await.map_err(PlatformError::Passing)?;
        let is_changed = !linked.iter().eq(self.standing.keys());
        if !is_changed && self.kept_at.is_some_and(|at| at.elapsed() < STANDING_EVERY) {
            return Ok(());
        }
        let via = DeliveryVia::Conduit { conduit_id: conduit.id.clone() };
        self.standing = keep_standing(&self.house, &via).await?;
        self.kept_at = Some(Instant::now());
        tell_mended(&self.house, &self.standing).await;
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

async fn first_conduit(house: &House) -> Result<Option<Conduit>, PlatformError> {
    let all = ask_app(house, |bearer| async move { house.deliveries.conduits(&bearer).await });
    Ok(all.await?.into_iter().min_by(|a, b| a.id.cmp(&b.id)))
}

/// Makes one. Two who do so at once both take the first, and the other one goes.
async fn make_conduit(house: &House, shards: u32) -> Result<Conduit, PlatformError> {
    let made =
        ask_app(
            house,
            |bearer| async move { house.deliveries.create_conduit(&bearer, shards).await },
        )
        .await?;
    let first = first_conduit(house).await?.unwrap_or_else(|| made.clone());
    if first.id != made.id {
        let id = made.id.as_str();
        ask_app(house, |bearer| async move { house.deliveries.delete_conduit(&bearer, id).await })
            .await?;
    }
    Ok(first)
}

/// Shards go round among those who listen.
fn is_ours(shard: u32, place: Place) -> bool {
    usize::try_from(shard).is_ok_and(|shard| shard % place.of == place.rank)
}

/// Subscriptions that had fallen and stand again: what they would have brought meanwhile may be missing.
pub(super) async fn tell_mended(house: &House, standing: &BTreeMap<ChannelId, Standing>) {
    for (channel, _) in standing.iter().filter(|(_, standing)| standing.is_mended) {
        let now = house.clock.now();
        if let Some(heard) = house.bearers.heard_until(channel).await {
            house.tell(missed(channel, heard - IN_FLIGHT, now, "subscriptions had fallen")).await;
        }
    }
}

/// A lock whose holder cannot break what it guards.
fn hold<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
