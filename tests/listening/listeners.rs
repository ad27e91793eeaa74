//! What every list of listeners promises, kept by the twin in memory and by PostgreSQL alike.

use spark::adapters::memory::{MemoryClock, MemoryListeners};
use spark::ports::listeners::LISTENER_SILENT_MAX_S;

use super::*;

fn beat(name: &str, since: i64, shards: &[u32]) -> Beat {
    let health = Health {
        state: State::Listening,
        confirmed: 40,
        wanted: 41,
        refused: vec![("channel.cheer".to_owned(), "no scope".to_owned())],
        last_frame_at: DateTime::from_timestamp(since, 0),
        ..Health::default()
    };
    Beat {
        name: name.to_owned(),
        since: DateTime::from_timestamp(since, 0).unwrap(),
        shards: shards.to_vec(),
        health: BTreeMap::from([(channel(0), health)]),
    }
}

async fn who_listens_longest_is_first_and_who_leaves_is_seen(listeners: &dyn Listeners) {
    let (young, old) = (beat("a", 2_000_000_000, &[1]), beat("b", 1_900_000_000, &[0]));
    listeners.beat(&young).await.unwrap();
    listeners.beat(&old).await.unwrap();
    let all = listeners.all().await.unwrap();
    let beats: Vec<Beat> = all.iter().map(|it| it.beat.clone()).collect();
    assert_eq!(beats, [old.clone(), young.clone()], "as they said it, to the last figure");
    assert!(all.iter().all(|it| it.is_alive));
    // One that has left is known still: when it was heard last is where a gap begins.
    listeners.leave("b").await.unwrap();
    let all = listeners.all().await.unwrap();
    assert_eq!((all[0].is_alive, all[1].is_alive), (false, true));
    assert_eq!(all[0].beat.shards, [0]);
    // It comes back, later than the other.
    let back = beat("b", 2_100_000_000, &[]);
    listeners.beat(&back).await.unwrap();
    let all = listeners.all().await.unwrap();
    assert_eq!(all.iter().map(|it| &*it.beat.name).collect::<Vec<_>>(), ["a", "b"]);
    assert!(all.iter().all(|it| it.is_alive));
    // Nobody of that name: nothing happens.
    listeners.leave("nobody").await.unwrap();
}

#[tokio::test]
async fn the_twin_in_memory_keeps_it_and_forgets_who_is_silent() {
    let clock = MemoryClock::default();
    let listeners = MemoryListeners::new(clock.clone());
    who_listens_longest_is_first_and_who_leaves_is_seen(&listeners).await;
    clock.advance(Duration::from_secs(LISTENER_SILENT_MAX_S.into()));
    assert!(listeners.all().await.unwrap().iter().all(|it| !it.is_alive));
    clock.advance(Duration::from_hours(24));
    assert_eq!(listeners.all().await.unwrap(), []);
}

#[tokio::test]
async fn postgres_keeps_it_and_forgets_who_is_silent() {
    let pool = support::fresh_database().await;
    let listeners = PostgresListeners::new(pool.clone());
    who_listens_longest_is_first_and_who_leaves_is_seen(&listeners).await;
    sqlx::query("update listeners set seen_at = seen_at - make_interval(secs => $1)")
        .bind(f64::from(LISTENER_SILENT_MAX_S))
        .execute(&pool)
        .await
        .unwrap();
    assert!(listeners.all().await.unwrap().iter().all(|it| !it.is_alive));
    sqlx::query("update listeners set seen_at = seen_at - interval '1 day'")
        .execute(&pool)
        .await
        .unwrap();
    assert_eq!(listeners.all().await.unwrap(), []);
}
