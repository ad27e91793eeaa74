//! The smart cut: whole groups of pictures are copied, the group the clip starts in is encoded from its first
//! frame on, and of the last group what decodes on its own is copied and the few frames left are encoded.

use std::path::Path;

use ffmpeg_next::codec::Id;
use ffmpeg_next::format::Pixel;
use ffmpeg_next::{Packet, frame, packet};

use crate::adapters::ffmpeg::cut::edges::Edges;
use crate::adapters::ffmpeg::cut::{Counts, SOUND_BIT_RATE, Span, Stop, Tracks};
use crate::adapters::ffmpeg::encode::Mp4Writer;
use crate::adapters::ffmpeg::ffi::{self, PictureHeader};
use crate::adapters::ffmpeg::h264::{ParameterSets, repack};
use crate::adapters::ffmpeg::inspect::pixel_name;
use crate::adapters::ffmpeg::job::Progress;
use crate::adapters::ffmpeg::open::{Source, Track, failed};
use crate::adapters::ffmpeg::sound::{AacEncoder, SpanSound};
use crate::adapters::ffmpeg::span::{PREROLL_S, next_packet, picture_decoder};
use crate::domain::clips::footage::KeyFrameIndex;
use crate::ports::media_engine::{MediaError, ReencodeReason};

/// How far before the start to look for a key frame, seconds, one attempt after the other.
const LOOK_BACK_S: [f64; 4] = [PREROLL_S, 12.0, 60.0, f64::INFINITY];
/// A frame further from its place than this share of a frame means that the rate is not constant.
const JITTER_SHARE_MAX: f64 = 0.34;
/// Pictures that may be missing of what a span should hold, as a share: beyond, the rate is not constant but another one.
const MISSING_SHARE_MAX: f64 = 0.25;
/// Bytes of one group held in memory.
const GROUP_BYTES_MAX: usize = 512 << 20;

/// Cuts `span` into `temporary`.
pub(super) fn cut(
    source: &mut Source,
    tracks: &Tracks,
    span: &Span,
    keys: &KeyFrameIndex,
    temporary: &Path,
    progress: &mut Progress,
) -> Result<Counts, Stop> {
    let header = ffi::picture_header(&tracks.video.parameters);
    check_source(tracks.video, &header)?;
    let irregular =
        |detail: &str| Stop::Reencode(ReencodeReason::Irregular { detail: detail.to_owned() });
    let sets = ParameterSets::parse(&ffi::extradata(&tracks.video.parameters))
        .ok_or_else(|| irregular("en-tête H.264 absent"))?;
    let edges = Edges::try_new(tracks.video, &header, span, &sets)?;
    let avcc =
        sets.joined_avcc(Some(&edges.sets)).ok_or_else(|| irregular("en-tête H.264 illisible"))?;
    let aac = AacEncoder::try_new(SOUND_BIT_RATE)?;
    let parameters =
        ffi::with_extradata(&tracks.video.parameters, &avcc).map_err(failed("écriture du MP4"))?;
    let writer =
        Mp4Writer::create(temporary, &parameters, span.rate, aac.context(), header.reorder_delay)?;
    let mut cutter = Cutter {
        source,
        tracks,
        span,
        sets,
        edges,
        writer,
        sound: None,
        aac,
        waiting_sound: Vec::new(),
        first_s: None,
        next_place: 0,
        next_decode: 0,
        missing: 0,
        counts: Counts { copied: 0, encoded: 0, missing: 0 },
    };
    cutter.run(keys, progress)?;
    cutter.finish()
}

/// What can be seen without reading a packet.
fn check_source(video: &Track, header: &PictureHeader) -> Result<(), Stop> {
    let reason = if video.parameters.id() != Id::H264 {
        ReencodeReason::Codec { codec: video.codec_name() }
    } else if header.pixel_format != Pixel::YUV420P {
        ReencodeReason::PixelFormat { format: pixel_name(header.pixel_format) }
    } else if header.interlaced {
        ReencodeReason::Interlaced
    } else if video.rotation_degrees != 0 {
        ReencodeReason::Rotated { degrees: video.rotation_degrees }
    } else if header.width % 2 + header.height % 2 > 0 {
        ReencodeReason::Irregular {
            detail: format!("image de {}×{}", header.width, header.height)
        }
    } else {
        return Ok(());
    };
    Err(Stop::Reencode(reason))
}

