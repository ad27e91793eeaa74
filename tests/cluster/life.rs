//! Starts, stops, kills and races: the server lives as long as somebody uses it, and no longer.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

use spark::adapters::postgres::cluster::status::ClusterState;
use spark::adapters::postgres::cluster::{Arrival, Closed, Cluster};
use sqlx::ConnectOptions;

use crate::scratch::{Scratch, User, eventually, execute, is_alive, is_root, kill, path, query};

#[tokio::test]
async fn rows_outlive_a_stop_and_a_start() {
    let scratch = Scratch::new();
    assert_eq!(scratch.state(), ClusterState::Absent);
    let first = scratch.open().await;
    execute(&first, "create table kept (word text); insert into kept values ('moment')").await;
    let first_pid = first.pid();
    assert_eq!(first.close().await.unwrap(), Closed::Stopped);
    assert!(!is_alive(first_pid));
    assert!(matches!(scratch.state(), ClusterState::Stopped { .. }));

    let second = scratch.open().await;

    assert_eq!(second.arrival(), Arrival::Started);
    assert_ne!(second.pid(), first_pid);
    assert_eq!(query(&second, "select word from kept").await, "moment");
    second.close().await.unwrap();
}

#[tokio::test]
async fn the_server_is_private_small_and_safe() {
    let scratch = Scratch::new();
    let cluster = scratch.open().await;

    for (setting, expected) in [
        ("listen_addresses", ""),
        ("data_checksums", "on"),
        ("fsync", "on"),
        ("synchronous_commit", "on"),
        ("autovacuum", "on"),
        ("TimeZone", "UTC"),
        ("shared_buffers", "64MB"),
        ("max_connections", "40"),
        ("server_encoding", "UTF8"),
        ("password_encryption", "scram-sha-256"),
        ("logging_collector", "on"),
    ] {
        let found = query(&cluster, &format!("select current_setting('{setting}')")).await;
        assert_eq!(found, expected, "{setting}");
    }
    let locale =
        query(&cluster, "select datcollate::text from pg_database where datname = 'spark'");
    assert_eq!(locale.await, "C.UTF-8");
    let hash = query(&cluster, "select rolpassword from pg_authid where rolname = 'spark'").await;
    assert!(hash.starts_with("SCRAM-SHA-256$"));
    let password = fs::metadata(scratch.data.join("postgres/password")).unwrap();
    assert_eq!(password.permissions().mode() & 0o777, 0o600);
    let wrong = cluster.connect_options().password("wrong").connect().await;
    assert!(wrong.is_err());
    let socket = cluster.connect_options().get_socket().unwrap().clone();
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o700);
    // Its own session: no Ctrl-C of our terminal reaches it.
    let stat = fs::read_to_string(format!("/proc/{}/stat", cluster.pid())).unwrap();
    let session = stat.rsplit(") ").next().unwrap().split(' ').nth(3).unwrap();
    assert_eq!(session, cluster.pid().to_string());
    cluster.close().await.unwrap();
}

#[tokio::test]
async fn a_killed_spark_leaves_the_server_to_the_next() {
    let scratch = Scratch::new();
    let mut user = User::start(&scratch.data);
    let (pid, _) = user.ready();
    user.kill();
    assert!(is_alive(pid));

    let next = scratch.open().await;

    assert_eq!((next.arrival(), next.pid()), (Arrival::Adopted, pid));
    assert_eq!(next.close().await.unwrap(), Closed::Stopped);
    assert!(!is_alive(pid));
}

#[tokio::test]
async fn a_spark_killed_while_it_starts_the_server_leaves_it_usable() {
    let scratch = Scratch::new();
    scratch.open().await.close().await.unwrap();
    let mut killed_early = 0;
    for _ in 0..10 {
        let user = User::start(&scratch.data);
        eventually("a server appears", || scratch.pgdata().join("postmaster.pid").exists());
        if !matches!(scratch.state(), ClusterState::Running { is_ready: true, .. }) {
            killed_early += 1;
        }
        user.kill();

        let next = scratch.open().await;
        assert_eq!(query(&next, "select 'yes'").await, "yes");
        assert_eq!(next.close().await.unwrap(), Closed::Stopped);
    }
    assert!(killed_early > 0, "no kill came before the server was ready");
}

#[tokio::test]
async fn a_killed_server_starts_again_under_its_user_and_under_the_next() {
    let scratch = Scratch::new();
    let cluster = scratch.open().await;
    execute(&cluster, "create table kept (word text); insert into kept values ('moment')").await;
    let pid_file = scratch.pgdata().join("postmaster.pid");
    kill(cluster.pid());
    assert!(pid_file.exists(), "the dead server's pid file is there");

    assert_eq!(cluster.ensure_running().await.unwrap(), Arrival::Started);
    assert_eq!(query(&cluster, "select word from kept").await, "moment");
    assert_eq!(cluster.ensure_running().await.unwrap(), Arrival::Adopted);

    let ClusterState::Running { pid, .. } = scratch.state() else { panic!("it runs") };
    drop(cluster);
    kill(pid);
    assert!(pid_file.exists());
    let next = scratch.open().await;
    assert_eq!(next.arrival(), Arrival::Started);
    assert_eq!(query(&next, "select word from kept").await, "moment");
    next.close().await.unwrap();
}

