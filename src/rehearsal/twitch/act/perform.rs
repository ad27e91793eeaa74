//! Carries an act out on the state.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::rehearsal::twitch::catalog;
use crate::rehearsal::twitch::happenings::{Line, chat_event};
use crate::rehearsal::twitch::notify::frame;
use crate::rehearsal::twitch::people::Person;
use crate::rehearsal::twitch::session::Outgoing;
use crate::rehearsal::twitch::stage::State;

use super::{Act, ActError, Oddity};

/// Messages of one burst at most.
const BURST_MAX: u32 = 20_000;
/// Subscriptions of one gift at most.
const GIFTS_MAX: u32 = 1_000;

impl State {
    pub(super) fn stage_of(&mut self, channel: &str) -> Result<Person, ActError> {
        let found = self.channel(channel).map(|channel| channel.who.clone());
        found.ok_or_else(|| ActError::NoChannel(channel.to_owned()))
    }

    /// Live sessions: the one of that id, those of a user, or all.
    pub(super) fn sockets(&self, named: Option<&str>) -> Result<Vec<String>, ActError> {
        let wanted = |id: &str, owner: Option<&(String, String)>| {
            named.is_none_or(|named| named == id || owner.is_some_and(|(_, user)| user == named))
        };
        let live = self.sessions.values().filter(|session| !session.is_replaced);
        let found: Vec<String> = live
            .filter(|session| wanted(&session.id, session.owner.as_ref()))
            .map(|session| session.id.to_string())
            .collect();
        if found.is_empty() {
            return Err(ActError::NotThere("open socket of that name".into()));
        }
        Ok(found)
    }

