//! What is heard of the audience is kept whole and once, in memory and in PostgreSQL alike.

mod notices;
mod support;

use std::sync::Arc;

use notices::{CHANNEL, at, chat, deleted, follow, notice, offline, online, silenced, told_again};
use spark::adapters::clock::SystemClock;
use spark::adapters::local_spool::LocalSpool;
use spark::adapters::memory::{MemoryClock, MemorySpool, MemoryViewerSamples};
use spark::domain::audience::channel::ChannelId;
use spark::domain::audience::happening::{Tier, What};
use spark::domain::audience::notice::{Erasure, Notice, Reading};
use spark::domain::audience::{FactKind, ToldGap};
use spark::domain::event::Event;
use spark::domain::ids::LiveId;
use spark::domain::job::{Job, Lane};
use spark::domain::live::LiveEvent;
use spark::ports::audience_log::Logged;
use spark::ports::clock::Clock;
use spark::ports::spool::Spool;
use spark::use_cases::audience::Audience;
use spark::use_cases::villa::Weeks;
use support::databases::{Database, System};

kept_by_memory_and_postgres!(
    a_notice_comes_back_whole_and_in_order,
    the_same_notice_twice_is_one,
    one_happening_under_two_ids_is_one,
    a_live_begins_with_its_stream_and_ends_with_it,
    what_is_said_within_ten_minutes_after_the_end_still_belongs_to_the_live,
    a_restarted_listener_goes_on_with_the_live,
    two_listeners_begin_one_live,
    of_two_lives_that_nobody_heard_end_the_latest_is_on_air,
    a_gap_that_outlasts_its_live_is_a_hole_in_its_end,
    a_gap_from_one_live_into_the_next_is_a_hole_in_both,
    chat_of_a_live_becomes_messages_and_facts_without_persons,
    money_is_counted_from_one_telling,
    a_deleted_message_leaves_no_word,
    a_message_that_comes_after_its_deletion_leaves_no_word,
    a_silenced_viewer_leaves_no_word_of_before,
    an_erased_viewer_is_in_no_notice,
    ageing_a_week_drops_its_notices_and_keeps_its_facts,
    what_is_not_understood_is_kept,
    a_told_gap_is_ordered_to_be_filled_once,
    an_erasure_reaches_what_other_processes_still_hold,
    what_an_erased_moderator_took_away_stays_away,
    an_erasure_is_remembered_until_it_is_swept,
);

fn audience(db: &Database, spool: Arc<dyn Spool>) -> Audience {
    let clock = Arc::new(MemoryClock::default());
    Audience::new(db.notices.clone(), db.ledger.clone(), db.shelves.clone(), spool, clock)
}

async fn hears(db: &Database, notices: &[Notice]) -> Audience {
    let audience = audience(db, Arc::new(MemorySpool::default()));
    audience.store(notices).await.unwrap();
    audience
}

async fn logged(db: &Database) -> Vec<Notice> {
    db.notices.after(0).await.unwrap().into_iter().map(|logged| logged.notice).collect()
}

/// The live that began at second 0.
fn evening() -> LiveId {
    LiveId::on_air(CHANNEL, at(0))
}

async fn texts(db: &Database) -> Vec<String> {
    let messages = db.ledger.messages_of(evening()).await.unwrap();
    messages.into_iter().map(|message| message.text).collect()
}

/// Kind and amount of each fact of the evening.
async fn facts(db: &Database) -> Vec<(String, i64)> {
    facts_of(db, evening()).await
}

async fn facts_of(db: &Database, live: LiveId) -> Vec<(String, i64)> {
    match &db.system {
        System::Memory(memory, _) => memory
            .facts_of(live)
            .into_iter()
            .map(|fact| (fact.kind.as_str().to_owned(), fact.amount))
            .collect(),
        System::Postgres(pool) => sqlx::query_as(
            "select kind, amount from audience_facts where live = $1 order by offset_ms, kind",
        )
        .bind(live.as_uuid())
        .fetch_all(pool)
        .await
        .unwrap(),
    }
}

