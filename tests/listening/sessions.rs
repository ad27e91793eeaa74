//! A session over several sockets, and what it lacks.

use super::*;
use spark::rehearsal::twitch::ForcedAnswer;

#[tokio::test(flavor = "multi_thread")]
async fn an_order_to_reconnect_loses_nothing() {
    let evening = Evening::with(1).await;
    for n in 0..400 {
        if n == 100 {
            evening.twitch.act(Act::Reconnect { socket: None }).unwrap();
        }
        evening.twitch.say(&login(0), "anna", &format!("n° {n}")).unwrap();
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    evening.agrees(400).await;
    let sessions: BTreeSet<_> =
        evening.twitch.ledger().into_iter().flat_map(|it| it.taken_by).collect();
    assert_eq!(sessions.len(), 2, "the second socket took over");
    assert_eq!(evening.gaps().await, []);
    assert_eq!(evening.health(0).unwrap().reconnects, 0, "an order is no loss");
    evening.ends().await;
}

/// What Twitch sent before the change may be on its way still when the new socket is welcomed.
#[tokio::test(flavor = "multi_thread")]
async fn the_old_socket_is_heard_beside_the_new_one() {
    let evening = Evening::with(1).await;
    evening.twitch.faults(|faults| faults.hand_over_late_ms = 700);
    evening.twitch.act(Act::Reconnect { socket: None }).unwrap();
    for n in 0..300 {
        evening.twitch.say(&login(0), "anna", &format!("n° {n}")).unwrap();
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    evening.agrees(300).await;
    assert!(evening.twitch.counter("overtaken") > 0, "{:?}", evening.twitch.counters());
    assert_eq!(evening.twitch.counter("reconnected"), 1);
    assert_eq!(evening.gaps().await, []);
    evening.ends().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_lost_before_its_successor_came_costs_a_gap_and_no_session() {
    let evening = Evening::with(1).await;
    evening.twitch.say(&login(0), "anna", "avant").unwrap();
    evening.agrees(1).await;
    evening.twitch.faults(|faults| {
        faults.lost_before_successor = true;
        faults.successor_welcome = spark::rehearsal::twitch::Welcome::LateMs(1_000);
    });
    evening.twitch.act(Act::Reconnect { socket: None }).unwrap();
    evening.until(|| evening.twitch.counter("lost_before_successor") == 1).await;
    evening.twitch.say(&login(0), "anna", "dans le vide").unwrap();
    evening.until(|| evening.twitch.counter("reconnected") == 1).await;
    let begun = Instant::now();
    while evening.gaps().await.is_empty() {
        assert!(begun.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    evening.twitch.say(&login(0), "anna", "après").unwrap();
    evening.agrees(2).await;
    let gaps = evening.gaps().await;
    let ledger = evening.twitch.ledger();
    let lost = ledger.iter().find(|it| it.taken_by.is_empty()).unwrap();
    assert_eq!(gaps.len(), 1);
    assert!(gaps[0].0 <= lost.at && lost.at <= gaps[0].1, "{gaps:?} holds {}", lost.at);
    let health = evening.health(0).unwrap();
    assert!(health.reconnects == 0 && health.confirmed == health.wanted, "{health:?}");
    evening.ends().await;
}

/// Twitch refuses some kinds while a session opens: they are asked for again on the same session, and what they would have
/// brought meanwhile is told as a gap.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_session_lacks_is_asked_for_again() {
    let people = vec![Person::creator(0)];
    let settings = Settings { channels: people, ..Settings::default() };
    let twitch = Arc::new(PretendTwitch::start(settings).await.unwrap());
    let fault = ForcedAnswer {
        method: Some("POST".to_owned()),
        path: "eventsub/subscriptions".to_owned(),
        status: 400,
        remaining: None,
        times: 3,
        after_doing_it: false,
    };
    twitch.faults(|faults| faults.answers.push(fault));
    let pool = support::fresh_database().await;
    let evening = Evening::by(Owners::of(twitch, &pool, 1), &pool, Transport::Sockets);
    evening.until(|| evening.health(0).is_some_and(|it| it.confirmed > 0)).await;
    let opened = evening.health(0).unwrap();
    assert_eq!(evening.twitch.counter("answer_400"), 3);
    assert!(opened.confirmed < opened.wanted && !opened.refused.is_empty(), "{opened:?}");
    evening.until(|| evening.health(0).is_some_and(|it| it.confirmed == it.wanted)).await;
    let whole = evening.health(0).unwrap();
    assert_eq!((whole.refused, whole.reconnects), (Vec::new(), 0));
    let begun = Instant::now();
    while evening.gaps().await.is_empty() {
        assert!(begun.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let gaps = evening.gaps().await;
    assert_eq!(gaps.len(), 1);
    let lacked_s = (gaps[0].1 - gaps[0].0).num_seconds();
    assert!((25..60).contains(&lacked_s), "since it opened: {lacked_s} s");
    evening.ends().await;
}