#[tokio::test]
async fn what_a_killed_server_leaves_busy_is_ended_before_the_next_starts() {
    let scratch = Scratch::new();
    let cluster = scratch.open().await;
    let options = cluster.connect_options();
    let mut connection = options.connect().await.unwrap();
    let busy: i32 =
        sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut connection).await.unwrap();
    // Computes without ever looking whether its server lives.
    let endless = tokio::spawn(async move {
        sqlx::query("select count(*) from generate_series(1, 1000000000000) a")
            .execute(&mut connection)
            .await
    });
    let active =
        "select coalesce(max(state), '') from pg_stat_activity where query like 'select count(%'";
    while query(&cluster, active).await != "active" {}
    kill(cluster.pid());
    assert!(is_alive(busy), "the busy one outlives its server");

    assert_eq!(cluster.ensure_running().await.unwrap(), Arrival::Started);

    assert!(!is_alive(busy));
    assert!(endless.await.unwrap().is_err());
    cluster.close().await.unwrap();
}

#[tokio::test]
async fn a_pid_file_that_names_another_program_is_stale() {
    let scratch = Scratch::new();
    scratch.open().await.close().await.unwrap();
    let owner = fs::metadata(scratch.pgdata()).unwrap();
    let mut other = {
        use std::os::unix::process::CommandExt;
        let mut command = Command::new("sleep");
        if is_root() {
            command.gid(owner.gid()).uid(owner.uid());
        }
        command.arg("300").spawn().unwrap()
    };
    let pid_file = scratch.pgdata().join("postmaster.pid");
    let text = format!(
        "{}\n{}\n1\n5432\n/nowhere\n\n 1 1\nready   \n",
        other.id(),
        scratch.pgdata().display()
    );
    fs::write(&pid_file, text).unwrap();

    let cluster = scratch.open().await;

    assert_eq!(cluster.arrival(), Arrival::Started);
    cluster.close().await.unwrap();
    assert!(other.try_wait().unwrap().is_none(), "the other program was left alone");
    other.kill().unwrap();
    other.wait().unwrap();
}

#[tokio::test]
async fn the_last_of_several_users_stops_the_server() {
    let scratch = Scratch::new();
    let mut serve = User::start(&scratch.data);
    let (pid, _) = serve.ready();
    let import = scratch.open().await;
    assert_eq!((import.pid(), import.arrival()), (pid, Arrival::Adopted));
    assert!(Cluster::status(&scratch.data, &path()).unwrap().is_in_use);

    assert_eq!(serve.tell("close"), "closed LeftRunning");
    assert_eq!(query(&import, "select 'still here'").await, "still here");
    assert_eq!(import.close().await.unwrap(), Closed::Stopped);

    assert!(!is_alive(pid));
    assert!(!Cluster::status(&scratch.data, &path()).unwrap().is_in_use);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn users_that_come_and_go_at_once_always_find_a_server() {
    const USERS: usize = 4;
    const ROUNDS: usize = 12;
    let scratch = Scratch::new();
    scratch.open().await.close().await.unwrap();
    let mut users = tokio::task::JoinSet::new();
    for user in 0..USERS {
        let data = scratch.data.clone();
        users.spawn(async move {
            let mut closed = Vec::new();
            for round in 0..ROUNDS {
                let cluster = Cluster::open(&data, &path()).await.unwrap();
                let sql = format!("select '{user} {round}'");
                assert_eq!(query(&cluster, &sql).await, format!("{user} {round}"));
                closed.push((cluster.arrival(), cluster.close().await.unwrap()));
            }
            closed
        });
    }
    let all: Vec<_> = users.join_all().await.into_iter().flatten().collect();

    let started = all.iter().filter(|(arrival, _)| *arrival == Arrival::Started).count();
    let stopped = all.iter().filter(|(_, closed)| *closed == Closed::Stopped).count();
    assert_eq!(all.len(), USERS * ROUNDS);
    assert_eq!(started, stopped, "each server that was started was stopped once");
    assert!(started < all.len(), "users met: {started} starts");
    assert!(matches!(scratch.state(), ClusterState::Stopped { .. }));
}

#[tokio::test]
async fn an_interrupted_creation_is_done_again() {
    let scratch = Scratch::new();
    let user = User::start(&scratch.data);
    let unfinished = || {
        let entries = fs::read_dir(scratch.home()).into_iter().flatten().flatten();
        entries
            .map(|entry| entry.path())
            .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("making-"))
            .collect::<Vec<_>>()
    };
    eventually("initdb is at work", || {
        unfinished().iter().any(|folder| folder.join("pgdata/PG_VERSION").exists())
    });
    user.kill();
    assert!(!scratch.pgdata().exists(), "killed before it was finished");
    assert_eq!(scratch.state(), ClusterState::Absent);

    let cluster = scratch.open().await;

    assert_eq!(query(&cluster, "select 'whole'").await, "whole");
    cluster.close().await.unwrap();
    scratch.open().await.close().await.unwrap();
    assert_eq!(unfinished(), Vec::<std::path::PathBuf>::new());
}
