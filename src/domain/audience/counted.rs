//! What of a happening is counted, and how: money from one telling of each kind, the others feed timelines only.

use crate::domain::audience::FactKind;
use crate::domain::audience::happening::{Money, Price, Tier, What};
use crate::domain::moments::votes::is_vote;

/// What is counted: the kind, the viewer by the platform's id (empty for nobody), the amount.
pub fn counted(what: &What) -> Vec<(FactKind, &str, i64)> {
    if let Some(money) = what.money() {
        let (kind, amount) = match money {
            Money::Bits(bits) => (FactKind::Cheer, bits as i64),
            Money::NewSub(tier) => (FactKind::Sub, number(tier)),
            Money::Resub(tier) => (FactKind::Resub, number(tier)),
            Money::GiftedSubs { total, .. } => (FactKind::Gift, total as i64),
        };
        return vec![(kind, what.viewer_id().unwrap_or_default(), amount)];
    }
    let viewer = what.viewer_id().unwrap_or_default();
    match what {
        What::Chat(chat) => {
            let mut facts = vec![(FactKind::Chat, viewer, chat.text.chars().count() as i64)];
            if is_vote(&chat.text) {
                facts.push((FactKind::Vote, viewer, 1));
            }
            facts
        }
        What::Followed { .. } => vec![(FactKind::Follow, viewer, 1)],
        What::RaidIn { viewers, .. } => vec![(FactKind::Raid, "", *viewers as i64)],
        What::Redeemed { price: Price::Points(points), .. } => {
            vec![(FactKind::Redemption, viewer, *points as i64)]
        }
        What::AdBreak { duration_seconds, .. } => {
            vec![(FactKind::Ad, "", *duration_seconds as i64)]
        }
        What::Missed { from, to, .. } => {
            vec![(FactKind::Missed, "", (*to - *from).num_milliseconds().max(0))]
        }
        _ => Vec::new(),
    }
}

/// A tier as a number; a newer one than we know counts as the first.
const fn number(tier: Tier) -> i64 {
    match tier {
        Tier::One | Tier::Other => 1,
        Tier::Two => 2,
        Tier::Three => 3,
    }
}
