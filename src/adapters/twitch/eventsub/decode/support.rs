//! What viewers give: follows, subs, bits, channel points, donations.

use crate::adapters::twitch::eventsub::fields::Fields;
use crate::domain::audience::happening::{Amount, Happening, Price, Tier, Viewer, What};

use super::{Event, Reading};

pub(super) fn followed(event: &Event<'_>) -> Result<Option<Reading>, String> {
    let viewer = event.viewer("user")?;
    let at = event.fields.time("followed_at");
    let channel = event.channel()?;
    let once = at.map(|at| Happening::follow_id(&channel, &viewer.id, at));
    event.tells(What::Followed { viewer })?.at(at).once(once).done()
}

/// It has no id and no time: that a second subscription told it twice cannot be seen here.
pub(super) fn subscribed(event: &Event<'_>) -> Result<Option<Reading>, String> {
    let viewer = event.viewer("user")?;
    let is_gift = event.fields.need("is_gift", Fields::flag)?;
    event.tells(What::Subscribed { viewer, tier: tier(event)?, is_gift })?.done()
}

pub(super) fn resubscribed(event: &Event<'_>) -> Result<Option<Reading>, String> {
    let viewer = event.viewer("user")?;
    let months = event.number("cumulative_months")?;
    // A month is told once; who changes the tier within one tells it again.
    let once = format!("resub:{}:{}:{months}:{}", event.channel()?, viewer.id, event.words("tier"));
    let text = event.fields.object("message").and_then(|message| message.text("text"));
    let text = text.unwrap_or_default();
    let what = What::Resubscribed { viewer, tier: tier(event)?, months, text };
    event.tells(what)?.once(once).done()
}

pub(super) fn subs_gifted(event: &Event<'_>) -> Result<Option<Reading>, String> {
    let gifter = named(event);
    let total = event.number("total")?;
    // The sum of all this viewer gave here, this gift included: it only grows.
    let ever = event.fields.number("cumulative_total");
    let channel = event.channel()?;
    let once = gifter.as_ref().zip(ever);
    let once = once.map(|(gifter, ever)| format!("gift:{channel}:{}:{ever}", gifter.id));
    event.tells(What::SubsGifted { gifter, total, tier: tier(event)? })?.once(once).done()
}

pub(super) fn bits_used(event: &Event<'_>) -> Result<Option<Reading>, String> {
    let bits = event.number("bits")?;
    event.tells(What::BitsUsed { viewer: named(event), bits })?.done()
}

pub(super) fn cheered(event: &Event<'_>) -> Result<Option<Reading>, String> {
    let bits = event.number("bits")?;
    event.tells(What::Cheered { viewer: named(event), bits })?.done()
}

/// Custom rewards, automatic ones of both versions, power-ups: they differ in what the price is called.
pub(super) fn redeemed(event: &Event<'_>) -> Result<Option<Reading>, String> {
    let redemption_id = event.text("id")?;
    let reward = event.fields.object("reward").or_else(|| event.fields.object("custom_power_up"));
    let title = |reward: &Fields<'_>| reward.text("title").or_else(|| reward.text("type"));
    let number = |name| {
        let within = reward.as_ref().and_then(|reward| reward.number(name));
        within.or_else(|| event.fields.number(name))
    };
    let price = if let Some(bits) = number("bits") {
        Price::Bits(bits)
    } else {
        let points = number("channel_points").or_else(|| number("cost"));
        Price::Points(points.ok_or("the reward's price is missing")?)
    };
    let typed = event.fields.object("message").and_then(|message| message.text("text"));
    let what = What::Redeemed {
        viewer: event.viewer("user")?,
        reward: reward.as_ref().and_then(title).unwrap_or_default(),
        price,
        text: event.fields.text("user_input").or(typed).unwrap_or_default(),
        redemption_id: redemption_id.clone(),
    };
    let once = format!("redemption:{redemption_id}");
    event.tells(what)?.at(event.fields.time("redeemed_at")).once(once).done()
}

pub(super) fn settled(event: &Event<'_>) -> Result<Option<Reading>, String> {
    let redemption_id = event.text("id")?;
    let status = event.text("status")?;
    let once = format!("redemption:{redemption_id}:{status}");
    let fulfilled = match status.as_str() {
        "fulfilled" => true,
        "canceled" => false,
        other => return Err(format!("status `{other}` is none we know")),
    };
    event.tells(What::RedemptionSettled { redemption_id, fulfilled })?.once(once).done()
}

pub(super) fn donated(event: &Event<'_>) -> Result<Option<Reading>, String> {
    let viewer = event.viewer("user")?;
    let amount = amount(&event.fields, "amount")?;
    let id = event.text("id")?;
    event.tells(What::Donated { viewer, amount })?.once(format!("donation:{id}")).done()
}

/// The amount of money in a field.
pub(super) fn amount(fields: &Fields<'_>, name: &str) -> Result<Amount, String> {
    let amount = fields.need(name, Fields::object)?;
    Ok(Amount {
        value: amount.need("value", Fields::number)?,
        decimal_places: amount.need("decimal_places", Fields::number)?,
        currency: amount.need("currency", Fields::text)?,
    })
}

/// Who gave, unless they stayed anonymous.
fn named(event: &Event<'_>) -> Option<Viewer> {
    let anonymous = event.fields.flag("is_anonymous").unwrap_or(false);
    event.viewer("user").ok().filter(|_| !anonymous)
}

fn tier(event: &Event<'_>) -> Result<Tier, String> {
    Ok(match event.text("tier")?.as_str() {
        "1000" => Tier::One,
        "2000" => Tier::Two,
        "3000" => Tier::Three,
        _ => Tier::Other,
    })
}
