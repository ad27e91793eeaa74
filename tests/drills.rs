//! Faults on purpose: the program, a renderer or both die in the middle of work. Afterwards nothing is lost and nothing
//! is there twice. Each drill first proves that its fault happened. `SPARK_DRILLS=long` runs the random ones many times
//! and tells figures on lines that begin with `| ` (see `deploy/dev/soak`).

mod process;
mod support;

use std::fs;
use std::time::{Duration, Instant};

use process::{Ended, Home, Running, count, is_alive, renderers_of, signal, until};
use spark::domain::job::Lane;
use sqlx::PgPool;

/// Longest time from a kill until its job is in other hands.
const TAKEOVER_MAX: Duration = Duration::from_secs(15);
/// Longest time a renderer may outlive its spark.
const ORPHAN_MAX: Duration = Duration::from_secs(10);
/// Longest graceful stop.
const STOP_MAX: Duration = Duration::from_secs(20);

/// How often the random drills run.
fn rounds() -> u32 {
    if std::env::var_os("SPARK_DRILLS").is_some_and(|word| word == "long") { 20 } else { 1 }
}

/// A job in the middle of its work.
#[derive(Debug, Clone, Copy)]
struct AtWork {
    id: uuid::Uuid,
    attempt: i32,
    renderer: i32,
}

/// Waits until a job of this kind runs and `spark` has a renderer at work for it.
async fn at_work(pool: &PgPool, spark: &Running, kind: &str) -> AtWork {
    until(kind, || async {
        let (id, attempt) = running(pool, kind).await?;
        let renderer = spark.renderers().first().copied()?;
        // The renderer belongs to this job: of all lanes only this one is at work.
        let (still, _) = running(pool, kind).await?;
        (still == id).then_some(AtWork { id, attempt, renderer })
    })
    .await
}

async fn running(pool: &PgPool, kind: &str) -> Option<(uuid::Uuid, i32)> {
    sqlx::query_as("select id, attempt from jobs where state = 'running' and kind = $1")
        .bind(kind)
        .fetch_optional(pool)
        .await
        .expect("look at the queue")
}

async fn job(pool: &PgPool, id: uuid::Uuid) -> (String, i32, Option<String>) {
    sqlx::query_as("select state, attempt, error from jobs where id = $1")
        .bind(id)
        .fetch_one(pool)
        .await
        .expect("look at a job")
}

async fn events(pool: &PgPool, kind: &str) -> i64 {
    sqlx::query_scalar("select count(*) from event_log where body->'event'->>'kind' = $1")
        .bind(kind)
        .fetch_one(pool)
        .await
        .expect("count events")
}

/// Waits until every job is over and its consequences are written.
async fn at_rest(pool: &PgPool) {
    until("all work is done", || async {
        // One statement, one snapshot: between two, a job may end whose consequences are still to come.
        let left = count(
            pool,
            "select (select coalesce(max(seq), 0) from event_log) - coalesce((select min(seq) from cursors), 0)
                  + (select count(*) from jobs where state in ('waiting', 'running'))",
        );
        (left.await == 0).then_some(())
    })
    .await;
}

/// One live with one clip and one reel, all of it there, none of it twice.
async fn check_exactly_once(home: &Home, pool: &PgPool) {
    for (kind, wanted) in [
        ("imported", 1),
        ("analysed", 1),
        ("detected", 1),
        ("requested", 1),
        ("cut", 1),
        ("reel_rendered", 1),
    ] {
        assert_eq!(events(pool, kind).await, wanted, "events `{kind}`");
    }
    for kind in ["cut_failed", "reel_failed"] {
        assert_eq!(events(pool, kind).await, 0, "events `{kind}`");
    }
    assert_eq!(count(pool, "select count(*) from jobs").await, 4);
    assert_eq!(count(pool, "select count(*) from jobs where state = 'done'").await, 4);
    let talk = process::talk_with_a_moment().len() as i64;
    assert_eq!(count(pool, "select count(*) from audience_messages").await, talk);
    let keys: Vec<String> = sqlx::query_scalar("select key from media_objects order by key")
        .fetch_all(pool)
        .await
        .expect("list media");
    for key in &keys {
        let bytes =
            fs::metadata(home.data.join("media").join(key)).expect("a medium is there").len();
        assert!(bytes > 0, "{key}");
    }
    let reel = keys.iter().find(|key| key.starts_with("reels/")).expect("a reel");
    let reel = home.data.join("media").join(reel);
    // It decodes from its first frame to its last.
    process::ffmpeg(
        &["-xerror", "-i", reel.to_str().expect("a plain path"), "-f", "null"],
        "-".as_ref(),
    );
}

