#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# `docker run` as people use it: terminals, pipes, exit codes.
load helpers

setup_file() {
    need_image busybox
}

@test "run -it: the container has a terminal, colours come through" {
    run -0 "$PTY" --size 24x80 -- "$CLI" -H "$ENGINE_HOST" run --rm -it --name "$N" busybox sh -c 'test -t 0 && test -t 1 && printf "\033[31mred\033[0m\n"; echo $TERM'
    contains "$output" $'\033[31mred\033[0m'
    contains "$output" xterm
}

@test "run -it: the terminal starts with the client's size and follows a resize" {
    run -0 "$PTY" --size 31x97 --expect '/ # ' --send 'stty size\r' --expect '31 97' --size 40x101 \
        --send 'until stty size | grep "4""0 101"; do usleep 100000; done\r' --expect '40 101' --send 'exit 0\r' \
        -- "$CLI" -H "$ENGINE_HOST" run --rm -it --name "$N" busybox sh
}

@test "run -it: Ctrl-C ends the program with 130" {
    run -130 "$PTY" --expect ready --send '\x03' -- "$CLI" -H "$ENGINE_HOST" run --rm -it --name "$N" busybox sh -c 'trap "exit 130" INT; echo ready; while :; do sleep 1; done'
}

@test "run -it: Ctrl-C reaches a shell's child and the shell goes on" {
    # The child itself says that it is ready: a Ctrl-C between a shell's fork and its child's exec is lost in any shell.
    run -0 "$PTY" --expect '/ # ' --send 'sh -c "echo re\"\"ady; exec sleep 1000"\r' --expect ready --send '\x03' --expect '/ # ' --send 'echo rc=$?\r' --expect 'rc=130' --send 'exit 0\r' \
        -- "$CLI" -H "$ENGINE_HOST" run --rm -it --name "$N" busybox sh
}

@test "run -it: the detach keys leave the container running; attach takes it up again" {
    run -0 "$PTY" --expect '/ # ' --send '\x10\x11' -- "$CLI" -H "$ENGINE_HOST" run -it --name "$N" busybox sh
    same running "$(state_of "$N")"
    run -7 "$PTY" --send '\r' --expect '/ # ' --send 'exit 7\r' -- "$CLI" -H "$ENGINE_HOST" attach "$N"
    poll is_state "$N" exited
    same 7 "$(docker inspect -f '{{.State.ExitCode}}' "$N")"
}

@test "run -it: other detach keys can be chosen" {
    run -0 "$PTY" --expect '/ # ' --send '\x01x' -- "$CLI" -H "$ENGINE_HOST" run -it --detach-keys ctrl-a,x --name "$N" busybox sh
    same running "$(state_of "$N")"
}

@test "run -it with the older client" {
    [ -n "${DOCKER_CLI_26-}" ] || skip "no client of the reference's version is on this machine"
    run -5 "$PTY" --size 20x90 --expect '/ # ' --send 'stty size\r' --expect '20 90' --send 'exit 5\r' -- "$DOCKER_CLI_26" -H "$ENGINE_HOST" run --rm -it --name "$N" busybox sh
}

@test "exec -it: a terminal of its own, resized, with its exit code" {
    docker run -d --name "$N" busybox sleep 1000
    run -9 "$PTY" --size 33x88 --expect '/ # ' --send 'stty size\r' --expect '33 88' --send 'exit 9\r' -- "$CLI" -H "$ENGINE_HOST" exec -it "$N" sh
}

@test "echo hi | run -i cat" {
    run -0 bash -c 'echo hi | "$0" -H "$1" run --rm -i --name "$2" busybox cat' "$CLI" "$ENGINE_HOST" "$N"
    same hi "$output"
}

@test "a megabyte through run -i comes back whole, to the byte" {
    head -c 1048583 /dev/urandom >"$BATS_TEST_TMPDIR/in"
    docker run --rm -i --name "$N" busybox cat <"$BATS_TEST_TMPDIR/in" >"$BATS_TEST_TMPDIR/out"
    cmp "$BATS_TEST_TMPDIR/in" "$BATS_TEST_TMPDIR/out"
}

@test "stdout and stderr stay apart" {
    run -0 --separate-stderr docker run --rm --name "$N" busybox sh -c 'echo out; echo err >&2'
    same out "$output"
    # shellcheck disable=SC2154
    same err "$stderr"
}

@test "exit codes: 0 and 3 are the program's" {
    run -0 docker run --rm --name "$N" busybox true
    run -3 docker run --rm --name "$N" busybox sh -c 'exit 3'
}

@test "exit code 125: the engine refuses" {
    run -125 docker run --rm --name "$N" --network no-such-network busybox true
    run -125 docker run --rm --name "$N" no-such-image-anywhere.invalid/x:y true
    run -125 docker run --rm --name "$N" -v relative/../path:/x busybox true
    gone "$N"
}

@test "exit code 126: what is named cannot be executed" {
    run -126 docker run --rm --name "$N" busybox /etc/passwd
    contains "$output" 'permission denied'
    run -126 docker run --rm --name "$N-dir" busybox /tmp
    gone "$N"
}

@test "exit code 127: what is named is not there" {
    run -127 docker run --rm --name "$N" busybox no-such-program
    contains "$output" 'exec: "no-such-program": executable file not found in $PATH'
    run -127 docker run --rm --name "$N-2" busybox /no/such/file
    contains "$output" 'no such file or directory'
}

@test "exit code 137: killed" {
    docker run -d --name "$N" busybox sleep 1000
    docker kill "$N"
    run -0 docker wait "$N"
    same 137 "$output"
    "$CLI" -H "$ENGINE_HOST" run --name "$N-fg" busybox sleep 1000 &
    local job=$!
    poll is_state "$N-fg" running
    docker kill "$N-fg"
    job_ends 137 "$job"
}

@test "exec exit codes: 0, 3, 126 and 137" {
    docker run -d --name "$N" busybox sleep 1000
    run -0 docker exec "$N" true
    run -3 docker exec "$N" sh -c 'exit 3'
    run -126 docker exec "$N" /etc/passwd
    run -126 docker exec "$N" no-such-program # not 127: what cannot be started is 126 here, as in the reference
    run -137 docker exec "$N" sh -c 'kill -9 $$'
}

@test "run --rm leaves nothing to inspect; -d prints the id" {
    run -0 docker run --rm --name "$N" busybox true
    poll gone "$N"
    run -0 docker run -d --name "$N" busybox sleep 1000
    [[ $output =~ ^[0-9a-f]{64}$ ]] || fail "no id: $output"
}

@test "a name in use is a conflict that names its owner" {
    docker run -d --name "$N" busybox sleep 1000
    run -125 docker run --name "$N" busybox true
    contains "$output" "The container name \"/$N\" is already in use by container \"$(docker inspect -f '{{.Id}}' "$N")\""
}

@test "signals of the client reach the container (--sig-proxy)" {
    "$CLI" -H "$ENGINE_HOST" run --name "$N" busybox sh -c 'trap "exit 42" TERM; echo ready; while :; do sleep 0.1; done' >"$BATS_TEST_TMPDIR/out" 2>&1 &
    local job=$!
    poll grep -q ready "$BATS_TEST_TMPDIR/out"
    kill -TERM "$job"
    job_ends 42 "$job"
}
