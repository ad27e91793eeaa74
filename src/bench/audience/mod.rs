//! How many messages a second go from Twitch's sockets over the log to the live pages, how late they are there, and what
//! that costs, beside a public client that hears the same stream.
//!
//! The pretend Twitch and the readers run in this process, so that their load is not charged to the measured one.

mod browser;
mod readers;
mod reconnect;
mod report;
mod twurple;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::bench::audience::browser::Browser;
use crate::bench::audience::readers::Readers;
use crate::bench::audience::twurple::Twurple;
use crate::bench::processes::{cpu_s, family_cpu_s, memory};
use crate::bench::served::{START_MAX, Served};
use crate::ports::PortError;
use crate::ports::audience_log::AudienceLog;
use crate::rehearsal::twitch::{Act, ActError, Person, PretendTwitch, Settings, StartError};

pub use reconnect::Storm;
pub use report::Report;

/// Channels that speak.
pub const CHANNELS: usize = 12;
/// Most that the lateness may be on 99 of 100 lines, in milliseconds.
pub const LATE_MS_MAX: f64 = 250.0;
/// Messages go out in handfuls, this often.
const HANDFUL_EVERY: Duration = Duration::from_millis(10);
/// How often the memory is looked at.
const MEMORY_EVERY: Duration = Duration::from_millis(500);
/// Share of the time without a page, one part in so many; and at least so many seconds.
const ALONE_PART: u64 = 4;
const ALONE_S_MIN: u64 = 5;
/// How long the last messages may take.
const ARRIVES_MAX: Duration = Duration::from_secs(15);
/// How often that is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// What stands between two stretches, so that the one before is over.
const SETTLE: Duration = Duration::from_secs(2);
/// People who write.
const VIEWERS: u64 = 397;
/// What stands in a message before its instant, in microseconds since the beginning.
const STAMP: char = '@';

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    pub seconds: u64,
    /// Live pages that are open.
    pub clients: usize,
    /// Messages a second, all channels together.
    pub rate: u64,
}

