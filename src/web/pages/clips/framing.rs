//! How a reel is framed, as a list of choices in words.

use crate::domain::clips::reel_plan::{Layout, Region};

/// Share of the width and of the height that a face camera usually takes in a corner.
const FACE_SHARE: f64 = 0.28;
/// Share of the reel's height that the face gets.
const FACE_ABOVE: f64 = 0.35;

/// The word in the form, and what it is called.
pub(super) const CHOICES: [(&str, &str); 8] = [
    ("flou", "Image entière sur fond flouté"),
    ("centre", "Recadré au centre"),
    ("gauche", "Recadré à gauche"),
    ("droite", "Recadré à droite"),
    ("visage-hg", "Visage au-dessus (caméra en haut à gauche)"),
    ("visage-hd", "Visage au-dessus (caméra en haut à droite)"),
    ("visage-bg", "Visage au-dessus (caméra en bas à gauche)"),
    ("visage-bd", "Visage au-dessus (caméra en bas à droite)"),
];

/// The layout behind a word.
pub(super) fn layout(word: &str) -> Option<Layout> {
    let far = 1.0 - FACE_SHARE;
    let face = |x, y| Layout::Split {
        face: Region { x, y, width: FACE_SHARE, height: FACE_SHARE },
        content: Region::FULL,
        face_share: FACE_ABOVE,
    };
    Some(match word {
        "flou" => Layout::BlurredBackground,
        "centre" => Layout::Crop { centre_x: 0.5 },
        "gauche" => Layout::Crop { centre_x: 0.25 },
        "droite" => Layout::Crop { centre_x: 0.75 },
        "visage-hg" => face(0.0, 0.0),
        "visage-hd" => face(far, 0.0),
        "visage-bg" => face(0.0, far),
        "visage-bd" => face(far, far),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_choice_is_a_layout_inside_the_picture() {
        for (word, _) in CHOICES {
            match layout(word) {
                Some(Layout::Split { face, content, .. }) => {
                    assert!(face.is_inside() && content.is_inside(), "{word}");
                }
                Some(_) => {}
                None => panic!("{word} is no layout"),
            }
        }
        assert_eq!(layout("autre"), None);
    }
}
