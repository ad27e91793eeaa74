//! Subscriptions made in the application's name, for a conduit or for webhooks: what stands at Twitch is compared with what
//! the linked channels allow, and mended. They outlive every socket and every process of ours.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use futures::StreamExt;
use futures::stream;

use crate::adapters::twitch::eventsub::catalogue::{CATALOGUE, Condition, SubscriptionType};
use crate::adapters::twitch::eventsub::house::{House, NeverCompared};
use crate::adapters::twitch::eventsub::notice::missed;
use crate::adapters::twitch::eventsub::socket::{IN_FLIGHT, Opened};
use crate::domain::audience::channel::{ChannelId, Feature};
use crate::ports::platform::{
    Bearer, DeliveryVia, ListedSubscription, PlatformError, SubscriptionFilter, SubscriptionOrder,
};

/// Requests under way at once.
const AT_ONCE: usize = 8;
/// Tries for one subscription within one look; the next look tries again.
const TRIES_MAX: u32 = 3;
/// Whose reading or condition needs the reader's and the channel's leave when an application asks.
const READERS: &str = "user_id";

/// How the subscriptions of a channel stand.
#[derive(Debug, Default)]
pub(super) struct Standing {
    pub(super) opened: Opened,
    /// The kinds that stood, and those that had to be made: they are new, or had fallen.
    pub(super) there: Vec<String>,
    pub(super) made: Vec<String>,
}

/// What is wanted: whose it is, and the order. Without a channel it is the application's own.
type Wanted = (Option<ChannelId>, SubscriptionOrder);

/// Makes what stands at Twitch by this way what the linked channels allow; says how each of them stands.
pub(super) async fn keep_standing(
    house: &House,
    via: &DeliveryVia,
) -> Result<BTreeMap<ChannelId, Standing>, PlatformError> {
    let begun_at = house.clock.now();
    let channels = house.channels().await.map_err(PlatformError::Passing)?;
    let mut standing: BTreeMap<ChannelId, Standing> = BTreeMap::new();
    let mut wanted: Vec<Wanted> = Vec::new();
    for channel in channels {
        let granted = house.bearers.scopes(&channel).await.map_err(PlatformError::Passing)?;
        let granted: BTreeSet<&str> = granted.iter().map(String::as_str).collect();
        let of_channel = standing.entry(channel.clone()).or_default();
        for kind in CATALOGUE.iter().filter(|kind| !kind.app_token) {
            match lacks(kind, &granted) {
                None => wanted.push((Some(channel.clone()), order(kind, channel.as_str(), via))),
                Some(Lack::Bot(reason)) => {
                    of_channel.opened.refused.push((kind.kind.to_owned(), reason));
                }
                // Not granted at all: the page of channels tells what it costs.
                Some(Lack::Scope) => {}
            }
        }
    }
    let own = CATALOGUE.iter().filter(|kind| kind.app_token);
    wanted.extend(own.map(|kind| (None, order(kind, &house.client_id, via))));

    let listed = ask_app(house, |bearer| async move {
        house.deliveries.subscriptions(&bearer, &filter(via)).await
    })
    .await?;
    let (sound, fallen): (Vec<ListedSubscription>, Vec<ListedSubscription>) = listed
        .into_iter()
        .filter(|it| is_by(it, via))
        .partition(|it| it.status == "enabled" || it.status.ends_with("verification_pending"));
    let stands = |order: &SubscriptionOrder| sound.iter().any(|it| is_same(it, order));
    let unwanted = sound.iter().filter(|it| !wanted.iter().any(|(_, order)| is_same(it, order)));
    for subscription in unwanted.chain(&fallen) {
        ask_app(house, |bearer| async move {
            house.deliveries.unsubscribe(&bearer, &subscription.id).await
        })
        .await?;
    }
    let (there, missing): (Vec<Wanted>, Vec<Wanted>) =
        wanted.into_iter().partition(|(_, order)| stands(order));
    for (channel, order) in there {
        if let Some(standing) = channel.and_then(|channel| standing.get_mut(&channel)) {
            standing.there.push(order.kind);
        }
    }
    let made: Vec<(Option<ChannelId>, String, Result<(), PlatformError>)> = stream::iter(missing)
        .map(|(channel, order)| async move {
            let made = subscribe(house, &order).await;
            (channel, order.kind, made)
        })
        .buffered(AT_ONCE)
        .collect()
        .await;
    for (channel, kind, made) in made {
        if let Err(error) = &made {
            tracing::warn!(
                channel = channel.as_ref().map(ChannelId::as_str),
                kind,
                "cannot subscribe: {error}"
            );
        }
        let Some(standing) = channel.and_then(|channel| standing.get_mut(&channel)) else {
            continue;
        };
        match made {
            Ok(()) => standing.made.push(kind),
            Err(error) => standing.opened.refused.push((kind, error.to_string())),
        }
    }
    for standing in standing.values_mut() {
        standing.opened.confirmed = standing.there.len() + standing.made.len();
    }
    tell_mended(house, via, &standing, begun_at).await;
    Ok(standing)
}

