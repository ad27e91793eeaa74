//! What every ledger promises, kept by the twin in memory and by PostgreSQL alike.

mod support;

use std::collections::BTreeSet;

use spark::adapters::postgres::SILENT_TRANSACTION_MAX;
use spark::domain::job::{JobState, Lane};
use spark::ports::ledger::{
    Commit, CommitError, CursorMove, EVENTS_BATCH_MAX, Expectation, Ledger,
};
use spark::read_models::Model;
use sqlx::PgPool;
use support::databases::{Database, System};
use support::samples;

kept_by_memory_and_postgres!(
    events_come_back_in_order_and_equal,
    a_refused_commit_leaves_nothing_of_itself,
    a_decision_on_an_outdated_history_is_refused,
    a_cursor_moves_once,
    a_first_step_begins_at_the_start,
    of_two_followers_at_the_same_batch_one_reacts,
    of_many_decisions_at_once_one_stands,
    a_batch_is_limited_and_reading_goes_on_after_it,
    the_same_messages_twice_are_stored_once,
    an_audience_comes_back_whole_and_in_order,
    a_weeks_key_is_drawn_once_and_gone_for_good_once_destroyed,
    ageing_drops_messages_and_keeps_minutes,
    an_erased_viewer_leaves_no_message,
    an_id_is_remembered_until_it_is_swept,
    a_waiting_follower_hears_of_a_commit,
);