async fn a_notice_comes_back_whole_and_in_order(db: Database) {
    let said = [online(0), chat(1, "anna", "Bonsoir 🎉"), follow(2, "bob"), offline(3)];
    hears(&db, &said).await;
    assert_eq!(logged(&db).await, said);
    let numbers: Vec<i64> =
        db.notices.after(0).await.unwrap().iter().map(|logged| logged.seq).collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
    assert_eq!(db.notices.head().await.unwrap(), 4);
    assert_eq!(db.notices.after(3).await.unwrap().len(), 1);
}

async fn the_same_notice_twice_is_one(db: Database) {
    let said = [chat(1, "anna", "un"), chat(1, "anna", "un"), chat(2, "bob", "deux")];
    let audience = hears(&db, &said).await;
    audience.store(&said).await.unwrap();
    assert_eq!(logged(&db).await, [said[0].clone(), said[2].clone()]);
    let kept = audience.kept();
    assert_eq!((kept.stored, kept.repeated), (2, 4));
}

async fn one_happening_under_two_ids_is_one(db: Database) {
    let said = follow(2, "bob");
    hears(&db, &[said.clone(), told_again(&said, "another")]).await;
    hears(&db, &[told_again(&said, "a third")]).await;
    assert_eq!(logged(&db).await, [said]);
}

async fn a_live_begins_with_its_stream_and_ends_with_it(db: Database) {
    hears(&db, &[chat(-5, "anna", "déjà là"), online(0), chat(1, "anna", "gg"), offline(90)]).await;
    let lives: Vec<Option<LiveId>> =
        db.notices.after(0).await.unwrap().iter().map(|logged| logged.live).collect();
    assert_eq!(lives, [None, Some(evening()), Some(evening()), Some(evening())]);
    let history = db.ledger.history(evening().as_uuid()).await.unwrap();
    let history: Vec<Event> = history.into_iter().map(|recorded| recorded.event).collect();
    let [Event::Live(LiveEvent::Began { week, started_at, .. }), ended] = &history[..] else {
        panic!("{history:?}");
    };
    assert_eq!(*started_at, at(0));
    assert_eq!(*ended, LiveEvent::Ended { live: evening(), ended_at: at(90) }.into());
    let week: spark::read_models::WeekCard =
        spark::ports::shelves::find_card(&*db.shelves, week.as_uuid()).await.unwrap().unwrap();
    assert_eq!(week.name, "Semaine du 16 novembre 2026", "nobody had opened one");
}

async fn what_is_said_within_ten_minutes_after_the_end_still_belongs_to_the_live(db: Database) {
    hears(&db, &[online(0), offline(60), chat(61, "anna", "merci"), chat(700, "bob", "tard")])
        .await;
    assert_eq!(texts(&db).await, ["merci"]);
}

async fn a_restarted_listener_goes_on_with_the_live(db: Database) {
    hears(&db, &[online(0)]).await;
    let restarted = audience(&db.of_another_process().await, Arc::new(MemorySpool::default()));
    restarted.take_up().await.unwrap();
    restarted.store(&[chat(1, "anna", "encore là"), offline(2)]).await.unwrap();
    assert_eq!(texts(&db).await, ["encore là"]);
    assert_eq!(db.ledger.history(evening().as_uuid()).await.unwrap().len(), 2);
}

async fn two_listeners_begin_one_live(db: Database) {
    let other = db.of_another_process().await;
    let begun = [online(0)];
    let (here, there) = tokio::join!(hears(&db, &begun), async {
        let audience = audience(&other, Arc::new(MemorySpool::default()));
        audience.store(&[told_again(&online(0), "another")]).await.unwrap();
        audience
    });
    assert_eq!(here.kept().stored + there.kept().stored, 1);
    assert_eq!(db.ledger.history(evening().as_uuid()).await.unwrap().len(), 1);
}

