//! Moments while a live is on air: found as the chat comes, the same as when it is read afterwards.

mod notices;
mod support;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use notices::{CHANNEL, at, chat, offline, online};
use spark::adapters::memory::{MemoryClock, MemorySpool, MemoryViewerSamples};
use spark::domain::audience::channel::ChannelId;
use spark::domain::audience::happening::{Phase, What};
use spark::domain::audience::notice::{Notice, Reading};
use spark::domain::event::Event;
use spark::domain::ids::LiveId;
use spark::domain::moments::event::MomentEvent;
use spark::domain::moments::lexicon::Lexicon;
use spark::domain::moments::moment::Moment;
use spark::domain::moments::params::Params;
use spark::domain::moments::reasons::ReasonKind;
use spark::domain::moments::recorded::find_moments;
use spark::domain::moments::signal::{ChatterId, Heard, Message, Signal, Vote, VoteKind};
use spark::domain::moments::votes::is_vote;
use spark::ports::audience_log::Entry;
use spark::ports::audience_source::{Health, Listening};
use spark::use_cases::audience::Audience;
use spark::use_cases::audience::boards::Boards;
use support::databases::Database;

kept_by_memory_and_postgres!(
    a_chat_heard_live_has_the_moments_of_the_same_chat_read_afterwards,
    a_moment_is_on_the_board_as_soon_as_it_is_certain,
    a_restart_tells_nothing_twice,
    two_processes_tell_each_moment_once,
    moments_keep_their_distance,
    a_mark_is_a_moment_in_a_silent_chat,
    a_moment_waits_for_the_last_word_after_the_end,
    an_erasure_asked_of_another_process_reaches_the_boards,
    what_is_filled_in_later_is_no_moment_and_changes_no_board,
);

/// Seconds of the evening that is played.
const EVENING_S: i64 = 1_500;
/// When the crowd laughs.
const LAUGHS: [i64; 3] = [420, 700, 1_100];

struct Deaf;

impl Listening for Deaf {
    fn health(&self, _: &ChannelId) -> Option<Health> {
        None
    }
}

struct House {
    db: Database,
    clock: MemoryClock,
    audience: Audience,
    boards: Boards,
}

impl House {
    fn of(db: Database, params: Params) -> Self {
        let clock = MemoryClock::at(at(0));
        let audience = Audience::new(
            db.notices.clone(),
            db.ledger.clone(),
            db.shelves.clone(),
            Arc::new(MemorySpool::default()),
            Arc::new(clock.clone()),
        );
        let boards = Boards::new(
            db.notices.clone(),
            db.ledger.clone(),
            db.shelves.clone(),
            Arc::new(MemoryViewerSamples::default()),
            Arc::new(Deaf),
            Arc::new(clock.clone()),
            params,
        );
        Self { db, clock, audience, boards }
    }

    /// Another process of the house, at the same instant.
    async fn another(&self) -> Self {
        let other = Self::of(self.db.of_another_process().await, Params::live());
        other.clock.set(spark::ports::clock::Clock::now(&self.clock));
        other
    }

    /// Second by second, as an evening goes.
    async fn plays(&self, seconds: std::ops::RangeInclusive<i64>, said: &[Notice]) {
        for second in seconds {
            self.clock.set(at(second));
            let now: Vec<Notice> =
                said.iter().filter(|one| happened_at(one) == at(second)).cloned().collect();
            if !now.is_empty() {
                self.audience.store(&now).await.unwrap();
            }
            self.keeps_up().await;
        }
    }

    async fn keeps_up(&self) {
        while self.boards.step().await.unwrap() > 0 {}
        self.boards.tick().await.unwrap();
    }

    async fn told(&self) -> Vec<Moment> {
        let mut told = Vec::new();
        let mut after = 0;
        loop {
            let events = self.db.ledger.events_after(after).await.unwrap();
            let Some(last) = events.last() else { return told };
            after = last.seq;
            told.extend(events.into_iter().filter_map(|recorded| match recorded.event {
                Event::Moment(MomentEvent::Told { live, found, .. }) => {
                    assert_eq!(live, evening());
                    Some(found)
                }
                _ => None,
            }));
        }
    }

    fn shown(&self) -> Option<Moment> {
        let channel = ChannelId::try_new(CHANNEL).unwrap();
        self.boards.look(&channel, |board| board.moment.clone())
    }
}

/// Where and what each moment is; its figures to six places, as a database may keep them.
fn in_short(moments: &[Moment]) -> Vec<String> {
    let short = |moment: &Moment| {
        let Moment { peak_s, onset_s, event_s, score, kind, mood, .. } = moment;
        let reasons: Vec<_> = moment.reasons.iter().map(|reason| reason.kind).collect();
        format!("{peak_s} {onset_s} {event_s} {score:.6} {kind:?} {mood:?} {reasons:?}")
    };
    moments.iter().map(short).collect()
}

fn evening() -> LiveId {
    LiveId::on_air(CHANNEL, at(0))
}

