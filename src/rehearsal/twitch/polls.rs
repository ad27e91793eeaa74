//! Polls: begun by a call or by the script, voted on in steps, ended by the clock.

use std::sync::Arc;

use chrono::TimeDelta;
use serde_json::{Value, json};
use uuid::Uuid;

use super::people::Person;
use super::stage::{Stage, State, now, rfc3339};

/// How often a poll's standing is told while it runs.
const STANDINGS: u32 = 3;

impl State {
    /// Begins a poll and returns Helix's object of it.
    pub(super) fn begin_poll(
        &mut self,
        channel: &Person,
        title: &str,
        choices: &[String],
        seconds: u32,
    ) -> Value {
        let started_at = now();
        let choices: Vec<Value> = choices
            .iter()
            .map(|title| {
                json!({"id": Uuid::new_v4(), "title": title, "votes": 0, "channel_points_votes": 0, "bits_votes": 0})
            })
            .collect();
        let poll = json!({
            "id": Uuid::new_v4(), "broadcaster_id": channel.id, "broadcaster_name": channel.name,
            "broadcaster_login": channel.login, "title": title, "choices": choices,
            "bits_voting_enabled": false, "bits_per_vote": 0, "channel_points_voting_enabled": false,
            "channel_points_per_vote": 0, "status": "ACTIVE", "duration": seconds,
            "started_at": rfc3339(started_at), "ended_at": null,
        });
        if let Some(place) = self.channel(&channel.id) {
            place.polls.insert(0, poll.clone());
        }
        self.tell_poll(channel, "channel.poll.begin", &poll);
        poll
    }

    /// Viewers vote, and the standing is told. False when the poll does not run any more.
    pub(super) fn vote(&mut self, channel: &Person, poll_id: &str) -> bool {
        let mut dice = self.dice.clone();
        let poll = self.running_poll(channel, poll_id);
        let told = poll.map(|poll| {
            for choice in poll["choices"].as_array_mut().into_iter().flatten() {
                let votes = choice["votes"].as_u64().unwrap_or(0) + dice.below(40) as u64;
                choice["votes"] = votes.into();
            }
            poll.clone()
        });
        self.dice = dice;
        let Some(poll) = told else { return false };
        self.tell_poll(channel, "channel.poll.progress", &poll);
        true
    }

    /// Ends a poll with this status of Helix (`COMPLETED`, `TERMINATED`, `ARCHIVED`); its object, if it ran.
    pub(super) fn end_poll(
        &mut self,
        channel: &Person,
        poll_id: &str,
        status: &str,
    ) -> Option<Value> {
        let poll = self.running_poll(channel, poll_id)?;
        poll["status"] = status.into();
        poll["ended_at"] = rfc3339(now()).into();
        let poll = poll.clone();
        self.tell_poll(channel, "channel.poll.end", &poll);
        Some(poll)
    }

    fn running_poll(&mut self, channel: &Person, poll_id: &str) -> Option<&mut Value> {
        let running = |poll: &&mut Value| poll["id"] == poll_id && poll["status"] == "ACTIVE";
        self.channel(&channel.id)?.polls.iter_mut().find(running)
    }

    fn tell_poll(&mut self, channel: &Person, kind: &str, poll: &Value) {
        let voting = json!({"is_enabled": false, "amount_per_vote": 0});
        let begins = kind == "channel.poll.begin";
        let choices: Vec<Value> = poll["choices"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|choice| {
                if begins {
                    json!({"id": choice["id"], "title": choice["title"]})
                } else {
                    choice.clone()
                }
            })
            .collect();
        let mut event = json!({
            "id": poll["id"], "broadcaster_user_id": channel.id, "broadcaster_user_login": channel.login,
            "broadcaster_user_name": channel.name, "title": poll["title"], "choices": choices,
            "bits_voting": voting, "channel_points_voting": voting, "started_at": poll["started_at"],
        });
        if kind == "channel.poll.end" {
            event["status"] = poll["status"].as_str().unwrap_or_default().to_lowercase().into();
            event["ended_at"] = poll["ended_at"].clone();
        } else {
            let seconds = poll["duration"].as_i64().unwrap_or(0);
            let started = poll["started_at"].as_str().unwrap_or_default();
            let started = chrono::DateTime::parse_from_rfc3339(started).map(|time| time.to_utc());
            let ends_at = started.unwrap_or_else(|_| now()) + TimeDelta::seconds(seconds);
            event["ends_at"] = rfc3339(ends_at).into();
        }
        self.emit(kind, "1", &channel.id, &event);
    }
}

/// Lets a poll run: votes come in, then it is completed.
pub(super) fn run_poll(stage: &Arc<Stage>, channel: Person, poll: &Value) {
    let seconds = poll["duration"].as_u64().unwrap_or(60);
    let poll_id = poll["id"].as_str().unwrap_or_default().to_owned();
    let step = stage.seconds(seconds) / (STANDINGS + 1);
    let stage = Arc::clone(stage);
    tokio::spawn(async move {
        for _ in 0..STANDINGS {
            if stage.stop.run_until_cancelled(tokio::time::sleep(step)).await.is_none()
                || !stage.state().vote(&channel, &poll_id)
            {
                return;
            }
        }
        if stage.stop.run_until_cancelled(tokio::time::sleep(step)).await.is_some() {
            stage.state().end_poll(&channel, &poll_id, "COMPLETED");
        }
    });
}
