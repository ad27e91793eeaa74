//! Settings: `spark.toml`, then the environment, then flags; the later wins. One struct a section, unknown keys refused.
//!
//! A key `listen` of `[web]` is `SPARK_WEB_LISTEN` in the environment. `SPARK_WEB_LISTEN_FILE` names a file that holds
//! the value, for secrets. `DATABASE_URL` is short for `SPARK_DATABASE_URL`.

mod alerts;
mod record;
mod resources;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::{Table, Value};

use crate::adapters::twitch::TwitchSettings;
use crate::domain::moments::params::Params;
use crate::ports::vault::Secret;

pub(crate) use alerts::AlertsConfig;
pub(crate) use record::{RecordConfig, Run, SrtAt};
pub(crate) use resources::{ResourcesConfig, Switch};

/// Prefix of our variables.
const PREFIX: &str = "SPARK_";
/// Suffix of a variable that names a file with the value.
const FILE_SUFFIX: &str = "_FILE";
/// Keys whose values are numbers; a password of digits is still a text.
const NUMBERS: [&str; 7] = [
    "upload_bytes_max",
    "behind_proxy",
    "live_score_min",
    "live_spacing_s",
    "conduit_shards",
    "srt_latency_ms",
    "hours_a_day",
];
/// The settings file looked for when no flag names one.
pub(crate) const CONFIG_FILE: &str = "spark.toml";

/// All settings.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
pub(crate) struct Config {
    pub data: DataConfig,
    pub database: DatabaseConfig,
    pub web: WebConfig,
    pub moments: MomentsConfig,
    pub reels: ReelsConfig,
    pub twitch: TwitchConfig,
    pub record: RecordConfig,
    pub resources: ResourcesConfig,
    pub alerts: AlertsConfig,
    pub logs: LogsConfig,
}

/// Where everything is kept.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct DataConfig {
    /// The data folder: private database, media, secrets.
    pub folder: PathBuf,
}

/// The database.
#[derive(Debug, Clone, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct DatabaseConfig {
    /// `postgres://…`; without it, spark runs a private PostgreSQL in the data folder.
    pub url: Option<String>,
}

/// The pages.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct WebConfig {
    /// Address and port to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// How people reach the pages, `https://spark.example`; by default the address listened on.
    pub public_url: Option<String>,
    /// Largest upload, in bytes.
    pub upload_bytes_max: u64,
    /// Lets a program read `/metrics` from elsewhere: it sends this as a bearer token.
    pub measures_token: Option<String>,
    /// 1 when a proxy of ours stands before and names the client last in `X-Forwarded-For`.
    pub behind_proxy: u8,
}

/// Moments while a live is on air.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct MomentsConfig {
    /// Moments below this score are not told: 2.5 tells about ten an hour, more lets fewer through.
    pub live_score_min: f64,
    /// Seconds from one moment to the next, at least.
    pub live_spacing_s: u32,
}

/// What reels carry.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ReelsConfig {
    /// Words in a reel's corner; none when empty.
    pub watermark: String,
}

/// Our application at Twitch. Register one at https://dev.twitch.tv/console, with the return address
/// `<public_url>/chaines/retour`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TwitchConfig {
    /// Without one, no channel can be linked.
    pub client_id: Option<String>,
    /// None for a public application, which links by code only. Best given as `SPARK_TWITCH_CLIENT_SECRET_FILE`.
    pub client_secret: Option<Secret>,
    /// Identity service; ends with a slash.
    pub id_url: String,
    /// Web interface; ends with a slash.
    pub helix_url: String,
    /// Socket of events.
    pub eventsub_url: String,
    /// Which way events take to us.
    pub events: EventsVia,
    /// Sockets a conduit keeps, shared out among the processes that listen. With two or more, one may drop.
    pub conduit_shards: u32,
    /// Signs webhooks, 10 to 100 ASCII characters [default: one drawn from `link.key`]; the same on every server.
    pub webhook_secret: Option<Secret>,
    /// Whether `spark serve` listens itself.
    pub listen: Listen,
    /// File of the keys that seal tokens [default: `vault.keys` in the data folder].
    pub vault_keys: Option<PathBuf>,
}

/// Which way Twitch's events take to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum EventsVia {
    /// A WebSocket for each channel, in its own name: nothing to set up.
    #[default]
    Sockets,
    /// Subscriptions of the application that outlive every socket. Needs a client secret, and of each channel the optional
    /// permission `conduits`.
    Conduit,
    /// Posted to `<public_url>/twitch/eventsub`, which must be https. Needs what a conduit needs.
    Webhooks,
}

