//! Cuts are exact to the frame, whatever the source; what cannot be copied is encoded and says why.

mod footage;

use std::path::Path;

use footage::{BEEPS, Folder, assert_delivers, beeps, ffmpeg, make, numbers, probe};
use spark::adapters::ffmpeg::{EngineSettings, FfmpegEngine};
use spark::domain::clips::footage::KeyFrameIndex;
use spark::ports::media_engine::{
    CutMethod, CutOrder, CutReport, InspectOrder, JobWatch, MediaEngine, MediaError, ReencodeReason,
};

const X264_B: &str = "-c:v libx264 -preset veryfast -bf 2 -g 60 -sc_threshold 0 -c:a aac";
const X264_NO_B: &str =
    "-c:v libx264 -preset veryfast -tune zerolatency -g 60 -sc_threshold 0 -c:a aac";

fn engine() -> FfmpegEngine {
    FfmpegEngine::new(EngineSettings::new(env!("CARGO_BIN_EXE_spark").into())).unwrap()
}

async fn cut(source: &Path, output: &Path, from: f64, to: f64) -> Result<CutReport, MediaError> {
    let order = CutOrder {
        source: source.to_owned(),
        key_frames: KeyFrameIndex::default(),
        origin_s: None,
        start_s: from,
        end_s: to,
        output: output.to_owned(),
    };
    engine().cut(order, &JobWatch::unwatched()).await
}

