//! What the pretend audience says, and what it calls itself.

use super::plot::{Happening, Mood};
use crate::rehearsal::chance::Dice;

/// Words, emotes and whole sentences of one mood.
pub(super) struct Phrases {
    emotes: &'static [&'static str],
    words: &'static [&'static str],
    sentences: &'static [&'static str],
}

const LAUGHTER: Phrases = Phrases {
    emotes: &["KEKW", "LUL", "OMEGALUL", "😂", "🤣", "LULW", "ICANT"],
    words: &[
        "mdr", "MDR", "ptdr", "PTDR", "mdrrr", "jpp", "xd", "AHAHAH", "hahaha", "lol", "MDRRRRR",
    ],
    sentences: &[
        "je suis plié",
        "j'en peux plus mdr",
        "mais quel accident",
        "la tête d'Inès mdrrr",
        "c'est trop",
        "je pleure de rire",
        "non mais PTDR",
    ],
};
const AWE: Phrases = Phrases {
    emotes: &["PogChamp", "Pog", "POGGERS", "🔥", "PogU", "👏", "🎉", "Kreygasm"],
    words: &[
        "WOW",
        "wow",
        "INCROYABLE",
        "OMG",
        "insane",
        "énorme",
        "QUOI",
        "LETSGOOO",
        "GG",
        "masterclass",
    ],
    sentences: &[
        "mais c'est quoi ce niveau",
        "j'ai des frissons",
        "trop fort",
        "LA CLASSE",
        "meilleure soirée de la villa",
        "c'est magnifique",
        "standing ovation",
    ],
};
const SAD: Phrases = Phrases {
    emotes: &["BibleThump", "Sadge", "😭", "NotLikeThis", "PepeHands"],
    words: &["noooon", "NOOON", "oh non", "F", "rip", "RIP", "aïe"],
    sentences: &["pauvre verre", "qui va nettoyer", "minute de silence", "mon coeur"],
};
const SURPRISE: Phrases = Phrases {
    emotes: &["monkaS", "😱", "WutFace", "monkaW", "D:", "👀"],
    words: &["???", "?????", "QUOI", "hein", "HEIN", "wtf", "WTF", "omg", "mais", "QUOI ???"],
    sentences: &[
        "il se passe quoi là",
        "j'ai rien compris",
        "c'était prévu ?",
        "attendez quoi",
        "je m'y attendais pas du tout",
    ],
};
const TENDER: Phrases = Phrases {
    emotes: &["<3", "🐱", "😻", "VoHiYo", "❤️", "🧡"],
    words: &["oooh", "trop mignon", "TROP MIGNON", "awww", "le chaaaat", "LE CHAT", "miaou"],
    sentences: &[
        "il s'en fiche complètement",
        "c'est lui la star",
        "donnez-lui un micro",
        "ce regard",
    ],
};

pub(super) const fn of(mood: Mood) -> &'static Phrases {
    match mood {
        Mood::Laughter => &LAUGHTER,
        Mood::Awe => &AWE,
        Mood::Sad => &SAD,
        Mood::Surprise => &SURPRISE,
        Mood::Tender => &TENDER,
    }
}

/// A reaction as people type it: short, repeated, now and then in capitals.
pub(super) fn reaction(dice: &mut Dice, phrases: &Phrases) -> String {
    let chance = dice.between(0.0, 1.0);
    if chance < 0.34 {
        let emote = dice.pick(phrases.emotes);
        let times = 1 + dice.below(4);
        vec![emote; times].join(" ")
    } else if chance < 0.68 {
        dice.pick(phrases.words).to_owned()
    } else if chance < 0.85 {
        format!("{} {}", dice.pick(phrases.words), dice.pick(phrases.emotes))
    } else {
        let sentence = dice.pick(phrases.sentences);
        if dice.happens(0.2) { sentence.to_uppercase() } else { sentence.to_owned() }
    }
}

/// Talk without an occasion.
pub(super) fn talk(dice: &mut Dice) -> String {
    let said = dice.pick(TALK);
    let chance = dice.between(0.0, 1.0);
    if chance < 0.12 {
        format!("{said} {}", dice.pick(&["LUL", "Kappa", "<3", ":)", "HeyGuys", "mdr"]))
    } else if chance < 0.2 {
        let name = pseudonym(dice, 40);
        format!("@{name} {said}")
    } else {
        said.to_owned()
    }
}

const TALK: &[&str] = &[
    "ils sont où exactement ?",
    "c'est quoi le programme ce soir",
    "j'arrive, j'ai raté quoi",
    "la déco est canon",
    "le son est nickel ce soir",
    "Malo tu joues quoi après",
    "il fait quelle température là-bas",
    "je regarde depuis le train",
    "quelqu'un a le nom du morceau ?",
    "la piscine la nuit, le rêve",
    "première fois ici, bonsoir",
    "Nour au top comme toujours",
    "on mange quoi",
    "je vote pour le karaoké",
    "ça lague chez vous ?",
    "non nickel chez moi",
    "qui a gagné le défi hier",
    "Inès je crois",
    "trop bonne ambiance",
    "la lune est énorme",
    "je reste jusqu'à la fin",
    "il est quelle heure chez eux",
    "les lumières sont belles",
    "bientôt le jeu ?",
    "oui dans dix minutes",
    "j'adore cette villa",
    "le chat dort encore ?",
    "ok",
    "oui",
    "non",
    "pareil",
    "grave",
    "c'est vrai",
    "ah bon",
    "on verra",
    "👍",
    "Kappa",
    "HeyGuys",
    "bonne question",
    "je reviens, café",
    "quelqu'un pour résumer ?",
    "le micro de gauche est un peu fort",
    "c'est mieux merci",
    "vivement demain",
];

