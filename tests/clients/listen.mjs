// Listens to a channel's chat on the pretend Twitch with twurple; tells what it hears as JSON lines.
import { ApiClient } from '@twurple/api';
import { StaticAuthProvider } from '@twurple/auth';
import { EventSubWsListener } from '@twurple/eventsub-ws';

const tell = (what) => console.log(JSON.stringify(what));
const [, , access, user] = process.argv;

const authProvider = new StaticAuthProvider('pretendclient', access);
const apiClient = new ApiClient({ authProvider });
const listener = new EventSubWsListener({ apiClient });
listener.onSubscriptionCreateSuccess(() => tell({ ready: true }));
listener.onSubscriptionCreateFailure((_, error) => tell({ failed: String(error) }));
listener.onRevoke((_, status) => tell({ revoked: status }));
listener.onChannelChatMessage(user, user, (event) => tell({ message: event.messageId }));
listener.start();

// The test closes our input when it has heard enough.
process.stdin.resume();
process.stdin.on('end', () => {
    listener.stop();
    process.exit(0);
});