fn happened_at(notice: &Notice) -> DateTime<Utc> {
    notice.happening().expect("it is understood").at
}

/// Message `index` of the evening, at a second.
fn said(index: usize, second: i64, name: &str, text: &str) -> Notice {
    let mut notice = chat(second, name, text);
    notice.message_id = format!("notice-{index}");
    let Reading::Understood(happening) = &mut notice.reading else { unreachable!("it is chat") };
    happening.message_id.clone_from(&notice.message_id);
    happening.business_id = Some(format!("chat:{index}"));
    let What::Chat(chat) = &mut happening.what else { unreachable!("it is chat") };
    chat.message_id = format!("said-{index}");
    notice
}

/// Talk all along, and a crowd that laughs at these seconds.
fn chat_of(laughs: &[i64]) -> Vec<Notice> {
    let mut words: Vec<(i64, String, &str)> = Vec::new();
    for second in (1..EVENING_S).step_by(2) {
        words.push((second, format!("anna{}", second * 7 % 23), "on en est où ce soir"));
    }
    for &laugh in laughs {
        for viewer in 0..40 {
            words.push((laugh + viewer % 8, format!("rieur{viewer}"), "mdr LUL KEKW"));
        }
    }
    words.sort_by_key(|(second, ..)| *second);
    let mut evening = vec![online(0)];
    evening.extend(
        words
            .iter()
            .enumerate()
            .map(|(index, (second, who, text))| said(index, *second, who, text)),
    );
    evening
}

/// What the import's detector finds in the messages that were kept.
async fn read_afterwards(db: &Database) -> Vec<Moment> {
    let messages = db.ledger.messages_of(evening()).await.unwrap();
    let signals: Vec<Signal<'_>> = messages
        .iter()
        .map(|message| {
            let chatter = ChatterId::of_login(&message.viewer_name);
            let is_trusted = message.trusted;
            let heard = if is_vote(&message.text) {
                Heard::Vote(Vote { by: chatter, is_trusted, kind: VoteKind::Command })
            } else {
                Heard::Message(Message { chatter, text: &message.text, is_trusted })
            };
            Signal { at_ms: message.offset_ms.unsigned_abs(), heard }
        })
        .collect();
    find_moments(signals.into_iter(), &Params::live(), &Lexicon::default()).0
}

async fn a_chat_heard_live_has_the_moments_of_the_same_chat_read_afterwards(db: Database) {
    let house = House::of(db, Params::live());
    house.plays(0..=EVENING_S, &chat_of(&LAUGHS)).await;
    let told = house.told().await;
    assert_eq!(told.len(), LAUGHS.len(), "{told:?}");
    assert_eq!(in_short(&told), in_short(&read_afterwards(&house.db).await));
    for (moment, laugh) in told.iter().zip(LAUGHS) {
        assert!((moment.onset_s - laugh as f64).abs() <= 5.0, "{laugh}: {moment:?}");
    }
}

async fn a_moment_is_on_the_board_as_soon_as_it_is_certain(db: Database) {
    let house = House::of(db, Params::live());
    let chat = chat_of(&LAUGHS);
    house.plays(0..=LAUGHS[0] + 10, &chat).await;
    assert_eq!(house.shown(), None);
    let mut seen_after = None;
    for second in LAUGHS[0] + 11..LAUGHS[0] + 60 {
        house.plays(second..=second, &chat).await;
        let told = house.told().await;
        assert_eq!(house.shown().is_some(), !told.is_empty(), "page and log say the same");
        if !told.is_empty() {
            seen_after = Some(second - LAUGHS[0]);
            break;
        }
    }
    // Half a minute of chat decides; the clock of the watch runs three seconds behind.
    assert!(seen_after.is_some_and(|after| after <= 38), "{seen_after:?}");
}

async fn a_restart_tells_nothing_twice(db: Database) {
    let house = House::of(db, Params::live());
    let chat = chat_of(&LAUGHS);
    house.plays(0..=900, &chat).await;
    let before = house.told().await;
    assert_eq!(before.len(), 2);
    let restarted = house.another().await;
    restarted.audience.take_up().await.unwrap();
    restarted.boards.take_up().await.unwrap();
    restarted.keeps_up().await;
    assert_eq!(restarted.told().await, before);
    let shown = restarted.shown().expect("the latest is shown at once");
    assert_eq!(in_short(&[shown]), in_short(&before[1..]));
    restarted.plays(901..=EVENING_S, &chat).await;
    assert_eq!(restarted.told().await.len(), LAUGHS.len());
    let read = read_afterwards(&restarted.db).await;
    assert_eq!(in_short(&restarted.told().await), in_short(&read));
}

async fn two_processes_tell_each_moment_once(db: Database) {
    let house = House::of(db, Params::live());
    let other = house.another().await;
    let chat = chat_of(&LAUGHS[..1]);
    for second in 0..=600 {
        house.plays(second..=second, &chat).await;
        other.plays(second..=second, &[]).await;
    }
    assert!(house.shown().is_some());
    assert_eq!(house.shown(), other.shown());
    assert_eq!(house.told().await.len(), 1);
}

