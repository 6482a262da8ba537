#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Exec through the API: what is known of a process when its output is seen, and how many may come and go.
load helpers

setup_file() {
    need_image busybox
}

new_exec() { # JSON: sets ID
    request POST "/v1.45/containers/$N/exec" "$1"
    same 201 "$STATUS"
    ID=$(member Id)
}
# A member of the answer; without a program of its own, of which a busy machine starts two a second.
member() { [[ $BODY =~ \"$1\":\ ?\"?([^,\"}]*) ]] && echo "${BASH_REMATCH[1]}"; }

@test "the exit code is known no later than the end of the stream, fifty times" {
    local i
    only_ours "there the end is told on another path than the stream's end"
    docker run -d --name "$N" busybox sleep 1000
    for i in $(seq 50); do
        new_exec '{"AttachStdout": true, "Cmd": ["sh", "-c", "echo '"$i"'; exit '"$i"'"]}'
        request POST "/v1.45/exec/$ID/start" '{}'
        request GET "/v1.45/exec/$ID/json"
        same "false $i" "$(member Running) $(member ExitCode)"
    done
}

@test "who has seen output finds the process: its pid is that of the program" {
    local i pid
    docker run -d --name "$N" busybox sleep 1000
    for i in $(seq 10); do
        new_exec '{"AttachStdout": true, "Cmd": ["sh", "-c", "echo up; exec sleep 1000"]}'
        curl -sS -N --max-time 120 --unix-socket "${ENGINE_HOST#unix://}" -H 'Content-Type: application/json' -d '{}' -o "$BATS_TEST_TMPDIR/out-$i" \
            "http://engine/v1.45/exec/$ID/start" &
        poll grep -aq up "$BATS_TEST_TMPDIR/out-$i"
        request GET "/v1.45/exec/$ID/json"
        pid=$(member Pid)
        test -d "/proc/$pid" || fail "exec $i: no process $pid: $BODY"
    done
}

@test "execs that are over leave nothing: no descriptor, no process, no more memory than their record (LONG=1: 1,000 of them)" {
    local count=100
    [ -z "${LONG-}" ] || count=1000
    only_ours "its daemon's memory and descriptors are not ours to judge"
    measured many-execs "$ENGINE_PID" "$count"
}
