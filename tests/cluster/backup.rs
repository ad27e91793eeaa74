//! Backups that come back, and files that must not be believed.

use std::borrow::Cow;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::scratch::{Scratch, execute, query};
use chrono::{DateTime, Utc};
use spark::adapters::postgres::backup::{BackupError, MediaItem, Over, backup, inspect, restore};
use spark::adapters::postgres::cluster::Cluster;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{ConnectOptions, SqlStr};

const ROWS: &str = "select coalesce(string_agg(id || ' ' || word || ' ' || encode(raw, 'hex'), ',' order by id), '')
                      from clips.reels";

fn migrator() -> Migrator {
    let sql = "create schema clips;
               create type clips.state as enum ('cut', 'approved');
               create table clips.reels (id bigint primary key, word text not null, raw bytea not null, state clips.state not null default 'cut');
               create view clips.words as select word from clips.reels;";
    Migrator::with_migrations(vec![Migration::new(
        1,
        Cow::Borrowed("first"),
        MigrationType::Simple,
        SqlStr::from_static(sql),
        false,
    )])
}

async fn with_rows(scratch: &Scratch) -> Cluster {
    let cluster = scratch.open().await;
    let mut connection = cluster.connect_options().connect().await.unwrap();
    migrator().run_direct(None, &mut connection, false).await.unwrap();
    drop(connection);
    let rows = r"insert into clips.reels (id, word, raw)
                 select n, E'l''été\\.\n\\! ' || n, decode(md5(n::text), 'hex') from generate_series(1, 3000) n";
    execute(&cluster, rows).await;
    cluster
}

fn media() -> Vec<MediaItem> {
    vec![MediaItem { key: "reels/été 1.mp4".into(), size_bytes: 7, sha256: "ab".repeat(32) }]
}

fn made_at() -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_000_000, 0).unwrap()
}

/// Waits until nobody else is connected: the server notices a closed connection a moment later.
async fn alone(cluster: &Cluster) {
    let others = "select count(*)::text from pg_stat_activity
                   where backend_type = 'client backend' and pid <> pg_backend_pid()";
    while query(cluster, others).await != "0" {}
}

#[tokio::test]
async fn a_backup_comes_back_equal_in_another_data_folder() {
    let (from, to) = (Scratch::new(), Scratch::new());
    let source = with_rows(&from).await;
    let file = from.data.with_file_name("villa.spark");
    let made = backup(&source.connect_options(), source.binaries(), media(), made_at(), &file)
        .await
        .unwrap();
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let left: Vec<_> =
        fs::read_dir(file.parent().unwrap()).unwrap().flatten().map(|e| e.file_name()).collect();
    assert_eq!(left.len(), 2, "nothing else is left: {left:?}");

    let target = to.open().await;
    let manifest =
        restore(&target.connect_options(), target.binaries(), &migrator(), Over::Empty, &file)
            .await
            .unwrap();

    assert_eq!(manifest, made);
    assert_eq!(inspect(&file).await.unwrap(), made);
    assert_eq!((manifest.media, manifest.migrations), (media(), vec![1]));
    assert_eq!(query(&target, ROWS).await, query(&source, ROWS).await);
    // And what came back can be backed up and come back again, over itself.
    alone(&target).await;
    let second = to.data.with_file_name("again.spark");
    backup(&target.connect_options(), target.binaries(), vec![], made_at(), &second).await.unwrap();
    alone(&target).await;
    restore(&target.connect_options(), target.binaries(), &migrator(), Over::Anything, &second)
        .await
        .unwrap();
    assert_eq!(query(&target, ROWS).await, query(&source, ROWS).await);
    source.close().await.unwrap();
    target.close().await.unwrap();
}

#[tokio::test]
async fn rows_are_replaced_only_when_told_and_only_when_nobody_uses_them() {
    let scratch = Scratch::new();
    let cluster = with_rows(&scratch).await;
    let (options, binaries) = (cluster.connect_options(), cluster.binaries());
    let file = scratch.data.with_file_name("villa.spark");
    backup(&options, binaries, media(), made_at(), &file).await.unwrap();
    execute(&cluster, "update clips.reels set word = 'changed'; create table late (id int)").await;
    let changed = query(&cluster, ROWS).await;
    alone(&cluster).await;

    let error = restore(&options, binaries, &migrator(), Over::Empty, &file).await.unwrap_err();
    assert!(matches!(error, BackupError::NotEmpty { .. }), "{error}");
    let other = options.connect().await.unwrap();
    let error = restore(&options, binaries, &migrator(), Over::Anything, &file).await.unwrap_err();
    assert!(matches!(error, BackupError::InUse { connections: 1 }), "{error}");
    drop(other);
    alone(&cluster).await;
    let none = Migrator::with_migrations(vec![]);
    let error = restore(&options, binaries, &none, Over::Anything, &file).await.unwrap_err();
    assert!(matches!(error, BackupError::Newer { .. }), "{error}");
    assert_eq!(query(&cluster, ROWS).await, changed);

    alone(&cluster).await;
    restore(&options, binaries, &migrator(), Over::Anything, &file).await.unwrap();

    assert_ne!(query(&cluster, ROWS).await, changed);
    assert_eq!(query(&cluster, "select coalesce(to_regclass('late')::text, 'gone')").await, "gone");
    cluster.close().await.unwrap();
}

