//! What a camera speaks, and the ways to misbehave in it.

/// What a camera speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    Rtmp,
    Srt,
}

impl Over {
    /// Both, by the word they are asked for with: how an address of theirs begins.
    pub const ALL: [(&'static str, Self); 2] = [("rtmp", Self::Rtmp), ("srt", Self::Srt)];

    /// Where a server on this machine listens that was told nothing else.
    pub const fn usual_address(self) -> &'static str {
        match self {
            Self::Rtmp => "rtmp://127.0.0.1:1935/live",
            Self::Srt => "srt://127.0.0.1:9000",
        }
    }

    /// What an address asks to be spoken; `None` when it is neither.
    pub fn of(url: &str) -> Option<Self> {
        let (scheme, _) = url.split_once("://")?;
        Self::ALL.into_iter().find(|(word, _)| *word == scheme).map(|(_, over)| over)
    }
}

/// A way to misbehave; each begins ten seconds after the camera came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Stops in the middle of a chunk and says nothing more.
    StopsMidChunk,
    /// Stops in the middle of a packet of its transport stream and says nothing more.
    StopsMidPacket,
    /// Its times leap ten seconds ahead, then ten back.
    Jumps,
    /// Its times begin a little before 24 bits of milliseconds end, where the extended time begins.
    Wraps24,
    /// The same with 32 bits, where it starts over.
    Wraps32,
    /// The same with 33 bits of a transport stream's ticks, 90,000 a second.
    Wraps33,
    /// Claims a message of sixteen megabytes and sends a little of it.
    LiesLong,
    /// Sends more than a message claims to hold.
    LiesShort,
    /// Sends bytes that mean nothing instead of its film.
    Noise,
    /// Falls silent, its line open.
    FallsSilent,
}

impl Fault {
    /// All there are, by the word they are asked for with.
    pub const ALL: [(&'static str, Self); 10] = [
        ("stops-mid-chunk", Self::StopsMidChunk),
        ("stops-mid-packet", Self::StopsMidPacket),
        ("jumps", Self::Jumps),
        ("wraps-24", Self::Wraps24),
        ("wraps-32", Self::Wraps32),
        ("wraps-33", Self::Wraps33),
        ("lies-long", Self::LiesLong),
        ("lies-short", Self::LiesShort),
        ("noise", Self::Noise),
        ("falls-silent", Self::FallsSilent),
    ];

    /// Whether a camera that speaks so can misbehave in this way.
    pub const fn is_of(self, over: Over) -> bool {
        match self {
            Self::StopsMidChunk
            | Self::Wraps24
            | Self::Wraps32
            | Self::LiesLong
            | Self::LiesShort => matches!(over, Over::Rtmp),
            Self::StopsMidPacket | Self::Wraps33 | Self::Noise => matches!(over, Over::Srt),
            Self::Jumps | Self::FallsSilent => true,
        }
    }

    /// The word it is asked for with.
    pub fn word(self) -> &'static str {
        Self::ALL.into_iter().find(|(_, it)| *it == self).map_or("", |(word, _)| word)
    }

    /// Whether the camera goes on with its film, only its times are wrong.
    pub const fn goes_on(self) -> bool {
        matches!(self, Self::Jumps | Self::Wraps24 | Self::Wraps32 | Self::Wraps33)
    }

    /// What its clock says at the beginning, in milliseconds: five seconds before it runs over.
    pub(super) const fn starts_at_ms(self) -> u64 {
        match self {
            Self::Wraps24 => 0x00ff_ffff - 5_000,
            Self::Wraps32 => u32::MAX as u64 - 5_000,
            Self::Wraps33 => (1 << 33) / 90 - 5_000,
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_a_word_and_somebody_who_can_have_it() {
        for (word, fault) in Fault::ALL {
            assert_eq!(fault.word(), word);
            assert!(Over::ALL.into_iter().any(|(_, over)| fault.is_of(over)), "{word}");
        }
        assert_eq!(Over::of("srt://a:1"), Some(Over::Srt));
        assert_eq!(Over::of("rtmps://a/live"), None);
        for (_, over) in Over::ALL {
            assert_eq!(Over::of(over.usual_address()), Some(over));
        }
    }
}
