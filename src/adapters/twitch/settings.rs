//! Which application we are at Twitch, and where Twitch is.

use crate::ports::vault::Secret;

/// Our application and Twitch's addresses. Each address ends with a slash, the socket's aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TwitchSettings {
    /// None when nobody registered an application yet: every call then says so.
    pub client_id: Option<String>,
    /// None for a public application: it has no tokens of its own and links by device code.
    pub client_secret: Option<Secret>,
    pub id_url: String,
    pub helix_url: String,
    pub eventsub_url: String,
}

impl Default for TwitchSettings {
    /// Twitch itself, and no application.
    fn default() -> Self {
        Self {
            client_id: None,
            client_secret: None,
            id_url: "https://id.twitch.tv/oauth2/".to_owned(),
            helix_url: "https://api.twitch.tv/helix/".to_owned(),
            eventsub_url: "wss://eventsub.wss.twitch.tv/ws".to_owned(),
        }
    }
}

impl TwitchSettings {
    /// All of Twitch at one address, as a rehearsal serves it: `http://127.0.0.1:4000`.
    pub fn at(base: &str) -> Self {
        let base = base.trim_end_matches('/');
        let socket = base.replacen("http", "ws", 1);
        Self {
            id_url: format!("{base}/oauth2/"),
            helix_url: format!("{base}/helix/"),
            eventsub_url: format!("{socket}/ws"),
            ..Self::default()
        }
    }
}
