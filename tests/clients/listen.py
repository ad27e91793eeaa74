"""Listens to a channel's chat on the pretend Twitch with twitchAPI; tells what it hears as JSON lines."""

import asyncio
import json
import sys

from twitchAPI.eventsub.websocket import EventSubWebsocket
from twitchAPI.twitch import Twitch
from twitchAPI.type import AuthScope


def tell(**what):
    print(json.dumps(what), flush=True)


async def heard(event):
    tell(message=event.event.message_id)


async def revoked(payload):
    tell(revoked=payload["subscription"]["status"])


async def main():
    address, access, refresh, user = sys.argv[1:]
    twitch = await Twitch(
        "pretendclient",
        "pretendsecret",
        base_url=f"http://{address}/helix/",
        auth_base_url=f"http://{address}/oauth2/",
    )
    await twitch.set_user_authentication(access, [AuthScope.USER_READ_CHAT], refresh)
    socket = EventSubWebsocket(
        twitch,
        connection_url=f"ws://{address}/ws",
        subscription_url=f"http://{address}/helix/",
        revocation_handler=revoked,
    )
    socket.start()
    await socket.listen_channel_chat_message(user, user, heard)
    tell(ready=True)
    # The test closes our input when it has heard enough.
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await socket.stop()
    await twitch.close()


asyncio.run(main())
