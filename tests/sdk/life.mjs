// The whole life of a recording through the official TypeScript SDK, as an application's backend would drive it.
// Arguments: base URL, token, account, app, meeting. Prints one line of JSON: what was seen.
import { createHash } from 'node:crypto';
import { setTimeout as wait } from 'node:timers/promises';
import Cloudflare from 'cloudflare';

const [baseURL, apiToken, account_id, app_id, meeting_id] = process.argv.slice(2);
let requests = 0;
const client = new Cloudflare({
  baseURL,
  apiToken,
  apiEmail: null,
  apiKey: null,
  fetch: (...args) => ((requests += 1), fetch(...args)),
});
const { recordings, meetings, webhooks } = client.realtimeKit;
const ids = { account_id, app_id };
const seen = [];

async function until(id, status) {
  for (;;) {
    const { data } = await recordings.getOneRecording(id, ids).then((r) => ({ data: r.data }));
    if (seen.at(-1) !== data.status) seen.push(data.status);
    if (data.status === status) return data;
    if (['UPLOADED', 'ERRORED'].includes(data.status)) throw new Error(`${data.status}, not ${status}`);
    await wait(50);
  }
}

const act = (id, action) => recordings.pauseResumeStopRecording(id, { ...ids, action });

const started = await recordings.startRecordings(app_id, { account_id, meeting_id, file_name_prefix: 'typescript' });
const { id } = started.data;
seen.push(started.data.status);
await until(id, 'RECORDING');

const before = requests;
const conflict = await recordings.startRecordings(app_id, { account_id, meeting_id }).catch((error) => error);
const asked = requests - before;

const active = await recordings.getActiveRecordings(meeting_id, ids);
await wait(1000);
seen.push((await act(id, 'pause')).data.status);
await wait(300);
seen.push((await act(id, 'resume')).data.status);
await wait(1000);
const stopped = await act(id, 'stop');
const uploaded = await until(id, 'UPLOADED');

const listed = await recordings.getRecordings(app_id, { account_id, meeting_id, status: ['UPLOADED'], per_page: 5 });
const film = Buffer.from(await (await fetch(uploaded.download_url)).arrayBuffer());
const missing = await recordings
  .getOneRecording('00000000-0000-4000-8000-000000000000', ids)
  .catch((error) => error);

const hook = await webhooks.createWebhook(app_id, {
  account_id,
  name: 'ops',
  url: 'https://example.org/hook',
  events: ['recording.statusUpdate'],
});
const hooks = await webhooks.getWebhooks(app_id, { account_id });
await webhooks.deleteWebhook(hook.data.id, ids);
const meeting = await meetings.getMeetingByID(meeting_id, ids);

console.log(
  JSON.stringify({
    id,
    seen,
    conflict: [conflict instanceof Cloudflare.ConflictError, conflict.errors?.[0]?.code, asked],
    active: active.data.id,
    reason: stopped.data.stop_reason.caller.type,
    duration: uploaded.recording_duration,
    size: [uploaded.file_size, film.length],
    sha256: createHash('sha256').update(film).digest('hex'),
    name: uploaded.output_file_name,
    listed: [listed.data.map((one) => one.id), listed.paging],
    missing: [missing instanceof Cloudflare.NotFoundError, missing.status],
    hooks: hooks.data.map((one) => one.name),
    title: meeting.data.title,
  }),
);
