//! The door for people: pages, uploads, media, measures. Thin: translate, call one use case, translate back.
//!
//! How a page is added (see `pages/accounts.rs` for an example):
//! - A handler is any axum handler over the state [`App`], which derefs to the services (`app.weeks`, `app.clips`, …):
//!   `async fn show(State(app): State<App>, user: User, Path(id): Path<WeekId>) -> Result<Html<String>, Problem>`.
//! - It is declared in `pages::declare` with what it needs: `routes.get("/semaines", Access::Needs(SeeWeeks), list)`.
//!   The guard stands before every declared route: anonymous readers go to `/connexion`, API callers get 401, the wrong
//!   role 403; the table test in `tests/web.rs` walks over whatever is declared.
//! - [`User`] is who is signed in: `user.person`, `user.role()`, `user.may(Permission::JudgeClip)`, and `user.csrf`, which
//!   every form carries as `<input type="hidden" name="csrf" value="{{ user.csrf }}">` (scripts: header `X-CSRF-Token`;
//!   multipart forms: `action="…?csrf={{ user.csrf }}"`). The guard checks it before the handler runs; `axum::Form<T>`
//!   then reads the rest. GET changes nothing.
//! - Errors are [`Problem`]s, by `?` from the use cases; `web/problem.rs` alone words them, as a page or as problem+json.
//! - A template becomes a response through [`page`]; [`Wants`] says whether the caller asked for JSON instead.
//! - Files of `templates/static` are linked by `{{ crate::web::asset("charter.css") }}`; in style sheets and scripts write
//!   `/static/fonts/x.woff2` as it is, the hashed name is put in. The content policy allows no inline script or style.
//! - Media: `/media/{key}`, `?telecharger=nom.mp4` to save it; [`App::sign_link`] for who has no session.

mod app;
mod assets;
mod desk;
mod guard;
mod headers;
mod mailbox;
mod media;
mod metrics;
mod pages;
mod probes;
mod problem;
mod routes;
mod server;
mod shed;
mod throttle;
mod upload;
mod wants;

pub use app::{App, EngineSkills, Parts, Settings, router};
pub use assets::asset;
pub use desk::serve_desk;
pub use guard::{Client, MaybeUser, Peer, User};
pub use mailbox::PATH as MAILBOX_PATH;
pub use pages::icon;
pub use problem::Problem;
pub use routes::{Access, Declared, Routes};
pub use server::{ServerLimits, serve};
pub use wants::{Wants, page};
