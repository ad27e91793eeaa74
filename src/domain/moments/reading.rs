//! One message read once: its tokens, its mood, its shape.
//!
//! « ??? » is left out on purpose: confusion is as often about nothing.

use crate::domain::moments::lexicon::{Lexicon, Mood};
use crate::domain::moments::signal::{fingerprint, mix};

/// More tokens of one message are not read: a wall of text costs no more than a line.
pub const TOKENS_PER_MESSAGE_MAX: usize = 16;
/// More bytes of one message are not read (platforms end at 500 characters).
const BYTES_PER_MESSAGE_MAX: usize = 1_000;
/// A message of more tokens is talk or a pasted text, whatever words are in it: no reaction.
const REACTION_TOKENS_MAX: usize = 10;
/// A shout has at least this many letters, more than 80 % of them capitals.
const SHOUT_LETTERS_MIN: usize = 3;

/// What the detector keeps of a message besides its tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) mood: Option<Mood>,
    pub(crate) is_shout: bool,
}

/// A token as the lexicon knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    /// Lower case, runs of three or more equal characters cut to two.
    pub(crate) fingerprint: u64,
    /// Drawn-out words (« looool ») with every run cut to one.
    undrawn: Option<u64>,
    /// A channel's emote (« villaPog ») without its lower-case prefix.
    emote: Option<u64>,
}

/// Reads `text`; its distinct tokens replace what `tokens` held. Empty text gives `None`.
pub(crate) fn read(text: &str, lexicon: &Lexicon, tokens: &mut Vec<u64>) -> Option<Reading> {
    tokens.clear();
    let text = head(text.trim());
    if text.is_empty() {
        return None;
    }
    let (mut mood, mut words) = (None, 0);
    for raw in text.split_whitespace().take(TOKENS_PER_MESSAGE_MAX) {
        words += 1;
        let token = canonical(raw);
        let found = mood_of(raw, token, lexicon);
        mood = mood.or(found);
        let named = match found {
            // Twenty ways to laugh are one word when repetition is measured.
            Some(Mood::Laughter) => 0,
            _ => token.fingerprint,
        };
        if !tokens.contains(&named) {
            tokens.push(named);
        }
    }
    let (mut letters, mut capitals) = (0_usize, 0_usize);
    for char in text.chars() {
        letters += usize::from(char.is_alphabetic());
        capitals += usize::from(char.is_uppercase());
    }
    Some(Reading {
        mood: mood.filter(|_| words <= REACTION_TOKENS_MAX),
        is_shout: letters >= SHOUT_LETTERS_MIN && capitals * 5 > letters * 4,
    })
}

/// The token as written in any case, however drawn out, without the punctuation around it.
pub(crate) fn canonical(raw: &str) -> Token {
    let trimmed = raw.trim_matches(|char: char| char.is_ascii_punctuation());
    let word = if trimmed.is_empty() { raw } else { trimmed };
    let has_prefix = word.starts_with(|char: char| char.is_lowercase() || char.is_ascii_digit());
    let (mut cut, mut single) = (fingerprint([].into_iter()), fingerprint([].into_iter()));
    let mut emote = None;
    let (mut last, mut run, mut is_drawn_out) = (None, 0, false);
    for upper in word.chars() {
        for char in upper.to_lowercase() {
            run = if last == Some(char) { run + 1 } else { 1 };
            last = Some(char);
            is_drawn_out |= run >= 3 || (run == 2 && !char.is_alphanumeric());
            if run <= 2 {
                cut = mix(cut, char);
                if has_prefix && (emote.is_some() || upper.is_uppercase()) {
                    emote = Some(mix(emote.unwrap_or(fingerprint([].into_iter())), char));
                }
            }
            if run == 1 {
                single = mix(single, char);
            }
        }
    }
    Token { fingerprint: cut, undrawn: is_drawn_out.then_some(single), emote }
}

fn mood_of(raw: &str, token: Token, lexicon: &Lexicon) -> Option<Mood> {
    lexicon
        .mood(token.fingerprint)
        .or_else(|| token.undrawn.and_then(|undrawn| lexicon.mood(undrawn)))
        .or_else(|| token.emote.and_then(|emote| lexicon.mood(emote)))
        .or_else(|| mood_of_run(raw))
        .or_else(|| {
            raw.chars()
                .filter(|char| !char.is_ascii() && !char.is_alphanumeric())
                .find_map(|char| lexicon.mood(fingerprint([char].into_iter())))
        })
}

