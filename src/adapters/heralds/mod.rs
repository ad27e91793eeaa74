//! Those who carry word of alerts: mail, a webhook that Discord understands, and browsers that are woken.

mod mail;
mod push;
mod webhook;

pub use mail::{MailHerald, MailSettings, MailSettingsError};
pub use push::{PushHerald, PushKey, PushKeyError};
pub use webhook::{WebhookError, WebhookHerald};