/// The stream of the drills: thirty seconds, one moment.
fn chat(home: &Home) -> std::path::PathBuf {
    home.write("chat.json", process::twitch_downloader(&process::talk_with_a_moment()))
}

fn serve(home: &Home) -> Running {
    home.start(&["serve", "--listen", "127.0.0.1:0"])
}

/// Asks it to stop; how it ended.
#[track_caller]
fn stop(spark: Running) -> Ended {
    spark.signal("TERM");
    let ended = spark.ended();
    assert!(ended.took < STOP_MAX, "stopped only after {:?}", ended.took);
    ended
}

/// Kills `spark` while a job of this kind has a renderer at work, starts another, and sees it through.
async fn kill_during(kind: &str) {
    let home = Home::private();
    let chat = chat(&home);
    let import = home.start_import(&process::video(), &chat);
    let pool = home.pool().await;
    let before = at_work(&pool, &import, kind).await;
    let postmaster = home.postmaster().expect("the private server runs");

    import.kill();
    let killed = Instant::now();

    assert_eq!(job(&pool, before.id).await.0, "running", "it died in the middle of the job");
    let spark = serve(&home);
    until("the orphan is gone", || async { (!is_alive(before.renderer)).then_some(()) }).await;
    assert!(killed.elapsed() < ORPHAN_MAX, "an orphan lived {:?}", killed.elapsed());
    until("another has the job", || async {
        (job(&pool, before.id).await.1 > before.attempt).then_some(())
    })
    .await;
    let takeover = killed.elapsed();
    println!("| kill -9 during {kind} | taken up after {:.1} s |", takeover.as_secs_f64());
    assert!(takeover < TAKEOVER_MAX, "taken up only after {takeover:?}");
    assert_eq!(
        home.postmaster(),
        Some(postmaster),
        "the private server was taken up, not started anew"
    );
    at_rest(&pool).await;
    check_exactly_once(&home, &pool).await;
    let again = home.import(&process::video(), &chat).well();
    assert!(again.contains("rien n'a été ajouté"), "{again}");
    check_exactly_once(&home, &pool).await;
    pool.close().await;
    stop(spark).well();
    assert_eq!(home.postmaster(), None, "its last user stops the private server");
}

#[tokio::test]
async fn a_kill_during_an_import_loses_and_doubles_nothing() {
    kill_during("live.import").await;
}

#[tokio::test]
async fn a_kill_during_a_cut_loses_and_doubles_nothing() {
    kill_during("clips.cut").await;
}

#[tokio::test]
async fn a_kill_during_a_render_loses_and_doubles_nothing() {
    kill_during("clips.render").await;
}

#[tokio::test]
async fn kills_at_random_instants_lose_and_double_nothing() {
    // A job is tried four times; two kills never use them up.
    const KILLS: u64 = 2;
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let seed = u64::from(since.map_or(1, |since| since.subsec_nanos()));
    for round in 0..rounds() {
        let mut chance: u64 = seed + u64::from(round) * 7_919;
        let home = Home::private();
        let chat = chat(&home);
        let begun = Instant::now();
        for _ in 0..KILLS {
            let spark = home.start_import(&process::video(), &chat);
            // A linear congruential step (Knuth, TAOCP 2, 3.3.4); up to six seconds in.
            chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let pause = Duration::from_millis((chance >> 33) % 6_000);
            println!("round {round}, seed {seed}: kill after {pause:?}");
            tokio::time::sleep(pause).await;
            spark.kill();
        }
        let spark = home.start_import(&process::video(), &chat);
        let pool = home.pool().await;
        at_rest_after_order(&pool).await;
        check_exactly_once(&home, &pool).await;
        pool.close().await;
        spark.ended().well();
        println!(
            "| {KILLS} kills at random instants, round {round} | whole after {:.1} s |",
            begun.elapsed().as_secs_f64()
        );
    }
}

/// The same as [`at_rest`], once there is an order at all.
async fn at_rest_after_order(pool: &PgPool) {
    until("the reel is there", || async {
        (events(pool, "reel_rendered").await > 0).then_some(())
    })
    .await;
    at_rest(pool).await;
}

#[tokio::test]
async fn a_killed_renderer_costs_one_try() {
    let home = Home::on_shared_server().await;
    let import = home.start_import(&process::video(), &chat(&home));
    let pool = home.pool().await;
    let before = at_work(&pool, &import, "clips.render").await;

    assert!(signal(before.renderer, "KILL"));

    let reason = until("the try is noted", || async { job(&pool, before.id).await.2 }).await;
    assert!(reason.contains("SIGKILL"), "{reason}");
    import.ended().well();
    assert_eq!(job(&pool, before.id).await, ("done".into(), before.attempt + 1, None));
    check_exactly_once(&home, &pool).await;
}

