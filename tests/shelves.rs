//! What every shelf of cards promises, kept by the twin in memory and by PostgreSQL alike; `spark rebuild` included.

mod support;

use serde_json::json;
use spark::domain::event::Event;
use spark::domain::live::camera::CameraEvent;
use spark::ports::shelves::{Rebuilt, cards_of, find_card};
use spark::read_models::{CameraCard, ClipCard, LiveCard, Model, WeekCard};
use support::databases::{Database, System};
use support::samples;
use uuid::Uuid;

kept_by_memory_and_postgres!(
    a_card_stands_as_soon_as_its_event_is_written,
    a_card_follows_its_subject,
    a_camera_keeps_how_its_last_recordings_lie_beside_others,
    cards_are_listed_under_their_parent_in_the_order_they_began,
    a_rebuild_after_a_life_finds_nothing_different,
    a_rebuild_finds_the_one_card_that_was_tampered_with_and_mends_it,
);

async fn a_life(db: &Database) {
    db.write(vec![samples::week_opened(1), samples::week_opened(2)]).await;
    db.write(vec![samples::imported(1), samples::imported(2)]).await;
    for n in 0..20 {
        db.write(vec![samples::clip_requested(n)]).await;
        db.write(vec![samples::clip_renamed(n, &format!("Clip « {n} » d'été 🔥"))]).await;
    }
    db.write(vec![samples::camera_added(1), samples::camera_added(2)]).await;
    for minutes in 0..12 {
        db.write(vec![samples::camera_aligned(2, minutes)]).await;
    }
    // More than one batch of the log.
    db.write((100..700).map(samples::week_opened).collect()).await;
}

async fn a_card_stands_as_soon_as_its_event_is_written(db: Database) {
    assert_eq!(
        find_card::<LiveCard>(&*db.shelves, samples::live(1).as_uuid()).await.unwrap(),
        None
    );
    db.write(vec![samples::imported(1)]).await;
    let card: LiveCard =
        find_card(&*db.shelves, samples::live(1).as_uuid()).await.unwrap().expect("a card");
    assert_eq!((card.title.as_str(), card.week), ("Soirée 1", samples::week(1)));
}

async fn a_card_follows_its_subject(db: Database) {
    db.write(vec![samples::clip_requested(1), samples::clip_requested(2)]).await;
    db.write(vec![samples::clip_renamed(1, "Mieux")]).await;
    let title = |n: u128| {
        let shelves = db.shelves.clone();
        async move {
            let card: Option<ClipCard> =
                find_card(&*shelves, samples::clip(n).as_uuid()).await.unwrap();
            card.expect("a card").clip.title.as_str().to_owned()
        }
    };
    assert_eq!((title(1).await, title(2).await), ("Mieux".to_owned(), "Le moment".to_owned()));
}

async fn a_camera_keeps_how_its_last_recordings_lie_beside_others(db: Database) {
    a_life(&db).await;
    // The last pair was measured again.
    db.write(vec![samples::camera_aligned(2, 11)]).await;
    let key = samples::camera(2).as_uuid();
    let card: CameraCard = find_card(&*db.shelves, key).await.unwrap().expect("a card");
    assert_eq!(card.aligned.len(), 8);
    let pair = (samples::recording(100), samples::recording(11));
    let Event::Camera(CameraEvent::Aligned { alignment, .. }) = samples::camera_aligned(2, 11)
    else {
        panic!("an alignment")
    };
    assert_eq!(card.beside(pair.0, pair.1).map(|known| &known.alignment), Some(&alignment));
    assert_eq!(card.beside(pair.0, samples::recording(3)), None, "the oldest are forgotten");
}

