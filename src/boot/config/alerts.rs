//! Settings of alerts: which ways they take to people, and when they let them sleep.

use serde::Deserialize;

use super::Switch;
use crate::domain::alerts::quiet::QuietHours;
use crate::ports::vault::Secret;

/// Who is told, and how. Without anything here, alerts are told on the pages alone.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AlertsConfig {
    /// The mail server: `smtps://user:password@host:465`, or `smtp://user:password@host:587?tls=required`. Best given as
    /// `SPARK_ALERTS_SMTP_FILE`.
    pub smtp: Option<Secret>,
    /// Who writes the mails: `SPARK <spark@example.org>`.
    pub mail_from: Option<String>,
    /// Who gets them; several with commas.
    pub mail_to: Option<String>,
    /// Address of a Discord channel's webhook, or of what imitates it. Best given as `SPARK_ALERTS_WEBHOOK_FILE`.
    pub webhook: Option<Secret>,
    /// Whether browsers may ask to be woken. They need the pages over https.
    pub push: Switch,
    /// A push service that is trusted beside those of the browsers, by its origin.
    pub push_service: Option<String>,
    /// Hours of Paris in which lesser alerts wait, such as `22:00-08:00`.
    pub quiet: Option<QuietHours>,
}
