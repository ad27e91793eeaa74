//! The pretend stream keeps its promises: repeatable, seen, heard, and reacted to.

use super::plot::{Distraction, Happening};
use super::*;

fn small() -> PretendStream {
    PretendStream::new(Script { width: 320, height: 180, ..Script::default() })
}

/// Luma of a frame.
fn frame(stream: &PretendStream, seconds: f64) -> Vec<u8> {
    let width = stream.script().width as usize;
    let size = width * stream.script().height as usize;
    let mut planes = [vec![0; size], vec![0; size / 4], vec![0; size / 4]];
    let [y, u, v] = &mut planes;
    let number = (seconds * f64::from(stream.script().frames_per_second)) as u64;
    stream
        .picture(number, &mut Yuv420 { planes: [y, u, v], strides: [width, width / 2, width / 2] });
    planes.concat()
}

fn difference(a: &[u8], b: &[u8]) -> f64 {
    let sum: u64 = a.iter().zip(b).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    sum as f64 / a.len() as f64
}

fn second_of_sound(stream: &PretendStream, from_s: f64) -> Vec<f32> {
    let mut out = vec![0.0; 2 * SAMPLE_RATE as usize];
    stream.sound((from_s * f64::from(SAMPLE_RATE)) as u64, &mut out);
    out
}

fn peak(samples: &[f32]) -> f32 {
    samples.iter().fold(0.0, |peak, sample| peak.max(sample.abs()))
}

fn rms(samples: &[f32]) -> f32 {
    (samples.iter().map(|sample| sample * sample).sum::<f32>() / samples.len() as f32).sqrt()
}

/// Messages that start in each of the seconds `from..to` after the chat delay.
fn messages_between(stream: &PretendStream, from_s: f64, to_s: f64) -> Vec<&PretendMessage> {
    let window = (from_s * 1000.0) as i64..(to_s * 1000.0) as i64;
    stream.chat().iter().filter(|message| window.contains(&message.offset_ms)).collect()
}

#[test]
fn the_same_script_gives_the_same_stream_and_another_seed_another() {
    let (one, two) = (small(), small());
    assert_eq!(one.chat(), two.chat());
    assert_eq!(frame(&one, 76.4), frame(&two, 76.4));
    assert_eq!(second_of_sound(&one, 50.0), second_of_sound(&two, 50.0));

    let other = PretendStream::new(Script { seed: 7, ..*one.script() });
    assert_ne!(one.chat(), other.chat());
    assert_ne!(second_of_sound(&one, 50.0), second_of_sound(&other, 50.0));
}

#[test]
fn sound_is_the_same_in_any_pieces() {
    let stream = small();
    for from_s in [0.0, 75.5, 102.5, 133.0] {
        let whole = second_of_sound(&stream, from_s);
        let mut pieces = Vec::new();
        let first = (from_s * f64::from(SAMPLE_RATE)) as u64;
        while pieces.len() < whole.len() {
            let length = 2 * (1 + pieces.len() % 1023);
            let mut piece = vec![9.0; length.min(whole.len() - pieces.len())];
            stream.sound(first + pieces.len() as u64 / 2, &mut piece);
            pieces.extend(piece);
        }
        assert_eq!(whole, pieces, "from {from_s} s");
    }
}

#[test]
fn sound_has_no_clipping_and_a_hit_at_each_event() {
    let stream = small();
    for second in 0..stream.script().seconds {
        let sound = second_of_sound(&stream, f64::from(second));
        assert!(sound.iter().all(|sample| sample.is_finite()), "second {second}");
        assert!(peak(&sound) <= 0.85, "second {second}");
    }
    for truth in stream.truth() {
        let climax = truth.climax_ms as f64 / 1000.0;
        let hit = second_of_sound(&stream, climax);
        let before = second_of_sound(&stream, truth.from_ms as f64 / 1000.0 - 3.0);
        assert!(peak(&hit) > 0.6, "{}: {}", truth.title, peak(&hit));
        assert!(rms(&hit) > 1.5 * rms(&before), "{}", truth.title);
    }
}

