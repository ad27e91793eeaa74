//! The language of a rehearsal: what a script, the control interface or a test can make happen.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::faults::Faults;
use super::happenings::{Line, chat_event};
use super::people::Person;
use super::polls::run_poll;
use super::stage::{Stage, State};

/// Messages of one burst at most.
const BURST_MAX: u32 = 20_000;
/// Subscriptions of one gift at most.
const GIFTS_MAX: u32 = 1_000;

/// One thing to make happen. Channels and viewers are named by login or id; a name without a channel is a viewer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Act {
    /// Somebody writes; with `bits`, they cheer.
    Say {
        channel: String,
        viewer: String,
        text: String,
        #[serde(default)]
        bits: u32,
    },
    /// So many messages at once, by as many viewers.
    Burst {
        channel: String,
        count: u32,
        text: String,
    },
    /// Any event of any type.
    Emit {
        r#type: String,
        version: String,
        channel: String,
        event: Value,
    },
    GoLive {
        channel: String,
        #[serde(default)]
        viewers: u32,
    },
    GoOffline {
        channel: String,
    },
    /// How many watch.
    Viewers {
        channel: String,
        count: u32,
    },
    Title {
        channel: String,
        title: String,
    },
    DeleteMessage {
        channel: String,
        message_id: String,
    },
    /// A ban, or a timeout of so many seconds; the viewer's messages disappear.
    Ban {
        channel: String,
        viewer: String,
        #[serde(default)]
        seconds: Option<u32>,
    },
    ClearChat {
        channel: String,
    },
    Follow {
        channel: String,
        viewer: String,
    },
    Raid {
        channel: String,
        from: String,
        viewers: u32,
    },
    Subscribe {
        channel: String,
        viewer: String,
    },
    Resubscribe {
        channel: String,
        viewer: String,
        months: u32,
        #[serde(default)]
        text: String,
    },
    /// One gift of `count` subscriptions with its whole family of events.
    GiftBomb {
        channel: String,
        giver: String,
        count: u32,
    },
    Redeem {
        channel: String,
        viewer: String,
        title: String,
        cost: u32,
        #[serde(default)]
        text: String,
    },
    /// A poll that runs for so many of Twitch's seconds.
    Poll {
        channel: String,
        title: String,
        choices: Vec<String>,
        seconds: u32,
    },
    HypeTrain {
        channel: String,
        best: String,
        level: u32,
    },
    AdBreak {
        channel: String,
        seconds: u32,
    },
    /// The same chat message in several channels, as in a shared chat; it comes from the first.
    SharedSay {
        channels: Vec<String>,
        viewer: String,
        text: String,
    },

    /// Orders sockets to reconnect: a session's id, a user's id, or everybody.
    Reconnect {
        #[serde(default)]
        socket: Option<String>,
    },
    /// Ends sockets with a close code, or without a word when there is none. Counters `close_<code>`, `vanished`.
    Cut {
        #[serde(default)]
        socket: Option<String>,
        #[serde(default)]
        code: Option<u16>,
    },
    /// Revokes subscriptions: one by its id, or all of a type. Counter `revoked_<status>`.
    Revoke {
        subscription: String,
        status: String,
    },
    DisableShard {
        conduit: String,
        shard: usize,
        status: String,
    },
    /// Something a client never saw before. Counter `odd_<what>`.
    Odd {
        channel: String,
        what: Oddity,
    },
    /// Access tokens of a user run out now. Counter `tokens_expired`.
    ExpireTokens {
        user: String,
    },
    /// A user takes back what they granted: tokens die, subscriptions are revoked. Counter `grant_revoked`.
    RevokeGrant {
        user: String,
    },
    /// Sets the lasting faults.
    Faults {
        faults: Faults,
    },
}

/// What a client never saw before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Oddity {
    MessageType,
    Type,
    Version,
    EnumValue,
    Field,
    Null,
}

impl Oddity {
    const fn counter(self) -> &'static str {
        match self {
            Self::MessageType => "odd_message_type",
            Self::Type => "odd_type",
            Self::Version => "odd_version",
            Self::EnumValue => "odd_enum_value",
            Self::Field => "odd_field",
            Self::Null => "odd_null",
        }
    }
}

/// Why nothing happened.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ActError {
    #[error("there is no channel `{0}`: name one of this rehearsal by login or id")]
    NoChannel(String),
    #[error("there is no {0}")]
    NotThere(String),
    #[error("{0}")]
    Refused(&'static str),
}

impl Stage {
    /// Makes it happen. Returns the ids of what came of it: message, poll, redemption or session ids.
    pub(super) fn act(self: &Arc<Self>, act: Act) -> Result<Vec<String>, ActError> {
        let mut state = self.state();
        match act {
            Act::Poll { channel, title, choices, seconds } => {
                let channel = state.stage_of(&channel)?;
                let poll = state.begin_poll(&channel, &title, &choices, seconds);
                drop(state);
                run_poll(self, channel, &poll);
                Ok(vec![poll["id"].as_str().unwrap_or_default().to_owned()])
            }
            Act::Reconnect { socket } => {
                let mut ordered = state.sockets(socket.as_deref())?;
                ordered.retain(|id| state.order_reconnect(id, self.address));
                Ok(ordered)
            }
            other => state.act(other),
        }
    }
}

impl State {
    fn stage_of(&mut self, channel: &str) -> Result<Person, ActError> {
        let found = self.channel(channel).map(|channel| channel.who.clone());
        found.ok_or_else(|| ActError::NoChannel(channel.to_owned()))
    }

    /// Live sessions: the one of that id, those of a user, or all.
    fn sockets(&self, named: Option<&str>) -> Result<Vec<String>, ActError> {
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

    fn act(&mut self, act: Act) -> Result<Vec<String>, ActError> {
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
                    self.post(id, super::session::Outgoing::Cut(code));
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
        let source_id = uuid::Uuid::new_v4().to_string();
        let mut ids = Vec::new();
        for channel in channels {
            let channel = self.stage_of(channel)?;
            let is_source = channel.id == source.id;
            let id = if is_source { source_id.clone() } else { uuid::Uuid::new_v4().to_string() };
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
        let id = uuid::Uuid::new_v4().to_string();
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
                let frame =
                    super::notify::frame("session_surprise", &stamp, &json!({"novelty": true}));
                for id in self.sockets(None)? {
                    self.post(&id, super::session::Outgoing::Frame(frame.clone().into()));
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
                            && super::catalog::actor(&known.condition) == Some(user.id.as_str());
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
