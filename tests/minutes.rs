//! The minutes of a live on air: folded from what was heard of it, right in spite of gaps and late messages, and there when
//! the chat is gone. In memory and in PostgreSQL alike.

mod notices;
mod support;

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use notices::{CHANNEL, at, chat, notice, offline, online};
use spark::adapters::memory::{MemoryClock, MemorySpool, MemoryViewerSamples};
use spark::adapters::postgres::PostgresViewerSamples;
use spark::domain::audience::AudienceMinute;
use spark::domain::audience::channel::{ChannelId, Seen, ViewerSample};
use spark::domain::audience::happening::What;
use spark::domain::audience::notice::Notice;
use spark::domain::ids::LiveId;
use spark::ports::PortError;
use spark::ports::viewer_samples::ViewerSamples;
use spark::use_cases::audience::Audience;
use spark::use_cases::villa::Weeks;
use support::databases::{Database, System};

kept_by_memory_and_postgres!(
    a_live_has_its_minutes_as_soon_as_nobody_talks_on,
    what_comes_late_counts_when_folded_again,
    minutes_outlive_the_chat_and_the_weeks_key,
    two_sweepers_at_once_fold_one_and_the_same,
    a_live_whose_end_nobody_heard_lasts_until_its_last_word,
    what_cannot_be_folded_keeps_its_raw_audience,
    viewers_that_cannot_be_read_keep_the_raw_audience_of_their_week_alone,
);

/// The live that began at second 0.
fn evening() -> LiveId {
    LiveId::on_air(CHANNEL, at(0))
}

/// When the week of [`at`] has long been over.
fn ages() -> DateTime<Utc> {
    at(0) + TimeDelta::days(60)
}

/// A gap that ends at second `n`.
fn missed(from: i64, n: i64) -> Notice {
    let what = What::Missed { from: at(from), to: at(n), reason: "a lost socket".to_owned() };
    notice(n, "spark.missed", what)
}

fn looked(n: i64, seen: Seen) -> ViewerSample {
    let channel = ChannelId::try_new(CHANNEL).unwrap();
    ViewerSample { channel, fetched_at: at(n), seen }
}

fn watched(n: i64, viewers: u32) -> ViewerSample {
    let (title, category) = (String::new(), String::new());
    looked(n, Seen::Live { viewers, title, category, started_at: Some(at(0)) })
}

async fn hears(db: &Database, notices: &[Notice]) {
    let (spool, clock) = (Arc::new(MemorySpool::default()), Arc::new(MemoryClock::at(at(0))));
    let audience =
        Audience::new(db.notices.clone(), db.ledger.clone(), db.shelves.clone(), spool, clock);
    audience.take_up().await.unwrap();
    audience.store(notices).await.unwrap();
}

/// Two and a half minutes: talk, a gap over the turn of the first minute, told twice with some overlap.
fn talk() -> Vec<Notice> {
    vec![
        online(0),
        chat(5, "anna", "un"),
        chat(10, "bob", "deux"),
        chat(12, "anna", "trois"),
        missed(45, 70),
        missed(60, 75),
        chat(90, "anna", "quatre"),
        offline(150),
        chat(170, "bob", "merci"),
    ]
}

fn samples_of(db: &Database) -> Arc<dyn ViewerSamples> {
    match &db.system {
        System::Memory(..) => Arc::new(MemoryViewerSamples::default()),
        System::Postgres(pool) => Arc::new(PostgresViewerSamples::new(pool.clone())),
    }
}

fn weeks(db: &Database, samples: Arc<dyn ViewerSamples>) -> Weeks {
    Weeks { ledger: db.ledger.clone(), shelves: db.shelves.clone(), samples }
}

async fn weeks_with_looks(db: &Database) -> Weeks {
    let samples = samples_of(db);
    let looks =
        [watched(8, 100), watched(40, 121), looked(70, Seen::Failed), looked(160, Seen::Offline)];
    samples.append(&looks).await.unwrap();
    weeks(db, samples)
}

/// Messages, chatters, coverage in percent, viewers.
async fn minutes(db: &Database) -> Vec<(i32, i32, i32, Option<i32>)> {
    let short = |minute: AudienceMinute| {
        let percent = (minute.coverage * 100.0).round() as i32;
        (minute.messages, minute.chatters, percent, minute.viewers)
    };
    db.ledger.minutes_of(evening()).await.unwrap().into_iter().map(short).collect()
}

/// What is said after the end counts in the minute that the end falls into, as in an imported live.
const TOLD: [(i32, i32, i32, Option<i32>); 3] =
    [(3, 2, 75, Some(111)), (1, 1, 75, None), (1, 1, 50, None)];

async fn a_live_has_its_minutes_as_soon_as_nobody_talks_on(db: Database) {
    let weeks = weeks_with_looks(&db).await;
    hears(&db, &talk()).await;
    assert_eq!(weeks.fold_fresh(at(150 + 600)).await.unwrap(), 0, "people talk on");
    assert_eq!(minutes(&db).await, []);
    assert_eq!(weeks.fold_fresh(at(150 + 601)).await.unwrap(), 1);
    assert_eq!(minutes(&db).await, TOLD);
    assert_eq!(weeks.fold_fresh(at(150 + 661)).await.unwrap(), 0, "it is there");
}