#[test]
fn speech_leaves_quiet_instants_to_cut_at() {
    let stream = small();
    let quiet = (0..240)
        .filter(|&second| {
            second_of_sound(&stream, f64::from(second))
                .chunks(SAMPLE_RATE as usize / 5)
                .any(|tenth| rms(tenth) < 0.025)
        })
        .count();
    assert!(quiet > 100, "{quiet} of 240 seconds hold a quiet instant");
}

#[test]
fn every_event_is_seen() {
    let stream = small();
    let calm: f64 = (0..8)
        .map(|index| {
            let at = 4.0 + f64::from(index);
            difference(&frame(&stream, at), &frame(&stream, at + 1.0))
        })
        .fold(0.0, f64::max);
    for truth in stream.truth() {
        let before = frame(&stream, truth.from_ms as f64 / 1000.0 - 1.0);
        let during = frame(&stream, truth.climax_ms as f64 / 1000.0 + 0.4);
        let change = difference(&before, &during);
        assert!(change > 1.25 * calm, "{}: {change} against {calm} when calm", truth.title);
    }
}

#[test]
fn the_lights_go_out_and_come_back() {
    let stream = small();
    let cut = stream.plot.events.iter().find(|e| e.kind == Happening::PowerCut).unwrap();
    let light = |at: f64| {
        let picture = frame(&stream, f64::from(cut.from) + at);
        let luma = &picture[..320 * 180];
        luma.iter().map(|value| u64::from(*value)).sum::<u64>() / luma.len() as u64
    };
    assert!(light(1.5) < light(-1.0) / 2);
    assert!(light(5.0) > light(1.5) * 2);
}

#[test]
fn drawing_stays_inside_the_lines_of_any_size() {
    for (width, height, margin) in [(64, 64, 0), (96, 200, 32), (1280, 720, 64), (1918, 1078, 2)] {
        let stream = PretendStream::new(Script { width, height, ..Script::default() });
        let (across, lines) = (width as usize, height as usize);
        let strides = [across + margin, across / 2 + margin, across / 2 + margin];
        let mut planes = [
            vec![200; strides[0] * lines],
            vec![200; strides[1] * lines / 2],
            vec![200; strides[2] * lines / 2],
        ];
        for seconds in [21, 76, 104, 135, 160, 190, 216] {
            let [y, u, v] = &mut planes;
            stream.picture(seconds * 30, &mut Yuv420 { planes: [y, u, v], strides });
        }
        for (plane, stride) in planes.iter().zip(strides) {
            for line in plane.chunks(stride) {
                assert!(line[stride - margin..].iter().all(|value| *value == 200));
            }
        }
    }
}

#[test]
fn the_chat_answers_each_event_after_the_delay_and_not_before() {
    let stream = small();
    assert!(stream.chat().is_sorted_by_key(|message| message.offset_ms));
    assert!((2_000..6_000).contains(&stream.chat().len()), "{}", stream.chat().len());
    let delay = f64::from(stream.script().chat_delay_ms) / 1000.0;
    for truth in stream.truth() {
        let answer = truth.climax_ms as f64 / 1000.0 + delay;
        let burst = messages_between(&stream, answer, answer + 5.0).len();
        let before = messages_between(&stream, answer - 5.0, answer).len();
        assert!(burst > 2 * before, "{}: {before} then {burst}", truth.title);
    }
}

#[test]
fn the_delay_of_the_chat_is_the_scripts() {
    let slow = PretendStream::new(Script { chat_delay_ms: 15_000, ..*small().script() });
    let truth = &slow.truth()[0];
    let answer = truth.climax_ms as f64 / 1000.0 + 15.0;
    let burst = messages_between(&slow, answer, answer + 5.0).len();
    assert!(burst > 2 * messages_between(&slow, answer - 5.0, answer).len());
}

#[test]
fn distractions_fall_between_the_answers_to_events() {
    let stream = small();
    let delay = f64::from(stream.script().chat_delay_ms) / 1000.0;
    assert_eq!(stream.plot.distractions.len(), 3);
    for &(kind, at) in &stream.plot.distractions {
        let at = f64::from(at);
        for truth in stream.truth() {
            let answer = truth.climax_ms as f64 / 1000.0 + delay;
            assert!(at + 4.0 < answer || at > answer + 7.0, "{kind:?} within {}", truth.title);
        }
        let notices = |notice| {
            messages_between(&stream, at, at + 5.0).iter().filter(|m| m.notice == notice).count()
        };
        match kind {
            Distraction::Raid => assert_eq!(notices(Some("raid")), 1),
            Distraction::GiftBomb => assert_eq!(notices(Some("subgift")), 50),
            Distraction::Wall => {
                let said = messages_between(&stream, at, at + 8.0);
                let most = said.iter().filter(|m| m.text == phrases::WALL).count();
                assert!(most > 20, "{most} copies");
            }
        }
    }
}

