//! Linking through a browser: it leaves for the platform with a state and comes back with a code.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::domain::audience::channel::{Channel, Feature, Scopes, scopes_to_ask};
use crate::ports::PortError;
use crate::ports::platform::{Authorisation, Bearer, Caller};
use crate::ports::vault::{PendingLink, Secret, Tokens};
use crate::use_cases::audience::channels::{Channels, ChannelsError};

/// How long somebody may take at the platform.
pub const LINK_LIFE: TimeDelta = TimeDelta::minutes(10);

/// The browser session a linking is begun in and must be finished in.
#[derive(Clone, Copy)]
pub struct Browser {
    /// Which session.
    pub session_hash: [u8; 32],
    /// A secret of that session. The PKCE verifier is derived from it, so none has to be stored.
    pub session_secret: [u8; 32],
}

impl Channels {
    /// Where to send the browser so that its person allows us the necessary features and those wanted besides; what
    /// `standing` grants already is asked again. Open for [`LINK_LIFE`], once.
    pub async fn begin_linking(
        &self,
        browser: Browser,
        return_url: &str,
        wanted: &[Feature],
        standing: &Scopes,
    ) -> Result<String, ChannelsError> {
        let state = Secret::new(URL_SAFE_NO_PAD.encode(self.clock.new_secret()));
        let challenge = URL_SAFE_NO_PAD.encode(hash(verifier(browser, &state).expose()));
        let url = self.identity.authorise_url(&Authorisation {
            return_url,
            scopes: &scopes_to_ask(wanted, standing),
            state: &state,
            challenge: &challenge,
        })?;
        let now = self.clock.now();
        let link = PendingLink {
            state_hash: hash(state.expose()),
            session_hash: browser.session_hash,
            return_url: return_url.to_owned(),
            expires_at: now + LINK_LIFE,
        };
        self.vault.begin_link(link, now).await?;
        Ok(url)
    }

    /// Forgets a linking that the person turned down; its state is spent.
    pub async fn drop_linking(&self, browser: Browser, state: &str) -> Result<(), ChannelsError> {
        let now = self.clock.now();
        let taken = self.vault.take_link(hash(state), browser.session_hash, now).await?;
        taken.map(|_| ()).ok_or(ChannelsError::LinkSpent)
    }

    /// Takes the browser back with its state and code, and links the channel. Goes on when the browser goes away.
    pub async fn finish_linking(
        &self,
        browser: Browser,
        state: &str,
        code: &str,
    ) -> Result<Channel, ChannelsError> {
        let now = self.clock.now();
        let link = self.vault.take_link(hash(state), browser.session_hash, now).await?;
        let link = link.ok_or(ChannelsError::LinkSpent)?;
        let (channels, code) = (self.clone(), Secret::new(code));
        let verifier = verifier(browser, &Secret::new(state));
        let finishing = tokio::spawn(async move {
            let tokens = channels.identity.exchange(&code, &link.return_url, &verifier).await?;
            channels.admit(tokens).await
        });
        finishing.await.map_err(|e| PortError::lasting("finish linking a channel", e))?
    }

    /// Links the channel that these tokens speak for.
    pub(super) async fn admit(&self, tokens: Tokens) -> Result<Channel, ChannelsError> {
        let who = self.identity.validate(&tokens.access).await?;
        let caller = Caller::Channel(who.channel.clone());
        let bearer = Bearer { caller, token: tokens.access.clone() };
        // A name is pleasant, not needed: the login stands in for it.
        let users = self.platform.users(&bearer, std::slice::from_ref(&who.channel)).await;
        let name = users.ok().and_then(|users| users.into_iter().next()).map(|user| user.name);
        let now = self.clock.now();
        let channel = Channel {
            id: who.channel,
            name: name.unwrap_or_else(|| who.login.clone()),
            login: who.login,
            scopes: who.scopes,
            linked_at: now,
            validated_at: now,
            trouble: None,
        };
        self.vault.link(&channel, &tokens).await?;
        self.linked.notify_one();
        tracing::info!(channel = %channel.id, "linked a channel");
        Ok(channel)
    }
}

fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// Whoever reads state and code from the address bar still lacks the session's secret.
fn verifier(browser: Browser, state: &Secret) -> Secret {
    let mut mac = Hmac::<Sha256>::new_from_slice(&browser.session_secret)
        .expect("HMAC takes keys of any length");
    mac.update(b"pkce\x1f");
    mac.update(state.expose().as_bytes());
    Secret::new(URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}
