// A small recording app: shows one synthetic person (a colour, a white bar and a beep each second, in step) and follows
// the contract of custom recording apps. `plan` in the query says what it does and when.
"use strict";
const query = new URLSearchParams(location.search);
const plan = JSON.parse(query.get("plan") ?? "{}");
const show = {said: []};

const play = () => {
  const canvas = document.querySelector("canvas"), paint = canvas.getContext("2d", {alpha: false});
  canvas.width = innerWidth;
  canvas.height = innerHeight;
  const sound = new AudioContext({sampleRate: 48000});
  if (plan.pitch) {
    const second = sound.createBuffer(1, 48000, 48000), samples = second.getChannelData(0);
    for (let i = 0; i < 1920; i += 1) {
      const edge = Math.min(1, Math.min(i, 1919 - i) / 480);
      samples[i] = 0.22 * (0.5 - 0.5 * Math.cos(Math.PI * edge)) * Math.sin(2 * Math.PI * plan.pitch * i / 48000);
    }
    const source = sound.createBufferSource();
    source.buffer = second;
    source.loop = true;
    source.connect(sound.destination);
    source.start(1);
  }
  const draw = () => {
    const at = sound.getOutputTimestamp().contextTime ?? sound.currentTime, {width, height} = canvas;
    paint.fillStyle = `rgb(${plan.rgb})`;
    paint.fillRect(0, 0, width, height);
    paint.fillStyle = "#fff";
    paint.font = `${Math.round(height / 6)}px sans-serif`;
    paint.fillText(String(show.pictures = (show.pictures ?? 0) + 1), width / 10, height / 3);
    if (at >= 1 && at % 1 < 0.05) paint.fillRect(0, 0.64 * height, width, 0.16 * height);
    requestAnimationFrame(draw);
  };
  draw();
};

const record = () => {
  window.realtimeKitRecordingSdk = true;
  let participants = 1, ended = false;
  window.realtimeKitRecording = {
    getParticipantCount: () => participants, isMeetingEnded: () => ended, isMeetingJoined: () => true,
  };
  window.triggerRealtimeKitRecording = true;
  const socket = new WebSocket("ws://localhost:8080/ws");
  socket.onopen = () => {
    if (plan.silent) return;
    socket.send(JSON.stringify({type: "StartRecording"}));
  };
  show.stop = () => {
    window.triggerRealtimeKitRecording = false;
    socket.close();
  };
  show.end = () => { ended = true; };
};

const later = (seconds, what) => setTimeout(what, 1000 * seconds);
const acts = {
  stop: () => show.stop(),
  end: () => show.end(),
  alert: () => { alert("hello"); confirm("sure?"); prompt("name?"); document.title = "went on"; },
  leak: () => {
    window.hoard = [];
    setInterval(() => { for (let i = 0; i < 4; i += 1) hoard.push(new Uint8Array(16 << 20).fill(hoard.length)); }, 50);
  },
  go: () => { location.href = plan.to; },
  fetch: async () => {
    for (const url of plan.urls) {
      let what = "refused";
      try {
        await fetch(url, {mode: "no-cors"});
        what = "answered";
      } catch {}
      show.said.push([url, what]);
    }
    document.title = JSON.stringify(show.said);
  },
};

addEventListener("load", () => {
  play();
  if (plan.listens) {
    const listening = setInterval(async () => {
      const word = await (await fetch(`/word?${plan.listens}`)).text();
      if (!acts[word]) return;
      clearInterval(listening);
      acts[word]();
    }, 250);
  }
  for (const [act, seconds] of Object.entries(plan.acts ?? {})) later(seconds, acts[act]);
  if (!plan.never) record();
});
