//! What happened while the socket was down is asked of the pretend Twitch, and is in the log once, at its own time, marked.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use spark::adapters::clock::SystemClock;
use spark::adapters::memory::MemoryVault;
use spark::adapters::postgres::PostgresJobQueue;
use spark::adapters::twitch::{HelixLimits, TwitchHelix, TwitchIdentity, TwitchSettings};
use spark::domain::audience::channel::Channel;
use spark::domain::audience::happening::{Phase, What};
use spark::domain::audience::notice::Notice;
use spark::domain::job::{Job, JobState, Lane};
use spark::ports::audience_log::AudienceLog;
use spark::ports::clock::Clock;
use spark::ports::job_queue::{Claimed, JobQueue};
use spark::ports::ledger::Commit;
use spark::ports::vault::{Secret, Tokens, Vault};
use spark::rehearsal::twitch::{Act, ForcedAnswer};
use spark::use_cases::Work;
use spark::use_cases::audience::channels::Channels;
use spark::use_cases::audience::gaps::Gaps;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::{Evening, State, channel, login, support};

/// The house's worker, for an evening's first channel.
struct Filler {
    gaps: Gaps,
    queue: PostgresJobQueue,
    vault: MemoryVault,
}

impl Filler {
    /// Links the channel with these permissions.
    async fn linked(evening: &Evening, pool: PgPool, scopes: &[&str]) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let settings = TwitchSettings {
            client_id: Some("pretendclient".to_owned()),
            ..TwitchSettings::at(&format!("http://{}", evening.twitch.address()))
        };
        let vault = MemoryVault::default();
        let token = evening.twitch.user_token(&login(0), scopes).unwrap().access;
        let linked = Channel {
            id: channel(0),
            login: login(0),
            name: login(0),
            scopes: scopes.iter().map(ToString::to_string).collect(),
            linked_at: clock.now(),
            validated_at: clock.now(),
            trouble: None,
        };
        let expires_at = clock.now() + chrono::TimeDelta::hours(4);
        let tokens = Tokens { access: Secret::new(token), refresh: None, expires_at };
        vault.link(&linked, &tokens).await.unwrap();
        let identity = TwitchIdentity::try_new(settings.clone(), clock.clone()).unwrap();
        let helix = TwitchHelix::try_new(settings, HelixLimits::default(), clock.clone()).unwrap();
        let platform = Arc::new(helix);
        let channels = Channels::new(Arc::new(vault.clone()), Arc::new(identity), platform, clock);
        let gaps = Gaps { audience: evening.audience.clone(), channels };
        Self { gaps, queue: PostgresJobQueue::new(pool), vault }
    }

    async fn claim(&self) -> Claimed {
        self.queue.claim(Lane::Fill, "test").await.unwrap().expect("a gap waits to be filled")
    }

    async fn carry_out(&self, claimed: &Claimed) {
        let Job::FillGap { gap } = &claimed.job else { unreachable!("of this lane") };
        let work = Work::on(claimed.ticket, CancellationToken::new());
        self.gaps.fill(gap, &work).await.unwrap();
        let job = self.queue.find(claimed.ticket.id).await.unwrap().unwrap();
        assert_eq!(job.state, JobState::Done);
    }

    /// Orders the same again, and carries it out.
    async fn again(&self, claimed: &Claimed) {
        let commit = Commit { jobs: vec![claimed.job.clone()], ..Commit::default() };
        self.gaps.audience.ledger.commit(commit).await.unwrap();
        self.carry_out(&self.claim().await).await;
    }
}

const ALL: [&str; 2] = ["moderator:read:followers", "channel:read:polls"];

/// Listened to, one lost socket, listened to again. While it was down, Bob followed and a poll began.
async fn with_a_gap(pool: &PgPool) -> Evening {
    let evening = Evening::on(pool.clone(), 1).await;
    let follows = |viewer: &str| Act::Follow { channel: login(0), viewer: viewer.to_owned() };
    evening.twitch.act(Act::GoLive { channel: login(0), viewers: 3 }).unwrap();
    evening.twitch.act(follows("anna")).unwrap();
    evening.twitch.say(&login(0), "anna", "avant").unwrap();
    evening.books(1).await;
    evening.twitch.act(Act::Cut { socket: None, code: None }).unwrap();
    evening.until(|| evening.health(0).unwrap().state != State::Listening).await;
    evening.twitch.act(follows("bob")).unwrap();
    let poll = Act::Poll {
        channel: login(0),
        title: "Pâtes ou riz ?".to_owned(),
        choices: vec!["Pâtes".to_owned(), "Riz".to_owned()],
        seconds: 600,
    };
    evening.twitch.act(poll).unwrap();
    evening.until(|| evening.health(0).unwrap().confirmed > 20).await;
    evening.twitch.act(follows("carl")).unwrap();
    evening.twitch.say(&login(0), "anna", "après").unwrap();
    evening.agrees(2).await;
    evening
}

/// Who followed, when, and whether that was filled in.
fn follows(log: &[Notice]) -> Vec<(String, DateTime<Utc>, bool)> {
    let of = |notice: &Notice| match &notice.happening()?.what {
        What::Followed { viewer } => {
            Some((viewer.name.clone(), notice.happening()?.at, is_marked(notice)))
        }
        _ => None,
    };
    log.iter().filter_map(of).collect()
}