async fn events_come_back_in_order_and_equal(db: Database) {
    let said = vec![samples::week_opened(1), samples::imported(1), samples::clip_requested(1)];
    let committed = db.write(said.clone()).await;
    let read = db.ledger.events_after(0).await.unwrap();
    assert_eq!(read.iter().map(|e| e.seq).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(read.into_iter().map(|e| e.event).collect::<Vec<_>>(), said);
    assert_eq!(committed.events.iter().map(|e| e.seq).collect::<Vec<_>>(), [1, 2, 3]);
    let history = db.ledger.history(samples::clip(1).as_uuid()).await.unwrap();
    assert_eq!(history.into_iter().map(|e| e.event).collect::<Vec<_>>(), said[2..]);
    assert!(db.ledger.events_after(3).await.unwrap().is_empty());
}

/// Whatever the reason of the refusal, none of the parts of the commit may be seen afterwards.
async fn a_refused_commit_leaves_nothing_of_itself(db: Database) {
    db.write(vec![samples::week_opened(1)]).await;
    db.order(samples::cut_clip(9)).await;
    let held = db.claim(Lane::Cut).await.unwrap();
    let stale = spark::domain::job::JobTicket { fence: held.ticket.fence + 1, ..held.ticket };
    let everything = || Commit {
        events: vec![samples::imported(1), samples::clip_requested(1)],
        jobs: vec![samples::cut_clip(1)],
        finish: Some(held.ticket),
        cursor: Some(CursorMove { follower: "test", from: 0, to: 1 }),
        audience: Some(samples::audience(1, vec![samples::message(1, "anna")])),
        media: vec![samples::media(1, "clips", "mp4")],
        expect: None,
    };
    let wrong_count = Some(Expectation { subject: samples::live(1).as_uuid(), events: 7 });
    let wrong_cursor = Some(CursorMove { follower: "test", from: 5, to: 6 });
    let refused = [
        db.ledger.commit(Commit { expect: wrong_count, ..everything() }).await,
        db.ledger.commit(Commit { cursor: wrong_cursor, ..everything() }).await,
        db.ledger.commit(Commit { finish: Some(stale), ..everything() }).await,
    ];
    assert!(matches!(refused[0], Err(CommitError::Conflict)), "{:?}", refused[0]);
    assert!(matches!(refused[1], Err(CommitError::Conflict)), "{:?}", refused[1]);
    assert!(matches!(refused[2], Err(CommitError::LeaseLost)), "{:?}", refused[2]);

    assert_eq!(db.sequence().await, [1]);
    assert_eq!(db.ledger.cursor("test").await.unwrap(), 0);
    assert_eq!(db.queue.find(held.ticket.id).await.unwrap().unwrap().state, JobState::Running);
    assert_eq!(db.queue.list().await.unwrap().len(), 1);
    assert!(db.ledger.messages_of(samples::live(1)).await.unwrap().is_empty());
    assert!(db.ledger.minutes_of(samples::live(1)).await.unwrap().is_empty());
    let card = db.shelves.document(Model::Lives, samples::live(1).as_uuid()).await.unwrap();
    assert_eq!(card, None);
    assert_eq!(media_noted(&db).await, 0);

    // The very same commit goes through when nothing speaks against it.
    db.ledger.commit(everything()).await.unwrap();
    assert_eq!(db.sequence().await, [1, 2, 3]);
    assert_eq!(db.ledger.cursor("test").await.unwrap(), 1);
    assert_eq!(db.queue.find(held.ticket.id).await.unwrap().unwrap().state, JobState::Done);
    assert_eq!(db.queue.list().await.unwrap().len(), 2);
    assert_eq!(db.ledger.messages_of(samples::live(1)).await.unwrap().len(), 1);
    assert_eq!(media_noted(&db).await, 1);
}

async fn media_noted(db: &Database) -> i64 {
    match &db.system {
        System::Memory(memory, _) => memory.media().len() as i64,
        System::Postgres(pool) => count(pool, "media_objects").await,
    }
}

async fn count(pool: &PgPool, table: &str) -> i64 {
    let question = sqlx::AssertSqlSafe(format!("select count(*) from {table}"));
    sqlx::query_scalar(question).fetch_one(pool).await.unwrap()
}

async fn a_decision_on_an_outdated_history_is_refused(db: Database) {
    let subject = samples::clip(1).as_uuid();
    let decide = |event, events| Commit {
        events: vec![event],
        expect: Some(Expectation { subject, events }),
        ..Commit::default()
    };
    db.ledger.commit(decide(samples::clip_requested(1), 0)).await.unwrap();
    db.ledger.commit(decide(samples::clip_renamed(1, "Un"), 1)).await.unwrap();
    let late = db.ledger.commit(decide(samples::clip_renamed(1, "Deux"), 1)).await;
    assert!(matches!(late, Err(CommitError::Conflict)));
    db.ledger.commit(decide(samples::clip_renamed(1, "Trois"), 2)).await.unwrap();
    assert_eq!(db.ledger.history(subject).await.unwrap().len(), 3);
}

async fn a_cursor_moves_once(db: Database) {
    let step = |from, to| Commit {
        cursor: Some(CursorMove { follower: "test", from, to }),
        ..Commit::default()
    };
    assert_eq!(db.ledger.cursor("test").await.unwrap(), 0);
    db.ledger.commit(step(0, 4)).await.unwrap();
    let again = db.ledger.commit(step(0, 4)).await;
    assert!(matches!(again, Err(CommitError::Conflict)));
    db.ledger.commit(step(4, 9)).await.unwrap();
    assert_eq!(db.ledger.cursor("test").await.unwrap(), 9);
    assert_eq!(db.ledger.cursor("another").await.unwrap(), 0);
}

async fn a_first_step_begins_at_the_start(db: Database) {
    let cursor = Some(CursorMove { follower: "test", from: 3, to: 4 });
    let skipping = db.ledger.commit(Commit { cursor, ..Commit::default() }).await;
    assert!(matches!(skipping, Err(CommitError::Conflict)));
    assert_eq!(db.ledger.cursor("test").await.unwrap(), 0);
}

async fn of_two_followers_at_the_same_batch_one_reacts(db: Database) {
    db.write(vec![samples::clip_requested(1)]).await;
    let react = |db: Database| async move {
        let cursor = Some(CursorMove { follower: "test", from: 0, to: 1 });
        let jobs = vec![samples::cut_clip(1)];
        let commit =
            Commit { cursor, jobs, events: vec![samples::week_opened(2)], ..Commit::default() };
        db.ledger.commit(commit).await
    };
    let mut followers = tokio::task::JoinSet::new();
    for _ in 0..6 {
        followers.spawn(react(db.of_another_process().await));
    }
    let outcomes = followers.join_all().await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    let conflicts = outcomes.iter().filter(|o| matches!(o, Err(CommitError::Conflict))).count();
    assert_eq!(conflicts, 5);
    assert_eq!(db.sequence().await, [1, 2]);
    assert_eq!(db.queue.list().await.unwrap().len(), 1);
}

async fn of_many_decisions_at_once_one_stands(db: Database) {
    db.write(vec![samples::clip_requested(1)]).await;
    let mut deciders = tokio::task::JoinSet::new();
    for n in 0..6 {
        let db = db.of_another_process().await;
        deciders.spawn(async move {
            let expect = Some(Expectation { subject: samples::clip(1).as_uuid(), events: 1 });
            let events = vec![samples::clip_renamed(1, &format!("Titre {n}"))];
            db.ledger.commit(Commit { events, expect, ..Commit::default() }).await
        });
    }
    let outcomes = deciders.join_all().await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    assert_eq!(db.ledger.history(samples::clip(1).as_uuid()).await.unwrap().len(), 2);
}

async fn a_batch_is_limited_and_reading_goes_on_after_it(db: Database) {
    let many = EVENTS_BATCH_MAX as u128 + 3;
    db.write((0..many).map(samples::week_opened).collect()).await;
    let first = db.ledger.events_after(0).await.unwrap();
    assert_eq!(first.len(), EVENTS_BATCH_MAX);
    let rest = db.ledger.events_after(first.last().unwrap().seq).await.unwrap();
    assert_eq!(rest.len(), 3);
}

async fn the_same_messages_twice_are_stored_once(db: Database) {
    let batch =
        || samples::audience(1, vec![samples::message(1, "anna"), samples::message(2, "ben")]);
    for _ in 0..2 {
        db.ledger.commit(Commit { audience: Some(batch()), ..Commit::default() }).await.unwrap();
    }
    assert_eq!(db.ledger.messages_of(samples::live(1)).await.unwrap().len(), 2);
    assert_eq!(db.ledger.minutes_of(samples::live(1)).await.unwrap().len(), 1);
    // Another live may hold a message of the same id.
    let other = samples::audience(2, vec![samples::message(1, "anna")]);
    db.ledger.commit(Commit { audience: Some(other), ..Commit::default() }).await.unwrap();
    assert_eq!(db.ledger.messages_of(samples::live(2)).await.unwrap().len(), 1);
}

async fn an_audience_comes_back_whole_and_in_order(db: Database) {
    // Over midnight: two day partitions.
    let said = [5, 1, 5 * 3600, 2].map(|n| samples::message(n, "anna"));
    let batch = samples::audience(1, said.to_vec());
    let minutes = batch.minutes.clone();
    db.ledger.commit(Commit { audience: Some(batch), ..Commit::default() }).await.unwrap();
    let [five, one, late, two] = said;
    assert_eq!(db.ledger.messages_of(samples::live(1)).await.unwrap(), [one, two, five, late]);
    assert_eq!(db.ledger.minutes_of(samples::live(1)).await.unwrap(), minutes);
    // Steps of six seconds: three messages in the first, one five hours later, silence left out.
    let pulse = db.ledger.pulse_of(samples::live(1), 6_000).await.unwrap();
    assert_eq!(pulse, [(0, 3), (3_000, 1)]);
    assert!(db.ledger.pulse_of(samples::live(2), 6_000).await.unwrap().is_empty());
    let facts = match &db.system {
        System::Memory(memory, _) => memory.facts_of(samples::live(1)).len() as i64,
        System::Postgres(pool) => count(pool, "audience_facts").await,
    };
    assert_eq!(facts, 4);
}

async fn a_weeks_key_is_drawn_once_and_gone_for_good_once_destroyed(db: Database) {
    let week = samples::week(1);
    assert_eq!(db.ledger.week_key(week, [1; 32]).await.unwrap(), Some([1; 32]));
    assert_eq!(db.ledger.week_key(week, [2; 32]).await.unwrap(), Some([1; 32]));
    assert_eq!(db.ledger.week_key(samples::week(2), [3; 32]).await.unwrap(), Some([3; 32]));
    db.ledger.age_audience(week, &[]).await.unwrap();
    assert_eq!(db.ledger.week_key(week, [4; 32]).await.unwrap(), None);
    assert_eq!(db.ledger.week_key(samples::week(2), [4; 32]).await.unwrap(), Some([3; 32]));
}

async fn ageing_drops_messages_and_keeps_minutes(db: Database) {
    for n in 1..=2 {
        let audience = samples::audience(n, vec![samples::message(1, "anna")]);
        db.ledger.commit(Commit { audience: Some(audience), ..Commit::default() }).await.unwrap();
    }
    let dropped = db.ledger.age_audience(samples::week(1), &[samples::live(1)]).await.unwrap();
    assert_eq!(dropped, 1);
    assert!(db.ledger.messages_of(samples::live(1)).await.unwrap().is_empty());
    assert_eq!(db.ledger.minutes_of(samples::live(1)).await.unwrap().len(), 1);
    assert_eq!(db.ledger.messages_of(samples::live(2)).await.unwrap().len(), 1);
}

async fn an_erased_viewer_leaves_no_message(db: Database) {
    for n in 1..=2 {
        let said = vec![samples::message(1, "anna"), samples::message(2, "ben")];
        let audience = Some(samples::audience(n, said));
        db.ledger.commit(Commit { audience, ..Commit::default() }).await.unwrap();
    }
    assert_eq!(db.ledger.erase_viewer("anna", samples::started_at()).await.unwrap(), 2);
    assert_eq!(db.ledger.erase_viewer("anna", samples::started_at()).await.unwrap(), 0);
    for n in 1..=2 {
        let left = db.ledger.messages_of(samples::live(n)).await.unwrap();
        assert_eq!(left.iter().map(|m| m.viewer_id.as_str()).collect::<Vec<_>>(), ["ben"]);
    }
}

async fn an_id_is_remembered_until_it_is_swept(db: Database) {
    let hear = || async {
        let audience = Some(samples::audience(1, vec![samples::message(1, "anna")]));
        db.ledger.commit(Commit { audience, ..Commit::default() }).await.unwrap();
        db.ledger.messages_of(samples::live(1)).await.unwrap().len()
    };
    assert_eq!(hear().await, 1);
    db.ledger.erase_viewer("anna", samples::started_at()).await.unwrap();
    db.ledger.sweep(chrono::DateTime::UNIX_EPOCH).await.unwrap();
    assert_eq!(hear().await, 0, "a repetition is still known");
    let in_a_century = samples::started_at() + chrono::Duration::days(36_500);
    db.ledger.sweep(in_a_century).await.unwrap();
    assert_eq!(hear().await, 1, "the sweep forgot it, and its day can be filled again");
}

async fn a_waiting_follower_hears_of_a_commit(db: Database) {
    let waiting = db.ledger.written();
    tokio::pin!(waiting);
    assert!(futures::poll!(&mut waiting).is_pending());
    db.write(vec![samples::week_opened(1)]).await;
    let hears = tokio::time::timeout(std::time::Duration::from_secs(10), waiting).await;
    assert!(hears.is_ok(), "nobody woke the follower");
}

/// Follows a log by what it has seen last, as every follower does.
#[derive(Default)]
struct Reader {
    seen: Vec<i64>,
}

impl Reader {
    fn cursor(&self) -> i64 {
        self.seen.last().copied().unwrap_or(0)
    }

    fn take(&mut self, batch: Vec<i64>) {
        for seq in batch {
            assert!(seq > self.cursor(), "{seq} came after {}", self.cursor());
            self.seen.push(seq);
        }
    }
}

const WRITERS: u128 = 6;
const COMMITS_PER_WRITER: u128 = 30;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_misses_no_event_of_concurrent_writers() {
    let db = Database::in_postgres().await;
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let db = db.of_another_process().await;
        writers.spawn(async move {
            let mut acknowledged = Vec::new();
            for n in 0..COMMITS_PER_WRITER {
                let n = writer * COMMITS_PER_WRITER * 2 + n * 2;
                let events = vec![samples::clip_requested(n), samples::clip_requested(n + 1)];
                acknowledged.extend(db.write(events).await.events.into_iter().map(|e| e.seq));
            }
            acknowledged
        });
    }
    let mut reader = Reader::default();
    let all = (WRITERS * COMMITS_PER_WRITER * 2) as usize;
    let mut batches = 0;
    while reader.seen.len() < all {
        let batch = db.ledger.events_after(reader.cursor()).await.unwrap();
        batches += usize::from(!batch.is_empty());
        reader.take(batch.into_iter().map(|event| event.seq).collect());
        // Once the writers are done nothing more can come: what is missing now was skipped.
        if writers.is_empty() && db.ledger.events_after(reader.cursor()).await.unwrap().is_empty() {
            break;
        }
        while writers.try_join_next().is_some_and(|done| {
            let acknowledged = done.expect("a writer");
            assert_eq!(acknowledged.len() as u128, COMMITS_PER_WRITER * 2);
            true
        }) {}
    }
    assert_eq!(reader.seen.iter().collect::<BTreeSet<_>>().len(), all, "events were skipped");
    assert_eq!(reader.seen.len(), all);
    assert!(batches > 1, "the reader never read beside the writers: the test proves nothing");
}

