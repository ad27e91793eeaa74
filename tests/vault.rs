//! What the vault promises: kept by the twin in memory and by PostgreSQL alike, and what only sealed rows can promise.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use spark::adapters::clock::SystemClock;
use spark::adapters::memory::{MemoryVault, MemoryViewerSamples};
use spark::adapters::postgres::{PostgresVault, PostgresViewerSamples};
use spark::domain::audience::channel::{Channel, ChannelId, Scopes, Seen, Trouble, ViewerSample};
use spark::ports::vault::{PendingLink, Secret, Tokens, Vault, VaultError};
use spark::ports::viewer_samples::ViewerSamples;
use sqlx::PgPool;

/// How long a test waits for a renewal that another one holds.
const SHORT_WAIT: Duration = Duration::from_millis(300);

/// A vault under contract, and what another process would see of it.
struct Kept {
    here: Arc<dyn Vault>,
    elsewhere: Arc<dyn Vault>,
    samples: Arc<dyn ViewerSamples>,
    _folder: tempfile::TempDir,
}

async fn in_postgres() -> Kept {
    let folder = tempfile::tempdir().unwrap();
    let pool = support::fresh_database().await;
    Kept {
        here: Arc::new(sealed(&pool, folder.path())),
        elsewhere: Arc::new(sealed(&support::another_pool(&pool).await, folder.path())),
        samples: Arc::new(PostgresViewerSamples::new(pool)),
        _folder: folder,
    }
}

fn in_memory() -> Kept {
    let vault = MemoryVault::default().waiting_at_most(SHORT_WAIT);
    Kept {
        here: Arc::new(vault.clone()),
        elsewhere: Arc::new(vault),
        samples: Arc::new(MemoryViewerSamples::default()),
        _folder: tempfile::tempdir().unwrap(),
    }
}