/// Subscriptions that had fallen and stand again: what they would have brought meanwhile may be missing, from the last
/// comparison on that found them standing. What fails to reach an address of ours was lost before Twitch gave up.
async fn tell_mended(
    house: &House,
    via: &DeliveryVia,
    standing: &BTreeMap<ChannelId, Standing>,
    begun_at: DateTime<Utc>,
) {
    let is_posted = matches!(via, DeliveryVia::Webhook { .. });
    for (channel, of_channel) in standing {
        let fell_after = match house.stands(channel, of_channel, begun_at) {
            Ok(None) => None,
            Ok(Some(stood_at)) if !is_posted => Some(stood_at),
            Ok(Some(stood_at)) => {
                house.bearers.heard_until(channel).await.map(|heard| heard.min(stood_at))
            }
            Err(NeverCompared) if of_channel.made.is_empty() => None,
            Err(NeverCompared) => house.bearers.heard_until(channel).await,
        };
        if let Some(from) = fell_after {
            let (from, now) = (from - IN_FLIGHT, house.clock.now());
            house.tell(missed(channel, from, now, "subscriptions had fallen")).await;
        }
    }
    house.forget_others(standing);
}

/// Asks in the application's name; with a new token when the old one is taken no longer.
pub(super) async fn ask_app<T, Asked>(
    house: &House,
    ask: impl Fn(Bearer) -> Asked,
) -> Result<T, PlatformError>
where
    Asked: Future<Output = Result<T, PlatformError>>,
{
    let bearer = house.bearers.app().await?;
    match ask(bearer.clone()).await {
        Err(PlatformError::Unauthorised) => ask(house.bearers.renewed(&bearer).await?).await,
        answer => answer,
    }
}

/// Why a kind cannot be subscribed to.
enum Lack {
    Scope,
    /// Only an application needs it.
    Bot(String),
}

fn lacks(kind: &SubscriptionType, granted: &BTreeSet<&str>) -> Option<Lack> {
    let granted: Vec<&str> = granted.iter().copied().collect();
    if !kind.is_allowed(&granted) {
        return Some(Lack::Scope);
    }
    let reads_chat = kind.condition.iter().any(|field| field.as_str() == READERS);
    let missing: Vec<&str> = Feature::Conduits
        .scopes()
        .iter()
        .copied()
        .filter(|scope| reads_chat && !granted.contains(scope))
        .collect();
    (!missing.is_empty()).then(|| Lack::Bot(format!("permission missing: {}", missing.join(", "))))
}

/// In every field of a condition stands `whom`: a channel's owner reads its chat and moderates it.
fn order(kind: &SubscriptionType, whom: &str, via: &DeliveryVia) -> SubscriptionOrder {
    let fields = kind.condition.iter().map(|field| Condition::as_str(*field));
    SubscriptionOrder {
        kind: kind.kind.to_owned(),
        version: kind.version.to_owned(),
        condition: fields.map(|field| (field.to_owned(), whom.to_owned())).collect(),
        via: via.clone(),
    }
}

fn filter(via: &DeliveryVia) -> SubscriptionFilter {
    match via {
        DeliveryVia::Conduit { conduit_id } => SubscriptionFilter::Conduit(conduit_id.clone()),
        _ => SubscriptionFilter::All,
    }
}

fn is_by(listed: &ListedSubscription, via: &DeliveryVia) -> bool {
    match via {
        DeliveryVia::Conduit { conduit_id } => listed.conduit_id.as_ref() == Some(conduit_id),
        // Marked by another secret, it is ours still.
        DeliveryVia::Webhook { callback, .. } => {
            let place = |address: &str| address.split('?').next().unwrap_or_default().to_owned();
            listed.callback.as_deref().map(place) == Some(place(callback))
        }
        DeliveryVia::Socket { session_id } => listed.session_id.as_ref() == Some(session_id),
    }
}

/// Fields that a listed condition leaves empty are none.
fn is_same(listed: &ListedSubscription, order: &SubscriptionOrder) -> bool {
    let said = listed.condition.iter().filter(|(_, value)| !value.is_empty());
    let is_there = match &order.via {
        DeliveryVia::Webhook { callback, .. } => listed.callback.as_ref() == Some(callback),
        _ => true,
    };
    is_there
        && listed.kind == order.kind
        && listed.version == order.version
        && said.eq(order.condition.iter())
}

async fn subscribe(house: &House, order: &SubscriptionOrder) -> Result<(), PlatformError> {
    let mut tries = 1;
    loop {
        let asked =
            ask_app(
                house,
                |bearer| async move { house.deliveries.subscribe(&bearer, order).await },
            );
        match asked.await {
            // Another process made it a moment ago.
            Ok(_) | Err(PlatformError::Conflict { .. }) => return Ok(()),
            Err(error) if tries < TRIES_MAX && error.may_pass() => tries += 1,
            Err(error) => return Err(error),
        }
    }
}
