//! Folders it must not touch, and what it says instead.

use std::fs;
use std::path::Path;

use spark::adapters::postgres::cluster::Cluster;
use spark::adapters::postgres::cluster::error::ClusterError;
use spark::adapters::postgres::cluster::schema::refuse_newer;
use spark::adapters::postgres::cluster::status::ClusterState;
use sqlx::ConnectOptions;
use sqlx::migrate::Migrator;

use crate::scratch::{Scratch, eventually, execute, path, tree};

async fn refusal(data: &Path) -> ClusterError {
    Cluster::open(data, &path()).await.map(|cluster| cluster.pid()).unwrap_err()
}

#[tokio::test]
async fn a_folder_of_a_newer_spark_is_refused_untouched() {
    let scratch = Scratch::new();
    scratch.open().await.close().await.unwrap();
    let version = scratch.data.join("postgres/VERSION");
    fs::write(&version, "format 2\nwritten by spark 9.0.0\n").unwrap();
    let before = (tree(&scratch.data), tree(&scratch.home()));

    let error = refusal(&scratch.data).await;

    assert!(matches!(error, ClusterError::NewerFolder { found: 2, known: 1, .. }), "{error}");
    assert!(error.to_string().contains("written by spark 9.0.0"), "{error}");
    assert_eq!((tree(&scratch.data), tree(&scratch.home())), before);
}

#[tokio::test]
async fn a_database_with_unknown_migrations_is_refused() {
    let scratch = Scratch::new();
    let cluster = scratch.open().await;
    let known = Migrator::with_migrations(vec![]);
    let mut connection = cluster.connect_options().connect().await.unwrap();
    refuse_newer(&mut connection, &known).await.unwrap();
    execute(
        &cluster,
        "create table _sqlx_migrations (version bigint); insert into _sqlx_migrations values (7)",
    )
    .await;

    let error = refuse_newer(&mut connection, &known).await.unwrap_err();

    assert!(matches!(&error, ClusterError::NewerSchema { unknown } if unknown == &[7]), "{error}");
    cluster.close().await.unwrap();
}

#[tokio::test]
async fn a_cluster_of_another_major_version_is_refused_untouched() {
    let scratch = Scratch::new();
    scratch.open().await.close().await.unwrap();
    let version = scratch.pgdata().join("PG_VERSION");
    let real = fs::read(&version).unwrap();
    fs::write(&version, "12\n").unwrap();
    let before = tree(&scratch.home());

    let error = refusal(&scratch.data).await;

    assert!(matches!(error, ClusterError::OtherMajor { major: 12, .. }), "{error}");
    assert!(error.to_string().contains("postgresql-12"), "{error}");
    assert_eq!(tree(&scratch.home()), before);
    fs::write(&version, real).unwrap();
    scratch.open().await.close().await.unwrap();
}

#[tokio::test]
async fn a_lost_password_is_told_and_a_wrong_one_too() {
    let scratch = Scratch::new();
    scratch.open().await.close().await.unwrap();
    let file = scratch.data.join("postgres/password");
    let real = fs::read(&file).unwrap();

    fs::remove_file(&file).unwrap();
    assert!(matches!(refusal(&scratch.data).await, ClusterError::PasswordMissing { .. }));
    fs::write(&file, "x").unwrap();
    assert!(matches!(refusal(&scratch.data).await, ClusterError::Damaged { .. }));
    fs::write(&file, "0".repeat(64)).unwrap();
    assert!(matches!(refusal(&scratch.data).await, ClusterError::PasswordRefused { .. }));
    assert!(matches!(scratch.state(), ClusterState::Stopped { .. }), "nothing is left running");

    fs::write(&file, real).unwrap();
    scratch.open().await.close().await.unwrap();
}

#[tokio::test]
async fn a_start_that_fails_quotes_the_log() {
    let scratch = Scratch::new();
    scratch.open().await.close().await.unwrap();
    fs::remove_file(scratch.pgdata().join("global/pg_control")).unwrap();

    let error = refusal(&scratch.data).await;

    assert!(matches!(error, ClusterError::StartFailed { .. }), "{error}");
    assert!(error.to_string().contains("could not find the database system"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_opening_nobody_waits_for_leaves_no_server() {
    let scratch = Scratch::new();
    scratch.open().await.close().await.unwrap();

    let data = scratch.data.clone();
    let opening = tokio::spawn(async move { Cluster::open(&data, &path()).await.map(drop) });
    eventually("it starts", || scratch.pgdata().join("postmaster.pid").exists());
    opening.abort();
    assert!(opening.await.unwrap_err().is_cancelled());

    eventually("it is stopped", || matches!(scratch.state(), ClusterState::Stopped { .. }));
}
