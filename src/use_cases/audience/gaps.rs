//! Filling gaps: what the platform still knows of a stretch nobody listened in is asked for and stored by the same door as
//! what is heard, once, at its own time, and marked. Chat, raids and gifts are gone for good; followers and polls are not.

use chrono::{DateTime, Utc};
use serde_json::json;

use crate::domain::audience::ToldGap;
use crate::domain::audience::channel::{ChannelId, Feature};
use crate::domain::audience::happening::{Choice, Happening, Phase, Viewer, What};
use crate::domain::audience::notice::{BACKFILLED, Notice, Reading};
use crate::ports::PortError;
use crate::ports::ledger::Commit;
use crate::ports::platform::{Caller, Follower, FollowerPage, PlatformError, Poll};
use crate::use_cases::audience::Audience;
use crate::use_cases::audience::channels::{Channels, ChannelsError};
use crate::use_cases::audience::on_air::Broadcast;
use crate::use_cases::audience::store::entry;
use crate::use_cases::{Work, WorkError};

/// Pages of followers read for one gap, 100 followers each; older ones of a longer list are not filled in.
const FOLLOWER_PAGES_MAX: usize = 50;

/// Fills gaps.
#[derive(Clone)]
pub struct Gaps {
    pub audience: Audience,
    pub channels: Channels,
}

impl Gaps {
    /// Stores what the platform knows of a gap, and says so in the log. Done again, it adds nothing. What the channel does
    /// not permit, or permits no longer, is left out.
    pub async fn fill(&self, gap: &ToldGap, work: &Work) -> Result<(), WorkError> {
        work.report(0.1, "Questions à Twitch");
        let channel = self.channels.find(&gap.channel).await.map_err(passing)?;
        let channel = channel.filter(|channel| channel.trouble.is_none());
        let allows = |feature| channel.as_ref().is_some_and(|channel| channel.allows(feature));
        let mut notices = Vec::new();
        let mut failed = None;
        if allows(Feature::Follows) {
            match answered(self.followers(gap).await) {
                Ok(followers) => notices.extend(followers.iter().map(|one| followed(gap, one))),
                Err(error) => failed = Some(error),
            }
        }
        if allows(Feature::Polls) {
            match answered(self.polls(&gap.channel).await) {
                Ok(polls) => notices.extend(polls.iter().flat_map(|poll| phases(gap, poll))),
                Err(error) => failed = Some(error),
            }
        }
        work.report(0.7, "Enregistrement");
        // What came before a fault is kept; only the try that learns everything says that the gap was filled.
        if failed.is_none() {
            notices.push(filled(gap, notices.len() as u64));
        }
        self.store(gap, &notices).await?;
        if let Some(error) = failed {
            return Err(error);
        }
        let done = Commit { finish: Some(work.ticket), ..Commit::default() };
        self.audience.ledger.commit(done).await?;
        Ok(())
    }

    /// Those who followed in the gap. The platform tells the latest first.
    async fn followers(&self, gap: &ToldGap) -> Result<Vec<Follower>, ChannelsError> {
        let caller = Caller::Channel(gap.channel.clone());
        let (platform, channel) = (self.channels.platform(), &gap.channel);
        let mut found = Vec::new();
        let mut after: Option<String> = None;
        for _ in 0..FOLLOWER_PAGES_MAX {
            let cursor = after.as_deref();
            let page: FollowerPage = self
                .channels
                .call(&caller, |bearer| async move {
                    platform.followers(&bearer, channel, cursor).await
                })
                .await?;
            let reaches_before =
                page.followers.iter().any(|one| one.followed_at.timestamp() < gap.from.timestamp());
            found.extend(page.followers.into_iter().filter(|one| gap.holds(one.followed_at)));
            after = page.next;
            if reaches_before || after.is_none() {
                return Ok(found);
            }
        }
        tracing::warn!(channel = %gap.channel, pages = FOLLOWER_PAGES_MAX, "a gap has more followers than are filled in");
        Ok(found)
    }

    async fn polls(&self, channel: &ChannelId) -> Result<Vec<Poll>, ChannelsError> {
        let platform = self.channels.platform();
        let caller = Caller::Channel(channel.clone());
        self.channels
            .call(&caller, |bearer| async move { platform.polls(&bearer, channel).await })
            .await
    }

