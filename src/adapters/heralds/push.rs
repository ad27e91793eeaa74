//! Alerts that wake a browser (Web Push, RFC 8030), signed so that its push service knows who we are (VAPID, RFC 8292). The post
//! carries no words: the browser comes and reads them here, signed in. No push service learns what happens in the house.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openssl::bn::BigNumContext;
use openssl::ec::{EcGroup, EcKey, PointConversionForm};
use openssl::ecdsa::EcdsaSig;
use openssl::error::ErrorStack;
use openssl::hash::{MessageDigest, hash};
use openssl::nid::Nid;
use openssl::pkey::Private;
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode, Url};
use serde_json::json;

use crate::domain::alerts::roles_told;
use crate::ports::PortError;
use crate::ports::alerts::{Device, Devices, Herald, Notice};
use crate::ports::clock::Clock;

/// How long a push service may take.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// How long a push service keeps a post for a browser that is not there, in seconds: an older alert is read on the page.
const KEPT_S: u32 = 4 * 3_600;
/// How long a signature is good for; RFC 8292 allows a day.
const SIGNED_FOR_S: i64 = 12 * 3_600;
/// Bytes of each half of a signature.
const HALF: i32 = 32;
/// Push services of the browsers there are: nobody makes this house post elsewhere.
const SERVICES: [&str; 4] = [
    "fcm.googleapis.com",
    "updates.push.services.mozilla.com",
    ".push.apple.com",
    ".notify.windows.com",
];

/// The key that signs what wakes browsers: P-256, kept in the data folder. With another key, every browser must ask again.
#[derive(Clone)]
pub struct PushKey {
    key: Arc<EcKey<Private>>,
    public: String,
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum PushKeyError {
    #[error("cannot use the key `{path}`: remove it, browsers will ask to be woken anew")]
    Shape { path: PathBuf, source: ErrorStack },
    #[error("cannot read or write the key `{path}`")]
    File { path: PathBuf, source: io::Error },
}

impl PushKey {
    /// Reads the key of a data folder, or draws one.
    pub fn open(data: &Path) -> Result<Self, PushKeyError> {
        let path = data.join("push.key");
        let shape = |source| PushKeyError::Shape { path: path.clone(), source };
        let file = |source| PushKeyError::File { path: path.clone(), source };
        let key = match std::fs::read(&path) {
            Ok(pem) => EcKey::private_key_from_pem(&pem).map_err(shape)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let key = draw().map_err(shape)?;
                write_whole(&path, &key.private_key_to_pem().map_err(shape)?).map_err(file)?;
                key
            }
            Err(error) => return Err(file(error)),
        };
        let public = public_of(&key).map_err(shape)?;
        Ok(Self { key: Arc::new(key), public })
    }

    /// The public key as browsers take it: the uncompressed point, in base64url.
    pub fn public(&self) -> &str {
        &self.public
    }

    /// The `Authorization` for one push service (RFC 8292, section 3): a JWT with ES256.
    fn authorization(&self, origin: &str, contact: &str, now_s: i64) -> Result<String, ErrorStack> {
        let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let head = part(json!({ "typ": "JWT", "alg": "ES256" }));
        let claims = part(json!({ "aud": origin, "exp": now_s + SIGNED_FOR_S, "sub": contact }));
        let signed = format!("{head}.{claims}");
        let digest = hash(MessageDigest::sha256(), signed.as_bytes())?;
        let signature = EcdsaSig::sign(&digest, &self.key)?;
        let mut halves = signature.r().to_vec_padded(HALF)?;
        halves.extend(signature.s().to_vec_padded(HALF)?);
        Ok(format!("vapid t={signed}.{}, k={}", URL_SAFE_NO_PAD.encode(halves), self.public))
    }
}

fn draw() -> Result<EcKey<Private>, ErrorStack> {
    EcKey::generate(&*EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?)
}

fn public_of(key: &EcKey<Private>) -> Result<String, ErrorStack> {
    let mut context = BigNumContext::new()?;
    let form = PointConversionForm::UNCOMPRESSED;
    let point = key.public_key().to_bytes(key.group(), form, &mut context)?;
    Ok(URL_SAFE_NO_PAD.encode(point))
}

/// Whole or not at all: half a key would stop every later start.
fn write_whole(path: &Path, text: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension(format!("key.{}", std::process::id()));
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(text).and_then(|()| file.sync_all())?;
    std::fs::rename(&temporary, path)
}

/// Wakes the browsers of those who see how the machine does.
pub struct PushHerald {
    client: Client,
    key: PushKey,
    devices: Arc<dyn Devices>,
    clock: Arc<dyn Clock>,
    /// How a push service reaches whoever runs this house: `mailto:` or `https:`.
    contact: String,
    /// A further service that is trusted: a rehearsal's own.
    also: Option<String>,
}

impl PushHerald {
    /// `also` names a push service beside those of the browsers there are, by its origin.
    pub fn new(
        key: PushKey,
        devices: Arc<dyn Devices>,
        clock: Arc<dyn Clock>,
        contact: String,
        also: Option<String>,
    ) -> Result<Self, reqwest::Error> {
        let client = Client::builder().timeout(ANSWER_MAX).redirect(Policy::none()).build()?;
        Ok(Self { client, key, devices, clock, contact, also })
    }

    fn is_trusted(&self, endpoint: &Url) -> bool {
        let host = endpoint.host_str().unwrap_or_default();
        let is_known = SERVICES.iter().any(|service| match service.strip_prefix('.') {
            Some(_) => host.ends_with(service),
            None => host == *service,
        });
        (endpoint.scheme() == "https" && endpoint.port().is_none() && is_known)
            || self
                .also
                .as_ref()
                .is_some_and(|also| endpoint.origin().ascii_serialization() == *also)
    }

    async fn wake(&self, device: &Device, notice: &Notice) -> Result<(), PortError> {
        let doing = "wake a browser";
        let forget = async || self.devices.remove(&device.endpoint).await;
        let Some(endpoint) = Url::parse(&device.endpoint).ok().filter(|it| self.is_trusted(it))
        else {
            tracing::warn!("a browser's push service is none that is known: it is forgotten");
            return forget().await;
        };
        let origin = endpoint.origin().ascii_serialization();
        let authorization = self
            .key
            .authorization(&origin, &self.contact, self.clock.now().timestamp())
            .map_err(|error| PortError::lasting(doing, error))?;
        let answer = self
            .client
            .post(endpoint)
            .header("authorization", authorization)
            .header("ttl", KEPT_S)
            .header("urgency", if notice.is_urgent { "high" } else { "normal" })
            .header("content-length", 0)
            .send()
            .await
            .map_err(|error| PortError::passing(doing, error.without_url()))?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            // The browser took back its permission, or is gone.
            StatusCode::NOT_FOUND | StatusCode::GONE => forget().await,
            status => {
                let fault = io::Error::other(format!("its push service answered {status}"));
                let may_pass = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
                Err(if may_pass {
                    PortError::passing(doing, fault)
                } else {
                    PortError::lasting(doing, fault)
                })
            }
        }
    }
}

#[async_trait]
impl Herald for PushHerald {
    fn way(&self) -> &'static str {
        "push"
    }

    /// Wakes every browser; a fault of one keeps no other asleep. Tried again, those that were woken are woken again: their
    /// notification stays one.
    async fn tell(&self, notice: &Notice) -> Result<(), PortError> {
        let devices = self.devices.of(&roles_told()).await?;
        let woken = devices.iter().map(|device| self.wake(device, notice));
        futures::future::join_all(woken).await.into_iter().collect()
    }
}
