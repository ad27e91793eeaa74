// Counts what twurple hears of the chats of several channels on the pretend Twitch; tells it as JSON lines.
import { ApiClient } from '@twurple/api';
import { StaticAuthProvider } from '@twurple/auth';
import { EventSubWsListener } from '@twurple/eventsub-ws';

const TELL_EVERY_MS = 100;
const tell = (what) => console.log(JSON.stringify(what));
const [access, user, ...channels] = process.argv.slice(1);

const authProvider = new StaticAuthProvider('pretendclient', access);
const listener = new EventSubWsListener({ apiClient: new ApiClient({ authProvider }) });
let ready = 0;
let heard = 0;
listener.onSubscriptionCreateSuccess(() => { ready += 1; });
listener.onSubscriptionCreateFailure((_, error) => tell({ failed: String(error) }));
for (const channel of channels) listener.onChannelChatMessage(channel, user, () => { heard += 1; });
listener.start();
setInterval(() => tell({ ready, heard }), TELL_EVERY_MS);

// Our input is closed when enough was heard.
process.stdin.resume();
process.stdin.on('end', () => {
    listener.stop();
    process.exit(0);
});