#[tokio::test]
async fn a_hostile_clip_costs_one_failed_job_and_the_others_go_on() {
    let home = Home::on_shared_server().await;
    let pool = home.pool().await;
    // Somebody else's renders keep the lane busy until both clips are cut and one is replaced.
    for _ in 0..Lane::Render.running_max() {
        let busy = uuid::Uuid::new_v4();
        sqlx::query(
            "insert into jobs (id, kind, lane, dedupe_key, body, state, attempt, lease_until)
             values ($1, 'clips.render', 'render', $2, $3, 'running', 1, now() + interval '1 hour')",
        )
        .bind(busy)
        .bind(format!("busy {busy}"))
        .bind(serde_json::json!({"job": "render_reel", "clip": busy}))
        .execute(&pool)
        .await
        .expect("keep the lane busy");
    }
    let talk = process::talk_with_moments_at(110, &[15.0, 95.0]);
    let chat = home.write("chat.json", process::twitch_downloader(&talk));
    let import = home.start_import(&process::long_video(), &chat);
    until("both reels wait", || async {
        let waiting = "select count(*) from jobs where kind = 'clips.render' and state = 'waiting'";
        (count(&pool, waiting).await == 2).then_some(())
    })
    .await;
    let mut clips = home.media().into_iter().filter(|path| path.starts_with("clips"));
    let hostile = home.data.join("media").join(clips.next_back().expect("two clips"));
    let mut bytes = fs::read(&hostile).expect("read the clip");
    bytes[64..].fill(0xff);
    fs::write(&hostile, bytes).expect("replace the clip");
    let free = "delete from jobs where dedupe_key like 'busy %'";
    sqlx::query(free).execute(&pool).await.expect("free the lane");

    let said = import.ended().well();

    assert!(said.contains("échec"), "{said}");
    assert_eq!((events(&pool, "reel_rendered").await, events(&pool, "reel_failed").await), (1, 1));
    let reasons: Vec<String> = sqlx::query_scalar("select error from jobs where state = 'failed'")
        .fetch_all(&pool)
        .await
        .expect("look");
    assert!(matches!(&reasons[..], [reason] if reason.contains("fichier")), "{reasons:?}");
}

#[tokio::test]
async fn a_graceful_stop_hands_a_render_back_untried() {
    let home = Home::on_shared_server().await;
    let import = home.start_import(&process::video(), &chat(&home));
    let pool = home.pool().await;
    let before = at_work(&pool, &import, "clips.render").await;

    stop(import).refused(&["Interrompu"]);

    assert!(!is_alive(before.renderer), "its renderer went with it");
    assert_eq!(job(&pool, before.id).await, ("waiting".into(), before.attempt - 1, None));
    // A server goes on with it, is stopped the same way, and a last one ends it.
    let spark = serve(&home);
    let again = at_work(&pool, &spark, "clips.render").await;
    assert_eq!((again.id, again.attempt), (before.id, before.attempt));
    let children = renderers_of(spark.pid());
    stop(spark).well();
    assert!(children.into_iter().all(|renderer| !is_alive(renderer)));
    let spark = serve(&home);
    at_rest(&pool).await;
    check_exactly_once(&home, &pool).await;
    assert_eq!(job(&pool, before.id).await, ("done".into(), before.attempt, None));
    stop(spark).well();
}

#[tokio::test]
async fn two_imports_of_one_pair_at_once_are_one_live() {
    let home = Home::on_shared_server().await;
    let pool = home.pool().await;
    let chat = home.write("chat.json", process::twitch_downloader(&process::quiet_talk()));
    let long = home.beside("long.mp4");
    process::video_padded(&long, 192 << 20);
    let first = home.start_import(&long, &chat);
    until("the first copies", || async { home.copy_under_way() }).await;
    first.signal("STOP");
    assert!(home.copy_under_way().is_some(), "it was stopped in its copy");
    let second = home.start_import(&long, &chat);
    // The second found the first at work and copies through a door of its own.
    let incoming =
        || home.media().into_iter().any(|path| path.to_string_lossy().contains("incoming-"));
    until("the second copies", || async { incoming().then_some(()) }).await;
    first.signal("CONT");

    first.ended().well();
    second.ended().well();

    assert_eq!(events(&pool, "imported").await, 1);
    assert_eq!(count(&pool, "select count(*) from audience_messages").await, 30);
    let recordings = home.media().into_iter().filter(|path| path.starts_with("recordings")).count();
    assert_eq!(recordings, 1);
}
