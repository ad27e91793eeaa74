//! The words in the picture, as an ASS script for the encoder to burn in.

use std::fmt::Write;

use super::plot::Plot;

// The font names are those of the static files (libass reads name record 1, not the family of 16).
const HEAD: &str = "\u{feff}[Script Info]
ScriptType: v4.00+
PlayResX: 1280
PlayResY: 720
WrapStyle: 0
ScaledBorderAndShadow: yes
YCbCr Matrix: TV.709

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, Encoding
Style: Titre,Bricolage Grotesque ExtraBold,45,&H00F0FAFF,&H00F0FAFF,&H00501E2E,&H80000000,0,0,0,0,100,100,0,0,1,4,1,8,440,440,66,1
Style: Nom,Inter SemiBold,22,&H00F0FAFF,&H00F0FAFF,&H00381428,&H00000000,0,0,0,0,100,100,0,0,3,6,0,1,36,900,34,1
Style: Scene,Inter SemiBold,22,&H00F0FAFF,&H00F0FAFF,&H00381428,&H00000000,0,0,0,0,100,100,0,0,3,6,0,3,900,36,34,1
Style: Direct,Inter SemiBold,18,&H00F0FAFF,&H00F0FAFF,&H60381428,&H00000000,0,0,0,0,100,100,1,0,1,2,0,9,40,40,24,1

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
";

/// Who is seen, told in turn: the host in her own picture, the others beside the stage.
const NAMES: [(&str, &str); 4] = [
    ("Nom", "Nour · à la présentation"),
    ("Scene", "Malo · guitare"),
    ("Scene", "Inès · défi du soir"),
    ("Scene", "Villa Novembre · jour 3"),
];
const NAME_EVERY_S: f32 = 30.0;
const NAME_SHOWN_S: f32 = 7.0;
/// The title comes with the climax, not before: it must not tell what will happen.
const TITLE_AFTER_S: f32 = 0.1;

pub(super) fn ass(plot: &Plot, seconds: f32) -> String {
    let mut script = String::from(HEAD);
    let mut line = |style: &str, from: f32, to: f32, text: &str| {
        let (from, to) = (time(from), time(to.min(seconds)));
        // Writing to a String cannot fail.
        let _ = writeln!(script, "Dialogue: 0,{from},{to},{style},,0,0,0,,{text}");
    };
    line("Direct", 0.0, seconds, "SOIRÉE VILLA · EN DIRECT");
    let mut from = 3.0;
    for (style, name) in NAMES.iter().cycle() {
        if from + NAME_SHOWN_S > seconds {
            break;
        }
        line(style, from, from + NAME_SHOWN_S, &format!("{{\\fad(300,300)}}{name}"));
        from += NAME_EVERY_S;
    }
    for event in &plot.events {
        let title = event.kind.title();
        let pop = "{\\fad(80,400)\\fscx60\\fscy60\\t(0,180,\\fscx108\\fscy108)\\t(180,300,\\fscx100\\fscy100)}";
        let from = event.climax() + TITLE_AFTER_S;
        line("Titre", from, event.to().max(from + 3.0), &format!("{pop}{title} !"));
    }
    script
}

/// `h:mm:ss.cc`.
fn time(seconds: f32) -> String {
    let hundredths = (f64::from(seconds.max(0.0)) * 100.0).round() as u64;
    format!(
        "{}:{:02}:{:02}.{:02}",
        hundredths / 360_000,
        hundredths / 6_000 % 60,
        hundredths / 100 % 60,
        hundredths % 100
    )
}
