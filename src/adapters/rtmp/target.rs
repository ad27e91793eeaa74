//! Where a stream is published to.

use crate::ports::relay::{PublishError, RelayOrder};
use crate::ports::vault::Secret;

/// What Twitch wants behind the key to measure the line and show nothing (Twitch's guide to broadcasting).
const TEST_MODE: &str = "?bandwidthtest=true";
/// Longest text of a server that is told on, in characters.
const TEXT_CHARS_MAX: usize = 200;

/// A server, an application on it, and the key that opens it. The key is shown nowhere.
pub(super) struct Target {
    pub(super) is_tls: bool,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) app: String,
    /// As it is published: with what asks for a test behind it.
    pub(super) stream: Secret,
    key: Secret,
}

impl Target {
    /// Reads `rtmp://host[:port]/app` or `rtmps://…` and the key of an order.
    pub(super) fn of(order: &RelayOrder) -> Result<Self, PublishError> {
        let wrong = PublishError::Address;
        let key = order.key.as_ref().map(Secret::expose).unwrap_or_default();
        let url = order.url.as_str();
        if url.chars().chain(key.chars()).any(|c| c.is_control() || c.is_whitespace()) {
            return Err(wrong("ni l'adresse ni la clé n'ont d'espace"));
        }
        let (is_tls, rest) = match (url.strip_prefix("rtmp://"), url.strip_prefix("rtmps://")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ => return Err(wrong("elle commence par rtmp:// ou rtmps://")),
        };
        let (authority, app) = rest.split_once('/').unwrap_or((rest, ""));
        let app = app.trim_end_matches('/');
        if authority.contains('@') {
            return Err(wrong("un nom et un mot de passe devant le serveur ne sont pas envoyés"));
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (host, after) =
                    rest.split_once(']').ok_or_else(|| wrong("un crochet n'est pas fermé"))?;
                (host, after.strip_prefix(':'))
            }
            None => authority
                .split_once(':')
                .map_or((authority, None), |(host, port)| (host, Some(port))),
        };
        let port = match port {
            Some(port) => port.parse().map_err(|_| wrong("le port n'est pas un nombre"))?,
            None if is_tls => 443,
            None => 1935,
        };
        if host.is_empty() || app.is_empty() || key.is_empty() {
            return Err(wrong("il faut un serveur, une application et une clé"));
        }
        let stream = match (order.is_test, key.contains('?')) {
            (true, false) => format!("{key}{TEST_MODE}"),
            (true, true) => format!("{key}&{}", &TEST_MODE[1..]),
            _ => key.to_owned(),
        };
        let (host, app, key) = (host.to_owned(), app.to_owned(), Secret::new(key));
        Ok(Self { is_tls, host, port, app, stream: Secret::new(stream), key })
    }

    /// The address as the server is told it.
    pub(super) fn url(&self) -> String {
        let scheme = if self.is_tls { "rtmps" } else { "rtmp" };
        let Self { host, port, app, .. } = self;
        if host.contains(':') {
            format!("{scheme}://[{host}]:{port}/{app}")
        } else {
            format!("{scheme}://{host}:{port}/{app}")
        }
    }

    /// A text of the server's without the key, and not too long.
    pub(super) fn redacted(&self, text: &str) -> String {
        let text = text.replace(self.stream.expose(), "…").replace(self.key.expose(), "…");
        let bare = self.key.expose().split('?').next().filter(|bare| !bare.is_empty());
        let text = bare.map_or(text.clone(), |bare| text.replace(bare, "…"));
        text.chars().filter(|c| !c.is_control()).take(TEXT_CHARS_MAX).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::CameraId;

    fn order(url: &str, key: &str, is_test: bool) -> RelayOrder {
        let camera = CameraId::from_uuid(uuid::Uuid::nil());
        let key = Some(Secret::new(key));
        RelayOrder { camera, name: "Twitch".into(), url: url.into(), key, is_test }
    }

    #[test]
    fn addresses_are_read_and_keys_never_shown() {
        for (url, shown) in [
            ("rtmp://live.example/app", "rtmp://live.example:1935/app"),
            ("rtmps://live.example/app/", "rtmps://live.example:443/app"),
            ("rtmp://live.example:1936/a/b", "rtmp://live.example:1936/a/b"),
            ("rtmp://[::1]:7/app", "rtmp://[::1]:7/app"),
        ] {
            let target = Target::of(&order(url, "live_secret", true)).unwrap();
            assert_eq!(target.url(), shown);
            assert_eq!(target.stream.expose(), "live_secret?bandwidthtest=true");
            let told = target.redacted("no live_secret?bandwidthtest=true, live_secret neither");
            assert_eq!(told, "no …, … neither");
        }
        assert!(!format!("{:?}", order("rtmp://a/b", "live_secret", false)).contains("secret"));
        for url in
            ["http://a/b", "rtmp://a", "rtmp:///app", "rtmp://a:x/b", "rtmp://u:p@a/b", "rtmp://[a"]
        {
            assert!(Target::of(&order(url, "k", false)).is_err(), "{url}");
        }
        assert!(Target::of(&order("rtmp://a/b", "", false)).is_err());
        assert!(Target::of(&order("rtmp://a/b", "a b", false)).is_err());
    }
}
