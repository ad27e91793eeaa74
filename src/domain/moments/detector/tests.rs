//! How the detector behaves on rehearsed streams.

use proptest::prelude::*;

use crate::domain::moments::bounds::Span;
use crate::domain::moments::delay::{Delay, DelayOrigin};
use crate::domain::moments::detector::Detector;
use crate::domain::moments::lexicon::Mood;
use crate::domain::moments::moment::{Moment, MomentKind};
use crate::domain::moments::params::Params;
use crate::domain::moments::reasons::ReasonKind;
use crate::domain::moments::rehearsed::{Cue, Dice, Stream, hear_all};
use crate::domain::moments::signal::{AudienceEvent, ChatterId, Vote, VoteKind};
use crate::domain::moments::windows::{LONG_WINDOW_S, MESSAGES_PER_SECOND_MAX};

const TALK_PER_MINUTE: u64 = 40;

fn ten_minutes_of_talk() -> Stream {
    Stream::new().talk(0, 1_200, TALK_PER_MINUTE)
}

fn set_delay(seconds: f64) -> Params {
    Params { delay: Delay::set(seconds), ..Params::default() }
}

/// The best score of what is told between two seconds; 0 for nothing.
fn best_between(moments: &[Moment], from_s: f64, to_s: f64) -> f64 {
    moments
        .iter()
        .filter(|moment| (from_s..to_s).contains(&moment.peak_s))
        .map(|moment| moment.score)
        .fold(0.0, f64::max)
}

fn share(moment: &Moment, kind: ReasonKind) -> f64 {
    moment.reasons.iter().find(|reason| reason.kind == kind).map_or(0.0, |reason| reason.share)
}

fn vote(by: u64, is_trusted: bool, kind: VoteKind) -> Cue {
    Cue::Vote(Vote { by: ChatterId(by), is_trusted, kind })
}

#[test]
fn a_burst_of_emotes_is_one_moment() {
    let params = Params { delay: Delay::set(8.0), ..Params::live() };

    let moments = ten_minutes_of_talk().laughter(900, 60).heard_by(params);

    let [moment] = &moments[..] else { panic!("{moments:?}") };
    assert!((moment.peak_s - 897.0).abs() <= 4.0, "{moment:?}");
    assert!((moment.onset_s - 900.0).abs() <= 4.0, "{moment:?}");
    assert!((moment.event_s - 892.0).abs() <= 3.0, "{moment:?}");
    assert!(moment.span.holds(moment.event_s));
    assert_eq!(moment.kind, MomentKind::Highlight);
    assert_eq!(moment.mood, Some(Mood::Laughter));
    assert_eq!(moment.delay.origin, DelayOrigin::Set);
}

#[test]
fn a_moment_is_told_half_a_minute_after_its_burst() {
    let cues = ten_minutes_of_talk().laughter(900, 60).cues();
    let mut detector = Detector::new(Params::live());
    let told = cues.iter().find(|(at_ms, cue)| !detector.hear(cue.signal(*at_ms)).is_empty());
    let told_s = told.map(|(at_ms, _)| at_ms / 1_000).unwrap();
    assert!((925..=935).contains(&told_s), "{told_s}");
}

#[test]
fn the_shares_of_the_reasons_sum_to_the_score() {
    let moments = ten_minutes_of_talk()
        .sound(1_200, &[885], 4)
        .raid(600, 100)
        .laughter(900, 60)
        .says(905.0, 7, "!clip")
        .heard_by(Params::default());
    assert!(moments.len() >= 2, "{moments:?}");
    for moment in &moments {
        let sum: f64 = moment.reasons.iter().map(|reason| reason.share).sum();
        assert!((sum - moment.score).abs() < 1e-12, "{moment:?}");
    }
    let laughter = moments.iter().find(|moment| (moment.peak_s - 897.0).abs() < 5.0).unwrap();
    assert_eq!(share(laughter, ReasonKind::Votes), 0.4);
    let chatters = laughter.reasons.iter().find(|reason| reason.kind == ReasonKind::Chatters);
    let measure = chatters.unwrap().measure;
    assert!((2.0..8.0).contains(&measure), "{measure} × the usual chatters");
}