#[test]
fn somebody_asks_for_a_clip_and_many_people_write() {
    let stream = small();
    assert!(stream.chat().iter().filter(|message| message.text == "!clip").count() >= 5);
    let writers: std::collections::BTreeSet<_> =
        stream.chat().iter().map(|message| &message.viewer.id).collect();
    assert!(writers.len() > 400, "{}", writers.len());
    let ids: std::collections::BTreeSet<_> =
        stream.chat().iter().map(|message| &message.message_id).collect();
    assert_eq!(ids.len(), stream.chat().len());
}

#[test]
fn the_export_is_well_formed_json_with_every_message() {
    let stream = small();
    let mut out = Vec::new();
    stream.write_twitch_downloader(&mut out).unwrap();
    let export: serde_json::Value = serde_json::from_slice(&out).unwrap();
    let comments = export["comments"].as_array().unwrap();
    assert_eq!(comments.len(), stream.chat().len());
    assert_eq!(export["video"]["length"], 240);
    for (comment, message) in comments.iter().zip(stream.chat()) {
        let fragments = comment["message"]["fragments"].as_array().unwrap();
        let joined: String = fragments.iter().map(|f| f["text"].as_str().unwrap()).collect();
        assert_eq!(joined, message.text);
        let text: Vec<u16> = message.text.encode_utf16().collect();
        for emote in comment["message"]["emoticons"].as_array().unwrap() {
            let (begin, end) = (emote["begin"].as_u64().unwrap(), emote["end"].as_u64().unwrap());
            let name = String::from_utf16(&text[begin as usize..=end as usize]).unwrap();
            assert!(!name.contains(' '), "{name}");
        }
    }
}

#[test]
fn captions_name_each_event_while_it_is_seen() {
    let stream = small();
    let captions = stream.captions_ass();
    for truth in stream.truth() {
        let line = captions.lines().find(|line| line.ends_with(&format!("}}{} !", truth.title)));
        let line = line.unwrap_or_else(|| panic!("no title for {}", truth.title));
        let start = line.split(',').nth(1).unwrap();
        let mut parts = start.split(':').map(|part| part.parse::<f64>().unwrap());
        let (hours, minutes) = (parts.next().unwrap(), parts.next().unwrap());
        let ms = ((hours * 60.0 + minutes) * 60.0 + parts.next().unwrap()) * 1000.0;
        assert!(ms >= truth.climax_ms as f64 - 10.0 && ms < truth.to_ms as f64, "{line}");
    }
}

#[test]
fn any_length_and_wild_values_make_a_stream() {
    for seconds in [0, 20, 45, 90, 600, 3600] {
        let stream = PretendStream::new(Script {
            seconds,
            width: 65,
            height: 0,
            frames_per_second: 0,
            chat_rate: f32::NAN,
            ..Script::default()
        });
        let end_ms = i64::from(stream.script().seconds) * 1000;
        assert!(!stream.truth().is_empty());
        assert!(stream.truth().iter().all(|truth| truth.climax_ms < end_ms));
        assert!(stream.truth().is_sorted_by_key(|truth| truth.from_ms));
        assert!(stream.chat().iter().all(|message| (0..end_ms).contains(&message.offset_ms)));
    }
}

#[test]
fn the_two_views_do_not_overlap_and_lie_in_the_picture() {
    for (width, height) in [(1280, 720), (640, 360), (1920, 1080), (320, 180)] {
        let stream = PretendStream::new(Script { width, height, ..Script::default() });
        let (face, stage) = (stream.face_rect(), stream.content_rect());
        for rect in [face, stage] {
            assert!(rect.x + rect.width <= width && rect.y + rect.height <= height);
            assert!([rect.x, rect.y, rect.width, rect.height].iter().all(|side| side % 2 == 0));
        }
        assert!(face.x + face.width <= stage.x);
    }
}
