//! Two cameras in front of a real browser: the preview plays while they record, one key marks, the clips of both play.

use std::path::Path;
use std::process::{Command, Stdio};

use super::*;

/// A server with a recorder of its own.
struct Studio {
    base: String,
    link: String,
    rtmp: String,
    _server: Running,
    folder: tempfile::TempDir,
}

impl Studio {
    fn open() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let rtmp = free.local_addr().expect("its address").to_string();
        drop(free);
        let mut child = Command::new(env!("CARGO_BIN_EXE_spark"))
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(folder.path())
            .env_remove("DATABASE_URL")
            .env("SPARK_RECORD_RTMP", &rtmp)
            .env("SPARK_RECORD_SRT", "127.0.0.1:0")
            // What the tests beside this one take is no live work of its house.
            .env("SPARK_RESOURCES_ENFORCE", "off")
            .env("RUST_LOG", "warn")
            .stdout(Stdio::piped())
            .spawn()
            .expect("spark starts");
        let out = BufReader::new(child.stdout.take().expect("its output"));
        let server = Running(child);
        let link = out
            .lines()
            .map_while(Result::ok)
            .find_map(|line| {
                let address = line.split_whitespace().find(|word| word.contains("/bienvenue/"));
                address.map(str::to_owned)
            })
            .expect("the first link");
        let base = link.split("/bienvenue/").next().expect("an address").to_owned();
        Self { base, link, rtmp, _server: server, folder }
    }

    /// `ffmpeg` publishing in real time, until it is killed.
    fn publish(&self, film: &Path, key: &str) -> Running {
        let child = Command::new("ffmpeg")
            .args(["-v", "error", "-nostdin", "-re", "-stream_loop", "-1", "-i"])
            .arg(film)
            .args(["-c", "copy", "-f", "flv", &format!("rtmp://{}/live/{key}", self.rtmp)])
            .stdout(Stdio::null())
            .spawn()
            .expect("ffmpeg starts");
        Running(child)
    }
}