async fn what_comes_late_counts_when_folded_again(db: Database) {
    let weeks = weeks_with_looks(&db).await;
    hears(&db, &talk()).await;
    weeks.fold_fresh(at(800)).await.unwrap();
    // Another machine's spool: its words, and its gap.
    let restarted = [chat(20, "carl", "tard"), chat(130, "carl", "très tard"), missed(120, 135)];
    let audience = {
        let (spool, clock) = (Arc::new(MemorySpool::default()), Arc::new(MemoryClock::at(at(0))));
        Audience::new(db.notices.clone(), db.ledger.clone(), db.shelves.clone(), spool, clock)
    };
    // It heard the live begin, and not yet end.
    audience.began(CHANNEL, "", at(0)).await.unwrap();
    audience.store(&restarted).await.unwrap();
    assert_eq!(weeks.fold_late(at(4_000)).await.unwrap(), 1);
    let late = [(4, 3, 75, Some(111)), (1, 1, 75, None), (2, 2, 25, None)];
    assert_eq!(minutes(&db).await, late);
    assert_eq!(weeks.fold_late(at(4_000)).await.unwrap(), 1);
    assert_eq!(minutes(&db).await, late, "done again, it says the same");
    let days_later = at(0) + TimeDelta::days(4);
    assert_eq!(weeks.fold_late(days_later).await.unwrap(), 0, "nothing comes any more");
}

async fn minutes_outlive_the_chat_and_the_weeks_key(db: Database) {
    let weeks = weeks_with_looks(&db).await;
    hears(&db, &talk()).await;
    assert_eq!(weeks.age(ages()).await.unwrap(), 1, "folded on the way");
    assert_eq!(db.ledger.messages_of(evening()).await.unwrap(), []);
    assert_eq!(minutes(&db).await, TOLD);
    // The facts that stay are enough to fold them again.
    let looks = [(8_000, 100), (40_000, 121)];
    db.ledger.fold_minutes(evening(), Some(150_000), &looks).await.unwrap();
    assert_eq!(minutes(&db).await, TOLD);
    assert_eq!(weeks.fold_late(ages()).await.unwrap(), 0, "a week that has aged rests");
}

async fn two_sweepers_at_once_fold_one_and_the_same(db: Database) {
    let here = weeks_with_looks(&db).await;
    hears(&db, &talk()).await;
    let other = db.of_another_process().await;
    let there = weeks(&other, here.samples.clone());
    let (one, two) = tokio::join!(here.fold_late(at(800)), there.fold_late(at(800)));
    assert_eq!((one.unwrap(), two.unwrap()), (1, 1));
    assert_eq!(minutes(&db).await, TOLD);
}

async fn a_live_whose_end_nobody_heard_lasts_until_its_last_word(db: Database) {
    let weeks = weeks_with_looks(&db).await;
    let said: Vec<Notice> = talk().into_iter().take(7).collect();
    hears(&db, &said).await;
    assert_eq!(weeks.fold_fresh(at(8_000)).await.unwrap(), 0, "it may go on");
    assert_eq!(weeks.age(ages()).await.unwrap(), 1);
    assert_eq!(minutes(&db).await, [TOLD[0], (1, 1, 25, None)]);
}

async fn what_cannot_be_folded_keeps_its_raw_audience(db: Database) {
    let weeks = weeks_with_looks(&db).await;
    hears(&db, &talk()).await;
    break_folding(&db, true).await;
    weeks.age(ages()).await.unwrap_err();
    assert_eq!(db.ledger.messages_of(evening()).await.unwrap().len(), 5, "nothing was dropped");
    assert_eq!(minutes(&db).await, []);
    break_folding(&db, false).await;
    assert_eq!(weeks.age(ages()).await.unwrap(), 1);
    assert_eq!(db.ledger.messages_of(evening()).await.unwrap(), []);
    assert_eq!(minutes(&db).await, TOLD);
}

async fn break_folding(db: &Database, is_broken: bool) {
    match &db.system {
        System::Memory(memory, _) => memory.set_away(is_broken),
        System::Postgres(pool) => {
            let change = if is_broken {
                "alter table audience_minutes add constraint broken check (minute < 0)"
            } else {
                "alter table audience_minutes drop constraint broken"
            };
            sqlx::raw_sql(change).execute(pool).await.unwrap();
        }
    }
}

/// Samples that cannot be read for one channel.
struct Blind(Arc<dyn ViewerSamples>);

#[async_trait]
impl ViewerSamples for Blind {
    async fn append(&self, samples: &[ViewerSample]) -> Result<(), PortError> {
        self.0.append(samples).await
    }

    async fn between(
        &self,
        channel: &ChannelId,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
    ) -> Result<Vec<ViewerSample>, PortError> {
        if channel.as_str() == CHANNEL {
            return Err(PortError::plain("read viewer samples"));
        }
        self.0.between(channel, from, to).await
    }
}

async fn viewers_that_cannot_be_read_keep_the_raw_audience_of_their_week_alone(db: Database) {
    hears(&db, &talk()).await;
    let mut elsewhere = online(-20 * 86_400);
    "2002".clone_into(&mut elsewhere.channel);
    if let spark::domain::audience::notice::Reading::Understood(happening) = &mut elsewhere.reading
    {
        "2002".clone_into(&mut happening.channel);
    }
    hears(&db, &[elsewhere]).await;
    let blind = weeks(&db, Arc::new(Blind(samples_of(&db))));
    blind.age(ages()).await.unwrap_err();
    assert_eq!(db.ledger.messages_of(evening()).await.unwrap().len(), 5);
    let aged = blind.list().await.unwrap().into_iter().filter(|week| week.audience_aged);
    assert_eq!(aged.count(), 1, "the other week does not wait");
}