async fn cards_are_listed_under_their_parent_in_the_order_they_began(db: Database) {
    let order = [7, 3, 9, 1];
    db.write(order.map(samples::clip_requested).to_vec()).await;
    db.write(vec![samples::clip_renamed(9, "Plus tard")]).await;
    let cards: Vec<ClipCard> = cards_of(&*db.shelves, samples::live(1).as_uuid()).await.unwrap();
    assert_eq!(cards.iter().map(|c| c.clip.id).collect::<Vec<_>>(), order.map(samples::clip));
    assert!(cards_of::<ClipCard>(&*db.shelves, Uuid::nil()).await.unwrap().is_empty());
    db.write(vec![samples::week_opened(1)]).await;
    assert_eq!(cards_of::<WeekCard>(&*db.shelves, Uuid::nil()).await.unwrap().len(), 1);
}

async fn a_rebuild_after_a_life_finds_nothing_different(db: Database) {
    a_life(&db).await;
    let found = db.shelves.rebuild().await.unwrap();
    let same = |cards| Rebuilt { cards, differing: 0 };
    assert_eq!(
        found,
        [
            (Model::Weeks, same(602)),
            (Model::Lives, same(2)),
            (Model::Moments, same(0)),
            (Model::Clips, same(20)),
            (Model::Broadcasts, same(0)),
            (Model::Cameras, same(2)),
        ]
    );
}

async fn a_rebuild_finds_the_one_card_that_was_tampered_with_and_mends_it(db: Database) {
    a_life(&db).await;
    let key = samples::clip(3).as_uuid();
    let whole = db.shelves.document(Model::Clips, key).await.unwrap().expect("a card");
    match &db.system {
        System::Memory(memory, _) => memory.tamper_with_card(Model::Clips, key, json!({"x": 1})),
        System::Postgres(pool) => {
            let spoilt = "update cards set document = '{\"x\": 1}' where key = $1";
            let done = sqlx::query(spoilt).bind(key).execute(pool).await.unwrap();
            assert_eq!(done.rows_affected(), 1, "the fault took place");
        }
    }
    assert_ne!(db.shelves.document(Model::Clips, key).await.unwrap().as_ref(), Some(&whole));
    assert!(find_card::<ClipCard>(&*db.shelves, key).await.is_err(), "a spoilt card is told");

    let found = db.shelves.rebuild().await.unwrap();
    let differing: Vec<_> =
        found.iter().map(|(model, rebuilt)| (*model, rebuilt.differing)).collect();
    assert_eq!(
        differing,
        [
            (Model::Weeks, 0),
            (Model::Lives, 0),
            (Model::Moments, 0),
            (Model::Clips, 1),
            (Model::Broadcasts, 0),
            (Model::Cameras, 0),
        ]
    );
    assert_eq!(db.shelves.document(Model::Clips, key).await.unwrap(), Some(whole));
    let again = db.shelves.rebuild().await.unwrap();
    assert!(again.iter().all(|(_, rebuilt)| rebuilt.differing == 0), "{again:?}");
}

/// A card that is gone, and one that never should have been, are differences too.
#[tokio::test]
async fn a_rebuild_brings_back_lost_cards_and_removes_strangers() {
    let db = Database::in_postgres().await;
    a_life(&db).await;
    let System::Postgres(pool) = &db.system else { unreachable!("it is PostgreSQL") };
    sqlx::query("delete from cards where key = $1")
        .bind(samples::clip(1).as_uuid())
        .execute(pool)
        .await
        .unwrap();
    sqlx::query(
        "insert into cards values ('lives.1', gen_random_uuid(), gen_random_uuid(), 1, '{}')",
    )
    .execute(pool)
    .await
    .unwrap();
    let found = db.shelves.rebuild().await.unwrap();
    assert_eq!(found[3], (Model::Clips, Rebuilt { cards: 20, differing: 1 }));
    assert_eq!(found[1].1.cards, 2);
    let strangers: i64 = sqlx::query_scalar("select count(*) from cards where model = 'lives.1'")
        .fetch_one(pool)
        .await
        .unwrap();
    assert_eq!(strangers, 2);
    assert_eq!(found[1].1.differing, 1, "the stranger was counted");
}
