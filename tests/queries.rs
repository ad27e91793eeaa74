//! The query descriptions kept for offline builds: each is what the present schema says, each is used, none is missing.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;
use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, Executor, PgPool, SqlSafeStr};

/// A file of `.sqlx`, by its name.
type Stored = BTreeMap<String, Value>;

#[tokio::test]
async fn every_query_is_described_as_the_present_schema_says() {
    let pool = support::fresh_database().await;
    let (stored, used) = (stored(), used());
    assert!(stored.len() > 20 && used.len() > 20, "nothing was checked");
    let findings = findings(&pool, &stored, &used).await;
    assert!(
        findings.is_empty(),
        "\n{}\nDescribe them again: with DATABASE_URL at a migrated database,\n  \
         touch src/lib.rs; SQLX_OFFLINE=false SQLX_OFFLINE_DIR=$PWD/.sqlx cargo check\n",
        findings.join("\n")
    );
}

/// The control: what is stale, missing or left over is told.
#[tokio::test]
async fn a_stale_a_missing_and_a_leftover_description_are_told() {
    let pool = support::fresh_database().await;
    let (stored, used) = (stored(), used());
    let told = |stored: Stored| {
        let (pool, used) = (pool.clone(), used.clone());
        async move { findings(&pool, &stored, &used).await }
    };
    let (name, description) = stored.first_key_value().expect("a description");
    let query = description["query"].as_str().expect("a query").to_owned();

    let mut without = stored.clone();
    without.remove(name);
    let missing = told(without).await;
    assert_eq!(missing.len(), 1, "{missing:?}");
    assert!(missing[0].contains("no description"), "{missing:?}");

    let mut edited = stored.clone();
    let other = format!("{query} -- edited");
    edited.insert(file_name(&other), serde_json::json!({"query": other}));
    let leftover = told(edited).await;
    assert!(leftover.iter().any(|finding| finding.contains("nobody asks")), "{leftover:?}");

    let mut renamed = stored.clone();
    let moved = renamed.remove(name).expect("it was there");
    renamed.insert("query-0.json".into(), moved);
    assert!(told(renamed).await.iter().any(|finding| finding.contains("hash")));

    for (change, about) in [
        ("alter table jobs alter column attempt drop not null", "nullable"),
        ("alter table jobs alter column attempt type bigint", "columns"),
        ("alter table media_objects alter column bytes type integer", "parameters"),
        ("alter table week_keys drop column destroyed_at", "cannot be prepared"),
    ] {
        let changed = support::fresh_database().await;
        sqlx::raw_sql(change).execute(&changed).await.expect("a change of the schema");
        let findings = findings(&changed, &stored, &used).await;
        assert!(findings.iter().any(|f| f.contains(about)), "{change}: {findings:?}");
    }
}

#[test]
fn queries_are_found_however_they_are_written() {
    let source = r##"
        sqlx::query!("select 1", a);
        let x = sqlx::query_as!(
            Row,
            "select \"a\"
               from b \
               where c",
        );
        sqlx::query_scalar!(r#"select x as "n!" from y"#)
        sqlx::query("not a macro");
    "##;
    let expected =
        ["select \"a\"\n               from b where c", "select 1", "select x as \"n!\" from y"];
    assert_eq!(queries_in(source).into_iter().collect::<Vec<_>>(), expected);
}

async fn findings(pool: &PgPool, stored: &Stored, used: &BTreeSet<String>) -> Vec<String> {
    let mut findings = Vec::new();
    for query in used {
        if !stored.contains_key(&file_name(query)) {
            findings.push(format!("no description of: {}", start_of(query)));
        }
    }
    let mut connection = pool.acquire().await.expect("a connection");
    for (file, kept) in stored {
        let query = kept["query"].as_str().unwrap_or_default();
        if *file != file_name(query) {
            findings.push(format!("{file}: its name is not the hash of its query"));
        }
        if !used.contains(query) {
            findings.push(format!("{file}: nobody asks: {}", start_of(query)));
            continue;
        }
        let described =
            (&mut *connection).describe(AssertSqlSafe(query.to_owned()).into_sql_str()).await;
        let present = match described {
            Ok(described) => serde_json::to_value(described).expect("a description is JSON"),
            Err(error) => {
                findings.push(format!("{file}: cannot be prepared: {error}"));
                continue;
            }
        };
        for part in ["columns", "parameters", "nullable"] {
            if kept["describe"][part] != present[part] {
                findings.push(format!(
                    "{file}: {part} are stale: {}\n  kept    {}\n  present {}",
                    start_of(query),
                    kept["describe"][part],
                    present[part]
                ));
            }
        }
    }
    findings
}

fn start_of(query: &str) -> String {
    query.split_whitespace().take(8).collect::<Vec<_>>().join(" ")
}

/// `sqlx` names a description by the SHA-256 of its query.
fn file_name(query: &str) -> String {
    let hash = Sha256::digest(query.as_bytes());
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("query-{hex}.json")
}

fn stored() -> Stored {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(".sqlx");
    let entries =
        std::fs::read_dir(folder).expect("read .sqlx").map(|entry| entry.expect("an entry"));
    entries
        .map(|entry| {
            let text = std::fs::read(entry.path()).expect("read a description");
            let name = entry.file_name().into_string().expect("a UTF-8 name");
            (name, serde_json::from_slice(&text).expect("a description is JSON"))
        })
        .collect()
}

/// The texts of all checked queries in the sources.
fn used() -> BTreeSet<String> {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut queries = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for entry in
            std::fs::read_dir(folder).expect("read src").map(|entry| entry.expect("an entry"))
        {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                queries.extend(queries_in(&std::fs::read_to_string(path).expect("read a source")));
            }
        }
    }
    queries
}

/// The first text after each `sqlx::query…!(`.
fn queries_in(source: &str) -> BTreeSet<String> {
    source
        .match_indices("sqlx::query")
        .filter_map(|(at, _)| {
            let rest = &source[at..];
            let (name, arguments) = rest.split_once('(')?;
            name.ends_with('!').then(|| first_text(arguments)).flatten()
        })
        .collect()
}

fn first_text(code: &str) -> Option<String> {
    let quote = code.find('"')?;
    let hashes = code[..quote].chars().rev().take_while(|c| *c == '#').count();
    let is_raw = code[..quote - hashes].ends_with('r');
    let body = &code[quote + 1..];
    if is_raw {
        let end = body.find(&format!("\"{}", "#".repeat(hashes)))?;
        return Some(body[..end].to_owned());
    }
    let mut text = String::new();
    let mut chars = body.chars().peekable();
    loop {
        match chars.next()? {
            '"' => return Some(text),
            '\\' => match chars.next()? {
                // A line that goes on.
                '\n' => while chars.next_if(|c| c.is_whitespace()).is_some() {},
                'n' => text.push('\n'),
                't' => text.push('\t'),
                other => text.push(other),
            },
            other => text.push(other),
        }
    }
}
