//! Holds the architecture: reads the sources and names file, line and rule of every import, crate, file and word that
//! is where it must not be. The checker itself is held by a table of bad sources.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

/// A room and the other rooms it may import.
const ROOMS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("read_models", &["domain"]),
    ("ports", &["domain", "read_models"]),
    ("use_cases", &["domain", "read_models", "ports"]),
    ("adapters", &["domain", "read_models", "ports"]),
    ("web", &["domain", "read_models", "ports", "use_cases"]),
    ("workers", &["domain", "read_models", "ports", "use_cases"]),
    ("rehearsal", &["domain"]),
    ("bench", &["domain", "ports", "use_cases", "rehearsal"]),
    (
        "boot",
        &[
            "domain",
            "read_models",
            "ports",
            "use_cases",
            "adapters",
            "web",
            "workers",
            "rehearsal",
            "bench",
        ],
    ),
];

/// Every dependency and the places that may use it; `*` is everywhere.
const CRATES: &[(&str, &[&str])] = &[
    ("anyhow", &["main.rs", "boot", "workers"]),
    ("argon2", &["use_cases/accounts"]),
    ("askama", &["web"]),
    ("async_trait", &["ports", "adapters", "use_cases"]),
    ("axum", &["web", "boot", "rehearsal"]),
    ("base64", &["web", "use_cases", "adapters", "rehearsal"]),
    ("bytes", &["ports", "use_cases", "adapters", "web", "rehearsal"]),
    ("chacha20poly1305", &["adapters"]),
    ("chrono", &["*"]),
    ("chrono_tz", &["domain", "read_models", "web"]),
    ("clap", &["boot"]),
    ("crc32c", &["adapters"]),
    ("ffmpeg_next", &["adapters/ffmpeg"]),
    ("flate2", &["adapters/chat_files", "adapters/postgres/backup", "bench", "web"]),
    (
        "futures",
        &["ports", "use_cases", "adapters", "web", "workers", "boot", "rehearsal", "bench"],
    ),
    ("hmac", &["use_cases", "web", "adapters", "rehearsal"]),
    ("hyper", &["web", "boot"]),
    ("hyper_util", &["web", "boot"]),
    ("indicatif", &["boot"]),
    ("lettre", &["adapters/heralds"]),
    ("openssl", &["adapters/heralds"]),
    ("percent_encoding", &["web", "adapters/postgres"]),
    ("prometheus_client", &["web", "boot"]),
    ("rand", &["adapters/clock", "adapters/postgres/cluster"]),
    ("realfft", &["domain/live/sync"]),
    ("reqwest", &["adapters", "rehearsal"]),
    ("rust_embed", &["web", "boot"]),
    ("rustix", &["adapters", "boot", "bench"]),
    ("serde", &["*"]),
    (
        "serde_json",
        &["read_models", "ports", "use_cases", "adapters", "web", "rehearsal", "bench", "boot"],
    ),
    ("sha2", &["use_cases", "adapters", "web", "rehearsal"]),
    ("sqlx", &["adapters/postgres", "boot"]),
    ("subtle", &["web", "use_cases/accounts", "use_cases/live"]),
    ("sysinfo", &["adapters/host", "boot"]),
    ("tar", &["adapters/postgres/backup"]),
    ("thiserror", &["*"]),
    ("tokio", &["use_cases", "adapters", "web", "workers", "boot", "bench", "rehearsal"]),
    ("tokio_native_tls", &["adapters/rtmp"]),
    ("tokio_tungstenite", &["adapters"]),
    (
        "tokio_util",
        &["ports", "use_cases", "adapters", "web", "workers", "boot", "bench", "rehearsal"],
    ),
    ("toml", &["boot"]),
    ("tower", &["web", "boot"]),
    ("tower_http", &["web", "boot"]),
    ("tracing", &["use_cases", "adapters", "web", "workers", "boot"]),
    ("tracing_subscriber", &["boot"]),
    ("uuid", &["*"]),
];

