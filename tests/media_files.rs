//! What an inspection finds, and what it says of files that are broken or are something else.

mod footage;

use std::path::Path;

use footage::{BEEPS, Folder, ffmpeg, make};
use spark::adapters::ffmpeg::{EngineSettings, FfmpegEngine};
use spark::domain::clips::footage::Inspection;
use spark::ports::media_engine::{
    GlanceOrder, InspectOrder, JobWatch, LEVEL_DB_MIN, MediaEngine, MediaError, PosterOrder,
    SceneCutsOrder,
};

const X264: &str = "-c:v libx264 -preset veryfast -bf 2 -g 60 -sc_threshold 0 -c:a aac";

fn engine() -> FfmpegEngine {
    FfmpegEngine::new(EngineSettings::new(env!("CARGO_BIN_EXE_spark").into())).unwrap()
}

async fn inspect(source: &Path) -> Result<Inspection, MediaError> {
    engine().inspect(InspectOrder { source: source.to_owned() }, &JobWatch::unwatched()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inspection_knows_tracks_key_frames_and_loudness() {
    let folder = Folder::new();
    let source = folder.file("source.mp4");
    let loud_middle = "aevalsrc='(0.01+0.4*between(t,4,6))*sin(2*PI*997*t)':s=48000:c=stereo";
    make(&source, 300, 30, loud_middle, X264);
    let found = inspect(&source).await.unwrap();
    assert!((found.duration_s - 10.0).abs() < 0.05, "{}", found.duration_s);
    assert_eq!((&found.video.codec[..], found.video.width, found.video.height), ("h264", 320, 192));
    assert_eq!(
        (found.video.frame_rate.num, found.video.frame_rate.den, found.video.frames),
        (30, 1, 300)
    );
    assert!(!found.video.variable_rate && !found.video.open_gop);
    assert_eq!((found.audio.sample_rate_hz, found.audio.channels), (48_000, 2));
    let keys: Vec<f64> = found.key_frames.0.iter().map(|key| key.time_s).collect();
    assert_eq!(keys, [0.0, 2.0, 4.0, 6.0, 8.0]);
    // A stereo sine of amplitude a measures 20·log10(a) LUFS (BS.1770 calibration: −3.01 per channel, two channels).
    let series = &found.loudness.lufs;
    assert!((99..=101).contains(&series.len()), "{} values for 10 s", series.len());
    assert!((series[54] - 20.0 * 0.41_f32.log10()).abs() < 0.2, "{}", series[54]);
    assert!((series[30] - 20.0 * 0.01_f32.log10()).abs() < 0.3, "{}", series[30]);
    let quiet = found.loudness.quietest_within(3.5, 6.5).unwrap();
    assert!(!(4.0..=6.0).contains(&quiet), "{quiet}");
}

#[tokio::test(flavor = "multi_thread")]
async fn our_meter_agrees_with_a_reference() {
    let folder = Folder::new();
    let source = folder.file("noise.mp4");
    make(
        &source,
        300,
        30,
        "anoisesrc=c=pink:a=0.5:r=44100,volume='0.2+0.8*between(mod(t,3),1,2)':eval=frame",
        X264,
    );
    let found = inspect(&source).await.unwrap();
    let raw = ffmpeg(&["-i", source.to_str().unwrap(), "-map", "0:a", "-f", "f32le", "-"]);
    let samples: Vec<f32> =
        raw.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect();
    let channels = u32::from(found.audio.channels);
    let mut reference = ebur128::EbuR128::new(channels, 44_100, ebur128::Mode::M).unwrap();
    for (index, block) in samples.chunks_exact(4410 * channels as usize).enumerate() {
        reference.add_frames_f32(block).unwrap();
        if index > 5 {
            let wanted = reference.loudness_momentary().unwrap() as f32;
            let ours = found.loudness.lufs[index];
            assert!((ours - wanted).abs() < 0.15, "window {index}: {ours} instead of {wanted}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn open_groups_and_uneven_rates_are_noticed() {
    let folder = Folder::new();
    let (open, uneven) = (folder.file("open.mp4"), folder.file("vfr.mp4"));
    make(
        &open,
        240,
        30,
        BEEPS,
        "-c:v libx264 -preset veryfast -x264-params open-gop=1:bframes=2:keyint=60:scenecut=0 -c:a aac",
    );
    assert!(inspect(&open).await.unwrap().video.open_gop);
    make(
        &uneven,
        240,
        30,
        BEEPS,
        "-vf select='not(eq(mod(n\\,7)\\,3))' -vsync vfr -c:v libx264 -g 60 -c:a aac",
    );
    assert!(inspect(&uneven).await.unwrap().video.variable_rate);
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_and_foreign_files_are_named_for_what_they_are() {
    let folder = Folder::new();
    let whole = folder.file("whole.mp4");
    make(&whole, 600, 30, BEEPS, &format!("{X264} -b:v 800k -movflags +faststart"));
    let bytes = std::fs::read(&whole).unwrap();

    let text = folder.file("text.mp4");
    std::fs::write(
        &text,
        "1\n00:00:01,000 --> 00:00:02,000\nCeci n'est pas une vidéo.\n".repeat(200),
    )
    .unwrap();
    assert_eq!(inspect(&text).await.unwrap_err(), MediaError::NotMedia);

    let list = folder.file("list.m3u8");
    std::fs::write(
        &list,
        format!("#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{}\n", whole.display()),
    )
    .unwrap();
    assert_eq!(inspect(&list).await.unwrap_err(), MediaError::NotMedia);

    let empty = folder.file("empty.mp4");
    std::fs::write(&empty, "").unwrap();
    assert_eq!(inspect(&empty).await.unwrap_err(), MediaError::NotMedia);

    assert!(matches!(
        inspect(&folder.file("none.mp4")).await.unwrap_err(),
        MediaError::CannotOpen { .. }
    ));
    assert_eq!(inspect(folder.path()).await.unwrap_err(), MediaError::NotMedia);

    let cut = folder.file("cut.mp4");
    std::fs::write(&cut, &bytes[..bytes.len() * 6 / 10]).unwrap();
    let error = inspect(&cut).await.unwrap_err();
    let MediaError::Truncated { announced_s, present_s } = error else { panic!("{error:?}") };
    assert!(
        (announced_s - 20.0).abs() < 0.1 && (8.0..16.0).contains(&present_s),
        "{announced_s} {present_s}"
    );

    let headless = folder.file("headless.mp4");
    let plain = folder.file("plain.mp4");
    ffmpeg(&["-i", whole.to_str().unwrap(), "-c", "copy", plain.to_str().unwrap()]);
    let bytes_plain = std::fs::read(&plain).unwrap();
    std::fs::write(&headless, &bytes_plain[..bytes_plain.len() / 2]).unwrap();
    assert_eq!(inspect(&headless).await.unwrap_err(), MediaError::IndexMissing);

    let mut holed = bytes.clone();
    let half = holed.len() / 2;
    holed[half..].fill(0);
    let damaged = folder.file("damaged.mp4");
    std::fs::write(&damaged, holed).unwrap();
    let error = inspect(&damaged).await.unwrap_err();
    let MediaError::UnreadableAt { at_s, .. } = error else { panic!("{error:?}") };
    assert!((6.0..15.0).contains(&at_s), "{at_s}");

    let mute = folder.file("mute.mp4");
    make(&mute, 60, 30, "", "-c:v libx264 -preset veryfast");
    assert_eq!(inspect(&mute).await.unwrap_err(), MediaError::NoAudioTrack);
    let blind = folder.file("blind.m4a");
    ffmpeg(&["-i", whole.to_str().unwrap(), "-vn", "-c", "copy", blind.to_str().unwrap()]);
    assert_eq!(inspect(&blind).await.unwrap_err(), MediaError::NoVideoTrack);
}

#[tokio::test(flavor = "multi_thread")]
async fn noise_with_a_media_name_costs_one_failed_job() {
    let folder = Folder::new();
    let whole = folder.file("whole.mp4");
    make(&whole, 120, 30, BEEPS, X264);
    let bytes = std::fs::read(&whole).unwrap();
    let engine = engine();
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut failed = 0;
    for round in 0..12 {
        let mut broken = bytes.clone();
        for _ in 0..200 {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            let at = (seed % broken.len() as u64) as usize;
            broken[at] = (seed >> 32) as u8;
        }
        let file = folder.file(&format!("broken{round}.mp4"));
        std::fs::write(&file, &broken).unwrap();
        failed += usize::from(
            engine.inspect(InspectOrder { source: file }, &JobWatch::unwatched()).await.is_err(),
        );
    }
    assert!(failed > 0, "none of the broken files was noticed");
    assert!(engine.inspect(InspectOrder { source: whole }, &JobWatch::unwatched()).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn picture_cuts_are_found_only_where_asked() {
    let folder = Folder::new();
    let source = folder.file("scenes.mp4");
    let scenes = "color=c=red:s=320x192:r=30:d=3[a];testsrc=s=320x192:r=30:d=3[b];color=c=white:s=320x192:r=30:d=3[c];\
                  [a][b][c]concat=n=3:v=1:a=0";
    ffmpeg(&[
        "-filter_complex",
        scenes,
        "-f",
        "lavfi",
        "-i",
        "sine=d=9",
        "-c:v",
        "libx264",
        "-g",
        "60",
        "-c:a",
        "aac",
        source.to_str().unwrap(),
    ]);
    let cuts = |ranges| {
        let order = SceneCutsOrder { source: source.clone(), ranges };
        async move { engine().scene_cuts(order, &JobWatch::unwatched()).await.unwrap() }
    };
    let all = cuts(vec![(0.0, 9.0)]).await;
    assert_eq!(all.len(), 2, "{all:?}");
    assert!((all[0] - 3.0).abs() < 0.04 && (all[1] - 6.0).abs() < 0.04, "{all:?}");
    let one = cuts(vec![(5.0, 7.0)]).await;
    assert!(one.len() == 1 && (one[0] - 6.0).abs() < 0.04, "{one:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poster_is_the_picture_at_that_instant() {
    let folder = Folder::new();
    let source = folder.file("source.mp4");
    make(&source, 120, 30, BEEPS, X264);
    for (at_s, wanted) in [(0.0, 0), (2.5, 75), (3.9667, 119), (60.0, 119)] {
        let output = folder.file("poster.jpg");
        let order =
            PosterOrder { source: source.clone(), at_s, width_max: 640, output: output.clone() };
        engine().poster(order, &JobWatch::unwatched()).await.unwrap();
        assert_eq!(std::fs::read(&output).unwrap()[..3], [0xff, 0xd8, 0xff]);
        assert_eq!(footage::numbers(&output), [wanted], "at {at_s} s");
    }
}

/// Peak and root mean square of a file in dBFS, as FFmpeg's own meter reads them.
fn levels(source: &Path) -> (f32, f32) {
    let meter = "astats=measure_overall=Peak_level+RMS_level:measure_perchannel=none";
    let said = std::process::Command::new("ffmpeg")
        .args(["-nostdin", "-i", source.to_str().unwrap(), "-vn", "-af", meter, "-f", "null", "-"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    let read = |name: &str| {
        let (_, rest) = said.split_once(name).unwrap();
        let level: f32 = rest.split_whitespace().next().unwrap().parse().unwrap();
        level.max(LEVEL_DB_MIN)
    };
    (read("Peak level dB:"), read("RMS level dB:"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_glance_sees_a_picture_and_says_how_loud_it_is() {
    let folder = Folder::new();
    let sine = "aevalsrc='0.25*sin(2*PI*997*t)':s=48000:c=";
    for (name, sound) in [
        ("stereo.mp4", format!("{sine}stereo")),
        ("mono.mp4", format!("{sine}mono")),
        ("silence.mp4", "anullsrc=r=48000".to_owned()),
        ("mute.mp4", String::new()),
    ] {
        let (source, output) = (folder.file(name), folder.file("now.jpg"));
        make(&source, 90, 30, &sound, X264);
        let wanted = (!sound.is_empty()).then(|| levels(&source));
        let order = GlanceOrder { source, width_max: 480, output: output.clone() };
        let seen = engine().glance(order, &JobWatch::unwatched()).await.unwrap();
        assert!(seen.has_picture, "{name}");
        assert_eq!(footage::numbers(&output), [0], "{name}");
        let told = seen.level.map(|level| (level.peak_db, level.mean_db));
        match (told, wanted) {
            (Some(told), Some(wanted)) => assert!(
                (told.0 - wanted.0).abs() < 0.2 && (told.1 - wanted.1).abs() < 0.2,
                "{name}: {told:?}, FFmpeg says {wanted:?}"
            ),
            (told, wanted) => assert_eq!(told, wanted, "{name}"),
        }
        std::fs::remove_file(&output).unwrap();
    }
    let (source, output) = (folder.file("sound.mp4"), folder.file("none.jpg"));
    let tone = format!("{sine}stereo:d=3");
    ffmpeg(&["-v", "error", "-f", "lavfi", "-i", &tone, "-c:a", "aac", source.to_str().unwrap()]);
    let order = GlanceOrder { source, width_max: 480, output: output.clone() };
    let heard = engine().glance(order, &JobWatch::unwatched()).await.unwrap();
    assert!(!heard.has_picture && heard.level.is_some() && !output.exists(), "{heard:?}");
}