/// Why nothing could be measured.
#[derive(Debug, thiserror::Error)]
pub enum AudienceError {
    #[error("cannot start, reach or read the measured spark")]
    Io(#[from] io::Error),
    #[error("the measured spark was not ready after {} s", START_MAX.as_secs())]
    NotReady,
    #[error("the measured spark printed no link for its first administrator")]
    NoLink,
    #[error("cannot start the pretend Twitch")]
    Twitch(#[from] StartError),
    #[error("the pretend Twitch refused")]
    Act(#[from] ActError),
    #[error("cannot read the audience log")]
    Log(#[source] PortError),
}

/// Processor seconds that each took.
#[derive(Debug, Clone, Copy, Default)]
struct Taken {
    spark: f64,
    postgres: f64,
    twurple: f64,
    bench: f64,
}

/// A time of talk, measured.
#[derive(Debug, Clone, Copy, Default)]
struct Stretch {
    messages: u64,
    /// From the first message until the last had arrived everywhere.
    seconds: f64,
    taken: Taken,
    /// Most memory of spark in it, in MB.
    anonymous_mb: f64,
    resident_mb: f64,
    /// Messages that twurple heard, in so many seconds, and its memory in MB.
    heard: u64,
    heard_s: f64,
    twurple_mb: f64,
}

/// An evening on twelve channels, with a server that listens and nobody who talks yet.
pub struct Evening {
    plan: Plan,
    server: Served,
    twitch: PretendTwitch,
    channels: Vec<Person>,
    browser: Browser,
    twurple: Result<Twurple, io::Error>,
    postgres: Option<u32>,
    begun: Instant,
    /// Ids of all messages, in their order: channel after channel in turn.
    said: Vec<String>,
}

impl Evening {
    /// Starts `program serve` in the folder `data`, with these further settings, signs up its first administrator, links the
    /// channels and goes on air. The twurple client is looked for in the folder `twurple`.
    pub async fn begin(
        program: &Path,
        data: &Path,
        twurple: &Path,
        plan: Plan,
        further: &[(&'static str, String)],
    ) -> Result<Self, AudienceError> {
        let channels: Vec<Person> = (0..CHANNELS).map(Person::creator).collect();
        let settings = Settings { channels: channels.clone(), ..Settings::default() };
        let (id, secret) = (settings.client_id.clone(), settings.client_secret.clone());
        let twitch = PretendTwitch::start(settings).await?;
        let mut settings = vec![
            ("SPARK_TWITCH_CLIENT_ID", id),
            ("SPARK_TWITCH_CLIENT_SECRET", secret),
            ("SPARK_TWITCH_ID_URL", twitch.oauth_url()),
            ("SPARK_TWITCH_HELIX_URL", twitch.helix_url()),
            ("SPARK_TWITCH_EVENTSUB_URL", twitch.websocket_url()),
        ];
        settings.extend_from_slice(further);
        let start = || Served::start(program, data, &settings);
        let server = tokio::task::block_in_place(start)?.ok_or(AudienceError::NotReady)?;
        let link = tokio::task::block_in_place(|| server.first_link());
        let browser = Browser::join(server.address, &link.ok_or(AudienceError::NoLink)?).await?;
        for channel in &channels {
            browser.link(&channel.login).await?;
        }
        for channel in &channels {
            browser.until(&format!("/direct/{}", channel.id), "state good heard").await?;
            twitch.act(Act::GoLive { channel: channel.login.clone(), viewers: 300 })?;
        }
        let access = twitch.user_token(&channels[0].login, &[])?.access;
        let ids: Vec<String> = channels.iter().map(|channel| channel.id.clone()).collect();
        let port = twitch.address().port();
        let twurple = Twurple::start(twurple, port, &access, &ids[0], &ids).await;
        let (begun, said) = (Instant::now(), Vec::new());
        Ok(Self { plan, server, twitch, channels, browser, twurple, postgres: None, begun, said })
    }

    /// Lets the channels talk: first while no page is open, then with all pages. `postgres` is the server's PostgreSQL.
    pub async fn measure(&mut self, postgres: Option<u32>) -> Result<Report, AudienceError> {
        self.postgres = postgres;
        let alone_s = (self.plan.seconds / ALONE_PART).max(ALONE_S_MIN);
        let alone = self.talk(alone_s, None).await?;
        tokio::time::sleep(SETTLE).await;
        let (watched, readers) = self.talk_to_all().await?;
        Ok(Report::of(self.plan, alone, watched, &readers, self.twurple.as_ref().err()))
    }

    /// Lets the channels talk with all pages open; says how late 99 of 100 lines were there, in milliseconds.
    pub async fn watched(&mut self) -> Result<f64, AudienceError> {
        let (_, readers) = self.talk_to_all().await?;
        Ok(readers.seen.lateness.share_ms(0.99))
    }

    async fn talk_to_all(&mut self) -> Result<(Stretch, Readers), AudienceError> {
        let ids: Vec<String> = self.channels.iter().map(|channel| channel.id.clone()).collect();
        let readers = Readers::open(
            self.server.address,
            &self.browser.cookie,
            &ids,
            self.plan.clients,
            self.begun,
        )
        .await?;
        let watched = self.talk(self.plan.seconds, Some(&readers)).await?;
        Ok((watched, readers))
    }

    /// How many messages of all that were sent are not in the log, and how many are there twice.
    pub async fn compare(&self, log: &Arc<dyn AudienceLog>) -> Result<Books, AudienceError> {
        let begun = Instant::now();
        loop {
            let kept = kept(log).await.map_err(AudienceError::Log)?;
            let times = |id: &String| kept.get(id).copied().unwrap_or(0);
            let books = Books {
                sent: self.said.len(),
                lost: self.said.iter().filter(|id| times(id) == 0).count(),
                doubled: self.said.iter().filter(|id| times(id) > 1).count(),
            };
            if books.lost == 0 || begun.elapsed() > ARRIVES_MAX {
                return Ok(books);
            }
            tokio::time::sleep(SETTLE).await;
        }
    }

    /// Ends it all: the clients, the server, Twitch.
    pub async fn end(self) -> Result<(), AudienceError> {
        drop(self.twurple);
        let server = self.server;
        tokio::task::block_in_place(|| server.stop())?;
        self.twitch.stop().await;
        Ok(())
    }

    async fn talk(
        &mut self,
        seconds: u64,
        readers: Option<&Readers>,
    ) -> Result<Stretch, AudienceError> {
        let (count, before) = (seconds * self.plan.rate, self.taken()?);
        let (heard_before, begun) = (self.heard(), Instant::now());
        let mut stretch = Stretch { messages: count, ..Stretch::default() };
        let (mut said, mut looked) = (0, None::<Instant>);
        while said < count {
            let due = (begun.elapsed().as_micros() as u64 * self.plan.rate / 1_000_000).min(count);
            while said < due {
                self.say(said)?;
                said += 1;
            }
            if looked.is_none_or(|at| at.elapsed() >= MEMORY_EVERY) {
                looked = Some(Instant::now());
                self.note_memory(&mut stretch)?;
            }
            tokio::time::sleep(HANDFUL_EVERY).await;
        }
        let all_said = Instant::now();
        let is_over = || all_said.elapsed() > ARRIVES_MAX;
        let reached = || {
            let lacks =
                |reader: &readers::Reader| reader.reached() < on_channel(count, reader.channel);
            !readers.is_some_and(|readers| readers.each.iter().any(lacks))
        };
        let mut is_heard = self.twurple.is_err();
        let (mut has_reached, mut ended) = (false, false);
        while !ended {
            if !has_reached && reached() {
                has_reached = true;
                stretch.seconds = begun.elapsed().as_secs_f64();
            }
            stretch.heard = self.heard() - heard_before;
            if !is_heard && stretch.heard >= count {
                is_heard = true;
                stretch.heard_s = begun.elapsed().as_secs_f64();
            }
            ended = (has_reached && is_heard) || is_over();
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let all_s = begun.elapsed().as_secs_f64();
        for seconds in [&mut stretch.seconds, &mut stretch.heard_s] {
            if *seconds == 0.0 {
                *seconds = all_s;
            }
        }
        self.note_memory(&mut stretch)?;
        let after = self.taken()?;
        stretch.taken = Taken {
            spark: after.spark - before.spark,
            postgres: after.postgres - before.postgres,
            twurple: after.twurple - before.twurple,
            bench: after.bench - before.bench,
        };
        Ok(stretch)
    }

    fn say(&mut self, number: u64) -> Result<(), AudienceError> {
        let channel = &self.channels[(number % CHANNELS as u64) as usize].login;
        let viewer = format!("viewer{}", number % VIEWERS);
        let sent = self.begun.elapsed().as_micros();
        let text = format!("Ce soir on mange quoi ? n° {number} {STAMP}{sent}");
        self.said.push(self.twitch.say(channel, &viewer, &text)?);
        Ok(())
    }

    fn heard(&self) -> u64 {
        self.twurple.as_ref().map_or(0, Twurple::heard)
    }

    fn taken(&self) -> io::Result<Taken> {
        let twurple = self.twurple.as_ref().ok().and_then(Twurple::pid);
        Ok(Taken {
            spark: cpu_s(self.server.pid())?,
            postgres: self.postgres.map_or(Ok(0.0), family_cpu_s)?,
            twurple: twurple.map_or(Ok(0.0), cpu_s)?,
            bench: cpu_s(std::process::id())?,
        })
    }

    fn note_memory(&self, stretch: &mut Stretch) -> io::Result<()> {
        let spark = memory(self.server.pid())?;
        stretch.anonymous_mb = stretch.anonymous_mb.max(spark.anonymous_mb);
        stretch.resident_mb = stretch.resident_mb.max(spark.resident_mb);
        if let Some(pid) = self.twurple.as_ref().ok().and_then(Twurple::pid) {
            stretch.twurple_mb = stretch.twurple_mb.max(memory(pid)?.resident_mb);
        }
        Ok(())
    }
}

/// What was sent, beside what the log holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Books {
    pub sent: usize,
    pub lost: usize,
    pub doubled: usize,
}

/// The messages' ids in the log, each as often as it is there.
async fn kept(log: &Arc<dyn AudienceLog>) -> Result<BTreeMap<String, u32>, PortError> {
    let (mut kept, mut from) = (BTreeMap::new(), 0);
    loop {
        let batch = log.after(from).await?;
        let Some(last) = batch.last() else { return Ok(kept) };
        from = last.seq;
        for id in batch.iter().filter_map(|logged| logged.notice.subject()) {
            *kept.entry(id.to_owned()).or_default() += 1;
        }
    }
}

/// How many of so many messages, given to all channels in turn, are said on one.
fn on_channel(messages: u64, channel: usize) -> u64 {
    (messages + CHANNELS as u64 - 1 - channel as u64) / CHANNELS as u64
}

/// When a message was sent, since the beginning, as it says itself.
fn sent_at(text: &str) -> Option<Duration> {
    let (_, micros) = text.rsplit_once(STAMP)?;
    micros.parse().ok().map(Duration::from_micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_given_to_the_channels_in_turn() {
        let each: Vec<u64> = (0..CHANNELS).map(|channel| on_channel(30, channel)).collect();
        assert_eq!(each.iter().sum::<u64>(), 30);
        assert_eq!((each[0], each[5], each[6], each[11]), (3, 3, 2, 2));
    }

    #[test]
    fn a_message_says_when_it_was_sent() {
        assert_eq!(sent_at("n° 7 @1500"), Some(Duration::from_micros(1_500)));
        assert_eq!(sent_at("@nour salut"), None);
        assert_eq!(sent_at("salut"), None);
    }
}