/// Where use cases of all features may be named.
const SWITCHBOARDS: &[&str] = &["mod", "reactions", "jobs"];
/// Where C libraries are spoken to.
const UNSAFE: &[&str] = &["adapters/ffmpeg", "adapters/srt/ffi", "rehearsal/cameras/srt/ffi"];
/// Names that say nothing.
const EMPTY_NAMES: &[&str] =
    &["common", "helper", "helpers", "misc", "models", "types", "util", "utils"];
/// Most lines of a file, its tests aside.
const LINES_MAX: usize = 500;

struct Source {
    /// Below `src`, such as `use_cases/clips.rs`.
    path: String,
    text: String,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    path: String,
    line: usize,
    rule: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "src/{}:{}: {}", self.path, self.line, self.rule)
    }
}

#[test]
fn the_house_is_as_drawn() {
    let mut sources = Vec::new();
    read_sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "", &mut sources);
    assert!(sources.len() > 50, "only {} sources were found: nothing was checked", sources.len());
    let findings = inspect(&sources, &dependencies(include_str!("../Cargo.toml")));
    let told: Vec<String> = findings.iter().map(Finding::to_string).collect();
    assert!(told.is_empty(), "\n{}\n", told.join("\n"));
}

fn read_sources(folder: &Path, below: &str, into: &mut Vec<Source>) {
    for entry in std::fs::read_dir(folder).expect("read src").map(|entry| entry.expect("an entry"))
    {
        let name = entry.file_name().into_string().expect("a UTF-8 name");
        let path = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
        if entry.path().is_dir() {
            read_sources(&entry.path(), &path, into);
        } else if Path::new(&name).extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(entry.path()).expect("read a source");
            into.push(Source { path, text });
        }
    }
}

/// The crates of `[dependencies]`, as the code names them.
fn dependencies(manifest: &str) -> Vec<String> {
    let section = manifest.split("[dependencies]").nth(1).expect("a list of dependencies");
    let lines = section.lines().skip(1).take_while(|line| !line.starts_with('['));
    lines
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name.trim().split('.').next().unwrap_or_default().replace('-', "_"))
        .filter(|name| !name.is_empty() && !name.starts_with('#'))
        .collect()
}

fn inspect(sources: &[Source], dependencies: &[String]) -> Vec<Finding> {
    let features: BTreeSet<&str> = sources
        .iter()
        .filter_map(|source| source.path.strip_prefix("use_cases/"))
        .map(|rest| rest.split('/').next().unwrap_or(rest).trim_end_matches(".rs"))
        .filter(|name| *name != "mod")
        .collect();
    let mut findings = BTreeSet::new();
    for dependency in dependencies {
        if !CRATES.iter().any(|(name, _)| name == dependency) {
            findings.insert(Finding {
                path: "../Cargo.toml".into(),
                line: 1,
                rule: format!("`{dependency}` is in no row of CRATES: say where it may be used"),
            });
        }
    }
    for source in sources {
        inspect_file(source, &mut findings);
        inspect_code(source, &features, &mut findings);
    }
    inspect_rooms(sources, &mut findings);
    findings.into_iter().collect()
}

fn inspect_file(source: &Source, findings: &mut BTreeSet<Finding>) {
    let mut found = |line, rule: String| {
        findings.insert(Finding { path: source.path.clone(), line, rule });
    };
    if !source.text.starts_with("//!") {
        found(1, "a file begins with `//!` and says what lives here".into());
    }
    let is_tests = source.path.ends_with("tests.rs") || source.path.contains("/tests/");
    let lines = source.text.lines().take_while(|line| !line.starts_with("#[cfg(test)]")).count();
    if lines > LINES_MAX && !is_tests {
        found(LINES_MAX + 1, format!("{lines} lines: past {LINES_MAX} a file becomes a folder"));
    }
    for part in source.path.split('/') {
        let name = part.trim_end_matches(".rs");
        if EMPTY_NAMES.contains(&name) {
            found(1, format!("`{name}` says nothing: a room or a word is missing"));
        }
    }
}