async fn of_two_lives_that_nobody_heard_end_the_latest_is_on_air(db: Database) {
    const NEXT: i64 = 86_400;
    hears(&db, &[online(0), chat(1, "anna", "hier")]).await;
    // The end was not heard, and whoever hears the next beginning knows of nothing before it.
    hears(&db, &[online(NEXT)]).await;
    for n in 1..3 {
        let restarted = audience(&db.of_another_process().await, Arc::new(MemorySpool::default()));
        restarted.take_up().await.unwrap();
        restarted.store(&[chat(NEXT + n, "bob", "ce soir")]).await.unwrap();
        restarted.take_up().await.unwrap();
    }
    assert_eq!(texts(&db).await, ["hier"]);
    let next = LiveId::on_air(CHANNEL, at(NEXT));
    let said = db.ledger.messages_of(next).await.unwrap();
    assert_eq!(said.iter().map(|it| it.offset_ms).collect::<Vec<_>>(), [1_000, 2_000]);
    let history = db.ledger.history(evening().as_uuid()).await.unwrap();
    let ended = LiveEvent::Ended { live: evening(), ended_at: at(NEXT) };
    assert_eq!(history.len(), 2);
    assert_eq!(history[1].event, Event::Live(ended), "it ended when the next began, once");
    assert_eq!(db.ledger.history(next.as_uuid()).await.unwrap().len(), 1);
}

async fn a_gap_that_outlasts_its_live_is_a_hole_in_its_end(db: Database) {
    let audience = hears(&db, &[online(0), chat(1, "anna", "un")]).await;
    // Somebody saw that the stream was over; the socket came back much later.
    audience.ended(CHANNEL, at(60)).await.unwrap();
    let reason = "a lost socket".to_owned();
    let missed = |from, to| What::Missed { from: at(from), to: at(to), reason: reason.clone() };
    audience.store(&[notice(1_200, "spark.missed", missed(30, 1_200))]).await.unwrap();
    audience.store(&[notice(3_000, "spark.missed", missed(2_000, 3_000))]).await.unwrap();
    let gaps: Vec<i64> =
        facts(&db).await.into_iter().filter(|(kind, _)| kind == "missed").map(|it| it.1).collect();
    assert_eq!(gaps, [1_170_000], "what was missed after the live is none of it");
}

async fn a_gap_from_one_live_into_the_next_is_a_hole_in_both(db: Database) {
    let audience = hears(&db, &[online(0), chat(1, "anna", "un")]).await;
    let reason = "a lost socket".to_owned();
    let missed = What::Missed { from: at(30), to: at(1_300), reason };
    // Neither the end nor the new beginning was heard; a look at the streams tells of the beginning.
    audience.began(CHANNEL, "encore", at(1_200)).await.unwrap();
    audience.store(&[notice(1_300, "spark.missed", missed)]).await.unwrap();
    let gaps = |facts: Vec<(String, i64)>| -> Vec<i64> {
        facts.into_iter().filter(|(kind, _)| kind == "missed").map(|it| it.1).collect()
    };
    assert_eq!(gaps(facts(&db).await), [1_170_000], "up to the beginning of the next");
    let next = LiveId::on_air(CHANNEL, at(1_200));
    assert_eq!(gaps(facts_of(&db, next).await), [1_270_000]);
}

async fn chat_of_a_live_becomes_messages_and_facts_without_persons(db: Database) {
    let said = [online(0), chat(3, "anna", "ooh"), chat(4, "bob", "!clip"), chat(5, "anna", "a")];
    hears(&db, &said).await;
    let messages = db.ledger.messages_of(evening()).await.unwrap();
    let places: Vec<(i64, &str)> =
        messages.iter().map(|message| (message.offset_ms, message.text.as_str())).collect();
    assert_eq!(places, [(3_000, "ooh"), (4_000, "!clip"), (5_000, "a")]);
    let expected = [("chat", 3), ("chat", 5), ("vote", 1), ("chat", 1)];
    let expected: Vec<(String, i64)> =
        expected.iter().map(|(kind, amount)| ((*kind).to_owned(), *amount)).collect();
    assert_eq!(facts(&db).await, expected);
    if let System::Postgres(pool) = &db.system {
        let viewers: Vec<Vec<u8>> =
            sqlx::query_scalar("select distinct viewer from audience_facts where kind = 'chat'")
                .fetch_all(pool)
                .await
                .unwrap();
        assert_eq!(viewers.len(), 2, "anna is one person, bob another");
    }
}

