//! Where the platforms lay their own buttons over a reel, and where words are therefore safe.

use serde::{Deserialize, Serialize};

/// When the table below was last compared with its sources (secondary ones; no two of them agree to the pixel).
pub const SAFE_ZONES_AS_OF: &str = "2026-11";

/// A platform that takes upright reels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Platform {
    InstagramReels,
    TikTok,
    YouTubeShorts,
}

/// Margins in pixels of a 1080×1920 picture that a platform covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CoveredMargins {
    pub platform: Platform,
    pub top: u32,
    pub bottom: u32,
    pub left: u32,
    pub right: u32,
}

/// The table, as of [`SAFE_ZONES_AS_OF`].
pub const COVERED_MARGINS: [CoveredMargins; 3] = [
    CoveredMargins {
        platform: Platform::InstagramReels,
        top: 270,
        bottom: 670,
        left: 65,
        right: 65,
    },
    CoveredMargins { platform: Platform::TikTok, top: 150, bottom: 440, left: 60, right: 150 },
    CoveredMargins {
        platform: Platform::YouTubeShorts,
        top: 250,
        bottom: 450,
        left: 60,
        right: 140,
    },
];

/// A rectangle in pixels of a 1080×1920 picture; `right` and `bottom` are just outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SafeArea {
    pub left: u32,
    pub top: u32,
    pub right: u32,
    pub bottom: u32,
}

/// The area no platform of the table covers: every word of a reel lies inside it.
pub const SAFE_AREA: SafeArea = common_area();

const fn common_area() -> SafeArea {
    let mut area = SafeArea { left: 0, top: 0, right: 1080, bottom: 1920 };
    let mut index = 0;
    while index < COVERED_MARGINS.len() {
        let margins = COVERED_MARGINS[index];
        if margins.left > area.left {
            area.left = margins.left;
        }
        if margins.top > area.top {
            area.top = margins.top;
        }
        if 1080 - margins.right < area.right {
            area.right = 1080 - margins.right;
        }
        if 1920 - margins.bottom < area.bottom {
            area.bottom = 1920 - margins.bottom;
        }
        index += 1;
    }
    area
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_safe_area_is_what_no_platform_covers() {
        assert_eq!(SAFE_AREA, SafeArea { left: 65, top: 270, right: 930, bottom: 1250 });
    }
}
