// SPDX-License-Identifier: Apache-2.0
// What a test suite written with testcontainers does to an engine: prints facts that must be the same on every engine.
'use strict';
const { GenericContainer, Network, Wait } = require('testcontainers');
const http = require('http');

const say = (what, value) => console.log(`${what}: ${JSON.stringify(value)}`);

function get(host, port, path) {
    return new Promise((resolve, reject) => http.get({ host, port, path }, (res) => {
        let text = '';
        res.on('data', (d) => { text += d; }).on('end', () => resolve([res.statusCode, text]));
    }).on('error', reject));
}

const SERVER = ['sh', '-c', 'mkdir -p /www && echo served >/www/index.html && echo "server is ready" && exec httpd -f -p 8080 -h /www'];

(async () => {
    const network = await new Network().start();
    const server = await new GenericContainer('busybox').withCommand(SERVER).withExposedPorts(8080).withNetwork(network).withNetworkAliases('server')
        .withEnvironment({ FROM: 'testcontainers' }).withLabels({ role: 'server' }).withTmpFs({ '/tmpfs': 'rw,size=65536k' })
        .withWaitStrategy(Wait.forAll([Wait.forLogMessage('server is ready'), Wait.forListeningPorts(), Wait.forHttp('/', 8080)]))
        .withCopyContentToContainer([{ content: 'copied before the start\n', target: '/copied/file', mode: 0o640 }]).start();
    say('http', await get(server.getHost(), server.getMappedPort(8080), '/'));
    say('exec', await server.exec(['sh', '-c', 'echo $FROM; cat /copied/file; stat -c %a /copied/file; grep -c tmpfs /proc/mounts >/dev/null; exit 6']));
    say('names', [(await server.getNetworkNames()).length, server.getName().length > 0]);
    await server.copyContentToContainer([{ content: 'later\n', target: '/www/later' }]);
    say('later', await get(server.getHost(), server.getMappedPort(8080), '/later'));
    const archive = await server.copyArchiveFromContainer('/www/later');
    let bytes = 0;
    for await (const chunk of archive) bytes += chunk.length;
    say('archive', bytes % 512);

    const client = await new GenericContainer('busybox').withNetwork(network).withCommand(['sh', '-c', 'wget -q -O - http://server:8080/ && sleep 1000'])
        .withHealthCheck({ test: ['CMD-SHELL', 'true'], interval: 300, timeout: 5000, retries: 100, startPeriod: 0 })
        .withWaitStrategy(Wait.forAll([Wait.forLogMessage('served'), Wait.forHealthCheck()])).start();
    say('client', true);
    await client.restart({ timeout: 0 });
    say('restarted', (await client.exec('hostname')).exitCode);

    const once = await new GenericContainer('busybox').withCommand(['sh', '-c', 'echo done; exit 0']).withWaitStrategy(Wait.forOneShotStartup()).start();
    await once.stop();
    try {
        await new GenericContainer('busybox').withCommand(['sh', '-c', 'echo failing >&2; exit 3']).withWaitStrategy(Wait.forOneShotStartup()).start();
    } catch (e) {
        say('one shot that fails', e.message.replace(/[0-9a-f]{64}/g, '<id>'));
    }
    try {
        await new GenericContainer('busybox').withCommand(['/no/such']).start();
    } catch (e) {
        say('no such program', [e.statusCode, e.json && e.json.message]);
    }
    await client.stop();
    await server.stop({ remove: true, removeVolumes: true });
    await network.stop();
    say('end', true);
})().catch((e) => { console.log('failed:', e.stack); }).finally(() => process.exit());
