//! What the channel does: on and off air, polls, predictions, hype trains, goals, charity, ads, raids, shoutouts.

use crate::adapters::twitch::eventsub::fields::Fields;
use crate::domain::audience::happening::{Choice, Happening, Phase, What};

use super::support::amount;
use super::{Event, Reading};

pub(super) fn poll(event: &Event<'_>) -> Result<Option<Reading>, String> {
    let id = event.text("id")?;
    let phase = phase(event)?;
    let choices = choices(event, "choices", "votes", "channel_points_votes")?;
    let what = What::Poll { phase, title: event.words("title"), choices, id };
    lasting(event, what, phase)
}

pub(super) fn prediction(event: &Event<'_>) -> Result<Option<Reading>, String> {
    let id = event.text("id")?;
    let phase = phase(event)?;
    let outcomes = choices(event, "outcomes", "users", "channel_points")?;
    let winner = event.fields.text("winning_outcome_id").filter(|id| !id.is_empty());
    let what = What::Prediction { phase, title: event.words("title"), outcomes, winner, id };
    lasting(event, what, phase)
}

pub(super) fn hype_train(event: &Event<'_>) -> Result<Option<Reading>, String> {
    let id = event.text("id")?;
    let phase = phase(event)?;
    let what =
        What::HypeTrain { phase, level: event.number("level")?, total: event.number("total")?, id };
    lasting(event, what, phase)
}

pub(super) fn goal(event: &Event<'_>) -> Result<Option<Reading>, String> {
    let id = event.text("id")?;
    let phase = phase(event)?;
    let what = What::Goal {
        phase,
        kind: event.words("type"),
        description: event.words("description"),
        current: event.number("current_amount")?,
        target: event.number("target_amount")?,
        id,
    };
    lasting(event, what, phase)
}

pub(super) fn charity(event: &Event<'_>) -> Result<Option<Reading>, String> {
    let id = event.text("id")?;
    let phase = phase(event)?;
    let what = What::Charity {
        phase,
        name: event.words("charity_name"),
        raised: amount(&event.fields, "current_amount")?,
        target: amount(&event.fields, "target_amount").ok(),
        id,
    };
    lasting(event, what, phase)
}

/// Of one raid there are two tellings, each by a subscription for one of its ends.
pub(super) fn raid(event: &Event<'_>) -> Result<Option<Reading>, String> {
    let from = event.viewer("from_broadcaster_user")?;
    let to = event.viewer("to_broadcaster_user")?;
    let viewers = event.number("viewers")?;
    let set = |name| event.of.condition.get(name).is_some_and(|id: &String| !id.is_empty());
    let going = set("from_broadcaster_user_id") && !set("to_broadcaster_user_id");
    let (channel, what) = if going {
        (from.id, What::RaidOut { to, viewers })
    } else {
        (to.id, What::RaidIn { from, viewers })
    };
    Reading { what, channel, at: None, business_id: None }.done()
}

pub(super) fn ad_break(event: &Event<'_>) -> Result<Option<Reading>, String> {
    let duration_seconds = event.number("duration_seconds")?;
    let automatic = event.fields.flag("is_automatic").unwrap_or(false);
    let at = event.fields.time("started_at");
    let channel = event.channel()?;
    let once = at.map(|at| format!("ad_break:{channel}:{}", at.timestamp_micros()));
    event.tells(What::AdBreak { duration_seconds, automatic })?.at(at).once(once).done()
}

pub(super) fn shoutout_given(event: &Event<'_>) -> Result<Option<Reading>, String> {
    let to = event.viewer("to_broadcaster_user")?;
    let viewers = event.fields.number("viewer_count").unwrap_or(0);
    event.tells(What::ShoutoutGiven { to, viewers })?.at(event.fields.time("started_at")).done()
}

pub(super) fn shoutout_received(event: &Event<'_>) -> Result<Option<Reading>, String> {
    let from = event.viewer("from_broadcaster_user")?;
    let viewers = event.fields.number("viewer_count").unwrap_or(0);
    event
        .tells(What::ShoutoutReceived { from, viewers })?
        .at(event.fields.time("started_at"))
        .done()
}

pub(super) fn online(event: &Event<'_>) -> Result<Option<Reading>, String> {
    let stream_id = event.text("id")?;
    let once = format!("online:{stream_id}");
    let at = event.fields.time("started_at");
    event.tells(What::StreamOnline { stream_id })?.at(at).once(once).done()
}

pub(super) fn offline(event: &Event<'_>) -> Result<Option<Reading>, String> {
    let stream_id = event.fields.text("id").filter(|id| !id.is_empty());
    let once = stream_id.as_ref().map(|id| format!("offline:{id}"));
    event.tells(What::StreamOffline { stream_id })?.once(once).done()
}

pub(super) fn updated(event: &Event<'_>) -> Result<Option<Reading>, String> {
    let what = What::ChannelUpdated {
        title: event.text("title")?,
        category: event.words("category_name"),
    };
    event.tells(what)?.done()
}

fn phase(event: &Event<'_>) -> Result<Phase, String> {
    match event.verb() {
        "begin" | "start" => Ok(Phase::Begin),
        "progress" => Ok(Phase::Progress),
        "lock" => Ok(Phase::Lock),
        "end" | "stop" => Ok(Phase::End),
        other => Err(format!("phase `{other}` is none we know")),
    }
}

/// Begin, lock and end come once. Each progress is a standing of its own; hearing one twice changes nothing.
fn lasting(event: &Event<'_>, what: What, phase: Phase) -> Result<Option<Reading>, String> {
    let at = match phase {
        Phase::Progress => return event.tells(what)?.done(),
        Phase::Begin => event.fields.time("started_at"),
        Phase::Lock => event.fields.time("locked_at"),
        Phase::End => event.fields.time("ended_at").or_else(|| event.fields.time("stopped_at")),
    };
    let once = Happening::phase_id(&event.of.kind, &event.text("id")?);
    event.tells(what)?.at(at).once(once).done()
}

fn choices(
    event: &Event<'_>,
    list: &str,
    votes: &str,
    points: &str,
) -> Result<Vec<Choice>, String> {
    let choice = |choice: &Fields<'_>| {
        Ok(Choice {
            id: choice.need("id", Fields::text)?,
            title: choice.text("title").unwrap_or_default(),
            votes: choice.number(votes).unwrap_or(0),
            points: choice.number(points).unwrap_or(0),
        })
    };
    event.fields.objects(list).iter().map(choice).collect()
}
