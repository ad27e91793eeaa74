//! What is wrong in the control room, and what to do about it.

use chrono::{DateTime, Utc};

use crate::domain::live::feed::Trouble;
use crate::ports::recorder::{Halt, RecorderState};
use crate::read_models::CameraCard;
use crate::web::pages::french::{bytes, counted, number};
use crate::web::pages::keeping::Cramped;
use crate::web::pages::studio::{HOURS_LEFT_MIN, is_behind, megabits, of_camera};

/// What needs somebody, and what to do.
pub(super) struct Alarm {
    pub(super) what: String,
    pub(super) todo: String,
    pub(super) is_bad: bool,
}

/// All of it, the worst first. `hours_left` is how long the disk lasts, `cramped` the week that does not fit on it,
/// `silent` the cameras that send sound without any.
pub(super) fn alarms(
    cameras: &[CameraCard],
    state: Option<&RecorderState>,
    hours_left: Option<f64>,
    cramped: Option<&Cramped>,
    silent: &[&CameraCard],
    now: DateTime<Utc>,
) -> Vec<Alarm> {
    let Some(state) = state else {
        return vec![Alarm {
            what: "L'enregistreur ne répond pas".to_owned(),
            todo: "SPARK le relance de lui-même. Si cela dure plus de dix secondes, regardez son journal."
                .to_owned(),
            is_bad: true,
        }];
    };
    let mut alarms = Vec::new();
    if state.is_full {
        alarms.push(Alarm {
            what: "Le disque est plein".to_owned(),
            todo: "L'enregistrement puise dans sa réserve : libérez de la place maintenant."
                .to_owned(),
            is_bad: true,
        });
    } else if state.let_go.is_cramped {
        alarms.push(Alarm {
            what: "Le disque passe la limite de 80 %".to_owned(),
            todo: "Rien de plus ne peut être effacé : ce qui reste est gardé ou date d'aujourd'hui. Libérez de la place."
                .to_owned(),
            is_bad: true,
        });
    } else if hours_left.is_some_and(|hours| hours < HOURS_LEFT_MIN) {
        alarms.push(Alarm {
            what: format!("Il reste {} libres", bytes(state.free_bytes)),
            todo: "Moins de deux heures avant la limite de 80 % : libérez de la place.".to_owned(),
            is_bad: false,
        });
    }
    if let Some(Cramped { name, needs, room, hours_a_day }) = cramped {
        alarms.push(Alarm {
            what: format!("{name} ne tient pas sur le disque"),
            todo: format!(
                "{} à {hours_a_day} h par jour font {}, il y a place pour {} : les plus anciennes images s'effaceront. Gardez moins de jours, ou \
                 agrandissez le disque.",
                counted(cameras.len() as u64, "caméra", "caméras"),
                bytes(*needs),
                bytes(*room)
            ),
            is_bad: false,
        });
    }
    for card in cameras {
        let Some(feed) = of_camera(Some(state), card.id).and_then(|state| state.feed.as_ref())
        else {
            continue;
        };
        let name = card.name.as_str();
        if let Some(halt) = feed.halted {
            alarms.push(Alarm {
                what: format!("{name} n'est pas enregistrée"),
                todo: match halt {
                    Halt::Full => {
                        "Le disque est plein : libérez de la place, l'enregistrement reprend seul."
                    }
                    Halt::Disk => {
                        "Le disque ne prend plus rien : regardez le journal de l'enregistreur."
                    }
                }
                .to_owned(),
                is_bad: true,
            });
        } else if is_behind(feed, now) {
            alarms.push(Alarm {
                what: format!("{name} : le disque prend du retard"),
                todo: "Ce qui est reçu attend en mémoire. Arrêtez ce qui écrit beaucoup sur ce disque."
                    .to_owned(),
                is_bad: true,
            });
        }
        if silent.iter().any(|silent| silent.id == card.id) {
            alarms.push(Alarm {
                what: format!("{name} : silence"),
                todo:
                    "Le micro est coupé ou débranché : vérifiez-le, puis sa piste dans l'encodeur."
                        .to_owned(),
                is_bad: false,
            });
        }
        alarms.extend(feed.reading.troubles.iter().map(|trouble| alarm(name, *trouble)));
        if feed.dropped > 0 {
            alarms.push(Alarm {
                what: format!("{name} : {} écartées", counted(feed.dropped, "donnée", "données")),
                todo: "Leurs horodatages se chevauchaient : vérifiez l'horloge de l'encodeur."
                    .to_owned(),
                is_bad: false,
            });
        }
    }
    alarms.sort_by_key(|alarm| !alarm.is_bad);
    alarms
}

fn alarm(name: &str, trouble: Trouble) -> Alarm {
    let (what, todo, is_bad) = match trouble {
        Trouble::NoPicture => (
            format!("{name} : pas d'image"),
            "Vérifiez la caméra et la scène dans l'encodeur.".to_owned(),
            true,
        ),
        Trouble::NoSound => (
            format!("{name} : pas de son"),
            "Ajoutez une piste audio dans l'encodeur, même muette.".to_owned(),
            false,
        ),
        Trouble::KeysFarApart { ms } => (
            format!("{name} : une image clé toutes les {} s", number(f64::from(ms) / 1_000.0, 1)),
            "Réglez l'intervalle d'images clés sur 2 s : les clips partiront plus vite.".to_owned(),
            false,
        ),
        Trouble::VariableFrameRate => (
            format!("{name} : cadence d'images irrégulière"),
            "Choisissez une cadence constante (30 ou 60 i/s) et soulagez l'encodeur.".to_owned(),
            false,
        ),
        Trouble::TooManyBits { kbits } => (
            format!("{name} : {} Mbit/s", megabits(kbits)),
            "Twitch refuse au-delà de 7,5 Mbit/s : baissez le débit vidéo.".to_owned(),
            false,
        ),
    };
    Alarm { what, todo, is_bad }
}
