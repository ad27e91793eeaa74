//! A storm of browsers that lost their live page in the same moment and come back as they were told to: after the pause that the
//! page gave each, and after what a refusal names.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::bench::audience::readers::connect;
use crate::bench::audience::{AudienceError, Evening};
use crate::bench::ceiling::sampler::Sampler;
use crate::bench::processes::cpu_s;

/// Longest wait until every page stands, and until every page is back.
const STAND_MAX: Duration = Duration::from_mins(2);
/// How often that is looked at, and the server's processor time.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Pause of a browser that was given none, and after a connection that failed.
const PAUSE: Duration = Duration::from_secs(3);
/// Read at once at most, in bytes; the first frame may be longer.
const READ_BYTES_MAX: usize = 16 * 1024;
/// The sliding window of the 80 % rule, in seconds.
const WINDOW_S: f64 = 5.0;
/// Between the last page that stands and the cut: what opening cost is over.
const CALM: Duration = Duration::from_secs(6);
/// Looks in a window.
const LOOKS: usize = 50;

/// What a storm was like.
#[derive(Debug, Clone)]
pub struct Storm {
    pub clients: usize,
    /// Seconds from the cut until half of the pages, 99 of 100, and all of them were accepted again.
    pub half_s: f64,
    pub most_s: f64,
    pub all_s: f64,
    /// The longest from a browser's own try until it had its page, refusals not counted.
    pub accepted_s: f64,
    /// Refusals in words, and connections that failed.
    pub refused: u64,
    pub failed: u64,
    /// Busiest five seconds: of the whole machine with the browsers on it, and of the server alone; shares of the machine.
    pub host: f64,
    pub server: f64,
}

/// What all pages tell together.
#[derive(Default)]
struct Tally {
    standing: AtomicUsize,
    is_cut: AtomicBool,
    refused: AtomicU64,
    failed: AtomicU64,
    /// Seconds from the cut to each page's return, and the longest wait for an answer.
    back: Mutex<(Vec<f64>, f64)>,
}

