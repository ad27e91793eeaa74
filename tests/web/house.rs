//! A house with a real server on a free port, a real media folder, and the twins in memory for the rest.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::redirect::Policy;
use reqwest::{Client, Method, RequestBuilder, Response};
use sha2::{Digest, Sha256};
use spark::adapters::clock::SystemClock;
use spark::adapters::host::LinuxHost;
use spark::adapters::local_store::LocalStore;
use spark::adapters::memory::{
    MemoryAlerts, MemoryChatReader, MemoryClock, MemoryDatabase, MemoryDvr, MemoryFootageIndex,
    MemoryHerald, MemoryMachine, MemoryMediaEngine, MemoryPeople, MemoryRecorder, MemorySpool,
    MemoryVault, MemoryViewerSamples,
};
use spark::adapters::twitch::{HelixLimits, TwitchHelix, TwitchIdentity, TwitchSettings};
use spark::domain::accounts::{AccountEvent, EmailAddress, Role};
use spark::domain::audience::channel::ChannelId;
use spark::domain::clips::footage::{AudioTrack, Inspection, KeyFrameIndex, Ratio, VideoTrack};
use spark::domain::clips::loudness::LoudnessSeries;
use spark::domain::ids::{PersonId, WeekId};
use spark::domain::media::MediaObject;
use spark::domain::resources::trigger::{Triggers, usual};
use spark::domain::villa::WeekName;
use spark::ports::audience_source::Listening;
use spark::ports::chat_reader::ChatLog;
use spark::ports::clock::Clock;
use spark::ports::media_store::MediaStore;
use spark::ports::people::{Joining, OneTimeLink, People, Person, Session};
use spark::use_cases::accounts::{Accounts, Passwords};
use spark::use_cases::alerts::{AlertParts, Alerts};
use spark::use_cases::audience::Audience;
use spark::use_cases::audience::boards::Boards;
use spark::use_cases::audience::channels::Channels;
use spark::use_cases::audience::gaps::Gaps;
use spark::use_cases::clips::Clips;
use spark::use_cases::clips::align::Alignments;
use spark::use_cases::clips::footage::CameraFootage;
use spark::use_cases::clips::glance::Glances;
use spark::use_cases::health::Health;
use spark::use_cases::jobs::Jobs;
use spark::use_cases::live::Lives;
use spark::use_cases::live::cameras::Cameras;
use spark::use_cases::live::index::Indexer;
use spark::use_cases::moments::Moments;
use spark::use_cases::resources::Resources;
use spark::use_cases::villa::Weeks;
use spark::web::{App, Declared, Parts, ServerLimits, Settings};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A condition that does not come true within this is a failure.
const WAIT_MAX: Duration = Duration::from_secs(10);

pub(crate) struct House {
    pub(crate) address: SocketAddr,
    pub(crate) app: App,
    pub(crate) declared: Vec<Declared>,
    pub(crate) clock: MemoryClock,
    pub(crate) people: MemoryPeople,
    pub(crate) vault: MemoryVault,
    pub(crate) recorder: MemoryRecorder,
    pub(crate) machine: MemoryMachine,
    pub(crate) store: LocalStore,
    pub(crate) folder: tempfile::TempDir,
    stop: CancellationToken,
    serving: JoinHandle<std::io::Result<()>>,
    client: Client,
}

/// Somebody signed in, without having typed a password.
#[derive(Clone)]
pub(crate) struct Browser {
    pub(crate) person: PersonId,
    pub(crate) reference: String,
    pub(crate) csrf: String,
}

impl Browser {
    pub(crate) fn cookie(&self) -> String {
        format!("__Host-spark={}", self.reference)
    }
}

impl House {
    pub(crate) async fn open() -> Self {
        Self::with(ServerLimits::default(), Settings::default()).await
    }

    pub(crate) async fn with(limits: ServerLimits, settings: Settings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = LocalStore::open(folder.path()).unwrap();
        Self::on(limits, settings, folder, store.clone(), Arc::new(store)).await
    }

    /// With another store for the pages than the folder tests look into.
    pub(crate) async fn on(
        limits: ServerLimits,
        settings: Settings,
        folder: tempfile::TempDir,
        store: LocalStore,
        pages_store: Arc<dyn MediaStore>,
    ) -> Self {
        let clock = MemoryClock::default();
        let database = MemoryDatabase::new(clock.clone());
        let people = MemoryPeople::beside(database.clone());
        let vault = MemoryVault::default();
        let channels = channels(&clock, &vault);
        let recorder = MemoryRecorder::default();
        let machine = MemoryMachine::default();
        let systems = (&recorder, &machine);
        let parts = parts(&clock, &database, &people, channels, systems, pages_store, settings);
        let app = App::new(parts);
        let (router, declared) = spark::web::router(&app);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let serving = tokio::spawn(spark::web::serve(listener, router, limits, stop.clone()));
        let client = Client::builder().redirect(Policy::none()).build().unwrap();
        Self {
            address,
            app,
            declared,
            clock,
            people,
            vault,
            recorder,
            machine,
            store,
            folder,
            stop,
            serving,
            client,
        }
    }

