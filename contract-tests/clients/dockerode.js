// SPDX-License-Identifier: Apache-2.0
// What a program written with dockerode does to an engine: prints facts that must be the same on every engine.
'use strict';
const Docker = require('dockerode');
const { PassThrough, Writable } = require('stream');
const { once } = require('events');

const docker = new Docker({ socketPath: process.env.DOCKER_HOST.replace('unix://', '') });
const NAME = 'clients-js';
const say = (what, value) => console.log(`${what}: ${JSON.stringify(value)}`);

async function refused(what, promise) {
    try {
        await promise;
        say(what, 'done');
    } catch (e) {
        say(what, [e.statusCode, e.reason || null, e.json]);
    }
}

function sink() {
    const chunks = [];
    const stream = new Writable({ write(chunk, _, done) { chunks.push(chunk); done(); } });
    return { stream, text: () => Buffer.concat(chunks).toString() };
}

async function sweep() {
    for (const c of await docker.listContainers({ all: true, filters: { name: [NAME] } })) await docker.getContainer(c.Id).remove({ force: true, v: true });
    for (const n of await docker.listNetworks({ filters: { name: [NAME] } })) await docker.getNetwork(n.Id).remove();
    for (const v of (await docker.listVolumes({ filters: { name: [NAME] } })).Volumes || []) await docker.getVolume(v.Name).remove({ force: true });
}

async function run() {
    const out = sink(), err = sink();
    const [data] = await docker.run('busybox', ['sh', '-c', 'echo out; echo err >&2; exit 2'], [out.stream, err.stream], { Tty: false });
    say('run', [data, out.text(), err.text()]);
    const tty = sink();
    await docker.run('busybox', ['sh', '-c', 'tty; stty size'], tty.stream, { Tty: true });
    say('run on a terminal', tty.text().includes('/dev/pts/0'));
    for (const c of await docker.listContainers({ all: true, filters: { ancestor: ['busybox'] } })) await docker.getContainer(c.Id).remove({ force: true });
    await refused('no image', docker.createContainer({ Image: 'nosuch:image' }));
    await refused('bad name', docker.createContainer({ Image: 'busybox', name: '/no/good' }));
}

async function life() {
    const c = await docker.createContainer({
        Image: 'busybox', name: NAME, Cmd: ['sh', '-c', 'while read x; do echo "got $x"; done; echo end'], OpenStdin: true, StdinOnce: true, AttachStdin: true,
        AttachStdout: true, AttachStderr: true, Labels: { kind: 'test' }, HostConfig: { Binds: [`${NAME}:/v`], Memory: 64 << 20, StorageOpt: undefined },
    });
    const attached = await c.attach({ stream: true, stdin: true, stdout: true, stderr: true, hijack: true });
    const out = sink();
    c.modem.demuxStream(attached, out.stream, out.stream);
    const ended = once(attached, 'end');
    await c.start();
    attached.write('one\n');
    attached.write('two\n');
    attached.end();
    say('wait', await c.wait());
    await ended;
    say('attached', out.text());
    say('logs', (await c.logs({ stdout: true, stderr: true })).toString().replace(/[\x00-\x1f]/g, ' '));
    await refused('start again', c.start());
    await c.kill();
    await c.wait();
    const info = await c.inspect();
    say('inspect', [info.Name, info.State.Status, info.State.ExitCode, info.HostConfig.Memory, info.Mounts.map((m) => [m.Type, m.Destination])]);
    await refused('kill the stopped', c.kill());
    await c.remove({ v: true });
    await refused('gone', c.inspect());
}

