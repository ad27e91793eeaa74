//! A channel that somebody linked to the house: who it is, what it allows us, and what a missing permission costs.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// Longest platform id, in characters.
const CHANNEL_ID_CHARS_MAX: usize = 32;

/// The platform's id of a channel (and of the person who owns it): digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ChannelId(String);

/// A text that cannot be a channel's id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no channel id: write the platform's number, such as 141981764")]
pub struct ChannelIdError(String);

impl ChannelId {
    /// Takes 1 to 32 digits.
    pub fn try_new(raw: impl Into<String>) -> Result<Self, ChannelIdError> {
        let raw = raw.into();
        let fits = (1..=CHANNEL_ID_CHARS_MAX).contains(&raw.len())
            && raw.bytes().all(|byte| byte.is_ascii_digit());
        if fits { Ok(Self(raw)) } else { Err(ChannelIdError(raw)) }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ChannelId {
    type Error = ChannelIdError;
    fn try_from(raw: String) -> Result<Self, ChannelIdError> {
        Self::try_new(raw)
    }
}

impl From<ChannelId> for String {
    fn from(id: ChannelId) -> Self {
        id.0
    }
}

impl std::fmt::Display for ChannelId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for ChannelId {
    type Err = ChannelIdError;
    fn from_str(raw: &str) -> Result<Self, ChannelIdError> {
        Self::try_new(raw)
    }
}

/// The permissions a channel gave, by the platform's names (`user:read:chat`).
pub type Scopes = BTreeSet<String>;

/// A linked channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    pub id: ChannelId,
    /// The name in addresses, lower case.
    pub login: String,
    /// The name people read.
    pub name: String,
    pub scopes: Scopes,
    pub linked_at: DateTime<Utc>,
    /// When the platform last said that the link holds.
    pub validated_at: DateTime<Utc>,
    /// Why nothing can be asked in this channel's name any more; it is to be linked again.
    pub trouble: Option<Trouble>,
}

/// What ended a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trouble {
    /// The platform takes the refresh token no longer.
    RefreshRefused,
    /// The channel withdrew its permission.
    Revoked,
}

impl Trouble {
    pub const ALL: [Self; 2] = [Self::RefreshRefused, Self::Revoked];

    /// The word in storage.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RefreshRefused => "refresh_refused",
            Self::Revoked => "revoked",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|trouble| trouble.as_str() == word)
    }
}

impl Channel {
    /// Whether this channel's permissions allow a feature.
    pub fn allows(&self, feature: Feature) -> bool {
        feature.scopes().iter().all(|scope| self.scopes.contains(*scope))
    }

    /// Features that a permission is missing for, the necessary ones first.
    pub fn missing(&self) -> Vec<Feature> {
        Feature::ALL.into_iter().filter(|feature| !self.allows(*feature)).collect()
    }
}

/// What the house does with a channel, as far as it needs the channel's permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Feature {
    Chat,
    Follows,
    Subscriptions,
    Bits,
    Redemptions,
    Polls,
    Predictions,
    HypeTrain,
    AdBreaks,
    Markers,
    Clips,
    VideoClips,
    Messages,
    Announcements,
    Raids,
    Conduits,
}

impl Feature {
    /// All features, the necessary ones first.
    pub const ALL: [Self; 16] = [
        Self::Chat,
        Self::Follows,
        Self::Subscriptions,
        Self::Bits,
        Self::Redemptions,
        Self::Polls,
        Self::Predictions,
        Self::HypeTrain,
        Self::AdBreaks,
        Self::Markers,
        Self::Clips,
        Self::VideoClips,
        Self::Messages,
        Self::Announcements,
        Self::Raids,
        Self::Conduits,
    ];

    /// Asked of every channel; the others only when somebody wants them.
    pub const fn is_necessary(self) -> bool {
        !matches!(self, Self::Messages | Self::Announcements | Self::Raids | Self::Conduits)
    }

