#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Attach by websocket: the same on this engine and on the reference.
# shellcheck disable=SC2153
load helpers

setup_file() {
    need_image busybox
}

client() { timeout 90 "$BATS_TEST_DIRNAME/ws-client" "${ENGINE_HOST#unix://}" "$@"; }

@test "in and out, fragments and pings; the client's close ends the input, the container's end closes with 1000" {
    docker create -i --name "$N" busybox sh -c 'while read -r x; do echo "got $x"; done; echo end' >/dev/null
    docker start "$N"
    printf 'one\ntwo\n' | client "/v1.45/containers/$N/attach/ws?stream=1&stdin=1&stdout=1&stderr=1" >"$BATS_TEST_TMPDIR/out"
    same $'got one\ngot two\nend\n[binary; pongs 2; 1000]' "$(cat "$BATS_TEST_TMPDIR/out")"
}

@test "a million bytes come whole; old versions of the API get text frames" {
    docker run --name "$N" busybox seq 1 150000 >/dev/null
    client "/v1.45/containers/$N/attach/ws?logs=1&stdout=1" </dev/null >"$BATS_TEST_TMPDIR/out"
    { seq 1 150000; echo '[binary; pongs 0; 1000]'; } | cmp - "$BATS_TEST_TMPDIR/out"
    client "/v1.24/containers/$N/attach/ws?logs=1&stdout=1" </dev/null | tail -n 1 >"$BATS_TEST_TMPDIR/out"
    same '[text; pongs 0; 1000]' "$(cat "$BATS_TEST_TMPDIR/out")"
}

@test "what is no websocket is refused in the words of the reference" {
    docker create --name "$N" busybox true >/dev/null
    request GET "/v1.45/containers/$N/attach/ws?stream=1&stdout=1"
    same '400 not websocket protocol' "$STATUS $BODY"
    request GET "/v1.45/containers/$N/attach/ws?stream=1&stdout=1" '' 'Upgrade: websocket' 'Connection: Upgrade' 'Sec-WebSocket-Version: 8' \
        'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=='
    same '400 missing or bad WebSocket Version' "$STATUS $BODY"
    run -1 client "/v1.45/containers/nosuch-$N/attach/ws?stream=1" </dev/null
    contains "$output" "status 404"
    run -1 client "/v1.45/containers/$N/attach/ws?stream=1&detachKeys=bad-keys" </dev/null
    contains "$output" "Invalid detach keys (bad-keys) provided"
}