/// Who listens to Twitch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Listen {
    /// `spark serve` does, beside everything else.
    #[default]
    Here,
    /// `spark listen` does, in processes of their own.
    Elsewhere,
}

/// What is told, and how.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LogsConfig {
    /// `tracing` filter, such as `info` or `spark=debug,info`; by default `info`, and `warn` beside a progress bar.
    pub filter: Option<String>,
    pub format: LogFormat,
}

/// For people or for machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    Text,
    Json,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self { folder: default_folder() }
    }
}

impl Default for WebConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            public_url: None,
            upload_bytes_max: 64 * 1024 * 1024 * 1024,
            measures_token: None,
            behind_proxy: 0,
        }
    }
}

impl Default for MomentsConfig {
    fn default() -> Self {
        let Params { score_min, refractory_s, .. } = Params::live();
        Self { live_score_min: score_min, live_spacing_s: refractory_s }
    }
}

impl MomentsConfig {
    /// As the detector takes it.
    pub(crate) fn live(&self) -> Params {
        Params {
            score_min: self.live_score_min,
            refractory_s: self.live_spacing_s,
            ..Params::live()
        }
    }
}

impl Default for ReelsConfig {
    fn default() -> Self {
        Self { watermark: "SPARK".to_owned() }
    }
}

impl Default for TwitchConfig {
    fn default() -> Self {
        let TwitchSettings { client_id, client_secret, id_url, helix_url, eventsub_url } =
            TwitchSettings::default();
        Self {
            client_id,
            client_secret,
            id_url,
            helix_url,
            eventsub_url,
            events: EventsVia::default(),
            conduit_shards: 2,
            webhook_secret: None,
            listen: Listen::default(),
            vault_keys: None,
        }
    }
}

impl TwitchConfig {
    /// As the adapters take it. An empty id is none.
    pub(crate) fn settings(&self) -> TwitchSettings {
        let slashed = |url: &str| format!("{}/", url.trim_end_matches('/'));
        TwitchSettings {
            client_id: self.client_id.clone().filter(|id| !id.is_empty()),
            client_secret: self.client_secret.clone().filter(|secret| !secret.expose().is_empty()),
            id_url: slashed(&self.id_url),
            helix_url: slashed(&self.helix_url),
            eventsub_url: self.eventsub_url.clone(),
        }
    }
}

impl Default for LogsConfig {
    fn default() -> Self {
        Self { filter: None, format: LogFormat::Text }
    }
}

/// `/var/lib/spark` for root, else the user's own data folder.
fn default_folder() -> PathBuf {
    if rustix::process::geteuid().is_root() {
        return PathBuf::from("/var/lib/spark");
    }
    home().map_or_else(|| PathBuf::from("spark-data"), |home| home.join(".local/share/spark"))
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
fn home() -> Option<PathBuf> {
    std::env::var("HOME").ok().filter(|home| !home.is_empty()).map(PathBuf::from)
}

/// The folders in which programs are looked for.
pub(crate) fn search_path() -> std::ffi::OsString {
    std::env::var_os("PATH").unwrap_or_default()
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("cannot read the settings file `{path}`")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("the settings file `{path}` is not valid TOML")]
    Toml { path: PathBuf, source: toml::de::Error },
    #[error("{name} names no setting: write {PREFIX}<SECTION>_<KEY>, such as SPARK_WEB_LISTEN")]
    Variable { name: String },
    #[error("cannot read the file that {name} names")]
    Secret { name: String, source: std::io::Error },
    #[error("these settings do not fit; `spark --help` lists what each role takes")]
    Shape(#[source] toml::de::Error),
}

/// Reads the settings. `flags` are `(section, key, value)`.
pub(crate) fn load(
    file: Option<&Path>,
    environment: impl Iterator<Item = (String, String)>,
    flags: &[(&str, &str, String)],
) -> Result<Config, ConfigError> {
    let mut table = match file {
        Some(path) => read_table(path)?,
        None if Path::new(CONFIG_FILE).exists() => read_table(Path::new(CONFIG_FILE))?,
        None => Table::new(),
    };
    for (name, value) in environment {
        if name == "DATABASE_URL" {
            set(&mut table, "database", "url", &value);
        } else if let Some(rest) = name.strip_prefix(PREFIX) {
            let (rest, value) = match rest.strip_suffix(FILE_SUFFIX) {
                Some(rest) => {
                    let held = std::fs::read_to_string(&value)
                        .map_err(|source| ConfigError::Secret { name: name.clone(), source })?;
                    (rest, held.trim_end_matches(['\r', '\n']).to_owned())
                }
                None => (rest, value),
            };
            let (section, key) =
                rest.split_once('_').ok_or_else(|| ConfigError::Variable { name: name.clone() })?;
            set(&mut table, &section.to_lowercase(), &key.to_lowercase(), &value);
        }
    }
    for (section, key, value) in flags {
        set(&mut table, section, key, value);
    }
    Value::Table(table).try_into().map_err(ConfigError::Shape)
}

fn read_table(path: &Path) -> Result<Table, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    text.parse().map_err(|source| ConfigError::Toml { path: path.to_owned(), source })
}