    /// The least permissions it needs, all of them.
    pub const fn scopes(self) -> &'static [&'static str] {
        match self {
            Self::Chat => &["user:read:chat"],
            Self::Follows => &["moderator:read:followers"],
            Self::Subscriptions => &["channel:read:subscriptions"],
            Self::Bits => &["bits:read"],
            Self::Redemptions => &["channel:read:redemptions"],
            Self::Polls => &["channel:read:polls"],
            Self::Predictions => &["channel:read:predictions"],
            Self::HypeTrain => &["channel:read:hype_train"],
            Self::AdBreaks => &["channel:read:ads"],
            Self::Markers => &["channel:manage:broadcast"],
            Self::Clips => &["clips:edit"],
            Self::VideoClips => &["channel:manage:clips"],
            Self::Messages => &["user:write:chat"],
            Self::Announcements => &["moderator:manage:announcements"],
            Self::Raids => &["channel:manage:raids"],
            Self::Conduits => &["user:bot", "channel:bot"],
        }
    }

    /// The word in forms.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Follows => "follows",
            Self::Subscriptions => "subscriptions",
            Self::Bits => "bits",
            Self::Redemptions => "redemptions",
            Self::Polls => "polls",
            Self::Predictions => "predictions",
            Self::HypeTrain => "hype_train",
            Self::AdBreaks => "ad_breaks",
            Self::Markers => "markers",
            Self::Clips => "clips",
            Self::VideoClips => "video_clips",
            Self::Messages => "messages",
            Self::Announcements => "announcements",
            Self::Raids => "raids",
            Self::Conduits => "conduits",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|feature| feature.as_str() == word)
    }

    /// What it is called on a page.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Chat => "Lire le chat",
            Self::Follows => "Compter les nouveaux abonnés (follows)",
            Self::Subscriptions => "Compter les subs",
            Self::Bits => "Compter les bits",
            Self::Redemptions => "Suivre les points de chaîne",
            Self::Polls => "Suivre les sondages",
            Self::Predictions => "Suivre les pronostics",
            Self::HypeTrain => "Suivre les hype trains",
            Self::AdBreaks => "Voir venir la publicité",
            Self::Markers => "Poser des repères, signaler un contenu sponsorisé",
            Self::Clips => "Créer des clips pendant le direct",
            Self::VideoClips => "Créer des clips depuis la rediffusion et les télécharger",
            Self::Messages => "Écrire dans le chat",
            Self::Announcements => "Publier des annonces dans le chat",
            Self::Raids => "Lancer un raid",
            Self::Conduits => "Écouter le chat depuis plusieurs serveurs",
        }
    }

    /// What its absence costs, in a sentence.
    pub const fn cost(self) -> &'static str {
        match self {
            Self::Chat => {
                "Sans elle, ni chat sur « Direct », ni moments détectés, ni votes !clip : le direct se joue à l'aveugle."
            }
            Self::Follows => {
                "Sans elle, les follows manquent au fil du direct et aux bilans des sponsors."
            }
            Self::Subscriptions => {
                "Sans elle, ni subs, ni cadeaux, ni réabonnements dans le fil et les bilans."
            }
            Self::Bits => "Sans elle, les bits ne sont pas comptés.",
            Self::Redemptions => {
                "Sans elle, une récompense prise par un viewer n'apparaît pas et ne peut rien déclencher."
            }
            Self::Polls => "Sans elle, les sondages et leurs résultats manquent au fil du direct.",
            Self::Predictions => {
                "Sans elle, les pronostics et leurs résultats manquent au fil du direct."
            }
            Self::HypeTrain => {
                "Sans elle, un hype train ne compte pas parmi les raisons d'un moment."
            }
            Self::AdBreaks => {
                "Sans elle, une coupure publicitaire ressemble à une perte d'audience dans les courbes."
            }
            Self::Markers => {
                "Sans elle, « Marquer » ne pose pas de repère sur Twitch, et la mention « contenu sponsorisé » se règle à la main."
            }
            Self::Clips => "Sans elle, aucun clip Twitch ne peut être créé pendant le direct.",
            Self::VideoClips => {
                "Sans elle, pas de clip exact depuis la rediffusion, et les clips Twitch ne peuvent pas être rapatriés."
            }
            Self::Messages => "Sans elle, SPARK lit le chat mais n'y répond pas.",
            Self::Announcements => "Sans elle, pas d'annonce mise en avant dans le chat.",
            Self::Raids => "Sans elle, le raid de fin de direct se lance à la main.",
            Self::Conduits => {
                "Sans elle, le chat s'écoute par une seule connexion : une coupure réseau peut laisser un trou."
            }
        }
    }
}

/// The permissions to ask for: what is necessary, what somebody wants besides, and what stands already.
pub fn scopes_to_ask(wanted: &[Feature], standing: &Scopes) -> Scopes {
    let ours = |scope: &&String| Feature::ALL.iter().any(|f| f.scopes().contains(&scope.as_str()));
    Feature::ALL
        .into_iter()
        .filter(|feature| feature.is_necessary() || wanted.contains(feature))
        .flat_map(|feature| feature.scopes().iter().map(ToString::to_string))
        .chain(standing.iter().filter(ours).cloned())
        .collect()
}

/// One look at how many people watch a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewerSample {
    pub channel: ChannelId,
    /// When the platform was asked.
    pub fetched_at: DateTime<Utc>,
    pub seen: Seen,
}

/// What one look found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    Live {
        viewers: u32,
        title: String,
        category: String,
        started_at: Option<DateTime<Utc>>,
    },
    Offline,
    /// Nobody knows: the look itself failed. Not zero viewers.
    Failed,
}

impl Seen {
    /// The word in storage.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Live { .. } => "live",
            Self::Offline => "offline",
            Self::Failed => "failed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_is_asked_and_what_stands_is_kept() {
        let none = Scopes::new();
        let least = scopes_to_ask(&[], &none);
        assert!(least.contains("user:read:chat") && least.contains("channel:manage:broadcast"));
        for spared in ["user:write:chat", "channel:manage:raids", "channel:bot"] {
            assert!(!least.contains(spared), "{spared} is asked of everybody");
        }
        let standing = Scopes::from(["user:write:chat".to_owned(), "channel:edit:old".to_owned()]);
        let again = scopes_to_ask(&[Feature::Raids], &standing);
        assert!(again.contains("user:write:chat") && again.contains("channel:manage:raids"));
        assert!(!again.contains("channel:edit:old"), "a permission nobody uses is asked again");
    }

    #[test]
    fn every_feature_has_its_own_words_and_is_read_back() {
        let words: BTreeSet<&str> = Feature::ALL.iter().map(|feature| feature.as_str()).collect();
        assert_eq!(words.len(), Feature::ALL.len());
        for feature in Feature::ALL {
            assert_eq!(Feature::parse(feature.as_str()), Some(feature));
            assert!(!feature.scopes().is_empty() && feature.cost().starts_with("Sans elle"));
        }
    }

    #[test]
    fn an_id_is_digits() {
        assert!(ChannelId::try_new("141981764").is_ok());
        for bad in ["", "ana", "1 2", "../x", "123456789012345678901234567890123"] {
            assert!(ChannelId::try_new(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