/// A commit stopped in its middle, after it took its numbers, holds up the next one instead of letting it overtake.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_commit_is_not_overtaken() {
    let db = Database::in_postgres().await;
    let System::Postgres(pool) = db.system.clone() else { unreachable!("it is PostgreSQL") };
    let mut stopper = pool.begin().await.unwrap();
    sqlx::query("lock table jobs in exclusive mode").execute(&mut *stopper).await.unwrap();

    // Events first, then the order, which the lock holds up.
    let slow = tokio::spawn({
        let db = db.of_another_process().await;
        async move {
            let events = vec![samples::clip_requested(1)];
            let jobs = vec![samples::cut_clip(1)];
            db.ledger.commit(Commit { events, jobs, ..Commit::default() }).await
        }
    });
    support::until_waiting(&pool, "relation").await;
    let quick = tokio::spawn({
        let db = db.of_another_process().await;
        async move { db.write(vec![samples::clip_requested(2)]).await }
    });
    tokio::select! {
        () = support::until_waiting(&pool, "advisory") => {}
        () = async { while !quick.is_finished() { tokio::task::yield_now().await } } => {
            panic!("the quick commit overtook the slow one");
        }
    }
    let mut reader = Reader::default();
    reader.take(db.sequence().await);
    assert_eq!(reader.seen, Vec::<i64>::new());
    stopper.commit().await.unwrap();
    slow.await.unwrap().unwrap();
    quick.await.unwrap();
    let rest = db.ledger.events_after(reader.cursor()).await.unwrap();
    reader.take(rest.into_iter().map(|event| event.seq).collect());
    assert_eq!(reader.seen, [1, 2]);
}

