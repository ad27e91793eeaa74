//! Events as Twitch shapes them, written by hand: one of each kind the house acts on, and some it does not.

/// Kind, version, and the event's fields but for the channel's, which `samples` adds.
const SAMPLES: &[(&str, &str, &str)] = &[
    (
        "channel.chat.message",
        "1",
        r##""chatter_user_id":"7","chatter_user_login":"lea","chatter_user_name":"Léa","message_id":"m1","message":{"text":"Cheer100 bravo","fragments":[{"type":"cheermote","text":"Cheer100","cheermote":{"prefix":"cheer","bits":100,"tier":1}},{"type":"text","text":" bravo"}]},"color":"#FF0000","badges":[{"set_id":"moderator","id":"1","info":""}],"message_type":"text","cheer":{"bits":100},"reply":null,"source_broadcaster_user_id":null,"source_message_id":null"##,
    ),
    (
        "channel.chat.message_delete",
        "1",
        r#""target_user_id":"7","target_user_name":"Léa","target_user_login":"lea","message_id":"m1""#,
    ),
    (
        "channel.chat.clear_user_messages",
        "1",
        r#""target_user_id":"7","target_user_name":"Léa","target_user_login":"lea""#,
    ),
    ("channel.chat.clear", "1", r#""x":1"#),
    (
        "channel.chat.notification",
        "1",
        r#""chatter_user_id":"7","chatter_user_login":"lea","chatter_user_name":"Léa","chatter_is_anonymous":false,"color":"","badges":[],"system_message":"Léa subscribed","message_id":"m2","message":{"text":"encore","fragments":[]},"notice_type":"resub","resub":{"cumulative_months":5,"sub_tier":"1000"}"#,
    ),
    (
        "channel.follow",
        "2",
        r#""user_id":"7","user_login":"lea","user_name":"Léa","followed_at":"2026-11-20T20:00:00.123456789Z""#,
    ),
    (
        "channel.subscribe",
        "1",
        r#""user_id":"7","user_login":"lea","user_name":"Léa","tier":"1000","is_gift":false"#,
    ),
    (
        "channel.subscription.message",
        "1",
        r#""user_id":"7","user_login":"lea","user_name":"Léa","tier":"2000","message":{"text":"six mois","emotes":null},"cumulative_months":6,"streak_months":null,"duration_months":1"#,
    ),
    (
        "channel.subscription.gift",
        "1",
        r#""user_id":"7","user_login":"lea","user_name":"Léa","total":5,"tier":"1000","cumulative_total":12,"is_anonymous":false"#,
    ),
    (
        "channel.bits.use",
        "1",
        r#""user_id":"7","user_login":"lea","user_name":"Léa","bits":100,"type":"cheer","power_up":null,"message":{"text":"Cheer100","fragments":[]}"#,
    ),
    (
        "channel.cheer",
        "1",
        r#""is_anonymous":false,"user_id":"7","user_login":"lea","user_name":"Léa","message":"Cheer100","bits":100"#,
    ),
    (
        "channel.channel_points_custom_reward_redemption.add",
        "1",
        r#""id":"r1","user_id":"7","user_login":"lea","user_name":"Léa","user_input":"un verre d'eau","status":"unfulfilled","reward":{"id":"w","title":"Hydratation","cost":300,"prompt":""},"redeemed_at":"2026-11-20T20:00:01Z""#,
    ),
    (
        "channel.channel_points_custom_reward_redemption.update",
        "1",
        r#""id":"r1","user_id":"7","user_login":"lea","user_name":"Léa","user_input":"","status":"fulfilled","reward":{"id":"w","title":"Hydratation","cost":300,"prompt":""},"redeemed_at":"2026-11-20T20:00:01Z""#,
    ),
    (
        "channel.channel_points_automatic_reward_redemption.add",
        "2",
        r#""id":"r2","user_id":"7","user_login":"lea","user_name":"Léa","reward":{"type":"send_highlighted_message","channel_points":100,"emote":null},"message":{"text":"coucou","fragments":[]},"redeemed_at":"2026-11-20T20:00:02Z""#,
    ),
    (
        "channel.channel_points_automatic_reward_redemption.add",
        "1",
        r#""id":"r3","user_id":"7","user_login":"lea","user_name":"Léa","reward":{"type":"send_highlighted_message","cost":100,"unlocked_emote":null},"message":{"text":"coucou","emotes":null},"user_input":"coucou","redeemed_at":"2026-11-20T20:00:02Z""#,
    ),
    (
        "channel.custom_power_up_redemption.add",
        "1",
        r#""id":"r4","user_id":"7","user_login":"lea","user_name":"Léa","user_input":"","custom_power_up":{"id":"p","title":"Confettis","bits":50},"redeemed_at":"2026-11-20T20:00:03Z""#,
    ),
    (
        "channel.charity_campaign.donate",
        "1",
        r#""id":"d1","campaign_id":"c","user_id":"7","user_login":"lea","user_name":"Léa","charity_name":"Asso","amount":{"value":1050,"decimal_places":2,"currency":"EUR"}"#,
    ),
    (
        "channel.charity_campaign.start",
        "1",
        r#""id":"c","charity_name":"Asso","current_amount":{"value":0,"decimal_places":2,"currency":"EUR"},"target_amount":{"value":100000,"decimal_places":2,"currency":"EUR"},"started_at":"2026-11-20T20:00:00Z""#,
    ),
    (
        "channel.charity_campaign.progress",
        "1",
        r#""id":"c","charity_name":"Asso","current_amount":{"value":1050,"decimal_places":2,"currency":"EUR"},"target_amount":{"value":100000,"decimal_places":2,"currency":"EUR"}"#,
    ),
    (
        "channel.charity_campaign.stop",
        "1",
        r#""id":"c","charity_name":"Asso","current_amount":{"value":1050,"decimal_places":2,"currency":"EUR"},"target_amount":{"value":100000,"decimal_places":2,"currency":"EUR"},"stopped_at":"2026-11-20T21:00:00Z""#,
    ),
    (
        "channel.raid",
        "1",
        r#""from_broadcaster_user_id":"202","from_broadcaster_user_login":"ami","from_broadcaster_user_name":"Ami","to_broadcaster_user_id":"101","to_broadcaster_user_login":"villa","to_broadcaster_user_name":"Villa","viewers":42"#,
    ),
    (
        "channel.poll.begin",
        "1",
        r#""id":"s1","title":"Pâtes ou riz ?","choices":[{"id":"a","title":"Pâtes"},{"id":"b","title":"Riz"}],"started_at":"2026-11-20T20:00:00Z","ends_at":"2026-11-20T20:01:00Z""#,
    ),
    (
        "channel.poll.progress",
        "1",
        r#""id":"s1","title":"Pâtes ou riz ?","choices":[{"id":"a","title":"Pâtes","bits_votes":0,"channel_points_votes":2,"votes":5},{"id":"b","title":"Riz","votes":1}],"started_at":"2026-11-20T20:00:00Z","ends_at":"2026-11-20T20:01:00Z""#,
    ),
    (
        "channel.poll.end",
        "1",
        r#""id":"s1","title":"Pâtes ou riz ?","choices":[{"id":"a","title":"Pâtes","votes":9},{"id":"b","title":"Riz","votes":1}],"status":"completed","started_at":"2026-11-20T20:00:00Z","ended_at":"2026-11-20T20:01:00Z""#,
    ),
    (
        "channel.prediction.begin",
        "1",
        r#""id":"p1","title":"Réussi ?","outcomes":[{"id":"a","title":"Oui","color":"blue"}],"started_at":"2026-11-20T20:00:00Z","locks_at":"2026-11-20T20:01:00Z""#,
    ),
    (
        "channel.prediction.progress",
        "1",
        r#""id":"p1","title":"Réussi ?","outcomes":[{"id":"a","title":"Oui","color":"blue","users":2,"channel_points":500,"top_predictors":[{"user_id":7}]}],"started_at":"2026-11-20T20:00:00Z""#,
    ),
    (
        "channel.prediction.lock",
        "1",
        r#""id":"p1","title":"Réussi ?","outcomes":[{"id":"a","title":"Oui","color":"blue"}],"started_at":"2026-11-20T20:00:00Z","locked_at":"2026-11-20T20:01:00Z""#,
    ),
    (
        "channel.prediction.end",
        "1",
        r#""id":"p1","title":"Réussi ?","winning_outcome_id":"a","outcomes":[{"id":"a","title":"Oui","color":"blue","users":2,"channel_points":500}],"status":"resolved","ended_at":"2026-11-20T20:02:00Z""#,
    ),
    (
        "channel.hype_train.begin",
        "2",
        r#""id":"h1","total":137,"progress":137,"goal":500,"top_contributions":[],"level":1,"started_at":"2026-11-20T20:00:00Z","expires_at":"2026-11-20T20:05:00Z","is_shared_train":false,"type":"regular""#,
    ),
    (
        "channel.hype_train.progress",
        "2",
        r#""id":"h1","total":700,"progress":200,"goal":1000,"level":2,"started_at":"2026-11-20T20:00:00Z","type":"golden_kappa""#,
    ),
    (
        "channel.hype_train.end",
        "2",
        r#""id":"h1","total":900,"level":2,"started_at":"2026-11-20T20:00:00Z","ended_at":"2026-11-20T20:05:00Z""#,
    ),
    (
        "channel.goal.begin",
        "1",
        r#""id":"g1","type":"subscription","description":"Cent !","current_amount":90,"target_amount":100,"started_at":"2026-11-20T20:00:00Z""#,
    ),
    (
        "channel.goal.progress",
        "1",
        r#""id":"g1","type":"subscription","description":"Cent !","current_amount":95,"target_amount":100,"started_at":"2026-11-20T20:00:00Z""#,
    ),
    (
        "channel.goal.end",
        "1",
        r#""id":"g1","type":"subscription","description":"Cent !","is_achieved":true,"current_amount":100,"target_amount":100,"ended_at":"2026-11-20T20:10:00Z""#,
    ),
    (
        "channel.ad_break.begin",
        "1",
        r#""duration_seconds":"60","started_at":"2026-11-20T20:00:00Z","is_automatic":"true""#,
    ),
    (
        "channel.shoutout.create",
        "1",
        r#""to_broadcaster_user_id":"202","to_broadcaster_user_name":"Ami","viewer_count":86,"started_at":"2026-11-20T20:00:00Z""#,
    ),
    (
        "channel.shoutout.receive",
        "1",
        r#""from_broadcaster_user_id":"202","from_broadcaster_user_name":"Ami","viewer_count":86,"started_at":"2026-11-20T20:00:00Z""#,
    ),
    ("stream.online", "1", r#""id":"9001","type":"live","started_at":"2026-11-20T19:59:00Z""#),
    ("stream.offline", "1", r#""x":null"#),
    (
        "channel.update",
        "2",
        r#""title":"Soirée crêpes","language":"fr","category_id":"1","category_name":"Food & Drink","content_classification_labels":[]"#,
    ),
    (
        "channel.ban",
        "1",
        r#""user_id":"8","user_login":"troll","user_name":"Troll","moderator_user_id":"9","reason":"","banned_at":"2026-11-20T20:00:00Z","ends_at":"2026-11-20T20:10:00Z","is_permanent":false"#,
    ),
    ("channel.unban", "1", r#""user_id":"8","user_login":"troll","user_name":"Troll""#),
    (
        "channel.moderate",
        "2",
        r#""moderator_user_id":"9","action":"timeout","ban":null,"timeout":{"user_id":"8","user_name":"Troll","user_login":"troll","reason":"","expires_at":"2026-11-20T20:10:00Z"}"#,
    ),
    ("channel.shield_mode.begin", "1", r#""started_at":"2026-11-20T20:00:00Z""#),
    ("channel.shield_mode.end", "1", r#""ended_at":"2026-11-20T20:10:00Z""#),
    ("user.authorization.grant", "1", r#""client_id":"c","user_id":"101","user_login":"villa""#),
    ("user.authorization.revoke", "1", r#""client_id":"c","user_id":"101","user_login":null"#),
    ("conduit.shard.disabled", "1", r#""conduit_id":"k","shard_id":"4","status":"x""#),
    ("channel.vip.add", "1", r#""user_id":"7","user_login":"lea","user_name":"Léa""#),
];

/// A kind, a version and an event.
pub(crate) struct Sample {
    pub(crate) kind: &'static str,
    pub(crate) version: &'static str,
    pub(crate) event: String,
}

pub(crate) fn samples() -> Vec<Sample> {
    let whole = |fields: &str| {
        format!(
            r#"{{"broadcaster_user_id":"101","broadcaster_user_login":"villa","broadcaster_user_name":"Villa",{fields}}}"#
        )
    };
    SAMPLES
        .iter()
        .map(|(kind, version, fields)| Sample { kind, version, event: whole(fields) })
        .collect()
}

/// The body a webhook gets.
pub(crate) fn webhook(kind: &str, version: &str, event: &str) -> String {
    format!(
        r#"{{"subscription":{{"id":"sub-1","status":"enabled","type":"{kind}","version":"{version}","condition":{{"broadcaster_user_id":"101"}},"transport":{{"method":"websocket","session_id":"session-1"}},"created_at":"2026-11-20T19:00:00Z"}},"event":{event}}}"#
    )
}

/// The frame a socket gets.
pub(crate) fn frame(kind: &str, version: &str, event: &str) -> String {
    let payload = webhook(kind, version, event);
    format!(
        r#"{{"metadata":{{"message_id":"id-1","message_type":"notification","message_timestamp":"2026-11-20T20:00:05.000000001Z","subscription_type":"{kind}","subscription_version":"{version}"}},"payload":{payload}}}"#
    )
}
