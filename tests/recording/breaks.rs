//! A clip over a break of its camera: the longest piece becomes the clip, which says so; too short a piece is refused in words.

use chrono::{DateTime, TimeDelta, Utc};
use spark::domain::clips::{ClipTitle, Span};
use spark::domain::live::track::TICKS_PER_S;
use spark::use_cases::WorkError;

use crate::align::{House, film, record_as};
use crate::recorder::{decodes, packets};
use crate::{camera, recording};

const S: i64 = 1_000_000_000;
const BEGINS_NS: i64 = 1_795_219_185 * S;
/// The camera sends for so long, is away for so long, and sends again.
const BEFORE_S: i64 = 30;
const AWAY_S: i64 = 10;
const AFTER_S: i64 = 40;
const FPS: usize = 30;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_nanos(BEGINS_NS + seconds * S)
}

async fn house() -> House {
    let house = House::build();
    house.add(1, "Salon").await;
    let before = film("before", 11, BEFORE_S, "anull", 5);
    let after = film("after", 12, AFTER_S, "anull", 6);
    let dvr = &house.dvr;
    record_as(dvr, (camera(1), recording(11)), &before, BEGINS_NS, 0.0, 0.02).await;
    let again = BEGINS_NS + (BEFORE_S + AWAY_S) * S;
    record_as(dvr, (camera(1), recording(12)), &after, again, 0.0, 0.02).await;
    // The break is really there.
    let parts = house.alignments.clips.footage.footage.parts(camera(1), 0, i64::MAX).await.unwrap();
    let two = parts.windows(2).find(|two| two[0].recording != two[1].recording).unwrap();
    let away_ns = two[1].utc_ns - two[0].utc_ns - two[0].ticks * S / TICKS_PER_S;
    assert!((9 * S..11 * S).contains(&away_ns), "it was away for {away_ns} ns");
    house
}

/// Cuts these seconds: which piece of them there is, and how many pictures the clip has.
async fn cut(house: &House, from: i64, to: i64) -> Result<(Option<Span>, usize), WorkError> {
    let (clips, card) = (&house.alignments.clips, house.card(1).await);
    let title = ClipTitle::try_new("Une coupure").unwrap();
    clips.request_of_camera(&card, at(from), at(to), title, None).await.unwrap();
    let mut all = house.cut().await;
    assert_eq!(all.len(), 1);
    let (card, file, path) = all.remove(0)?;
    decodes(&path);
    assert_eq!(card.clip.piece(), file.piece.unwrap_or(card.clip.span));
    let (pictures, _) = packets(&path);
    let expected = card.clip.length_ms() as usize * FPS / 1_000;
    assert!(pictures.abs_diff(expected) <= 1, "{pictures} pictures of {expected}");
    Ok((file.piece, pictures))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clip_over_a_break_is_its_longest_piece_and_says_so() {
    let house = house().await;
    let near = |piece: Option<Span>, from_ms: i64, to_ms: i64| {
        let piece = piece.expect("a piece");
        let is_near = |one: i64, other: i64| (one - other).abs() < 120;
        assert!(is_near(piece.from_ms, from_ms) && is_near(piece.to_ms, to_ms), "{piece:?}");
    };
    assert_eq!(cut(&house, 5, 25).await.unwrap().0, None, "no break in it");
    // Twenty seconds, the break, five more.
    let (piece, _) = cut(&house, 10, 45).await.unwrap();
    near(piece, 0, 20_000);
    // Two seconds, the break, twenty more.
    let (piece, _) = cut(&house, 28, 60).await.unwrap();
    near(piece, 12_000, 32_000);
    // It was not there at the beginning.
    let (piece, _) = cut(&house, 35, 60).await.unwrap();
    near(piece, 5_000, 25_000);

    // Fifteen of thirty-five seconds at most: that is not what was asked for.
    let refused = cut(&house, 15, 50).await.unwrap_err();
    let WorkError::Refused(words) = refused else { panic!("{refused:?}") };
    assert!(words.contains("s'est interrompue") && words.contains("sur 35,0 s"), "{words}");
    let refused = cut(&house, 33, 39).await.unwrap_err();
    let WorkError::Refused(words) = refused else { panic!("{refused:?}") };
    assert!(words.contains("n'enregistrait pas"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mark_just_before_a_break_has_its_clip_up_to_there() {
    let house = house().await;
    let marked = at(BEFORE_S) - TimeDelta::seconds(2);
    assert_eq!(house.alignments.clips.mark_cameras(marked, None).await.unwrap(), 1);
    let (card, file, path) = house.cut().await.remove(0).unwrap();
    decodes(&path);
    let missing_ms = card.clip.span.ms() - card.clip.length_ms();
    assert!(file.piece.is_some() && (2_900..3_100).contains(&missing_ms), "{missing_ms} ms");
}
