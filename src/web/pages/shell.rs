//! What surrounds every page for who is signed in: where we are, who I am, what just happened.

use askama::filters::HtmlSafe;

use crate::domain::accounts::Permission;
use crate::domain::alerts::Weight;
use crate::use_cases::alerts::words::title;
use crate::web::{User, asset};

/// A place of the navigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Live,
    Studio,
    Weeks,
    Jobs,
    Channels,
    Health,
    People,
    Me,
}

/// An entry of the navigation.
pub(super) struct Entry {
    pub href: &'static str,
    pub name: &'static str,
    pub icon: &'static str,
    pub is_here: bool,
}

/// The frame around a page.
pub(super) struct Shell {
    pub user: User,
    pub here: Place,
    /// What the last action brought about, said once.
    pub said: Option<&'static str>,
}

impl Shell {
    pub(super) fn new(user: &User, here: Place) -> Self {
        Self { user: user.clone(), here, said: None }
    }

    /// On the page of alerts itself, which tells them anyway.
    #[must_use]
    pub(super) fn without_alert(mut self) -> Self {
        self.user.alert = None;
        self
    }

    /// What is wrong and waits for a person: its title, a word on the others, and its class.
    pub(super) fn alert(&self) -> Option<(String, String, &'static str)> {
        let (incident, count) = self.user.alert.as_ref()?;
        let is_urgent = incident.topic.weight() == Weight::Urgent;
        let class = if is_urgent { "bad" } else { "warn" };
        let more = if *count > 1 { format!("et {} de plus", count - 1) } else { String::new() };
        Some((title(incident.topic), more, class))
    }

    /// With the sentence behind the code that a redirect left in the address; an unknown code says nothing.
    pub(super) fn saying(user: &User, here: Place, code: Option<&str>) -> Self {
        Self { said: code.and_then(sentence), ..Self::new(user, here) }
    }

    /// Only places this person may go to.
    pub(super) fn places(&self) -> Vec<Entry> {
        [
            (Place::Live, Permission::SeeLive, "/direct", "Direct", "radio"),
            (Place::Studio, Permission::SeeLive, "/regie", "Régie", "film"),
            (Place::Weeks, Permission::SeeWeeks, "/semaines", "Semaines", "calendar-days"),
            (Place::Jobs, Permission::SeeJobs, "/travaux", "Travaux", "list-todo"),
            (Place::Channels, Permission::ManageChannels, "/chaines", "Chaînes", "tv"),
            (Place::Health, Permission::SeeHealth, "/sante", "Santé", "heart-pulse"),
            (Place::People, Permission::ManagePeople, "/equipe", "Équipe", "users"),
        ]
        .into_iter()
        .filter(|(_, permission, ..)| self.user.may(*permission))
        .map(|(place, _, href, name, icon)| Entry { href, name, icon, is_here: place == self.here })
        .collect()
    }

    pub(super) fn is_me(&self) -> bool {
        self.here == Place::Me
    }

    pub(super) fn may_see_health(&self) -> bool {
        self.user.may(Permission::SeeHealth)
    }

    pub(super) fn may_open_week(&self) -> bool {
        self.user.may(Permission::OpenWeek)
    }

    pub(super) fn may_import(&self) -> bool {
        self.user.may(Permission::ImportStream)
    }

    pub(super) fn may_mark(&self) -> bool {
        self.user.may(Permission::MarkMoment)
    }

    pub(super) fn may_manage_channels(&self) -> bool {
        self.user.may(Permission::ManageChannels)
    }

    pub(super) fn may_manage_cameras(&self) -> bool {
        self.user.may(Permission::ManageCameras)
    }

    pub(super) fn may_see_moments(&self) -> bool {
        self.user.may(Permission::SeeMoments)
    }

    pub(super) fn may_request_clip(&self) -> bool {
        self.user.may(Permission::RequestClip)
    }

    pub(super) fn may_judge(&self) -> bool {
        self.user.may(Permission::JudgeClip)
    }

    pub(super) fn may_request_reel(&self) -> bool {
        self.user.may(Permission::RequestReel)
    }

    pub(super) fn may_download(&self) -> bool {
        self.user.may(Permission::DownloadMedia)
    }

    pub(super) fn may_manage_jobs(&self) -> bool {
        self.user.may(Permission::ManageJobs)
    }
}

