//! Alerts as people read them, in French: the same words on pages, in mails and on phones.

use chrono::TimeDelta;

use crate::domain::alerts::service::{AVAILABILITY_MIN, CONVERSION_MIN};
use crate::domain::alerts::{Incident, Topic, Turn, Watcher};
use crate::domain::resources::Resource;
use crate::domain::resources::trigger::Action;

/// A resource at the head of a sentence, and whether its verb is plural.
const fn subject(resource: Resource) -> (&'static str, bool) {
    match resource {
        Resource::Cpu => ("Le processeur", false),
        Resource::Memory => ("La mémoire", false),
        Resource::Disk => ("Le disque", false),
        Resource::Inodes => ("Le nombre de fichiers du disque", false),
        Resource::DiskRate => ("Le débit du disque", false),
        Resource::NetworkRate => ("Le réseau", false),
        Resource::Transfer => ("Le transfert du mois", false),
        Resource::Processes => ("Les processus", true),
        Resource::Files => ("Les fichiers ouverts", true),
        Resource::Connections => ("Les connexions à la base", true),
        Resource::QueueWait => ("L'attente des pages", false),
    }
}

/// What is wrong, in a short sentence without a full stop.
pub fn title(topic: Topic) -> String {
    match topic {
        Topic::Ceiling(resource) => {
            let (subject, is_plural) = subject(resource);
            let verb = if is_plural { "ont" } else { "a" };
            format!("{subject} {verb} atteint 80\u{a0}%")
        }
        Topic::Blind(resource) => {
            format!("SPARK ne voit plus\u{a0}: {}", lower(subject(resource).0))
        }
        Topic::Stalled(Watcher::Looks) => "La surveillance de la machine est arrêtée".to_owned(),
        Topic::Stalled(Watcher::Governor) => "Le régulateur des rendus est arrêté".to_owned(),
        Topic::FillsSoon(resource) => {
            let (subject, is_plural) = subject(resource);
            format!("{subject} {} bientôt à 80\u{a0}%", if is_plural { "seront" } else { "sera" })
        }
        Topic::PlanDiffers(resource) => {
            format!(
                "La machine n'a pas ce que le forfait promet\u{a0}: {}",
                lower(subject(resource).0)
            )
        }
        Topic::Availability => "Des pages répondent par une erreur".to_owned(),
        Topic::Latency => "Les pages sont lentes".to_owned(),
        Topic::Conversion => "Peu d'offres sont acceptées".to_owned(),
    }
}

/// How bad it is, what gives way because of it, and what to do: for whoever reads it while it lasts.
pub fn now(incident: &Incident) -> String {
    let slowed = slowed(incident, "Cède la place");
    let mut told: Vec<String> = [worst(incident), slowed].into_iter().flatten().collect();
    told.push(remedy(incident.topic).to_owned());
    told.join(" ")
}

/// How long it lasted, how bad it was and what gave way.
pub fn after(incident: &Incident) -> String {
    let lasted = format!("Cela a duré {}.", length(incident.lasted(incident.opened_at)));
    let slowed = slowed(incident, "A cédé la place");
    let told = [Some(lasted), worst(incident), slowed];
    told.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// Title and text of a notice.
pub fn notice(incident: &Incident, turn: Turn) -> (String, String) {
    match turn {
        Turn::Opening => (title(incident.topic), now(incident)),
        Turn::Ending => {
            (format!("Terminé\u{a0}: {}", lower(&title(incident.topic))), after(incident))
        }
    }
}

/// The worst that was seen, in a sentence.
fn worst(incident: &Incident) -> Option<String> {
    let worst = incident.worst?;
    Some(match incident.topic {
        Topic::Ceiling(_) => format!("Au plus fort\u{a0}: {}.", percent(worst)),
        Topic::FillsSoon(_) => format!("À ce rythme, c'est dans {}.", hours(worst)),
        Topic::Availability => format!(
            "{} des requêtes échouent, la limite est {}.",
            fine_percent(worst),
            fine_percent(1.0 - AVAILABILITY_MIN)
        ),
        Topic::Latency => {
            format!("{} des requêtes prennent plus de 100\u{a0}ms.", percent(worst))
        }
        Topic::Conversion => {
            format!("{} d'accord, le but est {}.", percent(worst), percent(CONVERSION_MIN))
        }
        Topic::PlanDiffers(_) => format!("Il y en a {} de ce qui est promis.", percent(worst)),
        Topic::Blind(_) | Topic::Stalled(_) => return None,
    })
}

/// What gave way, in a sentence.
fn slowed(incident: &Incident, verb: &str) -> Option<String> {
    let what: Vec<&str> = incident.slowed.iter().filter_map(|action| gave_way(*action)).collect();
    (!what.is_empty()).then(|| format!("{verb}\u{a0}: {}.", what.join(", ")))
}

const fn gave_way(action: Action) -> Option<&'static str> {
    match action {
        Action::HoldRenders => Some("les nouveaux rendus"),
        Action::StopRenders => Some("les rendus en cours"),
        Action::ShedSheddable => Some("les imports"),
        Action::MergeFanOut => Some("le rythme des pages du direct"),
        Action::RefuseStreams => Some("les nouvelles pages de direct"),
        Action::RefusePages => Some("les pages qui peuvent attendre"),
        Action::Alert => None,
    }
}

