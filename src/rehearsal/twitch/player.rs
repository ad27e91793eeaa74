//! Plays an evening on a channel at any speed: a past chat log, a script of acts, or the house's own pretend evening.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use tokio::time::{Instant, sleep_until};

use crate::rehearsal::stream::{PretendMessage, PretendStream, Script};

use super::act::Act;
use super::happenings::Line;
use super::people::Person;
use super::stage::Stage;

/// Cues of one programme at most.
const CUES_MAX: usize = 5_000_000;
/// Speeds that can be played.
const SPEED: std::ops::RangeInclusive<f64> = 0.01..=1_000.0;
/// How often the viewers of a pretend evening are told, in its seconds.
const VIEWERS_EVERY_S: i64 = 15;

/// What is to be played on one channel, in order of time.
#[derive(Debug, Clone, Default)]
pub struct Programme {
    cues: Vec<(i64, Cue)>,
}

#[derive(Debug, Clone)]
enum Cue {
    Say {
        viewer: Person,
        text: String,
        bits: u32,
        badges: Vec<(&'static str, &'static str)>,
        color: &'static str,
    },
    Act(Act),
}

/// What is wrong with a chat log or a script.
#[derive(Debug, thiserror::Error)]
pub enum ProgrammeError {
    #[error("line {line}: {problem}; a chat log has lines of `seconds<TAB>user<TAB>text`")]
    ChatLine { line: usize, problem: &'static str },
    #[error(
        "line {line} is no act: {source}; a script has JSON lines such as {{\"at\": 12.5, \"do\": \"raid\", …}}"
    )]
    ScriptLine { line: usize, source: serde_json::Error },
    #[error("the programme is longer than {CUES_MAX} lines")]
    TooLong,
    #[error("the speed must be {} to {}", SPEED.start(), SPEED.end())]
    Speed,
}

#[derive(Deserialize)]
struct ScriptLine {
    /// Seconds from the start.
    at: f64,
    #[serde(flatten)]
    act: Value,
}

impl Programme {
    /// A past chat log: lines of `seconds<TAB>user<TAB>text`; empty lines and lines that begin with `#` are left out.
    ///
    /// # Errors
    /// The first line that is none.
    pub fn of_chat_log(text: &str) -> Result<Self, ProgrammeError> {
        let mut cues = Vec::new();
        for (index, row) in text.lines().enumerate() {
            if row.is_empty() || row.starts_with('#') {
                continue;
            }
            let wrong = |problem| ProgrammeError::ChatLine { line: index + 1, problem };
            let mut columns = row.splitn(3, '\t');
            let seconds = columns.next().and_then(|column| column.trim().parse::<f64>().ok());
            let seconds = seconds.filter(|seconds| seconds.is_finite() && seconds.abs() < 1e7);
            let seconds =
                seconds.ok_or_else(|| wrong("the first column is no number of seconds"))?;
            let user = columns.next().filter(|user| !user.is_empty());
            let user = user.ok_or_else(|| wrong("there is no user"))?;
            let text = columns.next().ok_or_else(|| wrong("there is no text"))?;
            let say = Cue::Say {
                viewer: Person::viewer(user),
                text: text.to_owned(),
                bits: 0,
                badges: Vec::new(),
                color: "",
            };
            cues.push(((seconds * 1_000.0) as i64, say));
        }
        Self::sorted(cues)
    }

    /// A script: JSON lines, each an act with its time in seconds as `at`.
    ///
    /// # Errors
    /// The first line that is none.
    pub fn of_script(text: &str) -> Result<Self, ProgrammeError> {
        let mut cues = Vec::new();
        for (index, row) in text.lines().enumerate().filter(|(_, row)| !row.trim().is_empty()) {
            let wrong = |source| ProgrammeError::ScriptLine { line: index + 1, source };
            let line: ScriptLine = serde_json::from_str(row).map_err(wrong)?;
            let act = serde_json::from_value(line.act).map_err(wrong)?;
            cues.push(((line.at * 1_000.0) as i64, Cue::Act(act)));
        }
        Self::sorted(cues)
    }

