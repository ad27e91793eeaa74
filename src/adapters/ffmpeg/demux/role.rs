//! The child: a transport stream on stdin, frames on stdout. It reads nothing else and writes nothing else.

use std::io::{Read, Write};
use std::process::ExitCode;
use std::time::Instant;

use ffmpeg_next::format::context::{Input, StreamIo};
use ffmpeg_next::{Dictionary, Error, Packet, format, media};

use crate::adapters::ffmpeg::demux::frames::{Frame, encode};
use crate::adapters::ffmpeg::demux::guard::{Course, Guard};
use crate::adapters::ffmpeg::demux::opening::Opening;
use crate::adapters::ffmpeg::demux::pictures::unfit;
use crate::adapters::ffmpeg::demux::streams::{Streams, Told, codec};
use crate::adapters::ffmpeg::role::{Limits, fence};
use crate::domain::live::track::{Codec, Kind};
use crate::ports::ingest::Leave;

/// The argument that makes this binary a demuxer.
pub const DEMUX_ROLE: &str = "demux";

/// Nobody waits for it but the live itself.
const NICENESS: i32 = 0;
/// Memory a demuxer may map for data: libav decodes a few pictures to know the stream, at most of 4K.
const MEMORY_BYTES_MAX: u64 = 512 << 20;
const OPEN_FILES_MAX: u64 = 64;
/// What libav may read to know the stream, in bytes and in microseconds of it: a tenth of a second of a usual one.
const PROBE_BYTES: &str = "65536";
const PROBE_TIME_US: &str = "300000";
/// Streams a programme may announce.
const STREAMS_MAX: &str = "32";
/// Pieces in a row that libav makes nothing of.
const FAULTS_MAX: u32 = 10_000;

/// Takes one stream apart as `spark demux` does. Exit code 0 means that all was said.
pub fn demux_role(parent_pid: i32) -> ExitCode {
    let limits =
        Limits { memory_bytes: MEMORY_BYTES_MAX, output_bytes: 0, open_files: OPEN_FILES_MAX };
    if let Err(detail) = fence(parent_pid, NICENESS, &limits) {
        eprintln!("{detail}");
        return ExitCode::FAILURE;
    }
    demux(std::io::stdin(), &mut std::io::stdout().lock());
    ExitCode::SUCCESS
}

/// Reads a transport stream to its end and writes what is in it.
pub fn demux(from: impl Read + Send + 'static, to: &mut impl Write) {
    let mut out = Vec::new();
    let mut say = |frames: &[Frame]| {
        out.clear();
        for frame in frames {
            encode(frame, &mut out);
        }
        to.write_all(&out).and_then(|()| to.flush())
    };
    if let Err(Stop::Left(leave)) = take_apart(from, &mut say) {
        // Who does not listen any more knows why.
        let _ = say(&[Frame::Leave(leave)]);
    }
}

enum Stop {
    Left(Leave),
    /// Nobody listens.
    Unheard,
}

impl From<Leave> for Stop {
    fn from(leave: Leave) -> Self {
        Self::Left(leave)
    }
}

fn take_apart(
    from: impl Read + Send + 'static,
    say: &mut impl FnMut(&[Frame]) -> std::io::Result<()>,
) -> Result<(), Stop> {
    let broken =
        |error: Error| Leave::Malformed { reason: format!("no transport stream: {error}") };
    ffmpeg_next::init().map_err(broken)?;
    ffmpeg_next::log::set_level(ffmpeg_next::log::Level::Quiet);
    let (guard, course) = Guard::new(from);
    let Some(mut input) = open(guard, &course)? else { return Ok(()) };
    let (mut streams, mut chosen, mut faults) = (Streams::new(), Chosen::default(), 0);
    let mut opening = Opening::new(Instant::now());
    loop {
        let mut packet = Packet::empty();
        match packet.read(&mut input) {
            Ok(()) => faults = 0,
            Err(Error::Eof) => break,
            Err(_) if course.is_astray() => break,
            // Resynchronising is no end.
            Err(_) if faults < FAULTS_MAX => {
                faults += 1;
                continue;
            }
            Err(error) => return Err(broken(error).into()),
        }
        let Some(codec) = chosen.codec_of(&input, packet.stream())? else { continue };
        let (dts, pts, is_key) = (packet.dts(), packet.pts(), packet.is_key());
        let told = Told { dts, pts, is_key, data: packet.data().unwrap_or_default() };
        let frames = streams.take(codec, &told)?;
        let frames = opening.pass(frames, &announced(&input), Instant::now());
        if !frames.is_empty() {
            say(&frames).map_err(|_| Stop::Unheard)?;
        }
    }
    say(&opening.end()).map_err(|_| Stop::Unheard)?;
    if course.is_astray() { Err(astray().into()) } else { Ok(()) }
}

/// The kinds of streams that are recorded, as far as the programme tells of them.
fn announced(input: &Input) -> Vec<Kind> {
    input.streams().filter_map(|it| codec(it.parameters().id())).map(Codec::kind).collect()
}

fn astray() -> Leave {
    Leave::Malformed { reason: "no transport stream".to_owned() }
}

/// Opens the stream; none when it ended before there was one.
fn open(guard: Guard<impl Read + Send + 'static>, course: &Course) -> Result<Option<Input>, Leave> {
    let mut options = Dictionary::new();
    options.set("format_whitelist", "mpegts");
    options.set("protocol_whitelist", "pipe");
    options.set("probesize", PROBE_BYTES);
    options.set("analyzeduration", PROBE_TIME_US);
    options.set("fpsprobesize", "0");
    options.set("max_streams", STREAMS_MAX);
    // Times as they were sent: what they lack and when they wrap is made good by `Streams`.
    options.set("fflags", "nofillin");
    options.set("correct_ts_overflow", "0");
    let opened = StreamIo::from_read(guard)
        .and_then(|io| format::input_from_stream(io, None, Some(options)));
    match opened {
        Ok(input) => Ok(Some(input)),
        Err(_) if course.is_astray() => Err(astray()),
        Err(_) if course.is_ended() => Ok(None),
        Err(error) => Err(Leave::Malformed { reason: format!("no transport stream: {error}") }),
    }
}

/// Which stream of each kind is recorded: the first that can be.
#[derive(Default)]
struct Chosen {
    picture: Option<(usize, Codec)>,
    sound: Option<(usize, Codec)>,
}

impl Chosen {
    /// The codec of a stream that is recorded.
    fn codec_of(&mut self, input: &Input, index: usize) -> Result<Option<Codec>, Leave> {
        let Some(stream) = input.stream(index) else { return Ok(None) };
        let medium = stream.parameters().medium();
        let (seat, kind) = match medium {
            media::Type::Video => (&mut self.picture, Kind::Picture),
            media::Type::Audio => (&mut self.sound, Kind::Sound),
            _ => return Ok(None),
        };
        if seat.is_none() {
            let all = input.streams().filter(|it| it.parameters().medium() == medium);
            let fit =
                |it: ffmpeg_next::Stream<'_>| Some((it.index(), codec(it.parameters().id())?));
            *seat = all.filter_map(fit).find(|(_, codec)| codec.kind() == kind);
        }
        if let Some((chosen, codec)) = seat {
            return Ok((*chosen == index).then_some(*codec));
        }
        let name = stream.parameters().id().name().to_uppercase();
        let what = if kind == Kind::Picture { "pictures" } else { "sound" };
        Err(unfit(&format!("{name} {what}")))
    }
}