impl Tally {
    fn back(&self) -> MutexGuard<'_, (Vec<f64>, f64)> {
        self.back.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Evening {
    /// Opens all pages, cuts every line in one moment, and waits until all are back. `program` is the sampler.
    pub async fn storm(&mut self, program: &Path) -> Result<Storm, AudienceError> {
        let (tally, cut) = (Arc::new(Tally::default()), watch::Sender::new(None));
        let mut pages = JoinSet::new();
        for index in 0..self.plan.clients {
            let page = Page {
                house: self.server.address,
                cookie: self.browser.cookie.clone(),
                channel: self.channels[index % self.channels.len()].id.clone(),
                index,
                cut: cut.subscribe(),
                tally: tally.clone(),
            };
            pages.spawn(page.live());
            // They were opened over an evening, not in one moment.
            if index % 100 == 99 {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
        self.until_all(&tally).await?;
        tokio::time::sleep(CALM).await;
        let sampler = Sampler::start(program)?;
        let mut server = vec![cpu_s(self.server.pid())?];
        tally.standing.store(0, Relaxed);
        tally.is_cut.store(true, Relaxed);
        let begun = Instant::now();
        cut.send_replace(Some(begun));
        // The last windows end after the last page is back.
        let mut over = None::<Instant>;
        while over.is_none_or(|at| at.elapsed().as_secs_f64() < WINDOW_S) {
            tokio::time::sleep(LOOK_EVERY).await;
            server.push(cpu_s(self.server.pid())?);
            if over.is_none() && tally.standing.load(Relaxed) == self.plan.clients {
                over = Some(Instant::now());
            }
            if begun.elapsed() > STAND_MAX {
                return Err(not_all(&tally));
            }
        }
        let seen = sampler.end()?;
        pages.shutdown().await;
        let cores = std::thread::available_parallelism()?.get() as f64;
        let window = |pair: &[f64]| (pair[pair.len() - 1] - pair[0]) / WINDOW_S / cores;
        let busiest = server.windows(LOOKS + 1).map(window).fold(0.0, f64::max);
        let back = tally.back();
        let mut after = back.0.clone();
        after.sort_by(f64::total_cmp);
        let share = |part: f64| after[((after.len() - 1) as f64 * part) as usize];
        Ok(Storm {
            clients: after.len(),
            half_s: share(0.5),
            most_s: share(0.99),
            all_s: share(1.0),
            accepted_s: back.1,
            refused: tally.refused.load(Relaxed),
            failed: tally.failed.load(Relaxed),
            host: seen.worst(WINDOW_S),
            server: busiest,
        })
    }

    async fn until_all(&self, tally: &Tally) -> Result<(), AudienceError> {
        let begun = Instant::now();
        while tally.standing.load(Relaxed) < self.plan.clients {
            if begun.elapsed() > STAND_MAX {
                return Err(not_all(tally));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }
}

fn not_all(tally: &Tally) -> AudienceError {
    let (standing, refused) = (tally.standing.load(Relaxed), tally.refused.load(Relaxed));
    let failed = tally.failed.load(Relaxed);
    AudienceError::Io(io::Error::other(format!(
        "only {standing} live pages stand: {refused} refusals, {failed} connections failed"
    )))
}

/// A browser with one live page.
struct Page {
    house: SocketAddr,
    cookie: String,
    channel: String,
    index: usize,
    /// When all lines were cut.
    cut: watch::Receiver<Option<Instant>>,
    tally: Arc<Tally>,
}

/// How a try to open the page ended.
enum Opened {
    /// It stands; how long the page says to wait once it is lost.
    Stands(TcpStream, Duration),
    /// Come back after this.
    Refused(Duration),
}

impl Page {
    async fn live(mut self) {
        let (mut stream, retry) = self.stand().await;
        self.tally.standing.fetch_add(1, Relaxed);
        self.read_until_cut(&mut stream).await;
        drop(stream);
        let Some(cut) = *self.cut.borrow() else { return };
        tokio::time::sleep(retry).await;
        let (mut stream, _) = self.stand().await;
        self.tally.back().0.push(cut.elapsed().as_secs_f64());
        self.tally.standing.fetch_add(1, Relaxed);
        let mut held = vec![0; READ_BYTES_MAX];
        while stream.read(&mut held).await.is_ok_and(|read| read > 0) {}
    }

    /// Tries until the page stands.
    async fn stand(&self) -> (TcpStream, Duration) {
        loop {
            let asked = Instant::now();
            match self.open().await {
                Ok(Opened::Stands(stream, retry)) => {
                    if self.tally.is_cut.load(Relaxed) {
                        let took = asked.elapsed().as_secs_f64();
                        let mut back = self.tally.back();
                        back.1 = back.1.max(took);
                    }
                    return (stream, retry);
                }
                Ok(Opened::Refused(pause)) => {
                    self.tally.refused.fetch_add(1, Relaxed);
                    tokio::time::sleep(pause).await;
                }
                Err(_) => {
                    self.tally.failed.fetch_add(1, Relaxed);
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn open(&self) -> io::Result<Opened> {
        let mut stream = connect(self.house, &self.cookie, &self.channel, self.index).await?;
        let mut held = Vec::with_capacity(READ_BYTES_MAX);
        loop {
            held.reserve(READ_BYTES_MAX);
            if stream.read_buf(&mut held).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let text = String::from_utf8_lossy(&held);
            let seconds = |word: &str| {
                let rest = text.split_once(word)?.1;
                rest.split(['\r', '\n']).next()?.trim().parse::<u64>().ok()
            };
            if text.starts_with("HTTP/1.1 503") {
                return Ok(Opened::Refused(
                    seconds("retry-after:").map_or(PAUSE, Duration::from_secs),
                ));
            }
            if text.len() >= 12 && !text.starts_with("HTTP/1.1 200") {
                return Err(io::Error::other(text.lines().next().unwrap_or_default().to_owned()));
            }
            // The first frame has begun: the page is alive.
            if text.contains("\ndata: ") {
                let retry = seconds("retry: ").map_or(PAUSE, Duration::from_millis);
                return Ok(Opened::Stands(stream, retry));
            }
        }
    }

    async fn read_until_cut(&mut self, stream: &mut TcpStream) {
        let mut held = vec![0; READ_BYTES_MAX];
        loop {
            tokio::select! {
                _ = self.cut.changed() => return,
                read = stream.read(&mut held) => if !read.is_ok_and(|read| read > 0) {
                    // Lost before its time: it waits for the cut like all others.
                    self.tally.failed.fetch_add(1, Relaxed);
                    let _ = self.cut.changed().await;
                    return;
                }
            }
        }
    }
}