#[test]
fn one_user_at_fifty_messages_a_second_raises_nothing() {
    let flood = |mut stream: Stream| {
        for message in 0..3_000 {
            stream = stream.says(600.0 + f64::from(message) / 50.0, 9_999, "LUL POG KEKW");
        }
        stream
    };

    let alone = flood(Stream::new()).heard_by(Params::default());
    let among_others = flood(ten_minutes_of_talk()).heard_by(Params::live());

    assert!(alone.is_empty(), "{alone:?}");
    assert!(among_others.is_empty(), "{among_others:?}");
}

#[test]
fn walls_raids_and_gift_bombs_stay_under_a_laughter_half_their_size() {
    let mut gifts = ten_minutes_of_talk().crowd(600, 15.0, 100, 40_000, &["merci !!", "GG"]);
    for _ in 0..100 {
        gifts = gifts.cue(600.0, Cue::Audience(AudienceEvent::Sub));
    }
    let streams = [
        (ten_minutes_of_talk().wall(600, 100).laughter(1_000, 50), "wall"),
        (ten_minutes_of_talk().raid(600, 500).laughter(1_000, 250), "raid"),
        (gifts.laughter(1_000, 50), "gifts"),
    ];
    for (stream, name) in streams {
        let moments = stream.heard_by(Params::default());
        let other = best_between(&moments, 570.0, 680.0);
        let laughter = best_between(&moments, 980.0, 1_010.0);
        assert!(laughter > 3.0 && other < laughter, "{name}: {other} laughter: {laughter}");
    }
}

#[test]
fn a_raid_is_support_and_laughter_within_it_a_highlight() {
    let moments = ten_minutes_of_talk().raid(600, 100).heard_by(Params::default());
    let raid = moments.iter().find(|moment| (590.0..620.0).contains(&moment.peak_s)).unwrap();
    assert_eq!(raid.kind, MomentKind::Support);
    assert!(share(raid, ReasonKind::Support) < 0.0);

    let moments = ten_minutes_of_talk().raid(600, 20).laughter(640, 150).heard_by(Params::live());
    let laughter = moments.iter().find(|moment| (630.0..650.0).contains(&moment.peak_s)).unwrap();
    assert_eq!(laughter.kind, MomentKind::Highlight);
}

#[test]
fn silence_and_the_first_minute_raise_nothing() {
    let mut silent = Detector::new(Params::default());
    let told: usize =
        (0..20_000).map(|second| silent.hear(Cue::Nothing.signal(second * 1_000)).len()).sum();
    assert_eq!(told + silent.finish().len(), 0);

    let moments = Stream::new().talk(0, 300, 40).laughter(30, 100).heard_by(Params::live());
    assert!(moments.is_empty(), "{moments:?}");
}

#[test]
fn steady_talk_is_below_the_live_threshold() {
    let moments = Stream::new().talk(0, 7_200, 60).heard_by(Params::live());
    assert!(moments.is_empty(), "{moments:?}");
}

#[test]
fn bots_and_commands_are_not_chat() {
    let bots = ["nightbot", "StreamElements", "wizebot", "moobot", "fossabot", "streamlabs"];
    let mut stream = Stream::new().talk(0, 600, 20);
    for second in 700..710 {
        for bot in bots {
            stream = stream.says(f64::from(second), ChatterId::of_login(bot).0, "LUL PogChamp");
        }
    }
    stream = stream.crowd(800, 10.0, 100, 50_000, &["!uptime", "!discord", "!LUL"]);
    let moments = stream.heard_by(Params::default());
    assert_eq!(best_between(&moments, 650.0, 850.0), 0.0, "{moments:?}");
}

#[test]
fn late_equal_and_backward_times_are_harmless() {
    let in_order = ten_minutes_of_talk().laughter(900, 60).cues();
    let (expected, _) = hear_all(Detector::new(Params::live()), &in_order);

    let mut dice = Dice::new(5);
    let mut late = in_order.clone();
    late.sort_by_cached_key(|(at_ms, _)| at_ms + dice.below(1_500));
    let (moments, _) = hear_all(Detector::new(Params::live()), &late);
    assert_eq!(moments.len(), expected.len());
    assert!((moments[0].peak_s - expected[0].peak_s).abs() <= 2.0);

    let mut broken = in_order;
    for (index, at_ms) in [(100, u64::MAX), (200, 0), (300, 900_000_000), (301, 5)] {
        let nonsense = Cue::Says { chatter: 1, text: "LUL".to_owned(), is_trusted: true };
        broken.insert(index, (at_ms, nonsense));
    }
    let (moments, _) = hear_all(Detector::new(Params::live()), &broken);
    assert_eq!(moments.len(), expected.len());
}