    /// Asks the server to stop, and waits until it has.
    pub(crate) async fn stop(self) -> tempfile::TempDir {
        self.begin_stop();
        self.stopped().await
    }

    pub(crate) fn begin_stop(&self) {
        self.stop.cancel();
    }

    pub(crate) async fn stopped(self) -> tempfile::TempDir {
        tokio::time::timeout(WAIT_MAX, self.serving).await.unwrap().unwrap().unwrap();
        self.folder
    }

    pub(crate) fn ask(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.address))
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.ask(Method::GET, path)
    }

    /// As a form on one of our own pages would.
    pub(crate) fn post(&self, path: &str) -> RequestBuilder {
        self.ask(Method::POST, path).header("origin", format!("http://{}", self.address))
    }

    /// A new person of this role, with a session.
    pub(crate) async fn sign_in(&self, role: Role) -> Browser {
        let person = self.admit(role, "$argon2id$none").await;
        self.open_session(person).await
    }

    pub(crate) async fn open_session(&self, person: PersonId) -> Browser {
        let secret = SystemClock.new_secret();
        let csrf = SystemClock.new_secret();
        let session = Session {
            reference_hash: Sha256::digest(secret).into(),
            person,
            csrf,
            device: "test".into(),
            created_at: self.clock.now(),
            seen_at: self.clock.now(),
        };
        self.people.open_session(session).await.unwrap();
        let csrf = URL_SAFE_NO_PAD.encode([[0; 32], csrf].concat());
        Browser { person, reference: URL_SAFE_NO_PAD.encode(secret), csrf }
    }

    /// A new person who has joined, with this password hash and the address `<id>@villa.fr`.
    pub(crate) async fn admit(&self, role: Role, password_hash: &str) -> PersonId {
        let id = PersonId::from_uuid(SystemClock.new_id());
        let person = Person {
            id,
            email: None,
            name: String::new(),
            role,
            password_hash: None,
            created_at: self.clock.now(),
            closed_at: None,
        };
        let token_hash = SystemClock.new_secret();
        let expires_at = self.clock.now() + chrono::TimeDelta::days(1);
        let link = OneTimeLink { token_hash, person: id, expires_at };
        let event = AccountEvent::Invited { person: id, role, by: None };
        self.people.invite(person, link, event).await.unwrap();
        let joining = Joining {
            token_hash,
            now: self.clock.now(),
            email: EmailAddress::try_new(&format!("{id}@villa.fr")).unwrap(),
            name: "Ana".into(),
            password_hash: password_hash.to_owned(),
        };
        self.people.join(joining, AccountEvent::Joined { person: id }).await.unwrap();
        id
    }

    pub(crate) async fn open_week(&self) -> WeekId {
        let name = WeekName::try_new("Villa Novembre 2026").unwrap();
        self.app.weeks.open(name, self.clock.now().date_naive(), None).await.unwrap()
    }

    /// Puts bytes into the store.
    pub(crate) async fn store(&self, bytes: &[u8], folder: &str, extension: &str) -> MediaObject {
        let mut incoming = self.store.incoming(bytes.len() as u64).await.unwrap();
        incoming.write(bytes).await.unwrap();
        incoming.finish(folder, extension).await.unwrap()
    }
}

/// Nothing listens.
struct Deaf;

impl Listening for Deaf {
    fn health(&self, _: &ChannelId) -> Option<spark::ports::audience_source::Health> {
        None
    }
}

/// An application is set, but nobody answers where Twitch should be.
fn channels(clock: &MemoryClock, vault: &MemoryVault) -> Channels {
    let settings = TwitchSettings {
        client_id: Some("house".into()),
        ..TwitchSettings::at("http://127.0.0.1:9")
    };
    let clock: Arc<dyn Clock> = Arc::new(clock.clone());
    let identity = TwitchIdentity::try_new(settings.clone(), clock.clone()).unwrap();
    let helix = TwitchHelix::try_new(settings, HelixLimits::default(), clock.clone()).unwrap();
    Channels::new(Arc::new(vault.clone()), Arc::new(identity), Arc::new(helix), clock)
}

