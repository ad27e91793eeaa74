//! What a platform would find wrong with a reel: its boxes, its tracks, its loudness.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use ffmpeg_next::codec::Id;

use crate::adapters::ffmpeg::ffi;
use crate::adapters::ffmpeg::job::Progress;
use crate::adapters::ffmpeg::mastering::Stereo;
use crate::adapters::ffmpeg::open::{Source, open};
use crate::adapters::ffmpeg::sound::RATE;
use crate::adapters::ffmpeg::span::read_sound;
use crate::domain::clips::reel_plan::{
    REEL_FPS, REEL_HEIGHT, REEL_LUFS, REEL_LUFS_TOLERANCE, REEL_SECONDS_MAX,
    REEL_TRUE_PEAK_DBTP_MAX, REEL_WIDTH,
};
use crate::ports::media_engine::{CheckOrder, MediaError, ReelFinding};

/// Boxes looked at before a file counts as malformed.
const BOXES_MAX: usize = 10_000;
/// Boxes inside boxes.
const DEPTH_MAX: usize = 8;
/// Quieter than this is silence, which no loudness is asked of, LUFS.
const SILENT_LUFS: f64 = -60.0;

/// Everything that speaks against `order.reel`.
pub(super) fn check(
    order: &CheckOrder,
    progress: &mut Progress,
) -> Result<Vec<ReelFinding>, MediaError> {
    let mut findings = Vec::new();
    let boxes = match walk(&order.reel) {
        Ok(boxes) => boxes,
        Err(detail) => return Ok(vec![ReelFinding::NotMp4 { detail }]),
    };
    let place = |name: &[u8; 4]| boxes.iter().position(|found| found.name == *name);
    match (place(b"moov"), place(b"mdat")) {
        (Some(moov), Some(mdat)) if moov < mdat => {}
        (Some(_), Some(_)) => findings.push(ReelFinding::IndexAtEnd),
        _ => return Ok(vec![ReelFinding::NotMp4 { detail: "moov ou mdat absent".to_owned() }]),
    }
    if place(b"elst").is_some() {
        findings.push(ReelFinding::EditList);
    }
    let mut source = open(&order.reel)?;
    progress.at(0.2);
    picture_findings(&source, order.duration_s, &mut findings)?;
    sound_findings(&mut source, &mut findings)?;
    Ok(findings)
}

fn picture_findings(
    source: &Source,
    wanted_s: f64,
    findings: &mut Vec<ReelFinding>,
) -> Result<(), MediaError> {
    let video = source.video()?;
    let header = ffi::picture_header(&video.parameters);
    if video.parameters.id() != Id::H264 {
        findings.push(ReelFinding::Codec { wanted: "h264".to_owned(), found: video.codec_name() });
    }
    if (header.width, header.height) != (REEL_WIDTH, REEL_HEIGHT) {
        findings.push(ReelFinding::Size { width: header.width, height: header.height });
    }
    let aspect = header.pixel_aspect;
    if aspect.num != aspect.den {
        findings.push(ReelFinding::PixelShape { num: aspect.num, den: aspect.den });
    }
    let rate = video.average_rate;
    if (rate.numerator(), rate.denominator()) != (REEL_FPS as i32, 1) {
        findings.push(ReelFinding::FrameRate { num: rate.numerator(), den: rate.denominator() });
    }
    let found_s = source.input.duration() as f64 / 1e6;
    let picture_s = video.seconds(video.duration);
    let frame_s = 1.0 / f64::from(REEL_FPS) + 1e-3;
    for found_s in [picture_s, found_s] {
        if (found_s - wanted_s).abs() > frame_s {
            findings.push(ReelFinding::Duration { wanted_s, found_s });
            break;
        }
    }
    Ok(())
}

fn sound_findings(source: &mut Source, findings: &mut Vec<ReelFinding>) -> Result<(), MediaError> {
    let Some(audio) = source.audio.clone() else {
        findings
            .push(ReelFinding::Codec { wanted: "aac".to_owned(), found: "aucun son".to_owned() });
        return Ok(());
    };
    if audio.parameters.id() != Id::AAC {
        findings.push(ReelFinding::Codec { wanted: "aac".to_owned(), found: audio.codec_name() });
    }
    let seconds = (source.input.duration() as f64 / 1e6).clamp(0.0, REEL_SECONDS_MAX + 1.0);
    let mut sound = Stereo::default();
    read_sound(
        source,
        &audio,
        (0.0, seconds),
        (seconds * RATE as f64) as usize,
        &mut |left, right| {
            sound.push(left, right);
            Ok(())
        },
    )?;
    let Some(lufs) = sound.lufs().filter(|lufs| *lufs > SILENT_LUFS) else { return Ok(()) };
    if (lufs - REEL_LUFS).abs() > REEL_LUFS_TOLERANCE {
        findings.push(ReelFinding::Loudness { lufs });
    }
    let dbtp = sound.true_peak_dbtp();
    if dbtp > REEL_TRUE_PEAK_DBTP_MAX {
        findings.push(ReelFinding::TruePeak { dbtp });
    }
    Ok(())
}

/// One box of an MP4.
struct Found {
    name: [u8; 4],
}

/// All boxes in order, those inside `moov` included.
fn walk(path: &Path) -> Result<Vec<Found>, String> {
    let mut file = File::open(path).map_err(|error| error.to_string())?;
    let len = file.metadata().map_err(|error| error.to_string())?.len();
    let mut found = Vec::new();
    walk_within(&mut file, (0, len), 0, &mut found)?;
    if found.first().is_some_and(|first| first.name == *b"ftyp") {
        Ok(found)
    } else {
        Err("ftyp absent".to_owned())
    }
}

fn walk_within(
    file: &mut File,
    (from, to): (u64, u64),
    depth: usize,
    found: &mut Vec<Found>,
) -> Result<(), String> {
    let mut at = from;
    while at + 8 <= to {
        let mut head = [0_u8; 16];
        file.seek(SeekFrom::Start(at)).map_err(|error| error.to_string())?;
        file.read_exact(&mut head[..8]).map_err(|error| error.to_string())?;
        let name = [head[4], head[5], head[6], head[7]];
        let short = u64::from(u32::from_be_bytes([head[0], head[1], head[2], head[3]]));
        let (size, header) = match short {
            0 => (to - at, 8),
            1 => {
                file.read_exact(&mut head[8..]).map_err(|error| error.to_string())?;
                let long = head[8..].iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
                (long, 16)
            }
            short => (short, 8),
        };
        let end = at.checked_add(size).filter(|end| *end <= to && size >= header);
        let end =
            end.ok_or_else(|| format!("boîte {} trop longue", String::from_utf8_lossy(&name)))?;
        found.push(Found { name });
        if found.len() > BOXES_MAX || depth > DEPTH_MAX {
            return Err("trop de boîtes".to_owned());
        }
        if matches!(&name, b"moov" | b"trak" | b"edts" | b"mdia" | b"minf" | b"stbl") {
            walk_within(file, (at + header, end), depth + 1, found)?;
        }
        at = end;
    }
    Ok(())
}
