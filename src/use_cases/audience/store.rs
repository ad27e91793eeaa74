//! Storing notices, each with what follows from it: the message, the facts without persons, the words that have to go.

use std::sync::atomic::Ordering::Relaxed;

use chrono::{DateTime, Duration, Utc};

use crate::domain::audience::happening::{Happening, What};
use crate::domain::audience::notice::Notice;
use crate::domain::audience::{ChatMessage, Fact, FactKind, Pseudonym, ToldGap, counted};
use crate::domain::ids::LiveId;
use crate::domain::job::Job;
use crate::ports::PortError;
use crate::ports::audience_log::{Entry, Removal};
use crate::ports::ledger::{Commit, CommitError};
use crate::use_cases::audience::Audience;
use crate::use_cases::audience::on_air::{Broadcast, OnAir};
use crate::use_cases::pseudonym;

/// A clock this far behind or ahead of ours, in minutes, is not believed: the notice is placed when it was heard.
const SKEW_MAX_MIN: i64 = 15;

impl Audience {
    /// Stores notices in their order. What was heard before adds nothing.
    pub async fn store(&self, notices: &[Notice]) -> Result<(), PortError> {
        self.order_filling(notices).await?;
        let mut entries = Vec::with_capacity(notices.len());
        for notice in notices {
            if let Some(happening) = notice.happening()
                && matches!(happening.what, What::StreamOnline { .. })
            {
                self.append(std::mem::take(&mut entries)).await?;
                self.began(&happening.channel, "", happening.at).await?;
            }
            let broadcast =
                notice.happening().and_then(|told| broadcast_of(told, &self.on_air()).cloned());
            let mut entry = entry(notice, broadcast.as_ref());
            if let Some(gap) = ToldGap::of(notice) {
                entry.facts.extend(self.holes_elsewhere(&gap, entry.live).await?);
            }
            entries.push(entry);
            if let Some(happening) = notice.happening()
                && matches!(happening.what, What::StreamOffline { .. })
            {
                self.append(std::mem::take(&mut entries)).await?;
                self.ended(&happening.channel, happening.at).await?;
            }
        }
        self.append(entries).await
    }

    /// A gap that reaches from one live into the next is a hole in each: in those but `known`.
    async fn holes_elsewhere(
        &self,
        gap: &ToldGap,
        known: Option<LiveId>,
    ) -> Result<Vec<Fact>, PortError> {
        let lives = self.lives_of(gap).await?;
        let others = lives.iter().filter(|broadcast| Some(broadcast.live) != known);
        Ok(others.filter_map(|broadcast| hole(broadcast, gap)).collect())
    }

    /// Orders that told gaps be filled, before they are stored: whoever dies in between leaves an order too many, which adds
    /// nothing, and none too few.
    async fn order_filling(&self, notices: &[Notice]) -> Result<(), PortError> {
        let gaps = notices.iter().filter_map(ToldGap::of);
        let jobs: Vec<Job> = gaps.map(|gap| Job::FillGap { gap }).collect();
        if jobs.is_empty() {
            return Ok(());
        }
        match self.ledger.commit(Commit { jobs, ..Commit::default() }).await {
            Ok(_) => Ok(()),
            Err(CommitError::Port(error)) => Err(error),
            Err(error) => Err(PortError::plain(error.to_string())),
        }
    }

    pub(super) async fn append(&self, entries: Vec<Entry>) -> Result<(), PortError> {
        let given = entries.len() as u64;
        let fresh = self.log.append(entries).await?.len() as u64;
        self.state.stored.fetch_add(fresh, Relaxed);
        self.state.repeated.fetch_add(given - fresh, Relaxed);
        Ok(())
    }
}

/// What follows from a notice of a live, or of none.
pub(super) fn entry(notice: &Notice, broadcast: Option<&Broadcast>) -> Entry {
    let mut entry = Entry {
        notice: notice.clone(),
        live: None,
        message: None,
        facts: Vec::new(),
        removal: None,
    };
    let Some(happening) = notice.happening() else { return entry };
    entry.removal = removal(happening);
    let Some(broadcast) = broadcast else { return entry };
    entry.live = Some(broadcast.live);
    let at = placed_at(happening, notice);
    let offset_ms = (at - broadcast.started_at).num_milliseconds().max(0);
    if let What::Chat(chat) = &happening.what {
        entry.message = Some(ChatMessage {
            message_id: chat.message_id.clone(),
            at,
            offset_ms,
            viewer_id: chat.viewer.id.clone(),
            viewer_name: chat.viewer.name.clone(),
            text: chat.text.clone(),
            trusted: chat.trusted,
            bits: u32::try_from(chat.bits).unwrap_or(u32::MAX),
        });
    }
    let fact = |(kind, viewer, amount)| Fact {
        live: broadcast.live,
        at,
        offset_ms,
        kind,
        viewer: of_viewer(broadcast, viewer),
        amount,
    };
    entry.facts = counted(&happening.what).into_iter().map(fact).collect();
    entry
}

/// What a gap leaves of a live unheard; nothing when it began after the end.
fn hole(broadcast: &Broadcast, gap: &ToldGap) -> Option<Fact> {
    let at = broadcast.ended_at.map_or(gap.to, |ended| ended.min(gap.to));
    let amount = (at - gap.from).num_milliseconds();
    (amount > 0).then(|| Fact {
        live: broadcast.live,
        at,
        offset_ms: (at - broadcast.started_at).num_milliseconds().max(0),
        kind: FactKind::Missed,
        viewer: of_viewer(broadcast, ""),
        amount,
    })
}

/// When it happened, as far as its clock is believed.
pub(super) fn placed_at(happening: &Happening, notice: &Notice) -> DateTime<Utc> {
    let is_believed = (happening.at - notice.heard_at).abs() <= Duration::minutes(SKEW_MAX_MIN)
        || notice.heard_at > happening.at;
    if is_believed { happening.at } else { notice.heard_at }
}

/// The live it belongs to: that of the channel where it was said first, if that one is ours.
fn broadcast_of<'a>(happening: &Happening, on_air: &'a OnAir) -> Option<&'a Broadcast> {
    let source = match &happening.what {
        What::Chat(chat) => chat.copied_from.as_ref(),
        _ => None,
    };
    source.and_then(|source| on_air.get(source)).or_else(|| on_air.get(&happening.channel)).filter(
        |broadcast| match happening.what {
            // A gap that outlasts the live makes a hole in its end all the same.
            What::Missed { from, to, .. } => broadcast.touches(from, to),
            _ => broadcast.holds(happening.at),
        },
    )
}

/// Nobody, and everybody once the week's key is gone, is all zeros.
fn of_viewer(broadcast: &Broadcast, viewer_id: &str) -> Pseudonym {
    match &broadcast.key {
        Some(key) if !viewer_id.is_empty() => pseudonym(key, viewer_id),
        _ => Pseudonym([0; 16]),
    }
}

fn removal(happening: &Happening) -> Option<Removal> {
    let channel = happening.channel.clone();
    match &happening.what {
        What::MessageDeleted { message_id, .. } => {
            Some(Removal::Message { channel, message_id: message_id.clone() })
        }
        What::ViewerSilenced { viewer_id } => {
            Some(Removal::Viewer { channel, viewer_id: viewer_id.clone(), until: happening.at })
        }
        What::Banned { viewer, .. } => {
            Some(Removal::Viewer { channel, viewer_id: viewer.id.clone(), until: happening.at })
        }
        _ => None,
    }
}
