//! Public clients believe the pretend Twitch: they connect, subscribe, hear every message once, follow reconnect orders
//! without loss, and report a revocation. They are installed below `target/clients`, once.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use spark::rehearsal::twitch::{Act, PretendTwitch};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::listener::{CHANNEL, NOUR, twitch_with};

/// How long an installation or a client's next word may take.
const PATIENCE: std::time::Duration = std::time::Duration::from_mins(4);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twitchapi_for_python_hears_everything_once() {
    let home = installed("python", "requirements.txt", |home| {
        let venv = Path::new("python3");
        let pip = home.join("venv/bin/pip");
        vec![
            (
                venv.into(),
                vec!["-m".into(), "venv".into(), "--clear".into(), path(&home.join("venv"))],
            ),
            (
                pip,
                ["install", "--quiet", "--disable-pip-version-check", "-r"]
                    .map(String::from)
                    .into_iter()
                    .chain([path(&home.join("requirements.txt"))])
                    .collect(),
            ),
        ]
    })
    .await;
    let twitch = twitch_with(std::time::Duration::from_millis(500)).await;
    let pair = twitch.user_token(CHANNEL, &[]).unwrap();
    let mut command = Command::new(home.join("venv/bin/python"));
    command
        .arg(script("listen.py"))
        .arg(twitch.address().to_string())
        .args([&pair.access, &pair.refresh])
        .arg(NOUR);
    proves_itself(&twitch, command).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twurple_for_node_hears_everything_once() {
    let home = installed("node", "package.json", |home| {
        let words = [
            "install",
            "--no-audit",
            "--no-fund",
            "--no-package-lock",
            "--loglevel=error",
            "--prefix",
        ];
        vec![("npm".into(), words.map(String::from).into_iter().chain([path(home)]).collect())]
    })
    .await;
    // Node looks for packages beside the script.
    fs::copy(script("listen.mjs"), home.join("listen.mjs")).expect("copy the script");
    let twitch = twitch_with(std::time::Duration::from_millis(500)).await;
    let pair = twitch.user_token(CHANNEL, &[]).unwrap();
    let mut command = Command::new("node");
    command.arg(home.join("listen.mjs")).args([&pair.access, NOUR]);
    command.env("TWURPLE_MOCK_API_PORT", twitch.address().port().to_string());
    proves_itself(&twitch, command).await;
}

/// The same proof for every client.
async fn proves_itself(twitch: &PretendTwitch, command: Command) {
    let mut client = Client::start(command);
    client.wait_for("ready").await;
    let mut said = Vec::new();
    for round in 0..4 {
        for number in 0..50 {
            said.push(twitch.say(CHANNEL, "Ami", &format!("{round} {number}")).unwrap());
        }
        if round < 2 {
            twitch.act(Act::Reconnect { socket: None }).unwrap();
            // Talk goes on while the client changes sockets.
            let mut number = 0;
            // twurple takes a second order for a fresh start while its first old socket is still open.
            while twitch.counter("reconnected") <= round || twitch.counter("client_gone") <= round {
                said.push(twitch.say(CHANNEL, "Ami", &format!("change {number}")).unwrap());
                number += 1;
                assert!(number < 6_000, "the client did not follow the order");
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        }
    }
    let mut heard: BTreeMap<String, u32> = BTreeMap::new();
    while heard.len() < said.len() {
        let word = client.wait_for("message").await;
        *heard.entry(word.as_str().expect("an id").to_owned()).or_default() += 1;
    }
    twitch
        .act(Act::Revoke {
            subscription: "channel.chat.message".into(),
            status: "user_removed".into(),
        })
        .unwrap();
    assert_eq!(client.wait_for("revoked").await, "user_removed");
    for id in &said {
        assert_eq!(heard.get(id), Some(&1), "message {id}");
    }
    // A client with two sockets open gets an order on each.
    assert!(twitch.counter("reconnect_order") >= 2 && twitch.counter("reconnected") >= 2);
    client.end().await;
}

struct Client {
    child: Child,
    words: Lines<BufReader<ChildStdout>>,
}

impl Client {
    fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("start the client");
        let words = BufReader::new(child.stdout.take().expect("its output")).lines();
        Self { child, words }
    }

    /// The next word of this name; any other one is a failure.
    async fn wait_for(&mut self, name: &str) -> Value {
        let next = tokio::time::timeout(PATIENCE, self.words.next_line()).await;
        let line = next.expect("the client says something in time").expect("its output");
        let line = line.expect("the client is still there");
        let word: Value = serde_json::from_str(&line).expect("a JSON line");
        assert!(!word[name].is_null(), "`{name}` was due, the client said {line}");
        word[name].clone()
    }

    async fn end(mut self) {
        drop(self.child.stdin.take());
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        assert!(ended.expect("the client ends in time").expect("its end").success());
    }
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name)
}

fn path(path: &Path) -> String {
    path.to_str().expect("a UTF-8 path").to_owned()
}

/// A folder with what `list` asks for, installed by these commands unless the same list was installed before.
async fn installed(
    name: &str,
    list: &str,
    commands: impl Fn(&Path) -> Vec<(PathBuf, Vec<String>)>,
) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target folder");
    let home = target.join("clients").join(name);
    let wanted = fs::read_to_string(script(list)).expect("the list of packages");
    let done = home.join("installed");
    if fs::read_to_string(&done).is_ok_and(|installed| installed == wanted) {
        return home;
    }
    fs::create_dir_all(&home).expect("a folder for the client");
    fs::write(home.join(list), &wanted).expect("write the list of packages");
    for (program, words) in commands(&home) {
        let run = Command::new(&program).args(&words).kill_on_drop(true).output();
        let output = tokio::time::timeout(PATIENCE, run).await;
        let told = match output {
            Ok(Ok(output)) if output.status.success() => continue,
            Ok(Ok(output)) => String::from_utf8_lossy(&output.stderr).into_owned(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it took too long".into(),
        };
        panic!(
            "the public client of `{list}` cannot be installed, so nothing was proven: `{}` failed. \
             Run `deploy/dev/setup test` and see that packages can be fetched.\n{told}",
            program.display()
        );
    }
    fs::write(done, wanted).expect("note what is installed");
    home
}
