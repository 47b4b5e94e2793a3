// Runs in every frame of a recorded page before any script of its own. Gives the page the recorder's socket
// (ws://localhost:8080/ws, which is no port but this script), and keeps WebRTC away from private addresses.
// `tell` is the way to the recorder, `guarded` whether private addresses are refused; `tab.py` fills them in.
"use strict";
((tell, guarded) => {
  const {URL, WebSocket, EventTarget, Event, MessageEvent, Proxy, setTimeout, String, Number, JSON, parseInt} = window;
  const {apply, construct} = Reflect;
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

  if (window === window.top) {
    window.WebSocket = new Proxy(WebSocket, {
      __proto__: null,
      construct: (target, args, self) =>
        isRecorder(args[0]) ? new RecorderSocket(args[0]) : construct(target, args, self),
    });
    // A browser closes for a script only what a script has opened.
    window.close = () => tell(JSON.stringify({event: "ended"}));
  }

  // Nobody is there to answer that question, and without a script it waits for ever.
  if (window.MediaDevices)
    MediaDevices.prototype.getDisplayMedia = () => Promise.reject(new DOMException("Permission denied", "NotAllowedError"));

  const Peer = window.RTCPeerConnection;
  if (!guarded || !Peer) return;

  // From here on nothing may ask the page for help: whatever hangs on a prototype (methods, iterators, traps of a proxy,
  // setters) is the page's to change. So: primitives of before its scripts, objects without a prototype, no `[a] = list`,
  // no `...list`, no `split`; and what the page gives is read once, and passed on as it was read.
  const {exec} = RegExp.prototype, {toLowerCase} = String.prototype, {iterator} = Symbol;
  const match = (expression, text) => apply(exec, expression, [text]);

  // Only what is certainly an address of the public internet passes; a name is none.
  const FOUR = /^(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})$/;
  const SIX = /^([23][0-9a-f]{3}):([0-9a-f]{0,4}):[0-9a-f:]*$/i;
  const isPublic = (address) => {
    const four = match(FOUR, address);
    if (four) {
      const a = Number(four[1]), b = Number(four[2]), c = Number(four[3]);
      return b < 256 && c < 256 && !(a === 0 || a === 10 || a === 127 || a >= 224 || (a === 100 && b >= 64 && b < 128) ||
        (a === 169 && b === 254) || (a === 172 && b >= 16 && b < 32) || (a === 192 && b === 168) ||
        (a === 192 && b === 0 && (c === 0 || c === 2)) || (a === 198 && (b === 18 || b === 19)) ||
        (a === 198 && b === 51 && c === 100) || (a === 203 && b === 0 && c === 113));
    }
    const six = match(SIX, address);
    if (!six) return false;
    const first = apply(toLowerCase, six[1], []), second = parseInt(six[2] || "0", 16);
    return !(first === "2002" || first === "3fff" || (first === "2001" && (second < 0x200 || second === 0xdb8)));
  };

  // As RFC 8839 (5.1) writes it, with single spaces: what another reader could take apart otherwise does not pass.
  const CANDIDATE = /^(?:a=)?candidate:([!-~]+ \d+ [!-~]+ \d+) ([!-~]+) (\d+ typ [a-z]+(?: [!-~]+)*)$/;
  const checked = (line) => {
    const found = match(CANDIDATE, line);
    return found && isPublic(found[2]) ? `candidate:${found[1]} ${found[2]} ${found[3]}` : null;
  };
  const cleaned = (sdp) => {
    const lines = /[^\r\n]+/g;
    let clean = "";
    for (let found = match(lines, sdp); found; found = match(lines, sdp)) {
      const isCandidate = match(/^\s*a\s*=\s*candidate/i, found[0]), line = isCandidate ? checked(found[0]) : found[0];
      if (line !== null) clean += `${isCandidate ? "a=" : ""}${line}\r\n`;
    }
    return clean;
  };

  // A name is looked up by nobody but the proxy, which checks what it stands for; an address is checked here.
  const SERVER = /^(?:stun|turn)s?:(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::\d{1,5})?(?:\?transport=(?:udp|tcp))?$/i;
  const NAME = /^(?!0x)[a-z0-9._-]*[g-z][a-z0-9._-]*$/i;
  const isFine = (url) => {
    const found = match(SERVER, url);
    return !!found && (isPublic(found[1] || found[2]) || (!found[1] && !!match(NAME, found[2])));
  };
  const servers = (config) => {
    if (config === undefined || config === null) return config;
    const given = config.iceServers, items = {__proto__: null};
    let count = 0;
    if (given !== undefined)
      for (const one of given) {
        const {urls, username, credential} = one;
        const add = (url) => {
          if (isFine(url)) items[count++] = {__proto__: null, urls: url, username, credential};
        };
        if (typeof urls === "string") add(urls);
        else for (const url of urls ?? []) add(String(url));
      }
    const next = () => {
      let at = 0;
      return {__proto__: null, next: () => ({__proto__: null, done: at >= count, value: items[at++]})};
    };
    return {__proto__: null, ...config, iceServers: {__proto__: null, [iterator]: next}};
  };

  const {setRemoteDescription, addIceCandidate, setConfiguration} = Peer.prototype;
  // With callbacks it is another function than without.
  const call = (method, self, given, rest) => apply(method, self, rest.length ? [given, rest[0], rest[1]] : [given]);
  Peer.prototype.setRemoteDescription = function (description, ...rest) {
    if (description === undefined || description === null) return call(setRemoteDescription, this, description, rest);
    const {type, sdp} = description;
    const given = {__proto__: null, type, sdp: cleaned(sdp === undefined ? "" : String(sdp))};
    return call(setRemoteDescription, this, given, rest);
  };
  Peer.prototype.addIceCandidate = function (given, ...rest) {
    if (given === undefined || given === null) return call(addIceCandidate, this, given, rest);
    const {candidate, sdpMid, sdpMLineIndex, usernameFragment} = given;
    let line = candidate === undefined ? "" : String(candidate);
    if (line !== "" && (line = checked(line)) === null) return Promise.resolve();
    return call(addIceCandidate, this, {__proto__: null, candidate: line, sdpMid, sdpMLineIndex, usernameFragment}, rest);
  };
  Peer.prototype.setConfiguration = function (config) {
    return apply(setConfiguration, this, [servers(config)]);
  };
  const Guarded = new Proxy(Peer, {
    __proto__: null,
    construct: (target, args, self) => construct(target, [servers(args[0])], self),
  });
  Peer.prototype.constructor = Guarded;
  window.RTCPeerConnection = Guarded;
  if ("webkitRTCPeerConnection" in window) window.webkitRTCPeerConnection = Guarded;
})(window.tapedeckTell ?? (() => {}), GUARDED);
