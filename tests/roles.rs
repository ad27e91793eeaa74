//! The other roles of the program as people run them: `serve`, `backup`, `restore`, `rebuild`, `migrate`, `doctor`.

mod process;
mod support;

use std::fs;
use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use process::{Home, Running, count, until, video};
use spark::adapters::recorder::LocalRecorder;
use spark::ports::recorder::RecorderDesk;
use spark::read_models::Model;
use sqlx::PgPool;

/// Longest graceful stop.
const STOP_MAX: Duration = Duration::from_secs(20);

fn serve(home: &Home) -> Running {
    home.start(&["serve", "--listen", "127.0.0.1:0"])
}

/// The address it says that it serves.
async fn url(spark: &Running) -> String {
    until("it says its address", || async {
        let said = spark.said();
        let line = said.lines().find_map(|line| line.strip_prefix("SPARK: "));
        line.map(str::to_owned)
    })
    .await
}

#[tokio::test]
async fn a_server_answers_its_probes_and_stops_when_told() {
    let home = Home::private();
    let spark = serve(&home);
    let url = url(&spark).await;
    for path in ["/healthz", "/readyz"] {
        let answer = reqwest::get(format!("{url}{path}")).await.expect("an answer");
        assert_eq!(answer.status(), 200, "{path}");
    }
    let measures = reqwest::get(format!("{url}/metrics")).await.expect("an answer");
    assert_eq!(measures.status(), 200);
    let measures = measures.text().await.expect("a text");
    assert!(measures.contains("# TYPE") && measures.ends_with("# EOF\n"), "{measures}");
    assert!(spark.said().contains("/bienvenue/"), "the first start shows the administrator's link");

    // A second one on the same folder.
    home.run(&["serve", "--listen", "127.0.0.1:0"])
        .refused(&["another spark (serve) works in the data folder", "--data DIR"]);
    assert_eq!(reqwest::get(format!("{url}/healthz")).await.expect("an answer").status(), 200);

    spark.signal("TERM");
    let ended = spark.ended();
    assert!(ended.took < STOP_MAX, "{:?}", ended.took);
    ended.well();
    assert_eq!(home.postmaster(), None, "the private server went with its last user");
}

#[tokio::test]
async fn a_port_in_use_is_told_with_the_way_out() {
    let home = Home::on_shared_server().await;
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address").to_string();

    home.run(&["serve", "--listen", &address]).refused(&["cannot listen on", &address, "--listen"]);
}

#[tokio::test]
async fn an_unknown_setting_is_refused_by_its_name() {
    let home = Home::private();
    home.write("spark.toml", "[web]\nlisen = \"127.0.0.1:1\"\n");
    home.run(&["doctor"]).refused(&["lisen"]);
    home.write("spark.toml", "[wep]\nlisten = \"127.0.0.1:1\"\n");
    home.run(&["doctor"]).refused(&["wep"]);
    assert!(!home.data.exists(), "nothing was made");
}

#[tokio::test]
async fn help_names_every_role_and_the_first_steps() {
    let home = Home::private();
    let said = home.run(&["--help"]).well();
    for word in [
        "serve",
        "import",
        "migrate",
        "rebuild",
        "backup",
        "restore",
        "erase",
        "twitch",
        "doctor",
        "resources",
        "rehearse",
        "bench",
        "First steps",
        "spark.toml",
    ] {
        assert!(said.contains(word), "`{word}` is missing in: {said}");
    }
    assert!(!said.contains("\n  render"), "the internal role is not for people: {said}");
}

#[tokio::test]
async fn a_viewer_is_erased_by_their_number() {
    let home = Home::on_shared_server().await;
    home.run(&["erase", "Bob"]).refused(&["`Bob` is no viewer's number", "141981764"]);
    let pool = home.pool().await;
    sqlx::raw_sql(
        "select ensure_partition('notifications', 'day', now());
         insert into notifications (seq, heard_at, channel, message_id, kind, version, viewer_id, raw, reading)
         values (1, now(), '1', 'a', 'channel.follow', '2', '4242', '{}', '\"noted\"'),
                (2, now(), '1', 'b', 'channel.subscription.gift', '1', null, '{\"user_id\":\"4242\"}', '\"noted\"'),
                (3, now(), '1', 'c', 'channel.follow', '2', '42', '{\"user_id\":\"42\"}', '\"noted\"')",
    )
    .execute(&pool)
    .await
    .expect("three notices");
    let said = home.run(&["erase", "4242"]).well();
    assert!(said.contains("Erased 2 rows"), "{said}");
    let left: Vec<i64> = sqlx::query_scalar("select seq from notifications")
        .fetch_all(&pool)
        .await
        .expect("what is left");
    assert_eq!(left, [3]);
}

