//! The numbers of the model. One set serves every channel; only the delay belongs to the stream.

use serde::{Deserialize, Serialize};

use crate::domain::moments::delay::Delay;

/// Weights and limits of the score.
///
/// The score is a log-excess sum: ln of how many times the usual chatters, reactions and shouts
/// there are, less the concentration of tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    pub chatters_weight: f64,
    pub reactions_weight: f64,
    pub shouts_weight: f64,
    pub repetition_weight: f64,
    /// Repetition beyond this says no more.
    pub repetition_max: f64,
    /// Weight of the reactions against the chatters where the best second is looked for.
    pub peak_reactions_weight: f64,
    /// A peak is the highest within this many seconds on both sides, from 1 to 15.
    pub peak_reach_s: u32,
    /// Memory of the usual level, in seconds.
    pub usual_s: u32,
    /// Messages of one person that count within 15 seconds.
    pub messages_per_chatter_max: u32,
    /// Distinct people within 30 seconds before chat alone makes a moment.
    pub chatters_min: u32,
    /// Seconds at the start in which nothing is raised: there is no usual level yet.
    pub warm_up_s: u32,
    /// Moments below this are not told, unless the creator or a moderator asked for them.
    pub score_min: f64,
    /// After a moment was told, none within this many seconds, with the same exception.
    pub refractory_s: u32,
    /// How far chat runs behind the picture. With [`Delay::default`] the detector calibrates it
    /// while it listens; one that was set or calibrated before stays.
    pub delay: Delay,
}

impl Default for Params {
    /// For a whole stream whose moments are ranked at the end: tells every peak.
    fn default() -> Self {
        Self {
            chatters_weight: 1.0,
            reactions_weight: 1.0,
            shouts_weight: 0.5,
            repetition_weight: 1.0,
            repetition_max: 4.0,
            peak_reactions_weight: 0.5,
            peak_reach_s: 15,
            usual_s: 600,
            messages_per_chatter_max: 2,
            chatters_min: 5,
            warm_up_s: 60,
            score_min: 0.25,
            refractory_s: 0,
            delay: Delay::default(),
        }
    }
}

impl Params {
    /// For a live stream: about ten moments an hour, told once.
    pub fn live() -> Self {
        Self { score_min: 2.5, refractory_s: 60, ..Self::default() }
    }
}
