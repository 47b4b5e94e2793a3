// The page of a synthetic person in Chromium: opens camera and microphone, writes down when the bar and the beep were
// captured and when the devices stood still, and publishes. Times: video frames carry CLOCK_MONOTONIC, audio carries performance.now(); both in
// microseconds. `tapedeck.testing.browser` brings them together.
"use strict";

const deck = {flashes: [], beeps: [], gaps: [], slips: [], frames: 0};

deck.open = async (width, height, fps) => {
  deck.fps = fps;
  deck.stream = await navigator.mediaDevices.getUserMedia({
    video: {width, height, frameRate: fps},
    audio: {echoCancellation: false, noiseSuppression: false, autoGainControl: false},
  });
  const [audio] = deck.stream.getAudioTracks(), [video] = deck.stream.getVideoTracks();
  watchPictures(new MediaStreamTrackProcessor({track: video.clone()}).readable.getReader());
  watchSound(new MediaStreamTrackProcessor({track: audio.clone()}).readable.getReader());
  return video.getSettings();
};

// A flash is from the first picture with the bar to the first without it.
const watchPictures = async (reader) => {
  const canvas = new OffscreenCanvas(8, 8), paint = canvas.getContext("2d", {willReadFrequently: true});
  let began = null, last = null;
  for (;;) {
    const {value: frame, done} = await reader.read();
    if (done) return;
    const at = frame.timestamp, w = frame.displayWidth, h = frame.displayHeight;
    paint.drawImage(frame, 0.3 * w, 0.68 * h, 0.4 * w, 0.08 * h, 0, 0, 8, 8);
    frame.close();
    deck.frames += 1;
    if (last !== null && at - last > 1.6e6 / deck.fps) deck.gaps.push([last, at]);
    last = at;
    const pixels = paint.getImageData(0, 0, 8, 8).data;
    let least = 255;
    for (let i = 0; i < pixels.length; i += 4) least = Math.min(least, pixels[i], pixels[i + 1], pixels[i + 2]);
    if (least > 200 && began === null) began = at;
    if (least <= 200 && began !== null) {
      deck.flashes.push([began, at]);
      began = null;
    }
  }
};

// A beep is where its energy has its middle: it is symmetric.
const watchSound = async (reader) => {
  const samples = new Float32Array(48000);
  let energy = 0, moment = 0, quiet = 0, due = null;
  for (;;) {
    const {value: data, done} = await reader.read();
    if (done) return;
    const at = data.timestamp, count = data.numberOfFrames, rate = data.sampleRate;
    data.copyTo(samples.subarray(0, count), {planeIndex: 0, format: "f32-planar"});
    data.close();
    if (due !== null && Math.abs(at - due) > 15e3) deck.slips.push([Math.min(at, due), Math.max(at, due)]);
    due = at + 1e6 * count / rate;
    for (let i = 0; i < count; i += 1) {
      const power = samples[i] * samples[i];
      if (power > 1e-5) {
        energy += power;
        moment += power * (at + 1e6 * i / rate);
        quiet = 0;
      } else {
        quiet += 1;
        if (energy > 0 && quiet > rate / 50) {
          deck.beeps.push(moment / energy);
          energy = moment = 0;
        }
      }
    }
  }
};

deck.publish = async (codec) => {
  const peer = deck.peer = new RTCPeerConnection();
  for (const track of deck.stream.getTracks()) {
    const transceiver = peer.addTransceiver(track, {direction: "sendonly", streams: [deck.stream]});
    if (track.kind === "video") {
      const codecs = RTCRtpSender.getCapabilities("video").codecs;
      const rtx = codecs.filter((one) => one.mimeType === "video/rtx");
      transceiver.setCodecPreferences([...codecs.filter((one) => one.mimeType === `video/${codec}`), ...rtx]);
    }
  }
  await peer.setLocalDescription();
  if (peer.iceGatheringState !== "complete")
    await new Promise((resolve) => peer.addEventListener("icegatheringstatechange", () => {
      if (peer.iceGatheringState === "complete") resolve();
    }));
  const answer = await enterMeeting(peer.localDescription.sdp);
  await peer.setRemoteDescription({type: "answer", sdp: answer});
  if (peer.connectionState !== "connected")
    await new Promise((resolve, reject) => peer.addEventListener("connectionstatechange", () => {
      if (peer.connectionState === "connected") resolve();
      if (["failed", "closed"].includes(peer.connectionState)) reject(new Error(`connection ${peer.connectionState}`));
    }));
};

// Moves the connection to new ICE credentials (RFC 9725 4.3.3): a fragment goes out, the answer's parts come back and
// take their places in the description that is there.
deck.restart = async () => {
  const peer = deck.peer;
  const gathered = new Promise((resolve) => peer.addEventListener("icecandidate", ({candidate}) => {
    if (candidate === null) resolve();  // the state still says "complete", of the gathering before
  }));
  await peer.setLocalDescription(await peer.createOffer({iceRestart: true}));
  await gathered;
  const ours = peer.localDescription.sdp.split("\r\n");
  const one = (lines, start) => lines.find((line) => line.startsWith(start));
  const candidates = (lines) => [...new Set(lines.filter((line) => line.startsWith("a=candidate:")))];
  const head = ["a=ice-ufrag:", "a=ice-pwd:", "m=", "a=mid:"].map((start) => one(ours, start));
  const fragment = [...head, ...candidates(ours), "a=end-of-candidates", ""].join("\r\n");
  const theirs = (await renewMeeting(fragment)).split("\r\n");
  const [ufrag, pwd] = ["a=ice-ufrag:", "a=ice-pwd:"].map((start) => one(theirs, start));
  let placed = false;
  const answer = peer.remoteDescription.sdp.split("\r\n").flatMap((line) => {
    if (line.startsWith("a=ice-ufrag:")) return [ufrag];
    if (line.startsWith("a=ice-pwd:")) return [pwd];
    if (line.startsWith("a=candidate:")) return [];
    if (line.startsWith("a=mid:") && !placed) {
      placed = true;
      return [line, ...candidates(theirs)];
    }
    return [line];
  });
  const ice = peer.getSenders()[0].transport.iceTransport;
  const moved = new Promise((resolve) => ice.addEventListener("selectedcandidatepairchange", resolve));
  await peer.setRemoteDescription({type: "answer", sdp: answer.join("\r\n")});
  await moved;
};

// The ICE username fragment of the candidate that media leaves from now.
deck.ufrag = async () => {
  const stats = await deck.peer.getStats();
  const transport = [...stats.values()].find((one) => one.type === "transport");
  return stats.get(stats.get(transport.selectedCandidatePairId).localCandidateId).usernameFragment;
};

// Off means nothing is sent, not that silence or black is.
deck.send = async (kind, on) => {
  const [track] = deck.stream.getTracks().filter((one) => one.kind === kind);
  const index = deck.stream.getTracks().indexOf(track);
  await deck.peer.getTransceivers()[index].sender.replaceTrack(on ? track : null);
};

deck.stats = async () => {
  const found = {};
  for (const one of (await deck.peer.getStats()).values())
    if (one.type === "outbound-rtp") found[one.kind] = {frames: one.framesSent ?? 0, packets: one.packetsSent,
      keyFrames: one.keyFramesEncoded ?? 0, plis: one.pliCount ?? 0, nacks: one.nackCount ?? 0,
      width: one.frameWidth ?? 0, encoder: one.encoderImplementation ?? ""};
  return found;
};

deck.close = () => {
  deck.peer?.close();
  deck.stream?.getTracks().forEach((track) => track.stop());
};