fn inspect_rooms(sources: &[Source], findings: &mut BTreeSet<Finding>) {
    let rooms: BTreeSet<&str> = sources
        .iter()
        .filter_map(|source| source.path.split_once('/'))
        .map(|(room, _)| room)
        .collect();
    for room in rooms {
        let inside = format!("{room}/");
        let of_room = || sources.iter().filter(|source| source.path.starts_with(&inside));
        let first = of_room().map(|source| source.path.clone()).min().unwrap_or_default();
        let mut found = |rule| {
            findings.insert(Finding { path: first.clone(), line: 1, rule });
        };
        if !ROOMS.iter().any(|(name, _)| *name == room) {
            found(format!("`{room}` is no room of the house"));
        }
        if !of_room().any(|source| has_work(&source.text)) {
            found(format!("`{room}` is empty: only rooms with work to do"));
        }
    }
}

/// Whether a file holds more than the names of its modules.
fn has_work(text: &str) -> bool {
    let tokens = tokens(text);
    tokens.iter().any(|token| {
        ["fn", "struct", "enum", "trait", "const", "static", "type", "macro_rules"]
            .contains(&token.word.as_str())
    })
}

fn inspect_code(source: &Source, features: &BTreeSet<&str>, findings: &mut BTreeSet<Finding>) {
    let home = Home::of(&source.path);
    let tokens = tokens(&source.text);
    let mut found = |line, rule: String| {
        findings.insert(Finding { path: source.path.clone(), line, rule });
    };
    for path in paths(&tokens, &home.module) {
        match path.segments.first().map(String::as_str) {
            Some("crate") => {
                if let Some(rule) = home.speaks_against(&path.segments[1..], features) {
                    found(path.line, rule);
                }
            }
            Some("spark") if source.path != "main.rs" => {
                found(
                    path.line,
                    "inside the house imports begin with `crate::`, not `spark::`".into(),
                );
            }
            Some(name) => {
                if let Some((_, places)) = CRATES.iter().find(|(known, _)| *known == name)
                    && !places.iter().any(|place| home.is_within(place))
                {
                    found(path.line, format!("`{name}` may be used in {} only", places.join(", ")));
                }
            }
            None => {}
        }
        if path.climbs > 1 {
            found(path.line, "no `super::super`: write the path from `crate::`".into());
        }
    }
    for token in &tokens {
        if token.word == "unsafe" && !UNSAFE.iter().any(|place| home.is_within(place)) {
            found(token.line, format!("`unsafe` in {} only", UNSAFE.join(", ")));
        }
    }
}

/// Where a file stands.
struct Home {
    path: String,
    room: String,
    /// The module it is: `["use_cases", "clips"]`.
    module: Vec<String>,
}

impl Home {
    fn of(path: &str) -> Self {
        let mut module: Vec<String> =
            path.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
        if module.last().is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str())) {
            module.pop();
        }
        let room = path.split('/').next().unwrap_or_default().to_owned();
        Self { path: path.to_owned(), room, module }
    }

    fn is_within(&self, place: &str) -> bool {
        let inside = self.path.strip_prefix(place);
        place == "*" || inside.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '.']))
    }

    /// The rule against importing `crate::` + `path` from here.
    fn speaks_against(&self, path: &[String], features: &BTreeSet<&str>) -> Option<String> {
        let to = path.first()?;
        let second = path.get(1).map_or("", String::as_str);
        let own = self.module.get(1).map_or("mod", String::as_str);
        if ["lib.rs", "main.rs"].contains(&self.room.as_str())
            || !ROOMS.iter().any(|(room, _)| room == to)
        {
            return None;
        }
        if *to == self.room {
            return match to.as_str() {
                "adapters" if own != "mod" && second != own => {
                    Some(format!("adapter `{own}` must not import adapter `{second}`"))
                }
                "use_cases"
                    if !SWITCHBOARDS.contains(&own)
                        && second != own
                        && features.contains(second) =>
                {
                    Some(format!(
                        "use cases of `{own}` must not import their sibling `{second}`: features meet in the event log"
                    ))
                }
                _ => None,
            };
        }
        let (_, may) = ROOMS.iter().find(|(room, _)| *room == self.room)?;
        let rule = || format!("room `{}` must not import room `{to}`", self.room);
        (!may.contains(&to.as_str())).then(rule)
    }
}

