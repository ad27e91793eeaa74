//! A busy evening with everything that can go wrong at once, held against the pretend Twitch's own book.

use std::path::PathBuf;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

use super::*;

/// Channels that speak.
const CHANNELS: usize = 12;
/// Messages a second, all channels together.
const RATE: u64 = 600;
/// Messages a second of the burst at the end, and its length in seconds.
const BURST_RATE: u64 = 1_000;
const BURST_S: u64 = 10;
/// Messages go out in handfuls of this many milliseconds.
const HANDFUL_MS: u64 = 10;

fn is_long() -> bool {
    std::env::var_os("SPARK_DRILLS").is_some_and(|word| word == "long")
}

/// Seconds of the storm, and of the database's absence in it.
fn lengths() -> (u64, u64) {
    if is_long() { (600, 60) } else { (30, 6) }
}

/// A way to PostgreSQL that can be cut: connections end, new ones are refused, and all is well again afterwards.
struct Way {
    folder: tempfile::TempDir,
    open: watch::Sender<bool>,
    cut: Arc<AtomicUsize>,
}

impl Way {
    fn to(server: PathBuf) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let door = folder.path().join(server.file_name().unwrap());
        let listener = UnixListener::bind(&door).unwrap();
        let (open, seen) = watch::channel(true);
        let cut = Arc::new(AtomicUsize::new(0));
        let count = cut.clone();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let (server, mut seen, count) = (server.clone(), seen.clone(), count.clone());
                tokio::spawn(async move {
                    if !*seen.borrow_and_update() {
                        count.fetch_add(1, SeqCst);
                        return;
                    }
                    let mut database = UnixStream::connect(&server).await.unwrap();
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut client, &mut database) => {}
                        _ = seen.changed() => {
                            count.fetch_add(1, SeqCst);
                        }
                    }
                });
            }
        });
        Self { folder, open, cut }
    }
}

/// Says so many messages at a rate, on all channels in turn.
async fn say(twitch: &PretendTwitch, from: u64, count: u64, rate: u64) {
    let begun = Instant::now();
    let mut said = 0;
    while said < count {
        let due = (begun.elapsed().as_millis() as u64 * rate / 1_000).min(count);
        while said < due {
            let n = from + said;
            let viewer = format!("viewer{}", n % 397);
            twitch.say(&login(n as usize % CHANNELS), &viewer, &format!("n° {n}")).unwrap();
            said += 1;
        }
        tokio::time::sleep(Duration::from_millis(HANDFUL_MS)).await;
    }
}

