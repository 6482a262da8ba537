#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Logs: nothing lost, in order.
load helpers

setup_file() {
    need_image busybox
}

@test "logs -f of 100,000 lines: nothing lost, right order, ends with the container" {
    docker run -d --name "$N" busybox seq 1 100000
    timeout 120 "$CLI" -H "$ENGINE_HOST" logs -f "$N" >"$BATS_TEST_TMPDIR/followed"
    seq 1 100000 | cmp - "$BATS_TEST_TMPDIR/followed"
    timeout 60 "$CLI" -H "$ENGINE_HOST" logs "$N" | cmp - "$BATS_TEST_TMPDIR/followed"
}

@test "run in the foreground shows 100,000 lines, all of them in order" {
    timeout 120 "$CLI" -H "$ENGINE_HOST" run --rm --name "$N" busybox seq 1 100000 >"$BATS_TEST_TMPDIR/out"
    seq 1 100000 | cmp - "$BATS_TEST_TMPDIR/out"
}

@test "logs -f begun late shows the past and what is written from then on, each line once" {
    docker run -d --name "$N" busybox sh -c 'seq 1 1000; sleep 2; seq 1001 2000'
    poll 10 eval "[ \"\$(docker logs $N | wc -l)\" -ge 1000 ]"
    timeout 60 "$CLI" -H "$ENGINE_HOST" logs -f "$N" >"$BATS_TEST_TMPDIR/followed"
    seq 1 2000 | cmp - "$BATS_TEST_TMPDIR/followed"
}

@test "logs --tail, --timestamps, both streams apart" {
    docker run --name "$N" busybox sh -c 'echo one; echo two >&2; echo three'
    same three "$(docker logs --tail 1 "$N" 2>/dev/null)"
    same two "$(docker logs "$N" 2>&1 >/dev/null)"
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
    same 4 "$(timeout 60 "$CLI" -H "$ENGINE_HOST" wait "$N")"
    kill "$(pgrep -P $$ -x sleep)" 2>/dev/null || true
}