    /// Stores notices of a gap, each with the live it happened in.
    async fn store(&self, gap: &ToldGap, notices: &[Notice]) -> Result<(), PortError> {
        let lives = self.audience.lives_of(gap).await?;
        let entries = notices.iter().map(|notice| {
            let at = notice.happening().map_or(notice.heard_at, |happening| happening.at);
            // By whole seconds, as the platform's lists are.
            let within =
                |live: &&Broadcast| live.started_at.timestamp() <= at.timestamp() && live.holds(at);
            // Of two that hold it, one of them by the talk after its end, it is the later one's.
            entry(notice, lives.iter().filter(within).max_by_key(|live| live.started_at))
        });
        self.audience.append(entries.collect()).await
    }
}

/// What was learnt. What the channel does not permit is nothing, and no reason to try again.
fn answered<T: Default>(answer: Result<T, ChannelsError>) -> Result<T, WorkError> {
    match answer {
        Ok(learnt) => Ok(learnt),
        Err(ChannelsError::NotLinked(_) | ChannelsError::RelinkNeeded(_)) => Ok(T::default()),
        Err(ChannelsError::Platform(error))
            if matches!(
                *error,
                PlatformError::MissingScope { .. } | PlatformError::Unauthorised
            ) =>
        {
            Ok(T::default())
        }
        Err(error) => Err(passing(error)),
    }
}

fn passing(error: ChannelsError) -> WorkError {
    WorkError::from(PortError::passing("fill a gap", error))
}

fn followed(gap: &ToldGap, follower: &Follower) -> Notice {
    let viewer = Viewer { id: follower.id.to_string(), name: follower.name.clone() };
    let once = Happening::follow_id(gap.channel.as_str(), &viewer.id, follower.followed_at);
    let raw = json!({
        "backfilled": true,
        "user_id": follower.id,
        "user_login": follower.login,
        "user_name": follower.name,
        "followed_at": follower.followed_at,
    });
    let what = What::Followed { viewer };
    told(gap, "channel.follow", "2", follower.followed_at, once, what, &raw)
}

/// The begin and the end of a poll, as far as they fell into the gap.
fn phases(gap: &ToldGap, poll: &Poll) -> Vec<Notice> {
    let phase = |phase: Phase, kind: &str, at: Option<DateTime<Utc>>| {
        let at = at.filter(|at| gap.holds(*at))?;
        let choices: Vec<Choice> = poll
            .choices
            .iter()
            .map(|choice| Choice {
                id: choice.id.clone(),
                title: choice.title.clone(),
                // As told on air: nobody has voted when a poll begins.
                votes: if phase == Phase::Begin { 0 } else { choice.votes },
                points: 0,
            })
            .collect();
        let raw = json!({
            "backfilled": true,
            "id": poll.id,
            "title": poll.title,
            "status": poll.status,
            "choices": choices,
            "started_at": poll.started_at,
            "ended_at": poll.ended_at,
        });
        let (id, title) = (poll.id.clone(), poll.title.clone());
        let what = What::Poll { phase, id, title, choices };
        let once = Happening::phase_id(kind, &poll.id);
        Some(told(gap, kind, "1", at, once, what, &raw))
    };
    let begin = phase(Phase::Begin, "channel.poll.begin", poll.started_at);
    let end = phase(Phase::End, "channel.poll.end", poll.ended_at);
    begin.into_iter().chain(end).collect()
}

/// What says that a gap was filled as far as it can be.
fn filled(gap: &ToldGap, found: u64) -> Notice {
    let what = What::Backfilled { from: gap.from, to: gap.to, found };
    let raw = json!({ "backfilled": true, "from": gap.from, "to": gap.to, "found": found });
    told(gap, "spark.backfilled", "1", gap.to, format!("gap:{}", gap.key()), what, &raw)
}

/// A notice that was not heard. It bears the time at which listening went on: when the platform was asked says nothing
/// of what was heard by then.
fn told(
    gap: &ToldGap,
    kind: &str,
    version: &str,
    at: DateTime<Utc>,
    business_id: String,
    what: What,
    raw: &serde_json::Value,
) -> Notice {
    let message_id = format!("{BACKFILLED}{business_id}");
    let channel = gap.channel.to_string();
    let happening = Happening {
        message_id: message_id.clone(),
        at,
        channel: channel.clone(),
        business_id: Some(business_id),
        what,
    };
    Notice {
        message_id,
        heard_at: gap.to,
        channel,
        kind: kind.to_owned(),
        version: version.to_owned(),
        raw: raw.to_string(),
        reading: Reading::Understood(Box::new(happening)),
    }
}