#[derive(Debug, Clone, PartialEq)]
struct Token {
    word: String,
    line: usize,
}

/// A path as written in code, whole: `use crate::{a::b, c}` gives two.
#[derive(Debug, PartialEq)]
struct WrittenPath {
    segments: Vec<String>,
    line: usize,
    /// How many `super` it began with; `super` and `self` are resolved in `segments`.
    climbs: usize,
}

/// Words and signs of a source, without comments, texts and lifetimes.
fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let (mut at, mut line, mut tokens) = (0, 1, Vec::new());
    let starts = |at: usize, sign: &str| {
        sign.chars().enumerate().all(|(i, c)| chars.get(at + i) == Some(&c))
    };
    while at < chars.len() {
        let c = chars[at];
        let begun = at;
        if starts(at, "//") {
            while at < chars.len() && chars[at] != '\n' {
                at += 1;
            }
        } else if starts(at, "/*") {
            let mut depth = 0;
            loop {
                if starts(at, "/*") {
                    (depth, at) = (depth + 1, at + 2);
                } else if starts(at, "*/") {
                    (depth, at) = (depth - 1, at + 2);
                } else {
                    at += 1;
                }
                if depth == 0 || at >= chars.len() {
                    break;
                }
            }
        } else if let Some(end) = raw_text_end(&chars, at) {
            at = end;
        } else if c == '"' || starts(at, "b\"") || starts(at, "c\"") {
            at += if c == '"' { 1 } else { 2 };
            while at < chars.len() && chars[at] != '"' {
                at += if chars[at] == '\\' { 2 } else { 1 };
            }
            at += 1;
        } else if c == '\'' {
            // A character, unless it is a lifetime.
            if chars.get(at + 1) == Some(&'\\') {
                at += 3;
                while at < chars.len() && chars[at] != '\'' {
                    at += 1;
                }
                at += 1;
            } else {
                at += if chars.get(at + 2) == Some(&'\'') { 3 } else { 1 };
            }
        } else if c.is_alphanumeric() || c == '_' {
            while at < chars.len() && (chars[at].is_alphanumeric() || chars[at] == '_') {
                at += 1;
            }
            tokens.push(Token { word: chars[begun..at].iter().collect(), line });
        } else if starts(at, "::") {
            tokens.push(Token { word: "::".into(), line });
            at += 2;
        } else {
            if !c.is_whitespace() {
                tokens.push(Token { word: c.to_string(), line });
            }
            at += 1;
        }
        at = at.min(chars.len());
        line += chars[begun..at].iter().filter(|c| **c == '\n').count();
    }
    tokens
}

/// The end of the raw text that begins here: `r"…"`, `r#"…"#`, `br"…"`.
fn raw_text_end(chars: &[char], at: usize) -> Option<usize> {
    if at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_') {
        return None;
    }
    let mut next = at + usize::from(chars[at] == 'b' || chars[at] == 'c');
    if chars.get(next) != Some(&'r') {
        return None;
    }
    next += 1;
    let hashes = chars[next..].iter().take_while(|c| **c == '#').count();
    next += hashes;
    if chars.get(next) != Some(&'"') {
        return None;
    }
    next += 1;
    while next < chars.len() {
        if chars[next] == '"'
            && chars[next + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes
        {
            return Some(next + 1 + hashes);
        }
        next += 1;
    }
    Some(chars.len())
}

