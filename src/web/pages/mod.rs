//! The pages, one file a feature; `declare` says who may call what.

mod accounts;

use crate::domain::accounts::Permission::ManagePeople;
use crate::web::{Access, Routes};

pub(super) fn declare(routes: Routes) -> Routes {
    routes
        .get("/connexion", Access::Public, accounts::login_page)
        .post("/connexion", Access::Public, accounts::login)
        .get("/bienvenue/{token}", Access::Public, accounts::welcome_page)
        .post("/bienvenue/{token}", Access::Public, accounts::join)
        .post("/deconnexion", Access::SignedIn, accounts::logout)
        .get("/compte", Access::SignedIn, accounts::account_page)
        .post("/compte/sessions", Access::SignedIn, accounts::end_other_sessions)
        .get("/equipe", Access::Needs(ManagePeople), accounts::team_page)
        .post("/equipe", Access::Needs(ManagePeople), accounts::invite)
        .post("/equipe/{id}/role", Access::Needs(ManagePeople), accounts::change_role)
        .post("/equipe/{id}/lien", Access::Needs(ManagePeople), accounts::relink)
        .post("/equipe/{id}/fermeture", Access::Needs(ManagePeople), accounts::close)
}
