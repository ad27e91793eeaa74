//! Importing a past stream: inspect the video, read the chat, check that they belong together, and store it all in one commit.

use std::collections::HashSet;

use chrono::{DateTime, Duration, Utc};
use sha2::{Digest, Sha256};

use crate::domain::audience::{ChatMessage, Fact, FactKind, Tally, minutes_of};
use crate::domain::clips::footage::Inspection;
use crate::domain::ids::LiveId;
use crate::domain::job::ImportOrder;
use crate::domain::live::{LiveEvent, Recording, check_chat_fits};
use crate::domain::moments::votes::is_vote;
use crate::ports::chat_reader::{ChatLine, ChatLog};
use crate::ports::ledger::{AudienceBatch, Commit, CommitError, Expectation};
use crate::ports::media_engine::InspectOrder;
use crate::use_cases::live::Lives;
use crate::use_cases::{Work, WorkError, pseudonym};

impl Lives {
    /// Brings a past stream in, whole or not at all. Done again for the same files, it adds nothing.
    pub async fn import(&self, order: &ImportOrder, work: &Work) -> Result<(), WorkError> {
        let live = LiveId::of_files(order.week, &order.video.sha256, &order.chat.sha256);
        let chat = self.read_chat(order, work).await?;
        let inspection = self.inspect(order, work).await?;
        let duration_ms = (inspection.duration_s * 1000.0).round() as i64;
        let offsets: Vec<i64> = chat.lines.iter().map(|line| line.offset_ms).collect();
        check_chat_fits(&offsets, duration_ms).map_err(|e| WorkError::Refused(e.to_string()))?;

        work.report(0.85, "Enregistrement du direct");
        let started_at = order
            .started_at
            .or(chat.started_at)
            .unwrap_or_else(|| self.clock.now() - Duration::milliseconds(duration_ms));
        let key = self.ledger.week_key(order.week, self.clock.new_secret()).await?.ok_or_else(|| {
            WorkError::Refused(
                "Le rapport de cette semaine est figé et son public anonymisé : ouvrez une autre semaine pour ce direct.".into(),
            )
        })?;
        let messages = messages_of(&chat.lines, started_at);
        let facts = facts_of(live, &messages, &key);
        let chatters = facts.iter().map(|fact| fact.viewer).collect::<HashSet<_>>().len() as u64;
        let document = serde_json::to_vec(&inspection)
            .map_err(|e| WorkError::Passing(format!("cannot write the inspection: {e}")))?;
        let mut incoming = self.store.incoming(document.len() as u64).await?;
        incoming.write(&document).await?;
        let inspected = incoming.finish("inspections", "json").await?;

        let imported = LiveEvent::Imported {
            live,
            week: order.week,
            title: order.title.clone(),
            started_at,
            recording: recording(order, &inspection, inspected.key.clone(), duration_ms),
            chat_sha256: order.chat.sha256.clone(),
            messages: messages.len() as u64,
            chatters,
            by: order.by,
        };
        let minutes = minutes_of(&Tally::of(&facts), duration_ms, &[]);
        let commit = Commit {
            events: vec![imported.into()],
            expect: Some(Expectation { subject: live.as_uuid(), events: 0 }),
            finish: Some(work.ticket),
            audience: Some(AudienceBatch { week: order.week, live, messages, facts, minutes }),
            media: vec![order.video.clone(), inspected],
            ..Commit::default()
        };
        match self.ledger.commit(commit).await {
            Ok(_) => Ok(()),
            // An equal import was faster: this job is done too, and nothing was added.
            Err(CommitError::Conflict) => {
                let done = Commit { finish: Some(work.ticket), ..Commit::default() };
                self.ledger.commit(done).await.map(|_| ()).map_err(WorkError::from)
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn read_chat(&self, order: &ImportOrder, work: &Work) -> Result<ChatLog, WorkError> {
        work.report(0.0, "Lecture du chat");
        let file = self.store.local_path(&order.chat.key).await?.ok_or_else(|| gone("le chat"))?;
        let chats = self.chats.clone();
        tokio::task::spawn_blocking(move || chats.read(&file))
            .await
            .map_err(|e| WorkError::Passing(format!("the chat reader stopped: {e}")))?
            .map_err(|refusal| WorkError::Refused(refusal.to_string()))
    }

    async fn inspect(&self, order: &ImportOrder, work: &Work) -> Result<Inspection, WorkError> {
        let source =
            self.store.local_path(&order.video.key).await?.ok_or_else(|| gone("la vidéo"))?;
        let watch = work.step(0.05, 0.85, "Lecture de la vidéo");
        Ok(self.engine.inspect(InspectOrder { source }, &watch).await?)
    }
}

fn gone(what: &str) -> WorkError {
    WorkError::Refused(format!(
        "Il manque {what} dans la médiathèque : importez de nouveau les deux fichiers."
    ))
}

fn recording(
    order: &ImportOrder,
    inspection: &Inspection,
    inspected: crate::domain::media::MediaKey,
    duration_ms: i64,
) -> Recording {
    let rate = inspection.video.frame_rate;
    Recording {
        file: order.video.clone(),
        inspection: inspected,
        duration_ms,
        width: inspection.video.width,
        height: inspection.video.height,
        fps: (rate.num.unsigned_abs(), rate.den.unsigned_abs().max(1)),
        video_codec: inspection.video.codec.clone(),
        audio_codec: inspection.audio.codec.clone(),
    }
}

/// Messages with ids that are unique within the live: the platform's, or one made of place, author and text.
fn messages_of(lines: &[ChatLine], started_at: DateTime<Utc>) -> Vec<ChatMessage> {
    let mut seen = HashSet::with_capacity(lines.len());
    let mut messages = Vec::with_capacity(lines.len());
    for line in lines {
        let name = line.display_name.as_ref().or(line.login.as_ref()).cloned().unwrap_or_default();
        let viewer_id = line
            .user_id
            .clone()
            .or_else(|| line.login.as_ref().map(|login| login.to_lowercase()))
            .unwrap_or_else(|| name.to_lowercase());
        let message_id = line.message_id.clone().unwrap_or_else(|| {
            let text = format!("{}\u{1f}{viewer_id}\u{1f}{}", line.offset_ms, line.text);
            hex(&Sha256::digest(text.as_bytes())[..16])
        });
        if !seen.insert(message_id.clone()) {
            continue;
        }
        messages.push(ChatMessage {
            message_id,
            at: started_at + Duration::milliseconds(line.offset_ms),
            offset_ms: line.offset_ms,
            viewer_id,
            viewer_name: name,
            text: line.text.clone(),
            trusted: line.trusted,
            bits: line.bits,
        });
    }
    messages.sort_by_key(|message| message.offset_ms);
    messages
}

/// What happened, without persons.
fn facts_of(live: LiveId, messages: &[ChatMessage], key: &[u8; 32]) -> Vec<Fact> {
    let mut facts = Vec::with_capacity(messages.len());
    for message in messages {
        let viewer = pseudonym(key, &message.viewer_id);
        let fact = |kind, amount| Fact {
            live,
            at: message.at,
            offset_ms: message.offset_ms,
            kind,
            viewer,
            amount,
        };
        facts.push(fact(FactKind::Chat, message.text.chars().count() as i64));
        if message.bits > 0 {
            facts.push(fact(FactKind::Cheer, i64::from(message.bits)));
        }
        if is_vote(&message.text) {
            facts.push(fact(FactKind::Vote, 1));
        }
    }
    facts
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        use std::fmt::Write;
        let _ = write!(text, "{byte:02x}");
        text
    })
}