/// Polls that began, and whether that was filled in.
fn polls(log: &[Notice]) -> Vec<(String, bool)> {
    let of = |notice: &Notice| match &notice.happening()?.what {
        What::Poll { phase: Phase::Begin, title, .. } => Some((title.clone(), is_marked(notice))),
        _ => None,
    };
    log.iter().filter_map(of).collect()
}

fn is_marked(notice: &Notice) -> bool {
    let raw: serde_json::Value = serde_json::from_str(&notice.raw).unwrap();
    assert_eq!(raw["backfilled"] == true, notice.is_backfilled());
    notice.is_backfilled()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_in_a_gap_is_filled_in_once_and_marked() {
    let pool = support::fresh_database().await;
    let evening = with_a_gap(&pool).await;
    let before = evening.logged().await;
    let names = |told: &[(String, DateTime<Utc>, bool)]| -> Vec<(String, bool)> {
        told.iter().map(|(name, _, is_marked)| (name.clone(), *is_marked)).collect()
    };
    let heard = [("anna".to_owned(), false), ("carl".to_owned(), false)];
    assert_eq!(names(&follows(&before)), heard);
    assert_eq!(polls(&before), []);

    let filler = Filler::linked(&evening, pool.clone(), &ALL).await;
    let claimed = filler.claim().await;
    filler.carry_out(&claimed).await;
    let after = evening.logged().await;
    let told = follows(&after);
    assert_eq!(names(&told), [heard[0].clone(), heard[1].clone(), ("bob".to_owned(), true)]);
    assert_eq!(polls(&after), [("Pâtes ou riz ?".to_owned(), true)]);
    let gaps = evening.gaps().await;
    let [(from, to)] = gaps[..] else { panic!("{gaps:?}") };
    let bob = told[2].1;
    assert!(from.timestamp() <= bob.timestamp() && bob <= to, "at its own time: {bob}");
    let filled: Vec<What> = after
        .iter()
        .filter(|notice| notice.kind == "spark.backfilled")
        .map(|notice| notice.happening().unwrap().what.clone())
        .collect();
    let [What::Backfilled { from: since, to: until, found }] = filled[..] else {
        panic!("{filled:?}")
    };
    assert_eq!((since, until), (from, to));
    // Bob and the poll; Anna and Carl too, if the gap's edges hold them.
    assert!((2..=4).contains(&found), "{found}");
    assert_eq!(evening.gaps().await.len(), 1, "it stays told");
    let facts: Vec<i64> = sqlx::query_scalar(
        "select count(*) from audience_facts where kind = 'follow' group by live",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    assert_eq!(facts, [3], "each counts once, in the one live");
    let heard_until = before.iter().map(|notice| notice.heard_at).max().unwrap();
    let until = evening.log.last_heard(channel(0).as_str()).await.unwrap().unwrap();
    assert!((until - heard_until).abs().num_milliseconds() < 1, "nothing more was heard");

    filler.again(&claimed).await;
    assert_eq!(evening.logged().await, after, "a second run adds nothing");
    evening.ends().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_permission_leaves_its_part_of_a_gap_open() {
    let pool = support::fresh_database().await;
    let evening = with_a_gap(&pool).await;
    let filler = Filler::linked(&evening, pool, &["channel:read:polls"]).await;
    filler.carry_out(&filler.claim().await).await;
    let log = evening.logged().await;
    assert_eq!(follows(&log).len(), 2);
    assert_eq!(polls(&log).len(), 1);
    evening.ends().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gap_of_an_unlinked_channel_stays_as_it_is() {
    let pool = support::fresh_database().await;
    let evening = with_a_gap(&pool).await;
    let filler = Filler::linked(&evening, pool, &ALL).await;
    filler.vault.remove(&channel(0)).await.unwrap();
    filler.carry_out(&filler.claim().await).await;
    assert_eq!(follows(&evening.logged().await).len(), 2);
    evening.ends().await;
}

/// A fault of Twitch is worth another try, and costs nothing that was learnt.
#[tokio::test(flavor = "multi_thread")]
async fn a_fault_in_the_middle_is_made_good_by_the_next_try() {
    let pool = support::fresh_database().await;
    let evening = with_a_gap(&pool).await;
    let filler = Filler::linked(&evening, pool, &ALL).await;
    let claimed = filler.claim().await;
    let fault = ForcedAnswer {
        method: None,
        path: "polls".into(),
        status: 503,
        remaining: None,
        times: 1,
        after_doing_it: false,
    };
    evening.twitch.faults(|faults| faults.answers.push(fault));
    let Job::FillGap { gap } = &claimed.job else { unreachable!("of this lane") };
    let work = Work::on(claimed.ticket, CancellationToken::new());
    filler.gaps.fill(gap, &work).await.unwrap_err();
    assert_eq!(evening.twitch.counter("answer_503"), 1);
    let log = evening.logged().await;
    assert_eq!((follows(&log).len(), polls(&log).len()), (3, 0));
    assert!(log.iter().all(|notice| notice.kind != "spark.backfilled"));
    filler.carry_out(&claimed).await;
    let log = evening.logged().await;
    assert_eq!((follows(&log).len(), polls(&log).len()), (3, 1));
    evening.ends().await;
}