/// How long each message took from Twitch's hand to the log, in milliseconds; by a reader beside the writer.
async fn durable_after(log: PostgresAudienceLog, count: usize) -> Vec<i64> {
    let mut from = log.head().await.unwrap();
    let mut waits = Vec::new();
    while waits.len() < count {
        let batch = log.after(from).await.unwrap();
        let now = spark::ports::clock::Clock::now(&SystemClock);
        if let Some(last) = batch.last() {
            from = last.seq;
        } else {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let of = |notice: &Notice| notice.happening().map(|it| (now - it.at).num_milliseconds());
        waits.extend(batch.iter().filter_map(|logged| of(&logged.notice)));
    }
    waits.sort_unstable();
    waits
}

/// Where the house says that it may have missed something, by channel.
type Gaps = BTreeMap<String, Vec<(DateTime<Utc>, DateTime<Utc>)>>;

/// The business ids in the log, each as often as it is there, and the gaps.
async fn kept(log: &PostgresAudienceLog) -> (BTreeMap<String, u32>, Gaps) {
    let (mut kept, mut gaps) = (BTreeMap::new(), Gaps::new());
    let mut from = 0;
    loop {
        let batch = log.after(from).await.unwrap();
        let Some(last) = batch.last() else { return (kept, gaps) };
        from = last.seq;
        for logged in batch {
            if let Some(What::Missed { from, to, .. }) =
                logged.notice.happening().map(|it| &it.what)
            {
                gaps.entry(logged.notice.channel.clone()).or_default().push((*from, *to));
            } else if let Some(id) = logged.notice.subject() {
                *kept.entry(id.to_owned()).or_default() += 1;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_with_every_fault_loses_nothing_outside_the_gaps_and_doubles_nothing() {
    let (storm_s, away_s) = lengths();
    let direct = support::fresh_database().await;
    let options = direct.connect_options().as_ref().clone();
    let way =
        Way::to(options.get_socket().unwrap().join(format!(".s.PGSQL.{}", options.get_port())));
    let pool =
        spark::adapters::postgres::open_pool(options.socket(way.folder.path())).await.unwrap();
    let evening = Evening::on(pool, CHANNELS).await;
    let log = PostgresAudienceLog::new(direct.clone());
    let twitch = evening.twitch.clone();
    for index in 0..CHANNELS {
        twitch.act(Act::GoLive { channel: login(index), viewers: 300 }).unwrap();
    }

    // Calm weather first: how long until a message is durable.
    let calm_s = storm_s / 6;
    let waits = tokio::spawn(durable_after(log.clone(), (calm_s * RATE) as usize / 2));
    say(&twitch, 0, calm_s * RATE, RATE).await;
    let waits = waits.await.unwrap();

    twitch.faults(|faults| {
        faults.duplicate_rate = 0.1;
        faults.reorder_window = 5;
    });
    let faults = async {
        let step = Duration::from_millis((storm_s - calm_s) * 1_000 / 6);
        let named = |index| Some(channel(index).as_str().to_owned());
        tokio::time::sleep(step).await;
        twitch.act(Act::Cut { socket: named(0), code: None }).unwrap();
        tokio::time::sleep(step / 2).await;
        twitch.act(Act::Reconnect { socket: named(1) }).unwrap();
        tokio::time::sleep(step / 2).await;
        way.open.send_replace(false);
        tokio::time::sleep(Duration::from_secs(away_s) / 2).await;
        twitch.act(Act::Cut { socket: named(2), code: Some(4000) }).unwrap();
        tokio::time::sleep(Duration::from_secs(away_s) / 2).await;
        assert!(evening.audience.kept().is_spooling, "{:?}", evening.audience.kept());
        way.open.send_replace(true);
        tokio::time::sleep(step).await;
        twitch.act(Act::Cut { socket: named(3), code: None }).unwrap();
    };
    let stormy = (storm_s - calm_s) * RATE;
    tokio::join!(say(&twitch, calm_s * RATE, stormy, RATE), faults);
    let burst = BURST_RATE * if is_long() { BURST_S } else { BURST_S / 5 };
    say(&twitch, storm_s * RATE, burst, BURST_RATE).await;

    // Calm again: what waits to be shuffled comes out, and every socket speaks.
    twitch.faults(|faults| {
        faults.duplicate_rate = 0.0;
        faults.reorder_window = 0;
    });
    for index in 0..CHANNELS {
        evening.until(|| evening.health(index).is_some_and(|it| it.confirmed > 20)).await;
        twitch.say(&login(index), "viewer", "fin").unwrap();
    }
    let sent: Vec<_> = twitch
        .ledger()
        .into_iter()
        .filter(|entry| &*entry.kind == "channel.chat.message")
        .collect();
    let begun = Instant::now();
    let (kept, gaps) = loop {
        let (kept, gaps) = kept(&log).await;
        let is_in_gap = |entry: &spark::rehearsal::twitch::LedgerEntry| {
            gaps.get(&*entry.channel)
                .is_some_and(|gaps| gaps.iter().any(|(from, to)| (*from..=*to).contains(&entry.at)))
        };
        let lost: Vec<_> = sent
            .iter()
            .filter(|entry| !kept.contains_key(&*entry.business_id) && !is_in_gap(entry))
            .collect();
        if lost.is_empty() && !evening.audience.is_spooling() {
            break (kept, gaps);
        }
        let house = evening.audience.kept();
        assert!(begun.elapsed() < 3 * PATIENCE, "{house:?}; gaps {gaps:#?}; lost {lost:#?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    };

    let ids: BTreeSet<&str> = sent.iter().map(|entry| &*entry.business_id).collect();
    assert_eq!(ids.len() as u64, storm_s * RATE + burst + CHANNELS as u64, "everything was said");
    let chat = kept.iter().filter(|(id, _)| ids.contains(id.as_str()));
    assert_eq!(chat.clone().filter(|(_, times)| **times > 1).count(), 0, "nothing is there twice");
    let missed = ids.len() - chat.count();
    assert!(missed * 5 < ids.len(), "{missed} of {} fell into gaps: too many to prove", ids.len());
    // Every fault took place.
    let counters = twitch.counters();
    for (fault, least) in
        [("vanished", 2), ("close_4000", 1), ("duplicate", 100), ("reordered", 100)]
    {
        assert!(twitch.counter(fault) >= least, "{fault}: {counters:?}");
    }
    assert!(way.cut.load(SeqCst) > 0, "the database was away");
    let house = evening.audience.kept();
    assert!(house.spooled > away_s * RATE / 2, "{house:?}");
    assert!(house.repeated > 100 && house.lost == 0, "{house:?}");
    for lost in [0, 2, 3] {
        assert!(gaps.contains_key(channel(lost).as_str()), "a lost socket without a gap: {gaps:?}");
    }

    let at = |share: usize| waits[(waits.len() - 1) * share / 100];
    println!(
        "| storm of {storm_s} s, {RATE} msg/s, {CHANNELS} channels | {} sent, {missed} in gaps, 0 lost, 0 doubled; \
         {} over the spool; durable after {} ms (median), {} ms (p99) in calm weather |",
        ids.len(),
        house.spooled,
        at(50),
        at(99),
    );
    evening.ends().await;
}
