//! What the caller asked for, a page or JSON, and how a template becomes a response.

use std::convert::Infallible;

use askama::Template;
use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::ACCEPT;
use axum::http::request::Parts;
use axum::response::Html;

use crate::ports::PortError;
use crate::web::Problem;

/// What a caller wants to read. Browsers name `text/html`; who names `application/json` and not HTML gets JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wants {
    Page,
    Json,
}

impl Wants {
    /// Reads the `Accept` header; a page when in doubt.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let json = accepted.any(|value| {
            (value.contains("application/json") || value.contains("application/problem+json"))
                && !value.contains("text/html")
        });
        if json { Self::Json } else { Self::Page }
    }
}

impl<S: Sync> FromRequestParts<S> for Wants {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.headers))
    }
}

/// Renders a template.
pub fn page(template: &impl Template) -> Result<Html<String>, Problem> {
    let html = template.render().map_err(|e| PortError::lasting("render a page", e))?;
    Ok(Html(html))
}