    pub(super) fn act(&mut self, act: Act) -> Result<Vec<String>, ActError> {
        let nothing = Ok(Vec::new());
        match act {
            Act::Say { channel, viewer, text, bits } => {
                let (channel, viewer) = (self.stage_of(&channel)?, self.person(&viewer));
                let line = Line { bits, ..Line::plain(&viewer, &text) };
                return Ok(vec![self.say(&channel, &line)]);
            }
            Act::Burst { channel, count, text } => {
                let channel = self.stage_of(&channel)?;
                if count > BURST_MAX {
                    return Err(ActError::Refused("a burst has 20,000 messages at most"));
                }
                self.counters.one("burst");
                let one = |state: &mut Self, number| {
                    let viewer = Person::viewer(&format!("Foule{number}"));
                    state.say(&channel, &Line::plain(&viewer, &text))
                };
                return Ok((0..count).map(|number| one(self, number)).collect());
            }
            Act::Emit { r#type, version, channel, event } => {
                let channel = self.person(&channel).id;
                self.emit(&r#type, &version, &channel, &event);
            }
            Act::GoLive { channel, viewers } => {
                let channel = self.stage_of(&channel)?;
                if !self.go_live(&channel, viewers) {
                    return Err(ActError::Refused("the channel is live already"));
                }
            }
            Act::GoOffline { channel } => {
                let channel = self.stage_of(&channel)?;
                if !self.go_offline(&channel) {
                    return Err(ActError::Refused("the channel is not live"));
                }
            }
            Act::Viewers { channel, count } => {
                self.stage_of(&channel)?;
                let on_air = self.channel(&channel).and_then(|channel| channel.on_air.as_mut());
                on_air.ok_or(ActError::Refused("the channel is not live"))?.viewers = count;
            }
            Act::Title { channel, title } => {
                let who = self.stage_of(&channel)?;
                if let Some(channel) = self.channel(&channel) {
                    channel.title = title;
                }
                self.tell_update(&who);
            }
            Act::DeleteMessage { channel, message_id } => {
                let channel = self.stage_of(&channel)?;
                if !self.delete_message(&channel, &message_id) {
                    return Err(ActError::NotThere(format!("recent message `{message_id}`")));
                }
            }
            Act::Ban { channel, viewer, seconds } => {
                let (channel, viewer) = (self.stage_of(&channel)?, self.person(&viewer));
                self.ban(&channel, &viewer, seconds);
            }
            Act::ClearChat { channel } => {
                let channel = self.stage_of(&channel)?;
                self.clear_chat(&channel);
            }
            Act::Follow { channel, viewer } => {
                let (channel, viewer) = (self.stage_of(&channel)?, self.person(&viewer));
                self.follow(&channel, &viewer);
            }
            Act::Raid { channel, from, viewers } => {
                let (channel, from) = (self.stage_of(&channel)?, self.person(&from));
                self.raid(&channel, &from, viewers);
            }
            Act::Subscribe { channel, viewer } => {
                let (channel, viewer) = (self.stage_of(&channel)?, self.person(&viewer));
                self.subscribe(&channel, &viewer);
            }
            Act::Resubscribe { channel, viewer, months, text } => {
                let (channel, viewer) = (self.stage_of(&channel)?, self.person(&viewer));
                self.resubscribe(&channel, &viewer, months, &text);
            }
            Act::GiftBomb { channel, giver, count } => {
                let (channel, giver) = (self.stage_of(&channel)?, self.person(&giver));
                if count > GIFTS_MAX {
                    return Err(ActError::Refused("a gift has 1,000 subscriptions at most"));
                }
                let lucky = (0..count).map(|number| Person::viewer(&format!("Chanceux{number}")));
                self.gift_bomb(&channel, &giver, &lucky.collect::<Vec<_>>());
            }
            Act::Redeem { channel, viewer, title, cost, text } => {
                let (channel, viewer) = (self.stage_of(&channel)?, self.person(&viewer));
                return Ok(vec![self.redeem(&channel, &viewer, &title, cost, &text)]);
            }
            Act::HypeTrain { channel, best, level } => {
                let (channel, best) = (self.stage_of(&channel)?, self.person(&best));
                return Ok(vec![self.hype_train(&channel, &best, level.clamp(1, 100))]);
            }
            Act::AdBreak { channel, seconds } => {
                let channel = self.stage_of(&channel)?;
                self.ad_break(&channel, seconds);
            }
            Act::SharedSay { channels, viewer, text } => {
                return self.shared_say(&channels, &viewer, &text);
            }
            Act::Cut { socket, code } => {
                let cut = self.sockets(socket.as_deref())?;
                for id in &cut {
                    self.post(id, Outgoing::Cut(code));
                }
                return Ok(cut);
            }
            Act::Revoke { subscription, status } => {
                let places: Vec<usize> = (0..self.subscriptions.len())
                    .filter(|place| {
                        let known = &self.subscriptions[*place];
                        known.is_enabled()
                            && (*known.id == *subscription || known.kind.name == subscription)
                    })
                    .collect();
                if places.is_empty() {
                    return Err(ActError::NotThere(format!(
                        "enabled subscription `{subscription}`"
                    )));
                }
                for place in places {
                    self.revoke(place, &status);
                }
            }
            Act::DisableShard { conduit, shard, status } => {
                self.set_shard_status(&conduit, shard, &status);
            }
            Act::Odd { channel, what } => {
                let channel = self.stage_of(&channel)?;
                self.odd(&channel, what)?;
            }
            Act::ExpireTokens { user } => {
                let user = self.person(&user).id;
                let count = self.tokens.expire(&user);
                self.counters.add("tokens_expired", count as u64);
            }
            Act::RevokeGrant { user } => {
                let user = self.person(&user);
                self.revoke_grants(&user);
            }
            Act::Faults { faults } => self.faults = faults,
            Act::Poll { .. } | Act::Reconnect { .. } => {
                return Err(ActError::Refused("polls and reconnect orders need the server"));
            }
        }
        nothing
    }

    fn shared_say(
        &mut self,
        channels: &[String],
        viewer: &str,
        text: &str,
    ) -> Result<Vec<String>, ActError> {
        let viewer = self.person(viewer);
        let Some(source) = channels.first() else { return Ok(Vec::new()) };
        let source = self.stage_of(source)?;
        let source_id = Uuid::new_v4().to_string();
        let mut ids = Vec::new();
        for channel in channels {
            let channel = self.stage_of(channel)?;
            let is_source = channel.id == source.id;
            let id = if is_source { source_id.clone() } else { Uuid::new_v4().to_string() };
            let mut event = chat_event(&channel, &Line::plain(&viewer, text), &id);
            event["source_broadcaster_user_id"] = source.id.as_str().into();
            event["source_broadcaster_user_login"] = source.login.as_str().into();
            event["source_broadcaster_user_name"] = source.name.as_str().into();
            event["source_message_id"] = source_id.as_str().into();
            event["source_badges"] = json!([]);
            event["is_source_only"] = false.into();
            self.emit("channel.chat.message", "1", &channel.id, &event);
            ids.push(id);
        }
        Ok(ids)
    }

    fn odd(&mut self, channel: &Person, what: Oddity) -> Result<(), ActError> {
        let viewer = Person::viewer("Curieuse");
        let id = Uuid::new_v4().to_string();
        let mut event = chat_event(channel, &Line::plain(&viewer, "jamais vu"), &id);
        let carrier = self.subscriptions.iter().position(|known| {
            known.is_enabled()
                && known.kind.name == "channel.chat.message"
                && known.condition.get("broadcaster_user_id") == Some(&channel.id)
        });
        let no_carrier = || ActError::NotThere("enabled chat subscription of this channel".into());
        let carrier = carrier.ok_or_else(no_carrier)?;
        match what {
            Oddity::MessageType => {
                let stamp = self.stamp();
                let surprise = frame("session_surprise", &stamp, &json!({"novelty": true}));
                for id in self.sockets(None)? {
                    self.post(&id, Outgoing::Frame(surprise.clone().into()));
                }
            }
            Oddity::Type => self.emit_foreign(carrier, "channel.surprise", "1", &event),
            Oddity::Version => {
                self.emit_foreign(carrier, "channel.chat.message", "99", &event);
            }
            Oddity::EnumValue | Oddity::Field | Oddity::Null => {
                match what {
                    Oddity::EnumValue => {
                        event["message_type"] = "hologram".into();
                        event["message"]["fragments"][0]["type"] = "hologram".into();
                    }
                    Oddity::Field => event["surprise"] = json!({"depth": [1, 2, 3]}),
                    _ => event["badges"] = Value::Null,
                }
                self.emit("channel.chat.message", "1", &channel.id, &event);
            }
        }
        self.counters.one(what.counter());
        Ok(())
    }

    fn revoke_grants(&mut self, user: &Person) {
        let clients: Vec<String> = self.tokens.clients_of(&user.id);
        for client_id in clients {
            self.tokens.disconnect(&client_id, &user.id);
            self.counters.one("grant_revoked");
            let places: Vec<usize> = (0..self.subscriptions.len())
                .filter(|place| {
                    let known = &self.subscriptions[*place];
                    let is_theirs = known.owner.as_ref() == Some(&user.id)
                        || known.owner.is_none()
                            && catalog::actor(&known.condition) == Some(user.id.as_str());
                    known.is_enabled() && known.client_id == client_id && is_theirs
                })
                .collect();
            for place in places {
                self.revoke(place, "authorization_revoked");
            }
            let event = json!({"client_id": client_id, "user_id": user.id, "user_login": user.login, "user_name": user.name});
            self.emit("user.authorization.revoke", "1", &user.id, &event);
        }
    }
}
