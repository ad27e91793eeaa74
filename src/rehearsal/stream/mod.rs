//! A pretend evening of a villa week: picture, sound, captions and chat from one seed, so that
//! what the chat reacts to can be seen and heard.
//!
//! Pure and repeatable: the same script gives the same samples, bytes and messages, in any order
//! of asking. Encoding is somebody else's work.

mod canvas;
mod captions;
mod chat;
mod export;
mod overlay;
mod phrases;
mod plot;
mod props;
mod residents;
mod scenery;
mod show;
mod sound;
mod sparks;
mod stunts;
#[cfg(test)]
mod tests;
mod voice;

pub use canvas::Yuv420;
pub use chat::{PretendMessage, PretendViewer};

use std::io;

use canvas::{Area, Canvas, STAGE};
use plot::Plot;
use scenery::{FACE_CAM, STAGE_VIEW, Scenery};
use voice::Voices;

/// Samples a second of `PretendStream::sound`.
pub const SAMPLE_RATE: u32 = 48_000;
/// Shortest and longest stream, in seconds.
pub const SECONDS_MIN: u32 = 20;
pub const SECONDS_MAX: u32 = 4 * 3600;
/// Smallest and largest width or height, in pixels.
pub const SIDE_MIN: u32 = 64;
pub const SIDE_MAX: u32 = 3840;

/// What to pretend.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Script {
    pub seed: u64,
    pub seconds: u32,
    pub width: u32,
    pub height: u32,
    pub frames_per_second: u32,
    /// From the picture to the first reactions of the chat: what viewers' playback lags behind,
    /// plus the time to type, in milliseconds.
    pub chat_delay_ms: u32,
    /// Messages a second while nothing happens.
    pub chat_rate: f32,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            seed: 2026,
            seconds: 240,
            width: 1280,
            height: 720,
            frames_per_second: 30,
            chat_delay_ms: 9_000,
            chat_rate: 6.0,
        }
    }
}

/// Where an event can be seen, for tests to compare with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Truth {
    /// Milliseconds from the start of the stream.
    pub from_ms: i64,
    /// What people react to happens here.
    pub climax_ms: i64,
    pub to_ms: i64,
    pub title: String,
}

/// A rectangle in pixels; all four are even, as 4:2:0 wants them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rect {
    pub x: u32,
    pub y: u32,
    pub width: u32,
    pub height: u32,
}

/// A stream that never was.
pub struct PretendStream {
    script: Script,
    plot: Plot,
    scenery: Scenery,
    voices: Voices,
    chat: Vec<PretendMessage>,
    /// Messages in each second, as a share of the busiest.
    pulse: Vec<f32>,
}

impl PretendStream {
    /// Prepares everything that does not move. Values out of range are moved to the nearest one
    /// that can be played, sides to even numbers: `script()` tells what is played.
    pub fn new(script: Script) -> Self {
        let even = |side: u32| side.clamp(SIDE_MIN, SIDE_MAX) & !1;
        let rate = if script.chat_rate.is_finite() { script.chat_rate } else { 6.0 };
        let script = Script {
            seconds: script.seconds.clamp(SECONDS_MIN, SECONDS_MAX),
            width: even(script.width),
            height: even(script.height),
            frames_per_second: script.frames_per_second.clamp(1, 120),
            chat_delay_ms: script.chat_delay_ms.min(60_000),
            chat_rate: rate.clamp(0.0, 50.0),
            ..script
        };
        let plot = Plot::new(script.seed, script.seconds as f32);
        let scenery = Scenery::paint(script.seed, script.width as usize, script.height as usize);
        let voices = Voices::new(script.seed, &plot, script.seconds as f32);
        let chat = chat::write(&script, &plot);
        let pulse = pulse_of(&chat, script.seconds);
        Self { script, plot, scenery, voices, chat, pulse }
    }

    /// What is played, after `new` moved values into their ranges.
    pub fn script(&self) -> &Script {
        &self.script
    }

