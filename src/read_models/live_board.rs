//! A live as its streamer sees it: since when on air, how fast the chat goes, what just happened, what was said. A pure fold
//! over notices, bounded whatever the evening brings.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use crate::domain::audience::channel::{Seen, ViewerSample};
use crate::domain::audience::happening::{Happening, Phase, Price, What};
use crate::domain::audience::notice::Notice;
use crate::domain::ids::LiveId;
use crate::domain::moments::moment::Moment;
use crate::domain::moments::votes::is_vote;

/// Chat lines kept.
const LINES_MAX: usize = 400;
/// Things that happened kept.
const DEEDS_MAX: usize = 60;
/// Length of a step of the pulse, in seconds.
pub const PULSE_STEP_S: i64 = 10;
/// Steps of the pulse kept: half an hour.
const PULSE_STEPS_MAX: usize = 180;
/// Looks at the viewers kept: twelve hours.
const VIEWERS_MAX: usize = 720;
/// Gaps kept.
const GAPS_MAX: usize = 50;
/// Votes for a clip kept.
const VOTES_MAX: usize = 500;
/// A vote for a clip is shown this long, in seconds.
const VOTE_SHOWN_S: i64 = 60;

/// One channel, as far back as a streamer looks.
#[derive(Debug, Clone, Default)]
pub struct LiveBoard {
    /// The live under way, or the last one.
    pub live: Option<LiveId>,
    pub title: String,
    pub category: String,
    pub started_at: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
    /// The newest notice folded in.
    pub seq: i64,
    pub last_at: Option<DateTime<Utc>>,
    pub messages: u64,
    pub lines: VecDeque<Line>,
    pub deeds: VecDeque<Deed>,
    /// Messages in each step of [`PULSE_STEP_S`] since 1970.
    pulse: BTreeMap<i64, u32>,
    pub gaps: VecDeque<(DateTime<Utc>, DateTime<Utc>)>,
    /// How many watched, look by look; `None` where a look failed.
    pub viewers: VecDeque<(DateTime<Utc>, Option<u32>)>,
    /// The latest moment.
    pub moment: Option<Moment>,
    /// Who asked for a clip, and when.
    votes: VecDeque<(DateTime<Utc>, String)>,
    /// Ids of messages that had to go, with the notice that said so.
    gone: VecDeque<(i64, String)>,
    /// A page that shows less than this begins anew: another live began here, or what had to go is forgotten.
    anew_at: i64,
    /// The newest line that is not kept any more, for want of room.
    dropped_at: i64,
}

/// A line of the chat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    pub seq: i64,
    pub at: DateTime<Utc>,
    /// See [`Notice::known_at`].
    #[serde(skip)]
    pub known_at: DateTime<Utc>,
    /// The platform's id of the message.
    pub id: String,
    #[serde(skip)]
    pub viewer_id: String,
    pub name: String,
    pub text: String,
    pub trusted: bool,
}

/// Something that happened beside the chat, in few words: French, for the page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Deed {
    pub seq: i64,
    pub at: DateTime<Utc>,
    /// See [`Notice::known_at`].
    #[serde(skip)]
    pub known_at: DateTime<Utc>,
    /// Who did it, by the platform's id.
    #[serde(skip)]
    pub viewer_id: Option<String>,
    /// An icon's name.
    pub icon: &'static str,
    pub words: String,
}

impl LiveBoard {
    /// Folds one more notice of the channel. One that was folded before changes nothing.
    pub fn apply(&mut self, seq: i64, live: Option<LiveId>, notice: &Notice) {
        if seq <= self.seq {
            return;
        }
        self.seq = seq;
        let Some(happening) = notice.happening() else { return };
        // What is found out later may be of the live before: that one is not on this board any more.
        if notice.is_backfilled() && live != self.live {
            return;
        }
        self.last_at = self.last_at.max(Some(happening.at));
        if let Some(live) = live
            && self.live.replace(live).is_some_and(|before| before != live)
        {
            self.begin_anew();
            self.last_at = Some(happening.at);
        }
        self.fold(seq, happening, notice.known_at());
    }

