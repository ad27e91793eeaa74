//! The past of the machine, kept by the twin in memory and by PostgreSQL alike.

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use spark::adapters::memory::{MemoryClock, MemoryMachine};
use spark::adapters::postgres::PostgresMachine;
use spark::domain::resources::history::{KEPT_FOR, Minute};
use spark::domain::resources::trigger::{Triggers, usual};
use spark::domain::resources::{Reading, Resource, Sample, Scope};
use spark::ports::clock::Clock;
use spark::ports::resource_minutes::{DatabaseMeter, ResourceMinutes};
use spark::use_cases::resources::Resources;
use spark::workers::resource_history;
use support::databases::{Database, System};
use tokio_util::sync::CancellationToken;

kept_by_memory_and_postgres!(
    minutes_stand_as_they_were_kept_last_and_go_when_they_are_old,
    connections_are_counted_against_those_there_are,
);

fn minutes_of(db: &Database) -> Arc<dyn ResourceMinutes> {
    match &db.system {
        System::Memory(..) => Arc::new(MemoryMachine::default()),
        System::Postgres(pool) => Arc::new(PostgresMachine::new(pool.clone())),
    }
}

fn at(minute: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + minute * 60, 0).expect("a time")
}

async fn minutes_stand_as_they_were_kept_last_and_go_when_they_are_old(db: Database) {
    let kept = minutes_of(&db);
    let minute = |n, mean| Minute::kept(at(n), mean, mean + 0.1);
    let all = [
        (Resource::Cpu, minute(0, 0.2)),
        (Resource::Memory, minute(0, 0.3)),
        (Resource::Cpu, minute(1, 0.4)),
    ];
    kept.keep(&all).await.unwrap();
    assert_eq!(kept.since(at(0)).await.unwrap(), all);
    kept.keep(&[(Resource::Cpu, minute(1, 0.5))]).await.unwrap();
    assert_eq!(kept.since(at(1)).await.unwrap(), [(Resource::Cpu, minute(1, 0.5))]);
    kept.forget(at(1)).await.unwrap();
    assert_eq!(kept.since(at(0)).await.unwrap().len(), 1);
    kept.keep(&[]).await.unwrap();
}

async fn connections_are_counted_against_those_there_are(db: Database) {
    let meter: Arc<dyn DatabaseMeter> = match &db.system {
        System::Memory(..) => Arc::new(MemoryMachine::default()),
        System::Postgres(pool) => Arc::new(PostgresMachine::new(pool.clone())),
    };
    let reading = meter.connections().await.unwrap();
    assert_eq!((reading.resource, reading.scope), (Resource::Connections, Scope::Service));
    assert!(reading.used >= 1.0 && reading.ratio() < 1.0, "ours at least: {reading:?}");
}

#[tokio::test]
async fn a_restart_goes_on_with_the_past_and_a_database_that_is_down_loses_nothing() {
    let (machine, clock) = (MemoryMachine::default(), MemoryClock::default());
    let resources =
        || Resources::new(Arc::new(machine.clone()), Triggers::try_new(usual()).expect("triggers"));
    let look = |resources: &Resources| {
        let reading =
            Reading { resource: Resource::Disk, scope: Scope::Host, used: 40.0, capacity: 100.0 };
        let (at, readings) = (clock.now(), vec![reading]);
        machine.set_sample(Sample { at, readings, ..Sample::default() });
        resources.look();
        clock.advance(Duration::from_mins(1));
    };
    let kept = async || machine.since(clock.now() - KEPT_FOR).await.map_or(0, |it| it.len());
    let (first, stop) = (resources(), CancellationToken::new());
    machine.set_away(true);
    (0..30).for_each(|_| look(&first));
    assert!(machine.since(at(0)).await.is_err(), "the database is down");
    let keeper = tokio::spawn(resource_history::run(
        first.clone(),
        Arc::new(machine.clone()),
        Arc::new(clock.clone()),
        stop.clone(),
    ));
    tokio::time::sleep(Duration::from_millis(100)).await;
    machine.set_away(false);
    let begun = Instant::now();
    while kept().await < 29 {
        assert!(begun.elapsed() < Duration::from_secs(30), "{} minutes are kept", kept().await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    stop.cancel();
    keeper.await.unwrap();
    let (second, stop) = (resources(), CancellationToken::new());
    let seen = |resources: &Resources| {
        let columns = resources.history(|history| {
            history.columns(Resource::Disk, clock.now(), TimeDelta::hours(1), 60)
        });
        columns.into_iter().flatten().count()
    };
    assert!(seen(&second) <= 1, "it has looked once, at the most");
    let keeper = tokio::spawn(resource_history::run(
        second.clone(),
        Arc::new(machine.clone()),
        Arc::new(clock.clone()),
        stop.clone(),
    ));
    let begun = Instant::now();
    while seen(&second) < 29 {
        assert!(begun.elapsed() < Duration::from_secs(30), "{} minutes are seen", seen(&second));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    stop.cancel();
    keeper.await.unwrap();
}
