//! Alerts by mail, over SMTP. Both ends of an incident are one conversation in the mailbox.

use std::time::Duration;

use async_trait::async_trait;
use lettre::message::{Mailbox, Mailboxes, header};
use lettre::transport::smtp::Error as SmtpError;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};

use crate::domain::alerts::Turn;
use crate::ports::PortError;
use crate::ports::alerts::{Herald, Notice};
use crate::ports::vault::Secret;

/// How long a mail server may take for each step.
const STEP_MAX: Duration = Duration::from_secs(10);

/// Which server takes the mails, and who they go to.
#[derive(Debug, Clone)]
pub struct MailSettings {
    /// `smtps://user:password@host:465`, or `smtp://…:587?tls=required` for STARTTLS.
    pub server: Secret,
    /// `SPARK <spark@example.org>`.
    pub from: String,
    /// One address or several, with commas.
    pub to: String,
}

/// Why no mail can be sent with these settings.
#[derive(Debug, thiserror::Error)]
pub enum MailSettingsError {
    #[error(
        "the mail server cannot be read: write smtps://user:password@host:465, or smtp://user:password@host:587?tls=required"
    )]
    Server(#[source] SmtpError),
    #[error("`{0}` is no address for mails: write spark@example.org or SPARK <spark@example.org>")]
    Address(String),
}

/// Writes mails.
pub struct MailHerald {
    server: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    to: Mailboxes,
}

impl MailHerald {
    /// Reads the settings; speaks to nobody yet.
    pub fn new(settings: &MailSettings) -> Result<Self, MailSettingsError> {
        let server = AsyncSmtpTransport::<Tokio1Executor>::from_url(settings.server.expose())
            .map_err(MailSettingsError::Server)?
            .timeout(Some(STEP_MAX))
            .build();
        let address = |text: &str| MailSettingsError::Address(text.to_owned());
        let from = settings.from.parse().map_err(|_| address(&settings.from))?;
        let to = settings.to.parse().map_err(|_| address(&settings.to))?;
        Ok(Self { server, from, to })
    }

    fn message(&self, notice: &Notice) -> Result<Message, lettre::error::Error> {
        let host = self.from.email.domain();
        let opening = format!("<{}@{host}>", notice.about);
        let mut text = notice.text.clone();
        if let Some(link) = &notice.link {
            text.push_str("\n\n");
            text.push_str(link);
        }
        let mut message = Message::builder()
            .from(self.from.clone())
            .subject(format!("SPARK\u{a0}: {}", notice.title))
            .date(notice.at.into());
        message = match notice.turn {
            Turn::Opening => message.message_id(Some(opening)),
            Turn::Ending => {
                message.message_id(None).in_reply_to(opening.clone()).references(opening)
            }
        };
        for to in self.to.iter() {
            message = message.to(to.clone());
        }
        message.header(header::ContentType::TEXT_PLAIN).body(text)
    }
}

#[async_trait]
impl Herald for MailHerald {
    fn way(&self) -> &'static str {
        "mail"
    }

    async fn tell(&self, notice: &Notice) -> Result<(), PortError> {
        let message =
            self.message(notice).map_err(|error| PortError::lasting("write a mail", error))?;
        match self.server.send(message).await {
            Ok(_) => Ok(()),
            // What the server refuses for good, it refuses again.
            Err(error) if error.is_permanent() => Err(PortError::lasting("send a mail", error)),
            Err(error) => Err(PortError::passing("send a mail", error)),
        }
    }
}