/// A process that is frozen in the middle of a commit holds every other up only for a while.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_writer_lets_go_of_its_locks() {
    let db = Database::in_postgres().await;
    let System::Postgres(pool) = &db.system else { unreachable!("it is PostgreSQL") };
    let options = pool.connect_options().as_ref().clone();
    let frozen = spark::adapters::postgres::open_pool(options).await.unwrap();
    let mut silent = frozen.begin().await.unwrap();
    sqlx::query("lock table event_log in access exclusive mode")
        .execute(&mut *silent)
        .await
        .unwrap();
    let other = tokio::spawn({
        let db = db.of_another_process().await;
        async move { db.write(vec![samples::clip_requested(1)]).await }
    });
    support::until_waiting(pool, "relation").await;

    let written = tokio::time::timeout(2 * SILENT_TRANSACTION_MAX, other).await;

    written.expect("the frozen one still holds the log").unwrap();
    let gone = sqlx::query("select 1").execute(&mut *silent).await;
    assert!(gone.is_err(), "its transaction was ended: {gone:?}");
    assert_eq!(db.sequence().await, [1]);
}

/// The control: the same reader over numbers from a bare sequence does skip what a slow writer commits late. If this
/// ever fails, the tests above have lost their teeth.
#[tokio::test]
async fn the_same_reader_over_a_bare_sequence_skips_a_late_commit() {
    let pool = support::fresh_database().await;
    sqlx::raw_sql("create table naive_log (seq bigserial primary key, body text)")
        .execute(&pool)
        .await
        .unwrap();
    let after = |seq: i64| {
        sqlx::query_scalar::<_, i64>("select seq from naive_log where seq > $1 order by seq")
            .bind(seq)
            .fetch_all(&pool)
    };
    let append = "insert into naive_log (body) values ('x')";
    let mut slow = pool.begin().await.unwrap();
    sqlx::query(append).execute(&mut *slow).await.unwrap();
    sqlx::query(append).execute(&pool).await.unwrap();

    let mut reader = Reader::default();
    reader.take(after(reader.cursor()).await.unwrap());
    slow.commit().await.unwrap();
    reader.take(after(reader.cursor()).await.unwrap());

    assert_eq!(reader.seen, [2], "the reader should have missed event 1");
    assert_eq!(after(0).await.unwrap(), [1, 2]);
}

#[tokio::test]
async fn a_ledger_reports_an_event_it_cannot_understand() {
    let db = Database::in_postgres().await;
    db.write(vec![samples::week_opened(1)]).await;
    let System::Postgres(pool) = &db.system else { unreachable!("it is PostgreSQL") };
    sqlx::query("update event_log set body = '{\"feature\": \"tomorrow\"}'")
        .execute(pool)
        .await
        .unwrap();
    let ledger = spark::adapters::postgres::PostgresLedger::new(pool.clone());
    let error = ledger.events_after(0).await.unwrap_err();
    assert!(error.chain().contains("event 1 of event_log"), "{}", error.chain());
}