/// What to do, in a sentence.
const fn remedy(topic: Topic) -> &'static str {
    match topic {
        Topic::Ceiling(Resource::Disk | Resource::Inodes) => {
            "Le direct continue\u{a0}: faites de la place, ou réduisez la durée de conservation."
        }
        Topic::Ceiling(Resource::Cpu | Resource::Memory) => {
            "Le direct continue\u{a0}: regardez sous «\u{a0}Ressources\u{a0}» qui prend quoi."
        }
        Topic::Ceiling(Resource::Transfer) => {
            "Réduisez les diffusions, ou prenez un forfait plus grand."
        }
        Topic::Ceiling(_) => "Regardez sous «\u{a0}Ressources\u{a0}» ce qui cède et pourquoi.",
        Topic::Blind(_) => "Les rendus attendent tant que SPARK ne voit pas. Regardez le journal.",
        Topic::Stalled(_) => {
            "Redémarrez SPARK dès que le direct le permet\u{a0}; l'enregistrement continue."
        }
        Topic::FillsSoon(_) => "Faites de la place avant.",
        Topic::PlanDiffers(_) => "Vérifiez le forfait dans les réglages et chez l'hébergeur.",
        Topic::Availability => "Regardez «\u{a0}Santé\u{a0}» et le journal.",
        Topic::Latency => "Regardez sous «\u{a0}Ressources\u{a0}» ce qui prend la place.",
        Topic::Conversion => "Relisez les dernières prescriptions.",
    }
}

/// « 4 min », « 2 h 05 », « 30 s ».
pub fn length(lasted: TimeDelta) -> String {
    let seconds = lasted.num_seconds();
    match seconds {
        ..120 => format!("{seconds}\u{a0}s"),
        120..7_200 => format!("{}\u{a0}min", seconds / 60),
        7_200..172_800 => format!("{}\u{a0}h\u{a0}{:02}", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{}\u{a0}jours", seconds / 86_400),
    }
}

fn hours(hours: f64) -> String {
    length(TimeDelta::seconds((hours * 3_600.0) as i64))
}

fn percent(share: f64) -> String {
    format!("{:.0}\u{a0}%", share * 100.0)
}

/// With two decimals, for shares that are small.
fn fine_percent(share: f64) -> String {
    format!("{:.2}\u{a0}%", share * 100.0).replace('.', ",")
}

/// With a small letter, as the sentence goes on; a name keeps its own.
fn lower(text: &str) -> String {
    let mut letters = text.chars();
    match letters.next() {
        Some(first) if !text.starts_with("SPARK") => first.to_lowercase().chain(letters).collect(),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use chrono::DateTime;
    use uuid::Uuid;

    use super::*;
    use crate::domain::alerts::Told;
    use crate::domain::ids::IncidentId;

    fn incident(topic: Topic, worst: f64, lasted: i64) -> Incident {
        Incident {
            id: IncidentId::from_uuid(Uuid::nil()),
            topic,
            opened_at: DateTime::UNIX_EPOCH,
            closed_at: Some(DateTime::UNIX_EPOCH + TimeDelta::seconds(lasted)),
            worst: Some(worst),
            slowed: BTreeSet::new(),
            taken: None,
            told: Told::default(),
        }
    }

    #[test]
    fn an_alert_says_what_how_bad_what_gives_way_and_what_to_do() {
        let mut it = incident(Topic::Ceiling(Resource::Cpu), 0.934, 250);
        it.slowed = BTreeSet::from([Action::StopRenders, Action::Alert, Action::HoldRenders]);
        let (title, text) = notice(&it, Turn::Opening);
        assert_eq!(title, "Le processeur a atteint 80\u{a0}%");
        assert_eq!(
            text,
            "Au plus fort\u{a0}: 93\u{a0}%. Cède la place\u{a0}: les nouveaux rendus, les rendus en cours. \
             Le direct continue\u{a0}: regardez sous «\u{a0}Ressources\u{a0}» qui prend quoi."
        );
        let (title, text) = notice(&it, Turn::Ending);
        assert_eq!(title, "Terminé\u{a0}: le processeur a atteint 80\u{a0}%");
        assert!(text.starts_with("Cela a duré 4\u{a0}min. Au plus fort"), "{text}");
    }

    #[test]
    fn figures_are_told_in_the_topics_own_measure() {
        let told = |topic, figure| worst(&incident(topic, figure, 0)).expect("a figure");
        assert_eq!(
            told(Topic::FillsSoon(Resource::Disk), 3.5),
            "À ce rythme, c'est dans 3\u{a0}h\u{a0}30."
        );
        assert!(told(Topic::Availability, 0.0123).starts_with("1,23\u{a0}% des requêtes"));
        assert_eq!(worst(&incident(Topic::Blind(Resource::Cpu), 1.0, 0)), None);
        assert_eq!(
            title(Topic::Ceiling(Resource::Files)),
            "Les fichiers ouverts ont atteint 80\u{a0}%"
        );
        assert_eq!(length(TimeDelta::days(3)), "3\u{a0}jours");
    }
}
