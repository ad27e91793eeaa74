//! Moments of a stream that is over: heard twice, once for its delay, once with it.

use crate::domain::moments::delay::{Delay, DelayOrigin};
use crate::domain::moments::detector::Detector;
use crate::domain::moments::lexicon::Lexicon;
use crate::domain::moments::moment::Moment;
use crate::domain::moments::params::Params;
use crate::domain::moments::signal::Signal;

/// All moments of a recorded stream in order of time, and the delay they were placed with: the
/// one given, else the one its sound and marks show, else the default. Signals come in order of
/// time.
pub fn find_moments<'s>(
    signals: impl Iterator<Item = Signal<'s>> + Clone,
    params: &Params,
    lexicon: &Lexicon,
) -> (Vec<Moment>, Delay) {
    let delay = match params.delay.origin {
        DelayOrigin::Set | DelayOrigin::Calibrated => params.delay,
        DelayOrigin::Default => {
            let mut detector = Detector::with_lexicon(params.clone(), lexicon.clone());
            for signal in signals.clone() {
                detector.hear(signal);
            }
            detector.estimated_delay().unwrap_or_default()
        }
    };
    let mut detector = Detector::with_lexicon(Params { delay, ..params.clone() }, lexicon.clone());
    let mut moments: Vec<Moment> = signals.flat_map(|signal| detector.hear(signal)).collect();
    moments.extend(detector.finish());
    (moments, detector.delay())
}

#[cfg(test)]
mod tests {
    use crate::domain::moments::delay::{Delay, DelayOrigin};
    use crate::domain::moments::lexicon::Lexicon;
    use crate::domain::moments::params::Params;
    use crate::domain::moments::recorded::find_moments;
    use crate::domain::moments::rehearsed::Stream;

    #[test]
    fn a_short_recording_is_placed_by_the_delay_its_sound_shows() {
        let bursts = [45, 80, 130, 160, 205, 250];
        let mut stream = Stream::new().talk(0, 300, 60).sound(300, &bursts, 4);
        for burst in bursts {
            stream = stream.laughter(burst + 6, 60);
        }
        let cues = stream.cues();
        let signals = cues.iter().map(|(at_ms, cue)| cue.signal(*at_ms));

        let (moments, delay) =
            find_moments(signals.clone(), &Params::default(), &Lexicon::default());

        assert_eq!(delay.origin, DelayOrigin::Calibrated);
        assert!((delay.seconds - 6.0).abs() <= 3.0, "{delay:?}");
        for burst in &bursts[1..] {
            let near = |event_s: f64| (event_s - f64::from(*burst as u32)).abs() <= 4.0;
            assert!(moments.iter().any(|moment| near(moment.event_s)), "{burst}: {moments:?}");
        }

        let params = Params { delay: Delay::set(20.0), ..Params::default() };
        let (_, delay) = find_moments(signals, &params, &Lexicon::default());
        assert_eq!(delay, Delay::set(20.0));
    }
}
