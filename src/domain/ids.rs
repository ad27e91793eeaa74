//! Typed identifiers: a clip's id can never be passed where a live's is asked.

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(uuid::Uuid);

        impl $name {
            /// Wraps a UUID read from storage or drawn by the clock port.
            pub const fn from_uuid(id: uuid::Uuid) -> Self {
                Self(id)
            }

            /// The UUID inside, for storage and URLs.
            pub const fn as_uuid(self) -> uuid::Uuid {
                self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    };
}

id!(/// A villa week.
    WeekId);
id!(/// A live session: one stream of a villa week.
    LiveId);
id!(/// A moment of a live.
    MomentId);
id!(/// A clip cut from a live.
    ClipId);
id!(/// A job of the queue.
    JobId);
id!(/// A person with an account.
    PersonId);
id!(/// A camera of the villa: one stream key.
    CameraId);
id!(/// One unbroken stretch of what a camera sent, with parameters that do not change.
    RecordingId);
id!(/// Something that went wrong, from its beginning to its end.
    IncidentId);

impl MomentId {
    /// The id of the moment that peaks at `peak_ms` of a live: the same detection gives the same id.
    pub fn at(live: LiveId, peak_ms: i64) -> Self {
        Self(uuid::Uuid::new_v5(&live.as_uuid(), format!("moment:{peak_ms}").as_bytes()))
    }
}

impl ClipId {
    /// The id of the clip that is proposed for a moment: a repeated reaction names the same clip.
    pub fn of_moment(moment: MomentId) -> Self {
        Self(uuid::Uuid::new_v5(&moment.as_uuid(), b"clip"))
    }

    /// The id of the clip that a camera gives to a mark: the same mark asks for the same clips.
    pub fn of_mark(camera: CameraId, at: chrono::DateTime<chrono::Utc>) -> Self {
        let mark = format!("mark:{}", at.timestamp_millis());
        Self(uuid::Uuid::new_v5(&camera.as_uuid(), mark.as_bytes()))
    }
}

/// Names our ids apart from everybody else's that are made from text.
const HOUSE: uuid::Uuid = uuid::uuid!("6d0c5a34-3c0e-4a58-9a5c-1f4a6a0f7b11");

impl WeekId {
    /// The id of the week with this folded name: two people who open the same week open one.
    pub fn named(folded_name: &str) -> Self {
        Self(uuid::Uuid::new_v5(&HOUSE, format!("week:{folded_name}").as_bytes()))
    }
}

impl LiveId {
    /// The id of a past stream in a week, by the SHA-256 of its video and chat: the same pair is the same live.
    pub fn of_files(week: WeekId, video_sha256: &str, chat_sha256: &str) -> Self {
        Self(uuid::Uuid::new_v5(
            &week.as_uuid(),
            format!("live:{video_sha256}:{chat_sha256}").as_bytes(),
        ))
    }

    /// Stands for what the cameras of a week sent, whoever was on air.
    pub fn of_cameras(week: WeekId) -> Self {
        Self(uuid::Uuid::new_v5(&week.as_uuid(), b"cameras"))
    }

    /// The id of the live that began on a channel at an instant: every process that hears of it names the same one.
    pub fn on_air(channel: &str, started_at: chrono::DateTime<chrono::Utc>) -> Self {
        let began = format!("on-air:{channel}:{}", started_at.timestamp());
        Self(uuid::Uuid::new_v5(&HOUSE, began.as_bytes()))
    }
}
