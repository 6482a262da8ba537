#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Many containers at once, and nothing left of them. LONG=1: 20 rounds instead of 3.
load helpers

setup_file() {
    need_image busybox
}

one() { # NAME: a whole life
    local out
    out=$("$CLI" -H "$ENGINE_HOST" run --name "$1" busybox echo "$1") && [ "$out" = "$1" ] && "$CLI" -H "$ENGINE_HOST" rm "$1" >/dev/null && return 0
    echo "$1: $out" >&2
    return 1
}
export -f one

@test "50 containers started and removed, 8 at a time: each says its own word, the census is empty" {
    local round rounds=3
    [ -z "${LONG-}" ] || rounds=20
    export CLI ENGINE_HOST
    docker run --rm --name "$N" busybox true # what the first container makes the engine set up is no leak
    "$CI/leaks" snapshot "$BATS_TEST_TMPDIR/census" --lab "$SUBJECT"
    for round in $(seq $rounds); do
        seq 50 | xargs -P 8 -I{} bash -c "one $N-$round-{}"
    done
    same '' "$(docker ps -aq --filter "name=$N")"
    "$CI/leaks" compare "$BATS_TEST_TMPDIR/census" --settle 60
}

@test "50 containers run side by side, stopped together, and the census is empty" {
    local ids
    "$CI/leaks" snapshot "$BATS_TEST_TMPDIR/census" --lab "$SUBJECT"
    seq 50 | xargs -P 8 -I{} "$CLI" -H "$ENGINE_HOST" run -d --name "$N-{}" busybox sleep 1000 >"$BATS_TEST_TMPDIR/ids"
    same 50 "$(docker ps -q --filter "name=$N" | wc -l)"
    # every one has an address of its own
    same 50 "$(xargs "$CLI" -H "$ENGINE_HOST" inspect -f '{{.NetworkSettings.IPAddress}}' <"$BATS_TEST_TMPDIR/ids" | sort -u | wc -l)"
    ids=$(cat "$BATS_TEST_TMPDIR/ids")
    # shellcheck disable=SC2086
    docker kill $ids >/dev/null
    # shellcheck disable=SC2086
    docker rm -f $ids >/dev/null
    "$CI/leaks" compare "$BATS_TEST_TMPDIR/census" --settle 60
}

@test "the same name asked for 8 times at once: one wins, seven are told who" {
    local i won=0 pids=()
    for i in 1 2 3 4 5 6 7 8; do
        "$CLI" -H "$ENGINE_HOST" create --name "$N" busybox true >"$BATS_TEST_TMPDIR/$i" 2>&1 &
        pids+=($!) # the list of jobs forgets those that have ended
    done
    for i in "${pids[@]}"; do wait "$i" && won=$((won + 1)); done
    same 1 $won
    same 7 "$(cat "$BATS_TEST_TMPDIR"/[1-8] | grep -c 'is already in use by container')"
}

@test "a monitor that is stopped holds up nobody else, and answers all when it goes on" {
    only_ours "one monitor for each container"
    local pid monitor out=$BATS_TEST_TMPDIR/answers
    docker run -dt --name "$N" busybox sleep 1000
    docker run -d --name "$N-b" busybox sleep 1000
    pid=$(docker inspect -f '{{.State.Pid}}' "$N")
    monitor=$(awk '/^PPid:/ { print $2 }' "/proc/$pid/status")
    kill -STOP "$monitor"
    # more than its socket takes
    "$BATS_TEST_DIRNAME/send-many" "${ENGINE_HOST#unix://}" 600 POST "/v1.45/containers/$N/resize?h=20&w=30" >"$out" &
    poll grep -q sent "$out"
    same "true true" "$(docker inspect -f '{{.State.Running}}' "$N" "$N-b" | paste -sd' ')"
    same 2 "$(docker ps -q --filter "name=$N" | wc -l)"
    same hello "$(docker exec "$N-b" echo hello)"
    docker run --rm --name "$N-c" busybox true
    docker stop -t 0 "$N-b"
    is_state "$N-b" exited
    kill -CONT "$monitor"
    job_ends 0 $!
    same "600 200" "$(sed 1d "$out")"
}
