//! Puts a pretend stream on film: the rehearsal paints and plays, the encoder records.

use std::path::Path;

use anyhow::{Context, Result};

use crate::adapters::ffmpeg::encode_stream;
use crate::domain::clips::picture::{StreamSpec, Yuv420};
use crate::rehearsal::stream::{PretendStream, Yuv420 as Planes};

/// Bits a second of the picture: a drawn scene needs little.
const VIDEO_BIT_RATE: u32 = 3_500_000;

/// Records a whole stream to `file`, telling the share that is done.
pub(crate) fn record(
    stream: &PretendStream,
    file: &Path,
    fonts_dir: &Path,
    progress: &dyn Fn(f64),
) -> Result<()> {
    let script = stream.script();
    let spec = StreamSpec {
        width: script.width,
        height: script.height,
        fps: script.frames_per_second,
        frames: u64::from(script.seconds) * u64::from(script.frames_per_second),
        video_bit_rate: VIDEO_BIT_RATE,
    };
    let captions = file.with_extension("ass");
    std::fs::write(&captions, stream.captions_ass())
        .with_context(|| format!("cannot write `{}`", captions.display()))?;
    let temporary = file.with_extension("part.mp4");
    encode_stream(
        &temporary,
        &spec,
        Some(&captions),
        Some(fonts_dir),
        &mut |frame, canvas: &mut Yuv420<'_>| {
            let mut planes = Planes {
                planes: [&mut *canvas.y, &mut *canvas.u, &mut *canvas.v],
                strides: [canvas.y_stride, canvas.u_stride, canvas.v_stride],
            };
            stream.picture(frame, &mut planes);
        },
        &mut |first_sample, samples| stream.sound(first_sample, samples),
        &mut |share| progress(share),
    )?;
    std::fs::rename(&temporary, file)
        .with_context(|| format!("cannot name `{}`", file.display()))?;
    std::fs::remove_file(&captions)
        .with_context(|| format!("cannot remove `{}`", captions.display()))
}
