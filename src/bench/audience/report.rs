//! The figures, in lines that can stand alone.

use std::io;
use std::sync::atomic::Ordering::Relaxed;

use crate::bench::audience::readers::{Reader, Readers};
use crate::bench::audience::{Books, CHANNELS, LATE_MS_MAX, Plan, Stretch, on_channel};

/// What was measured.
#[derive(Debug)]
pub struct Report {
    plan: Plan,
    alone: Stretch,
    watched: Stretch,
    lines: u64,
    late_p50_ms: f64,
    late_p99_ms: f64,
    /// Pages that missed a message, that got one twice, whose connection was lost.
    short: usize,
    beyond: usize,
    gone: usize,
    frames: u64,
    bytes: u64,
    /// Why there is no yardstick.
    no_twurple: Option<String>,
}

impl Report {
    pub(super) fn of(
        plan: Plan,
        alone: Stretch,
        watched: Stretch,
        readers: &Readers,
        no_twurple: Option<&io::Error>,
    ) -> Self {
        let Readers { seen, each, .. } = readers;
        let due = |channel| on_channel(watched.messages, channel);
        Self {
            plan,
            alone,
            watched,
            lines: each.iter().map(Reader::shown).sum(),
            late_p50_ms: seen.lateness.share_ms(0.5),
            late_p99_ms: seen.lateness.share_ms(0.99),
            short: each.iter().filter(|reader| reader.reached() < due(reader.channel)).count(),
            beyond: each.iter().filter(|reader| reader.reached() > due(reader.channel)).count(),
            gone: each.iter().filter(|reader| reader.has_ended()).count(),
            frames: seen.frames.load(Relaxed),
            bytes: seen.bytes.load(Relaxed),
            no_twurple: no_twurple.map(ToString::to_string),
        }
    }

    /// Whether every bar was held: nothing lost or doubled in the log and on the pages, and nothing late.
    pub fn is_held(&self, books: Books) -> bool {
        books.lost + books.doubled + self.short + self.beyond + self.gone == 0
            && self.lines > 0
            && self.late_p99_ms <= LATE_MS_MAX
    }

    /// The figures, a line each.
    pub fn told(&self, books: Books) -> Vec<String> {
        let Self { plan, alone, watched, .. } = self;
        let Plan { clients, rate, .. } = plan;
        let messages = watched.messages as f64;
        let mut told = vec![
            format!(
                "sustained end to end (pretend Twitch, socket, log, {clients} live pages): {:.0} msg/s on {CHANNELS} channels for {:.1} s",
                messages / watched.seconds,
                watched.seconds,
            ),
            format!(
                "{} sent: {} in the audience log, {} lost, {} doubled (bar: 0); {} pages missed one, {} got one twice, {} lost their connection (bar: 0)",
                books.sent,
                books.sent - books.lost,
                books.lost,
                books.doubled,
                self.short,
                self.beyond,
                self.gone,
            ),
            format!(
                "socket to browser over {} lines on {clients} pages at {rate} msg/s: p50 {:.0} ms, p99 {:.0} ms (bar: {LATE_MS_MAX:.0} ms)",
                self.lines, self.late_p50_ms, self.late_p99_ms,
            ),
            format!(
                "each page: {:.1} frames and {:.1} lines shown a second, of {:.1} messages, {:.1} kB/s",
                self.a_page_and_second(self.frames),
                self.a_page_and_second(self.lines),
                *rate as f64 / CHANNELS as f64,
                self.a_page_and_second(self.bytes) / 1e3,
            ),
            cost("spark, no page open", alone),
            cost(&format!("spark, {clients} pages open"), watched),
        ];
        told.push(match &self.no_twurple {
            Some(trouble) => format!("twurple: 0 messages, not measured: {trouble}"),
            None => yardstick(alone, watched),
        });
        told.push(format!(
            "beside them, the pretend Twitch and {clients} readers: {:.2} CPU seconds a second",
            watched.taken.bench / watched.seconds,
        ));
        told
    }

    fn a_page_and_second(&self, count: u64) -> f64 {
        count as f64 / self.plan.clients as f64 / self.watched.seconds
    }
}

/// Processor seconds per 1,000 messages, which are processor seconds a second at 1,000 msg/s.
fn per_thousand(seconds: f64, messages: u64) -> f64 {
    seconds * 1e3 / messages as f64
}

fn cost(what: &str, stretch: &Stretch) -> String {
    let Stretch { messages, taken, anonymous_mb, resident_mb, .. } = *stretch;
    let thousands_a_second = messages as f64 / stretch.seconds / 1e3;
    format!(
        "{what}: {:.2} CPU seconds a second per 1,000 msg/s, PostgreSQL {:.2} besides; RssAnon {anonymous_mb:.1} MB, {:.1} MB per 1,000 msg/s (resident {resident_mb:.1} MB)",
        per_thousand(taken.spark, messages),
        per_thousand(taken.postgres, messages),
        anonymous_mb / thousands_a_second,
    )
}

fn yardstick(alone: &Stretch, watched: &Stretch) -> String {
    let of = |stretch: &Stretch| per_thousand(stretch.taken.twurple, stretch.heard.max(1));
    let ours = |stretch: &Stretch| per_thousand(stretch.taken.spark, stretch.messages);
    format!(
        "twurple, which only counts, on the same stream: {:.0} msg/s, {} of {} heard, {:.2} CPU seconds a second per 1,000 msg/s, resident {:.1} MB; spark with its log takes {:.2} × its CPU, with its log and pages {:.2} ×, and {:.2} × its memory",
        watched.heard as f64 / watched.heard_s,
        alone.heard + watched.heard,
        alone.messages + watched.messages,
        of(watched),
        watched.twurple_mb,
        ours(alone) / of(alone),
        ours(watched) / of(watched),
        watched.resident_mb / watched.twurple_mb,
    )
}
