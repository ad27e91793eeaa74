//! What a request asks for in its query, and pages of an answer.

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use serde_json::{Value, json};

use super::refusal::Refusal;

/// The query: names may come several times.
#[derive(Debug, Default)]
pub(super) struct Asked(pub(super) Vec<(String, String)>);

impl Asked {
    pub(super) fn one(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn need(&self, name: &str) -> Result<&str, Refusal> {
        let value = self.one(name).filter(|value| !value.is_empty());
        value.ok_or_else(|| Refusal::bad(format!("The parameter \"{name}\" is required.")))
    }

    /// Reads `a=1&b=2`, as in a form.
    pub(super) fn read(text: &str) -> Self {
        let url = reqwest::Url::parse(&format!("http://localhost/?{text}"));
        let pairs = url.map(|url| url.query_pairs().into_owned().collect());
        Self(pairs.unwrap_or_default())
    }

    /// Objects on a page, as asked for with `first`.
    pub(super) fn first(&self, by_default: usize, max: usize) -> Result<usize, Refusal> {
        let Some(text) = self.one("first") else { return Ok(by_default) };
        let first = text.parse().ok().filter(|first| (1..=max).contains(first));
        first.ok_or_else(|| Refusal::bad(format!("The parameter \"first\" must be 1 to {max}.")))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Asked {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let read = Query::from_request_parts(parts, state).await;
        let Query(pairs) = read.map_err(|error| Refusal::bad(error.body_text()))?;
        Ok(Self(pairs))
    }
}

/// One page of `all` after the cursor, and the `pagination` object.
pub(super) fn page(
    mut all: Vec<Value>,
    first: usize,
    after: Option<&str>,
) -> Result<(Vec<Value>, Value), Refusal> {
    let from: usize = match after.filter(|after| !after.is_empty()) {
        None => 0,
        Some(cursor) => cursor
            .strip_prefix("from-")
            .and_then(|number| number.parse().ok())
            .filter(|from| *from <= all.len())
            .ok_or_else(|| Refusal::bad("The cursor in \"after\" is not valid."))?,
    };
    let mut rest = all.split_off(from);
    let more = rest.len() > first;
    rest.truncate(first);
    let pagination =
        if more { json!({"cursor": format!("from-{}", from + first)}) } else { json!({}) };
    Ok((rest, pagination))
}