async fn money_is_counted_from_one_telling(db: Database) {
    let anna = || notices::viewer("anna");
    let said = [
        online(0),
        notice(1, "channel.cheer", What::Cheered { viewer: Some(anna()), bits: 100 }),
        notice(1, "channel.bits.use", What::BitsUsed { viewer: Some(anna()), bits: 100 }),
        notice(2, "gift", What::SubsGifted { gifter: Some(anna()), total: 5, tier: Tier::One }),
        notice(3, "s", What::Subscribed { viewer: anna(), tier: Tier::One, is_gift: true }),
        notice(4, "s", What::Subscribed { viewer: anna(), tier: Tier::Two, is_gift: false }),
    ];
    hears(&db, &said).await;
    let of = |kind: FactKind, amount| (kind.as_str().to_owned(), amount);
    let expected = [of(FactKind::Cheer, 100), of(FactKind::Gift, 5), of(FactKind::Sub, 2)];
    assert_eq!(facts(&db).await, expected);
}

/// No row of the log holds the word.
async fn holds_no(db: &Database, word: &str) {
    let left = logged(db).await;
    assert!(left.iter().all(|notice| !format!("{notice:?}").contains(word)), "{left:?}");
    assert!(texts(db).await.iter().all(|text| !text.contains(word)));
}

async fn a_deleted_message_leaves_no_word(db: Database) {
    let said = [online(0), chat(1, "anna", "injure"), chat(2, "anna", "pardon"), deleted(3, 1)];
    hears(&db, &said).await;
    holds_no(&db, "injure").await;
    assert_eq!(texts(&db).await, ["pardon"]);
    assert_eq!(logged(&db).await.len(), 4, "that something was said stays known");
    assert_eq!(facts(&db).await.len(), 2, "and counted");
}

async fn a_message_that_comes_after_its_deletion_leaves_no_word(db: Database) {
    hears(&db, &[online(0), deleted(3, 1), chat(1, "anna", "injure")]).await;
    hears(&db, &[silenced(9, "bob")]).await;
    hears(&db, &[chat(8, "bob", "injure")]).await;
    holds_no(&db, "injure").await;
}

async fn a_silenced_viewer_leaves_no_word_of_before(db: Database) {
    let audience = hears(&db, &[online(0), chat(1, "bob", "injure"), chat(2, "anna", "oh")]).await;
    audience.store(&[chat(3, "bob", "une injure"), silenced(4, "bob")]).await.unwrap();
    holds_no(&db, "injure").await;
    audience.store(&[chat(60, "bob", "pardon")]).await.unwrap();
    assert_eq!(texts(&db).await, ["oh", "pardon"]);
}

async fn an_erased_viewer_is_in_no_notice(db: Database) {
    let spool = MemorySpool::default();
    let audience = audience(&db, Arc::new(spool.clone()));
    let said = [online(0), chat(1, "anna", "un"), follow(2, "anna"), chat(3, "bob", "deux")];
    audience.store(&said).await.unwrap();
    spool.put(vec![chat(4, "anna", "quatre")]).await.unwrap();
    assert_eq!(audience.erase_viewer(&notices::viewer_id("anna")).await.unwrap(), 4);
    assert_eq!(logged(&db).await, [said[0].clone(), said[3].clone()]);
    assert_eq!(texts(&db).await, ["deux"]);
    assert!(spool.is_empty().await.unwrap());
}

