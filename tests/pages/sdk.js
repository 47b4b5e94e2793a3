// A recording app made with RealtimeKit's own recording SDK. Its meeting is played: one participant, who leaves
// when told to; then the SDK ends the recording by itself.
import {RealtimeKitRecording} from "/sdk.js";

const people = new Set(["ada"]);
people.on = () => people;
const joined = [];
const logger = new Proxy({}, {get: () => () => {}});
const meeting = {
  __internals__: {logger},
  participants: {active: people, waitlisted: {toArray: () => []}, addListener: () => {}},
  self: {roomJoined: false, on: (event, what) => event === "roomJoined" && joined.push(what), removeAllListeners: () => {}},
  joinRoom: async () => {
    meeting.self.roomJoined = true;
    joined.forEach((what) => what());
  },
};
const recording = new RealtimeKitRecording({waitTimeMs: 1000, scanInterval: 200});
await recording.init(meeting);
acts.leave = () => people.clear();