#[tokio::test]
async fn the_doctor_says_what_is_here_and_what_to_do() {
    let home = Home::private();
    let mut bare = home.command(&["doctor"]);
    bare.env("PATH", "");
    let said = bare.output().expect("run the doctor");
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    for what in ["FFmpeg", "PostgreSQL", "Disk", "Memory", "Fonts", "Port"] {
        assert!(text.contains(what), "{text}");
    }
    // Debian's programs are found without a PATH; what is missing elsewhere has an arrow to a remedy.
    let missing = text.matches("MISSING").count();
    assert_eq!(text.matches("→").count(), missing, "{text}");
    assert_eq!(said.status.success(), missing == 0, "{text}");
    assert!(!home.data.exists(), "the doctor only looks");

    let mut wrong = home.command(&["doctor"]);
    wrong.env("DATABASE_URL", "nonsense");
    let said = wrong.output().expect("run the doctor");
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    assert_eq!(said.status.code(), Some(1), "{text}");
    assert!(text.contains("MISSING  PostgreSQL") && text.contains("postgres://"), "{text}");
}

#[tokio::test]
async fn a_folder_of_a_newer_spark_is_refused_by_every_role() {
    let home = Home::private();
    home.run(&["migrate"]).well();
    let version = home.data.join("postgres/VERSION");
    fs::write(&version, "format 2\nwritten by spark 9.0.0\n").expect("pretend");
    let file = home.beside("house.spark");
    let file = file.to_str().expect("a plain path");

    let serve = ["serve", "--listen", "127.0.0.1:0"];
    for words in [&serve[..], &["migrate"], &["rebuild"], &["backup", file]] {
        home.run(words).refused(&["spark 9.0.0", "newer", "nothing was changed"]);
    }
    assert_eq!(home.postmaster(), None);
}

/// How much of everything there is.
async fn counts(pool: &PgPool) -> Vec<(&'static str, i64)> {
    let mut all = Vec::new();
    for (name, sql) in [
        ("events", "select count(*) from event_log where feature <> 'accounts'"),
        ("cards", "select count(*) from cards"),
        ("messages", "select count(*) from audience_messages"),
        ("facts", "select count(*) from audience_facts"),
        ("minutes", "select count(*) from audience_minutes"),
        ("media", "select count(*) from media_objects"),
        ("jobs", "select count(*) from jobs"),
        ("cursors", "select count(*) from cursors"),
    ] {
        all.push((name, count(pool, sql).await));
    }
    all
}

#[tokio::test]
async fn a_whole_house_comes_back_from_its_backup() {
    let (from, to) = (Home::on_shared_server().await, Home::private());
    let chat = from.write("chat.json", process::twitch_downloader(&process::talk_with_a_moment()));
    from.import(&video(), &chat).well();
    let before = counts(&from.pool().await).await;
    assert!(
        before.iter().all(|(_, count)| *count > 0),
        "there is something of everything: {before:?}"
    );
    let file = from.beside("house.spark");
    let file = file.to_str().expect("a plain path");

    let said = from.run(&["backup", file]).well();

    let media = before.iter().find(|(name, _)| *name == "media").map_or(0, |(_, count)| *count);
    assert!(said.contains(&format!("{media} media files")), "{said}");
    // Without the media, the restored house says what is missing.
    let said = to
        .run(&["restore", file])
        .refused(&[&format!("{media} of {media} media files are missing")]);
    assert_eq!(said.matches("\nmissing: ").count() as i64, media, "{said}");
    let copied = Command::new("cp")
        .arg("-r")
        .args([from.data.join("media").join("."), to.data.join("media")])
        .status();
    assert!(copied.is_ok_and(|status| status.success()), "copy the media");
    // What is there is replaced only when told.
    to.run(&["restore", file]).refused(&["--replace"]);
    to.run(&["restore", file, "--replace"]).well();
    let rebuilt = to.run(&["rebuild"]).well();
    assert_eq!(rebuilt.matches(", 0 differed").count(), Model::ALL.len(), "{rebuilt}");
    assert!(!rebuilt.contains("they are now"), "{rebuilt}");
    let spark = serve(&to);
    url(&spark).await;
    let pool = to.pool().await;
    assert_eq!(counts(&pool).await, before);
    pool.close().await;
    spark.signal("TERM");
    spark.ended().well();
}