fn sentence(code: &str) -> Option<&'static str> {
    Some(match code {
        "semaine-ouverte" => "La semaine est ouverte. Importez-y un premier direct.",
        "moment-marque" => "C'est marqué.",
        "diffusion-reglee" => "La diffusion part dès que la caméra envoie.",
        "diffusion-arretee" => "La diffusion est arrêtée.",
        "repere-pose" => {
            "Repère posé : chaque caméra donne son extrait, sous « Clips » de la semaine."
        }
        "repere-vide" => "Aucune caméra n'enregistre : il n'y a rien à extraire.",
        "clip-demande" => "Le clip est demandé : il se découpe, vous le verrez ici.",
        "clip-valide" => "Clip validé.",
        "clip-ecarte" => "Clip écarté. Vous le retrouverez sous « Écartés ».",
        "clip-renomme" => "Le clip a un nouveau titre.",
        "reel-demande" => "Le reel est en route.",
        "travail-relance" => "Le travail repart.",
        "travail-annule" => "L'annulation est demandée.",
        "travail-fini" => "Ce travail était déjà terminé.",
        "chaine-reliee" => "La chaîne est reliée.",
        "chaine-deliee" => "La chaîne est déliée et ses jetons sont effacés.",
        "chaine-refusee" => "Twitch n'a rien autorisé : rien n'a changé.",
        "passage-garde" => "Ce passage est gardé : rien ne l'efface.",
        "passage-libere" => "Le passage n'est plus gardé : il s'effacera à son heure.",
        "duree-reglee" => "La durée de conservation est réglée.",
        "camera-renommee" => "La caméra a un nouveau nom.",
        "camera-retiree" => "La caméra est retirée, sa clé est éteinte.",
        "role-change" => "Le rôle est changé.",
        "compte-ferme" => "Le compte est fermé et ses données personnelles effacées.",
        "alerte-prise" => "C'est noté : vous vous en occupez.",
        "alerte-finie" => "C'est déjà fini, ou quelqu'un s'en occupe.",
        "essai-parti" => "L'essai est parti par toutes les voies.",
        "essai-refuse" => "L'essai n'est pas parti partout : voyez les voies marquées.",
        "sessions-fermees" => "Les autres sessions sont fermées.",
        _ => return None,
    })
}

/// A sign of the sprite. It says nothing to a screen reader: words stand beside it.
#[derive(Debug, Clone, Copy)]
pub struct Icon(&'static str);

/// The sign of this name in `templates/static/icons.svg`.
pub const fn icon(name: &'static str) -> Icon {
    Icon(name)
}

impl std::fmt::Display for Icon {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sprite = asset("icons.svg");
        write!(
            f,
            r#"<svg class="icon" aria-hidden="true" focusable="false"><use href="{sprite}#{}"/></svg>"#,
            self.0
        )
    }
}

impl HtmlSafe for Icon {}
impl askama::FastWritable for Icon {
    fn write_into(
        &self,
        dest: &mut dyn std::fmt::Write,
        _: &dyn askama::Values,
    ) -> askama::Result<()> {
        Ok(write!(dest, "{self}")?)
    }
}

/// A list cut into pages.
pub(super) struct Paging {
    pub page: usize,
    pub pages: usize,
    /// The address up to and with `page=`.
    stem: String,
}

impl Paging {
    /// The page asked for (from 1) of `total` items, `each` a page. `path` may carry a query.
    pub(super) fn new(total: usize, each: usize, asked: Option<usize>, path: &str) -> Self {
        let pages = total.div_ceil(each).max(1);
        let page = asked.unwrap_or(1).clamp(1, pages);
        let joint = if path.contains('?') { '&' } else { '?' };
        Self { page, pages, stem: format!("{path}{joint}page=") }
    }

    /// The items of this page.
    pub(super) fn cut<T>(&self, items: Vec<T>, each: usize) -> Vec<T> {
        items.into_iter().skip((self.page - 1) * each).take(each).collect()
    }

    pub(super) fn previous(&self) -> Option<String> {
        (self.page > 1).then(|| format!("{}{}", self.stem, self.page - 1))
    }

    pub(super) fn next(&self) -> Option<String> {
        (self.page < self.pages).then(|| format!("{}{}", self.stem, self.page + 1))
    }
}

/// Whether a text holds all the words looked for, whatever their case.
pub(super) fn matches(text: &str, words: &str) -> bool {
    let text = text.to_lowercase();
    words.to_lowercase().split_whitespace().all(|word| text.contains(word))
}

/// A text as part of a query.
pub(super) fn escaped(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_beyond_the_last_is_the_last() {
        let paging = Paging::new(41, 20, Some(9), "/semaines?q=a");
        assert_eq!((paging.page, paging.pages), (3, 3));
        assert_eq!(paging.previous().as_deref(), Some("/semaines?q=a&page=2"));
        assert_eq!(paging.next(), None);
        assert_eq!(paging.cut((0..41).collect(), 20), vec![40]);
    }

    #[test]
    fn every_sign_that_a_page_shows_is_in_the_sprite() {
        let sprite = include_str!("../../../templates/static/icons.svg");
        let mut shown = 0;
        for folder in ["templates", "templates/pages", "templates/parts"] {
            for file in std::fs::read_dir(folder).expect("the templates") {
                let path = file.expect("a file").path();
                let Ok(template) = std::fs::read_to_string(&path) else { continue };
                for piece in template.split("icon(\"").skip(1) {
                    let name = piece.split('"').next().expect("a first piece");
                    assert!(sprite.contains(&format!("id=\"{name}\"")), "{name} in {path:?}");
                    shown += 1;
                }
            }
        }
        assert!(shown > 10, "templates show {shown} signs");
    }
}
