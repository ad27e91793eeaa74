//! Sound: decoding a span into 48 kHz stereo aligned to the sample, and encoding it as AAC without priming.

use ffmpeg_next::codec::{self, Context};
use ffmpeg_next::format::{Sample, sample};
use ffmpeg_next::{ChannelLayout, Dictionary, Packet, Rational, decoder, encoder, filter, frame};

use crate::adapters::ffmpeg::open::{Track, failed, wants_more};
use crate::domain::clips::reel_plan::REEL_SAMPLE_RATE_HZ;
use crate::ports::media_engine::MediaError;

/// Samples FFmpeg's AAC encoder puts before the first one it was given.
pub(super) const AAC_PRIMING: usize = 1024;
/// Samples per AAC packet.
const AAC_FRAME: usize = 1024;
/// A hole or overlap in the source's sound longer than this is filled or dropped, so that sound and picture stay
/// together within one frame.
const GAP_SECONDS_MAX: f64 = 0.03;

/// Sample rate of everything we write.
pub(super) const RATE: usize = REEL_SAMPLE_RATE_HZ as usize;

/// Gets left and right samples, as many of each.
pub(super) type Hear<'a> = dyn FnMut(&[f32], &[f32]) -> Result<(), MediaError> + 'a;

/// Opens a decoder for a sound track.
pub(super) fn sound_decoder(track: &Track) -> Result<decoder::Audio, MediaError> {
    let mut decoder = Context::from_parameters(track.parameters.clone())
        .map_err(failed("décodage du son"))?
        .decoder();
    decoder.set_packet_time_base(track.time_base);
    decoder.audio().map_err(failed("décodage du son"))
}

/// Turns packets of a sound track into stereo samples of exactly one span: holes become silence, what lies
/// outside is dropped, and the end is padded.
pub(super) struct SpanSound {
    decoder: decoder::Audio,
    time_base: Rational,
    start_ticks: i64,
    samples: usize,
    delivered: usize,
    graph: Option<filter::Graph>,
    frame: frame::Audio,
    /// Packets the decoder refused.
    pub refused: u64,
}

impl SpanSound {
    /// `start_ticks`: the span's first instant on the track's own clock; `samples`: its length at 48 kHz.
    pub(super) fn try_new(
        track: &Track,
        start_ticks: i64,
        samples: usize,
    ) -> Result<Self, MediaError> {
        Ok(Self {
            decoder: sound_decoder(track)?,
            time_base: track.time_base,
            start_ticks,
            samples,
            delivered: 0,
            graph: None,
            frame: frame::Audio::empty(),
            refused: 0,
        })
    }

    /// Shortens the span: the picture ended early.
    pub(super) fn limit(&mut self, samples: usize) {
        self.samples = self.samples.min(samples);
    }

    /// True when every sample of the span was delivered.
    pub(super) fn is_full(&self) -> bool {
        self.delivered >= self.samples
    }

    /// Takes one packet; `hear` gets left and right samples as they become known.
    pub(super) fn packet(&mut self, packet: &Packet, hear: &mut Hear) -> Result<(), MediaError> {
        if self.decoder.send_packet(packet).is_err() {
            self.refused += 1;
            return Ok(());
        }
        self.drain(hear)
    }

    /// Ends the span: what is missing is silence.
    pub(super) fn finish(&mut self, hear: &mut Hear) -> Result<(), MediaError> {
        // A decoder that is already drained says so; there is nothing to lose.
        let _ = self.decoder.send_eof();
        self.drain(hear)?;
        if let Some(graph) = &mut self.graph {
            let mut source = graph.get("in").expect("the graph was built with this node");
            source.source().flush().map_err(failed("filtrage du son"))?;
            self.pull(hear)?;
        }
        while self.delivered < self.samples {
            let take = (self.samples - self.delivered).min(AAC_FRAME);
            hear(&[0.0; AAC_FRAME][..take], &[0.0; AAC_FRAME][..take])?;
            self.delivered += take;
        }
        Ok(())
    }

    fn drain(&mut self, hear: &mut Hear) -> Result<(), MediaError> {
        while self.decoder.receive_frame(&mut self.frame).is_ok() {
            let Some(ticks) = self.frame.timestamp().or(self.frame.pts()) else { continue };
            let rate = self.frame.rate().max(1);
            // The graph's clock is the sample: time stamps in milliseconds would otherwise be re-rounded twice.
            let offset =
                (ticks - self.start_ticks) as f64 * f64::from(self.time_base) * f64::from(rate);
            let first = offset.round() as i64;
            if first + (self.frame.samples() as i64) <= 0 {
                continue;
            }
            self.frame.set_pts(Some(first));
            if self.frame.channel_layout().is_empty() {
                let layout = ChannelLayout::default(i32::from(self.frame.channels()));
                self.frame.set_channel_layout(layout);
            }
            if self.graph.is_none() {
                self.graph = Some(stereo_graph(&self.frame)?);
            }
            let graph = self.graph.as_mut().expect("built just above");
            let mut source = graph.get("in").expect("the graph was built with this node");
            source.source().add(&self.frame).map_err(failed("filtrage du son"))?;
            self.pull(hear)?;
        }
        Ok(())
    }

    fn pull(&mut self, hear: &mut Hear) -> Result<(), MediaError> {
        let Some(graph) = &mut self.graph else { return Ok(()) };
        let mut out = frame::Audio::empty();
        let mut sink = graph.get("out").expect("the graph was built with this node");
        loop {
            match sink.sink().frame(&mut out) {
                Ok(()) => {
                    let take = out.samples().min(self.samples - self.delivered.min(self.samples));
                    if take > 0 {
                        hear(&out.plane::<f32>(0)[..take], &out.plane::<f32>(1)[..take])?;
                        self.delivered += take;
                    }
                }
                Err(error) if wants_more(error) => return Ok(()),
                Err(error) => return Err(failed("filtrage du son")(error)),
            }
        }
    }
}

