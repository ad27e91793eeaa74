//! Every reel keeps the promises of the house, whatever the source and the words.

mod footage;

use std::path::Path;

use footage::{BEEPS, Folder, assert_is_a_reel, beeps, ffmpeg, make};
use spark::adapters::ffmpeg::{EngineSettings, FfmpegEngine};
use spark::domain::clips::reel_plan::{Layout, ReelPlan, Region, Watermark};
use spark::domain::clips::safe_zone::SAFE_AREA;
use spark::ports::media_engine::{
    CheckOrder, JobWatch, MediaEngine, MediaError, ReelFinding, ReelOrder, ReelReport,
};

const X264: &str = "-c:v libx264 -preset ultrafast -g 60 -c:a aac";
const MUSIC: &str =
    "anoisesrc=c=pink:a=0.6:r=48000,volume='0.1+0.9*between(mod(t,2),0.5,1)':eval=frame";

fn engine() -> FfmpegEngine {
    FfmpegEngine::new(EngineSettings::new(env!("CARGO_BIN_EXE_spark").into())).unwrap()
}

fn plan(source: &Path, seconds: f64) -> ReelPlan {
    ReelPlan {
        source: source.to_owned(),
        start_s: 0.0,
        end_s: seconds,
        layout: Layout::Crop { centre_x: 0.5 },
        title: None,
        watermark: None,
        fonts_dir: None,
    }
}

async fn render(plan: ReelPlan, output: &Path) -> Result<ReelReport, MediaError> {
    engine()
        .render_reel(ReelOrder { plan, output: output.to_owned() }, &JobWatch::unwatched())
        .await
}

