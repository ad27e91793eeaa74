//! A stream made of two functions is an ordinary file whose pictures and sound meet.

mod footage;

use footage::{Folder, assert_delivers, beeps, ffmpeg, probe};
use spark::adapters::ffmpeg::encode_stream;
use spark::domain::clips::picture::{StreamSpec, Yuv420};

const SPEC: StreamSpec =
    StreamSpec { width: 640, height: 360, fps: 30, frames: 150, video_bit_rate: 1_500_000 };

fn flash(frame: u64, picture: &mut Yuv420<'_>) {
    for row in 0..picture.height {
        let from = row * picture.y_stride;
        picture.y[from..from + picture.width].fill(if frame.is_multiple_of(30) { 235 } else { 40 });
    }
    for row in 0..picture.height / 2 {
        picture.u[row * picture.u_stride..][..picture.width / 2].fill(128);
        picture.v[row * picture.v_stride..][..picture.width / 2].fill(128);
    }
}

fn beep(first: u64, samples: &mut [f32]) {
    for (index, pair) in samples.chunks_exact_mut(2).enumerate() {
        let at = first + index as u64;
        let loud = if at % 48_000 < 4800 { 0.5 } else { 0.0 };
        pair.fill((at as f32 * 0.13).sin() * loud);
    }
}

#[test]
fn a_generated_stream_plays_and_is_in_sync() {
    let folder = Folder::new();
    let out = folder.file("stream.mp4");
    let mut shares = Vec::new();
    encode_stream(&out, &SPEC, None, None, &mut flash, &mut beep, &mut |share| shares.push(share))
        .unwrap();
    assert_delivers(&out);
    assert_eq!(probe(&out, "v:0", "nb_frames"), "150");
    assert_eq!(probe(&out, "v:0", "r_frame_rate"), "30/1");
    assert!((probe(&out, "a:0", "duration").parse::<f64>().unwrap() - 5.0).abs() < 0.03);
    assert_eq!(shares.last(), Some(&1.0));
    let grey = ffmpeg(&[
        "-i",
        out.to_str().unwrap(),
        "-vf",
        "scale=1:1",
        "-f",
        "rawvideo",
        "-pix_fmt",
        "gray",
        "-",
    ]);
    let flashes: Vec<usize> = (0..grey.len()).filter(|index| grey[*index] > 150).collect();
    assert_eq!(flashes, [0, 30, 60, 90, 120]);
    let beeps = beeps(&out);
    assert_eq!(beeps.len(), 5);
    assert!(
        beeps.iter().enumerate().all(|(second, at)| (at - second as f64).abs() < 0.03),
        "{beeps:?}"
    );
    let keys =
        ffmpeg(&["-skip_frame", "nokey", "-i", out.to_str().unwrap(), "-f", "framemd5", "-"]);
    let keys = String::from_utf8(keys).unwrap();
    assert_eq!(keys.lines().filter(|line| line.starts_with('0')).count(), 3);
}

#[test]
fn words_can_be_laid_over_a_stream() {
    let folder = Folder::new();
    let (bare, with_words, script) =
        (folder.file("bare.mp4"), folder.file("words.mp4"), folder.file("words.ass"));
    std::fs::write(
        &script,
        "[Script Info]\nScriptType: v4.00+\nPlayResX: 640\nPlayResY: 360\n\n[V4+ Styles]\nFormat: Name, Fontname, Fontsize, \
         PrimaryColour, Alignment\nStyle: A,Sans,120,&H00FFFFFF,5\n\n[Events]\nFormat: Layer, Start, End, Style, Text\n\
         Dialogue: 0,0:00:01.00,0:00:09.00,A,VILLA\n",
    )
    .unwrap();
    let spec = StreamSpec { frames: 60, ..SPEC };
    let mut dark = |_: u64, picture: &mut Yuv420<'_>| flash(1, picture);
    encode_stream(&bare, &spec, None, None, &mut dark, &mut beep, &mut |_| ()).unwrap();
    encode_stream(&with_words, &spec, Some(&script), None, &mut dark, &mut beep, &mut |_| ())
        .unwrap();
    let light = |file: &std::path::Path| {
        ffmpeg(&[
            "-i",
            file.to_str().unwrap(),
            "-vf",
            "scale=1:1",
            "-f",
            "rawvideo",
            "-pix_fmt",
            "gray",
            "-",
        ])
    };
    let (bare, with_words) = (light(&bare), light(&with_words));
    assert_eq!((bare.len(), with_words.len()), (60, 60));
    assert!(with_words[10].abs_diff(bare[10]) < 3, "words came too early");
    assert!(with_words[40] > bare[40] + 5, "no words: {} and {}", with_words[40], bare[40]);
}