/// All paths of a file. `self` and `super` are resolved from the module the file is; inline modules count.
fn paths(tokens: &[Token], module: &[String]) -> Vec<WrittenPath> {
    let word = |at: usize| tokens.get(at).map_or("", |token| token.word.as_str());
    let is_name = |at: usize| word(at).starts_with(|c: char| c.is_alphabetic() || c == '_');
    // Whether a name goes on a path begun before it; `::sqlx::query` begins one.
    let goes_on =
        |at: usize| at >= 2 && word(at - 1) == "::" && (is_name(at - 2) || word(at - 2) == ">");
    // For each open brace, the name of the inline module it belongs to, if it is one.
    let mut braces: Vec<Option<String>> = Vec::new();
    let (mut at, mut found) = (0, Vec::new());
    while at < tokens.len() {
        match word(at) {
            "{" => {
                let named = at >= 2 && word(at - 2) == "mod";
                braces.push(named.then(|| word(at - 1).to_owned()));
            }
            "}" => {
                braces.pop();
            }
            "use" => {
                let here: Vec<String> =
                    module.iter().cloned().chain(braces.iter().flatten().cloned()).collect();
                at = tree(tokens, at + 1, &[], &here, &mut found);
                continue;
            }
            _ if is_name(at) && word(at + 1) == "::" && !goes_on(at) => {
                let mut segments = vec![word(at).to_owned()];
                let line = tokens[at].line;
                while word(at + 1) == "::" && is_name(at + 2) {
                    at += 2;
                    segments.push(word(at).to_owned());
                }
                let here: Vec<String> =
                    module.iter().cloned().chain(braces.iter().flatten().cloned()).collect();
                found.push(resolved(segments, line, &here));
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// One branch of a `use` tree; says where it ended.
fn tree(
    tokens: &[Token],
    mut at: usize,
    trunk: &[String],
    here: &[String],
    found: &mut Vec<WrittenPath>,
) -> usize {
    let word = |at: usize| tokens.get(at).map_or(";", |token| token.word.as_str());
    let mut segments = trunk.to_vec();
    let line = tokens.get(at).map_or(0, |token| token.line);
    if word(at) == "::" {
        at += 1;
    }
    loop {
        match word(at) {
            "{" => {
                at += 1;
                while word(at) != "}" && word(at) != ";" {
                    at = tree(tokens, at, &segments, here, found);
                    if word(at) == "," {
                        at += 1;
                    }
                }
                return at + 1;
            }
            "::" => at += 1,
            "as" => at += 2,
            "," | "}" | ";" => break,
            name => {
                segments.push(name.to_owned());
                at += 1;
            }
        }
    }
    if !segments.is_empty() {
        found.push(resolved(segments, line, here));
    }
    at
}

fn resolved(segments: Vec<String>, line: usize, here: &[String]) -> WrittenPath {
    let climbs = segments.iter().take_while(|segment| *segment == "super").count();
    let stays = segments.first().is_some_and(|first| first == "self");
    if climbs == 0 && !stays {
        return WrittenPath { segments, line, climbs };
    }
    let kept = here.len().saturating_sub(climbs);
    let rest = segments.into_iter().skip(climbs.max(1));
    let whole = std::iter::once("crate".to_owned()).chain(here[..kept].iter().cloned()).chain(rest);
    WrittenPath { segments: whole.collect(), line, climbs }
}

/// The findings about one file of a house that is otherwise in order.
#[track_caller]
fn check(path: &str, code: &str, expected: &[(usize, &str)]) {
    let named = |path: &str, text: &str| Source { path: path.to_owned(), text: text.to_owned() };
    let sources = [
        named(path, &format!("//! What lives here.\n{code}")),
        named("use_cases/live/mod.rs", "//! Lives.\nfn work() {}"),
        named("use_cases/accounts.rs", "//! Accounts.\nfn work() {}"),
    ];
    let found: Vec<(usize, String)> = inspect(&sources, &[])
        .into_iter()
        .filter(|finding| finding.path == path)
        .map(|finding| (finding.line, finding.rule))
        .collect();
    let agrees = found.len() == expected.len()
        && found.iter().zip(expected).all(|(f, e)| f.0 == e.0 && f.1.contains(e.1));
    assert!(agrees, "{path}\n{code}\nfound {found:?}\nexpected {expected:?}");
}

#[test]
fn a_room_imports_only_the_rooms_it_may() {
    let ok: &[(usize, &str)] = &[];
    check("domain/clips.rs", "use crate::domain::ids::ClipId;\nfn f() {}", ok);
    check(
        "domain/clips.rs",
        "use crate::ports::clock::Clock;\nfn f() {}",
        &[(2, "`domain` must not import room `ports`")],
    );
    check("read_models/card.rs", "use crate::ports::X;\nfn f() {}", &[(2, "room `ports`")]);
    check("ports/clock.rs", "use crate::use_cases::X;\nfn f() {}", &[(2, "room `use_cases`")]);
    check(
        "use_cases/clips.rs",
        "\n\nuse crate::adapters::postgres::X;\nfn f() {}",
        &[(4, "room `adapters`")],
    );
    check(
        "adapters/s3.rs",
        "fn f() { crate::use_cases::clips::cut() }",
        &[(2, "room `use_cases`")],
    );
    check(
        "web/pages.rs",
        "use crate::adapters::clock::X;\nuse crate::workers::Y;\nfn f() {}",
        &[(2, "room `adapters`"), (3, "room `workers`")],
    );
    check("workers/w.rs", "use crate::web::X;\nfn f() {}", &[(2, "room `web`")]);
    check("rehearsal/r.rs", "use crate::use_cases::X;\nfn f() {}", &[(2, "room `use_cases`")]);
    check(
        "bench/b.rs",
        "use crate::domain::X;\nuse crate::adapters::X;\nfn f() {}",
        &[(3, "room `adapters`")],
    );
    check("web/pages.rs", "fn f() -> crate::boot::Config {}", &[(2, "room `boot`")]);
    check("boot/wire.rs", "use crate::{adapters::postgres::X, web::Y};\nfn f() {}", ok);
    check("main.rs", "fn main() { spark::boot::run() }", ok);
}

#[test]
fn an_import_is_seen_however_it_is_written() {
    let against = |line| [(line, "room `ports`")];
    for (line, code) in [
        (2, "use crate::{domain::ids::Id, ports::clock::Clock};"),
        (3, "use crate::{\n    ports::{self, clock::Clock},\n};"),
        (2, "use crate::ports;"),
        (2, "pub use crate::ports as needs;"),
        (2, "fn f(clock: &dyn crate::ports::clock::Clock) {}"),
        (3, "mod tests {\n    use crate::ports::X;\n}"),
        (
            3,
            "/* a /* nested */ comment */ const C: &str = r#\"a \" text\n\"#; use crate::ports::X;",
        ),
        (2, "const Q: char = '\"'; use crate::ports::X; const T: &str = \"\";"),
        (2, "fn f<'a>(x: &'a str) -> char { 'a' } use crate::ports::X;"),
        (2, "use super::ports::X;"),
    ] {
        check("domain.rs", &format!("{code}\nfn g() {{}}"), &[]);
        let path = if code.contains("super") { "domain/mod.rs" } else { "domain/clips.rs" };
        check(path, &format!("{code}\nfn g() {{}}"), &against(line));
    }
    for code in [
        "// use crate::ports::X;",
        "/// [`crate::ports::X`]",
        "const T: &str = \"use crate::ports::X;\";",
        "const T: &str = r\"crate::ports::X\";",
        "/* crate::ports::X */",
    ] {
        check("domain/clips.rs", &format!("{code}\nfn g() {{}}"), &[]);
    }
}

#[test]
fn features_and_adapters_do_not_import_their_siblings() {
    let live = "use crate::use_cases::live::Lives;\nfn f() {}";
    check("use_cases/clips.rs", live, &[(2, "must not import their sibling `live`")]);
    check("use_cases/clips.rs", "use super::live::Lives;\nfn f() {}", &[(2, "sibling `live`")]);
    check("use_cases/clips.rs", "mod tests {\n    use super::Clips;\n}\nfn f() {}", &[]);
    check(
        "use_cases/clips/cut.rs",
        "use crate::use_cases::{Work, live};\nfn f() {}",
        &[(2, "sibling `live`")],
    );
    check("use_cases/reactions.rs", live, &[]);
    check("use_cases/jobs.rs", live, &[]);
    check(
        "use_cases/live/import.rs",
        "use crate::use_cases::live::Lives;\nuse crate::use_cases::{Work, WorkError};\nfn f() {}",
        &[],
    );
    check(
        "adapters/s3/mod.rs",
        "use crate::adapters::postgres::X;\nfn f() {}",
        &[(2, "must not import adapter `postgres`")],
    );
    check("adapters/s3/mod.rs", "use super::postgres::X;\nfn f() {}", &[(2, "adapter `postgres`")]);
    check("adapters/s3/mod.rs", "use crate::adapters::s3::X;\nfn f() {}", &[]);
    check("use_cases/live/a/b.rs", "use super::super::X;\nfn f() {}", &[(2, "no `super::super`")]);
}

#[test]
fn a_crate_is_used_where_it_belongs() {
    check("adapters/postgres/jobs.rs", "use sqlx::PgPool;\nfn f() {}", &[]);
    check("boot/wire.rs", "use sqlx::PgPool;\nfn f() {}", &[]);
    check(
        "use_cases/clips.rs",
        "use sqlx::PgPool;\nfn f() {}",
        &[(2, "`sqlx` may be used in adapters/postgres, boot only")],
    );
    check("adapters/postgres_like.rs", "fn f() { ::sqlx::query() }", &[(2, "`sqlx`")]);
    check("domain/clips.rs", "async fn f() { tokio::time::sleep() }", &[(2, "`tokio`")]);
    check("read_models/card.rs", "fn f() { tracing::info!(\"x\") }", &[(2, "`tracing`")]);
    check("domain/clips.rs", "#[derive(serde::Serialize)]\nstruct S(uuid::Uuid);", &[]);
    check("web/pages.rs", "use ffmpeg_next as ffmpeg;\nfn f() {}", &[(2, "`ffmpeg_next`")]);
    check("adapters/ffmpeg/mod.rs", "use ffmpeg_next as ffmpeg;\nfn f() {}", &[]);
    check("workers/w.rs", "use axum::{Router, routing::get};\nfn f() {}", &[(2, "`axum`")]);
    check("use_cases/clips.rs", "fn f() { rand::rng() }", &[(2, "`rand`")]);
    check("use_cases/clips.rs", "fn f() { spark::x() }", &[(2, "not `spark::`")]);
    check("adapters/host/mod.rs", "fn f() { unsafe { g() } }", &[(2, "`unsafe`")]);
    let unknown = inspect(&[], &["left_pad".to_owned()]);
    assert!(unknown[0].rule.contains("`left_pad` is in no row"), "{unknown:?}");
    let manifest = "[package]\nname = \"x\"\n[dependencies]\na-b = \"1\"\n# c = \"1\"\nd.version = \"1\"\n[dev-dependencies]\ne = \"1\"";
    assert_eq!(dependencies(manifest), ["a_b", "d"]);
}

#[test]
fn a_file_is_short_says_what_it_is_and_has_a_telling_name() {
    check("domain/utils.rs", "fn f() {}", &[(1, "`utils` says nothing")]);
    check("domain/helpers/mod.rs", "fn f() {}", &[(1, "`helpers`")]);
    check("domain/long.rs", &"fn f() {}\n".repeat(LINES_MAX), &[(501, "501 lines")]);
    check("domain/just.rs", &"fn f() {}\n".repeat(LINES_MAX - 1), &[]);
    check(
        "domain/tested.rs",
        &format!("fn f() {{}}\n#[cfg(test)]\n{}", "\n".repeat(LINES_MAX)),
        &[],
    );
    check("shed/mod.rs", "fn f() {}", &[(1, "`shed` is no room")]);
    check("ports/mod.rs", "mod clock;\nuse crate::domain::X;", &[(1, "`ports` is empty")]);
    let silent = [Source { path: "domain/a.rs".into(), text: "fn f() {}".into() }];
    assert!(inspect(&silent, &[])[0].rule.contains("begins with `//!`"));
}