#[tokio::test]
async fn a_rebuild_mends_cards_that_were_altered() {
    let home = Home::on_shared_server().await;
    let chat = home.write("chat.json", process::twitch_downloader(&process::quiet_talk()));
    home.import(&video(), &chat).well();
    let pool = home.pool().await;
    let altered = sqlx::query(
        "update cards set document = jsonb_set(document, '{title}', '\"altered\"') where model like 'lives%'",
    )
    .execute(&pool)
    .await
    .expect("alter");
    assert_eq!(altered.rows_affected(), 1);

    let said = home.run(&["rebuild"]).well();

    assert!(said.contains("1 differed") && said.contains("they are now"), "{said}");
    assert_eq!(home.run(&["rebuild"]).well().matches("1 differed").count(), 0);
}

/// The words that start a service of `deploy/container/compose.yaml`, and its settings: addresses on this machine's free ports.
fn service(name: &str) -> (String, Vec<(String, String)>) {
    let text = fs::read_to_string("deploy/container/compose.yaml").expect("the compose file");
    let begins = text.find(&format!("\n  {name}:\n")).expect("the service");
    let own = &text[begins + 1..];
    // It ends where the next one begins.
    let lines = own.lines().skip(1).take_while(|it| it.is_empty() || it.starts_with("    "));
    let (mut word, mut settings) = (String::new(), Vec::new());
    for line in lines.map(str::trim) {
        if let Some(command) = line.strip_prefix("command: [\"") {
            command.trim_end_matches("\"]").clone_into(&mut word);
        } else if let Some((key, value)) =
            line.split_once(": ").filter(|(key, _)| key.starts_with("SPARK_"))
        {
            let local = value.split_once("0.0.0.0:").map(|_| "127.0.0.1:0".to_owned());
            settings.push((key.to_owned(), local.unwrap_or_else(|| value.to_owned())));
        }
    }
    (word, settings)
}

#[tokio::test]
async fn containers_run_as_they_are_written_down_and_the_recorder_goes_on_without_the_others() {
    let home = Home::private();
    let url = support::fresh_database_url().await;
    home.write("database_url", &url);
    let start = |name: &str| {
        let (word, mut settings) = service(name);
        settings.retain(|(key, _)| key != "SPARK_DATA_FOLDER");
        for (key, value) in &mut settings {
            if key == "SPARK_DATABASE_URL_FILE" {
                "database_url".clone_into(value);
            }
        }
        assert!(settings.len() >= 2, "{name}: {settings:?}");
        let settings: Vec<(&str, &str)> =
            settings.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        home.start_with(&[&word], &settings)
    };
    let desk = LocalRecorder::at(&home.data.join("recorder/desk.sock")).expect("a desk");
    let answers = || async { desk.state().await.ok() };
    let record = start("record");
    let first = until("the recorder answers", answers).await;
    assert_eq!(first.doors.len(), 2, "RTMP and SRT: {:?}", first.doors);

    let serve = start("serve");
    let page = self::url(&serve).await;
    assert_eq!(reqwest::get(format!("{page}/readyz")).await.expect("an answer").status(), 200);
    serve.kill();
    assert_eq!(
        until("it still answers", answers).await.pid,
        first.pid,
        "a crash of the server is nothing to it"
    );
    let serve = start("serve");
    self::url(&serve).await;
    serve.signal("TERM");
    serve.ended().well();
    assert_eq!(until("it still answers", answers).await.pid, first.pid, "nor is its orderly stop");
    record.signal("TERM");
    record.ended().well();
    assert!(desk.state().await.is_err());
}