async fn ageing_a_week_drops_its_notices_and_keeps_its_facts(db: Database) {
    hears(&db, &[chat(-9, "anna", "avant"), online(0), chat(1, "anna", "un")]).await;
    let samples = Arc::new(MemoryViewerSamples::default());
    let weeks = Weeks { ledger: db.ledger.clone(), shelves: db.shelves.clone(), samples };
    let now = SystemClock.now();
    assert_eq!(weeks.age(now.min(at(0))).await.unwrap(), 0, "not before its time");
    // Sixty days on; what belongs to no live goes after a week.
    assert_eq!(weeks.age(now.max(at(0)) + chrono::TimeDelta::days(60)).await.unwrap(), 1);
    assert!(logged(&db).await.iter().all(|notice| notice.subject() != Some("said-1")));
    assert_eq!(texts(&db).await, Vec::<String>::new());
    assert_eq!(facts(&db).await.len(), 1);
}

async fn what_is_not_understood_is_kept(db: Database) {
    let mut said = notice(1, "channel.tomorrow", What::ChatCleared);
    said.reading = Reading::Unknown { reason: "nobody knows this kind".to_owned() };
    said.raw = String::from("{\"mots\":\"de\\u0000main\"}");
    hears(&db, &[said.clone()]).await;
    assert_eq!(logged(&db).await, [said]);
}

async fn a_told_gap_is_ordered_to_be_filled_once(db: Database) {
    let gap = |from, to| {
        let reason = "a lost socket".to_owned();
        notice(to, "spark.missed", What::Missed { from: at(from), to: at(to), reason })
    };
    let audience = hears(&db, &[gap(1, 9), chat(9, "anna", "un"), gap(20, 29)]).await;
    audience.store(&[gap(1, 9), gap(31, 31)]).await.unwrap();
    let mut ordered: Vec<Job> = Vec::new();
    while let Some(claimed) = db.claim(Lane::Fill).await {
        ordered.push(claimed.job.clone());
        db.finish(&claimed, Vec::new()).await.unwrap();
    }
    let channel = ChannelId::try_new(CHANNEL).unwrap();
    let told = |from, to| Job::FillGap {
        gap: ToldGap { channel: channel.clone(), from: at(from), to: at(to) },
    };
    assert_eq!(ordered, [told(1, 9), told(20, 29)]);
}

async fn an_erasure_reaches_what_other_processes_still_hold(db: Database) {
    let said = [online(0), chat(1, "anna", "un"), chat(3, "bob", "deux")];
    hears(&db, &said).await;
    // Another machine heard this before the erasure, and could not store it yet.
    let other = audience(&db.of_another_process().await, Arc::new(MemorySpool::default()));
    other.take_up().await.unwrap();
    let gift =
        What::SubsGifted { gifter: Some(notices::viewer("carl")), total: 1, tier: Tier::One };
    let mut named_beside = notice(6, "gift", gift);
    named_beside.raw = format!("{{\"to\":\"{}\"}}", notices::viewer_id("anna"));
    let late = [
        chat(4, "anna", "trois"),
        follow(5, "anna"),
        named_beside,
        chat(7, "bob", "quatre"),
        chat(20, "anna", "je suis de retour"),
    ];
    db.ledger.erase_viewer(&notices::viewer_id("anna"), at(10)).await.unwrap();
    other.store(&late).await.unwrap();
    let left = [&said[0], &said[2], &late[3], &late[4]].map(Clone::clone);
    assert_eq!(logged(&db).await, left);
    assert_eq!(texts(&db).await, ["deux", "quatre", "je suis de retour"]);
    // Facts are without persons: of what was stored before it stays that something was said.
    assert_eq!(facts(&db).await.len(), 4, "{:?}", facts(&db).await);
    other.store(&late[..3]).await.unwrap();
    assert_eq!(logged(&db).await, left, "not at the second time either");
    let erasure = Erasure { viewer_id: notices::viewer_id("anna"), at: at(10) };
    assert_eq!(db.notices.erasures().await.unwrap(), [erasure]);
}

