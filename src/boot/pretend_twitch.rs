//! `spark rehearse twitch`: serves the pretend Twitch alone, so that any client can rehearse with it.

use std::path::Path;

use anyhow::{Context, Result};

use crate::boot::cli::PretendTwitchArgs;
use crate::boot::serve::wait_for_stop;
use crate::rehearsal::twitch::{Person, PretendTwitch, Programme, Settings};

/// The seed of the first channel's evening; each further channel has the next one.
const SEED: u64 = 20_261_107;

/// Serves until Ctrl-C.
pub(crate) async fn serve(args: PretendTwitchArgs) -> Result<()> {
    let settings = Settings {
        listen: args.listen,
        channels: (0..usize::from(args.channels)).map(Person::creator).collect(),
        ..Settings::default()
    };
    let (channels, id, secret) =
        (settings.channels.clone(), settings.client_id.clone(), settings.client_secret.clone());
    let programmes = programmes(&args, &channels)?;
    let twitch = PretendTwitch::start(settings).await?;
    let address = twitch.address();
    println!("The pretend Twitch is on {address}\n");
    println!("  Helix      {}", twitch.helix_url());
    println!("  OAuth      {}", twitch.oauth_url());
    println!("  EventSub   {}", twitch.websocket_url());
    println!(
        "  Control    http://{address}/control/ (act, faults, counters, ledger, sockets, tokens)"
    );
    println!("  twurple    TWURPLE_MOCK_API_PORT={}", address.port());
    println!("  Client id {id}, secret {secret}\n");
    for who in &channels {
        println!("  Channel {} ({})", who.login, who.id);
    }
    for (channel, programme) in programmes {
        println!("\n  On {channel}: {} cues at {} x", programme.len(), args.speed);
        twitch.play(&channel, programme, args.speed)?;
    }
    println!("\nCtrl-C stops it.");
    wait_for_stop().await?;
    twitch.stop().await;
    Ok(())
}

/// What is played where.
fn programmes(args: &PretendTwitchArgs, channels: &[Person]) -> Result<Vec<(String, Programme)>> {
    let read = |file: &Path| {
        std::fs::read_to_string(file).with_context(|| format!("cannot read `{}`", file.display()))
    };
    let first = channels.first().map_or_else(String::new, |who| who.login.clone());
    if let Some(file) = &args.chat {
        let programme = Programme::of_chat_log(&read(file)?)
            .with_context(|| format!("`{}` is no chat log", file.display()))?;
        return Ok(vec![(first, programme)]);
    }
    if let Some(file) = &args.script {
        let programme = Programme::of_script(&read(file)?)
            .with_context(|| format!("`{}` is no script", file.display()))?;
        return Ok(vec![(first, programme)]);
    }
    let evening = |(seed, who): (u64, &Person)| {
        (who.login.clone(), Programme::of_evening(&who.login, seed, args.minutes * 60))
    };
    Ok((SEED..).zip(channels).map(evening).collect())
}