#[test]
fn a_clock_that_really_leaps_is_followed_once_confirmed() {
    let mut detector = Detector::new(Params::default());
    let hello = |chatter| Cue::Says { chatter, text: "salut".to_owned(), is_trusted: false };
    detector.hear(hello(1).signal(0));
    detector.hear(hello(2).signal(100_000_000));
    assert_eq!(detector.now, Some(0));
    detector.hear(hello(3).signal(100_001_000));
    assert_eq!(detector.now, Some(100_001));
}

#[test]
fn memory_is_bounded_under_a_flood_of_new_users_and_tokens() {
    let mut detector = Detector::new(Params::default());
    let mut next = 0_u64;
    let mut most = 0;
    for second in 0..90 {
        for _ in 0..3_000 {
            next += 1;
            let words: Vec<String> = (0..40).map(|word| format!("{next}x{word}")).collect();
            let text = words.join(" ");
            let cue = Cue::Says { chatter: next, text, is_trusted: false };
            detector.hear(cue.signal(second * 1_000));
        }
        most = most.max(detector.windows.held());
    }
    let messages = MESSAGES_PER_SECOND_MAX as usize * (LONG_WINDOW_S as usize + 1);
    assert!(most <= messages * (3 + 2 * 16), "{most}");
    for viewer in 0..100_000 {
        let cue = vote(viewer, false, VoteKind::Command);
        detector.hear(cue.signal(90_000));
    }
    assert!(detector.votes.held() <= 512);
}

#[test]
fn a_viewer_votes_once_and_the_creator_at_once() {
    let score = |stream: Stream| {
        best_between(&stream.laughter(900, 40).heard_by(Params::default()), 880.0, 910.0)
    };
    let without = score(ten_minutes_of_talk());
    let mut stream = ten_minutes_of_talk();
    for second in 0..20 {
        stream = stream.says(900.0 + f64::from(second), 3, "!clip");
    }
    let nagged = score(stream);
    let trusted = Cue::Says { chatter: 3, text: "!CLIP ça".to_owned(), is_trusted: true };
    let creator = score(ten_minutes_of_talk().cue(905.0, trusted));
    assert!((nagged - without - 0.4).abs() < 1e-9, "{nagged} {without}");
    assert!((creator - without - 2.0).abs() < 1e-9, "{creator} {without}");
}

#[test]
fn a_marker_of_the_creator_is_a_moment_even_in_a_silent_chat() {
    let marker = vote(1, true, VoteKind::Marker);
    let moments = Stream::new().cue(500.0, marker.clone()).heard_by(set_delay(12.0));
    let [moment] = &moments[..] else { panic!("{moments:?}") };
    assert!((moment.event_s - 497.0).abs() <= 1.0, "{moment:?}");
    assert_eq!(moment.score, 2.0);
    let live = Stream::new().cue(500.0, marker).heard_by(Params::live());
    assert_eq!(live.len(), 1);
    let one_viewer = Stream::new().says(500.0, 1, "!clip").heard_by(Params::default());
    assert!(one_viewer.is_empty());
}

#[test]
fn a_viewers_clip_counts_where_it_was_cut_however_late_it_comes() {
    let span = Span { start_s: 880.0, end_s: 910.0 };
    let clip = vote(77, false, VoteKind::Clip(span));
    let moments = ten_minutes_of_talk()
        .laughter(905, 40)
        .cue(990.0, clip)
        .heard_by(Params { delay: Delay::set(10.0), ..Params::live() });
    let [first, again] = &moments[..] else { panic!("{moments:?}") };
    assert_eq!(first.peak_s, again.peak_s);
    assert!((again.score - first.score - 0.4).abs() < 1e-9);
}

