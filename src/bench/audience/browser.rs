//! A browser as far as the bench needs one: forms with their token, a session, redirects followed by hand.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longest wait for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// Longest wait for a page to say what it has to.
const PAGE_MAX: Duration = Duration::from_mins(1);
/// How often a page is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// The one who measures.
const WHO: &str = "name=Banc&email=banc%40villa.example&password=une+phrase+assez+longue";

/// Somebody signed in.
#[derive(Debug, Clone)]
pub(super) struct Browser {
    house: SocketAddr,
    pub(super) cookie: String,
}

impl Browser {
    /// Becomes the first administrator over the link that was printed.
    pub(super) async fn join(house: SocketAddr, link: &str) -> io::Result<Self> {
        let mut browser = Self { house, cookie: String::new() };
        browser.get(link).await?;
        let answer = browser.post(link, WHO).await?;
        let cookie = header(&answer, "set-cookie").and_then(|cookie| cookie.split(';').next());
        cookie.ok_or_else(|| strange("no session", &answer))?.clone_into(&mut browser.cookie);
        Ok(browser)
    }

    /// Links a channel of the pretend Twitch: the button, Twitch's question answered as that channel, the way back.
    pub(super) async fn link(&self, login: &str) -> io::Result<()> {
        let page = self.get("/chaines").await?;
        let token = between(&page, "name=\"csrf\" value=\"", "\"");
        let token = token.ok_or_else(|| strange("no form", &page))?;
        let leaving = self.post("/chaines/relier", &format!("csrf={token}")).await?;
        let url = between(&leaving, "content=\"0;url=", "\"");
        let url = url.ok_or_else(|| strange("no way to Twitch", &leaving))?;
        let url = url.replace("&#38;", "&").replace("&amp;", "&");
        let (twitch, path) = parted(&url).ok_or_else(|| strange("no address", &url))?;
        let asked = format!("GET {path}&login={login} HTTP/1.1\r\n");
        let answer = ask(twitch, &asked, "").await?;
        let back = header(&answer, "location").and_then(parted);
        let (_, path) = back.ok_or_else(|| strange("no way back", &answer))?;
        let answer = self.get(&path).await?;
        if header(&answer, "location").is_some_and(|to| to.ends_with("dit=chaine-reliee")) {
            return Ok(());
        }
        Err(strange("the channel is not linked", &answer))
    }

    /// Looks at a page until it says so.
    pub(super) async fn until(&self, path: &str, words: &str) -> io::Result<()> {
        let begun = Instant::now();
        loop {
            let page = self.get(path).await?;
            if page.contains(words) {
                return Ok(());
            }
            if begun.elapsed() > PAGE_MAX {
                return Err(strange(&format!("`{path}` does not say `{words}`"), &page));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn get(&self, path: &str) -> io::Result<String> {
        let asked = format!("GET {path} HTTP/1.1\r\ncookie: {}\r\n", self.cookie);
        ask(self.house, &asked, "").await
    }

    async fn post(&self, path: &str, form: &str) -> io::Result<String> {
        let Self { house, cookie } = self;
        let asked = format!(
            "POST {path} HTTP/1.1\r\ncookie: {cookie}\r\norigin: http://{house}\r\n\
             content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n",
            form.len()
        );
        ask(*house, &asked, form).await
    }
}

/// One question on a connection of its own, and the whole answer as text.
async fn ask(address: SocketAddr, asked: &str, body: &str) -> io::Result<String> {
    let answer = async {
        let mut stream = TcpStream::connect(address).await?;
        let head = format!("{asked}host: {address}\r\nconnection: close\r\n\r\n");
        stream.write_all(format!("{head}{body}").as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    tokio::time::timeout(ANSWER_MAX, answer).await?
}

fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let head = answer.split("\r\n\r\n").next()?;
    let mut lines = head.lines().filter_map(|line| line.split_once(':'));
    lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    text.split_once(before)?.1.split_once(after).map(|(found, _)| found)
}

/// Address and path of `http://ADDRESS/PATH`.
fn parted(url: &str) -> Option<(SocketAddr, String)> {
    let (address, path) = url.strip_prefix("http://")?.split_once('/')?;
    Some((address.parse().ok()?, format!("/{path}")))
}

fn strange(trouble: &str, answer: &str) -> io::Error {
    let first = answer.lines().next().unwrap_or_default();
    io::Error::other(format!("{trouble}: the answer was `{first}`"))
}