fn stereo_graph(first: &frame::Audio) -> Result<filter::Graph, MediaError> {
    let missing = |what: &str| MediaError::Missing { what: format!("filtre {what}") };
    let mut graph = filter::Graph::new();
    let args = format!(
        "time_base=1/{rate}:sample_rate={rate}:sample_fmt={format}:channel_layout=0x{layout:x}",
        rate = first.rate(),
        format = first.format().name(),
        layout = first.channel_layout().bits(),
    );
    let source = filter::find("abuffer").ok_or_else(|| missing("abuffer"))?;
    let sink = filter::find("abuffersink").ok_or_else(|| missing("abuffersink"))?;
    graph.add(&source, "in", &args).map_err(failed("filtrage du son"))?;
    graph.add(&sink, "out", "").map_err(failed("filtrage du son"))?;
    let spec = format!(
        "atrim=start=0,aresample={RATE}:async=1:first_pts=0:min_hard_comp={GAP_SECONDS_MAX}:ocl=stereo:osf=fltp,\
         aformat=sample_fmts=fltp:sample_rates={RATE}:channel_layouts=stereo"
    );
    graph
        .output("in", 0)
        .and_then(|parser| parser.input("out", 0))
        .and_then(|parser| parser.parse(&spec))
        .and_then(|()| graph.validate())
        .map_err(failed("filtrage du son"))?;
    Ok(graph)
}

/// Encodes stereo 48 kHz sound so that a player that knows nothing of priming is still in sync: the first 1024
/// samples, over which the encoder's own delay lies, are left out.
pub(super) struct AacEncoder {
    encoder: encoder::Audio,
    left: Vec<f32>,
    right: Vec<f32>,
    skip: usize,
    fed: i64,
}

impl AacEncoder {
    pub(super) fn try_new(bit_rate: usize) -> Result<Self, MediaError> {
        let codec = encoder::find(codec::Id::AAC)
            .ok_or_else(|| MediaError::Missing { what: "encodeur AAC".to_owned() })?;
        let mut settings =
            Context::new_with_codec(codec).encoder().audio().map_err(failed("encodage du son"))?;
        settings.set_rate(RATE as i32);
        settings.set_format(Sample::F32(sample::Type::Planar));
        settings.set_channel_layout(ChannelLayout::STEREO);
        settings.set_bit_rate(bit_rate);
        settings.set_time_base((1, RATE as i32));
        settings.set_flags(codec::Flags::GLOBAL_HEADER);
        let encoder =
            settings.open_as_with(codec, Dictionary::new()).map_err(failed("encodage du son"))?;
        Ok(Self { encoder, left: Vec::new(), right: Vec::new(), skip: AAC_PRIMING, fed: 0 })
    }

    /// The header a decoder needs.
    pub(super) fn parameters(&self) -> codec::Parameters {
        codec::Parameters::from(&self.encoder)
    }

    /// The context a container copies its header from.
    pub(super) fn context(&self) -> &Context {
        &self.encoder
    }

    /// Takes samples; `packet` gets what comes out, stamped in samples from 0.
    pub(super) fn push(
        &mut self,
        left: &[f32],
        right: &[f32],
        packet: &mut dyn FnMut(Packet) -> Result<(), MediaError>,
    ) -> Result<(), MediaError> {
        let skip = self.skip.min(left.len());
        self.skip -= skip;
        self.left.extend_from_slice(&left[skip..]);
        self.right.extend_from_slice(&right[skip..]);
        let whole = self.left.len() / AAC_FRAME * AAC_FRAME;
        for from in (0..whole).step_by(AAC_FRAME) {
            self.encode(from, AAC_FRAME)?;
            self.collect(packet)?;
        }
        self.left.drain(..whole);
        self.right.drain(..whole);
        Ok(())
    }

    /// Encodes what is left and ends the track.
    pub(super) fn finish(
        &mut self,
        packet: &mut dyn FnMut(Packet) -> Result<(), MediaError>,
    ) -> Result<(), MediaError> {
        if !self.left.is_empty() {
            self.encode(0, self.left.len())?;
        }
        self.encoder.send_eof().map_err(failed("encodage du son"))?;
        self.collect(packet)
    }

    fn encode(&mut self, from: usize, len: usize) -> Result<(), MediaError> {
        let mut frame =
            frame::Audio::new(Sample::F32(sample::Type::Planar), len, ChannelLayout::STEREO);
        frame.set_rate(RATE as u32);
        frame.set_pts(Some(self.fed));
        frame.plane_mut::<f32>(0)[..len].copy_from_slice(&self.left[from..from + len]);
        frame.plane_mut::<f32>(1)[..len].copy_from_slice(&self.right[from..from + len]);
        self.fed += len as i64;
        self.encoder.send_frame(&frame).map_err(failed("encodage du son"))
    }

    fn collect(
        &mut self,
        hand: &mut dyn FnMut(Packet) -> Result<(), MediaError>,
    ) -> Result<(), MediaError> {
        loop {
            let mut packet = Packet::empty();
            match self.encoder.receive_packet(&mut packet) {
                Ok(()) => {
                    let stamp = packet.pts().map(|pts| pts + AAC_PRIMING as i64);
                    packet.set_pts(stamp);
                    packet.set_dts(stamp);
                    hand(packet)?;
                }
                Err(error) if wants_more(error) => return Ok(()),
                Err(error) => return Err(failed("encodage du son")(error)),
            }
        }
    }
}