async fn what_an_erased_moderator_took_away_stays_away(db: Database) {
    hears(&db, &[online(0), chat(1, "bob", "injure")]).await;
    db.ledger.erase_viewer(&notices::viewer_id("mona"), at(10)).await.unwrap();
    let mut taken_away = deleted(3, 1);
    taken_away.raw = format!("{{\"moderator_user_id\":\"{}\"}}", notices::viewer_id("mona"));
    let other = audience(&db.of_another_process().await, Arc::new(MemorySpool::default()));
    other.store(&[taken_away]).await.unwrap();
    holds_no(&db, "injure").await;
    assert_eq!(logged(&db).await.len(), 2);
}

async fn an_erasure_is_remembered_until_it_is_swept(db: Database) {
    let anna = notices::viewer_id("anna");
    db.ledger.erase_viewer(&anna, at(10)).await.unwrap();
    db.ledger.erase_viewer(&anna, at(5)).await.unwrap();
    db.ledger.sweep(at(10)).await.unwrap();
    let erasures = db.notices.erasures().await.unwrap();
    assert_eq!(erasures, [Erasure { viewer_id: anna, at: at(10) }], "the latest counts");
    db.ledger.sweep(at(11)).await.unwrap();
    assert_eq!(db.notices.erasures().await.unwrap(), []);
}

/// The database goes away in the middle; what comes meanwhile waits on a real disk.
#[tokio::test]
async fn an_outage_loses_and_doubles_nothing() {
    let db = Database::in_memory();
    let System::Memory(memory, _) = &db.system else { unreachable!() };
    let folder = tempfile::tempdir().unwrap();
    let audience = audience(&db, Arc::new(LocalSpool::open(folder.path()).unwrap()));
    audience.keep(vec![online(0), chat(1, "anna", "un")]).await;
    memory.set_away(true);
    audience.keep(vec![chat(2, "anna", "deux"), chat(3, "bob", "trois")]).await;
    audience.drain().await.unwrap_err();
    audience.keep(vec![chat(3, "bob", "trois"), chat(4, "carl", "quatre")]).await;
    assert!(audience.kept().is_spooling, "the outage took place");
    assert_eq!(audience.kept().spooled, 4);
    memory.set_away(false);
    audience.keep(vec![chat(5, "anna", "cinq")]).await;
    assert_eq!(texts(&db).await, ["un"], "behind what waits");
    while audience.drain().await.unwrap() {}
    assert_eq!(texts(&db).await, ["un", "deux", "trois", "quatre", "cinq"]);
    audience.keep(vec![chat(6, "bob", "six")]).await;
    assert_eq!(texts(&db).await.len(), 6, "straight again");
    assert_eq!(audience.kept().lost, 0);
}

/// PostgreSQL gives numbers before commits: a reader must not pass over one that commits late.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_writers_leave_no_gap_behind_a_reader() {
    let db = Database::in_postgres().await;
    let others = [db.of_another_process().await, db.of_another_process().await];
    let writers = [db.clone(), others[0].clone(), others[1].clone()].map(|db| {
        let audience = audience(&db, Arc::new(MemorySpool::default()));
        async move {
            let number = std::process::id().into();
            for n in 0..60 {
                let mut said = chat(n, "anna", "un");
                said.message_id = format!("{:p}-{n}-{number}", Arc::as_ptr(&db.notices));
                said.reading = Reading::Noted;
                audience.store(&[said]).await.unwrap();
                let _: i64 = number;
            }
        }
    });
    let reader = async {
        let mut seen: Vec<Logged> = Vec::new();
        while seen.len() < 180 {
            let from = seen.last().map_or(0, |logged| logged.seq);
            seen.extend(db.notices.after(from).await.unwrap());
        }
        seen
    };
    let (_, seen) = tokio::join!(futures::future::join_all(writers), reader);
    assert_eq!(seen.len(), 180);
}
