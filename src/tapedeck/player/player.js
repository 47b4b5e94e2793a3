// Plays what lies beside this page (index.m3u8) with Media Source Extensions, while it is made and afterwards.
// Where a browser has none (iPhones), its own HLS player takes the same address.
"use strict";
(() => {
  const HOLD_S = 3.6; // from the end of a segment that was just listed: until the next one is, and half a second more
  const MOST_HOLD_S = 12;
  const HURRY = 1.1;
  const AHEAD_S = 30; // loaded ahead of what is seen
  const BEHIND_S = 60; // kept behind it
  const POLL_MS = 1000; // half a segment
  const SHORT_S = 0.3; // sound and pictures may end so far apart, and half as much more
  const RETRY_MS = 1000;
  const $ = (id) => document.getElementById(id);
  const video = $("video");
  const state = { segments: [], ended: false, offset: null, latency: null, edge: null, error: null };
  window.tapedeck = state; // for whoever measures

  const say = (text) => { $("said").textContent = text; };
  const wait = (ms) => new Promise((done) => setTimeout(done, ms));
  const event = (target, name) => new Promise((done) => target.addEventListener(name, done, { once: true }));

  // Playlists

  async function load(uri, kind, tag) {
    const answer = await fetch(uri, { cache: "no-store", headers: tag ? { "If-None-Match": tag } : {} });
    if (answer.status === 304) return { tag };
    if (!answer.ok) throw Object.assign(new Error(`${answer.status}`), { status: answer.status });
    return { body: await answer[kind](), tag: answer.headers.get("etag") };
  }

  function parse(text) {
    const segments = [];
    let start = 0, length = 0, init = null, at = null;
    for (const line of text.split("\n")) {
      const [, name, value] = /^#(EXT[^:]*):?(.*)$/.exec(line) || [];
      if (name === "EXTINF") length = parseFloat(value);
      else if (name === "EXT-X-MAP") init = /URI="([^"]*)"/.exec(value)[1];
      else if (name === "EXT-X-PROGRAM-DATE-TIME") at = Date.parse(value);
      else if (line && !line.startsWith("#")) {
        segments.push({ uri: line.trim(), start, length, init, at });
        start += length;
        at = at === null ? null : at + 1000 * length;
      }
    }
    return { segments, ended: /^#EXT-X-ENDLIST/m.test(text) };
  }

  // Boxes: where in the film a segment begins

  function* boxes(view, from, to) {
    for (let at = from; at + 8 <= to;) {
      const size = view.getUint32(at);
      if (size < 8) return;
      yield { kind: String.fromCharCode(...new Uint8Array(view.buffer, view.byteOffset + at + 4, 4)), at: at + 8, end: at + size };
      at += size;
    }
  }

  function find(view, path, from = 0, to = view.byteLength) {
    for (const box of boxes(view, from, to))
      if (box.kind === path[0]) return path.length === 1 ? box : find(view, path.slice(1), box.at, box.end);
    return null;
  }

  const scaleOf = (data) => {
    const view = new DataView(data);
    return view.getUint32(find(view, ["moov", "trak", "mdia", "mdhd"]).at + 12);
  };
  const timeOf = (data) => { // of the first sample: when it is decoded, and how much later it is shown
    const view = new DataView(data);
    const decoded = Number(view.getBigUint64(find(view, ["moof", "traf", "tfdt"]).at + 4));
    return decoded + view.getInt32(find(view, ["moof", "traf", "trun"]).at + 24);
  };

  // Media

  async function play() {
    const main = (await begin("index.m3u8")).body;
    const codecs = /CODECS="([^"]*)"/.exec(main)[1];
    const uri = main.split("\n").find((line) => line && !line.startsWith("#")).trim();
    const Source = window.ManagedMediaSource || window.MediaSource;
    const source = new Source();
    if (window.ManagedMediaSource) video.disableRemotePlayback = true;
    video.src = URL.createObjectURL(source);
    await event(source, "sourceopen");
    const buffer = source.addSourceBuffer(`video/mp4; codecs="${codecs}"`);
    const heads = new Map(); // by URI: the head, and its ticks per second
    const loaded = new Set();
    let tag = null, asked = 0, head = null;
    let hold = HOLD_S, follows = true, isOurs = false, isPlaced = false, hurries = 0, gone = 0;

    const settle = async (change) => { change(); if (buffer.updating) await event(buffer, "updateend"); };
    const length = () => { const last = state.segments.at(-1); return last ? last.start + last.length : 0; };
    const has = (time, margin = 0.05) => {
      for (let i = 0; i < buffer.buffered.length; i++)
        if (buffer.buffered.start(i) - 0.1 <= time && time < buffer.buffered.end(i) - margin) return true;
      return false;
    };
    // Of a last segment of a few pictures the sound may end before the first: what is before it tells whether the browser
    // kept it. Asked for what is in it, it would be loaded again for ever, and the film would have no end.
    const isThere = (one, now) => {
      if (!loaded.has(one.uri)) return false;
      if (one.length < SHORT_S) return has(Math.max(one.start - 0.2, 0), 0);
      return has(one.start + 0.1) || has(Math.max(one.start + 0.1, now));
    };
    const isWanted = (one, now) => // the last one also by who waits at its door, or there would be no end
      one.start < now + AHEAD_S && !isThere(one, now) && one.start + one.length > now + (loaded.has(one.uri) ? 0.2 : 0);

    async function reload() {
      if (state.ended || performance.now() - asked < POLL_MS) return;
      asked = performance.now();
      const found = await load(uri, "text", tag);
      const before = length();
      tag = found.tag;
      if (found.body !== undefined) Object.assign(state, parse(found.body));
      $("live").hidden = state.ended;
      if (state.ended) hurry(0);
      else if (before && length() > before) follow();
    }

    // At the edge: as near as the machines on the way allow. Whoever went back is left where they are.

    function seek(time) {
      isOurs = true;
      video.currentTime = Math.max(time, 0);
    }

    function hurry(seconds) {
      if (hurries || seconds > 0) video.playbackRate = seconds > 0 ? HURRY : 1;
      hurries = seconds > 0 ? performance.now() + 1000 * seconds : 0;
    }

    function follow() {
      const last = state.segments.at(-1);
      state.edge = last.at === null ? null : (Date.now() - last.at) / 1000 - last.length;
      if (!follows || !isPlaced) return;
      const late = length() - video.currentTime - hold;
      if (late > 4 || (late > 0.4 && !state.followed)) seek(length() - hold);
      else hurry(late > 0.2 ? late / (HURRY - 1) : 0);
      state.followed = true;
    }

    video.addEventListener("seeking", () => {
      if (!isOurs && isPlaced) { follows = false; hurry(0); }
      isOurs = false;
    });
    video.addEventListener("waiting", () => {
      if (follows && isPlaced && !video.seeking) { hold = Math.min(hold + 1, MOST_HOLD_S); hurry(0); }
    });

    async function append(segment) {
      if (segment.init !== head || !heads.has(segment.init)) {
        if (!heads.has(segment.init)) {
          const data = (await load(segment.init, "arrayBuffer")).body;
          heads.set(segment.init, { data, scale: scaleOf(data) });
        }
        await settle(() => buffer.appendBuffer(heads.get(segment.init).data));
        head = segment.init;
      }
      const data = (await load(segment.uri, "arrayBuffer")).body;
      if (state.offset === null) {
        // A link may show a part of a film: its first segment is our zero.
        state.offset = timeOf(data) / heads.get(segment.init).scale - segment.start;
        buffer.timestampOffset = -state.offset;
      }
      await settle(() => buffer.appendBuffer(data));
      loaded.add(segment.uri);
      const next = state.segments[state.segments.indexOf(segment) + 1];
      if (next && next.length < SHORT_S) loaded.delete(next.uri);
    }

    async function forget() {
      const until = video.currentTime - BEHIND_S;
      if (!buffer.buffered.length || buffer.buffered.start(0) >= until - 10) return;
      await settle(() => buffer.remove(0, until));
      for (const one of state.segments) if (one.start < until) loaded.delete(one.uri);
    }

    $("live").onclick = () => { follows = true; seek(length() - hold); video.play(); };
    $("start").onclick = () => { follows = false; hurry(0); seek(0); video.play(); };
    for (;;) {
      try {
        await reload();
        if (!isPlaced && state.segments.length) {
          const wanted = /^#t=([0-9.]+)$/.exec(location.hash);
          follows = !wanted && !state.ended;
          source.duration = length();
          seek(wanted ? parseFloat(wanted[1]) : state.ended ? 0 : length() - hold);
          isPlaced = true;
          video.play().catch(() => {}); // not without a click, says the browser
        }
        if (source.readyState === "open" && !buffer.updating && length() > source.duration) source.duration = length();
        if (hurries && performance.now() > hurries) hurry(0);
        const now = video.currentTime;
        const next = state.segments.find((one) => isWanted(one, now));
        if (next)
          await append(next).catch((error) => {
            if (error.status !== 404) throw error;
            asked = 0; // the stream has become a film meanwhile, or is gone: its playlist says which
            throw new Error("a segment is gone");
          });
        else {
          await forget();
          const last = state.segments.at(-1);
          if (state.ended && last && loaded.has(last.uri) && source.readyState === "open") source.endOfStream();
          await wait(100);
        }
        // A hole (a part of the film that could not be kept): go on behind it.
        if (!video.paused && !has(now)) {
          for (let i = 0; i < buffer.buffered.length; i++) {
            const at = buffer.buffered.start(i);
            if (at > now && at - now < 4) { isOurs = true; video.currentTime = at + 0.01; break; }
          }
        }
        state.error = null;
        gone = 0;
      } catch (error) {
        // A film that is on its way from one place to another may not be found for a moment.
        if (error.status === 403 || (error.status === 404 && ++gone > 3)) throw error;
        state.error = String(error);
        await wait(RETRY_MS);
      }
      show(length());
    }
  }

  function show(length) {
    const now = video.currentTime;
    const segment = state.segments.find((one) => one.start <= now && now < one.start + one.length);
    state.latency = segment && segment.at !== null ? (Date.now() - segment.at) / 1000 - (now - segment.start) : null;
    const isLive = !state.ended && length - now < MOST_HOLD_S;
    const isDry = isLive && !video.paused && video.readyState < video.HAVE_FUTURE_DATA; // it is paused, or behind
    $("live").classList.toggle("on", isLive && !isDry);
    say(state.error ? "The server cannot be reached; trying again" : isDry ? "Waiting for more" : isLive ? "Live" : state.ended ? "Recorded" : "Behind live");
  }

  async function begin(uri) {
    for (;;) {
      try {
        return await load(uri, "text");
      } catch (error) {
        if (error.status === 403 || error.status === 404) throw error;
        say("It has not begun yet");
        await wait(RETRY_MS);
      }
    }
  }

  if (window.MediaSource || window.ManagedMediaSource)
    play().catch((error) => {
      state.error = String(error);
      $("start").hidden = $("live").hidden = true;
      say(error.status === 403 ? "This link has expired, or is not complete." : error.status === 404 ? "There is nothing to play any more." : `It cannot be played: ${error.message}`);
    });
  else {
    video.src = "index.m3u8";
    say("");
  }
})();