    /// Another live: what was said in the one before goes. What a look at the streams told of the new one stays.
    fn begin_anew(&mut self) {
        let before = std::mem::take(self);
        let is_seen = before.ended_at.is_none();
        *self = Self {
            live: before.live,
            title: before.title,
            category: before.category,
            started_at: before.started_at.filter(|_| is_seen),
            viewers: if is_seen { before.viewers } else { VecDeque::new() },
            seq: before.seq,
            anew_at: before.seq,
            gaps: before.gaps,
            ..Self::default()
        };
    }

    fn fold(&mut self, seq: i64, happening: &Happening, known_at: DateTime<Utc>) {
        match &happening.what {
            What::Chat(chat) => {
                let line = Line {
                    seq,
                    at: happening.at,
                    known_at,
                    id: chat.message_id.clone(),
                    viewer_id: chat.viewer.id.clone(),
                    name: chat.viewer.name.clone(),
                    text: chat.text.clone(),
                    trusted: chat.trusted,
                };
                if let Some(dropped) = push(&mut self.lines, line, LINES_MAX) {
                    self.dropped_at = dropped.seq;
                }
                if is_vote(&chat.text) {
                    push(&mut self.votes, (happening.at, chat.viewer.id.clone()), VOTES_MAX);
                }
                self.messages += 1;
                *self.pulse.entry(happening.at.timestamp() / PULSE_STEP_S).or_insert(0) += 1;
                while self.pulse.len() > PULSE_STEPS_MAX {
                    self.pulse.pop_first();
                }
            }
            What::MessageDeleted { message_id, .. } => {
                // One that is not here any more, or not yet, may be on somebody's page all the same.
                self.lines.retain(|line| line.id != *message_id);
                self.goes(seq, message_id.clone());
            }
            What::ViewerSilenced { viewer_id } => {
                self.forget(seq, |line| line.viewer_id == *viewer_id && line.at <= happening.at);
            }
            What::Banned { viewer, .. } => {
                self.forget(seq, |line| line.viewer_id == viewer.id && line.at <= happening.at);
            }
            What::ChatCleared => self.forget(seq, |line| line.at <= happening.at),
            What::StreamOnline { .. } => {
                self.started_at = Some(happening.at);
                self.ended_at = None;
            }
            What::StreamOffline { .. } => self.ended_at = Some(happening.at),
            What::ChannelUpdated { title, category } => {
                (self.title, self.category) = (title.clone(), category.clone());
            }
            What::Missed { from, to, .. } => self.missed(*from, *to),
            _ => {}
        }
        if let Some((icon, words)) = told(&happening.what) {
            let viewer_id = match &happening.what {
                What::RaidIn { from, .. } => Some(from.id.clone()),
                what => what.viewer_id().map(str::to_owned),
            };
            let deed = Deed { seq, at: happening.at, known_at, viewer_id, icon, words };
            push(&mut self.deeds, deed, DEEDS_MAX);
        }
    }

    /// A gap. Several lines that were lost together tell of the same stretch: it is one.
    fn missed(&mut self, mut from: DateTime<Utc>, mut to: DateTime<Utc>) {
        self.gaps.retain(|(known_from, known_to)| {
            let is_apart = *known_to < from || to < *known_from;
            if !is_apart {
                (from, to) = (from.min(*known_from), to.max(*known_to));
            }
            is_apart
        });
        push(&mut self.gaps, (from, to), GAPS_MAX);
    }

