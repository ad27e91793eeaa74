//! How a camera's line is, in few words: how far away it is, what was lost, whether it came again.

use crate::ports::ingest::LineReading;
use crate::web::pages::french::{count, counted, percent_with};

/// What is said of a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LineRow {
    pub(super) class: &'static str,
    pub(super) icon: &'static str,
    pub(super) words: String,
    /// What to do about it.
    pub(super) todo: Option<String>,
}

impl LineRow {
    /// A line on which packets are held back for so many milliseconds.
    pub(super) fn of(line: &LineReading, latency_ms: u32) -> Self {
        let lost = lost_words(line);
        let rtt_ms = line.rtt_ms.round().max(0.0) as u64;
        let words = format!("{lost} · aller-retour {} ms", count(rtt_ms));
        if line.dropped == 0 {
            return Self { class: "live", icon: "radio", words, todo: None };
        }
        // Four ways there and back are what it takes to ask again until a packet comes.
        let enough_ms = (rtt_ms * 4).max(u64::from(latency_ms) * 2);
        let todo = format!(
            "Des images ont manqué. Écrivez latency={} dans l'adresse de l'encodeur, ou baissez son débit.",
            enough_ms * 1_000
        );
        Self { class: "warn", icon: "triangle-alert", words, todo: Some(todo) }
    }
}

fn lost_words(line: &LineReading) -> String {
    if line.lost == 0 && line.dropped == 0 {
        return "Aucun paquet perdu".to_owned();
    }
    let (share, least) = (line.lost_share(), 0.001);
    let (lead, share) = if share < least { ("Moins de ", least) } else { ("", share) };
    let share = format!("{lead}{} de paquets perdus", percent_with(share, 1));
    if line.dropped == 0 {
        return format!("{share}, tous rattrapés");
    }
    format!("{share}, {} pour de bon", counted(line.dropped, "disparu", "disparus"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_told_in_few_words_and_what_to_do_only_when_pictures_are_missing() {
        let of = |packets, lost, dropped| {
            let retransmitted = lost - dropped;
            let line = LineReading { rtt_ms: 24.4, packets, lost, retransmitted, dropped };
            let row = LineRow::of(&line, 200);
            LineRow { words: row.words.replace('\u{a0}', " "), ..row }
        };
        let good = of(10_000, 0, 0);
        assert_eq!(good.words, "Aucun paquet perdu · aller-retour 24 ms");
        let made_good = of(10_000, 30, 0);
        let words = "0,3 % de paquets perdus, tous rattrapés · aller-retour 24 ms";
        assert_eq!((&*made_good.words, made_good.class, made_good.todo), (words, "live", None));
        let few = of(1_000_000, 1, 0);
        assert!(few.words.starts_with("Moins de 0,1 % de paquets perdus, tous"), "{}", few.words);
        let bad = of(9_988, 112, 12);
        assert!(bad.words.starts_with("1,1 % de paquets perdus, 12 disparus"), "{}", bad.words);
        assert!(bad.class == "warn" && bad.todo.unwrap().contains("latency=400000"));
    }
}
