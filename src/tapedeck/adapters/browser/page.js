// Runs in every frame of a recorded page before any script of its own. Gives the page the recorder's socket
// (ws://localhost:8080/ws, which is no port but this script), and keeps WebRTC away from private addresses.
// `tell` is the way to the recorder, `guarded` whether private addresses are refused; `tab.py` fills them in.
"use strict";
((tell, guarded) => {
  const {URL, WebSocket, EventTarget, Event, MessageEvent, Reflect, Proxy, setTimeout, String, JSON} = window;
  delete window.tapedeckTell;

  const isRecorder = (url) => {
    try {
      const {protocol, hostname, port, pathname} = new URL(url, window.location.href);
      return protocol === "ws:" && hostname === "localhost" && port === "8080" && pathname === "/ws";
    } catch {
      return false;
    }
  };

  class RecorderSocket extends EventTarget {
    constructor(url) {
      super();
      Object.assign(this, {url: String(url), readyState: 0, bufferedAmount: 0, extensions: "", protocol: "",
        binaryType: "blob", onopen: null, onmessage: null, onerror: null, onclose: null});
      setTimeout(() => {
        if (this.readyState !== 0) return;
        this.readyState = 1;
        tell(JSON.stringify({event: "connected"}));
        this.#fire(new Event("open"));
      });
    }

    #fire(event) {
      this.dispatchEvent(event);
      this[`on${event.type}`]?.call(this, event);
    }

    send(data) {
      if (this.readyState === 0) throw new DOMException("Still in CONNECTING state.", "InvalidStateError");
      if (this.readyState !== 1) return;
      if (typeof data === "string") tell(JSON.stringify({event: "said", text: data.slice(0, 65536)}));
    }

    close(code = 1000, reason = "") {
      if (this.readyState > 1) return;
      this.readyState = 2;
      setTimeout(() => {
        this.readyState = 3;
        tell(JSON.stringify({event: "closed"}));
        this.#fire(new CloseEvent("close", {code, reason, wasClean: true}));
      });
    }
  }
  for (const [index, name] of ["CONNECTING", "OPEN", "CLOSING", "CLOSED"].entries())
    RecorderSocket[name] = RecorderSocket.prototype[name] = index;

  if (window === window.top)
    window.WebSocket = new Proxy(WebSocket, {
      construct: (target, args, self) =>
        isRecorder(args[0]) ? new RecorderSocket(args[0]) : Reflect.construct(target, args, self),
    });

  const Peer = window.RTCPeerConnection;
  if (!guarded || !Peer) return;

  // Only what is certainly an address of the public internet passes; a name is none.
  const isPublic = (address) => {
    const four = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(address);
    if (four) {
      const [a, b, c] = four.slice(1).map(Number);
      return !(a === 0 || a === 10 || a === 127 || a >= 224 || (a === 100 && b >= 64 && b < 128) ||
        (a === 169 && b === 254) || (a === 172 && b >= 16 && b < 32) || (a === 192 && b === 168) ||
        (a === 192 && b === 0 && (c === 0 || c === 2)) || (a === 198 && (b === 18 || b === 19)) ||
        (a === 198 && b === 51 && c === 100) || (a === 203 && b === 0 && c === 113));
    }
    const six = /^([23][0-9a-f]{3}):([0-9a-f]*):/i.exec(address);
    if (!six) return false;
    const first = six[1].toLowerCase(), second = parseInt(six[2] || "0", 16);
    return !(first === "2002" || first === "3fff" || (first === "2001" && (second < 0x200 || second === 0xdb8)));
  };
  const passes = (candidate) => candidate === "" || isPublic(candidate.trim().split(/\s+/)[4] ?? "");
  const cleaned = (sdp) =>
    sdp.split(/\r\n|\n/).filter((line) => !line.startsWith("a=candidate:") || passes(line.slice(2))).join("\r\n");
  const servers = (config) => {
    if (!config || !config.iceServers) return config;
    const host = (url) => /^(?:stun|turn)s?:(?:\[([^\]]+)\]|([^:?]+))/i.exec(url)?.slice(1).find(Boolean) ?? "";
    // A name is looked up by nobody but the proxy, which checks what it stands for; an address is checked here.
    const isFine = (url) => /[g-z]/i.test(host(url)) || isPublic(host(url));
    return {...config, iceServers: [...config.iceServers].map((one) => ({...one,
      urls: [].concat(one.urls ?? []).map(String).filter(isFine)})).filter((one) => one.urls.length)};
  };
  const {setRemoteDescription, addIceCandidate, setConfiguration} = Peer.prototype;
  Peer.prototype.setRemoteDescription = function (description, ...rest) {
    const given = description && {type: description.type, sdp: cleaned(String(description.sdp ?? ""))};
    return setRemoteDescription.call(this, given, ...rest);
  };
  Peer.prototype.addIceCandidate = function (candidate, ...rest) {
    const line = candidate && candidate.candidate;
    if (line && !passes(String(line).replace(/^a=/, ""))) return Promise.resolve();
    const given = candidate && {candidate: line === undefined ? undefined : String(line), sdpMid: candidate.sdpMid,
      sdpMLineIndex: candidate.sdpMLineIndex, usernameFragment: candidate.usernameFragment};
    return addIceCandidate.call(this, given, ...rest);
  };
  Peer.prototype.setConfiguration = function (config) {
    return setConfiguration.call(this, servers(config));
  };
  const Guarded = new Proxy(Peer, {
    construct: (target, [config, ...rest], self) => Reflect.construct(target, [servers(config), ...rest], self),
  });
  Peer.prototype.constructor = Guarded;
  window.RTCPeerConnection = Guarded;
  if ("webkitRTCPeerConnection" in window) window.webkitRTCPeerConnection = Guarded;
})(window.tapedeckTell ?? (() => {}), GUARDED);