/// Cuts frames `from..to` of numbered footage at 30 fps and compares every number.
#[track_caller]
fn check_numbers(output: &Path, from: usize, to: usize) {
    let found = numbers(output);
    let wanted: Vec<usize> = (from..to).collect();
    assert_eq!(found.len(), wanted.len(), "first {:?}, last {:?}", found.first(), found.last());
    assert_eq!(found, wanted);
    assert_delivers(output);
    assert_eq!(probe(output, "v:0", "r_frame_rate"), "30/1");
    assert_eq!(probe(output, "v:0", "avg_frame_rate"), "30/1");
    let seconds = (to - from) as f64 / 30.0;
    for stream in ["v:0", "a:0"] {
        let found: f64 = probe(output, stream, "duration").parse().unwrap();
        assert!((found - seconds).abs() < 0.034, "{stream} lasts {found} s, not {seconds} s");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_edge_is_exact_with_and_without_b_frames() {
    let folder = Folder::new();
    for (name, encoder) in [("b.mp4", X264_B), ("plain.mp4", X264_NO_B)] {
        let source = folder.file(name);
        make(&source, 360, 30, BEEPS, encoder);
        // On key frames; from inside one group to inside another; one frame off; one group from its key frame;
        // from the very start; to the very end.
        for (from, to) in [
            (60, 240),
            (77, 203),
            (59, 181),
            (61, 179),
            (120, 150),
            (0, 100),
            (215, 360),
            (119, 122),
        ] {
            let output = folder.file("clip.mp4");
            let report = cut(&source, &output, from as f64 / 30.0, to as f64 / 30.0).await.unwrap();
            assert_eq!(report.method, CutMethod::SmartCut, "{name} {from}..{to}");
            assert_eq!(report.frames, (to - from) as u64);
            check_numbers(&output, from, to);
        }
        let output = folder.file("inside.mp4");
        let report = cut(&source, &output, 130.0 / 30.0, 150.0 / 30.0).await.unwrap();
        assert_eq!(report.method, CutMethod::Reencoded { reason: ReencodeReason::SingleGroup });
        check_numbers(&output, 130, 150);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whole_groups_are_the_sources_own_pictures() {
    let folder = Folder::new();
    let (source, output) = (folder.file("source.mp4"), folder.file("clip.mp4"));
    make(&source, 360, 30, BEEPS, X264_B);
    let report = cut(&source, &output, 77.0 / 30.0, 301.0 / 30.0).await.unwrap();
    assert!(report.frames_copied >= 180 && report.frames_encoded <= 50, "{report:?}");
    let hashes = |file: &Path| -> Vec<String> {
        let text =
            footage::ffmpeg(&["-i", file.to_str().unwrap(), "-map", "0:v", "-f", "framemd5", "-"]);
        let text = String::from_utf8(text).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| line.rsplit(',').next().unwrap().trim().to_owned()).collect()
    };
    let (before, after) = (hashes(&source), hashes(&output));
    let equal = after.iter().zip(&before[77..]).filter(|(a, b)| a == b).count();
    assert!(
        equal as u64 >= report.frames_copied,
        "{equal} of {} pictures are untouched",
        after.len()
    );
    // The encoded edge looks like the source: PSNR against the same frames.
    let filter = "[1:v]trim=start_frame=77:end_frame=301,setpts=N/30/TB[b];[0:v]setpts=N/30/TB[a];[a][b]psnr=stats_file=-";
    let (clip, whole) = (output.to_str().unwrap(), source.to_str().unwrap());
    let text = footage::ffmpeg(&["-i", clip, "-i", whole, "-lavfi", filter, "-f", "null", "-"]);
    let worst = String::from_utf8(text)
        .unwrap()
        .split("psnr_avg:")
        .skip(1)
        .map(|rest| rest.split_whitespace().next().unwrap().parse::<f64>().unwrap_or(100.0))
        .fold(100.0, f64::min);
    assert!(worst > 38.0, "worst picture at {worst} dB");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_containers_are_cut_exactly_too() {
    let folder = Folder::new();
    for name in ["source.mkv", "source.ts", "source.flv", "source.mov"] {
        let source = folder.file(name);
        make(&source, 360, 30, BEEPS, X264_B);
        let output = folder.file("clip.mp4");
        let inspection = engine()
            .inspect(InspectOrder { source: source.clone() }, &JobWatch::unwatched())
            .await
            .unwrap();
        assert_eq!(inspection.key_frames.0.len(), 6, "{name}");
        let order = CutOrder {
            source: source.clone(),
            key_frames: inspection.key_frames,
            origin_s: None,
            start_s: 77.0 / 30.0,
            end_s: 203.0 / 30.0,
            output: output.clone(),
        };
        let report = engine().cut(order, &JobWatch::unwatched()).await.unwrap();
        assert_eq!(report.method, CutMethod::SmartCut, "{name} {report:?}");
        check_clip(name, &output);
    }
}

/// Containers differ in where they put frame 0 (sound may begin earlier): what counts is that 126 frames follow
/// each other and that picture and sound agree.
#[track_caller]
fn check_clip(name: &str, output: &Path) {
    let found = numbers(output);
    assert_eq!(found.len(), 126, "{name}");
    assert!(found[0].abs_diff(77) <= 1, "{name} starts at {}", found[0]);
    assert!(found.windows(2).all(|pair| pair[1] == pair[0] + 1), "{name}");
    check_sync(output, 0.04);
}

/// Flashes and beeps of each whole second meet.
#[track_caller]
fn check_sync(output: &Path, seconds_max: f64) {
    let rate = probe(output, "v:0", "avg_frame_rate");
    let (num, den) = rate.split_once('/').unwrap();
    let rate = num.parse::<f64>().unwrap() / den.parse::<f64>().unwrap();
    let flashes: Vec<f64> = numbers(output)
        .iter()
        .enumerate()
        .filter(|(_, number)| *number % 30 == 0)
        .map(|(index, _)| index as f64 / rate)
        // The encoder's own delay lies over the first 21 ms of sound.
        .filter(|flash| *flash > 0.05)
        .collect();
    let beeps = beeps(output);
    assert!(!flashes.is_empty());
    for flash in flashes {
        let distance = beeps.iter().map(|beep| (beep - flash).abs()).fold(f64::INFINITY, f64::min);
        assert!(
            distance <= seconds_max,
            "the flash at {flash} s is {distance} s from its beep in {beeps:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_and_picture_stay_together() {
    let folder = Folder::new();
    let (source, output) = (folder.file("source.mp4"), folder.file("clip.mp4"));
    make(&source, 360, 30, BEEPS, X264_B);
    for (from, to) in [(60, 240), (77, 303)] {
        cut(&source, &output, from as f64 / 30.0, to as f64 / 30.0).await.unwrap();
        check_sync(&output, 0.012);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_copied_is_encoded_and_says_why() {
    let folder = Folder::new();
    let cases = [
        (
            "open.mp4",
            "-c:v libx264 -preset veryfast -x264-params open-gop=1:bframes=2:keyint=60:scenecut=0 -c:a aac",
            "OpenGop",
        ),
        (
            "hevc.mp4",
            "-c:v libx265 -preset ultrafast -x265-params log-level=none -g 60 -c:a aac",
            "Codec",
        ),
        ("444.mp4", "-c:v libx264 -preset veryfast -pix_fmt yuv444p -g 60 -c:a aac", "PixelFormat"),
        (
            "vfr.mp4",
            "-vf select='not(eq(mod(n\\,7)\\,3))' -vsync vfr -c:v libx264 -preset veryfast -g 60 -c:a aac",
            "VariableFrameRate",
        ),
    ];
    for (name, encoder, wanted) in cases {
        let (source, output) = (folder.file(name), folder.file("clip.mp4"));
        make(&source, 300, 30, BEEPS, encoder);
        let report = cut(&source, &output, 77.0 / 30.0, 203.0 / 30.0).await.unwrap();
        let CutMethod::Reencoded { reason } = &report.method else { panic!("{name}: {report:?}") };
        assert!(format!("{reason:?}").starts_with(wanted), "{name}: {reason:?}");
        assert_delivers(&output);
        let found = numbers(&output);
        if wanted != "VariableFrameRate" {
            assert_eq!(found, (77..203).collect::<Vec<_>>(), "{name}");
        }
        check_sync(&output, 0.04);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_that_an_encoder_dropped_leave_the_rest_copied_and_in_place() {
    let folder = Folder::new();
    let (source, output) = (folder.file("source.mp4"), folder.file("clip.mp4"));
    // Five pictures of three hundred never came: one alone, three in a row, one just before a key frame.
    let dropped = [90, 131, 132, 133, 179];
    let list = dropped.map(|n| format!("eq(n\\,{n})")).join("+");
    let encoder = format!(
        "-vf select='not({list})' -vsync passthrough -enc_time_base 1:30 -video_track_timescale 90000 -c:v libx264 -preset veryfast -force_key_frames expr:gte(t,n_forced*2) -g 600 -c:a aac"
    );
    make(&source, 300, 30, BEEPS, &encoder);
    let report = cut(&source, &output, 77.0 / 30.0, 257.0 / 30.0).await.unwrap();
    assert_eq!(report.method, CutMethod::SmartCut, "{report:?}");
    assert_eq!(report.frames, 180 - dropped.len() as u64);
    assert!((report.duration_s - 6.0).abs() < 1e-6, "{report:?}");
    let wanted: Vec<usize> = (77..257).filter(|n| !dropped.contains(n)).collect();
    assert_eq!(numbers(&output), wanted);
    let places: Vec<usize> = wanted.iter().map(|n| n - 77).collect();
    assert_eq!(shown_at(&output), places, "each where it was, with the gaps between them");
}

/// When each picture is shown, in thirtieths of a second.
fn shown_at(file: &Path) -> Vec<usize> {
    let file = file.to_str().unwrap();
    let list = ffmpeg(&["-i", file, "-map", "0:v:0", "-c", "copy", "-f", "framemd5", "-"]);
    let list = String::from_utf8(list).unwrap();
    let base = list.lines().find_map(|line| line.strip_prefix("#tb 0: 1/")).unwrap();
    let base: f64 = base.parse().unwrap();
    let pictures = list.lines().filter(|line| !line.starts_with('#'));
    let mut shown: Vec<usize> = pictures
        .map(|line| {
            let shown: f64 = line.split(',').nth(2).unwrap().trim().parse().unwrap();
            (shown / base * 30.0).round() as usize
        })
        .collect();
    shown.sort_unstable();
    shown
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_beyond_the_end_says_how_long_the_video_is() {
    let folder = Folder::new();
    let (source, output) = (folder.file("source.mp4"), folder.file("clip.mp4"));
    make(&source, 90, 30, BEEPS, X264_B);
    let error = cut(&source, &output, 20.0, 30.0).await.unwrap_err();
    assert!(
        matches!(error, MediaError::OutOfRange { duration_s, .. } if (duration_s - 3.0).abs() < 0.1),
        "{error}"
    );
    assert!(!output.exists());
    let report = cut(&source, &output, 2.0, 30.0).await.unwrap();
    assert_eq!(report.frames, 30);
}
