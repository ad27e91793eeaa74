//! Subscribing after a fresh welcome: everything the channel allows, the most important first, within Twitch's ten seconds.
//! What stands already from a dead session is taken down first.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::StreamExt;
use futures::stream;

use crate::adapters::twitch::eventsub::catalogue::{CATALOGUE, SubscriptionType};
use crate::adapters::twitch::eventsub::house::House;
use crate::domain::audience::channel::ChannelId;
use crate::ports::PortError;
use crate::ports::platform::{
    Bearer, DeliveryVia, PlatformError, SubscriptionFilter, SubscriptionOrder,
};

/// Requests under way at once.
const AT_ONCE: usize = 8;
/// Longest wait for one answer, waiting for points included.
const ANSWER_MAX: Duration = Duration::from_secs(20);
/// Tries for one subscription: a fault that passes must not cost the others their ten seconds.
const TRIES_MAX: u32 = 3;

/// Subscribes a session to everything its channel allows but what it `has`; says how each kind went.
pub(super) async fn subscribe_rest(
    house: &House,
    channel: &ChannelId,
    session_id: &str,
    has: &BTreeSet<String>,
) -> Result<Vec<(String, Result<(), PlatformError>)>, PortError> {
    let granted = house.bearers.scopes(channel).await?;
    let granted: Vec<&str> = granted.iter().map(String::as_str).collect();
    let wanted: Vec<SubscriptionOrder> = CATALOGUE
        .iter()
        .filter(|kind| !kind.app_token && kind.is_allowed(&granted) && !has.contains(kind.kind))
        .map(|kind| order(kind, channel, session_id))
        .collect();
    Ok(stream::iter(wanted)
        .map(|order| async move {
            let outcome = subscribe(house, channel, session_id, &order).await;
            (order.kind, outcome)
        })
        .buffered(AT_ONCE)
        .collect()
        .await)
}

/// In every field of a condition stands the channel itself: its owner reads its chat and moderates it.
fn order(kind: &SubscriptionType, channel: &ChannelId, session_id: &str) -> SubscriptionOrder {
    let fields = kind.condition.iter();
    SubscriptionOrder {
        kind: kind.kind.to_owned(),
        version: kind.version.to_owned(),
        condition: fields.map(|field| (field.as_str().to_owned(), channel.to_string())).collect(),
        via: DeliveryVia::Socket { session_id: session_id.to_owned() },
    }
}

async fn subscribe(
    house: &House,
    channel: &ChannelId,
    session_id: &str,
    order: &SubscriptionOrder,
) -> Result<(), PlatformError> {
    let mut bearer = house.bearers.bearer(channel).await?;
    let mut tries = 1;
    loop {
        let asked = tokio::time::timeout(ANSWER_MAX, house.deliveries.subscribe(&bearer, order));
        let error = match asked.await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) if tries == TRIES_MAX => return Err(error),
            Ok(Err(error)) => error,
            Err(late) => return Err(PlatformError::Passing(PortError::passing("subscribe", late))),
        };
        tries += 1;
        match error {
            PlatformError::Unauthorised => bearer = house.bearers.renewed(&bearer).await?,
            // It stands: on this session it is what we want, on a dead one it hears nothing.
            PlatformError::Conflict { .. } => {
                let filter = SubscriptionFilter::Kind(order.kind.clone());
                let standing = house.deliveries.subscriptions(&bearer, &filter).await?;
                let mut same = standing
                    .iter()
                    .filter(|it| it.version == order.version && it.condition == order.condition);
                if same.clone().any(|it| it.session_id.as_deref() == Some(session_id)) {
                    return Ok(());
                }
                let Some(dead) = same.next() else { return Err(error) };
                house.deliveries.unsubscribe(&bearer, &dead.id).await?;
            }
            error if error.may_pass() => {}
            error => return Err(error),
        }
    }
}

/// Takes down what dead sessions left: it counts against the limits. A fault here costs nothing that is heard.
pub(super) async fn clear_dead(house: &House, channel: &ChannelId, session_id: &str) {
    let cleared = async {
        let bearer: Bearer = house.bearers.bearer(channel).await?;
        let all = house.deliveries.subscriptions(&bearer, &SubscriptionFilter::All).await?;
        let dead = all.into_iter().filter(|it| {
            it.method == "websocket"
                && it.status != "enabled"
                && it.session_id.as_deref() != Some(session_id)
        });
        for subscription in dead {
            house.deliveries.unsubscribe(&bearer, &subscription.id).await?;
        }
        Ok::<(), PlatformError>(())
    };
    if let Err(error) = cleared.await {
        tracing::info!(%channel, "what dead sessions left stays for now: {error}");
    }
}