fn set(table: &mut Table, section: &str, key: &str, raw: &str) {
    let section = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
    if let Value::Table(section) = section {
        let is_number = NUMBERS.contains(&key);
        let value = match (raw.parse::<i64>(), raw.parse::<f64>()) {
            (Ok(number), _) if is_number => Value::Integer(number),
            (_, Ok(number)) if is_number => Value::Float(number),
            _ => Value::String(raw.to_owned()),
        };
        section.insert(key.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> std::vec::IntoIter<(String, String)> {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect::<Vec<_>>()
            .into_iter()
    }

    #[test]
    fn flags_win_over_the_environment_and_that_over_the_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("spark.toml");
        std::fs::write(&file, "[web]\nlisten = \"127.0.0.1:1\"\npublic_url = \"https://a\"\n")
            .expect("a file");
        let vars =
            [("SPARK_WEB_LISTEN", "127.0.0.1:2"), ("DATABASE_URL", "postgres://x"), ("HOME", "/x")];
        let config = load(Some(&file), env(&vars), &[("web", "listen", "127.0.0.1:3".into())])
            .expect("settings");
        assert_eq!(config.web.listen.port(), 3);
        assert_eq!(config.web.public_url.as_deref(), Some("https://a"));
        assert_eq!(config.database.url.as_deref(), Some("postgres://x"));
    }

    #[test]
    fn unknown_keys_are_refused_wherever_they_stand() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("spark.toml");
        std::fs::write(&file, "[web]\nlisen = \"127.0.0.1:1\"\n").expect("a file");
        let refused = load(Some(&file), env(&[]), &[]).expect_err("a typing error");
        assert!(format!("{refused:?}").contains("lisen"), "{refused:?}");
        std::fs::write(&file, "").expect("a file");
        assert!(load(Some(&file), env(&[("SPARK_WEB_LISEN", "1")]), &[]).is_err());
        assert!(matches!(
            load(Some(&file), env(&[("SPARK_X", "1")]), &[]),
            Err(ConfigError::Variable { .. })
        ));
    }

    #[test]
    fn srt_has_an_address_or_is_off_and_its_passphrase_stays_a_text() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("spark.toml");
        std::fs::write(&file, "[record]\nsrt = \"off\"\n").expect("a file");
        assert_eq!(
            load(Some(&file), env(&[]), &[]).expect("settings").record.srt.to_string(),
            "off"
        );
        let vars = [
            ("SPARK_RECORD_SRT", "[::]:9000"),
            ("SPARK_RECORD_SRT_PASSPHRASE", "0123456789"),
            ("SPARK_RECORD_SRT_LATENCY_MS", "500"),
        ];
        let record = load(Some(&file), env(&vars), &[]).expect("settings").record;
        assert_eq!((record.srt.to_string().as_str(), record.srt_latency_ms), ("[::]:9000", 500));
        assert_eq!(record.srt_passphrase.expect("a secret").expose(), "0123456789");
        assert!(load(Some(&file), env(&[("SPARK_RECORD_SRT", "on")]), &[]).is_err());
    }

    #[test]
    fn a_secret_may_come_from_a_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("spark.toml");
        std::fs::write(&file, "").expect("a file");
        let secret = folder.path().join("url");
        std::fs::write(&secret, "postgres://secret\n").expect("a file");
        let vars = [("SPARK_DATABASE_URL_FILE", secret.to_str().expect("a path"))];
        let config = load(Some(&file), env(&vars), &[]).expect("settings");
        assert_eq!(config.database.url.as_deref(), Some("postgres://secret"));
        let lost = load(Some(&file), env(&[("SPARK_DATABASE_URL_FILE", "/nowhere/at/all")]), &[]);
        assert!(matches!(lost, Err(ConfigError::Secret { .. })));
    }
}