#[test]
fn sound_is_a_quarter_of_the_score_at_most_and_never_alone() {
    let bursts = [300, 600, 892];
    let moments =
        ten_minutes_of_talk().sound(1_200, &bursts, 6).laughter(900, 40).heard_by(set_delay(8.0));
    let laughter = moments.iter().find(|moment| (moment.peak_s - 897.0).abs() < 5.0).unwrap();
    let loudness = share(laughter, ReasonKind::Loudness);
    assert!(loudness > 0.5, "{laughter:?}");
    for moment in &moments {
        assert!(share(moment, ReasonKind::Loudness) <= 0.25 * moment.score + 1e-9, "{moment:?}");
    }
    assert_eq!(laughter.event_s, 892.0, "the sound says when it was");

    let alone = Stream::new().sound(1_200, &bursts, 6).heard_by(Params::default());
    assert!(alone.is_empty(), "{alone:?}");
}

#[test]
fn sound_carries_a_thin_chat() {
    let thin = || Stream::new().talk(0, 1_200, 2).crowd(900, 6.0, 3, 60_000, &["mdr", "LUL"]);
    let without = thin().heard_by(set_delay(8.0));
    assert_eq!(best_between(&without, 880.0, 910.0), 0.0, "{without:?}");
    let with = thin().sound(1_200, &[892], 5).heard_by(set_delay(8.0));
    assert!(best_between(&with, 880.0, 910.0) > 0.0, "{with:?}");
}

#[test]
fn the_delay_is_calibrated_while_the_stream_runs() {
    for lag_s in [4, 15, 25] {
        let mut dice = Dice::new(lag_s);
        let bursts: Vec<u64> = (1..24).map(|burst| burst * 75 + dice.below(40)).collect();
        let mut stream = Stream::new().talk(0, 1_900, 40).sound(1_900, &bursts, 4);
        for &burst in &bursts {
            stream = stream.laughter(burst + lag_s, 25);
        }
        let (_, detector) = hear_all(Detector::new(Params::default()), &stream.cues());
        let delay = detector.delay();
        assert_eq!(delay.origin, DelayOrigin::Calibrated);
        assert!((delay.seconds - lag_s as f64).abs() <= 3.0, "{lag_s}: {delay:?}");
    }
}

#[test]
fn a_delay_that_was_set_stays() {
    let stream = ten_minutes_of_talk().sound(1_200, &[200, 300, 450, 600, 800], 4);
    let (_, detector) = hear_all(Detector::new(set_delay(3.0)), &stream.cues());
    assert_eq!(detector.delay(), Delay::set(3.0));
}

fn any_cue() -> impl Strategy<Value = Cue> {
    let text = prop_oneof!["[a-z ]{0,20}", Just("LUL".to_owned()), Just("!clip".to_owned()), ".*"];
    let kind = prop_oneof![
        Just(VoteKind::Command),
        Just(VoteKind::Marker),
        (any::<f64>(), any::<f64>())
            .prop_map(|(start_s, end_s)| VoteKind::Clip(Span { start_s, end_s })),
    ];
    prop_oneof![
        8 => (0..30_u64, text, any::<bool>())
            .prop_map(|(chatter, text, is_trusted)| Cue::Says { chatter, text, is_trusted }),
        1 => (0..9_u32).prop_map(|count| Cue::Audience(AudienceEvent::GiftBomb { count })),
        1 => Just(Cue::Audience(AudienceEvent::Raid { viewers: 3 })),
        1 => (0..30_u64, any::<bool>(), kind).prop_map(|(by, trusted, kind)| vote(by, trusted, kind)),
        2 => any::<f32>().prop_map(Cue::Loudness),
    ]
}

fn any_time() -> impl Strategy<Value = u64> {
    prop_oneof![20 => 0..600_000_u64, 1 => any::<u64>()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn equal_signals_give_equal_moments_whatever_they_are(
        cues in prop::collection::vec((any_time(), any_cue()), 0..300),
        is_in_order in any::<bool>(),
    ) {
        let mut cues = cues;
        if is_in_order {
            cues.sort_by_key(|(at_ms, _)| *at_ms);
        }
        let (moments, _) = hear_all(Detector::new(Params::default()), &cues);
        let (again, _) = hear_all(Detector::new(Params::default()), &cues);
        prop_assert_eq!(&moments, &again);
        for moment in &moments {
            let sum: f64 = moment.reasons.iter().map(|reason| reason.share).sum();
            prop_assert!((sum - moment.score).abs() < 1e-9);
            prop_assert!(moment.score.is_finite() && moment.event_s >= 0.0);
            prop_assert!(moment.span.holds(moment.event_s));
        }
    }
}