    /// One more look at how many watch.
    pub fn sample(&mut self, sample: &ViewerSample) {
        let viewers = match &sample.seen {
            Seen::Live { viewers, title, category, started_at } => {
                (self.title, self.category) = (title.clone(), category.clone());
                // A look that lags behind still shows a live that is over: only a later beginning is a new one.
                let is_new = |at: DateTime<Utc>| {
                    self.started_at.is_none_or(|known| at - known > TimeDelta::seconds(1))
                };
                if started_at.is_some_and(is_new) {
                    (self.started_at, self.ended_at) = (*started_at, None);
                }
                Some(*viewers)
            }
            Seen::Failed => None,
            Seen::Offline => return,
        };
        push(&mut self.viewers, (sample.fetched_at, viewers), VIEWERS_MAX);
    }

    /// A moment was found. One that comes late does not take the place of a later one.
    pub fn found(&mut self, live: LiveId, moment: &Moment) {
        let is_latest = |shown: &Moment| shown.peak_s <= moment.peak_s;
        if self.live == Some(live) && self.moment.as_ref().is_none_or(is_latest) {
            self.moment = Some(moment.clone());
        }
    }

    /// How many people asked for a clip in the last minute.
    pub fn voters(&self, now: DateTime<Utc>) -> usize {
        let recent = |at: DateTime<Utc>| (now - at).num_seconds() < VOTE_SHOWN_S;
        let voters = self.votes.iter().filter(|(at, _)| recent(*at)).map(|(_, who)| who);
        voters.collect::<BTreeSet<_>>().len()
    }

    /// How many watch, as far as the last look tells.
    pub fn watching(&self) -> Option<u32> {
        self.viewers.back().and_then(|(_, viewers)| *viewers)
    }

    /// A viewer is erased: what they said and did up to then goes. Told with the next notice's number, so that readers who
    /// are up to date hear it.
    pub fn forget_viewer(&mut self, viewer_id: &str, until: DateTime<Utc>) {
        self.forget(self.seq + 1, |line| line.viewer_id == viewer_id && line.known_at <= until);
        let deeds = self.deeds.len();
        self.deeds
            .retain(|deed| deed.viewer_id.as_deref() != Some(viewer_id) || deed.known_at > until);
        if self.deeds.len() < deeds {
            // Pages know of no way to take a single deed back: they begin anew.
            self.anew_at = self.seq + 1;
        }
        self.votes.retain(|(at, who)| who != viewer_id || *at > until);
    }

    fn forget(&mut self, seq: i64, goes: impl Fn(&Line) -> bool) {
        let gone: Vec<String> =
            self.lines.iter().filter(|line| goes(line)).map(|line| line.id.clone()).collect();
        self.lines.retain(|line| !goes(line));
        for id in gone {
            self.goes(seq, id);
        }
    }

    fn goes(&mut self, seq: i64, message_id: String) {
        if let Some((forgotten, _)) = push(&mut self.gone, (seq, message_id), LINES_MAX) {
            self.anew_at = self.anew_at.max(forgotten);
        }
    }

    /// Messages in each of the last `steps` steps up to `now`, the oldest first; a silent step counts 0.
    pub fn pulse(&self, now: DateTime<Utc>, steps: usize) -> Vec<u32> {
        let last = now.timestamp() / PULSE_STEP_S;
        let first = last - steps as i64 + 1;
        (first..=last).map(|step| self.pulse.get(&step).copied().unwrap_or(0)).collect()
    }

    /// Messages in the last minute.
    pub fn per_minute(&self, now: DateTime<Utc>) -> u32 {
        self.pulse(now, (60 / PULSE_STEP_S) as usize + 1).iter().skip(1).sum()
    }

    /// Whether a page that shows everything up to `seq` can go on: it is the same live, and all that had to go since is known.
    pub const fn goes_on_from(&self, seq: i64) -> bool {
        seq <= self.seq && seq >= self.anew_at
    }

    /// Whether every line after `seq` is still here besides, so that a reader who has seen it can be given what is missing.
    pub const fn reaches_back_to(&self, seq: i64) -> bool {
        self.goes_on_from(seq) && seq >= self.dropped_at
    }

