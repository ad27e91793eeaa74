//! The one unsafe module: fields of libav that `ffmpeg-next` has no safe way to. Nothing here outlives a call.
#![expect(
    unsafe_code,
    reason = "fields of libav structures without a safe accessor in ffmpeg-next 9"
)]

use ffmpeg_next::codec::Parameters;
use ffmpeg_next::{Error, ffi, filter, format, frame};

use crate::domain::clips::footage::Ratio;

/// What a stream's header says of its picture.
#[derive(Debug, Clone, Copy)]
pub(super) struct PictureHeader {
    pub width: u32,
    pub height: u32,
    pub pixel_format: format::Pixel,
    pub pixel_aspect: Ratio,
    /// Frames the decoder holds back before it shows the first one.
    pub reorder_delay: i64,
    pub interlaced: bool,
}

/// Reads the picture fields of `parameters`.
pub(super) fn picture_header(parameters: &Parameters) -> PictureHeader {
    // SAFETY: `as_ptr` is a valid AVCodecParameters for as long as `parameters` is borrowed; plain reads.
    let raw = unsafe { &*parameters.as_ptr() };
    let pixel_format = if raw.format < 0 {
        format::Pixel::None
    } else {
        // SAFETY: for a video stream libavformat stores an AVPixelFormat here, and this library is the one the
        // enum was generated from.
        format::Pixel::from(unsafe { std::mem::transmute::<i32, ffi::AVPixelFormat>(raw.format) })
    };
    let interlaced = !matches!(
        raw.field_order,
        ffi::AVFieldOrder::AV_FIELD_UNKNOWN | ffi::AVFieldOrder::AV_FIELD_PROGRESSIVE
    );
    let aspect = raw.sample_aspect_ratio;
    let square = aspect.num <= 0 || aspect.den <= 0;
    PictureHeader {
        width: u32::try_from(raw.width).unwrap_or(0),
        height: u32::try_from(raw.height).unwrap_or(0),
        pixel_format,
        pixel_aspect: if square { Ratio::new(1, 1) } else { Ratio::new(aspect.num, aspect.den) },
        reorder_delay: i64::from(raw.video_delay.max(0)),
        interlaced,
    }
}

/// The sample rate and channel count a sound stream's header states; 0 where it states none.
pub(super) fn sound_header(parameters: &Parameters) -> (u32, u16) {
    // SAFETY: as in `picture_header`.
    let raw = unsafe { &*parameters.as_ptr() };
    (
        u32::try_from(raw.sample_rate).unwrap_or(0),
        u16::try_from(raw.ch_layout.nb_channels).unwrap_or(0),
    )
}

/// The codec's private header (for H.264: its parameter sets), empty when there is none.
pub(super) fn extradata(parameters: &Parameters) -> Vec<u8> {
    // SAFETY: as in `picture_header`; extradata is null or holds `extradata_size` bytes.
    unsafe {
        let raw = &*parameters.as_ptr();
        if raw.extradata.is_null() || raw.extradata_size <= 0 {
            return Vec::new();
        }
        std::slice::from_raw_parts(raw.extradata, raw.extradata_size as usize).to_vec()
    }
}

/// A copy of `parameters` with another private header and no container tag, for a stream of another container.
pub(super) fn with_extradata(parameters: &Parameters, header: &[u8]) -> Result<Parameters, Error> {
    let mut copy = parameters.clone();
    let padding = ffi::AV_INPUT_BUFFER_PADDING_SIZE as usize;
    // SAFETY: `copy` is ours alone. The old header is freed by the allocator that made it, the new one is
    // allocated by av_mallocz with the padding libav asks for, and ownership passes to `copy`.
    unsafe {
        let raw = &mut *copy.as_mut_ptr();
        let fresh = ffi::av_mallocz(header.len() + padding).cast::<u8>();
        if fresh.is_null() {
            return Err(Error::Other { errno: 12 });
        }
        std::ptr::copy_nonoverlapping(header.as_ptr(), fresh, header.len());
        ffi::av_freep((&raw mut raw.extradata).cast());
        raw.extradata = fresh;
        raw.extradata_size = header.len() as i32;
        raw.codec_tag = 0;
    }
    Ok(copy)
}

/// Lets a filter graph use `threads` threads; to be called before filters are added.
pub(super) fn set_graph_threads(graph: &mut filter::Graph, threads: i32) {
    // SAFETY: the graph is ours and not yet configured; a plain write.
    unsafe { (*graph.as_mut_ptr()).nb_threads = threads };
}

/// Moves `input` to the byte `position`; the next packet starts there or after.
pub(super) fn seek_to_byte(input: &mut format::context::Input, position: i64) -> Result<(), Error> {
    // SAFETY: `input` is a valid open context; -1 asks for no stream in particular.
    let code =
        unsafe { ffi::av_seek_frame(input.as_mut_ptr(), -1, position, ffi::AVSEEK_FLAG_BYTE) };
    if code < 0 { Err(Error::from(code)) } else { Ok(()) }
}

/// The three planes of a 4:2:0 picture, to be painted side by side: the safe accessor lends one at a time.
pub(super) fn planes_mut(picture: &mut frame::Video) -> [&mut [u8]; 3] {
    assert_eq!(picture.format(), format::Pixel::YUV420P, "only 4:2:0 pictures have these planes");
    let sizes = [0, 1, 2].map(|plane| picture.stride(plane) * picture.plane_height(plane) as usize);
    // SAFETY: the picture is uniquely borrowed for as long as the slices live; libav's planes of a 4:2:0 picture
    // lie apart, each `stride × rows` bytes long.
    unsafe {
        let raw = &*picture.as_mut_ptr();
        [0, 1, 2].map(|plane| std::slice::from_raw_parts_mut(raw.data[plane], sizes[plane]))
    }
}