/// A minute of 640×360 at 30 frames a second, and a tone.
fn film(folder: &Path) -> PathBuf {
    let path = folder.join("camera.flv");
    let words = "-v error -f lavfi -i testsrc2=size=640x360:rate=30 -f lavfi -i sine=frequency=440:sample_rate=48000 \
                 -t 60 -c:v libx264 -preset ultrafast -bf 2 -g 60 -b:v 800k -c:a aac -b:a 96k -f flv";
    let made = Command::new("ffmpeg").args(words.split_whitespace()).arg(&path).status();
    assert!(made.expect("ffmpeg runs").success());
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn a_streamer_watches_the_preview_marks_and_plays_the_clips_of_both_cameras() {
    let studio = Studio::open();
    let driver = Driver::start();
    let browser = driver.browser(true).await;
    goes(&studio, &driver, &browser).await.expect("the browser does as it is told");
    browser.close().await.expect("the browser closes");
}

async fn goes(studio: &Studio, driver: &Driver, browser: &Client) -> Result<(), CmdError> {
    browser.goto(&studio.link).await?;
    fill(browser, "#name", "Zoé").await?;
    fill(browser, "#email", "zoe@villa.example").await?;
    fill(browser, "#password", PASSWORD).await?;
    browser.find(Locator::Css("button.main")).await?.click().await?;
    see(browser, "main h1").await?;
    let mut keys = Vec::new();
    for name in ["Salon", "Cuisine"] {
        browser.goto(&format!("{}/regie", studio.base)).await?;
        fill(browser, "#nom", name).await?;
        browser.find(Locator::Css("aside button.main")).await?.click().await?;
        see(browser, "#cle").await?;
        keys.push(value(browser, "#cle").await?);
    }
    let film = film(studio.folder.path());
    let _cameras: Vec<Running> = keys.iter().map(|key| studio.publish(&film, key)).collect();

    // The preview: a few seconds behind, and it goes on.
    browser.goto(&format!("{}/regie", studio.base)).await?;
    until(browser, "document.querySelectorAll('.cameras .state.live').length === 2").await?;
    // What they show and how loud they are, at a glance; it goes on by itself.
    let stills = "[...document.querySelectorAll('img.still')]";
    until(browser, &format!("{stills}.filter(it => it.naturalWidth === 480).length === 2")).await?;
    until(browser, "document.querySelectorAll('.level meter[value]').length === 2").await?;
    let address = format!("{stills}[0].src");
    let before = browser.execute(&format!("return {address}"), vec![]).await?;
    until(browser, &format!("{address} !== {before} && {stills}[0].naturalWidth === 480")).await?;
    for scheme in ["light", "dark"] {
        driver.prefers(browser, scheme).await;
        is_accessible(browser, browser.current_url().await?.as_ref(), scheme).await?;
    }
    see(browser, "a.watch-it").await?.click().await?;
    until(browser, "document.querySelector('video').currentTime > 2").await?;
    let late = "Date.now() - Date.parse(document.querySelector('video').dataset.at)";
    until(browser, &format!("{late} < 12000")).await?;
    let at = "document.querySelector('video').currentTime";
    let before = browser.execute(&format!("return {at}"), vec![]).await?.as_f64().expect("a time");
    until(browser, &format!("{at} > {before} + 4")).await?;
    until(browser, "document.querySelector('[data-state]').classList.contains('live')").await?;
    for scheme in ["light", "dark"] {
        driver.prefers(browser, scheme).await;
        is_accessible(browser, browser.current_url().await?.as_ref(), scheme).await?;
    }

    // Back in time, far enough from the present to tell the two apart: what is shown is of then.
    let first = "Number(document.querySelector('[data-first]').dataset.first)";
    until(browser, &format!("Date.now() - {first} > 28000")).await?;
    browser
        .execute(
            &format!(
                "const reel = document.querySelector('[data-reel]'); reel.value = {first} + 1000; \
                 reel.dispatchEvent(new Event('change'))"
            ),
            vec![],
        )
        .await?;
    let shown = "Date.parse(document.querySelector('video').dataset.at)";
    until(browser, &format!("{shown} < {first} + 8000 && {at} > 0.5")).await?;
    until(browser, &format!("{shown} > {first} + 2500 && {shown} < {first} + 12000")).await?;

    // One key marks; the clips of both cameras play.
    browser.goto(&format!("{}/regie", studio.base)).await?;
    see(browser, "button[data-key=m]").await?;
    browser.find(Locator::Css("body")).await?.send_keys("m").await?;
    let said = see(browser, "[role=status]").await?.text().await?;
    assert!(said.contains("Repère posé"), "{said}");
    browser.goto(&format!("{}/semaines", studio.base)).await?;
    see(browser, ".weeks a").await?.click().await?;
    see(browser, "main h1").await?;
    let week = browser.current_url().await?.to_string();
    let mut files = Vec::new();
    for place in 1..=2 {
        browser.goto(&format!("{week}/clips")).await?;
        let cut = format!(".queue li:nth-child({place}) a img");
        let waited = Instant::now();
        while browser.find(Locator::Css(&cut)).await.is_err() {
            assert!(waited.elapsed() < 2 * PAGE_MAX, "no clip of camera {place}");
            tokio::time::sleep(Duration::from_millis(300)).await;
            browser.goto(&format!("{week}/clips")).await?;
        }
        see(browser, &format!(".queue li:nth-child({place}) a")).await?.click().await?;
        see(browser, &format!(".queue li:nth-child({place}) a[aria-current]")).await?;
        until(browser, "document.querySelector('video[data-main]').readyState > 0").await?;
        let play = "document.querySelector('video[data-main]')";
        browser.execute(&format!("{play}.muted = true; {play}.play()"), vec![]).await?;
        until(browser, &format!("{play}.currentTime > 0.5")).await?;
        let source = see(browser, "video[data-main]").await?.attr("src").await?;
        let key = source.unwrap_or_default();
        let key = key.split(['?', '#']).next().unwrap_or_default();
        let key = key.strip_prefix("/media/").expect("a file of the house").to_owned();
        files.push(studio.folder.path().join("media").join(key));
    }
    are_of_one_instant(&files[0], &files[1]);
    Ok(())
}

/// Both cameras were sent the same film at the same time: their clips begin with the same picture, give or take what two programs
/// need to start.
fn are_of_one_instant(one: &Path, other: &Path) {
    let pictures = |path: &Path| -> Vec<String> {
        let output = Command::new("ffmpeg")
            .args(["-v", "error", "-i"])
            .arg(path)
            .args(["-map", "0:v", "-c", "copy", "-f", "framemd5", "-"])
            .output()
            .expect("ffmpeg runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.filter_map(|line| line.rsplit(',').next()).map(|it| it.trim().to_owned()).collect()
    };
    let (one, other) = (pictures(one), pictures(other));
    assert!(one.len().abs_diff(other.len()) <= 3, "{} and {} pictures", one.len(), other.len());
    assert!(one.len() > 8 * 30, "{} pictures", one.len());
    // In the middle pictures are the camera's own bytes.
    let middle = one.len() / 2;
    let place = other.iter().position(|picture| *picture == one[middle]);
    let place = place.expect("the same picture");
    assert!(place.abs_diff(middle) <= 6, "{place} and {middle}: a fifth of a second apart");
}
