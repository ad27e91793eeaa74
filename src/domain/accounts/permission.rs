//! Who may do what: one table, deny by default. A permission that no row grants is granted to nobody.

use serde::{Deserialize, Serialize};

/// What a person is in the house.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Admin,
    Coordinator,
    Streamer,
    Editor,
    Sponsor,
    Artist,
}

impl Role {
    pub const ALL: [Self; 6] =
        [Self::Admin, Self::Coordinator, Self::Streamer, Self::Editor, Self::Sponsor, Self::Artist];

    /// The word in storage, forms and the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Coordinator => "coordinator",
            Self::Streamer => "streamer",
            Self::Editor => "editor",
            Self::Sponsor => "sponsor",
            Self::Artist => "artist",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == word)
    }
}

/// One thing a person can ask of the house.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Permission {
    SeeWeeks,
    OpenWeek,
    ImportStream,
    SeeLive,
    MarkMoment,
    SeeMoments,
    SeeClips,
    RequestClip,
    JudgeClip,
    RequestReel,
    DownloadMedia,
    SeeJobs,
    ManageJobs,
    /// Link Twitch channels, see what they allow, unlink them.
    ManageChannels,
    /// Add cameras, draw their keys, let them go.
    ManageCameras,
    SeeHealth,
    ManagePeople,
}

impl Permission {
    pub const ALL: [Self; 17] = [
        Self::SeeWeeks,
        Self::OpenWeek,
        Self::ImportStream,
        Self::SeeLive,
        Self::MarkMoment,
        Self::SeeMoments,
        Self::SeeClips,
        Self::RequestClip,
        Self::JudgeClip,
        Self::RequestReel,
        Self::DownloadMedia,
        Self::SeeJobs,
        Self::ManageJobs,
        Self::ManageChannels,
        Self::ManageCameras,
        Self::SeeHealth,
        Self::ManagePeople,
    ];
}

/// Whether a role may. The whole policy is this function.
pub const fn may(role: Role, permission: Permission) -> bool {
    use Permission as P;
    match role {
        Role::Admin => true,
        Role::Coordinator => !matches!(permission, P::ManagePeople),
        Role::Editor => matches!(
            permission,
            P::SeeWeeks
                | P::SeeLive
                | P::MarkMoment
                | P::ImportStream
                | P::SeeMoments
                | P::SeeClips
                | P::RequestClip
                | P::JudgeClip
                | P::RequestReel
                | P::DownloadMedia
                | P::SeeJobs
                | P::ManageJobs
        ),
        Role::Streamer => matches!(
            permission,
            P::SeeWeeks
                | P::SeeLive
                | P::MarkMoment
                | P::SeeMoments
                | P::SeeClips
                | P::RequestClip
                | P::RequestReel
                | P::DownloadMedia
                | P::SeeJobs
        ),
        Role::Artist => matches!(permission, P::SeeWeeks | P::SeeClips),
        // A sponsor reads reports through share links; no page of the house is theirs.
        Role::Sponsor => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The policy written a second time, as people read it: one row a permission, one column a role.
    #[test]
    fn the_whole_table_is_as_written() {
        use Permission as P;
        //                        admin  coord  stream editor sponsor artist
        let table: [(P, [u8; 6]); 17] = [
            (P::SeeWeeks, [1, 1, 1, 1, 0, 1]),
            (P::OpenWeek, [1, 1, 0, 0, 0, 0]),
            (P::ImportStream, [1, 1, 0, 1, 0, 0]),
            (P::SeeLive, [1, 1, 1, 1, 0, 0]),
            (P::MarkMoment, [1, 1, 1, 1, 0, 0]),
            (P::SeeMoments, [1, 1, 1, 1, 0, 0]),
            (P::SeeClips, [1, 1, 1, 1, 0, 1]),
            (P::RequestClip, [1, 1, 1, 1, 0, 0]),
            (P::JudgeClip, [1, 1, 0, 1, 0, 0]),
            (P::RequestReel, [1, 1, 1, 1, 0, 0]),
            (P::DownloadMedia, [1, 1, 1, 1, 0, 0]),
            (P::SeeJobs, [1, 1, 1, 1, 0, 0]),
            (P::ManageJobs, [1, 1, 0, 1, 0, 0]),
            (P::ManageChannels, [1, 1, 0, 0, 0, 0]),
            (P::ManageCameras, [1, 1, 0, 0, 0, 0]),
            (P::SeeHealth, [1, 1, 0, 0, 0, 0]),
            (P::ManagePeople, [1, 0, 0, 0, 0, 0]),
        ];
        assert_eq!(table.map(|(permission, _)| permission), P::ALL, "every permission has its row");
        for (permission, row) in table {
            for (role, expected) in Role::ALL.into_iter().zip(row) {
                assert_eq!(may(role, permission), expected == 1, "{role:?} {permission:?}");
            }
        }
    }
}