/// One packet of a group with the time it is shown at.
struct Shown {
    packet: Packet,
    time_s: f64,
}

struct Cutter<'a> {
    source: &'a mut Source,
    tracks: &'a Tracks<'a>,
    span: &'a Span,
    sets: ParameterSets,
    edges: Edges,
    writer: Mp4Writer,
    sound: Option<SpanSound>,
    aac: AacEncoder,
    /// Sound that came before the first frame was known.
    waiting_sound: Vec<Packet>,
    /// Time of the clip's first frame.
    first_s: Option<f64>,
    /// The place after the last one that was written, in frames from the first. A place whose picture the source lacks stays
    /// empty: the one before is shown longer.
    next_place: u64,
    /// The decode place of the next packet.
    next_decode: u64,
    /// Places of the clip that are empty.
    missing: u64,
    counts: Counts,
}

impl Cutter<'_> {
    /// Moves to a key frame at or before the start, as far back as it takes.
    fn seek(&mut self, keys: &KeyFrameIndex, look_back_s: f64) -> Result<(), MediaError> {
        let wanted_s = (self.span.start_s - look_back_s).max(0.0);
        // MPEG-TS has no index of its own: ours saves a search through the file.
        let by_bytes = self.source.input.format().name() == "mpegts";
        if by_bytes
            && let Some(position) = keys.at_or_before(wanted_s).and_then(|key| key.position)
            && let Ok(position) = i64::try_from(position)
            && ffi::seek_to_byte(&mut self.source.input, position).is_ok()
        {
            return Ok(());
        }
        self.source.seek_before(wanted_s)
    }

    fn run(&mut self, keys: &KeyFrameIndex, progress: &mut Progress) -> Result<(), Stop> {
        for (attempt, look_back_s) in LOOK_BACK_S.into_iter().enumerate() {
            self.seek(keys, look_back_s)?;
            self.waiting_sound.clear();
            let is_last = attempt + 1 == LOOK_BACK_S.len() || look_back_s >= self.span.start_s;
            if self.read(is_last, progress)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Reads groups up to the end. False when the first key frame lies after the start and an earlier one should
    /// be looked for.
    fn read(&mut self, is_last_attempt: bool, progress: &mut Progress) -> Result<bool, Stop> {
        let mut group: Vec<Shown> = Vec::new();
        let mut group_bytes = 0;
        let mut picture_done = false;
        let mut packet = Packet::empty();
        while !(picture_done && self.sound.as_ref().is_some_and(SpanSound::is_full)) {
            if !next_packet(self.source, &mut packet)? {
                break;
            }
            if packet.stream() == self.tracks.audio.index {
                let stamp = packet.pts().or(packet.dts()).unwrap_or(0);
                let time_s = self.source.time_of(self.tracks.audio, stamp);
                if picture_done && time_s > self.span.end_s + PREROLL_S {
                    break;
                }
                if time_s >= self.span.start_s - 2.0 * PREROLL_S {
                    self.hear(&packet)?;
                }
                continue;
            }
            if packet.stream() != self.tracks.video.index || picture_done {
                continue;
            }
            let Some(pts) = packet.pts() else {
                let detail = "images sans horodatage".to_owned();
                return Err(Stop::Reencode(ReencodeReason::Irregular { detail }));
            };
            let time_s = self.source.time_of(self.tracks.video, pts);
            // Matroska has no decode times for the first pictures after a seek.
            let decode_s = packet.dts().map(|dts| self.source.time_of(self.tracks.video, dts));
            if packet.is_key() {
                if group.is_empty() && self.first_s.is_none() && !is_last_attempt {
                    let starts_late = time_s > self.span.start_s + self.span.half_frame();
                    if starts_late {
                        return Ok(false);
                    }
                }
                self.group(&group)?;
                group.clear();
                group_bytes = 0;
            } else if group.is_empty() {
                continue;
            }
            group_bytes += packet.size();
            if group_bytes > GROUP_BYTES_MAX {
                let detail = "groupe d'images trop long".to_owned();
                return Err(Stop::Reencode(ReencodeReason::Irregular { detail }));
            }
            progress
                .at((time_s - self.span.start_s) / (self.span.end_s - self.span.start_s) * 0.95);
            // Nothing that is decoded from here on is shown before the end.
            picture_done = decode_s.is_some_and(|decode_s| self.span.ends_by(decode_s));
            group.push(Shown { packet: std::mem::replace(&mut packet, Packet::empty()), time_s });
            if picture_done {
                self.group(&group)?;
                group.clear();
            }
        }
        if !picture_done {
            self.group(&group)?;
        }
        Ok(true)
    }

    /// Writes what the clip holds of one group of pictures.
    fn group(&mut self, group: &[Shown]) -> Result<(), Stop> {
        let Some(key) = group.first() else { return Ok(()) };
        let mut held: Vec<f64> =
            group.iter().map(|shown| shown.time_s).filter(|t| self.span.holds(*t)).collect();
        if held.is_empty() {
            return Ok(());
        }
        if group.iter().any(|shown| shown.time_s < key.time_s) {
            return Err(Stop::Reencode(ReencodeReason::OpenGop));
        }
        held.sort_by(f64::total_cmp);
        let places = self.places(&held)?;
        if self.first_s == Some(held[0]) {
            self.start_sound()?;
        }
        let is_whole_head = self.span.starts_by(key.time_s);
        // What stands before the first picture that is shown too late decodes without it.
        let prefix = if is_whole_head {
            group.iter().position(|shown| self.span.ends_by(shown.time_s)).unwrap_or(group.len())
        } else {
            0
        };
        let last_copied_s =
            group[..prefix].iter().map(|shown| shown.time_s).fold(f64::NEG_INFINITY, f64::max);
        let leaves_order = held.iter().filter(|t| **t <= last_copied_s).count() == prefix;
        let prefix = if leaves_order { prefix } else { 0 };
        if prefix > 0 {
            self.copy(&group[..prefix], &held, &places)?;
        }
        if prefix < held.len() {
            self.encode(group, &held[prefix..], &places[prefix..])?;
        }
        self.next_place = places[places.len() - 1] + 1;
        Ok(())
    }

    /// The places of a group's frames on the grid of the clip's rate, each further than the one before. Encoders drop a picture
    /// now and then: its place stays empty.
    fn places(&mut self, held: &[f64]) -> Result<Vec<u64>, Stop> {
        let first_s = *self.first_s.get_or_insert(held[0]);
        let rate = self.span.rate.value();
        let varies = || Stop::Reencode(ReencodeReason::VariableFrameRate);
        let (mut places, mut next) = (Vec::with_capacity(held.len()), self.next_place);
        for time_s in held {
            let exact = (time_s - first_s) * rate;
            let place = exact.round();
            if place < next as f64 || (exact - place).abs() > JITTER_SHARE_MAX {
                return Err(varies());
            }
            self.missing += place as u64 - next;
            next = place as u64 + 1;
            places.push(place as u64);
        }
        if self.missing as f64 > MISSING_SHARE_MAX * self.span.frames() as f64 {
            return Err(varies());
        }
        self.next_decode = places[0];
        Ok(places)
    }

    fn copy(&mut self, group: &[Shown], held: &[f64], places: &[u64]) -> Result<(), Stop> {
        for (index, shown) in group.iter().enumerate() {
            let picture =
                shown.packet.data().and_then(|data| repack(data, &self.sets)).ok_or_else(|| {
                    Stop::Reencode(ReencodeReason::Irregular {
                        detail: "image abîmée".to_owned()
                    })
                })?;
            if picture.new_settings {
                return Err(Stop::Reencode(ReencodeReason::SettingsChange));
            }
            if index == 0 && !picture.is_idr {
                return Err(Stop::Reencode(ReencodeReason::OpenGop));
            }
            let place = held.partition_point(|time_s| *time_s < shown.time_s);
            self.write(&picture.bytes, places[place], index == 0)?;
            self.counts.copied += 1;
        }
        Ok(())
    }

    /// Encodes the frames of `group` shown at the times `wanted`, which are its last ones in the clip.
    fn encode(&mut self, group: &[Shown], wanted: &[f64], places: &[u64]) -> Result<(), Stop> {
        let mut decoder = picture_decoder(self.tracks.video)?;
        let mut encoder = self.edges.encoder()?;
        let first = wanted[0] - self.span.half_frame();
        let mut picture = frame::Video::empty();
        let mut packets: Vec<Packet> = Vec::new();
        let mut fed = 0_usize;
        for step in 0..=group.len() {
            match group.get(step) {
                Some(shown) => {
                    // A frame that does not decode is missed below and sends the whole clip to the encoder.
                    let _ = decoder.send_packet(&shown.packet);
                }
                None => decoder.send_eof().map_err(failed("décodage de l'image"))?,
            }
            while decoder.receive_frame(&mut picture).is_ok() {
                let Some(ticks) = picture.timestamp().or(picture.pts()) else { continue };
                let time_s = self.source.time_of(self.tracks.video, ticks);
                if time_s < first || fed >= wanted.len() {
                    continue;
                }
                encoder.push(&mut picture, fed as i64, &mut |packet| {
                    packets.push(packet);
                    Ok(())
                })?;
                fed += 1;
            }
        }
        encoder.finish(&mut |packet| {
            packets.push(packet);
            Ok(())
        })?;
        if fed != wanted.len() || packets.len() != wanted.len() {
            let detail = "une image du bord ne se décode pas".to_owned();
            return Err(Stop::Reencode(ReencodeReason::Irregular { detail }));
        }
        for packet in packets {
            let picture =
                packet.data().and_then(|data| repack(data, &self.edges.sets)).ok_or_else(|| {
                    Stop::Failed(MediaError::Failed {
                        step: "encodage de l'image".to_owned(),
                        detail: "paquet illisible".to_owned(),
                    })
                })?;
            // As many packets as places, checked above.
            let place = packet.pts().and_then(|n| places.get(usize::try_from(n).ok()?));
            let place = place.copied().unwrap_or(places[places.len() - 1]);
            self.write(&picture.bytes, place, packet.is_key())?;
            self.counts.encoded += 1;
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8], place: u64, is_key: bool) -> Result<(), Stop> {
        let decode = self.next_decode as i64 - self.writer.reorder_delay();
        if decode > place as i64 {
            let detail = "ordre des images inattendu".to_owned();
            return Err(Stop::Reencode(ReencodeReason::Irregular { detail }));
        }
        let mut packet = Packet::copy(bytes);
        packet.set_pts(Some(place as i64));
        packet.set_dts(Some(decode));
        if is_key {
            packet.set_flags(packet::Flags::KEY);
        }
        self.writer.picture(packet)?;
        self.next_decode += 1;
        Ok(())
    }

    fn start_sound(&mut self) -> Result<(), MediaError> {
        if self.sound.is_some() {
            return Ok(());
        }
        let first_s = self.first_s.unwrap_or(self.span.start_s) + self.source.origin_s;
        let samples = self.span.samples_of(self.span.frames());
        self.sound =
            Some(SpanSound::try_new(self.tracks.audio, self.tracks.audio.ticks(first_s), samples)?);
        for packet in std::mem::take(&mut self.waiting_sound) {
            self.hear(&packet)?;
        }
        Ok(())
    }

    fn hear(&mut self, packet: &Packet) -> Result<(), MediaError> {
        let Some(sound) = &mut self.sound else {
            self.waiting_sound.push(packet.clone());
            return Ok(());
        };
        let (aac, writer) = (&mut self.aac, &mut self.writer);
        sound.packet(packet, &mut |left, right| {
            aac.push(left, right, &mut |packet| writer.sound(packet))
        })
    }

    fn finish(mut self) -> Result<Counts, Stop> {
        if self.next_place == 0 {
            return Err(Stop::Failed(MediaError::OutOfRange {
                start_s: self.span.start_s,
                end_s: self.span.end_s,
                duration_s: self.source.input.duration() as f64 / 1e6,
            }));
        }
        self.start_sound()?;
        let (aac, writer) = (&mut self.aac, &mut self.writer);
        if let Some(sound) = &mut self.sound {
            sound.limit(self.span.samples_of(self.next_place));
            sound.finish(&mut |left, right| {
                aac.push(left, right, &mut |packet| writer.sound(packet))
            })?;
        }
        aac.finish(&mut |packet| writer.sound(packet))?;
        self.writer.finish()?;
        Ok(Counts { missing: self.missing, ..self.counts })
    }
}
