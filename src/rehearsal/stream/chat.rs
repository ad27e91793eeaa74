//! The pretend audience: a base of talk in slow waves, bursts that answer the events, and noise
//! that answers nothing (a raid, a gift bomb, a pasted wall, bots).

use super::Script;
use super::phrases::{self, Phrases};
use super::plot::{Distraction, Event, Happening, Mood, Plot};
use crate::rehearsal::chance::{Dice, scramble};

/// Somebody who writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PretendViewer {
    pub id: String,
    pub login: String,
    pub display_name: String,
    /// `#RRGGBB`.
    pub color: &'static str,
    /// Badge and version, as Twitch names them.
    pub badges: Vec<(&'static str, &'static str)>,
}

/// One message of the pretend chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PretendMessage {
    pub message_id: String,
    /// Milliseconds from the start of the stream.
    pub offset_ms: i64,
    pub viewer: PretendViewer,
    pub text: String,
    pub bits: u32,
    /// The platform's notice this message comes with: `raid`, `submysterygift`, `subgift`.
    pub notice: Option<&'static str>,
}

/// Messages of a burst of ordinary size at the ordinary base rate.
const BURST_MESSAGES: f32 = 220.0;
const VIEWERS: usize = 900;
const RAIDERS: usize = 140;
/// Of those who react, how many ask for a clip.
const CLIP_SHARE: f32 = 0.012;
const CHEER_SHARE: f32 = 0.004;

pub(super) fn write(script: &Script, plot: &Plot) -> Vec<PretendMessage> {
    let mut audience = Audience::new(script);
    audience.base(plot);
    for event in &plot.events {
        audience.react(*event);
    }
    for &(kind, at) in &plot.distractions {
        match kind {
            Distraction::Raid => audience.raid(at),
            Distraction::Wall => audience.wall(at),
            Distraction::GiftBomb => audience.gift_bomb(at),
        }
    }
    audience.finish()
}

struct Audience<'a> {
    script: &'a Script,
    dice: Dice,
    viewers: Vec<PretendViewer>,
    /// Running sums of how much each viewer talks.
    talk: Vec<f32>,
    /// Time in seconds, who, what.
    said: Vec<(f32, PretendMessage)>,
}

impl<'a> Audience<'a> {
    fn new(script: &'a Script) -> Self {
        let mut dice = Dice::new(script.seed ^ 0x6368_6174);
        let viewers: Vec<_> = (0..VIEWERS).map(|index| viewer(&mut dice, index)).collect();
        let mut sum = 0.0;
        let talk = (0..VIEWERS)
            .map(|index| {
                // A few write much, many a little.
                sum += 1.0 / (index as f32 + 6.0).powf(0.75);
                sum
            })
            .collect();
        Self { script, dice, viewers, talk, said: Vec::new() }
    }

    fn somebody(&mut self) -> PretendViewer {
        let last = self.talk.last().copied().unwrap_or(0.0);
        let drawn = self.dice.between(0.0, last);
        let index = self.talk.partition_point(|sum| *sum < drawn).min(self.viewers.len() - 1);
        self.viewers[index].clone()
    }

    fn say(&mut self, t: f32, viewer: PretendViewer, text: impl Into<String>) {
        self.post(t, viewer, text.into(), 0, None);
    }

    fn post(
        &mut self,
        t: f32,
        viewer: PretendViewer,
        text: String,
        bits: u32,
        notice: Option<&'static str>,
    ) {
        if t < 0.0 || t >= self.script.seconds as f32 {
            return;
        }
        let offset_ms = (f64::from(t) * 1000.0) as i64;
        let message =
            PretendMessage { message_id: String::new(), offset_ms, viewer, text, bits, notice };
        self.said.push((t, message));
    }

    /// How loud the chat is as a whole, 1 at the ordinary base rate.
    fn size(&self) -> f32 {
        self.script.chat_rate / 6.0
    }

    /// Talk without an occasion, in waves of one to two minutes; bots in between.
    fn base(&mut self, plot: &Plot) {
        let delay = self.script.chat_delay_ms as f32 / 1000.0;
        let mut t = 0.2;
        while t < self.script.seconds as f32 && self.script.chat_rate > 0.0 {
            let wave = 1.0 + 0.22 * (t / 15.0).sin() + 0.14 * (t / 6.3 + 1.0).sin();
            t += self.dice.wait(self.script.chat_rate * wave);
            let who = self.somebody();
            let seen = t - delay;
            let text = if t < 14.0 && self.dice.happens(0.5) {
                self.dice.pick(phrases::HELLO).to_owned()
            } else if let Some((kind, _)) = plot.at(seen)
                && self.dice.happens(0.25)
            {
                self.dice.pick(phrases::about(kind)).to_owned()
            } else {
                phrases::talk(&mut self.dice)
            };
            self.say(t, who, text);
        }
        let mut at = 33.0;
        while at < self.script.seconds as f32 {
            let (name, text) = self.dice.pick(phrases::BOTS);
            let bot = bot(name);
            self.say(at, bot, text);
            let asker = self.somebody();
            let command = self.dice.pick(phrases::COMMANDS);
            self.say(at - 1.4, asker, command);
            at += self.dice.between(38.0, 60.0);
        }
    }