#[tokio::test]
async fn a_file_that_was_cut_or_altered_or_is_another_thing_is_refused_untouched() {
    let scratch = Scratch::new();
    let cluster = with_rows(&scratch).await;
    let (options, binaries) = (cluster.connect_options(), cluster.binaries());
    let file = scratch.data.with_file_name("villa.spark");
    backup(&options, binaries, media(), made_at(), &file).await.unwrap();
    let whole = fs::read(&file).unwrap();
    let before = query(&cluster, ROWS).await;
    alone(&cluster).await;
    let bad = scratch.data.with_file_name("bad.spark");

    // Tar's closing zeros and the padding of the last entry are not worth a refusal.
    let sums = whole.windows(10).position(|window| window == b"SHA256SUMS").unwrap();
    let last = sums + 512 + 2 * 64;
    for end in (0..last).step_by(4099).chain([1, 511, 512, sums - 1, sums + 511, last]) {
        fs::write(&bad, &whole[..end]).unwrap();
        let error =
            restore(&options, binaries, &migrator(), Over::Anything, &bad).await.unwrap_err();
        assert!(
            matches!(error, BackupError::Foreign { .. } | BackupError::Damaged { .. }),
            "{end}: {error}"
        );
    }
    for at in (600..sums).step_by(7919) {
        let mut altered = whole.clone();
        altered[at] ^= 0x20;
        fs::write(&bad, &altered).unwrap();
        // The tar's own padding carries nothing.
        if let Err(error) = inspect(&bad).await {
            assert!(
                matches!(error, BackupError::Foreign { .. } | BackupError::Damaged { .. }),
                "{at}: {error}"
            );
        } else {
            assert_eq!(whole[at], 0, "a change at {at} went unseen");
        }
    }
    for foreign in [&b"PGDMP\x01\x0e\x00"[..], b"{}", &[0; 2048], &[0x41; 4096]] {
        fs::write(&bad, foreign).unwrap();
        let error = inspect(&bad).await.unwrap_err();
        assert!(matches!(error, BackupError::Foreign { .. }), "{error}");
    }

    assert_eq!(query(&cluster, ROWS).await, before);
    cluster.close().await.unwrap();
}

#[tokio::test]
async fn a_restore_that_fails_half_way_leaves_the_database_as_it_was() {
    let scratch = Scratch::new();
    let cluster = with_rows(&scratch).await;
    let (options, binaries) = (cluster.connect_options(), cluster.binaries());
    let file = scratch.data.with_file_name("villa.spark");
    // The dump holds an object that cannot be made again: its function fails when it is called.
    execute(
        &cluster,
        "create function clips.only_once(bigint) returns bigint language plpgsql immutable as
           $$ begin if current_setting('application_name') <> 'spark' then raise 'not again'; end if; return $1; end $$;
         create index reels_once on clips.reels (clips.only_once(id));",
    )
    .await;
    backup(&options, binaries, media(), made_at(), &file).await.unwrap();
    execute(&cluster, "update clips.reels set word = 'changed'").await;
    let before = query(&cluster, ROWS).await;
    alone(&cluster).await;

    let error = restore(&options, binaries, &migrator(), Over::Anything, &file).await.unwrap_err();

    assert!(error.to_string().contains("not again"), "{error}");
    assert_eq!(query(&cluster, ROWS).await, before);
    cluster.close().await.unwrap();
}

#[tokio::test]
async fn a_password_with_odd_characters_reaches_the_programs() {
    let scratch = Scratch::new();
    let cluster = scratch.open().await;
    execute(&cluster, r#"create role "o'dd" superuser login password 'p@ss:wörd %41/?#'"#).await;
    let options = cluster.connect_options().username("o'dd").password("p@ss:wörd %41/?#");
    let file = scratch.data.with_file_name("odd.spark");

    backup(&options, cluster.binaries(), vec![], made_at(), &file).await.unwrap();

    let wrong = options.password("wrong");
    let error = backup(&wrong, cluster.binaries(), vec![], made_at(), &file).await.unwrap_err();
    assert!(matches!(error, BackupError::Query { .. }), "{error}");
    cluster.close().await.unwrap();
}