    /// What had to go after `seq`.
    pub fn gone_after(&self, seq: i64) -> impl Iterator<Item = &str> {
        self.gone.iter().filter(move |(at, _)| *at > seq).map(|(_, id)| id.as_str())
    }
}

/// Adds to a queue of bounded length; gives what falls off at its other end.
fn push<T>(queue: &mut VecDeque<T>, item: T, max: usize) -> Option<T> {
    let dropped = if queue.len() == max { queue.pop_front() } else { None };
    queue.push_back(item);
    dropped
}

/// A happening in words; `None` for what is told elsewhere on the page, or a second time.
fn told(what: &What) -> Option<(&'static str, String)> {
    let many = |count: u64, one: &str, more: &str| {
        format!("{count} {}", if count > 1 { more } else { one })
    };
    let told = match what {
        What::Followed { viewer } => ("user-plus", format!("{} suit la chaîne", viewer.name)),
        What::Subscribed { viewer, is_gift: false, .. } => {
            ("star", format!("{} s'abonne", viewer.name))
        }
        What::Resubscribed { viewer, months, .. } => {
            ("star", format!("{} se réabonne, {months} mois", viewer.name))
        }
        What::SubsGifted { gifter, total, .. } => {
            let who = gifter.as_ref().map_or("Quelqu'un", |viewer| &viewer.name);
            ("gift", format!("{who} offre {}", many(*total, "abonnement", "abonnements")))
        }
        What::BitsUsed { viewer, bits } => {
            let who = viewer.as_ref().map_or("Quelqu'un", |viewer| &viewer.name);
            ("gem", format!("{who} donne {}", many(*bits, "bit", "bits")))
        }
        What::RaidIn { from, viewers } => (
            "users",
            format!("Raid de {} avec {}", from.name, many(*viewers, "personne", "personnes")),
        ),
        What::Redeemed { viewer, reward, price: Price::Points(_), .. } => {
            ("ticket", format!("{} échange « {reward} »", viewer.name))
        }
        What::Poll { phase: Phase::Begin, title, .. } => {
            ("chart-column", format!("Sondage : {title}"))
        }
        What::Poll { phase: Phase::End, title, .. } => {
            ("chart-column", format!("Sondage terminé : {title}"))
        }
        What::Prediction { phase: Phase::Begin, title, .. } => {
            ("chart-column", format!("Prédiction : {title}"))
        }
        What::HypeTrain { phase: Phase::Begin, .. } => ("flame", "Hype train !".to_owned()),
        What::HypeTrain { phase: Phase::End, level, .. } => {
            ("flame", format!("Hype train fini au niveau {level}"))
        }
        What::AdBreak { duration_seconds, .. } => {
            ("clock", format!("Coupure pub de {duration_seconds} s"))
        }
        What::ShoutoutReceived { from, .. } => {
            ("megaphone", format!("Mis en avant par {}", from.name))
        }
        What::Donated { viewer, .. } => ("heart", format!("{} fait un don", viewer.name)),
        What::StreamOnline { .. } => ("radio", "En direct".to_owned()),
        What::StreamOffline { .. } => ("radio", "Fin du direct".to_owned()),
        _ => return None,
    };
    Some(told)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::audience::channel::ChannelId;
    use crate::domain::audience::happening::{Chat, Viewer};
    use crate::domain::audience::notice::Reading;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + second, 0).expect("an instant")
    }

    fn live(number: u128) -> LiveId {
        LiveId::from_uuid(Uuid::from_u128(number))
    }

    fn notice(second: i64, what: What) -> Notice {
        let happening = Happening {
            message_id: second.to_string(),
            at: at(second),
            channel: "1".into(),
            business_id: None,
            what,
        };
        Notice {
            message_id: second.to_string(),
            heard_at: at(second),
            channel: "1".into(),
            kind: String::new(),
            version: String::new(),
            raw: String::new(),
            reading: Reading::Understood(Box::new(happening)),
        }
    }

    fn said(second: i64) -> Notice {
        let viewer = Viewer { id: "7".into(), name: "Anna".into() };
        notice(
            second,
            What::Chat(Chat {
                message_id: format!("m{second}"),
                viewer,
                text: "oh".into(),
                trusted: false,
                bits: 0,
                copied_from: None,
            }),
        )
    }

    fn deleted(second: i64, said: i64) -> Notice {
        let message_id = format!("m{said}");
        notice(second, What::MessageDeleted { message_id, viewer_id: None })
    }

    fn seen(second: i64, started: i64) -> ViewerSample {
        ViewerSample {
            channel: ChannelId::try_new("1").expect("a number"),
            fetched_at: at(second),
            seen: Seen::Live {
                viewers: 40,
                title: "La villa".into(),
                category: String::new(),
                started_at: Some(at(started)),
            },
        }
    }

    #[test]
    fn a_live_found_by_a_look_keeps_its_figures_and_its_chat() {
        let mut board = LiveBoard::default();
        board.apply(1, None, &said(1));
        board.sample(&seen(2, 0));
        board.apply(2, Some(live(1)), &said(3));
        assert_eq!((board.started_at, board.watching()), (Some(at(0)), Some(40)));
        assert_eq!((board.lines.len(), board.messages), (2, 2));
    }

    #[test]
    fn another_live_begins_with_an_empty_board() {
        let mut board = LiveBoard::default();
        let online = || What::StreamOnline { stream_id: "s".into() };
        board.apply(1, Some(live(1)), &notice(0, online()));
        board.apply(2, Some(live(1)), &said(5));
        board.apply(3, Some(live(1)), &notice(9, What::StreamOffline { stream_id: None }));
        // The list of streams lags behind.
        board.sample(&seen(10, 0));
        assert_eq!(board.ended_at, Some(at(9)), "over is over");
        board.apply(4, Some(live(2)), &notice(100, online()));
        board.apply(5, Some(live(2)), &said(101));
        assert_eq!((board.started_at, board.ended_at), (Some(at(100)), None));
        assert_eq!((board.lines.len(), board.messages), (1, 1));
        // A second look at the same live changes nothing; one at a later one does.
        board.sample(&seen(110, 100));
        assert_eq!(board.started_at, Some(at(100)));
    }

    #[test]
    fn a_page_of_the_live_before_begins_anew() {
        let mut board = LiveBoard::default();
        board.apply(1, Some(live(1)), &said(5));
        board.apply(2, Some(live(1)), &deleted(6, 5));
        board.apply(3, Some(live(2)), &said(100));
        assert!(!board.goes_on_from(2), "its lines, and what had to go, are not here any more");
        assert!(board.reaches_back_to(3));
    }

    #[test]
    fn a_reader_is_told_everything_that_goes_or_begins_anew() {
        let mut board = LiveBoard::default();
        let many = LINES_MAX as i64;
        for n in 1..=many {
            board.apply(n, None, &said(n));
        }
        assert!(board.reaches_back_to(0));
        board.apply(many + 1, None, &said(many + 1));
        assert!(!board.reaches_back_to(0) && board.reaches_back_to(1), "the first line fell off");
        // Room that a removal makes does not bring it back.
        board.apply(many + 2, None, &deleted(many + 2, 7));
        assert!(!board.reaches_back_to(0) && board.goes_on_from(0));
        // One that is not here any more is on somebody's page all the same.
        board.apply(many + 3, None, &deleted(many + 3, 1));
        board.apply(many + 4, None, &notice(many + 4, What::ChatCleared));
        assert!(board.goes_on_from(many + 2), "what had to go since then is known");
        assert!(!board.goes_on_from(many + 1), "of one removal nobody knows any more");
    }
}
