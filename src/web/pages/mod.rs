//! The pages, one file a feature; `declare` says who may call what.

mod accounts;
mod alerts;
mod channels;
mod clips;
mod direct;
mod erasure;
mod footage;
mod french;
mod health;
mod jobs;
mod keeping;
mod moments;
mod relays;
mod resources;
mod shell;
mod studio;
mod week;
mod weeks;

use axum::http::HeaderMap;
use axum::http::header::HOST;
use serde::Deserialize;

use crate::domain::accounts::Permission::{
    JudgeClip, ManageCameras, ManageChannels, ManageJobs, ManagePeople, MarkMoment, OpenWeek,
    RequestClip, RequestReel, SeeClips, SeeHealth, SeeJobs, SeeLive, SeeMoments, SeeWeeks,
};
use crate::web::{Access, App, Routes};

pub(in crate::web) use direct::{Feeds, Tally};
pub use shell::icon;

/// The code of what just happened, left in the address by a redirect.
#[derive(Debug, Deserialize)]
struct Said {
    dit: Option<String>,
}

/// Where people find us: the set address, or the one this page was asked under. Without a slash at its end.
fn house_address(app: &App, headers: &HeaderMap) -> String {
    let base = app.settings.base_url.clone().unwrap_or_else(|| {
        let host = headers.get(HOST).and_then(|host| host.to_str().ok());
        format!("http://{}", host.unwrap_or("localhost"))
    });
    base.trim_end_matches('/').to_owned()
}

pub(super) fn declare(routes: Routes) -> Routes {
    routes
        .get("/", Access::Public, weeks::front)
        .get("/semaines", Access::Needs(SeeWeeks), weeks::list)
        .post("/semaines", Access::Needs(OpenWeek), weeks::open)
        .get("/semaines/{id}", Access::Needs(SeeWeeks), week::show)
        .get("/semaines/{id}/clips", Access::Needs(SeeClips), clips::of_week)
        .get("/direct", Access::Needs(SeeLive), direct::front)
        .get("/direct/{channel}", Access::Needs(SeeLive), direct::show)
        .get("/direct/{channel}/flux", Access::Needs(SeeLive), direct::stream)
        .post("/direct/{channel}/marque", Access::MarkKeyOr(MarkMoment), direct::mark)
        .get("/regie", Access::Needs(SeeLive), studio::show)
        .post("/regie/cameras", Access::Needs(ManageCameras), studio::add)
        .get("/regie/cameras/{id}", Access::Needs(ManageCameras), studio::camera)
        .post("/regie/cameras/{id}/cle", Access::Needs(ManageCameras), studio::draw_key)
        .post("/regie/cameras/{id}/nom", Access::Needs(ManageCameras), studio::rename)
        .post("/regie/cameras/{id}/diffusion", Access::Needs(ManageCameras), relays::set)
        .post("/regie/cameras/{id}/diffusion/arreter", Access::Needs(ManageCameras), relays::end)
        .post("/regie/cameras/{id}/retirer", Access::Needs(ManageCameras), studio::retire)
        .get("/regie/cameras/{id}/image", Access::Needs(SeeMoments), footage::show)
        .get("/regie/cameras/{id}/vignette", Access::Needs(SeeMoments), footage::still)
        .get("/regie/cameras/{id}/flux.m3u8", Access::Needs(SeeMoments), footage::playlist)
        .get(
            "/regie/cameras/{id}/flux/{recording}/{file}",
            Access::Needs(SeeMoments),
            footage::part,
        )
        .post("/regie/cameras/{id}/extrait", Access::Needs(RequestClip), footage::extract)
        .post("/regie/cameras/{id}/garder", Access::Needs(RequestClip), keeping::keep)
        .post("/regie/cameras/{id}/liberer", Access::Needs(JudgeClip), keeping::let_go)
        .post("/regie/cameras/{id}/conserver", Access::Needs(ManageCameras), keeping::set_days)
        .post("/regie/repere", Access::Needs(MarkMoment), studio::mark)
        .get("/directs/{id}", Access::Needs(SeeMoments), week::live)
        .get("/directs/{id}/moments", Access::Needs(SeeMoments), moments::show)
        .get("/directs/{id}/clips", Access::Needs(SeeClips), clips::of_live)
        .post("/directs/{id}/clips", Access::Needs(RequestClip), clips::request)
        .post("/clips/{id}/valider", Access::Needs(JudgeClip), clips::approve)
        .post("/clips/{id}/ecarter", Access::Needs(JudgeClip), clips::reject)
        .post("/clips/{id}/titre", Access::Needs(JudgeClip), clips::rename)
        .post("/clips/{id}/reel", Access::Needs(RequestReel), clips::request_reel)
        .get("/travaux", Access::Needs(SeeJobs), jobs::list)
        .post("/travaux/{id}/relancer", Access::Needs(ManageJobs), jobs::retry)
        .post("/travaux/{id}/annuler", Access::Needs(ManageJobs), jobs::cancel)
        .get("/sante", Access::Needs(SeeHealth), health::show)
        .get("/ressources", Access::Needs(SeeHealth), resources::show)
        .get("/alertes", Access::Needs(SeeHealth), alerts::show)
        .get("/alertes/bandeau", Access::Needs(SeeHealth), alerts::banner)
        .get("/alertes/derniere.json", Access::Needs(SeeHealth), alerts::latest)
        .post("/alertes/{id}/prendre", Access::Needs(SeeHealth), alerts::take)
        .post("/alertes/essai", Access::Needs(SeeHealth), alerts::rehearse)
        .post("/alertes/appareils", Access::Needs(SeeHealth), alerts::add_device)
        .post("/alertes/appareils/oublier", Access::Needs(SeeHealth), alerts::remove_device)
        .get("/reveil.js", Access::Public, alerts::worker)
        .get("/connexion", Access::Public, accounts::login_page)
        .post("/connexion", Access::Public, accounts::login)
        .get("/bienvenue/{token}", Access::Public, accounts::welcome_page)
        .post("/bienvenue/{token}", Access::Public, accounts::join)
        .post("/deconnexion", Access::SignedIn, accounts::logout)
        .get("/compte", Access::SignedIn, accounts::account_page)
        .post("/compte/sessions", Access::SignedIn, accounts::end_other_sessions)
        .get("/chaines", Access::Needs(ManageChannels), channels::list)
        .post("/chaines/relier", Access::Needs(ManageChannels), channels::begin)
        .get("/chaines/retour", Access::Needs(ManageChannels), channels::finish)
        .post("/chaines/code", Access::Needs(ManageChannels), channels::begin_code)
        .get("/chaines/code/{id}", Access::Needs(ManageChannels), channels::code)
        .get("/chaines/{id}", Access::Needs(ManageChannels), channels::channel)
        .post("/chaines/{id}/delier", Access::Needs(ManageChannels), channels::unlink)
        .get("/effacement", Access::Needs(ManagePeople), erasure::show)
        .post("/effacement", Access::Needs(ManagePeople), erasure::erase)
        .get("/equipe", Access::Needs(ManagePeople), accounts::team_page)
        .post("/equipe", Access::Needs(ManagePeople), accounts::invite)
        .post("/equipe/{id}/role", Access::Needs(ManagePeople), accounts::change_role)
        .post("/equipe/{id}/lien", Access::Needs(ManagePeople), accounts::relink)
        .post("/equipe/{id}/fermeture", Access::Needs(ManagePeople), accounts::close)
}