/// Reactions that need no language: « hahaha », « ㅋㅋㅋ », « 8888 ».
fn mood_of_run(raw: &str) -> Option<Mood> {
    let all = |set: &str| raw.chars().all(|char| set.contains(char.to_ascii_lowercase()));
    let long = |chars_min: usize| raw.chars().nth(chars_min - 1).is_some();
    let breaths = || raw.chars().filter(|char| matches!(char, 'h' | 'H' | 'j' | 'J')).count();
    match raw.chars().next()?.to_ascii_lowercase() {
        'h' | 'j' | 'a' | 'e' | 'i' if long(4) && all("hjaeiou") && breaths() >= 2 => {
            Some(Mood::Laughter)
        }
        'ㅋ' | 'ㅎ' | '哈' | '笑' if long(2) && all("ㅋㅎ哈笑") => Some(Mood::Laughter),
        'k' if long(4) && all("k") => Some(Mood::Laughter),
        'w' if long(3) && all("w") => Some(Mood::Laughter),
        '5' if long(3) && all("5") => Some(Mood::Laughter),
        '2' if long(4) && all("23") && raw.contains("333") => Some(Mood::Laughter),
        '6' | '7' | '8' if long(3) && (all("6") || all("7") || all("8")) => Some(Mood::Awe),
        _ => None,
    }
}

fn head(text: &str) -> &str {
    &text[..text.floor_char_boundary(BYTES_PER_MESSAGE_MAX)]
}

#[cfg(test)]
mod tests {
    use crate::domain::moments::lexicon::{Lexicon, Mood};
    use crate::domain::moments::reading::{TOKENS_PER_MESSAGE_MAX, read};

    #[track_caller]
    fn check(text: &str, mood: Option<Mood>) {
        let reading = read(text, &Lexicon::default(), &mut Vec::new()).unwrap();
        assert_eq!(reading.mood, mood, "{text}");
    }

    #[test]
    fn moods_are_read_in_french_english_and_none() {
        check("mdrrrrr", Some(Mood::Laughter));
        check("ptdr, il l'a fait", Some(Mood::Laughter));
        check("LUUUUL", Some(Mood::Laughter));
        check("ahahaha", Some(Mood::Laughter));
        check("ㅋㅋㅋㅋ", Some(Mood::Laughter));
        check("😂😂", Some(Mood::Laughter));
        check("Pog!", Some(Mood::Awe));
        check("incroyable", Some(Mood::Awe));
        check("88888", Some(Mood::Awe));
        check("oskour", Some(Mood::Shock));
    }

    #[test]
    fn plain_talk_has_no_mood() {
        check("bonjour tout le monde", None);
        check("77", None);
        check("???", None);
        check("lol is a word that stands in this long sentence by mere chance", None);
        check("cliparts", None);
        check("on mange quoi ce soir", None);
    }

    #[test]
    fn a_channels_own_emote_is_read_by_its_ending_or_by_its_name() {
        check("villaPog", Some(Mood::Awe));
        let mut lexicon = Lexicon::default();
        lexicon.add_words(Mood::Laughter, ["villaCanard"]);
        let reading = read("VILLACANARD", &lexicon, &mut Vec::new()).unwrap();
        assert_eq!(reading.mood, Some(Mood::Laughter));
    }

    #[test]
    fn a_shout_is_mostly_capitals() {
        let is_shout = |text| read(text, &Lexicon::default(), &mut Vec::new()).unwrap().is_shout;
        assert!(is_shout("OH MON DIEU QUEL BUT"));
        assert!(!is_shout("OK") && !is_shout("Bravo Jeanne") && !is_shout("1000 !!!"));
    }

    #[test]
    fn a_wall_of_text_is_read_only_so_far() {
        let wall: String = "mot é encore ".repeat(5_000);
        let mut tokens = Vec::new();
        read(&wall, &Lexicon::default(), &mut tokens).unwrap();
        assert!(tokens.len() <= 3);
        let many: Vec<String> = (0..200).map(|n| format!("mot{n}")).collect();
        read(&many.join(" "), &Lexicon::default(), &mut tokens).unwrap();
        assert_eq!(tokens.len(), TOKENS_PER_MESSAGE_MAX);
        assert!(read("   ", &Lexicon::default(), &mut tokens).is_none());
    }

    #[test]
    fn ways_to_laugh_are_one_token() {
        let (mut one, mut other) = (Vec::new(), Vec::new());
        read("mdr", &Lexicon::default(), &mut one);
        read("hahahaha", &Lexicon::default(), &mut other);
        assert_eq!(one, other);
    }
}
