//! « Effacer un spectateur »: somebody of the audience asks that everything of theirs goes.

use askama::Template;
use axum::Form;
use axum::extract::State;
use axum::response::Html;
use serde::Deserialize;

use crate::web::pages::french::counted;
use crate::web::pages::shell::{Place, Shell};
use crate::web::{App, Problem, User, page};

/// Digits of the platform's numbers at most.
const DIGITS_MAX: usize = 20;

#[derive(Template)]
#[template(path = "pages/erasure.html")]
struct ErasurePage {
    shell: Shell,
    typed: String,
    problem: Option<&'static str>,
    done: Option<String>,
}

/// Whose rows go.
#[derive(Debug, Deserialize)]
pub(super) struct ErasureForm {
    #[serde(default)]
    spectateur: String,
}

/// `GET /effacement`
pub(super) async fn show(user: User) -> Result<Html<String>, Problem> {
    let shell = Shell::new(&user, Place::People);
    page(&ErasurePage { shell, typed: String::new(), problem: None, done: None })
}

/// `POST /effacement`: removes every row of theirs at once, from the log, the spool and the pages.
pub(super) async fn erase(
    State(app): State<App>,
    user: User,
    Form(form): Form<ErasureForm>,
) -> Result<Html<String>, Problem> {
    let shell = Shell::new(&user, Place::People);
    let typed = form.spectateur.trim().to_owned();
    let is_number =
        (1..=DIGITS_MAX).contains(&typed.len()) && typed.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number {
        let problem = "Ce n'est pas un numéro Twitch : il n'a que des chiffres, comme 141981764.";
        return page(&ErasurePage { shell, typed, problem: Some(problem), done: None });
    }
    let rows = app.audience.erase_viewer(&typed).await?;
    app.boards.look_for_erasures().await?;
    tracing::info!(rows, by = %user.person.id, "a viewer was erased");
    let done = match rows {
        0 => format!("Rien n'était gardé du spectateur {typed}."),
        _ => {
            format!("{} du spectateur {typed} : tout est effacé.", counted(rows, "ligne", "lignes"))
        }
    };
    page(&ErasurePage { shell, typed: String::new(), problem: None, done: Some(done) })
}
