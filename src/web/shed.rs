//! Who gives way at the door when the machine is near its ceiling: refused in words, with a time to come back.

use axum::http::Method;

use crate::domain::resources::Class;
use crate::domain::resources::trigger::Action;
use crate::web::{App, Problem};

/// Seconds after which somebody refused may come back, at least and at most: not all in the same second.
const BACK_S_MIN: u32 = 2;
const BACK_S_MAX: u32 = 10;

/// Paths that are never refused, whatever their rest: the live console and its cameras, logins, the machine's own state, and
/// what pages are made of.
const KEPT: [&str; 16] = [
    "/",
    "/direct",
    "/regie",
    "/connexion",
    "/bienvenue",
    "/deconnexion",
    "/twitch",
    "/static",
    "/healthz",
    "/readyz",
    "/metrics",
    "/sante",
    "/sante.json",
    "/ressources",
    "/alertes",
    "/travaux",
];
/// What brings work that may wait: a past stream comes in.
const LAST: &str = "/semaines/{id}/imports";

/// How dear a declared route is.
pub(super) fn class_of(method: &Method, path: &str) -> Class {
    let is_under = |kept: &&str| {
        path.strip_prefix(*kept)
            .is_some_and(|rest| rest.is_empty() || (**kept != *"/" && rest.starts_with('/')))
    };
    if path == LAST {
        Class::Sheddable
    } else if KEPT.iter().any(is_under) || *method != Method::GET {
        // A decision that somebody made is small, and made once.
        Class::Critical
    } else {
        Class::SheddablePlus
    }
}

/// Refuses what has to give way now.
pub(super) fn judge(app: &App, class: Class) -> Result<(), Problem> {
    let action = match class {
        Class::Sheddable => Action::ShedSheddable,
        Class::SheddablePlus => Action::RefusePages,
        Class::Critical | Class::CriticalPlus => return Ok(()),
    };
    gives_way(app, action)
}

/// Refuses, in words, while this gives way.
pub(super) fn gives_way(app: &App, action: Action) -> Result<(), Problem> {
    if !app.resources.is_on(action) {
        return Ok(());
    }
    let spread = u32::from(app.clock.new_secret()[0]) % (BACK_S_MAX - BACK_S_MIN + 1);
    Err(Problem::shed(BACK_S_MIN + spread))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_live_console_and_marks_are_never_refused() {
        for (method, path) in [
            (Method::GET, "/"),
            (Method::GET, "/direct/{channel}"),
            (Method::GET, "/direct/{channel}/flux"),
            (Method::POST, "/direct/{channel}/marque"),
            (Method::GET, "/regie"),
            (Method::POST, "/regie/repere"),
            (Method::POST, "/connexion"),
            (Method::POST, "/directs/{id}/clips"),
            (Method::GET, "/static/{*file}"),
        ] {
            assert_eq!(class_of(&method, path), Class::Critical, "{path}");
        }
    }

    #[test]
    fn pages_wait_before_decisions_and_imports_before_pages() {
        assert_eq!(class_of(&Method::GET, "/semaines/{id}"), Class::SheddablePlus);
        assert_eq!(class_of(&Method::GET, "/directs/{id}/moments"), Class::SheddablePlus);
        assert_eq!(class_of(&Method::POST, LAST), Class::Sheddable);
    }
}