fn parts(
    clock: &MemoryClock,
    database: &MemoryDatabase,
    people: &MemoryPeople,
    channels: Channels,
    (recorder, machine): (&MemoryRecorder, &MemoryMachine),
    store: Arc<dyn MediaStore>,
    settings: Settings,
) -> Parts {
    let database = Arc::new(database.clone());
    let clock: Arc<dyn Clock> = Arc::new(clock.clone());
    let engine = Arc::new(MemoryMediaEngine::finding(inspection(), Vec::new()));
    let lives = Lives {
        ledger: database.clone(),
        shelves: database.clone(),
        store: store.clone(),
        engine: engine.clone(),
        chats: Arc::new(MemoryChatReader::finding(ChatLog::default())),
        clock: clock.clone(),
    };
    let moments = Moments {
        ledger: database.clone(),
        shelves: database.clone(),
        store: store.clone(),
        engine: engine.clone(),
    };
    let footage = CameraFootage { footage: Arc::new(MemoryDvr::default()), clock: clock.clone() };
    let index = Arc::new(MemoryFootageIndex::default());
    let alerts = Arc::new(MemoryAlerts::new(people.clone()));
    let glances = Glances::new(footage.clone(), engine.clone(), store.clone());
    let triggers = Triggers::try_new(usual()).expect("the usual triggers");
    let resources = Resources::new(Arc::new(machine.clone()), triggers);
    let clips = Clips {
        ledger: database.clone(),
        shelves: database.clone(),
        store: store.clone(),
        engine,
        footage: footage.clone(),
        clock: clock.clone(),
        fonts_dir: std::path::PathBuf::new(),
        watermark: String::new(),
    };
    let audience = Audience::new(
        database.clone(),
        database.clone(),
        database.clone(),
        Arc::new(MemorySpool::default()),
        clock.clone(),
    );
    Parts {
        weeks: Weeks {
            ledger: database.clone(),
            shelves: database.clone(),
            samples: Arc::new(MemoryViewerSamples::default()),
        },
        jobs: Jobs {
            queue: database.clone(),
            lives: lives.clone(),
            moments: moments.clone(),
            clips: clips.clone(),
            gaps: Gaps { audience: audience.clone(), channels: channels.clone() },
            alignments: Alignments { clips: clips.clone(), desk: Arc::new(recorder.clone()) },
        },
        cameras: Cameras {
            ledger: database.clone(),
            shelves: database.clone(),
            desk: Arc::new(recorder.clone()),
            indexer: Indexer { footage: footage.footage.clone(), index },
            clock: clock.clone(),
        },
        health: Health {
            ledger: database.clone(),
            queue: database,
            store: store.clone(),
            host: Arc::new(LinuxHost),
        },
        accounts: Accounts {
            people: Arc::new(people.clone()),
            clock: clock.clone(),
            passwords: Passwords::default(),
        },
        footage,
        glances,
        alerts: Alerts::new(AlertParts {
            incidents: alerts.clone(),
            devices: alerts,
            heralds: vec![Arc::new(MemoryHerald::default())],
            clock: clock.clone(),
            quiet: None,
            link: None,
            push_key: Some("BPush".into()),
        }),
        resources,
        tenants: Arc::new(machine.clone()),
        audience: audience.clone(),
        boards: Boards::new(
            audience.log.clone(),
            audience.ledger.clone(),
            audience.shelves.clone(),
            Arc::new(MemoryViewerSamples::default()),
            Arc::new(Deaf),
            clock.clone(),
            spark::domain::moments::params::Params::live(),
        ),
        mailbox: None,
        channels,
        lives,
        moments,
        clips,
        store,
        clock,
        link_key: [7; 32],
        settings,
    }
}

fn inspection() -> Inspection {
    Inspection {
        container: "mov".into(),
        duration_s: 60.0,
        size_bytes: 1,
        video: VideoTrack {
            codec: "h264".into(),
            width: 1920,
            height: 1080,
            frame_rate: Ratio::new(30, 1),
            variable_rate: false,
            pixel_format: "yuv420p".into(),
            pixel_aspect: Ratio::new(1, 1),
            rotation_degrees: 0,
            open_gop: false,
            frames: 1_800,
        },
        audio: AudioTrack { codec: "aac".into(), sample_rate_hz: 48_000, channels: 2 },
        key_frames: KeyFrameIndex::default(),
        loudness: LoudnessSeries { lufs: Vec::new() },
    }
}

/// A header as text; "" when it is not there.
pub(crate) fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

/// Asks again and again until a condition holds.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !holds() {
        assert!(begun.elapsed() < WAIT_MAX, "{what} did not come true");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// All that a connection says until it is closed, as text.
pub(crate) async fn rest_of(stream: &mut tokio::net::TcpStream) -> String {
    use tokio::io::AsyncReadExt;
    let mut said = Vec::new();
    // A reset is a close too.
    let _ = tokio::time::timeout(WAIT_MAX, stream.read_to_end(&mut said))
        .await
        .expect("the server closes the connection");
    String::from_utf8_lossy(&said).into_owned()
}
