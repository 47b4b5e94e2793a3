// A WHIP client in a page: `post` and `patch` are functions of the test.
const gathered = (pc) => new Promise((done) => {
  const check = () => pc.iceGatheringState === 'complete' && done();
  pc.addEventListener('icegatheringstatechange', check);
  check();
});

window.publish = async (mime) => {
  const video = { width: 640, height: 360, frameRate: 30 };
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true, video });
  const pc = window.pc = new RTCPeerConnection();
  window.channel = pc.createDataChannel('messages');
  for (const track of stream.getTracks()) {
    const transceiver = pc.addTransceiver(track, { direction: 'sendonly', streams: [stream] });
    if (track.kind === 'video') {
      const all = RTCRtpSender.getCapabilities('video').codecs;
      transceiver.setCodecPreferences(all.filter((c) => c.mimeType === mime || c.mimeType === 'video/rtx'));
    }
  }
  await pc.setLocalDescription();
  await gathered(pc);
  await pc.setRemoteDescription({ type: 'answer', sdp: await post(pc.localDescription.sdp) });
};

// RFC 9725 4.3.3: new credentials go in a fragment; the answer's are put into the description we have.
window.restart = async () => {
  await pc.setLocalDescription(await pc.createOffer({ iceRestart: true }));
  await gathered(pc);
  const lines = pc.localDescription.sdp.split('\r\n');
  const first = (start) => lines.find((line) => line.startsWith(start));
  const candidates = lines.filter((line) => line.startsWith('a=candidate:'));
  const sent = [first('a=ice-ufrag:'), first('a=ice-pwd:'), first('m='), first('a=mid:'), ...candidates];
  const back = (await patch(sent.join('\r\n') + '\r\na=end-of-candidates\r\n')).split('\r\n');
  const answer = pc.remoteDescription.sdp.split('\r\n').flatMap((line) => {
    if (line.startsWith('a=candidate:') || line === 'a=end-of-candidates') return [];
    const name = ['a=ice-ufrag:', 'a=ice-pwd:'].find((start) => line.startsWith(start));
    if (name) return back.filter((other) => other.startsWith(name));
    return line.startsWith('a=mid:0') ? [line, ...back.filter((other) => other.startsWith('a=candidate:'))] : [line];
  });
  await pc.setRemoteDescription({ type: 'answer', sdp: answer.join('\r\n') });
};

window.sent = async () => {
  const found = {};
  for (const entry of (await pc.getStats()).values()) {
    if (entry.type === 'outbound-rtp') found[entry.kind] = entry;
    if (entry.type === 'candidate-pair' && entry.nominated) found.pair = entry;
  }
  return found;
};