    /// Number of frames.
    pub fn frames(&self) -> u64 {
        u64::from(self.script.seconds) * u64::from(self.script.frames_per_second)
    }

    /// Number of samples of each channel.
    pub fn samples(&self) -> u64 {
        u64::from(self.script.seconds) * u64::from(SAMPLE_RATE)
    }

    /// Draws frame `frame`. The planes must hold the script's size.
    ///
    /// # Panics
    /// When a plane is smaller than `height × stride` of its plane, or a stride than its width.
    pub fn picture(&self, frame: u64, canvas: &mut Yuv420) {
        let t = (frame as f64 / f64::from(self.script.frames_per_second)) as f32;
        self.scenery.copy_to(canvas);
        let chat = |t: f32| self.pulse.get(t as usize).copied().unwrap_or(0.0);
        let moment = show::Moment {
            seed: self.script.seed,
            t,
            plot: &self.plot,
            mouths: self.voices.mouths(t),
            bands: sound::bands(self.script.seed, &self.plot, t),
            chat: &chat,
        };
        let size = (self.script.width as usize, self.script.height as usize);
        show::draw(&mut Canvas { picture: canvas, size }, &moment);
    }

    /// Fills `out` (left, right, left, …) from sample `first_sample` on; the same samples come
    /// whatever the size of `out`. Values stay inside -1..1.
    pub fn sound(&self, first_sample: u64, out: &mut [f32]) {
        sound::fill(self.script.seed, &self.plot, &self.voices, first_sample, out);
    }

    /// An ASS script (1280×720) with the titles of the events and the names of the residents, in
    /// « Bricolage Grotesque ExtraBold » and « Inter SemiBold ».
    pub fn captions_ass(&self) -> String {
        captions::ass(&self.plot, self.script.seconds as f32)
    }

    /// The chat in order of time.
    pub fn chat(&self) -> &[PretendMessage] {
        &self.chat
    }

    /// Writes the chat as TwitchDownloader exports it (JSON, format 1.4).
    ///
    /// # Errors
    /// What `out` answers.
    pub fn write_twitch_downloader(&self, out: impl io::Write) -> io::Result<()> {
        export::twitch_downloader(&self.script, &self.plot, &self.chat, out)
    }

    /// The events in order of time.
    pub fn truth(&self) -> Vec<Truth> {
        let ms = |seconds: f32| (f64::from(seconds) * 1000.0).round() as i64;
        let events = self.plot.events.iter();
        events
            .map(|event| Truth {
                from_ms: ms(event.from),
                climax_ms: ms(event.climax()),
                to_ms: ms(event.to()),
                title: event.kind.title().to_owned(),
            })
            .collect()
    }

    /// The host's camera in the picture: the upper part of a split reel.
    pub fn face_rect(&self) -> Rect {
        self.rect(FACE_CAM)
    }

    /// The stage: the lower part of a split reel.
    pub fn content_rect(&self) -> Rect {
        self.rect(STAGE_VIEW)
    }

    fn rect(&self, area: Area) -> Rect {
        let across = self.script.width as f32 / STAGE.0;
        let down = self.script.height as f32 / STAGE.1;
        let even = |length: f32| (length / 2.0).round() as u32 * 2;
        Rect {
            x: even(area.left * across),
            y: even(area.top * down),
            width: even(area.width * across),
            height: even(area.height * down),
        }
    }
}

fn pulse_of(chat: &[PretendMessage], seconds: u32) -> Vec<f32> {
    let mut counts = vec![0_u32; seconds as usize + 1];
    for message in chat {
        if let Some(count) = counts.get_mut((message.offset_ms / 1000) as usize) {
            *count += 1;
        }
    }
    let most = counts.iter().copied().max().unwrap_or(1).max(1) as f32;
    counts.into_iter().map(|count| (count as f32 / most).powf(0.8)).collect()
}
