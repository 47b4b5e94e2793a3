// Runs in a tab of its own beside the recorded page: captures that tab's picture and sound and sends them to the
// recorder as a WHIP client would. Nothing of the page can reach it.
"use strict";
const deck = {};

deck.capture = async (width, height, fps) => {
  deck.stream = await navigator.mediaDevices.getDisplayMedia({
    video: {width, height, frameRate: fps, cursor: "never"},
    audio: {echoCancellation: false, noiseSuppression: false, autoGainControl: false, channelCount: 2},
  });
  const [video] = deck.stream.getVideoTracks(), [audio] = deck.stream.getAudioTracks();
  if (!video || !audio) throw new Error("the tab gives no picture or no sound");
  video.contentHint = "motion";
  audio.contentHint = "music";
  // The tab takes its size a moment after it was told to; what never comes is fitted into the film.
  for (let n = 0; n < 50; n += 1) {
    const {width: w, height: h} = video.getSettings();
    if (w === width && h === height) return true;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return false;
};

// A new connection; its offer, complete with candidates.
deck.offer = async (codecs, kbps, fps) => {
  deck.peer?.close();
  const peer = deck.peer = new RTCPeerConnection();
  for (const track of deck.stream.getTracks()) {
    const encoding = track.kind === "video"
      ? {maxBitrate: kbps * 1000, maxFramerate: fps, priority: "high", networkPriority: "high"}
      : {maxBitrate: 128000};
    const line = peer.addTransceiver(track, {direction: "sendonly", streams: [deck.stream], sendEncodings: [encoding]});
    if (track.kind === "video") {
      const known = RTCRtpSender.getCapabilities("video").codecs;
      const chosen = codecs.flatMap((name) => known.filter((one) => one.mimeType === `video/${name}`));
      line.setCodecPreferences([...chosen, ...known.filter((one) => one.mimeType === "video/rtx")]);
      const parameters = line.sender.getParameters();
      parameters.degradationPreference = "maintain-resolution";
      await line.sender.setParameters(parameters);
    }
  }
  await peer.setLocalDescription();
  if (peer.iceGatheringState !== "complete")
    await new Promise((resolve) => peer.addEventListener("icegatheringstatechange", () => {
      if (peer.iceGatheringState === "complete") resolve();
    }));
  return peer.localDescription.sdp;
};

// The line to the recorder is loopback or a short wire: begin as good as it will be.
deck.accept = async (sdp, kbps) => {
  const lines = [];
  let video = false;
  for (const line of sdp.split("\r\n")) {
    if (line.startsWith("m=")) video = line.startsWith("m=video");
    const opus = /^a=fmtp:(\d+) /.exec(line), map = /^a=rtpmap:(\d+) (VP8|VP9|H264|opus)\//i.exec(line);
    lines.push(line);
    if (map && video)
      lines.push(`a=fmtp:${map[1]} x-google-start-bitrate=${kbps};x-google-min-bitrate=${Math.round(kbps / 4)}`);
    if (map && map[2].toLowerCase() === "opus" && !opus) lines.push(`a=fmtp:${map[1]} stereo=1;sprop-stereo=1`);
  }
  await deck.peer.setRemoteDescription({type: "answer", sdp: lines.join("\r\n")});
};

deck.state = () => deck.peer?.connectionState ?? "new";

deck.stats = async () => {
  for (const one of (await deck.peer.getStats()).values())
    if (one.type === "outbound-rtp" && one.kind === "video")
      return {frames: one.framesSent ?? 0, fps: one.framesPerSecond ?? 0, width: one.frameWidth ?? 0,
        height: one.frameHeight ?? 0, encoder: one.encoderImplementation ?? "", bytes: one.bytesSent ?? 0,
        limited: one.qualityLimitationReason ?? ""};
  return null;
};