    /// The answer to an event: the stream-wide delay, then each reader's own reaction time.
    fn react(&mut self, event: Event) {
        let delay = self.script.chat_delay_ms as f32 / 1000.0;
        let count = (BURST_MESSAGES * event.kind.strength() * self.size()) as usize;
        // A shared joke of the moment, which many repeat word for word.
        let chant = self.dice.pick(phrases::about(event.kind));
        for _ in 0..count {
            // The sum of two waits: nobody at once, most within three seconds, a tail of ten.
            let reaction = self.dice.wait(0.85) + self.dice.wait(0.85);
            let t = event.climax() + delay + reaction.min(16.0);
            let who = self.somebody();
            let chance = self.dice.between(0.0, 1.0);
            if chance < CLIP_SHARE {
                self.say(t, who, "!clip");
            } else if chance < CLIP_SHARE + CHEER_SHARE {
                let bits = self.dice.pick(&[100, 100, 200, 500]);
                self.post(t, who, format!("Cheer{bits} incroyable"), bits, None);
            } else if chance < 0.12 {
                self.say(t, who, chant);
            } else {
                let text = phrases::reaction(&mut self.dice, mood_of(event.kind, chance));
                self.say(t, who, text);
            }
        }
    }

    fn raid(&mut self, at: f32) {
        let from = viewer(&mut self.dice, VIEWERS + 1);
        let count = ((RAIDERS as f32) * self.size().min(2.0)) as usize;
        self.post(
            at,
            from.clone(),
            format!("{count} raiders from {} have joined!", from.display_name),
            0,
            Some("raid"),
        );
        let shout = format!("{} RAID <3", from.display_name.to_uppercase());
        for index in 0..count {
            let who = viewer(&mut self.dice, VIEWERS + 10 + index);
            let t = at + 0.6 + self.dice.wait(0.22).min(12.0);
            let text = if self.dice.happens(0.6) {
                shout.clone()
            } else {
                self.dice.pick(phrases::RAID).to_owned()
            };
            self.say(t, who, text);
        }
    }

    fn wall(&mut self, at: f32) {
        let count = (46.0 * self.size()) as usize;
        for _ in 0..count {
            let who = self.somebody();
            let t = at + self.dice.between(0.0, 7.0);
            self.say(t, who, phrases::WALL);
        }
    }

    fn gift_bomb(&mut self, at: f32) {
        let giver = self.somebody();
        let text = format!("{} is gifting 50 Tier 1 Subs to the community!", giver.display_name);
        self.post(at, giver.clone(), text, 0, Some("submysterygift"));
        for _ in 0..50 {
            let lucky = self.somebody();
            let t = at + 0.3 + self.dice.between(0.0, 3.0);
            let text =
                format!("{} gifted a Tier 1 sub to {}!", giver.display_name, lucky.display_name);
            self.post(t, giver.clone(), text, 0, Some("subgift"));
        }
        let thanks = (58.0 * self.size()) as usize;
        for _ in 0..thanks {
            let who = self.somebody();
            let t = at + 1.2 + self.dice.wait(0.3).min(10.0);
            let text = self.dice.pick(phrases::THANKS).replace("{}", &giver.display_name);
            self.say(t, who, text);
        }
    }

    /// Sorts, and gives each message an id in the form of Twitch's (a UUID).
    fn finish(mut self) -> Vec<PretendMessage> {
        self.said.sort_by(|a, b| a.0.total_cmp(&b.0));
        let seed = self.script.seed;
        self.said
            .into_iter()
            .enumerate()
            .map(|(index, (_, mut message))| {
                let high = scramble(seed ^ (index as u64) << 1);
                let low = scramble(high ^ 0x6964);
                message.message_id = format!(
                    "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
                    high >> 32,
                    high >> 16 & 0xffff,
                    high & 0xfff,
                    low >> 48 & 0x3fff | 0x8000,
                    low & 0xffff_ffff_ffff
                );
                message
            })
            .collect()
    }
}

/// A mood after the event's shares; `chance` is 0 to 1.
fn mood_of(kind: Happening, chance: f32) -> &'static Phrases {
    let mut left = (chance * 100.0) as u32;
    let mut found = Mood::Surprise;
    for &(mood, share) in kind.moods() {
        found = mood;
        if left < share {
            break;
        }
        left -= share;
    }
    phrases::of(found)
}

fn viewer(dice: &mut Dice, index: usize) -> PretendViewer {
    let display_name = phrases::pseudonym(dice, index);
    let login = display_name.to_lowercase();
    let badges = match index {
        3 | 9 | 21 => vec![("moderator", "1")],
        5 | 14 => vec![("vip", "1")],
        _ if dice.happens(0.3) => vec![("subscriber", dice.pick(&["0", "3", "6", "12"]))],
        _ => Vec::new(),
    };
    PretendViewer {
        id: (40_000_000 + scramble(index as u64 ^ 0x7669) % 900_000_000).to_string(),
        login,
        display_name,
        color: dice.pick(phrases::COLORS),
        badges,
    }
}

fn bot(name: &str) -> PretendViewer {
    PretendViewer {
        id: (19_000_000 + name.len() as u64 * 7919).to_string(),
        login: name.to_lowercase(),
        display_name: name.to_owned(),
        color: "#7C7CE1",
        badges: vec![("moderator", "1")],
    }
}