async function exec() {
    const c = await docker.createContainer({ Image: 'busybox', name: NAME, Cmd: ['sleep', '1000'], StopSignal: 'SIGKILL' });
    await c.start();
    await refused('start twice', c.start());
    const e = await c.exec({ Cmd: ['sh', '-c', 'cat; echo $V; echo err >&2; exit 9'], AttachStdin: true, AttachStdout: true, AttachStderr: true, Env: ['V=value'] });
    const stream = await e.start({ hijack: true, stdin: true });
    const out = sink(), err = sink();
    docker.modem.demuxStream(stream, out.stream, err.stream);
    const ended = once(stream, 'end');
    stream.end('through\n');
    await ended;
    const done = await e.inspect();
    say('exec', [out.text(), err.text(), done.ExitCode, done.Running, done.ProcessConfig]);
    const archive = await c.getArchive({ path: '/etc/passwd' });
    let size = 0;
    for await (const chunk of archive) size += chunk.length;
    say('archive', size % 512);
    await c.resize({ h: 10, w: 20 });
    const stats = await c.stats({ stream: false, 'one-shot': true });
    say('stats', [stats.name, Object.keys(stats).sort()]);
    const top = await c.top({ ps_args: '-o pid,comm' });
    say('top', [top.Titles, top.Processes.map((p) => p[1])]);
    await c.update({ Memory: 128 << 20, MemorySwap: 256 << 20 });
    say('updated', (await c.inspect()).HostConfig.Memory);
    await c.pause();
    await c.unpause();
    const follow = await docker.getEvents({ filters: { container: [NAME] } });
    const seen = [];
    const destroyed = new Promise((resolve) => {
        let rest = '';
        follow.on('data', (chunk) => {
            rest += chunk;
            const lines = rest.split('\n');
            rest = lines.pop();
            for (const line of lines.filter(Boolean)) {
                const event = JSON.parse(line);
                seen.push(event.Action);
                if (event.Action === 'destroy') resolve();
            }
        });
    });
    await c.stop({ t: 5 });
    await c.start();
    await c.remove({ force: true });
    await destroyed;
    follow.destroy();
    say('events', seen);
}

async function things() {
    const network = await docker.createNetwork({ Name: NAME, Driver: 'bridge', IPAM: { Config: [{ Subnet: '10.121.3.0/24' }] }, CheckDuplicate: true });
    await refused('same network', docker.createNetwork({ Name: NAME }));
    const c = await docker.createContainer({ Image: 'busybox', name: NAME, Cmd: ['sleep', '1000'], NetworkingConfig: { EndpointsConfig: { [NAME]: { Aliases: ['x'], IPAMConfig: { IPv4Address: '10.121.3.44' } } } }, HostConfig: { NetworkMode: NAME } });
    await c.start();
    const info = await c.inspect();
    say('address', [info.NetworkSettings.Networks[NAME].IPAddress, info.NetworkSettings.Networks[NAME].Aliases]);
    say('members', Object.values((await network.inspect()).Containers).map((m) => [m.Name, m.IPv4Address]));
    await network.disconnect({ Container: NAME });
    await network.connect({ Container: NAME, EndpointConfig: { Aliases: ['y'] } });
    await refused('busy', network.remove());
    await c.remove({ force: true });
    await network.remove();
    const volume = await docker.createVolume({ Name: NAME, Labels: { a: 'b' } });
    say('volume', [volume.name, (await docker.getVolume(NAME).inspect()).Labels]);
    await docker.getVolume(NAME).remove();
    await refused('no volume', docker.getVolume(NAME).inspect());
    const image = await docker.getImage('busybox').inspect();
    say('image', [image.RepoTags, image.Config.Cmd, image.Os]);
    say('history', (await docker.getImage('busybox').history()).length > 0);
    await refused('no such image', docker.getImage('nosuch').inspect());
    const pull = await docker.pull('busybox:latest').catch((e) => e);
    say('pull', await new Promise((resolve) => (pull instanceof Error ? resolve(pull.statusCode) : docker.modem.followProgress(pull, (e, all) => resolve(e ? e.message : all.at(-1).status)))));
    say('df', Object.keys(await docker.df()).sort());
    say('prune', await docker.pruneContainers({ filters: { label: ['no-such-label'] } }));
}

(async () => {
    await sweep();
    say('ping', (await docker.ping()).toString());
    say('version', (await docker.version()).ApiVersion);
    for (const part of [run, life, exec, things]) await part();
    await sweep();
})().catch((e) => { console.log('failed:', e.stack); }).finally(() => process.exit());