/// Everything every reel must be, by the tools of others and by the product's own check.
async fn check_reel(name: &str, reel: &Path, seconds: f64, has_sound: bool) {
    let lasts = assert_is_a_reel(name, reel, has_sound);
    assert!((lasts - seconds).abs() < 1e-9, "{name}: {lasts} s");
    let order = CheckOrder { reel: reel.to_owned(), duration_s: seconds };
    assert_eq!(engine().check(order, &JobWatch::unwatched()).await.unwrap(), [], "{name}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_layout_keeps_the_promises() {
    let folder = Folder::new();
    let (source, reel) = (folder.file("source.mp4"), folder.file("reel.mp4"));
    make(&source, 120, 30, MUSIC, X264);
    let face = Region { x: 0.7, y: 0.6, width: 0.3, height: 0.4 };
    let content = Region { x: 0.0, y: 0.0, width: 0.7, height: 1.0 };
    for layout in [
        Layout::Crop { centre_x: 0.2 },
        Layout::BlurredBackground,
        Layout::Split { face, content, face_share: 0.35 },
    ] {
        let report = render(ReelPlan { layout, ..plan(&source, 3.0) }, &reel).await.unwrap();
        assert_eq!(report.frames, 90);
        assert!((report.lufs.unwrap() + 14.0).abs() <= 0.5);
        check_reel(&format!("{layout:?}"), &reel, 3.0, true).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_sources_become_ordinary_reels() {
    let folder = Folder::new();
    let reel = folder.file("reel.mp4");
    let cases: [(&str, usize, &str, &str, bool); 8] = [
        ("portrait", 30, MUSIC, "-vf scale=180:320 -c:v libx264 -preset ultrafast -c:a aac", true),
        (
            "odd",
            30,
            MUSIC,
            "-vf scale=321:179 -pix_fmt yuv444p -c:v libx264 -preset ultrafast -c:a aac",
            true,
        ),
        ("sixty", 60, MUSIC, X264, true),
        (
            "vfr",
            30,
            MUSIC,
            "-vf select='not(eq(mod(n\\,7)\\,3))' -vsync vfr -c:v libx264 -preset ultrafast -c:a aac",
            true,
        ),
        (
            "wide_pixels",
            30,
            MUSIC,
            "-vf scale=240:192,setsar=4/3 -c:v libx264 -preset ultrafast -c:a aac",
            true,
        ),
        ("mono_22k", 30, MUSIC, "-c:v libx264 -preset ultrafast -ar 22050 -ac 1 -c:a aac", true),
        ("silent", 30, "anullsrc=r=48000:cl=stereo", X264, false),
        ("mute", 30, "", "-c:v libx264 -preset ultrafast", false),
    ];
    for (name, fps, sound, encoder, has_sound) in cases {
        let source = folder.file(&format!("{name}.mp4"));
        make(&source, fps * 3, fps, sound, encoder);
        let layout = if name == "portrait" {
            Layout::BlurredBackground
        } else {
            Layout::Crop { centre_x: 0.5 }
        };
        let report = render(ReelPlan { layout, ..plan(&source, 2.0) }, &reel).await.unwrap();
        assert_eq!(report.lufs.is_some(), has_sound, "{name}: {report:?}");
        check_reel(name, &reel, 2.0, has_sound).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn flash_and_beep_meet_in_a_reel() {
    let folder = Folder::new();
    let (source, reel) = (folder.file("source.mp4"), folder.file("reel.mp4"));
    make(&source, 240, 30, BEEPS, X264);
    render(ReelPlan { start_s: 1.5, end_s: 6.5, ..plan(&source, 0.0) }, &reel).await.unwrap();
    // The flash fills the height of a few rows below the top: look at one point of it.
    let grey = ffmpeg(&[
        "-i",
        reel.to_str().unwrap(),
        "-vf",
        "crop=8:8:540:480",
        "-f",
        "rawvideo",
        "-pix_fmt",
        "gray",
        "-",
    ]);
    let flashes: Vec<f64> = grey
        .chunks_exact(64)
        .enumerate()
        .filter(|(_, block)| block[27] > 180)
        .map(|(index, _)| index as f64 / 30.0)
        .collect();
    assert_eq!(flashes.len(), 5, "{flashes:?}");
    let beeps = beeps(&reel);
    for flash in flashes {
        let distance = beeps.iter().map(|beep| (beep - flash).abs()).fold(f64::INFINITY, f64::min);
        assert!(distance <= 0.04, "flash at {flash}, beeps {beeps:?}");
    }
}

/// Pixels of the first picture that differ between two reels: their box (left, top, right, bottom).
fn changed_box(one: &Path, other: &Path) -> Option<(usize, usize, usize, usize)> {
    let picture = |file: &Path| {
        ffmpeg(&[
            "-i",
            file.to_str().unwrap(),
            "-frames:v",
            "1",
            "-f",
            "rawvideo",
            "-pix_fmt",
            "gray",
            "-",
        ])
    };
    let (one, other) = (picture(one), picture(other));
    let differs = one.iter().zip(&other).enumerate().filter(|(_, (a, b))| a.abs_diff(**b) > 40);
    differs.map(|(index, _)| (index % 1080, index / 1080)).fold(None, |found, (x, y)| {
        let (left, top, right, bottom) = found.unwrap_or((x, y, x, y));
        Some((left.min(x), top.min(y), right.max(x), bottom.max(y)))
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn words_stay_inside_the_safe_area_and_give_no_orders() {
    let folder = Folder::new();
    let source = folder.file("grey.mp4");
    ffmpeg(&[
        "-f",
        "lavfi",
        "-i",
        "color=c=gray:s=640x360:r=30:d=2",
        "-f",
        "lavfi",
        "-i",
        "sine=d=2",
        "-c:v",
        "libx264",
        "-c:a",
        "aac",
        source.to_str().unwrap(),
    ]);
    let bare = folder.file("bare.mp4");
    render(plan(&source, 1.0), &bare).await.unwrap();
    let split = Layout::Split { face: Region::FULL, content: Region::FULL, face_share: 0.33 };
    let long = "Une phrase interminable qui raconte absolument tout ce qui s'est passé pendant la semaine et même un peu plus";
    let cases: [(Layout, &str); 6] = [
        (Layout::Crop { centre_x: 0.5 }, "Court"),
        (Layout::Crop { centre_x: 0.5 }, long),
        (
            Layout::Crop { centre_x: 0.5 },
            "AnticonstitutionnellementAnticonstitutionnellementAnticonstitutionnellement",
        ),
        (split, long),
        (split, "Court"),
        (
            Layout::Crop { centre_x: 0.5 },
            "{\\pos(0,0)\\fs400}':drawtext=text=pwned,[in]\\N\\N{\\an1}; \u{202e}émoji 🎉",
        ),
    ];
    for (layout, title) in cases {
        let reel = folder.file("titled.mp4");
        let watermark = Some(Watermark::Text { text: "twitch.tv/{villa}\\N".to_owned() });
        let plan =
            ReelPlan { layout, title: Some(title.to_owned()), watermark, ..plan(&source, 1.0) };
        render(plan, &reel).await.unwrap();
        let (left, top, right, bottom) = changed_box(&bare, &reel).expect("words are visible");
        // The seam of a split is no word and spans the width: it is as grey as the rest in this test but for its line.
        let is_split = matches!(layout, Layout::Split { .. });
        let (area, slack) = (SAFE_AREA, 2);
        assert!(top + slack >= area.top as usize, "{title}: top {top}");
        assert!(bottom <= area.bottom as usize + slack, "{title}: bottom {bottom}");
        assert!(is_split || left + slack >= area.left as usize, "{title}: left {left}");
        assert!(is_split || right <= area.right as usize + slack, "{title}: right {right}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_can_be_the_watermark() {
    let folder = Folder::new();
    let (source, bare, reel, logo) = (
        folder.file("source.mp4"),
        folder.file("bare.mp4"),
        folder.file("reel.mp4"),
        folder.file("it's a, [logo]: 1.png"),
    );
    ffmpeg(&[
        "-f",
        "lavfi",
        "-i",
        "color=c=gray:s=640x360:r=30:d=2",
        "-f",
        "lavfi",
        "-i",
        "sine=d=2",
        "-c:v",
        "libx264",
        "-c:a",
        "aac",
        source.to_str().unwrap(),
    ]);
    ffmpeg(&[
        "-f",
        "lavfi",
        "-i",
        "color=c=white:s=400x300",
        "-frames:v",
        "1",
        "-update",
        "1",
        logo.to_str().unwrap(),
    ]);
    render(plan(&source, 1.0), &bare).await.unwrap();
    let watermark = Some(Watermark::Image { file: logo });
    render(ReelPlan { watermark, ..plan(&source, 1.0) }, &reel).await.unwrap();
    let (left, top, right, bottom) = changed_box(&bare, &reel).unwrap();
    assert!((63..=67).contains(&left) && (1246..=1251).contains(&bottom), "{left} {bottom}");
    assert!(right - left < 222 && bottom - top < 122, "{left} {top} {right} {bottom}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_finds_what_is_wrong() {
    let folder = Folder::new();
    let bad = folder.file("bad.mp4");
    make(&bad, 90, 30, "sine=frequency=400,volume=0.1", X264);
    let check = |reel: &Path| {
        let order = CheckOrder { reel: reel.to_owned(), duration_s: 5.0 };
        async move { engine().check(order, &JobWatch::unwatched()).await.unwrap() }
    };
    let findings = check(&bad).await;
    let has = |wanted: fn(&ReelFinding) -> bool| findings.iter().any(wanted);
    assert!(has(|found| matches!(found, ReelFinding::EditList)), "{findings:?}");
    assert!(has(|found| matches!(found, ReelFinding::IndexAtEnd)), "{findings:?}");
    assert!(has(|found| matches!(found, ReelFinding::Duration { .. })), "{findings:?}");
    assert!(
        has(|found| matches!(found, ReelFinding::Size { width: 320, height: 192 })),
        "{findings:?}"
    );
    assert!(has(|found| matches!(found, ReelFinding::Loudness { .. })), "{findings:?}");
    let text = folder.file("text.mp4");
    std::fs::write(&text, "rien").unwrap();
    assert!(matches!(check(&text).await[..], [ReelFinding::NotMp4 { .. }]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_makes_no_sense_is_refused_in_words() {
    let folder = Folder::new();
    let reel = folder.file("reel.mp4");
    let source = folder.file("none.mp4");
    let outside = Region { x: 0.9, y: 0.0, width: 0.3, height: 0.5 };
    let plans = [
        (ReelPlan { end_s: 400.0, ..plan(&source, 0.0) }, "180"),
        (
            ReelPlan {
                layout: Layout::Split { face: outside, content: Region::FULL, face_share: 0.3 },
                ..plan(&source, 2.0)
            },
            "visage",
        ),
        (ReelPlan { title: Some("x".repeat(500)), ..plan(&source, 2.0) }, "titre"),
    ];
    for (plan, word) in plans {
        let error = render(plan, &reel).await.unwrap_err();
        assert!(
            matches!(&error, MediaError::BadOrder { detail } if detail.contains(word)),
            "{error:?}"
        );
    }
}
