//! A person in front of a real browser: comes in by the one-time link, plays a moment, judges a clip by key, downloads a
//! reel; then every page once more under axe, light and dark, and without JavaScript.

#[path = "browser/cameras.rs"]
mod cameras;
mod footage;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fantoccini::elements::Element;
use fantoccini::error::CmdError;
use fantoccini::{Client, ClientBuilder, Locator};
use serde_json::{Value, json};

/// How long the rehearsal may take on a busy machine: stream, import, clips, reels.
const REHEARSAL_MAX: Duration = Duration::from_mins(15);
/// How long a page may take to show what is waited for.
const PAGE_MAX: Duration = Duration::from_secs(30);
const PASSWORD: &str = "une belle semaine à la villa";

/// A child that goes with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // The server gets the time to stop its database; a driver needs none.
        if let Some(pid) = rustix::process::Pid::from_raw(self.0.id() as i32) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let until = Instant::now() + Duration::from_secs(20);
        while Instant::now() < until {
            if matches!(self.0.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The house with one evening in it, clips and reels made.
struct House {
    _server: Running,
    _folder: tempfile::TempDir,
    base: String,
    week: String,
    link: String,
}

impl House {
    fn rehearse() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut child = Command::new(env!("CARGO_BIN_EXE_spark"))
            .args(["rehearse", "--minutes", "3", "--listen", "127.0.0.1:0", "--data"])
            .arg(folder.path())
            .env_remove("DATABASE_URL")
            // What the tests beside this one take is no live work of its house.
            .env("SPARK_RESOURCES_ENFORCE", "off")
            .env("RUST_LOG", "warn")
            .stdout(Stdio::piped())
            .spawn()
            .expect("spark starts");
        let out = BufReader::new(child.stdout.take().expect("its output"));
        let server = Running(child);
        let (mut week, mut link) = (None, None);
        let until = Instant::now() + REHEARSAL_MAX;
        for line in out.lines().map_while(Result::ok) {
            assert!(Instant::now() < until, "the rehearsal takes too long; last line: {line}");
            let address = line.split_whitespace().find(|word| word.starts_with("http://"));
            match address {
                Some(address) if address.contains("/semaines/") => week = Some(address.to_owned()),
                Some(address) if address.contains("/bienvenue/") => link = Some(address.to_owned()),
                _ => {}
            }
            if line.contains("Ctrl-C") {
                break;
            }
        }
        let week = week.expect("the rehearsal says where the week is");
        let base = week.split("/semaines/").next().expect("an address").to_owned();
        let link = link.expect("the rehearsal gives the first link");
        Self { _server: server, _folder: folder, base, week, link }
    }
}

/// A driver of browsers on a port of its own.
struct Driver {
    _process: Running,
    address: String,
    folder: tempfile::TempDir,
}

impl Driver {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut child = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver is installed (Debian: chromium-driver)");
        let out = BufReader::new(child.stdout.take().expect("its output"));
        let process = Running(child);
        let port: u16 = out
            .lines()
            .map_while(Result::ok)
            .find_map(|line| {
                let (_, port) = line.split_once("started successfully on port ")?;
                port.trim_end_matches('.').parse().ok()
            })
            .expect("chromedriver says its port");
        Self { _process: process, address: format!("http://127.0.0.1:{port}"), folder }
    }

    async fn browser(&self, has_script: bool) -> Client {
        let mut arguments = vec![
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--autoplay-policy=no-user-gesture-required",
            "--mute-audio",
            "--window-size=1440,900",
        ];
        if !has_script {
            arguments.push("--blink-settings=scriptEnabled=false");
        }
        let options = json!({
            "args": arguments,
            "prefs": {
                "download.default_directory": self.downloads(),
                "download.prompt_for_download": false,
            },
        });
        let capabilities = [("goog:chromeOptions".to_owned(), options)].into_iter().collect();
        ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new())
            .capabilities(capabilities)
            .connect(&self.address)
            .await
            .expect("a browser")
    }

    /// Gives the pages the reader's wish for light or dark.
    async fn prefers(&self, browser: &Client, scheme: &str) {
        let session = browser.session_id().await.expect("an answer").expect("a session");
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        let order =
            json!({ "cmd": "Emulation.setEmulatedMedia", "params": { "features": features } });
        let address = format!("{}/session/{session}/goog/cdp/execute", self.address);
        let answer = reqwest::Client::new().post(address).json(&order).send().await;
        assert!(answer.expect("an answer").status().is_success(), "chromedriver takes the wish");
    }

    fn downloads(&self) -> &Path {
        self.folder.path()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_editor_goes_from_the_one_time_link_to_a_downloaded_reel() {
    let house = House::rehearse();
    let driver = Driver::start();
    let browser = driver.browser(true).await;

    comes_in(&browser, &house).await.expect("comes in");
    let live = plays_a_moment(&browser, &house).await.expect("plays a moment");
    approves_a_clip_by_key(&browser, &live).await.expect("approves a clip by key");
    let reel = downloads_a_reel(&browser, &driver, &live).await.expect("downloads a reel");
    let lasts = footage::assert_is_a_reel("the downloaded reel", &reel, true);
    assert!((10.0..=90.0).contains(&lasts), "a reel of {lasts} s");
    let pages = every_page(&browser, &house, &live).await.expect("lists the pages");
    for scheme in ["light", "dark"] {
        driver.prefers(&browser, scheme).await;
        for page in &pages {
            is_accessible(&browser, page, scheme).await.expect("axe runs");
        }
    }
    browser.close().await.expect("the browser closes");

    let plain = driver.browser(false).await;
    works_without_script(&plain, &house, &live, &pages).await.expect("works without script");
    plain.close().await.expect("the browser closes");
}

async fn comes_in(browser: &Client, house: &House) -> Result<(), CmdError> {
    browser.goto(&house.link).await?;
    fill(browser, "#name", "Zoé 🎬").await?;
    fill(browser, "#email", "zoe@villa.example").await?;
    fill(browser, "#password", PASSWORD).await?;
    browser.find(Locator::Css("button.main")).await?.click().await?;
    see(browser, ".weeks a").await?;
    browser.goto(&house.link).await?;
    let said = see(browser, "h1").await?.text().await?;
    assert_eq!(said, "Lien périmé", "the link works once");
    Ok(())
}

/// Returns the live's address, without `/moments`.
async fn plays_a_moment(browser: &Client, house: &House) -> Result<String, CmdError> {
    browser.goto(&house.week).await?;
    see(browser, ".lives a").await?.click().await?;
    see(browser, "#pouls .curve").await?;
    let second = see(browser, "#liste li:nth-child(2) a").await?;
    let at: f64 = second
        .attr("data-at")
        .await?
        .and_then(|at| at.parse().ok())
        .expect("a moment says where it is");
    second.click().await?;
    see(browser, "#liste li:nth-child(2) a[aria-current]").await?;
    until(browser, &format!("document.querySelector('video').currentTime > {at} + 0.5")).await?;
    until(browser, "!document.querySelector('video').paused").await?;
    let address = browser.current_url().await?.to_string();
    assert!(address.contains("moment="), "the address names the moment: {address}");
    Ok(address.split("/moments").next().unwrap_or(&address).to_owned())
}

async fn approves_a_clip_by_key(browser: &Client, live: &str) -> Result<(), CmdError> {
    browser.goto(&format!("{live}/clips")).await?;
    let first = see(browser, ".queue li:first-child a").await?;
    let id = first.attr("id").await?.expect("a clip has its id");
    let before = counts(browser).await?;
    browser.find(Locator::Css("body")).await?.send_keys("a").await?;
    until(browser, &format!("!document.getElementById('{id}')")).await?;
    let after = counts(browser).await?;
    assert_eq!((after[0], after[1]), (before[0] - 1, before[1] + 1), "one clip moved");
    assert_eq!(see(browser, "[role=status]").await?.text().await?, "Clip validé.");
    // Its neighbour, by key too.
    browser.find(Locator::Css("body")).await?.send_keys("j").await?;
    see(browser, ".queue li:nth-child(2) a[aria-current]").await?;
    Ok(())
}

async fn counts(browser: &Client) -> Result<Vec<i64>, CmdError> {
    let counts = browser
        .execute(
            "return [...document.querySelectorAll('.chips b')].map(b => Number(b.textContent))",
            vec![],
        )
        .await?;
    Ok(serde_json::from_value(counts).expect("three numbers"))
}

async fn downloads_a_reel(
    browser: &Client,
    driver: &Driver,
    live: &str,
) -> Result<PathBuf, CmdError> {
    browser.goto(&format!("{live}/clips?etat=valides")).await?;
    see(browser, ".phone video").await?;
    see(browser, ".beside a[download]").await?.click().await?;
    let until = Instant::now() + PAGE_MAX;
    loop {
        let done = std::fs::read_dir(driver.downloads())
            .expect("the folder of downloads")
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            .find(|path| path.extension().is_some_and(|extension| extension == "mp4"));
        if let Some(reel) = done {
            return Ok(reel);
        }
        assert!(Instant::now() < until, "no reel was saved");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn every_page(browser: &Client, house: &House, live: &str) -> Result<Vec<String>, CmdError> {
    browser.goto(&format!("{live}/moments")).await?;
    let base = &house.base;
    Ok(vec![
        format!("{base}/semaines"),
        house.week.clone(),
        format!("{}/clips", house.week),
        format!("{live}/moments"),
        format!("{live}/moments?ordre=temps"),
        format!("{live}/clips"),
        format!("{live}/clips?etat=valides"),
        format!("{live}/clips?etat=ecartes"),
        format!("{base}/direct"),
        format!("{base}/chaines"),
        format!("{base}/travaux"),
        format!("{base}/sante"),
        format!("{base}/equipe"),
        format!("{base}/effacement"),
        format!("{base}/compte"),
        format!("{base}/nulle-part"),
    ])
}

/// Axe finds nothing serious.
async fn is_accessible(browser: &Client, page: &str, scheme: &str) -> Result<(), CmdError> {
    browser.goto(page).await?;
    see(browser, "main h1").await?;
    until(browser, &format!("matchMedia('(prefers-color-scheme: {scheme})').matches")).await?;
    browser.execute(include_str!("vendor/axe.min.js"), vec![]).await?;
    let found = browser
        .execute_async(
            "const done = arguments[arguments.length - 1];
             axe.run(document, { resultTypes: ['violations'] }).then(
               (found) => done(found.violations
                 .filter((violation) => ['serious', 'critical'].includes(violation.impact))
                 .map((violation) => `${violation.id}: ${violation.nodes.map((node) => node.html).join(' | ')}`)),
               (error) => done([String(error)]))",
            vec![],
        )
        .await?;
    assert_eq!(found, Value::Array(vec![]), "{page}, {scheme}");
    Ok(())
}

async fn works_without_script(
    browser: &Client,
    house: &House,
    live: &str,
    pages: &[String],
) -> Result<(), CmdError> {
    browser.goto(&format!("{}/connexion", house.base)).await?;
    fill(browser, "#email", "zoe@villa.example").await?;
    fill(browser, "#password", PASSWORD).await?;
    browser.find(Locator::Css("button.main")).await?.click().await?;
    see(browser, ".weeks a").await?;
    for page in pages {
        browser.goto(page).await?;
        see(browser, "main h1").await?;
    }
    // A moment by its link: the player is told to start there.
    browser.goto(&format!("{live}/moments")).await?;
    see(browser, "#liste li:nth-child(2) a").await?.click().await?;
    see(browser, "#liste li:nth-child(2) a[aria-current]").await?;
    let film = see(browser, "video").await?.attr("src").await?.unwrap_or_default();
    assert!(film.contains("#t="), "{film}");
    // A refused clip keeps what was typed.
    browser.goto(&format!("{live}/clips")).await?;
    see(browser, "#a-la-main summary").await?.click().await?;
    fill(browser, "#clip-debut", "tout à la fin").await?;
    fill(browser, "#clip-fin", "0:20").await?;
    fill(browser, "#clip-titre", "À la main ✋").await?;
    see(browser, "#a-la-main button.main").await?.click().await?;
    assert!(see(browser, "[role=alert]").await?.text().await?.contains("12:05"));
    assert_eq!(value(browser, "#clip-titre").await?, "À la main ✋");
    fill(browser, "#clip-debut", "0:05").await?;
    see(browser, "#a-la-main button.main").await?.click().await?;
    assert!(see(browser, "[role=status]").await?.text().await?.contains("Le clip est demandé"));
    // A verdict by its button.
    browser.goto(&format!("{live}/clips")).await?;
    see(browser, ".verdict form[action$='/ecarter'] button").await?.click().await?;
    assert!(see(browser, "[role=status]").await?.text().await?.contains("Clip écarté"));
    Ok(())
}

async fn see(browser: &Client, selector: &str) -> Result<Element, CmdError> {
    browser.wait().at_most(PAGE_MAX).for_element(Locator::Css(selector)).await
}

async fn fill(browser: &Client, selector: &str, text: &str) -> Result<(), CmdError> {
    let field = see(browser, selector).await?;
    field.clear().await?;
    field.send_keys(text).await
}

async fn value(browser: &Client, selector: &str) -> Result<String, CmdError> {
    Ok(see(browser, selector).await?.prop("value").await?.unwrap_or_default())
}

/// Waits until an expression holds in the page.
async fn until(browser: &Client, expression: &str) -> Result<(), CmdError> {
    let script = format!("return Boolean({expression})");
    let until = Instant::now() + PAGE_MAX;
    while browser.execute(&script, vec![]).await? != Value::Bool(true) {
        assert!(Instant::now() < until, "never true: {expression}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}