macro_rules! contract {
    ($($name:ident),+ $(,)?) => {
        mod memory { $(#[tokio::test] async fn $name() { super::$name(super::in_memory()).await; })+ }
        mod postgres { $(#[tokio::test] async fn $name() { super::$name(super::in_postgres().await).await; })+ }
    };
}
contract!(
    a_linked_channel_and_its_tokens_come_back_as_they_were,
    linking_again_replaces_tokens_and_heals,
    one_renewal_at_a_time_among_processes,
    a_dropped_renewal_changes_nothing,
    an_ended_link_gives_no_tokens_even_to_a_renewal_in_flight,
    a_removed_channel_is_gone,
    a_pending_link_serves_once_in_its_session_and_in_time,
    a_validation_notes_time_and_permissions,
    samples_are_kept_with_what_is_not_known,
);

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

fn id(raw: &str) -> ChannelId {
    ChannelId::try_new(raw).unwrap()
}

fn channel(raw: &str) -> Channel {
    Channel {
        id: id(raw),
        login: format!("ana{raw}"),
        name: format!("Ana {raw} 🎈"),
        scopes: Scopes::from(["user:read:chat".to_owned()]),
        linked_at: now(),
        validated_at: now(),
        trouble: None,
    }
}

fn tokens(word: &str) -> Tokens {
    Tokens {
        access: Secret::new(format!("access-{word}")),
        refresh: Some(Secret::new(format!("refresh-{word}"))),
        expires_at: now() + TimeDelta::hours(4),
    }
}

async fn a_linked_channel_and_its_tokens_come_back_as_they_were(kept: Kept) {
    kept.here.link(&channel("2"), &tokens("b")).await.unwrap();
    let without = Tokens { refresh: None, ..tokens("a") };
    kept.here.link(&channel("1"), &without).await.unwrap();
    assert_eq!(kept.elsewhere.channels().await.unwrap(), [channel("1"), channel("2")]);
    assert_eq!(kept.elsewhere.find(&id("2")).await.unwrap(), Some(channel("2")));
    assert_eq!(kept.elsewhere.load(&id("1")).await.unwrap(), without);
    assert_eq!(kept.elsewhere.load(&id("2")).await.unwrap(), tokens("b"));
    let unknown = kept.here.load(&id("3")).await;
    assert!(matches!(unknown, Err(VaultError::NoTokens(_))), "{unknown:?}");
}

async fn linking_again_replaces_tokens_and_heals(kept: Kept) {
    kept.here.link(&channel("1"), &tokens("old")).await.unwrap();
    kept.here.end(&id("1"), Trouble::RefreshRefused).await.unwrap();
    let ended = kept.elsewhere.find(&id("1")).await.unwrap().unwrap();
    assert_eq!(ended.trouble, Some(Trouble::RefreshRefused));
    kept.here.link(&channel("1"), &tokens("new")).await.unwrap();
    assert_eq!(kept.elsewhere.find(&id("1")).await.unwrap(), Some(channel("1")));
    assert_eq!(kept.elsewhere.load(&id("1")).await.unwrap(), tokens("new"));
}

async fn one_renewal_at_a_time_among_processes(kept: Kept) {
    kept.here.link(&channel("1"), &tokens("old")).await.unwrap();
    kept.here.link(&channel("2"), &tokens("other")).await.unwrap();
    let first = kept.here.begin_renewal(&id("1")).await.unwrap();
    assert_eq!(first.tokens(), &tokens("old"));
    let second = kept.elsewhere.begin_renewal(&id("1")).await;
    assert!(matches!(second, Err(VaultError::Busy(_))), "two renewals at once");
    // Reading and other channels do not wait.
    assert_eq!(kept.elsewhere.load(&id("1")).await.unwrap(), tokens("old"));
    drop(kept.elsewhere.begin_renewal(&id("2")).await.unwrap());
    first.store(&tokens("new")).await.unwrap();
    let third = kept.elsewhere.begin_renewal(&id("1")).await.unwrap();
    assert_eq!(third.tokens(), &tokens("new"));
}

async fn a_dropped_renewal_changes_nothing(kept: Kept) {
    kept.here.link(&channel("1"), &tokens("old")).await.unwrap();
    drop(kept.here.begin_renewal(&id("1")).await.unwrap());
    let next = kept.elsewhere.begin_renewal(&id("1")).await.unwrap();
    assert_eq!(next.tokens(), &tokens("old"));
}

async fn an_ended_link_gives_no_tokens_even_to_a_renewal_in_flight(kept: Kept) {
    kept.here.link(&channel("1"), &tokens("old")).await.unwrap();
    let renewal = kept.here.begin_renewal(&id("1")).await.unwrap();
    let elsewhere = kept.elsewhere.clone();
    let ending = tokio::spawn(async move { elsewhere.end(&id("1"), Trouble::Revoked).await });
    // The end holds at once, though the renewal still has its row.
    while kept.here.load(&id("1")).await.is_ok() {
        tokio::task::yield_now().await;
    }
    let stored = renewal.store(&tokens("new")).await;
    assert!(matches!(stored, Err(VaultError::NoTokens(_))), "{stored:?}");
    ending.await.unwrap().unwrap();
    let loaded = kept.here.load(&id("1")).await;
    assert!(matches!(loaded, Err(VaultError::NoTokens(_))), "{loaded:?}");
    let trouble = kept.here.find(&id("1")).await.unwrap().unwrap().trouble;
    assert_eq!(trouble, Some(Trouble::Revoked));
}

async fn a_removed_channel_is_gone(kept: Kept) {
    kept.here.link(&channel("1"), &tokens("a")).await.unwrap();
    assert!(kept.elsewhere.remove(&id("1")).await.unwrap());
    assert!(!kept.here.remove(&id("1")).await.unwrap());
    assert_eq!(kept.here.channels().await.unwrap(), []);
    assert!(kept.here.load(&id("1")).await.is_err());
}

async fn a_pending_link_serves_once_in_its_session_and_in_time(kept: Kept) {
    let pending = |state: u8| PendingLink {
        state_hash: [state; 32],
        session_hash: [7; 32],
        return_url: "https://spark.example/chaines/retour".into(),
        expires_at: now() + TimeDelta::minutes(10),
    };
    for state in 1..=3 {
        kept.here.begin_link(pending(state), now()).await.unwrap();
    }
    let take = |state, session, at| kept.elsewhere.take_link([state; 32], [session; 32], at);
    assert_eq!(take(1, 7, now()).await.unwrap(), Some(pending(1)));
    assert_eq!(take(1, 7, now()).await.unwrap(), None, "a state served twice");
    assert_eq!(take(2, 8, now()).await.unwrap(), None, "a state served another session");
    assert_eq!(take(2, 7, now()).await.unwrap(), None, "a state stolen once is not spent");
    let late = now() + TimeDelta::minutes(10);
    assert_eq!(take(3, 7, late).await.unwrap(), None, "a state served too late");
}

async fn a_validation_notes_time_and_permissions(kept: Kept) {
    kept.here.link(&channel("1"), &tokens("a")).await.unwrap();
    let (later, scopes) = (now() + TimeDelta::hours(1), Scopes::from(["bits:read".to_owned()]));
    kept.here.validated(&id("1"), &scopes, later).await.unwrap();
    let found = kept.elsewhere.find(&id("1")).await.unwrap().unwrap();
    assert_eq!((found.validated_at, found.scopes), (later, scopes));
}

async fn samples_are_kept_with_what_is_not_known(kept: Kept) {
    let sample = |minute, seen| ViewerSample {
        channel: id("1"),
        fetched_at: now() + TimeDelta::minutes(minute),
        seen,
    };
    let live = Seen::Live {
        viewers: 412,
        title: "Villa, jour 3".into(),
        category: "Art".into(),
        started_at: Some(now()),
    };
    let all = [sample(0, live), sample(1, Seen::Failed), sample(2, Seen::Offline)];
    kept.samples.append(&all).await.unwrap();
    // A look repeated at the same instant adds nothing.
    kept.samples.append(&[sample(0, Seen::Offline)]).await.unwrap();
    let hour = now() + TimeDelta::hours(1);
    assert_eq!(kept.samples.between(&id("1"), now(), hour).await.unwrap(), all);
    let to = now() + TimeDelta::minutes(2);
    assert_eq!(kept.samples.between(&id("1"), now(), to).await.unwrap(), all[..2]);
    assert_eq!(kept.samples.between(&id("2"), now(), hour).await.unwrap(), []);
}

// What only sealed rows can promise.

fn sealed(pool: &PgPool, folder: &Path) -> PostgresVault {
    PostgresVault::new(pool.clone(), key_file(folder), Arc::new(SystemClock))
        .waiting_at_most(SHORT_WAIT)
}

fn key_file(folder: &Path) -> PathBuf {
    folder.join("vault.keys")
}

async fn column(pool: &PgPool, channel: &str, column: &str) -> Vec<u8> {
    let question = format!("select {column} from channel_tokens where channel = $1");
    sqlx::query_scalar(sqlx::AssertSqlSafe(question)).bind(channel).fetch_one(pool).await.unwrap()
}

#[tokio::test]
async fn no_token_stands_in_a_dump_of_the_database_nor_in_debug_output() {
    let (folder, pool) = (tempfile::tempdir().unwrap(), support::fresh_database().await);
    let vault = sealed(&pool, folder.path());
    vault.link(&channel("1"), &tokens("topsecret")).await.unwrap();
    let options = pool.connect_options();
    let newest = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_string_lossy().parse::<u32>().ok())
        .max();
    let program =
        newest.map_or("pg_dump".into(), |n| format!("/usr/lib/postgresql/{n}/bin/pg_dump"));
    let dump = Command::new(program)
        .args(["-U", "spark", "-h"])
        .arg(options.get_socket().unwrap())
        .arg(options.get_database().unwrap())
        .output()
        .unwrap();
    assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
    let dump = String::from_utf8(dump.stdout).unwrap();
    assert!(dump.contains("COPY public.channel_tokens") && dump.contains("ana1"), "nothing dumped");
    let hex: String = "topsecret".bytes().map(|byte| format!("{byte:02x}")).collect();
    for plain in ["topsecret", hex.as_str()] {
        assert!(!dump.contains(plain), "a token stands in the dump");
    }
    let keys = std::fs::read_to_string(key_file(folder.path())).unwrap();
    let key = keys.lines().last().unwrap().split(' ').nth(1).unwrap();
    assert!(!dump.contains(key), "the key stands in the dump");
    let said = format!("{:?}", vault.load(&id("1")).await.unwrap());
    assert!(!said.contains("topsecret"), "{said}");
}

#[tokio::test]
async fn the_same_token_is_sealed_differently_each_time_and_only_its_owner_reads_the_keys() {
    use std::os::unix::fs::PermissionsExt;
    let (folder, pool) = (tempfile::tempdir().unwrap(), support::fresh_database().await);
    let vault = sealed(&pool, folder.path());
    vault.link(&channel("1"), &tokens("a")).await.unwrap();
    let first = column(&pool, "1", "access").await;
    vault.link(&channel("1"), &tokens("a")).await.unwrap();
    assert_ne!(column(&pool, "1", "access").await, first);
    let mode = std::fs::metadata(key_file(folder.path())).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_sealed_value_opens_in_its_own_row_and_column_only() {
    let (folder, pool) = (tempfile::tempdir().unwrap(), support::fresh_database().await);
    let vault = sealed(&pool, folder.path());
    vault.link(&channel("1"), &tokens("a")).await.unwrap();
    vault.link(&channel("2"), &tokens("b")).await.unwrap();
    let moved = [
        "update channel_tokens set access = (select access from channel_tokens where channel = '1') where channel = '2'",
        "update channel_tokens set access = refresh where channel = '1'",
    ];
    for (statement, row) in moved.into_iter().zip(["2", "1"]) {
        sqlx::query(statement).execute(&pool).await.unwrap();
        let loaded = vault.load(&id(row)).await;
        let Err(VaultError::Keys(words)) = loaded else { panic!("{loaded:?} after {statement}") };
        assert!(words.contains("link it again"), "{words}");
    }
}

#[tokio::test]
async fn a_key_file_that_is_lost_wrong_or_open_is_said_with_what_to_do() {
    let (folder, pool) = (tempfile::tempdir().unwrap(), support::fresh_database().await);
    let vault = sealed(&pool, folder.path());
    vault.link(&channel("1"), &tokens("a")).await.unwrap();
    let file = key_file(folder.path());
    let right = std::fs::read_to_string(&file).unwrap();
    let refusal = async |vault: &PostgresVault| match vault.load(&id("1")).await {
        Err(VaultError::Keys(words)) => words,
        other => panic!("{other:?}"),
    };

    std::fs::remove_file(&file).unwrap();
    assert!(refusal(&vault).await.contains("put the copy of vault.keys back"));
    let linked = vault.link(&channel("2"), &tokens("b")).await;
    assert!(matches!(linked, Err(VaultError::Keys(_))), "a new key over a lost one: {linked:?}");

    let place = |text: &str, mode: u32| {
        use std::os::unix::fs::PermissionsExt;
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let (name, _) = right.lines().last().unwrap().split_once(' ').unwrap();
    place(&format!("{name} {}=\n", "A".repeat(43)), 0o600);
    assert!(refusal(&vault).await.contains("does not open"));
    place(&format!("9-other {}=\n", "A".repeat(43)), 0o600);
    assert!(refusal(&vault).await.contains("does not hold"));
    place("no key at all\n", 0o600);
    assert!(refusal(&vault).await.contains("line 1"));
    place(&right, 0o644);
    assert!(refusal(&sealed(&pool, folder.path())).await.contains("chmod 600"));
    place(&right, 0o600);
    assert_eq!(vault.load(&id("1")).await.unwrap(), tokens("a"));
}

#[tokio::test]
async fn a_rotation_seals_every_row_anew_while_others_read_and_renew() {
    let (folder, pool) = (tempfile::tempdir().unwrap(), support::fresh_database().await);
    let here = sealed(&pool, folder.path());
    let elsewhere = sealed(&support::another_pool(&pool).await, folder.path());
    for n in 1..=20 {
        here.link(&channel(&n.to_string()), &tokens(&n.to_string())).await.unwrap();
    }
    let before = std::fs::read_to_string(key_file(folder.path())).unwrap();
    let stop = tokio_util::sync::CancellationToken::new();
    let others = tokio::spawn({
        let (vault, stop) = (elsewhere.clone(), stop.clone());
        async move {
            let mut rounds = 0_u32;
            while !stop.is_cancelled() {
                for n in 1..=20_u32 {
                    let renewal = vault.begin_renewal(&id(&n.to_string())).await.unwrap();
                    assert_eq!(renewal.tokens(), &tokens(&n.to_string()));
                    renewal.store(&tokens(&n.to_string())).await.unwrap();
                    vault.load(&id(&n.to_string())).await.unwrap();
                }
                rounds += 1;
            }
            rounds
        }
    });
    let mut resealed = 0;
    for _ in 0..5 {
        let rotated = here.rotate_keys().await.unwrap();
        assert_eq!(rotated.keys_removed, 1);
        resealed += rotated.resealed;
    }
    stop.cancel();
    assert!(others.await.unwrap() > 0, "nobody renewed meanwhile");
    assert!(resealed > 0, "nothing was sealed anew");
    let after = std::fs::read_to_string(key_file(folder.path())).unwrap();
    let keys = |text: &str| text.lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!((keys(&before), keys(&after)), (1, 1));
    assert_ne!(before.lines().last(), after.lines().last());
    let in_use: Vec<String> = sqlx::query_scalar("select distinct key_id from channel_tokens")
        .fetch_all(&pool)
        .await
        .unwrap();
    assert_eq!(in_use.len(), 1);
    for vault in [&here, &elsewhere] {
        for n in 1..=20 {
            assert_eq!(vault.load(&id(&n.to_string())).await.unwrap(), tokens(&n.to_string()));
        }
    }
}

#[tokio::test]
async fn a_rotation_that_died_halfway_is_finished_by_the_next() {
    let (folder, pool) = (tempfile::tempdir().unwrap(), support::fresh_database().await);
    let vault = sealed(&pool, folder.path());
    vault.link(&channel("1"), &tokens("a")).await.unwrap();
    // As it stands when a rotation dies after its new key: the file has one more key, the row the old one.
    let mut keys = std::fs::read_to_string(key_file(folder.path())).unwrap();
    keys = format!("{keys}2-halfway {}=\n", "A".repeat(43));
    std::fs::write(key_file(folder.path()), keys).unwrap();
    assert_eq!(vault.load(&id("1")).await.unwrap(), tokens("a"));
    let rotated = vault.rotate_keys().await.unwrap();
    assert_eq!((rotated.resealed, rotated.keys_removed), (1, 2));
    assert_eq!(vault.load(&id("1")).await.unwrap(), tokens("a"));
}
