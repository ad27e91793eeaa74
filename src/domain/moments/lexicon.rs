//! The words and emotes a crowd reacts with, by mood. Written for this product from general
//! knowledge of chats, French and English; a channel adds its own emotes.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::domain::moments::reading::canonical;
use crate::domain::moments::signal::ChatterId;

/// What a reaction says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mood {
    Awe,
    Laughter,
    Shock,
}

// Only what is nearly always a reaction to what was just seen: words of ordinary talk (« nuts »,
// « sick », « énorme ») and emotes of grief, disgust or doubt are left out.
const AWE: &str = "\
    pog pogchamp poggers pogu pogger pogslide poggies pogey pagman pagchomp kreygasm \
    wow woah whoa woohoo omg omfg holy insane unreal unbelievable incredible amazing godlike \
    sheesh letsgo lesgo lfg clip clipped clap ezclap gg ggs ggwp wp gigachad \
    incroyable wouah waouh ouah whaou dingue magistral masterclass monstrueux bravo chapeau \
    🔥 🤩 👏 🎉 🏆";

const LAUGHTER: &str = "\
    lul lulw luls lulz kekw kek omegalul lol lols lolz lmao lmfao rofl roflmao xd xdd \
    eleggigle 4head icant pepelaugh haha hahaha \
    mdr ptdr xptdr jpp explosé \
    😂 🤣 😆 😹 💀";

const SHOCK: &str = "\
    wtf wth wutface jebaited notlikethis swiftrage babyrage monkaw monkagiga waytoodank \
    noway nowaying nani oof oskour aled \
    😱 😮 😨 🤯";

/// Accounts that answer by themselves; ids made with [`ChatterId::of_login`] are known.
const BOTS: [&str; 14] = [
    "nightbot",
    "streamelements",
    "streamlabs",
    "moobot",
    "wizebot",
    "fossabot",
    "botisimo",
    "phantombot",
    "coebot",
    "deepbot",
    "soundalerts",
    "sery_bot",
    "pokemoncommunitygame",
    "kofistreambot",
];

/// Which token means which mood, and who is a bot. Data of the channel, not code.
#[derive(Debug, Clone)]
pub struct Lexicon {
    moods: HashMap<u64, Mood>,
    bots: Vec<ChatterId>,
}

impl Default for Lexicon {
    fn default() -> Self {
        let mut lexicon = Self { moods: HashMap::new(), bots: Vec::new() };
        for (mood, words) in [(Mood::Awe, AWE), (Mood::Laughter, LAUGHTER), (Mood::Shock, SHOCK)] {
            lexicon.add_words(mood, words.split_whitespace());
        }
        lexicon.add_bots(BOTS.map(ChatterId::of_login));
        lexicon
    }
}

impl Lexicon {
    /// Adds the channel's own words or emotes; the last mood given to a word holds.
    pub fn add_words<'w>(&mut self, mood: Mood, words: impl IntoIterator<Item = &'w str>) {
        self.moods.extend(words.into_iter().map(|word| (canonical(word).fingerprint, mood)));
    }

    /// Adds accounts whose messages are to be ignored.
    pub fn add_bots(&mut self, bots: impl IntoIterator<Item = ChatterId>) {
        self.bots.extend(bots);
        self.bots.sort_unstable();
        self.bots.dedup();
    }

    pub fn is_bot(&self, chatter: ChatterId) -> bool {
        self.bots.binary_search(&chatter).is_ok()
    }

    /// The mood of a token's fingerprint, as made by [`canonical`].
    pub(crate) fn mood(&self, fingerprint: u64) -> Option<Mood> {
        self.moods.get(&fingerprint).copied()
    }
}