pub(super) const HELLO: &[&str] = &[
    "bonsoir !",
    "salut la villa",
    "coucou",
    "HeyGuys",
    "bonsoir tout le monde",
    "yo",
    "hello <3",
];
pub(super) const COMMANDS: &[&str] = &["!planning", "!discord", "!musique", "!villa"];
pub(super) const BOTS: &[(&str, &str)] = &[
    (
        "Nightbot",
        "Le planning de la semaine : lundi cuisine, mardi musique, mercredi tournoi. Tout est sur le site.",
    ),
    ("StreamElements", "Rejoignez le Discord de la villa, le lien est sous la vidéo !"),
    ("Nightbot", "Musique en cours : trio de la villa, improvisation en la mineur."),
];
pub(super) const RAID: &[&str] = &[
    "on vient en paix",
    "bonsoir du raid",
    "coucou la villa !",
    "RAID !!",
    "ça raid fort",
    "HeyGuys",
];
pub(super) const THANKS: &[&str] = &[
    "merci {} !",
    "{} le boss",
    "merci pour le sub <3",
    "quelle générosité",
    "50 ???",
    "GG {}",
    "PogChamp {}",
];
pub(super) const WALL: &str = "♫ ┌(★ᴥ★)┘ ♪ la villa ne dort jamais ♫ └(★ᴥ★)┐ ♪ copiez ce message si vous aimez la villa autant que la villa vous aime ♫ ┌(★ᴥ★)┘ ♪";

/// What is said of one event in particular.
pub(super) const fn about(kind: Happening) -> &'static [&'static str] {
    match kind {
        Happening::Confetti => &["les confettis 🎉", "qui va balayer", "ça pète !", "CONFETTIS"],
        Happening::Cat => {
            &["LE CHAT", "le chat est lancé", "bonjour monsieur le chat", "CHAT > tout le reste"]
        }
        Happening::Glass => &["le verre MDR", "CASSÉ", "ça porte bonheur", "+1 verre cassé"],
        Happening::PowerCut => &[
            "plus de lumière ???",
            "qui a pas payé EDF",
            "NOIR TOTAL",
            "les yeux dans le noir mdr",
        ],
        Happening::Guitar => &["CE SOLO", "MALOOOO", "quel solo 🔥", "la guitare 🔥🔥"],
        Happening::Plunge => &["TOUT HABILLÉE MDR", "INÈS A SAUTÉ", "plouf", "10/10 le plongeon"],
        Happening::Guest => &["c'est qui ???", "L'INVITÉ", "non c'est lui ?!", "ce chapeau"],
        Happening::Goal => &["BUUUUUT", "BUT", "GOOOOAL", "1-0 !!!"],
    }
}

pub(super) const COLORS: &[&str] = &[
    "#FF4500", "#1E90FF", "#2E8B57", "#DAA520", "#FF69B4", "#8A2BE2", "#00FF7F", "#B22222",
    "#5F9EA0", "#D2691E", "#9ACD32",
];

const FIRST: &[&str] = &[
    "Luna",
    "Kiki",
    "Zephyr",
    "Tartine",
    "Nono",
    "Moka",
    "Pixel",
    "Cassis",
    "Loulou",
    "Basile",
    "Chouquette",
    "Orage",
    "Tango",
    "Mistral",
    "Pépin",
    "Gribouille",
    "Noisette",
    "Fanette",
    "Ravioli",
    "Cachou",
    "Brume",
    "Sirocco",
    "Poulpe",
    "Citron",
    "Biscotte",
    "Hibou",
    "Comète",
    "Menthe",
    "Renard",
    "Galet",
];
const SECOND: &[&str] = &[
    "DuSud",
    "Gaming",
    "_fr",
    "TV",
    "Masqué",
    "EnVrai",
    "Bzh",
    "_officiel",
    "DesBois",
    "Nocturne",
    "XL",
    "Turbo",
    "_off",
    "Sucré",
    "Des3Villes",
    "LeVrai",
    "Zen",
    "_live",
    "Express",
    "Mystère",
];

/// A name as viewers choose them; the number keeps it apart from all others.
pub(super) fn pseudonym(dice: &mut Dice, index: usize) -> String {
    let first = plain(dice.pick(FIRST));
    let second = plain(dice.pick(SECOND));
    // Twitch names are ASCII.
    format!("{first}{second}{}", 10 + index)
}

fn plain(text: &str) -> String {
    text.chars()
        .map(|letter| match letter {
            'é' | 'è' | 'ê' => 'e',
            'ç' => 'c',
            other => other,
        })
        .collect()
}
