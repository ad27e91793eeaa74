//! Puts together who carries word of alerts, by the settings.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use sqlx::PgPool;

use crate::adapters::heralds::{MailHerald, MailSettings, PushHerald, PushKey, WebhookHerald};
use crate::adapters::postgres::PostgresAlerts;
use crate::boot::config::{AlertsConfig, Config, Switch};
use crate::ports::alerts::Herald;
use crate::ports::clock::Clock;
use crate::use_cases::alerts::{AlertParts, Alerts};

/// The contact that push services are given when the settings name none.
const NOBODY: &str = "mailto:nobody@localhost";

/// The alerts of a house.
pub(crate) fn alerts(config: &Config, pool: &PgPool, clock: &Arc<dyn Clock>) -> Result<Alerts> {
    let kept = Arc::new(PostgresAlerts::new(pool.clone()));
    let settings = &config.alerts;
    let mut heralds: Vec<Arc<dyn Herald>> = Vec::new();
    if let Some(mail) = mail_settings(settings)? {
        heralds.push(Arc::new(MailHerald::new(&mail).context("smtp under [alerts]")?));
    }
    if let Some(address) = settings.webhook.as_ref().filter(|it| !it.expose().is_empty()) {
        heralds.push(Arc::new(WebhookHerald::new(address).context("webhook under [alerts]")?));
    }
    let mut push_key = None;
    if settings.push == Switch::On {
        std::fs::create_dir_all(&config.data.folder).with_context(|| {
            format!("cannot make the data folder `{}`", config.data.folder.display())
        })?;
        let key = PushKey::open(&config.data.folder)?;
        push_key = Some(key.public().to_owned());
        let (clock, also) = (clock.clone(), settings.push_service.clone());
        let herald = PushHerald::new(key, kept.clone(), clock, contact(config), also)
            .context("cannot speak to push services")?;
        heralds.push(Arc::new(herald));
    }
    let base = config.web.public_url.as_deref();
    Ok(Alerts::new(AlertParts {
        incidents: kept.clone(),
        devices: kept,
        heralds,
        clock: clock.clone(),
        quiet: settings.quiet,
        link: base.map(|base| format!("{}/alertes", base.trim_end_matches('/'))),
        push_key,
    }))
}

/// All three settings of mails, or none of them.
fn mail_settings(settings: &AlertsConfig) -> Result<Option<MailSettings>> {
    match (&settings.smtp, &settings.mail_from, &settings.mail_to) {
        (None, None, None) => Ok(None),
        (Some(server), Some(from), Some(to)) => {
            Ok(Some(MailSettings { server: server.clone(), from: from.clone(), to: to.clone() }))
        }
        _ => bail!("mails need all of smtp, mail_from and mail_to under [alerts], or none of them"),
    }
}

/// How push services reach whoever runs this house.
fn contact(config: &Config) -> String {
    let https = config.web.public_url.clone().filter(|url| url.starts_with("https://"));
    let mail = config.alerts.mail_from.as_deref().map(|from| {
        let address = from.rsplit('<').next().unwrap_or(from);
        format!("mailto:{}", address.trim_end_matches('>').trim())
    });
    https.or(mail).unwrap_or_else(|| NOBODY.to_owned())
}
