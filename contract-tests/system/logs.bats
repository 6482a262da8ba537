#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Logs: nothing lost, in order.
load helpers

setup_file() {
    need_image busybox
}

@test "logs -f of 100,000 lines: nothing lost, right order, ends with the container" {
    docker run -d --name "$N" busybox seq 1 100000
    timeout 300 "$CLI" -H "$ENGINE_HOST" logs -f "$N" >"$BATS_TEST_TMPDIR/followed"
    seq 1 100000 | cmp - "$BATS_TEST_TMPDIR/followed"
    timeout 300 "$CLI" -H "$ENGINE_HOST" logs "$N" | cmp - "$BATS_TEST_TMPDIR/followed"
}

@test "run in the foreground shows 100,000 lines, all of them in order" {
    timeout 300 "$CLI" -H "$ENGINE_HOST" run --rm --name "$N" busybox seq 1 100000 >"$BATS_TEST_TMPDIR/out"
    seq 1 100000 | cmp - "$BATS_TEST_TMPDIR/out"
}

@test "logs -f begun late shows the past and what is written from then on, each line once" {
    docker run -d --name "$N" busybox sh -c 'seq 1 1000; while [ ! -e /go ]; do usleep 50000; done; seq 1001 2000'
    poll eval "[ \"\$(docker logs $N | wc -l)\" -ge 1000 ]"
    timeout 300 "$CLI" -H "$ENGINE_HOST" logs -f "$N" >"$BATS_TEST_TMPDIR/followed" &
    local job=$!
    poll grep -qx 1000 "$BATS_TEST_TMPDIR/followed"
    docker exec "$N" touch /go
    job_ends 0 "$job"
    seq 1 2000 | cmp - "$BATS_TEST_TMPDIR/followed"
}

@test "cache-max-size and cache-max-file bound the copy that a driver that sends keeps for logs: the newest lines, without a gap" {
    local kept=$BATS_TEST_TMPDIR/kept lines
    only_ours "it takes both and heeds neither"
    docker run --name "$N" --log-driver syslog --log-opt syslog-address=udp://127.0.0.1:9 --log-opt cache-max-size=10k --log-opt cache-max-file=2 \
        busybox seq 1 20000 >/dev/null
    docker logs "$N" >"$kept"
    lines=$(wc -l <"$kept")
    [ "$lines" -gt 0 ] && [ "$lines" -lt 20000 ] || fail "$lines lines were kept"
    seq 1 20000 | tail -n "$lines" | cmp - "$kept"
}

@test "logs -f --tail 0 misses nothing written after its answer began" {
    local i
    only_ours "there a follower may come to its place after its answer began"
    docker run -di --name "$N" busybox sh -c 'echo before; while read -r x; do echo "$x"; done'
    poll eval "docker logs $N | grep -q before"
    for i in 1 2 3 4 5; do
        curl -sS -N -D "$BATS_TEST_TMPDIR/head-$i" --max-time 120 --unix-socket "${ENGINE_HOST#unix://}" \
            "http://engine/v1.45/containers/$N/logs?stdout=1&follow=1&tail=0" >"$BATS_TEST_TMPDIR/followed" &
        local job=$!
        poll grep -q '200 OK' "$BATS_TEST_TMPDIR/head-$i"
        echo "round $i" | "$CLI" -H "$ENGINE_HOST" attach --sig-proxy=false "$N" >/dev/null & # ends with the container only
        poll grep -aq "round $i" "$BATS_TEST_TMPDIR/followed"
        kill "$job"
        run ! grep -aq before "$BATS_TEST_TMPDIR/followed"
    done
}

@test "logs --tail, --timestamps, both streams apart" {
    # What is written to two pipes has no order in the log: order is asked of one of them.
    docker run --name "$N-both" busybox sh -c 'echo one; echo two >&2'
    same one "$(docker logs "$N-both" 2>/dev/null)"
    same two "$(docker logs "$N-both" 2>&1 >/dev/null)"
    docker run --name "$N" busybox sh -c 'echo one; echo two; echo three'
    same three "$(docker logs --tail 1 "$N")"
    [[ $(docker logs -t --tail 1 "$N") =~ ^20[0-9-]+T[0-9:.]+Z\ three$ ]]
}

@test "a line without an end and a line of 100,000 bytes come back as they were" {
    docker run --name "$N" busybox sh -c 'head -c 100000 /dev/zero | tr "\0" x; echo; printf tail' >/dev/null
    docker logs "$N" >"$BATS_TEST_TMPDIR/out"
    { head -c 100000 /dev/zero | tr '\0' x; echo; printf tail; } | cmp - "$BATS_TEST_TMPDIR/out"
}

@test "logs of a client that does not read do not stop the container" {
    docker run -d --name "$N" busybox sh -c 'seq 1 200000; exit 4'
    "$CLI" -H "$ENGINE_HOST" logs -f "$N" | { read -r _; exec sleep 1000; } &
    same 4 "$(timeout 300 "$CLI" -H "$ENGINE_HOST" wait "$N")"
    kill "$(pgrep -P $$ -x sleep)" 2>/dev/null || true
}

@test "messages that a log driver loses are told in the daemon's log, with their number" {
    only_ours "it says so in its own words, once for each"
    docker run --name "$N" --log-driver fluentd --log-opt fluentd-address=127.0.0.1:1 --log-opt fluentd-async=true --log-opt fluentd-buffer-limit=4 busybox seq 10
    poll grep -aq "log driver fluentd could not keep .* 10 in all.*$(docker inspect -f '{{.Id}}' "$N" | cut -c 1-64)" "$ENGINE_LOG"
}

# Whoever vouches for the receiver may have changed meanwhile, too: the files are read for each connection.
@test "a receiver over TLS that comes back is sent what was written meanwhile, and no process of the connection stays" {
    local collect=("$TOP/diffharness/tools/collect" "$BATS_TEST_TMPDIR/collected") net=(ip netns exec "$ENGINE_NETNS")
    only_ours "its end of a connection that the receiver has closed takes a line and loses it"
    "${net[@]}" "${collect[@]}" tls "$ENGINE_SHARE/logtls"
    docker run -di --name "$N" --log-driver syslog --log-opt syslog-address=tcp+tls://localhost:6514 \
        --log-opt "syslog-tls-ca-cert=$SHARE_INSIDE/logtls/ca.pem" busybox sh -c 'echo one; while read -r x; do echo "$x"; done'
    poll eval "${net[*]} ${collect[*]} show | grep -q one"
    "${net[@]}" "${collect[@]}" stop
    echo two | "$CLI" -H "$ENGINE_HOST" attach --sig-proxy=false "$N" >/dev/null &
    poll eval "docker logs $N | grep -q two"
    "${net[@]}" "${collect[@]}" tls "$ENGINE_SHARE/logtls"
    poll eval "${net[*]} ${collect[*]} show | grep -q two"
    docker rm -f "$N"
    "${net[@]}" "${collect[@]}" stop
    rm -rf "${ENGINE_SHARE:?}/logtls"
    poll eval "! pgrep -f 'hatake-logtls .* 6514 localhost'"
}

@test "fluentd-async over TLS with nobody there: the container runs, and so does the engine" {
    only_ours "its process ends with a panic"
    docker run --name "$N" --log-driver fluentd --log-opt fluentd-address=tls://127.0.0.1:1 --log-opt fluentd-async=true busybox echo there
    [ "$(docker logs "$N")" = there ]
    docker version >/dev/null
}