async fn moments_keep_their_distance(db: Database) {
    let laughs: Vec<i64> = (0..20).map(|burst| 400 + burst * 40).collect();
    let wide = Params { refractory_s: 240, ..Params::live() };
    let house = House::of(db, wide);
    house.plays(0..=EVENING_S, &chat_of(&laughs)).await;
    let told = house.told().await;
    assert!(told.len() >= 2, "{told:?}");
    for pair in told.windows(2) {
        assert!(pair[1].peak_s - pair[0].peak_s >= 240.0, "{pair:?}");
    }
}

async fn a_mark_is_a_moment_in_a_silent_chat(db: Database) {
    let house = House::of(db, Params::live());
    house.plays(0..=300, &[online(0)]).await;
    let channel = ChannelId::try_new(CHANNEL).unwrap();
    let mark = house.audience.mark(&channel, at(300), None).await.unwrap().unwrap();
    house.boards.marked(mark);
    house.plays(301..=360, &[]).await;
    let told = house.told().await;
    let [moment] = &told[..] else { panic!("{told:?}") };
    assert!((moment.event_s - 300.0).abs() <= 8.0, "{moment:?}");
    assert!(moment.reasons.iter().any(|reason| reason.kind == ReasonKind::Votes));
    // Taken up anew, the mark comes from the log, and says the same.
    let restarted = house.another().await;
    restarted.boards.take_up().await.unwrap();
    restarted.keeps_up().await;
    assert_eq!(restarted.told().await.len(), 1);
}

async fn a_moment_waits_for_the_last_word_after_the_end(db: Database) {
    let house = House::of(db, Params::live());
    let mut chat = chat_of(&LAUGHS[..1]);
    chat.retain(|notice| happened_at(notice) <= at(LAUGHS[0] + 10));
    chat.push(offline(LAUGHS[0] + 11));
    house.plays(0..=LAUGHS[0] + 80, &chat).await;
    assert_eq!(house.told().await.len(), 1);
    assert!(house.shown().is_some());
}

async fn an_erasure_asked_of_another_process_reaches_the_boards(db: Database) {
    let house = House::of(db, Params::live());
    let follows = notices::follow(3, "anna");
    let said = [online(0), said(1, 1, "anna", "un"), said(2, 2, "bob", "deux"), follows];
    house.plays(0..=5, &said).await;
    let channel = ChannelId::try_new(CHANNEL).unwrap();
    let shown = |house: &House| {
        house.boards.look(&channel, |board| {
            let lines: Vec<String> = board.lines.iter().map(|line| line.text.clone()).collect();
            // The begin of the live is a deed too.
            (lines, board.deeds.len())
        })
    };
    let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(shown(&house), (texts(&["un", "deux"]), 2));
    let elsewhere = house.another().await;
    elsewhere.clock.set(at(10));
    elsewhere.audience.erase_viewer(&notices::viewer_id("anna")).await.unwrap();
    house.plays(11..=11, &[chat(11, "anna", "revenue")]).await;
    house.boards.look_for_erasures().await.unwrap();
    assert_eq!(shown(&house), (texts(&["deux", "revenue"]), 1));
    // Once is enough: what comes afterwards stays.
    house.boards.look_for_erasures().await.unwrap();
    let restarted = house.another().await;
    restarted.boards.take_up().await.unwrap();
    assert_eq!(shown(&restarted), (texts(&["deux", "revenue"]), 1));
}

async fn what_is_filled_in_later_is_no_moment_and_changes_no_board(db: Database) {
    let house = House::of(db, Params::live());
    house.plays(0..=70, &[online(0), offline(60)]).await;
    house.plays(900..=910, &[online(900), said(1, 905, "anna", "ce soir")]).await;
    let filled = |n: i64, what: What| {
        let mut notice = notices::notice(n, "filled", what);
        notice.message_id = format!("backfill:{n}");
        notice
    };
    let poll = |phase| What::Poll { phase, id: "1".into(), title: "?".into(), choices: Vec::new() };
    // Of the live before, and of this one.
    let late = [(LiveId::on_air(CHANNEL, at(0)), 50), (LiveId::on_air(CHANNEL, at(900)), 902)];
    let entries = late.map(|(live, n)| Entry {
        notice: filled(n, poll(Phase::End)),
        live: Some(live),
        message: None,
        facts: Vec::new(),
        removal: None,
    });
    house.db.notices.append(Vec::from(entries)).await.unwrap();
    house.plays(911..=960, &[]).await;
    let channel = ChannelId::try_new(CHANNEL).unwrap();
    house.boards.look(&channel, |board| {
        assert_eq!(board.live, Some(LiveId::on_air(CHANNEL, at(900))));
        assert_eq!(board.lines.len(), 1, "the board of this live stands");
        assert_eq!(board.started_at, Some(at(900)));
    });
    assert_eq!(house.told().await, []);
}