    /// The house's own evening on `channel`: it goes live, the chat answers what happens, raids, gifts, cheers, polls,
    /// follows and a hype train come by, and it ends.
    pub fn of_evening(channel: &str, seed: u64, seconds: u32) -> Self {
        let script = Script { seed, seconds, width: 64, height: 64, ..Script::default() };
        let stream = PretendStream::new(script);
        let channel = channel.to_owned();
        let end_ms = i64::from(stream.script().seconds) * 1_000;
        let mut cues = vec![(0, Cue::Act(Act::GoLive { channel: channel.clone(), viewers: 240 }))];
        for message in stream.chat() {
            cues.extend(cue_of(&channel, message).map(|cue| (message.offset_ms, cue)));
        }
        for (index, truth) in stream.truth().into_iter().enumerate() {
            let first_answer =
                stream.chat().iter().find(|message| message.offset_ms > truth.climax_ms);
            let viewer =
                first_answer.map_or("Curieuse", |message| &message.viewer.display_name).to_owned();
            let channel = channel.clone();
            let act = match index % 4 {
                0 => Act::Follow { channel, viewer },
                1 => Act::Poll {
                    channel,
                    title: format!("{} : on en refait ?", truth.title),
                    choices: vec!["Oui".into(), "Encore oui".into()],
                    seconds: 15,
                },
                2 => Act::Redeem {
                    channel,
                    viewer,
                    title: "Choisir la musique".into(),
                    cost: 500,
                    text: String::new(),
                },
                _ => Act::HypeTrain { channel, best: viewer, level: 2 },
            };
            cues.push((truth.climax_ms + 1_000, Cue::Act(act)));
        }
        for at in (0..end_ms / 1_000).step_by(VIEWERS_EVERY_S as usize) {
            let spoken = stream
                .chat()
                .iter()
                .filter(|message| (at * 1_000 - 30_000..at * 1_000).contains(&message.offset_ms));
            let count = 240 + spoken.count() as u32;
            cues.push((at * 1_000 + 1, Cue::Act(Act::Viewers { channel: channel.clone(), count })));
        }
        cues.push((end_ms, Cue::Act(Act::GoOffline { channel })));
        cues.sort_by_key(|(at, _)| *at);
        Self { cues }
    }

    fn sorted(mut cues: Vec<(i64, Cue)>) -> Result<Self, ProgrammeError> {
        if cues.len() > CUES_MAX {
            return Err(ProgrammeError::TooLong);
        }
        // A log in order stays as it is: equal times keep theirs.
        cues.sort_by_key(|(at, _)| *at);
        Ok(Self { cues })
    }

    /// How many cues there are.
    pub fn len(&self) -> usize {
        self.cues.len()
    }

    /// Whether there is nothing to play.
    pub fn is_empty(&self) -> bool {
        self.cues.is_empty()
    }

    /// Refuses a speed that cannot be played.
    pub(super) fn check_speed(speed: f64) -> Result<(), ProgrammeError> {
        if SPEED.contains(&speed) { Ok(()) } else { Err(ProgrammeError::Speed) }
    }

    /// Plays it, `speed` times as fast as it was. Timestamps are those of now, so that no client finds them too old.
    /// Returns how many cues could not be played.
    pub(super) async fn play(self, stage: Arc<Stage>, channel: Person, speed: f64) -> usize {
        let begun = Instant::now();
        let first = self.cues.first().map_or(0, |(at, _)| *at);
        let mut failed = 0;
        for (at, cue) in self.cues {
            let due = begun + Duration::from_millis((at - first).unsigned_abs()).div_f64(speed);
            // A sleep for every message would cost more than the message.
            if due > Instant::now()
                && stage.stop.run_until_cancelled(sleep_until(due)).await.is_none()
            {
                return failed;
            }
            match cue {
                Cue::Say { viewer, text, bits, badges, color } => {
                    let line = Line { viewer: &viewer, text: &text, bits, badges: &badges, color };
                    stage.state().say(&channel, &line);
                }
                Cue::Act(act) => failed += usize::from(stage.act(act).is_err()),
            }
        }
        failed
    }
}

/// What a message of the pretend evening is on Twitch. The notices of single gifts come with their bomb.
fn cue_of(channel: &str, message: &PretendMessage) -> Option<Cue> {
    let (channel, name) = (channel.to_owned(), message.viewer.display_name.clone());
    match message.notice {
        Some("raid") => {
            let viewers = message.text.split(' ').next().and_then(|number| number.parse().ok());
            Some(Cue::Act(Act::Raid { channel, from: name, viewers: viewers.unwrap_or(1) }))
        }
        Some("submysterygift") => {
            let count = message.text.split(' ').find_map(|word| word.parse().ok());
            Some(Cue::Act(Act::GiftBomb { channel, giver: name, count: count.unwrap_or(1) }))
        }
        Some(_) => None,
        None => {
            let viewer = &message.viewer;
            Some(Cue::Say {
                viewer: Person {
                    id: viewer.id.clone(),
                    login: viewer.login.clone(),
                    name: viewer.display_name.clone(),
                },
                text: message.text.clone(),
                bits: message.bits,
                badges: viewer.badges.clone(),
                color: viewer.color,
            })
        }
    }
}
